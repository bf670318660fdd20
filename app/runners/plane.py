"""Runner of the plane lab: train a method on a cloud, walk noise to data, measure where it ended.

The parts: `plane_training.py` (cloud, network, book), `plane_company.py` (what walks beside the particles), `plane_referee.py` (what a walk
is held against), `plane_picture.py` (the picture of a run), `plane_compare.py` (the desk).
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from app.jobs.plane import Plane, PlaneMethods, read_knobs
from app.protocol.events import Event, Progress, Record, Step
from app.protocol.payloads import Curve, Result
from app.protocol.plane import Arrows, CloudCard, CloudPoints, DensityMap, Particles, PlanePlot
from app.runners.plane_company import REACH, company, returned, square
from app.runners.plane_export import animated
from app.runners.plane_picture import picture
from app.runners.plane_referee import Referee
from app.runners.plane_training import LOOKED_AT, card, cards, open_cloud, particles, prepared, walked, watched
from app.worker import display
from app.worker.context import Ctx
from models.plane.data import CLOUDS, Cloud, cloud
from models.plane.errors import DivergedError
from models.plane.method import METHODS, Method, PlaneStep, method
from models.plane.metrics import PROJECTIONS, sliced_wasserstein
from models.solvers import SolverError

HELD_OUT, SCORED = 10_000, 2000
"""Points that samples are measured against; points whose likelihood is averaged."""
REPORTED = 2000
"""Particles that a method's own report walks."""
EMPTY = -1e4
"""Log density, in nats, of a cell that is carried out of the numbers."""
PIECE = 512
"""Points whose density is computed at once."""
PATHS = 60
"""Particles whose paths are drawn."""
WALK_SEED = 1_000_003

Run = Generator[Event, None, Result]


def plane_methods(job: PlaneMethods, ctx: Ctx) -> Run:
    """The two tables."""
    yield Progress(done=0, note="looking")
    known = [cloud(name) for name in CLOUDS]
    clouds = tuple(CloudCard(name=one.name, title=one.title, classes=one.classes, exact=one.mixture is not None) for one in known)
    return Result(files={"methods": cards(), "clouds": clouds}, facts={"names": ", ".join(METHODS)})


@dataclass
class Walk:
    """A walk as the job asks for it, and what came of it. `end` holds the particles alone, without their company."""

    row: Method
    net: torch.nn.Module
    solver: str
    evaluations: int
    knobs: dict[str, float]
    end: PlaneStep | None = None
    seconds: float = 0.0
    notice: str = ""
    referee: Referee | None = None
    """Of a walk to data."""
    kept: list[Particles] = field(default_factory=list)
    """Moments for the animation, if one is wanted."""
    trails: list[Tensor] = field(default_factory=list)
    """The first PATHS particles at every step, at unit size."""
    from_noise: bool = True
    """Else from another cloud: there are no levels of noise on the way."""
    beside: dict[str, Tensor] = field(default_factory=dict)
    """Starts of the company, and in the end where it has come."""

    def steps(self, start: Tensor, way: str, generator: torch.Generator) -> Iterator[PlaneStep]:
        """From `start`, the way that "walk" or "back" names."""
        if way == "walk":
            return walked(self.row, self.net, start, self.solver, self.evaluations, generator, self.knobs)
        options = {"solver": self.solver, "evaluations": self.evaluations, "generator": generator, "knobs": self.knobs}
        return watched(self.row.forward(self.net, start, **options))


def plane(job: Plane, ctx: Ctx) -> Run:
    """Train or look up, walk, measure."""
    row, (points, key) = method(job.method).with_schedule(job.schedule), open_cloud(job)
    knobs, solver = row.settings(read_knobs(job.knobs)), row.check_solver(job.solver)
    yield Record(channel="method", payload=card(job.method, row))
    shown = CloudPoints(display.array(points.held_out(HELD_OUT)), points.title, points.centre, points.scale)
    yield Record(channel="cloud", payload=shown)
    held_out = points.held_out(HELD_OUT, label=label_of(knobs))
    trained = yield from prepared(job, ctx, job.method, row, points, key, job.exact)
    row = row.by(solver)
    referee = Referee.of(row, points, held_out, label_of(knobs), job.exact)
    walk = Walk(row, trained.net, solver, job.evaluations or row.evaluations, knobs, referee=referee, from_noise=points.source is None)
    noise = points.start(job.samples, torch.Generator().manual_seed(job.seed))
    if row.chords is not None:
        yield Record(channel="chords", payload=chords(walk, noise[:PATHS], held_out[:PATHS]))
    walk.beside = company(row, trained.net, solver, walk.evaluations, knobs, job)
    latents = walk.beside.get("sketch")
    yield from follow(walk, noise, "walk", job, ctx)
    if job.back and row.forward is not None:
        back = Walk(row, trained.net, solver, walk.evaluations, knobs, from_noise=walk.from_noise)
        yield from follow(back, held_out[: job.samples], "back", job, ctx)
    facts = yield from measured(walk, points, held_out, noise, job, ctx)
    facts |= returned(walk.beside["sketch"], latents, job) if latents is not None else {}
    told = {
        "method": job.method, "cloud": points.title, "centre": points.centre, "scale": points.scale, "solver": solver,
        "evaluations": walk.end.evaluations, **facts, "train_seconds": round(trained.seconds, 3), "walk_seconds": round(walk.seconds, 3),
        "loss": trained.losses[-1].loss if trained.losses else None, "updates": len(trained.losses),
        "notice": " ".join(filter(None, (trained.notice, walk.notice))), "settings": knobs,
    }  # fmt: skip
    samples = display.array(walk.end.x)
    drawn = picture(samples, display.array(held_out), np.stack([display.array(at) for at in walk.trails]), caption(row, told))
    files = {"samples.npy": samples, "held_out.npy": display.array(held_out), "picture.png": drawn}
    if job.film:
        files["walk.gif"] = yield from animated([(row.title, walk.kept)], shown, ctx)
    return Result(files=files, facts=told)


def label_of(knobs: dict[str, float]) -> int | None:
    """The label that a guided walk heads for, if it does (at w = 0 it does not): samples are then measured against points of that label."""
    label = int(knobs.get("label", -1))
    return label if label >= 0 and knobs["guidance"] > 0 else None


def follow(walk: Walk, start: Tensor, way: str, job: Plane, ctx: Ctx) -> Generator[Event, None, None]:
    """Records of the kept moments and what stands beside them, and one Step for each step; what diverges keeps its last good moment."""
    kept, index, sizes = 0, 0, [len(start), *map(len, walk.beside.values())]
    steps = walk.steps(torch.cat([start, *walk.beside.values()]), way, torch.Generator().manual_seed(job.seed + WALK_SEED))
    while True:
        ctx.check()
        begin = time.perf_counter()
        try:
            whole = next(steps, None)
        except DivergedError as error:
            if walk.end is None:
                raise  # there is nothing to keep
            walk.notice = f"{error.message} {error.hint}"
            yield Record(channel="notice", payload=walk.notice)
            return
        walk.seconds += time.perf_counter() - begin
        if whole is None:
            return
        mine, *others = whole.x.split(sizes)
        walk.end, walk.beside = replace(whole, x=mine), dict(zip(walk.beside, others))
        step = walk.end
        walk.trails.append(step.x[:PATHS] / size_of(step))
        if step.last or (step.evaluations * (job.frames - 1) >= kept * walk.evaluations and kept < 4 * job.frames):
            yield from moment(walk, step, way, kept, job)
            kept += 1
        if index:
            yield Step(index=index, total=index if step.last else max(index, walk.evaluations))
        index += 1


def moment(walk: Walk, step: PlaneStep, way: str, index: int, job: Plane) -> Generator[Event, None, None]:
    """All records of one kept moment."""
    shown = particles(step if walk.from_noise else replace(step, signal=math.nan, noise=math.nan), way, index)
    walk.kept += [shown] if job.film else []
    yield Record(channel="particles", payload=shown)
    if walk.row.clean is not None:
        guess = walk.row.clean(walk.net, step.x[:LOOKED_AT], step.time, walk.knobs)
        yield Record(channel="clean", payload=particles(replace(step, x=guess), "clean", index))
    if walk.row.field is not None and job.grid:
        yield Record(channel="field", payload=arrows(walk, step, job.grid, index))
        if walk.row.parts is not None:
            yield Record(channel="parts", payload=parts(walk, step, job.grid // 2, index))
    if walk.referee is not None and way == "walk":
        walk.referee.judge(walk.row, walk.net, step, walk.knobs)
        if job.map_side and math.isfinite(step.noise):
            yield Record(channel="marginal", payload=walk.referee.marginal(step, job.map_side, REACH * size_of(step), index))
        elif job.map_side and walk.row.density_at is not None:
            yield Record(channel="marginal", payload=own_density(walk, step, job.map_side, index))
    for name, x in walk.beside.items():
        yield Record(channel=name, payload=particles(replace(step, x=x), name, index))


def size_of(step: PlaneStep) -> float:
    """Typical size of x at a step where it is larger than that of the data, else 1."""
    return max(1.0, (step.signal**2 + step.noise**2) ** 0.5)  # max(1, nan) is 1


def arrows(walk: Walk, step: PlaneStep, side: int, index: int) -> Arrows:
    """The method's field on a grid at the moment of a step."""
    at = square(side, REACH * size_of(step))
    found = walk.row.field(walk.net, at, step.time, walk.knobs)
    return Arrows(display.array(at), display.array(torch.nan_to_num(found)), walk.row.field_name, index, float(step.time))


def parts(walk: Walk, step: PlaneStep, side: int, index: int) -> tuple[Arrows, ...]:
    """The arrows that add up to the field, on a grid of their own."""
    at = square(max(1, side), REACH * size_of(step))
    found = walk.row.parts(walk.net, at, step.time, walk.knobs)
    where, time = display.array(at), float(step.time)
    return tuple(Arrows(where, display.array(torch.nan_to_num(arrow)), name, index, time) for name, arrow in found.items())


def own_density(walk: Walk, step: PlaneStep, side: int, index: int) -> DensityMap:
    """Log density of what the noise has become by this step, as the network itself has it."""
    values, whose = walk.row.density_at(walk.net, square(side, REACH), step.time, walk.knobs)
    return DensityMap(display.array(torch.nan_to_num(values, nan=EMPTY)).reshape(side, side), REACH, whose, index)


def chords(walk: Walk, start: Tensor, data: Tensor) -> Arrows:
    """Straight lines from starts to ends as a training pairs them."""
    here, there = walk.row.chords(walk.net, start, data, walk.knobs)
    return Arrows(display.array(here), display.array(there - here), "chords", 0, 0.0)


def plots(walk: Walk, facts: dict) -> tuple[PlanePlot, ...]:
    """The method's own plots, and how far its field is from the exact one."""
    own = walk.row.plots(walk.net, facts, walk.knobs) if walk.row.plots is not None else ()
    return tuple(
        PlanePlot(
            title=one.title, x_label=one.x, y_label=one.y, clock=one.clock, log_x=one.log_x, log_y=one.log_y,
            curves=tuple(Curve(*np.array(points, float).reshape(-1, 2).T, label=name) for name, points in one.curves.items()),
        )
        for one in (*own, *walk.referee.plots())
    )  # fmt: skip


def measured(walk: Walk, points: Cloud, held_out: Tensor, noise: Tensor, job: Plane, ctx: Ctx) -> Generator[Event, None, dict]:
    """Distance to held-out points beside that of fresh data, likelihood where there is one, and what the method tells of itself."""
    apart = sliced_wasserstein(points.held_out(len(noise), seed=1, label=label_of(walk.knobs)), held_out)
    facts = {"sliced_wasserstein": sliced_wasserstein(walk.end.x, held_out), "data_distance": apart, "projections": PROJECTIONS}
    if walk.row.log_density is not None and points.source is None:
        try:
            facts |= yield from likelihood(walk, held_out, job, ctx)
        except SolverError as error:  # the walk is there all the same
            walk.notice = f"{walk.notice} No density: {error.message} {error.hint}".strip()
            yield Record(channel="notice", payload=walk.notice)
    if walk.row.report is not None:
        facts |= walk.row.report(walk.net, noise[:REPORTED], walk.knobs)
    facts |= walk.referee.facts()
    for plot in plots(walk, facts):
        yield Record(channel="plot", payload=plot)
    return facts


def likelihood(walk: Walk, held_out: Tensor, job: Plane, ctx: Ctx) -> Generator[Event, None, dict]:
    """Mean of -log p over held-out points, and the map of log p."""
    scored = yield from in_pieces(walk, held_out[:SCORED], ctx, "likelihood")
    if job.map_side:
        found = yield from in_pieces(walk, square(job.map_side, REACH), ctx, "density")
        values = display.array(found.reshape(job.map_side, job.map_side))
        yield Record(channel="density", payload=DensityMap(values, REACH, walk.row.density_says))
    return {"nll_nats": -float(scored.mean()), "density": walk.row.density_says}


def in_pieces(walk: Walk, x: Tensor, ctx: Ctx, note: str) -> Generator[Event, None, Tensor]:
    """log p (N,) at x, piece by piece."""
    found = []
    for piece in x.split(PIECE):
        ctx.check()
        yield Progress(done=len(found) * PIECE, total=len(x), unit="points", note=note)
        found.append(walk.row.log_density(walk.net, piece, walk.knobs))
    return torch.cat(found)


def caption(row: Method, told: dict) -> str:
    """The line under the picture."""
    nll = f", {told['nll_nats']:.3f} nats a held-out point" if "nll_nats" in told else ""
    return (
        f"{row.title}, {told['solver']}, {told['evaluations']} evaluations; sliced Wasserstein-1 to held-out points "
        f"{told['sliced_wasserstein']:.4f}, of fresh data {told['data_distance']:.4f}{nll}"
    )
