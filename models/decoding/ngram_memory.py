"""A memory of what the target likes to say: n-grams of its own writing with their commonest continuation.

The trained sibling of prompt lookup (the idea of REST, arXiv 2311.08252, in a table instead of a datastore): turns of phrase that the
model uses in every second reply need not stand in this text to be guessed. Learning is counting, guessing is one search in a sorted list,
and the share of the continuation is the drafter's belief. Longer n-grams go first. By itself it gains little (the text it is asked for
is what the table already knew); behind prompt lookup it fills the places where nothing was said before (`models/decoding/lookup_first.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from models.decoding.drafting import Context, Draft

ORDERS = (2, 3, 4)
MOST_KEYS = 2**63
"""Keys are kept as 64-bit numbers with a sign."""


@dataclass(frozen=True)
class NgramConfig:
    """Entries by order (tokens of an n-gram). Keys are numbers in base `vocab_size` and have to fit 63 bits."""

    vocab_size: int
    entries: Mapping[int, int]

    def __post_init__(self) -> None:
        fits = self.entries and 1 <= min(self.entries) and max(self.entries) < 64 and self.vocab_size ** max(self.entries) < MOST_KEYS
        if not fits:
            raise ValueError(f"n-grams of {sorted(self.entries)} tokens out of {self.vocab_size} cannot be kept")


@dataclass(frozen=True)
class NgramTable:
    """The n-grams of one order, as numbers in base `vocab_size`, rising, each with its commonest continuation and how common that is."""

    order: int
    vocab_size: int
    keys: np.ndarray
    following: np.ndarray
    share: np.ndarray

    def find(self, ids: Sequence[int]) -> tuple[int, float] | None:
        """The token that most often follows the end of a text, and in which share of cases; None if that is not known."""
        if len(ids) < self.order:
            return None
        key = 0
        for token in ids[len(ids) - self.order :]:
            key = key * self.vocab_size + token
        place = int(np.searchsorted(self.keys, key))
        if place < len(self.keys) and self.keys[place] == key:
            return int(self.following[place]), float(self.share[place])
        return None


class NgramMemory(nn.Module):
    """Tables by order; nothing is trained by gradients."""

    def __init__(self, config: NgramConfig) -> None:
        super().__init__()
        self.config = config
        for order, size in config.entries.items():
            self.register_buffer(f"keys_{order}", torch.zeros(size, dtype=torch.int64))
            self.register_buffer(f"following_{order}", torch.zeros(size, dtype=torch.int32))
            self.register_buffer(f"share_{order}", torch.zeros(size))

    def tables(self) -> tuple[NgramTable, ...]:
        """Ready to be searched on the CPU, the longest n-grams first."""

        def column(name: str, order: int) -> np.ndarray:
            return getattr(self, f"{name}_{order}").cpu().numpy()

        return tuple(
            NgramTable(order, self.config.vocab_size, column("keys", order), column("following", order), column("share", order))
            for order in sorted(self.config.entries, reverse=True)
        )

    def is_sound(self) -> bool:
        """Whether every value is one that counting can give: a damaged file must not name tokens that do not exist."""
        return all(
            table.keys.dtype.kind == table.following.dtype.kind == "i"
            and bool(((table.following >= 0) & (table.following < self.config.vocab_size)).all())
            and bool(((table.share >= 0) & (table.share <= 1)).all())
            for table in self.tables()
        )


class NgramDrafter:
    """Proposes the commonest continuation, step by step."""

    name = "ngram"

    def __init__(self, memory: NgramMemory) -> None:
        self.tables, self.longest = memory.tables(), max(memory.config.entries)

    def find(self, ids: Sequence[int]) -> tuple[int, float] | None:
        """The commonest continuation of a text and its share, by the longest n-gram that is known; None if none is."""
        return next((found for table in self.tables if (found := table.find(ids)) is not None), None)

    def observe(self, start: int, ids: Sequence[int], hidden: Tensor) -> None:
        pass

    def propose(self, context: Context) -> Draft:
        end, tokens, beliefs, reach = context.ids[-self.longest :], [], [], 1.0
        while len(tokens) < context.budget.depth and (found := self.find(end)) is not None:
            token, belief = found
            reach *= context.budget.trust(belief)
            if not context.budget.wants(len(tokens) + 1, reach):
                break
            tokens.append(token)
            beliefs.append(belief)
            end = [*end, token][-self.longest :]
        return Draft(tokens=tuple(tokens), parents=tuple(range(-1, len(tokens) - 1)), beliefs=tuple(beliefs), computed=len(tokens))


def orders_that_fit(vocab_size: int) -> tuple[int, ...]:
    """The orders worth counting (`ORDERS`) whose keys fit: longer n-grams of a large vocabulary do not."""
    return tuple(order for order in ORDERS if vocab_size**order < MOST_KEYS)


def remember(
    tokens: np.ndarray, counted: np.ndarray, vocab_size: int, orders: Sequence[int] = ORDERS, least: int = 3, share: float = 0.0
) -> NgramMemory:
    """Count texts: tokens (N, T), counted (N, T) bool where the target wrote the token that follows.

    Kept are n-grams seen `least` times whose commonest continuation has at least `share` of them (of one more, so that few cases
    do not look certain); of equally common ones the smaller token.
    """
    tables = {order: _count(tokens.astype(np.int64), counted, vocab_size, order, least, share) for order in orders}
    memory = NgramMemory(NgramConfig(vocab_size, {order: len(keys) for order, (keys, _, _) in tables.items()}))
    memory.load_state_dict({
        f"{name}_{order}": torch.from_numpy(values)
        for order, table in tables.items() for name, values in zip(("keys", "following", "share"), table, strict=True)
    })  # fmt: skip
    return memory


def _count(
    tokens: np.ndarray, counted: np.ndarray, vocab_size: int, order: int, least: int, share: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Keys, rising, with their commonest continuation and its share."""
    key = sum(tokens[:, place : tokens.shape[1] - order + place] * vocab_size ** (order - 1 - place) for place in range(order))
    inside = counted[:, order:]
    key, following = key[inside], tokens[:, order:][inside]
    order_of = np.lexsort((following, key))
    key, following = key[order_of], following[order_of]
    pair = np.flatnonzero(np.r_[True, (key[1:] != key[:-1]) | (following[1:] != following[:-1])])  # where a new pair begins
    times, key, following = np.diff(np.r_[pair, len(key)]), key[pair], following[pair]
    group = np.flatnonzero(np.r_[True, key[1:] != key[:-1]])  # where a new n-gram begins
    total, most = np.add.reduceat(times, group), np.maximum.reduceat(times, group)
    best = np.flatnonzero(times == np.repeat(most, np.diff(np.r_[group, len(times)])))
    best = best[np.unique(key[best], return_index=True)[1]]  # the first of equals
    shares = most / (total + 1)
    kept = (total >= least) & (shares >= share)
    return key[best][kept], following[best][kept], shares[kept]
