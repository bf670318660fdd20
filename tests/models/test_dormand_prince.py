"""The adaptive solver: its table, its order, what its tolerance promises, and against scipy and torchdiffeq."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from models import solvers
from models.solvers import SolverError, dormand_prince, final, whole_batch, within, worst_sample

A = torch.tensor([[-0.4, 2.0], [-1.5, 0.1]], dtype=torch.float64)


def linear(x, t):
    return x @ A.T


def bent(x, t):
    """A field that depends on time and is not linear."""
    return torch.stack([torch.sin(x[:, 1] + 3 * t), torch.cos(2 * x[:, 0]) - t * x[:, 1]], 1)


def points(n=5, dtype=torch.float64):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(3), dtype=dtype)


def test_the_table_satisfies_the_order_conditions():
    nodes = np.array([0.0, *solvers.NODES])
    for node, row in zip(solvers.NODES, solvers.STAGES):
        assert sum(row) == pytest.approx(node, abs=1e-14)
    weights = np.array([*solvers.STAGES[-1], 0.0])
    for k in range(5):  # quadrature conditions of order 5
        assert weights @ nodes**k == pytest.approx(1 / (k + 1), abs=1e-14)
    matrix = np.zeros((7, 7))
    for i, row in enumerate(solvers.STAGES):
        matrix[i + 1, : len(row)] = row
    assert weights @ matrix @ nodes**3 == pytest.approx(1 / 20, abs=1e-14)
    for k in range(4):  # the embedded method has order 4
        assert np.array(solvers.ERROR) @ nodes**k == pytest.approx(0, abs=1e-14)
        assert np.array(solvers.MIDDLE) @ nodes**k == pytest.approx(0.5 ** (k + 1) / (k + 1), abs=1e-13)
    assert abs(np.array(solvers.ERROR) @ nodes**4) > 1e-4


@pytest.mark.parametrize(("start", "end"), [(0.0, 2.0), (2.0, 0.0), (0.3, 0.30001)])
def test_a_linear_equation_ends_at_the_matrix_exponential(start, end):
    x = points()
    exact = x @ torch.from_numpy(expm(A.numpy() * (end - start))).T
    last = final(dormand_prince(linear, x, start, end, rtol=1e-9, atol=1e-9))
    assert last.last and last.t == end
    assert (last.x - exact).abs().max() < 1e-7


def test_agrees_with_scipy_and_torchdiffeq_at_equal_tolerance():
    torchdiffeq = pytest.importorskip("torchdiffeq")
    x = points()
    ours = final(dormand_prince(bent, x, 0.0, 3.0, rtol=1e-8, atol=1e-8)).x
    theirs = torchdiffeq.odeint(lambda t, y: bent(y, float(t)), x, torch.tensor([0.0, 3.0], dtype=x.dtype), rtol=1e-8, atol=1e-8,
                                method="dopri5")[-1]  # fmt: skip
    assert (ours - theirs).abs().max() < 1e-6
    flat = solve_ivp(lambda t, y: bent(torch.from_numpy(y).reshape(-1, 2), t).flatten().numpy(), (0, 3), x.flatten().numpy(),
                     method="RK45", rtol=1e-8, atol=1e-8)  # fmt: skip
    assert (ours.flatten() - torch.from_numpy(flat.y[:, -1])).abs().max() < 1e-6


def test_records_begin_at_the_start_join_up_and_count_every_call():
    calls = []

    def counted(x, t):
        calls.append(t)
        return torch.sin(40 * t * torch.ones_like(x)).sign() * x

    steps = list(dormand_prince(counted, points(), 0.0, 2.0, rtol=1e-6, atol=1e-6))
    assert steps[0].t == 0 and steps[0].evaluations == 0 and steps[0].h == 0
    assert all(abs(a.t + b.h - b.t) < 1e-12 for a, b in zip(steps, steps[1:]))
    assert all(step.error <= 1 for step in steps[1:])
    assert [step.last for step in steps] == [False] * (len(steps) - 1) + [True]
    assert steps[-1].rejected > 0, "the example should make it reject"
    assert steps[-1].evaluations == len(calls) == 2 + 6 * (len(steps) - 1 + steps[-1].rejected)


@pytest.mark.parametrize("rtol", [1e-4, 1e-6, 1e-8])
def test_the_error_follows_the_tolerance(rtol):
    x = points()
    exact = x @ torch.from_numpy(expm(A.numpy() * 2)).T
    got = final(dormand_prince(linear, x, 0.0, 2.0, rtol=rtol, atol=rtol)).x
    assert 1e-3 * rtol < (got - exact).abs().max() < 20 * rtol


def test_a_stiff_row_does_not_hide_among_easy_ones():
    rates = torch.zeros(2000, 1, dtype=torch.float64)
    rates[7] = 60.0
    x = torch.ones(2000, 1, dtype=torch.float64)

    def error(norm):
        got = final(dormand_prince(lambda x, t: -rates * (x - math.sin(5 * t)), x, 0.0, 1.0, rtol=1e-6, atol=1e-6, norm=norm)).x[7, 0]
        w, s = 60.0, 5.0  # solution of x' = -w (x - sin s t)
        c = 1 + w * s / (w * w + s * s)
        return abs(got.item() - (w * (w * math.sin(s) - s * math.cos(s)) / (w * w + s * s) + c * math.exp(-w)))

    assert error(worst_sample) < 3e-6
    assert error(whole_batch) > 5 * error(worst_sample)


def test_norms():
    e = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    assert worst_sample(e) == pytest.approx(math.sqrt(12.5))
    assert whole_batch(e) == pytest.approx(2.5)


def test_between_two_steps_the_quartic_is_as_good_as_the_steps():
    x = points()
    steps = list(dormand_prince(linear, x, 0.0, 2.0, rtol=1e-7, atol=1e-7))
    for before, after in zip(steps, steps[1:]):
        assert torch.allclose(within(before.x, after, before.t), before.x, atol=1e-12)
        assert torch.allclose(within(before.x, after, after.t), after.x, atol=1e-12)
        for share in (0.2, 0.7):
            t = before.t + share * after.h
            exact = x @ torch.from_numpy(expm(A.numpy() * t)).T
            assert (within(before.x, after, t) - exact).abs().max() < 1e-5


def test_gradients_flow_through_the_steps():
    x = points().requires_grad_()
    final(dormand_prince(linear, x, 0.0, 1.0, rtol=1e-9, atol=1e-9)).x.sum().backward()
    exact = torch.from_numpy(expm(A.numpy())).sum(0).expand(len(x), 2)
    assert (x.grad - exact).abs().max() < 1e-7


def test_nothing_to_solve_is_one_record():
    steps = list(dormand_prince(linear, points(), 1.0, 1.0))
    assert len(steps) == 1 and steps[0].last


@pytest.mark.parametrize(
    ("settings", "field", "start", "sentence"),
    [
        ({"rtol": 1e-9, "atol": 1e-9}, lambda x, t: x, torch.ones(2, 2), "finer than float32"),
        ({"rtol": 0.0, "atol": 0.0}, lambda x, t: x, torch.ones(2, 2).double(), "finer than float64"),
        ({"rtol": float("nan")}, lambda x, t: x, torch.ones(2, 2).double(), "finer than"),
        ({}, lambda x, t: x * float("nan"), torch.ones(2, 2), "cannot begin"),
        ({}, lambda x, t: x**2, torch.ones(2, 2).double(), "t = (0.99|1)"),  # blows up at t = 1
        ({"max_evaluations": 50}, lambda x, t: torch.sin(300 * t + x), torch.ones(2, 2).double(), "evaluations took the solve"),
        ({}, lambda x, t: torch.where(x < 2, x, x * float("nan")), torch.ones(2, 2).double(), "no longer finite"),
    ],
)
def test_what_cannot_be_solved_is_said(settings, field, start, sentence):
    with pytest.raises(SolverError, match=sentence) as error:
        final(dormand_prince(field, start, 0.0, 2.0, **settings))
    assert error.value.hint.endswith(".")
