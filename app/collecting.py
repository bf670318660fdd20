"""Python's garbage collector, kept from stopping the window in the middle of something.

A full collection walks all objects there are, and with torch, a vocabulary and its merges in memory they are some 365,000: a fifth of a
second in which no thread runs, in the midst of an answer.  What was loaded is there to stay, so it is taken out of the collector's sight
(`gc.freeze`): once torch is there, and whenever more models are and the worker is idle.  When a model was dropped, the frozen are let go
first and all is collected, so that it is freed though it may be part of a cycle.
"""

from __future__ import annotations

import gc

from PySide6.QtCore import QObject, QTimer, Slot

from app.protocol.status import WorkerStatus

IDLE_MS = 1500


class Collecting(QObject):
    """Listens to the worker's status; made before the window is."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        gc.disable()  # importing torch sets off several collections that find nothing
        self._models: tuple[str, ...] = ()
        self._newest = WorkerStatus()
        self._clock = QTimer(self, singleShot=True, interval=IDLE_MS)
        self._clock.timeout.connect(self._on_idle)

    @Slot(object)
    def follow(self, status: WorkerStatus) -> None:
        """The worker tells how it is."""
        self._newest = status
        if not gc.isenabled() and (status.device or status.idle):
            gc.freeze()
            gc.enable()
        if status.idle and self._models != status.models:
            self._clock.start()
        elif not status.idle:
            self._clock.stop()

    @Slot()
    def _on_idle(self) -> None:
        """Nothing has happened for a moment since models came or went."""
        dropped, self._models = set(self._models) - set(self._newest.models), self._newest.models
        if dropped:
            gc.unfreeze()
            gc.collect()
        gc.freeze()
