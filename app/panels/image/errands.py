"""Short jobs of the panel: submit, hand the result to a method, or the failure to the banner.

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

    def __init__(self, engine: Any, parent: QObject) -> None:
        super().__init__(parent)
        self._engine = engine
        self._out: list[_Errand] = []

    def run(
        self,
        job: Job,
        done: Callable[[Result], None],
        *,
        key: str = "",
        failed: Callable[[Any], None] | None = None,
    ) -> None:
        """Submit `job`; `done(result)` or `failed(report)` is called on this thread, neither if it was dropped."""
        handle = self._engine.submit(job, key=f"image/{key or job.name}", policy="follow" if key else "queue")
        self._out.append(_Errand(self, handle, done, failed or self.failed.emit))

    def forget(self) -> None:
        """Cancel all that is out."""
        for errand in list(self._out):
            errand.handle.cancel()

    def end(self, errand: _Errand) -> None:
        """An errand is over."""
        self._out.remove(errand)
        errand.deleteLater()


class _Errand(QObject):
    def __init__(self, errands: Errands, handle: Any, done: Callable, failed: Callable) -> None:
        super().__init__(errands)
        self._errands, self.handle, self._done, self._failed = errands, handle, done, failed
        handle.done.connect(self._on_done)
        handle.failed.connect(self._on_failed)
        handle.finished.connect(self._on_finished)

    @Slot(object)
    def _on_done(self, result: Result) -> None:
        try:
            self._done(result)
        except UserError as error:
            self._failed(error)

    @Slot(object)
    def _on_failed(self, report: Any) -> None:
        self._failed(report)

    @Slot()
    def _on_finished(self) -> None:
        self._errands.end(self)
