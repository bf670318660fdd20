"""The decoder layer of which drafters are made, the same as the target's: see `models/language/llama.py` for its equations.

x += W_o attention(RMS(x)), x += W_d (SiLU(W_g RMS(x)) * W_u RMS(x)); grouped queries, rotary positions. Parameter names and the order of
rotary pairs are those of a LLaMA block there, so a drafter can begin as a copy of the target's last layer. What differs: where keys and
values go is a function (`Memory`), because drafters write a cache when they run and keep the steps of an unrolled draft when they learn.
Read next: `models/decoding/eagle.py`, `models/decoding/mtp.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention, silu

from models.nn.kvcache import KVCache
from models.nn.norm import RmsNorm
from models.nn.rope import rotate

Memory = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Takes the new keys and values (B, 2 n_kv_heads, T, D); gives all keys and all values the layer may look at, (B, n_kv_heads, S, D)."""
Slot = tuple[Tensor, Tensor, Tensor]
"""A layer's place in a cache: where to write keys and values, all keys, all values."""


@dataclass(frozen=True)
class BlockConfig:
    """Sizes of a decoder layer."""

    dim: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    ffn_dim: int
    norm_eps: float
    rope_theta: float
    max_len: int

    def __post_init__(self) -> None:
        if self.n_heads % self.n_kv_heads:
            raise ValueError(f"{self.n_heads} query heads cannot share {self.n_kv_heads} key heads evenly")


class Block(nn.Module):
    """One layer: grouped-query attention and the gated net, each behind its own norm."""

    def __init__(self, config: BlockConfig) -> None:
        super().__init__()
        c = config
        self.n_heads, self.n_kv_heads, self.head_dim = c.n_heads, c.n_kv_heads, c.head_dim
        self.attention_norm = RmsNorm(c.dim, c.norm_eps)
        self.qkv = nn.Linear(c.dim, (c.n_heads + 2 * c.n_kv_heads) * c.head_dim, bias=False)
        self.out = nn.Linear(c.n_heads * c.head_dim, c.dim, bias=False)
        self.ffn_norm = RmsNorm(c.dim, c.norm_eps)
        self.gate_up = nn.Linear(c.dim, 2 * c.ffn_dim, bias=False)
        self.down = nn.Linear(c.ffn_dim, c.dim, bias=False)

    def forward(self, x: Tensor, turn: Tensor, mask: Tensor | None, memory: Memory) -> Tensor:
        """x (B, T, dim), `turn` (T, 1, D/2) rotates positions, mask (T, S) True where a row may look; without one all S is seen."""
        x = x + self.out(self._attend(self.qkv(self.attention_norm(x)), turn, mask, memory))
        gate, up = self.gate_up(self.ffn_norm(x)).chunk(2, dim=-1)          # 2 x (B, T, ffn_dim)
        return x + self.down(silu(gate) * up)                               # (B, T, dim)

    def _attend(self, qkv: Tensor, turn: Tensor, mask: Tensor | None, memory: Memory) -> Tensor:
        B, T, _ = qkv.shape
        rotated = self.n_heads + self.n_kv_heads
        qkv = qkv.view(B, T, -1, self.head_dim)                             # (B, T, H + 2 H_kv, D)
        qk = rotate(qkv[:, :, :rotated], turn)                              # (B, T, H + H_kv, D)
        new = torch.cat([qk[:, :, self.n_heads :], qkv[:, :, rotated:]], 2).transpose(1, 2)  # (B, 2 H_kv, T, D)
        k, v = memory(new)                                                  # 2 x (B, H_kv, S, D)
        q = qk[:, :, : self.n_heads].transpose(1, 2)                        # (B, H, T, D)
        h = scaled_dot_product_attention(q, k.to(q.dtype), v.to(q.dtype), mask, enable_gqa=True)
        return h.transpose(1, 2).flatten(2)                                 # (B, T, H D)


def cached(slot: Slot) -> Memory:
    """Keys and values go into a cache."""
    write, keys, values = slot

    def remember(new: Tensor) -> tuple[Tensor, Tensor]:
        write.copy_(new)
        return keys, values

    return remember


def slots(cache: KVCache, n: int) -> list[Slot]:
    """Room for n more tokens in every layer of a cache."""
    writes, keys, values = cache.extend(n)
    return list(zip(writes, keys, values, strict=True))


def forgetful(new: Tensor) -> tuple[Tensor, Tensor]:
    """No cache: a layer sees only the tokens it is given."""
    keys, values = new.chunk(2, dim=1)
    return keys, values


def causal_mask(rows: int, length: int, device: torch.device | str = "cpu") -> Tensor | None:
    """(rows, length) for the last `rows` of `length` tokens; None for one row, which sees all."""
    if rows == 1:
        return None
    places = torch.arange(length, device=device)
    return places <= places[length - rows :, None]
