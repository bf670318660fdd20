"""Where in the text we look, replay, and standing still: the transport of the panel."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal, Slot

from app.panels.routing.reading import Reading

IDLE, STARTING, RUNNING, PAUSED = "idle", "starting", "running", "paused"
REPLAY_MS = 120


class Player(QObject):
    """Moves through the text; `Runs` adds the run that makes it grow."""

    moved = Signal()
    """Another token is looked at."""
    state_changed = Signal()

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.reading: Reading | None = None
        self.handle: Any = None
        self._state = IDLE
        self._following = True
        self._clock = QTimer(self, interval=REPLAY_MS)
        self._clock.timeout.connect(self._on_clock)

    def flush(self) -> None:
        """Show what has been told; `Runs` knows how."""

    @property
    def state(self) -> str:
        """idle, starting, running or paused, a replay counting as running."""
        return RUNNING if self._clock.isActive() else self._state

    @property
    def writing(self) -> bool:
        """Whether new tokens come and are followed."""
        return self._state == RUNNING and self._following

    @property
    def active(self) -> bool:
        """Whether the run has not ended."""
        return self._state != IDLE

    def go(self, position: int) -> None:
        """Look at a token, from 1."""
        if self.reading is not None and len(self.reading):
            position = min(max(position, 1), len(self.reading))
            if position != self.reading.position:
                self.reading.position = position
                self.moved.emit()

    def look(self, position: int) -> None:
        """Look at a token and stay there."""
        self.flush()
        self._clock.stop()
        self._following = self.reading is not None and position >= len(self.reading)
        self.go(position)
        self.state_changed.emit()

    @Slot()
    def first(self) -> None:
        """The first token."""
        self.look(1)

    @Slot()
    def previous(self) -> None:
        """One token back."""
        self.look(self.reading.position - 1 if self.reading else 1)

    @Slot()
    def next(self) -> None:
        """One token on; at the end of a run that stands still, compute it."""
        if self.reading and self.reading.position < len(self.reading):
            self.look(self.reading.position + 1)
        elif self._state == PAUSED:
            self._following = True
            self.handle.step_on(1)

    @Slot()
    def last(self) -> None:
        """The newest token."""
        self.look(len(self.reading) if self.reading else 1)

    @Slot()
    def play(self) -> None:
        """Go on writing, or replay what was read."""
        if self._state == PAUSED:
            self._following = True
            self.handle.resume()
        elif self._state == IDLE and self.reading and len(self.reading):
            if self.reading.position >= len(self.reading):
                self.go(1)
            self._clock.start()
        self.state_changed.emit()

    @Slot()
    def pause(self) -> None:
        """Stand still."""
        self._clock.stop()
        if self.active:
            self.handle.pause()
        self.state_changed.emit()

    @Slot()
    def stop(self) -> None:
        """End the replay, or the run; what was read stays."""
        self._clock.stop()
        if self.active:
            self.handle.cancel()
        self.state_changed.emit()

    @Slot()
    def _on_clock(self) -> None:
        if self.reading is None or self.reading.position >= len(self.reading):
            self._clock.stop()
            self.state_changed.emit()
        else:
            self.go(self.reading.position + 1)
