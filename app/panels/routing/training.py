"""Trainings of mixtures as the panel knows them: one object a run, with its losses, balance, loads and biases over the steps."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PySide6.QtCore import QObject, Signal, Slot

from app.jobs.moe import TrainMoe

MOST_POINTS, MOST_MOMENTS = 2000, 240
COLUMNS = 48
"""Moments that a map over time shows."""
RECENT = 10
"""Records over which a balance that is told is a mean; and twentieths of the updates, over which a loss is."""
NO_DOMAINS = ("loss", "mtp", "max_vio", "dropped", "seconds")
KIND_WORDS = {"loss-free": "loss-free", "aux-loss": "aux-loss", "none": "no balancing"}


def kind_of(job: TrainMoe) -> str:
    """How a training keeps its experts in use, "auto" resolved."""
    if job.balancing != "auto":
        return job.balancing
    return "loss-free" if job.model == "deepseek" else "aux-loss"


@dataclass(frozen=True, eq=False)
class Moment:
    """Loads (L, E) over their means, and biases (L, E), after an update."""

    step: int
    load: np.ndarray
    bias: np.ndarray | None


class TrainingRun(QObject):
    """One training: what it told."""

    progressed = Signal(object)
    """It has told losses, or has ended: the run itself."""

    def __init__(self, trainings: Trainings, handle: Any, job: TrainMoe, number: int) -> None:
        super().__init__(trainings)
        self._trainings, self.handle, self.job, self.number = trainings, handle, job, number
        self.label = f"{number}: {job.model}, {KIND_WORDS[kind_of(job)]}"
        self.short = f"{number}: {KIND_WORDS[kind_of(job)]}"
        self.state, self.note = "waiting", ""
        self.steps: list[int] = []
        self.metrics: dict[str, list[float]] = {}
        self.balance: list[tuple[int, float, float]] = []
        """(step, MaxVio of the batch, mean of layers, and what chance shows)"""
        self.routing: dict | None = None
        """The newest record of loads and biases."""
        self._moments: list[Moment] = []
        self.facts: dict = {}
        self._first: tuple[int, float] | None = None
        self._rate = 0.0
        for signal, slot in (
            (handle.progress, self._on_progress), (handle.record, self._on_record), (handle.started, self._on_going),
            (handle.resumed, self._on_going), (handle.parked, self._on_parked), (handle.done, self._on_done),
            (handle.cancelled, self._on_cancelled), (handle.failed, self._on_failed),
        ):  # fmt: skip
            signal.connect(slot)

    @property
    def active(self) -> bool:
        """Whether it has not ended."""
        return self.state in ("waiting", "running", "paused")

    def words(self) -> str:
        """Where it stands, with the time left as measured."""
        if not self.steps:
            return "stopped before the first update" if self.state == "stopped" else self.note or self.state
        done = f"update {self.steps[-1]:,} of {self.job.steps:,}"
        if not self._rate or not self.active:
            return f"{done}, {self.state}"
        left = self._rate * (self.job.steps - self.steps[-1])
        return f"{done}, {self._rate:.2g} s each, {duration(left)} left"

    def text_loss(self) -> float | None:
        """What the next token costs, mean of the domains and of the last updates, in nats; None if that was not told."""
        domains = [values for name, values in self.metrics.items() if name not in NO_DOMAINS and values]
        return float(np.mean([np.mean(values[-max(1, len(values) // 20) :]) for values in domains])) if domains else None

    def text_losses(self) -> tuple[np.ndarray, np.ndarray]:
        """Updates, and the loss of each as the mean of its domains."""
        domains = [np.array(values) for name, values in self.metrics.items() if name not in NO_DOMAINS and values]
        length = min((len(values) for values in domains), default=0)
        if not length:
            return np.zeros(0), np.zeros(0)
        return np.array(self.steps[-length:], float), np.mean([values[-length:] for values in domains], axis=0)

    def recent_balance(self) -> tuple[float, float] | None:
        """MaxVio of the last records and what chance shows."""
        found = [(max_vio, chance) for _step, max_vio, chance in self.balance[-RECENT:]]
        return tuple(float(value) for value in np.mean(found, axis=0)) if found else None

    def moments(self) -> Sequence[Moment]:
        """At most `COLUMNS` moments, evenly over the training so far, the first and the newest among them."""
        places = np.linspace(0, len(self._moments) - 1, min(COLUMNS, len(self._moments))).round().astype(int)
        return [self._moments[place] for place in places]

    def _add(self, entries: list[dict]) -> None:
        now = time.monotonic()
        for entry in entries:
            self.steps.append(int(entry["step"]))
            for name, value in entry.items():
                if name not in ("step", "lr") and isinstance(value, int | float):
                    self.metrics.setdefault(name, []).append(float(value))
        if self._first is None:
            self._first = (self.steps[-1], now)
        elif self.steps[-1] > self._first[0]:
            self._rate = (now - self._first[1]) / (self.steps[-1] - self._first[0])
        if len(self.steps) > MOST_POINTS and len({len(v) for v in (self.steps, *self.metrics.values())}) == 1:
            half = len(self.steps) // 2
            self.steps = [*self.steps[:half:2], *self.steps[half:]]
            self.metrics = {name: [*values[:half:2], *values[half:]] for name, values in self.metrics.items()}

    @Slot(object)
    def _on_progress(self, progress: Any) -> None:
        self.note = progress.note
        self._trainings.changed.emit(self)

    @Slot(str, object)
    def _on_record(self, channel: str, payload: Any) -> None:
        if channel == "train":
            self._add(payload)
            self.progressed.emit(self)
        elif channel == "routing":
            self.routing = payload
            bias = payload["bias"]
            self._moments.append(Moment(int(payload["step"]), payload["load"].values, None if bias is None else bias.values))
            if len(self._moments) > MOST_MOMENTS:
                self._moments = [*self._moments[: MOST_MOMENTS // 2 : 2], *self._moments[MOST_MOMENTS // 2 :]]
            self.balance.append((int(payload["step"]), float(payload["max_vio"]), float(payload["chance"])))
        self._trainings.changed.emit(self)

    @Slot()
    def _on_going(self) -> None:
        self._set("running")

    @Slot(int)
    def _on_parked(self, _index: int) -> None:
        self._set("paused")

    @Slot(object)
    def _on_done(self, result: Any) -> None:
        self.facts = dict(result.facts)
        self.note = str(self.facts.get("note", ""))
        self._end("done")

    @Slot()
    def _on_cancelled(self) -> None:
        self._end("stopped")

    @Slot(object)
    def _on_failed(self, report: Any) -> None:
        self.note = report.title
        self._trainings.failed.emit(report)
        self._end("failed")

    def _set(self, state: str) -> None:
        self.state = state
        self._trainings.changed.emit(self)

    def _end(self, state: str) -> None:
        self._set(state)
        self.progressed.emit(self)
        self._trainings.ended.emit(self)


class Trainings(QObject):
    """All trainings of this session; those of one work folder never overlap, but for a race, whose text the first one has prepared."""

    changed = Signal(object)
    ended = Signal(object)
    failed = Signal(object)

    def __init__(self, engine: Any, parent: QObject) -> None:
        super().__init__(parent)
        self._engine = engine
        self.runs: list[TrainingRun] = []
        self._joining: dict[TrainingRun, list[TrainMoe]] = {}

    def start(self, job: TrainMoe, lane: str = "") -> TrainingRun:
        """Begin, or go on with, a training; those of one folder and lane wait for one another."""
        handle = self._engine.submit(job, key=f"train-moe/{job.folder}{lane}", policy="queue")
        run = TrainingRun(self, handle, job, len(self.runs) + 1)
        self.runs.append(run)
        self.changed.emit(run)
        return run

    def race(self, jobs: Sequence[TrainMoe]) -> None:
        """Trainings of one folder side by side: the first prepares the text, the others join in when it has, or when it is done."""
        leader = self.start(jobs[0])
        self._joining[leader] = list(jobs[1:])
        leader.progressed.connect(self._on_led)

    @Slot(object)
    def _on_led(self, leader: TrainingRun) -> None:
        if leader.steps or leader.state == "done":
            for job in self._joining.pop(leader, ()):
                self.start(job, lane=f"/{job.balancing}")
        elif not leader.active:
            self._joining.pop(leader, None)

    @property
    def active(self) -> list[TrainingRun]:
        """Those that have not ended."""
        return [run for run in self.runs if run.active]

    def stop(self) -> None:
        """End all; their checkpoints stay."""
        self._joining.clear()
        for run in reversed(self.active):
            run.handle.cancel()


def duration(seconds: float) -> str:
    """A time for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
