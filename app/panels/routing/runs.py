"""The run that reads the text and writes on: folds its events into a `Reading`; the transport is its `Player`."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal, Slot

from app.jobs.routing import Routing
from app.panels.routing.player import IDLE, PAUSED, RUNNING, STARTING, Player
from app.panels.routing.reading import Reading
from app.protocol.routing import RoutedModel, RoutedPass, RoutingSummary
from app.widgets.routed_text import RoutedToken

KEY = "routing/read"
SHOW_MS = 33
"""What is told within this time is shown together; the runner gathers the tokens of a quick model by itself."""


class Runs(Player):
    """One text at a time; a new one ends the old."""

    began = Signal(object)
    """Reading: empty as yet, its model known."""
    grew = Signal(object)
    """The tokens that are new, as `RoutedToken`s."""
    summed = Signal()
    busy = Signal(str)
    ended = Signal(str, object)
    """"done", "cancelled" or "failed", and the result or the report."""

    def __init__(self, engine: Any, parent: QObject) -> None:
        super().__init__(parent)
        self._engine = engine
        self._fresh: list[RoutedToken] = []  # told, but not yet shown
        self._shower = QTimer(self, singleShot=True, interval=SHOW_MS)
        self._shower.timeout.connect(self.flush)

    def submit(self, job: Routing, park_after: int | None = None) -> Any:
        """Read another text."""
        self.stop()
        self._following, self._state = True, STARTING
        self.handle = handle = self._engine.submit(job, key=KEY, policy="queue", park_after=park_after)
        for signal, slot in (
            (handle.progress, self._on_progress), (handle.record, self._on_record), (handle.preview, self._on_preview),
            (handle.started, self._on_going), (handle.resumed, self._on_going), (handle.parked, self._on_parked),
            (handle.done, self._on_done), (handle.cancelled, self._on_cancelled), (handle.failed, self._on_failed),
        ):  # fmt: skip
            signal.connect(slot)
        self.state_changed.emit()
        return handle

    # what the run tells --------------------------------------------------------------------------------------------

    def _hears(self) -> bool:
        return self.active and self.sender() in (self.handle, None)

    @Slot(object)
    def _on_progress(self, progress: Any) -> None:
        if self._hears():
            self.busy.emit(progress.note)

    @Slot(str, object)
    def _on_record(self, channel: str, payload: Any) -> None:
        if not self._hears():
            return
        if channel == "opened" and isinstance(payload, RoutedModel):
            self.reading, self._fresh = Reading(payload), []
            self.began.emit(self.reading)
        elif channel == "pass" and isinstance(payload, RoutedPass) and self.reading is not None:
            self._fresh += self.reading.add(payload)
            if not self._shower.isActive():
                self._shower.start()
        elif channel == "summary":
            self._sum(payload)

    @Slot(str, object)
    def _on_preview(self, channel: str, payload: Any) -> None:
        if self._hears() and channel == "summary":
            self._sum(payload)

    @Slot()
    def flush(self) -> None:
        """Show what has been told: some tokens at once, since many are read in a blink."""
        self._shower.stop()
        if self._fresh:
            fresh, self._fresh = self._fresh, []
            self.busy.emit("")
            self.grew.emit(fresh)
            if self._following:
                self.go(len(self.reading))

    def _sum(self, payload: Any) -> None:
        self.flush()
        if isinstance(payload, RoutingSummary) and self.reading is not None:
            self.reading.summary = payload
            self.summed.emit()

    @Slot()
    def _on_going(self) -> None:
        self._set(RUNNING)

    @Slot(int)
    def _on_parked(self, _index: int) -> None:
        if self._hears():
            self.flush()
        self._set(PAUSED)

    def _set(self, state: str) -> None:
        if self._hears():
            self._state = state
            self.state_changed.emit()

    @Slot(object)
    def _on_done(self, result: Any) -> None:
        if self._hears() and self.reading is not None:
            self.reading.facts = dict(result.facts)
            self._end("done", result)

    @Slot()
    def _on_cancelled(self) -> None:
        if self._hears():
            self._end("cancelled", None)

    @Slot(object)
    def _on_failed(self, report: Any) -> None:
        if self._hears():
            self._end("failed", report)

    def _end(self, how: str, what: Any) -> None:
        self.flush()
        self._state = IDLE
        self.busy.emit("")
        self.ended.emit(how, what)
        self.state_changed.emit()
