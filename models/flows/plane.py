"""The flows as methods of the plane lab: RealNVP, Glow and NICE layer by layer, the continuous flow through time.

All are trained by maximum likelihood, `-mean log p(x)`, exactly. Their clock runs from 0 (data) to 1 (noise); couplings stand between
two layers at a share of it. There is no level of noise on the way: the cloud is bent, not blurred.
Read next: `models/plane/method.py` (what a row is), `coupling.py`, `cnf.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from models.fitting import FitConfig, Loss, generator_for
from models.flows.chain import ChainStep, Flow, inverse_error, seeded, walk
from models.flows.cnf import ADAPTIVE, SOLVERS, Cnf, rademacher
from models.flows.coupling import glow_plane, realnvp
from models.flows.nice import NICE_CONFIGS, nice, spectrum
from models.plane.data import Cloud
from models.plane.errors import DivergedError
from models.plane.learn import learn
from models.plane.method import TOLERANCE, Knobs, Method, PlaneKnob, PlaneStep, Plot, Preset
from models.solvers import FIXED, SolverError, final, within
from models.steps import OdeStep, TrainStep

FIRST_BATCH = 4096
"""Points that actnorm is set from."""
FRAMES = 40
"""Evenly spaced moments at which a continuous walk is shown, whatever steps the solver takes."""
TRAIN_TOLERANCE = 1e-3
MOST_EVALUATIONS = 300
"""Of the field in an update; a flow that learns well needs 30 to 80. A field grown wild would else take minutes and memory without end."""
MAP_STEPS = 8
"""Steps of Runge-Kutta 4 over the whole time for the density of a moment: within 0.01 nats of a tolerance of 1e-5 on trained moons."""
LAYERS = "layers"


# --- couplings ---


def train(net: Flow, cloud: Cloud, config: FitConfig, batch_size: int) -> Iterator[TrainStep]:
    """Maximum likelihood on fresh points, actnorm set from the first of them."""
    net.initialise(cloud.sample(FIRST_BATCH, generator_for(config.seed, -1)))

    def loss(batch: tuple[Tensor, Tensor], generator: torch.Generator) -> Loss:
        value = -net.log_density(batch[0]).mean()
        return value, {"nll": float(value.detach())}

    yield from learn(net, loss, cloud, config, batch_size)


def walk_layers(net: Flow, noise: Tensor, *, solver: str, evaluations: int, generator, knobs: Knobs) -> Iterator[PlaneStep]:
    """Noise, times the temperature, carried to data layer by layer."""
    return (_shown(step, inverse=True) for step in walk(net, noise * knobs["temperature"], inverse=True))


def forward_layers(net: Flow, x: Tensor, *, solver: str, evaluations: int, generator, knobs: Knobs) -> Iterator[PlaneStep]:
    """Data carried to noise layer by layer."""
    return (_shown(step, inverse=False) for step in walk(net, x))


def layers(net: Flow, x: Tensor, knobs: Knobs) -> Iterator[PlaneStep]:
    """A grid in the noise, warped layer by layer into what it becomes in the data."""
    return (_shown(step, inverse=True) for step in walk(net, x, inverse=True))


def _shown(step: ChainStep, *, inverse: bool) -> PlaneStep:
    share, change = step.i / step.n, step.layer_log_det
    says = f"{step.layer} ({step.i} of {step.n}): log|det| {change.mean():+.2f} on average, {change.min():+.2f} to {change.max():+.2f}"
    return PlaneStep(
        x=step.x, time=1 - share if inverse else share, evaluations=int(step.i > 0), last=step.last, says=says if step.i else step.layer
    )


def log_density(net: Flow, x: Tensor, knobs: Knobs) -> Tensor:
    """log p(x) in nats (N,)."""
    return net.log_density(x)


def density_at_layer(net: Flow, x: Tensor, time: float, knobs: Knobs) -> tuple[Tensor, str]:
    """log density of noise that has come through the layers walked by then: x carried back through those alone, by change of variables."""
    n, log_det = len(net.layers), x.new_zeros(len(x))
    behind = round((1 - time) * n)
    for layer in list(net.layers)[n - behind :]:
        x, change = layer(x)
        log_det = log_det + change
    return net.log_prior(x) + log_det, f"the flow's own density after {behind} of {n} layers, exact{_if_cold(knobs)}"


def _if_cold(knobs: Knobs) -> str:
    """Densities are those of the flow itself, whatever the size of the noise that is carried."""
    return "" if knobs["temperature"] == 1 else ", at temperature 1"


def report(net: Flow, noise: Tensor, knobs: Knobs) -> dict[str, float | list[float]]:
    """How exactly the inverse leads back, on the samples that this noise becomes, and the mean log|det| of every layer on the way."""
    with torch.no_grad():
        changes = [float(step.layer_log_det.mean()) for step in walk(net, noise, inverse=True) if step.i]
        return {"inverse_error": inverse_error(net, net.inverse(noise)[0]), "layer_log_det": changes}


def plots(net: Flow, facts: dict, knobs: Knobs) -> tuple[Plot, ...]:
    """How much each layer stretches areas, and NICE's scaling spectrum."""
    curves = {"log|det|": _counted(facts["layer_log_det"])}
    changes = Plot(title="Layer by layer", x="layer, from the noise", y="mean log|det|", curves=curves)
    if "scaling_spectrum" not in facts:
        return (changes,)
    spread = Plot(title="Scaling spectrum", x="direction", y="exp(−a)", curves={"exp(−a)": _counted(facts["scaling_spectrum"])})
    return (spread, changes)


def _counted(values: list[float]) -> tuple[tuple[float, float], ...]:
    return tuple(enumerate(values, 1))


def report_nice(net: Flow, noise: Tensor, knobs: Knobs) -> dict[str, float | list[float]]:
    """The same, and e^{-a} of both directions: how widely the data vary along each, once unbent."""
    return {**report(net, noise, knobs), "scaling_spectrum": spectrum(net).tolist()}


# --- the continuous flow ---


def train_cnf(net: Cnf, cloud: Cloud, config: FitConfig, batch_size: int) -> Iterator[TrainStep]:
    """Maximum likelihood by backpropagation through the adaptive solver, exact trace."""

    def loss(batch: tuple[Tensor, Tensor], generator: torch.Generator) -> Loss:
        step = final(net.steps(batch[0], 0.0, 1.0, tolerance=TRAIN_TOLERANCE, max_evaluations=MOST_EVALUATIONS))
        value = -net.log_density_at(step.x).mean()
        return value, {"nll": float(value.detach()), "evaluations": step.evaluations}

    with saying_diverged():
        yield from learn(net, loss, cloud, config, batch_size)


@contextmanager
def saying_diverged() -> Iterator[None]:
    """A solver that gives up, told as the lab tells divergence, so that the last good state is kept."""
    try:
        yield
    except SolverError as error:
        raise DivergedError(error.message, error.hint) from error


def walk_cnf(net: Cnf, noise: Tensor, *, solver: str, evaluations: int, generator, knobs: Knobs) -> Iterator[PlaneStep]:
    """Noise, times the temperature, carried from t = 1 to data at t = 0."""
    return _through_time(net, noise * knobs["temperature"], 1.0, 0.0, solver, evaluations, knobs)


def forward_cnf(net: Cnf, x: Tensor, *, solver: str, evaluations: int, generator, knobs: Knobs) -> Iterator[PlaneStep]:
    """Data at t = 0 carried to noise at t = 1."""
    return _through_time(net, x, 0.0, 1.0, solver, evaluations, knobs)


def _through_time(net: Cnf, x: Tensor, start: float, end: float, solver: str, evaluations: int, knobs: Knobs) -> Iterator[PlaneStep]:
    """Records at even times: a fixed solver's own steps; between the steps of the adaptive one its quartic."""
    steps = net.steps(x, start, end, solver=solver, evaluations=evaluations, tolerance=knobs["tolerance"])
    times = [start + (end - start) * k / FRAMES for k in range(1, FRAMES)] if solver == ADAPTIVE else []
    with saying_diverged():
        before = next(steps)
        yield _moment(before, before.x, start)
        for step in steps:
            yield from _moments(before, step, times)
            before = step


def _moments(before: OdeStep, step: OdeStep, times: list[float]) -> Iterator[PlaneStep]:
    """The times that fall within this step, taken from the list, and its end if it is the last or nothing else is shown."""
    adaptive = step.error is not None
    while times and (step.t - times[0]) * step.h > 0:
        time = times.pop(0)
        yield replace(_moment(step, within(before.x, step, time), time), last=False)
    if step.last or not adaptive:
        yield _moment(step, step.x, step.t)


def _moment(step: OdeStep, state: Tensor, time: float) -> PlaneStep:
    gathered = state[:, -1]
    error = f", error {step.error:.2f} of tolerance, {step.rejected} rejected" if step.error is not None else ""
    says = f"t {time:.3f}: step {abs(step.h):.3f}{error}, ∫ tr ∂f/∂z dt {gathered.mean():+.2f}" if step.evaluations else ""
    return PlaneStep(x=state[:, :-1], time=time, evaluations=step.evaluations, last=step.last, says=says)


def field_cnf(net: Cnf, x: Tensor, time: float, knobs: Knobs) -> Tensor:
    """-f: the way particles go from noise to data, against the flow's clock."""
    return -net.field(x, time)


def log_density_cnf(net: Cnf, x: Tensor, knobs: Knobs) -> Tensor:
    """log p(x) in nats, to the tolerance; with probes, Hutchinson's estimate with fixed draws."""
    return net.log_density(x, tolerance=knobs["tolerance"], probes=probes_for(x, knobs))


def probes_for(x: Tensor, knobs: Knobs) -> Tensor | None:
    """As many fixed draws as the knob says; None for the exact trace."""
    count = int(knobs["probes"])
    return rademacher(count, len(x), x.shape[1], torch.Generator().manual_seed(0)).to(x) if count else None


def density_at_time(net: Cnf, x: Tensor, time: float, knobs: Knobs) -> tuple[Tensor, str]:
    """log density of noise that has flowed from t = 1 to this time: x carried on to the noise, the trace gathered on the way."""
    steps = max(1, math.ceil(MAP_STEPS * (1 - time)))
    end = final(net.steps(x, time, 1.0, probes=probes_for(x, knobs), solver="rk4", evaluations=FIXED["rk4"].evaluations * steps))
    how = f"Hutchinson's estimate with {knobs['probes']:g}" if knobs["probes"] else "exact trace"
    return net.log_density_at(end.x), f"the flow's own density at t = {time:.2f}, {how}{_if_cold(knobs)}"


def report_cnf(net: Cnf, noise: Tensor, knobs: Knobs) -> dict[str, float | list[float]]:
    """How far there and back misses, what both ways cost, the steps of the way down, and what estimated traces add to the log density."""
    with torch.no_grad():
        _, *way = net.steps(noise, 1.0, 0.0, tolerance=knobs["tolerance"])
        down = way[-1]
        x = down.x[:, :-1]
        up = final(net.steps(x, 0.0, 1.0, tolerance=knobs["tolerance"]))
        exact = net.log_density_at(up.x)
        estimated = log_density_cnf(net, x, {**knobs, "probes": 1})
        return {
            "inverse_error": float((up.x[:, :-1] - noise).abs().max()),
            "evaluations_forward": up.evaluations,
            "evaluations_back": down.evaluations,
            "hutchinson_error": float((estimated - exact).square().mean().sqrt()),  # nats, root mean square, one probe
            "solver_times": [step.t for step in way],
            "solver_steps": [abs(step.h) for step in way],
            **traces(net, noise[:1], knobs),
        }


def traces(net: Cnf, particle: Tensor, knobs: Knobs) -> dict[str, list[float]]:
    """tr df/dz along the way of one particle (1, 2) from noise to data: exact, and by one probe that stays the same."""
    probe, found = probes_for(particle, {**knobs, "probes": 1}), []
    for step in walk_cnf(net, particle, solver=ADAPTIVE, evaluations=0, generator=None, knobs={**knobs, "temperature": 1.0}):
        found.append((step.time, *(float(net.field.with_trace(step.x, step.time, e)[1]) for e in (None, probe))))
    return {name: list(values) for name, values in zip(("trace_times", "trace_exact", "trace_one_probe"), zip(*found))}


def plots_cnf(net: Cnf, facts: dict, knobs: Knobs) -> tuple[Plot, ...]:
    """Where the solver goes carefully, and what Hutchinson's estimate makes of the trace."""
    ends, lengths = facts["solver_times"], facts["solver_steps"]
    stairs = [(t, h) for before, end, h in zip([1.0, *ends], ends, lengths) for t in (before, end)]
    curves = {"exact": "trace_exact", "one probe": "trace_one_probe"}
    return (
        Plot(title="Steps of dopri5", x="t", y="length of the step", clock="time", log_y=True, curves={"noise to data": tuple(stairs)}),
        Plot(title="Trace, exact and estimated", x="t", y="tr ∂f/∂z of one particle", clock="time",
             curves={title: tuple(zip(facts["trace_times"], facts[key])) for title, key in curves.items()}),
    )  # fmt: skip


# --- the rows ---

TEMPERATURE = PlaneKnob(name="temperature", title="Temperature", default=1.0, lo=0.0, hi=2.0,
                        help="Size of the noise that is carried to data; below 1 the likelier samples.")  # fmt: skip
COOL = Preset(title="Cool", sentence="Noise at half its size: samples gather where the flow is surest.", settings={"temperature": 0.5})

REALNVP = Method(
    title="RealNVP", arxiv="1605.08803",
    equation="log p(x) = log N(f(x)) + sum log|det df_k|;  f_k: y = b x + (1 - b)(x exp(s(b x)) + t(b x))",
    watch_for="Every coupling moves only one coordinate, by an amount that the other decides, and the next one takes turns. "
    "Between the moons a thin thread stays: one connected sheet of noise can be stretched, but never torn.",
    build=partial(seeded, build=realnvp), train=train, walk=walk_layers, forward=forward_layers, layers=layers,
    log_density=log_density, density_says="exact", density_at=density_at_layer, report=report, plots=plots, solvers=(LAYERS,),
    evaluations=1, knobs=(TEMPERATURE,), presets=(COOL,), lr=2e-3, batch_size=512, train_steps=1500,
)  # fmt: skip

GLOW = replace(
    REALNVP, title="Glow", arxiv="1807.03039",
    equation="log p(x) = log N(f(x)) + sum log|det df_k|;  a step: actnorm e^ls (x + b), then W = P L (U + diag s), then a coupling",
    watch_for="Turns take the place of taking turns: the matrix W mixes both coordinates before every coupling. "
    "Actnorm is set once from the first batch, so training begins with a standardised cloud.",
    build=partial(seeded, build=glow_plane), train_steps=1000,
)  # fmt: skip

NICE = replace(
    REALNVP, title="NICE", arxiv="1410.8516",
    equation="log p(x) = log N(h) + sum a_i;  y1 = x1, y2 = x2 + m(x1);  h_i = e^a_i z_i",
    watch_for="Ten shears bend the cloud without changing any area: cells of the grid keep their size, but for one scaling. "
    "What cannot be spread apart is borrowed: thin regions of the data are reached through thin fingers of the noise.",
    build=partial(seeded, build=lambda: nice(NICE_CONFIGS["plane"])), report=report_nice, lr=4e-3, train_steps=2000,
)  # fmt: skip

NICE_TWO = replace(
    NICE, title="NICE, two couplings",
    watch_for="Each coordinate is moved once, so the noise can only be sheared and not folded: the moons stay blurred. "
    "At least three couplings are needed before every coordinate depends on every other.",
    build=partial(seeded, build=lambda: nice(NICE_CONFIGS["plane-2"])),
)  # fmt: skip

CNF = Method(
    title="Continuous flow", arxiv="1810.01367",
    equation="dz/dt = f(z, t);  log p(x) = log N(z(1)) + int_0^1 tr df/dz dt",
    watch_for="No layers: the plane flows, and the solver takes short steps where the field bends quickly. "
    "Halving the tolerance costs a few evaluations, since the method is of fifth order.",
    build=partial(seeded, build=Cnf), train=train_cnf, walk=walk_cnf, forward=forward_cnf, field=field_cnf,
    field_name="velocity, noise to data", log_density=log_density_cnf, density_says="exact trace, to the solver's tolerance",
    density_at=density_at_time, report=report_cnf, plots=plots_cnf, solvers=SOLVERS, evaluations=64, ode=True,
    knobs=(
        TEMPERATURE,
        TOLERANCE,
        PlaneKnob(name="probes", title="Hutchinson probes", default=0, lo=0, hi=64, whole=True,
                  help="0: the exact trace; else the log density is estimated with so many random probes."),
    ),
    presets=(
        COOL,
        Preset(title="Rough", sentence="Tolerance 0.1 costs about half the evaluations, and hardly a particle is seen to miss.",
               settings={"tolerance": 0.1}),
        Preset(title="Eight Euler steps", sentence="Nothing watches the error: particles end beside their place by a tenth of the moons.",
               settings={"solver": "euler", "evaluations": 8}),
        Preset(title="Estimated trace", sentence="One probe for each point: the density map grows grainy, its mean stays right.",
               settings={"probes": 1}),
    ),
    lr=1e-2, batch_size=512, train_steps=450,
)  # fmt: skip
