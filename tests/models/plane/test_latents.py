"""Latents: the row between two runs along the sphere, and the way back leads to where the points came from."""

from __future__ import annotations

import math

import pytest
import torch

from models.plane.errors import PlaneError
from models.plane.latents import inverted, slerp
from models.plane.method import METHODS, method
from models.plane.mixture import Mixture

BROAD = Mixture(torch.tensor([0.4, 0.6]), torch.tensor([[-0.6, 0.3], [0.4, -0.2]]), 0.7 * torch.eye(2).expand(2, 2, 2))
DETERMINISTIC = [name for name in METHODS if method(name).exact is not None]


def test_slerp_turns_evenly_and_keeps_the_size_of_equally_large_ends():
    a, b = 2 * torch.tensor([1.0, 0.0]), 2 * torch.tensor([math.cos(2.0), math.sin(2.0)])
    row = slerp(a, b, torch.linspace(0, 1, 9))
    torch.testing.assert_close(row.norm(dim=1), torch.full((9,), 2.0))
    torch.testing.assert_close(torch.atan2(row[:, 1], row[:, 0]), torch.linspace(0, 2, 9))
    uneven = slerp(a, 3 * b, torch.tensor([0.0, 0.5, 1.0]))
    torch.testing.assert_close(uneven[[0, 2]], torch.stack([a, 3 * b]))
    wide = slerp(torch.tensor([1.0, 0, 0, 0, 0]), torch.tensor([0.0, 0, 0, 0, 1]), torch.tensor([0.5]))
    torch.testing.assert_close(wide, torch.tensor([[1.0, 0, 0, 0, 1]]) / math.sqrt(2))


@pytest.mark.parametrize("b", [(1.0, 1.0), (2.0, 2.0), (-1.0, -1.0), (0.0, 0.0)])
def test_where_no_sphere_joins_two_latents_a_line_does(b):
    row = slerp(torch.tensor([1.0, 1.0]), torch.tensor(b), torch.tensor([0.0, 0.25, 1.0]))
    torch.testing.assert_close(row[1], 0.75 * torch.tensor([1.0, 1.0]) + 0.25 * torch.tensor(b))


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_a_walk_from_the_latents_of_points_returns_them(name):
    """On exact answers, so that nothing but the steps is at fault; the latents are of the size of noise, whatever the method's scale."""
    row = method(name)
    knobs = row.settings({knob.name: -1 for knob in row.knobs if knob.name == "label"})
    net, x = row.exact(BROAD), BROAD.sample(60, torch.Generator().manual_seed(3))[0].float()
    walk = {"solver": row.solvers[0], "evaluations": 150, "knobs": knobs}
    with torch.no_grad():
        start = inverted(row, net, x, **walk)
        *_, end = row.walk(net, start, generator=torch.Generator(), **walk)
    assert float((end.x - x).norm(dim=1).mean()) < 0.08
    assert 0.7 < float(start.square().mean().sqrt()) < 1.4 and float((start - x).norm(dim=1).mean()) > 0.1


def test_points_far_from_the_data_have_no_latents():
    row = method("vp")
    with pytest.raises(PlaneError, match="too far from the data"):
        inverted(row, row.exact(BROAD), torch.tensor([[1e6, 0.0]]), solver="heun", evaluations=10, knobs=row.settings({}))
