"""A picture inside a flow: shares of the bits against autograd, states back at their pixels, and which noise counts."""

import math
from dataclasses import replace
from functools import partial

import pytest
import torch

from models.flows import depth, tiles
from models.flows.chain import Chain, Flow, Part, log_normal, seeded
from models.flows.coupling import GlowConfig, Reverse, Squeeze
from models.flows.nice import NiceConfig, Scaling
from models.flows.tiles import TileFlow, inpaint, inpaint_adam, langevin, sample
from tests.models.flows.test_layers import woken

GLOW = GlowConfig(channels=2, size=4, levels=2, steps=2, width=5)
NICE = NiceConfig(dim=16, couplings=4, width=8, depth=1, prior="logistic")
BUILD = {
    "glow": lambda: tiles.glow_tiles(GLOW), "reversed": lambda: tiles.glow_tiles(replace(GLOW, mixing="reverse")),
    "unmixed": lambda: tiles.glow_tiles(replace(GLOW, mixing="none")), "nice": lambda: tiles.nice_tiles(NICE),
}  # fmt: skip


@pytest.fixture(scope="module", params=BUILD)
def model(request):
    return woken(seeded(0, BUILD[request.param]), size=0.1)


def pictures(model, n=3):
    return 0.2 + 0.6 * torch.rand(n, *model.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@torch.no_grad()
def test_the_shares_of_layers_and_noise_sum_to_the_bits(model):
    v = pictures(model)
    steps = list(depth.descend(model, v))
    z, _ = model.encode(v)
    together = sum(step.bits for step in steps) + sum(depth.noise_bits(model, z))
    assert torch.allclose(together, model.bits_per_dim(v), atol=1e-10)
    assert torch.allclose(steps[-1].x, z, atol=1e-12)
    assert [step.i for step in steps] == list(range(len(steps))) and all(step.n == len(steps) for step in steps)


def test_each_layers_share_is_its_jacobians(model):
    v = pictures(model, 1)

    def state(index, flat):
        return [step.x for step in depth.descend(model, flat.reshape(v.shape))][index].flatten()

    with torch.no_grad():
        steps = list(depth.descend(model, v))
    jacobians = [torch.autograd.functional.jacobian(partial(state, k), v.flatten()) for k in range(len(steps))]
    volumes = [torch.linalg.slogdet(jacobian)[1] for jacobian in jacobians]
    shares = [-float(b - a) / (model.dims * math.log(2)) for a, b in zip([0.0, *volumes], volumes)]
    assert [float(step.bits) for step in steps] == pytest.approx([shares[0] + 8, *shares[1:]], abs=1e-9)


def test_numbers_stand_where_their_pixels_stood():
    """A flow that does nothing but squeeze: whatever the depth, the picture is the data."""
    levels = [Part(Chain([Squeeze(), Reverse(), Reverse()]), (2, 8, 8), (8, 4, 4)), Part(Chain([Squeeze()]), (4, 4, 4), (16, 2, 2))]
    model = TileFlow(Flow(levels, log_normal), (2, 8, 8), logit=False, prior="normal")
    v = torch.rand(2, 2, 8, 8)
    depths = []
    for step in depth.descend(model, v):
        if step.title != "reverse" or step.i == 3:  # between the two reversals channels stand elsewhere
            assert torch.equal(depth.as_picture(model, step.x, step.depth), v - 0.5), step.i
        depths.append(step.depth)
    assert depths == [0, 1, 1, 1, 2] and not torch.equal(step.x.reshape(v.shape), v - 0.5)


def test_every_number_of_the_noise_belongs_to_one_level():
    model = seeded(0, BUILD["glow"])
    groups = depth.noise_groups(model)
    assert [len(group) for group in groups] == [16, 16] and torch.cat(groups).sort().values.tolist() == list(range(32))
    with torch.no_grad():  # the first level's half of the channels is noise of its own: the second level never touches it
        states = [step.x for step in depth.descend(model.double(), pictures(model, 1))]
        second = next(k for k, step in enumerate(depth.descend(model, pictures(model, 1))) if step.level == 1)
    assert all(torch.equal(state[:, groups[0]], states[second - 1][:, groups[0]]) for state in states[second:])


def test_the_most_important_directions_are_kept():
    nice, glow = seeded(0, BUILD["nice"]), seeded(0, BUILD["glow"])
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    nice.flow.layers[-1].raw.data = torch.linspace(2, -2, 16)[order] / Scaling.GAIN
    widths = depth.widths(nice)
    assert torch.allclose(widths, (-nice.flow.layers[-1].log_scale).exp()) and depth.widths(glow) is None
    z = torch.ones(1, 16)
    kept = depth.thinned(nice, z, 0.25)[0]
    assert kept.sum() == 4 and widths[kept > 0].min() > widths[kept == 0].max()
    assert depth.thinned(glow, torch.ones(1, 32), 0.5)[0].tolist() == [1] * 16 + [0] * 16  # the coarse level stands first
    assert torch.equal(depth.thinned(nice, z, 1.0), z)


def test_nices_spectrum_is_how_far_the_noise_moves_the_picture():
    """Without couplings a unit of noise in a direction moves its pixel by exactly e^-a."""
    model = seeded(0, lambda: tiles.nice_tiles(replace(NICE, couplings=1)))
    model.flow.layers[-1].raw.data = torch.linspace(-1, 1, 16) / Scaling.GAIN
    with torch.no_grad():
        moved = model.decode(torch.eye(16)) - model.decode(torch.zeros(1, 16))
    assert torch.allclose(moved.flatten(1).norm(dim=1), depth.widths(model), atol=1e-6)


@torch.no_grad()
def test_temperature_is_the_size_of_the_noise():
    model = woken(seeded(0, BUILD["glow"]), size=0.1).float()
    noise = model.noise(4, torch.Generator().manual_seed(3))
    assert torch.equal(sample(model, 4, 0.7, torch.Generator().manual_seed(3)), model.decode(0.7 * noise))


@pytest.mark.parametrize("way", [langevin, inpaint_adam])
def test_other_climbs_keep_given_pixels_and_tell_what_they_reach(model, way):
    v, known = pictures(model, 2).float(), torch.ones(1, 1, 4, 4)
    model.float()
    known[..., :2] = 0
    steps = list(way(model, v, known, 20, torch.Generator().manual_seed(1)))
    climbed = list(inpaint(model, v, known, 20, torch.Generator().manual_seed(1)))
    with torch.no_grad():
        reached = model.log_density(steps[-1].v)
    model.double()
    assert [step.i for step in steps] == list(range(21)) and steps[-1].last
    assert all(torch.equal(step.v[..., 2:], v[..., 2:]) for step in steps) and torch.equal(climbed[0].v, steps[0].v)
    assert torch.allclose(reached, steps[-1].log_density, rtol=1e-4, atol=1e-4)
    if way is inpaint_adam:
        assert (steps[-1].log_density > steps[0].log_density + 1).all()
    else:
        assert any((b.log_density < a.log_density).any() for a, b in zip(steps, steps[1:])), "noise goes down, too"


def test_a_mixing_that_is_none_is_told():
    with pytest.raises(ValueError, match="mixing 'shuffle' is not one of conv, reverse, none"):
        replace(GLOW, mixing="shuffle")
