"""Directional derivative, partial derivatives, gradient, tangent plane of a function of two variables.

`D_u f(p) = lim_{h -> 0+} (f(p + h u) - f(p)) / h`, |u| = 1. Where f is differentiable it is `grad f . u = |grad f| cos(angle)`: at most
|grad f|, along the gradient; 0 along the level curve. Where f is not, `grad f . u` says nothing, so every answer here asks first: the
formula itself, where it is put together from smooth functions, else the limits along many directions, which must be a linear function of
u. Exact answers are sympy's, in rational numbers and roots.
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
SHRINKING = (1e-3, 1e-4, 1e-5)  # steps whose quotients must come to rest, in units of the point's size (at least 1)
FINER = 1e-2  # where they do not, steps so many times as small are asked
DIRECTIONS = 32
RESTLESS = 2e-3  # relative difference of quotients, or from a linear function of u, that means: not differentiable
MOST_BITS = 3_000  # of a number in an exact answer: beyond, exact arithmetic takes long, and nobody reads it
LONGEST_EXACT = 60  # characters of an exact answer that still tells something

Point = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Exact:
    """The same in rational numbers and roots, where sympy finds it."""

    point: tuple[sympy.Expr, sympy.Expr]
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


def central(formula: Formula, points: Tensor, direction: Point, h: float | Tensor = STEP) -> Tensor:
    """`(f(p + h u) - f(p - h u)) / 2h` at points (N, 2), h one or (N,) -> (N,); blind to kinks, across which it averages."""
    p, u, h = points.double(), torch.tensor(unit(direction), dtype=torch.float64), torch.as_tensor(h, dtype=torch.float64)
    ahead, behind = p + h[..., None] * u, p - h[..., None] * u
    return (formula(ahead[:, 0], ahead[:, 1]) - formula(behind[:, 0], behind[:, 1])) / (2 * h)


def quotients(formula: Formula, point: Point, directions: Tensor, steps: Sequence[float] = SHRINKING) -> Tensor:
    """`(f(p + h u) - f(p)) / h` for unit directions (K, 2) and each h > 0: (len(steps), K)."""
    h = torch.tensor(steps, dtype=torch.float64)[:, None]
    p, u = torch.tensor(point, dtype=torch.float64), directions.double()
    value = formula(p[0], p[1])
    return (formula(p[0] + h * u[:, 0], p[1] + h * u[:, 1]) - value) / h


def limits(formula: Formula, point: Point, directions: Tensor) -> Tensor:
    """One-sided directional derivatives (K,); nan where the quotients do not come to rest."""
    scale = max(1.0, *map(abs, point))
    coarse, fine = (_settled(quotients(formula, point, directions, [h * scale * unit for h in SHRINKING])) for unit in (1.0, FINER))
    return torch.where(coarse.isfinite(), coarse, fine)


def _settled(q: Tensor) -> Tensor:
    """What quotients (3, K) of steps h, h/10, h/100 tend to; nan where they do not come to rest.

    Two steps h and h/10 leave errors of order h, so `(10 q(h/10) - q(h)) / 9` is better than either (Richardson).
    """
    better = (10 * q[1:] - q[:-1]) / 9
    change = (better[1] - better[0]).abs()
    return torch.where(change <= RESTLESS * (1 + better[1].abs()), better[1], torch.nan)


def fan(count: int = DIRECTIONS) -> Tensor:
    """Unit directions all around, (count, 2); none along an axis, where many functions behave too well."""
    angle = 2 * math.pi * (torch.arange(count, dtype=torch.float64) + 0.3) / count
    return torch.stack([angle.cos(), angle.sin()], 1)


def differentiable(formula: Formula, point: Point) -> bool:
    """Whether f is smooth by its form, or the limits along many directions are a linear function of u: a test by numbers, not a proof."""
    return formula.smooth_at(*point) or _fitted(formula, point) is not None


def _fitted(formula: Formula, point: Point) -> Point | None:
    """The vector g of which the limits are g . u; None where there is none."""
    u = fan()
    slopes = limits(formula, point, u)
    if not bool(slopes.isfinite().all()):
        return None
    g = torch.linalg.lstsq(u, slopes[:, None]).solution[:, 0]
    return tuple(g.tolist()) if bool(((u @ g) - slopes).abs().max() <= RESTLESS * (1 + slopes.abs().max())) else None


def _gradient_at(formula: Formula, p: Point) -> Point | None:
    """grad f by autograd; where it has none although f is differentiable (sqrt(x^4 + y^4) at 0) by limits; None if f is not."""
    if not differentiable(formula, p):
        return None
    found = tuple(gradient(formula, torch.tensor([p], dtype=torch.float64))[0].tolist())
    found = found if all(map(math.isfinite, found)) else _fitted(formula, p)
    if found is None:
        raise FormulaError(f"{formula.text} rises without bound at ({p[0]:g}, {p[1]:g}).", "Choose another point.")
    return found


def examine(formula: Formula, point: Sequence[float | str], direction: Sequence[float | str]) -> Derivatives:
    """Everything at p along u; points and directions may be written exactly, as "1/3"."""
    p_exact, d_exact = tuple(rational(part) for part in point), tuple(rational(part) for part in direction)
    p, u = tuple(float(part) for part in p_exact), unit([float(part) for part in d_exact])
    value, g = formula.at(*p), _gradient_at(formula, p)
    df = tuple(sympy.diff(formula.exact, symbol) for symbol in (X, Y))
    steepest = math.hypot(*g) if g else None
    along = limits(formula, p, torch.tensor([u], dtype=torch.float64))[0].item()
    directional = g[0] * u[0] + g[1] * u[1] if g else (along if math.isfinite(along) else None)
    angle = math.acos(max(-1.0, min(1.0, directional / steepest))) if steepest else None
    exact = _exactly(formula, df, p_exact, d_exact) if g and formula.bits(*p_exact) <= MOST_BITS else None
    return Derivatives(
        point=p, unit=u, value=value, differentiable=g is not None, gradient=g, directional=directional, steepest=steepest, angle=angle,
        exact=exact, partials=tuple(map(written, df)),
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
    if any(len(written(one)) > LONGEST_EXACT for one in (value, *slopes, directional, steepest)):
        return None
    return Exact(point=point, value=value, gradient=tuple(slopes), unit=u, directional=directional, steepest=steepest)


def written(expression: sympy.Expr) -> str:
    """An expression as one types it, with ^ for powers."""
    return str(expression).replace("**", "^")


def worked(formula: Formula, found: Derivatives) -> tuple[str, ...]:
    """The solution line by line, as one would write it down: exactly where that can be written, else in decimals."""
    e, parts = found.exact, [part if len(part) <= 2 * LONGEST_EXACT else f"{part[: 2 * LONGEST_EXACT]}…" for part in found.partials]
    a, b = map(written, e.point) if e else (f"{part:g}" for part in found.point)
    lines = [f"f(x, y) = {formula.text}", f"df/dx = {parts[0]},  df/dy = {parts[1]}"]
    if found.gradient is None:
        told = "which does not exist" if found.directional is None else f"{found.directional:.6g}"
        why = f"at ({a}, {b}) f is not differentiable, so no gradient helps: "
        return (*lines, f"{why}D_u f = lim (f(p + hu) - f(p))/h = {told}")
    decimals = (*found.gradient, *found.unit, found.directional, found.steepest)
    gx, gy, ux, uy, slope, steepest = (f"{value + 0.0:.6g}" for value in decimals)
    if e:
        gx, gy, ux, uy = map(written, (*e.gradient, *e.unit))
        pairs = ((written(e.directional), slope), (written(e.steepest), steepest))
        slope, steepest = (exact if exact == number else f"{exact} = {number}" for exact, number in pairs)
    turned = "" if found.angle is None else f";  angle to the gradient {math.degrees(found.angle):.2f} degrees"
    return (
        *lines, f"grad f({a}, {b}) = ({gx}, {gy})", f"u = ({ux}, {uy}),  |u| = 1", f"D_u f = grad f . u = {slope}",
        f"at most |grad f| = {steepest}{turned}",
    )  # fmt: skip


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
