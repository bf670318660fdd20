"""Asks, a moment after every change, what the job as set would do: the job `CheckControls`, run in the worker."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal, Slot

from app.jobs.diffusion import CheckControls, Txt2Img
from app.panels.errands import Errands
from app.protocol.payloads import Result

SETTLE_MS = 120


class Checks(QObject):
    """Debounced; silent until `start`, so that nothing is submitted before the window is painted."""

    told = Signal(object, object)
    """The job that was checked, and the `Result`."""

    def __init__(self, errands: Errands, parent: QObject) -> None:
        super().__init__(parent)
        self._errands = errands
        self._job: Txt2Img | None = None
        self._started = False
        self._timer = QTimer(self, singleShot=True, interval=SETTLE_MS)
        self._timer.timeout.connect(self._on_settled)

    def start(self) -> None:
        """From now on jobs are checked."""
        self._started = True
        if self._job is not None:
            self._timer.start()

    def look_at(self, job: Txt2Img) -> None:
        """Check this job soon; only the newest counts."""
        self._job = job
        if self._started:
            self._timer.start()

    def close(self) -> None:
        """Ask no more."""
        self._started = False
        self._timer.stop()

    @Slot()
    def _on_settled(self) -> None:
        job = self._job
        self._errands.run(CheckControls(txt2img=job), self._on_done, key="check", failed=self._on_failed)

    def _on_done(self, result: Result) -> None:
        self.told.emit(self._job, result)

    def _on_failed(self, report: Any) -> None:
        """What is wrong with the job is said by the run itself, if it is started all the same."""
        self.told.emit(self._job, Result(facts={"ok": False, "error": report.title, "hint": report.hint}))
