"""Model files on their way into the model folder: room, digests, unpacking, copying, all in pieces that can be cancelled.

Nothing gets its final name before it is whole: work goes on in a locked folder `.fetch/NAME` inside the model folder, and the last act
is a rename. After a crash at any moment the final name is either absent or right.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import BinaryIO

from app.protocol.errors import UserError
from app.protocol.events import Progress
from app.protocol.sizes import MIB, size_words
from app.runners.getting.child import progress
from app.worker.context import Ctx

STAGES = ".fetch"
CHUNK = 4 * MIB
SPARE_BYTES = 64 * MIB
Update = Callable[[bytes], object]


def free_bytes(folder: Path) -> int:
    """Room on the disk that a folder lies on."""
    return shutil.disk_usage(folder).free


def disk_error(error: OSError, folder: Path) -> UserError:
    """What a failed read or write means for a person; `folder` is the model folder."""
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        free = free_bytes(folder)
        return UserError(
            f"The disk is full: {size_words(free)} are free in {folder}.",
            hint="Make room and try again, or set the environment variable GLASSBOX_MODELS to a folder on another disk.",
        )
    if error.filename and not Path(os.fsdecode(error.filename)).is_relative_to(folder):
        return UserError(f"{os.fsdecode(error.filename)} cannot be read: {(error.strerror or str(error)).lower()}.", hint="Check the path.")
    return UserError(
        f"{folder} cannot be written: {(error.strerror or str(error)).lower()}.",
        hint="Set the environment variable GLASSBOX_MODELS to a folder of yours.",
    )


def need_room(folder: Path, size: int) -> None:
    """UserError if the disk has no room for so many bytes and a little more."""
    free = free_bytes(folder)
    if free < size + SPARE_BYTES:
        raise UserError(
            f"There is not enough room: {size_words(size)} are needed and {size_words(free)} are free in {folder}.",
            hint="Make room and try again, or set the environment variable GLASSBOX_MODELS to a folder on another disk.",
        )


# --- the working folder ---


@contextlib.contextmanager
def stage(folder: Path, name: str) -> Iterator[Path]:
    """A working folder of that name, kept until it is emptied; UserError if another Glassbox works in it."""
    path = folder / STAGES / name
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = open(path.with_name(f"{name}.lock"), "a+b")
    except OSError as error:
        raise disk_error(error, folder) from None
    with lock:
        try:
            _lock(lock)
        except OSError:
            raise UserError(f"{name} is being fetched by another Glassbox.", hint="Wait for it, or end it there.") from None
        try:
            yield path
        except OSError as error:
            raise disk_error(error, folder) from None


def _lock(file: BinaryIO) -> None:
    """Lock a file until it is closed or the process ends; OSError if somebody else holds it."""
    if os.name == "posix":
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    else:
        import msvcrt

        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)


def clear(folder: Path, keep: str = "") -> None:
    """Remove all that lies in a working folder, but for a file of that name."""
    for entry in folder.iterdir():
        if entry.name == keep:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


def leave(folder: Path) -> None:
    """Remove a working folder that has done its work; its lock stays, since a lock that is removed guards nothing."""
    shutil.rmtree(folder, ignore_errors=True)


def sync(file: BinaryIO) -> None:
    """Wait until what was written is on the disk, so that a rename cannot come before it."""
    file.flush()
    os.fsync(file.fileno())


# --- reading and writing in pieces ---


def pieces(path: Path, what: str, ctx: Ctx, update: Update) -> Generator[Progress, None, None]:
    """Hand the bytes of a file to `update`, a piece a turn."""
    total, done = path.stat().st_size, 0
    with open(path, "rb") as file:
        while piece := file.read(CHUNK):
            update(piece)
            done += len(piece)
            ctx.check()
            yield progress(done, total, what)


def sha256(path: Path, what: str, ctx: Ctx) -> Generator[Progress, None, str]:
    """SHA-256 of a file in hexadecimal."""
    digest = hashlib.sha256()
    yield from pieces(path, what, ctx, digest.update)
    return digest.hexdigest()


def git_sha1(path: Path, what: str, ctx: Ctx) -> Generator[Progress, None, str]:
    """SHA-1 by which git names a file with this content."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    yield from pieces(path, what, ctx, digest.update)
    return digest.hexdigest()


def copy(source: Path, target: Path, what: str, ctx: Ctx) -> Generator[Progress, None, None]:
    """Copy a file; the target is whole on the disk when this returns."""
    with open(target, "wb") as file:
        yield from pieces(source, what, ctx, file.write)
        sync(file)


def unpack(archive: Path, member: str, target: Path, size: int, ctx: Ctx) -> Generator[Progress, None, str]:
    """Write one member of a zip archive to `target`, return its SHA-256.

    The archive is not trusted: only this member is read, its name in the archive decides nothing, and not more than `size` bytes are
    unpacked whatever the archive says.
    """
    damaged = UserError(f"{archive.name} is damaged, or not the package it is named after.", hint="Fetch it again.")
    try:
        with zipfile.ZipFile(archive) as zipped:
            info = next((item for item in zipped.infolist() if item.filename == member), None)
            if info is None or info.file_size != size or info.flag_bits & 1:
                raise damaged
            with zipped.open(info) as packed, open(target, "wb") as file:
                digest = yield from _unpack(packed, file, size, ctx)
                sync(file)
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, ValueError):
        raise damaged from None
    if target.stat().st_size != size:
        raise damaged
    return digest


def _unpack(packed: BinaryIO, file: BinaryIO, size: int, ctx: Ctx) -> Generator[Progress, None, str]:
    digest, done = hashlib.sha256(), 0
    while done < size and (piece := packed.read(min(CHUNK, size - done))):
        file.write(piece)
        digest.update(piece)
        done += len(piece)
        ctx.check()
        yield progress(done, size, "unpacking")
    packed.read(1)  # makes zipfile compare the checksum; more than it announced is never handed out
    return digest.hexdigest()
