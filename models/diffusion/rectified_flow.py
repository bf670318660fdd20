"""Flow matching and rectified flow on the plane: learn a velocity by regression on chords, follow it from noise to data.

Flow matching (Lipman et al. 2022, arXiv 2210.02747) and rectified flow (Liu et al. 2022, arXiv 2209.03003), in their papers' time, which
runs from noise X0 (t = 0) to data X1 (t = 1), against the other files of this folder (t -> 1 - t, v -> -v leads over):

    X_t = t X1 + (1 - (1 - sigma_min) t) X0        loss  E |(X1 - (1 - sigma_min) X0) - v(X_t, t)|^2,  t ~ U(0, 1)
    optimum  v(x, t) = E[X1 - (1 - sigma_min) X0 | X_t = x]        sampling  dZ = v(Z, t) dt

Rectified flow is sigma_min = 0. **Reflow** trains anew on the pairs (Z0, Z1) that the flow itself makes: chords no longer cross, paths
straighten, and no convex cost of the coupling grows (it need not become the optimal transport). **Distillation** fits `Z0 + v(Z0, 0)`
to Z1: one step. The pairs must never be shuffled. Read next: `sde.py`, `edm.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from models.fitting import FitConfig, Loss, generator_for
from models.plane.data import Cloud
from models.plane.learn import Batch, guarded, learn
from models.plane.method import TOLERANCE, Knobs, Method, PlaneKnob, PlaneStep, Plot, Preset
from models.plane.metrics import straightness
from models.plane.mixture import Mixture
from models.plane.net import PlaneNet
from models.solvers import ADAPTIVE, FIXED, TITLES, along, evenly, integrate, solve, with_divergence
from models.steps import TrainStep

SIGMA_MIN = 0.01
"""Of flow matching: the noise left at t = 1, in units of the data."""
SOLVERS = ("heun", "euler", "midpoint", "rk4", ADAPTIVE)
ONE_STEP = "one-step"
Velocity = Callable[[Tensor, float], Tensor]


# --- the path, its velocity, the loss ---


def on_chord(x0: Tensor, x1: Tensor, t: Tensor, sigma_min: float = 0.0) -> tuple[Tensor, Tensor]:
    """X_t and the velocity there, `X1 - (1 - sigma_min) X0`, for noise x0, data x1 (N, D) and times t (N, 1)."""
    return t * x1 + (1 - (1 - sigma_min) * t) * x0, x1 - (1 - sigma_min) * x0


def gaussian_velocity(x: Tensor, t: float, mean: Tensor | float, std: float) -> Tensor:
    """The optimum for N(0, I) -> N(mean, std^2 I), in closed form: `m + (t s^2 - (1 - t)) / (t^2 s^2 + (1 - t)^2) (x - t m)`."""
    return mean + (t * std**2 - (1 - t)) / (t**2 * std**2 + (1 - t) ** 2) * (x - t * mean)


class ExactVelocity(nn.Module):
    """The optimal velocity of a mixture: `E[X1 | x] - (1 - sigma_min) E[X0 | x]`, from its posterior mean."""

    def __init__(self, mixture: Mixture, sigma_min: float = 0.0) -> None:
        super().__init__()
        self.mixture, self.sigma_min = mixture, sigma_min

    def forward(self, x: Tensor, time: Tensor | float) -> Tensor:
        """v (N, D) at x (N, D) and one time, or (N,) of them."""
        t = torch.as_tensor(time, dtype=torch.float64).reshape(-1, 1)
        keep = 1 - self.sigma_min
        noise = 1 - keep * t
        x0 = -noise * self.mixture.score(x.double(), t, noise)  # E[X0 | x], by Tweedie's formula
        return (self.mixture.denoise(x.double(), t, noise) - keep * x0).to(x.dtype)


def chord_loss(net: nn.Module, x0: Tensor, x1: Tensor, generator: torch.Generator, sigma_min: float = 0.0) -> Loss:
    """Mean of `|target - v(X_t, t)|^2` over both coordinates, t uniform."""
    t = torch.rand(len(x1), 1, generator=generator)
    x, target = on_chord(x0, x1, t, sigma_min)
    return (net(x, t[:, 0]) - target).square().mean(), {}


def velocity_of(net: nn.Module) -> Velocity:
    """`v(x, t)` without gradients."""

    @torch.no_grad()
    def v(x: Tensor, t: float) -> Tensor:
        return net(x, t)

    return v


# --- the functions of the rows ---


def build(seed: int) -> PlaneNet:
    """A fresh network: v(x, t)."""
    return PlaneNet(seed)


def train(net: nn.Module, cloud: Cloud, config: FitConfig, batch_size: int, sigma_min: float = 0.0) -> Iterator[TrainStep]:
    """Independent pairs of noise (or points of another cloud) and data."""

    def loss(batch: Batch, generator: torch.Generator) -> Loss:
        return chord_loss(net, cloud.start(len(batch[0]), generator), batch[0], generator, sigma_min)

    return learn(net, loss, cloud, config, batch_size)


def train_matching(net: nn.Module, cloud: Cloud, config: FitConfig, batch_size: int) -> Iterator[TrainStep]:
    """With the noise SIGMA_MIN left at the end, as Lipman et al. do."""
    return train(net, cloud, config, batch_size, SIGMA_MIN)


def follow(
    v: Velocity, x: Tensor, start: float, end: float, solver: str, evaluations: int, knobs: Knobs, sigma_min: float = 0.0
) -> Iterator[PlaneStep]:
    """The flow from one time to another, rising to data or falling to noise: in even steps, or in those that dopri5 chooses."""
    times = [start, end] if solver == ADAPTIVE else evenly(start, end, FIXED[solver].steps(evaluations))
    tolerance = knobs["tolerance"] if solver == ADAPTIVE else 0.0
    for step in along(v, x, times, solver, tolerance):
        error = "" if step.error is None else f", error {step.error:.2f} of the tolerance"
        yield PlaneStep(
            x=step.x, time=step.t, evaluations=step.evaluations, last=step.last, signal=step.t, noise=1 - (1 - sigma_min) * step.t,
            says=f"{TITLES[solver]}: x += {step.h:+.4f} v(x, t), now t = {step.t:.3f}{error}" if step.evaluations else "",
        )  # fmt: skip


def walk(net, noise: Tensor, *, solver: str, evaluations: int, generator, knobs: Knobs, sigma_min: float = 0.0) -> Iterator[PlaneStep]:
    """Noise to data."""
    return follow(velocity_of(net), noise, 0.0, 1.0, solver, evaluations, knobs, sigma_min)


def walk_matching(net, noise: Tensor, *, solver: str, evaluations: int, generator, knobs: Knobs) -> Iterator[PlaneStep]:
    """As `walk`, with flow matching's levels of noise."""
    return walk(net, noise, solver=solver, evaluations=evaluations, generator=generator, knobs=knobs, sigma_min=SIGMA_MIN)


def forward(net, x: Tensor, *, solver: str, evaluations: int, generator, knobs: Knobs) -> Iterator[PlaneStep]:
    """Data to noise: the same equation, backwards."""
    return follow(velocity_of(net), x, 1.0, 0.0, solver, evaluations, knobs)


def field(net, x: Tensor, time: float, knobs: Knobs) -> Tensor:
    """v(x, t), (N, 2)."""
    return velocity_of(net)(x, time)


def clean(net, x: Tensor, time: float, knobs: Knobs, sigma_min: float = 0.0) -> Tensor:
    """E[X1 | X_t = x]: the chord's two equations, for X_t and for v, solved for X1."""
    keep = 1 - sigma_min
    return keep * x + (1 - keep * time) * velocity_of(net)(x, time)


DENSITY_STEPS = 24


def log_density(net, x: Tensor, knobs: Knobs) -> Tensor:
    """log p of the flow's own law at x, (N,) nats: `log N(Z0) - int_0^1 div v dt` along the way back from x (arXiv 1806.07366)."""

    end = solve(with_divergence(net), torch.cat([x, x.new_zeros(len(x), 1)], 1), evenly(1.0, 0.0, DENSITY_STEPS), "rk4")
    z, gained = end[:, :-1], end[:, -1]
    return gained - 0.5 * z.square().sum(1) - 0.5 * z.shape[1] * math.log(2 * math.pi)


def measures(v: Velocity, noise: Tensor, steps: int = 50) -> tuple[float, float]:
    """Straightness S and mean squared displacement `E |Z1 - Z0|^2` of a flow from this noise."""
    path = [(step.t, step.x) for step in integrate(v, noise, evenly(0.0, 1.0, steps), "rk4")]
    return straightness(v, path), float((path[-1][1] - path[0][1]).square().sum(1).mean())


def report(net, noise: Tensor, knobs: Knobs) -> dict[str, float | list[float]]:
    """S and the cost of the coupling."""
    straight, cost = measures(velocity_of(net), noise)
    return {"straightness": straight, "squared_displacement": cost}


def chords(net, start: Tensor, data: Tensor, knobs: Knobs) -> tuple[Tensor, Tensor]:
    """Pairs as the first training sees them: whatever start with whatever data."""
    n = min(len(start), len(data))
    return start[:n], data[:n]


# --- reflow ---

ROUNDS = 3
SHARES = (0.55, 0.2, 0.2, 0.05)
"""Of all updates: the three rounds, and the distillation."""
PIECES, PIECE = 16, 1024
"""Pairs come in pieces, one solved for each of the first updates of a round, so that no update takes long."""
PAIR_STEPS = 16
PAIR_SEED = 7_000_003


class Reflow(nn.Module):
    """The velocities of 1-, 2- and 3-rectified flow, and a network whose one step does what the last of them does."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.rounds = nn.ModuleList(PlaneNet(seed) for _ in range(ROUNDS))
        self.one_step = PlaneNet(seed)
        self.begun = ROUNDS  # rounds whose training has begun, or is over

    def at(self, knobs: Knobs) -> nn.Module:
        """The round that the knobs ask for; while it trains, the last one that there is."""
        return self.rounds[min(int(knobs["round"]), self.begun) - 1]


class Pairs:
    """Couplings (Z0, Z1) of a flow, solved piece by piece as they are asked for. Batches are rows of both: a pair stays a pair."""

    def __init__(self, v: Velocity, start: Callable[[int, torch.Generator], Tensor], seed: int, size: int) -> None:
        self.v, self.start, self.seed, self.size = v, start, seed, size
        self.bank: list[Tensor] = []  # (PIECE, 4) each: Z0 beside Z1

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """The pairs of update `step`."""
        if len(self.bank) < PIECES:
            z0 = self.start(PIECE, generator_for(self.seed + PAIR_SEED, len(self.bank)))
            self.bank.append(torch.cat([z0, solve(self.v, z0, evenly(0.0, 1.0, PAIR_STEPS), "heun")], 1))
        which = torch.randint(len(self.bank) * PIECE, (self.size,), generator=generator_for(self.seed + PAIR_SEED, 10_000 + step))
        rows = torch.cat([self.bank[0]] if len(self.bank) == 1 else self.bank)[which]
        return rows[:, :2], rows[:, 2:]


def train_reflow(net: Reflow, cloud: Cloud, config: FitConfig, batch_size: int) -> Iterator[TrainStep]:
    """Three rounds and a distillation, one after the other; the metric "round" says which (4: the distillation)."""
    lengths = [max(1, round(share * config.steps)) for share in SHARES]
    total, before = sum(lengths), 0
    for index, length in enumerate(lengths):
        net.begun = min(index + 1, ROUNDS)
        part = replace(config, steps=length, warmup=min(config.warmup, max(1, length // 4)), seed=config.seed + index)
        for step in _round(net, index, cloud, part, batch_size):
            yield replace(step, step=before + step.step, total=total, metrics={**step.metrics, "round": index + 1})
        before += length


def _round(net: Reflow, index: int, cloud: Cloud, config: FitConfig, batch_size: int) -> Iterator[TrainStep]:
    if index == 0:
        yield from train(net.rounds[0], cloud, config, batch_size)
        return
    teacher = net.rounds[index - 1]
    student = net.rounds[index] if index < ROUNDS else net.one_step
    student.load_state_dict(teacher.state_dict())

    def rectify(batch: tuple[Tensor, Tensor], generator: torch.Generator) -> Loss:
        return chord_loss(student, *batch, generator)

    def distil(batch: tuple[Tensor, Tensor], generator: torch.Generator) -> Loss:
        return (batch[0] + student(batch[0], 0.0) - batch[1]).square().mean(), {}

    pairs = Pairs(velocity_of(teacher), cloud.start, config.seed, batch_size)
    yield from guarded(student, rectify if index < ROUNDS else distil, pairs, config)


def walk_reflow(net: Reflow, noise: Tensor, *, solver: str, evaluations: int, generator, knobs: Knobs) -> Iterator[PlaneStep]:
    """The round that the knob names; "one-step" takes the distilled network instead."""
    if solver != ONE_STEP:
        return walk(net.at(knobs), noise, solver=solver, evaluations=evaluations, generator=generator, knobs=knobs)
    return follow(velocity_of(net.one_step), noise, 0.0, 1.0, "euler", 1, knobs)


def forward_reflow(net: Reflow, x: Tensor, *, solver: str, evaluations: int, generator, knobs: Knobs) -> Iterator[PlaneStep]:
    """Data to noise along the round that the knob names."""
    return forward(net.at(knobs), x, solver=solver, evaluations=evaluations, generator=generator, knobs=knobs)


def report_reflow(net: Reflow, noise: Tensor, knobs: Knobs) -> dict[str, float | list[float]]:
    """S and the cost of the coupling of every round."""
    found = [measures(velocity_of(one), noise) for one in net.rounds]
    return {"straightness": [s for s, _ in found], "squared_displacement": [cost for _, cost in found]}


def chords_reflow(net: Reflow, start: Tensor, data: Tensor, knobs: Knobs) -> tuple[Tensor, Tensor]:
    """Pairs as the round on show was taught: from the second on, those of the flow before it."""
    taught = int(knobs["round"]) - 2
    if taught < 0:
        return chords(net, start, data, knobs)
    return start, solve(velocity_of(net.rounds[taught]), start, evenly(0.0, 1.0, PAIR_STEPS), "heun")


def plots_reflow(net: Reflow, facts: dict, knobs: Knobs) -> tuple[Plot, ...]:
    """How straight each round flows, and how far it carries."""
    curves = {"straightness S": facts["straightness"], "E|Z1 − Z0|²": facts["squared_displacement"]}
    return (Plot(title="Round by round", x="round", y="S, cost", curves={k: tuple(enumerate(v, 1)) for k, v in curves.items()}),)


# --- the rows ---

RECTIFIED_FLOW = Method(
    title="Rectified flow", arxiv="2209.03003",
    equation="dx/dt = v(x, t),  v learned as E[X1 - X0 | X_t],  X_t = t X1 + (1 - t) X0",
    watch_for="Paths bend where the chords of training would have crossed: the flow keeps the marginals and never crosses itself. "
    "Few Euler steps cut those bends, which is what reflow mends.",
    build=build, train=train, walk=walk, forward=forward, field=field, field_name="velocity", clean=clean, log_density=log_density,
    density_says="of the flow itself, exact divergence, 24 steps of Runge-Kutta 4", exact=ExactVelocity, report=report, chords=chords,
    any_source=True, solvers=SOLVERS, evaluations=40, ode=True, lr=1e-2, knobs=(TOLERANCE,),
    presets=(
        Preset(title="One step", sentence="A single Euler step lands near the mean of what the noise may become.",
               settings={"solver": "euler", "evaluations": 1}),
        Preset(title="Four steps", sentence="Bends are cut, thin moons thicken.", settings={"solver": "euler", "evaluations": 4}),
    ),
)  # fmt: skip

FLOW_MATCHING = replace(
    RECTIFIED_FLOW, title="Flow matching", arxiv="2210.02747",
    equation=f"dx/dt = v(x, t),  v learned as E[X1 - (1 - s) X0 | X_t],  X_t = t X1 + (1 - (1 - s) t) X0,  s = {SIGMA_MIN}",
    watch_for="All particles move at once and at nearly constant speed, unlike diffusion, where most happens near the end. "
    f"A trace of noise, {SIGMA_MIN} of the data's size, is left on purpose: the path of a point is a Gaussian at every time.",
    train=train_matching, walk=walk_matching, clean=partial(clean, sigma_min=SIGMA_MIN),
    exact=lambda mixture: ExactVelocity(mixture, SIGMA_MIN),
)  # fmt: skip

REFLOW = replace(
    RECTIFIED_FLOW, title="Reflow", arxiv="2209.03003",
    equation="(Z0, Z1) from the last flow;  v learned as E[Z1 - Z0 | t Z1 + (1 - t) Z0];  S = int E|(Z1 - Z0) - v(Z_t, t)|^2 dt",
    watch_for="From round to round the same noise travels straighter, until one step does nearly what forty do. "
    "The ends drift a little, since every round learns from the last one's samples and not from data.",
    build=Reflow, train=train_reflow, walk=walk_reflow, forward=forward_reflow,
    field=lambda net, x, time, knobs: field(net.at(knobs), x, time, knobs),
    clean=lambda net, x, time, knobs: clean(net.at(knobs), x, time, knobs),
    log_density=lambda net, x, knobs: log_density(net.at(knobs), x, knobs), exact=None, report=report_reflow,
    plots=plots_reflow, chords=chords_reflow,
    solvers=(*SOLVERS, ONE_STEP), leaps=(ONE_STEP,), train_steps=3000,
    knobs=(TOLERANCE, PlaneKnob(name="round", title="Round", default=ROUNDS, lo=1, hi=ROUNDS, whole=True,
                     help="1: rectified flow; 2 and 3: trained on the couplings of the round before."),),
    presets=(
        Preset(title="Before", sentence="1-rectified flow in two Euler steps.", settings={"round": 1, "solver": "euler", "evaluations": 2}),
        Preset(title="Straightened", sentence="3-rectified flow in the same two steps.",
               settings={"round": 3, "solver": "euler", "evaluations": 2}),
        Preset(title="Distilled", sentence="One evaluation in all.", settings={"solver": ONE_STEP}),
    ),
)  # fmt: skip
