"""A program that runs beside the worker, such as pip: started, looked at, and ended with everything it started.

A download waits far more than it computes. Run as a process of its own it can be stopped at any moment, its imports stay out of the
window, and the worker only looks at it now and then.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path

from app.protocol.errors import UserError
from app.protocol.events import Progress
from app.protocol.sizes import MIB, size_words
from app.worker.context import Ctx

LOOK_EVERY_S = 0.03
ALONE_S = 0.005
OUTPUT_BYTES = 64 * 1024
SPEED_OVER_S = 3.0


class Child:
    """A running program; `output` and `errors` may be read once it has ended: the end of what it has said."""

    def __init__(self, words: Sequence[str], folder: Path, env: Mapping[str, str] | None = None) -> None:
        self._files = [tempfile.TemporaryFile(), tempfile.TemporaryFile()]
        options = {"start_new_session": True} if os.name == "posix" else {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        try:
            self._process = subprocess.Popen(
                list(words), stdin=subprocess.DEVNULL, stdout=self._files[0], stderr=self._files[1],
                cwd=folder, env={**os.environ, **(env or {})}, **options,
            )  # fmt: skip
        except OSError as error:
            self.close()
            raise UserError(f"{words[0]} could not be started: {error.strerror}.", hint="Is Python's folder still there?") from None

    def poll(self) -> int | None:
        """The exit status, None while it runs."""
        return self._process.poll()

    @property
    def output(self) -> str:
        """What it has printed."""
        return self._read(0)

    @property
    def errors(self) -> str:
        """What it has complained about."""
        return self._read(1)

    def _read(self, which: int) -> str:
        file = self._files[which]
        file.seek(max(0, file.seek(0, os.SEEK_END) - OUTPUT_BYTES))
        return file.read().decode("utf-8", "replace")

    def close(self) -> None:
        """End it, and all it has started, if it still runs."""
        if hasattr(self, "_process") and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                if os.name == "posix":
                    os.killpg(self._process.pid, signal.SIGKILL)
                else:
                    self._process.kill()
            self._process.wait()
        for file in self._files:
            file.close()


class Pace:
    """Sleeps between two looks, but only while nobody else uses the worker's time: a chat beside a download loses nothing."""

    def __init__(self) -> None:
        self._last = time.perf_counter()

    def __call__(self) -> None:
        """Call once a turn, before the look."""
        if time.perf_counter() - self._last < ALONE_S:
            time.sleep(LOOK_EVERY_S)
        self._last = time.perf_counter()


class Speed:
    """Bytes a second over the last seconds, as words."""

    def __init__(self) -> None:
        self._seen: list[tuple[float, int]] = []

    def __call__(self, done: int) -> str:
        """Take note of the bytes so far; return "12.3 MiB/s", or "" while there is nothing to go by."""
        now = time.perf_counter()
        self._seen = [(at, count) for at, count in self._seen if now - at < SPEED_OVER_S] + [(now, done)]
        (first, before) = self._seen[0]
        return f"{size_words((done - before) / (now - first))}/s" if now - first > 0.5 and done > before else ""


def progress(done: int, total: int, note: str) -> Progress:
    """Bytes as an event in MiB."""
    return Progress(done=round(min(done, total) / MIB, 1), total=round(total / MIB, 1), unit="MiB", note=note)


def watch(child: Child, size: Callable[[], int], total: int, what: str, ctx: Ctx) -> Generator[Progress, None, int]:
    """Yield the progress of a child until it has ended; return its exit status. `size()` says how many bytes are there."""
    pace, speed = Pace(), Speed()
    while (code := child.poll()) is None:
        pace()
        ctx.check()
        done = size() if total else 0
        yield progress(done, total, ", ".join(filter(None, (what, speed(done)))))
    return code


def python(*words: str) -> list[str]:
    """The words that start a module with this very Python."""
    return [sys.executable, *words]


def bytes_below(folder: Path) -> int:
    """Size of all files in a folder and below; files that vanish meanwhile do not count."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            if path.is_file():
                total += path.stat().st_size
    return total
