"""DeepSeek-V3 (arXiv 2412.19437): latent attention, many fine experts beside a shared one, balance without a loss.

    s = sigmoid(W x);   choose by s + b under group limits;   weights = s_e / (sum of the chosen s) x factor     (eq. 12 to 16)
    y = shared(x) + sum over the chosen of  weight_e net_e(x)

The bias b decides who is chosen and nothing else: it never enters the weights, and no gradient reaches it; after each
update of a training it moves by a fixed step towards the even load (`balancing.update_bias`, arXiv 2408.15664). The first
layers are dense. Behind the decoder stand multi-token prediction modules (section 2.2): one more block each, which reads
a hidden state together with the token that followed and guesses the token after that.
Matches transformers' `DeepseekV3ForCausalLM` and `MtpLayer`, so also Moonlight and Kimi-VL's decoder. The experts
are DeepSeekMoE's (arXiv 2401.06066), the attention is `models/nn/mla.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.language.gating import AS_IS, Groups, RoutingTrace, Steering, choose, gate_logits
from models.language.sparse_decoder import Pass, Slot, SparseDecoder
from models.nn.experts import GatedExperts, GatedNet
from models.nn.mla import LatentAttention, LatentCache, LatentSizes
from models.nn.norm import RmsNorm
from models.nn.rope import RopeScaling, RotationTable


@dataclass(frozen=True)
class DeepseekV3Config:
    """Sizes; `ffn_dim` of one expert, `dense_dim` of the nets in the first `n_dense` layers, `mtp_depth` modules."""

    dim: int
    n_layers: int
    n_dense: int
    attention: LatentSizes
    ffn_dim: int
    dense_dim: int
    n_experts: int
    n_shared: int
    top_k: int
    groups: Groups
    normalise: bool
    factor: float
    mtp_depth: int
    vocab_size: int
    max_len: int
    norm_eps: float
    rope_theta: float
    rope_scaling: RopeScaling | None
    sharpen: float
    tied: bool

    def __post_init__(self) -> None:
        G, allowed = self.groups.count, self.groups.allowed
        if G < 1 or self.n_experts % G or not 1 <= allowed <= G:
            raise ValueError(f"{self.n_experts} experts cannot be had as {allowed} of {G} equal groups")
        if self.n_experts // G < 2:
            raise ValueError(f"groups are ranked by their two best experts, so {G} groups need more than {self.n_experts} experts")
        if not 1 <= self.top_k <= allowed * self.n_experts // G:
            raise ValueError(f"{allowed} of {G} groups hold no {self.top_k} of {self.n_experts} experts")

    @property
    def parameters(self) -> int:
        """How many weights the net has, prediction modules included; tied ones once."""
        with torch.device("meta"):
            return sum(weight.numel() for weight in DeepseekV3(self).parameters())


DEEPSEEK_CONFIGS = {
    # The built-in mixture: 24 fine experts in 4 groups, of which a token visits 4, and a shared one of twice their width.
    "mixture": DeepseekV3Config(
        dim=192, n_layers=6, n_dense=1,
        attention=LatentSizes(n_heads=4, q_rank=None, kv_rank=32, nope_dim=32, rope_dim=16, v_dim=32),
        ffn_dim=64, dense_dim=512, n_experts=24, n_shared=2, top_k=4, groups=Groups(count=4, allowed=2), normalise=True,
        factor=1.0, mtp_depth=1, vocab_size=4096, max_len=1024, norm_eps=1e-6, rope_theta=10_000.0, rope_scaling=None,
        sharpen=1.0, tied=True,
    ),
}  # fmt: skip


class SharedAndRouted(nn.Module):
    """The gate with its selection bias, the routed experts, and the shared net that every token visits."""

    def __init__(self, config: DeepseekV3Config, layer: int) -> None:
        super().__init__()
        c = config
        self.layer, self.top_k, self.groups, self.normalise, self.factor = layer, c.top_k, c.groups, c.normalise, c.factor
        self.gate = nn.Linear(c.dim, c.n_experts, bias=False)
        self.register_buffer("bias", torch.zeros(c.n_experts))
        self.experts = GatedExperts(c.n_experts, c.dim, c.ffn_dim)
        self.shared = GatedNet(c.dim, c.n_shared * c.ffn_dim)

    def forward(self, x: Tensor, now: Pass) -> Tensor:
        """(B, T, dim) -> (B, T, dim)."""
        logits = gate_logits(x, self.gate.weight, now.steer)                # (B, T, E)
        s = logits.sigmoid()                                                # (B, T, E) affinity
        bias = self.bias.float() if now.steer.use_bias else None
        groups = self.groups if self.groups.allowed < self.groups.count else None
        choice = choose(s if bias is None else s + bias, now.steer.top_k or self.top_k, self.layer, now.steer, groups)
        weights = choice.weigh(s)                                           # (B, T, K)
        if self.normalise:
            weights = weights / (weights.sum(-1, keepdim=True) + 1e-20)
        weights = weights * self.factor
        routed, shared = choice.visit(self.experts, x, weights), self.shared(x)  # (B, T, dim) each
        if now.trace is not None:
            now.trace.note(self.layer, choice, weights, logits, s, routed, shared=shared, bias=bias, groups=groups)
        return routed + shared


class Block(nn.Module):
    """One layer: latent attention, then experts, or one dense net in the first layers."""

    def __init__(self, config: DeepseekV3Config, layer: int) -> None:
        super().__init__()
        c = config
        self.layer, self.gated = layer, layer >= c.n_dense
        self.attention_norm = RmsNorm(c.dim, c.norm_eps)
        self.attention = LatentAttention(c.dim, c.attention, c.sharpen)
        self.ffn_norm = RmsNorm(c.dim, c.norm_eps)
        self.ffn = SharedAndRouted(c, layer) if self.gated else GatedNet(c.dim, c.dense_dim)

    def forward(self, x: Tensor, now: Pass, slot: Slot) -> Tensor:
        """x (B, T, dim) -> (B, T, dim)."""
        note = None if now.probe is None else (lambda kind, value: now.probe.note(kind, self.layer, value))
        x = x + self.attention(self.attention_norm(x), now.turn, now.mask, now.causal, slot, now.absorb, note)
        u = self.ffn_norm(x)                                                # (B, T, dim)
        return x + (self.ffn(u, now) if self.gated else self.ffn(u))        # (B, T, dim)


class PredictionModule(nn.Module):
    """One step further ahead (eq. 21 to 23): h' = block(M [RMS(embedding of the next token); RMS(h)])."""

    def __init__(self, config: DeepseekV3Config, layer: int) -> None:
        super().__init__()
        c = config
        self.token_norm = RmsNorm(c.dim, c.norm_eps)
        self.hidden_norm = RmsNorm(c.dim, c.norm_eps)
        self.join = nn.Linear(2 * c.dim, c.dim, bias=False)
        self.block = Block(c, layer)
        self.norm_out = RmsNorm(c.dim, c.norm_eps)

    def forward(self, hidden: Tensor, tokens: Tensor, now: Pass) -> Tensor:
        """Normed states (B, T, dim) and embeddings (B, T, dim) of the tokens that followed -> states one token ahead."""
        x = self.join(torch.cat([self.token_norm(tokens), self.hidden_norm(hidden)], dim=-1))  # (B, T, dim)
        return self.norm_out(self.block(x, now, None))                      # (B, T, dim)


class DeepseekV3(SparseDecoder):
    """`DeepseekV3Config` as a network; `mtp` holds the prediction modules, which plain decoding does not use."""

    def __init__(self, config: DeepseekV3Config) -> None:
        c = config
        blocks = (Block(c, layer) for layer in range(c.n_layers))
        super().__init__(c, blocks, RotationTable(c.attention.rope_dim, c.rope_theta, c.rope_scaling))
        self.mtp = nn.ModuleList(PredictionModule(c, c.n_layers + depth) for depth in range(c.mtp_depth))

    def new_cache(self, max_len: int | None = None, batch: int = 1) -> LatentCache:
        """An empty cache of latents for texts of up to max_len tokens (the whole context if absent)."""
        c, weight = self.config, self.norm_out.weight
        max_len = c.max_len if max_len is None else min(max_len, c.max_len)
        return LatentCache(c.n_layers, c.attention.cached, max_len, batch, dtype=weight.dtype, device=weight.device)

    def look_ahead(
        self, hidden: Tensor, ids: Tensor, depth: int = 0, trace: RoutingTrace | None = None, steer: Steering = AS_IS
    ) -> Tensor:
        """States (B, T, dim) of prediction module `depth` on a whole text; `head` makes logits of them.

        hidden (B, T, dim) are the states of the model, or of the module before; ids (B, T) the tokens `depth` + 1 places
        later. Row t then predicts the token `depth` + 2 places after row t's own.
        """
        now = self._begin(ids.shape[1], 0, None, None, steer, trace, None)
        return self.mtp[depth](hidden, self.tokens(ids), now)               # (B, T, dim)

    def biases(self) -> dict[int, Tensor]:
        """The selection bias (E,) of every layer that has one, prediction modules last; the tensors themselves."""
        blocks = [*self.blocks, *(module.block for module in self.mtp)]
        return {block.layer: block.ffn.bias for block in blocks if block.gated}
