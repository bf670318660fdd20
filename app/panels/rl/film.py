"""Plays a recorded episode: a clock over its frames, again and again while the panel is in sight."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject, QTimer, Signal, Slot

from app.protocol.rl import AgentFrame, EpisodeFilm

FRAME_MS = 40
PAUSE_FRAMES = 20
"""Ticks that the last picture stands before the episode begins again."""


class FilmPlayer(QObject):
    """One film, and where it stands."""

    changed = Signal()
    """Another film or none, playing or not."""
    frame = Signal(object, int)
    """AgentFrame, and its number from 0."""

    def __init__(self, parent: QObject, in_sight: Callable[[], bool]) -> None:
        super().__init__(parent)
        self._in_sight = in_sight
        self.film: EpisodeFilm | None = None
        self.index = self._stood = 0
        self._clock = QTimer(self, interval=FRAME_MS)
        self._clock.timeout.connect(self._on_clock)

    def show(self, film: EpisodeFilm | None) -> None:
        """Play a film from its beginning; None: there is none."""
        self._clock.stop()
        self.film, self.index, self._stood = film, 0, 0
        self._tell()
        if film is None:
            self.changed.emit()
        else:
            self.play()

    @property
    def playing(self) -> bool:
        """Does it move?"""
        return self._clock.isActive()

    @property
    def count(self) -> int:
        """Frames."""
        return len(self.film.frames) if self.film else 0

    @Slot()
    def play(self) -> None:
        """Let it move, while it is in sight."""
        if self.count and self._in_sight():
            self._clock.start()
        self.changed.emit()

    @Slot()
    def pause(self) -> None:
        """Let it stand still."""
        if self.playing:
            self._clock.stop()
            self.changed.emit()

    @Slot()
    def toggle(self) -> None:
        """Play, or stand still."""
        self.pause() if self.playing else self.play()

    @Slot(int)
    def go(self, index: int) -> None:
        """Show a frame."""
        index = min(max(index, 0), self.count - 1)
        if self.count and index != self.index:
            self.index = index
            self._tell()

    def now(self) -> AgentFrame | None:
        """The frame on show."""
        return self.film.frames[self.index] if self.count else None

    def _tell(self) -> None:
        if (frame := self.now()) is not None:
            self.frame.emit(frame, self.index)

    @Slot()
    def _on_clock(self) -> None:
        if not self._in_sight():
            self.pause()
        elif self.index + 1 < self.count:
            self.go(self.index + 1)
        elif self._stood < PAUSE_FRAMES:
            self._stood += 1
        else:
            self._stood = 0
            self.go(0)
