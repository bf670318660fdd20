"""Packed convolutions: the same numbers, and ordinary convolutions again wherever that is asked of them."""

import copy

import pytest
import torch
from torch import nn

from models.nn.packed import PackedConv2d, pack_convolutions

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")


def network() -> nn.Module:
    torch.manual_seed(0)
    middle = nn.Conv2d(64, 64, 3, stride=2, padding=1, bias=False)
    layers = nn.Sequential(nn.Conv2d(8, 64, 3, padding=1), nn.SiLU(), middle, nn.Conv2d(64, 4, 1))
    return layers.requires_grad_(False).to(memory_format=torch.channels_last)


def packed(model: nn.Module, at_least: int = 0) -> nn.Module:
    return pack_convolutions(copy.deepcopy(model), at_least)


X = torch.randn(2, 8, 13, 9, generator=torch.Generator().manual_seed(1))


def test_the_results_are_the_same_to_rounding():
    plain = network()
    model = packed(plain)
    assert [type(layer) for layer in model if not isinstance(layer, nn.SiLU)] == [PackedConv2d] * 3
    with torch.no_grad():
        for x in (X, X[:1, :, :6], X.to(memory_format=torch.channels_last)):
            torch.testing.assert_close(model(x), plain(x), rtol=1e-5, atol=1e-6)


def test_small_layers_are_left_alone():
    sizes = [type(layer) for layer in packed(network(), at_least=64 * 64 * 9 * 4)]
    assert sizes == [nn.Conv2d, nn.SiLU, PackedConv2d, nn.Conv2d]


def test_gradients_flow_through_packed_layers():
    plain, x = network(), X.clone().requires_grad_()
    model, y = packed(plain), X.clone().requires_grad_()
    plain(x).square().sum().backward()
    model(y).square().sum().backward()
    assert torch.allclose(x.grad, y.grad, atol=1e-5) and x.grad.abs().max() > 0


def test_saving_casting_and_counting_see_the_weights():
    plain = network()
    model = packed(plain)
    assert sum(layer.packed_bytes for layer in model if isinstance(layer, PackedConv2d)) == 4 * (64 * 8 * 9 + 64 * 64 * 9 + 4 * 64)
    saved = model.state_dict()
    assert saved.keys() == plain.state_dict().keys()
    assert all(torch.equal(saved[name], value) for name, value in plain.state_dict().items())
    double = model.double()
    assert all(layer.packed is None for layer in double if isinstance(layer, PackedConv2d))
    with torch.no_grad():
        assert torch.allclose(double(X.double()), network().double()(X.double()))
