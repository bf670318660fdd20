"""LLaMA (Touvron et al., arXiv 2302.13971): a decoder of pre-norm blocks with rotary positions and a gated net.

    x += W_o attention(RMS(x)),   x += W_d (SiLU(W_g RMS(x)) * W_u RMS(x)),   logits = W RMS(x)

Grouped queries (arXiv 2305.13245): query head j looks at key head j // (n_heads / n_kv_heads). Matches transformers'
`LlamaForCausalLM` and llama.cpp's "llama": LLaMA 1 to 3, TinyLlama, SmolLM, Mistral without its window. Two matrices
are fused at load (q, k, v; gate, up), and heads keep rotary pairs as neighbours; `keymaps.py` reorders. The cache,
masks and probes are arguments, so one net serves many texts. Read next: `formats.py`, `models/decoding`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice, repeat

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention, silu

from models.nn.kvcache import KVCache
from models.nn.norm import RmsNorm
from models.nn.probe import Note, Probe
from models.nn.rope import RopeScaling, RotationTable, rotate

LARGEST = 2**24
"""Of any size in a config: far more than any published model has; a hostile file could promise anything."""
MOST_LAYERS = 1024


@dataclass(frozen=True)
class LlamaConfig:
    """Sizes of a LLaMA; `tied`: the embedding serves as output matrix too."""

    dim: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    ffn_dim: int
    vocab_size: int
    max_len: int
    norm_eps: float
    rope_theta: float
    rope_scaling: RopeScaling | None
    tied: bool

    def __post_init__(self) -> None:
        sizes = {name: getattr(self, name) for name in (
            "dim", "n_layers", "n_heads", "n_kv_heads", "head_dim", "ffn_dim", "vocab_size", "max_len")}  # fmt: skip
        if wrong := {name: size for name, size in sizes.items() if not 1 <= size <= LARGEST}:
            raise ValueError(f"a LLaMA has sizes from 1 to {LARGEST}, not {wrong}")
        if self.n_layers > MOST_LAYERS:
            raise ValueError(f"{self.n_layers} layers are more than {MOST_LAYERS}")
        if self.n_heads % self.n_kv_heads:
            raise ValueError(f"{self.n_heads} query heads cannot share {self.n_kv_heads} key heads evenly")
        if self.head_dim % 2:
            raise ValueError(f"rotary positions need an even head width, not {self.head_dim}")
        if not (0 <= self.norm_eps < 1 and 0 < self.rope_theta < float("inf")):
            raise ValueError(f"norm_eps {self.norm_eps} or rope_theta {self.rope_theta} is out of range")

    @property
    def parameters(self) -> int:
        """How many weights the net has; tied ones once."""
        attention = self.dim * self.head_dim * (2 * self.n_heads + 2 * self.n_kv_heads)
        layer = attention + 3 * self.dim * self.ffn_dim + 2 * self.dim
        return self.n_layers * layer + self.dim + self.vocab_size * self.dim * (1 if self.tied else 2)


LLAMA_CONFIGS = {
    "smollm2-135m": LlamaConfig(
        dim=576, n_layers=30, n_heads=9, n_kv_heads=3, head_dim=64, ffn_dim=1536, vocab_size=49152, max_len=8192,
        norm_eps=1e-5, rope_theta=100_000.0, rope_scaling=None, tied=True,
    ),
}


Slot = tuple[Tensor, Tensor, Tensor]
"""A layer's place in the cache: where to write keys and values, all keys, all values."""
Gains = Mapping[int, Tensor]
"""{layer: a factor for the output of each head (H,)}, before the output projection; layers without an entry stay as they are."""


class Block(nn.Module):
    """One layer: grouped-query attention and the gated net, each behind its own norm."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        c = config
        self.n_heads, self.n_kv_heads, self.head_dim = c.n_heads, c.n_kv_heads, c.head_dim
        self.attention_norm = RmsNorm(c.dim, c.norm_eps)
        self.qkv = nn.Linear(c.dim, (c.n_heads + 2 * c.n_kv_heads) * c.head_dim, bias=False)
        self.out = nn.Linear(c.n_heads * c.head_dim, c.dim, bias=False)
        self.ffn_norm = RmsNorm(c.dim, c.norm_eps)
        self.gate_up = nn.Linear(c.dim, 2 * c.ffn_dim, bias=False)
        self.down = nn.Linear(c.ffn_dim, c.dim, bias=False)

    def forward(
        self, x: Tensor, turn: Tensor, mask: Tensor | None, causal: bool, slot: Slot | None, note: Note | None, gain: Tensor | None = None
    ) -> Tensor:
        """x (B, T, dim); `turn` rotates positions; `slot` is the layer's place in the cache; `note` takes inner states.

        `gain` (H,) multiplies the output of each head: 0 removes it.
        """
        heads = self.attend(self.qkv(self.attention_norm(x)), turn, mask, causal, slot, note)  # (B, T, H D)
        x = x + self.out(heads if gain is None else scaled_heads(heads, gain))
        gate, up = self.gate_up(self.ffn_norm(x)).chunk(2, dim=-1)          # 2 x (B, T, ffn_dim)
        return x + self.down(silu(gate) * up)                               # (B, T, dim)

    def attend(
        self, qkv: Tensor, turn: Tensor, mask: Tensor | None, causal: bool, slot: Slot | None = None, note: Note | None = None
    ) -> Tensor:
        """softmax(q k^T / sqrt(D)) v of the projections (B, T, (H + 2 H_kv) D), which are turned in place; (B, T, H D)."""
        B, T, _ = qkv.shape
        H, H_kv = self.n_heads, self.n_kv_heads
        qkv = qkv.view(B, T, H + 2 * H_kv, self.head_dim)                   # (B, T, H + 2 H_kv, D)
        rotate(qkv[:, :, : H + H_kv], turn)
        q, kv = qkv[:, :, :H].transpose(1, 2), qkv[:, :, H:].transpose(1, 2)  # (B, H, T, D), (B, 2 H_kv, T, D)
        if note is not None:
            note("q", q.transpose(1, 2))
            note("k", kv[:, :H_kv].transpose(1, 2))
            note("v", kv[:, H_kv:].transpose(1, 2))
        if slot is None:
            k, v = kv[:, :H_kv], kv[:, H_kv:]                               # (B, H_kv, T, D)
        else:
            write, k, v = slot                                              # (B, H_kv, S, D)
            write.copy_(kv)
        if causal:
            h = scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        else:  # heads that share a key head lie behind one another, as if they were more queries: each key is read once
            folded = q.reshape(B, H_kv, H // H_kv * T, self.head_dim)       # (B, H_kv, G T, D)
            h = scaled_dot_product_attention(folded, k, v, mask).view(B, H, T, self.head_dim)
        return h.transpose(1, 2).reshape(B, T, -1)                          # (B, T, H D)


def scaled_heads(heads: Tensor, gain: Tensor) -> Tensor:
    """Outputs of heads side by side (B, T, H D), each times its factor of `gain` (H,)."""
    return (heads.unflatten(-1, (len(gain), -1)) * gain[:, None]).flatten(-2)  # (B, T, H D)


class Llama(nn.Module):
    """Embedding, blocks, final norm; `head` makes logits of hidden states."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(config.vocab_size, config.dim)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.norm_out = RmsNorm(config.dim, config.norm_eps)
        self.unembed = nn.Linear(config.dim, config.vocab_size, bias=False)
        if config.tied:
            self.unembed.weight = self.tokens.weight
        self._rotations = RotationTable(config.head_dim, config.rope_theta, config.rope_scaling)

    def new_cache(self, max_len: int | None = None, batch: int = 1) -> KVCache:
        """An empty cache for texts of up to max_len tokens (the whole context if absent)."""
        c = self.config
        max_len = c.max_len if max_len is None else min(max_len, c.max_len)
        weight = self.norm_out.weight
        return KVCache(c.n_layers, c.n_kv_heads, c.head_dim, max_len, batch, dtype=weight.dtype, device=weight.device)

    def forward(
        self,
        ids: Tensor,
        cache: KVCache | None = None,
        *,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
        n_layers: int | None = None,
        probe: Probe | None = None,
        gains: Gains | None = None,
    ) -> Tensor:
        """Hidden states (B, T, dim) of tokens (B, T) that follow those in `cache`, after the final norm.

        `positions` (T,) or (B, T) count on from the cache by default. `mask` (T, S) or (B, T, S) is True where a token
        may look, S counts the cache and the new tokens; by default each sees all before it. `n_layers` leaves the
        layers above away (early exit). New keys are appended to `cache`. `gains` scale single heads in this call.
        """
        T = ids.shape[1]
        start = 0 if cache is None else cache.length
        if positions is None:
            turn = self._rotations.rows(start, start + T, ids.device)       # (T, 1, D/2)
        else:
            turn = self._rotations.at(positions)                            # (T, 1, D/2)
        if cache is None or probe is not None or torch.is_grad_enabled():
            return self._run(ids, cache, turn, mask, start, n_layers, probe, gains)
        with torch.inference_mode():  # without autograd's book-keeping a step is 7 % shorter
            hidden = self._run(ids, cache, turn, mask, start, n_layers, probe, gains)
        return hidden.clone()  # outside, so that the result is an ordinary tensor again

    def _run(
        self, ids: Tensor, cache: KVCache | None, turn: Tensor, mask: Tensor | None, start: int, n_layers: int | None,
        probe: Probe | None, gains: Gains | None,
    ) -> Tensor:  # fmt: skip
        slots = repeat(None) if cache is None else zip(*cache.extend(ids.shape[1]))
        x = self.tokens(ids)                                                # (B, T, dim)
        mask, causal = self._mask(mask, start, ids.shape[1], x)
        if probe is not None:
            probe.note("resid", -1, x)
        for layer, (block, slot) in enumerate(zip(islice(self.blocks, n_layers), slots)):
            note = None if probe is None else probe.at(layer)
            gain = None if gains is None else gains.get(layer)
            x = block(x, turn, mask, causal, slot, note, gain)              # (B, T, dim)
            if probe is not None:
                probe.note("resid", layer, x)
        return self.norm_out(x)                                             # (B, T, dim)

    def head(self, hidden: Tensor) -> Tensor:
        """Logits (..., V) in fp32 of hidden states (..., dim) after the final norm."""
        return self.unembed(hidden).float()                                 # (..., V)

    def step(
        self,
        ids: Tensor,
        cache: KVCache,
        *,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
        last_only: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Logits (T, V), or (1, V) of the last token only, and hidden states (T, dim) of one text's next tokens (T,)."""
        hidden = self(ids[None], cache, positions=positions, mask=mask)[0]  # (T, dim)
        return self.head(hidden[-1:] if last_only else hidden), hidden

    def _mask(self, mask: Tensor | None, start: int, T: int, x: Tensor) -> tuple[Tensor | None, bool]:
        """What attention adds to its scores, (G T, S) or (B, 1, G T, S): 0 or -inf; and whether it is the plain triangle."""
        if mask is None:
            if start == 0 or T == 1:
                return None, T > 1
            rows = torch.arange(start, start + T, device=x.device)[:, None]  # (T, 1)
            mask = torch.arange(start + T, device=x.device) <= rows         # (T, S)
        added = torch.zeros(mask.shape, dtype=x.dtype, device=x.device).masked_fill_(mask.logical_not(), float("-inf"))
        groups = self.config.n_heads // self.config.n_kv_heads
        return (added.repeat(groups, 1) if mask.ndim == 2 else added.repeat(1, groups, 1)[:, None]), False
