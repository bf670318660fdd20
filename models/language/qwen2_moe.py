"""Qwen1.5-MoE and Qwen2-MoE (Qwen team, arXiv 2407.10671): experts beside a shared net that every token visits through a door.

    y = sum over the k largest of  p_e net_e(x)  +  sigmoid(w_s x) shared(x),   p = softmax(W x)

What differs from `moe.py`: the shared net and its door; biases on queries, keys and values; weights of the chosen are divided
by their sum only where the file says so (`normalise`); some layers may be dense. Matches transformers' `Qwen2MoeForCausalLM`.
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
class Qwen2MoeConfig:
    """Sizes of a Qwen2-MoE; `ffn_dim` of one expert, `dense_dim` of the nets in `dense_layers`."""

    dim: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    ffn_dim: int
    shared_dim: int
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
    """The gate, its experts, and the shared net behind its door."""

    def __init__(self, config: Qwen2MoeConfig, layer: int) -> None:
        super().__init__()
        c = config
        self.layer, self.top_k, self.normalise = layer, c.top_k, c.normalise
        self.gate = nn.Linear(c.dim, c.n_experts, bias=False)
        self.experts = GatedExperts(c.n_experts, c.dim, c.ffn_dim)
        self.shared = GatedNet(c.dim, c.shared_dim)
        self.door = nn.Linear(c.dim, 1, bias=False)

    def forward(self, x: Tensor, now: Pass) -> Tensor:
        """(B, T, dim) -> (B, T, dim)."""
        logits = gate_logits(x, self.gate.weight, now.steer)                # (B, T, E)
        p = logits.softmax(dim=-1)                                          # (B, T, E)
        choice = choose(p, now.steer.top_k or self.top_k, self.layer, now.steer)
        weights = choice.weigh(p)                                           # (B, T, K)
        if self.normalise:
            weights = weights / weights.sum(-1, keepdim=True).clamp_min(1e-20)
        routed = choice.visit(self.experts, x, weights)                     # (B, T, dim)
        shared = self.door(x).sigmoid() * self.shared(x)                    # (B, T, dim)
        if now.trace is not None:
            now.trace.note(self.layer, choice, weights, logits, p, routed, shared=shared)
        return routed + shared


class Block(nn.Module):
    """One layer: attention with biased projections, then experts or a dense net."""

    def __init__(self, config: Qwen2MoeConfig, layer: int) -> None:
        super().__init__()
        c = config
        self.layer, self.head_dim, self.gated = layer, c.head_dim, layer not in c.dense_layers
        self.attention_norm = RmsNorm(c.dim, c.norm_eps)
        self.q = nn.Linear(c.dim, c.n_heads * c.head_dim)
        self.k = nn.Linear(c.dim, c.n_kv_heads * c.head_dim)
        self.v = nn.Linear(c.dim, c.n_kv_heads * c.head_dim)
        self.out = nn.Linear(c.n_heads * c.head_dim, c.dim, bias=False)
        self.ffn_norm = RmsNorm(c.dim, c.norm_eps)
        self.ffn = SparseNet(c, layer) if self.gated else GatedNet(c.dim, c.dense_dim)

    def forward(self, x: Tensor, now: Pass, slot: Slot) -> Tensor:
        """x (B, T, dim) -> (B, T, dim)."""
        u = self.attention_norm(x)
        q, k, v = (part(u).unflatten(-1, (-1, self.head_dim)) for part in (self.q, self.k, self.v))  # (B, T, H or H_kv, D)
        x = x + self.out(attend(q, k, v, now, self.layer, slot))            # (B, T, dim)
        u = self.ffn_norm(x)
        return x + (self.ffn(u, now) if self.gated else self.ffn(u))        # (B, T, dim)


class Qwen2Moe(SparseDecoder):
    """`Qwen2MoeConfig` as a network."""

    def __init__(self, config: Qwen2MoeConfig) -> None:
        blocks = (Block(config, layer) for layer in range(config.n_layers))
        super().__init__(config, blocks, RotationTable(config.head_dim, config.rope_theta, config.rope_scaling))
