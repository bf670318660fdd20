"""Softmax attention (Vaswani et al., arXiv 1706.03762, eq. 1): softmax(q k^T / sqrt(d)) v, the yardstick of all others.

`softmax` is the naive way that forms all T x S weights; `fused` is torch's kernel, which is exact and does not;
`top_k` keeps only the largest scores of each query (arXiv 1912.11637). For long texts nobody wants the whole matrix:
`log_normalisers` keeps one number a query, from which `tile` gives any part of the map exactly. This is how
FlashAttention's backward pass brings weights back. Read next: `flash.py`, `scaling.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from models.attention.cost import Cost, Sizes, cost_of
from models.attention.signature import (
    NEGATIVE_INFINITY,
    ROWS_SUM_TO_ONE,
    Attended,
    AttentionError,
    check,
    default_scale,
    masked_softmax,
    past,
)

QUERIES_AT_ONCE = 256  # rows of the map that are held at a time where the whole map is not needed


def softmax(
    q: Tensor, k: Tensor, v: Tensor, *, causal: bool = True, want_map: bool = False, scale: float | None = None, mask: Tensor | None = None
) -> Attended:
    """All weights, then all sums. `mask` (T, S), or any shape that broadcasts, is True where a query may look."""
    check(q, k, v)
    weights = softmax_weights(q, k, causal=causal, scale=scale, mask=mask)  # (B, H, T, S)
    return Attended(
        out=weights @ v, weights=weights if want_map else None, normalisation=ROWS_SUM_TO_ONE, cost=softmax_cost(Sizes.of(q, k, v)),
    )  # fmt: skip


def softmax_weights(q: Tensor, k: Tensor, *, causal: bool = True, scale: float | None = None, mask: Tensor | None = None) -> Tensor:
    """softmax(q k^T scale) over the keys that may be seen, (B, H, T, S)."""
    if causal:
        seen = past(q.shape[2], k.shape[2], q.device)
        mask = seen if mask is None else mask & seen
    scores = (q * default_scale(scale, q.shape[-1])) @ k.transpose(-1, -2)  # (B, H, T, S)
    return masked_softmax(scores, mask)


def softmax_cost(sizes: Sizes, causal: bool = True) -> Cost:
    """The whole square is computed, whatever is masked."""
    return cost_of(sizes, flops="2 B H T S (d + dv)", held="2 B H T S")


def fused(
    q: Tensor, k: Tensor, v: Tensor, *, causal: bool = True, want_map: bool = False, scale: float | None = None
) -> Attended:
    """The same by torch's fused kernel, which never forms the weights; the map is computed beside it."""
    check(q, k, v)
    T, S = q.shape[2], k.shape[2]
    seen = past(T, S, q.device) if causal and T != S else None  # torch aligns `is_causal` at the top left
    out = scaled_dot_product_attention(q, k, v, seen, is_causal=causal and seen is None, scale=scale)
    weights = softmax_weights(q, k, causal=causal, scale=scale) if want_map else None
    return Attended(out=out, weights=weights, normalisation=ROWS_SUM_TO_ONE, cost=fused_cost(Sizes.of(q, k, v)))


def fused_cost(sizes: Sizes, causal: bool = True) -> Cost:
    """One logarithm of a normaliser is kept per query; kernels that skip masked tiles need up to half the FLOPs."""
    return cost_of(sizes, flops="2 B H T S (d + dv)", held="B H T")


# Only the largest scores


def top_k(
    q: Tensor, k: Tensor, v: Tensor, *, causal: bool = True, want_map: bool = False, scale: float | None = None, keep: int = 16
) -> Attended:
    """Softmax over the `keep` largest scores of each query. All scores are computed; only the values are saved."""
    check(q, k, v)
    if keep < 1:
        raise AttentionError(f"A query must keep at least one key, not {keep}.")
    T, S = q.shape[2], k.shape[2]
    scores = (q * default_scale(scale, q.shape[-1])) @ k.transpose(-1, -2)  # (B, H, T, S)
    if causal:
        scores = scores.masked_fill(~past(T, S, q.device), NEGATIVE_INFINITY)
    best, where = scores.topk(min(keep, S), dim=-1)                         # (B, H, T, keep)
    p = masked_softmax(best, best != NEGATIVE_INFINITY)                     # (B, H, T, keep)
    values = v.gather(2, where.flatten(2)[..., None].expand(-1, -1, -1, v.shape[-1]))  # (B, H, T keep, dv)
    out = p[..., None, :] @ values.unflatten(2, where.shape[2:])            # (B, H, T, 1, dv)
    weights = torch.zeros_like(scores).scatter(-1, where, p) if want_map else None  # (B, H, T, S)
    return Attended(
        out=out[..., 0, :], weights=weights, normalisation=ROWS_SUM_TO_ONE, cost=top_k_cost(Sizes.of(q, k, v), keep=keep)
    )


def top_k_cost(sizes: Sizes, causal: bool = True, keep: int = 16) -> Cost:
    """Scores of all pairs, sums over `keep` values."""
    return cost_of(sizes, flops="2 B H T (S d + k dv)", held="B H T (S + 2 k + k dv)", k=min(keep, sizes.S))


# Parts of a large map


def log_normalisers(q: Tensor, k: Tensor, *, causal: bool = True, scale: float | None = None) -> Tensor:
    """log of the sum of exp(score) over the visible keys of each query, (B, H, T), holding a few rows at a time."""
    parts = []
    for start in range(0, q.shape[2], QUERIES_AT_ONCE):
        scores = _scores(q, k, slice(start, start + QUERIES_AT_ONCE), slice(None), causal, scale)
        parts.append(scores.logsumexp(dim=-1))                              # (B, H, rows)
    return torch.cat(parts, dim=-1)                                         # (B, H, T)


def tile(
    q: Tensor, k: Tensor, logs: Tensor, rows: slice, columns: slice, *, causal: bool = True, scale: float | None = None
) -> Tensor:
    """The map's rows and columns exactly as in the whole, (B, H, rows, columns), from the `log_normalisers`."""
    weights = (_scores(q, k, rows, columns, causal, scale) - logs[:, :, rows, None]).exp()
    return weights.nan_to_num(0.0)  # rows without any visible key: -inf - -inf


def some_rows(q: Tensor, k: Tensor, start: int, count: int, *, causal: bool = True, scale: float | None = None) -> Tensor:
    """The rows from `start` on of the map, whole, (B, H, count or what is left, S)."""
    scores = _scores(q, k, slice(start, start + count), slice(None), causal, scale)
    if q.shape[2] <= k.shape[2] or not causal:  # every query sees a key
        return scores.softmax(dim=-1)
    return masked_softmax(scores, scores != NEGATIVE_INFINITY)


def seen_rows(q: Tensor, k: Tensor, start: int, count: int, *, causal: bool = True, scale: float | None = None) -> Tensor:
    """`some_rows` without the keys that none of these rows may see, (B, H, count or what is left, keys)."""
    T, S = q.shape[2], k.shape[2]
    end = min(start + count, T)
    if not causal or T != S:
        return some_rows(q, k, start, count, causal=causal, scale=scale)
    return some_rows(q[:, :, start:end], k[:, :, :end], 0, end - start, causal=True, scale=scale)


def averaging(n: int, size: int, like: Tensor) -> Tensor:
    """A matrix (size, n) that shrinks n places to `size` means, block c over the places from floor(c n / size) on.

    Blocks part the places among them, or are single places, some of them several times, where there are fewer than `size`.
    With it the picture of a map is R A C^T, which needs only a few rows of A at a time.
    """
    edges = torch.arange(size + 1, device=like.device) * n // size         # (size + 1,)
    place = torch.arange(n, device=like.device)
    inside = (place >= edges[:-1, None]) & (place < torch.maximum(edges[1:], edges[:-1] + 1)[:, None])  # (size, n)
    return inside.to(like) / inside.sum(-1, keepdim=True)


def pooled(q: Tensor, k: Tensor, size: int, *, causal: bool = True, scale: float | None = None) -> Tensor:
    """The map shrunk to at most size x size cells (B, H, T', S'): a cell shows the largest weight in it.

    The largest, because the mean would hide single bright keys; holds a few rows of the map at a time.
    """
    T, S = q.shape[2], k.shape[2]
    high, wide = -(-T // size), -(-S // size)
    out, step = [], max(1, QUERIES_AT_ONCE // high) * high
    for start in range(0, T, step):
        part = some_rows(q, k, start, step, causal=causal, scale=scale)
        out.append(torch.nn.functional.max_pool2d(part, (high, wide), ceil_mode=True))
    return torch.cat(out, dim=2)


def _scores(q: Tensor, k: Tensor, rows: slice, columns: slice, causal: bool, scale: float | None) -> Tensor:
    T, S = q.shape[2], k.shape[2]
    scores = (q[:, :, rows] * default_scale(scale, q.shape[-1])) @ k[:, :, columns].transpose(-1, -2)
    if causal:
        i = torch.arange(T, device=q.device)[rows, None] + (S - T)
        scores = scores.masked_fill(torch.arange(S, device=q.device)[columns] > i, NEGATIVE_INFINITY)
    return scores
