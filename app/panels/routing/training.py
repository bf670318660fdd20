"""Trainings of mixtures as the panel knows them: one object a run, with its losses, balance, loads and biases over the steps."""

from __future__ import annotations

import time
from typing import Any

from PySide6.QtCore import QObject, Signal, Slot

from app.jobs.moe import TrainMoe

MOST_POINTS = 2000
KIND_WORDS = {"loss-free": "loss-free", "aux-loss": "aux-loss", "none": "no balancing"}


def kind_of(job: TrainMoe) -> str:
    """How a training keeps its experts in use, "auto" resolved."""
    if job.balancing != "auto":
        return job.balancing
    return "loss-free" if job.model == "deepseek" else "aux-loss"


class TrainingRun(QObject):
    """One training: what it told."""

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
            return self.note or self.state
        done = f"update {self.steps[-1]:,} of {self.job.steps:,}"
        if not self._rate or not self.active:
            return f"{done}, {self.state}"
        left = self._rate * (self.job.steps - self.steps[-1])
        return f"{done}, {self._rate:.2g} s each, {duration(left)} left"

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
        elif channel == "routing":
            self.routing = payload
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
        self._trainings.ended.emit(self)


class Trainings(QObject):
    """All trainings of this session; those of one work folder never overlap."""

    changed = Signal(object)
    ended = Signal(object)
    failed = Signal(object)

    def __init__(self, engine: Any, parent: QObject) -> None:
        super().__init__(parent)
        self._engine = engine
        self.runs: list[TrainingRun] = []

    def start(self, job: TrainMoe) -> TrainingRun:
        """Begin, or go on with, a training."""
        run = TrainingRun(self, self._engine.submit(job, key=f"train-moe/{job.folder}", policy="queue"), job, len(self.runs) + 1)
        self.runs.append(run)
        self.changed.emit(run)
        return run

    @property
    def active(self) -> list[TrainingRun]:
        """Those that have not ended."""
        return [run for run in self.runs if run.active]

    def stop(self) -> None:
        """End all; their checkpoints stay."""
        for run in reversed(self.active):
            run.handle.cancel()


def duration(seconds: float) -> str:
    """A time for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
