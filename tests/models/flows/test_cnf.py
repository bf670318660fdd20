"""Continuous flows: linear fields have closed forms, traces agree with autograd, the adjoint with backpropagation, time runs both ways."""

import math

import pytest
import torch
from scipy.linalg import expm

from models.flows.chain import seeded
from models.flows.cnf import ADAPTIVE, Cnf, adjoint_solve, gathering, rademacher, solve
from models.solvers import SolverError, divergence, final, hutchinson

A = torch.tensor([[-0.7, 1.2, 0.1], [-0.9, 0.4, 0.0], [0.3, 0.2, 0.9]], dtype=torch.float64)
FINE = {"tolerance": 1e-9}


def woken(dim=2, seed=0):
    """A flow in float64 that bends the plane visibly."""
    flow = seeded(seed, lambda: Cnf(dim, width=16)).double()
    for layer in flow.field.layers:
        layer.linear.weight.data *= 2
    return flow


def points(n=6, dim=2, seed=1):
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class LinearField(torch.nn.Module):
    """f = A z, whose trace is that of A."""

    def __init__(self):
        super().__init__()
        self.matrix = torch.nn.Parameter(A.clone())

    def with_trace(self, z, t, probes=None):
        if probes is None:
            return z @ self.matrix.T, self.matrix.trace().expand(len(z))
        return hutchinson(lambda z, t: z @ self.matrix.T, z, t, probes[0], keep_graph=True)


def linear_flow():
    flow = Cnf(3)
    flow.field = LinearField()
    return flow


def test_a_linear_field_has_the_matrix_exponential_and_trace():
    x, flow = points(dim=3), linear_flow()
    z, log_det = flow(x, **FINE)
    assert (z - x @ torch.from_numpy(expm(A.numpy())).T).abs().max() < 1e-7
    assert (log_det - A.trace()).abs().max() < 1e-7
    back, log_det = flow.inverse(x, **FINE)
    assert (back - x @ torch.from_numpy(expm(-A.numpy())).T).abs().max() < 1e-7
    assert (log_det + A.trace()).abs().max() < 1e-7
    law = torch.distributions.MultivariateNormal(
        torch.zeros(3, dtype=torch.float64), torch.from_numpy(expm(-A.numpy()) @ expm(-A.numpy()).T)
    )
    assert (flow.log_density(x, **FINE) - law.log_prob(x)).abs().max() < 1e-6


def test_the_trace_carried_through_the_layers_is_autograds():
    flow, x = woken(3), points(8, 3)
    probes = rademacher(2, 8, 3, torch.Generator().manual_seed(0)).double()
    for t in (0.0, 0.4, 1.0):
        f, trace = flow.field.with_trace(x, t)
        wanted, exact = divergence(flow.field, x, t)
        assert torch.allclose(f, wanted, atol=1e-12) and torch.allclose(trace, exact, atol=1e-12)
        _, estimate = flow.field.with_trace(x, t, probes)
        each = [hutchinson(flow.field, x, t, e)[1] for e in probes]
        assert torch.allclose(estimate, sum(each) / 2, atol=1e-12)
        for k in range(3):
            jacobian = torch.autograd.functional.jacobian(lambda z: flow.field(z[None], t)[0], x[k])  # noqa: B023
            assert jacobian.trace().item() == pytest.approx(exact[k].item(), abs=1e-12)


def test_hutchinson_is_unbiased():
    flow, x = woken(3), points(1, 3).expand(4000, 3)
    probes = rademacher(1, 4000, 3, torch.Generator().manual_seed(2)).double()
    estimates = flow.field.with_trace(x, 0.3, probes)[1]
    exact = flow.field.with_trace(x[:1], 0.3)[1]
    error = estimates.std() / math.sqrt(len(estimates))
    assert error > 0 and (estimates.mean() - exact).abs() < 3 * error
    gaussian = torch.randn(1, 4000, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    other = flow.field.with_trace(x, 0.3, gaussian)[1]
    assert (other.mean() - exact).abs() < 3 * other.std() / math.sqrt(len(other))


def test_probes_stay_for_a_whole_solve():
    """With new probes at every call the integrand would jump, and two tolerances would not agree to eight digits."""
    flow, x = woken(), points()
    probes = rademacher(1, 6, 2, torch.Generator().manual_seed(5)).double()
    coarse, fine = (flow.log_density(x, probes=probes, tolerance=tolerance) for tolerance in (1e-8, 1e-11))
    assert (coarse - fine).abs().max() < 1e-6
    assert (fine - flow.log_density(x, **FINE)).abs().max() > 1e-3  # and the estimate is not the exact trace


def test_log_determinants_are_those_of_autograd_and_change_sign_with_time():
    flow, x = woken(), points(3)
    z, log_det = flow(x, **FINE)
    _, back = flow.inverse(z, **FINE)
    assert torch.allclose(back, -log_det, atol=1e-7)
    for k in range(3):
        jacobian = torch.autograd.functional.jacobian(lambda v: flow(v[None], **FINE)[0][0], x[k])
        assert torch.linalg.slogdet(jacobian)[1].item() == pytest.approx(log_det[k].item(), abs=1e-6)


def test_the_density_integrates_to_one():
    flow = seeded(3, Cnf)
    side = torch.linspace(-7, 7, 160)
    with torch.no_grad():
        total = flow.log_density(torch.cartesian_prod(side, side), tolerance=1e-5).exp().sum() * (side[1] - side[0]) ** 2
    assert total.item() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("tolerance", [1e-3, 1e-5, 1e-7])
def test_forward_and_back_meet_within_ten_tolerances(tolerance):
    flow, x = woken(), points(40)
    with torch.no_grad():
        z, _ = flow(x, tolerance=tolerance)
        back, _ = flow.inverse(z, tolerance=tolerance)
    assert 0 < (back - x).abs().max() <= 10 * tolerance


@pytest.mark.parametrize("solver", ["rk4", "heun"])
def test_fixed_steps_come_to_the_same_end(solver):
    flow, x = woken(), points()
    with torch.no_grad():
        exact = flow.log_density(x, tolerance=1e-12)
        errors = [(flow.log_density(x, solver=solver, evaluations=n) - exact).abs().max().item() for n in (80, 160)]
    order = math.log2(errors[0] / errors[1])
    assert order == pytest.approx({"rk4": 4, "heun": 2}[solver], abs=0.4)


@pytest.mark.parametrize("probes", [None, 1])
def test_adjoint_gradients_are_those_of_backpropagation(probes):
    flow, x = woken(), points(12)
    probes = None if probes is None else rademacher(1, 12, 2, torch.Generator().manual_seed(0)).double()

    def gradients(adjoint):
        flow.zero_grad()
        start = x.clone().requires_grad_()
        flow.log_density(start, probes=probes, adjoint=adjoint, tolerance=1e-8).mean().neg().backward()
        return [start.grad, *(p.grad for p in flow.parameters())]

    for plain, adjoint in zip(gradients(False), gradients(True), strict=True):
        assert (plain - adjoint).norm() <= 1e-4 * plain.norm() and plain.norm() > 0


def test_the_adjoint_records_nothing_on_the_way():
    calls = []
    weight = torch.nn.Parameter(torch.tensor(0.5, dtype=torch.float64))

    def f(x, t):
        calls.append(torch.is_grad_enabled())
        return weight * x.cos()

    x = adjoint_solve(f, points(), 0.0, 1.0, [weight], tolerance=1e-6)
    assert not any(calls) and x.requires_grad
    x.sum().backward()
    assert weight.grad is not None and weight.grad.abs() > 0


def test_agrees_with_torchdiffeq_on_the_same_field():
    torchdiffeq = pytest.importorskip("torchdiffeq")
    flow, x = woken(), points()
    state, f = torch.cat([x, torch.zeros(6, 1, dtype=x.dtype)], 1), gathering(flow.field)
    with torch.no_grad():
        ours = final(solve(f, state, 0.0, 1.0, tolerance=1e-8)).x
        theirs = torchdiffeq.odeint(lambda t, y: f(y, float(t)), state, torch.tensor([0.0, 1.0]), rtol=1e-8, atol=1e-8, method="dopri5")[-1]
    assert (ours - theirs).abs().max() < 1e-6


def test_the_field_is_smooth():
    """A kink (ReLU) or a batch statistic would show as a jump of the slope, or as rows that depend on each other."""
    flow, x = woken(), points()
    together = flow.field(x, 0.5)
    assert torch.allclose(torch.cat([flow.field(row[None], 0.5) for row in x]), together, atol=1e-14)
    line = torch.linspace(-3, 3, 4001, dtype=torch.float64)[:, None] * torch.ones(1, 2, dtype=torch.float64)
    bend = flow.field(line, 0.5).diff(dim=0).diff(dim=0).abs().max()
    assert bend < 60 * (6 / 4000) ** 2


def test_a_tolerance_below_float32_is_refused():
    with pytest.raises(SolverError, match="finer than float32"):
        seeded(0, Cnf)(torch.zeros(2, 2), solver=ADAPTIVE, tolerance=1e-9)
