"""Switch routing (Fedus et al., arXiv 2101.03961) in a small causal decoder that is trained while one watches.

    y = sum over the k largest of  p_e net_e(x),   p = softmax(W x),   net_e = W_o relu(W_i x)

An expert takes at most ceil(factor k T / E) tokens of a sequence; the others pass by on the residual stream. Weights are
not divided by their sum: with one choice that would make every weight 1 and give the gate no gradient (section 2.1). The
sparse layer matches transformers' `SwitchTransformersSparseMLP`; the decoder around it is `llama.py`'s, not T5's.
Who finds a place depends on the tokens that are read together, so a text read in pieces may be routed otherwise; with
factor None it is not. The losses that keep experts in use, `load_balance_loss` and `z_loss`, are in `balancing.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from models.language.gating import capacity, choose, gate_logits, within_capacity
from models.language.sparse_decoder import Pass, Slot, SparseDecoder, attend
from models.nn.experts import ReluExperts
from models.nn.norm import RmsNorm
from models.nn.rope import RotationTable


@dataclass(frozen=True)
class SwitchConfig:
    """Sizes; `capacity_factor` None leaves every token its expert."""

    dim: int
    n_layers: int
    n_heads: int
    head_dim: int
    ffn_dim: int
    n_experts: int
    top_k: int
    capacity_factor: float | None
    vocab_size: int
    max_len: int
    norm_eps: float
    rope_theta: float
    tied: bool

    def __post_init__(self) -> None:
        if not 1 <= self.top_k <= self.n_experts:
            raise ValueError(f"a token cannot visit {self.top_k} of {self.n_experts} experts")
        if self.capacity_factor is not None and not self.capacity_factor > 0:
            raise ValueError(f"a capacity factor of {self.capacity_factor} leaves no places")

    @property
    def n_kv_heads(self) -> int:
        return self.n_heads


class SwitchNet(nn.Module):
    """The gate and its experts with their limited places."""

    def __init__(self, config: SwitchConfig, layer: int) -> None:
        super().__init__()
        self.layer, self.top_k, self.capacity_factor = layer, config.top_k, config.capacity_factor
        self.gate = nn.Linear(config.dim, config.n_experts, bias=False)
        self.experts = ReluExperts(config.n_experts, config.dim, config.ffn_dim)

    def forward(self, x: Tensor, now: Pass) -> Tensor:
        """(B, T, dim) -> (B, T, dim); zero for tokens whose experts are full."""
        logits = gate_logits(x, self.gate.weight, now.steer)                # (B, T, E)
        p = logits.softmax(dim=-1)                                          # (B, T, E)
        T, E = p.shape[-2:]
        choice = choose(p, now.steer.top_k or self.top_k, self.layer, now.steer)
        K = choice.experts.shape[-1]
        kept, factor = choice.live, now.steer.capacity_factor or self.capacity_factor
        if factor is not None:
            kept = kept & within_capacity(choice.experts, E, capacity(factor, T, K, E))  # (B, T, K)
        weights = p.gather(-1, choice.experts) * kept                       # (B, T, K)
        routed = self.experts(x.flatten(0, 1), choice.experts.flatten(0, 1), weights.flatten(0, 1), kept.flatten(0, 1))
        y = routed.view_as(x)                                               # (B, T, dim)
        if now.trace is not None:
            now.trace.note(self.layer, choice, weights, logits, p, y, kept=kept)
        return y


class Block(nn.Module):
    """One layer: attention, then the experts."""

    gated = True

    def __init__(self, config: SwitchConfig, layer: int) -> None:
        super().__init__()
        c = config
        self.layer, self.head_dim = layer, c.head_dim
        self.attention_norm = RmsNorm(c.dim, c.norm_eps)
        self.q = nn.Linear(c.dim, c.n_heads * c.head_dim, bias=False)
        self.k = nn.Linear(c.dim, c.n_heads * c.head_dim, bias=False)
        self.v = nn.Linear(c.dim, c.n_heads * c.head_dim, bias=False)
        self.out = nn.Linear(c.n_heads * c.head_dim, c.dim, bias=False)
        self.ffn_norm = RmsNorm(c.dim, c.norm_eps)
        self.ffn = SwitchNet(c, layer)

    def forward(self, x: Tensor, now: Pass, slot: Slot) -> Tensor:
        """x (B, T, dim) -> (B, T, dim)."""
        u = self.attention_norm(x)
        q, k, v = (part(u).unflatten(-1, (-1, self.head_dim)) for part in (self.q, self.k, self.v))  # (B, T, H, D)
        x = x + self.out(attend(q, k, v, now, self.layer, slot))            # (B, T, dim)
        return x + self.ffn(self.ffn_norm(x), now)                          # (B, T, dim)


class SwitchDecoder(SparseDecoder):
    """`SwitchConfig` as a network."""

    def __init__(self, config: SwitchConfig) -> None:
        blocks = (Block(config, layer) for layer in range(config.n_layers))
        super().__init__(config, blocks, RotationTable(config.head_dim, config.rope_theta, None))
