"""Runners around files: open a picture, read a recipe, keep a gallery.

A gallery is a folder of PNG files with their recipes inside. A file is written under a temporary name,
flushed to the disk and renamed: after a crash at any moment a picture is either wholly there or not at all.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator
from pathlib import Path

import numpy as np
import PIL.Image

from app.jobs.diffusion import Txt2Img
from app.jobs.library import DeleteFromGallery, ListGallery, OpenPicture, ReadRecipe, SaveToGallery
from app.protocol.errors import UserError
from app.protocol.events import Event, Progress
from app.protocol.job import job_to_dict
from app.protocol.payloads import Image, Result
from app.runners import png_recipe
from app.runners.pictures import read_file, read_picture
from app.runners.png_recipe import png_bytes
from app.storage import write_now
from app.worker.context import Ctx

TEMPORARY = ".part"
STALE_S = 3600
"""A temporary file older than this belongs to nobody any more."""


def open_picture(job: OpenPicture, ctx: Ctx) -> Generator[Event, None, Result]:
    """Read a picture file or its bytes."""
    yield Progress(done=0, note="reading the picture")
    name = Path(job.path).name if job.path else "The picture"
    picture = read_picture(job.data or read_file(job.path), name)
    facts = {"notes": list(picture.notes), "width": picture.image.width, "height": picture.image.height}
    return Result(files={"image.png": picture.image}, facts=facts)


def read_recipe(job: ReadRecipe, ctx: Ctx) -> Generator[Event, None, Result]:
    """Say how a dropped picture was made; the picture itself comes along where it can be decoded."""
    yield Progress(done=0, note="reading the recipe")
    data = job.data or read_file(job.path)
    recipe = png_recipe.read_recipe(data)
    notes = list(recipe.notes)
    files: dict[str, object] = {}
    try:
        files["image.png"] = read_picture(data, Path(job.path).name if job.path else "The picture").image
    except UserError as error:
        notes.append(error.message)
    if not files and recipe.job is None:
        raise UserError(notes[-1], hint="Drop a picture that was saved by Glassbox or another image tool.")
    facts = {
        "source": recipe.source,
        "sentence": recipe.sentence,
        "job": job_to_dict(recipe.job) if recipe.job else None,
        "notes": notes,
    }
    return Result(files=files, facts=facts)


def save_to_gallery(job: SaveToGallery, ctx: Ctx) -> Generator[Event, None, Result]:
    """Save one picture with its recipe; the picture stays in memory if that fails."""
    yield Progress(done=0, note="saving")
    if job.image is None:
        raise UserError("There is no picture to save.", hint="Make one first.")
    if not job.path and not job.folder:
        raise UserError("It is not said where to save.", hint="Give a folder or a path.")
    if job.path:
        saved = write_now(job.path, png_bytes(job.image, job.txt2img))
    else:
        saved = save_picture(Path(job.folder), job.image, job.txt2img)
    return Result(facts={"saved_as": str(saved)})


def list_gallery(job: ListGallery, ctx: Ctx) -> Generator[Event, None, Result]:
    """The newest pictures first; a file that cannot be read is listed with its problem."""
    yield Progress(done=0, note="reading the gallery")
    paths = gallery_paths(Path(job.folder))
    wanted = paths[job.offset : job.offset + job.limit]
    files: dict[str, object] = {}
    items = []
    for n, path in enumerate(wanted):
        ctx.check()
        item, files[f"thumb/{n}"] = gallery_item(path, job.thumbnail)
        items.append(item)
        if ctx.every(50):
            yield Progress(done=n + 1, total=len(wanted), unit="pictures", note="reading the gallery")
    return Result(files=files, facts={"total": len(paths), "items": items})


def delete_from_gallery(job: DeleteFromGallery, ctx: Ctx) -> Generator[Event, None, Result]:
    """Delete PNG files that lie directly in the gallery folder, and nothing else."""
    yield Progress(done=0, note="deleting")
    folder = Path(job.folder).resolve()
    deleted, problems = [], []
    for text in job.paths:
        path = Path(text)
        if path.resolve().parent != folder or path.suffix.lower() != ".png":
            problems.append(f"{path.name} is not a picture of the gallery; it was left alone.")
            continue
        try:
            path.unlink(missing_ok=True)
            deleted.append(text)
        except OSError as error:
            problems.append(f"{path.name} could not be deleted: {error.strerror}.")
    return Result(facts={"deleted": deleted, "problems": problems})


# --- the gallery folder --------------------------------------------------------------------------------


def save_picture(folder: Path, image: Image, job: Txt2Img | None) -> Path:
    """Write the picture under a new name that sorts by time: `20260821-142233-123-seed7-1a2b3c4d.png`."""
    now = time.time()
    moment = time.strftime("%Y%m%d-%H%M%S", time.localtime(now)) + f"-{int(now * 1000) % 1000:03d}"
    seed = f"-seed{job.seed}" if job and job.seed >= 0 else ""
    return write_now(folder / f"{moment}{seed}-{image.sha256[:8]}.png", png_bytes(image, job))


def gallery_paths(folder: Path) -> list[Path]:
    """PNG files of the folder, newest name first; forgotten temporary files are swept away."""
    if not folder.is_dir():
        return []
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        raise UserError(f"The gallery {folder} cannot be read: {error.strerror}.") from None
    for entry in entries:
        if entry.name.endswith(TEMPORARY):
            with contextlib.suppress(OSError):
                if time.time() - entry.stat().st_mtime > STALE_S:
                    entry.unlink()
    return sorted((e for e in entries if e.suffix.lower() == ".png" and not e.name.startswith(".")), reverse=True)


def gallery_item(path: Path, side: int) -> tuple[dict[str, object], Image]:
    """One row of the gallery and its thumbnail; `problem` says what could not be read."""
    item: dict[str, object] = {
        "path": str(path), "width": 0, "height": 0, "seed": None, "prompt": "", "saved_at": 0.0, "problem": "",
    }  # fmt: skip
    thumbnail = Image(pixels=np.zeros((side, side, 3), np.uint8), label="not readable")
    try:
        item["saved_at"] = path.stat().st_mtime
        data = read_file(path)
        picture = read_picture(data, path.name).image
    except OSError as error:
        item["problem"] = f"{path.name} cannot be read: {error.strerror}."
        return item, thumbnail
    except UserError as error:
        item["problem"] = error.message
        return item, thumbnail
    recipe = png_recipe.read_recipe(data)
    item |= {"width": picture.width, "height": picture.height}
    if recipe.job is None:
        item["problem"] = recipe.sentence
    else:
        item |= {"seed": recipe.job.seed, "prompt": recipe.job.prompt}
    small = PIL.Image.fromarray(picture.pixels)
    small.thumbnail((side, side), PIL.Image.Resampling.LANCZOS)
    return item, Image(pixels=np.asarray(small), label=path.name)
