"""Numbers about attention: how far one is from another, what a head does, how information flows through layers.

Weights are (B, H, T, S), rows are queries. Head scores are means over rows and say nothing about the use a layer makes
of what a head brings; attention shows one mechanism and is no explanation. Definitions: induction after Olsson et al.,
arXiv 2209.11895 (prefix matching); sink after Xiao et al., arXiv 2309.17453; rollout, Abnar and Zuidema, arXiv 2005.00928.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.attention.signature import AttentionError
from models.attention.softmax import QUERIES_AT_ONCE, seen_rows


@dataclass(frozen=True, kw_only=True)
class Error:
    """How far an output is from softmax's on the same q, k, v."""

    cosine: Tensor  # (B, H, T) of each token's output with the reference; 0 if either is zero
    distance: Tensor  # (B, H, T) |out - reference| / |reference|
    mean_cosine: float
    relative_l2: float  # |out - reference| / |reference| over all numbers at once
    best_relative_l2: float  # the same after the best common factor, which unnormalised attentions have no way to know


def error(out: Tensor, reference: Tensor) -> Error:
    """`out` against `reference`, both (B, H, T, dv); best_relative_l2 = sqrt(1 - cos²) of the two as one long vector."""
    difference, norm = (out - reference).norm(dim=-1), reference.norm(dim=-1)
    tiny = torch.finfo(out.dtype).tiny
    cosine = (out * reference).sum(-1) / (out.norm(dim=-1) * norm).clamp(min=tiny)
    whole = float(reference.norm().clamp(min=tiny))
    alike = float((out * reference).sum() / (out.norm() * reference.norm()).clamp(min=tiny))
    return Error(
        cosine=cosine, distance=difference / norm.clamp(min=tiny), mean_cosine=float(cosine.mean()),
        relative_l2=float((out - reference).norm()) / whole, best_relative_l2=max(0.0, 1 - alike**2) ** 0.5,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class HeadScores:
    """What each head does with this text, all (B, H)."""

    entropy: Tensor  # nats, mean over rows of -sum w log w
    evenness: Tensor  # entropy / log(visible keys), mean over rows with at least two: 1 = spread evenly, 0 = on one key
    sink: Tensor  # mean weight on the first key, over rows that could look elsewhere; in a text's own map without the first row
    distance: Tensor | None  # mean over rows of sum w |i - j|, in tokens; None, as the next two, for maps between two things
    previous: Tensor | None  # mean weight on the token just before, over rows that have one
    itself: Tensor | None  # mean weight on the own token
    induction: Tensor | None  # mean weight on tokens that came after earlier copies of the current one; None without ids
    duplicate: Tensor | None  # mean weight on the earlier copies themselves


class RowSums:
    """Sums over rows of what `HeadScores` averages, so that maps need not be held whole: `take` piece by piece, then `scores`."""

    def __init__(self, ids: Tensor | None = None, *, causal: bool = True, own: bool = True) -> None:
        """`ids` (B, T) are the text's tokens; `own`: the map of something onto itself."""
        self.ids, self.causal, self.own = ids, causal, own
        self.totals: dict[str, Tensor] = {}
        self.counts: dict[str, Tensor] = {}

    def take(self, weights: Tensor, start: int) -> None:
        """Rows `start` onwards of the map: weights (B, H, rows, S). Keys behind the last that is seen may be missing."""
        n, S, device = weights.shape[2], weights.shape[3], weights.device
        i = torch.arange(start, start + n, device=device)
        seen = i + 1 if self.causal else torch.full_like(i, S)              # keys of each row
        entropy, every = torch.special.entr(weights).sum(-1), seen > 0
        self._add("entropy", entropy, every)
        self._add("evenness", entropy / seen.clamp(min=2).log(), seen > 1)
        self._add("sink", weights[..., 0], (seen > 1) & (i > 0) if self.own else seen > 1)
        if self.own:
            j = torch.arange(S, device=device)
            far = i - weights @ j.to(weights) if self.causal else (weights * (i[:, None] - j).abs()).sum(-1)
            self._add("distance", far, every)
            self._add("previous", _on(weights, i - 1), i > 0)
            self._add("itself", _on(weights, i), every)
        if self.ids is not None:
            same = (self.ids[:, i, None] == self.ids[:, None, :S]) & (torch.arange(S, device=device) < i[:, None])  # (B, rows, S)
            after = torch.zeros_like(same)
            after[..., 1:] = same[..., :-1]                                 # the token behind a copy, itself allowed
            self._add_where("induction", weights, after)
            self._add_where("duplicate", weights, same)

    def _add(self, name: str, values: Tensor, rows: Tensor) -> None:
        """values (B, H, rows) where `rows` (rows,) is True."""
        self._count(name, (values * rows).sum(-1), rows.sum())

    def _add_where(self, name: str, weights: Tensor, where: Tensor) -> None:
        """The weights (B, H, rows, S) at the few places where `where` (B, rows, S) is True."""
        batch, row, key = where.nonzero(as_tuple=True)
        found = weights[batch, :, row, key]                                 # (places, H)
        self._count(name, weights.new_zeros(weights.shape[:2]).index_add_(0, batch, found), where.any(-1).sum(-1)[:, None])

    def _count(self, name: str, total: Tensor, rows: Tensor) -> None:
        self.totals[name] = self.totals.get(name, 0) + total                # (B, H)
        self.counts[name] = self.counts.get(name, 0) + rows                 # () or (B, 1)

    def scores(self, none: float = 0.0) -> HeadScores:
        """Means; `none` where no row counts."""
        means = {name: (total / self.counts[name]).nan_to_num(none) for name, total in self.totals.items()}
        return HeadScores(**{**dict.fromkeys(("distance", "previous", "itself", "induction", "duplicate")), **means})


def _on(weights: Tensor, keys: Tensor) -> Tensor:
    """The weight of each row on one key (rows,), (B, H, rows); a key before the first counts as the first."""
    return weights.gather(-1, keys.clamp(min=0)[:, None].expand(*weights.shape[:3], 1))[..., 0]


def head_scores(weights: Tensor, ids: Tensor | None = None, *, causal: bool = True) -> HeadScores:
    """Scores of a square map (B, H, T, T); `ids` (B, T) are the text's tokens, for induction and duplicates."""
    if weights.shape[2] != weights.shape[3]:
        raise AttentionError(f"Head scores need a map of a text onto itself, not {weights.shape[2]} x {weights.shape[3]}.")
    sums = RowSums(ids, causal=causal)
    sums.take(weights, 0)
    return sums.scores()


def head_scores_from(
    q: Tensor, k: Tensor, ids: Tensor | None = None, *, causal: bool = True, scale: float | None = None
) -> HeadScores:
    """The same from q, k (B, H, T, d), a few rows of the map at a time, for texts whose map should not be held."""
    sums = RowSums(ids, causal=causal)
    for start in range(0, q.shape[2], QUERIES_AT_ONCE):
        sums.take(seen_rows(q, k, start, QUERIES_AT_ONCE, causal=causal, scale=scale), start)
    return sums.scores()


def rollout(layers: Sequence[Tensor], residual: float = 0.5) -> list[Tensor]:
    """How much of each token is left in each state, after layer 1, 2, ...: products of (1 - r) A + r I, each (B, T, T).

    Layers are maps (B, H, T, T), first layer first; heads are averaged, which treats them as equal, and the residual
    stream counts as a share r of looking at oneself. Rows of softmax maps sum to 1 and so do the products'.
    """
    flow, states = None, []
    for weights in layers:
        flow = rollout_step(flow, weights.mean(dim=1), residual)
        states.append(flow)
    return states


def rollout_step(flow: Tensor | None, mean: Tensor, residual: float = 0.5) -> Tensor:
    """One more layer: ((1 - r) A + r I) flow; flow (..., T, T) or None before the first layer, A the mean of its heads' maps."""
    eye = torch.eye(mean.shape[-1], dtype=mean.dtype, device=mean.device)
    step = (1 - residual) * mean + residual * eye                           # (..., T, T)
    return step if flow is None else step @ flow


def spectrum(weights: Tensor) -> Tensor:
    """Singular values of each map, largest first, as shares of their sum: (B, H, min(T, S))."""
    values = torch.linalg.svdvals(weights.float())
    return values / values.sum(dim=-1, keepdim=True)


def rank_for(weights: Tensor, share: float = 0.9) -> Tensor:
    """How many singular values make up so large a share of all, (B, H): the rank Linformer would need."""
    return (spectrum(weights).cumsum(dim=-1) < share).sum(dim=-1) + 1


def normalised_for_view(weights: Tensor, how: str) -> Tensor:
    """A map for the eye. "as it is"; "each row to 1" divides by the largest |w| of the row; "absolute" by that of the map.

    Signed maps stay signed; a caption must name what was done.
    """
    if how == "as it is":
        return weights
    if how not in ("each row to 1", "absolute"):
        raise AttentionError(f"There is no view {how!r} of a map.")
    top = weights.abs().amax(dim=-1 if how == "each row to 1" else (-2, -1), keepdim=True)
    return weights / top.masked_fill(top == 0, 1)
