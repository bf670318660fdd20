"""Self- and cross-attention of the UNet, from captured queries and keys, against what diffusers' own processor multiplies with."""

import dataclasses

import pytest
import torch

from models.attention.softmax import softmax_weights
from models.nn.probe import Probe
from tests.models.diffusion.test_unet import TINY, pair
from tests.models.parity import assert_close, normal

KINDS = ("q", "k", "cross_q", "cross_k")


def watched(theirs) -> dict[str, torch.Tensor]:
    """Their probabilities by the module's name, filled while it runs: (B H, T, S)."""
    processor = pytest.importorskip("diffusers.models.attention_processor")
    seen: dict[str, torch.Tensor] = {}

    def watch(name, attention):
        original = attention.get_attention_scores

        def scores(*args):
            seen[name] = original(*args)
            return seen[name]

        attention.get_attention_scores = scores

    theirs.set_attn_processor(processor.AttnProcessor())
    for name, module in theirs.named_modules():
        if name.endswith((".attn1", ".attn2")):
            module.to_q.weight.data *= 8  # so that no map is even
            watch(name, module)
    return seen


@pytest.mark.parametrize("attention", [(True, True, False), (False, True, True)])
def test_weights_of_every_transformer_equal_diffusers(attention):
    config = dataclasses.replace(TINY, attention=attention)
    theirs, ours = pair(config)
    seen, probe = watched(theirs), Probe(*KINDS)
    x, t, context = normal(2, 4, 9, 12), torch.tensor([500]), normal(2, 7, 12, seed=2)
    with torch.no_grad():
        theirs(x, t, context)
        assert torch.equal(ours(x, t, context, probe=probe), ours(x, t, context))
    order = [name.removesuffix(".attn1") for name in seen if name.endswith(".attn1")]
    places = config.transformers
    assert len(order) == len(places) == len(probe.q) == len(probe.cross_k)
    for layer, (name, (place, level)) in enumerate(zip(order, places, strict=True)):
        cells = -(-9 // 2**level) * -(-12 // 2**level)
        assert name.startswith({"down": "down_blocks", "middle": "mid_block", "up": "up_blocks"}[place])
        for kind, q, k in (("attn1", probe.q, probe.k), ("attn2", probe.cross_q, probe.cross_k)):
            ours_here = softmax_weights(q[layer].transpose(1, 2), k[layer].transpose(1, 2), causal=False)
            assert ours_here.shape == (2, 2, cells, cells if kind == "attn1" else 7)
            assert_close(ours_here, seen[f"{name}.{kind}"].unflatten(0, (2, 2)), 1e-5)
            assert (ours_here.sum(-1) - 1).abs().max() < 1e-5
