"""Runner of `learn-flow`: a fresh flow trained on tiles, with looks at what it makes of the same noise."""

from __future__ import annotations

import copy
import time
from collections.abc import Generator

import numpy as np

from app.jobs.flows import LearnFlow
from app.protocol.events import Event, Record, Step
from app.protocol.payloads import Result
from app.protocol.tiles import LearnMoment
from app.runners.flows import measured, sheet
from app.runners.flows_views import OWN, SHEET_ROW, drawn_samples, real, training_bank
from app.worker.context import Ctx
from models.fitting import Average, FitConfig
from models.flows.chain import seeded
from models.flows.coupling import GlowConfig
from models.flows.nice import NiceConfig
from models.flows.tiles import TileFlow, glow_tiles, nice_tiles
from models.flows.training import SIZE, prepare, train_tiles
from models.plane.errors import DivergedError

REPORT_MS = 100
UNSEEN = 128
WARMUP, COOLDOWN, EMA = 50, 0.25, 0.99


def learn_flow(job: LearnFlow, ctx: Ctx) -> Generator[Event, None, Result]:
    """The averaged weights are what is looked at, what other views find, and what is judged in the end."""
    bank = yield from training_bank(job.scenes)
    model = seeded(job.seed, lambda: build(job))
    prepare(model, bank, job.seed)
    average = Average(model, EMA)
    shown = copy.deepcopy(model).requires_grad_(False)
    notice, begun, looked, rows, since = "", time.perf_counter(), 0.0, [], []

    def look(step: int) -> Record:
        shown.load_state_dict(average.state)
        OWN[job.kind] = shown
        drawn, _ = drawn_samples(shown, job.samples, ctx.job.temperature, 1.0, job.seed)
        bits = float(np.mean(since)) if since else float("nan")
        label = f"{job.kind} after {step} updates, temperature {ctx.job.temperature:g}"
        moment = LearnMoment(
            step=step, total=job.steps, bits=bits, sheet=sheet(drawn, SHEET_ROW, label), seconds=time.perf_counter() - begun
        )
        return Record(channel="moment", payload=moment)

    yield look(0)
    try:
        for step in train_tiles(model, bank, job.batch_size, fit_config(job), average):
            rows.append((step.step, step.loss))
            since.append(step.loss)
            last = step.step == step.total
            if ctx.every(REPORT_MS) or last or ctx.stepping:
                yield Record(channel="train", payload=tuple(rows))
                rows = []
            if last or ctx.stepping or time.perf_counter() - looked > job.look_every:
                yield look(step.step)
                since, looked = [], time.perf_counter()
            yield Step(index=step.step, total=step.total)
    except DivergedError as error:
        notice = f"{error.message} {error.hint}"
        yield Record(channel="notice", payload=notice)
        yield look(error.step)
    facts = {**measured(shown, real(UNSEEN, shown.shape[0])), "scenes": UNSEEN, "seconds": time.perf_counter() - begun, "notice": notice}
    return Result(files={}, facts=facts)


def build(job: LearnFlow) -> TileFlow:
    """The flow a job describes."""
    if job.kind == "glow":
        return glow_tiles(GlowConfig(channels=3, size=SIZE, levels=3, steps=job.depth, width=job.width, mixing=job.mixing))
    return nice_tiles(NiceConfig(dim=SIZE * SIZE, couplings=job.couplings, width=4 * job.width, depth=3, prior="logistic"))


def fit_config(job: LearnFlow) -> FitConfig:
    """How it is trained; nothing is kept on disk."""
    warmup = min(WARMUP, max(1, job.steps // 10))
    return FitConfig(steps=job.steps, lr=job.lr, warmup=warmup, cooldown=COOLDOWN, ema=EMA, seed=job.seed, bf16=False)
