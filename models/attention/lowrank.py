"""Low-rank attention (Linformer, Wang et al., arXiv 2006.04768): S keys and values pressed into r before they are met.

    softmax(q (E k)^T / sqrt(d)) (F v),   E, F: r x S        cost O(T r) instead of O(T S)

The paper's claim is that the matrix of weights is nearly of low rank. E and F are trained there; on the q, k, v of
another model we offer two that need no training: "pool", the mean of each of r segments, and "random", entries from
N(0, 1/r) as in the paper's proof (Johnson-Lindenstrauss). `measures.py` shows how low a head's rank really is.

The paper's form mixes all positions and so cannot be causal. Our causal form (not in the paper; kin of arXiv
2107.02192) presses every finished chunk with one E (r x c) and leaves the query's own chunk as it is; a pressed key
stands for c/r tokens, hence the log(c/r) in its score. With r = c and E = F = I both forms are softmax attention.
"""

from __future__ import annotations

import math

import torch
from einops import rearrange
from torch import Tensor

from models.attention.cost import Cost, Sizes, cost_of
from models.attention.signature import (
    ROWS_SUM_TO_ONE,
    Attended,
    AttentionError,
    check,
    default_scale,
    join,
    masked_softmax,
    pad_tokens,
    partial_softmax,
    pieces,
)
from models.attention.sparse import own_block

MIXED = "rows are mixed by F and need not sum to 1"
PROJECTIONS = ("pool", "random")


def low_rank(
    q: Tensor, k: Tensor, v: Tensor, *, causal: bool = True, want_map: bool = False, scale: float | None = None,
    rank: int = 32, chunk: int = 64, projection: str = "pool", seed: int = 0, E: Tensor | None = None, F: Tensor | None = None,
) -> Attended:  # fmt: skip
    """Attention over pressed keys. `rank` of S keys, or with `causal` of each `chunk`; E, F replace the projection."""
    check(q, k, v, own_tokens=causal)
    n = chunk if causal else k.shape[2]
    if E is None:
        E = projection_matrix(projection, min(rank, n), n, seed).to(q)      # (r, n)
    F = E if F is None else F
    if E.shape[1] != n or F.shape != E.shape:
        raise AttentionError(f"The projections {tuple(E.shape)} and {tuple(F.shape)} do not press {n} keys.")
    scale = default_scale(scale, q.shape[-1])
    out = _causal(q, k, v, E, F, scale) if causal else _whole(q, k, v, E, F, scale)
    weights = _map(q, k, E, F, scale, causal) if want_map else None
    stochastic = torch.allclose(F.sum(dim=1), torch.ones_like(F[:, 0]))
    return Attended(
        out=out, weights=weights, normalisation=ROWS_SUM_TO_ONE if stochastic else MIXED,
        cost=low_rank_cost(Sizes.of(q, k, v), causal, rank=E.shape[0], chunk=chunk),
    )  # fmt: skip


def low_rank_cost(sizes: Sizes, causal: bool = True, rank: int = 32, chunk: int = 64, projection: str = "pool", seed: int = 0) -> Cost:
    """Pressing, then r scores a query; the causal form has r for each of n chunks, and the own chunk of c tokens."""
    if not causal:
        return cost_of(sizes, flops="2 B H (S r + T r) (d + dv)", held="B H (r (d + dv) + 2 T r)", r=min(rank, sizes.S))
    return cost_of(
        sizes, flops="2 B H (n c² + n r c + T n r) (d + dv)", held="2 B H (n c² + T n r) + B H n r (d + dv)",
        r=min(rank, chunk), c=chunk, n=pieces(sizes.T, chunk),
    )  # fmt: skip


def projection_matrix(kind: str, rank: int, n: int, seed: int = 0) -> Tensor:
    """E of (rank, n) in fp64: means of `rank` segments, or Gaussian numbers of variance 1 / rank."""
    if kind not in PROJECTIONS or rank < 1:
        raise AttentionError(f"No projection {kind!r} to rank {rank}; there are {' and '.join(PROJECTIONS)}.")
    if kind == "random":
        return torch.randn(rank, n, generator=torch.Generator().manual_seed(seed)).double() * rank**-0.5
    segment = torch.arange(n) * rank // n                                   # (n,)
    member = (segment == torch.arange(rank)[:, None]).double()               # (rank, n)
    return member / member.sum(dim=1, keepdim=True)


def _whole(q: Tensor, k: Tensor, v: Tensor, E: Tensor, F: Tensor, scale: float) -> Tensor:
    """The paper's form: every query meets r pressed keys."""
    p = masked_softmax(q @ (E @ k).transpose(-1, -2) * scale)               # (B, H, T, r)
    return p @ (F @ v)                                                      # (B, H, T, dv)


def _causal(q: Tensor, k: Tensor, v: Tensor, E: Tensor, F: Tensor, scale: float) -> Tensor:
    """The own chunk as it is, finished chunks pressed; two softmaxes over disjoint keys, joined."""
    (r, c), T = E.shape, q.shape[2]
    near = own_block(q, k, v, c, causal=True, scale=scale)
    keys, values = (rearrange(pad_tokens(x, c), "b h (n c) d -> b h n c d", c=c) for x in (k, v))
    keys, values = (E @ keys).flatten(2, 3), (F @ values).flatten(2, 3)     # (B, H, n r, d)
    p, logs = partial_softmax(q @ keys.transpose(-1, -2) * scale + math.log(c / r), _finished(T, r, c, q.device))
    return join([near, (p @ values, logs)])[0]                              # (B, H, T, dv)


def _finished(T: int, r: int, c: int, device: torch.device) -> Tensor:
    """Which pressed keys belong to chunks before the query's: (T, n r)."""
    chunk = torch.arange(T, device=device) // c
    return torch.arange(pieces(T, c) * r, device=device) // r < chunk[:, None]


def _map(q: Tensor, k: Tensor, E: Tensor, F: Tensor, scale: float, causal: bool) -> Tensor:
    """The T x S matrix that acts on v: weights on pressed keys times F."""
    if not causal:
        return masked_softmax(q @ (E @ k).transpose(-1, -2) * scale) @ F
    (r, c), T = E.shape, q.shape[2]
    eye = torch.eye(pieces(T, c), dtype=q.dtype, device=q.device)
    press, mix = torch.kron(eye, E), torch.kron(eye, F)                     # (n r, n c), one block a chunk
    far = q @ (press[:, :T] @ k).transpose(-1, -2) * scale + math.log(c / r)  # (B, H, T, n r)
    i = torch.arange(T, device=q.device)
    near_mask = (i <= i[:, None]) & (i // c == i[:, None] // c)
    scores = torch.cat([q @ k.transpose(-1, -2) * scale, far], dim=-1)      # (B, H, T, T + n r)
    p = masked_softmax(scores, torch.cat([near_mask, _finished(T, r, c, q.device)], dim=-1))
    return p[..., :T] + p[..., T:] @ mix[:, :T]                             # (B, H, T, T)
