"""A place among things that are there already, moved by hand or by a clock."""

from __future__ import annotations

from PySide6.QtCore import QObject, QTimer, Signal, Slot


class Replay(QObject):
    """A place among `count` things that are there already, moved by hand or by a clock."""

    moved = Signal()

    def __init__(self, parent: QObject, every_ms: int = 350) -> None:
        super().__init__(parent)
        self.index = self.count = 0
        self._clock = QTimer(self, interval=every_ms)
        self._clock.timeout.connect(self._on_clock)

    @property
    def playing(self) -> bool:
        """Does the clock move it?"""
        return self._clock.isActive()

    @property
    def state(self) -> str:
        """As the transport bar knows it."""
        return "running" if self.playing else "idle"

    def set_pace(self, every_ms: int) -> None:
        """Time between two moves."""
        self._clock.setInterval(every_ms)

    def reset(self, count: int, index: int = 0) -> None:
        """Other things."""
        self._clock.stop()
        self.count, self.index = count, index
        self.moved.emit()

    def go(self, index: int) -> None:
        """Stand at the thing of that number, counted from 1."""
        index = min(max(index, min(1, self.count)), self.count)
        if index != self.index:
            self.index = index
            self.moved.emit()

    def first(self) -> None:
        """Stand at the first."""
        self.pause()
        self.go(1)

    def previous(self) -> None:
        """One back."""
        self.pause()
        self.go(self.index - 1)

    def forward(self) -> None:
        """One on."""
        self.pause()
        self.go(self.index + 1)

    def last(self) -> None:
        """Stand at the last."""
        self.pause()
        self.go(self.count)

    def play(self) -> None:
        """Let the clock move it, from the start if it stands at the end."""
        if self.count:
            if self.index >= self.count:
                self.go(1)
            self._clock.start()
            self.moved.emit()

    def pause(self) -> None:
        """Stand still."""
        if self.playing:
            self._clock.stop()
            self.moved.emit()

    stop = pause

    @Slot()
    def _on_clock(self) -> None:
        if self.index >= self.count:
            self.pause()
        else:
            self.go(self.index + 1)
