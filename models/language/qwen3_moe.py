"""Qwen3-MoE (Qwen team, arXiv 2505.09388): no shared net any more, and a norm on every query and key head.

    y = sum over the k largest of  p_e / (sum of those k)  net_e(x),   p = softmax(W x)

What differs from `moe.py`: queries and keys pass an RMSNorm within each head before they are turned; some layers may be
dense; whether weights are divided by their sum stands in the file (`normalise`). Matches transformers' `Qwen3MoeForCausalLM`.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from models.language.gating import choose, gate_logits
from models.language.sparse_decoder import Pass, Slot, SparseDecoder, attend
from models.nn.experts import GatedExperts, GatedNet
from models.nn.norm import RmsNorm
from models.nn.rope import RopeScaling, RotationTable


@dataclass(frozen=True)
class Qwen3MoeConfig:
    """Sizes of a Qwen3-MoE; `ffn_dim` of one expert, `dense_dim` of the nets in `dense_layers`."""

    dim: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    ffn_dim: int
    dense_dim: int
    dense_layers: frozenset[int]
    n_experts: int
    top_k: int
    normalise: bool
    vocab_size: int
    max_len: int
    norm_eps: float
    rope_theta: float
    rope_scaling: RopeScaling | None
    tied: bool

    def __post_init__(self) -> None:
        if self.n_heads % self.n_kv_heads:
            raise ValueError(f"{self.n_heads} query heads cannot share {self.n_kv_heads} key heads evenly")
        if not 1 <= self.top_k <= self.n_experts:
            raise ValueError(f"a token cannot visit {self.top_k} of {self.n_experts} experts")


class SparseNet(nn.Module):
    """The gate and its experts."""

    def __init__(self, config: Qwen3MoeConfig, layer: int) -> None:
        super().__init__()
        self.layer, self.top_k, self.normalise = layer, config.top_k, config.normalise
        self.gate = nn.Linear(config.dim, config.n_experts, bias=False)
        self.experts = GatedExperts(config.n_experts, config.dim, config.ffn_dim)

    def forward(self, x: Tensor, now: Pass) -> Tensor:
        """(B, T, dim) -> (B, T, dim)."""
        logits = gate_logits(x, self.gate.weight, now.steer)                # (B, T, E)
        p = logits.softmax(dim=-1)                                          # (B, T, E)
        choice = choose(p, now.steer.top_k or self.top_k, self.layer, now.steer)
        weights = choice.weigh(p)                                           # (B, T, K)
        if self.normalise:
            weights = weights / weights.sum(-1, keepdim=True).clamp_min(1e-20)
        y = choice.visit(self.experts, x, weights)                          # (B, T, dim)
        if now.trace is not None:
            now.trace.note(self.layer, choice, weights, logits, p, y)
        return y


class Block(nn.Module):
    """One layer: attention with a norm on each query and key head, then experts or a dense net."""

    def __init__(self, config: Qwen3MoeConfig, layer: int) -> None:
        super().__init__()
        c = config
        self.layer, self.head_dim, self.gated = layer, c.head_dim, layer not in c.dense_layers
        self.attention_norm = RmsNorm(c.dim, c.norm_eps)
        self.q = nn.Linear(c.dim, c.n_heads * c.head_dim, bias=False)
        self.k = nn.Linear(c.dim, c.n_kv_heads * c.head_dim, bias=False)
        self.v = nn.Linear(c.dim, c.n_kv_heads * c.head_dim, bias=False)
        self.q_norm = RmsNorm(c.head_dim, c.norm_eps)
        self.k_norm = RmsNorm(c.head_dim, c.norm_eps)
        self.out = nn.Linear(c.n_heads * c.head_dim, c.dim, bias=False)
        self.ffn_norm = RmsNorm(c.dim, c.norm_eps)
        self.ffn = SparseNet(c, layer) if self.gated else GatedNet(c.dim, c.dense_dim)

    def forward(self, x: Tensor, now: Pass, slot: Slot) -> Tensor:
        """x (B, T, dim) -> (B, T, dim)."""
        u = self.attention_norm(x)
        q, k, v = (part(u).unflatten(-1, (-1, self.head_dim)) for part in (self.q, self.k, self.v))  # (B, T, H or H_kv, D)
        x = x + self.out(attend(self.q_norm(q), self.k_norm(k), v, now, self.layer, slot))  # (B, T, dim)
        u = self.ffn_norm(x)
        return x + (self.ffn(u, now) if self.gated else self.ffn(u))        # (B, T, dim)


class Qwen3Moe(SparseDecoder):
    """`Qwen3MoeConfig` as a network."""

    def __init__(self, config: Qwen3MoeConfig) -> None:
        blocks = (Block(config, layer) for layer in range(config.n_layers))
        super().__init__(config, blocks, RotationTable(config.head_dim, config.rope_theta, config.rope_scaling))
