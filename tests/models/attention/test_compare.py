"""The comparison of many attentions on one q, k, v, and over the length of the text."""

import pytest

from models.attention.compare import compare, over_lengths, possible
from models.attention.cost import Sizes
from models.attention.measures import error
from models.attention.softmax import softmax
from models.attention.table import ATTENTIONS, cost
from tests.models.parity import normal

ALL = {**dict.fromkeys(ATTENTIONS, {}), "low_rank": {"rank": 4, "chunk": 8}}


def heads(T=40):
    return normal(1, 2, T, 8), normal(1, 2, T, 8, seed=2), normal(1, 2, T, 8, seed=3)


@pytest.mark.parametrize("causal", [True, False])
def test_all_are_compared_with_softmax_under_the_same_mask_and_scale(causal):
    q, k, v = heads()
    found = {row.name: row for row in compare(q, k, v, ALL, causal=causal, scale=0.9, repeats=1)}
    assert found.keys() == (ALL.keys() - {"efficient"} if causal else ALL.keys())
    reference = softmax(q, k, v, causal=causal, scale=0.9).out
    for name, row in found.items():
        assert row.error.relative_l2 == pytest.approx(error(row.found.out, reference).relative_l2)
        if ATTENTIONS[name].exact == "exact":
            assert row.error.relative_l2 < 1e-5
        if ATTENTIONS[name].exact in ("approximation", "other law"):
            assert row.error.relative_l2 > 0.01
        assert row.seconds > 0 and row.peak_bytes is None and row.found.weights.shape == (1, 2, 40, 40)


def test_knobs_reach_the_attention_and_memory_is_measured_if_asked_for():
    q, k, v = heads()
    rows = list(compare(q, k, v, {"top_k": {"keep": 40}, "window": {"width": 2}}, want_map=False, measure_memory=True))
    assert rows[0].error.relative_l2 < 1e-5 < rows[1].error.relative_l2
    assert rows[1].settings == {"width": 2, "sinks": 0} and rows[0].found.weights is None
    assert rows[0].peak_bytes >= 2 * 40 * 40 * 4


def test_causal_comparisons_leave_out_what_cannot_be_causal():
    assert list(possible({"efficient": {}, "linear": {}}, causal=True)) == ["linear"]
    assert len(possible({"efficient": {}, "linear": {}}, causal=False)) == 2


def test_over_lengths():
    q, k, v = heads()
    rows = list(over_lengths(q, k, v, {"softmax": {}, "window": {"width": 4}}, [20, 40, 80, 1000], measure_up_to=80, repeats=1))
    assert [(row.name, row.T) for row in rows] == [(name, T) for T in (20, 40, 80, 1000) for name in ("softmax", "window")]
    for row in rows:
        assert (row.seconds is None) == (row.T == 1000) and (row.error is None) == (row.T > 40)
    assert rows[0].error.relative_l2 < 1e-6 < rows[1].error.relative_l2
    assert rows[7].cost.flops < rows[6].cost.flops / 50
    assert rows[1].error.relative_l2 != rows[3].error.relative_l2
    assert rows[6].cost.flops == 2 * 2 * 1000 * 1000 * 16


def test_every_formula_grows_with_the_text():
    for name in ATTENTIONS:
        flops = [cost(name, Sizes.square(T, 64), causal=name != "efficient").flops for T in (512, 1024, 2048)]
        assert flops == sorted(set(flops)), name
