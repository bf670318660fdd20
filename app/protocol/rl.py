"""Values that reinforcement learning runs show and return, and the one string that says a run's whole setup. Jobs: `app/jobs/rl.py`.

What a run of job `train-rl` sends:
    Record "card"      RunCard, at the beginning and when its state changes
    Record "setup"     Setup, at the beginning and after every change of a setting: the values in use
    Record "metrics"   tuple[RlRow, ...], at most every 200 ms (in step mode before every Step)
    Record "episodes"  Episodes that ended since the one before
    Record "lamps"     tuple[LampView, ...]
    Record "moments"   tuple[int, ...], environment steps of the policies kept, when one is added
    Record "change"    RlChange, a knob was turned
    Record "refused"   str, why a knob was not turned: the run goes on with the settings it has
    Record "eval"      RlRow of an evaluation apart from training
    Preview "agent"    AgentFrame, from an environment of its own, a few steps of it between two frames
    Preview "plane"    PlaneView or GridView, where the state is small enough
    Preview "inside"   tuple of RatioView | LineSearchView | QSurfaceView | NoiseView
    Step               after every update of the policy
Metric names are stable-baselines3's. `N` copies of the environment, `A` numbers of an action, `n` points of an axis.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from app.protocol.errors import UserError
from app.protocol.payloads import Payload, _freeze

Verdict = Literal["off", "good", "watch", "bad"]
State = Literal["running", "finished", "stopped", "interrupted", "failed"]
Number = float | int | bool | None

PAINTED = (
    "CartPole-v1", "Pendulum-v1", "Acrobot-v1", "MountainCar-v0", "MountainCarContinuous-v0", "GridWorld-5x5", "GridWorld-cliff",
    "GridWorld-rooms",
)  # fmt: skip
"""Environments whose facts are enough to draw them; of all others frames carry pixels."""


@dataclass(frozen=True)
class RlRow:
    """The metrics after an update. Losses are means over the updates since the row before, if rows are thinned."""

    update: int
    timesteps: int
    """Environment steps so far, of all copies together."""
    seconds: float
    """Of work since the run began, without evaluations and pauses."""
    metrics: tuple[tuple[str, float], ...]

    def get(self, name: str) -> float | None:
        """The metric of that name."""
        return dict(self.metrics).get(name)


@dataclass(frozen=True, eq=False)
class Episodes(Payload):
    """Episodes that ended: float64 (k, 3) of environment step at the end, return, length."""

    table: np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "table", _freeze(self.table, np.float64, (None, 3), "Episodes.table"))


@dataclass(frozen=True)
class RlChange:
    """A knob turned in the run; nan stands for "none"."""

    timesteps: int
    name: str
    before: float
    after: float


@dataclass(frozen=True)
class LampView:
    """One health lamp and its reason."""

    name: str
    verdict: Verdict
    sentence: str


@dataclass(frozen=True, eq=False)
class AgentFrame(Payload):
    """An environment at one moment, what the policy thinks of it, and the action it takes there."""

    env: str
    step: int
    """Of the episode, from 0."""
    facts: tuple[tuple[str, float], ...]
    """What a painter needs."""
    action: tuple[float, ...]
    action_names: tuple[str, ...]
    """Of numbered actions: one for each probability; of real ones: one for each number."""
    probabilities: tuple[float, ...]
    """Of numbered actions; empty for real ones."""
    value: float | None
    """v(s), or q(s, a) of the action; None without a critic at hand."""
    reward: float
    """Of the step that led here."""
    total: float
    """Return so far."""
    ended: bool
    pixels: np.ndarray | None = None
    """uint8 (H, W, 3) where there is no painter."""

    def __post_init__(self) -> None:
        if self.pixels is not None:
            object.__setattr__(self, "pixels", _freeze(self.pixels, np.uint8, (None, None, 3), "AgentFrame.pixels"))


@dataclass(frozen=True, eq=False)
class PlaneView(Payload):
    """Maps over two numbers of the state, float32 (n, n), rows from low y to high y."""

    x_name: str
    y_name: str
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    fixed: str
    """Where the rest of the state stands, in words."""
    value: np.ndarray
    action: np.ndarray
    """The best action: its number, or its first number in the environment's units."""
    certainty: np.ndarray | None
    """Probability of the best action, for numbered ones."""
    advantage: np.ndarray | None
    """See `advantage_name`."""
    action_names: tuple[str, ...]
    circular: bool
    """x is an angle: the left edge is the right edge."""
    timesteps: int
    here: tuple[float, float] | None = None
    """Where the watched agent stands, as x and y."""
    advantage_name: str = ""
    """Of which action over which, in words."""
    value_name: str = "v(s)"
    action_range: tuple[float, float] = (0.0, 1.0)
    """Bounds of a real action."""

    def __post_init__(self) -> None:
        for name in ("value", "action", "certainty", "advantage"):
            array = getattr(self, name)
            if array is not None:
                object.__setattr__(self, name, _freeze(array, np.float32, np.shape(self.value), f"PlaneView.{name}"))


@dataclass(frozen=True, eq=False)
class GridView(Payload):
    """Values and policy of a grid world, cell by cell."""

    env: str
    rows: tuple[str, ...]
    """The map: S start, G goal, X pit, # wall, . floor."""
    values: np.ndarray
    """float32 (rows, columns)"""
    probabilities: np.ndarray
    """float32 (rows, columns, 4): up, right, down, left"""
    timesteps: int
    here: tuple[float, float] | None = None
    """(row, column) of the watched agent."""
    optimal: np.ndarray | None = None
    """float32 (rows, columns): values of the best policy there is, from the exact solution."""
    action_names: tuple[str, ...] = ("up", "right", "down", "left")

    def __post_init__(self) -> None:
        shape = np.shape(self.values)
        object.__setattr__(self, "values", _freeze(self.values, np.float32, (None, None), "GridView.values"))
        object.__setattr__(self, "probabilities", _freeze(self.probabilities, np.float32, (*shape, 4), "GridView.probabilities"))
        if self.optimal is not None:
            object.__setattr__(self, "optimal", _freeze(self.optimal, np.float32, shape, "GridView.optimal"))


@dataclass(frozen=True, eq=False)
class RatioView(Payload):
    """PPO: how far the last epoch of an update had moved the ratios pi / pi_old."""

    edges: np.ndarray
    """float32 (b + 1,) of the bins; larger ratios count in the last one."""
    counts: np.ndarray
    """float32 (b,)"""
    clip_range: float
    outside: float
    """Share of the ratios outside 1 +- clip_range."""
    kl_by_epoch: tuple[float, ...] = ()
    clipped_by_epoch: tuple[float, ...] = ()
    stopped_in_epoch: int | None = None
    """By the KL limit, counted from 0."""
    timesteps: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "counts", _freeze(self.counts, np.float32, (None,), "RatioView.counts"))
        object.__setattr__(self, "edges", _freeze(self.edges, np.float32, (len(self.counts) + 1,), "RatioView.edges"))


@dataclass(frozen=True, eq=False)
class Landscape(Payload):
    """KL and gain of the surrogate in the plane of both gradients, float32 (n, n), rows from low y to high y.

    x runs along the natural gradient, y along the rest of the plain one, both in steps whose quadratic KL is delta: the trust region is the
    unit circle, the full step ends at (1, 0), and the plain gradient, allowed the same KL, at `plain`.
    """

    at: np.ndarray
    """(n,) coordinates of both axes."""
    gain: np.ndarray
    kl: np.ndarray
    plain: tuple[float, float]
    plain_gain: float

    def __post_init__(self) -> None:
        n = np.shape(self.at)[0]
        for name, size in {"at": (n,), "gain": (n, n), "kl": (n, n)}.items():
            object.__setattr__(self, name, _freeze(getattr(self, name), np.float32, size, f"Landscape.{name}"))


@dataclass(frozen=True, eq=False)
class LineSearchView(Payload):
    """TRPO: the trials of one update's line search, and the way they went."""

    fractions: tuple[float, ...]
    """Of the full step, one a trial."""
    kl: tuple[float, ...]
    gain: tuple[float, ...]
    """Of the surrogate."""
    accepted: int
    """Number of the accepted trial, -1 if none was: the policy is as it was."""
    delta: float
    """Radius of the trust region."""
    step_size: float
    cosine: float
    """Between plain and natural gradient."""
    residuals: tuple[float, ...]
    """Squared residuals of the conjugate gradients, before each iteration and after the last."""
    along: np.ndarray
    """float32 (m,): fractions at which the two curves below are known; may be empty."""
    along_kl: np.ndarray
    along_gain: np.ndarray
    timesteps: int = 0
    landscape: Landscape | None = None

    def __post_init__(self) -> None:
        for name in ("along", "along_kl", "along_gain"):
            object.__setattr__(self, name, _freeze(getattr(self, name), np.float32, np.shape(self.along), f"LineSearchView.{name}"))


@dataclass(frozen=True, eq=False)
class QSurfaceView(Payload):
    """DDPG: Q over one number of the state and the action, float32 (m, n), and the actor's curve on it."""

    x_name: str
    x: np.ndarray
    """(n,)"""
    action: np.ndarray
    """(m,) in the environment's units"""
    q: np.ndarray
    actor: np.ndarray
    """(n,) the actor's action at each x"""
    fixed: str = ""
    timesteps: int = 0

    def __post_init__(self) -> None:
        shape = (np.shape(self.action)[0], np.shape(self.x)[0])
        wanted = {"x": shape[1:], "action": shape[:1], "q": shape, "actor": shape[1:]}
        for name, size in wanted.items():
            object.__setattr__(self, name, _freeze(getattr(self, name), np.float32, size, f"QSurfaceView.{name}"))


@dataclass(frozen=True, eq=False)
class NoiseView(Payload):
    """DDPG: the exploration noise of the first copy, newest last, in units where actions span -1 .. 1."""

    history: np.ndarray
    """float32 (k, A)"""
    sigma: float
    theta: float
    """0: white noise; above: Ornstein-Uhlenbeck."""
    target_lag: float = math.nan
    """Distance between the actor and its target, relative to the actor's length."""
    timesteps: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "history", _freeze(self.history, np.float32, (None, None), "NoiseView.history"))


InsideView = RatioView | LineSearchView | QSurfaceView | NoiseView


@dataclass(frozen=True)
class EpisodeFilm:
    """One seeded episode under the policy of one moment, without chance."""

    timesteps: int
    """Of the policy: the last one kept that is no newer than the moment asked for."""
    seed: int
    frames: tuple[AgentFrame, ...]
    total: float
    terminated: bool
    """False: the time limit ended it."""


@dataclass(frozen=True)
class RunCard:
    """One row of the list of runs."""

    run: str
    """Name of its folder."""
    folder: str
    """Path of its folder."""
    algo: str
    env: str
    seed: int
    total: int
    timesteps: int
    state: State
    eval_mean: float | None
    eval_std: float | None
    setup: str
    """The whole setup as one string."""
    started: str = ""
    """Date and time, as words."""
    sentence: str = ""
    """Why it failed, or what is wrong with its folder."""


@dataclass(frozen=True)
class Reference:
    """A published result: mean and standard deviation of returns after so many environment steps."""

    mean: float
    std: float
    timesteps: int
    source: str


class RlSetting(NamedTuple):
    """One setting a person can change."""

    name: str
    value: Number
    lo: float
    hi: float
    live: bool
    """May change during a run."""
    help: str
    kind: Literal["whole", "number", "switch"] = "number"
    optional: bool = False
    """May be None: off."""
    open_lo: bool = False
    """`lo` itself is not allowed."""


@dataclass(frozen=True)
class Setup:
    """What a run of an algorithm in an environment is made of; from the preset, with what was asked for in its place."""

    algo: str
    env: str
    total: int
    n_envs: int
    hidden: tuple[int, ...]
    settings: tuple[RlSetting, ...]
    reference: Reference | None
    note: str
    """Where the values come from."""
    title: str = ""
    """Of the algorithm."""
    batched: bool = False
    """The environment steps as tensors (unless gymnasium is asked for)."""
    solved_at: float | None = None
    memory: str = ""
    """What rollout or replay buffer will take, in words."""
    grid: tuple[str, ...] = ()
    """Map of a grid world."""
    action_names: tuple[str, ...] = ()
    text: str = ""
    """The whole setup as one string (`setup_text`)."""

    def setting(self, name: str) -> RlSetting | None:
        """The setting of that name."""
        return next((item for item in self.settings if item.name == name), None)


# --- the setup as one string ---


@dataclass(frozen=True)
class RunSetup:
    """A run's setup as it is shared; zeros and empties stand for the preset's."""

    algo: str
    env: str
    seed: int = 0
    total: int = 0
    n_envs: int = 0
    hidden: tuple[int, ...] = ()
    """(0,) is a network without hidden layers."""
    backend: str = "auto"
    settings: str = ""
    """As in `parse_settings`."""


BACKENDS = ("auto", "tensor", "gymnasium")
WORDS = ("seed", "total", "n_envs", "hidden", "backend")
EXAMPLE = "ppo CartPole-v1 seed=0 total=100000 n_envs=8 hidden=64,64 lr=0.001"
LONGEST = 4000


def parse_settings(text: str) -> dict[str, Number]:
    """ "lr=0.0003 clip_range=0.1 clip_range_vf=none normalize_advantage=yes" as names and values; UserError for anything else."""
    found: dict[str, Number] = {}
    for name, value in _pairs(text.replace(",", " ").split()):
        if name in WORDS:
            raise UserError(f"{name} is not a setting of an algorithm.", hint=f"It stands beside them, such as in: {EXAMPLE}")
        found[name] = _value(name, value)
    return found


def settings_text(values: Mapping[str, Number]) -> str:
    """Names and values as `parse_settings` reads them."""
    return " ".join(f"{name}={_word(value)}" for name, value in values.items())


def setup_text(setup: RunSetup) -> str:
    """One line that says everything about a run; `parse_setup` reads it."""
    words = [setup.algo, setup.env, f"seed={setup.seed}"]
    words += [f"{name}={getattr(setup, name)}" for name in ("total", "n_envs") if getattr(setup, name)]
    words += ["hidden=" + ",".join(map(str, setup.hidden))] if setup.hidden else []
    words += [f"backend={setup.backend}"] if setup.backend != "auto" else []
    return " ".join([*words, *setup.settings.split()])


def parse_setup(text: str) -> RunSetup:
    """The setup that a line describes; UserError with a sentence for anything that is none."""
    words = text.strip()[: LONGEST + 1].split()
    if len(words) < 2 or len(text) > LONGEST or "=" in words[0] or "=" in words[1]:
        raise UserError("A setup begins with an algorithm and an environment.", hint=f"Such as: {EXAMPLE}")
    given: dict[str, Any] = {}
    settings = []
    for word, (name, value) in zip(words[2:], _pairs(words[2:])):
        if name not in WORDS:
            settings.append(word)
        elif name == "backend":
            given[name] = value
        elif name == "hidden":
            given[name] = tuple(_whole("hidden", part) for part in value.split(","))
        else:
            given[name] = _whole(name, value)
    if given.get("backend", "auto") not in BACKENDS:
        raise UserError(f"There is no backend {given['backend'][:40]!r}.", hint=f"Choose one of: {', '.join(BACKENDS)}.")
    return RunSetup(words[0], words[1], **given, settings=settings_text(parse_settings(" ".join(settings))))


def _pairs(words: list[str]) -> list[tuple[str, str]]:
    pairs = []
    for word in words:
        name, equals, value = word.partition("=")
        if not (name and equals and value):
            raise UserError(f"{word[:60]!r} is not a name and a value.", hint="Write name=value, such as lr=0.0003.")
        if name in dict(pairs):
            raise UserError(f"{name[:60]} is given twice.", hint="Keep one of the two.")
        pairs.append((name, value))
    return pairs


def _value(name: str, text: str) -> Number:
    words: dict[str, Number] = {"none": None, "true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
    if text.lower() in words:
        return words[text.lower()]
    try:
        value = float(text)
    except ValueError:
        raise UserError(f"{name[:60]} must be a number, not {text[:60]!r}.", hint="Write it such as 0.0003 or 3e-4.") from None
    if not math.isfinite(value):
        raise UserError(f"{name[:60]} is {text[:20]}, which is not a finite number.", hint="Write it such as 0.0003 or 3e-4.")
    return int(value) if value == int(value) and abs(value) < 2**53 else value


def _whole(name: str, text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise UserError(f"{name} must be a whole number, not {text[:60]!r}.", hint=f"Such as: {EXAMPLE}")
    return int(text)


def _word(value: Number) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.12g}"
