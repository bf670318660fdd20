"""Attention of both CLIP towers, from captured queries and keys, against transformers' eager weights."""

import pytest
import torch

from models.attention.softmax import softmax_weights
from models.multimodal.clip import Clip
from models.multimodal.keymaps import CLIP
from models.nn.probe import Probe
from tests.models.multimodal.test_clip import captions, their_configs, tiny
from tests.models.parity import assert_close, copy_weights, fill_alive, normal


@pytest.fixture(scope="module")
def pair():
    transformers = pytest.importorskip("transformers")
    text, vision = their_configs(tiny())
    theirs = transformers.CLIPModel._from_config(
        transformers.CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=16), attn_implementation="eager"
    )
    for layer in fill_alive(theirs).modules():
        if hasattr(layer, "q_proj"):
            layer.q_proj.weight.data *= 8  # so that no map is even
    ours = Clip(tiny())
    copy_weights(theirs, ours, CLIP)
    return theirs.requires_grad_(False), ours.requires_grad_(False)


def assert_weights(probe: Probe, wanted, causal: bool) -> None:
    assert len(probe.q) == len(wanted)
    for layer, other in enumerate(wanted):
        ours = softmax_weights(probe.q[layer].transpose(1, 2), probe.k[layer].transpose(1, 2), causal=causal)
        assert_close(ours, other, 1e-5)
        assert (ours.sum(-1) - 1).abs().max() < 1e-5
        assert other.std() > 0.05


def test_words_look_at_words_as_in_transformers(pair):
    theirs, ours = pair
    text, probe = captions(tiny().text), Probe("q", "k")
    assert torch.equal(ours.text(text, probe=probe), ours.text(text))
    assert_weights(probe, theirs.text_model(text, output_attentions=True).attentions, causal=True)


def test_patches_look_at_patches_as_in_transformers(pair):
    theirs, ours = pair
    x, probe = normal(2, 3, 24, 24), Probe("q", "k")
    assert torch.equal(ours.vision(x, probe=probe), ours.vision(x))
    assert probe.q[0].shape == (2, 10, 4, 8)
    assert_weights(probe, theirs.vision_model(x, output_attentions=True).attentions, causal=False)
