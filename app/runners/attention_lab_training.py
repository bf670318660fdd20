"""Runner of `train-attentions`: small language models in turns on the same batches, tested now and then on texts apart."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace

import torch

from app.jobs.attention_lab import TrainAttentions
from app.protocol.attention_lab import Learner, LearnerPoint
from app.protocol.errors import UserError
from app.protocol.events import Event, Progress, Record, Step
from app.protocol.payloads import Result
from app.runners.mechanisms import choices
from app.worker.context import Ctx
from models.attention.small_lm import SmallLm, SmallLmConfig, build, score, train
from models.attention.table import kind
from models.attention.tasks import TASKS, Task
from models.fitting import FitConfig
from models.steps import TrainStep

Run = Generator[Event, None, Result]
REPORT_MS = 200
TEST_TEXTS = 128
TEST_SEED = 1_000_003
"""Batches of the test come from another seed than the trainings', captions also from other scenes."""
HELD_OUT = "validation"
MOST_KEPT = 8
Key = tuple[TrainAttentions, torch.device]
BOOK: OrderedDict[Key, SmallLm] = OrderedDict()
"""The last few trained models, the newest last, to be looked into; what a job gives does not depend on what lies here."""


@dataclass
class Racer:
    """One model on its way."""

    name: str
    model: SmallLm
    steps: Iterator[TrainStep]
    seconds: float = 0.0
    points: list[LearnerPoint] = field(default_factory=list)

    def update(self) -> LearnerPoint:
        """One update, timed."""
        start = time.perf_counter()
        step = next(self.steps)
        self.seconds += time.perf_counter() - start
        return LearnerPoint(name=self.name, step=step.step, loss=step.loss, accuracy=step.metrics["accuracy"], seconds=self.seconds)

    def test(self, task: Task, step: int, length: int) -> LearnerPoint:
        """Loss and accuracy on texts that no update sees."""
        found = score(self.model, task, TEST_TEXTS, length, TEST_SEED)
        self.points.append(
            LearnerPoint(name=self.name, step=step, loss=found["loss"], accuracy=found["accuracy"], test=True, seconds=self.seconds)
        )
        return self.points[-1]


def train_attentions(job: TrainAttentions, ctx: Ctx) -> Run:
    """One Step for each round of updates, one of every model."""
    yield Progress(done=0, total=job.steps, unit="updates", note="building the models")
    learning, testing = tasks(job)
    racers = line_up(job, ctx, learning)
    yield Record(channel="learners", payload=tuple(learner(racer) for racer in racers))
    yield tested(racers, testing, 0, job.length)
    fresh: list[LearnerPoint] = []
    for step in range(1, job.steps + 1):
        for racer in racers:
            ctx.check()
            fresh.append(racer.update())
            yield Progress(done=step, total=job.steps, unit="updates", note=racer.name)
        if ctx.every(REPORT_MS) or step == job.steps:
            yield Record(channel="train", payload=tuple(fresh))
            fresh = []
        if step % job.test_every == 0 or step == job.steps:
            yield tested(racers, testing, step, job.length)
        yield Step(index=step, total=job.steps)
    for racer in racers:
        keep(job, racer.name, racer.model, ctx)
    return Result(facts={"table": table(racers), "scores": {racer.name: vars(racer.points[-1]) for racer in racers}})


def tested(racers: list[Racer], task: Task, step: int, length: int) -> Record:
    """Every model on the same texts apart."""
    return Record(channel="test", payload=tuple(racer.test(task, step, length) for racer in racers))


def tasks(job: TrainAttentions) -> tuple[Task, Task]:
    """What is learned and what is tested; UserError for texts too short for the task."""
    if job.task == "captions":
        return TASKS["captions"](), TASKS["captions"](HELD_OUT)
    task = TASKS[job.task]()
    try:
        task.at(0, 1, job.length)
    except ValueError as error:
        raise UserError(f"The texts are too short for this task: {error}.", hint="Make them longer.") from error
    return task, task


def line_up(job: TrainAttentions, ctx: Ctx, task: Task) -> list[Racer]:
    """A fresh model for each mechanism, all from the same seed."""
    if job.dim % (2 * job.n_heads):
        raise UserError(f"A width of {job.dim} does not split into {job.n_heads} heads of even width.", hint="Take 2 heads, or width 64.")
    config = FitConfig(steps=job.steps, lr=job.lr, warmup=min(50, job.steps), seed=job.seed, bf16=False)
    racers = []
    for words, (name, settings) in choices(job.mechanisms).items():
        sizes = SmallLmConfig(
            vocab_size=task.vocab_size, dim=job.dim, n_layers=job.n_layers, n_heads=job.n_heads, ffn_dim=8 * job.dim // 3,
            max_len=job.length, attention=name, knobs=settings,
        )  # fmt: skip
        model = build(sizes, job.seed).to(ctx.device)
        racers.append(Racer(words, model, train(model, task, job.batch_size, job.length, config)))
    return racers


def learner(racer: Racer) -> Learner:
    """For the window."""
    count = sum(parameter.numel() for parameter in racer.model.parameters())
    return Learner(name=racer.name, title=kind(racer.model.config.attention).title, parameters=count)


def table(racers: list[Racer]) -> str:
    """Final scores for the command line."""
    lines = [f"{'mechanism':<34}{'parameters':>11}{'test loss':>11}{'accuracy':>10}{'s':>8}"]
    for racer in racers:
        last = racer.points[-1]
        numbers = f"{learner(racer).parameters:>11,}{last.loss:>11.4f}{last.accuracy:>10.1%}{racer.seconds:>8.1f}"
        lines.append(f"{racer.name[:33]:<34}{numbers}")
    return "\n".join([*lines, f"Loss in nats and accuracy on {TEST_TEXTS} texts that no update saw; seconds of its own updates."])


# --- trained models ---


def keep(job: TrainAttentions, words: str, model: SmallLm, ctx: Ctx) -> None:
    """Remember a model at the end of its training."""
    BOOK[_key(job, words, ctx)] = model
    while len(BOOK) > MOST_KEPT:
        BOOK.popitem(last=False)


def _key(job: TrainAttentions, words: str, ctx: Ctx) -> Key:
    """How often it was tested, and beside whom it learned, leaves a model as it is."""
    return replace(job, mechanisms=(words,), test_every=TrainAttentions.test_every, device="auto"), ctx.device


def trained(job: TrainAttentions, ctx: Ctx) -> Generator[Event, None, SmallLm]:
    """The one model of a training at its end; it is gone through now if the model is not at hand."""
    (words,) = job.mechanisms
    if _key(job, words, ctx) not in BOOK:
        learning, _ = tasks(job)
        (racer,) = line_up(job, ctx, learning)
        for step in range(1, job.steps + 1):
            ctx.check()
            with torch.enable_grad():
                racer.update()
            yield Progress(done=step, total=job.steps, unit="updates", note=f"training the small model, update {step} of {job.steps}")
        keep(job, words, racer.model, ctx)
    return BOOK[_key(job, words, ctx)]
