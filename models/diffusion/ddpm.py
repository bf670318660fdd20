"""DDPM and DDIM on data of any shape: the noising chain in T = 1000 links, and two ways back along it.

Forward (Ho et al. 2020, arXiv 2006.11239, eq. 2 and 4), with `alpha_t = 1 - beta_t` and `ab_t = alpha_0 ... alpha_t`:

    x_t = sqrt(alpha_t) x_{t-1} + sqrt(beta_t) z      so that      x_t = sqrt(ab_t) x0 + sqrt(1 - ab_t) eps

Backward, from t to any earlier s, a network's guess of eps (or of v, or of x0) stands for eps and x0. DDPM draws from the posterior
q(x_s | x_t, x0) (eq. 7); DDIM goes along the guessed eps itself (Song et al. 2021, arXiv 2010.02502, eq. 12), needs no noise, and run
with s > t it leads from data to noise. In the end `ab_{-1} = 1`: the last step lands on the guessed x0, without noise.

The same two steps in sigma space, `x = x_t / sqrt(ab_t)`, are `samplers.ddpm` and `samplers.ddim`; tests show that they agree. Here
they stand as the papers write them, with both variances of DDPM, clipping and inversion. Schedules: `schedule.NoiseSchedule`.
Read next: `sde.py`, the limit of infinitely many links.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from models.diffusion import noise_model
from models.diffusion.denoiser import Prediction, to_x0
from models.diffusion.noise_model import GUIDANCE, LABEL, ExactNoise, NoiseModel
from models.diffusion.schedule import NoiseSchedule
from models.fitting import FitConfig
from models.plane.data import Cloud
from models.plane.method import Knobs, Method, PlaneKnob, PlaneStep, Plot, Preset
from models.steps import TrainStep

Predict = Callable[[Tensor, int], Tensor]
"""`predict(x_t, t)`: a network's output at link t, of the kind its `Prediction` names."""
Variance = Literal["small", "large"]


# --- forward ---


def link(schedule: NoiseSchedule, x: Tensor, t: int, z: Tensor) -> Tensor:
    """One link of the chain, `q(x_t | x_{t-1})`: a little less signal, a little more noise z."""
    alpha = signal_share(schedule, t) / signal_share(schedule, t - 1)
    return math.sqrt(alpha) * x + math.sqrt(1 - alpha) * z


def noised(schedule: NoiseSchedule, x0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
    """t links at once, `q(x_t | x0)`; t (B,) or (), one for each row of x0 (B, ...)."""
    share = schedule.alphas_cumprod[t].reshape(-1, *[1] * (x0.dim() - 1))
    return share.sqrt().to(x0.dtype) * x0 + (1 - share).sqrt().to(x0.dtype) * eps


def signal_share(schedule: NoiseSchedule, t: int) -> float:
    """`ab_t`, the share of the signal's variance left after link t; `ab_{-1} = 1`, the data themselves."""
    return 1.0 if t < 0 else float(schedule.alphas_cumprod[t])


# --- backward ---


def clean_and_noise(prediction: Prediction, output: Tensor, x: Tensor, ab: float, clip: float = 0.0) -> tuple[Tensor, Tensor]:
    """The x0 and the eps that an output at x_t stands for; `x = sqrt(ab) x0 + sqrt(1 - ab) eps` holds for the pair.

    `clip` > 0 holds x0 within +-clip, and eps is then read off the clipped x0: a clipped x0 with the unclipped eps fits no x_t.
    """
    x0 = to_x0(prediction, output, x / math.sqrt(ab), math.sqrt((1 - ab) / ab))
    x0 = x0.clamp(-clip, clip) if clip else x0
    return x0, (x - math.sqrt(ab) * x0) / math.sqrt(1 - ab)


def posterior(x: Tensor, x0: Tensor, ab_t: float, ab_s: float, variance: Variance = "small") -> tuple[Tensor, float]:
    """Mean and variance of `q(x_s | x_t, x0)`, from t to an earlier s.

    With `alpha = ab_t / ab_s` and `beta = 1 - alpha`: mean `sqrt(ab_s) beta / (1 - ab_t) x0 + sqrt(alpha) (1 - ab_s) / (1 - ab_t) x_t`,
    variance `beta (1 - ab_s) / (1 - ab_t)`, or beta itself ("large", the other end of what is sensible; Ho et al., section 3.2).
    """
    alpha = ab_t / ab_s
    beta = 1 - alpha
    mean = math.sqrt(ab_s) * beta / (1 - ab_t) * x0 + math.sqrt(alpha) * (1 - ab_s) / (1 - ab_t) * x
    return mean, beta if variance == "large" else beta * (1 - ab_s) / (1 - ab_t)


def ddim_deviation(ab_t: float, ab_s: float, eta: float) -> float:
    """The fresh noise of a DDIM step, `eta sqrt((1 - ab_s) / (1 - ab_t)) sqrt(1 - ab_t / ab_s)`; eta 1 is DDPM's small variance."""
    return eta * math.sqrt((1 - ab_s) / (1 - ab_t) * (1 - ab_t / ab_s)) if eta else 0.0


def ddim_mean(x0: Tensor, eps: Tensor, ab_s: float, deviation: float = 0.0) -> Tensor:
    """`sqrt(ab_s) x0 + sqrt(1 - ab_s - deviation^2) eps`: the same noise, at the level of s."""
    return math.sqrt(ab_s) * x0 + math.sqrt(max(0.0, 1 - ab_s - deviation**2)) * eps


# --- walks ---


def stops(schedule: NoiseSchedule, n: int) -> list[int]:
    """n links from the noisiest to the first, both included and evenly spread, then -1, the data: n + 1 numbers, falling."""
    if not 1 <= n <= schedule.n_steps:
        raise ValueError(f"The chain is walked in 1 to {schedule.n_steps} steps, not {n}.")
    return [*np.linspace(schedule.n_steps - 1, 0, n).round().astype(int).tolist(), -1]


def walk(
    predict: Predict, x: Tensor, schedule: NoiseSchedule, times: Sequence[int], generator: torch.Generator, *,
    sampler: Literal["ddpm", "ddim"] = "ddim", eta: float = 0.0, variance: Variance = "small", clip: float = 0.0,
    prediction: Prediction = "epsilon",
) -> Iterator[PlaneStep]:
    """From x at link `times[0]` to link `times[-1]` (-1: the data), one evaluation a step."""  # fmt: skip
    yield step(schedule, x, times[0], 0, last=len(times) < 2)
    for i, (t, s) in enumerate(zip(times, times[1:]), 1):
        ab_t, ab_s = signal_share(schedule, t), signal_share(schedule, s)
        x0, eps = clean_and_noise(prediction, predict(x, t), x, ab_t, clip)
        if sampler == "ddpm":
            mean, spread = posterior(x, x0, ab_t, ab_s, variance)
            deviation = math.sqrt(spread)
        else:
            deviation = ddim_deviation(ab_t, ab_s, eta)
            mean = ddim_mean(x0, eps, ab_s, deviation)
        noisy = deviation > 0 and s >= 0  # the data get no noise, whatever the variance
        x = mean + deviation * torch.randn(x.shape, generator=generator, dtype=x.dtype) if noisy else mean
        says = chain_says(ab_t, ab_s, deviation if noisy else 0.0, sampler)
        yield replace(step(schedule, x, s, i, last=i == len(times) - 1, x0=x0), says=says)


def invert(
    predict: Predict, x: Tensor, schedule: NoiseSchedule, times: Sequence[int], *, prediction: Prediction = "epsilon"
) -> Iterator[PlaneStep]:
    """DDIM upward: from the data x through rising `times` to noise that `walk` leads back to (nearly) x.

    The guess of eps at one level is taken for the whole step to the next, so the error falls with the length of the steps. The data
    themselves have no noise to guess; the network is told that they stand at link 0.
    """
    yield step(schedule, x, -1, 0, last=not times)
    for i, (s, t) in enumerate(zip((-1, *times), times), 1):
        ab_s, told = signal_share(schedule, s), max(s, 0)
        _, eps = clean_and_noise(prediction, predict(x, told), x, signal_share(schedule, told))
        x0 = (x - math.sqrt(1 - ab_s) * eps) / math.sqrt(ab_s)
        x = ddim_mean(x0, eps, signal_share(schedule, t))
        yield step(schedule, x, t, i, last=i == len(times), x0=x0)


def chain_says(ab_t: float, ab_s: float, deviation: float, sampler: str) -> str:
    """The step's equation with its numbers."""
    tail = f" + {deviation:.3g} z" if deviation else ""
    if sampler == "ddim":
        return f"x = {math.sqrt(ab_s):.3g} x̂₀ + {math.sqrt(max(0.0, 1 - ab_s - deviation**2)):.3g} ε̂{tail}"
    alpha = ab_t / ab_s
    clean, kept = math.sqrt(ab_s) * (1 - alpha) / (1 - ab_t), math.sqrt(alpha) * (1 - ab_s) / (1 - ab_t)
    return f"x = {clean:.3g} x̂₀ + {kept:.3g} x{tail}"


def step(schedule: NoiseSchedule, x: Tensor, t: int, evaluations: int, *, last: bool, x0: Tensor | None = None) -> PlaneStep:
    """The state after link t (-1: the data); its clock runs from 0 to 1."""
    ab = signal_share(schedule, t)
    return PlaneStep(
        x=x, time=(t + 1) / schedule.n_steps, signal=math.sqrt(ab), noise=math.sqrt(1 - ab), evaluations=evaluations, last=last, x0=x0,
    )  # fmt: skip


# --- the plane's row ---

ETA = PlaneKnob(
    name="eta", title="Eta", default=0.0, lo=0.0, hi=1.0,
    help="How much of DDIM's noise is drawn anew in each step: 0 none (the same noise always gives the same point), 1 as much as DDPM.",
)  # fmt: skip
LARGE = PlaneKnob(
    name="large_variance", title="Large variance", default=0, lo=0, hi=1, whole=True,
    help="1: DDPM's steps add noise of variance beta instead of the posterior's smaller one.",
)  # fmt: skip


COSINE = PlaneKnob(
    name="cosine", title="Cosine schedule", default=0, lo=0, hi=1, whole=True,
    help="0: beta rises evenly from 0.0001 to 0.02. 1: the cosine schedule, which leaves more signal in the middle of the way.",
)  # fmt: skip


@cache
def chains() -> tuple[NoiseSchedule, NoiseSchedule]:
    """The linear and the cosine chain, this one cut where less signal is left than at the other's end (its last links would leave a
    guess of eps multiplied by ten thousands). A network knows levels and no links, so one training serves both."""
    linear, cosine = NoiseSchedule.linear(), NoiseSchedule.cosine()
    return linear, NoiseSchedule("cosine", cosine.alphas_cumprod[cosine.alphas_cumprod >= linear.alphas_cumprod[-1]])


def chain_of(knobs: Knobs) -> NoiseSchedule:
    """The chain that the knobs ask for."""
    return chains()[int(knobs["cosine"])]


def _levels(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """sqrt(ab) and sqrt(1 - ab) (n,) at n links drawn uniformly, half of them of either chain."""
    shares = torch.cat([chain.alphas_cumprod for chain in chains()])
    share = shares[torch.randint(len(shares), (n,), generator=generator)]
    return share.sqrt().float(), (1 - share).sqrt().float()


def plots(net: nn.Module, facts: dict, knobs: Knobs) -> tuple[Plot, ...]:
    """The share of the signal, and the ratio of signal to noise, along both chains."""
    shares = {chain.name: chain.alphas_cumprod[::10] for chain in chains()}
    ratios = {name: share / (1 - share) for name, share in shares.items()}
    return (
        Plot(title="Share of the signal", x="t / 1000", y="ᾱ", clock="time", curves=_over_links(shares)),
        Plot(title="Signal over noise", x="t / 1000", y="ᾱ / (1 − ᾱ)", clock="time", log_y=True, curves=_over_links(ratios)),
    )


def _over_links(values: dict[str, Tensor]) -> dict[str, tuple[tuple[float, float], ...]]:
    return {name: tuple((k / len(one), value) for k, value in enumerate(one.tolist(), 1)) for name, one in values.items()}


def _train(net: NoiseModel, cloud: Cloud, config: FitConfig, batch_size: int) -> Iterator[TrainStep]:
    yield from noise_model.train(net, cloud, config, batch_size, _levels)


def predict_of(schedule: NoiseSchedule, model: nn.Module) -> Predict:
    """eps at link t from a noise model, which is told the level instead."""

    @torch.no_grad()
    def predict(x: Tensor, t: int) -> Tensor:
        ab = signal_share(schedule, t)
        return model(x, math.sqrt(ab), math.sqrt(1 - ab))

    return predict


def _walk(
    net: nn.Module, noise: Tensor, *, solver: str, evaluations: int, generator: torch.Generator, knobs: Knobs
) -> Iterator[PlaneStep]:
    model = noise_model.under(net, knobs)
    chain = chain_of(knobs)
    times = stops(chain, min(chain.n_steps, max(1, evaluations // model.passes)))
    variance = "large" if knobs["large_variance"] else "small"
    for at in walk(predict_of(chain, model), noise, chain, times, generator, sampler=solver, eta=knobs["eta"], variance=variance):
        yield replace(at, evaluations=at.evaluations * model.passes)


def _forward(
    net: nn.Module, x: Tensor, *, solver: str, evaluations: int, generator: torch.Generator, knobs: Knobs
) -> Iterator[PlaneStep]:
    """DDIM inversion, whatever the solver: DDPM's noise cannot be undone."""
    model = noise_model.under(net, knobs)
    chain = chain_of(knobs)
    times = stops(chain, min(chain.n_steps, max(1, evaluations // model.passes)))[-2::-1]
    for at in invert(predict_of(chain, model), x, chain, times):
        yield replace(at, evaluations=at.evaluations * model.passes)


@torch.no_grad()
def _field(net: nn.Module, x: Tensor, time: float, knobs: Knobs) -> Tensor:
    """The score, `-eps / sqrt(1 - ab)`."""
    chain = chain_of(knobs)
    ab = signal_share(chain, max(0, round(time * chain.n_steps) - 1))
    return -noise_model.under(net, knobs)(x, math.sqrt(ab), math.sqrt(1 - ab)) / math.sqrt(1 - ab)


DDPM = Method(
    title="DDPM / DDIM", arxiv="2006.11239",
    equation="x_t = √ᾱ_t x₀ + √(1 − ᾱ_t) ε; back: x_s = √ᾱ_s x̂₀ + √(1 − ᾱ_s − d²) ε̂ + d z, T = 1000 links",
    watch_for="At first the guessed x₀ is the middle of everything, and only late does it choose a place. DDIM gets by with a twentieth of "
    "the steps, DDPM with so few gets blurred.",
    build=NoiseModel, train=_train, walk=_walk, forward=_forward, field=_field, field_name="score", exact=ExactNoise,
    solvers=("ddim", "ddpm"), evaluations=50, knobs=(ETA, LARGE, COSINE, GUIDANCE, LABEL), ode=True, plots=plots,
    presets=(
        Preset(title="DDIM, 50 steps", sentence="Deterministic: the same noise, the same point.",
               settings={"solver": "ddim", "evaluations": 50}),
        Preset(title="DDPM, 1000 steps", sentence="The whole chain, with fresh noise in every link.",
               settings={"solver": "ddpm", "evaluations": 1000}),
        Preset(title="Cosine, 20 steps", sentence="A schedule that spends more of few links where the shape is decided.",
               settings={"solver": "ddim", "evaluations": 20, "cosine": 1}),
        Preset(title="DDPM, 20 steps", sentence="With so few links the noise of each is too coarse.",
               settings={"solver": "ddpm", "evaluations": 20, "large_variance": 1}),
    ),
)  # fmt: skip
