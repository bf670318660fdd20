"""What holds for every attention of the table: map and output agree, causality, gradients, ends, knobs."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from models.attention.signature import ROWS_SUM_TO_ONE, AttentionError, past
from models.attention.table import ATTENTIONS, attend, kind
from tests.models.attention.test_cost import CASES
from tests.models.parity import normal

CAUSAL = [name for name in ATTENTIONS if kind(name).causal != "no"]


def heads(T=45, d=8, dv=6, dtype=torch.float64):
    return normal(2, 3, T, d).to(dtype), normal(2, 3, T, d, seed=2).to(dtype), normal(2, 3, T, dv, seed=3).to(dtype)


@pytest.mark.parametrize("name, knobs, causal", CASES)
def test_the_output_is_what_the_map_does_to_the_values(name, knobs, causal):
    """The output is computed the cheap way and the map densely: for sparse attention this is the masked dense oracle."""
    q, k, v = heads()
    found = attend(name, q, k, v, causal=causal, knobs=knobs, want_map=True)
    assert found.out.shape == (2, 3, 45, 6) and found.weights.shape == (2, 3, 45, 45)
    torch.testing.assert_close(found.out, found.weights @ v, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.out, attend(name, q, k, v, causal=causal, knobs=knobs).out, rtol=0, atol=0)
    if found.normalisation == ROWS_SUM_TO_ONE:
        sums, sees = found.weights.sum(-1), found.weights.any(-1)  # early queries of a far half alone may see nothing
        torch.testing.assert_close(sums, sees.to(sums), rtol=0, atol=1e-9)
        assert found.weights.min() >= 0 and (sees.all() or knobs.get("part"))
    if causal:
        assert found.weights[..., ~past(45, 45)].abs().max() == 0


@pytest.mark.parametrize("name", CAUSAL)
def test_single_precision_is_near_double(name):
    q, k, v = heads()
    exact = attend(name, q, k, v).out
    torch.testing.assert_close(attend(name, q.float(), k.float(), v.float()).out.double(), exact, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CAUSAL)
def test_the_future_does_not_change_the_past(name):
    """Everything after token 20 is replaced. LSH is asked without cuts between chunks, which depend on all tokens."""
    q, k, v = heads()
    knobs = {"chunk": 200} if name == "lsh" else {}
    before = attend(name, q, k, v, knobs=knobs).out
    for x, seed in ((q, 7), (k, 8), (v, 9)):
        x[:, :, 21:] = normal(2, 3, 24, x.shape[-1], seed=seed)
    after = attend(name, q, k, v, knobs=knobs).out
    tolerance = 1e-12 if name == "performer" else 1e-15  # its stabiliser is a maximum over all keys, and cancels
    torch.testing.assert_close(after[:, :, :21], before[:, :, :21], rtol=0, atol=tolerance)
    assert (after[:, :, 21:] - before[:, :, 21:]).abs().max() > 1e-3


@pytest.mark.parametrize("name", CAUSAL)
def test_no_value_of_the_future_is_used(name):
    q, k, v = heads(T=30)
    v.requires_grad_()
    attend(name, q, k, v, knobs={"buckets": 8, "rounds": 2} if name == "lsh" else {}).out[:, :, 11].sum().backward()
    assert v.grad[:, :, 12:].abs().max() == 0 and v.grad[:, :, :12].abs().max() > 0


@pytest.mark.parametrize("name, knobs, causal", CASES)
def test_gradients_are_those_of_the_dense_form(name, knobs, causal):
    q, k, v = (x.requires_grad_() for x in heads(T=20))
    found = attend(name, q, k, v, causal=causal, knobs=knobs, want_map=True)
    direction = normal(*found.out.shape, seed=5).double()
    inputs = [q, v] if knobs.get("shared") else [q, k, v]
    got = torch.autograd.grad((found.out * direction).sum(), inputs, retain_graph=True)
    wanted = torch.autograd.grad((found.weights @ v * direction).sum(), inputs)
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-8)
        assert other.abs().max() > 1e-6


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("name, knobs", [
    ("softmax", {}), ("fused", {}), ("flash", {}), ("top_k", {"keep": 45}), ("window", {"width": 45}), ("strided", {"stride": 45}),
    ("fixed", {"stride": 45}), ("strided", {"stride": 1}), ("fixed", {"stride": 8, "summary": 8}),
    ("block_sparse", {"block": 8, "near": 6}), ("low_rank", {"rank": 64, "chunk": 64}),
])  # fmt: skip
def test_attentions_that_see_everything_are_softmax(name, knobs, causal):
    q, k, v = heads()
    expected = scaled_dot_product_attention(q, k, v, is_causal=causal)
    torch.testing.assert_close(attend(name, q, k, v, causal=causal, knobs=knobs).out, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["softmax", "fused", "flash", "top_k"])
def test_new_queries_look_at_a_longer_past(name):
    q, k, v = heads()
    whole = attend(name, q, k, v).out
    torch.testing.assert_close(attend(name, q[:, :, -5:], k, v).out, whole[:, :, -5:], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in ATTENTIONS if kind(name).scaled and name != "lsh"])
def test_the_scale_is_a_factor_of_the_scores(name):
    (q, k, v), root = heads(), (0.7 * 8**0.5) ** 0.5
    scaled = attend(name, q, k, v, causal=False, scale=0.7).out
    torch.testing.assert_close(attend(name, q * root, k * root, v, causal=False).out, scaled, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", list(ATTENTIONS))
@pytest.mark.parametrize("T", [1, 2])
def test_one_and_two_tokens(name, T):
    q, k, v = heads(T=T)
    found = attend(name, q, k, v, causal=name in CAUSAL, want_map=True)
    assert found.out.isfinite().all()
    torch.testing.assert_close(found.out, found.weights @ v, rtol=0, atol=1e-12)
    if T == 1 and found.normalisation == ROWS_SUM_TO_ONE:
        torch.testing.assert_close(found.out, v, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name, knobs, message", [
    ("nothing", {}, "no attention 'nothing'"), ("window", {"size": 3}, "no knob size"), ("window", {"width": 0}, "between 1 and 4096"),
    ("linear", {"feature": "cube"}, "feature is elu1"), ("lsh", {"shared": 3}, "shared cannot be 3"),
    ("lsh", {"buckets": 5}, "even number of buckets"), ("window", {"width": "wide"}, "cannot be 'wide'"),
])  # fmt: skip
def test_bad_names_and_knobs_are_refused_in_a_sentence(name, knobs, message):
    with pytest.raises(AttentionError, match=message):
        attend(name, *heads(T=9), knobs=knobs)


def test_an_attention_over_all_positions_refuses_to_be_causal():
    with pytest.raises(AttentionError, match="cannot be causal"):
        attend("efficient", *heads(T=9))


def test_every_entry_is_described():
    for name, entry in ATTENTIONS.items():
        assert entry.title and entry.about.endswith(".") and len(entry.arxiv) == 10, name
        for knob in entry.knobs:
            knob.check(knob.default, entry.title)
            assert knob.help.endswith(".") and (knob.choices or isinstance(knob.default, bool) or knob.lo <= knob.default <= knob.hi)
