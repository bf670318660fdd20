"""Reversible layers: undone exactly, with the gradients of the plain computation and without its memory."""

import torch
from torch import nn

from models.attention.reversible import Reversible, ReversibleStack
from tests.models.parity import fill, normal


def stack(depth):
    parts = [Reversible(nn.Sequential(nn.Linear(6, 6), nn.Tanh()), nn.Sequential(nn.Linear(6, 6), nn.GELU())) for _ in range(depth)]
    return fill(ReversibleStack(parts), std=0.4)


def test_inverse():
    net = stack(4)
    x1, x2 = normal(2, 5, 6), normal(2, 5, 6, seed=2)
    y1, y2 = a, b = net(x1, x2)
    for layer in reversed(net.layers):
        a, b = layer.inverse(a, b)
    torch.testing.assert_close(a, x1, rtol=0, atol=1e-5)
    torch.testing.assert_close(b, x2, rtol=0, atol=1e-5)
    assert (y1 - x1).abs().max() > 0.1


def test_gradients_are_those_of_the_plain_computation():
    net = stack(3).double()
    x1, x2 = (normal(2, 5, 6, seed=seed).double().requires_grad_() for seed in (1, 2))
    inputs = [x1, x2, *net.parameters()]

    def loss(y1, y2):
        return (y1 * y2).sum() + y1.square().sum()

    got = torch.autograd.grad(loss(*net(x1, x2)), inputs)
    y1, y2 = x1, x2
    for layer in net.layers:
        y1, y2 = layer(y1, y2)
    for one, other in zip(got, torch.autograd.grad(loss(y1, y2), inputs), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)
        assert other.abs().max() > 0


def test_what_is_kept_for_the_backward_pass_does_not_grow_with_depth():
    def kept(depth):
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x: sizes.append(x.nbytes) or x, lambda x: x):
            stack(depth)(normal(2, 5, 6).requires_grad_(), normal(2, 5, 6, seed=2))
        return sum(sizes)

    assert kept(8) == kept(1) == 2 * 2 * 5 * 6 * 4
