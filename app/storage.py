"""Files written and read off the GUI thread: one I/O thread, atomic writes, the newest wins per path.

`write` returns at once; while an older write of the same path is still waiting, its content is replaced. A file
is either the old or the new one, never half of each.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from app.protocol.errors import UserError

_numbers = itertools.count()
Content = bytes | str | Callable[[], bytes]


def write_now(path: Path | str, content: Content) -> Path:
    """Write a file atomically in the calling thread; UserError with a sentence if it cannot be done."""
    path = Path(path)
    data = content() if callable(content) else content
    data = data.encode("utf-8") if isinstance(data, str) else data
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name[:40]}.{os.getpid()}-{next(_numbers)}.part")
        try:
            with open(part, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(part)
            raise
    except OSError as error:
        raise UserError(f"{path.name} could not be saved: {_why(error)}.", hint=_what_to_do(error, path)) from error
    return path


def _why(error: OSError) -> str:
    words = {
        errno.ENOSPC: "the disk is full",
        errno.EACCES: "writing there is not allowed",
        errno.EPERM: "writing there is not allowed",
        errno.EROFS: "the disk is read-only",
        errno.ENOTDIR: "a part of the path is a file",
    }
    return words.get(error.errno or 0, (error.strerror or str(error)).lower())


def _what_to_do(error: OSError, path: Path) -> str:
    if error.errno == errno.ENOSPC:
        return "Make room and save again; nothing that was there before is lost."
    return f"Choose another folder than {path.parent}."


class Storage:
    """The I/O thread. Jobs run one after the other; results and errors come as futures."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._writes: OrderedDict[Path, tuple[Content, Future]] = OrderedDict()
        self._calls: list[tuple[Callable[[], Any], Future]] = []
        self._errors: list[UserError] = []
        self._busy = False
        self._closing = False
        self._thread: threading.Thread | None = None

    def write(self, path: Path | str, content: Content) -> Future[Path]:
        """Write a file soon. `content` may be a function, called in the I/O thread (for encoding a PNG there)."""
        path = Path(path).absolute()
        with self._changed:
            self._open_check()
            _, future = self._writes.get(path, (b"", Future()))
            self._writes[path] = (content, future)
            self._changed.notify_all()
        return future

    def call(self, function: Callable[..., Any], *args: Any) -> Future:
        """Call a function (reading, listing, deleting) in the I/O thread, before waiting writes."""
        future: Future = Future()
        with self._changed:
            self._open_check()
            self._calls.append((lambda: function(*args), future))
            self._changed.notify_all()
        return future

    def errors(self) -> list[UserError]:
        """Take out the errors of writes since the last call; for a banner."""
        with self._changed:
            errors, self._errors = self._errors, []
        return errors

    def flush(self, seconds: float | None = None) -> bool:
        """Wait until everything handed in is on the disk; False if that takes longer."""
        with self._changed:
            return self._changed.wait_for(lambda: not (self._writes or self._calls or self._busy), seconds)

    def close(self, seconds: float = 3.0) -> bool:
        """Flush and end the thread; False if it could not finish in time."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is None:
            return True
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _open_check(self) -> None:
        if self._closing:
            raise RuntimeError("the storage is closed")
        if self._thread is None:
            self._thread = threading.Thread(target=self._main, name="glassbox-storage", daemon=True)
            self._thread.start()

    def _main(self) -> None:
        while (task := self._next()) is not None:
            function, future, is_write = task
            try:
                if not future.set_running_or_notify_cancel():
                    continue
                future.set_result(function())
            except Exception as error:  # it belongs to whoever asked; writes are told in a banner too
                if is_write:
                    self._note(error)
                future.set_exception(error)
            finally:
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()

    def _next(self) -> tuple[Callable[[], Any], Future, bool] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._calls or self._writes or self._closing)
            if self._calls:
                function, future = self._calls.pop(0)
                self._busy = True
                return function, future, False
            if self._writes:
                path, (content, future) = self._writes.popitem(last=False)
                self._busy = True
                return lambda: write_now(path, content), future, True
            return None

    def _note(self, error: Exception) -> None:
        told = error if isinstance(error, UserError) else UserError(f"A file could not be saved: {error}.")
        with self._changed:
            self._errors.append(told)
