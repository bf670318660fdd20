"""Statistics of routing against hand computation, brute force and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from models.language.gating import Groups, LayerRouting, RoutingError, RoutingTrace, choose
from models.language.routing import (
    Balance,
    LoadMeter,
    agreement,
    co_activation,
    contributions,
    flips,
    flow,
    margin,
    mean_balance,
    random_router,
    specialisation,
    touched,
    utilisation,
    visits,
    wilson,
)

ANCHORS = {  # experts, k, tokens: MaxVio and dead experts, as noted from one small simulation, rounded
    (8, 2, 50): (0.33, 0), (8, 2, 500): (0.12, None), (8, 2, 5000): (0.03, None),
    (64, 6, 50): (1.20, 0.6), (64, 6, 500): (0.34, None), (64, 6, 5000): (0.10, None),
    (64, 8, 50): (0.91, 0.1), (64, 8, 500): (0.27, None), (64, 8, 5000): (0.09, None),
    (256, 8, 50): (2.81, 50), (256, 8, 500): (0.77, None), (256, 8, 5000): (0.22, None),
}  # fmt: skip


def routing(experts, n_experts: int = 4, *, layer: int = 0, scores=None, bias=None, groups=None) -> LayerRouting:
    """A record around given choices (T, K)."""
    experts = torch.as_tensor(experts)[None]
    T = experts.shape[1]
    scores = torch.rand(1, T, n_experts) if scores is None else torch.as_tensor(scores)[None]
    affinities = scores if bias is None else scores - bias
    return LayerRouting(
        layer=layer, experts=experts, weights=torch.ones(experts.shape), logits=scores, affinities=affinities,
        scores=scores, bias=bias, live=torch.ones_like(experts, dtype=torch.bool), dropped=torch.zeros_like(experts, dtype=torch.bool),
        groups=groups, routed_norm=torch.full((1, T), 3.0), shared_norm=torch.full((1, T), 1.0),
    )  # fmt: skip


def trace_of(*layers: LayerRouting) -> RoutingTrace:
    trace = RoutingTrace()
    trace._layers = {one.layer: one for one in layers}
    return trace


# --- balance ---


def test_balance_by_hand():
    """Loads 6, 2, 4, 0: mean 3, largest 6, variance 5, entropy of 1/2, 1/6, 1/3 over ln 4."""
    found = Balance.of(torch.tensor([6, 2, 4, 0]))
    assert found.max_vio == pytest.approx(1.0)
    assert found.cv == pytest.approx(math.sqrt(5) / 3)
    assert found.entropy == pytest.approx((0.5 * math.log(2) + math.log(6) / 6 + math.log(3) / 3) / math.log(4))
    assert found.dead == 1
    assert utilisation(torch.tensor([6, 2, 4, 0])).tolist() == [2.0, pytest.approx(2 / 3), pytest.approx(4 / 3), 0.0]


def test_balance_at_its_ends():
    even, one = Balance.of(torch.full((8,), 5)), Balance.of(torch.tensor([40, 0, 0, 0, 0, 0, 0, 0]))
    assert (even.max_vio, even.cv, even.entropy, even.dead) == (0, 0, pytest.approx(1), 0)
    assert (one.max_vio, one.entropy, one.dead) == (7, 0, 7)
    with pytest.raises(RoutingError, match="No token was routed"):
        Balance.of(torch.zeros(4))


def test_batch_and_global_balance_differ():
    """Two passes that are each one-sided are even together: MaxVio of a pass 1, of all 0."""
    meter = LoadMeter()
    meter.add(trace_of(routing([[0, 1]] * 6)))
    meter.add(trace_of(routing([[2, 3]] * 6)))
    (found,) = meter.report()
    assert (found.per_pass.max_vio, found.over_all.max_vio) == (1, 0)
    assert (found.tokens, found.passes, found.top_k, found.counts.tolist()) == (12, 2, 2, [6, 6, 6, 6])
    assert found.chance_over_all == random_router(4, 2, 12) and found.chance_per_pass == random_router(4, 2, 6)
    assert found.chance_per_pass.max_vio > found.chance_over_all.max_vio


def test_a_meter_leaves_padding_out_and_keeps_layers_apart():
    meter = LoadMeter()
    meter.add(trace_of(routing([[0], [1], [3]], layer=2), routing([[1], [1], [3]], layer=5)), torch.tensor([[True, True, False]]))
    first, second = meter.report()
    assert (first.layer, first.counts.tolist(), second.layer, second.counts.tolist()) == (2, [1, 1, 0, 0], 5, [0, 2, 0, 0])
    assert first.tokens == 2
    assert mean_balance([first.over_all, second.over_all]).max_vio == pytest.approx((1 + 3) / 2)
    with pytest.raises(RoutingError, match="No token was routed"):
        LoadMeter().report()


# --- chance ---


@pytest.mark.parametrize(("case", "noted"), ANCHORS.items(), ids=str)
def test_random_router_agrees_with_the_anchors_and_an_independent_simulation(case, noted):
    """The noted figures within 2.5 deviations of a single simulation (they were noted from few), ours within 5 standard
    errors of numpy's; false alarms below 1 in 1,000 by fixed seeds."""
    E, k, tokens = case
    rng, repeats = np.random.default_rng(1), max(20, min(200, 600_000 // (E * tokens)))
    loads = np.stack([
        np.bincount(rng.random((tokens, E)).argpartition(k - 1, axis=1)[:, :k].ravel(), minlength=E) for _ in range(repeats)
    ])  # fmt: skip
    vio, dead = loads.max(1) / (tokens * k / E) - 1, (loads == 0).sum(1)
    ours = random_router(E, k, tokens)
    ours_repeats = max(16, min(500, 4_000_000 // (E * tokens)))
    assert abs(ours.max_vio - vio.mean()) <= 5 * vio.std() * math.sqrt(1 / repeats + 1 / ours_repeats) + 1e-9
    assert abs(ours.max_vio - noted[0]) <= 2.5 * vio.std() + 0.005
    exact = E * (1 - k / E) ** tokens  # expected dead experts
    assert abs(ours.dead - exact) <= 5 * dead.std() / math.sqrt(ours_repeats) + 0.02
    if noted[1] is not None:
        assert abs(exact - noted[1]) <= 2.5 * max(dead.std(), 0.2)


def test_large_numbers_of_tokens_use_the_normal_limit():
    """40,000 tokens of 64 experts: the law of the largest of 64 correlated normal loads; both sides of the switch agree."""
    below, above = random_router(64, 8, 15_600), random_router(64, 8, 15_700)
    assert above.max_vio == pytest.approx(below.max_vio, rel=0.06)
    assert above.cv == pytest.approx(math.sqrt((1 - 8 / 64) / (15_700 * 8 / 64) * 1), rel=0.02)
    assert random_router(64, 8, 10**7).max_vio < 0.01


def test_baselines_are_seeded_and_refuse_nonsense():
    assert random_router(8, 2, 50, seed=3) == random_router(8, 2, 50, seed=3) != random_router(8, 2, 50, seed=4)
    assert random_router(4, 4, 9).max_vio == 0
    for wrong in ((4, 5, 9), (4, 1, 0)):
        with pytest.raises(RoutingError):
            random_router(*wrong)


# --- tokens ---


def test_margin_is_to_the_best_that_was_left_out():
    scores = [[0.9, 0.2, 0.5, 0.45], [0.1, 0.8, -math.inf, -math.inf]]
    assert margin(routing([[0, 2], [1, 0]], scores=scores)).tolist() == [[pytest.approx(0.05), math.inf]]


def test_flips_are_the_choices_that_only_the_bias_made():
    bias = torch.tensor([0.0, 0.3, 0.0, -0.3])
    affinity = torch.tensor([[0.9, 0.4, 0.5, 0.6], [0.9, 0.8, 0.1, 0.2]])
    scores = affinity + bias
    record = routing(choose(scores, 2).experts, scores=scores, bias=bias)
    assert record.experts.tolist() == [[[0, 1], [1, 0]]]
    assert flips(record).tolist() == [[[False, True], [False, False]]]  # without the bias expert 3 stands where 1 is
    assert not flips(routing([[0, 1]])).any()


def test_flips_know_group_limits():
    """Bias lifts group 1 (experts 2, 3) over group 0; without it group 0 would be admitted: both choices are flips."""
    bias = torch.tensor([0.0, 0.0, 0.5, 0.5])
    scores = torch.tensor([[0.6, 0.5, 0.4, 0.4]]) + bias
    groups = Groups(count=2, allowed=1)
    record = routing(choose(scores, 2, groups=groups).experts, scores=scores, bias=bias, groups=groups)
    assert sorted(record.experts[0, 0].tolist()) == [2, 3] and flips(record).all()
    even, scores = torch.zeros(4), torch.tensor([[0.9, 0.1, 0.6, 0.5]])  # group 1 wins as a group, though expert 0 is best
    record = routing(choose(scores, 2, groups=groups).experts, scores=scores, bias=even, groups=groups)
    assert record.experts.tolist() == [[[2, 3]]] and not flips(record).any()


def test_touched_counts_different_experts():
    assert touched(trace_of(routing([[0, 1], [1, 0], [1, 3]], layer=4))) == {4: 3}


def test_agreement_ignores_order():
    assert agreement(routing([[0, 1], [2, 3]]), routing([[1, 0], [3, 1]])).tolist() == [[1.0, 0.5]]


def test_contributions_are_mean_lengths():
    assert contributions(routing([[0, 1]])) == (3.0, 1.0)


# --- who goes where ---


def test_co_activation_by_hand():
    shares = co_activation(routing([[0, 1], [0, 2], [0, 1], [3, 2]]))
    assert shares[0].tolist() == pytest.approx([0, 2 / 3, 1 / 3, 0]) and shares[2].tolist() == [0.5, 0, 0, 0.5]
    assert shares[1].tolist() == [1, 0, 0, 0]


def test_flow_counts_each_token_once_and_sums_to_one():
    found = flow(routing([[0, 1], [2, 3]]), routing([[0], [0]], n_experts=3))
    assert found.shape == (4, 3) and found.sum() == pytest.approx(1)
    assert found[:, 0].tolist() == [0.25] * 4 and found[:, 1:].sum() == 0


def test_specialisation_counts_and_names():
    record = routing([[0, 1], [0, 1], [0, 2], [3, 2], [3, 1]])
    found = specialisation(visits(record), torch.tensor([0, 0, 0, 1, -1]), names=("code", "prose"))
    assert found.labels == ("code", "prose") and found.tokens.tolist() == [3, 1] and found.chance == 0.5
    assert found.share[0].tolist() == pytest.approx([1, 2 / 3, 1 / 3, 0]) and found.share[1].tolist() == [0, 0, 1, 1]
    assert found.lift[0, 0] == 2 and found.origin[3].tolist() == [0, 1]
    by_token = specialisation(visits(record), torch.tensor([70, 70, 12, 12, 12]))
    assert by_token.labels == (12, 70) and by_token.tokens.tolist() == [3, 2]
    with pytest.raises(RoutingError, match="label"):
        specialisation(visits(record), torch.full((5,), -1))


def test_wilson_interval_by_hand():
    """8 of 10 at 95 %: 0.490 to 0.943 (Wilson, 1927)."""
    low, high = wilson(torch.tensor(0.8), torch.tensor(10.0), 0.95)
    assert float(low) == pytest.approx(0.4901, abs=1e-3) and float(high) == pytest.approx(0.9433, abs=1e-3)
    assert [float(v) for v in wilson(torch.tensor(0.5), torch.tensor(0.0), 0.95)] == [0, 1]


def simulated_documents(seed: int, spread: float) -> tuple[torch.Tensor, torch.Tensor]:
    """40 documents of 100 tokens; each document visits expert 0 with a probability of its own around 0.5."""
    rng = np.random.default_rng(seed)
    p = np.clip(rng.normal(0.5, spread, 40), 0, 1).repeat(100)
    first = torch.from_numpy((rng.random(4000) < p).astype(np.float64))
    return torch.stack([first, 1 - first], 1), torch.arange(40).repeat_interleave(100)


@pytest.mark.parametrize("spread", [0.0, 0.2])
def test_intervals_from_documents_cover_the_truth(spread):
    """Of 300 simulations about 95 % must hold 0.5: at least 91 % (false alarm below 1 in 1,000). Intervals that take tokens
    as independent cover it rarely once documents differ."""
    covered = {True: 0, False: 0}
    for seed in range(300):
        chosen, owners = simulated_documents(seed, spread)
        for grouped in covered:
            found = specialisation(chosen, torch.zeros(4000, dtype=torch.long), documents=owners if grouped else None)
            covered[grouped] += bool(found.low[0, 0] <= 0.5 <= found.high[0, 0])
    assert covered[True] / 300 >= 0.91
    assert covered[False] / 300 <= 0.6 if spread else covered[False] / 300 >= 0.91


def test_one_document_tells_nothing():
    chosen, _ = simulated_documents(1, 0.2)
    found = specialisation(chosen, torch.zeros(4000, dtype=torch.long), documents=torch.zeros(4000, dtype=torch.long))
    assert (found.low == 0).all() and (found.high == 1).all()
