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
from functools import partial
from itertools import pairwise
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
from models.plane.errors import PlaneError
from models.plane.method import Knobs, Method, PlaneKnob, PlaneStep, Plot, Preset, Schedule
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
        yield replace(step(schedule, x, s, i, last=i == len(times) - 1), says=says)


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
        yield step(schedule, x, t, i, last=i == len(times))


def chain_says(ab_t: float, ab_s: float, deviation: float, sampler: str) -> str:
    """The step's equation with its numbers."""
    tail = f" + {deviation:.3g} z" if deviation else ""
    if sampler == "ddim":
        return f"x = {math.sqrt(ab_s):.3g} x̂₀ + {math.sqrt(max(0.0, 1 - ab_s - deviation**2)):.3g} ε̂{tail}"
    alpha = ab_t / ab_s
    clean, kept = math.sqrt(ab_s) * (1 - alpha) / (1 - ab_t), math.sqrt(alpha) * (1 - ab_s) / (1 - ab_t)
    return f"x = {clean:.3g} x̂₀ + {kept:.3g} x{tail}"


def step(schedule: NoiseSchedule, x: Tensor, t: int, evaluations: int, *, last: bool) -> PlaneStep:
    """The state after link t (-1: the data); its clock runs from 0 to 1."""
    ab = signal_share(schedule, t)
    return PlaneStep(
        x=x, time=(t + 1) / schedule.n_steps, signal=math.sqrt(ab), noise=math.sqrt(1 - ab), evaluations=evaluations, last=last,
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


LEAST_SIGNAL = 4e-5
"""Share of the signal at which a chain ends (that of the linear one's last link): further links would leave a guess of x0 in which the
error of eps is multiplied by hundreds and more."""


def cut(chain: NoiseSchedule) -> NoiseSchedule:
    """The chain as far as there is signal left."""
    return NoiseSchedule(chain.name, chain.alphas_cumprod[chain.alphas_cumprod >= LEAST_SIGNAL])


def linear(low: float = 1e-4, high: float = 0.02) -> NoiseSchedule:
    """beta rises evenly."""
    if low > high:
        raise PlaneError(f"β cannot fall: it begins at {low:g} and ends at {high:g}.", hint="Exchange the two.")
    return cut(NoiseSchedule.from_betas("linear", torch.linspace(low, high, LINKS, dtype=torch.float64)))


def by_hand(*shares: float) -> NoiseSchedule:
    """Through shares of the signal that must fall."""
    for number, (before, after) in enumerate(pairwise(shares), 1):
        if after >= before:
            raise PlaneError(f"ᾱ must fall from left to right: point {number} is {before:g}, point {number + 1} is {after:g}.",
                             hint="Noise is only ever added.")  # fmt: skip
    return cut(NoiseSchedule.through("by hand", shares, LINKS))


def levels_of(chain: NoiseSchedule, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """sqrt(ab) and sqrt(1 - ab) (n,) at n links drawn uniformly."""
    share = chain.alphas_cumprod[torch.randint(chain.n_steps, (n,), generator=generator)]
    return share.sqrt().float(), (1 - share).sqrt().float()


def course(chain: NoiseSchedule) -> tuple[Tensor, Tensor, Tensor]:
    """Times, signal and noise at every tenth link and the last."""
    links = torch.tensor(sorted({*range(0, chain.n_steps, 10), chain.n_steps - 1}))
    share = chain.alphas_cumprod[links]
    return (links + 1).double() / chain.n_steps, share.sqrt(), (1 - share).sqrt()


def plots(chain: NoiseSchedule) -> tuple[Plot, ...]:
    """The share of the signal, and the ratio of signal to noise, along the chain and along the papers' two, as far as they are others."""
    papers = {"DDPM's linear β": linear(), "cosine": cut(NoiseSchedule.cosine(LINKS))}
    others = {name: one for name, one in papers.items() if not torch.equal(one.alphas_cumprod, chain.alphas_cumprod)}
    shares = {name: one.alphas_cumprod[::10] for name, one in ({"this chain": chain} | others).items()}
    ratios = {name: share / (1 - share) for name, share in shares.items()}
    return (
        Plot(title="Share of the signal", x="t / T", y="share", clock="time", curves=_over_links(shares)),
        Plot(title="Signal over noise", x="t / T", y="signal / noise", clock="time", log_y=True, curves=_over_links(ratios)),
    )


def _over_links(values: dict[str, Tensor]) -> dict[str, tuple[tuple[float, float], ...]]:
    return {name: tuple((k / len(one), value) for k, value in enumerate(one.tolist(), 1)) for name, one in values.items()}


def predict_of(schedule: NoiseSchedule, model: nn.Module) -> Predict:
    """eps at link t from a noise model, which is told the level instead."""

    @torch.no_grad()
    def predict(x: Tensor, t: int) -> Tensor:
        ab = signal_share(schedule, t)
        return model(x, math.sqrt(ab), math.sqrt(1 - ab))

    return predict


def _walk(
    chain: NoiseSchedule, net: nn.Module, noise: Tensor, *, solver: str, evaluations: int, generator: torch.Generator, knobs: Knobs
) -> Iterator[PlaneStep]:
    model = noise_model.under(net, knobs)
    times = stops(chain, min(chain.n_steps, max(1, evaluations // model.passes)))
    variance = "large" if knobs["large_variance"] else "small"
    for at in walk(predict_of(chain, model), noise, chain, times, generator, sampler=solver, eta=knobs["eta"], variance=variance):
        yield replace(at, evaluations=at.evaluations * model.passes)


def _forward(
    chain: NoiseSchedule, net: nn.Module, x: Tensor, *, solver: str, evaluations: int, generator: torch.Generator, knobs: Knobs
) -> Iterator[PlaneStep]:
    """DDIM inversion, whatever the solver: DDPM's noise cannot be undone."""
    model = noise_model.under(net, knobs)
    times = stops(chain, min(chain.n_steps, max(1, evaluations // model.passes)))[-2::-1]
    for at in invert(predict_of(chain, model), x, chain, times):
        yield replace(at, evaluations=at.evaluations * model.passes)


@torch.no_grad()
def _field(chain: NoiseSchedule, net: nn.Module, x: Tensor, time: float, knobs: Knobs) -> Tensor:
    """The score, `-eps / sqrt(1 - ab)`."""
    t = max(0, round(time * chain.n_steps) - 1)
    return -predict_of(chain, noise_model.under(net, knobs))(x, t) / math.sqrt(1 - signal_share(chain, t))


@torch.no_grad()
def _clean(chain: NoiseSchedule, net: nn.Module, x: Tensor, time: float, knobs: Knobs) -> Tensor:
    """The guessed x0; before the first link the points are the data themselves."""
    t = round(time * chain.n_steps) - 1
    if t < 0:
        return x
    return clean_and_noise("epsilon", predict_of(chain, noise_model.under(net, knobs))(x, t), x, signal_share(chain, t))[0]


def row(chain: NoiseSchedule) -> Method:
    """The method on a chain: trained at its links, walked along them."""

    def train(net: NoiseModel, cloud: Cloud, config: FitConfig, batch_size: int) -> Iterator[TrainStep]:
        yield from noise_model.train(net, cloud, config, batch_size, partial(levels_of, chain))

    return Method(
        title="DDPM / DDIM", arxiv="2006.11239",
        equation=f"x_t = √ᾱ_t x₀ + √(1 − ᾱ_t) ε; back: x_s = √ᾱ_s x̂₀ + √(1 − ᾱ_s − d²) ε̂ + d z, T = {chain.n_steps} links",
        watch_for="At first the guessed x₀ is the middle of everything, and only late does it choose a place. DDIM gets by with a "
        "twentieth of the steps, DDPM with so few gets blurred.",
        build=NoiseModel, train=train, walk=partial(_walk, chain), forward=partial(_forward, chain), field=partial(_field, chain),
        field_name="score", clean=partial(_clean, chain), exact=ExactNoise, solvers=("ddim", "ddpm"), evaluations=50,
        knobs=(ETA, LARGE, GUIDANCE, LABEL), ode=True, noisy=lambda solver, knobs: solver == "ddpm" or knobs["eta"] > 0,
        plots=lambda net, facts, knobs: plots(chain), levels=partial(course, chain), schedules=SCHEDULES, presets=PRESETS,
    )  # fmt: skip


LINKS = 1000
_BY_HAND = (0.9995, 0.95, 0.8, 0.5, 0.2, 0.04, 0.0005)
SCHEDULES = (
    Schedule(
        name="linear", title="Linear β", row=lambda low, high: row(linear(low, high)),
        numbers=(
            PlaneKnob(name="beta_min", title="First β", default=1e-4, lo=1e-5, hi=0.05, help="Variance of the noise of the first link."),
            PlaneKnob(name="beta_max", title="Last β", default=0.02, lo=1e-4, hi=0.2, help="Variance of the noise of the last link."),
        ),
    ),
    Schedule(
        name="cosine", title="Cosine", row=lambda offset: row(cut(NoiseSchedule.cosine(LINKS, offset))),
        numbers=(
            PlaneKnob(name="offset", title="Offset", default=0.008, lo=0.001, hi=0.5,
                      help="Keeps the first links from adding next to nothing; the paper takes 0.008."),
        ),
    ),
    Schedule(
        name="hand", title="By hand", row=lambda *shares: row(by_hand(*shares)),
        numbers=tuple(
            PlaneKnob(name=f"share_{k}", title=f"ᾱ {k}", default=share, lo=LEAST_SIGNAL, hi=0.9999, help="Share of the signal left there.")
            for k, share in enumerate(_BY_HAND, 1)
        ),
    ),
)  # fmt: skip
PRESETS = (
    Preset(title="DDIM, 50 steps", sentence="Deterministic: the same noise, the same point.",
           settings={"solver": "ddim", "evaluations": 50}),
    Preset(title="DDPM, 1000 steps", sentence="The whole chain, with fresh noise in every link.",
           settings={"solver": "ddpm", "evaluations": 1000}),
    Preset(title="Cosine, 20 steps", sentence="A schedule that spends more of few links where the shape is decided.",
           settings={"solver": "ddim", "evaluations": 20, "schedule": "cosine"}),
    Preset(title="DDPM, 20 steps", sentence="With so few links the noise of each is too coarse.",
           settings={"solver": "ddpm", "evaluations": 20, "large_variance": 1}),
)  # fmt: skip
DDPM = row(linear())
