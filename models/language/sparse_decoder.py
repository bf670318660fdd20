"""What the mixture-of-experts decoders share: everything but their block.

Embedding, cache, positions, masks, final norm and output matrix are those of `llama.py`; each architecture (`moe.py`,
`olmoe.py`, `qwen2_moe.py`, `qwen3_moe.py`, `switch.py`, `deepseek_v3.py`) spells out its own block. A forward pass takes
two more arguments than a LLaMA's: a `RoutingTrace` that the gates write to, and `Steering` that they obey.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice, repeat

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention

from models.language.gating import AS_IS, RoutingTrace, Steering
from models.nn.kvcache import KVCache
from models.nn.norm import RmsNorm
from models.nn.probe import Probe
from models.nn.rope import RotationTable, rotate


@dataclass(frozen=True)
class Pass:
    """What all layers of one forward pass are told."""

    turn: Tensor  # (T, 1, D/2) or (B, T, 1, D/2): rotations of the positions
    mask: Tensor | None  # (T, S) or (B, 1, T, S)
    causal: bool  # the plain triangle, instead of a mask
    steer: Steering
    trace: RoutingTrace | None
    probe: Probe | None
    absorb: bool | None = None  # for latent attention, see `models/nn/mla.py`


Slot = tuple[Tensor, ...] | None
"""A layer's places in the cache: to write, and to read (keys and values, or latents)."""


def attend(q: Tensor, k: Tensor, v: Tensor, now: Pass, layer: int, slot: Slot) -> Tensor:
    """Grouped-query attention of q (B, T, H, D) over k, v (B, T, H_kv, D) and the cache, rotated here: (B, T, H D)."""
    q, k = rotate(q, now.turn), rotate(k, now.turn)
    if now.probe is not None:
        now.probe.note("q", layer, q)
        now.probe.note("k", layer, k)
    k, v = k.transpose(1, 2), v.transpose(1, 2).to(k.dtype)                 # 2 x (B, H_kv, T, D)
    if slot is not None:
        write, all_k, all_v = slot
        write.copy_(torch.cat([k, v], dim=1))                               # (B, 2 H_kv, T, D)
        k, v = all_k, all_v                                                 # 2 x (B, H_kv, S, D)
    h = scaled_dot_product_attention(q.transpose(1, 2), k, v, now.mask, is_causal=now.causal, enable_gqa=True)
    return h.transpose(1, 2).flatten(2)                                     # (B, T, H D)


class SparseDecoder(nn.Module):
    """Embedding, blocks, final norm; `head` makes logits of hidden states.

    A block is called as block(x, now, slot). Subclasses say which blocks there are and make their cache.
    """

    def __init__(self, config, blocks: Iterable[nn.Module], rotations: RotationTable) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(config.vocab_size, config.dim)
        self.blocks = nn.ModuleList(blocks)
        self.norm_out = RmsNorm(config.dim, config.norm_eps)
        self.unembed = None if config.tied else nn.Linear(config.dim, config.vocab_size, bias=False)
        self._rotations = rotations

    @property
    def gated_layers(self) -> frozenset[int]:
        """Layers that choose among experts."""
        return frozenset(layer for layer, block in enumerate(self.blocks) if block.gated)

    def new_cache(self, max_len: int | None = None, batch: int = 1) -> KVCache:
        """An empty cache for texts of up to max_len tokens (the whole context if absent)."""
        c, weight = self.config, self.norm_out.weight
        max_len = c.max_len if max_len is None else min(max_len, c.max_len)
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
        trace: RoutingTrace | None = None,
        steer: Steering = AS_IS,
        absorb: bool | None = None,
    ) -> Tensor:
        """Hidden states (B, T, dim) of tokens (B, T) that follow those in `cache`, after the final norm.

        As `Llama.forward`, plus: `trace` collects what the gates decide, `steer` changes it. Raises RoutingError if
        the steering does not fit the model.
        """
        steer.check(self.gated_layers, self.config.n_experts)
        T = ids.shape[1]
        now = self._begin(T, 0 if cache is None else cache.length, positions, mask, steer, trace, probe, absorb)
        slots = repeat(None) if cache is None else zip(*cache.extend(T))
        x = self.tokens(ids)                                                # (B, T, dim)
        if probe is not None:
            probe.note("resid", -1, x)
        for layer, (block, slot) in enumerate(zip(islice(self.blocks, n_layers), slots)):
            x = block(x, now, slot)                                         # (B, T, dim)
            if probe is not None:
                probe.note("resid", layer, x)
        return self.norm_out(x)                                             # (B, T, dim)

    def head(self, hidden: Tensor) -> Tensor:
        """Logits (..., V) in fp32 of hidden states (..., dim) after the final norm."""
        weight = self.tokens.weight if self.unembed is None else self.unembed.weight
        return linear(hidden, weight).float()                               # (..., V)

    def step(
        self,
        ids: Tensor,
        cache: KVCache,
        *,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
        last_only: bool = False,
        trace: RoutingTrace | None = None,
        steer: Steering = AS_IS,
    ) -> tuple[Tensor, Tensor]:
        """Logits (T, V), or (1, V) of the last token only, and hidden states (T, dim) of one text's next tokens (T,)."""
        hidden = self(ids[None], cache, positions=positions, mask=mask, trace=trace, steer=steer)[0]  # (T, dim)
        return self.head(hidden[-1:] if last_only else hidden), hidden

    def _begin(self, T: int, start: int, positions: Tensor | None, mask: Tensor | None, *rest) -> Pass:
        device = self.norm_out.weight.device
        turn = self._rotations.rows(start, start + T, device) if positions is None else self._rotations.at(positions)
        if mask is not None:
            return Pass(turn, mask if mask.ndim == 2 else mask[:, None], False, *rest)
        if start == 0 or T == 1:
            return Pass(turn, None, T > 1, *rest)
        rows = torch.arange(start, start + T, device=device)[:, None]       # (T, 1)
        return Pass(turn, torch.arange(start + T, device=device) <= rows, False, *rest)


class WatchedNet:
    """A sparse decoder as the decoding loop sees it (`models/decoding`), steered, with a trace of every pass.

    `on_pass(trace)` is called after each pass: a prompt, a token, or the check of several drafted ones.
    """

    def __init__(self, net: SparseDecoder, on_pass: Callable[[RoutingTrace], None], steer: Steering = AS_IS) -> None:
        self.net, self.on_pass, self.steer = net, on_pass, steer

    def new_cache(self, max_len: int) -> KVCache:
        return self.net.new_cache(max_len)

    def step(self, ids: Tensor, cache: KVCache, **how) -> tuple[Tensor, Tensor]:
        trace = RoutingTrace()
        found = self.net.step(ids, cache, trace=trace, steer=self.steer, **how)
        self.on_pass(trace)
        return found
