"""Runner of `train-drafter`: the target reads conversations that it wrote itself, a drafter learns to guess what it says next.

The target's states are the drafter's input and teacher. They cost much, so each row is read once and kept on disk in fp16, as far as the
room allowed goes; rows are read when their update comes, and every wait is told. Every fiftieth row or so is never trained on.
A memory of n-grams has no states and no updates: it is counted at once, and measured on the same rows as the others.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from app.jobs.drafters import TrainDrafter
from app.protocol.errors import UserError
from app.protocol.events import Event, Progress
from app.protocol.payloads import Result
from app.runners.conversations import FILE, glue_of, read_conversations
from app.runners.training import fit_config, follow, save, work_folder
from app.worker.context import Ctx
from models import catalog
from models.decoding import replay, training
from models.decoding.lookup_first import LookupFirst
from models.decoding.narrow import common_tokens, unembedding
from models.decoding.ngram_memory import NgramDrafter, NgramMemory, orders_that_fit, remember
from models.decoding.theory import Teacher, replay_rounds
from models.drafters import Sizes, begin_like, fresh
from models.fitting import Average, FitConfig, checkpoint_step, fit
from models.language.llama import Llama
from models.language.loading import LanguageModel
from models.steps import TrainStep

ROWS_AT_ONCE = 2
"""Rows the target reads in one go on a CPU: about a second."""
ROWS_AT_ONCE_GPU = 64
DEEPEST = 4
"""Positions of a draft that are told after training."""
HELD_OUT_ROWS = 24
Run = Generator[Event, None, Result]


@dataclass(frozen=True)
class Course:
    """All that a training needs (a memory of n-grams: to be measured)."""

    kind: str
    target: Llama
    net: nn.Module
    texts: training.Texts
    unembed: Callable[[Tensor], Tensor]


def train_drafter(job: TrainDrafter, ctx: Ctx) -> Run:
    """Read, train, measure on rows never trained on, install."""
    key = f"{job.model}/{job.kind}"
    if key not in catalog.SPECS:
        raise UserError(f"Drafters are trained for built-in names such as smollm2, not for {job.model[:60]}.", hint="Choose smollm2.")
    columns = read_conversations(Path(job.conversations) if job.conversations else work_folder(job) / FILE)
    yield Progress(done=0, note="loading the model")
    with ctx.zoo.use(f"{job.model}@{'bf16' if job.bf16 else 'fp32'}") as language:  # plain numbers: packed weights are hidden
        return (yield from _train(job, ctx, key, language, columns))


def _train(job: TrainDrafter, ctx: Ctx, key: str, language: LanguageModel, columns: dict[str, np.ndarray]) -> Run:
    train, held_out = _split(columns, language, job)
    if job.kind == "ngram":
        return _count(job, ctx, key, language, train, held_out)
    course = _course(job, ctx, key, language, train)
    name = f"{job.model}-{job.kind}-" + "-".join(map(str, (job.vocabulary, job.heads, job.rank, job.layers)))
    config, average = fit_config(job, ctx, name), Average(course.net, job.ema)
    states = States(job, ctx, course, work_folder(job), _fingerprint(train, language))
    result = yield from follow(job, ctx, _steps(job, course, states, config, average))
    course.net.load_state_dict({name: value.to(ctx.device) for name, value in average.state.items()})
    yield Progress(done=0, note="measuring on rows never trained on")
    result.facts.update(held_out_facts(course, held_out, ctx))
    size = sum(value.numel() for value in course.net.parameters())
    result.facts.update({"rows": len(train.tokens), "tokens": int(train.tokens.size), "parameters": size})
    if job.install:
        _install(key, average.state, ctx)
    return result


def _count(
    job: TrainDrafter, ctx: Ctx, key: str, language: LanguageModel, train: training.Texts, held_out: training.Texts
) -> Result:
    """Count the rows in one go, measure, install."""
    began, vocab = time.perf_counter(), language.model.config.vocab_size
    memory = remember(train.tokens, train.counted, vocab, orders_that_fit(vocab), job.least, job.share)
    facts = {"seconds": time.perf_counter() - began, "rows": len(train.tokens), "tokens": int(train.tokens.size)}
    facts["entries"] = {str(order): size for order, size in memory.config.entries.items()}
    facts.update(held_out_facts(Course(job.kind, language.model, memory, train, language.model.head), held_out, ctx))
    if job.install:
        _install(key, memory.state_dict(), ctx)
    return Result(facts=facts)


def _install(key: str, state: dict[str, Tensor], ctx: Ctx) -> None:
    save(key, state)
    ctx.zoo.drop(key)


def _split(columns: dict[str, np.ndarray], language: LanguageModel, job: TrainDrafter) -> tuple[training.Texts, training.Texts]:
    """Rows to train on, and every n-th row held out: the same ones whatever the seed, and however many are trained on."""
    share = job.validation
    head = tuple(glue_of(language).head)
    if int(columns["tokens"].max()) >= language.model.config.vocab_size:
        raise UserError("The conversations hold tokens that the model does not know.", hint="Let the same model write them.")
    held = np.arange(len(columns["tokens"])) % max(2, round(1 / share)) == 1 if share else np.zeros(len(columns["tokens"]), bool)
    if held.all() or (share and not held.any()):
        raise UserError(f"{len(held)} rows are too few to train and to measure.", hint="Write more, or take a larger validation share.")
    learnt = np.flatnonzero(~held)[: job.rows or None]
    parts = [training.Texts(columns["tokens"][rows], columns["assistant"][rows], head) for rows in (learnt, np.flatnonzero(held))]
    return parts[0], parts[1]


def _course(job: TrainDrafter, ctx: Ctx, key: str, language: LanguageModel, texts: training.Texts) -> Course:
    """A fresh drafter, or the installed one."""
    target, config = language.model, language.model.config
    torch.manual_seed(job.seed)
    if job.go_on:
        net = catalog.load(key)
    else:
        size = min(job.vocabulary, config.vocab_size) or config.vocab_size
        net = fresh(job.kind, config, Sizes(size, job.heads, job.rank, job.layers))
        if job.kind == "draft":
            begin_like(net, target)
        else:
            said = texts.tokens[texts.counted]
            net.kept.copy_(common_tokens([said], config.vocab_size, size, sorted(language.tokenizer.stop_ids)))
    net = net.to(ctx.device, torch.float32).requires_grad_(True).train()
    kept = None if job.kind == "draft" else net.kept
    rows = unembedding(target.tokens.weight, kept)
    return Course(job.kind, target, net, texts, rows if job.bf16 else rows.float())


# --- updates ---


def _steps(job: TrainDrafter, course: Course, states: States, config: FitConfig, average: Average) -> Iterator[TrainStep | Event]:
    """Updates, and between them word of the rows that the target reads."""
    updates = _updates(job, course, states.batch, config, average)
    for step in range(checkpoint_step(config.folder), job.steps):
        yield from states.prepare(step)
        yield next(updates)


def _updates(job: TrainDrafter, course: Course, batches: Callable, config: FitConfig, average: Average) -> Iterator[TrainStep]:
    net, unembed = course.net, course.unembed
    if course.kind == "medusa":
        return training.train_medusa(net, batches, unembed, config, average, soft=True, most=job.places)
    if course.kind == "mtp":
        return training.train_mtp(net, batches, unembed, config, average)
    if course.kind == "eagle":
        return training.train_eagle(net, batches, course.target.tokens, unembed, config, average, steps=job.unroll)
    student = net.with_head_of(course.target)
    return fit(net, lambda batch, _: training.draft_loss(student, batch, unembed), batches, config, average)


class States:
    """The target's states of every row, read once and kept on disk in fp16."""

    def __init__(self, job: TrainDrafter, ctx: Ctx, course: Course, folder: Path, fingerprint: str) -> None:
        self.job, self.ctx, self.course, self.texts = job, ctx, course, course.texts
        count, length = course.texts.tokens.shape
        shape = (length + len(course.texts.head), course.target.config.dim)
        row_bytes = 2 * shape[0] * shape[1]
        self.kept_rows = min(count, int(job.keep_states * 2**30) // row_bytes) if ctx.device.type == "cpu" else 0
        self.fresh: dict[int, Tensor] = {}
        if self.kept_rows:
            folder.mkdir(parents=True, exist_ok=True)
            place = folder / f"states-{fingerprint}-{self.kept_rows}"
            self.table = _memory_map(place.with_suffix(".f16"), np.float16, (self.kept_rows, *shape))
            self.there = _memory_map(place.with_suffix(".there"), np.uint8, (self.kept_rows,))

    def rows_of(self, step: int) -> list[int]:
        """The rows of an update."""
        return training.chosen_rows(len(self.texts.tokens), self.job.batch_size, self.job.seed, step).tolist()

    def prepare(self, step: int) -> Iterator[Event]:
        """Let the target read what update `step` needs and nobody has kept."""
        self.fresh = {}
        rows = self.rows_of(step)
        missing = [row for row in dict.fromkeys(rows) if row >= self.kept_rows or not self.there[row]]
        at_once = ROWS_AT_ONCE if self.ctx.device.type == "cpu" else ROWS_AT_ONCE_GPU
        for place in range(0, len(missing), at_once):
            chunk = missing[place : place + at_once]
            for row, hidden in zip(chunk, self._read(chunk), strict=True):
                self._keep(row, hidden)
            self.ctx.check()
            if self.ctx.device.type == "cpu":
                note = f"the model reads row {place + len(chunk)} of {len(missing)}"
                yield Progress(done=step, total=self.job.steps, unit="updates", note=note)

    @torch.no_grad()
    def _read(self, rows: list[int]) -> Tensor:
        tokens, _ = self.texts.rows(np.array(rows))
        return self.course.target(tokens.to(self.ctx.device)).float()       # (n, head + T, dim)

    def _keep(self, row: int, hidden: Tensor) -> None:
        if row < self.kept_rows:
            self.table[row] = hidden.half().numpy()
            self.there[row] = 1
        else:
            self.fresh[row] = hidden

    def batch(self, step: int) -> training.TextBatch:
        """The batch of an update that was prepared."""
        rows = self.rows_of(step)
        tokens, counted = self.texts.rows(np.array(rows))
        hidden = [self.fresh[row] if row >= self.kept_rows else torch.from_numpy(self.table[row].astype(np.float32)) for row in rows]
        device = self.ctx.device
        return training.TextBatch(tokens.to(device), counted.to(device), torch.stack(hidden).to(device))


def _memory_map(path: Path, kind: type, shape: tuple[int, ...]) -> np.memmap:
    """A table on disk; zeros where nothing was written. UserError if it cannot be made."""
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    fits = path.exists() and path.stat().st_size == size
    try:
        return np.memmap(path, kind, "r+" if fits else "w+", shape=shape)
    except OSError as error:
        hint = "Give another folder, or keep fewer."
        raise UserError(f"The states cannot be kept in {path.parent}: {error.strerror}.", hint=hint) from error


def _fingerprint(texts: training.Texts, language: LanguageModel) -> str:
    """Equal only if rows, head and model are."""
    digest = hashlib.sha256(texts.tokens.tobytes())
    digest.update(repr((texts.tokens.shape, texts.head, language.fingerprint, language.name, language.format)).encode())
    return digest.hexdigest()[:16]


# --- what it is worth ---


def held_out_facts(course: Course, texts: training.Texts, ctx: Ctx) -> dict[str, object]:
    """Acceptance by position and tokens a round, as greedy decoding of rows never trained on would have them."""
    runs: list[int] = []
    offered: list[int] = []
    course.net.eval().requires_grad_(False)
    bf16 = course.target.norm_out.weight.dtype == torch.bfloat16
    for ids, reply in _first_answers(texts):
        ctx.check()
        with torch.no_grad(), torch.autocast(ctx.device.type, torch.bfloat16, enabled=bf16):
            teacher = _teacher(course, ids, reply, ctx)
        runs += teacher.runs
        offered += teacher.offered
    if not runs:
        return {}
    whole = Teacher(tuple(runs), tuple(offered))
    tokens_per_round = [len(runs) / len(replay_rounds(whole, length)) for length in range(1, DEEPEST + 1)]
    return {
        "held_out_tokens": len(runs), "accepted_at": [whole.accepted_at(depth) for depth in range(1, DEEPEST + 1)],
        "tokens_per_round": tokens_per_round,
    }  # fmt: skip


def _first_answers(texts: training.Texts) -> Iterator[tuple[list[int], int]]:
    """(text up to the end of its first answer, place of the answer) of some rows."""
    head = list(texts.head)
    for tokens, counted in zip(texts.tokens[:HELD_OUT_ROWS].tolist(), texts.counted[:HELD_OUT_ROWS], strict=True):
        if not counted.any():
            continue
        begin = int(counted.argmax())
        rest = np.flatnonzero(~counted[begin:])
        end = begin + int(rest[0]) if len(rest) else len(tokens)
        if end - begin >= DEEPEST:
            yield head + tokens[:end], len(head) + begin


def _teacher(course: Course, ids: list[int], reply: int, ctx: Ctx) -> Teacher:
    net, target, unembed = course.net, course.target, course.unembed
    tokens = torch.tensor(ids, device=ctx.device)
    if isinstance(net, NgramMemory):
        return replay.looking_teacher(tokens.tolist(), reply, DEEPEST, LookupFirst(NgramDrafter(net)))
    text = replay.FinishedText(tokens, target(tokens[None])[0].float(), reply)
    if course.kind == "medusa":
        return replay.ranks_teacher(replay.medusa_ranks(net, unembed, text), DEEPEST)
    if course.kind == "mtp":
        return replay.mtp_teacher(net, unembed, text, DEEPEST)
    if course.kind == "eagle":
        return replay.eagle_teacher(net, target.tokens, unembed, text, DEEPEST)
    return replay.draft_model_teacher(net.with_head_of(target), text, DEEPEST)
