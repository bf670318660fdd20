"""Keys and values of finished turns, kept so that the next turn of a conversation computes only what is new.

Sound because a causal model's keys and values at a place depend on nothing behind it: whatever conversation comes next, what it has in
common with an old one at the beginning need not be read again. Beside them lie the model's hidden states, from which any drafter can
make up its own memory. Few texts are kept, within a bound of bytes, none when memory is short, and they go when their model goes.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from app.runners.memory import free_bytes
from models.decoding.drafting import Context, Draft, Drafter
from models.nn.kvcache import KVCache

MOST_TEXTS = 4
MOST_BYTES = 512 * 2**20
WORTH_SHARING = 48
"""Fewer tokens are read anew: that takes less time than copying costs memory. The head of every conversation is shorter."""
KEEP_FREE = 1024 * 2**20
"""With less main memory than this left, nothing is kept."""


class Listener:
    """A drafter that passes everything on, and keeps the target's states for the next turn."""

    def __init__(self, drafter: Drafter) -> None:
        self.drafter = drafter
        self.states: list[Tensor] = []  # (n, dim) each, one after the other

    @property
    def name(self) -> str:
        return self.drafter.name

    @property
    def typical(self) -> object | None:
        return getattr(self.drafter, "typical", None)

    @property
    def read(self) -> int:
        """Places whose states are known."""
        return sum(len(states) for states in self.states)

    def observe(self, start: int, ids: Sequence[int], hidden: Tensor) -> None:
        self.states.append(hidden)
        self.drafter.observe(start, ids, hidden)

    def propose(self, context: Context) -> Draft:
        return self.drafter.propose(context)


@dataclass
class Read:
    """A text that a model has read: its ids, keys and values, and hidden states (n, dim) at every place."""

    ids: list[int]
    cache: KVCache
    hidden: Tensor

    @property
    def bytes(self) -> int:
        return self.cache.bytes + self.hidden.nbytes

    def copy(self) -> Read:
        return Read(list(self.ids), self.cache.copy(), self.hidden)

    def crop(self, n: int) -> None:
        """Forget all but the first n tokens."""
        self.cache.crop(n)
        del self.ids[n:]
        self.hidden = self.hidden[:n]


class Memory:
    """Texts read by one model, the newest last."""

    def __init__(self) -> None:
        self._texts: list[Read] = []

    def take(self, ids: Sequence[int]) -> Read | None:
        """The text that agrees longest with the beginning of `ids`, cropped to that; None if none agrees for long enough.

        The last of `ids` is never part of it: the model has to read at least one token to say what follows. A text that has more behind
        what both share stays in the memory, and a copy is given.
        """
        length, place = self._best(ids)
        if length < WORTH_SHARING:
            return None
        keeps = len(self._texts[place].ids) - length >= WORTH_SHARING
        text = self._texts[place].copy() if keeps else self._texts.pop(place)
        text.crop(length)
        return text

    def look(self, ids: Sequence[int]) -> KVCache | None:
        """A copy of the cache that agrees longest with the beginning of `ids`, cropped to that and one token short; None if none does."""
        length, place = self._best(ids)
        if length < WORTH_SHARING:
            return None
        cache = self._texts[place].cache.copy()
        cache.crop(length)
        return cache

    def _best(self, ids: Sequence[int]) -> tuple[int, int]:
        """How much is shared with the text that shares most, and its place."""
        return max(((common(text.ids, ids[:-1]), place) for place, text in enumerate(self._texts)), default=(0, 0))

    def keep(self, text: Read, device: torch.device) -> None:
        """Remember a text; older ones go if there are too many, and all if memory is short."""
        self._texts = [old for old in self._texts if common(old.ids, text.ids) < len(old.ids)]  # not the beginning of the new one
        self._texts.append(text)
        while len(self._texts) > MOST_TEXTS or sum(old.bytes for old in self._texts) > MOST_BYTES:
            self._texts.pop(0)
        free = free_bytes(device)
        if free is not None and free < KEEP_FREE:
            self._texts.clear()

    @property
    def bytes(self) -> int:
        return sum(text.bytes for text in self._texts)

    def __len__(self) -> int:
        return len(self._texts)


_memories: weakref.WeakKeyDictionary[nn.Module, Memory] = weakref.WeakKeyDictionary()


def memory_of(model: nn.Module) -> Memory:
    """The memory of a model in the zoo; it ends with the model."""
    return _memories.setdefault(model, Memory())


def common(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens two texts have in common at the beginning."""
    most = min(len(a), len(b))
    return next((place for place in range(most) if a[place] != b[place]), most)
