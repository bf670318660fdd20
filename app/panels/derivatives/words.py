"""What the panel says about slopes: what each function of the gallery shows, the formulas with their numbers, the rows of the inspector."""

from __future__ import annotations

import math

import numpy as np

from app.protocol.derivatives import Rise, Surface
from app.widgets.fact_rows import Row

EQUATION = "D_u f(p) = lim (f(p + h u) − f(p)) / h,   = ∇f · u where f is smooth"
WATCH = (
    "Turn u: the slope is largest along the gradient and nothing along the level curve, to which the gradient stands at a right angle. "
    "Step on and h shrinks: the secant becomes the tangent, if there is one, until rounding eats the difference."
)
SHOWS = {
    "Bowl": "The worked example: at (1, 2) along (3, 4) the slope is 22/5.",
    "Product": "At (0, 0) the gradient vanishes, and f rises one way and falls the other: a saddle.",
    "Saddle": "Level curves cross where the gradient vanishes; move the point there.",
    "Waves": "Hills and hollows: on each top and bottom every slope is 0.",
    "Rosenbrock": "A bent valley: beside it the gradient points across, hardly ever along it.",
    "Hill": "The gradient points to the top and shrinks far away, where the hill is flat.",
    "Roof": "A kink at (0, 0): every direction has a slope, D_u f is no cosine, and there is no gradient.",
    "Cone": "At the tip the slope is 1 in every direction, so no gradient can give it.",
    "Ridge": "At (0, 0) every direction has a slope, u₁² / u₂ or 0, and yet f is not even continuous there.",
}
"""Function of the gallery -> what it is there for."""


def figure(value: float) -> str:
    """Six figures, a true minus."""
    return f"{value + 0.0:.6g}".replace("-", "−")


def pair(values: tuple[float, float]) -> str:
    """(a, b)."""
    return f"({figure(values[0])}, {figure(values[1])})"


def note(land: Surface) -> str:
    """What the picture of the surface leaves out."""
    open_share = 1 - np.isfinite(land.values).mean()
    parts = []
    if land.cut:
        parts.append(f"f has a pole in view: heights beyond {figure3(land.cut[0])} and {figure3(land.cut[1])} are cut")
    if open_share:
        parts.append(f"no value on {max(open_share, 0.001):.1%} of the square")
    return "; ".join(parts)


def figure3(value: float) -> str:
    """Three figures."""
    return f"{value + 0.0:.3g}".replace("-", "−")


def formulas(rise: Rise, number: int) -> str:
    """The quotient of one h and the product with the gradient, with their numbers."""
    h, slope = rise.secant_step[number], rise.secant_slope[number]
    ahead = rise.value + h * slope
    lines = [EQUATION, f"(f(p + h u) − f(p)) / h = ({figure(ahead)} − {figure(rise.value)}) / {h:.2g} = {figure(slope)}"]
    if rise.gradient is not None:
        products = " + ".join(f"{figure(g)} · {figure(u)}" for g, u in zip(rise.gradient, rise.unit))
        lines.append(f"∇f · u = {products} = {figure(rise.directional)}")
    return "\n".join(lines)


def rows_of(rise: Rise, number: int) -> list[Row]:
    """Numbers of the inspector."""
    rows: list[Row] = [("p", pair(rise.point)), ("f(p)", figure(rise.value)), ("u", pair(rise.unit), "The direction at length 1")]
    slope = "does not exist" if rise.directional is None else figure(rise.directional)
    rows.append(("D_u f", f"{slope}  = {rise.exact}" if rise.exact and rise.exact != slope else slope))
    if rise.gradient is None:
        rows.append(("∇f", "none: f is not differentiable here"))
    else:
        rows.append(("∇f", pair(rise.gradient), "The partial derivatives"))
        rows.append(("|∇f|", figure(rise.steepest), "The largest slope of all directions"))
    if rise.angle is not None:
        rows.append(("Angle to ∇f", f"{math.degrees(rise.angle):.2f}°", "D_u f = |∇f| cos of it"))
    central = (figure(rise.secant_central[number]), "(f(p + h u) − f(p − h u)) / 2h errs like h², and averages across a kink")
    return [*rows, ("h", f"{rise.secant_step[number]:.2g}"), ("Secant", figure(rise.secant_slope[number])), ("Central", *central)]
