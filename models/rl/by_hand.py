"""Gradients of small perceptrons by hand, without autograd.

A policy of two layers of 64 and a mini-batch of some hundred rows are so little work that autograd's bookkeeping takes longer than the
arithmetic. The chain rule of a tanh perceptron is four lines (Rumelhart, Hinton & Williams 1986); of the losses, each distribution
knows its own (`nets.Categorical.pull`, `nets.Gaussian.pull`). A test holds all of it against autograd. PPO, A2C and TRPO's critic use it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.rl.nets import Perceptron

ROWS = 2048
"""Rows that go through a network at once: their activations stay in the processor's cache."""


class Trace:
    """A batch on its way through a perceptron of tanh layers: its output, and what is needed for the gradient."""

    def __init__(self, net: Perceptron, x: Tensor) -> None:
        self.layers = [layer for layer in net if isinstance(layer, nn.Linear)]
        between = [layer for layer in net if not isinstance(layer, nn.Linear)]
        self.parts: list[list[Tensor]] = []  # for each part of the rows what enters each layer, and the output
        for part in x.split(ROWS):
            entered = [part]
            for layer, activation in zip(self.layers, between, strict=False):
                entered.append(activation(torch.addmm(layer.bias, entered[-1], layer.weight.t())))
            last = self.layers[-1]
            self.parts.append([*entered, torch.addmm(last.bias, entered[-1], last.weight.t())])
        self.output = self.parts[0][-1] if len(self.parts) == 1 else torch.cat([part[-1] for part in self.parts])

    def pull(self, by_output: Tensor) -> list[Tensor]:
        """Set the gradients of weights and biases, from the one by the output (B, A); returns them in the order of `parameters()`."""
        total: list[Tensor] = []
        for (*entered, _), g in zip(self.parts, by_output.split(ROWS), strict=True):
            found: list[Tensor] = []
            for i in reversed(range(len(self.layers))):
                by_weight = g.t() @ entered[i] if i else (entered[i].t() @ g).t().contiguous()  # the narrow side first is quicker
                found[:0] = [by_weight, g.sum(0)]
                if i:
                    g = torch.ops.aten.tanh_backward(g @ self.layers[i].weight, entered[i])
            if total:
                torch._foreach_add_(total, found)
            else:
                total = found
        for layer, by_weight, by_bias in zip(self.layers, total[::2], total[1::2], strict=True):
            layer.weight.grad, layer.bias.grad = by_weight, by_bias
        return total


class Seen:
    """Policy and critic with the same observations (B, D): the law, the values, and the way back from the gradients by both."""

    def __init__(self, policy: nn.Module, value: nn.Module, obs: Tensor) -> None:
        self._policy = policy
        self._acting, self._judging = Trace(policy.net, obs), Trace(value.net, obs)
        self.law, self.value = policy.law(self._acting.output), self._judging.output.squeeze(-1)

    def pull(self, action: Tensor, log_prob: Tensor, entropy: float, value: Tensor) -> list[Tensor]:
        """Set the gradients of all parameters from those of the loss by log p(action) (B,), each row's entropy, and the values (B,)."""
        by_output, by_log_std = self.law.pull(action, log_prob, entropy)
        gradients = [*self._acting.pull(by_output), *self._judging.pull(value[:, None])]
        if by_log_std is None:
            return gradients
        self._policy.log_std.grad = by_log_std
        return [by_log_std, *gradients]


def clip(gradients: Sequence[Tensor], most: float) -> Tensor:
    """Shorten gradients to a common length of at most `most`, in place; returns the length before. `clip_grad_norm_` with less ado."""
    length = torch.stack(torch._foreach_norm(gradients)).norm()
    torch._foreach_mul_(gradients, (most / (length + 1e-6)).clamp(max=1.0))
    return length
