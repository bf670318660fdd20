"""Which query may look at which key: sparse attention as a boolean matrix, True where it may.

Sparse Transformer (Child et al., arXiv 1904.10509, section 4.2) splits the past in two patterns, so that any token
reaches any earlier one in two layers: `strided` for pictures, `fixed` for text. `blocks` spreads a small matrix of
blocks out, `big_bird` draws one (Zaheer et al., arXiv 2007.14062: neighbours, some tokens that see and are seen by
all, and random blocks). `sparse.py` computes these attentions without the matrix; here it is for eyes and for proofs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.attention.signature import AttentionError, past, pieces

Device = torch.device | None


def _grid(T: int, device: Device) -> tuple[Tensor, Tensor]:
    """Positions of queries (T, 1) and of keys (T,)."""
    positions = torch.arange(T, device=device)
    return positions[:, None], positions


def window(T: int, width: int, causal: bool = True, device: Device = None, sinks: int = 0) -> Tensor:
    """Keys less than `width` away, the query itself included, and the first `sinks` keys."""
    i, j = _grid(T, device)
    near = (i - j < width) & (j - i < width) | (j < sinks)
    return near & past(T, T, device) if causal else near


def strided(T: int, stride: int, part: str = "merged", causal: bool = True, device: Device = None) -> Tensor:
    """`local`: less than a stride away. `far`: a whole number of strides away. `merged`: either."""
    i, j = _grid(T, device)
    far = (i - j) % stride == 0
    if causal:
        far = far & (j <= i)
    return _part(part, window(T, stride, causal, device), far)


def fixed(T: int, stride: int, summary: int, part: str = "merged", causal: bool = True, device: Device = None) -> Tensor:
    """`local`: the same block of `stride` tokens. `far`: the last `summary` tokens of every block, which sum it up."""
    i, j = _grid(T, device)
    seen = past(T, T, device) if causal else torch.ones(T, T, dtype=torch.bool, device=device)
    local = i // stride == j // stride
    far = (j % stride >= stride - summary).expand(T, T)
    return _part(part, local & seen, far & seen)


def _part(part: str, local: Tensor, far: Tensor) -> Tensor:
    if part not in ("merged", "local", "far"):
        raise AttentionError(f"A sparse pattern has the parts merged, local and far, not {part}.")
    return {"merged": local | far, "local": local, "far": far}[part]


def blocks(layout: Tensor, block: int, T: int, causal: bool = True) -> Tensor:
    """Every cell of `layout` (n, n) as block x block cells, cut to (T, T)."""
    mask = layout.repeat_interleave(block, 0).repeat_interleave(block, 1)[:T, :T]  # (T, T)
    return mask & past(T, T, layout.device) if causal else mask


def big_bird(n: int, near: int = 1, everywhere: int = 1, random: int = 1, seed: int = 0, causal: bool = True) -> Tensor:
    """A layout (n, n): `near` blocks to each side, the first `everywhere` rows and columns, `random` further blocks a row.

    Random blocks are drawn among those that may be seen and are not in the pattern yet. Without `causal` the last
    block is global too, as in the paper's ITC form.
    """
    i, j = _grid(n, None)
    layout = ((i - j).abs() <= near) | (i < everywhere) | (j < everywhere)
    if not causal and everywhere:
        layout = layout | (i == n - 1) | (j == n - 1)
    seen = past(n, n) if causal else torch.ones(n, n, dtype=torch.bool)
    generator = torch.Generator().manual_seed(seed)
    lots = torch.rand(n, n, generator=generator).masked_fill(layout | ~seen, -1)  # (n, n)
    drawn, where = lots.topk(min(random, n), dim=-1)
    return layout.scatter(1, where, layout.gather(1, where) | (drawn >= 0)) & seen


def layout_of(T: int, block: int, **knobs: int) -> Tensor:
    """`big_bird` for T tokens in blocks of `block`."""
    return big_bird(pieces(T, block), **knobs)


def reach(mask: Tensor, layers: int = 2) -> Tensor:
    """Whose information can be in whose state after so many layers of this pattern: (T, T), True where some path leads.

    The state itself goes on beside the attention (the residual stream), so every token keeps what it has.
    """
    step = mask.float()
    step.fill_diagonal_(1)
    state = step
    for _ in range(layers - 1):
        state = (step @ state > 0).float()
    return state > 0


def density(mask: Tensor, causal: bool = True) -> float:
    """Share of the pairs that full attention would look at and this pattern does."""
    T, S = mask.shape
    return float(mask.sum()) / (float(past(T, S).sum()) if causal else T * S)
