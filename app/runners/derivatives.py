"""Runner of the derivative lab; all mathematics is that of `models/optim/derivatives.py`."""

from __future__ import annotations

import math
from collections.abc import Generator

import numpy as np
import torch
from torch import Tensor

from app.jobs.derivatives import GALLERY, Gradient
from app.protocol.derivatives import Rise, Surface
from app.protocol.errors import UserError
from app.protocol.events import Event, Record
from app.protocol.payloads import Curve, Result
from app.worker.context import Ctx
from models.optim import derivatives as maths
from models.optim.formula import HOLES, Formula, FormulaError, parse

SLICE, AROUND, LEVEL_STEPS = 201, 360, 400
SECANTS = tuple(float(h) for h in np.geomspace(1.0, 1e-15, 31))
"""Down to where rounding has eaten the difference."""
LOOKS, POLE = 3, 20.0
"""Looks from ever nearer at the farthest height; one that grows so many times meanwhile stands beside a pole."""
FENCE = 3.0
"""Quartile ranges beyond the quartiles at which heights beside a pole are cut (Tukey 1977: far out)."""

Run = Generator[Event, None, Result]


def gradient(job: Gradient, ctx: Ctx) -> Run:
    """The surface first, then all about the point."""
    try:
        formula = opened(job.function)
        found = maths.examine(formula, job.point, job.direction)
        middle = in_view(found.point, job)
        if job.side:
            yield Record(channel="surface", payload=surface(formula, middle, job))
        rise = risen(formula, found, middle, job)
    except FormulaError as error:
        raise UserError(error.message, hint=error.hint) from error
    yield Record(channel="rise", payload=rise)
    exact = found.exact
    facts = {
        "value": found.value, "directional": found.directional, "exact": rise.exact, "unit": found.unit, "gradient": found.gradient,
        "steepest": found.steepest, "angle_degrees": None if found.angle is None else math.degrees(found.angle),
        "differentiable": found.differentiable, "partials": found.partials, "worked": "\n".join(rise.worked),
        "exact_steepest": "" if exact is None else maths.written(exact.steepest),
    }  # fmt: skip
    along = Curve(rise.slice_at, rise.slice_height, x_label="t", y_label="f(p + t u)", label=job.function)
    return Result(files={"rise.csv": along, "worked.txt": "\n".join(rise.worked) + "\n"}, facts=facts)


def opened(text: str) -> Formula:
    """The formula of a text; one of the gallery has its hole filled."""
    wanted = text.replace(" ", "")
    name = next((name.lower() for name, known in GALLERY.items() if known.replace(" ", "") == wanted), "")
    return parse(text, HOLES.get(name))


def in_view(point: tuple[float, float], job: Gradient) -> tuple[float, float]:
    """The middle of the square: as asked for, if the point lies in it."""
    asked = job.centre or point
    return tuple(asked) if max(abs(a - b) for a, b in zip(asked, point)) <= job.reach else point


def surface(formula: Formula, centre: tuple[float, float], job: Gradient) -> Surface:
    """f over the square."""
    places = ((torch.arange(job.side, dtype=torch.float64) + 0.5) / job.side * 2 - 1) * job.reach
    x, y = (places + middle for middle in centre)
    values = heights(formula, x, y)
    held = torch.where(values.isfinite(), values, torch.nan).numpy()
    return Surface(held, centre, job.reach, job.function, cut=fence(values) if has_pole(formula, x, y) else None)


def heights(formula: Formula, x: Tensor, y: Tensor) -> Tensor:
    """f over the grid of places x (n,) and y (n,): (n, n), rows along y."""
    return formula(*torch.meshgrid(x, y, indexing="xy"))


def has_pole(formula: Formula, x: Tensor, y: Tensor) -> bool:
    """Whether the farthest height over a grid has none farther that is finite: seen from nearer and nearer it goes on growing."""
    found = []
    for _ in range(LOOKS + 1):
        values = heights(formula, x, y).abs()
        if values.isinf().any():
            return True
        best = int(values.nan_to_num(-1.0).argmax())
        found.append(float(values.flatten()[best]))
        x, y = (closer(places, at) for places, at in ((x, best % len(x)), (y, best // len(x))))
    return found[-1] > POLE * found[0]


def closer(places: Tensor, at: int) -> Tensor:
    """As many places between the neighbours of one."""
    low, high = places[max(at - 1, 0)], places[min(at + 1, len(places) - 1)]
    return torch.linspace(float(low), float(high), len(places), dtype=torch.float64)


def fence(values: Tensor) -> tuple[float, float]:
    """Between which heights to look beside a pole."""
    known = values[values.isfinite()]
    low, high = torch.quantile(known[:: max(1, len(known) // 10_000)], torch.tensor([0.25, 0.75], dtype=torch.float64)).tolist()
    beyond = FENCE * (high - low)
    return max(low - beyond, float(known.min())), min(high + beyond, float(known.max()))


def risen(formula: Formula, found: maths.Derivatives, centre: tuple[float, float], job: Gradient) -> Rise:
    """The slice, the turn, the secants and the level curve."""
    p, u = torch.tensor(found.point, dtype=torch.float64), torch.tensor(found.unit, dtype=torch.float64)
    t = torch.linspace(-job.reach, job.reach, SLICE, dtype=torch.float64)
    turn = 2 * math.pi * torch.arange(AROUND, dtype=torch.float64) / AROUND
    directions = torch.stack([turn.cos(), turn.sin()], 1)
    around = maths.limits(formula, found.point, directions)
    if found.gradient:
        around = directions @ torch.tensor(found.gradient, dtype=torch.float64)
    return Rise(
        point=found.point, value=found.value, unit=found.unit, directional=found.directional, gradient=found.gradient,
        steepest=found.steepest, angle=found.angle, exact="" if found.exact is None else maths.written(found.exact.directional),
        slice_at=t.numpy(), slice_height=formula(p[0] + t * u[0], p[1] + t * u[1]).numpy(), turn=turn.numpy(), around=around.numpy(),
        secant_step=np.array(SECANTS), secant_slope=maths.quotients(formula, found.point, u[None], SECANTS)[:, 0].numpy(),
        secant_central=maths.central(formula, p.expand(len(SECANTS), 2), found.unit, torch.tensor(SECANTS, dtype=torch.float64)).numpy(),
        level=level(formula, found, centre, job.reach).numpy(), worked=maths.worked(formula, found),
    )  # fmt: skip


def level(formula: Formula, found: maths.Derivatives, centre: tuple[float, float], reach: float) -> Tensor:
    """The level curve both ways from the point (L, 2), inside the square; empty where the gradient is missing or zero."""
    if not found.steepest:
        return torch.zeros(0, 2, dtype=torch.float64)
    try:
        parts = [maths.level_curve(formula, found.point, way * 2 * reach, LEVEL_STEPS) for way in (-1, 1)]
    except FormulaError:
        return torch.zeros(0, 2, dtype=torch.float64)
    whole = torch.cat([parts[0].flip(0)[:-1], parts[1]])
    inside = (whole - torch.tensor(centre, dtype=torch.float64)).abs().amax(1) <= reach
    return whole[inside]
