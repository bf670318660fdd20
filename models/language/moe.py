"""Mixtral (Jiang et al., arXiv 2401.04088): a LLaMA in which every gated net is a bank of experts, of which a token visits the best k.

    p = softmax(W x),   y = sum over the k largest of  p_e / (sum of those k)  net_e(x)

Dividing by the sum of the chosen makes it the softmax over their logits alone (eq. 2). Matches transformers'
`MixtralForCausalLM`; with one expert it is a LLaMA. `olmoe.py`, `qwen2_moe.py` and `qwen3_moe.py` change a few lines each,
`switch.py` adds capacity, `deepseek_v3.py` changes the gate. Losses that keep the load even are in `balancing.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from models.language.gating import choose, gate_logits
from models.language.sparse_decoder import Pass, Slot, SparseDecoder, attend
from models.nn.experts import GatedExperts
from models.nn.norm import RmsNorm
from models.nn.rope import RopeScaling, RotationTable


@dataclass(frozen=True)
class MixtralConfig:
    """Sizes of a Mixtral; `ffn_dim` of one expert, `top_k` experts a token."""

    dim: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    ffn_dim: int
    n_experts: int
    top_k: int
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

    def __init__(self, config: MixtralConfig, layer: int) -> None:
        super().__init__()
        self.layer, self.top_k = layer, config.top_k
        self.gate = nn.Linear(config.dim, config.n_experts, bias=False)
        self.experts = GatedExperts(config.n_experts, config.dim, config.ffn_dim)

    def forward(self, x: Tensor, now: Pass) -> Tensor:
        """(B, T, dim) -> (B, T, dim)."""
        logits = gate_logits(x, self.gate.weight, now.steer)                # (B, T, E)
        p = logits.softmax(dim=-1)                                          # (B, T, E)
        choice = choose(p, now.steer.top_k or self.top_k, self.layer, now.steer)
        weights = choice.weigh(p)                                           # (B, T, K)
        weights = weights / weights.sum(-1, keepdim=True).clamp_min(1e-20)
        y = choice.visit(self.experts, x, weights)                          # (B, T, dim)
        if now.trace is not None:
            now.trace.note(self.layer, choice, weights, logits, p, y)
        return y


class Block(nn.Module):
    """One layer: grouped-query attention, then the experts, each behind its own norm."""

    gated = True

    def __init__(self, config: MixtralConfig, layer: int) -> None:
        super().__init__()
        c = config
        self.layer, self.head_dim = layer, c.head_dim
        self.attention_norm = RmsNorm(c.dim, c.norm_eps)
        self.q = nn.Linear(c.dim, c.n_heads * c.head_dim, bias=False)
        self.k = nn.Linear(c.dim, c.n_kv_heads * c.head_dim, bias=False)
        self.v = nn.Linear(c.dim, c.n_kv_heads * c.head_dim, bias=False)
        self.out = nn.Linear(c.n_heads * c.head_dim, c.dim, bias=False)
        self.ffn_norm = RmsNorm(c.dim, c.norm_eps)
        self.ffn = SparseNet(c, layer)

    def forward(self, x: Tensor, now: Pass, slot: Slot) -> Tensor:
        """x (B, T, dim) -> (B, T, dim)."""
        u = self.attention_norm(x)
        q, k, v = (part(u).unflatten(-1, (-1, self.head_dim)) for part in (self.q, self.k, self.v))  # (B, T, H or H_kv, D)
        x = x + self.out(attend(q, k, v, now, self.layer, slot))            # (B, T, dim)
        return x + self.ffn(self.ffn_norm(x), now)                          # (B, T, dim)


class Mixtral(SparseDecoder):
    """`MixtralConfig` as a network."""

    def __init__(self, config: MixtralConfig) -> None:
        blocks = (Block(config, layer) for layer in range(config.n_layers))
        super().__init__(config, blocks, RotationTable(config.head_dim, config.rope_theta, config.rope_scaling))
