"""Clouds: standardised, labelled, the same for the same seed; own clouds are checked."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from models.plane.data import BRUSH, CLOUDS, FEWEST, HELD_OUT_SEED, MOST_CLASSES, cloud, from_picture, from_points, sample
from models.plane.errors import PlaneError


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", CLOUDS)
def test_clouds_are_standardised_and_labelled(name) -> None:
    one = cloud(name)
    x, labels = one.labelled(40_000, source(3))
    assert x.shape == (40_000, 2) and x.dtype == torch.float32
    assert x.mean(0).abs().max() < 0.02 and abs(float(x.var(0).mean()) - 1) < 0.02
    share = labels.bincount(minlength=one.classes) / len(labels)
    assert len(share) == one.classes <= MOST_CLASSES and (share - 1 / one.classes).abs().max() < 0.01


@pytest.mark.parametrize("name", CLOUDS)
def test_points_depend_on_the_seed_alone_and_held_out_ones_differ(name) -> None:
    assert torch.equal(sample(name, 50, source(1)), cloud(name).sample(50, source(1)))
    held_out = cloud(name).held_out(50)
    assert torch.equal(held_out, cloud(name).sample(50, source(HELD_OUT_SEED)))
    assert not torch.equal(held_out, cloud(name).held_out(50, seed=1))


def raw(name: str, n: int = 20_000) -> tuple[torch.Tensor, torch.Tensor]:
    one = cloud(name)
    x, labels = one.labelled(n, source(5))
    return torch.tensor(one.centre) + one.scale * x, labels


def test_shapes_are_what_their_names_say() -> None:
    x, ring = raw("rings")
    assert (x.norm(dim=1) - (ring + 1)).std() == pytest.approx(0.08, abs=0.01)
    x, column = raw("checkerboard")
    cells = x.floor().long()
    assert torch.equal(cells[:, 0], column) and bool(((cells.sum(1)) % 2 == 0).all()) and cells.min() == 0 and cells.max() == 3
    x, moon = raw("moons")
    away = (x - torch.stack([moon, 0.5 * moon], 1)).norm(dim=1)
    assert away.mean() == pytest.approx(1, abs=0.01) and away.std() == pytest.approx(0.08, abs=0.01)
    assert x[moon == 0][:, 1].mean() > 0.5 > 0 > x[moon == 1][:, 1].mean()
    x, half = raw("swiss-roll")
    assert x[half == 0].norm(dim=1).max() < 1.5 * math.pi * 2 + 2.5 < x[half == 1].norm(dim=1).max()
    x, arm = raw("spirals")
    assert (x[arm == 0].mean(0) + x[arm == 1].mean(0)).abs().max() < 0.05 and x.norm(dim=1).max() < math.pi + 0.6


def test_eight_gaussians_know_their_law() -> None:
    one = cloud("eight-gaussians")
    x, labels = one.labelled(20_000, source(2))
    for k in range(8):
        mine = x[labels == k].double()
        assert torch.allclose(mine.mean(0), one.mixture.means[k], atol=0.02)
        assert torch.allclose(mine.T.cov(), one.mixture.covariances[k], atol=0.003)


def test_held_out_points_of_one_label() -> None:
    x = cloud("rings").held_out(500, label=2)
    assert x.shape == (500, 2) and (x * cloud("rings").scale + torch.tensor(cloud("rings").centre)).norm(dim=1).min() > 2.5
    with pytest.raises(PlaneError, match="no label 3"):
        cloud("rings").held_out(5, label=3)


# --- clouds of one's own ---


def drawn(n: int = 60) -> np.ndarray:
    return np.random.default_rng(0).normal((100, -40), (30, 5), (n, 2))


def test_a_drawn_cloud_is_blots_around_its_points() -> None:
    points = drawn()
    one = from_points(points)
    x = one.sample(20_000, source())
    assert x.mean(0).abs().max() < 0.03 and abs(float(x.var(0).mean()) - 1) < 0.03
    back = torch.tensor(one.centre) + one.scale * x
    near = torch.cdist(back.double(), torch.from_numpy(points)).min(1).values / one.scale
    assert near.max() < 6 * BRUSH and near.mean() > BRUSH / 4  # at the points, but not on them


@pytest.mark.parametrize(
    "points, sentence",
    [
        (drawn(FEWEST - 1), "A cloud of 19 points is too small."),
        (np.full((50, 2), 3.25), "All points of the cloud lie in the same place."),
        (np.zeros((50, 2)), "All points of the cloud lie in the same place."),
        (np.where(np.arange(60)[:, None] == 7, np.nan, drawn()), "1 of the 60 points are no finite numbers."),
        (np.where(np.arange(60)[:, None] < 2, np.inf, drawn()), "2 of the 60 points are no finite numbers."),
        (drawn() * 1e6, "A point lies at"),
        (np.zeros((50, 3)), "A cloud is a list of points of two numbers each"),
        (np.zeros((0, 2)), "A cloud of 0 points is too small."),
    ],
)
def test_a_bad_cloud_is_told_in_a_sentence(points, sentence) -> None:
    with pytest.raises(PlaneError) as found:
        from_points(points)
    assert found.value.message.startswith(sentence) and isinstance(found.value.hint, str)


def test_twenty_points_on_a_line_are_enough() -> None:
    x = from_points(np.stack([np.arange(20.0), np.zeros(20)], 1)).sample(1000, source())
    assert torch.isfinite(x).all() and x[:, 0].std() > 10 * x[:, 1].std()


def test_a_picture_is_a_density_with_its_top_above() -> None:
    grey = np.full((40, 60), 255, np.uint8)
    grey[:10, 30:] = 0  # dark at the upper right
    one = from_picture(grey)
    x = torch.tensor(one.centre) + one.scale * one.sample(5000, source())
    assert x[:, 0].min() > 29.9 and x[:, 1].min() > 29.9 and x[:, 0].max() < 60.1 and x[:, 1].max() < 40.1
    light = from_picture(grey, dark=False)
    y = torch.tensor(light.centre) + light.scale * light.sample(5000, source())
    assert not bool(((y[:, 0] > 30) & (y[:, 1] > 30)).any())
    with pytest.raises(PlaneError, match="one shade"):
        from_picture(np.full((30, 30), 9, np.uint8))


def test_an_unknown_cloud_names_those_there_are() -> None:
    with pytest.raises(PlaneError) as found:
        cloud("mooons")
    assert "moons" in found.value.hint
