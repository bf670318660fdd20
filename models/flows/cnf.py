"""Continuous normalizing flow (neural ODE, Chen et al., arXiv 1806.07366; FFJORD, Grathwohl et al., arXiv 1810.01367).

`dz/dt = f(z, t)`, data at t = 0, noise at t = 1; `d log p(z(t)) / dt = -tr df/dz`, so `log p(x) = log N(z1) + int_0^1 tr df/dz dt`. The
state of a solve is (N, D + 1): the point, and the divergence gathered since the start, whichever way time runs. The trace is exact (D
tangents carried through the layers beside the point) or Hutchinson's estimate `e^T (df/dz) e`, with probes that stay for one whole solve.
Gradients: backpropagation through the solver, or the adjoint, which solves backwards and keeps nothing of the way there.
Read next: `models/solvers.py`, `models/plane/divergence.py` (the trace of any field).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from models.flows.chain import log_normal
from models.solvers import FIXED, Norm, Velocity, dormand_prince, evenly, final, integrate, worst_sample
from models.steps import OdeStep

WIDTH, HIDDEN = 64, 2
TOLERANCE = 1e-4
MAX_EVALUATIONS = 20_000
ADAPTIVE = "dopri5"
SOLVERS = (ADAPTIVE, *reversed(FIXED))


class ConcatSquash(nn.Module):
    """`(W x + b) sigmoid(w_g t + b_g) + w_b t`: a linear layer whose gate and offset follow the time."""

    def __init__(self, dim: int, out: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, out)
        self.gate_time = nn.Parameter(torch.randn(out))
        self.gate_bias = nn.Parameter(torch.zeros(out))
        self.shift_time = nn.Parameter(0.1 * torch.randn(out))

    def gate(self, t: float) -> Tensor:
        return (self.gate_time * t + self.gate_bias).sigmoid()

    def forward(self, x: Tensor, t: float) -> Tensor:
        return torch.addcmul(self.shift_time * t, self.linear(x), self.gate(t))

    def tangent(self, v: Tensor, t: float) -> Tensor:
        """The derivative of `forward` along v (..., dim)."""
        return nn.functional.linear(v, self.linear.weight) * self.gate(t)


class Field(nn.Module):
    """f(z, t): ConcatSquash layers with tanh between them, smooth as a solver of high order wants it."""

    def __init__(self, dim: int = 2, width: int = WIDTH, hidden: int = HIDDEN) -> None:
        super().__init__()
        widths = [dim, *[width] * hidden, dim]
        self.dim = dim
        self.layers = nn.ModuleList(ConcatSquash(a, b) for a, b in zip(widths[:-1], widths[1:]))

    def forward(self, z: Tensor, t: float) -> Tensor:
        for layer in self.layers[:-1]:
            z = layer(z, t).tanh()
        return self.layers[-1](z, t)

    def along(self, z: Tensor, t: float, tangents: Tensor) -> tuple[Tensor, Tensor]:
        """f(z, t) (N, D), and its derivatives along tangents (K, N or 1, D): (K, N, D)."""
        for layer in self.layers[:-1]:
            z = layer(z, t).tanh()                                          # (N, width)
            tangents = layer.tangent(tangents, t) * (1 - z * z)             # (K, N, width), tanh' = 1 - tanh^2
        return self.layers[-1](z, t), self.layers[-1].tangent(tangents, t)

    def with_trace(self, z: Tensor, t: float, probes: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """f(z, t) (N, D) and tr df/dz (N,): exact, or `e^T J e` averaged over probes (K, N, D)."""
        if probes is None:
            directions = torch.eye(self.dim, dtype=z.dtype, device=z.device)[:, None]     # (D, 1, D)
            f, derivative = self.along(z, t, directions)
            return f, derivative.diagonal(dim1=0, dim2=2).sum(-1)
        f, derivative = self.along(z, t, probes)
        return f, (derivative * probes).sum(2).mean(0)


def gathering(field: Field, probes: Tensor | None = None) -> Velocity:
    """The velocity of (point, gathered divergence), (N, D + 1)."""

    def both(state: Tensor, t: float) -> Tensor:
        f, trace = field.with_trace(state[:, :-1], t, probes)
        return torch.cat([f, trace[:, None]], 1)

    return both


def rademacher(count: int, n: int, dim: int, generator: torch.Generator) -> Tensor:
    """Probes of +1 and -1 with even chances, (count, n, dim); their diagonal part has no variance."""
    return 2.0 * torch.randint(2, (count, n, dim), generator=generator) - 1


def solve(
    f: Velocity, state: Tensor, start: float, end: float, *, solver: str = ADAPTIVE, tolerance: float = TOLERANCE, evaluations: int = 64,
    norm: Norm = worst_sample, max_evaluations: int = MAX_EVALUATIONS,
) -> Iterator[OdeStep]:  # fmt: skip
    """Records of a solve, its start first: by dopri5 to a tolerance, or in the fixed steps that a number of evaluations pays for."""
    if solver == ADAPTIVE:
        return dormand_prince(f, state, start, end, rtol=tolerance, atol=tolerance, norm=norm, max_evaluations=max_evaluations)
    return integrate(f, state, evenly(start, end, FIXED[solver].steps(evaluations)), solver)


class Cnf(nn.Module):
    """The flow of a field between t = 0 (data) and t = 1 (noise)."""

    def __init__(self, dim: int = 2, width: int = WIDTH, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.field = Field(dim, width, hidden)

    def steps(self, x: Tensor, start: float, end: float, *, probes: Tensor | None = None, **settings) -> Iterator[OdeStep]:
        """The way of x (N, D) from one time to another; states are (N, D + 1), the divergence gathered in the last column."""
        return solve(gathering(self.field, probes), beside_zero(x), start, end, **settings)

    def forward(self, x: Tensor, *, adjoint: bool = False, **settings) -> tuple[Tensor, Tensor]:
        """Data to noise: z (N, D) and log|det dz/dx| (N,), which is the divergence gathered; `settings` as of `steps`."""
        return self._carry(x, 0.0, 1.0, adjoint, settings)

    def inverse(self, z: Tensor, *, adjoint: bool = False, **settings) -> tuple[Tensor, Tensor]:
        """Noise to data: x and log|det dx/dz|."""
        return self._carry(z, 1.0, 0.0, adjoint, settings)

    def log_density(self, x: Tensor, **settings) -> Tensor:
        """log p(x) in nats (N,), exact but for the solver's tolerance and, with probes, their noise."""
        z, log_det = self(x, **settings)
        return log_normal(z) + log_det

    @staticmethod
    def log_density_at(state: Tensor) -> Tensor:
        """log p(x) from the state (N, D + 1) in which the way from x to the noise ended."""
        return log_normal(state[:, :-1]) + state[:, -1]

    def _carry(self, x: Tensor, start: float, end: float, adjoint: bool, settings) -> tuple[Tensor, Tensor]:
        if adjoint:
            rest = {name: value for name, value in settings.items() if name != "probes"}
            f = gathering(self.field, settings.get("probes"))
            state = adjoint_solve(f, beside_zero(x), start, end, list(self.field.parameters()), **rest)
        else:
            state = final(self.steps(x, start, end, **settings)).x
        return state[:, :-1], state[:, -1]


def beside_zero(x: Tensor) -> Tensor:
    """The state that a solve begins with: points and no divergence gathered yet."""
    return torch.cat([x, x.new_zeros(len(x), 1)], 1)


def adjoint_solve(f: Velocity, x: Tensor, start: float, end: float, parameters: Sequence[Tensor], **settings) -> Tensor:
    """x at `end` with gradients by the adjoint method for x and the parameters of f: memory does not grow with the steps.

    With a = dL/dx, backwards in time from `end`: `da/dt = -a^T df/dx`, `dL/dtheta = -int_end^start a^T df/dtheta dt`, x solved again beside
    them (arXiv 1806.07366, algorithm 1). The gathered divergence moves nothing, so its adjoint stays constant by itself.
    """
    return _Adjoint.apply(f, start, end, settings, x, *parameters)


class _Adjoint(torch.autograd.Function):
    @staticmethod
    def forward(ctx, f, start, end, settings, x, *parameters):
        ctx.f, ctx.span, ctx.settings = f, (start, end), settings
        x_end = final(solve(f, x, start, end, **settings)).x
        ctx.save_for_backward(x_end, *parameters)
        return x_end

    @staticmethod
    def backward(ctx, grad):
        x_end, *parameters = ctx.saved_tensors
        shape, sizes = x_end.shape, [x_end.numel(), x_end.numel(), *(p.numel() for p in parameters)]
        state = torch.cat([x_end.flatten(), grad.flatten(), grad.new_zeros(sum(sizes[2:]))])
        velocity = _backwards(ctx.f, shape, sizes, parameters)
        norm = ctx.settings.get("norm", worst_sample)

        def worst_part(error: Tensor) -> Tensor:
            x, a, theta = error.split([sizes[0], sizes[1], sum(sizes[2:])])
            parts = [norm(x.view(shape)), norm(a.view(shape))] + ([theta.square().mean().sqrt()] if len(theta) else [])
            return torch.stack(parts).amax()

        start, end = ctx.span
        state = final(solve(velocity, state, end, start, **{**ctx.settings, "norm": worst_part})).x
        _, a, *gradients = state.split(sizes)
        return None, None, None, None, a.view(shape), *(g.view(p.shape) for g, p in zip(gradients, parameters))


def _backwards(f: Velocity, shape: Sequence[int], sizes: Sequence[int], parameters: Sequence[Tensor]) -> Callable[[Tensor, float], Tensor]:
    """The velocity of (x, a, dL/dtheta) as one vector."""

    def velocity(state: Tensor, t: float) -> Tensor:
        x, a = state[: sizes[0]].view(shape), state[sizes[0] : sizes[0] + sizes[1]].view(shape)
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            slope = f(x, t)
            gradients = torch.autograd.grad(slope, [x, *parameters], -a, allow_unused=True, materialize_grads=True)
        return torch.cat([slope.detach().flatten(), *(g.flatten() for g in gradients)])

    return velocity
