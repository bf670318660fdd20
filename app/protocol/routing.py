"""Values that routing runs show and return: which experts each token visited, how even the load is, what changing the gates does.

Layers are numbered as in the model (a DeepSeek type begins with a dense layer 0, which has no experts); arrays are over the layers that
have experts, in order. `L` layers with experts, `T` tokens, `K` experts a token, `E` experts. Jobs: `app/jobs/routing.py`.

What a run of job `routing` sends, in this order:
    Record "opened"    RoutedModel, once
    Record "pass"      RoutedPass, one for each pass of the model over tokens of the text; while writing one for all tokens of a moment (in
                       step mode one a token), each followed by Step, whose index counts the passes of the model
    Preview "summary"  RoutingSummary now and then while writing; its baselines are for about as many tokens (`chance_tokens`)
    Record "summary"   RoutingSummary at the end, its baselines for exactly as many tokens
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.protocol.payloads import Payload, Tokens, _freeze

PHASES = ("all", "prompt", "generation")
NUMBERS = ("max_vio", "cv", "entropy", "dead")
NUMBER_TITLES = {"max_vio": "MaxVio", "cv": "CV", "entropy": "Entropy", "dead": "Dead experts"}
NUMBER_HELP = {
    "max_vio": "(largest load - mean load) / mean load over these tokens; 0 is even (arXiv 2408.15664, eq. 4)",
    "cv": "standard deviation of the loads over their mean; 0 is even",
    "entropy": "entropy of the loads' shares over log E; 1 is even",
    "dead": "experts that no token visited",
}


@dataclass(frozen=True, kw_only=True)
class RoutedModel:
    """What is looked at: a model with experts, its gates, and how it is steered."""

    model: str
    title: str
    number_format: str
    layers: tuple[int, ...]
    """Numbers of the layers with experts."""
    n_experts: int
    top_k: int
    """Experts a token visits in this run."""
    n_shared: int
    """Experts that every token visits besides; 0 if there are none."""
    gate: str
    """How affinities come about, in words: "sigmoid" or "softmax"."""
    has_bias: bool
    groups: tuple[int, int] | None
    """(groups, allowed) where the choice is limited to groups of experts."""
    capacity_factor: float | None
    """Places of an expert over its fair share; None: no token is ever turned away."""
    context: int
    steered: tuple[str, ...] = ()
    """What is changed at the gates, in words; empty: the model as it is."""


@dataclass(frozen=True, eq=False)
class RoutedPass(Payload):
    """What the gates decided about some tokens in a row, of one phase."""

    start: int
    """Place in the text of the first token."""
    phase: str
    """"prompt" or "generation"."""
    tokens: Tokens
    """Values: -log p of each token given those before it, in nats; nan for the first."""
    experts: np.ndarray
    """int16 (L, T, K), best first."""
    weights: np.ndarray
    """float32 (L, T, K), 0 for choices that are not live, or dropped."""
    affinities: np.ndarray
    """float32 (L, T, E)"""
    bias: np.ndarray | None
    """float32 (L, E) selection bias that was in use."""
    barred: np.ndarray
    """bool (L, T, E): could not be chosen: switched off, or of a group that was left out."""
    flips: np.ndarray
    """bool (L, T, K): chosen only because of the bias."""
    live: np.ndarray
    """bool (L, T, K): False where no expert was left to choose."""
    dropped: np.ndarray
    """bool (L, T, K): True where the expert was full."""
    margin: np.ndarray
    """float32 (L, T): score of the last chosen minus that of the best left out; inf if none was left."""
    routed_norm: np.ndarray
    """float32 (L, T): length of what the chosen experts add to the residual stream."""
    shared_norm: np.ndarray | None
    """float32 (L, T): and of what the shared experts add."""
    read: np.ndarray
    """int32 (T,): tokens that the model's pass over this token read; several for a text and for a check of drafted tokens."""
    touched: np.ndarray
    """int16 (L, T): different experts that pass read in each layer."""

    def __post_init__(self) -> None:
        (L, T, K), E = np.shape(self.experts), np.shape(self.affinities)[-1]
        shapes = {
            "experts": (np.int16, (L, T, K)), "weights": (np.float32, (L, T, K)), "affinities": (np.float32, (L, T, E)),
            "barred": (bool, (L, T, E)), "flips": (bool, (L, T, K)), "live": (bool, (L, T, K)), "dropped": (bool, (L, T, K)),
            "margin": (np.float32, (L, T)), "routed_norm": (np.float32, (L, T)), "read": (np.int32, (T,)), "touched": (np.int16, (L, T)),
        }  # fmt: skip
        optional = {"bias": (L, E), "shared_norm": (L, T)}
        shapes |= {name: (np.float32, shape) for name, shape in optional.items() if getattr(self, name) is not None}
        for name, (kind, shape) in shapes.items():
            object.__setattr__(self, name, _freeze(getattr(self, name), kind, shape, f"RoutedPass.{name}"))
        if len(self.tokens.ids) != T:
            raise ValueError(f"RoutedPass has {len(self.tokens.ids)} tokens but decisions about {T}")

    @property
    def n_experts(self) -> int:
        return self.affinities.shape[-1]


@dataclass(frozen=True)
class BalanceNumbers:
    """How even one vector of loads is; `dead` experts are counted, and a mean over simulations or layers may be broken."""

    max_vio: float
    cv: float
    entropy: float
    dead: float


@dataclass(frozen=True, kw_only=True)
class LoadTable:
    """Loads of one phase with their numbers, and what a router that picks at random shows at as many tokens."""

    tokens: int
    chance_tokens: int
    """Tokens of the random router: the same number, or one near it while the text is being written."""
    load: tuple[tuple[int, ...], ...]
    """(L, E) choices that fell on each expert."""
    layers: tuple[BalanceNumbers, ...]
    mean: BalanceNumbers
    """Over layers."""
    chance: BalanceNumbers
    """The same for every layer, since all have as many experts."""


@dataclass(frozen=True, kw_only=True)
class Checks:
    """Passes of the model that checked drafted tokens while the text was written, on average."""

    passes: int
    read: float
    """Tokens a pass read: the last of the text and the drafted ones."""
    kept: float
    """Tokens a pass added to the text."""
    touched: tuple[float, ...]
    """By layer: different experts a pass read."""
    alone: tuple[float, ...]
    """By layer: experts that one of its tokens visits."""


@dataclass(frozen=True, eq=False)
class RoutingSummary(Payload):
    """What the decisions about a text add up to."""

    layers: tuple[int, ...]
    top_k: int
    phases: dict[str, LoadTable]
    """By a word of PHASES; phases without tokens are left out."""
    together: np.ndarray
    """float32 (L, E, E): of the tokens that visit the row's expert, the share that also visit the column's."""
    together_chance: np.ndarray
    """float32 (L, E): share of all tokens that visit an expert: what `together` would be if experts were chosen independently."""
    flow: np.ndarray
    """float32 (L - 1, E, E): share of the visits that go from an expert to one of the next layer; sums to 1."""
    flipped: tuple[float, ...]
    """By layer: share of the choices made only because of the bias."""
    dropped: tuple[int, ...]
    """By layer: choices whose expert was full."""
    routed_norm: tuple[float, ...]
    shared_norm: tuple[float, ...]
    """Mean lengths by layer; `shared_norm` is empty without shared experts."""
    window: tuple[int, ...]
    """Tokens read in one pass: 1, 2, 4 …"""
    touched: np.ndarray
    """float32 (L, windows): different experts that a pass over so many neighbouring tokens reads, on average over the text."""
    touched_chance: tuple[float, ...]
    """By window: the same for a router that picks at random."""
    nats: float
    """Mean -log p of the prompt's tokens."""
    predicted: int
    """Tokens that mean is over."""
    checks: Checks | None = None
    """None where nothing was drafted."""

    def __post_init__(self) -> None:
        for name, dims in (("together", 3), ("together_chance", 2), ("flow", 3), ("touched", 2)):
            object.__setattr__(self, name, _freeze(getattr(self, name), np.float32, (None,) * dims, f"RoutingSummary.{name}"))

    @property
    def perplexity(self) -> float:
        """exp of the mean; nan if nothing was predicted."""
        return float(np.exp(self.nats)) if self.predicted else float("nan")


@dataclass(frozen=True, kw_only=True)
class SteeredSide:
    """The model as it is, or as it is steered: what it makes of the text."""

    text: str
    """What it writes after the prompt."""
    perplexity: float
    """Of the prompt, token by token; nan for a text of one token."""
    table: LoadTable
    """Over the prompt's tokens."""
    visits: int
    """Experts visited, all tokens and layers together."""
    dropped: int
    next_tokens: tuple[tuple[str, float], ...]
    """What it thinks comes next after the prompt: (text, probability), likeliest first."""


@dataclass(frozen=True, kw_only=True)
class SteerReport:
    """Before and after, on the same prompt."""

    steered: tuple[str, ...]
    layers: tuple[int, ...]
    before: SteeredSide
    after: SteeredSide
    kept: tuple[float, ...]
    """By layer: share of the choices before that are made again."""
    divergence: float
    """Mean KL(before || after) of the next-token laws over the prompt, in nats."""
    changed: int
    """Places at which another token has become the likeliest."""
    places: int


@dataclass(frozen=True, eq=False)
class SpecialistTable(Payload):
    """How often tokens of each label visit each expert, with intervals that allow for tokens of a document being alike."""

    kind: str
    """"domain" or "token"."""
    layers: tuple[int, ...]
    labels: tuple[str, ...]
    tokens: tuple[int, ...]
    """Sample size of each label."""
    documents: tuple[int, ...]
    """Different documents its tokens come from."""
    share: np.ndarray
    """float32 (L, labels, E)"""
    low: np.ndarray
    high: np.ndarray
    """95 % intervals."""
    chance: float
    """k / E."""
    least: int
    """Documents below which a label's row is not to be believed."""

    def __post_init__(self) -> None:
        for name in ("share", "low", "high"):
            shape = (len(self.layers), len(self.labels), None)
            object.__setattr__(self, name, _freeze(getattr(self, name), np.float32, shape, f"SpecialistTable.{name}"))

    def speaks(self, layer: int, label: int, expert: int) -> bool:
        """Whether the interval lies wholly on one side of chance, and enough documents stand behind it."""
        if self.documents[label] < self.least:
            return False
        return bool(self.low[layer, label, expert] > self.chance or self.high[layer, label, expert] < self.chance)


@dataclass(frozen=True, kw_only=True)
class PairReport:
    """Two texts: how differently they load the experts, against what splitting one shuffled text in two would show."""

    layers: tuple[int, ...]
    tokens: tuple[int, int]
    loads: tuple[tuple[tuple[float, ...], ...], tuple[tuple[float, ...], ...]]
    """(2, L, E) shares of each text's visits."""
    distance: tuple[float, ...]
    """By layer: total variation, half the sum of absolute differences of the shares; 0 equal, 1 disjoint."""
    chance: tuple[float, ...]
    """By layer: the same when tokens are dealt to the two texts at random (mean over shuffles)."""
    p: tuple[float, ...]
    """By layer: share of shuffles that differ at least as much."""
    perplexity: tuple[float, float]
