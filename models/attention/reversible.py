"""Reversible residual layers (Gomez et al., arXiv 1707.04585; in Reformer, arXiv 2001.04451, section 3).

    y1 = x1 + F(x2),  y2 = x2 + G(y1)   and back   x2 = y2 - G(y1),  x1 = y1 - F(x2)

Since inputs follow from outputs, a stack keeps only its last state: activations of all layers are computed again,
from the top down, during the backward pass. Memory does not grow with depth; the price is one more forward pass.
F and G (attention and feed-forward net in Reformer) must be functions: no dropout that draws anew.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd import Function


class Reversible(nn.Module):
    """One layer of two streams."""

    def __init__(self, f: nn.Module, g: nn.Module) -> None:
        super().__init__()
        self.f, self.g = f, g

    def forward(self, x1: Tensor, x2: Tensor) -> tuple[Tensor, Tensor]:
        """Two streams of equal shape to two streams."""
        y1 = x1 + self.f(x2)
        return y1, x2 + self.g(y1)

    def inverse(self, y1: Tensor, y2: Tensor) -> tuple[Tensor, Tensor]:
        """What went in, from what came out."""
        x2 = y2 - self.g(y1)
        return y1 - self.f(x2), x2


class ReversibleStack(nn.Module):
    """Layers one after the other; training keeps the last state only."""

    def __init__(self, layers: list[Reversible]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x1: Tensor, x2: Tensor) -> tuple[Tensor, Tensor]:
        return _Stack.apply(x1, x2, self.layers, *self.layers.parameters())


class _Stack(Function):
    """Forward without a tape; backward walks down, undoing a layer and taking its gradients at once."""

    @staticmethod
    def forward(ctx, x1: Tensor, x2: Tensor, layers: nn.ModuleList, *params: nn.Parameter) -> tuple[Tensor, Tensor]:
        for layer in layers:
            x1, x2 = layer(x1, x2)
        ctx.layers, ctx.params = layers, params
        ctx.save_for_backward(x1, x2)
        return x1, x2

    @staticmethod
    def backward(ctx, d1: Tensor, d2: Tensor) -> tuple:
        grads = {param: torch.zeros_like(param) for param in ctx.params}
        y1, y2 = ctx.saved_tensors
        for layer in reversed(ctx.layers):
            g_y1, back = _pull(layer.g, y1, d2, grads)
            y2, d1 = y2 - g_y1, d1 + back                                   # x2, gradient of y1
            f_x2, back = _pull(layer.f, y2, d1, grads)
            y1, d2 = y1 - f_x2, d2 + back                                   # x1, gradient of x2
        return d1, d2, None, *(grads[param] for param in ctx.params)


def _pull(part: nn.Module, x: Tensor, d: Tensor, grads: dict[nn.Parameter, Tensor]) -> tuple[Tensor, Tensor]:
    """part(x), and the gradient d of it carried to x; those of the weights are added to `grads`."""
    x = x.detach().requires_grad_()
    params = list(part.parameters())
    with torch.enable_grad():
        y = part(x)
    dx, *dparams = torch.autograd.grad(y, [x, *params], d)
    for param, dparam in zip(params, dparams, strict=True):
        grads[param] += dparam
    return y.detach(), dx
