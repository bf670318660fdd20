"""OLMoE (Muennighoff et al., arXiv 2409.02060): many small experts, and norms on queries and keys.

    y = sum over the k largest of  p_e net_e(x),   p = softmax(W x)

What differs from `moe.py`: the weights of the chosen experts are not divided by their sum (64 experts, 8 chosen, sum below
1); queries and keys pass an RMSNorm over all heads together before they are turned, and may be clipped. Matches
transformers' `OlmoeForCausalLM`.
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
class OlmoeConfig:
    """Sizes of an OLMoE; `clip` bounds queries, keys and values, None leaves them."""

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
    clip: float | None

    def __post_init__(self) -> None:
        if self.n_heads % self.n_kv_heads:
            raise ValueError(f"{self.n_heads} query heads cannot share {self.n_kv_heads} key heads evenly")
        if not 1 <= self.top_k <= self.n_experts:
            raise ValueError(f"a token cannot visit {self.top_k} of {self.n_experts} experts")


class SparseNet(nn.Module):
    """The gate and its experts; weights are the plain softmax."""

    def __init__(self, config: OlmoeConfig, layer: int) -> None:
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
        y = choice.visit(self.experts, x, weights)                          # (B, T, dim)
        if now.trace is not None:
            now.trace.note(self.layer, choice, weights, logits, p, y)
        return y


class Block(nn.Module):
    """One layer: attention with normed queries and keys, then the experts."""

    gated = True

    def __init__(self, config: OlmoeConfig, layer: int) -> None:
        super().__init__()
        c = config
        self.layer, self.head_dim, self.clip = layer, c.head_dim, c.clip
        self.attention_norm = RmsNorm(c.dim, c.norm_eps)
        self.q = nn.Linear(c.dim, c.n_heads * c.head_dim, bias=False)
        self.k = nn.Linear(c.dim, c.n_kv_heads * c.head_dim, bias=False)
        self.v = nn.Linear(c.dim, c.n_kv_heads * c.head_dim, bias=False)
        self.q_norm = RmsNorm(c.n_heads * c.head_dim, c.norm_eps)
        self.k_norm = RmsNorm(c.n_kv_heads * c.head_dim, c.norm_eps)
        self.out = nn.Linear(c.n_heads * c.head_dim, c.dim, bias=False)
        self.ffn_norm = RmsNorm(c.dim, c.norm_eps)
        self.ffn = SparseNet(c, layer)

    def forward(self, x: Tensor, now: Pass, slot: Slot) -> Tensor:
        """x (B, T, dim) -> (B, T, dim)."""
        u = self.attention_norm(x)
        parts = self.q_norm(self.q(u)), self.k_norm(self.k(u)), self.v(u)   # (B, T, H D), 2 x (B, T, H_kv D)
        if self.clip is not None:
            parts = tuple(part.clamp(-self.clip, self.clip) for part in parts)
        q, k, v = (part.unflatten(-1, (-1, self.head_dim)) for part in parts)  # (B, T, H or H_kv, D)
        x = x + self.out(attend(q, k, v, now, self.layer, slot))            # (B, T, dim)
        return x + self.ffn(self.ffn_norm(x), now)                          # (B, T, dim)


class Olmoe(SparseDecoder):
    """`OlmoeConfig` as a network."""

    def __init__(self, config: OlmoeConfig) -> None:
        blocks = (Block(config, layer) for layer in range(config.n_layers))
        super().__init__(config, blocks, RotationTable(config.head_dim, config.rope_theta, config.rope_scaling))
