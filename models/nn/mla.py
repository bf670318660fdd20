"""Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1; DeepSeek-V3, arXiv 2412.19437, eq. 1 to 11).

    c = RMS(W_dkv x),  k_R = RoPE(W_kr x)  (one for all heads);   [k_C; v] = W_ukv c   (each head its own)
    [q_C; q_R] = W_uq RMS(W_dq x),  q_R turned;   o = softmax((q_C k_C + q_R k_R) / sqrt(nope + rope)) v

Only c and k_R are kept: 576 numbers a token and layer in DeepSeek-V3 where plain attention needs 32,768. The matrices that
expand c may be moved to the other side of the products, q_C (W_uk c) = (W_uk^T q_C) c: then nothing is expanded, and all
heads attend to the one latent. `expanded` and `absorbed` compute the same; the first costs less for long inputs, the
second for few tokens after a long text.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention

from models.nn.kvcache import FIRST_ROOM, KVCache
from models.nn.norm import RmsNorm
from models.nn.rope import rotate

LATENT_EPS = 1e-6
"""Of the norms on the latents, which no config names."""


@dataclass(frozen=True)
class LatentSizes:
    """Widths; `q_rank` None projects queries in one step."""

    n_heads: int
    q_rank: int | None
    kv_rank: int
    nope_dim: int
    rope_dim: int
    v_dim: int

    def __post_init__(self) -> None:
        if self.rope_dim % 2:
            raise ValueError(f"rotary positions need an even width, not {self.rope_dim}")

    @property
    def qk_dim(self) -> int:
        """Width of a query."""
        return self.nope_dim + self.rope_dim

    @property
    def cached(self) -> int:
        """Numbers kept for a token and layer."""
        return self.kv_rank + self.rope_dim

    @property
    def cached_by_plain_attention(self) -> int:
        """What keys and values of all heads would take."""
        return self.n_heads * (self.nope_dim + self.v_dim)


class LatentCache(KVCache):
    """The latents [c; k_R] of a text so far: one row a token and layer, (layers, B, 1, room, kv_rank + rope_dim).

    Cropping, keeping a path of a tree and growing are those of any cache.
    """

    def __init__(
        self, n_layers: int, width: int, max_len: int, batch: int = 1, *, dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:  # fmt: skip
        self.n_kv_heads, self.max_len, self.length = 1, max_len, 0
        self._kv = torch.zeros(n_layers, batch, 1, min(max_len, FIRST_ROOM), width, dtype=dtype, device=device)

    def extend(self, n: int) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Room for n more tokens. Per layer: where to write (B, n, width), and all latents (B, length, width)."""
        start, end = self.length, self.length + n
        if end > self.room:
            self._grow(end)
        self.length = end
        rows = self._kv[:, :, 0]                                            # (layers, B, room, width)
        return rows[:, :, start:end].unbind(0), rows[:, :, :end].unbind(0)


class LatentAttention(nn.Module):
    """Queries, keys and values through narrow latents; `sharpen` multiplies the scale of the scores (YaRN's mscale squared)."""

    def __init__(self, dim: int, sizes: LatentSizes, sharpen: float = 1.0) -> None:
        super().__init__()
        s = self.sizes = sizes
        self.scale = s.qk_dim**-0.5 * sharpen
        self.q_down = None if s.q_rank is None else nn.Linear(dim, s.q_rank, bias=False)
        self.q_norm = None if s.q_rank is None else RmsNorm(s.q_rank, LATENT_EPS)
        self.q_up = nn.Linear(s.q_rank or dim, s.n_heads * s.qk_dim, bias=False)
        self.kv_down = nn.Linear(dim, s.cached, bias=False)
        self.kv_norm = RmsNorm(s.kv_rank, LATENT_EPS)
        self.kv_up = nn.Linear(s.kv_rank, s.n_heads * (s.nope_dim + s.v_dim), bias=False)
        self.out = nn.Linear(s.n_heads * s.v_dim, dim, bias=False)

    def forward(
        self,
        x: Tensor,
        turn: Tensor,
        mask: Tensor | None,
        causal: bool,
        slot: tuple[Tensor, Tensor] | None = None,
        absorb: bool | None = None,
        note: Callable[[str, Tensor], None] | None = None,
    ) -> Tensor:
        """x (B, T, dim) -> (B, T, dim). `absorb` None takes whichever way needs fewer multiplications.

        `slot` is the layer's place to (write, read) in a `LatentCache`; `note` is given "q" and "k" of the new tokens.
        """
        q = self.queries(x, turn)                                           # (B, T, H, nope + rope)
        new = self.latents(x, turn)                                         # (B, T, kv_rank + rope)
        if note is not None:
            note("q", q)
            note("k", self.keys_and_values(new)[0])
        seen = new
        if slot is not None:
            write, seen = slot                                              # (B, S, kv_rank + rope)
            write.copy_(new)
        if absorb is None:
            absorb = self.absorbing_is_cheaper(q.shape[1], seen.shape[1])
        h = (self.absorbed if absorb else self.expanded)(q, seen, mask, causal)  # (B, T, H, v)
        return self.out(h.flatten(2))                                       # (B, T, dim)

    def queries(self, x: Tensor, turn: Tensor) -> Tensor:
        """(B, T, dim) -> (B, T, H, nope + rope), the last `rope` of each head turned."""
        x = x if self.q_down is None else self.q_norm(self.q_down(x))       # (B, T, q_rank)
        q = self.q_up(x).unflatten(-1, (-1, self.sizes.qk_dim))             # (B, T, H, nope + rope)
        plain, rotary = q.split([self.sizes.nope_dim, self.sizes.rope_dim], dim=-1)
        return torch.cat([plain, rotate(rotary.clone(), turn)], dim=-1)

    def latents(self, x: Tensor, turn: Tensor) -> Tensor:
        """(B, T, dim) -> [c; k_R] (B, T, kv_rank + rope): what the cache keeps."""
        c, rotary = self.kv_down(x).split([self.sizes.kv_rank, self.sizes.rope_dim], dim=-1)
        turned = rotate(rotary[:, :, None].clone(), turn)[:, :, 0]          # (B, T, rope)
        return torch.cat([self.kv_norm(c).to(turned.dtype), turned], dim=-1)

    def keys_and_values(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Expand latents (B, S, kv_rank + rope): keys (B, S, H, nope + rope), values (B, S, H, v)."""
        c, rotary = latents.split([self.sizes.kv_rank, self.sizes.rope_dim], dim=-1)
        kv = self.kv_up(c).unflatten(-1, (self.sizes.n_heads, -1))          # (B, S, H, nope + v)
        k, v = kv.split([self.sizes.nope_dim, self.sizes.v_dim], dim=-1)
        shared = rotary[:, :, None].expand(-1, -1, self.sizes.n_heads, -1)  # (B, S, H, rope)
        return torch.cat([k, shared.to(k.dtype)], dim=-1), v

    def expanded(self, q: Tensor, latents: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
        """Attention as written: every head has its own keys and values. q (B, T, H, ...) -> (B, T, H, v)."""
        k, v = self.keys_and_values(latents)
        wider = max(0, self.sizes.qk_dim - self.sizes.v_dim)  # fused kernels want values as wide as keys
        q, k, v = (part.transpose(1, 2) for part in (q, k, pad(v, (0, wider))))  # (B, H, T or S, nope + rope)
        h = scaled_dot_product_attention(q, k.to(q.dtype), v.to(q.dtype), mask, is_causal=causal, scale=self.scale)
        return h[..., : self.sizes.v_dim].transpose(1, 2)                   # (B, T, H, v)

    def absorbed(self, q: Tensor, latents: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
        """The same with the expanding matrix moved into queries and outputs: all heads see one key, [c; k_R]."""
        up = self.kv_up.weight.unflatten(0, (self.sizes.n_heads, -1))       # (H, nope + v, kv_rank)
        up_k, up_v = up.split([self.sizes.nope_dim, self.sizes.v_dim], dim=1)
        plain, rotary = q.split([self.sizes.nope_dim, self.sizes.rope_dim], dim=-1)
        plain = torch.einsum("bthn,hnr->bthr", plain, up_k.to(plain.dtype))  # (B, T, H, kv_rank)
        q = torch.cat([plain, rotary.to(plain.dtype)], dim=-1).transpose(1, 2)  # (B, H, T, kv_rank + rope)
        k = latents[:, None].to(q.dtype)                                    # (B, 1, S, kv_rank + rope)
        c = k[..., : self.sizes.kv_rank]                                    # (B, 1, S, kv_rank)
        h = scaled_dot_product_attention(q, k, c, mask, is_causal=causal, scale=self.scale, enable_gqa=True)
        return torch.einsum("bhtr,hvr->bthv", h, up_v.to(h.dtype))          # (B, T, H, v)

    def absorbing_is_cheaper(self, T: int, S: int) -> bool:
        """Compare the multiplications of both ways for T queries over S latents."""
        s = self.sizes
        expanding = S * s.kv_rank * (s.nope_dim + s.v_dim) + T * S * (s.qk_dim + s.v_dim)
        absorbing = T * s.kv_rank * (s.nope_dim + s.v_dim) + T * S * (s.cached + s.kv_rank)
        return absorbing < expanding
