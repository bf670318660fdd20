"""Gates of mixture-of-experts layers: how experts are chosen, how a person may interfere, and what was decided.

    logits = W x,   affinity = softmax or sigmoid of them,   chosen = top k of (affinity + selection bias)

The weights that the chosen experts get differ from family to family and stand in each model's file. `RoutingTrace` and
`Steering` are arguments of a forward pass: decisions are read at the gate itself, and nothing stays on the model.
Read next: `moe.py`, `deepseek_v3.py`; statistics of a trace are in `routing.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.linalg import vector_norm
from torch.nn.functional import linear, one_hot


class RoutingError(ValueError):
    """A wish that the gates cannot fulfil."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


@dataclass(frozen=True, kw_only=True)
class Groups:
    """Group-limited choice (DeepSeek-V3, section 2.1.2): only the best `allowed` of `count` groups of experts compete."""

    count: int
    allowed: int

    def admitted(self, scores: Tensor) -> Tensor:
        """(..., G) bool: the groups with the largest sums of their two best scores (..., E)."""
        best = scores.unflatten(-1, (self.count, -1)).topk(2, dim=-1).values.sum(-1)  # (..., G)
        chosen = best.topk(self.allowed, dim=-1).indices
        return torch.zeros_like(best, dtype=torch.bool).scatter(-1, chosen, True)


@dataclass(frozen=True)
class Choice:
    """Experts (B, T, K), best first, which of them are `live` (B, T, K), and the scores (B, T, E) that decided.

    `all_live` is known without looking: nothing was switched off, and the admitted groups hold enough experts.
    """

    experts: Tensor
    live: Tensor
    scores: Tensor
    all_live: bool

    def weigh(self, affinities: Tensor) -> Tensor:
        """Affinities (B, T, E) of the chosen, (B, T, K); 0 for choices that are not live."""
        weights = affinities.gather(-1, self.experts)
        return weights if self.all_live else weights * self.live

    def visit(self, bank: nn.Module, x: Tensor, weights: Tensor) -> Tensor:
        """Send x (B, T, dim) to its experts: (B, T, dim)."""
        kept = None if self.all_live else self.live.flatten(0, 1)
        return bank(x.flatten(0, 1), self.experts.flatten(0, 1), weights.flatten(0, 1), kept).view_as(x)


@dataclass(frozen=True, kw_only=True)
class LayerRouting:
    """What the gate of one layer decided about the tokens (B, T) of one pass; K choices among E experts."""

    layer: int
    experts: Tensor  # (B, T, K) long, best score first
    weights: Tensor  # (B, T, K) fp32; 0 for choices that are not live, or dropped
    logits: Tensor  # (B, T, E) fp32
    affinities: Tensor  # (B, T, E) fp32
    scores: Tensor  # (B, T, E) fp32 what the choice was made by: affinity plus bias, -inf for experts not admitted
    bias: Tensor | None  # (E,) fp32 selection bias
    live: Tensor  # (B, T, K) bool; False: no expert was left to choose, because of those switched off or a larger k
    dropped: Tensor  # (B, T, K) bool; True: the expert was full, the token passed by
    groups: Groups | None
    routed_norm: Tensor  # (B, T) length of what the chosen experts add to the residual stream
    shared_norm: Tensor | None  # (B, T) and of what shared experts add

    @property
    def n_experts(self) -> int:
        return self.logits.shape[-1]

    @property
    def top_k(self) -> int:
        return self.experts.shape[-1]

    def counts(self, where: Tensor | None = None) -> Tensor:
        """How many choices fell on each expert, dropped ones included: (E,) long; `where` (B, T) bool limits the tokens."""
        counted = self.live if where is None else self.live & where[..., None]
        return torch.bincount(self.experts[counted], minlength=self.n_experts)


class Noted(NamedTuple):
    """What a gate handed over about one pass; `LayerRouting` is worked out of it when somebody looks."""

    choice: Choice
    weights: Tensor
    logits: Tensor
    affinities: Tensor
    routed: Tensor
    shared: Tensor | None
    bias: Tensor | None
    kept: Tensor | None
    groups: Groups | None


class RoutingTrace:
    """Collects the decisions of one pass, layer by layer: `layers[3].experts`.

    Values are detached unless `with_graph`, which losses on the gates need. Noting costs next to nothing, so that a text may be written
    with a trace of every token: what follows from the notes is worked out by `layers`, or by `gathered` for many passes at once.
    """

    def __init__(self, *, with_graph: bool = False) -> None:
        self.with_graph = with_graph
        self.notes: dict[int, Noted] = {}
        self._layers: dict[int, LayerRouting] = {}

    def note(
        self,
        layer: int,
        choice: Choice,
        weights: Tensor,
        logits: Tensor,
        affinities: Tensor,
        routed: Tensor,
        *,
        shared: Tensor | None = None,
        bias: Tensor | None = None,
        kept: Tensor | None = None,
        groups: Groups | None = None,
    ) -> None:
        """Called by a gate; `routed` and `shared` are outputs (B, T, dim), `kept` (B, T, K) the choices that found a place."""
        bias = None if bias is None else bias.clone()  # a training moves it
        self.notes[layer] = Noted(choice, weights, logits, affinities, routed, shared, bias, kept, groups)

    @property
    def layers(self) -> dict[int, LayerRouting]:
        """What the gate of each layer decided, in the order of the pass."""
        for layer, note in self.notes.items():
            if layer not in self._layers:
                self._layers[layer] = _routing(layer, note, self.with_graph)
        return self._layers


def _routing(layer: int, note: Noted, with_graph: bool) -> LayerRouting:
    keep = (lambda value: value) if with_graph else Tensor.detach
    choice, kept = note.choice, note.kept
    return LayerRouting(
        layer=layer, experts=choice.experts, weights=keep(note.weights), logits=keep(note.logits), affinities=keep(note.affinities),
        scores=choice.scores, bias=note.bias, live=choice.live,
        dropped=torch.zeros_like(choice.live) if kept is None else choice.live & ~kept, groups=note.groups,
        routed_norm=vector_norm(note.routed.detach(), dim=-1),
        shared_norm=None if note.shared is None else vector_norm(note.shared.detach(), dim=-1),
    )  # fmt: skip


def gathered(traces: Sequence[RoutingTrace], spans: Sequence[tuple[int, int]]) -> LayerRouting:
    """Tokens `first` to `end` of each pass over one text in a row, with the layers, in order, in the place of sequences: (L, T, ...).

    `bias` is (L, E), `layer` the first one. Each field is put together once, however many passes and layers there are.
    """
    layers = sorted(traces[0].notes)
    notes = [(trace.notes[layer], span) for layer in layers for trace, span in zip(traces, spans)]

    def rows(pick: Callable[[Noted], Tensor]) -> Tensor:
        found = [pick(note) for note, _ in notes]
        if any(end - first != value.shape[1] for value, (_, (first, end)) in zip(found, notes)):
            found = [value[:, first:end] for value, (_, (first, end)) in zip(found, notes)]
        return torch.cat(found, 1).unflatten(1, (len(layers), -1))[0]       # (L, T, ...)

    like = notes[0][0]
    whole = Noted(
        Choice(rows(lambda n: n.choice.experts), rows(lambda n: n.choice.live), rows(lambda n: n.choice.scores), like.choice.all_live),
        rows(lambda n: n.weights), rows(lambda n: n.logits), rows(lambda n: n.affinities), rows(lambda n: n.routed),
        None if like.shared is None else rows(lambda n: n.shared),
        None if like.bias is None else torch.stack([traces[-1].notes[layer].bias for layer in layers]),
        None if like.kept is None else rows(lambda n: n.kept), like.groups,
    )  # fmt: skip
    return _routing(layers[0], whole, with_graph=False)


@dataclass(frozen=True, kw_only=True)
class Steering:
    """What is changed at the gates for one pass. Pairs are (layer, expert).

    `jitter` multiplies the gate's input by uniform noise from 1 - jitter to 1 + jitter (Switch, arXiv 2101.03961).
    """

    off: frozenset[tuple[int, int]] = frozenset()
    force: frozenset[tuple[int, int]] = frozenset()
    top_k: int | None = None
    use_bias: bool = True
    capacity_factor: float | None = None
    jitter: float = 0.0
    generator: torch.Generator | None = field(default=None, compare=False)

    def check(self, gated: frozenset[int], n_experts: int) -> None:
        """Raise RoutingError if a layer, an expert or k is out of range; `gated` are the layers with experts."""
        if wrong := sorted(layer for layer, _ in self.off | self.force if layer not in gated):
            raise RoutingError(f"Layer {wrong[0]} has no experts.", f"Layers with experts are {_spans(gated)}.")
        if wrong := sorted(e for _, e in self.off | self.force if not 0 <= e < n_experts):
            raise RoutingError(f"There is no expert {wrong[0]}.", f"Experts are numbered 0 to {n_experts - 1}.")
        if both := sorted(self.off & self.force):
            raise RoutingError(f"Expert {both[0][1]} of layer {both[0][0]} cannot be switched off and forced at once.")
        if self.top_k is not None and not 1 <= self.top_k <= n_experts:
            raise RoutingError(f"A token cannot visit {self.top_k} of {n_experts} experts.", f"Choose 1 to {n_experts}.")


def _spans(layers: frozenset[int]) -> str:
    found = sorted(layers)
    return f"{found[0]} to {found[-1]}" if len(found) > 1 else ", ".join(map(str, found)) or "none"


AS_IS = Steering()
"""Nothing is changed."""


def gate_logits(x: Tensor, weight: Tensor, steer: Steering = AS_IS) -> Tensor:
    """W x in fp32 whatever x is: x (B, T, dim), W (E, dim) -> (B, T, E). A gate in half precision flips choices."""
    with torch.autocast(x.device.type, enabled=False):
        x = x.float()
        if steer.jitter:
            noise = torch.rand(x.shape, generator=steer.generator).to(x.device)
            x = x * (1 + steer.jitter * (2 * noise - 1))
        return linear(x, weight.float())                                    # (B, T, E)


def choose(scores: Tensor, k: int, layer: int = 0, steer: Steering = AS_IS, groups: Groups | None = None) -> Choice:
    """The k best of scores (B, T, E), under group limits and steering; forced experts come first, groups or not."""
    off = [e for at, e in steer.off if at == layer]
    forced = [e for at, e in steer.force if at == layer]
    scores = scores.detach()
    if off:
        scores = scores.index_fill(-1, torch.tensor(off, device=scores.device), -math.inf)
    ranked = scores
    if groups is not None:
        finite = scores.nan_to_num(neginf=torch.finfo(scores.dtype).min / 4)  # two of them still add up
        admitted = groups.admitted(finite).repeat_interleave(scores.shape[-1] // groups.count, dim=-1)  # (B, T, E)
        scores = ranked = scores.masked_fill(~admitted, -math.inf)
    if forced:
        ranked = scores.index_fill(-1, torch.tensor(forced, device=scores.device), math.inf)
    values, experts = ranked.topk(k, dim=-1)                                # (B, T, K)
    enough = groups is None or k * groups.count <= groups.allowed * scores.shape[-1]
    return Choice(experts, values > -math.inf, scores, all_live=enough and not off)


def capacity(factor: float, tokens: int, k: int, n_experts: int) -> int:
    """Places of one expert, ceil(factor k tokens / E): Switch's for k = 1, GShard's for k = 2."""
    return math.ceil(factor * k * tokens / n_experts)


def within_capacity(experts: Tensor, n_experts: int, places: int) -> Tensor:
    """Which choices (B, T, K) find a place, (B, T, K) bool; every sequence has its own `places` in each expert.

    Tokens come in order; all first choices go before any second choice (GShard, arXiv 2006.16668, algorithm 1).
    """
    B, T, K = experts.shape
    queue = one_hot(experts.transpose(1, 2).reshape(B, K * T), n_experts)   # (B, K T, E)
    number = (queue.cumsum(1) * queue).sum(-1)                              # (B, K T) 1 = the first in its expert
    return (number <= places).view(B, K, T).transpose(1, 2)                 # (B, T, K)
