"""LLaMA's layers for fast decoding on x86: fp16 weights packed by FBGEMM (Khudia et al., arXiv 2101.05615), fp32 sums.

The same net as `llama.py`, number for number but for the rounding of its weights, and not meant for learning how it
works: one token passes 30 layers in some 12 ms, of which Python and small operations would take a third if written as
there. So few operations, none of them a module's call. `formats.py` puts these layers in place of the readable ones.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, scaled_dot_product_attention, silu

from models.language.llama import Block, Slot, scaled_heads
from models.nn.norm import RmsNorm
from models.nn.probe import Note

Product = Callable[[Tensor], Tensor]
"""x (..., in) -> x W^T (..., out); at least two dimensions."""


def packed_product(weight: Tensor) -> Product:
    """Multiplication by a matrix that is rounded to fp16 and packed.

    torch has two entries to FBGEMM. One computes with all threads; the other with one only, but saves 10 of some 80
    microseconds a call. That one is deprecated, so the first also stands in for it.
    """
    lean = _lean_product(weight) if torch.get_num_threads() == 1 else None
    if lean is not None:
        return lean
    multiply, packed = torch.ops.quantized.linear_dynamic_fp16.default, torch.ops.quantized.linear_prepack_fp16(weight, None)
    return lambda x: multiply(x, packed)


def _lean_product(weight: Tensor) -> Product | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            packed, multiply = torch.fbgemm_pack_gemm_matrix_fp16(weight), torch.fbgemm_linear_fp16_weight_fp32_activation
            multiply(weight[:1], packed, None)
    except (AttributeError, TypeError, RuntimeError):
        return None  # another version of torch
    return lambda x: multiply(x, packed, None)


class PackedLinear(nn.Module):
    """A linear layer without bias; x and the result are fp32."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.product = packed_product(weight.float())

    def forward(self, x: Tensor) -> Tensor:
        return self.product(x) if x.ndim > 1 else self.product(x[None])[0]  # (..., out)


class PackedNorm(nn.Module):
    """RMSNorm in four operations instead of six: x / hypot(|x|, sqrt(dim eps)) * (g sqrt(dim))."""

    def __init__(self, norm: RmsNorm) -> None:
        super().__init__()
        self.weight = nn.Parameter(norm.weight.float(), requires_grad=False)
        dim = len(self.weight)
        self.gain, self.least = self.weight * dim**0.5, torch.tensor((dim * norm.eps) ** 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return x / torch.hypot(torch.linalg.vector_norm(x, 2, -1, True), self.least) * self.gain  # (..., dim)


class HalfEmbedding(nn.Module):
    """Rows of an fp16 table, given out in fp32."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.to(torch.float16), requires_grad=False)

    def forward(self, ids: Tensor) -> Tensor:
        return embedding(ids, self.weight).float()                          # (..., dim)


class PackedBlock(nn.Module):
    """What `Block` computes; its matrices and gains lie in plain attributes, which a module finds faster than its parts."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.n_heads, self.n_kv_heads, self.head_dim = block.n_heads, block.n_kv_heads, block.head_dim
        self.qkv, self.out, self.gate_up, self.down = (
            packed_product(part.weight.float()) for part in (block.qkv, block.out, block.gate_up, block.down)
        )
        self.scale, self.nothing = block.head_dim**-0.5, torch.zeros(1)
        first, second = PackedNorm(block.attention_norm), PackedNorm(block.ffn_norm)
        self.norms = first.gain, first.least, second.gain, second.least

    def forward(
        self, x: Tensor, turn: Tensor, mask: Tensor | None, causal: bool, slot: Slot | None, note: Note | None, gain: Tensor | None = None
    ) -> Tensor:
        """As `Block.forward`."""
        scale, least, ffn_scale, ffn_least = self.norms
        h = x / torch.hypot(torch.linalg.vector_norm(x, 2, -1, True), least) * scale
        heads = self._attend(self.qkv(h), turn, mask, causal, slot, note)   # (B, T, H D)
        x = x + self.out(heads if gain is None else scaled_heads(heads, gain))  # (B, T, dim)
        h = x / torch.hypot(torch.linalg.vector_norm(x, 2, -1, True), ffn_least) * ffn_scale
        gate, up = self.gate_up(h).chunk(2, -1)                             # 2 x (B, T, ffn_dim)
        return x + self.down(silu(gate) * up)                               # (B, T, dim)

    def _attend(self, qkv: Tensor, turn: Tensor, mask: Tensor | None, causal: bool, slot: Slot | None, note: Note | None) -> Tensor:
        B, T, _ = qkv.shape
        H, H_kv, D = self.n_heads, self.n_kv_heads, self.head_dim
        pairs = qkv.view(B, T, H + 2 * H_kv, D // 2, 2)                     # (B, T, H + 2 H_kv, D/2, 2)
        torch.view_as_complex(pairs)[:, :, : H + H_kv].mul_(turn)
        qkv = qkv.view(B, T, H + 2 * H_kv, D)                               # (B, T, H + 2 H_kv, D)
        if note is not None:
            note("q", qkv[:, :, :H])
            note("k", qkv[:, :, H : H + H_kv])
            note("v", qkv[:, :, H + H_kv :])
        kv = qkv[:, :, H:].transpose(1, 2)                                  # (B, 2 H_kv, T, D)
        if slot is None:
            k, v = kv[:, :H_kv], kv[:, H_kv:]                               # (B, H_kv, T, D)
        else:
            write, k, v = slot                                              # (B, H_kv, S, D)
            write.copy_(kv)
        if T == 1:
            return self._look_back(qkv[:, 0, :H].view(B, H_kv, H // H_kv, D), k, v, mask).reshape(B, 1, H * D)
        q = qkv[:, :, :H].transpose(1, 2)                                   # (B, H, T, D)
        if causal:
            h = scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        else:
            h = scaled_dot_product_attention(q.reshape(B, H_kv, H // H_kv * T, D), k, v, mask).view(B, H, T, D)
        return h.transpose(1, 2).reshape(B, T, H * D)                       # (B, T, H D)

    def _look_back(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """Attention of one token, q (B, H_kv, G, D); two plain products are faster than the fused call behind a long text."""
        if len(q) > 1 or mask is not None:
            return scaled_dot_product_attention(q, k, v, mask)              # (B, H_kv, G, D)
        weights = torch.baddbmm(self.nothing, q[0], k[0].mT, beta=0, alpha=self.scale).softmax(-1)  # (H_kv, G, S)
        return torch.bmm(weights, v[0])                                     # (H_kv, G, D)
