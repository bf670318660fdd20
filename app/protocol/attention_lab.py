"""Values of the attention lab: what other attentions make of one head's q, k, v, tiles of FlashAttention, sharpness of a softmax.

Maps have query rows and key columns; `block` says how many of each stand behind one value. Jobs: `app/jobs/attention_lab.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.protocol.payloads import Payload, Tokens, _freeze

Value = int | float | str | bool
Settings = tuple[tuple[str, Value], ...]
"""Knobs of a mechanism with their values."""


@dataclass(frozen=True, kw_only=True)
class MechanismKnob:
    """One setting of a mechanism: a number within [lo, hi], one of `choices`, or a switch."""

    name: str
    default: Value
    help: str
    lo: float | None = None
    hi: float | None = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class MechanismKind:
    """A row of the table of attentions (`models/attention/table.py`)."""

    name: str
    title: str
    exact: str
    """"exact", "subset", "approximation" or "other law"."""
    causal: str
    """"yes", "values", "adapted" or "no"."""
    arxiv: str
    about: str
    scaled: bool
    knobs: tuple[MechanismKnob, ...] = ()

    @property
    def defaults(self) -> dict[str, Value]:
        """All knobs as they stand at first."""
        return {knob.name: knob.default for knob in self.knobs}


@dataclass(frozen=True, kw_only=True)
class LabHead:
    """Whose q, k and v are worked on."""

    title: str
    sentence: str
    tokens: Tokens
    causal: bool
    width: int
    """d of q and k, and of v."""
    scale: float
    """Factor of the scores, 1 / sqrt(d)."""
    layers: int = 0
    """Of the model; 0 for random heads."""
    heads: int = 0


@dataclass(frozen=True, eq=False)
class MechanismView(Payload):
    """One mechanism on the head: `map` float32 (r, c), how far its output is from softmax's, and what it costs."""

    map: np.ndarray
    name: str
    title: str
    settings: Settings
    block: tuple[int, int]
    normalisation: str
    """What a row of the map sums to, in words."""
    cosine: float
    """Mean over tokens of the cosine between this output and softmax's."""
    relative_l2: float
    best_relative_l2: float
    """After the best common factor."""
    flops: int
    held_bytes: int
    """By formula: what is written between reading q, k, v and writing the output."""
    moved_bytes: int
    """By formula: traffic to slow memory."""
    peak_bytes: int
    """Measured: most memory held at once besides q, k, v."""
    seconds: float
    """Measured: the shortest of a few calls without the map."""
    flops_formula: str
    held_formula: str
    symbols: tuple[tuple[str, float], ...]
    tokens: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "map", _freeze(self.map, np.float32, (None, None), "MechanismView.map"))


@dataclass(frozen=True, kw_only=True)
class LengthRow:
    """One mechanism at one length of text; cost by formula, seconds and error measured where they are not None."""

    name: str
    title: str
    tokens: int
    flops: int
    held_bytes: int
    moved_bytes: int
    seconds: float | None
    relative_l2: float | None


@dataclass(frozen=True, eq=False)
class TilePlan(Payload):
    """What a tiled pass will do. `weights` float32 (r, c): softmax's whole map, which the tiled way never holds."""

    weights: np.ndarray
    phase: str
    """"forward" or "backward"."""
    tokens: int
    width: int
    tile_q: int
    tile_k: int
    tiles: int
    causal: bool
    naive_bytes: int
    tiled_bytes: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", _freeze(self.weights, np.float32, (None, None), "TilePlan.weights"))


@dataclass(frozen=True, eq=False)
class TileView(Payload):
    """One tile done. Backward: `values` are gradients of the scores, and m, l, rescale, partial are empty."""

    index: int
    rows: tuple[int, int]
    columns: tuple[int, int]
    values: np.ndarray
    """float32 (r, c): exp(S - m') of the forward pass."""
    m_before: np.ndarray
    """float32 (r,): running maximum before the tile, -inf at first."""
    m: np.ndarray
    l: np.ndarray
    rescale: np.ndarray
    """float32 (r,): exp(m_before - m), what the old sum and output were multiplied with."""
    partial: np.ndarray
    """float32 (r, d): the output over the keys seen so far."""
    row_done: bool
    moved_bytes: int
    difference: float
    """Largest difference so far between finished outputs and the naive way's; nan while nothing is finished."""

    def __post_init__(self) -> None:
        for name, shape in (("values", 2), ("m_before", 1), ("m", 1), ("l", 1), ("rescale", 1), ("partial", 2)):
            object.__setattr__(self, name, _freeze(getattr(self, name), np.float32, (None,) * shape, name))


@dataclass(frozen=True, kw_only=True)
class ScalePoint:
    """Sharpness of a softmax at one width and scale, means over rows; see `models/attention/scaling.py`."""

    rule: str
    """"now", a rule such as "1/sqrt(d)" for growing widths, or "factor" for a trained head under growing scales."""
    width: int
    scale: float
    score_std: float
    entropy: float
    """nats"""
    theory: float
    """log n - sigma^2 / 2 of Gaussian scores, 0 beyond freezing; nats."""
    largest: float
    saturated: float
    """Share of rows whose strongest key has more than 0.99."""
    gradient: float
    """rms of what arrives at q's entries when N(0, 1) arrives at each weight."""


@dataclass(frozen=True, eq=False)
class ScaleReport(Payload):
    """One softmax row under a scale, its sharpness, and the curves around it."""

    row: np.ndarray
    """float32 (keys,): weights of one query, its last key last."""
    scores: np.ndarray
    """float32 (keys,): the scaled scores."""
    now: ScalePoint
    keys: int
    curves: tuple[ScalePoint, ...]

    def __post_init__(self) -> None:
        for name in ("row", "scores"):
            object.__setattr__(self, name, _freeze(getattr(self, name), np.float32, (None,), name))


@dataclass(frozen=True, kw_only=True)
class Learner:
    """A small language model in a race: which attention, and how large."""

    name: str
    """As the job wrote it, settings included."""
    title: str
    parameters: int


@dataclass(frozen=True, kw_only=True)
class LearnerPoint:
    """A learner after an update (`test` False: on the batch of the update; True: on a batch that no update sees)."""

    name: str
    step: int
    loss: float
    """nats a token that counts"""
    accuracy: float
    test: bool = False
    seconds: float = 0.0
    """Spent on this learner so far."""
