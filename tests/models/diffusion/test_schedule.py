"""Noise schedules against their definitions and diffusers'; spacings against diffusers' sigmas."""

import math

import numpy as np
import pytest
import torch

from models.diffusion.schedule import NOISE_SCHEDULES, SCHEDULES, NoiseSchedule

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in diffusers

SD = NoiseSchedule.scaled_linear()


@pytest.fixture(scope="module")
def diffusers():
    return pytest.importorskip("diffusers")


def test_sd_levels():
    assert SD.n_steps == 1000
    assert SD.sigma_min == pytest.approx(0.0292, abs=5e-5)
    assert SD.sigma_max == pytest.approx(14.6146, abs=5e-4)


def test_cosine_follows_its_formula_until_the_clip():
    ab = NoiseSchedule.cosine().alphas_cumprod
    f = lambda t: math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2  # noqa: E731
    for t in (0, 1, 499, 900):
        assert float(ab[t]) == pytest.approx(f((t + 1) / 1000) / f(0), rel=1e-9)
    assert float(1 - ab[-1] / ab[-2]) == pytest.approx(0.999)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("scaled_linear", {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}),
        ("linear", {"beta_schedule": "linear"}),
        ("cosine", {"beta_schedule": "squaredcos_cap_v2"}),
    ],
)
def test_alphas_cumprod_equal_diffusers(diffusers, name, theirs):
    reference = diffusers.DDPMScheduler(**theirs).alphas_cumprod
    torch.testing.assert_close(NOISE_SCHEDULES[name]().alphas_cumprod.float(), reference, rtol=2e-4, atol=1e-8)


@pytest.mark.parametrize("name", NOISE_SCHEDULES)
def test_time_and_sigma_are_inverse(name):
    schedule = NOISE_SCHEDULES[name]()
    for t in (0, 1, 17.25, 500, 998.5, 999):
        assert schedule.sigma_to_t(schedule.t_to_sigma(t)) == pytest.approx(t, abs=1e-6)
    assert schedule.t_to_sigma(500) == pytest.approx(float(schedule.sigmas[500]))
    assert schedule.sigma_to_t(0.0) == 0
    assert schedule.sigma_to_t(1e9) == 999


def test_between_two_times_sigma_is_their_geometric_mean():
    expected = math.sqrt(float(SD.sigmas[400]) * float(SD.sigmas[401]))
    assert SD.t_to_sigma(400.5) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("n", [1, 2, 3, 7, 20, 50, 150, 999, 1000])
def test_levels_fall_to_zero(name, n):
    sigmas = SCHEDULES[name](SD, n)
    assert sigmas.shape == (n + 1,)
    assert sigmas[-1] == 0
    assert (sigmas.diff() < 0).all()
    assert sigmas[0] <= SD.sigma_max * (1 + 1e-12)


@pytest.mark.parametrize("n", [0, -3, 1001])
def test_impossible_numbers_of_steps_are_refused(n):
    with pytest.raises(ValueError, match="1 to 1000 steps"):
        SCHEDULES["karras"](SD, n)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ddpm", {"timestep_spacing": "leading", "steps_offset": 1}),
        ("linspace", {"timestep_spacing": "linspace"}),
        ("sgm_uniform", {"timestep_spacing": "trailing"}),
        ("karras", {"use_karras_sigmas": True}),
        ("exponential", {"use_exponential_sigmas": True}),
    ],
)
@pytest.mark.parametrize("n", [5, 20, 31])
def test_levels_equal_diffusers(diffusers, name, options, n):
    reference = diffusers.EulerDiscreteScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, **options
    )
    reference.set_timesteps(n)
    np.testing.assert_allclose(SCHEDULES[name](SD, n), reference.sigmas, rtol=2e-5, atol=1e-6)
    times = [SD.sigma_to_t(sigma) for sigma in SCHEDULES[name](SD, n).tolist()[:-1]]
    np.testing.assert_allclose(times, reference.timesteps, atol=0.02)


def test_titles_are_those_of_a1111():
    assert {name: spacing.title for name, spacing in SCHEDULES.items()} == {
        "karras": "Karras",
        "exponential": "Exponential",
        "sgm_uniform": "SGM Uniform",
        "linspace": "Uniform",
        "ddpm": "DDPM",
    }
