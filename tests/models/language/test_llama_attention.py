"""Attention of our LLaMA from captured queries and keys against transformers' eager weights; heads scaled in one call."""

import pytest
import torch

from models.attention.signature import repeat_heads
from models.attention.softmax import softmax_weights
from models.language.formats import apply_format, has_fbgemm
from models.nn.probe import Probe
from tests.models.language.test_llama import ids, our_model, their_model
from tests.models.parity import WHOLE, assert_close

LAYERS, HEADS = 3, 6
FORMATS = ["fp32", pytest.param("fp16-fbgemm", marks=pytest.mark.skipif(not has_fbgemm(), reason="this processor has no FBGEMM"))]


def weights_of(model, text) -> list[torch.Tensor]:
    """Softmax weights (B, H, T, T) of every layer."""
    probe = Probe("q", "k")
    model(text, probe=probe)
    pairs = [(probe.q[layer].transpose(1, 2), probe.k[layer].transpose(1, 2)) for layer in sorted(probe.q)]
    return [softmax_weights(q, repeat_heads(k, q.shape[1])) for q, k in pairs]


@pytest.mark.parametrize("changes", [{}, {"num_key_value_heads": 6}, {"num_key_value_heads": 1}])
def test_weights_equal_transformers_eager_attention(changes):
    theirs = their_model(attn_implementation="eager", **changes)
    text = ids(2, 33)
    wanted, got = theirs(text, output_attentions=True).attentions, weights_of(our_model(theirs), text)
    assert len(got) == len(wanted) == LAYERS
    for ours, other in zip(got, wanted, strict=True):
        assert_close(ours, other, 1e-5)
        assert (ours.sum(-1) - 1).abs().max() < 1e-5 and ours.triu(1).abs().max() == 0
    assert (got[0][:, 0] - got[0][:, 1]).abs().max() > 0.1, "heads differ"


def test_values_are_those_that_attention_adds_up():
    """Weights times values, through the output projection, is what a head adds to the stream."""
    model, text, probe = our_model(their_model()), ids(1, 9), Probe("q", "k", "v", "resid")
    model(text, probe=probe)
    weights, v = weights_of(model, text)[1], repeat_heads(probe.v[1].transpose(1, 2), HEADS)
    block = model.blocks[1]
    x = probe.resid[0] + block.out((weights @ v).transpose(1, 2).flatten(2))
    gate, up = block.gate_up(block.ffn_norm(x)).chunk(2, -1)
    assert_close(x + block.down(torch.nn.functional.silu(gate) * up), probe.resid[1], WHOLE)


@pytest.mark.parametrize("name", FORMATS)
def test_a_factor_of_one_changes_no_bit_and_a_probe_neither(name):
    model, text = apply_format(our_model(their_model()), name), ids(1, 21)
    plain, ones = model(text), {layer: torch.ones(HEADS) for layer in range(LAYERS)}
    assert torch.equal(model(text, gains=ones), plain) and torch.equal(model(text, probe=Probe("q", "k", "v")), plain)
    assert torch.equal(model(text, gains={}), plain)
    cache, again = model.new_cache(), model.new_cache()
    for token in text[0]:
        assert torch.equal(model(token[None, None], cache), model(token[None, None], again, gains=ones))


@pytest.mark.parametrize("factor", [0.0, -0.5, 2.0])
def test_a_scaled_head_is_one_with_scaled_columns_of_the_output_projection(factor):
    model, changed, text = our_model(their_model()), our_model(their_model()), ids(2, 17)
    gain = torch.ones(HEADS)
    gain[4] = factor
    changed.blocks[1].out.weight[:, 4 * 16 : 5 * 16] *= factor
    got = model(text, gains={1: gain})
    assert_close(got, changed(text), 1e-5)
    assert (got - model(text)).abs().max() > 1e-2
    cache = model.new_cache(batch=2)
    parts = [model(part, cache, gains={1: gain}) for part in text.split([11, 1, 5], 1)]
    assert_close(torch.cat(parts, 1), got, WHOLE)


@pytest.mark.skipif(not has_fbgemm(), reason="this processor has no FBGEMM")
def test_packed_layers_scale_heads_too():
    model, text, gains = our_model(their_model()), ids(1, 17), {0: torch.tensor([0.0, 1, 1, 0.5, 1, 1]), 2: torch.zeros(HEADS)}
    wanted = model(text, gains=gains)
    assert (apply_format(model, "fp16-fbgemm")(text, gains=gains) - wanted).abs().max() < 2e-2


def test_a_removed_head_equals_transformers_with_the_head_masked():
    theirs, text = their_model(), ids(2, 25)
    model = our_model(theirs)
    gain = torch.ones(HEADS)
    gain[2] = 0

    def mask(_module, inputs):
        heads = inputs[0].unflatten(-1, (HEADS, 16)).clone()
        heads[..., 2, :] = 0
        return (heads.flatten(-2),)

    handle = theirs.model.layers[1].self_attn.o_proj.register_forward_pre_hook(mask)
    try:
        assert_close(model.head(model(text, gains={1: gain})), theirs(text).logits, WHOLE)
    finally:
        handle.remove()
