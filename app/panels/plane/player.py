"""The timeline: which moment is shown. It follows a walk as it is made, plays it once it is there, and stands where it is dragged to."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal

from app import theme
from app.panels.plane.lane import Told
from app.panels.replay import Replay

WHOLE_MS, LEAST_MS = 3000, 16
"""How long a whole walk plays, and the shortest time a moment stands."""


class Player(QObject):
    """A place among the moments of the leading lane."""

    moved = Signal()

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.replay = Replay(self)
        self._following = True
        self.replay.moved.connect(self.moved)

    @property
    def index(self) -> int:
        """Number of the moment, from 0; -1 while there is none."""
        return self.replay.index - 1

    def begin(self) -> None:
        """A new run: nothing is there yet, and its walk is followed."""
        self._following = True
        self.replay.reset(0)

    def grown(self, told: Told) -> None:
        """The leading lane has so many moments now."""
        count = len(told.moments)
        if count < self.replay.count:
            self.begin()
        self.replay.count = count
        if self._following and not self.replay.playing:
            self.replay.go(count)

    def ended(self) -> None:
        """The walk is complete: play it from its start, unless the person stands elsewhere or wants no motion."""
        self.replay.set_pace(max(LEAST_MS, WHOLE_MS // max(1, self.replay.count)))
        if self._following and not theme.reduced_motion():
            self.replay.play()
        self._following = False

    def go(self, index: int) -> None:
        """Stand at a moment, counted from 0."""
        self._following = False
        self.replay.pause()
        self.replay.go(index + 1)

    def press(self, name: str) -> None:
        """A button of the transport bar."""
        self._following = False
        getattr(self.replay, {"next": "forward"}.get(name, name))()
