"""Flows on pictures: bits per dimension with every correction, and what can be done with an invertible picture."""

import math

import numpy as np
import pytest
import torch

from models.fitting import Average, FitConfig
from models.flows import tiles, training
from models.flows.chain import Flow, Layer, seeded
from models.flows.coupling import ActNorm, GlowConfig, glow_plane
from models.flows.nice import NiceConfig, nice
from models.flows.tiles import TileFlow, dequantise, from_logit, inpaint, interpolate, quantise, sample, to_logit
from models.playworld.bank import SceneBank
from tests.models.flows.test_layers import woken

GLOW = GlowConfig(channels=3, size=16, levels=2, steps=1, width=8)
NICE = NiceConfig(dim=256, couplings=4, width=16, depth=1, prior="logistic")


@pytest.fixture(scope="module", params=["glow", "nice"])
def model(request):
    build = {"glow": lambda: tiles.glow_tiles(GLOW), "nice": lambda: tiles.nice_tiles(NICE)}[request.param]
    return woken(seeded(0, build), size=0.05).float()


def pictures(model, n=3):
    return 0.2 + 0.6 * torch.rand(n, *model.shape, generator=torch.Generator().manual_seed(0))


class Nothing(Layer):
    """The identity."""

    def forward(self, x):
        return x, x.new_zeros(len(x))

    inverse = forward


def test_a_uniform_law_costs_eight_bits():
    v = torch.rand(20, 1, 2, 2, dtype=torch.float64)
    plain = TileFlow(Flow([Nothing()], lambda z: z.new_zeros(len(z))), (1, 2, 2), logit=False, prior="normal")
    assert plain.bits_per_dim(v) == pytest.approx(torch.full((20,), 8.0).double())

    def uniform_behind_the_logit(z):
        p = z.sigmoid()
        return (p.log() + (1 - p).log() - math.log(0.9)).sum(1)  # the density of logit(.05 + .9 v), v uniform

    behind = TileFlow(Flow([Nothing()], uniform_behind_the_logit), (1, 2, 2), logit=True, prior="normal")
    assert behind.bits_per_dim(v) == pytest.approx(torch.full((20,), 8.0).double())


def test_bits_belong_to_probabilities_of_whole_numbers():
    """Two pixels of four equally likely values each cost two bits a pixel, whatever the fractions."""
    flow = Flow([Nothing()], lambda z: torch.where((z < 4 / 256 - 0.5).all(1), 2 * math.log(64.0), -math.inf))
    model = TileFlow(flow, (1, 1, 2), logit=False, prior="normal")
    x = torch.randint(4, (50, 1, 2, 1), dtype=torch.uint8).expand(50, 1, 2, 3)
    assert model.bits_per_dim(dequantise(x, 1, torch.Generator().manual_seed(0))).tolist() == pytest.approx([2.0] * 50)


def test_the_logit_counts_its_volume_and_leads_back():
    v = torch.rand(5, 3, dtype=torch.float64)
    y, log_det = to_logit(v)
    jacobian = torch.autograd.functional.jacobian(lambda one: to_logit(one[None])[0][0], v[0])
    assert torch.linalg.slogdet(jacobian)[1].item() == pytest.approx(log_det[0].item(), abs=1e-10)
    assert torch.allclose(from_logit(y), v, atol=1e-12)
    assert to_logit(torch.tensor([[0.0, 1.0]]))[0].isfinite().all()


@pytest.mark.parametrize("logit", [False, True])
def test_the_density_of_two_pixels_integrates_to_what_the_noise_has(logit):
    flow = seeded(0, glow_plane) if logit else seeded(0, lambda: nice(NiceConfig(2, 4, 16, 1, "logistic")))
    model = TileFlow(woken(flow, size=0.1), (1, 1, 2), logit=logit, prior="normal").double()
    side = (torch.arange(400, dtype=torch.float64) + 0.5) / 400
    with torch.no_grad():
        total = model.log_density(torch.cartesian_prod(side, side).reshape(-1, 1, 1, 2)).exp().mean().item()
        model.prior = "normal" if logit else "logistic"
        draws = model.decode(model.noise(200_000, torch.Generator().manual_seed(0)).double())
    inside = ((draws >= 0) & (draws <= 1)).flatten(1).all(1).double().mean().item()
    assert 0.02 < inside < 0.999 and total == pytest.approx(inside, abs=0.006)


def test_dequantised_pictures_fall_back_into_the_same_numbers():
    x = torch.randint(256, (4, 16, 16, 3), dtype=torch.uint8)
    x[0] = 255
    v = dequantise(x, 3, torch.Generator().manual_seed(0))
    assert v.shape == (4, 3, 16, 16) and v.min() >= 0 and v.max() < 1
    assert torch.equal(quantise(v), x)
    grey = quantise(dequantise(x, 1, torch.Generator().manual_seed(0)))
    luma = (x.double() @ torch.tensor([0.299, 0.587, 0.114]).double()).round()
    assert (grey[..., 0] - luma).abs().max() <= 1 and torch.equal(grey[..., 0], grey[..., 2])
    assert not torch.equal(dequantise(x, 3, torch.Generator().manual_seed(1)), v)


def test_pictures_become_noise_and_come_back(model):
    v = pictures(model)
    with torch.no_grad():
        z, _ = model.encode(v)
        assert z.shape == (3, model.dims)
        assert (model.decode(z) - v).abs().max() < 1e-4


def test_samples_at_no_temperature_are_all_the_same(model):
    generator = torch.Generator().manual_seed(0)
    cold, warm = (sample(model, 4, temperature, generator) for temperature in (0.0, 0.7))
    assert (cold - cold[0]).abs().max() < 1e-5 and (warm[1] - warm[0]).abs().max() > 0.01
    with torch.no_grad():
        lone = model.encode(cold[:1])[0]
    assert lone.abs().max() < 1e-2


def test_interpolation_ends_at_its_pictures(model):
    a, b = pictures(model, 2)
    between = interpolate(model, a, b, 5)
    assert (between[0] - a).abs().max() < 1e-4 and (between[-1] - b).abs().max() < 1e-4
    with torch.no_grad():
        z, _ = model.encode(between)
    assert torch.allclose(z[2], (z[0] + z[4]) / 2, atol=1e-3)


def test_inpainting_climbs_and_leaves_the_given_pixels(model):
    v, known = pictures(model, 2), torch.ones(1, 1, 16, 16)
    known[..., :8] = 0
    steps = list(inpaint(model, v, known, 12, torch.Generator().manual_seed(1)))
    assert [s.i for s in steps] == list(range(13)) and steps[-1].last
    for before, after in zip(steps, steps[1:]):
        assert (after.log_density >= before.log_density).all()
        assert torch.equal(after.v[..., 8:], v[..., 8:])
    assert (steps[-1].log_density > steps[0].log_density + 1).all()
    assert not torch.equal(steps[-1].v[..., :8], v[..., :8])
    with torch.no_grad():
        assert torch.allclose(model.log_density(steps[-1].v), steps[-1].log_density, rtol=1e-4)


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    bank = SceneBank(tmp_path_factory.mktemp("bank"), count=512, size=16)
    list(bank.fill())
    return bank


def test_training_on_tiles_lowers_the_bits_and_resumes_exactly(bank, tmp_path):
    def run(folder, *lengths):
        for steps in lengths:
            model = seeded(1, lambda: tiles.glow_tiles(GLOW))
            training.prepare(model, bank, 3)
            config = FitConfig(steps=steps, lr=2e-3, warmup=2, cooldown=0.0, ema=0.5, bf16=False, seed=3, folder=folder)
            average = Average(model, config.ema)
            losses = [step.loss for step in training.train_tiles(model, bank, 32, config, average)]
        return model, losses

    whole, losses = run(tmp_path / "a", 14)
    parts, later = run(tmp_path / "b", 7, 14)
    assert np.mean(losses[-3:]) < np.mean(losses[:3]) - 0.1
    assert later == pytest.approx(losses[7:], rel=1e-5)
    for name, value in whole.state_dict().items():
        assert torch.allclose(value.float(), parts.state_dict()[name].float(), atol=1e-5), name
    assert 3 < training.mean_bits(whole, bank, 64) == pytest.approx(np.mean(losses[-3:]), abs=0.5)
    assert all(bool(m.initialised) for m in whole.modules() if isinstance(m, ActNorm))
