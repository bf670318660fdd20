"""Noise schedules and the spacing of sampling steps, kept apart from the samplers.

Two different things are called "schedule". A `NoiseSchedule` belongs to the trained network: it says how much
noise the picture holds at training time step t (DDPM, Ho et al. 2020, arXiv 2006.11239; cosine: Nichol and
Dhariwal 2021, arXiv 2102.09672). A spacing, here `SCHEDULES`, belongs to the user: it picks the N noise levels
at which the network is asked. Both meet in sigma, the noise of the picture in units of the picture
(Karras et al. 2022, arXiv 2206.00364, table 1):

    x_t = sqrt(ab_t) x0 + sqrt(1 - ab_t) eps        sigma_t = sqrt((1 - ab_t) / ab_t)
    x   = x_t / sqrt(ab_t) = x0 + sigma_t eps

**The end.** Every spacing ends in sigma = 0: the last step lands on the predicted clean picture. Stable
Diffusion 1.5 as configured in diffusers (`set_alpha_to_one=False`) ends at sigma_0 = 0.029 instead and
decodes a latent that still holds that trace of noise; the two differ by 0.029 eps and nothing else
(`tests/models/diffusion/test_samplers.py` shows it).

Tables are float64 on the CPU; a handful of numbers that every sampler turns into Python floats.

Read next: `samplers.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

RHO = 7.0  # Karras et al. 2022, section 3: curvature of their grid


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """The noise levels a network was trained on, t = 0 (nearly clean) .. T - 1 (nearly pure noise)."""

    name: str
    alphas_cumprod: Tensor  # (T,) float64, falling: the share of the signal's variance left at t

    @classmethod
    def from_betas(cls, name: str, betas: Tensor) -> NoiseSchedule:
        """The schedule whose step t adds noise of variance `betas[t]`: `ab_t = prod_{s <= t} (1 - beta_s)`."""
        return cls(name, torch.cumprod(1 - betas.double(), dim=0))

    @classmethod
    def scaled_linear(cls, n_steps: int = 1000) -> NoiseSchedule:
        """Stable Diffusion's: sqrt(beta) rises linearly from sqrt(.00085) to sqrt(.012); sigma .029 .. 14.6."""
        roots = torch.linspace(0.00085**0.5, 0.012**0.5, n_steps, dtype=torch.float64)
        return cls.from_betas("scaled_linear", roots**2)

    @classmethod
    def linear(cls, n_steps: int = 1000) -> NoiseSchedule:
        """DDPM's: beta rises linearly from 1e-4 to 0.02; sigma .01 .. 157."""
        return cls.from_betas("linear", torch.linspace(1e-4, 0.02, n_steps, dtype=torch.float64))

    @classmethod
    def cosine(cls, n_steps: int = 1000, offset: float = 0.008) -> NoiseSchedule:
        """Nichol and Dhariwal's: `ab = f(t) / f(0)`, `f = cos^2((t/T + .008) / 1.008 pi/2)`, beta <= .999."""
        time = torch.linspace(0, 1, n_steps + 1, dtype=torch.float64)
        level = torch.cos((time + offset) / (1 + offset) * math.pi / 2) ** 2
        return cls.from_betas("cosine", (1 - level[1:] / level[:-1]).clamp(max=0.999))

    @classmethod
    def through(cls, name: str, shares: Sequence[float], n_steps: int = 1000) -> NoiseSchedule:
        """A curve by hand: `alphas_cumprod` passes through falling shares, evenly spaced from t = 0 to 1, smoothly in the logarithm of
        signal over noise, and falls everywhere."""
        values = np.array(shares)
        time = np.arange(1, n_steps + 1) / n_steps
        ratio = rising_cubic(np.linspace(0, 1, len(values)), np.log((1 - values) / values), time)
        return cls(name, torch.from_numpy(1 / (1 + np.exp(ratio))))

    @property
    def n_steps(self) -> int:
        """T, the number of noise levels of the training."""
        return len(self.alphas_cumprod)

    @property
    def sigmas(self) -> Tensor:
        """(T,) float64, rising: `sqrt((1 - ab) / ab)`."""
        return ((1 - self.alphas_cumprod) / self.alphas_cumprod).sqrt()

    @property
    def sigma_min(self) -> float:
        """The smallest noise the network has seen."""
        return float(self.sigmas[0])

    @property
    def sigma_max(self) -> float:
        """The largest noise the network has seen; sampling starts here."""
        return float(self.sigmas[-1])

    def t_to_sigma(self, t: float) -> float:
        """sigma at time t, a whole number or between two (linear in log sigma); t is held in 0 .. T - 1."""
        log_sigmas = self.sigmas.log().numpy()
        return float(np.exp(np.interp(t, np.arange(self.n_steps), log_sigmas)))

    def sigma_to_t(self, sigma: float) -> float:
        """The time at which training held noise sigma: the inverse of `t_to_sigma`; 0 for sigma = 0."""
        log_sigmas = self.sigmas.log().numpy()
        return float(np.interp(math.log(max(sigma, 1e-10)), log_sigmas, np.arange(self.n_steps)))


def rising_cubic(knots: np.ndarray, values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """A smooth curve through rising values at evenly spaced knots that never falls (Fritsch and Carlson 1980).

    Cubic pieces; the slope at a knot is the harmonic mean of those of the lines beside it, which is small enough for that.
    """
    gap = knots[1] - knots[0]
    line = np.diff(values) / gap
    slope = np.concatenate([line[:1], 2 * line[1:] * line[:-1] / (line[1:] + line[:-1]), line[-1:]])
    k = np.clip(np.searchsorted(knots, at) - 1, 0, len(line) - 1)
    u = (at - knots[k]) / gap
    bend = slope[k] + slope[k + 1] - 2 * line[k]
    return values[k] + gap * u * (slope[k] + u * (line[k] - slope[k] - (1 - u) * bend))


NOISE_SCHEDULES: dict[str, Callable[[], NoiseSchedule]] = {
    "scaled_linear": NoiseSchedule.scaled_linear,
    "linear": NoiseSchedule.linear,
    "cosine": NoiseSchedule.cosine,
}


@dataclass(frozen=True)
class Spacing:
    """One way to pick N noise levels; called, it returns them with the final 0."""

    title: str  # as A1111 names it
    pick: Callable[[NoiseSchedule, int], np.ndarray]  # -> (n,) sigmas, falling, without the 0

    def __call__(self, schedule: NoiseSchedule, n: int) -> Tensor:
        """(n + 1,) float64, strictly falling, last 0. Raises ValueError unless 1 <= n <= T."""
        if not 1 <= n <= schedule.n_steps:
            raise ValueError(f"Sampling takes 1 to {schedule.n_steps} steps, not {n}.")
        return torch.from_numpy(np.append(self.pick(schedule, n), 0.0))


def _at_times(schedule: NoiseSchedule, times: np.ndarray) -> np.ndarray:
    """Sigmas at times that may lie between two whole ones: linear in sigma, as diffusers does."""
    return np.interp(times, np.arange(schedule.n_steps), schedule.sigmas.numpy())


def _leading(schedule: NoiseSchedule, n: int) -> np.ndarray:
    """Every (T // n)-th time counted from 0, moved up by one (`steps_offset` 1): SD 1.5's, 981 .. 1 at n = 50."""
    stride = schedule.n_steps // n
    offset = min(1, schedule.n_steps - 1 - stride * (n - 1))  # n = T leaves no room to move up
    return _at_times(schedule, np.arange(n)[::-1] * stride + offset)


def _linspace(schedule: NoiseSchedule, n: int) -> np.ndarray:
    """n times evenly from T - 1 down to 0, both included."""
    return _at_times(schedule, np.linspace(schedule.n_steps - 1, 0, n))


def _trailing(schedule: NoiseSchedule, n: int) -> np.ndarray:
    """n times evenly from T - 1 down, stopping one stride above the end (Lin et al., arXiv 2305.08891)."""
    times = np.round(schedule.n_steps - np.arange(n) * (schedule.n_steps / n)) - 1
    return _at_times(schedule, times)


def karras_grid(sigma_max: float, sigma_min: float, n: int) -> np.ndarray:
    """n levels, both ends included, evenly in sigma^(1/7): long steps in noise, short ones near the picture (arXiv 2206.00364, eq. 5)."""
    return np.linspace(sigma_max ** (1 / RHO), sigma_min ** (1 / RHO), n) ** RHO


def _karras(schedule: NoiseSchedule, n: int) -> np.ndarray:
    return karras_grid(schedule.sigma_max, schedule.sigma_min, n)


def _exponential(schedule: NoiseSchedule, n: int) -> np.ndarray:
    """Evenly in log sigma."""
    return np.exp(np.linspace(math.log(schedule.sigma_max), math.log(schedule.sigma_min), n))


SCHEDULES: dict[str, Spacing] = {
    "karras": Spacing("Karras", _karras),
    "exponential": Spacing("Exponential", _exponential),
    "sgm_uniform": Spacing("SGM Uniform", _trailing),
    "linspace": Spacing("Uniform", _linspace),
    "ddpm": Spacing("DDPM", _leading),
}
