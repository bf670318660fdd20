"""Filters against transformers', draws, and the facts told about a law."""

from __future__ import annotations

import math

import pytest
import torch

from models.decoding.sampling import SamplingConfig, law, pick, raw_facts, uniform


def logits(rows: int = 5, vocab: int = 3000, seed: int = 0) -> torch.Tensor:
    return 3 * torch.randn(rows, vocab, generator=torch.Generator().manual_seed(seed))


CONFIGS = [
    SamplingConfig(temperature=0.7),
    SamplingConfig(temperature=1.3, top_k=7),
    SamplingConfig(temperature=1.0, top_p=0.9),
    SamplingConfig(temperature=2.5, top_p=0.97),  # more than 64 tokens inside
    SamplingConfig(temperature=5.0, top_p=0.99),  # more than 1024
    SamplingConfig(temperature=1.0, min_p=0.05),
    SamplingConfig(temperature=0.9, top_k=40, top_p=0.8, min_p=0.1, repetition_penalty=1.3),
    SamplingConfig(temperature=1.0, top_p=0.0),
]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_the_law_is_that_of_transformers(config) -> None:
    """Same order, same survivors, same probabilities."""
    from transformers import (
        MinPLogitsWarper,
        RepetitionPenaltyLogitsProcessor,
        TemperatureLogitsWarper,
        TopKLogitsWarper,
        TopPLogitsWarper,
    )

    x = logits()
    history = torch.randint(0, 3000, (5, 30), generator=torch.Generator().manual_seed(1))
    seen = torch.zeros(5, 3000, dtype=torch.bool).scatter_(1, history, True)
    theirs = RepetitionPenaltyLogitsProcessor(config.repetition_penalty)(history, x)
    theirs = TemperatureLogitsWarper(config.temperature)(history, theirs)
    if config.top_k:
        theirs = TopKLogitsWarper(config.top_k)(history, theirs)
    if config.top_p < 1:
        theirs = TopPLogitsWarper(config.top_p)(history, theirs)
    if config.min_p:
        theirs = MinPLogitsWarper(config.min_p)(history, theirs)
    ours = law(x, config, seen)
    assert torch.equal(ours > 0, theirs.softmax(-1) > 0)
    torch.testing.assert_close(ours, theirs.softmax(-1), atol=1e-6, rtol=1e-5)


def test_greedy_is_one_hot_and_feels_the_penalty() -> None:
    x = torch.tensor([[2.0, 1.9, 0.0]])
    assert law(x, SamplingConfig()).tolist() == [[1, 0, 0]]
    seen = torch.tensor([[True, False, False]])
    assert law(x, SamplingConfig(repetition_penalty=1.2), seen).tolist() == [[0, 1, 0]]


WRONG = [{"temperature": -1}, {"temperature": math.nan}, {"top_p": 1.5}, {"min_p": -0.1}, {"repetition_penalty": 0}]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_settings_out_of_bounds_are_named(wrong) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SamplingConfig(**wrong)


def test_draws_are_even_and_depend_on_all_their_arguments() -> None:
    values = torch.tensor([[uniform(seed, place, "accept") for place in range(300)] for seed in range(30)], dtype=torch.float64)
    assert values.min() >= 0 and values.max() < 1
    counts = torch.histc(values, 20, 0, 1)
    assert ((counts - 450) ** 2 / 450).sum() < 43.8  # chi-square, 19 degrees of freedom, p = .001
    flat = values - 0.5
    for along in (flat[1:] * flat[:-1], flat[:, 1:] * flat[:, :-1]):  # neighbours in seed and place
        assert abs(float(along.mean())) < 3.3 / 12 / along.numel() ** 0.5
    base = (3, 5, "accept", 0)
    others = [(4, 5, "accept", 0), (3, 6, "accept", 0), (3, 5, "draft", 0), (3, 5, "accept", 1), (5, 3, "accept", 0)]
    assert len({uniform(*each) for each in (base, *others)}) == 6 and uniform(*base) == uniform(*base)


def test_pick_inverts_the_running_sum_and_never_takes_the_impossible() -> None:
    p = torch.tensor([0.0, 0.25, 0.0, 0.5, 0.25, 0.0])
    u = torch.tensor([0.0, 0.2499, 0.25, 0.7499, 0.75, 1 - 2.0**-53], dtype=torch.float64)
    assert pick(p.expand(6, 6), u).tolist() == [1, 1, 3, 3, 4, 4]
    assert int(pick(p, 0.3)) == 3


def test_raw_facts() -> None:
    x = logits(3, 50)
    facts = raw_facts(x, 4)
    p = x.double().softmax(-1)
    for row in range(3):
        best = sorted(range(50), key=lambda token: -float(p[row, token]))[:4]
        assert [token for token, _ in facts.top[row]] == best
        assert [value for _, value in facts.top[row]] == pytest.approx([float(p[row, token]) for token in best], rel=1e-5)
        assert facts.entropy[row] == pytest.approx(-float((p[row] * p[row].log()).sum()), abs=1e-5)
    assert raw_facts(torch.tensor([[300.0, -300.0, -300.0]]), 2).entropy == [0.0]
