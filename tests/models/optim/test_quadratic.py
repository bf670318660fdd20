"""Six descents of a quadratic: ends, rates, bounds, orthogonality, scipy's iterates, and matrices without a minimum."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import LinearOperator, cg

from models.optim.quadratic import (
    DESCENTS,
    Quadratic,
    QuadraticError,
    conjugate,
    conjugate_bound,
    fixed,
    heavy_ball,
    jacobi,
    newton,
    scaled_condition,
    steepest,
    steepest_bound,
    worst_start,
)

D = torch.float64


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=D)


def problem(n: int, condition: float, seed: int = 0) -> Quadratic:
    spectrum = torch.logspace(0, math.log10(condition), n, dtype=D)
    return Quadratic.with_spectrum(spectrum, seed=seed, best=normal(n, seed=seed + 1))


# --- the quadratic ---


def test_value_gradient_and_minimum() -> None:
    one, x = problem(6, 50), normal(6, seed=9).requires_grad_()
    value = 0.5 * x @ one.A @ x - one.b @ x
    (gradient,) = torch.autograd.grad(value, x)
    x = x.detach()
    assert one.value(x) == pytest.approx(float(value.detach())) and torch.allclose(one.gradient(x), gradient, atol=1e-12)
    assert torch.allclose(one.best, normal(6, seed=1), atol=1e-10) and one.condition == pytest.approx(50)
    assert one.excess(x) == pytest.approx(one.value(x) - one.least, rel=1e-9)


def test_only_the_symmetric_part_counts_and_the_angle_turns() -> None:
    A, b = torch.tensor([[2.0, 1.0], [-0.5, 1.0]]), torch.tensor([1.0, 2.0])
    one, x = Quadratic(A, b), normal(2)
    assert torch.equal(one.A, one.A.T) and one.value(x) == pytest.approx(float(0.5 * x @ A.double() @ x - b.double() @ x))
    turned = Quadratic.with_spectrum(torch.tensor([1.0, 9.0]), math.pi / 6)
    along = torch.tensor([math.cos(math.pi / 6), math.sin(math.pi / 6)], dtype=D)
    assert torch.allclose(turned.A @ along, along, atol=1e-12) and torch.equal(turned.best, torch.zeros(2, dtype=D))


@pytest.mark.parametrize(
    "A, b, words",
    [
        ([[1.0, 0], [0, -2.0]], [0.0, 0], r"eigenvalue -2 lets f fall without end along \(0, "),
        ([[1.0, 0], [0, 0]], [1.0, 1], r"singular: f falls without end along \(0, "),
        ([[1.0, 0], [0, 0]], [1.0, 0], r"singular: f has a whole line of minima along \(0, "),
        ([[1.0, 0], [0, 0]], [1.0, -1], r"singular: f falls without end along \(0, -1\)"),
        ([[0.0, 0], [0, 0]], [0.0, 0], "singular"),
        ([[1.0, 0], [0, 1e-300]], [0.0, 0], r"1e-300 and 1 lie too far apart for float64: along \(0, -?1\)"),
        ([[1e200, 0], [0, 1]], [0.0, 0], r"1e\+200, too much for float64"),
        ([[1.0, math.nan], [0, 1]], [0.0, 0], "no finite number"),
        ([[1.0, 0], [0, 1]], [0.0, 0, 0], "do not belong together"),
    ],
)
def test_matrices_without_a_minimum_are_told(A, b, words) -> None:
    with pytest.raises(QuadraticError, match=words):
        Quadratic(torch.tensor(A, dtype=D), torch.tensor(b, dtype=D))


# --- steepest descent ---


@pytest.mark.parametrize("condition", [3.0, 100.0])
def test_steepest_descent_keeps_its_bound_with_orthogonal_gradients(condition) -> None:
    one = problem(8, condition)
    steps = list(steepest(one, normal(8, seed=5), 60))
    for m, step in enumerate(steps):
        assert step.excess <= steepest_bound(one.condition, m) * steps[0].excess * (1 + 1e-9)
    for before, step in zip(steps, steps[1:]):
        if float(before.gradient.norm()) < 1e-5 * float(steps[0].gradient.norm()):
            break  # from here on rounding shows
        assert abs(float(before.gradient @ step.gradient)) <= 1e-9 * float(before.gradient.norm() * step.gradient.norm())
        assert torch.equal(step.x, before.x + step.length * step.direction) and torch.allclose(step.direction, -before.gradient, atol=1e-12)


def test_the_worst_start_attains_the_bound() -> None:
    one = problem(5, 30.0)
    steps = list(steepest(one, worst_start(one), 20))
    for m, step in enumerate(steps):
        assert step.excess == pytest.approx(steepest_bound(one.condition, m) * steps[0].excess, rel=1e-6)


def test_a_fixed_step_arrives_below_its_limit_and_runs_away_above() -> None:
    one, x = problem(4, 20.0), normal(4, seed=2)
    best = 2 / float(one.spectrum[0] + one.spectrum[-1])
    steps = list(fixed(one, x, 400, best))
    rate = (one.condition - 1) / (one.condition + 1)
    errors = [float((step.x - one.best).norm()) for step in steps]
    assert steps[-1].last and errors[-1] < 1e-9 and all(b <= rate * a * (1 + 1e-6) + 1e-12 for a, b in zip(errors, errors[1:]))
    limit = 2 / float(one.spectrum[-1])
    assert list(fixed(one, x, 300, 0.99 * limit))[-1].excess < steps[0].excess
    with pytest.raises(QuadraticError, match="runs away") as found:
        list(fixed(one, x, 5000, 1.05 * limit))
    assert f"{limit:.4g}" in found.value.hint


def test_a_heavy_ball_too_fast_is_told_its_own_limit() -> None:
    """With m = 0.5 it arrives below 2 (1 + m) / l_max, 1.5 times as far as a fixed step may go."""
    one, x = problem(4, 20.0), normal(4, seed=2)
    limit = 2 * 1.5 / float(one.spectrum[-1])
    assert list(heavy_ball(one, x, 400, 0.97 * limit, 0.5))[-1].excess < 1e-6
    with pytest.raises(QuadraticError, match="runs away") as found:
        list(heavy_ball(one, x, 5000, 1.03 * limit, 0.5))
    assert f"2 (1 + m) / l_max = {limit:.4g}" in found.value.hint


@pytest.mark.parametrize("name", ["steepest", "conjugate"])
def test_what_a_step_says_is_what_it_does(name) -> None:
    one, x = problem(5, 30.0), normal(5, seed=8)
    first = list(DESCENTS[name][1](one, x, 1))[1]
    r = one.b - one.A @ x
    above, below, length = (float(word) for word in re.search(r"= ([\d.]+) / ([\d.]+) = ([\d.]+),", first.says).groups())
    assert (above, below, length) == pytest.approx((float(r @ r), float(r @ one.A @ r), first.length), rel=1e-3)


def test_rounding_costs_conjugacy_in_a_long_valley_and_repair_keeps_it() -> None:
    one = problem(40, 1e7)
    for repair, lost in ((False, True), (True, False)):
        steps = list(conjugate(one, normal(40, seed=5), 38, repair=repair))[:36]
        residuals = torch.stack([step.gradient / step.gradient.norm() for step in steps])
        overlap = (residuals @ residuals.T - torch.eye(36, dtype=D)).abs().max()
        assert (overlap > 0.1) == lost and (overlap < 1e-8) != lost


def test_the_heavy_ball_falls_at_its_rate() -> None:
    """Its error falls like (sqrt m)^t with m = ((sqrt k - 1) / (sqrt k + 1))^2, up to a factor that grows like t."""
    one, x = problem(6, 100.0), normal(6, seed=3)
    steps = list(heavy_ball(one, x, 120))
    errors = [float((step.x - one.best).norm()) for step in steps]
    found = (errors[110] / errors[30]) ** (1 / 80)
    assert found == pytest.approx((10 - 1) / (10 + 1), abs=0.02)
    a, m = 0.01, 0.6
    own = list(heavy_ball(one, x, 2, a, m))
    assert torch.allclose(own[2].x, own[1].x - a * own[1].gradient + m * (own[1].x - own[0].x), atol=1e-12)
    assert errors[60] < float((list(steepest(one, x, 60))[-1].x - one.best).norm())


def test_newton_is_there_in_one_step() -> None:
    one = problem(7, 1000.0)
    steps = list(newton(one, normal(7, seed=4), 5))
    assert len(steps) == 2 and steps[-1].last and torch.allclose(steps[-1].x, one.best, atol=1e-10)


# --- conjugate gradients ---


@pytest.mark.parametrize("way", [conjugate, jacobi])
@pytest.mark.parametrize("n, condition", [(2, 10.0), (12, 1000.0), (50, 1000.0)])
def test_conjugate_gradients_end_within_n_steps(n, condition, way) -> None:
    one = problem(n, condition)
    steps = list(way(one, torch.zeros(n, dtype=D), n, repair=True))
    assert float(steps[-1].gradient.norm()) <= 1e-10 * float(one.b.norm()) and steps[-1].last
    even = Quadratic.with_spectrum(torch.linspace(1, condition, n), best=normal(n))
    steps = list(conjugate(even, torch.zeros(n, dtype=D), n))  # here rounding does no harm
    assert float(steps[-1].gradient.norm()) <= 1e-10 * float(even.b.norm())


@pytest.mark.parametrize("repair", [False, True])
@pytest.mark.parametrize("n, condition", [(2, 10.0), (12, 1000.0), (50, 300.0)])
def test_conjugate_gradients_keep_their_bound(n, condition, repair) -> None:
    one = problem(n, condition)
    steps = list(conjugate(one, torch.zeros(n, dtype=D), n, repair=repair))
    for m, step in enumerate(steps):
        assert math.sqrt(step.excess) <= conjugate_bound(one.condition, m) * math.sqrt(steps[0].excess) * (1 + 1e-9) + 1e-12


@pytest.mark.parametrize("m", [1, 2, 4])
def test_as_many_steps_as_different_eigenvalues(m) -> None:
    spectrum = torch.tensor([1.0, 5.0, 30.0, 80.0])[:m].repeat_interleave(5)
    one = Quadratic.with_spectrum(spectrum, seed=2, best=normal(5 * m, seed=3))
    steps = list(conjugate(one, normal(5 * m, seed=6), 40))
    sizes = [float(step.gradient.norm()) for step in steps]
    assert sizes[m] <= 1e-10 * sizes[0] < sizes[m - 1]


def test_directions_are_conjugate_and_residuals_orthogonal() -> None:
    one = problem(20, 200.0)
    steps = list(conjugate(one, normal(20, seed=5), 20))[:12]
    P = torch.stack([step.direction / step.direction.norm() for step in steps[1:]])
    R = torch.stack([step.gradient / step.gradient.norm() for step in steps])
    conjugacy, products = P @ one.A @ P.T, R @ R.T
    assert (conjugacy - torch.diag(conjugacy.diagonal())).abs().max() < 1e-8
    assert (products - torch.diag(products.diagonal())).abs().max() < 1e-8


@pytest.mark.parametrize("preconditioned", [False, True])
def test_iterates_are_scipys(preconditioned) -> None:
    one = problem(15, 100.0, seed=3)
    x0, seen = normal(15, seed=7), []
    diagonal = one.A.diagonal().numpy()
    M = LinearOperator((15, 15), matvec=lambda r: r / diagonal) if preconditioned else None
    cg(one.A.numpy(), one.b.numpy(), x0=x0.numpy(), rtol=0, atol=0, maxiter=10, M=M, callback=lambda x: seen.append(x.copy()))
    mine = list((jacobi if preconditioned else conjugate)(one, x0, 10))
    for step, theirs in zip(mine[1:], seen, strict=True):
        assert np.abs(step.x.numpy() - theirs).max() < 1e-8


def test_the_bound_of_the_preconditioned_way_counts_the_scaled_matrix() -> None:
    one = Quadratic(torch.tensor([[1.0, 0.5], [0.5, 100.0]]), torch.zeros(2))
    assert scaled_condition(one) == pytest.approx(1.05 / 0.95)  # off the diagonal 0.5 / sqrt(1 * 100)
    big = problem(20, 500.0)
    steps = list(jacobi(big, normal(20, seed=2), 20, repair=True))
    for m, step in enumerate(steps):
        assert math.sqrt(step.excess) <= conjugate_bound(scaled_condition(big), m) * math.sqrt(steps[0].excess) * (1 + 1e-9) + 1e-12


def test_the_diagonal_helps_where_axes_differ_in_scale() -> None:
    scales = torch.logspace(0, 3, 30, dtype=D)
    core = problem(30, 5.0).A
    one = Quadratic(scales[:, None] * core * scales, normal(30, seed=1))
    plain, helped = (len(list(way(one, torch.zeros(30, dtype=D), 200))) for way in (conjugate, jacobi))
    assert helped < plain / 2


def test_every_descent_starts_with_its_start_and_ends_with_last() -> None:
    one, x = problem(3, 4.0), normal(3, seed=8)
    for name, (title, way) in DESCENTS.items():
        steps = list(way(one, x, 30, 0.2) if name == "fixed" else way(one, x, 30))
        assert torch.equal(steps[0].x, x) and steps[0].length == 0 and [s.index for s in steps] == list(range(len(steps))), title
        assert [step.last for step in steps] == [False] * (len(steps) - 1) + [True] and all(step.says for step in steps[1:])
        assert steps[-1].excess < 1e-3 * steps[0].excess
        at_the_minimum = list(way(one, one.best, 5, 0.2) if name == "fixed" else way(one, one.best, 5))
        assert len(at_the_minimum) == 1 and at_the_minimum[0].last
