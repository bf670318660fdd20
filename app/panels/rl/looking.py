"""The time machine: which moment of the shown training is looked at, and the seeded episode that the policy of that moment plays."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from PySide6.QtCore import QObject, Signal, Slot

from app.jobs.rl import PlayRl, RlPlane
from app.panels.rl.film import FilmPlayer
from app.panels.rl.training import STEPS, Training
from app.protocol.payloads import Result
from app.protocol.rl import EpisodeFilm

if TYPE_CHECKING:
    from app.panels.rl.panel import RlPanel

KEPT_FILMS = 12
Key = tuple[str, int, int]


class Looking(QObject):
    """`at` is None while the newest is followed; else the environment steps of the policy looked at."""

    moved = Signal()
    """Another moment, or back to the newest."""
    plane = Signal(object)
    busy = Signal(str)

    def __init__(self, panel: RlPanel) -> None:
        super().__init__(panel)
        self._panel = panel
        self.at: int | None = None
        self.seed = 0
        self.player = FilmPlayer(self, panel.isVisible)
        self._films: OrderedDict[Key, EpisodeFilm] = OrderedDict()

    @property
    def training(self) -> Training | None:
        """Whose moments."""
        return self._panel.trainings.shown

    @property
    def can(self) -> bool:
        """Is there a policy of the past to look at?"""
        return self.training is not None and bool(self.training.folder) and len(self.moments()) > 0

    def moments(self) -> np.ndarray:
        """Environment steps whose policies are kept, rising; until it is known which, those of every update."""
        if self.training is None:
            return np.empty(0)
        return np.asarray(self.training.moments or np.unique(self.training.metrics[STEPS]), float)

    def place(self) -> tuple[int, int]:
        """(number of the moment looked at, from 1; how many there are)."""
        moments = self.moments()
        if self.at is None:
            return len(moments), len(moments)
        return (max(1, int(np.searchsorted(moments, self.at, side="right"))) if len(moments) else 0), len(moments)

    # moving --------------------------------------------------------------------------------------------------------

    def look(self, at: float | None) -> None:
        """Look at the moment kept at or before `at`; None follows the newest again."""
        if at is None or not self.can:
            self._follow()
            return
        moments = self.moments()
        at = int(moments[max(0, int(np.searchsorted(moments, at, side="right")) - 1)])
        if at != self.at:
            self.at = at
            self.moved.emit()
            self.replay()

    def _follow(self) -> None:
        self.at = None
        self._panel.errands.forget(PlayRl)
        self._panel.errands.forget(RlPlane)
        self.busy.emit("")
        self.player.show(None)
        self.moved.emit()

    @Slot()
    def follow(self) -> None:
        """Back to what goes on now."""
        self.look(None)

    @Slot()
    def first(self) -> None:
        """The first policy kept."""
        self._step(1)

    @Slot()
    def previous(self) -> None:
        """One policy back."""
        self._step(self.place()[0] - 1)

    def next(self) -> bool:
        """One policy on; False if it is the newest that is looked at."""
        number, count = self.place()
        if self.at is None or number >= count:
            return False
        self._step(number + 1)
        return True

    @Slot()
    def last(self) -> None:
        """The newest: what goes on, or the policy in the end."""
        if self.training is not None and self.training.active:
            self.follow()
        else:
            self._step(self.place()[1])

    def _step(self, number: int) -> None:
        moments = self.moments()
        if len(moments):
            self.look(moments[min(max(number, 1), len(moments)) - 1])

    # the episode ---------------------------------------------------------------------------------------------------

    def set_seed(self, seed: int) -> None:
        """Another episode."""
        if seed != self.seed:
            self.seed = seed
            self.replay()
            self._panel.touch()

    @Slot()
    def replay(self) -> None:
        """Ask for the episode of the seed with the policy of the moment, and for its map."""
        if self.training is None or self.at is None:
            return
        key, where = (self.training.folder, self.at, self.seed), {"run": self.training.folder, "timesteps": self.at}
        self._panel.errands.run(RlPlane(**where), partial(self._take_plane, key), key="plane", failed=self._no_plane)
        if key in self._films:
            self._films.move_to_end(key)
            self.player.show(self._films[key])
            return
        self.busy.emit(f"playing the policy of step {self.at:,} …")
        self._panel.errands.run(PlayRl(**where, seed=self.seed), partial(self._take_film, key), key="film", failed=self._no_film)

    def _wanted(self, key: Key) -> bool:
        return self.training is not None and key == (self.training.folder, self.at, self.seed)

    def _take_film(self, key: Key, result: Result) -> None:
        self.busy.emit("")
        self._films[key] = result.files["film"]
        if self.training is not None and self.training.folder == key[0] and result.files.get("moments"):
            self.training.moments = tuple(result.files["moments"])
        while len(self._films) > KEPT_FILMS:
            self._films.popitem(last=False)
        if self._wanted(key):
            self.player.show(self._films[key])

    def _no_film(self, report: Any) -> None:
        self.busy.emit("")
        self._panel.show_error(report)

    def _take_plane(self, key: Key, result: Result) -> None:
        if self._wanted(key):
            self.plane.emit(result.files["plane"])

    def _no_plane(self, _report: Any) -> None:
        """Not every environment has two numbers whose plane could be drawn; the training has said so already."""
