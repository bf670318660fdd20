"""Diffusion as a stochastic differential equation: VP, sub-VP and VE, forward and back (Song et al. 2021, arXiv 2011.13456).

Forward `dx = f dt + g dw` carries data (t = 0) to noise (t = 1); f is linear in x, so that `x_t = m_t x0 + s_t eps` in closed form.
With `b(t) = bmin + t (bmax - bmin)`, `I = bmin t + t^2 (bmax - bmin) / 2`, `sigma = smin (smax / smin)^t`:

    VP      f = -b x / 2    g^2 = b                            m = exp(-I / 2)    s = sqrt(1 - exp(-I))
    sub-VP  f = -b x / 2    g^2 = b (1 - exp(-2 I))            m = exp(-I / 2)    s = 1 - exp(-I)          (no root)
    VE      f = 0           g^2 = sigma^2 2 ln(smax / smin)    m = 1              s = sigma

Two ways lead back, with the same law at every time, and only the score s_theta = grad log p_t is needed (dt < 0):

    reverse SDE           dx = [f - g^2 s_theta] dt + g dw        (eq. 6)
    probability-flow ODE  dx = [f - g^2 s_theta / 2] dt           (eq. 13), invertible, with an exact likelihood

The SDE is walked by a predictor (Euler-Maruyama, or reverse diffusion on the discretised chain) and, if asked, a corrector: Langevin
steps at the level the predictor has reached. The score is the trained network's or the exact mixture's (`noise_model.py`).
VE's s holds smin of noise at t = 0 (exactly it is sqrt(sigma^2 - smin^2)); time 0 stands here for the data themselves.
Read next: `edm.py`, where all of these are one formula.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from models.diffusion import noise_model
from models.diffusion.noise_model import GUIDANCE, LABEL, ExactNoise, NoiseModel
from models.fitting import FitConfig
from models.plane.data import Cloud
from models.plane.errors import PlaneError
from models.plane.method import TOLERANCE, Knobs, Method, PlaneKnob, PlaneStep, Plot, Preset, Schedule
from models.solvers import ADAPTIVE, FIXED, TITLES, along, evenly, final, with_divergence
from models.steps import TrainStep

Score = Callable[[Tensor, float], Tensor]
"""`score(x, t)`: grad log p_t(x), (N, D)."""
Guide = Callable[[nn.Module, Knobs], nn.Module]
"""What a network becomes under the knobs: a noise model that knows its `passes`."""


@dataclass(frozen=True)
class Sde:
    """`dx = rate(t) x dt + sqrt(diffusion(t)) dw` and its marginals; the functions take and give tensors of times."""

    title: str
    rate: Callable[[Tensor], Tensor]  # f = rate x
    diffusion: Callable[[Tensor], Tensor]  # g^2
    signal: Callable[[Tensor], Tensor]  # m_t
    noise: Callable[[Tensor], Tensor]  # s_t
    time: Callable[[Tensor], Tensor]  # t at a level sigma = s / m
    t_end: float  # where walks stop: below, the score grows without bound
    ratio: float  # r of the corrector: signal over noise of its steps

    def at(self, t: float) -> tuple[float, float]:
        """(m, s) at t; (1, 0), the data, at 0."""
        return (float(self.signal(_time(t))), float(self.noise(_time(t)))) if t > 0 else (1.0, 0.0)

    def time_at(self, sigma: float) -> float:
        """t at the level sigma."""
        return float(self.time(_time(sigma)))

    def forward_field(self, t: float) -> tuple[float, float]:
        """(rate, g^2) at t."""
        return float(self.rate(_time(t))), float(self.diffusion(_time(t)))

    @property
    def start_deviation(self) -> float:
        """Standard deviation of x at t = 1 for data of unit variance: where walks start, and the law likelihoods end at."""
        return math.hypot(*self.at(1.0))

    def levels(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """m and s (n,) at n times evenly in (t_end, 1), for training; float32."""
        t = self.t_end + (1 - self.t_end) * noise_model.spread(n, generator).double()
        return self.signal(t).float(), self.noise(t).float()


def vp(bmin: float = 0.1, bmax: float = 20.0) -> Sde:
    """Variance preserving: DDPM's chain of infinitely many links."""
    return Sde(
        title="VP", rate=lambda t: -_beta(t, bmin, bmax) / 2, diffusion=lambda t: _beta(t, bmin, bmax),
        signal=lambda t: torch.exp(-_integral(t, bmin, bmax) / 2), noise=lambda t: (-torch.expm1(-_integral(t, bmin, bmax))).sqrt(),
        time=lambda sigma: _solve_integral(torch.log1p(sigma**2), bmin, bmax), t_end=1e-3, ratio=0.01,
    )  # fmt: skip


def subvp(bmin: float = 0.1, bmax: float = 20.0) -> Sde:
    """Variance never above VP's, the same drift."""
    return Sde(
        title="sub-VP", rate=lambda t: -_beta(t, bmin, bmax) / 2,
        diffusion=lambda t: _beta(t, bmin, bmax) * -torch.expm1(-2 * _integral(t, bmin, bmax)),
        signal=lambda t: torch.exp(-_integral(t, bmin, bmax) / 2), noise=lambda t: -torch.expm1(-_integral(t, bmin, bmax)),
        time=lambda sigma: _solve_integral(2 * torch.asinh(sigma / 2), bmin, bmax), t_end=1e-3, ratio=0.01,
    )  # fmt: skip


def ve(smin: float = 0.01, smax: float = 10.0) -> Sde:
    """Variance exploding: noise is heaped on data that stay as large as they are; ranges for data of unit variance."""
    span = math.log(smax / smin)
    return Sde(
        title="VE", rate=torch.zeros_like, diffusion=lambda t: smin**2 * torch.exp(2 * t * span) * 2 * span,
        signal=torch.ones_like, noise=lambda t: smin * torch.exp(t * span),
        time=lambda sigma: (sigma / smin).log() / span, t_end=1e-5, ratio=0.16,
    )  # fmt: skip


SDES: dict[str, Callable[[], Sde]] = {"vp": vp, "subvp": subvp, "ve": ve}


def _beta(t: Tensor, bmin: float, bmax: float) -> Tensor:
    return bmin + t * (bmax - bmin)


def _integral(t: Tensor, bmin: float, bmax: float) -> Tensor:
    return bmin * t + t**2 * (bmax - bmin) / 2


def _solve_integral(value: Tensor, bmin: float, bmax: float) -> Tensor:
    """t with I(t) = value; written so that small values lose no digits."""
    return 2 * value / (bmin + (bmin**2 + 2 * (bmax - bmin) * value).sqrt())


def _time(t: float) -> Tensor:
    return torch.tensor(t, dtype=torch.float64)


# --- the score and the two ways back ---


def score_of(sde: Sde, model: nn.Module) -> Score:
    """The score that a noise model implies, `-eps / s`."""

    def score(x: Tensor, t: float) -> Tensor:
        m, s = sde.at(t)
        return -model(x, m, s) / s

    return score


def clean_of(sde: Sde, model: nn.Module) -> Score:
    """E[x0 | x_t] that a noise model implies, `(x - s eps) / m`; at time 0 the points are the data themselves."""

    def clean(x: Tensor, t: float) -> Tensor:
        m, s = sde.at(t)
        return (x - s * model(x, m, s)) / m if s else x

    return clean


def flow_of(sde: Sde, score: Score) -> Score:
    """The velocity of the probability-flow ODE, `f - g^2 s_theta / 2`."""

    def velocity(x: Tensor, t: float) -> Tensor:
        rate, g2 = sde.forward_field(t)
        return rate * x - g2 / 2 * score(x, t)

    return velocity


def euler_maruyama(sde: Sde, score: Score, x: Tensor, t: float, dt: float) -> tuple[Tensor, float]:
    """Mean and noise deviation of one step of the reverse SDE, dt < 0; the deviation is `g sqrt(|dt|)`."""
    rate, g2 = sde.forward_field(t)
    return x + (rate * x - g2 * score(x, t)) * dt, math.sqrt(g2 * abs(dt))


def reverse_diffusion(sde: Sde, score: Score, x: Tensor, t: float, t_next: float) -> tuple[Tensor, float]:
    """Mean and noise deviation of one step back along the discretised chain (appendix E), to any earlier time, 0 included.

    The link from t_next to t multiplies by `a = m / m_next` and adds the variance `v = s^2 - a^2 s_next^2`; reversed:
    `x <- (2 - a) x + v s_theta + sqrt(v) z`. For VE that is `x + (s^2 - s_next^2) s_theta + ...`.
    """
    (m, s), (m_next, s_next) = sde.at(t), sde.at(t_next)
    a = m / m_next
    v = s**2 - (a * s_next) ** 2
    return (2 - a) * x + v * score(x, t), math.sqrt(v)


def correct(sde: Sde, score: Score, x: Tensor, t: float, z: Tensor, a: float, ratio: float) -> Tensor:
    """One Langevin step at time t (algorithms 4 and 5): `e = 2 a (r |z| / |s_theta|)^2`, `x <- x + e s_theta + sqrt(2 e) z`.

    The norms are means over the points; a is 1 for VE and the share of the variance a link keeps for VP and sub-VP.
    """
    s = score(x, t)
    e = 2 * a * (ratio * z.norm(dim=1).mean() / s.norm(dim=1).mean()) ** 2
    return x + e * s + (2 * e).sqrt() * z


def walk_sde(
    sde: Sde, score: Score, x: Tensor, times: Sequence[float], generator: torch.Generator, *,
    predictor: str = "euler-maruyama", corrections: int = 0, ratio: float | None = None,
) -> Iterator[PlaneStep]:
    """The reverse SDE from `times[0]` down to `times[-1]`; the last step returns the mean, without noise and without correction.

    Each time: predict the next time, then correct *there*, with the score of the time reached.
    """  # fmt: skip
    yield _at(sde, x, times[0], 0, last=len(times) == 1)
    evaluations = 0
    for i, (t, t_next) in enumerate(zip(times, times[1:]), 1):
        last = i == len(times) - 1
        if predictor == "reverse-diffusion":
            x, deviation = reverse_diffusion(sde, score, x, t, t_next)
        else:
            x, deviation = euler_maruyama(sde, score, x, t, t_next - t)
        evaluations += 1
        says = (chain_says if predictor == "reverse-diffusion" else sde_says)(sde, t, t_next)
        if not last:
            says += f" + {deviation:.3g} z" + (f", then {corrections} x Langevin" if corrections else "")
            x = x + deviation * _normal(x, generator)
            kept = (sde.at(t)[0] / sde.at(t_next)[0]) ** 2
            for _ in range(corrections):
                x = correct(sde, score, x, t_next, _normal(x, generator), kept, sde.ratio if ratio is None else ratio)
            evaluations += corrections
        yield _at(sde, x, t_next, evaluations, last=last, says=says)


def walk_ode(
    sde: Sde, score: Score, x: Tensor, times: Sequence[float], solver: str = "heun", tolerance: float = TOLERANCE.default
) -> Iterator[PlaneStep]:
    """The probability-flow ODE along `times`, falling (to data) or rising (to noise); dopri5 chooses its own between the ends."""
    for step in along(flow_of(sde, score), x, times, solver, tolerance):
        says = f"{TITLES[solver]}: {sde_says(sde, step.t - step.h, step.t, '/2')}" if step.h else ""
        yield _at(sde, step.x, step.t, step.evaluations, last=step.last, says=says)


def log_likelihood(
    sde: Sde, score: Score, x: Tensor, *, solver: str = ADAPTIVE, tolerance: float = TOLERANCE.default, step: float = 0.25
) -> tuple[Tensor, int]:
    """log p(x) of the ODE's law, (N,) nats (eq. 39), and the evaluations it took: `log p_1(x_1) + int_{t_end}^1 div v dt`, div exact.

    By dopri5 to the tolerance, or by a fixed solver in equal steps of ln sigma, where the ODE is equally smooth everywhere. p_1 is taken
    for N(0, m_1^2 + s_1^2), true of centred data of unit variance but for a rest of the order of m_1 / s_1: 0.0001 for VP, 0.1 for VE at
    smax 10 (and 0.01 in the mean).
    """
    state = torch.cat([x, x.new_zeros(len(x), 1)], 1)
    end = final(along(with_divergence(flow_of(sde, score)), state, by_level(sde, step)[::-1], solver, tolerance))
    last, gained, d = end.x[:, :-1], end.x[:, -1], x.shape[1]
    deviation = sde.start_deviation
    base = -0.5 * (last / deviation).square().sum(1) - d * math.log(deviation * math.sqrt(2 * math.pi))
    return base + gained, end.evaluations


def by_level(sde: Sde, step: float) -> list[float]:
    """Times from 1 down to t_end in equal steps of ln sigma, none longer than `step`."""
    high, low = (math.log(sde.at(t)[1] / sde.at(t)[0]) for t in (1.0, sde.t_end))
    between = evenly(high, low, math.ceil((high - low) / step))[1:-1]
    return [1.0, *(sde.time_at(math.exp(level)) for level in between), sde.t_end]


def sde_says(sde: Sde, t: float, t_next: float, share: str = "") -> str:
    """The mean of an Euler step with its numbers; `share` "/2" for the ODE."""
    rate, g2 = sde.forward_field(t)
    return f"x += [{f'{rate:.3g} x ' if rate else ''}− {g2:.3g}{share} score] · ({t_next - t:.3g})"


def chain_says(sde: Sde, t: float, t_next: float) -> str:
    """The mean of a step of reverse diffusion with its numbers."""
    (m, s), (m_next, s_next) = sde.at(t), sde.at(t_next)
    return f"x = {2 - m / m_next:.3g} x + {s**2 - (m / m_next * s_next) ** 2:.3g} score"


def _normal(x: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(x.shape, generator=generator, dtype=x.dtype)


def _at(sde: Sde, x: Tensor, t: float, evaluations: int, *, last: bool, says: str = "") -> PlaneStep:
    m, s = sde.at(t)
    return PlaneStep(x=x, time=t, signal=m, noise=s, evaluations=evaluations, last=last, says=says)


# --- the plane's rows ---

ODE_SOLVERS = ("heun", "euler", "midpoint", "rk4", ADAPTIVE)
PREDICTORS = ("euler-maruyama", "reverse-diffusion")
CORRECTIONS = PlaneKnob(
    name="corrections", title="Corrector steps", default=0, lo=0, hi=5, whole=True,
    help="Langevin steps after each step of a stochastic solver, at the level reached; they cost evaluations.",
)  # fmt: skip
RATIO = PlaneKnob(
    name="ratio", title="Corrector r", default=0.0, lo=0.0, hi=1.0,
    help="Size of the corrector's steps, as signal over noise; 0 takes the paper's 0.16 for VE and 0.01 for VP.",
)  # fmt: skip


def times_of(sde: Sde, solver: str, evaluations: int, passes: int = 1, corrections: int = 0) -> list[float]:
    """The times of a walk that costs at most that many evaluations (at least one step): evenly in t, as in the paper.

    Reverse diffusion takes its last step from t_end to the data; dopri5 goes by its tolerance and not by a budget.
    """
    if solver == ADAPTIVE:
        return [1.0, sde.t_end]
    if solver in FIXED:
        return evenly(1.0, sde.t_end, max(1, evaluations // (FIXED[solver].evaluations * passes)))
    n = max(1, (evaluations // passes + corrections) // (1 + corrections))  # the last step is not corrected
    if solver == "reverse-diffusion":
        return [*evenly(1.0, sde.t_end, n - 1), 0.0] if n > 1 else [1.0, 0.0]
    return evenly(1.0, sde.t_end, n)


def walk(
    sde: Sde, guide: Guide, net: nn.Module, noise: Tensor, *, solver: str, evaluations: int, generator: torch.Generator, knobs: Knobs
) -> Iterator[PlaneStep]:
    """Noise to data by any of the solvers, within a budget of evaluations."""
    model = guide(net, knobs)
    score, corrections = torch.no_grad()(score_of(sde, model)), int(knobs["corrections"])
    times = times_of(sde, solver, evaluations, model.passes, corrections)
    x = sde.start_deviation * noise
    if solver in ODE_SOLVERS:
        steps = walk_ode(sde, score, x, times, solver, knobs["tolerance"])
    else:
        ratio = knobs["ratio"] or None
        steps = walk_sde(sde, score, x, times, generator, predictor=solver, corrections=corrections, ratio=ratio)
    for step in steps:
        yield replace(step, evaluations=step.evaluations * model.passes)


def _forward(
    sde: Sde, guide: Guide, net: nn.Module, x: Tensor, *, solver: str, evaluations: int, generator: torch.Generator, knobs: Knobs
) -> Iterator[PlaneStep]:
    """The ODE from data to noise; with a stochastic solver chosen, by Heun's method."""
    model, solver = guide(net, knobs), solver if solver in ODE_SOLVERS else "heun"
    times = times_of(sde, solver, evaluations, model.passes)[::-1]
    for step in walk_ode(sde, torch.no_grad()(score_of(sde, model)), x, times, solver, knobs["tolerance"]):
        yield replace(step, evaluations=step.evaluations * model.passes)


SHOWN = 97
"""Points of a curve."""


def plots(sde: Sde) -> tuple[Plot, ...]:
    """How much signal and noise there is at each time, and what the equation does there."""
    t, m, s = course(sde)
    what = {
        "Signal and noise": ("m, s", {"signal m": m, "noise s": s}, False),
        "Signal over noise": ("m² / s²", {"m² / s²": (m / s) ** 2}, True),
        "Forces": ("rate, g²", {"rate of f": sde.rate(t), "g²": sde.diffusion(t)}, False),
    }  # fmt: skip
    return tuple(
        Plot(title=title, x="t", y=y, clock="time", log_y=log, curves={k: tuple(zip(t.tolist(), v.tolist())) for k, v in curves.items()})
        for title, (y, curves, log) in what.items()
    )


def course(sde: Sde) -> tuple[Tensor, Tensor, Tensor]:
    """Times, signal and noise."""
    t = torch.linspace(sde.t_end, 1.0, SHOWN, dtype=torch.float64)
    return t, sde.signal(t), sde.noise(t)


def row(sde: Sde, equation: str, watch_for: str, presets: tuple[Preset, ...], guide: Guide = noise_model.under) -> Method:
    """A method that walks this SDE with a noise model; `guide(net, knobs)` gives the model to ask."""

    def train(net: NoiseModel, cloud: Cloud, config: FitConfig, batch_size: int) -> Iterator[TrainStep]:
        yield from noise_model.train(net, cloud, config, batch_size, sde.levels)

    def field(net: nn.Module, x: Tensor, time: float, knobs: Knobs) -> Tensor:
        return torch.no_grad()(score_of(sde, guide(net, knobs)))(x, max(time, sde.t_end))

    def clean(net: nn.Module, x: Tensor, time: float, knobs: Knobs) -> Tensor:
        return torch.no_grad()(clean_of(sde, guide(net, knobs)))(x, time)

    def log_density(net: nn.Module, x: Tensor, knobs: Knobs) -> Tensor:
        return log_likelihood(sde, score_of(sde, guide(net, knobs)), x, tolerance=knobs["tolerance"])[0]

    return Method(
        title=sde.title, arxiv="2011.13456", equation=equation, watch_for=watch_for, build=NoiseModel, train=train,
        walk=partial(walk, sde, guide), forward=partial(_forward, sde, guide), field=field, field_name="score", clean=clean,
        log_density=log_density, density_says="the ODE's own law, by dopri5 to the tolerance, with the exact divergence", exact=ExactNoise,
        solvers=(*ODE_SOLVERS, *PREDICTORS), evaluations=100, knobs=(TOLERANCE, CORRECTIONS, RATIO, GUIDANCE, LABEL), presets=presets,
        ode=True, noisy=lambda solver, knobs: solver in PREDICTORS, plots=lambda net, facts, knobs: plots(sde), levels=partial(course, sde),
    )  # fmt: skip


_BACK = "back: dx = [f − g² score] dt + g dw, or dx = [f − g²/2 score] dt"


def rising(low: float, high: float, what: str) -> tuple[float, float]:
    """Both ends of a schedule; PlaneError unless it rises."""
    if low >= high:
        raise PlaneError(f"{what} must rise: it begins at {low:g} and ends at {high:g}.", hint="Choose a larger end or a smaller start.")
    return low, high


def vp_row(low: float = 0.1, high: float = 20.0) -> Method:
    """VP with b from low to high."""
    return replace(row(
        vp(*rising(low, high, "b")), f"dx = −b/2 x dt + √b dw, b = {low:g} + {high - low:g} t; {_BACK}",
        "The cloud keeps its size while the shape drowns in noise. The ODE's lines are smooth and the SDE's paths shiver, yet both end in "
        "the same law.",
        (
            Preset(title="ODE", sentence="Smooth lines: the same noise always ends in the same point.",
                   settings={"solver": "heun", "evaluations": 100}),
            Preset(title="ODE to a tolerance", sentence="Dopri5 takes as many evaluations as the tolerance asks for, and they are counted.",
                   settings={"solver": ADAPTIVE, "tolerance": 1e-3}),
            Preset(title="SDE", sentence="Shivering paths, the same law.", settings={"solver": "euler-maruyama", "evaluations": 500}),
            Preset(title="Corrector", sentence="A third of the evaluations predict, the others are Langevin steps at the level reached.",
                   settings={"solver": "reverse-diffusion", "evaluations": 300, "corrections": 2, "ratio": 0.16}),
        ),
    ), schedules=(_by_beta(vp_row),))  # fmt: skip


def subvp_row(low: float = 0.1, high: float = 20.0) -> Method:
    """Sub-VP with b from low to high."""
    return replace(row(
        subvp(*rising(low, high, "b")), f"dx = −b/2 x dt + √(b (1 − exp(−2I))) dw, b = {low:g} + {high - low:g} t; {_BACK}",
        "It adds less noise than VP, so the cloud shrinks before it grows into noise. Compare the two at one noise level: the marginals "
        "agree but for scale.",
        (Preset(title="ODE", sentence="Less noise on the way than VP.", settings={"solver": "heun", "evaluations": 100}),),
    ), schedules=(_by_beta(subvp_row),))  # fmt: skip


def ve_row(low: float = 0.01, high: float = 10.0) -> Method:
    """VE with sigma from low to high."""
    return replace(row(
        ve(*rising(low, high, "σ")), f"dx = √(dσ²/dt) dw, σ = {low:g} · {high / low:g}^t; {_BACK}",
        "Nothing pulls the points inwards, so the noise explodes to many times the size of the data. Half of the way is spent in noise "
        "that hides the shape.",
        (
            Preset(title="VE explodes", sentence="From ten times the data's size the points fall in; watch the axes.",
                   settings={"solver": "heun", "evaluations": 100}),
            Preset(title="Predictor-corrector", sentence="Langevin steps with r = 0.16 after each step, the paper's sampler.",
                   settings={"solver": "reverse-diffusion", "evaluations": 400, "corrections": 1}),
        ),
    ), schedules=(
        Schedule(
            name="geometric", title="Geometric σ", row=ve_row,
            numbers=(
                PlaneKnob(name="sigma_min", title="First σ", default=0.01, lo=0.001, hi=0.2, help="Noise at the data's end."),
                PlaneKnob(name="sigma_max", title="Last σ", default=10.0, lo=1.0, hi=100.0, help="Noise where walks start."),
            ),
        ),
    ))  # fmt: skip


def _by_beta(row_of: Callable[[float, float], Method]) -> Schedule:
    return Schedule(
        name="linear", title="Linear b", row=row_of,
        numbers=(
            PlaneKnob(name="beta_min", title="b at t = 0", default=0.1, lo=0.01, hi=5.0, help="Rate of the noise at the data's end."),
            PlaneKnob(name="beta_max", title="b at t = 1", default=20.0, lo=1.0, hi=40.0, help="Rate of the noise where walks start."),
        ),
    )  # fmt: skip


VP, SUBVP, VE = vp_row(), subvp_row(), ve_row()
