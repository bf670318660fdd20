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
SECANTS = tuple(float(h) for h in np.geomspace(1.0, 1e-6, 25))

Run = Generator[Event, None, Result]


def gradient(job: Gradient, ctx: Ctx) -> Run:
    """The surface first, then all about the point."""
    try:
        formula = opened(job.function)
        found = maths.examine(formula, job.point, job.direction)
        if job.side:
            yield Record(channel="surface", payload=surface(formula, found.point, job))
        rise = risen(formula, found, job)
    except FormulaError as error:
        raise UserError(error.message, hint=error.hint) from error
    yield Record(channel="rise", payload=rise)
    exact = found.exact
    facts = {
        "value": found.value, "directional": found.directional, "exact": rise.exact, "unit": found.unit, "gradient": found.gradient,
        "steepest": found.steepest, "angle_degrees": None if found.angle is None else math.degrees(found.angle),
        "differentiable": found.differentiable, "partials": found.partials, "worked": "\n".join(rise.worked),
        "exact_steepest": "" if exact is None else str(exact.steepest),
    }  # fmt: skip
    along = Curve(rise.slice_at, rise.slice_height, x_label="t", y_label="f(p + t u)", label=job.function)
    return Result(files={"rise.csv": along, "worked.txt": "\n".join(rise.worked) + "\n"}, facts=facts)


def opened(text: str) -> Formula:
    """The formula of a text; one of the gallery has its hole filled."""
    wanted = text.replace(" ", "")
    name = next((name.lower() for name, known in GALLERY.items() if known.replace(" ", "") == wanted), "")
    return parse(text, HOLES.get(name))


def surface(formula: Formula, point: tuple[float, float], job: Gradient) -> Surface:
    """f over the square around the point."""
    places = ((torch.arange(job.side, dtype=torch.float64) + 0.5) / job.side * 2 - 1) * job.reach
    y, x = torch.meshgrid(places + point[1], places + point[0], indexing="ij")
    values = formula(x, y)
    return Surface(torch.where(values.isfinite(), values, torch.nan).numpy(), point, job.reach, job.function)


def risen(formula: Formula, found: maths.Derivatives, job: Gradient) -> Rise:
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
        steepest=found.steepest, angle=found.angle, exact="" if found.exact is None else str(found.exact.directional),
        slice_at=t.numpy(), slice_height=formula(p[0] + t * u[0], p[1] + t * u[1]).numpy(), turn=turn.numpy(), around=around.numpy(),
        secant_step=np.array(SECANTS), secant_slope=maths.quotients(formula, found.point, u[None], SECANTS)[:, 0].numpy(),
        level=level(formula, found, job.reach).numpy(), worked=maths.worked(formula, found),
    )  # fmt: skip


def level(formula: Formula, found: maths.Derivatives, reach: float) -> Tensor:
    """The level curve both ways from the point (L, 2), inside the square; empty where the gradient is missing or zero."""
    if not found.steepest:
        return torch.zeros(0, 2, dtype=torch.float64)
    try:
        parts = [maths.level_curve(formula, found.point, way * 2 * reach, LEVEL_STEPS) for way in (-1, 1)]
    except FormulaError:
        return torch.zeros(0, 2, dtype=torch.float64)
    whole = torch.cat([parts[0].flip(0)[:-1], parts[1]])
    inside = (whole - torch.tensor(found.point, dtype=torch.float64)).abs().amax(1) <= reach
    return whole[inside]
