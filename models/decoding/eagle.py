"""EAGLE (Li et al., arXiv 2401.15077): one decoder layer that continues the target's last states, one token a step.

The layer reads pairs (state h_i, token x_{i+1}): the token tells which of the possible continuations was taken, which the state alone does
not know (Medusa's weak point). It answers with an estimate of h_{i+1}, from which the target's own output matrix makes the law of x_{i+2};
the estimate is its next input. Both inputs are normed and joined by one matrix, as in DeepSeek-V3's module (arXiv 2412.19437, eq. 21).
Its cache holds pairs of true states; those of a draft are cropped before the next. Read next: `models/decoding/training.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.decoding.block import Block, BlockConfig, Memory, cached, causal_mask, slots
from models.decoding.draft_model import READ_AT_ONCE
from models.decoding.drafting import Context, Draft, chain
from models.decoding.medusa import Unembed
from models.nn.kvcache import KVCache
from models.nn.norm import RmsNorm
from models.nn.rope import RotationTable

Embed = Callable[[Tensor], Tensor]  # token ids (…) -> the target's embeddings (…, dim)


@dataclass(frozen=True)
class EagleConfig:
    """The layer's sizes, those of the target's layers as a rule, and how many tokens it may guess."""

    block: BlockConfig
    vocab_size: int


class EagleLayer(nn.Module):
    """(state, next token) -> estimate of the next state."""

    def __init__(self, config: EagleConfig) -> None:
        super().__init__()
        c = config.block
        self.config = config
        self.norm_state, self.norm_token = RmsNorm(c.dim, c.norm_eps), RmsNorm(c.dim, c.norm_eps)
        self.join = nn.Linear(2 * c.dim, c.dim, bias=False)
        self.block = Block(c)
        self.norm_out = RmsNorm(c.dim, c.norm_eps)
        self.register_buffer("kept", torch.arange(config.vocab_size, dtype=torch.int32))
        self._rotations = RotationTable(c.head_dim, c.rope_theta, None)

    def forward(self, hidden: Tensor, embedded: Tensor, start: int, mask: Tensor | None, memory: Memory) -> Tensor:
        """hidden and embedded (B, T, dim) of pairs at the places start, start + 1, … -> (B, T, dim), scaled as the target's states."""
        turn = self._rotations.rows(start, start + hidden.shape[1], hidden.device)  # (T, 1, D/2)
        pair = torch.cat([self.norm_state(hidden), self.norm_token(embedded)], -1)  # (B, T, 2 dim)
        return self.norm_out(self.block(self.join(pair), turn, mask, memory))       # (B, T, dim)

    def new_cache(self, max_len: int) -> KVCache:
        c = self.config.block
        return KVCache(1, c.n_kv_heads, c.head_dim, max_len, dtype=self.norm_out.weight.dtype, device=self.norm_out.weight.device)


class EagleDrafter:
    """Drafts a chain with an `EagleLayer`."""

    name = "eagle"

    def __init__(self, layer: EagleLayer, embed: Embed, unembed: Unembed, max_len: int, device: torch.device | str = "cpu") -> None:
        self.layer, self.embed, self.unembed, self.device = layer, embed, unembed, device
        self.kept = layer.kept.long()
        self.cache = layer.new_cache(max_len)
        self.first = 0  # place in the text of the cache's first entry; later than 0 if drafting began in the middle
        self.states: list[Tensor] = []  # (n, dim) each: states observed and not yet read, the places following the cache's
        self.tokens: list[int] = []  # the tokens at those places

    def observe(self, start: int, ids: Sequence[int], hidden: Tensor) -> None:
        if start != self.first + self.cache.length + len(self.tokens):  # not what follows: begin here
            self.cache.crop(0)
            self.first, self.states, self.tokens = start, [], []
        self.states.append(hidden)
        self.tokens.extend(ids)
        if len(self.tokens) > READ_AT_ONCE:
            self._read(self.tokens[1:])  # the last state waits for its token

    def propose(self, context: Context) -> Draft:
        if not self.tokens:
            return Draft()
        h: list[Tensor] = []

        def first() -> Tensor:
            h.append(self._read([*self.tokens[1:], context.ids[-1]]))
            return self.unembed(h[-1]).float()                              # (V,)

        def further(token: int) -> Tensor:
            h.append(self._extend(h[-1][None], [token]))
            return self.unembed(h[-1]).float()                              # (V,)

        draft = chain(context, first, further, self.kept)
        if h:
            self.cache.crop(len(context.ids) - 1 - self.first)
        return draft

    def _read(self, following: list[int]) -> Tensor:
        """Read the waiting states, each with the token behind it; the estimate after the last of them, (dim,)."""
        waiting = torch.cat(self.states)                                    # (n, dim)
        last = self._extend(waiting[: len(following)], following)
        self.states, self.tokens = ([waiting[len(following) :]] if len(following) < len(waiting) else []), self.tokens[len(following) :]
        return last

    def _extend(self, hidden: Tensor, tokens: list[int]) -> Tensor:
        """Append pairs (n, dim), (n) to the cache; the estimate after the last, (dim,)."""
        start, n = self.cache.length, len(tokens)
        embedded = self.embed(torch.tensor(tokens, device=self.device))     # (n, dim)
        place = slots(self.cache, n)[0]
        mask = causal_mask(n, start + n, self.device)
        return self.layer(hidden[None], embedded[None], self.first + start, mask, cached(place))[0, -1]
