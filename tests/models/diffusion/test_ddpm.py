"""The discrete chain: equal to diffusers' DDPM and DDIM and to our own samplers, with the moments of its closed form, and invertible."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from models.diffusion import ddpm, samplers
from models.diffusion.ddpm import clean_and_noise, ddim_deviation, posterior, signal_share, stops
from models.diffusion.noise_model import ExactNoise, NoiseModel
from models.diffusion.schedule import NoiseSchedule
from models.fitting import FitConfig
from models.plane.data import cloud
from models.plane.errors import PlaneError
from tests.models.diffusion.plane_cases import TWO, assert_same_law, covariance, normal, seeded

LINEAR = NoiseSchedule.linear()
BETAS = {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02}
SHAPE = (3, 2, 4, 4)


def network(x, t):
    """Some smooth stand-in for a network, large enough that clipping x0 at 1 bites."""
    return 0.8 * x + 0.3 * torch.sin(3 * x.roll(1, -1)) + 0.3 * math.cos(t / 150)


def in_float64(scheduler):
    """Their table is ours but for float32, whose rounding of 1 - ab is 1e-4 of it at the first link."""
    torch.testing.assert_close(scheduler.alphas_cumprod.double(), LINEAR.alphas_cumprod, atol=1e-6, rtol=0)
    scheduler.alphas_cumprod = LINEAR.alphas_cumprod
    return scheduler


class Recorded:
    """One noise for both sides: ours asks a generator, theirs `randn_tensor`."""

    def __init__(self, seed=1):
        self.ours, self.theirs = seeded(seed), seeded(seed)

    def randn_tensor(self, shape, **_):
        return torch.randn(shape, generator=self.theirs)


# --- against diffusers ---


@pytest.mark.parametrize("prediction", ["epsilon", "v", "sample"])
@pytest.mark.parametrize("clip", [0.0, 1.0])
@pytest.mark.parametrize("first", [999, 19])
@pytest.mark.parametrize("variance", ["small", "large"])
def test_20_ddpm_steps_equal_diffusers(monkeypatch, prediction, clip, first, variance):
    diffusers = pytest.importorskip("diffusers")
    noise = Recorded()
    monkeypatch.setattr("diffusers.schedulers.scheduling_ddpm.randn_tensor", noise.randn_tensor)
    options = {"prediction_type": THEIR_NAMES[prediction], "clip_sample": bool(clip), "clip_sample_range": 1.0}
    theirs = in_float64(diffusers.DDPMScheduler(**BETAS, variance_type=f"fixed_{variance}", **options))
    x = y = torch.randn(SHAPE, generator=seeded())
    for t in range(first, first - 20, -1):
        y = theirs.step(network(y, t), t, y).prev_sample
    times = list(range(first, first - 21, -1))
    for step in ddpm.walk(network, x, LINEAR, times, noise.ours, sampler="ddpm", variance=variance, clip=clip, prediction=prediction):
        x = step.x
    torch.testing.assert_close(x, y, atol=1e-5, rtol=1e-5)


THEIR_NAMES = {"epsilon": "epsilon", "v": "v_prediction", "sample": "sample"}


@pytest.mark.parametrize("prediction", ["epsilon", "v", "sample"])
@pytest.mark.parametrize("clip", [0.0, 1.0])
@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0])
def test_20_ddim_steps_equal_diffusers(monkeypatch, prediction, clip, eta):
    """On a strided grid down to the data, with eps read off the clipped x0 (`use_clipped_model_output`) and ab_{-1} = 1."""
    diffusers = pytest.importorskip("diffusers")
    noise = Recorded()
    monkeypatch.setattr("diffusers.schedulers.scheduling_ddim.randn_tensor", noise.randn_tensor)
    options = {"prediction_type": THEIR_NAMES[prediction], "clip_sample": bool(clip), "clip_sample_range": 1.0}
    theirs = in_float64(diffusers.DDIMScheduler(**BETAS, set_alpha_to_one=True, **options))
    theirs.set_timesteps(20)
    x = y = torch.randn(SHAPE, generator=seeded())
    for t in theirs.timesteps.tolist():
        y = theirs.step(network(y, t), t, y, eta=eta, use_clipped_model_output=True).prev_sample
    times = [*theirs.timesteps.tolist(), -1]
    for step in ddpm.walk(network, x, LINEAR, times, noise.ours, sampler="ddim", eta=eta, clip=clip, prediction=prediction):
        x = step.x
    torch.testing.assert_close(x, y, atol=1e-5, rtol=1e-5)


# --- against our own samplers in sigma space ---


@pytest.mark.parametrize(("sampler", "eta"), [("ddpm", 1.0), ("ddim", 0.0), ("ddim", 0.5), ("ddim", 1.0)])
@pytest.mark.parametrize("n", [7, 40])
def test_the_chain_is_the_sampler_of_pictures_in_another_scale(sampler, eta, n):
    """`samplers.ddpm` and `samplers.ddim` walk x_t / sqrt(ab_t)."""
    times = stops(LINEAR, n)
    sigmas = torch.tensor([math.sqrt((1 - signal_share(LINEAR, t)) / signal_share(LINEAR, t)) for t in times], dtype=torch.float64)
    clock = {float(s): t for s, t in zip(sigmas, times)}

    def denoise(x, sigma):
        return x - sigma * network(x / math.sqrt(1 + sigma**2), clock[sigma])

    class Noise:
        def __init__(self):
            self.source = seeded(4)

        def step(self, i, shape):
            return torch.randn(tuple(shape), generator=self.source, dtype=torch.float64)

    x = torch.randn(SHAPE, generator=seeded(), dtype=torch.float64)
    start = x / math.sqrt(signal_share(LINEAR, times[0]))
    pictures = [s.x_next for s in getattr(samplers, sampler)(denoise, start, sigmas, noise=Noise(), eta=eta)]
    chain = list(ddpm.walk(network, x, LINEAR, times, seeded(4), sampler=sampler, eta=eta))
    for picture, step in zip(pictures, chain[1:], strict=True):
        torch.testing.assert_close(step.x / step.signal, picture, atol=1e-9, rtol=1e-9)
    assert chain[-1].last and chain[-1].noise == 0 and chain[-1].evaluations == n


# --- the chain itself ---


@pytest.mark.parametrize("make", [NoiseSchedule.linear, NoiseSchedule.cosine])
def test_the_links_one_by_one_have_the_moments_of_the_closed_form(make):
    """1e5 points through the links; covariance of a correlated start, not only its variance."""
    schedule, n, g = make(100), 100_000, seeded(2)
    x0 = TWO.sample(n, g)[0].float()
    x = x0
    for t in range(60):
        x = ddpm.link(schedule, x, t, torch.randn(x.shape, generator=g))
    ab = signal_share(schedule, 59)
    law = TWO.at(math.sqrt(ab), math.sqrt(1 - ab))
    mean, exact = covariance(law)
    size = float(exact.diagonal().mean())
    torch.testing.assert_close(x.double().mean(0), mean, atol=0.01 * math.sqrt(size), rtol=0)
    torch.testing.assert_close(torch.cov(x.double().T), exact, atol=0.01 * size, rtol=0.01)
    jumped = ddpm.noised(schedule, x0, torch.full((n,), 59), torch.randn(x.shape, generator=g))
    torch.testing.assert_close(torch.cov(jumped.double().T), exact, atol=0.01 * size, rtol=0.01)


def test_each_row_is_noised_by_its_own_number_of_links():
    x0, eps = torch.ones(3, 2, 2), torch.full((3, 2, 2), 2.0)
    x = ddpm.noised(LINEAR, x0, torch.tensor([0, 500, 999]), eps)
    for row, t in zip(x, (0, 500, 999)):
        ab = signal_share(LINEAR, t)
        torch.testing.assert_close(row, torch.full((2, 2), math.sqrt(ab) + 2 * math.sqrt(1 - ab)))


def test_ddim_with_eta_1_has_the_posterior_variance_on_every_link():
    x, x0 = torch.randn(2, 3, generator=seeded(), dtype=torch.float64), torch.randn(2, 3, generator=seeded(1), dtype=torch.float64)
    for t, s in pairwise(stops(LINEAR, LINEAR.n_steps)):
        ab_t, ab_s = signal_share(LINEAR, t), signal_share(LINEAR, s)
        mean, variance = posterior(x, x0, ab_t, ab_s)
        deviation = ddim_deviation(ab_t, ab_s, 1.0)
        assert deviation**2 == pytest.approx(variance, rel=1e-12, abs=1e-18)
        eps = (x - math.sqrt(ab_t) * x0) / math.sqrt(1 - ab_t)
        torch.testing.assert_close(ddpm.ddim_mean(x0, eps, ab_s, deviation), mean, atol=1e-6, rtol=1e-6)


def test_the_posterior_is_bayes_rule():
    """q(x_s | x_t, x0) times q(x_t | x0) is q(x_t | x_s) times q(x_s | x0), at any numbers and over a stride."""
    ab_t, ab_s = signal_share(LINEAR, 400), signal_share(LINEAR, 300)

    def log_normal(x, mean, variance):
        return -0.5 * ((x - mean) ** 2 / variance + math.log(2 * math.pi * variance))

    for x_t, x_s, x0 in torch.randn(5, 3, generator=seeded(), dtype=torch.float64).tolist():
        mean, variance = posterior(torch.tensor(x_t, dtype=torch.float64), torch.tensor(x0, dtype=torch.float64), ab_t, ab_s)
        left = log_normal(x_s, float(mean), variance) + log_normal(x_t, math.sqrt(ab_t) * x0, 1 - ab_t)
        alpha = ab_t / ab_s
        right = log_normal(x_t, math.sqrt(alpha) * x_s, 1 - alpha) + log_normal(x_s, math.sqrt(ab_s) * x0, 1 - ab_s)
        assert left == pytest.approx(right, abs=1e-9)


def test_x0_and_eps_fit_the_point_even_if_x0_is_clipped():
    x, output = 3 * torch.randn(SHAPE, generator=seeded()), torch.randn(SHAPE, generator=seeded(1))
    for prediction in THEIR_NAMES:
        x0, eps = clean_and_noise(prediction, output, x, 0.4, clip=1.0)
        assert x0.abs().max() <= 1
        torch.testing.assert_close(math.sqrt(0.4) * x0 + math.sqrt(0.6) * eps, x, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("variance", ["small", "large"])
def test_the_data_get_no_noise(variance):
    """Two generators, one last step: the same answer, the guessed x0."""
    x = torch.randn(SHAPE, generator=seeded())
    ends = [list(ddpm.walk(network, x, LINEAR, [0, -1], seeded(k), sampler="ddpm", variance=variance))[-1] for k in (1, 2)]
    assert torch.equal(ends[0].x, ends[1].x)
    landed = clean_and_noise("epsilon", network(x, 0), x, signal_share(LINEAR, 0))[0]
    torch.testing.assert_close(ends[0].x, landed)


def test_inversion_then_sampling_returns_the_input():
    """1000 steps up, 1000 down, on the exact noise of a mixture: 30 dB and better."""
    x0 = TWO.sample(300, seeded())[0]
    predict = ddpm.predict_of(LINEAR, ExactNoise(TWO))
    *_, up = ddpm.invert(predict, x0, LINEAR, stops(LINEAR, 1000)[-2::-1])
    *_, down = ddpm.walk(predict, up.x, LINEAR, stops(LINEAR, 1000), seeded())
    peak = float(x0.max() - x0.min())
    assert 10 * math.log10(peak**2 / float((down.x - x0).square().mean())) >= 30
    assert float((up.x - x0).square().mean()) > 0.2  # it went somewhere
    torch.testing.assert_close(up.x.var(0), torch.ones(2, dtype=torch.float64), atol=0.25, rtol=0)


def test_stops_run_from_the_noisiest_link_to_the_data():
    assert stops(LINEAR, 1000) == [*range(999, -1, -1), -1]
    assert stops(LINEAR, 4) == [999, 666, 333, 0, -1]
    with pytest.raises(ValueError, match="1 to 1000"):
        stops(LINEAR, 1001)


# --- schedules ---


def test_the_cosine_chain_is_the_papers_until_its_signal_is_gone():
    cosine, whole = ddpm.cut(NoiseSchedule.cosine()), NoiseSchedule.cosine().alphas_cumprod
    n = cosine.n_steps
    assert torch.equal(cosine.alphas_cumprod, whole[:n]) and 990 < n < 1000
    assert whole[n] < ddpm.LEAST_SIGNAL <= cosine.alphas_cumprod[-1] and ddpm.linear().n_steps == 1000
    middle = torch.tensor([k / 1000 for k in range(1, n + 1)], dtype=torch.float64)
    f = torch.cos((middle + 0.008) / 1.008 * math.pi / 2) ** 2
    torch.testing.assert_close(cosine.alphas_cumprod, f / math.cos(0.008 / 1.008 * math.pi / 2) ** 2, atol=1e-12, rtol=1e-6)


def test_a_chain_by_hand_passes_through_its_points_and_only_falls():
    shares = (0.99, 0.98, 0.6, 0.599, 0.2, 0.01, 0.001)
    found = ddpm.by_hand(*shares).alphas_cumprod
    assert len(found) == 1000 and bool((found.diff() < 0).all())
    for k in (2, 4, 6):  # the others lie between two links
        assert float(found[round(k / 6 * 1000) - 1]) == pytest.approx(shares[k], rel=0.03)
    with pytest.raises(PlaneError, match="point 2 is 0.5, point 3 is 0.5"):
        ddpm.by_hand(0.9, 0.5, 0.5, 0.4, 0.3, 0.2, 0.1)


@pytest.mark.parametrize("words", ["cosine", "cosine 0.1", "linear 0.001 0.05", "hand 0.999 0.9 0.7 0.3 0.1 0.01 0.0001"])
def test_a_network_learns_and_walks_at_the_levels_of_its_schedule(words):
    """The levels of a training are those of the chain; the exact answer, walked along it, ends in the mixture by way of other levels."""
    row, plain = ddpm.DDPM.with_schedule(words), ddpm.DDPM
    (t, m, s), (_, m0, _) = row.levels(), plain.levels()
    torch.testing.assert_close(m**2 + s**2, torch.ones_like(m))
    assert row.schedule.split()[0] == words.split()[0] and abs(float(m[len(m) // 2]) - float(m0[50])) > 0.015 and float(t[-1]) == 1
    told = []

    class Spy(NoiseModel):
        def forward(self, x, m, s, label=None):
            told.append(torch.as_tensor(m).square().mean().item())
            return super().forward(x, m, s, label)

    next(row.train(Spy(0), cloud("moons"), FitConfig(steps=1, lr=1e-3, bf16=False), 4000))
    assert told[0] == pytest.approx(float(m.square().mean()), rel=0.06)
    steps = list(row.walk(row.exact(TWO), normal(3000, 1), solver="ddim", evaluations=120, generator=seeded(), knobs=row.settings({})))
    assert steps[60].signal == pytest.approx(float(torch.from_numpy(np.interp([steps[60].time], t, m))), rel=0.03)
    assert_same_law(steps[-1].x, TWO.sample(3000, seeded(3))[0])


@pytest.mark.parametrize(
    "words, sentence",
    [
        ("magic", "DDPM / DDIM has no schedule named 'magic'."),
        ("linear 0.1", "The schedule 'linear' takes 2 numbers, not 1."),
        ("linear 0.02 0.0001", "β cannot fall: it begins at 0.02 and ends at 0.0001."),
        ("linear a b", "First β cannot be 'a'."),
        ("cosine nan", "Offset cannot be nan."),
        ("hand 0.9 0.95 0.8 0.5 0.2 0.1 0.05", "ᾱ must fall from left to right: point 1 is 0.9, point 2 is 0.95."),
    ],
)
def test_a_schedule_that_is_none_is_told_in_a_sentence(words, sentence):
    with pytest.raises(PlaneError) as caught:
        ddpm.DDPM.with_schedule(words)
    assert caught.value.message == sentence and caught.value.hint


def test_the_default_schedule_in_words_is_the_row_itself():
    assert ddpm.DDPM.with_schedule("") is ddpm.DDPM is ddpm.DDPM.with_schedule("linear 0.0001 0.02") is ddpm.DDPM.with_schedule("linear")
