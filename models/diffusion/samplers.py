"""Samplers: seven ways from noise to picture behind one contract, `denoise(x, sigma) -> x0`.

All work in sigma space (Karras et al. 2022, arXiv 2206.00364): the picture is `x = x0 + sigma eps`, the
probability-flow ODE is `dx/dsigma = (x - D(x, sigma)) / sigma`, where D is `denoise`. In this space much that
carries different names is one formula: DDIM with eta 0 is Euler; DDPM's posterior, DDIM with eta 1 and
Euler a are the same step (tests prove each), and only the spacing of the sigmas that people use with them differs.

Every sampler is a generator `f(denoise, x, sigmas, *, noise, start=0, state=None, eta=…)` of `DenoiseStep`:

- `x` (B, C, H, W) at noise level `sigmas[start]`; for a new picture `noise.initial(shape) * sigmas[0]`.
- `sigmas` (n + 1,) falling; ends in 0 for pictures, at any level for experiments.
- `noise` is asked by step number, so that a run continued at step k with the `state` of step k - 1 is bit
  for bit the run that was never interrupted.
- `state` None in the middle of a run is allowed: multistep methods then begin again with a first-order step.

Nothing is kept open across a yield; whether gradients are recorded is the caller's business.

Read next: `denoiser.py`, which builds `denoise` from a network; `schedule.py` for the sigmas.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.steps import DenoiseStep, SolverState

Denoise = Callable[[Tensor, float], Tensor]
"""`denoise(x, sigma) -> x0`, the expected clean picture; it may offer `.timestep(sigma) -> float` for display."""


class NoiseSource:
    """Gaussian noise as a function of (seed of the picture, number of the step), drawn on the CPU.

    Counting instead of consuming a stream means that previews, restarts from step k, skipped steps, the batch
    a picture happens to be in and the device it is made on never change it. `initial` is the noise that
    `torch.manual_seed(seed)` gives, so a seed starts from the same noise here as in other CPU-seeded programs.
    """

    def __init__(self, seeds: Sequence[int] | int) -> None:
        self.seeds = (seeds,) if isinstance(seeds, int) else tuple(seeds)

    def initial(self, shape: Sequence[int]) -> Tensor:
        """Unit noise to start from, float32 on the CPU; `shape[0]` must be the number of seeds."""
        return self._draw(self.seeds, shape)

    def step(self, i: int, shape: Sequence[int]) -> Tensor:
        """Unit noise to add in step i, float32 on the CPU; independent of `initial` and of other steps."""
        return self._draw([_mix(seed, i) for seed in self.seeds], shape)

    def _draw(self, seeds: Sequence[int], shape: Sequence[int]) -> Tensor:
        if shape[0] != len(seeds):
            raise ValueError(f"Noise for {shape[0]} pictures was asked of {len(seeds)} seeds.")
        return torch.stack([_gaussian(seed, shape[1:]) for seed in seeds])


def _gaussian(seed: int, shape: Sequence[int]) -> Tensor:
    generator = torch.Generator(device="cpu").manual_seed(seed)
    return torch.randn(tuple(shape), generator=generator, dtype=torch.float32)


def _mix(seed: int, i: int) -> int:
    """A well-spread 32-bit seed from (seed, step): the finaliser of SplitMix64 (Steele et al. 2014).

    The generator of torch reads only the low 32 bits of a seed, hence the mixing down to them.
    """
    mask = 2**64 - 1
    z = (seed + (i + 1) * 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return (z ^ (z >> 31)) >> 32


def ddpm(
    denoise: Denoise, x: Tensor, sigmas: Tensor, *, noise: NoiseSource,
    start: int = 0, state: SolverState | None = None, eta: float = 1.0,
) -> Iterator[DenoiseStep]:
    """Ancestral sampling with the true posterior (Ho et al. 2020, eq. 7, variance "fixed small").

    In sigma space, from sigma to s < sigma, with `k = s^2 / sigma^2`:
    `q(x_s | x, x0) = N(k x + (1 - k) x0, s^2 (1 - k))`; `eta` scales the standard deviation.
    """
    levels = sigmas.tolist()
    for i in range(start, len(levels) - 1):
        sigma, sigma_next = levels[i], levels[i + 1]
        x0 = denoise(x, sigma)
        keep = (sigma_next / sigma) ** 2
        x_next = keep * x + (1 - keep) * x0
        x_next = _add_noise(x_next, eta * sigma_next * math.sqrt(1 - keep), noise, i)
        yield _step(denoise, i, levels, x, x0, x_next)
        x = x_next


def ddim(
    denoise: Denoise, x: Tensor, sigmas: Tensor, *, noise: NoiseSource,
    start: int = 0, state: SolverState | None = None, eta: float = 0.0,
) -> Iterator[DenoiseStep]:
    """Song et al. 2021 (arXiv 2010.02502), eq. 12: go to the new level along the predicted noise.

    `x_s = x0 + sqrt(s^2 - d^2) eps + d z`, `d = eta s sqrt(1 - s^2 / sigma^2)`. eta 0 is deterministic (and
    Euler), eta 1 is DDPM.
    """
    levels = sigmas.tolist()
    for i in range(start, len(levels) - 1):
        sigma, sigma_next = levels[i], levels[i + 1]
        x0 = denoise(x, sigma)
        eps = (x - x0) / sigma
        fresh = min(sigma_next, eta * sigma_next * math.sqrt(1 - (sigma_next / sigma) ** 2))
        x_next = x0 + math.sqrt(sigma_next**2 - fresh**2) * eps
        x_next = _add_noise(x_next, fresh, noise, i)
        yield _step(denoise, i, levels, x, x0, x_next)
        x = x_next


def euler(
    denoise: Denoise, x: Tensor, sigmas: Tensor, *, noise: NoiseSource,
    start: int = 0, state: SolverState | None = None, eta: float = 0.0,
) -> Iterator[DenoiseStep]:
    """Euler's method on the probability-flow ODE: `x_s = x + (s - sigma) (x - x0) / sigma`. First order."""
    levels = sigmas.tolist()
    for i in range(start, len(levels) - 1):
        sigma, sigma_next = levels[i], levels[i + 1]
        x0 = denoise(x, sigma)
        slope = (x - x0) / sigma
        x_next = x + (sigma_next - sigma) * slope
        yield _step(denoise, i, levels, x, x0, x_next)
        x = x_next


def euler_a(
    denoise: Denoise, x: Tensor, sigmas: Tensor, *, noise: NoiseSource,
    start: int = 0, state: SolverState | None = None, eta: float = 1.0,
) -> Iterator[DenoiseStep]:
    """Euler ancestral: an Euler step down past the new level, then fresh noise back up to it.

    `up = eta s sqrt(1 - s^2 / sigma^2)`, `down = sqrt(s^2 - up^2)`, `x_s = x + (down - sigma) eps + up z`.
    """
    levels = sigmas.tolist()
    for i in range(start, len(levels) - 1):
        sigma, sigma_next = levels[i], levels[i + 1]
        x0 = denoise(x, sigma)
        up = min(sigma_next, eta * sigma_next * math.sqrt(1 - (sigma_next / sigma) ** 2))
        down = math.sqrt(sigma_next**2 - up**2)
        slope = (x - x0) / sigma
        x_next = _add_noise(x + (down - sigma) * slope, up, noise, i)
        yield _step(denoise, i, levels, x, x0, x_next)
        x = x_next


def heun(
    denoise: Denoise, x: Tensor, sigmas: Tensor, *, noise: NoiseSource,
    start: int = 0, state: SolverState | None = None, eta: float = 0.0,
) -> Iterator[DenoiseStep]:
    """Heun's method (Karras et al. 2022, algorithm 1): the mean of the slopes at both ends. Second order.

    Asks the network twice a step, but once in a step to sigma 0, where the slope is not defined.
    """
    levels = sigmas.tolist()
    for i in range(start, len(levels) - 1):
        sigma, sigma_next = levels[i], levels[i + 1]
        x0 = denoise(x, sigma)
        slope = (x - x0) / sigma
        x_next = x + (sigma_next - sigma) * slope
        if sigma_next > 0:
            slope_next = (x_next - denoise(x_next, sigma_next)) / sigma_next
            x_next = x + (sigma_next - sigma) * (slope + slope_next) / 2
        yield _step(denoise, i, levels, x, x0, x_next)
        x = x_next


def dpmpp_2m(
    denoise: Denoise, x: Tensor, sigmas: Tensor, *, noise: NoiseSource,
    start: int = 0, state: SolverState | None = None, eta: float = 0.0,
) -> Iterator[DenoiseStep]:
    """DPM-Solver++(2M) (Lu et al. 2022, arXiv 2211.01095, algorithm 2). Second order, one evaluation a step.

    Exact in the linear part of the ODE in `lambda = -ln sigma`; x0 is extrapolated to the middle of the step
    from this evaluation and the last: `x_s = (s / sigma) x + (1 - e^-h) D`, `h = ln(sigma / s)`.
    """
    levels = sigmas.tolist()
    for i in range(start, len(levels) - 1):
        sigma, sigma_next = levels[i], levels[i + 1]
        x0 = denoise(x, sigma)
        keep = sigma_next / sigma  # e^-h
        x_next = keep * x + (1 - keep) * _mid_step(x0, sigma, sigma_next, state)
        yield (step := _step(denoise, i, levels, x, x0, x_next))
        x, state = x_next, step.state


def dpmpp_2m_sde(
    denoise: Denoise, x: Tensor, sigmas: Tensor, *, noise: NoiseSource,
    start: int = 0, state: SolverState | None = None, eta: float = 1.0,
) -> Iterator[DenoiseStep]:
    """DPM-Solver++(2M) for the reverse SDE (Lu et al. 2022, SDE-DPM-Solver++(2M), midpoint form).

    `x_s = (s / sigma) e^(-eta h) x + (1 - e^(-(1 + eta) h)) D + s sqrt(1 - e^(-2 eta h)) z`; eta 0 is DPM++ 2M.
    """
    levels = sigmas.tolist()
    for i in range(start, len(levels) - 1):
        sigma, sigma_next = levels[i], levels[i + 1]
        x0 = denoise(x, sigma)
        keep = (sigma_next / sigma) ** (1 + eta)
        x_next = keep * x + (1 - keep) * _mid_step(x0, sigma, sigma_next, state)
        fresh = sigma_next * math.sqrt(1 - (sigma_next / sigma) ** (2 * eta))
        x_next = _add_noise(x_next, fresh, noise, i)
        yield (step := _step(denoise, i, levels, x, x0, x_next))
        x, state = x_next, step.state


def _mid_step(x0: Tensor, sigma: float, sigma_next: float, last: SolverState | None) -> Tensor:
    """x0 at the middle of the step in log sigma, on the line through the last two evaluations.

    `D = x0 + (x0 - x0_last) h / (2 h_last)`. Without a last evaluation, and in a step to sigma 0 (h infinite),
    x0 itself: the step is then first order.
    """
    if last is None or sigma_next == 0:
        return x0
    h, h_last = math.log(sigma / sigma_next), math.log(last.sigma / sigma)
    return x0 + (x0 - last.x0) * (h / (2 * h_last))


def _add_noise(x: Tensor, scale: float, noise: NoiseSource, i: int) -> Tensor:
    """`x + scale z` with the noise of step i; no noise is drawn for scale 0."""
    return x if scale == 0 else x + scale * noise.step(i, x.shape).to(x)


def _step(denoise: Denoise, i: int, levels: list[float], x: Tensor, x0: Tensor, x_next: Tensor) -> DenoiseStep:
    clock = getattr(denoise, "timestep", None)
    return DenoiseStep(
        i=i, n=len(levels) - 1, sigma=levels[i], sigma_next=levels[i + 1],
        t=None if clock is None else clock(levels[i]),
        x=x, x0=x0, x_next=x_next, is_last=i == len(levels) - 2,
        state=SolverState(x0=x0, sigma=levels[i]),
    )  # fmt: skip


@dataclass(frozen=True)
class Sampler:
    """A sampler with what the window says about it."""

    title: str  # as A1111 names it
    function: Callable[..., Iterator[DenoiseStep]]
    evaluations: int  # of the network in a step (Heun saves one in the last)
    stochastic: bool  # adds noise on the way with its usual eta
    schedule: str  # the spacing that "Automatic" stands for, an id of `schedule.SCHEDULES`


SAMPLERS: dict[str, Sampler] = {
    "dpmpp_2m": Sampler("DPM++ 2M", dpmpp_2m, 1, False, "karras"),
    "dpmpp_2m_sde": Sampler("DPM++ 2M SDE", dpmpp_2m_sde, 1, True, "karras"),
    "euler": Sampler("Euler", euler, 1, False, "linspace"),
    "euler_a": Sampler("Euler a", euler_a, 1, True, "linspace"),
    "heun": Sampler("Heun", heun, 2, False, "karras"),
    "ddim": Sampler("DDIM", ddim, 1, False, "ddpm"),
    "ddpm": Sampler("DDPM", ddpm, 1, True, "ddpm"),
}
