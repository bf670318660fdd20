"""Texts to train small language models on: two that single out one ability, one that is plain English.

- copy: random tokens, then the same again and again, with a period that differs from text to text. Whoever finds the
  earlier copy of the current token and looks at what came after it (an induction head, arXiv 2209.11895) is right.
- recall: pairs of key and value, then keys in another order, each followed by its value (associative recall,
  arXiv 2312.04927). A state of fixed size can hold only so many pairs.
- captions: sentences about Playworld scenes, word by word.

A batch is a function of (seed, step). Only tokens that can be known count in the loss; the others' targets are IGNORE.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.fitting import generator_for
from models.playworld.caption import caption
from models.playworld.scene import sample_scene
from models.playworld.words import END, START, VOCAB_SIZE, VOCABULARY, encode

IGNORE = -100
SHORTEST_PERIOD = 4
Batch = tuple[Tensor, Tensor]  # tokens (B, T) and, at each place, the token that follows (B, T)


@dataclass(frozen=True)
class Task:
    """A kind of text: `batch(size, T, generator)` draws some, `word(id)` writes a token."""

    title: str
    vocab_size: int
    batch: Callable[[int, int, torch.Generator], Batch]
    word: Callable[[int], str]

    def at(self, step: int, size: int, T: int, seed: int = 0) -> Batch:
        """The batch of a training step."""
        return self.batch(size, T, generator_for(seed, step))

    def words(self, ids: Sequence[int]) -> list[str]:
        """Tokens as they are written."""
        return [self.word(number) for number in ids]


def copy(vocab_size: int = 32, period: int = 0) -> Task:
    """Texts of one random pattern over and over; counted from the second time on.

    With a `period` above 0 all texts repeat after so many tokens, and position alone tells where to look.
    """

    def batch(size: int, T: int, generator: torch.Generator) -> Batch:
        longest = period or max(SHORTEST_PERIOD, T // 2)
        periods = torch.randint(period or SHORTEST_PERIOD, longest + 1, (size, 1), generator=generator)
        pattern = torch.randint(vocab_size, (size, longest), generator=generator)
        place = torch.arange(T + 1)
        text = pattern.gather(1, place % periods)                           # (B, T + 1)
        return _shifted(text, place >= periods)

    return Task("Copying", vocab_size, batch, str)


def recall(pairs: int = 8, symbols: int = 16) -> Task:
    """`pairs` keys with their values, then questions in random order to the end; keys and values are different tokens."""

    def batch(size: int, T: int, generator: torch.Generator) -> Batch:
        if T < 2 * pairs + 1:
            raise ValueError(f"{pairs} pairs need more than {2 * pairs} tokens, not {T}")
        lots = torch.rand(size, symbols, generator=generator)
        keys = lots.argsort(dim=1)[:, :pairs]                               # (B, pairs), each once
        values = torch.randint(symbols, (size, pairs), generator=generator) + symbols
        asked = torch.randint(pairs, (size, (T + 1 - 2 * pairs) // 2 + 1), generator=generator)
        told = torch.stack([keys, values], dim=-1).flatten(1)               # (B, 2 pairs)
        answers = torch.stack([keys.gather(1, asked), values.gather(1, asked)], dim=-1).flatten(1)
        text = torch.cat([told, answers], dim=1)[:, : T + 1]                # (B, T + 1)
        place = torch.arange(T + 1)
        return _shifted(text, ((place >= 2 * pairs) & (place % 2 == 1)).expand_as(text))

    if pairs > symbols:
        raise ValueError(f"{pairs} different keys cannot be drawn from {symbols} symbols")
    return Task("Recall of pairs", 2 * symbols, batch, lambda id_: f"k{id_}" if id_ < symbols else f"v{id_ - symbols}")


def captions(split: str = "train") -> Task:
    """Sentences about random Playworld scenes of a split, one after the other, without a start."""

    def batch(size: int, T: int, generator: torch.Generator) -> Batch:
        first = int(torch.randint(2**30, (1,), generator=generator))
        rows = [_words(first + row, T + 1, split) for row in range(size)]
        return _shifted(torch.tensor(rows), torch.ones(size, T + 1, dtype=torch.bool))

    return Task("Captions", VOCAB_SIZE, batch, lambda id_: "<end>" if id_ == END else VOCABULARY[id_])


def _words(seed: int, length: int, split: str) -> list[int]:
    rng, ids = random.Random(seed), []
    while len(ids) < length:
        text, _ = caption(sample_scene(rng.randrange(2**31), split), rng)
        words = [i for i in encode(text) if i not in (START, END)]
        ids += [*words, END]
    return ids[:length]


def _shifted(text: Tensor, counts: Tensor) -> Batch:
    """Texts (B, T + 1) as tokens and targets (B, T); a target is IGNORE where its token does not count."""
    return text[:, :-1], text[:, 1:].masked_fill(~counts[:, 1:], IGNORE)


TASKS: dict[str, Callable[..., Task]] = {"copy": copy, "recall": recall, "captions": captions}
