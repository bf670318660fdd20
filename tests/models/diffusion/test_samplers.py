"""Samplers: equal to diffusers' on the same network outputs, of their order, right in distribution, resumable."""

import math
from typing import get_args

import numpy as np
import pytest
import torch

from models.diffusion.samplers import SAMPLERS, NoiseSource, ddim, ddpm, dpmpp_2m, dpmpp_2m_sde, euler, euler_a
from models.diffusion.schedule import SCHEDULES, NoiseSchedule

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in diffusers

SD = NoiseSchedule.scaled_linear()
SHAPE = (2, 4, 8, 8)
SEEDS = NoiseSource([11, 12])
BETAS = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


@pytest.fixture(scope="module")
def diffusers():
    return pytest.importorskip("diffusers")


def network(x, t):
    """Some smooth, nonlinear stand-in for a UNet: variance-preserving x_t and time -> noise."""
    return 0.8 * x + 0.2 * torch.sin(2 * x.roll(1, -1)) + 0.2 * math.cos(float(t) / 150)


def denoise(x, sigma):
    return x - sigma * network(x / (1 + sigma**2) ** 0.5, SD.sigma_to_t(sigma))


def run(sampler, sigmas, noise=SEEDS, shape=SHAPE, denoise=denoise, **options):
    x = noise.initial(shape) * sigmas[0]
    return list(SAMPLERS[sampler].function(denoise, x.float(), sigmas, noise=noise, **options))


# --- against diffusers ------------------------------------------------------------------------------------------


def theirs(scheduler, n, x, *, scaled):
    """All states of a diffusers scheduler in sigma space; `scaled`: it works in the variance-preserving scale.

    The network is asked at the time its sigma has in our table, so that rounding of times plays no part.
    """
    scheduler.set_timesteps(n)
    sigmas = getattr(scheduler, "sigmas", None)
    states = []
    for k, t in enumerate(scheduler.timesteps):
        if sigmas is None:
            sigma, t_net = float(SD.sigmas[int(t)]), t
        else:
            sigma = float(sigmas[k])
            t_net = SD.sigma_to_t(sigma)
        x_t = x if scaled else scheduler.scale_model_input(x, t)
        if k == 0 and scaled:
            x = x_t = x / (1 + sigma**2) ** 0.5
        output = network(x_t, t_net)
        x = scheduler.step(output, t, x).prev_sample
        states.append(x)
    return states


def last_of(scheduler, n, sigmas, *, scaled=False):
    x = (SEEDS.initial(SHAPE) * sigmas[0]).float()
    return theirs(scheduler, n, x, scaled=scaled)[-1]


@pytest.fixture
def same_noise(monkeypatch):
    """Make diffusers draw the noise that ours draws, step by step."""

    def patch(module):
        step = iter(range(10_000))
        monkeypatch.setattr(module, "randn_tensor", lambda shape, **_: SEEDS.step(next(step), shape))

    return patch


SPACINGS = {
    "linspace": {"timestep_spacing": "linspace"},
    "sgm_uniform": {"timestep_spacing": "trailing"},
    "ddpm": {"timestep_spacing": "leading", "steps_offset": 1},
    "karras": {"use_karras_sigmas": True},
    "exponential": {"use_exponential_sigmas": True},
}


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("n", [4, 20])
def test_euler_equals_diffusers(diffusers, spacing, n):
    sigmas = SCHEDULES[spacing](SD, n)
    scheduler = diffusers.EulerDiscreteScheduler(**BETAS, **SPACINGS[spacing])
    torch.testing.assert_close(run("euler", sigmas)[-1].x_next, last_of(scheduler, n, sigmas), atol=1e-4, rtol=0)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("n", [4, 20])
def test_heun_equals_diffusers(diffusers, spacing, n):
    sigmas = SCHEDULES[spacing](SD, n)
    scheduler = diffusers.HeunDiscreteScheduler(**BETAS, **SPACINGS[spacing])
    scheduler.set_timesteps(n)
    expected = (SEEDS.initial(SHAPE) * sigmas[0]).float()
    seen = [scheduler.sigmas[0], *scheduler.sigmas[1:-1]]
    for t, sigma in zip(scheduler.timesteps, seen, strict=True):
        x_in = scheduler.scale_model_input(expected, t)
        expected = scheduler.step(network(x_in, SD.sigma_to_t(float(sigma))), t, expected).prev_sample
    torch.testing.assert_close(run("heun", sigmas)[-1].x_next, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("spacing", ["sgm_uniform", "karras", "exponential"])
@pytest.mark.parametrize("n", [4, 20])
def test_dpmpp_2m_equals_diffusers(diffusers, spacing, n):
    """Its "linspace" and "leading" take other times than ours (one more, dropped), hence are not compared."""
    sigmas = SCHEDULES[spacing](SD, n)
    scheduler = diffusers.DPMSolverMultistepScheduler(**BETAS, **SPACINGS[spacing])
    expected = last_of(scheduler, n, sigmas, scaled=True)
    torch.testing.assert_close(run("dpmpp_2m", sigmas)[-1].x_next, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("spacing", ["sgm_uniform", "karras"])
def test_dpmpp_2m_sde_equals_diffusers_with_the_same_noise(diffusers, spacing, same_noise):
    from diffusers.schedulers import scheduling_dpmsolver_multistep as module

    same_noise(module)
    sigmas = SCHEDULES[spacing](SD, 20)
    scheduler = module.DPMSolverMultistepScheduler(**BETAS, **SPACINGS[spacing], algorithm_type="sde-dpmsolver++")
    expected = last_of(scheduler, 20, sigmas, scaled=True)
    torch.testing.assert_close(run("dpmpp_2m_sde", sigmas)[-1].x_next, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("spacing", ["linspace", "sgm_uniform", "ddpm"])
def test_euler_a_equals_diffusers_with_the_same_noise(diffusers, spacing, same_noise):
    from diffusers.schedulers import scheduling_euler_ancestral_discrete as module

    same_noise(module)
    sigmas = SCHEDULES[spacing](SD, 20)
    scheduler = module.EulerAncestralDiscreteScheduler(**BETAS, **SPACINGS[spacing])
    expected = last_of(scheduler, 20, sigmas)
    torch.testing.assert_close(run("euler_a", sigmas)[-1].x_next, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_ddim_equals_diffusers(diffusers, eta, same_noise):
    from diffusers.schedulers import scheduling_ddim as module

    same_noise(module)
    sigmas = SCHEDULES["ddpm"](SD, 20)
    scheduler = module.DDIMScheduler(**BETAS, **SPACINGS["ddpm"], clip_sample=False, set_alpha_to_one=True)
    scheduler.set_timesteps(20)
    x = (SEEDS.initial(SHAPE) * sigmas[0]).float() / (1 + sigmas[0] ** 2).float() ** 0.5
    for t in scheduler.timesteps:
        x = scheduler.step(network(x, t), t, x, eta=eta).prev_sample
    torch.testing.assert_close(run("ddim", sigmas, eta=eta)[-1].x_next, x, atol=1e-4, rtol=0)


def test_the_end_of_sd_15_differs_by_the_noise_of_its_first_level(diffusers):
    """set_alpha_to_one=False stops at sigma_0 = 0.029: the same x0, with that much of the last noise in it."""
    sigmas = SCHEDULES["ddpm"](SD, 20)
    scheduler = diffusers.DDIMScheduler(**BETAS, **SPACINGS["ddpm"], clip_sample=False, set_alpha_to_one=False)
    expected = last_of(scheduler, 20, sigmas, scaled=True)
    last = run("ddim", sigmas)[-1]
    with_trace = (last.x0 + SD.sigma_min * last.eps) / (1 + SD.sigma_min**2) ** 0.5
    torch.testing.assert_close(with_trace, expected, atol=1e-4, rtol=0)


def test_ddpm_equals_diffusers_with_the_same_noise(diffusers, same_noise):
    from diffusers.schedulers import scheduling_ddpm as module

    same_noise(module)
    sigmas = SCHEDULES["ddpm"](SD, 20)
    scheduler = module.DDPMScheduler(**BETAS, **SPACINGS["ddpm"], clip_sample=False, variance_type="fixed_small")
    expected = last_of(scheduler, 20, sigmas, scaled=True)
    torch.testing.assert_close(run("ddpm", sigmas)[-1].x_next, expected, atol=1e-4, rtol=0)


# --- relations between the samplers -----------------------------------------------------------------------------


def steps(function, sigmas, **options):
    x = (SEEDS.initial(SHAPE) * sigmas[0]).double()
    return [step.x_next for step in function(denoise, x, sigmas, noise=SEEDS, **options)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((ddim, {}), (euler, {})),
        ((ddim, {"eta": 1.0}), (ddpm, {})),
        ((euler_a, {}), (ddpm, {})),
        ((euler_a, {"eta": 0.5}), (ddim, {"eta": 0.5})),
        ((dpmpp_2m_sde, {"eta": 0.0}), (dpmpp_2m, {})),
    ],
)
def test_different_names_for_one_step(one, other):
    sigmas = SCHEDULES["karras"](SD, 12)
    for a, b in zip(steps(one[0], sigmas, **one[1]), steps(other[0], sigmas, **other[1]), strict=True):
        torch.testing.assert_close(a, b, atol=1e-10, rtol=0)


# --- order and distribution -------------------------------------------------------------------------------------

MEAN, SPREAD = 0.7, 0.5


def gaussian(x, sigma):
    """The exact denoiser of data N(MEAN, SPREAD^2): its ODE is linear."""
    return (SPREAD**2 * x + sigma**2 * MEAN) / (SPREAD**2 + sigma**2)


def ode_error(sampler, n):
    """Error at sigma 0.1 of n steps, equal in log sigma, from 10, against the solution in closed form."""
    sigmas = torch.from_numpy(np.geomspace(10, 0.1, n + 1))
    x = torch.tensor([[8.0], [-3.0]], dtype=torch.float64)
    *_, last = SAMPLERS[sampler].function(gaussian, x, sigmas, noise=SEEDS)
    exact = MEAN + (x - MEAN) * ((SPREAD**2 + 0.1**2) / (SPREAD**2 + 10**2)) ** 0.5
    return float((last.x_next - exact).abs().max())


@pytest.mark.parametrize(("sampler", "order"), [("euler", 1), ("ddim", 1), ("heun", 2), ("dpmpp_2m", 2)])
def test_convergence_order(sampler, order):
    ns = [64, 128, 256, 512]
    slope = np.polyfit(np.log(ns), np.log([ode_error(sampler, n) for n in ns]), 1)[0]
    assert -slope == pytest.approx(order, abs=0.1)


STOCHASTIC = [name for name, sampler in SAMPLERS.items() if sampler.stochastic]


def p_of_variance(x, mean, variance):
    """Two-sided p of the sum of squares under N(mean, variance), normal approximation to chi-square."""
    n = x.numel()
    z = (float(((x - mean) ** 2).sum() / variance) - n) / math.sqrt(2 * n)
    return math.erfc(abs(z) / math.sqrt(2))


@pytest.mark.parametrize("sampler", STOCHASTIC)
def test_noise_left_is_the_noise_announced(sampler):
    """For data at one point the posterior is exact: at every level the picture holds variance sigma^2, p > 0.001."""
    source = NoiseSource(5)
    sigmas = SCHEDULES["karras"](SD, 10)
    for step in run(sampler, sigmas, source, (1, 40_000), denoise=lambda x, sigma: torch.full_like(x, MEAN)):
        if step.is_last:
            torch.testing.assert_close(step.x_next, torch.full_like(step.x_next, MEAN))
        else:
            assert p_of_variance(step.x_next, MEAN, step.sigma_next**2) > 0.001


@pytest.mark.parametrize("sampler", STOCHASTIC)
def test_marginal_of_gaussian_data(sampler):
    """With the exact denoiser of N(MEAN, SPREAD^2), 600 steps end in that distribution, p > 0.001."""
    sigmas = torch.from_numpy(np.append(np.geomspace(20, 0.002, 600), 0.0))
    last = run(sampler, sigmas, NoiseSource(3), (1, 4000), denoise=gaussian)[-1].x_next
    assert p_of_variance(last, MEAN, SPREAD**2) > 0.001
    assert abs(float(last.mean()) - MEAN) < 3.3 * SPREAD / math.sqrt(4000)


# --- records, resuming, noise -----------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_resuming_anywhere_is_bit_equal(sampler):
    sigmas = SCHEDULES["karras"](SD, 7)
    whole = run(sampler, sigmas)
    for k, step in enumerate(whole[:-1]):
        rest = SAMPLERS[sampler].function(denoise, step.x_next, sigmas, noise=NoiseSource([11, 12]), start=k + 1, state=step.state)
        for a, b in zip(whole[k + 1 :], rest, strict=True):
            assert a.i == b.i
            assert torch.equal(a.x_next, b.x_next)
            assert torch.equal(a.x0, b.x0)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_record_of_a_step(sampler):
    sigmas = SCHEDULES["linspace"](SD, 5)
    calls = []

    class Counting:
        timestep = staticmethod(SD.sigma_to_t)

        def __call__(self, x, sigma):
            calls.append(sigma)
            return denoise(x, sigma)

    records = run(sampler, sigmas, denoise=Counting())
    assert [r.i for r in records] == [0, 1, 2, 3, 4]
    assert [r.is_last for r in records] == [False] * 4 + [True]
    assert [r.sigma for r in records] + [records[-1].sigma_next] == sigmas.tolist()
    assert len(calls) == 5 * SAMPLERS[sampler].evaluations - (sampler == "heun")
    for r, following in zip(records, records[1:], strict=False):
        assert torch.equal(r.x_next, following.x)
    r = records[2]
    assert r.n == 5
    assert r.t == pytest.approx(SD.sigma_to_t(r.sigma))
    torch.testing.assert_close(r.x0 + r.sigma * r.eps, r.x)
    torch.testing.assert_close(r.x0, denoise(r.x, r.sigma))
    torch.testing.assert_close(r.x_scaled * (1 + r.sigma**2) ** 0.5, r.x)
    assert torch.equal(records[-1].x_next, records[-1].x0) or sampler in ("euler", "heun", "euler_a")
    torch.testing.assert_close(records[-1].x_next, records[-1].x0, atol=1e-5, rtol=0)


def test_state_matters_to_multistep_methods_only():
    sigmas = SCHEDULES["karras"](SD, 6)
    for name, sampler in SAMPLERS.items():
        step = run(name, sigmas)[2]
        fresh = next(sampler.function(denoise, step.x_next, sigmas, noise=SEEDS, start=3))
        kept = next(sampler.function(denoise, step.x_next, sigmas, noise=SEEDS, start=3, state=step.state))
        assert torch.equal(fresh.x_next, kept.x_next) == (not name.startswith("dpmpp"))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_batch_is_its_pictures(sampler):
    """Elementwise denoiser: pictures of a batch equal the pictures made one by one, bit for bit."""
    sigmas = SCHEDULES["karras"](SD, 6)
    batch = run(sampler, sigmas, NoiseSource([7, 8, 9]), (3, 4, 5, 5))[-1].x_next
    for row, seed in zip(batch, (7, 8, 9), strict=True):
        single = run(sampler, sigmas, NoiseSource(seed), (1, 4, 5, 5))[-1].x_next
        assert torch.equal(single[0], row)


def test_noise_is_a_function_of_seed_and_step():
    source = NoiseSource([1, 2])
    third = source.step(3, SHAPE)
    source.step(0, SHAPE)
    torch.randn(5)
    assert torch.equal(source.step(3, SHAPE), third)
    assert torch.equal(source.initial(SHAPE)[0], torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(1)))
    draws = [source.initial(SHAPE), *(source.step(i, SHAPE) for i in range(30))]
    flat = torch.stack([d for draw in draws for d in draw.flatten(1)])  # (62, 256)
    correlation = torch.corrcoef(flat).fill_diagonal_(0)
    assert correlation.abs().max() < 5 / math.sqrt(256)  # 1891 pairs at 5 standard errors


def test_noise_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    NoiseSource(1).initial((1, 4))
    NoiseSource(1).step(2, (1, 4))
    assert torch.equal(torch.get_rng_state(), before)


def test_noise_for_another_number_of_pictures_is_refused():
    with pytest.raises(ValueError, match="3 pictures was asked of 2 seeds"):
        NoiseSource([1, 2]).initial((3, 4))


def test_titles_and_automatic_schedules():
    assert [s.title for s in SAMPLERS.values()] == [
        "DPM++ 2M", "DPM++ 2M SDE", "Euler", "Euler a", "Heun", "DDIM", "DDPM",
    ]  # fmt: skip
    assert all(sampler.schedule in SCHEDULES for sampler in SAMPLERS.values())


def test_the_form_knows_the_same_samplers_and_schedules():
    """app.jobs may not import models, so it repeats the names."""
    from app.jobs import diffusion as jobs

    assert {name: sampler.schedule for name, sampler in SAMPLERS.items()} == jobs.AUTOMATIC_SCHEDULE
    assert set(get_args(jobs.SamplerName)) == set(SAMPLERS)
    assert set(get_args(jobs.ScheduleName)) == {"automatic", *SCHEDULES}
