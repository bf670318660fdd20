"""A small language model as drafter (arXiv 2211.17192): it must share the target's vocabulary, and reads the text into a cache of its own.

Each round it reads what was committed since its last guess in one pass, then guesses token after token. Its cache is cropped to what it has
in common with the text, so a rejected guess leaves no trace. Read next: `models/decoding/early_exit.py`, `models/decoding/training.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from models.decoding.drafting import Context, Draft, LanguageNet, chain

READ_AT_ONCE = 16  # observed tokens from which on they are the prompt, and are read when they come


class DraftModel:
    """Drafts with `net`, a causal language model."""

    name = "draft"

    def __init__(self, net: LanguageNet, max_len: int, device: torch.device | str = "cpu") -> None:
        self.net, self.cache, self.device = net, net.new_cache(max_len), device
        self.read: list[int] = []  # the tokens behind the entries of the cache

    def observe(self, start: int, ids: Sequence[int], hidden: Tensor) -> None:
        if len(ids) >= READ_AT_ONCE and start <= len(self.read):
            self._forget_from(start)
            self._read(ids)

    def propose(self, context: Context) -> Draft:
        self._forget_from(shared_length(self.read, context.ids, limit=len(context.ids) - 1))
        return chain(context, lambda: self._read(context.ids[len(self.read) :]), lambda token: self._read([token]))

    def _read(self, ids: Sequence[int]) -> Tensor:
        logits, _ = self.net.step(torch.tensor(ids, device=self.device), self.cache, last_only=True)
        self.read.extend(ids)
        return logits[-1]                                                   # (V,)

    def _forget_from(self, place: int) -> None:
        self.cache.crop(place)
        del self.read[place:]


def shared_length(ours: Sequence[int], text: Sequence[int], limit: int) -> int:
    """How many tokens both begin with, at most `limit`."""
    top = min(len(ours), limit)
    return next((place for place in range(top) if ours[place] != text[place]), top)
