"""Runner of `learn-flow`: a flow trained on tiles, with looks at what it makes of the same noise, kept on the disk while it learns."""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Generator
from dataclasses import dataclass, field

import numpy as np
from safetensors import SafetensorError

from app.jobs.flows import KeptFlows, LearnFlow
from app.protocol.errors import UserError
from app.protocol.events import Event, Progress, Record, Step
from app.protocol.payloads import Result
from app.protocol.tiles import LearnMoment
from app.runners import flows_kept
from app.runners.flows import measured, sheet
from app.runners.flows_views import OWN, SHEET_ROW, drawn_samples, real, training_bank
from app.worker.context import Ctx
from models.fitting import Average, FitConfig
from models.flows.chain import seeded
from models.flows.tiles import TileFlow
from models.flows.training import prepare, train_tiles
from models.plane.errors import DivergedError

REPORT_MS = 100
KEEP_S = 5.0
UNSEEN = 128
WARMUP, COOLDOWN, EMA = 50, 0.25, 0.99


@dataclass
class Learning:
    """A training under way: the averaged weights are what is looked at, what other views find, what is kept and what is judged."""

    job: LearnFlow
    average: Average
    shown: TileFlow
    step: int
    rows: list[tuple[int, float]]
    notice: str = ""
    since: list[float] = field(default_factory=list)
    """Bits of the updates since the last look."""
    begun: float = field(default_factory=time.perf_counter)
    kept: float = field(default_factory=time.perf_counter)
    looked: float = 0.0

    def look(self, temperature: float) -> Record:
        """What the averaged weights make of the noise now."""
        self.shown.load_state_dict(self.average.state)
        OWN[self.job.kind] = self.shown
        drawn, _ = drawn_samples(self.shown, self.job.samples, temperature, 1.0, self.job.seed)
        bits = float(np.mean(self.since)) if self.since else float("nan")
        self.since, self.looked = [], time.perf_counter()
        label = f"{self.job.kind} after {self.step} updates, temperature {temperature:g}"
        moment = LearnMoment(
            step=self.step, total=self.job.steps, bits=bits, sheet=sheet(drawn, SHEET_ROW, label), seconds=self.looked - self.begun
        )
        return Record(channel="moment", payload=moment)

    def keep(self) -> None:
        """Write it down."""
        self.kept = time.perf_counter()
        flows_kept.keep(self.job, self.average.state, self.step, self.rows, self.notice)


def learn_flow(job: LearnFlow, ctx: Ctx) -> Generator[Event, None, Result]:
    """Train, or go on; whatever ends it, what was learned so far is kept."""
    done = flows_kept.begin(job)
    bank = yield from training_bank(job.scenes)
    model = seeded(job.seed, lambda: flows_kept.build(job))
    prepare(model, bank, job.seed)
    rows = flows_kept.rows_until(job, done)
    learning = Learning(job, Average(model, EMA), copy.deepcopy(model).requires_grad_(False), done, rows)
    if rows:
        yield Record(channel="train", payload=tuple(rows))
    if not done:
        yield learning.look(ctx.job.temperature)
    try:
        yield from _updates(learning, train_tiles(model, bank, job.batch_size, fit_config(job), learning.average), ctx)
    except DivergedError as error:
        learning.step, learning.notice = error.step, f"{error.message} {error.hint}"
        yield Record(channel="notice", payload=learning.notice)
        yield learning.look(ctx.job.temperature)
    except (OSError, SafetensorError) as error:
        raise UserError(f"The training could not be kept: {error}.", hint="Make room in the data folder, then train again.") from error
    finally:
        if learning.step > done:
            with contextlib.suppress(UserError):  # of a full disk it has been told
                learning.keep()
    seconds = time.perf_counter() - learning.begun
    judged = measured(learning.shown, real(UNSEEN, model.shape[0]))
    return Result(files={}, facts={**judged, "scenes": UNSEEN, "seconds": seconds, "notice": learning.notice})


def _updates(learning: Learning, updates, ctx: Ctx) -> Generator[Event, None, None]:
    """All updates with their losses and looks; every few seconds the whole is kept."""
    fresh = []
    for step in updates:
        learning.step = step.step
        fresh.append((step.step, step.loss))
        learning.rows.append(fresh[-1])
        learning.since.append(step.loss)
        last = step.step == step.total
        if ctx.every(REPORT_MS) or last or ctx.stepping:
            yield Record(channel="train", payload=tuple(fresh))
            fresh = []
        now = time.perf_counter()
        if last or ctx.stepping or now - learning.looked > learning.job.look_every:
            yield learning.look(ctx.job.temperature)
        if now - learning.kept > KEEP_S:
            learning.keep()
        yield Step(index=step.step, total=step.total)


def fit_config(job: LearnFlow) -> FitConfig:
    """How it is trained, and where it keeps what it needs to go on."""
    warmup = min(WARMUP, max(1, job.steps // 10))
    return FitConfig(
        steps=job.steps, lr=job.lr, warmup=warmup, cooldown=COOLDOWN, ema=EMA, seed=job.seed, bf16=False,
        folder=flows_kept.checkpoints(job), save_every_s=KEEP_S,
    )  # fmt: skip


def kept_flows(job: KeptFlows, ctx: Ctx) -> Generator[Event, None, Result]:
    """What is kept, for the window."""
    yield Progress(done=0, note="looking")
    kept = flows_kept.cards()
    return Result(files={"kept": kept}, facts={one.kind: f"update {one.step} of {one.total}, {one.when}" for one in kept})
