"""What the plane's runners share: the cloud a job means, and a trained network for it, from the book if it was trained before.

The book belongs to the worker. Its key is all that a training depends on, so that a network from the book equals one trained anew.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from app.jobs.plane import PlaneJob
from app.protocol.events import Event, Preview, Record, Step
from app.protocol.plane import MethodCard, Particles, PlaneKnobCard, PlaneLoss, PlanePreset, ScheduleCard
from app.worker import display
from app.worker.context import Ctx
from models.fitting import FitConfig
from models.plane import data
from models.plane.data import Cloud
from models.plane.errors import DivergedError, PlaneError
from models.plane.method import METHODS, Method, PlaneKnob, PlaneStep, method
from models.solvers import SolverError
from models.steps import TrainStep

REPORT_MS, LOOK_MS = 100, 1500
LOOKED_AT = 1000
"""Particles of the quick look while a network trains."""
COOLDOWN = 0.5
KEPT_NETS = 32
LUMA = (0.299, 0.587, 0.114)


@dataclass
class Trained:
    """A network at the end of its training, with how that went."""

    net: nn.Module
    losses: tuple[PlaneLoss, ...]
    seconds: float
    notice: str = ""
    """The sentence of a training that diverged; the network is then the last good one."""


BOOK: OrderedDict[tuple, Trained] = OrderedDict()


def card(name: str, row: Method | None = None) -> MethodCard:
    """A method for the window; `row`: under the schedule of a job."""
    row = row or method(name)
    knobs = knob_cards(row.knobs)
    schedules = tuple(ScheduleCard(name=one.name, title=one.title, numbers=knob_cards(one.numbers)) for one in row.schedules)
    presets = tuple(PlanePreset(title=p.title, sentence=p.sentence, settings=tuple(p.settings.items())) for p in row.presets)
    return MethodCard(
        name=name, title=row.title, arxiv=row.arxiv, equation=row.equation, watch_for=row.watch_for, solvers=row.solvers,
        evaluations=row.evaluations, train_steps=row.train_steps, batch_size=row.batch_size, lr=row.lr,
        field=row.field_name if row.field else "", density=row.density_says if row.log_density else "", layers=row.layers is not None,
        backwards=row.forward is not None, exact=row.exact is not None, ode=row.ode, knobs=knobs, presets=presets,
        any_source=row.any_source, schedules=schedules,
    )  # fmt: skip


def knob_cards(knobs: tuple[PlaneKnob, ...]) -> tuple[PlaneKnobCard, ...]:
    """For the window."""
    return tuple(PlaneKnobCard(**vars(knob)) for knob in knobs)


def cards() -> tuple[MethodCard, ...]:
    """All methods."""
    return tuple(card(name) for name in METHODS)


def open_cloud(job: PlaneJob) -> tuple[Cloud, Any]:
    """The cloud a job means, and what tells it from all others; PlaneError for one that cannot be learned."""
    cloud, key = _data(job)
    if job.source in ("", "noise"):
        return cloud, key
    return replace(cloud, source=data.cloud(job.source)), (key, job.source)


def _data(job: PlaneJob) -> tuple[Cloud, Any]:
    if job.points and job.picture is not None:
        raise PlaneError("A cloud is drawn or taken from a picture, not both.", hint="Leave one of them out.")
    if job.points:
        return data.from_points(np.array(job.points, dtype=np.float64)), job.points
    if job.picture is not None:
        grey = np.asarray(job.picture.pixels, dtype=np.float64) @ np.array(LUMA)
        return data.from_picture(grey, dark=not job.light), (job.picture.sha256, job.light)
    return data.cloud(job.data), job.data


def prepared(
    job: PlaneJob, ctx: Ctx, name: str, row: Method, cloud: Cloud, key: Any, exact: bool
) -> Generator[Event, None, Trained]:
    """The network of a method: the exact answer if wanted, one from the book, or one trained now."""
    if cloud.source is not None and not row.any_source:
        raise PlaneError(f"{row.title} starts in noise only.", hint="Flow matching, rectified flow and reflow start in any cloud.")
    if exact and cloud.source is not None:
        raise PlaneError("The exact flow from one cloud to another is not known.", hint="Start from noise, or train it.")
    if exact:
        if row.exact is None or cloud.mixture is None:
            what = f"{row.title} has no exact answer." if row.exact is None else f"The exact law of {cloud.title.lower()} is not known."
            raise PlaneError(what, hint="Train it, or take eight-gaussians with a method that learns a score or a velocity.")
        return Trained(row.exact(cloud.mixture), (), 0.0)
    config = fit_config(job, row)
    batch = job.batch_size or row.batch_size
    page = (name, key, config, batch, row.schedule)
    if page not in BOOK:
        BOOK[page] = yield from _train(row, cloud, config, batch, ctx)
        while len(BOOK) > KEPT_NETS:
            BOOK.popitem(last=False)
    BOOK.move_to_end(page)
    return BOOK[page]


def fit_config(job: PlaneJob, row: Method) -> FitConfig:
    """How the job trains the method."""
    steps = job.train_steps or row.train_steps
    return FitConfig(
        steps=steps, lr=job.lr or row.lr, warmup=min(100, max(1, steps // 10)), cooldown=COOLDOWN, weight_decay=0.0, ema=row.ema,
        seed=job.seed, bf16=False,
    )  # fmt: skip


def _train(row: Method, cloud: Cloud, config: FitConfig, batch: int, ctx: Ctx) -> Generator[Event, None, Trained]:
    net, losses, fresh, notice, spent = row.build(config.seed), [], [], "", 0.0
    updates = row.train(net, cloud, config, batch)
    noise = cloud.start(LOOKED_AT, torch.Generator().manual_seed(config.seed))
    looked = time.perf_counter()
    while True:
        begin = time.perf_counter()
        try:
            step: TrainStep | None = next(updates, None)
        except DivergedError as error:
            notice, step = f"{error.message} {error.hint}", None
        spent += time.perf_counter() - begin
        if step is None:
            break
        fresh.append(_loss(step, spent))
        if ctx.every(REPORT_MS) or step.step == step.total:
            yield Record(channel="train", payload=tuple(fresh))
            losses, fresh = losses + fresh, []
        if (time.perf_counter() - looked) * 1000 > LOOK_MS and ctx.wants("particles"):
            looked = time.perf_counter()
            yield from _look(row, net, noise, step)
        yield Step(index=step.step, total=step.total)
    if fresh:
        yield Record(channel="train", payload=tuple(fresh))
    if notice:
        yield Record(channel="notice", payload=notice)
    return Trained(net, tuple(losses + fresh), spent, notice)


def _loss(step: TrainStep, seconds: float) -> PlaneLoss:
    return PlaneLoss(step=step.step, total=step.total, loss=step.loss, seconds=seconds, metrics=tuple(step.metrics.items()))


def _look(row: Method, net: nn.Module, noise: Tensor, step: TrainStep) -> Generator[Event, None, None]:
    """Where the averaged weights of this moment would carry a few particles: what the training would leave if it ended here."""
    try:
        with step.averaged():
            end = last(walked(row, net, noise, row.solvers[0], row.evaluations, torch.Generator().manual_seed(0), row.settings({})))
    except PlaneError:
        return  # a network at its beginning may lead anywhere; the training goes on
    yield Preview(channel="particles", payload=particles(end, "training", 0))


def walked(row: Method, net, noise: Tensor, solver: str, evaluations: int, generator, knobs) -> Iterator[PlaneStep]:
    """A walk to data, watched."""
    return watched(row.walk(net, noise, solver=solver, evaluations=evaluations, generator=generator, knobs=knobs))


def watched(steps: Iterator[PlaneStep]) -> Iterator[PlaneStep]:
    """The same steps; ends with DivergedError as soon as particles leave the numbers or the solver cannot go on."""
    index = 0
    try:
        for step in steps:
            if not bool(torch.isfinite(step.x).all()):
                lost = int((~torch.isfinite(step.x)).any(1).sum())
                said = f"{lost} of {len(step.x):,} particles left the numbers at step {index}."
                raise DivergedError(said, hint="More evaluations or milder knobs help.", step=index)
            yield step
            index += 1
    except SolverError as error:
        raise DivergedError(error.message, hint=error.hint, step=index) from error


def last(steps: Iterator[PlaneStep]) -> PlaneStep:
    """The end of a walk."""
    for step in steps:  # noqa: B007
        pass
    return step


def particles(step: PlaneStep, way: str, index: int) -> Particles:
    """A moment for the window."""
    return Particles(
        xy=display.array(step.x), way=way, index=index, time=float(step.time), evaluations=step.evaluations, signal=float(step.signal),
        noise=float(step.noise), says=step.says, last=step.last,
    )  # fmt: skip


