"""Sparse attention that does only the work its pattern asks for; `patterns.py` has the patterns as matrices.

- `window`: each chunk of w tokens meets itself and the chunk before (Longformer, arXiv 2004.05150; in each layer of
  Mistral): O(T w).
- `strided`, `fixed`: the two halves of Sparse Transformer (arXiv 1904.10509). Tokens a whole number of strides apart are
  a small full attention among themselves, so the far half is T/l x T/l squares. "merged" lets one head see both halves,
  by joining two softmaxes over disjoint keys; "alternate" gives them to even and odd heads.
- `block_sparse`: any layout of blocks, BigBird's by default (arXiv 2007.14062).

Read next: `lsh.py`, where the pattern depends on what the tokens say.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor

from models.attention import patterns
from models.attention.cost import Cost, Sizes, cost_of
from models.attention.signature import (
    NEGATIVE_INFINITY,
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
from models.attention.softmax import softmax_weights

Part = tuple[Tensor, Tensor]  # output (B, H, T, dv) over some keys, and log of the normaliser (B, H, T)
PARTS = ("merged", "alternate", "local", "far")


def window(
    q: Tensor, k: Tensor, v: Tensor, *, causal: bool = True, want_map: bool = False, scale: float | None = None,
    width: int = 64, sinks: int = 0,
) -> Attended:  # fmt: skip
    """Softmax over the query's own token and the width - 1 before it (without `causal` as many after it).

    `sinks` first tokens are always seen, where trained heads leave the weight they have no use for (arXiv 2309.17453).
    """
    check(q, k, v, own_tokens=True)
    _at_least_one(width=width)
    T, s = q.shape[2], default_scale(scale, q.shape[-1])
    near, first = _band(q, k, v, width, causal, s), min(sinks, T)
    if first:
        i, j = torch.arange(T, device=q.device)[:, None], torch.arange(first, device=q.device)
        near = join([near, _some_keys(q, k, v, j, (i - j >= width) | ((j - i >= width) & (not causal)), s)])
    mask = patterns.window(T, width, causal, q.device, sinks) if want_map else None
    return _attended(q, k, v, near[0], mask, scale, window_cost(Sizes.of(q, k, v), causal, width=width, sinks=sinks))


def window_cost(sizes: Sizes, causal: bool = True, width: int = 64, sinks: int = 0) -> Cost:
    """Each chunk of w tokens meets c chunks: itself, the one before, without `causal` the one after; s sinks meet all."""
    w, c = min(width, sizes.T), 2 if causal else 3
    pairs = "(ceil(T/w) w² c + T s)"
    return cost_of(sizes, flops=f"2 B H {pairs} (d + dv)", held=f"2 B H {pairs}", w=w, c=c, s=min(sinks, sizes.T))


def strided(
    q: Tensor, k: Tensor, v: Tensor, *, causal: bool = True, want_map: bool = False, scale: float | None = None,
    stride: int = 32, part: str = "merged",
) -> Attended:  # fmt: skip
    """Keys less than a stride away, and keys a whole number of strides away."""
    check(q, k, v, own_tokens=True)
    _at_least_one(stride=stride)
    s = default_scale(scale, q.shape[-1])

    def local(q: Tensor, k: Tensor, v: Tensor) -> Part:
        return _band(q, k, v, stride, causal, s)

    def far(q: Tensor, k: Tensor, v: Tensor) -> Part:
        return _columns(q, k, v, stride, causal, s, own=part != "merged")

    out = _both(part, local, far, q, k, v)
    mask = _head_masks(part, q, lambda p: patterns.strided(q.shape[2], stride, p, causal, q.device)) if want_map else None
    return _attended(q, k, v, out, mask, scale, strided_cost(Sizes.of(q, k, v), causal, stride=stride, part=part))


def strided_cost(sizes: Sizes, causal: bool = True, stride: int = 32, part: str = "merged") -> Cost:
    """Hl heads work on the local half (chunks of l tokens meet c), Hf on the far half (l squares of n x n)."""
    w, c = min(stride, sizes.T), 2 if causal else 3
    local, far = _heads(part, sizes.H)
    pairs = "(Hl ceil(T/w) w² c + Hf l n²)"
    return cost_of(sizes, flops=f"2 B {pairs} (d + dv)", held=f"2 B {pairs}",
                   w=w, c=c, l=stride, n=pieces(sizes.T, stride), Hl=local, Hf=far)  # fmt: skip


def fixed(
    q: Tensor, k: Tensor, v: Tensor, *, causal: bool = True, want_map: bool = False, scale: float | None = None,
    stride: int = 32, summary: int = 4, part: str = "merged",
) -> Attended:  # fmt: skip
    """Keys of the query's own block of `stride` tokens, and the last `summary` tokens of every block."""
    check(q, k, v, own_tokens=True)
    _at_least_one(stride=stride, summary=summary)
    s = default_scale(scale, q.shape[-1])

    def local(q: Tensor, k: Tensor, v: Tensor) -> Part:
        return own_block(q, k, v, stride, causal, s)

    def far(q: Tensor, k: Tensor, v: Tensor) -> Part:
        return _summaries(q, k, v, stride, summary, causal, s, own=part != "merged")

    out = _both(part, local, far, q, k, v)
    mask = _head_masks(part, q, lambda p: patterns.fixed(q.shape[2], stride, summary, p, causal, q.device)) if want_map else None
    cost = fixed_cost(Sizes.of(q, k, v), causal, stride=stride, summary=summary, part=part)
    return _attended(q, k, v, out, mask, scale, cost)


def fixed_cost(sizes: Sizes, causal: bool = True, stride: int = 32, summary: int = 4, part: str = "merged") -> Cost:
    """Hl heads work on blocks of l x l, Hf heads compare every query with the m summing tokens."""
    local, far = _heads(part, sizes.H)
    pairs = "(Hl ceil(T/l) l² + Hf T m)"
    m = len(_summary_positions(sizes.T, stride, summary))
    return cost_of(sizes, flops=f"2 B {pairs} (d + dv)", held=f"2 B {pairs}", l=stride, m=m, Hl=local, Hf=far)


def block_sparse(
    q: Tensor, k: Tensor, v: Tensor, *, causal: bool = True, want_map: bool = False, scale: float | None = None,
    block: int = 32, near: int = 1, everywhere: int = 1, random: int = 1, seed: int = 0, layout: Tensor | None = None,
) -> Attended:  # fmt: skip
    """Softmax over the blocks of keys that `layout` (n, n) allows each block of queries; BigBird's without a layout."""
    check(q, k, v, own_tokens=True)
    _at_least_one(block=block)
    T = q.shape[2]
    if layout is None:
        layout = patterns.layout_of(T, block, near=near, everywhere=everywhere, random=random, seed=seed, causal=causal)
    if tuple(layout.shape) != (n := pieces(T, block), n):
        raise AttentionError(f"{T} tokens in blocks of {block} need a layout of {n} x {n}, not {' x '.join(map(str, layout.shape))}.")
    s, outs = default_scale(scale, q.shape[-1]), []
    for row in range(n):
        i = torch.arange(row * block, min(T, (row + 1) * block), device=q.device)
        j = _block_keys(layout, row, block, T, causal).to(q.device)         # (keys,)
        scores = q[:, :, i] @ k[:, :, j].transpose(-1, -2) * s              # (B, H, block, keys)
        p = masked_softmax(scores, j <= i[:, None] if causal else None) if len(j) else scores
        outs.append(p @ v[:, :, j])                                         # (B, H, block, dv)
    cost = _layout_cost(Sizes.of(q, k, v), layout, block, causal)
    mask = patterns.blocks(layout.to(q.device), block, T, causal) if want_map else None
    return _attended(q, k, v, torch.cat(outs, dim=2), mask, scale, cost)


def block_sparse_cost(
    sizes: Sizes, causal: bool = True, block: int = 32, near: int = 1, everywhere: int = 1, random: int = 1, seed: int = 0
) -> Cost:
    """P is the number of pairs in the layout's blocks."""
    layout = patterns.layout_of(sizes.T, block, near=near, everywhere=everywhere, random=random, seed=seed, causal=causal)
    return _layout_cost(sizes, layout, block, causal)


# How the work is done


def _band(q: Tensor, k: Tensor, v: Tensor, width: int, causal: bool, scale: float) -> Part:
    """Queries in chunks of `width`, each against its own and the neighbouring chunks of keys."""
    T, device = q.shape[2], q.device
    w = min(width, T)
    q, k, v = (rearrange(pad_tokens(x, w), "b h (n w) d -> b h n w d", w=w) for x in (q, k, v))
    k, v = _with_neighbours(k, causal), _with_neighbours(v, causal)         # (B, H, n, c w, d)
    i = torch.arange(q.shape[2] * w, device=device).view(-1, w, 1)          # (n, w, 1)
    j = i[:, :1] + torch.arange(-w, w if causal else 2 * w, device=device)  # (n, 1, c w)
    mask = (j >= 0) & (j < T) & (i - j < w) & ((j <= i) if causal else (j - i < w))
    p, logs = partial_softmax(q @ k.transpose(-1, -2) * scale, mask)        # (B, H, n, w, c w), (B, H, n, w)
    return (p @ v).flatten(2, 3)[:, :, :T], logs.flatten(2)[:, :, :T]


def _with_neighbours(x: Tensor, causal: bool) -> Tensor:
    """Each chunk of (B, H, n, w, d) between the one before it and, without `causal`, the one after it; zeros outside."""
    nothing = torch.zeros_like(x[:, :, :1])
    before = torch.cat([nothing, x[:, :, :-1]], dim=2)
    after = [] if causal else [torch.cat([x[:, :, 1:], nothing], dim=2)]
    return torch.cat([before, x, *after], dim=3)


def _columns(q: Tensor, k: Tensor, v: Tensor, stride: int, causal: bool, scale: float, own: bool) -> Part:
    """Full attention among the tokens of equal position modulo `stride`; `own`: a token sees itself, too."""
    T, device = q.shape[2], q.device
    q, k, v = (rearrange(pad_tokens(x, stride), "b h (n l) d -> b h l n d", l=stride) for x in (q, k, v))
    n = torch.arange(q.shape[3], device=device)                             # (n,)
    mask = n * stride + torch.arange(stride, device=device)[:, None, None] < T  # (l, 1, n) no keys beyond the text
    if causal:
        mask = mask & (n <= n[:, None])
    if not own:
        mask = mask & (n != n[:, None])
    p, logs = partial_softmax(q @ k.transpose(-1, -2) * scale, mask)        # (B, H, l, n, n), (B, H, l, n)
    out = rearrange(p @ v, "b h l n d -> b h (n l) d")
    return out[:, :, :T], rearrange(logs, "b h l n -> b h (n l)")[:, :, :T]


def own_block(q: Tensor, k: Tensor, v: Tensor, stride: int, causal: bool, scale: float) -> Part:
    """Attention inside each block of `stride` tokens."""
    T = q.shape[2]
    q, k, v = (rearrange(pad_tokens(x, stride), "b h (n l) d -> b h n l d", l=stride) for x in (q, k, v))
    i = torch.arange(q.shape[2] * stride, device=q.device).view(-1, stride)  # (n, l)
    mask = (i[:, None] < T) & ((i[:, None] <= i[:, :, None]) if causal else True)  # (n, l, l)
    p, logs = partial_softmax(q @ k.transpose(-1, -2) * scale, mask)        # (B, H, n, l, l), (B, H, n, l)
    return (p @ v).flatten(2, 3)[:, :, :T], logs.flatten(2)[:, :, :T]


def _summaries(q: Tensor, k: Tensor, v: Tensor, stride: int, summary: int, causal: bool, scale: float, own: bool) -> Part:
    """All queries against the last `summary` tokens of every block; `own`: of the query's own block, too."""
    T = q.shape[2]
    j = _summary_positions(T, stride, summary).to(q.device)                 # (m,)
    i = torch.arange(T, device=q.device)[:, None]                           # (T, 1)
    mask = j <= i if causal else torch.ones(T, len(j), dtype=torch.bool, device=q.device)
    if not own:
        mask = mask & (j // stride != i // stride)
    if len(j) == 0:  # a text shorter than one block has no summing tokens
        return torch.zeros_like(v), q.new_full(q.shape[:3], NEGATIVE_INFINITY)
    return _some_keys(q, k, v, j, mask, scale)


def _some_keys(q: Tensor, k: Tensor, v: Tensor, j: Tensor, mask: Tensor, scale: float) -> Part:
    """All queries against the keys j (m,), as far as the mask (T, m) allows."""
    p, logs = partial_softmax(q @ k[:, :, j].transpose(-1, -2) * scale, mask)  # (B, H, T, m), (B, H, T)
    return p @ v[:, :, j], logs


def _summary_positions(T: int, stride: int, summary: int) -> Tensor:
    j = torch.arange(T)
    return j[j % stride >= stride - summary]


def _both(part: str, local, far, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The output of one half, of both joined, or of the halves in even and odd heads."""
    if part == "merged":
        return join([local(q, k, v), far(q, k, v)])[0]
    if part in ("local", "far"):
        return (local if part == "local" else far)(q, k, v)[0]
    if part != "alternate":
        raise AttentionError(f"A sparse head sees the part {', '.join(PARTS)}, not {part}.")
    out = torch.empty_like(v)
    for first, half in enumerate((local, far)):
        if first < q.shape[1]:
            out[:, first::2] = half(q[:, first::2], k[:, first::2], v[:, first::2])[0]
    return out


def _heads(part: str, H: int) -> tuple[int, int]:
    """How many heads work on the local and on the far half."""
    return {"merged": (H, H), "local": (H, 0), "far": (0, H), "alternate": (H - H // 2, H // 2)}[part]


def _head_masks(part: str, q: Tensor, pattern) -> Tensor:
    """The pattern's matrix (T, T), or one a head (H, T, T) if the heads alternate."""
    if part != "alternate":
        return pattern(part)
    return torch.stack([pattern(("local", "far")[head % 2]) for head in range(q.shape[1])])


def _block_keys(layout: Tensor, row: int, block: int, T: int, causal: bool) -> Tensor:
    """The keys that block `row` of the queries may look at; with `causal` the blocks up to its own."""
    columns = layout[row, : row + 1 if causal else None].nonzero()          # (blocks, 1)
    j = (columns * block + torch.arange(block, device=layout.device)).flatten()
    return j[j < T]


def _layout_cost(sizes: Sizes, layout: Tensor, block: int, causal: bool) -> Cost:
    T, pairs = sizes.T, 0
    for row in range(len(layout)):
        pairs += len(_block_keys(layout, row, block, T, causal)) * min(block, T - row * block)
    return cost_of(sizes, flops="2 B H P (d + dv)", held="2 B H P", P=pairs)


def _attended(q: Tensor, k: Tensor, v: Tensor, out: Tensor, mask: Tensor | None, scale: float | None, cost: Cost) -> Attended:
    """With the map from the pattern's matrix, should it be asked for: a second way to the same thing."""
    weights = None if mask is None else softmax_weights(q, k, causal=False, scale=scale, mask=mask)
    return Attended(out=out, weights=weights, normalisation=ROWS_SUM_TO_ONE, cost=cost)


def _at_least_one(**knobs: int) -> None:
    for name, value in knobs.items():
        if value < 1:
            raise AttentionError(f"The knob {name} must be at least 1, not {value}.")
