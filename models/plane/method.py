"""The table of the plane's methods. A method is a record of functions, not a base class: a new one is a file and a row in METHODS.

Everything a runner, a desk or a form needs to know of a method stands in its record: how to build and train its network, how to walk
noise to data step by step, its field or its layers, its density where there is one, its knobs, its equation. The network stays on the CPU
(at this size nothing else is faster) in float32; what costs time is the number of small updates.
Read next: `learn.py`, `models/diffusion/rectified_flow.py` (a whole method).
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor, nn

from models.plane.errors import PlaneError
from models.plane.mixture import Mixture

METHODS: dict[str, str] = {
    "vp": "models.diffusion.sde:VP",
    "subvp": "models.diffusion.sde:SUBVP",
    "ve": "models.diffusion.sde:VE",
    "ddpm": "models.diffusion.ddpm:DDPM",
    "edm": "models.diffusion.edm:EDM",
    "edm-noise": "models.diffusion.edm:NOISE_ROW",
    "edm-v": "models.diffusion.edm:V_ROW",
    "edm-ve": "models.diffusion.edm:VE_ROW",
    "edm-flow": "models.diffusion.edm:FLOW_ROW",
    "classifier": "models.diffusion.classifier_guidance:CLASSIFIER",
    "classifier-free": "models.diffusion.classifier_guidance:CLASSIFIER_FREE",
    "flow-matching": "models.diffusion.rectified_flow:FLOW_MATCHING",
    "rectified-flow": "models.diffusion.rectified_flow:RECTIFIED_FLOW",
    "reflow": "models.diffusion.rectified_flow:REFLOW",
    "realnvp": "models.flows.plane:REALNVP",
    "glow": "models.flows.plane:GLOW",
    "nice": "models.flows.plane:NICE",
    "nice-two": "models.flows.plane:NICE_TWO",
    "cnf": "models.flows.plane:CNF",
}
"""Name -> "module:row", imported when asked for, since the methods stand above this package."""


def method(name: str) -> Method:
    """The method of that name; PlaneError with the names if there is none."""
    if name not in METHODS:
        raise PlaneError(f"There is no method named {name[:40]!r}.", hint=f"Methods: {', '.join(METHODS)}.")
    module, row = METHODS[name].split(":")
    return getattr(importlib.import_module(module), row)


@dataclass(frozen=True, kw_only=True)
class PlaneStep:
    """Where the particles stand at one moment of a walk; the first step of a walk is its start, before any evaluation."""

    x: Tensor  # (N, 2), in the method's own scale
    time: float  # on the method's own clock, as its `field` takes it
    evaluations: int  # of the network for each particle, so far
    last: bool
    signal: float = math.nan
    """x is distributed as `signal x0 + noise eps`; nan where there is no such thing (couplings, continuous flows)."""
    noise: float = math.nan
    says: str = ""
    """The equation of this step with its numbers."""

    @property
    def level(self) -> float:
        """Noise over signal (sigma of the EDM paper): what the comparison desk aligns by. inf for pure noise, nan if there is none."""
        return self.noise / self.signal if self.signal else math.inf


@dataclass(frozen=True, kw_only=True)
class PlaneKnob:
    """A number of the walk that a person may turn; a new value needs no new training."""

    name: str
    title: str
    default: float
    lo: float
    hi: float
    help: str
    whole: bool = False

    def check(self, value: float) -> float:
        """The value; PlaneError for one out of range."""
        if not (self.lo <= value <= self.hi) or (self.whole and value != int(value)):
            kind = "a whole number" if self.whole else "a number"
            raise PlaneError(f"{self.title} cannot be {value:g}.", hint=f"Choose {kind} from {self.lo:g} to {self.hi:g}.")
        return value

    def read(self, word: str) -> float:
        """The value of a word; PlaneError for one that is no number or out of range."""
        try:
            return self.check(float(word))
        except ValueError as error:
            if isinstance(error, PlaneError):
                raise
            raise PlaneError(f"{self.title} cannot be {word[:20]!r}.", hint="Write a number.") from None


TOLERANCE = PlaneKnob(
    name="tolerance", title="Tolerance", default=1e-4, lo=1e-6, hi=0.1,
    help="Error that dopri5 allows a step of the worst particle; below 1e-6 float32 cannot tell.",
)  # fmt: skip
"""Of every method that offers the adaptive solver."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A setting that shows the method's point. `settings` holds fields of the `plane` job (data, solver, evaluations, …) and knobs."""

    title: str
    sentence: str
    settings: Mapping[str, float | str] = field(default_factory=dict)


Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Curves that explain a method: how its levels run, what its network is given, what a knob buys. Names and points (x, y) of each."""

    title: str
    x: str
    y: str
    curves: Mapping[str, Points]
    clock: str = ""
    """What of a walk's moment stands on the x axis: "level" (noise over signal), "time" (its own), or nothing."""
    log_x: bool = False
    log_y: bool = False


Knobs = Mapping[str, float]
"""All knobs of the method with their values, defaults included."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A kind of noise schedule that a person may edit. It says at which levels the network learns, so another one is another training."""

    name: str
    title: str
    numbers: tuple[PlaneKnob, ...]
    row: Callable[..., Method]
    """The method under it, from its numbers; PlaneError for numbers that make no schedule."""

    def read(self, words: Sequence[str]) -> tuple[float, ...]:
        """Its numbers from words, the defaults from none; PlaneError for what is none, too many or out of range."""
        if not words:
            return tuple(number.default for number in self.numbers)
        if len(words) != len(self.numbers):
            says = ", ".join(number.title for number in self.numbers)
            raise PlaneError(f"The schedule {self.name!r} takes {len(self.numbers)} numbers, not {len(words)}.", hint=f"They are: {says}.")
        return tuple(number.read(word) for number, word in zip(self.numbers, words))


@dataclass(frozen=True, kw_only=True)
class Method:
    """One row. Signatures (net first, all else by name; x is (N, 2) float32, knobs complete, generator on the CPU):

    build(seed) -> net
    train(net, cloud, config: FitConfig, batch_size) -> Iterator[TrainStep]; at the end the net holds its averaged weights
    walk(net, noise, *, solver, evaluations, generator, knobs) -> Iterator[PlaneStep], from noise ~ N(0, I) to data, start included
    forward(net, x, *, solver, evaluations, generator, knobs) -> Iterator[PlaneStep], from data to noise, start included
    field(net, x, time, knobs) -> (N, 2), what `field_name` says, at the step's own scale and clock
    clean(net, x, time, knobs) -> (N, 2), where the method sees the data points from there, E[x0 | x]; x itself where no noise is left
    layers(net, x, knobs) -> Iterator[PlaneStep]: points carried from noise to data layer by layer (couplings), start included
    log_density(net, x, knobs) -> (N,) nats
    density_at(net, x, time, knobs) -> (N,) nats of the net's own law at a moment of its walk, and whose it is in words
    exact(mixture) -> a module without parameters that stands where the trained net stands and knows the answer
    report(net, noise, knobs) -> facts of its own for the result, such as how straight it flows
    plots(net, facts, knobs) -> tuple[Plot, ...]; facts are those of `report`
    parts(net, x, time, knobs) -> {name: (N, 2)}: arrows that the field is put together from
    chords(net, start, data, knobs) -> (N, 2), (N, 2): ends of straight lines as a training pairs them
    levels() -> times of its clock, signal and noise there, (n,) float64 each: the course of its noise schedule
    noisy(solver, knobs) -> whether a walk draws noise on its way; None: never
    """

    title: str
    arxiv: str
    equation: str
    watch_for: str
    """Two sentences."""
    build: Callable[..., nn.Module]
    train: Callable[..., Iterator]
    walk: Callable[..., Iterator[PlaneStep]]
    solvers: tuple[str, ...]
    """The first is the default."""
    evaluations: int
    forward: Callable[..., Iterator[PlaneStep]] | None = None
    field: Callable[..., Tensor] | None = None
    field_name: str = ""
    clean: Callable[..., Tensor] | None = None
    layers: Callable[..., Iterator[PlaneStep]] | None = None
    log_density: Callable[..., Tensor] | None = None
    density_says: str = ""
    """How exact `log_density` is, in words."""
    density_at: Callable[..., tuple[Tensor, str]] | None = None
    exact: Callable[[Mixture], nn.Module] | None = None
    report: Callable[..., dict[str, float | list[float]]] | None = None
    plots: Callable[..., tuple[Plot, ...]] | None = None
    parts: Callable[..., dict[str, Tensor]] | None = None
    chords: Callable[..., tuple[Tensor, Tensor]] | None = None
    levels: Callable[[], tuple[Tensor, Tensor, Tensor]] | None = None
    noisy: Callable[[str, Knobs], bool] | None = None
    leaps: tuple[str, ...] = ()
    """Solvers under which another network takes one step: there is no field, guess, likelihood or way back of such a walk."""
    schedules: tuple[Schedule, ...] = ()
    """Kinds of noise schedules it can be trained with; the first is the default."""
    schedule: str = ""
    """The one it has, if not the default: name and numbers, apart by spaces."""
    any_source: bool = False
    """Whether walks may start in another cloud than N(0, I)."""
    knobs: tuple[PlaneKnob, ...] = ()
    presets: tuple[Preset, ...] = ()
    ode: bool = False
    """Whether the walk tends to one end point for each noise with more evaluations, unless it is `noisy`."""
    lr: float = 2e-3
    batch_size: int = 1024
    ema: float = 0.995
    train_steps: int = 2000

    def settings(self, given: Mapping[str, float]) -> dict[str, float]:
        """All knobs with their values; PlaneError for an unknown one or a value out of range."""
        known = {knob.name: knob for knob in self.knobs}
        for name, value in given.items():
            if name not in known:
                has = f"It has {', '.join(known)}." if known else "It has none."
                raise PlaneError(f"{self.title} has no knob named {name[:40]!r}.", hint=has)
            known[name].check(value)
        return {knob.name: given.get(knob.name, knob.default) for knob in self.knobs}

    def with_schedule(self, words: str) -> Method:
        """The method under a schedule such as "linear 0.0001 0.02" or "cosine"; itself for no words. PlaneError for one it cannot have."""
        name, *numbers = words.split() or [""]
        if not name:
            return self
        if not self.schedules:
            raise PlaneError(f"{self.title} has no noise schedule to set.", hint="DDPM / DDIM and the score SDEs have one.")
        kind = next((one for one in self.schedules if one.name == name), None)
        if kind is None:
            known = ", ".join(one.name for one in self.schedules)
            raise PlaneError(f"{self.title} has no schedule named {name[:40]!r}.", hint=f"Its schedules: {known}.")
        values = kind.read(numbers)
        if kind is self.schedules[0] and values == kind.read(()):
            return self
        return replace(kind.row(*values), schedule=" ".join([name, *(f"{value:g}" for value in values)]))

    def by(self, solver: str) -> Method:
        """The method as that solver walks it: after a leap nothing is told that belongs to the network it does without."""
        if solver not in self.leaps:
            return self
        return replace(self, field=None, clean=None, forward=None, log_density=None, density_at=None, parts=None, chords=None, ode=False)

    def walks_alone(self, solver: str, knobs: Knobs) -> bool:
        """Whether every point walks by itself, without noise of the walk: points beside the particles then change nothing, and a way
        back exists."""
        return (self.ode or self.layers is not None) and not (self.noisy is not None and self.noisy(solver, knobs))

    def check_solver(self, solver: str) -> str:
        """The solver's name, the default for an empty one; PlaneError with the names for one the method does not have."""
        if solver and solver not in self.solvers:
            raise PlaneError(f"{self.title} has no solver named {solver[:40]!r}.", hint=f"Its solvers: {', '.join(self.solvers)}.")
        return solver or self.solvers[0]
