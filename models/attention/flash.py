"""FlashAttention (Dao et al., arXiv 2205.14135; loops as in version 2, 2307.08691): exact attention, tile by tile.

The T x S matrix of weights is never written: tiles of queries meet tiles of keys in fast memory, and a running maximum m
and sum l per query (online softmax, Milakov and Gimelshein, arXiv 1805.02867) make the softmax right in the end:

    S = scale Q K^T,  m' = max(m, rowmax S),  P = exp(S - m'),  a = exp(m - m'),  l = a l + rowsum P,  O = a O + P V

then O / l, and L = m + log l is all that is kept for the backward pass, which computes tiles of P again from L:

    D = rowsum(dO * O),  dV += P^T dO,  dS = P * (dO V^T - D),  dQ += scale dS K,  dK += scale dS^T Q

`forward_steps` and `backward_steps` do this as generators of one record a tile, with the traffic to slow memory counted
on the way; `attention` runs the same steps as a differentiable function. Written to be read: on a GPU the tiles live in
a few kilobytes beside the arithmetic, here they only show what is saved. Read next: `softmax.py`, the naive way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from models.attention.cost import Cost, Sizes, cost_of
from models.attention.signature import (
    NEGATIVE_INFINITY,
    ROWS_SUM_TO_ONE,
    Attended,
    AttentionError,
    check,
    default_scale,
    pieces,
    repeat_heads,
)
from models.attention.softmax import softmax_weights


@dataclass(frozen=True)
class Tiling:
    """Which tiles there are, and what moving them costs. Sizes count numbers, not bytes, unless a name says bytes."""

    T: int
    S: int
    d: int
    dv: int
    tile_q: int
    tile_k: int
    causal: bool
    itemsize: int = 4

    def __post_init__(self) -> None:
        if min(self.tile_q, self.tile_k) < 1:
            raise AttentionError(f"A tile must hold at least one query and one key, not {self.tile_q} and {self.tile_k}.")

    @property
    def rows(self) -> list[range]:
        """The queries of each row of tiles."""
        return [range(start, min(start + self.tile_q, self.T)) for start in range(0, self.T, self.tile_q)]

    @property
    def columns(self) -> list[range]:
        """The keys of each column of tiles."""
        return [range(start, min(start + self.tile_k, self.S)) for start in range(0, self.S, self.tile_k)]

    def needed(self, row: range, column: range) -> bool:
        """Whether any query of the row may see any key of the column: tiles above the diagonal are skipped."""
        return not self.causal or column.start <= row[-1] + self.S - self.T

    def tiles(self) -> list[tuple[range, range]]:
        """The tiles that are computed, row by row."""
        return [(row, column) for row in self.rows for column in self.columns if self.needed(row, column)]

    @property
    def forward_traffic(self) -> int:
        """A row of tiles reads its queries once and K, V of each tile; it writes its outputs and L once."""
        ends = self.T * (self.d + self.dv + 1)
        return ends + sum(len(column) * (self.d + self.dv) for _, column in self.tiles())

    @property
    def naive_traffic(self) -> int:
        """Q, K read, S written; S read, P written; P, V read, O written."""
        return self.T * (self.d + self.dv) + self.S * (self.d + self.dv) + 4 * self.T * self.S

    @property
    def backward_traffic(self) -> int:
        """D from dO, O; a column of tiles reads K, V, writes dK, dV; each tile reads Q, dO, L, D, adds to dQ."""
        return self.T * (2 * self.dv + 1) + 2 * self.S * (self.d + self.dv) + sum(
            len(row) * (self.d + self.dv + 2 + 2 * self.d) for row, _ in self.tiles()
        )

    @property
    def naive_backward_traffic(self) -> int:
        """With P kept: dV = P^T dO, dP = dO V^T, dS of P and dP, dQ = dS K, dK = dS^T Q; each reads and writes once."""
        T, S, d, dv = self.T, self.S, self.d, self.dv
        return 7 * T * S + 2 * T * dv + 2 * S * dv + 2 * (S * d + T * d)


def paper_tiles(fast_memory: int, d: int) -> tuple[int, int]:
    """Tile sizes (queries, keys) for a fast memory of so many numbers: B_c = ceil(M / 4d), B_r = min(B_c, d).

    The rule is made for the first version's loops, keys outside. With queries outside, as here, K and V are read once
    for every row of tiles: more queries in a tile is what saves traffic.
    """
    keys = max(1, pieces(fast_memory, 4 * d))
    return min(keys, d), keys


# Forward


@dataclass(frozen=True, kw_only=True)
class TileStep:
    """One tile of the forward pass done; the state before and after. Leading dimensions (B, H) are left out below."""

    index: int
    total: int  # tiles that are computed at all
    rows: range
    columns: range
    scores: Tensor  # S (rows, columns), -inf where a query may not look
    p: Tensor  # exp(S - m') (rows, columns)
    m_before: Tensor  # (rows,)
    m: Tensor  # (rows,) running maximum after the tile
    rescale: Tensor  # a = exp(m_before - m): what the old sum and output are multiplied with
    l: Tensor  # (rows,) running sum
    o: Tensor  # (rows, dv) running output, not yet divided by l
    row_done: bool  # the last tile of its queries: o / l is final
    moved_bytes: int  # to and from slow memory so far, all batches and heads
    naive_bytes: int  # what the naive way moves in all

    @property
    def partial(self) -> Tensor:
        """The attention over the keys seen so far, (rows, dv)."""
        return _divide(self.o, self.l)


def forward_steps(
    q: Tensor, k: Tensor, v: Tensor, *, tile_q: int = 64, tile_k: int = 64, causal: bool = True, scale: float | None = None,
    key_mask: Tensor | None = None,
) -> Iterator[TileStep]:  # fmt: skip
    """The tiles of softmax attention over q (B, H, T, d), k (B, H_kv, S, d), v (B, H_kv, S, dv).

    `key_mask` (B, S) is False at padding. Returns, as the generator's value, the output (B, H, T, dv) and L (B, H, T).
    """
    k, v = repeat_heads(k, q.shape[1]), repeat_heads(v, q.shape[1])
    check(q, k, v)
    plan = _plan(q, k, v, tile_q, tile_k, causal)
    scale, per = default_scale(scale, q.shape[-1]), plan.itemsize * q.shape[0] * q.shape[1]
    out, logs = q.new_zeros(*q.shape[:3], v.shape[3]), torch.full_like(q[..., 0], NEGATIVE_INFINITY)
    index, moved, total = 0, 0, len(plan.tiles())
    for row in plan.rows:
        m, l, o = _start(q, v, row)
        moved += len(row) * plan.d
        columns = [column for column in plan.columns if plan.needed(row, column)]
        for column in columns:
            moved += len(column) * (plan.d + plan.dv)
            s = tile_scores(q, k, row, column, plan, scale, key_mask)       # (B, H, rows, columns)
            before, (m, l, o, p, a) = m, update(m, l, o, s, v[:, :, _cut(column)])
            last = column is columns[-1]
            moved += len(row) * (plan.dv + 1) if last else 0                # O and L are written
            yield TileStep(
                index=index, total=total, rows=row, columns=column, scores=s, p=p, m_before=before, m=m, rescale=a, l=l, o=o,
                row_done=last, moved_bytes=moved * per, naive_bytes=plan.naive_traffic * per,
            )  # fmt: skip
            index += 1
        moved += 0 if columns else len(row) * (plan.dv + 1)                 # queries before all keys: zeros are written
        out[:, :, _cut(row)], logs[:, :, _cut(row)] = _divide(o, l), m + l.log()
    return out, logs


def update(m: Tensor, l: Tensor, o: Tensor, s: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The online softmax: m, l (..., r), o (..., r, dv) and new scores s (..., r, c), values v (..., c, dv).

    Returns the new m, l, o, then P and the factor a. A row that has seen no key has m = -inf, and stays at zero.
    """
    new = torch.maximum(m, s.amax(dim=-1))                                  # (..., r)
    base = new.masked_fill(new == NEGATIVE_INFINITY, 0)                     # -inf - -inf would be no number
    p = (s - base[..., None]).exp()                                         # (..., r, c)
    a = (m - base).exp()                                                    # (..., r)
    return new, a * l + p.sum(dim=-1), a[..., None] * o + p @ v, p, a


def tile_scores(
    q: Tensor, k: Tensor, row: range, column: range, plan: Tiling, scale: float, key_mask: Tensor | None
) -> Tensor:
    """scale Q K^T of one tile, (B, H, rows, columns), -inf where a query may not look."""
    s = q[:, :, _cut(row)] @ k[:, :, _cut(column)].transpose(-1, -2) * scale
    if plan.causal and column[-1] > row[0] + plan.S - plan.T:
        i = torch.arange(row.start, row.stop, device=q.device)[:, None] + (plan.S - plan.T)
        s = s.masked_fill(torch.arange(column.start, column.stop, device=q.device) > i, NEGATIVE_INFINITY)
    if key_mask is not None:
        s = s.masked_fill(~key_mask[:, None, None, _cut(column)], NEGATIVE_INFINITY)
    return s


# Backward


@dataclass(frozen=True, kw_only=True)
class BackwardTile:
    """One tile of the backward pass: the weights brought back from L, and the gradient of the scores."""

    index: int
    total: int
    rows: range
    columns: range
    p: Tensor  # (rows, columns) exp(S - L), the true weights
    ds: Tensor  # (rows, columns) gradient of the scores after scaling
    moved_bytes: int
    naive_bytes: int


def backward_steps(
    q: Tensor, k: Tensor, v: Tensor, out: Tensor, logs: Tensor, dout: Tensor, *, tile_q: int = 64, tile_k: int = 64,
    causal: bool = True, scale: float | None = None, key_mask: Tensor | None = None,
) -> Iterator[BackwardTile]:  # fmt: skip
    """The gradients of q, k, v (equal heads) from the forward's `out` and L = `logs`, tile by tile, keys outside.

    Returns (dq, dk, dv) as the generator's value.
    """
    plan = _plan(q, k, v, tile_q, tile_k, causal)
    scale, per = default_scale(scale, q.shape[-1]), plan.itemsize * q.shape[0] * q.shape[1]
    delta = (dout * out).sum(dim=-1)                                        # D, (B, H, T)
    dq, dk, dv = torch.zeros_like(q), torch.zeros_like(k), torch.zeros_like(v)
    index, moved, total = 0, plan.T * (2 * plan.dv + 1), len(plan.tiles())
    for column in plan.columns:
        keys = _cut(column)
        moved += 2 * len(column) * (plan.d + plan.dv)
        for row in (row for row in plan.rows if plan.needed(row, column)):
            queries = _cut(row)
            moved += len(row) * (3 * plan.d + plan.dv + 2)
            p = _weights_again(tile_scores(q, k, row, column, plan, scale, key_mask), logs[:, :, queries])
            dv[:, :, keys] += p.transpose(-1, -2) @ dout[:, :, queries]
            dp = dout[:, :, queries] @ v[:, :, keys].transpose(-1, -2)      # (B, H, rows, columns)
            ds = p * (dp - delta[:, :, queries, None])
            dq[:, :, queries] += scale * ds @ k[:, :, keys]
            dk[:, :, keys] += scale * ds.transpose(-1, -2) @ q[:, :, queries]
            yield BackwardTile(
                index=index, total=total, rows=row, columns=column, p=p, ds=ds,
                moved_bytes=moved * per, naive_bytes=plan.naive_backward_traffic * per,
            )  # fmt: skip
            index += 1
    return dq, dk, dv


def _weights_again(scores: Tensor, logs: Tensor) -> Tensor:
    """exp(S - L); queries that saw nothing have L = -inf and get zeros."""
    return (scores - logs.masked_fill(logs == NEGATIVE_INFINITY, 0)[..., None]).exp()


# As a function


class _Flash(Function):
    """Both passes by tiles; kept in between are q, k, v, the output and one number a query."""

    @staticmethod
    def forward(ctx, q, k, v, key_mask, tile_q, tile_k, causal, scale):
        options = {"tile_q": tile_q, "tile_k": tile_k, "causal": causal, "scale": scale, "key_mask": key_mask}
        out, logs = _run(forward_steps(q, k, v, **options))
        ctx.save_for_backward(q, k, v, out, logs)
        ctx.options = options
        ctx.mark_non_differentiable(logs)
        return out, logs

    @staticmethod
    @once_differentiable
    def backward(ctx, dout, _):
        return *_run(backward_steps(*ctx.saved_tensors, dout, **ctx.options)), None, None, None, None, None


def _run(steps: Iterator) -> tuple[Tensor, ...]:
    """The value a generator returns when its steps are through."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def attention(
    q: Tensor, k: Tensor, v: Tensor, *, causal: bool = True, scale: float | None = None, tile_q: int = 64, tile_k: int = 64,
    key_mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The output (B, H, T, dv) and L (B, H, T), differentiable in q, k, v; k and v may have fewer heads than q."""
    k, v = repeat_heads(k, q.shape[1]), repeat_heads(v, q.shape[1])
    return _Flash.apply(q, k, v, key_mask, tile_q, tile_k, causal, default_scale(scale, q.shape[-1]))


def flash(
    q: Tensor, k: Tensor, v: Tensor, *, causal: bool = True, want_map: bool = False, scale: float | None = None,
    tile_q: int = 64, tile_k: int = 64,
) -> Attended:  # fmt: skip
    """Softmax attention without its matrix; the map, if wanted, comes from the naive way."""
    check(q, k, v)
    out, _ = attention(q, k, v, causal=causal, scale=scale, tile_q=tile_q, tile_k=tile_k)
    weights = softmax_weights(q, k, causal=causal, scale=scale) if want_map else None
    cost = flash_cost(Sizes.of(q, k, v), causal, tile_q=tile_q, tile_k=tile_k)
    return Attended(out=out, weights=weights, normalisation=ROWS_SUM_TO_ONE, cost=cost)


def flash_cost(sizes: Sizes, causal: bool = True, tile_q: int = 64, tile_k: int = 64) -> Cost:
    """P pairs in the tiles that are not skipped. Of what it computes, only L is written; K and V are read again and again."""
    s = sizes
    plan = Tiling(s.T, s.S, s.d, s.dv, tile_q, tile_k, causal, s.itemsize)
    pairs = sum(len(row) * len(column) for row, column in plan.tiles())
    cost = cost_of(sizes, flops="2 B H P (d + dv)", held="B H T", P=pairs)
    return Cost(**{**vars(cost), "moved_bytes": plan.forward_traffic * s.B * s.H * s.itemsize})


def row_without_maximum(q: Tensor, k: Tensor, dtype: torch.dtype = torch.float16, scale: float | None = None) -> Tensor:
    """The softmax of one query q (d,) over k (S, d) as the formula says it, without subtracting the maximum, (S,).

    In fp16 exp(12) already overflows, and the row ends as inf / inf: no number.
    """
    scores = (k @ q * default_scale(scale, q.shape[-1])).to(dtype)          # (S,)
    powers = scores.exp()
    return powers / powers.sum()


def _plan(q: Tensor, k: Tensor, v: Tensor, tile_q: int, tile_k: int, causal: bool) -> Tiling:
    return Tiling(q.shape[2], k.shape[2], q.shape[3], v.shape[3], tile_q, tile_k, causal, q.element_size())


def _start(q: Tensor, v: Tensor, row: range) -> tuple[Tensor, Tensor, Tensor]:
    """Before the first tile: m = -inf, l = 0, O = 0."""
    like = q[:, :, _cut(row), 0]                                            # (B, H, rows)
    return torch.full_like(like, NEGATIVE_INFINITY), torch.zeros_like(like), like.new_zeros(*like.shape, v.shape[3])


def _cut(part: range) -> slice:
    return slice(part.start, part.stop)


def _divide(o: Tensor, l: Tensor) -> Tensor:
    return o / l.masked_fill(l == 0, 1)[..., None]
