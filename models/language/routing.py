"""Statistics of routing: how even the load is, who goes where, and what chance alone would show.

    MaxVio       (max load - mean load) / mean load       Wang et al., arXiv 2408.15664, eq. 4; 0 = even, E/k - 1 = all on k experts
    CV           standard deviation / mean of the loads
    entropy      of the loads' shares, over log E          1 = even
    utilisation  load / mean load of each expert           1 = fair, 0 = dead

MaxVio of a batch (how even each pass is, averaged) and of everything (how even the sum is) differ, so both are labelled.
Short texts look uneven under any gate: `random_router` says what uniform picks show at the same number of tokens.
Co-activation and specialisation follow OLMoE (arXiv 2409.02060, section 5). Everything reads `LayerRouting` records.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from models.language.gating import LayerRouting, RoutingError, RoutingTrace, choose

EXACT_UP_TO = 1_000_000
"""Tokens times experts up to which single picks are drawn; beyond, loads are drawn from their normal limit."""
DRAWS = 4_000_000
"""Random numbers of one baseline, about a third of a second on one core."""


# --- balance ---


@dataclass(frozen=True)
class Balance:
    """Numbers of one vector of loads."""

    max_vio: float
    cv: float
    entropy: float
    dead: float

    @classmethod
    def of(cls, counts: Tensor) -> Balance:
        """From loads (..., E); leading axes are averaged over. Raises RoutingError if nothing was routed."""
        loads = counts.double()
        mean = loads.mean(-1, keepdim=True)                                 # (..., 1)
        if not bool((mean > 0).all()):
            raise RoutingError("No token was routed, so there is no load to measure.", "Give a text of at least one token.")
        share = loads / loads.sum(-1, keepdim=True)
        entropy = torch.special.entr(share).sum(-1) / math.log(max(2, loads.shape[-1]))
        return cls(
            max_vio=float((loads.amax(-1, keepdim=True) / mean - 1).mean()),
            cv=float((loads.std(-1, correction=0, keepdim=True) / mean).mean()),
            entropy=float(entropy.mean()), dead=float((loads == 0).sum(-1).double().mean()),
        )  # fmt: skip


def utilisation(counts: Tensor) -> Tensor:
    """Loads (E,) over their mean."""
    return counts.double() / counts.double().mean()


@lru_cache(maxsize=4096)
def random_router(n_experts: int, top_k: int, tokens: int, seed: int = 0) -> Balance:
    """What a gate shows that picks `top_k` different experts uniformly for each of `tokens`, averaged over simulations."""
    if not (1 <= top_k <= n_experts and tokens >= 1):
        raise RoutingError(f"{tokens} tokens cannot pick {top_k} of {n_experts} experts.")
    noise = torch.Generator().manual_seed(seed)
    size = n_experts * tokens
    repeats = max(16, min(500, DRAWS // size))
    if size > EXACT_UP_TO:
        return Balance.of(_normal_loads(n_experts, top_k, tokens, 500, noise))
    loads = []
    for _ in range(repeats):
        picks = torch.rand(tokens, n_experts, generator=noise).topk(top_k, dim=-1).indices
        loads.append(torch.bincount(picks.flatten(), minlength=n_experts))
    return Balance.of(torch.stack(loads))


def _normal_loads(n_experts: int, top_k: int, tokens: int, repeats: int, noise: torch.Generator) -> Tensor:
    """Loads (repeats, E) with the mean, variance and (negative) covariance that many uniform picks have."""
    p = top_k / n_experts
    deviation = torch.randn(repeats, n_experts, generator=noise, dtype=torch.float64)
    deviation = deviation - deviation.mean(-1, keepdim=True)                # loads sum to tokens * k
    scale = math.sqrt(tokens * p * (1 - p) * n_experts / max(1, n_experts - 1))
    return (tokens * p + scale * deviation).clamp_min(0)


@dataclass(frozen=True)
class LayerBalance:
    """One layer: all passes together (`over_all`), the mean over passes (`per_pass`), and chance for both."""

    layer: int
    counts: Tensor  # (E,)
    top_k: int
    tokens: int
    passes: int
    dropped: int  # choices whose expert was full
    over_all: Balance
    per_pass: Balance
    chance_over_all: Balance
    chance_per_pass: Balance

    @property
    def utilisation(self) -> Tensor:
        return utilisation(self.counts)


class LoadMeter:
    """Adds up loads over passes; `report` gives the numbers of every layer."""

    def __init__(self) -> None:
        self._loads: dict[int, list[Tensor]] = {}
        self._dropped: dict[int, int] = {}
        self._tokens: list[int] = []
        self._top_k: dict[int, int] = {}

    def add(self, trace: RoutingTrace, where: Tensor | None = None) -> None:
        """Count one pass; `where` (B, T) bool leaves tokens such as padding out."""
        for layer, routing in trace.layers.items():
            dropped = routing.dropped if where is None else routing.dropped & where[..., None]
            self._loads.setdefault(layer, []).append(routing.counts(where).cpu())
            self._dropped[layer] = self._dropped.get(layer, 0) + int(dropped.sum())
            self._top_k[layer] = routing.top_k
        if trace.layers:
            tokens = next(iter(trace.layers.values())).experts[..., 0]
            self._tokens.append(tokens.numel() if where is None else int(where.sum()))

    def report(self) -> list[LayerBalance]:
        """One entry a layer, in order; RoutingError if nothing was routed."""
        if not self._loads:
            raise RoutingError("No token was routed, so there is no load to measure.", "Choose a model with experts, and a text.")
        tokens, typical = sum(self._tokens), round(sum(self._tokens) / len(self._tokens))
        found = []
        for layer in sorted(self._loads):
            loads, k = torch.stack(self._loads[layer]), self._top_k[layer]
            E = loads.shape[-1]
            found.append(LayerBalance(
                layer=layer, counts=loads.sum(0), top_k=k, tokens=tokens, passes=len(loads), dropped=self._dropped[layer],
                over_all=Balance.of(loads.sum(0)), per_pass=Balance.of(loads), chance_over_all=random_router(E, k, tokens),
                chance_per_pass=random_router(E, k, max(1, typical)),
            ))  # fmt: skip
        return found


def mean_balance(found: Sequence[Balance]) -> Balance:
    """The mean over layers, number by number."""
    return Balance(**{name: sum(getattr(b, name) for b in found) / len(found) for name in vars(found[0])})


# --- one token at a time ---


def margin(routing: LayerRouting) -> Tensor:
    """Score of the last chosen expert minus that of the best one left out: (B, T), inf if none was left."""
    left = routing.scores.scatter(-1, routing.experts, -math.inf).amax(-1)  # (B, T)
    return routing.scores.gather(-1, routing.experts).amin(-1) - left


def flips(routing: LayerRouting) -> Tensor:
    """Choices that were made only because of the selection bias, (B, T, K) bool; none without a bias."""
    if routing.bias is None:
        return torch.zeros_like(routing.live)
    unbiased = choose(routing.affinities, routing.top_k, groups=routing.groups).experts  # (B, T, K)
    return ~(routing.experts[..., :, None] == unbiased[..., None, :]).any(-1)


def touched(trace: RoutingTrace) -> dict[int, int]:
    """Different experts that the tokens of a pass visit in each layer: what a check of drafted tokens must read."""
    return {layer: int((routing.counts() > 0).sum()) for layer, routing in trace.layers.items()}


def agreement(before: LayerRouting, after: LayerRouting) -> Tensor:
    """Share of the choices before that are made again, (B, T): OLMoE's router saturation between two checkpoints."""
    return (before.experts[..., :, None] == after.experts[..., None, :]).any(-1).double().mean(-1)


# --- who goes where ---


def visits(routing: LayerRouting) -> Tensor:
    """Which experts each token visits, (N, E) fp64 of 0 and 1; tokens of all sequences in a row."""
    chosen = one_hot(routing.experts, routing.n_experts) * routing.live[..., None]  # (B, T, K, E)
    return chosen.sum(-2).flatten(0, 1).double()                            # (N, E)


def co_activation(routing: LayerRouting) -> Tensor:
    """(E, E): of the tokens that visit the row's expert, the share that also visit the column's; 0 on the diagonal."""
    together = visits(routing).T @ visits(routing)                          # (E, E)
    share = together / together.diagonal()[:, None].clamp_min(1)
    return share.fill_diagonal_(0)


def flow(source: LayerRouting, target: LayerRouting) -> Tensor:
    """(E, E'): share of the tokens' visits that go from an expert of one layer to one of another; sums to 1."""
    pairs = visits(source).T @ visits(target)
    return pairs / pairs.sum().clamp_min(1)


@dataclass(frozen=True)
class Specialisation:
    """How often tokens of each label visit each expert. `chance` is k / E; an interval that holds it says nothing."""

    labels: tuple
    tokens: Tensor  # (L,) sample size
    share: Tensor  # (L, E) of the label's tokens that visit the expert
    low: Tensor  # (L, E)
    high: Tensor  # (L, E)
    chance: float

    @property
    def lift(self) -> Tensor:
        """(L, E) share over chance."""
        return self.share / self.chance

    @property
    def origin(self) -> Tensor:
        """(E, L) of an expert's tokens, the share that each label would have if all labels were equally frequent."""
        return (self.share / self.share.sum(0, keepdim=True).clamp_min(1e-12)).T


def specialisation(
    chosen: Tensor, labels: Tensor, names: Sequence | None = None, documents: Tensor | None = None, confidence: float = 0.95
) -> Specialisation:
    """By label of the token: `chosen` (N, E) as `visits` gives it, `labels` (N,) long, its domain or its id; negative: left out.

    `names[label]` names them (the number itself by default). Tokens of one document resemble one another, so their number
    overstates what is known: with `documents` (N,) long the intervals come from the spread between documents.
    """
    kept = labels >= 0
    values, index = labels[kept].unique(return_inverse=True)                # (L,), (N,)
    chosen = chosen[kept]                                                   # (N, E)
    if len(chosen) == 0:
        raise RoutingError("No token has a label, so there is nothing to compare.")
    tokens = torch.bincount(index, minlength=len(values)).double()          # (L,)
    share = _summed(chosen, index, len(values)) / tokens[:, None]           # (L, E)
    size = tokens[:, None].expand_as(share)
    if documents is not None:
        size = _effective_size(chosen, index, documents[kept], share, tokens)
    low, high = wilson(share, size, confidence)
    texts = tuple(names[int(v)] if names is not None else int(v) for v in values)
    return Specialisation(texts, tokens, share, low, high, float(chosen.sum(1).mean()) / chosen.shape[1])


def _summed(rows: Tensor, index: Tensor, count: int) -> Tensor:
    return torch.zeros(count, rows.shape[1], dtype=rows.dtype).index_add_(0, index, rows)


def _effective_size(chosen: Tensor, index: Tensor, documents: Tensor, share: Tensor, tokens: Tensor) -> Tensor:
    """How many independent tokens would vary as much as the shares of documents do, (L, E), at most the number of tokens.

    The variance of a ratio of sums over documents d, share = sum y_d / sum n_d, is
    m / (m - 1) sum_d (y_d - share n_d)^2 / (sum n_d)^2 (Cochran, Sampling Techniques, eq. 6.13); one document tells nothing.
    """
    L, E = share.shape
    cell, place = (index * (int(documents.max()) + 1) + documents).unique(return_inverse=True)
    label = cell // (int(documents.max()) + 1)                              # (cells,)
    y = _summed(chosen, place, len(cell))                                   # (cells, E)
    n = torch.bincount(place, minlength=len(cell)).double()[:, None]        # (cells, 1)
    m = torch.bincount(label, minlength=L).double()[:, None]                # (L, 1)
    spread = _summed((y - share[label] * n).square(), label, L) * m / (m - 1).clamp_min(1e-12) / tokens[:, None].square()
    size = share * (1 - share) / spread.clamp_min(1e-300)
    size = torch.where(share * (1 - share) == 0, m.expand_as(size), size)   # no spread at all: as many as documents
    return torch.where(m < 2, torch.zeros_like(size), size.minimum(tokens[:, None].expand_as(size)))


def wilson(share: Tensor, n: Tensor, confidence: float) -> tuple[Tensor, Tensor]:
    """Wilson's score interval of a share of n; (0, 1) for n = 0."""
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    centre = (share * n + z * z / 2) / (n + z * z)
    half = z * (share * (1 - share) * n + z * z / 4).sqrt() / (n + z * z)
    return (centre - half).clamp(0, 1), (centre + half).clamp(0, 1)


def contributions(routing: LayerRouting) -> tuple[float, float]:
    """Mean length of what routed and shared experts add to the residual stream; 0 where there is no shared one."""
    shared = 0.0 if routing.shared_norm is None else float(routing.shared_norm.mean())
    return float(routing.routed_norm.mean()), shared
