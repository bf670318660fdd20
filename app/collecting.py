"""Python's garbage collector, kept from stopping the window in the middle of something.

A full collection walks all objects there are, and with torch, a vocabulary and its merges in memory they are some 365,000: a tenth to a
fifth of a second in which no thread runs, in the midst of an answer.  So full collections hardly ever come by themselves: young objects
are collected as ever, and what has grown old waits.  Whenever the worker falls idle, all that is there is taken out of the collector's
sight (`gc.freeze`), which costs nothing.  When a model was dropped, or nobody has done anything for a while, the frozen are let go first
and all is collected, so that what is part of a cycle is freed too.
"""

from __future__ import annotations

import gc

from PySide6.QtCore import QObject, QPoint, QTimer, Slot
from PySide6.QtGui import QCursor

from app.protocol.status import WorkerStatus

IDLE_MS, AWAY_MS = 1500, 30_000
"""How long after the last work things are frozen, and how long after that all is collected unless the pointer moves."""
RARELY = 1000
"""Collections of the middle-aged before a full one, which only hours of work without a pause come to."""


class Collecting(QObject):
    """Listens to the worker's status; made before the window is."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        gc.disable()  # importing torch sets off several collections that find nothing
        gc.set_threshold(*gc.get_threshold()[:2], RARELY)
        self._models: tuple[str, ...] = ()
        self._newest, self._pointer = WorkerStatus(), QPoint()
        self._clock = QTimer(self, singleShot=True, interval=IDLE_MS)
        self._clock.timeout.connect(self._on_idle)
        self._away = QTimer(self, singleShot=True, interval=AWAY_MS)
        self._away.timeout.connect(self._on_away)

    @Slot(object)
    def follow(self, status: WorkerStatus) -> None:
        """The worker tells how it is."""
        worked, self._newest = not self._newest.idle, status
        if not gc.isenabled() and (status.device or status.idle):
            gc.freeze()
            gc.enable()
        if not status.idle:
            self._clock.stop()
            self._away.stop()
        elif worked or status.models != self._models:
            self._clock.start()

    @Slot()
    def _on_idle(self) -> None:
        """Nothing has happened for a moment since work ended or models came or went."""
        dropped, self._models = set(self._models) - set(self._newest.models), self._newest.models
        if dropped:
            self._collect()
        else:
            gc.freeze()
            self._pointer = QCursor.pos()
            self._away.start()

    @Slot()
    def _on_away(self) -> None:
        """Nothing has been asked of the worker for long; wait on while somebody moves the pointer."""
        if QCursor.pos() == self._pointer:
            self._collect()
        else:
            self._pointer = QCursor.pos()
            self._away.start()

    def _collect(self) -> None:
        gc.unfreeze()
        gc.collect()
        gc.freeze()
