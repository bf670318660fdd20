"""Fixed-step solvers: their order on a linear equation, both directions, evaluations counted; the divergence of a known field."""

from __future__ import annotations

import math

import pytest
import torch

from models.plane.metrics import slope
from models.solvers import FIXED, divergence, evenly, hutchinson, integrate, solve, with_divergence

A = torch.tensor([[-0.5, 2.0], [-2.0, 0.3]], dtype=torch.float64)
X = torch.randn(6, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def linear(x: torch.Tensor, t: float) -> torch.Tensor:
    return x @ A.T * (1 + t)


def exact(t: float) -> torch.Tensor:
    return X @ torch.linalg.matrix_exp(A * (t + t**2 / 2)).T


@pytest.mark.parametrize("name", FIXED)
@pytest.mark.parametrize("start, end", [(0.0, 1.0), (1.0, 0.0)])
def test_error_falls_with_the_order_of_the_solver(name, start, end) -> None:
    begin = exact(start)
    errors = [float((solve(linear, begin, evenly(start, end, n), name) - exact(end)).norm()) for n in (64, 128, 256)]
    assert slope([64, 128, 256], errors) == pytest.approx(FIXED[name].order, abs=0.1)


@pytest.mark.parametrize("name", FIXED)
def test_evaluations_are_those_made(name) -> None:
    asked = []

    def counting(x: torch.Tensor, t: float) -> torch.Tensor:
        asked.append(t)
        return linear(x, t)

    steps = list(integrate(counting, X, evenly(0.0, 2.0, 5), name))
    assert [step.evaluations for step in steps] == [FIXED[name].evaluations * i for i in range(6)] and len(asked) == steps[-1].evaluations
    assert [step.t for step in steps] == pytest.approx([0, 0.4, 0.8, 1.2, 1.6, 2.0]) and steps[0].x is X
    assert [step.last for step in steps] == [False] * 5 + [True]
    assert FIXED[name].steps(17) == 17 // FIXED[name].evaluations and FIXED[name].steps(0) == 1
    assert all(0 <= t <= 2 for t in asked)


def test_divergence_of_a_known_field() -> None:
    f = lambda x, t: torch.stack([x[:, 0] ** 2 * x[:, 1], t * x[:, 1].sin()], 1)  # noqa: E731
    v, div = divergence(f, X, 0.7)
    assert torch.equal(v, f(X, 0.7)) and torch.allclose(div, 2 * X[:, 0] * X[:, 1] + 0.7 * X[:, 1].cos(), atol=1e-14)
    assert not v.requires_grad and not div.requires_grad
    probe = torch.eye(2, dtype=torch.float64)
    parts = sum(hutchinson(f, X, 0.7, row.expand_as(X))[1] for row in probe)  # unit probes add up to the trace
    assert torch.allclose(parts, div, atol=1e-14)


def test_the_gathered_divergence_is_that_of_the_linear_flow() -> None:
    state = solve(with_divergence(linear), torch.cat([X, X.new_zeros(6, 1)], 1), evenly(0.0, 1.0, 120), "rk4")
    assert torch.allclose(state[:, :2], exact(1.0), atol=1e-6)
    assert torch.allclose(state[:, 2], torch.full((6,), float(A.trace()) * 1.5, dtype=torch.float64), atol=1e-12)
    assert math.isclose(float(torch.linalg.matrix_exp(1.5 * A).logdet()), 1.5 * float(A.trace()), rel_tol=1e-12)
