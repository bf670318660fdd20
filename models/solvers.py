"""Solvers of ordinary differential equations `dx/dt = f(x, t)`, shared by samplers and flows, in either direction of time.

A solver of fixed steps is one step: `step(f, x, t, h) -> x at t + h`. Euler, midpoint and Heun (orders 1, 2, 2) and the classical
Runge-Kutta method (order 4; Hairer, Norsett and Wanner, Solving ordinary differential equations I, ch. II.1). Times are Python floats, x
any tensor. Dormand and Prince's 5(4) chooses its own steps to meet a tolerance; whose error counts is told: `worst_sample` lets the worst
row of a batch decide, `whole_batch` (what most libraries do) averages, and so hides one stiff point among many easy ones.
Nothing is kept open across a yield; gradients flow through the steps if the caller records them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.steps import OdeStep

Velocity = Callable[[Tensor, float], Tensor]
"""f(x, t): as many numbers as x has."""


def _euler(f: Velocity, x: Tensor, t: float, h: float) -> Tensor:
    return x + h * f(x, t)


def _midpoint(f: Velocity, x: Tensor, t: float, h: float) -> Tensor:
    return x + h * f(x + h / 2 * f(x, t), t + h / 2)


def _heun(f: Velocity, x: Tensor, t: float, h: float) -> Tensor:
    here = f(x, t)
    return x + h / 2 * (here + f(x + h * here, t + h))


def _rk4(f: Velocity, x: Tensor, t: float, h: float) -> Tensor:
    a = f(x, t)
    b = f(x + h / 2 * a, t + h / 2)
    c = f(x + h / 2 * b, t + h / 2)
    d = f(x + h * c, t + h)
    return x + h / 6 * (a + 2 * b + 2 * c + d)


@dataclass(frozen=True)
class FixedSolver:
    """One step of a method, how often it asks f, and its order."""

    title: str
    step: Callable[[Velocity, Tensor, float, float], Tensor]
    evaluations: int
    order: int

    def steps(self, evaluations: int) -> int:
        """How many steps a number of evaluations pays for; at least one."""
        return max(1, evaluations // self.evaluations)


FIXED: dict[str, FixedSolver] = {
    "euler": FixedSolver("Euler", _euler, 1, 1),
    "midpoint": FixedSolver("Midpoint", _midpoint, 2, 2),
    "heun": FixedSolver("Heun", _heun, 2, 2),
    "rk4": FixedSolver("Runge-Kutta 4", _rk4, 4, 4),
}


def evenly(start: float, end: float, n: int) -> list[float]:
    """n + 1 times from start to end, both exact."""
    return [*(start + (end - start) * i / n for i in range(n)), end]


def integrate(f: Velocity, x: Tensor, times: Sequence[float], solver: str = "rk4") -> Iterator[OdeStep]:
    """Steps along the given times (rising or falling); the first record is the start itself, with no evaluation."""
    fixed = FIXED[solver]
    yield OdeStep(x=x, t=times[0], h=0.0, evaluations=0, last=len(times) == 1)
    for i, (t, t_next) in enumerate(zip(times, times[1:]), 1):
        x = fixed.step(f, x, t, t_next - t)
        yield OdeStep(x=x, t=t_next, h=t_next - t, evaluations=i * fixed.evaluations, last=i == len(times) - 1)


def solve(f: Velocity, x: Tensor, times: Sequence[float], solver: str = "rk4") -> Tensor:
    """x at the last of the times."""
    for step in integrate(f, x, times, solver):
        x = step.x
    return x


# --- adaptive steps ---


class SolverError(Exception):
    """A solve that cannot go on: a sentence that says why, and a hint that says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


Norm = Callable[[Tensor], Tensor]
"""Size of an error that was divided by its tolerance; a step is accepted if it is at most 1."""

# Dormand and Prince, J. Comp. Appl. Math. 6 (1980), table 2; the last row of STAGES is also the weights of the fifth-order result
NODES = (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
STAGES = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)  # fifth minus fourth order
MIDDLE = (
    6025192743 / 30085553152 / 2, 0.0, 51252292925 / 65400821598 / 2, -2691868925 / 45128329728 / 2,
    187940372067 / 1594534317056 / 2, -1776094331 / 19743644256 / 2, 11237099 / 235043384 / 2,
)  # fmt: skip
"""Weights of the middle of a step, of fourth order (Shampine, Math. Comp. 46, 1986)."""
SAFETY, SHRINK, GROW = 0.9, 0.2, 10.0
FINEST = 8  # roundings: what a tolerance must be at least


def worst_sample(error: Tensor) -> Tensor:
    """The largest root mean square of a row: no sample's error hides behind the others'."""
    return error.flatten(1).square().mean(1).amax().sqrt()


def whole_batch(error: Tensor) -> Tensor:
    """Root mean square over everything: one row of n may be wrong by sqrt(n) tolerances."""
    return error.square().mean().sqrt()


ADAPTIVE = "dopri5"
TITLES = {**{name: fixed.title for name, fixed in FIXED.items()}, ADAPTIVE: "Dormand-Prince"}
NORMS: dict[str, Norm] = {"sample": worst_sample, "batch": whole_batch}


def combine(x: Tensor, slopes: Sequence[Tensor], weights: Sequence[float], h: float) -> Tensor:
    """`x + h sum_i w_i k_i`."""
    for weight, slope in zip(weights, slopes):
        if weight:
            x = torch.add(x, slope, alpha=h * weight)
    return x


def dormand_prince(
    f: Velocity, x: Tensor, start: float, end: float, *, rtol: float = 1e-5, atol: float = 1e-5, norm: Norm = worst_sample,
    max_evaluations: int = 20_000,
) -> Iterator[OdeStep]:  # fmt: skip
    """Accepted steps from start to end, the start itself first; accepted is `norm(error / (atol + rtol max|x|)) <= 1`.

    The last of a step's seven slopes is the first of the next. Raises `SolverError` for a tolerance that cannot be met, values that are
    not finite, and when the evaluations run out.
    """
    check_tolerance(rtol, atol, x.dtype)
    yield OdeStep(x=x, t=start, h=0.0, evaluations=0, last=start == end)
    if start == end:
        return
    t, slope, rejected = start, f(x, start), 0
    if not bool((x.isfinite() & slope.isfinite()).all()):
        raise SolverError(f"The solve cannot begin: values or slopes at t = {t:.4g} are not finite.", "Start elsewhere, or train anew.")
    h, evaluations = _first_step(f, x, slope, start, end, rtol, atol, norm), 2
    while t != end:
        last = abs(h) >= abs(end - t) * (1 - 1e-12)
        h = end - t if last else h
        slopes, x_next = _stages(f, x, slope, t, h)
        evaluations += len(NODES)
        error = _error(x, x_next, slopes, h, rtol, atol, norm)
        taken, accepted = h, error <= 1
        h *= max(SHRINK, min(GROW, SAFETY * max(error, 1e-10) ** -0.2)) if math.isfinite(error) else SHRINK
        if accepted:
            t, x, slope = (end if last else t + taken), x_next, slopes[-1]
            yield OdeStep(
                x=x, t=t, h=taken, evaluations=evaluations, last=last, error=error, rejected=rejected, slopes=slopes
            )
        else:
            rejected += 1
        if t != end:
            _check_going(t, h, error, evaluations, max_evaluations)


def along(f: Velocity, x: Tensor, times: Sequence[float], solver: str, tolerance: float) -> Iterator[OdeStep]:
    """In fixed steps along the times; or, by dopri5, from the first to the last of them in steps that meet the tolerance."""
    if solver == ADAPTIVE:
        return dormand_prince(f, x, times[0], times[-1], rtol=tolerance, atol=tolerance)
    return integrate(f, x, times, solver)


def final(steps: Iterator[OdeStep]) -> OdeStep:
    """The last record of a solve."""
    step = None
    for step in steps:  # noqa: B007  only the last one matters
        pass
    return step


def within(before: Tensor, step: OdeStep, t: float) -> Tensor:
    """x at a time t within a step of `dormand_prince` that began at `before`: off by an order of h^5.

    The quartic through both ends, their slopes and the middle.
    """
    s = 1 - (step.t - t) / step.h
    middle = combine(before, step.slopes, MIDDLE, step.h)
    first, final = step.h * step.slopes[0], step.h * step.slopes[-1]
    a = 2 * (final - first) - 8 * (step.x + before) + 16 * middle
    b = 5 * first - 3 * final + 18 * before + 14 * step.x - 32 * middle
    c = final - 4 * first - 11 * before - 5 * step.x + 16 * middle
    return (((a * s + b) * s + c) * s + first) * s + before


def check_tolerance(rtol: float, atol: float, dtype: torch.dtype) -> None:
    """Raise `SolverError` for tolerances that are not positive, or finer than numbers of that type can tell apart."""
    finest = FINEST * torch.finfo(dtype).eps
    if not (rtol >= 0 and atol >= 0 and rtol + atol >= finest):
        raise SolverError(
            f"A tolerance of {max(rtol, atol):g} is finer than {str(dtype).removeprefix('torch.')} numbers can tell apart.",
            f"Choose {10 * finest:.0e} or more" + (", or compute in float64." if dtype != torch.float64 else "."),
        )


def _stages(f: Velocity, x: Tensor, slope: Tensor, t: float, h: float) -> tuple[tuple[Tensor, ...], Tensor]:
    """The seven slopes of a step and its fifth-order result, at which the seventh is taken."""
    slopes, x_next = [slope], x
    for node, weights in zip(NODES, STAGES):
        x_next = combine(x, slopes, weights, h)
        slopes.append(f(x_next, t + node * h))
    return tuple(slopes), x_next


@torch.no_grad()
def _error(x: Tensor, x_next: Tensor, slopes: Sequence[Tensor], h: float, rtol: float, atol: float, norm: Norm) -> float:
    error = combine(torch.zeros_like(x), slopes, ERROR, h)
    return float(norm(error / (atol + rtol * torch.maximum(x.abs(), x_next.abs()))))


@torch.no_grad()
def _first_step(f: Velocity, x: Tensor, slope: Tensor, start: float, end: float, rtol: float, atol: float, norm: Norm) -> float:
    """A step that changes x by about a hundredth, bounded by how f bends (Hairer, Norsett and Wanner I, section II.4)."""
    scale = atol + rtol * x.abs()
    size, speed = float(norm(x / scale)), float(norm(slope / scale))
    trial = min(1e-6 if size < 1e-5 or speed < 1e-5 else 0.01 * size / speed, abs(end - start))
    sign = 1.0 if end > start else -1.0
    bend = float(norm((f(x + sign * trial * slope, start + sign * trial) - slope) / scale)) / trial
    steepest = max(speed, bend)
    h = (0.01 / steepest) ** 0.2 if steepest > 1e-15 else max(1e-6, trial * 1e-3)
    return sign * min(100 * trial, h, abs(end - start))


def _check_going(t: float, h: float, error: float, evaluations: int, max_evaluations: int) -> None:
    if not abs(h) > 1e-12 * max(1.0, abs(t)):
        if not math.isfinite(error):
            raise SolverError(f"Behind t = {t:.4g} the values are no longer finite.", "The field is too steep there: train on.")
        raise SolverError(
            f"The step fell to {abs(h):.1e} at t = {t:.4g}, and the tolerance is still not met.",
            "Choose a larger tolerance: rounding, or a kink of the field, is in the way.",
        )
    if evaluations >= max_evaluations:
        raise SolverError(
            f"{evaluations} evaluations took the solve only to t = {t:.4g}.", "Choose a larger tolerance or a solver of fixed steps."
        )


# --- divergence: how the density changes along a solution ---


def divergence(f: Velocity, x: Tensor, t: float, *, keep_graph: bool = False) -> tuple[Tensor, Tensor]:
    """f(x, t) (N, D) and its exact divergence (N,), by D vector-Jacobian products; rows of x must not mix in f.

    `keep_graph`: both can be differentiated further; else they are plain numbers.
    """
    with torch.enable_grad():
        x = x if keep_graph and x.requires_grad else x.detach().requires_grad_()
        v = f(x, t)
        rows = [torch.autograd.grad(v[:, d].sum(), x, create_graph=keep_graph, retain_graph=True)[0][:, d] for d in range(x.shape[1])]
        trace = torch.stack(rows).sum(0)
    return (v, trace) if keep_graph else (v.detach(), trace.detach())


def hutchinson(f: Velocity, x: Tensor, t: float, probe: Tensor, *, keep_graph: bool = False) -> tuple[Tensor, Tensor]:
    """f(x, t) and the estimate `e^T J e` (N,) of the divergence from one probe e (N, D) of mean 0 and covariance I.

    Grathwohl et al. 2018 (arXiv 1810.01367), eq. 7. Keep the probe for a whole solve: a new one at every call is another equation.
    """
    with torch.enable_grad():
        x = x if keep_graph and x.requires_grad else x.detach().requires_grad_()
        v = f(x, t)
        product = torch.autograd.grad((v * probe).sum(), x, create_graph=keep_graph)[0]
        trace = (product * probe).sum(1)
    return (v, trace) if keep_graph else (v.detach(), trace.detach())


def with_divergence(f: Velocity) -> Velocity:
    """The velocity of (x, l) as one state (N, D + 1), where l gathers the divergence of f along the way.

    Along a solution log p falls by what l gains (instantaneous change of variables, Chen et al. 2018, arXiv 1806.07366, theorem 1).
    """

    def both(state: Tensor, t: float) -> Tensor:
        v, div = divergence(f, state[:, :-1], t)
        return torch.cat([v, div[:, None]], 1)

    return both
