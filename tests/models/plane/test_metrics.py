"""Sliced Wasserstein against scipy and against a known shift; slopes and straightness of flows whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance

from models.plane.metrics import PROJECTIONS, noised_density, sliced_wasserstein, slope, straightness
from models.solvers import evenly, integrate


def cloud(n: int, seed: int, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("n, m", [(400, 400), (400, 300), (7, 500)])
def test_each_direction_is_scipys(n, m) -> None:
    x, y = cloud(n, 0), cloud(m, 1, 1.5) + 0.3
    start = float(torch.rand(1, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    angles = np.pi * (np.arange(5) + start) / 5
    lines = np.stack([np.cos(angles), np.sin(angles)])
    expected = np.mean([wasserstein_distance(x.numpy() @ line, y.numpy() @ line) for line in lines.T])
    assert sliced_wasserstein(x, y, projections=5) == pytest.approx(expected, abs=1e-12)


def test_a_shift_moves_by_its_mean_projection() -> None:
    x = cloud(1000, 0)
    assert sliced_wasserstein(x, x) == 0 and PROJECTIONS == 256
    assert sliced_wasserstein(x, x + torch.tensor([0.0, 3.0])) == pytest.approx(3 * 2 / math.pi, rel=1e-3)
    assert sliced_wasserstein(x, x + 1, seed=1) == pytest.approx(sliced_wasserstein(x + 1, x, seed=1), abs=1e-12)
    assert sliced_wasserstein(torch.zeros(10, 5), torch.ones(10, 5)) > 0  # any dimension


def test_slope_of_a_power() -> None:
    counts = [4, 8, 16, 64]
    assert slope(counts, [3 * n**-2.0 for n in counts]) == pytest.approx(2)
    assert slope([4, 8, 16], [1.0, 0.0, 0.25]) == pytest.approx(1)  # an exact zero has no logarithm
    assert math.isnan(slope([4], [1.0])) and math.isnan(slope([4, 8], [math.inf, 1.0]))


def test_straight_flows_have_no_bends_and_turning_ones_do() -> None:
    z = cloud(500, 0)
    straight = lambda x, t: torch.ones_like(x)  # noqa: E731
    path = [(s.t, s.x) for s in integrate(straight, z, evenly(0, 1, 10), "euler")]
    assert straightness(straight, path) == pytest.approx(0, abs=1e-20)
    turn = torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)
    turning = lambda x, t: x @ turn  # noqa: E731
    path = [(s.t, s.x) for s in integrate(turning, z, evenly(0, 1, 200), "rk4")]
    chord = 2 - 2 * math.cos(1)
    # |(Z1 - Z0) - v|^2 = |Z0|^2 (|e^i - 1|^2 + 1 - 2 Re((e^i - 1) conj(i e^it))), whose last part averages to |e^i - 1|^2
    expected = float(z.square().sum(1).mean()) * (1 - chord)
    assert straightness(turning, path) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("m, s", [(1.0, 0.3), (0.5, 0.8), (1.0, 6.0)])
def test_a_counted_density_is_that_of_the_noised_points(m, s) -> None:
    """Against the mean of the Gaussians around each point, off the middle and with the y axis upwards."""
    x, side, reach = cloud(200, 3, 0.4) + torch.tensor([1.0, -0.5]), 60, 3.0 * max(1.0, s)
    found = noised_density(x, m, s, side, reach)
    places = (torch.arange(side, dtype=torch.float64) + 0.5) / side * 2 * reach - reach
    at = torch.stack(torch.meshgrid(places, places, indexing="ij"), -1).flip(-1)                   # rows are y
    squared = (at[:, :, None] - m * x).square().sum(-1)
    expected = torch.exp(-squared / (2 * s**2)).mean(-1) / (2 * math.pi * s**2)
    assert float((found - expected).abs().max()) < 0.02 * float(expected.max())
