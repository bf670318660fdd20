"""Points that walk beside the particles where the walk is a map, and change nothing for them: a lattice, a row of latents, a sketch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from app.jobs.plane import Plane
from app.protocol.errors import UserError
from models.plane.latents import inverted, slerp
from models.plane.method import Knobs, Method

REACH = 3.0
"""Half the side of the square that lattices, arrows and maps cover, in units of the particles' typical size."""
ROW = 33
"""Latents of a row."""


def company(row: Method, net: nn.Module, solver: str, evaluations: int, knobs: Knobs, job: Plane) -> dict[str, Tensor]:
    """Starts (n, 2) by the channel that tells of them; none where a walk draws noise on its way."""
    if not row.walks_alone(solver, knobs):
        return {}
    walk = {"solver": solver, "evaluations": evaluations, "knobs": knobs}
    found = {}
    if job.lattice:
        found["grid"] = square(job.lattice, REACH, corners=True)
    if job.between:
        ends = points(job.between)
        found["between"] = between(inverted(row, net, ends, **walk) if job.between_data else ends)
    if job.sketch:
        found["sketch"] = inverted(row, net, points(job.sketch), **walk)
    return found


def points(given: tuple[tuple[float, float], ...]) -> Tensor:
    """(n, 2) float32."""
    return torch.tensor(given, dtype=torch.float32).reshape(-1, 2)


def between(ends: Tensor) -> Tensor:
    """The row (ROW, 2) from the first to the second of two latents."""
    if len(ends) != 2:
        raise UserError(f"A row lies between two latents, not {len(ends)}.", hint="Give --between twice, such as 1,0 and 0,1.")
    return slerp(ends[0], ends[1], torch.linspace(0, 1, ROW))


def square(side: int, reach: float, corners: bool = False) -> Tensor:
    """side x side points over [-reach, reach] both ways, (side^2, 2), rows from the bottom up: centres of cells, or out to the corners."""
    places = torch.linspace(-reach, reach, side) if corners else (torch.arange(side) + 0.5) / side * 2 * reach - reach
    y, x = torch.meshgrid(places, places, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], 1)


def returned(end: Tensor, start: Tensor, job: Plane) -> dict[str, float]:
    """How far a sketch is from itself after there and back (mean distance), and how large its latents are (1: like noise)."""
    return {
        "inversion_error": float((end - points(job.sketch)).norm(dim=1).mean()),
        "latent_size": float(start.square().mean().sqrt()),
    }
