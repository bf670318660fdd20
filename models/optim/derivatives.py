"""Directional derivative, partial derivatives, gradient, tangent plane of a function of two variables.

`D_u f(p) = lim_{h -> 0+} (f(p + h u) - f(p)) / h`, |u| = 1. Where f is differentiable it is `grad f . u = |grad f| cos(angle)`: at most
|grad f|, along the gradient; 0 along the level curve. Where f is not, `grad f . u` says nothing, so every answer here asks first: the
limits along many directions are compared with the best linear function of u. Exact answers are sympy's, in rational numbers and roots.
Read next: `formula.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import sympy
import torch
from torch import Tensor

from models.optim.formula import Formula, FormulaError, X, Y, rational

STEP = 1e-5  # of a central difference in float64: rounding and curvature cost about the same
SHRINKING = (1e-3, 1e-4, 1e-5)  # steps whose quotients must come to rest
DIRECTIONS = 32
RESTLESS = 2e-3  # relative difference of quotients, or from a linear function of u, that means: not differentiable

Point = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Exact:
    """The same in rational numbers and roots, where sympy finds it."""

    value: sympy.Expr
    gradient: tuple[sympy.Expr, sympy.Expr]
    unit: tuple[sympy.Expr, sympy.Expr]
    directional: sympy.Expr
    steepest: sympy.Expr


@dataclass(frozen=True, kw_only=True)
class Derivatives:
    """What there is to know at a point p along a unit direction u; angles in radians."""

    point: Point
    unit: Point
    value: float
    differentiable: bool
    gradient: Point | None  # None where f is not differentiable
    directional: float | None  # the one-sided limit along u; None if the quotients do not come to rest
    steepest: float | None  # |grad f|
    angle: float | None  # from the gradient to u, 0 to pi; None where the gradient is missing or zero
    exact: Exact | None
    partials: tuple[str, str]  # the formulas of df/dx and df/dy

    def plane(self, x: Tensor, y: Tensor) -> Tensor:
        """The tangent plane `f(p) + grad f . (x - p)`; FormulaError where there is none."""
        if self.gradient is None:
            raise FormulaError("There is no tangent plane here: the function is not differentiable at this point.", "Move the point.")
        return self.value + self.gradient[0] * (x - self.point[0]) + self.gradient[1] * (y - self.point[1])


def unit(direction: Sequence[float]) -> Point:
    """The direction at length 1; FormulaError for the zero vector and for what is no number."""
    a, b = (float(part) for part in direction)
    length = math.hypot(a, b)
    if not (math.isfinite(length) and length > 0):
        raise FormulaError(f"({a:g}, {b:g}) is no direction.", "Give a vector that is not zero.")
    return a / length, b / length


def gradient(formula: Formula, points: Tensor) -> Tensor:
    """grad f by autograd at points (N, 2) -> (N, 2), in float64."""
    with torch.enable_grad():
        p = points.detach().double().requires_grad_()
        value = formula(p[:, 0], p[:, 1])
        return torch.autograd.grad(value.sum(), p)[0] if value.requires_grad else torch.zeros_like(p)


def central(formula: Formula, points: Tensor, direction: Point, h: float = STEP) -> Tensor:
    """`(f(p + h u) - f(p - h u)) / 2h` at points (N, 2) -> (N,); blind to kinks, across which it averages."""
    p, u = points.double(), torch.tensor(unit(direction), dtype=torch.float64)
    ahead, behind = p + h * u, p - h * u
    return (formula(ahead[:, 0], ahead[:, 1]) - formula(behind[:, 0], behind[:, 1])) / (2 * h)


def quotients(formula: Formula, point: Point, directions: Tensor, steps: Sequence[float] = SHRINKING) -> Tensor:
    """`(f(p + h u) - f(p)) / h` for unit directions (K, 2) and each h > 0: (len(steps), K)."""
    h = torch.tensor(steps, dtype=torch.float64)[:, None]
    p, u = torch.tensor(point, dtype=torch.float64), directions.double()
    value = formula(p[0], p[1])
    return (formula(p[0] + h * u[:, 0], p[1] + h * u[:, 1]) - value) / h


def limits(formula: Formula, point: Point, directions: Tensor) -> Tensor:
    """One-sided directional derivatives (K,); nan where the quotients do not come to rest.

    Two steps h and h/10 leave errors of order h, so `(10 q(h/10) - q(h)) / 9` is better than either (Richardson).
    """
    q = quotients(formula, point, directions)
    better = (10 * q[1:] - q[:-1]) / 9
    change = (better[1] - better[0]).abs()
    return torch.where(change <= RESTLESS * (1 + better[1].abs()), better[1], torch.nan)


def fan(count: int = DIRECTIONS) -> Tensor:
    """Unit directions all around, (count, 2); none along an axis, where many functions behave too well."""
    angle = 2 * math.pi * (torch.arange(count, dtype=torch.float64) + 0.3) / count
    return torch.stack([angle.cos(), angle.sin()], 1)


def differentiable(formula: Formula, point: Point) -> bool:
    """Whether the limits along many directions are a linear function of u and fit f nearby; a test by numbers, not a proof."""
    u = fan()
    slopes = limits(formula, point, u)
    if not bool(slopes.isfinite().all()):
        return False
    g = torch.linalg.lstsq(u, slopes[:, None]).solution[:, 0]
    return bool(((u @ g) - slopes).abs().max() <= RESTLESS * (1 + slopes.abs().max()))


def examine(formula: Formula, point: Sequence[float | str], direction: Sequence[float | str]) -> Derivatives:
    """Everything at p along u; points and directions may be written exactly, as "1/3"."""
    p_exact, d_exact = tuple(rational(part) for part in point), tuple(rational(part) for part in direction)
    p, u = tuple(float(part) for part in p_exact), unit([float(part) for part in d_exact])
    value, smooth = formula.at(*p), differentiable(formula, p)
    along = limits(formula, p, torch.tensor([u], dtype=torch.float64))[0].item()
    df = tuple(sympy.diff(formula.exact, symbol) for symbol in (X, Y))
    g = tuple(gradient(formula, torch.tensor([p]))[0].tolist()) if smooth else None
    steepest = math.hypot(*g) if g else None
    directional = g[0] * u[0] + g[1] * u[1] if g else (along if math.isfinite(along) else None)
    angle = math.acos(max(-1.0, min(1.0, directional / steepest))) if steepest else None
    return Derivatives(
        point=p, unit=u, value=value, differentiable=smooth, gradient=g, directional=directional, steepest=steepest, angle=angle,
        exact=_exactly(formula, df, p_exact, d_exact) if smooth else None, partials=(str(df[0]), str(df[1])),
    )  # fmt: skip


def _exactly(formula: Formula, df: tuple[sympy.Expr, sympy.Expr], point, direction) -> Exact | None:
    at = {X: point[0], Y: point[1]}
    values = [expression.subs(at) for expression in (formula.exact, *df)]
    if any(value.has(sympy.nan, sympy.zoo, sympy.oo, sympy.Derivative) or not value.is_number for value in values):
        return None
    value, *slopes = values
    length = sympy.sqrt(direction[0] ** 2 + direction[1] ** 2)
    u = (direction[0] / length, direction[1] / length)
    directional = sympy.expand(slopes[0] * u[0] + slopes[1] * u[1])
    steepest = sympy.sqrt(slopes[0] ** 2 + slopes[1] ** 2)
    return Exact(value=value, gradient=tuple(slopes), unit=u, directional=directional, steepest=steepest)


def worked(formula: Formula, found: Derivatives) -> tuple[str, ...]:
    """The solution line by line, as one would write it down."""
    (a, b), e = found.point, found.exact
    lines = [f"f(x, y) = {formula.text}", f"df/dx = {found.partials[0]},  df/dy = {found.partials[1]}"]
    if e is None:
        told = "which does not exist" if found.directional is None else f"{found.directional:.6g}"
        why = f"at ({a:g}, {b:g}) f is not differentiable, so no gradient helps: " if not found.differentiable else ""
        return (*lines, f"{why}D_u f = lim (f(p + hu) - f(p))/h = {told}")
    gx, gy = e.gradient
    return (
        *lines,
        f"grad f({a:g}, {b:g}) = ({gx}, {gy})",
        f"u = ({e.unit[0]}, {e.unit[1]}),  |u| = 1",
        f"D_u f = grad f . u = {e.directional} = {float(e.directional):.6g}",
        f"at most |grad f| = {e.steepest} = {float(e.steepest):.6g}"
        + ("" if found.angle is None else f";  angle to the gradient {math.degrees(found.angle):.2f} degrees"),
    )


def level_curve(formula: Formula, point: Point, length: float, steps: int) -> Tensor:
    """Points (steps + 1, 2) along the curve f = f(p), begun at p: RK4 across the gradient, then a Newton step back onto the level."""
    level, h = formula.at(*point), length / steps
    p = torch.tensor([point], dtype=torch.float64)
    curve = [p]

    def across(q: Tensor) -> Tensor:
        g = gradient(formula, q)
        return torch.stack([-g[:, 1], g[:, 0]], 1) / g.norm(dim=1, keepdim=True)

    for _ in range(steps):
        a = across(p)
        b = across(p + h / 2 * a)
        c = across(p + h / 2 * b)
        p = p + h / 6 * (a + 2 * b + 2 * c + across(p + h * c))
        g = gradient(formula, p)
        p = p - (formula(p[:, 0], p[:, 1]) - level)[:, None] * g / g.square().sum(1, keepdim=True)
        if not bool(p.isfinite().all()):
            raise FormulaError("The level curve ends here: the gradient vanishes on it.", "Begin elsewhere, or trace a shorter piece.")
        curve.append(p)
    return torch.cat(curve)
