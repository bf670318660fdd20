"""Values of the plane lab: particles, arrows and density maps, cards of methods and clouds, rows of a comparison.

Points and times are the method's own: x is distributed as `signal x0 + noise eps` at its time, and `spread` leads to the size of the data.
Jobs: `app/jobs/plane.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from app.protocol.payloads import Curve, Payload, _freeze


@dataclass(frozen=True, kw_only=True)
class PlaneKnobCard:
    """A number of a walk that a person may turn."""

    name: str
    title: str
    default: float
    lo: float
    hi: float
    help: str
    whole: bool


@dataclass(frozen=True, kw_only=True)
class ScheduleCard:
    """A kind of noise schedule with the numbers that make one; a job names it and them, apart by spaces."""

    name: str
    title: str
    numbers: tuple[PlaneKnobCard, ...]


@dataclass(frozen=True, kw_only=True)
class PlanePreset:
    """Settings that show a method's point: fields of the `plane` job and knobs, by name."""

    title: str
    sentence: str
    settings: tuple[tuple[str, float | str], ...]


@dataclass(frozen=True, kw_only=True)
class MethodCard:
    """A row of the table of methods."""

    name: str
    title: str
    arxiv: str
    equation: str
    watch_for: str
    solvers: tuple[str, ...]
    evaluations: int
    train_steps: int
    batch_size: int
    lr: float
    field: str
    """What the arrows are, empty without arrows."""
    density: str
    """How exact the density is, empty without one."""
    layers: bool
    backwards: bool
    exact: bool
    """Whether the exact answer of a mixture can stand in for the network."""
    ode: bool
    knobs: tuple[PlaneKnobCard, ...]
    presets: tuple[PlanePreset, ...]
    any_source: bool = False
    """Whether walks may start in another cloud than noise."""
    schedules: tuple[ScheduleCard, ...] = ()
    """Kinds of noise schedules it can be trained with, the first by default."""


@dataclass(frozen=True, kw_only=True)
class CloudCard:
    """A built-in cloud."""

    name: str
    title: str
    classes: int
    exact: bool


@dataclass(frozen=True, eq=False)
class CloudPoints(Payload):
    """Held-out points of the data, `xy` float32 (N, 2) standardised: raw = centre + scale xy."""

    xy: np.ndarray
    title: str
    centre: tuple[float, float]
    scale: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "xy", _freeze(self.xy, np.float32, (None, 2), "CloudPoints.xy"))


@dataclass(frozen=True, kw_only=True)
class PlaneLoss:
    """One update of a training."""

    step: int
    total: int
    loss: float
    seconds: float
    metrics: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, eq=False)
class Particles(Payload):
    """Particles at one moment: `xy` float32 (N, 2). `way`: "walk" to data, "back" to noise, "training" for a quick look, or
    what a walk carries along: "grid" a lattice of the noise (row by row), "between" a row of latents between two, "sketch" the latents of a
    drawing."""

    xy: np.ndarray
    way: str
    index: int
    """Of the moments that were kept, from 0."""
    time: float
    evaluations: int
    signal: float = math.nan
    noise: float = math.nan
    says: str = ""
    """The equation of the step that led here, with its numbers."""
    last: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "xy", _freeze(self.xy, np.float32, (None, 2), "Particles.xy"))

    @property
    def spread(self) -> float:
        """Typical size of x here where it is larger than that of the data, else 1: what a view divides by to keep all in sight."""
        return max(1.0, math.hypot(self.signal, self.noise)) if math.isfinite(self.noise) else 1.0

    @property
    def level(self) -> float:
        """Noise over signal; nan where there is none."""
        return self.noise / self.signal if self.signal else math.inf


@dataclass(frozen=True, eq=False)
class Arrows(Payload):
    """A field at one moment: `arrows` float32 (n, 2) at points `at` (n, 2)."""

    at: np.ndarray
    arrows: np.ndarray
    name: str
    index: int
    """That of the particles it belongs to."""
    time: float

    def __post_init__(self) -> None:
        for name in ("at", "arrows"):
            object.__setattr__(self, name, _freeze(getattr(self, name), np.float32, (None, 2), f"Arrows.{name}"))


@dataclass(frozen=True, eq=False)
class DensityMap(Payload):
    """log density in nats on a square, `values` float32 (n, n), rows from the bottom up, over [-reach, reach] both ways (cell centres)."""

    values: np.ndarray
    reach: float
    kind: str
    """Whose density, and how exact."""
    index: int = -1
    """That of the particles it belongs to; -1 for the density of the end."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", _freeze(self.values, np.float32, (None, None), "DensityMap.values"))


@dataclass(frozen=True, kw_only=True)
class PlanePlot:
    """Curves that explain a method, each with its name as `label`; `clock` says what of a moment its x is: "level", "time" or nothing."""

    title: str
    x_label: str
    y_label: str
    curves: tuple[Curve, ...]
    clock: str = ""
    log_x: bool = False
    log_y: bool = False


@dataclass(frozen=True, kw_only=True)
class PlaneRow:
    """One method with one number of evaluations on the comparison desk; distances in units of the standardised cloud."""

    method: str
    solver: str
    evaluations: int
    """For each particle, as made."""
    wasserstein: float
    """Sliced Wasserstein-1 to held-out points."""
    distance: float | None
    """Mean distance to the end of the exact solution from the same noise; None for a walk that draws noise on its way."""
    seconds: float
    nll: float | None = None
    """Mean of -log p over held-out points in nats, where the method has a density; whatever the number of evaluations."""
