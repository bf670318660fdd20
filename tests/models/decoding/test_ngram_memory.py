"""Counting against a plain count, and drafting by it."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest
import torch

from models import catalog
from models.decoding.draft_length import FixedBudget
from models.decoding.drafting import Context
from models.decoding.ngram_memory import NgramConfig, NgramDrafter, NgramMemory, orders_that_fit, remember
from models.decoding.sampling import SamplingConfig


def by_hand(tokens: np.ndarray, counted: np.ndarray, order: int, least: int, share: float) -> dict[tuple[int, ...], tuple[int, float]]:
    seen: dict[tuple[int, ...], Counter] = defaultdict(Counter)
    for row, counts in zip(tokens.tolist(), counted.tolist()):
        for place in range(order, len(row)):
            if counts[place]:
                seen[tuple(row[place - order : place])][row[place]] += 1
    found = {}
    for gram, following in seen.items():
        token = min(following, key=lambda token: (-following[token], token))
        part = following[token] / (following.total() + 1)
        if following.total() >= least and part >= share:
            found[gram] = (token, part)
    return found


@pytest.mark.parametrize(("least", "share"), [(1, 0.0), (3, 0.0), (2, 0.4)])
def test_counting_is_counting(least, share) -> None:
    noise = np.random.default_rng(0)
    tokens, counted = noise.integers(0, 6, (12, 40)).astype(np.uint16), noise.random((12, 40)) < 0.7
    memory = remember(tokens, counted, 6, orders=(1, 2, 3), least=least, share=share)
    for order in (1, 2, 3):
        expected = by_hand(tokens, counted, order, least, share)
        assert memory.config.entries[order] == len(expected)
        only = NgramDrafter(remember(tokens, counted, 6, orders=(order,), least=least, share=share))
        for gram, (token, part) in expected.items():
            found = only.find(list(gram))
            assert found is not None and found[0] == token and found[1] == pytest.approx(part, abs=1e-6)
        known = sum(only.find(gram) is not None for gram in np.ndindex(6, 6, 6))
        assert known == len(expected) * 6 ** (3 - order)
    assert memory.config.entries[3] > 0


def test_the_longest_known_ending_decides() -> None:
    tokens = np.array([[1, 2, 3, 1, 2, 3, 5, 2, 4, 5, 2, 4, 5, 2, 4]])
    memory = NgramDrafter(remember(tokens, np.ones_like(tokens, dtype=bool), 8, orders=(1, 2), least=2))
    assert memory.find([1, 2]) == (3, pytest.approx(2 / 3)) and memory.find([5, 2]) == (4, pytest.approx(3 / 4))
    assert memory.find([7, 2])[0] == 4 and memory.find([2])[0] == 4  # "2" alone: three times 4, twice 3
    assert memory.find([]) is None and memory.find([7]) is None


def test_drafting_follows_the_memory_and_files_keep_it() -> None:
    tokens = np.array([[1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1]])
    memory = remember(tokens, np.ones_like(tokens, dtype=bool), 8, orders=(2,), least=2)
    again = NgramMemory(memory.config)
    again.load_state_dict(memory.state_dict())
    context = Context([6, 2, 3], None, None, SamplingConfig(), None, FixedBudget(5))
    draft = NgramDrafter(again).propose(context)
    assert draft.tokens == (4, 1, 2, 3, 4) and draft.is_chain and all(0.5 < belief < 1 for belief in draft.beliefs)
    assert NgramDrafter(again).propose(Context([3, 2], None, None, SamplingConfig(), None, FixedBudget(5))).tokens == ()
    assert again.keys_2.dtype == torch.int64


def test_a_memory_with_values_that_counting_cannot_give_is_not_sound() -> None:
    tokens = np.array([[1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1]])
    for name, value in (("following_2", -1), ("following_2", 8), ("share_2", float("nan")), ("share_2", 1.5)):
        memory = remember(tokens, np.ones_like(tokens, dtype=bool), 8, orders=(2,), least=2)
        assert memory.is_sound()
        getattr(memory, name)[1] = value
        assert not memory.is_sound(), (name, value)
    memory.share_2[:], memory.keys_2 = 0.5, memory.keys_2.float()
    assert not memory.is_sound()


def test_orders_are_those_whose_keys_fit() -> None:
    assert orders_that_fit(49152) == (2, 3, 4) and orders_that_fit(128_000) == (2, 3) and orders_that_fit(8) == (2, 3, 4)


def test_keys_must_fit() -> None:
    assert NgramConfig(49152, {4: 1}).vocab_size == 49152
    for wrong in ({}, {0: 1}, {5: 1}, {10**12: 1}):
        with pytest.raises(ValueError, match="cannot be kept"):
            NgramConfig(49152, wrong)


def test_the_built_in_memory_is_sound_and_sorted() -> None:
    memory = catalog.load("smollm2/ngram")
    assert memory.config.vocab_size == 49152 and memory.is_sound() and sum(memory.config.entries.values()) > 100_000
    assert all((np.diff(table.keys) > 0).all() and (table.share >= 0.5).all() for table in memory.tables())
    drafter = NgramDrafter(memory)
    first = drafter.tables[0]
    ids = [int(first.keys[7]) // 49152**power % 49152 for power in range(first.order - 1, -1, -1)]
    assert drafter.find([1, *ids]) == (int(first.following[7]), float(first.share[7]))
