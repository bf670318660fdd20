"""A lane: one method with its knobs, the runs it has started, and all that the newest of them has told."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

from PySide6.QtCore import QObject, Signal, Slot

from app.jobs.plane import Plane, written_knobs
from app.protocol.payloads import Result
from app.protocol.plane import Arrows, CloudPoints, DensityMap, MethodCard, Particles, PlaneLoss, PlanePlot

GATHERED = {
    "particles": "moments", "grid": "lattices", "field": "fields", "parts": "parts", "clean": "clean", "marginal": "marginals",
    "plot": "plots", "between": "rows", "sketch": "sketches",
}  # fmt: skip
"""Channels whose payloads are kept one after another, and where."""
LATTICE = 25
"""Lines a side of the lattice that is carried along."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What a person has set for a lane; 0 and "" leave it to the method."""

    method: str = "flow-matching"
    solver: str = ""
    evaluations: int = 0
    knobs: tuple[tuple[str, float], ...] = ()
    exact: bool = False
    """The known law stands in for the network."""
    schedule: str = ""
    """Of the noise, as a job writes it."""

    def of(self, shared: Plane) -> Plane:
        """The job: this choice beside the settings that all lanes share."""
        own = {"method": self.method, "solver": self.solver, "evaluations": self.evaluations, "exact": self.exact}
        return replace(shared, **own, schedule=self.schedule, lattice=LATTICE, knobs=written_knobs(dict(self.knobs)))


@dataclass(kw_only=True)
class Told:
    """What one run has told."""

    job: Plane | None = None
    card: MethodCard | None = None
    cloud: CloudPoints | None = None
    losses: list[PlaneLoss] = field(default_factory=list)
    learning: Particles | None = None
    """A quick look while it trains."""
    moments: list[Particles] = field(default_factory=list)
    lattices: list[Particles] = field(default_factory=list)
    fields: list[Arrows] = field(default_factory=list)
    parts: list[tuple[Arrows, ...]] = field(default_factory=list)
    clean: list[Particles] = field(default_factory=list)
    rows: list[Particles] = field(default_factory=list)
    """Latents between two."""
    sketches: list[Particles] = field(default_factory=list)
    """A drawing, carried to the noise and back."""
    marginals: list[DensityMap] = field(default_factory=list)
    chords: Arrows | None = None
    plots: list[PlanePlot] = field(default_factory=list)
    density: DensityMap | None = None
    notice: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    def take(self, channel: str, payload: Any) -> None:
        """File a record under its channel."""
        match channel:
            case "method":
                self.card = payload
            case "train":
                self.losses.extend(payload)
            case _ if channel in GATHERED:
                getattr(self, GATHERED[channel]).append(payload)
            case "cloud" | "density" | "notice" | "chords":
                setattr(self, channel, payload)

    def beside(self, lead: Told, index: int) -> int:
        """The moment that stands beside number `index` of another run: of equal noise over signal if both tell it, else equally far on."""
        moment = lead.moments[index]
        same = [n for n, own in enumerate(self.moments) if own.way == moment.way] or range(len(self.moments))
        levels = [angle(self.moments[n].level) for n in same]
        wanted = angle(moment.level)
        if math.isfinite(wanted) and all(map(math.isfinite, levels)):
            return same[min(range(len(same)), key=lambda n: abs(levels[n] - wanted))]
        theirs = [n for n, own in enumerate(lead.moments) if own.way == moment.way]
        return same[round(theirs.index(index) / max(1, len(theirs) - 1) * (len(same) - 1))]


def angle(level: float) -> float:
    """Noise over signal as an angle, 0 for data and a right one for noise: levels are compared on an even scale."""
    return math.atan(level)


class Lane(QObject):
    """Runs one method again and again; what is shown belongs to the newest run that has begun."""

    learned = Signal()
    """Another loss or look while training."""
    moved = Signal()
    """Another moment, map or state."""
    ended = Signal()

    def __init__(self, engine: Any, number: int, parent: QObject) -> None:
        super().__init__(parent)
        self._engine, self.number = engine, number
        self.choice, self.told = Choice(), Told()
        self.handle: Any = None
        self.failure: Any = None
        self._begun: Any = None

    @property
    def state(self) -> str:
        """As the transport bar knows it."""
        if self.handle is None or not self.handle.active:
            return "idle"
        return "paused" if self.handle.state == "parked" else "running"

    def run(self, shared: Plane, *, fresh: bool) -> None:
        """Train and walk; unless `fresh`, a training on its way goes on, and this run follows it. A walk on its way gives place."""
        fresh = fresh or (self._begun is self.handle and bool(self.told.moments))
        self.handle = self._engine.submit(self.choice.of(shared), key=f"plane/lane-{self.number}", policy="replace" if fresh else "follow")
        for signal, slot in (
            (self.handle.record, self._on_record), (self.handle.preview, self._on_preview), (self.handle.done, self._on_done),
            (self.handle.failed, self._on_failed), (self.handle.finished, self._on_finished), (self.handle.parked, self._on_state),
            (self.handle.resumed, self._on_state), (self.handle.started, self._on_state),
        ):  # fmt: skip
            signal.connect(slot)
        self.moved.emit()

    def stop(self) -> None:
        """End what is on its way; what it has told stays."""
        if self.handle is not None:
            self.handle.cancel()

    def forget(self) -> None:
        """Back to an empty lane."""
        self.stop()
        self.told = Told()
        self.moved.emit()

    @Slot(str, object)
    def _on_record(self, channel: str, payload: Any) -> None:
        if self.sender() is not self._begun:  # the first record of a newer run: what the older one told is over
            self._begun, self.failure = self.sender(), None
            self.told = Told(job=self._begun.job)
        self.told.take(channel, payload)
        (self.learned if channel == "train" else self.moved).emit()

    @Slot(str, object)
    def _on_preview(self, channel: str, payload: Any) -> None:
        if channel == "particles" and self.sender() is self._begun:
            self.told.learning = payload
            self.learned.emit()

    @Slot(object)
    def _on_done(self, result: Result) -> None:
        self.told.facts = dict(result.facts)
        self.told.learning = None

    @Slot(object)
    def _on_failed(self, report: Any) -> None:
        self.failure = report

    @Slot()
    def _on_finished(self) -> None:
        if self.sender() is self.handle:
            self.ended.emit()
        self.moved.emit()

    @Slot()
    @Slot(int)
    def _on_state(self, *_index: int) -> None:
        self.moved.emit()
