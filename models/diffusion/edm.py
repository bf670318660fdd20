"""The framework of the EDM paper: five ways to train one denoiser, on one code path (Karras et al. 2022, arXiv 2206.00364, table 1).

All diffusion methods noise data by `x = s(t) (x0 + sigma(t) eps)`. With y = x / s, all look for the same denoiser

    D(y; sigma) = c_skip y + c_out F(c_in y; c_noise)                          (eq. 7)

and differ in what the network F is left to do (a `Formula`, one row of the table), in where they train, and in how they walk:

    dx/dt = (s'/s + sigma'/sigma) x - (s sigma'/sigma) D(x/s; sigma)           (eq. 81)       dy/dsigma = (y - D) / sigma

The score is `(D - y) / sigma^2`. Loss: `E lambda |D - x0|^2` with lambda = 1 / c_out^2, so that F's error counts the same everywhere.
The data's deviation sd is 0.5 for the paper's pictures and 1 in the plane. Walks start at smax z, as in the paper; diffusers starts at
sqrt(smax^2 + 1) z. Levels: `schedule.karras_grid`. Without churn, `walk` is `samplers.heun`, and of order 1 `samplers.euler` (= DDIM).
Read next: `samplers.py`, the same for pictures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from models.diffusion.noise_model import GUIDANCE, LABEL, Level, column, dropped, labels_for_both, spread, under
from models.diffusion.schedule import karras_grid
from models.diffusion.sde import vp
from models.fitting import FitConfig
from models.plane.data import MOST_CLASSES, Cloud
from models.plane.learn import Batch, learn
from models.plane.method import TOLERANCE, Knobs, Method, PlaneKnob, PlaneStep, Plot, Preset
from models.plane.mixture import Mixture
from models.plane.net import PlaneNet
from models.solvers import ADAPTIVE, FIXED, TITLES, along, evenly, final, integrate, with_divergence
from models.steps import TrainStep

Denoise = Callable[[Tensor, float], Tensor]
"""`denoise(y, sigma)`: the expected clean point, as in `samplers.py`."""
Curve = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Formula:
    """One row of the table; all functions take and give tensors."""

    title: str
    signal: Curve  # s(t)
    sigma: Curve  # sigma(t)
    time: Curve  # t(sigma)
    skip: Curve  # c_skip(sigma)
    out: Curve  # c_out(sigma)
    scale: Curve  # c_in(sigma)
    clock: Curve  # c_noise(sigma)
    draw: Callable[[int, torch.Generator], Tensor]  # sigmas (n,) to train at
    sigma_min: float
    sigma_max: float

    def weight(self, sigma: Tensor) -> Tensor:
        """lambda(sigma) of the loss."""
        return 1 / self.out(sigma) ** 2

    def target(self, x0: Tensor, y: Tensor, sigma: Tensor) -> Tensor:
        """What F should answer at y: `(x0 - c_skip y) / c_out`; noise, v, minus noise, velocity, or EDM's mixture of data and noise."""
        return (x0 - self.skip(sigma) * y) / self.out(sigma)


# --- the table ---

_VP = vp()


def _vp_sigma(t: Tensor) -> Tensor:
    return _VP.noise(t) / _VP.signal(t)


def _evenly_in_time(sigma: Curve, low: float, high: float) -> Callable[[int, torch.Generator], Tensor]:
    def draw(n: int, generator: torch.Generator) -> Tensor:
        return sigma(low + (high - low) * spread(n, generator).double())

    return draw


def ddpm() -> Formula:
    """F predicts the noise. DDPM's chain in continuous time: `ab = exp(-I)`, the clock is t in (0, 1], its index over 1000."""
    return Formula(
        title="EDM: noise (DDPM)", signal=_VP.signal, sigma=_vp_sigma, time=_VP.time,
        skip=torch.ones_like, out=lambda sigma: -sigma, scale=lambda sigma: 1 / (1 + sigma**2).sqrt(), clock=_VP.time,
        draw=_evenly_in_time(_vp_sigma, 1e-5, 1.0), sigma_min=0.002, sigma_max=80.0,
    )  # fmt: skip


def v_target() -> Formula:
    """F predicts `v = sqrt(ab) eps - sqrt(1 - ab) x0` (Salimans and Ho 2022, arXiv 2202.00512); else as DDPM."""
    return replace(
        ddpm(), title="EDM: v", skip=lambda sigma: 1 / (1 + sigma**2), out=lambda sigma: -sigma / (1 + sigma**2).sqrt()
    )


def ve(smin: float = 0.01, smax: float = 10.0) -> Formula:
    """Score matching on exploding noise: F predicts minus the noise and sees y as large as it is. (Pictures: .02 .. 100.)"""
    span = math.log(smax / smin)
    return Formula(
        title="EDM: VE", signal=torch.ones_like, sigma=torch.sqrt, time=torch.square,
        skip=torch.ones_like, out=lambda sigma: sigma, scale=torch.ones_like, clock=lambda sigma: (sigma / 2).log(),
        draw=lambda n, generator: smin * torch.exp(span * spread(n, generator).double()), sigma_min=smin, sigma_max=smax,
    )  # fmt: skip


def flow() -> Formula:
    """Flow matching on the straight path `x = (1 - t) x0 + t eps`: F predicts the velocity `eps - x0`."""
    return Formula(
        title="EDM: flow matching", signal=lambda t: 1 - t, sigma=lambda t: t / (1 - t), time=lambda sigma: sigma / (1 + sigma),
        skip=lambda sigma: 1 / (1 + sigma), out=lambda sigma: -sigma / (1 + sigma), scale=lambda sigma: 1 / (1 + sigma),
        clock=lambda sigma: sigma / (1 + sigma), draw=_evenly_in_time(lambda t: t / (1 - t), 1e-4, 0.999), sigma_min=0.002, sigma_max=80.0,
    )  # fmt: skip


def edm(sd: float = 0.5, mean: float = -1.2, std: float = 1.2) -> Formula:
    """The paper's own: F's input and its target have unit variance for data of deviation sd, at every level."""

    def draw(n: int, generator: torch.Generator) -> Tensor:
        normal = torch.special.ndtri(spread(n, generator).double().clamp(1e-6, 1 - 1e-6))
        return torch.exp(mean + std * normal)

    return Formula(
        title="EDM", signal=torch.ones_like, sigma=lambda t: t, time=lambda sigma: sigma,
        skip=lambda sigma: sd**2 / (sigma**2 + sd**2), out=lambda sigma: sigma * sd / (sigma**2 + sd**2).sqrt(),
        scale=lambda sigma: 1 / (sigma**2 + sd**2).sqrt(), clock=lambda sigma: sigma.log() / 4,
        draw=draw, sigma_min=0.002, sigma_max=80.0,
    )  # fmt: skip


FORMULAS: dict[str, Callable[[], Formula]] = {"edm": edm, "ddpm": ddpm, "v": v_target, "ve": ve, "flow": flow}


# --- one denoiser for all rows ---


class Preconditioned(nn.Module):
    """D(y; sigma) (N, 2) from a network by a formula; `label` (N,), one for all, or None for any."""

    passes = 1

    def __init__(self, formula: Formula, seed: int, classes: int = MOST_CLASSES) -> None:
        super().__init__()
        self.formula = formula
        self.net = PlaneNet(seed, classes=classes)
        self.register_buffer("seen", torch.tensor(classes))

    @property
    def classes(self) -> int:
        """Labels in the data it was trained on."""
        return int(self.seen)

    def answer(self, y: Tensor, sigma: Level, label: Tensor | int | None = None) -> Tensor:
        """F(c_in y; c_noise)."""
        sigma = column(sigma, y)                                               # (N or 1, 1)
        return self.net(self.formula.scale(sigma) * y, self.formula.clock(sigma), label)

    def forward(self, y: Tensor, sigma: Level, label: Tensor | int | None = None) -> Tensor:
        level = column(sigma, y)
        return self.formula.skip(level) * y + self.formula.out(level) * self.answer(y, sigma, label)

    def both(self, y: Tensor, sigma: float, label: int) -> tuple[Tensor, Tensor]:
        """D without and with the label, in one batch."""
        null, cond = self(torch.cat([y, y]), sigma, labels_for_both(len(y), self.net.null, label)).chunk(2)
        return null, cond


class ExactDenoiser(nn.Module):
    """The posterior mean of a mixture, whatever the formula."""

    passes = 1

    def __init__(self, mixture: Mixture) -> None:
        super().__init__()
        self.mixture = mixture
        self.classes = int(mixture.labels.max()) + 1

    def forward(self, y: Tensor, sigma: Level, label: int | None = None) -> Tensor:
        law = self.mixture if label is None else self.mixture.given(label)
        return law.denoise(y, 1.0, sigma)

    def both(self, y: Tensor, sigma: float, label: int) -> tuple[Tensor, Tensor]:
        """D without and with the label."""
        return self(y, sigma), self(y, sigma, label)


def train(net: Preconditioned, cloud: Cloud, config: FitConfig, batch_size: int) -> Iterator[TrainStep]:
    """`E lambda |D - x0|^2`, which is F's plain squared error; sigma as the formula draws it."""
    net.seen.fill_(cloud.classes)
    formula = net.formula

    def loss(batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        x0, labels = batch
        sigma = formula.draw(len(x0), generator)[:, None]                      # (B, 1) float64
        y = x0 + sigma * torch.randn(x0.shape, generator=generator)
        answer = net.answer(y.float(), sigma.float(), dropped(labels, net.net.null, generator))
        return (answer - formula.target(x0, y, sigma).float()).square().mean(), {}

    yield from learn(net, loss, cloud, config, batch_size)


# --- walks ---


def grid(n: int, sigma_max: float = 80.0, sigma_min: float = 0.002) -> list[float]:
    """n levels falling evenly in sigma^(1/7), then 0 (eq. 5)."""
    return [*karras_grid(sigma_max, sigma_min, n).tolist(), 0.0]


@dataclass(frozen=True, kw_only=True)
class Churn:
    """Fresh noise during a walk (algorithm 2): `amount` is spread over all steps, and acts at levels within low .. high."""

    amount: float = 0.0
    low: float = 0.0
    high: float = math.inf
    noise: float = 1.0  # deviation of the fresh noise, a little above 1 against lost detail

    def share(self, sigma: float, n: int) -> float:
        """gamma: by how much the level is raised before the step."""
        return min(self.amount / n, math.sqrt(2) - 1) if self.low <= sigma <= self.high else 0.0


def churned(y: Tensor, sigma: float, share: float, noise: float, generator: torch.Generator) -> tuple[Tensor, float]:
    """y raised to the level `sigma (1 + share)`: variances add, so the noise has variance `raised^2 - sigma^2`."""
    if share == 0:
        return y, sigma
    raised = sigma * (1 + share)
    return y + math.sqrt(raised**2 - sigma**2) * noise * torch.randn(y.shape, generator=generator, dtype=y.dtype), raised


def walk(
    denoise: Denoise, y: Tensor, sigmas: Sequence[float], generator: torch.Generator, *, order: int = 2, churn: Churn | None = None
) -> Iterator[PlaneStep]:
    """Stochastic Heun (order 2) or Euler (1) from y at `sigmas[0]` down; no second slope at sigma 0. 2 N - 1 evaluations."""
    churn, n, evaluations = churn or Churn(), len(sigmas) - 1, 0
    yield PlaneStep(x=y, time=sigmas[0], signal=1.0, noise=sigmas[0], evaluations=0, last=n == 0)
    for i, (sigma, sigma_next) in enumerate(zip(sigmas, sigmas[1:]), 1):
        share = churn.share(sigma, n)
        y, raised = churned(y, sigma, share, churn.noise, generator)
        x0 = denoise(y, raised)
        slope = (y - x0) / raised
        y_next = y + (sigma_next - raised) * slope
        evaluations += 1
        if order == 2 and sigma_next > 0:
            slope_next = (y_next - denoise(y_next, sigma_next)) / sigma_next
            y_next = y + (sigma_next - raised) * (slope + slope_next) / 2
            evaluations += 1
        y = y_next
        up = f"σ = {sigma:.3g}" + (f" raised to {raised:.3g}" if share else "")
        yield PlaneStep(
            x=y, time=sigma_next, signal=1.0, noise=sigma_next, evaluations=evaluations, last=i == n,
            says=f"y += ({sigma_next:.3g} − {raised:.3g}) (y − D(y; σ)) / σ, {up}",
        )  # fmt: skip


def walk_levels(denoise: Denoise, y: Tensor, sigmas: Sequence[float], solver: str, tolerance: float) -> Iterator[PlaneStep]:
    """`dy/dsigma = (y - D) / sigma` along levels above 0, falling or rising; dopri5 goes from the first to the last in its own steps."""
    logarithmic = solver == ADAPTIVE  # the lines are as smooth everywhere in ln sigma, and in sigma nearly straight only far out

    def slope(y: Tensor, at: float) -> Tensor:
        return y - denoise(y, math.exp(at)) if logarithmic else (y - denoise(y, at)) / at

    for step in along(slope, y, [math.log(sigma) for sigma in sigmas] if logarithmic else sigmas, solver, tolerance):
        sigma, before = (math.exp(t) if logarithmic else t for t in (step.t, step.t - step.h))
        yield PlaneStep(
            x=step.x, time=sigma, signal=1.0, noise=sigma, evaluations=step.evaluations, last=step.last,
            says=f"{TITLES[solver]}: y += ({sigma:.3g} − {before:.3g}) (y − D(y; σ)) / σ, σ = {before:.3g}" if step.h else "",
        )  # fmt: skip


def velocity_of(formula: Formula, denoise: Denoise) -> Denoise:
    """dx/dt of the ODE in the formula's own scale and time (eq. 81)."""

    def velocity(x: Tensor, t: float) -> Tensor:
        s, sigma, ds, dsigma = rates(formula, t)
        return (ds / s + dsigma / sigma) * x - s * dsigma / sigma * denoise(x / s, sigma)

    return velocity


def rates(formula: Formula, t: float) -> tuple[float, float, float, float]:
    """s, sigma, s' and sigma' at t."""
    with torch.enable_grad():
        time = torch.tensor(t, dtype=torch.float64, requires_grad=True)
        s, sigma = formula.signal(time), formula.sigma(time)
        ds, dsigma = (_slope(value, time) for value in (s, sigma))
    return float(s.detach()), float(sigma.detach()), ds, dsigma


def _slope(value: Tensor, time: Tensor) -> float:
    if not value.requires_grad:  # a constant
        return 0.0
    found = torch.autograd.grad(value, time, retain_graph=True, allow_unused=True)[0]
    return 0.0 if found is None else float(found)


def walk_own(formula: Formula, denoise: Denoise, x: Tensor, times: Sequence[float], solver: str = "heun") -> Iterator[PlaneStep]:
    """The ODE in the formula's own scale and time: x at `times[0]` is `s (x0 + sigma eps)`."""
    for step in integrate(velocity_of(formula, denoise), x, times, solver):
        s, sigma, ds, dsigma = rates(formula, step.t)
        says = f"dx = [{ds / s + dsigma / sigma:.3g} x − {s * dsigma / sigma:.3g} D(x/s; σ)] ({step.h:+.3g})" if step.h else ""
        yield PlaneStep(x=step.x, time=step.t, signal=s, noise=s * sigma, evaluations=step.evaluations, last=step.last, says=says)


def log_likelihood(
    denoise: Denoise, x: Tensor, sigma_min: float, sigma_max: float, *, solver: str = ADAPTIVE, tolerance: float = TOLERANCE.default,
    step: float = 0.25,
) -> tuple[Tensor, int]:
    """log p(x), (N,) nats, and the evaluations it took: `dy/d ln sigma = y - D` from sigma_min to sigma_max with its exact divergence.

    By dopri5 to the tolerance, or by a fixed solver in equal steps. The law at sigma_max is taken for N(0, 1 + sigma_max^2). It agrees with
    `sde.log_likelihood`, whose time and scale are others.
    """  # fmt: skip
    levels = evenly(math.log(sigma_min), math.log(sigma_max), math.ceil(math.log(sigma_max / sigma_min) / step))
    state = torch.cat([x, x.new_zeros(len(x), 1)], 1)
    end = final(along(with_divergence(lambda y, level: y - denoise(y, math.exp(level))), state, levels, solver, tolerance))
    y, gained, variance, d = end.x[:, :-1], end.x[:, -1], 1 + sigma_max**2, x.shape[1]
    return gained - y.square().sum(1) / (2 * variance) - d / 2 * math.log(2 * math.pi * variance), end.evaluations


# --- the plane's rows ---

OWN = "own time, "
SOLVERS = ("heun", "euler", ADAPTIVE, OWN + "heun", OWN + "euler")
CHURN = PlaneKnob(
    name="churn", title="Churn", default=0.0, lo=0.0, hi=200.0,
    help="S_churn: fresh noise in every step, taken away again by a longer step; it forgets the errors made so far. 0: none.",
)  # fmt: skip
CHURN_LOW = PlaneKnob(name="churn_low", title="Churn from", default=0.0, lo=0.0, hi=80.0, help="S_min: the lowest sigma that churns.")
CHURN_HIGH = PlaneKnob(name="churn_high", title="Churn to", default=80.0, lo=0.0, hi=80.0, help="S_max: the highest sigma that churns.")
CHURN_NOISE = PlaneKnob(
    name="churn_noise", title="Churn noise", default=1.0, lo=0.9, hi=1.1,
    help="S_noise: deviation of the fresh noise; for pictures the paper takes 1.003.",
)  # fmt: skip

START = PlaneKnob(
    name="start", title="Start noise", default=1.0, lo=0.25, hi=2.0,
    help="The noise a walk starts with, as a share of what it should be; anything but 1 is a wrong start, which churn forgets.",
)  # fmt: skip


def _walk(
    formula: Formula, net: nn.Module, noise: Tensor, *, solver: str, evaluations: int, generator: torch.Generator, knobs: Knobs
) -> Iterator[PlaneStep]:
    model = under(net, knobs)
    denoise, budget = torch.no_grad()(model), max(1, evaluations // model.passes)
    y = knobs["start"] * formula.sigma_max * noise
    if solver.startswith(OWN):
        kind = solver.removeprefix(OWN)
        levels = karras_grid(formula.sigma_max, formula.sigma_min, 1 + FIXED[kind].steps(budget))
        times = formula.time(torch.from_numpy(levels)).tolist()
        start = float(formula.signal(torch.tensor(times[0], dtype=torch.float64))) * y
        steps = map(_in_y, walk_own(formula, denoise, start, times, kind))
    elif solver == ADAPTIVE:
        steps = walk_levels(denoise, y, [formula.sigma_max, formula.sigma_min], solver, knobs["tolerance"])
    else:
        sigmas = grid((budget + 1) // 2 if solver == "heun" else budget, formula.sigma_max, formula.sigma_min)
        churn = Churn(amount=knobs["churn"], low=knobs["churn_low"], high=knobs["churn_high"], noise=knobs["churn_noise"])
        steps = walk(denoise, y, sigmas, generator, order=2 if solver == "heun" else 1, churn=churn)
    for step in steps:
        yield replace(step, evaluations=step.evaluations * model.passes)


def _in_y(step: PlaneStep) -> PlaneStep:
    """The same moment in y and sigma, in which all rows are shown."""
    return replace(step, x=step.x / step.signal, time=step.level, signal=1.0, noise=step.level)


def _forward(
    formula: Formula, net: nn.Module, x: Tensor, *, solver: str, evaluations: int, generator: torch.Generator, knobs: Knobs
) -> Iterator[PlaneStep]:
    """The ODE from sigma_min up to sigma_max, without churn; the points are taken for data at sigma_min."""
    model, kind = under(net, knobs), solver.removeprefix(OWN)
    n = 1 if kind == ADAPTIVE else FIXED[kind].steps(max(1, evaluations // model.passes))
    levels = karras_grid(formula.sigma_max, formula.sigma_min, n + 1)[::-1].tolist()
    for step in walk_levels(torch.no_grad()(model), x, levels, kind, knobs["tolerance"]):
        yield replace(step, evaluations=step.evaluations * model.passes)


SHOWN, DRAWN = 97, 20_000
"""Points of a curve; sigmas from which the share of training at each level is counted."""


def plots(formula: Formula) -> tuple[Plot, ...]:
    """The row's curves over sigma, s and sigma over its own time, and where it trains."""
    sigma = torch.logspace(math.log10(formula.sigma_min), math.log10(formula.sigma_max), SHOWN, dtype=torch.float64)
    time, level = formula.time(sigma), {"x": "σ", "clock": "level", "log_x": True}
    coefficients = {"c_skip": formula.skip, "c_out": formula.out, "c_in": formula.scale}
    scales = {"s(t)": formula.signal(time), "σ(t)": formula.sigma(time)}
    return (
        Plot(title="Coefficients", y="c", curves={name: _pairs(sigma, curve(sigma)) for name, curve in coefficients.items()}, **level),
        Plot(title="Clock of the network", y="c_noise", curves={"c_noise": _pairs(sigma, formula.clock(sigma))}, **level),
        Plot(title="Weight of the loss", y="λ", log_y=True, curves={"λ(σ)": _pairs(sigma, formula.weight(sigma))}, **level),
        Plot(title="Where it trains", y="share per unit of ln σ", curves={"training σ": _trained_levels(formula)}, **level),
        Plot(title="Scale and level over time", x="t", y="s, σ", log_y=True, curves={k: _pairs(time, v) for k, v in scales.items()}),
    )


def _trained_levels(formula: Formula) -> tuple[tuple[float, float], ...]:
    """How often each sigma is drawn for training, per unit of ln sigma."""
    drawn = formula.draw(DRAWN, torch.Generator().manual_seed(0)).double().log()
    low, high = float(drawn.min()), float(drawn.max())
    count = torch.histc(drawn, bins=40, min=low, max=high)
    width = (high - low) / len(count)
    middle = low + (torch.arange(len(count)) + 0.5) * width
    return _pairs(middle.exp(), count / DRAWN / width)


def _pairs(x: Tensor, y: Tensor) -> tuple[tuple[float, float], ...]:
    return tuple(zip(x.tolist(), (y + torch.zeros_like(x)).tolist()))


def _row(formula: Formula, equation: str, watch_for: str, presets: tuple[Preset, ...] = ()) -> Method:
    def field(net: nn.Module, x: Tensor, time: float, knobs: Knobs) -> Tensor:
        sigma = max(time, formula.sigma_min)
        return (torch.no_grad()(under(net, knobs))(x, sigma) - x) / sigma**2

    def clean(net: nn.Module, x: Tensor, time: float, knobs: Knobs) -> Tensor:
        return torch.no_grad()(under(net, knobs))(x, time) if time else x

    def log_density(net: nn.Module, x: Tensor, knobs: Knobs) -> Tensor:
        return log_likelihood(under(net, knobs), x, formula.sigma_min, formula.sigma_max, tolerance=knobs["tolerance"])[0]

    return Method(
        title=formula.title, arxiv="2206.00364", equation=equation, watch_for=watch_for, build=partial(Preconditioned, formula),
        train=train, walk=partial(_walk, formula), forward=partial(_forward, formula), field=field, field_name="score", clean=clean,
        log_density=log_density, density_says="the ODE's own law, by dopri5 to the tolerance, with the exact divergence",
        exact=ExactDenoiser, solvers=SOLVERS, evaluations=39,
        knobs=(TOLERANCE, CHURN, CHURN_LOW, CHURN_HIGH, CHURN_NOISE, START, GUIDANCE, LABEL),
        presets=presets, ode=True, noisy=lambda solver, knobs: solver in SOLVERS[:2] and knobs["churn"] > 0,
        plots=lambda net, facts, knobs: plots(formula),
    )  # fmt: skip


_WALK = "dy/dσ = (y − D) / σ"
EDM = _row(
    edm(sd=1.0), f"D = [y + σ √(σ² + 1) F] / (σ² + 1), F sees y / √(σ² + 1) and ln(σ) / 4; {_WALK}",
    "At 39 evaluations Heun has arrived and Euler has not; at 9 it is the other way round, for order helps only where steps are short "
    "enough. Churn adds noise and takes it away again, which forgets errors made before.",
    (
        Preset(title="Heun, 39 evaluations", sentence="The paper's sampler without churn: smooth lines.",
               settings={"solver": "heun", "evaluations": 39}),
        Preset(title="Euler, 39 evaluations", sentence="The same number of evaluations, first order.",
               settings={"solver": "euler", "evaluations": 39}),
        Preset(title="To a tolerance", sentence="Dopri5 in ln σ: as many evaluations as the tolerance asks for, and they are counted.",
               settings={"solver": ADAPTIVE, "tolerance": 1e-3}),
        Preset(title="Wrong start", sentence="Half the noise it should start with: the points end in the wrong places.",
               settings={"solver": "heun", "evaluations": 119, "start": 0.5}),
        Preset(title="Churn repairs", sentence="The same wrong start, with churn: fresh noise makes up for what was missing.",
               settings={"solver": "heun", "evaluations": 119, "start": 0.5, "churn": 24}),
    ),
)  # fmt: skip
NOISE_ROW = _row(
    ddpm(), f"D = y − σ F, F sees y / √(1 + σ²) and the chain's time t; {_WALK}",
    "F answers with the noise, which is easy to see when there is much of it. At large σ its errors are multiplied by σ.",
)
V_ROW = _row(
    v_target(), f"D = y / (1 + σ²) − σ / √(1 + σ²) F, F sees y / √(1 + σ²) and the chain's time t; {_WALK}",
    "F answers with v, noise at one end of the way and data at the other. With sd = 1 this is EDM's row but for sign, clock and levels.",
)
VE_ROW = _row(
    ve(), f"D = y + σ F, F sees y as it is and ln(σ / 2); {_WALK}",
    "Nobody scales what the network sees, so at large σ its input explodes. Compare its loss and its samples with EDM's row.",
    (Preset(title="VE explodes", sentence="Points come in from ten times the data's size, unscaled even for the network.",
            settings={"solver": "heun", "evaluations": 39}),),
)  # fmt: skip
FLOW_ROW = _row(
    flow(), f"D = (y − σ F) / (1 + σ), F sees y / (1 + σ) and t = σ / (1 + σ); {_WALK}",
    "This is flow matching, on the straight path x = (1 − t) x₀ + t ε, written as a denoiser. The lines are those of every other row; "
    "its own time and scale only place the steps differently.",
    (Preset(title="In its own time", sentence="Euler steps along the straight path.",
            settings={"solver": "own time, euler", "evaluations": 20}),),
)  # fmt: skip
