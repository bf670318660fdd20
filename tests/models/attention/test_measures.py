"""Errors, head scores, rollout and parts of large maps, each against its definition or a case whose answer is known."""

import math

import pytest
import torch

from models.attention import measures
from models.attention.signature import AttentionError, past
from models.attention.softmax import averaging, log_normalisers, pooled, seen_rows, softmax_weights, tile
from tests.models.parity import normal

T = 12


def only(rule):
    """A map (1, 1, T, T) with all the weight of query i on key rule(i)."""
    weights = torch.zeros(1, 1, T, T)
    for i in range(T):
        weights[0, 0, i, rule(i)] = 1
    return weights


def test_errors_are_their_definitions():
    out, reference = normal(1, 2, 5, 3), normal(1, 2, 5, 3, seed=2)
    found = measures.error(out, reference)
    torch.testing.assert_close(found.cosine, torch.cosine_similarity(out, reference, dim=-1))
    assert found.relative_l2 == pytest.approx(float((out - reference).norm() / reference.norm()))
    assert found.mean_cosine == pytest.approx(float(found.cosine.mean()))
    torch.testing.assert_close(found.distance, (out - reference).norm(dim=-1) / reference.norm(dim=-1))
    same = measures.error(3 * reference, reference)
    assert same.relative_l2 == pytest.approx(2) and same.best_relative_l2 == pytest.approx(0, abs=1e-3)
    assert same.mean_cosine == pytest.approx(1)
    best = min(float((c * out - reference).norm() / reference.norm()) for c in torch.linspace(-2, 2, 4001))
    assert found.best_relative_l2 == pytest.approx(best, abs=1e-4)
    assert measures.error(torch.zeros_like(out), reference).mean_cosine == 0


def test_scores_of_heads_that_do_one_thing():
    sink, previous, itself = (measures.head_scores(only(rule)) for rule in (lambda i: 0, lambda i: max(0, i - 1), lambda i: i))
    assert sink.sink == 1 and sink.previous == pytest.approx(1 / 11) and sink.itself == pytest.approx(1 / 12)
    assert previous.previous == 1 and previous.sink == pytest.approx(1 / 11) and previous.distance == pytest.approx(11 / 12)
    assert itself.itself == 1 and itself.distance == itself.entropy == itself.evenness == itself.sink == 0
    assert sink.distance == pytest.approx(sum(range(12)) / 12)


def test_an_even_head_has_the_largest_entropy():
    even = past(T, T).float() / torch.arange(1, T + 1)[:, None]
    found = measures.head_scores(even[None, None])
    assert found.evenness == pytest.approx(1) and found.entropy == pytest.approx(sum(math.log(n) for n in range(1, 13)) / 12)
    both_ways = measures.head_scores(torch.full((1, 1, T, T), 1 / T), causal=False)
    assert both_ways.evenness == pytest.approx(1) and both_ways.entropy == pytest.approx(math.log(T))


def test_induction_is_the_weight_behind_earlier_copies():
    ids = torch.tensor([[5, 6, 7, 8, 5, 6, 7, 8, 5, 6, 7, 8]])
    found = measures.head_scores(only(lambda i: i - 3 if i >= 4 else 0), ids)
    assert found.induction == 1 and found.duplicate == 0
    found = measures.head_scores(only(lambda i: i - 4 if i >= 4 else 0), ids)
    assert found.duplicate == 1 and found.induction == 0
    repeated = measures.head_scores(only(lambda i: i), torch.zeros(1, T, dtype=torch.long))
    assert repeated.induction == 1  # behind the copy just before stands the token itself
    assert measures.head_scores(only(lambda i: 0), torch.arange(T)[None]).induction == 0  # no copies, no rows
    assert measures.head_scores(only(lambda i: 0)).induction is None


def test_scores_from_queries_and_keys_are_those_of_the_map(monkeypatch):
    monkeypatch.setattr(measures, "QUERIES_AT_ONCE", 5)  # several pieces
    q, k, ids = normal(2, 3, T, 8), normal(2, 3, T, 8, seed=2), torch.randint(0, 3, (2, T), generator=torch.Generator().manual_seed(1))
    for causal in (True, False):
        whole = measures.head_scores(softmax_weights(q, k, causal=causal, scale=0.9), ids, causal=causal)
        parts = measures.head_scores_from(q, k, ids, causal=causal, scale=0.9)
        for name, value in vars(whole).items():
            assert value.shape == (2, 3)
            torch.testing.assert_close(getattr(parts, name), value, rtol=1e-4, atol=1e-5)


def test_scores_that_have_no_rows_can_be_told_from_zero():
    sums = measures.RowSums(torch.arange(1)[None])
    sums.take(torch.ones(1, 2, 1, 1), 0)
    found = sums.scores(none=math.nan)
    assert found.itself.tolist() == [[1, 1]] and found.entropy.tolist() == [[0, 0]]
    assert all(getattr(found, name).isnan().all() for name in ("previous", "sink", "evenness", "induction", "duplicate"))


def test_maps_between_two_things_have_scores_without_places():
    weights = softmax_weights(normal(1, 2, 7, 4), normal(1, 2, 3, 4, seed=2), causal=False)
    sums = measures.RowSums(causal=False, own=False)
    for start in (0, 4):
        sums.take(weights[:, :, start : start + 4], start)
    found = sums.scores()
    torch.testing.assert_close(found.entropy, torch.special.entr(weights).sum(-1).mean(-1))
    torch.testing.assert_close(found.evenness, found.entropy / math.log(3))
    torch.testing.assert_close(found.sink, weights[..., 0].mean(-1))
    assert found.distance is found.previous is found.itself is found.induction is None


@pytest.mark.parametrize("n, size", [(12, 4), (13, 4), (30, 7), (5, 5), (3, 8), (1, 4)])
def test_averaging_shrinks_by_means_of_blocks_that_part_the_places(n, size):
    shrink, values = averaging(n, size, torch.zeros(1)), normal(n)
    edges = [place * n // size for place in range(size + 1)]
    wanted = [values[first : max(end, first + 1)].mean() for first, end in zip(edges, edges[1:])]
    torch.testing.assert_close(shrink @ values, torch.stack(wanted))
    assert n < size or ((shrink > 0).sum(0) == 1).all()


def test_rows_that_are_seen_are_those_of_the_map():
    q, k = normal(1, 2, T, 8), normal(1, 2, T, 8, seed=2)
    whole = softmax_weights(q, k)
    for start in (0, 5, 10):
        part = seen_rows(q, k, start, 5)
        end = min(start + 5, T)
        assert part.shape[-1] == end
        torch.testing.assert_close(part, whole[:, :, start:end, :end], rtol=0, atol=1e-6)
    assert seen_rows(q, k, 5, 5, causal=False).shape[-1] == T


def test_rollout_is_the_product_of_layers_with_their_residual():
    maps = [softmax_weights(normal(2, 3, T, 4, seed=s), normal(2, 3, T, 4, seed=s + 9)) for s in range(3)]
    states = measures.rollout(maps, residual=0.4)
    flow = torch.eye(T)
    for weights, state in zip(maps, states, strict=True):
        flow = (0.6 * weights.mean(1) + 0.4 * torch.eye(T)) @ flow
        torch.testing.assert_close(state, flow, rtol=0, atol=1e-6)
        torch.testing.assert_close(state.sum(-1), torch.ones(2, T), rtol=0, atol=1e-5)
    assert states[-1][:, ~past(T, T)].abs().max() == 0
    away = measures.rollout([only(lambda i: max(0, i - 1))] * 2, residual=0.0)
    torch.testing.assert_close(away[1], only(lambda i: max(0, i - 2))[0])  # two steps back through two layers


def test_spectrum_and_rank():
    assert torch.equal(measures.rank_for(torch.eye(6)[None, None], 0.9), torch.tensor([[6]]))
    assert torch.equal(measures.rank_for(torch.full((1, 1, 6, 6), 1 / 6)), torch.tensor([[1]]))
    shares = measures.spectrum(softmax_weights(normal(2, 3, T, 4), normal(2, 3, T, 4, seed=2)))
    torch.testing.assert_close(shares.sum(-1), torch.ones(2, 3))
    assert (shares.diff(dim=-1) <= 0).all()


def test_views_name_what_they_do():
    weights = normal(1, 1, 4, 4)
    assert measures.normalised_for_view(weights, "as it is") is weights
    rows = measures.normalised_for_view(weights, "each row to 1")
    assert (rows.abs().amax(-1) == 1).all() and torch.equal(rows.sign(), weights.sign())
    assert measures.normalised_for_view(weights, "absolute").abs().amax() == 1
    assert torch.equal(measures.normalised_for_view(torch.zeros(1, 1, 2, 2), "absolute"), torch.zeros(1, 1, 2, 2))
    with pytest.raises(AttentionError, match="no view"):
        measures.normalised_for_view(weights, "softmax again")


def test_only_square_maps_have_head_scores():
    with pytest.raises(AttentionError, match="3 x 5"):
        measures.head_scores(torch.zeros(1, 1, 3, 5))


@pytest.mark.parametrize("causal, S", [(True, 30), (False, 30), (True, 45), (False, 20)])
def test_tiles_of_a_map_are_exact(monkeypatch, causal, S):
    monkeypatch.setattr("models.attention.softmax.QUERIES_AT_ONCE", 7)
    q, k = normal(2, 3, 30, 8), normal(2, 3, S, 8, seed=2)
    whole, logs = softmax_weights(q, k, causal=causal), log_normalisers(q, k, causal=causal)
    for rows, columns in ((slice(0, 30), slice(0, S)), (slice(3, 17), slice(5, 11)), (slice(29, 30), slice(0, 1))):
        part = tile(q, k, logs, rows, columns, causal=causal)
        torch.testing.assert_close(part, whole[:, :, rows, columns], rtol=0, atol=1e-6)
    shrunk = pooled(q, k, 8, causal=causal)
    high, wide = -(-30 // 8), -(-S // 8)
    expected = torch.nn.functional.max_pool2d(whole, (high, wide), ceil_mode=True)
    torch.testing.assert_close(shrunk, expected, rtol=0, atol=1e-6)
    assert max(shrunk.shape[2:]) <= 8
