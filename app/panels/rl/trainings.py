"""All trainings on show, those that run here and those read from their folders; which one is looked at, in which colour each is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from PySide6.QtCore import QObject, Signal, Slot

from app.jobs.rl import TrainRl
from app.panels.rl.training import Training
from app.protocol.payloads import Result
from app.protocol.rl import RunSetup, setup_text

COLOURS = {"ppo": 0, "trpo": 2, "a2c": 1, "ddpg": 3, "qac": 4, "off-policy-ac": 5, "deterministic-ac": 6}
"""Of the first group of each algorithm."""
N_COLOURS = 8


class Trainings(QObject):
    """Starts, remembers and tells of them."""

    told = Signal(object, str)
    """A training, and what of it has changed (`Training.told`)."""
    shown_changed = Signal()
    listed = Signal()
    """A training came or went, or is drawn or not."""

    def __init__(self, engine: Any, parent: QObject) -> None:
        super().__init__(parent)
        self._engine, self._numbers = engine, 0
        self.all: list[Training] = []
        self.shown: Training | None = None
        """The one that agent, maps, lamps and transport are about."""

    # coming and going ----------------------------------------------------------------------------------------------

    def start(self, job: TrainRl, park_after: int | None = None) -> Training:
        """Hand in a training; the worker takes turns between all that run."""
        training = self._new(job)
        handle = self._engine.submit(job, key=f"rl/train/{training.number}", policy="queue", park_after=park_after)
        training.follow(handle)
        self._join(training)
        return training

    def resume(self, old: Training, job: TrainRl) -> Training:
        """Go on with a training that was stopped or interrupted: its curves stay."""
        old.job = job
        old.follow(self._engine.submit(job, key=f"rl/train/{old.number}", policy="queue"))
        old.told.emit(old, "state")
        self.show(old)
        return old

    def take(self, result: Result, job: TrainRl) -> Training:
        """A run from its folder."""
        training = self.of_folder(result.files["card"].folder) or self._new(job)
        training.take_history(result)
        if training not in self.all:
            self._join(training)
        else:
            self.show(training)
        return training

    def _new(self, job: TrainRl) -> Training:
        self._numbers += 1
        return Training(self, self._numbers, job)

    def _join(self, training: Training) -> None:
        training.group = group_of(training.run_setup)
        training.colour = self._colour(training)
        training.told.connect(self._on_told)
        self.all.append(training)
        self.show(training)
        self.listed.emit()

    def remove(self, training: Training) -> None:
        """Take one off the plots; one that runs is ended."""
        if training.active:
            training.handle.cancel()
        self.all.remove(training)
        if training is self.shown:
            self.show(self.all[-1] if self.all else None)
        training.deleteLater()
        self.listed.emit()

    def _colour(self, training: Training) -> int:
        for other in self.all:
            if other.group == training.group:
                return other.colour
        wanted = COLOURS.get(training.run_setup.algo, 0)
        taken = {other.colour for other in self.alike(training)}
        return next((c % N_COLOURS for c in range(wanted, wanted + N_COLOURS) if c % N_COLOURS not in taken), wanted)

    def _regroup(self, training: Training) -> None:
        """Its card says the setup in full, also what came from the preset."""
        training.group = group_of(training.run_setup)
        same = [other for other in self.all if other.group == training.group and other is not training]
        training.colour = same[0].colour if same else training.colour

    # looking -------------------------------------------------------------------------------------------------------

    def show(self, training: Training | None) -> None:
        """Look at another one."""
        if training is not self.shown:
            self.shown = training
            self.shown_changed.emit()

    def set_visible(self, training: Training, visible: bool) -> None:
        """Whether its curves are drawn."""
        training.visible = visible
        self.listed.emit()

    def alike(self, training: Training) -> list[Training]:
        """All of the same environment: those whose returns can be compared."""
        return [other for other in self.all if other.run_setup.env == training.run_setup.env]

    def drawn(self) -> list[Training]:
        """Those whose curves stand beside the shown one's."""
        if self.shown is None:
            return []
        return [other for other in self.alike(self.shown) if other.visible or other is self.shown]

    @property
    def active(self) -> list[Training]:
        """Those that have not ended."""
        return [training for training in self.all if training.active]

    def of_folder(self, folder: str) -> Training | None:
        """The one of a folder, if it is here."""
        return next((training for training in self.all if training.folder and training.folder == folder), None)

    def labels(self) -> dict[str, str]:
        """A name for each group on show: the algorithm, and what tells it from others of the same algorithm."""
        setups = {training.group: training.run_setup for training in self.drawn()}
        titles = {training.group: title_of(training) for training in self.drawn()}
        return {group: f"{titles[group]}{_difference(setup, list(setups.values()))}" for group, setup in setups.items()}

    def stop(self) -> None:
        """End all; their folders stay, and can be gone on with."""
        for training in reversed(self.active):
            training.handle.cancel()

    @Slot(object, str)
    def _on_told(self, training: Training, channel: str) -> None:
        if channel == "card":
            self._regroup(training)
        self.told.emit(training, channel)


def title_of(training: Training) -> str:
    """Its algorithm in words."""
    algo = training.run_setup.algo
    return training.setup.title if training.setup and training.setup.title else algo.upper() if len(algo) < 5 else algo


@lru_cache(maxsize=256)
def group_of(setup: RunSetup) -> str:
    """What seeds of the same setup share."""
    return setup_text(replace(setup, seed=0))


def _difference(setup: RunSetup, others: Sequence[RunSetup]) -> str:
    """What a setup has that others of the same algorithm have not, in brackets."""
    same = [other for other in others if other.algo == setup.algo]
    if len(same) < 2:
        return ""
    words = set(group_of(setup).split())
    shared = set.intersection(*(set(group_of(other).split()) for other in same))
    own = sorted(words - shared)
    return f" ({', '.join(own) or 'preset'})"
