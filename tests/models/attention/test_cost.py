"""Formulas of cost: the little language, torch's count of FLOPs, and memory really held."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from models.attention.cost import Sizes, cost_of, evaluate
from models.attention.meter import Meter
from models.attention.table import ATTENTIONS, attend, cost, kind
from tests.models.parity import normal

OTHER_KNOBS = {
    "window": [{"width": 7}, {"width": 5, "sinks": 3}], "strided": [{"stride": 5, "part": "alternate"}, {"stride": 4, "part": "far"}],
    "fixed": [{"stride": 8, "summary": 3, "part": "alternate"}], "block_sparse": [{"block": 7, "near": 0}], "top_k": [{"keep": 3}],
    "lsh": [{"rounds": 1, "buckets": 4, "shared": True}], "low_rank": [{"rank": 4, "chunk": 8}],
    "performer": [{"features": 12, "kind": "trigonometric", "form": "recurrent"}, {"features": 8, "form": "quadratic"}],
    "linear": [{"feature": "taylor", "form": "recurrent"}, {"feature": "elu1", "form": "quadratic"}, {"chunk": 16}],
    "gau_chunked": [{"chunk": 8}], "flash": [{"tile_q": 16, "tile_k": 8}],
}  # fmt: skip
CASES = [(name, knobs, causal) for name in ATTENTIONS for knobs in [{}, *OTHER_KNOBS.get(name, [])] for causal in (True, False)
         if not (causal and kind(name).causal == "no")]  # fmt: skip


def test_formulas_are_read_as_they_are_written():
    symbols = {"T": 10, "w": 4, "d": 2}
    assert evaluate("2 T d", symbols) == 40
    assert evaluate("ceil(T/w) w² d + 1", symbols) == 97
    assert evaluate("2 (T + 1) (d + w)", symbols) == 132
    assert evaluate("min(T, w) T²", symbols) == 400
    with pytest.raises(KeyError):
        evaluate("T q", symbols)
    with pytest.raises(ValueError, match="may not contain"):
        evaluate("T.real", symbols)


def test_traffic_is_the_ends_once_and_what_is_held_twice():
    found = cost_of(Sizes(B=2, H=3, T=4, S=5, d=6, dv=7), flops="B", held="B H T S")
    assert found.held_bytes == 4 * 2 * 3 * 4 * 5
    assert found.moved_bytes == 4 * (2 * 3 * (4 * 6 + 5 * 6 + 5 * 7 + 4 * 7)) + 2 * found.held_bytes


@pytest.mark.parametrize("name, knobs, causal", CASES)
def test_flops_are_those_that_torch_counts(name, knobs, causal):
    q, k, v = normal(2, 3, 50, 8), normal(2, 3, 50, 8, seed=2), normal(2, 3, 50, 6, seed=3)
    with FlopCounterMode(display=False) as counter:
        found = attend(name, q, k, v, causal=causal, knobs=knobs)
    assert counter.get_total_flops() == found.cost.flops > 0
    assert found.cost == cost(name, Sizes.of(q, k, v), causal=causal, knobs=knobs)


def test_the_meter_counts_live_tensors_only():
    x = torch.zeros(1000)
    with Meter() as meter:
        y = x + 1
        del y
        z = (x + 2) * 3  # two at a time
        z[:10].add_(1)
    assert meter.peak_bytes == 2 * x.nbytes


def growth(name, **knobs):
    """How often more memory is held for four times the tokens: by the formula and as measured."""
    formula, measured = [], []
    for T in (256, 1024):
        q = normal(1, 1, T, 8)
        with Meter() as meter:
            found = attend(name, q, q, q, knobs=knobs)
        formula.append(found.cost.held_bytes)
        measured.append(meter.peak_bytes)
    return formula[1] / formula[0], measured[1] / measured[0]


@pytest.mark.parametrize("name, knobs", [("window", {"width": 16}), ("linear", {}), ("gau_chunked", {}), ("flash", {})])
def test_memory_grows_with_the_text_where_the_formula_says_so(name, knobs):
    formula, measured = growth(name, **knobs)
    assert formula < 4.2 and measured < 4.6


@pytest.mark.parametrize("name", ["softmax", "gau"])
def test_memory_grows_with_the_square_where_the_formula_says_so(name):
    formula, measured = growth(name)
    assert formula == 16 and measured > 14
