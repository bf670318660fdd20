"""Minimising `f(x) = x'Ax/2 - b'x` for a symmetric positive definite A, in six ways, step by step.

Gradient `Ax - b`, residual `r = b - Ax`, minimum at `A^-1 b`, and `f(x) - f* = |x - x*|_A^2 / 2`. Steepest descent with exact line search
and with a fixed step, heavy ball (Polyak 1964), conjugate gradients (Hestenes and Stiefel 1952), the same preconditioned with the
diagonal (Jacobi), and Newton, which is there in one step. With condition number k = l_max / l_min:

    steepest   f - f* falls by ((k - 1) / (k + 1))^2 a step at least
    conjugate  |e_m|_A <= 2 ((sqrt k - 1) / (sqrt k + 1))^m |e_0|_A, and nothing is left after n steps

Both follow Nocedal and Wright, Numerical optimization (2006), ch. 3 and 5. float64 throughout: conjugacy is lost early in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

ENOUGH = 1e-12
"""Size of the residual, against |b| or the first residual, at which a descent is done."""
EXPLODED = 1e8
"""Times the first residual: a fixed step or momentum too large."""
SINGULAR = 1e-14
"""Smallest over largest eigenvalue at which A counts as singular in float64."""


class QuadraticError(ValueError):
    """A matrix that has no minimum, or settings under which a descent cannot arrive: one sentence, and what to do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True, kw_only=True)
class DescentStep:
    """Where a descent stands after `index` steps; the first record is the start."""

    index: int
    x: Tensor  # (n,)
    gradient: Tensor  # (n,) at x
    direction: Tensor  # (n,) of the step that led here; zero at the start
    length: float  # its factor: x = x_before + length direction; 0 at the start
    value: float  # f(x)
    excess: float  # f(x) - f*
    says: str
    last: bool


class Quadratic:
    """A (n, n), b (n,). A is made symmetric, `(A + A') / 2`, which f cannot tell from A. QuadraticError unless positive definite."""

    def __init__(self, A: Tensor, b: Tensor) -> None:
        A, b = torch.as_tensor(A, dtype=torch.float64), torch.as_tensor(b, dtype=torch.float64)
        if A.ndim != 2 or A.shape[0] != A.shape[1] or b.shape != A.shape[:1]:
            raise QuadraticError(f"A of shape {tuple(A.shape)} and b of shape {tuple(b.shape)} do not belong together.")
        if not bool(torch.isfinite(A).all() and torch.isfinite(b).all()):
            raise QuadraticError("A or b holds something that is no finite number.", hint="Replace it.")
        self.A, self.b = (A + A.T) / 2, b
        if not bool(torch.isfinite(self.A.abs().sum() ** 2)):
            raise QuadraticError(f"A reaches {float(self.A.abs().max()):.3g}, too much for float64.", hint="Divide A and b by some number.")
        self.spectrum, self.axes = torch.linalg.eigh(self.A)  # rising
        _check_definite(self.spectrum, self.axes, b)
        self.best = torch.linalg.solve(self.A, b)
        self.least = self.value(self.best)

    @classmethod
    def with_spectrum(cls, spectrum: Tensor, angle: float = 0.0, *, seed: int = 0, best: Tensor | None = None) -> Quadratic:
        """The quadratic with these eigenvalues (n,): in the plane turned by `angle` (radians), else by a random rotation."""
        values = torch.as_tensor(spectrum, dtype=torch.float64)
        turn = rotation(len(values), angle, seed)
        A = turn @ torch.diag(values) @ turn.T
        return cls(A, torch.zeros(len(values), dtype=torch.float64) if best is None else A @ best.double())

    @property
    def condition(self) -> float:
        """k, the largest eigenvalue over the smallest."""
        return float(self.spectrum[-1] / self.spectrum[0])

    def value(self, x: Tensor) -> float:
        """f(x)."""
        return float(0.5 * x @ self.A @ x - self.b @ x)

    def excess(self, x: Tensor) -> float:
        """f(x) - f*, as `|x - x*|_A^2 / 2`, which does not cancel near the minimum."""
        e = x - self.best
        return float(0.5 * e @ self.A @ e)

    def gradient(self, x: Tensor) -> Tensor:
        """Ax - b, (n,)."""
        return self.A @ x - self.b


def rotation(n: int, angle: float, seed: int) -> Tensor:
    """Axes as columns, (n, n): in the plane turned by `angle` (radians), else random ones of the seed."""
    if n == 2:
        return torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=torch.float64)
    return torch.linalg.qr(torch.randn(n, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)).Q


def falling(axes: Tensor, b: Tensor) -> Tensor:
    """The axis of the smallest eigenvalue (n,), pointing the way f falls along it by `b'x` where A does not bend it."""
    return axes[:, 0] if float(b @ axes[:, 0]) >= 0 else -axes[:, 0]


def _check_definite(spectrum: Tensor, axes: Tensor, b: Tensor) -> None:
    low, high = float(spectrum[0]), float(spectrum.abs().max())
    if low > SINGULAR * high:
        return
    downhill = falling(axes, b)
    along = ", ".join(f"{value + 0.0:.3g}" for value in downhill.tolist()[:6]) + (", …" if len(downhill) > 6 else "")
    if low < -SINGULAR * high:
        said = f"A is not positive definite: its eigenvalue {low:.3g} lets f fall without end along ({along})."
        raise QuadraticError(said, hint="Make all eigenvalues positive.")
    if low > 0:
        said = f"The eigenvalues {low:.3g} and {high:.3g} lie too far apart for float64: along ({along}) A counts as flat."
        raise QuadraticError(said, hint=f"Keep the largest within {1 / SINGULAR:.0e} times the smallest.")
    falls = abs(float(b @ downhill)) > 1e-12 * float(b.norm() + 1e-300)
    what = f"f falls without end along ({along})" if falls else f"f has a whole line of minima along ({along})"
    raise QuadraticError(f"A is singular: {what}.", hint="Make all eigenvalues positive.")


# --- the six ways; each yields the start first ---


def steepest(problem: Quadratic, x: Tensor, steps: int) -> Iterator[DescentStep]:
    """Along the residual to the lowest point on that line: `a = r'r / r'Ar`, `x += a r`. Successive gradients are orthogonal."""

    def rule(x: Tensor, r: Tensor, before: Move) -> Move:
        size, bend = float(r @ r), float(r @ problem.A @ r)
        return Move(r, size / bend, f"a = r'r / r'Ar = {size:.4g} / {bend:.4g} = {size / bend:.4g},  x += a r")

    return _descend(problem, x, steps, rule)


def fixed(problem: Quadratic, x: Tensor, steps: int, length: float) -> Iterator[DescentStep]:
    """`x += a r` with the same a always; it arrives for 0 < a < 2 / l_max and is fastest at 2 / (l_min + l_max)."""
    hint = f"A fixed step must be below 2 / l_max = {2 / float(problem.spectrum[-1]):.4g}."
    return _descend(problem, x, steps, lambda x, r, before: Move(r, length, f"x += a r,  a = {length:.4g}"), hint)


def heavy_ball(
    problem: Quadratic, x: Tensor, steps: int, length: float | None = None, momentum: float | None = None
) -> Iterator[DescentStep]:
    """`x += a r + m (x - x_before)`; by default Polyak's `a = (2 / (sqrt l + sqrt L))^2`, `m = ((sqrt k - 1) / (sqrt k + 1))^2`.

    It arrives for 0 <= m < 1 and 0 < a < 2 (1 + m) / l_max.
    """
    low, high = problem.spectrum[0].sqrt().item(), problem.spectrum[-1].sqrt().item()
    a = (2 / (low + high)) ** 2 if length is None else length
    m = ((high - low) / (high + low)) ** 2 if momentum is None else momentum
    words = f"x += a r + m (x − x before),  a = {a:.4g}, m = {m:.4g}"

    def rule(x: Tensor, r: Tensor, before: Move) -> Move:
        return Move(r * a + m * before.length * before.direction, 1.0, words)

    hint = f"With momentum {m:.4g} the step must be below 2 (1 + m) / l_max = {2 * (1 + m) / float(problem.spectrum[-1]):.4g}."
    return _descend(problem, x, steps, rule, hint)


def newton(problem: Quadratic, x: Tensor, steps: int = 1) -> Iterator[DescentStep]:
    """`x += A^-1 r`: the minimum in one step, at the price of a linear solve."""
    return _descend(problem, x, steps, lambda x, r, before: Move(torch.linalg.solve(problem.A, r), 1.0, "A d = r,  x += d"))


def conjugate(
    problem: Quadratic, x: Tensor, steps: int, inverse: Callable[[Tensor], Tensor] | None = None, *, repair: bool = False
) -> Iterator[DescentStep]:
    """Conjugate gradients: `p = r`; `a = r'z / p'Ap`; `x += a p`; `s = r - a A p`; `p = z_s + (s'z_s / r'z) p`, with `z = M^-1 r`.

    `inverse` applies M^-1; without it z = r. Directions are A-conjugate, residuals orthogonal (M^-1-orthogonal if preconditioned).
    Rounding destroys that when eigenvalues are spread widely, and the end after n steps with it; `repair` takes from every residual what
    it has in common with all before, and so keeps the promise. QuadraticError if a direction of no curvature is met.
    """
    invert = inverse or (lambda r: r)
    x = x.double()
    r = problem.b - problem.A @ x
    z = invert(r)
    p, size = z, r @ z
    enough = ENOUGH * max(float(problem.b.norm()), float(r.norm()), 1e-300)
    yield _record(problem, 0, x, torch.zeros_like(x), 0.0, "", steps == 0 or float(r.norm()) <= enough)
    before = [(r, z / size)]
    for index in range(1, steps + 1):
        if float(r.norm()) <= enough:
            return
        Ap = problem.A @ p
        curvature = float(p @ Ap)
        if not curvature > 0:
            said = f"The direction of step {index} has no upward curvature: p'Ap = {curvature:.3g}."
            raise QuadraticError(said, hint="A must be positive definite.")
        a = float(size) / curvature
        x, s = x + a * p, r - a * Ap
        for old, weight in before * 2 if repair else ():  # twice is enough (Parlett 1980)
            s = s - old * (weight @ s)
        z_next = invert(s)
        grown = s @ z_next
        done = index == steps or float(s.norm()) <= enough
        beta = float(grown / size)
        says = f"a = r'z / p'Ap = {float(size):.4g} / {curvature:.4g} = {a:.4g},  x += a p,  beta = {beta:.4g}"
        yield _record(problem, index, x, p, a, says, done)
        p, r, size = z_next + beta * p, s, grown
        if repair and not done:
            before.append((s, z_next / grown))


def jacobi(problem: Quadratic, x: Tensor, steps: int, *, repair: bool = False) -> Iterator[DescentStep]:
    """Conjugate gradients preconditioned with the diagonal of A."""
    diagonal = problem.A.diagonal()
    return conjugate(problem, x, steps, lambda r: r / diagonal, repair=repair)


def scaled_condition(problem: Quadratic) -> float:
    """The condition number that counts for `jacobi`: of `D^-1/2 A D^-1/2`, D the diagonal of A."""
    root = problem.A.diagonal().rsqrt()
    values = torch.linalg.eigvalsh(root[:, None] * problem.A * root)
    return float(values[-1] / values[0])


class Move(NamedTuple):
    """`x += length direction`, and the formula with its numbers."""

    direction: Tensor
    length: float
    says: str


def _descend(
    problem: Quadratic, x: Tensor, steps: int, rule: Callable[[Tensor, Tensor, Move], Move], hint: str = ""
) -> Iterator[DescentStep]:
    """Moves of `rule(x, r, move before)` until the residual is nothing; told, with a hint, when it grows without end instead."""
    x = x.double()
    r = problem.b - problem.A @ x
    first = float(r.norm())
    enough = ENOUGH * max(float(problem.b.norm()), first, 1e-300)
    move = Move(torch.zeros_like(x), 0.0, "")
    yield _record(problem, 0, x, *move, steps == 0 or first <= enough)
    for index in range(1, steps + 1):
        if float(r.norm()) <= enough:
            return
        move = rule(x, r, move)
        x = x + move.length * move.direction
        r = problem.b - problem.A @ x
        if not float(r.norm()) <= EXPLODED * max(first, 1e-300):
            raise QuadraticError(f"The descent runs away at step {index}.", hint)
        yield _record(problem, index, x, *move, index == steps or float(r.norm()) <= enough)


def _record(problem: Quadratic, index: int, x: Tensor, direction: Tensor, length: float, says: str, last: bool) -> DescentStep:
    return DescentStep(
        index=index, x=x, gradient=problem.gradient(x), direction=direction, length=length, value=problem.value(x),
        excess=problem.excess(x), says=says, last=last,
    )  # fmt: skip


# --- what is promised ---


def steepest_bound(condition: float, m: int) -> float:
    """`(f_m - f*) / (f_0 - f*)` is at most this for steepest descent: `((k - 1) / (k + 1))^(2 m)`."""
    return ((condition - 1) / (condition + 1)) ** (2 * m)


def conjugate_bound(condition: float, m: int) -> float:
    """`|e_m|_A / |e_0|_A` is at most this for conjugate gradients: `2 ((sqrt k - 1) / (sqrt k + 1))^m`, or 1 where that is less."""
    root = math.sqrt(condition)
    return min(1.0, 2 * ((root - 1) / (root + 1)) ** m)


def worst_start(problem: Quadratic) -> Tensor:
    """A start from which steepest descent attains its bound: `x* + v_min / l_min + v_max / l_max`, for ever zig-zagging between the two."""
    return problem.best + problem.axes[:, 0] / problem.spectrum[0] + problem.axes[:, -1] / problem.spectrum[-1]


DESCENTS = {
    "steepest": ("Steepest descent, exact line search", steepest),
    "fixed": ("Steepest descent, fixed step", fixed),
    "heavy-ball": ("Heavy ball", heavy_ball),
    "conjugate": ("Conjugate gradients", conjugate),
    "jacobi": ("Conjugate gradients, preconditioned with the diagonal", jacobi),
    "newton": ("Newton", newton),
}
"""Name -> title, function (problem, x, steps, …)."""
