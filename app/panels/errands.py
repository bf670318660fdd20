"""Short jobs of a panel: submit, hand the result to a method, or the failure to the banner.

An errand of a key replaces the waiting ones of that key (policy "follow"), so a dragged slider never queues up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QObject, Signal, Slot

from app.protocol.errors import UserError
from app.protocol.job import Job
from app.protocol.payloads import Result


class Errands(QObject):
    """Sends short jobs and brings their results back; `failed` tells of those that nobody else wants to hear of."""

    failed = Signal(object)

    def __init__(self, engine: Any, name: str, parent: QObject) -> None:
        """`name`: the panel's, so that keys of different panels do not meet."""
        super().__init__(parent)
        self._engine, self._name = engine, name
        self._out: list[Errand] = []

    def run(
        self, job: Job, done: Callable[[Result], None], *,
        key: str = "", failed: Callable[[Any], None] | None = None, progress: Callable[[Any], None] | None = None,
    ) -> Errand:  # fmt: skip
        """Submit `job`; `done(result)` or `failed(report)` is called on this thread, neither if it was cancelled."""
        handle = self._engine.submit(job, key=f"{self._name}/{key or job.name}", policy="follow" if key else "queue")
        errand = Errand(self, handle, done, failed or self.failed.emit, progress)
        self._out.append(errand)
        return errand

    def forget(self, kind: type[Job] | None = None) -> None:
        """Cancel all that is out, or all of a kind."""
        for errand in list(self._out):
            if kind is None or isinstance(errand.handle.job, kind):
                errand.handle.cancel()

    def end(self, errand: Errand) -> None:
        """An errand is over."""
        self._out.remove(errand)
        errand.deleteLater()


class Errand(QObject):
    """One short job on its way."""

    def __init__(self, errands: Errands, handle: Any, done: Callable, failed: Callable, progress: Callable | None) -> None:
        super().__init__(errands)
        self._errands, self.handle, self._done, self._failed, self._progress = errands, handle, done, failed, progress
        handle.done.connect(self._on_done)
        handle.failed.connect(self._on_failed)
        handle.finished.connect(self._on_finished)
        if progress is not None:
            handle.progress.connect(self._on_progress)

    @Slot(object)
    def _on_done(self, result: Result) -> None:
        try:
            self._done(result)
        except UserError as error:
            self._failed(error)

    @Slot(object)
    def _on_failed(self, report: Any) -> None:
        self._failed(report)

    @Slot(object)
    def _on_progress(self, progress: Any) -> None:
        self._progress(progress)

    @Slot()
    def _on_finished(self) -> None:
        self._errands.end(self)
