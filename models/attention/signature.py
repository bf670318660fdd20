"""The one signature of all attentions here: `f(q, k, v, *, causal, want_map, knobs …) -> Attended`.

q is (B, H, T, d), k (B, H, S, d), v (B, H, S, dv). With `causal` query i of T may look at keys up to i + S - T, so
that the last query sees the last key (the alignment of a text that goes on after a cache). With `want_map` the T x S
matrix A of weights is returned too, `out = A v`. The output never comes from that matrix: it is computed the way the
method saves work, and tests hold the two against each other.

Several methods attend to disjoint sets of keys in turn and join the parts, as FlashAttention joins tiles. All it takes
is each part's output and the logarithm of its normaliser: `partial_softmax` and `join` below.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.attention.cost import Cost

ROWS_SUM_TO_ONE = "rows sum to 1"
NEGATIVE_INFINITY = float("-inf")


class AttentionError(ValueError):
    """Shapes or knobs that make no attention: what is wrong, and what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        self.message, self.hint = message, hint
        super().__init__(message)


@dataclass(frozen=True, kw_only=True)
class Attended:
    """What an attention gives."""

    out: Tensor  # (B, H, T, dv)
    weights: Tensor | None = None  # (B, H, T, S) if it was asked for; out = weights v (times the gate, if there is one)
    normalisation: str  # of the rows of `weights`, in words for the picture
    cost: Cost


def check(q: Tensor, k: Tensor, v: Tensor, *, own_tokens: bool = False) -> None:
    """Raise AttentionError unless the shapes fit; `own_tokens`: queries and keys must belong to the same tokens."""
    if not q.ndim == k.ndim == v.ndim == 4:
        raise AttentionError(f"q, k and v need 4 dimensions (batch, heads, tokens, width), not {q.ndim}, {k.ndim}, {v.ndim}.")
    if q.shape[:2] != k.shape[:2] or k.shape[:3] != v.shape[:3] or q.shape[3] != k.shape[3]:
        raise AttentionError(
            f"q {tuple(q.shape)}, k {tuple(k.shape)} and v {tuple(v.shape)} do not fit together.",
            "Repeat shared key heads with `repeat_heads` first.",
        )
    if own_tokens and q.shape[2] != k.shape[2]:
        raise AttentionError(f"{q.shape[2]} queries cannot be paired with {k.shape[2]} keys: this attention works within one text.")
    if 0 in q.shape or 0 in v.shape:
        raise AttentionError("Attention needs at least one token.", "Type some text.")


def repeat_heads(kv: Tensor, n_heads: int) -> Tensor:
    """Shared keys or values (B, H_kv, S, d) once for every query head: (B, n_heads, S, d), arXiv 2305.13245."""
    if n_heads % kv.shape[1]:
        raise AttentionError(f"{n_heads} query heads cannot share {kv.shape[1]} key heads evenly.")
    return kv.repeat_interleave(n_heads // kv.shape[1], dim=1)


def default_scale(scale: float | None, d: int) -> float:
    """The factor of the scores: 1 / sqrt(d) unless told otherwise (`scaling.py` shows why)."""
    return d**-0.5 if scale is None else scale


def past(T: int, S: int, device: torch.device | None = None) -> Tensor:
    """What causal attention may see: (T, S), True where key j <= query i + S - T."""
    i = torch.arange(T, device=device)[:, None] + (S - T)                   # (T, 1)
    return torch.arange(S, device=device) <= i                              # (T, S)


def masked_softmax(scores: Tensor, mask: Tensor | None = None) -> Tensor:
    """Softmax over the keys where `mask` is True, (..., T, S); a query that may look nowhere gets zeros."""
    scores, empty = _masked(scores, mask)
    p = scores.softmax(dim=-1)
    return p if empty is None else p.masked_fill(empty, 0)


def partial_softmax(scores: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """`masked_softmax` and the logarithms of its normalisers (..., T), -inf for a query that may look nowhere."""
    scores, empty = _masked(scores, mask)
    p, logs = scores.softmax(dim=-1), scores.logsumexp(dim=-1)              # (..., T, S), (..., T)
    if empty is None:
        return p, logs
    return p.masked_fill(empty, 0), logs.masked_fill(empty[..., 0], NEGATIVE_INFINITY)


def _masked(scores: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Scores with -inf where the mask is False, and which queries (..., T, 1) may look nowhere, if any.

    Those get zeros for now: a row of -inf alone would give no number, in the gradient too.
    """
    if mask is None:
        return scores, None
    empty = ~mask.any(dim=-1, keepdim=True)                                 # (..., T, 1)
    scores = scores.masked_fill(~mask, NEGATIVE_INFINITY)
    return (scores.masked_fill(empty, 0), empty) if empty.any() else (scores, None)


def join(parts: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """The softmax over several sets of keys from that over each: pairs of output (..., T, dv) and log-normaliser (..., T).

    The part with normaliser Z_r has the share Z_r / sum Z. A key that stands in several sets counts several times.
    """
    logs = torch.stack([log for _, log in parts], dim=-1)                   # (..., T, parts)
    share, log_total = partial_softmax(logs, logs != NEGATIVE_INFINITY)     # (..., T, parts), (..., T)
    outs = torch.stack([out for out, _ in parts], dim=-2)                   # (..., T, parts, dv)
    return (share[..., None] * outs).sum(dim=-2), log_total                 # (..., T, dv)


def pad_tokens(x: Tensor, multiple: int) -> Tensor:
    """x (B, H, T, d) with zeros after the last token up to the next multiple."""
    missing = -x.shape[2] % multiple
    return torch.nn.functional.pad(x, (0, 0, 0, missing)) if missing else x


def pieces(length: int, size: int) -> int:
    """How many pieces of `size` cover `length`."""
    return math.ceil(length / size)
