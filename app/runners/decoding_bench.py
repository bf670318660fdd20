"""Measures plain decoding and drafters on the same prompts, taken in turn, so that what else the machine does hits all of them alike.

For each repetition and prompt every drafter continues the same prompt, whose keys and values are computed once. The time is that of the
rounds alone, as the wall clock has it, without reading the prompt. Greedy texts must equal the plain one token for token.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path

import torch

from app import paths
from app.jobs.chat import DRAFTER_TITLES, ChooseDrafter
from app.jobs.drafters import BenchmarkDecoding
from app.protocol.chat import ChatMessage
from app.protocol.errors import UserError
from app.protocol.events import Event, Progress, Record, Step
from app.protocol.payloads import Result
from app.runners.chat_memory import Listener, Read
from app.runners.chat_prompt import prepare
from app.runners.drafters import KINDS, Measured, blocked, measured, open_drafter, remember_measured, runnable
from app.worker.context import Ctx
from models.decoding.counters import Counters
from models.decoding.draft_length import Adaptive, FixedLength, LengthPolicy
from models.decoding.drafting import Drafter
from models.decoding.generate import Generation
from models.decoding.sampling import SamplingConfig
from models.language.loading import LanguageModel

PROMPTS = paths.ASSETS / "samples" / "held-out-prompts.json"
QUICK_PROMPTS, QUICK_TOKENS = 5, 48
"""One prompt of each kind."""
LONGEST_PROMPT_FILE = 100_000
REPORT_MS = 50
"""A reply that is asked for meanwhile waits no longer than this."""
SHOWN_POSITIONS = 4
HOPELESS = ("early-exit",)
"""Not tried when only the fastest is wanted: two thirds of a pass a guess can never pay."""
Run = Generator[Event, None, Result]


@dataclass(frozen=True)
class Prompt:
    """A text to answer; `kind` says what sort it is."""

    kind: str
    text: str


@dataclass
class Entrant:
    """One way to decode, and what it achieved."""

    name: str
    make: Callable[[], Drafter]  # a fresh drafter for a text
    length: LengthPolicy
    speeds: dict[tuple[int, int], float] = field(default_factory=dict)  # (repetition, prompt) -> tokens a second
    texts: dict[int, list[int]] = field(default_factory=dict)  # prompt -> tokens
    counters: Counters = field(default_factory=Counters)

    def speed(self, repetition: int) -> float:
        """Mean over the prompts of one repetition (Spec-Bench's rule)."""
        return statistics.fmean(speed for (which, _), speed in self.speeds.items() if which == repetition)


@dataclass(frozen=True)
class Plan:
    """What to measure."""

    prompts: tuple[Prompt, ...]
    repetitions: int
    max_new_tokens: int
    sampling: SamplingConfig


def built_in_prompts() -> tuple[Prompt, ...]:
    """The held-out prompts: chat, copying, code, lists, stories, in turn."""
    rows = [Prompt(**row) for row in json.loads(PROMPTS.read_text(encoding="utf-8"))["prompts"]]
    columns = [[row for row in rows if row.kind == kind] for kind in dict.fromkeys(row.kind for row in rows)]
    longest = max(map(len, columns))
    return tuple(column[place] for place in range(longest) for column in columns if place < len(column))


def entrants(kinds: Sequence[str], model: str, language: LanguageModel, ctx: Ctx, stack: ExitStack, draft_length: int = 0) -> list[Entrant]:
    """Plain decoding first, then the drafters; their weights stay pinned until `stack` closes. UserError if one cannot run."""
    found = []
    for kind in dict.fromkeys(("none", *kinds)):
        make = partial(open_drafter, kind, language, model, ctx, stack)
        make()
        length = FixedLength(draft_length) if draft_length or kind == "none" else Adaptive()
        found.append(Entrant(kind, make, FixedLength(0) if kind == "none" else length))
    return found


class Measurement:
    """Lets everyone decode every prompt, and keeps what was read of the prompt from one entrant to the next."""

    def __init__(self, plan: Plan, field_: list[Entrant], language: LanguageModel, ctx: Ctx) -> None:
        self.plan, self.field, self.language, self.ctx = plan, field_, language, ctx
        self.done, self.total = 0, plan.repetitions * len(plan.prompts) * len(field_)
        self.read: Read | None = None

    def run(self) -> Iterator[Event]:
        """All texts; the order of the entrants changes from prompt to prompt."""
        for repetition in range(self.plan.repetitions):
            for number, prompt in enumerate(self.plan.prompts):
                ids = prepare([ChatMessage(role="user", text=prompt.text)], self.language, self.plan.max_new_tokens).ids
                self.read = None
                shift = (repetition + number) % len(self.field)
                for entrant in (*self.field[shift:], *self.field[:shift]):
                    note = f"repetition {repetition + 1} of {self.plan.repetitions}, {prompt.kind}, {DRAFTER_TITLES[entrant.name]}"
                    yield Progress(done=self.done, total=self.total, unit="texts", note=note)
                    yield from self._text(entrant, ids, repetition, number)
                    self.done += 1
                    yield Step(index=self.done, total=self.total)

    def _text(self, entrant: Entrant, ids: list[int], repetition: int, number: int) -> Iterator[Event]:
        """One text by one entrant; the time is that of its rounds."""
        generation, listener = self._begin(entrant, ids)
        for _ in generation.prefill():
            yield Progress(done=self.done, total=self.total, unit="texts", note="reading a prompt")
        hidden, seconds, rounds = torch.cat(listener.states), 0.0, generation.rounds()
        while True:
            began = time.perf_counter()
            told = next(rounds, None)
            seconds += time.perf_counter() - began
            if told is None:
                break
            entrant.counters.add(told)
            self.ctx.check()
            if self.ctx.every(REPORT_MS):
                share = generation.new_tokens / (self.plan.max_new_tokens + 1)
                yield Progress(done=round(self.done + share, 1), total=self.total, unit="texts")
        entrant.speeds[repetition, number] = generation.new_tokens / seconds
        entrant.texts.setdefault(number, generation.ids[len(ids) :])
        self.read = Read(ids[: len(hidden)], generation.cache, hidden)

    def _begin(self, entrant: Entrant, ids: list[int]) -> tuple[Generation, Listener]:
        listener, plan, read = Listener(entrant.make()), self.plan, self.read
        generation = Generation(
            net=self.language.model, prompt_ids=ids, drafter=listener, sampling=plan.sampling, length=entrant.length,
            stop_ids=self.language.tokenizer.stop_ids, max_new_tokens=plan.max_new_tokens, context=self.language.context,
            cache=read.cache if read else None, cached_ids=read.ids if read else (), device=self.ctx.device,
        )  # fmt: skip
        if generation.reused:
            listener.observe(0, ids[: generation.reused], read.hidden[: generation.reused])
        return generation, listener


# --- the fastest drafter ---


def measure_and_remember(model: str, language: LanguageModel, ctx: Ctx, prompts: int = QUICK_PROMPTS, tokens: int = QUICK_TOKENS):
    """Measure everything that could be the fastest on a few prompts, keep the result on disk, and return it (`Measured`)."""
    with ExitStack() as stack:
        field_ = entrants([kind for kind in runnable(model) if kind not in HOPELESS], model, language, ctx, stack)
        plan = Plan(built_in_prompts()[:prompts], 1, tokens, SamplingConfig())
        for event in Measurement(plan, field_, language, ctx).run():
            if isinstance(event, Progress):
                yield replace(event, note="measuring once which drafter is the fastest here")
    return keep(model, {entrant.name: entrant.speed(0) for entrant in field_})


def keep(model: str, speeds: dict[str, float]) -> Measured:
    """Remember speeds on this machine."""
    when = datetime.now().isoformat(timespec="minutes")
    remember_measured(model, speeds, when)
    return Measured(speeds, when)


def choose_drafter(job: ChooseDrafter, ctx: Ctx) -> Run:
    """Measure, unless this machine was measured before."""
    yield Progress(done=0, note="loading the model")
    with ctx.zoo.use(job.model) as language:
        known = None if job.again else measured(job.model)
        fresh = known is None
        if fresh:
            known = yield from measure_and_remember(job.model, language, ctx, job.prompts, job.tokens)
    table = [{"drafter": kind, "tokens_per_s": speed, "speedup": known.speedup(kind)} for kind, speed in known.tokens_per_s.items()]
    return Result(facts={"drafter": known.best, "reason": known.words(known.best), "table": table, "when": known.when, "fresh": fresh})


# --- the table ---


def benchmark_decoding(job: BenchmarkDecoding, ctx: Ctx) -> Run:
    """Measure, print the table, and remember who was the fastest."""
    prompts = _prompts(job)
    for kind in job.drafters:
        _known(kind, job.model)
    yield Progress(done=0, note="loading the model")
    with ExitStack() as stack:
        language = stack.enter_context(ctx.zoo.use(job.model))
        field_ = entrants(job.drafters or runnable(job.model), job.model, language, ctx, stack, job.draft_length)
        sampling = SamplingConfig(temperature=job.temperature, seed=job.seed)
        plan = Plan(prompts, job.repetitions, job.max_new_tokens, sampling)
        yield from Measurement(plan, field_, language, ctx).run()
        rows = [row_of(entrant, field_[0], plan) for entrant in field_]
        if not job.drafters and not job.draft_length and not job.folder:
            keep(job.model, {row["drafter"]: row["tokens_per_s"] for row in rows})
        text = table_text(rows, plan, language)
        yield Record(channel="table", payload=rows)
        runs = {entrant.name: {f"{r}/{n}": speed for (r, n), speed in entrant.speeds.items()} for entrant in field_}
        facts = {"table": text, "rows": rows, "fastest": max(rows, key=lambda row: row["tokens_per_s"])["drafter"],
                 "model_name": language.name, "number_format": language.format, "threads": torch.get_num_threads()}  # fmt: skip
        return Result(files={"table.txt": text, "runs.json": runs}, facts=facts)


def _known(kind: str, model: str) -> None:
    if kind not in KINDS:
        raise UserError(f"There is no drafter {kind[:40]!r}.", hint=f"Choose among {', '.join(KINDS)}.")
    if problem := blocked(kind, model):
        raise UserError(problem, hint="Leave it out, or train it with `python main.py run train-drafter`.")


def _prompts(job: BenchmarkDecoding) -> tuple[Prompt, ...]:
    if not job.folder:
        return built_in_prompts()[: job.prompts]
    files = sorted(Path(job.folder).glob("*.txt"))[: job.prompts] if Path(job.folder).is_dir() else []
    if not files:
        raise UserError(f"There are no text files in {job.folder}.", hint="Give a folder with one .txt file a prompt.")
    texts = [file.read_text(encoding="utf-8", errors="replace")[:LONGEST_PROMPT_FILE] for file in files]
    return tuple(Prompt(file.stem, text) for file, text in zip(files, texts, strict=True) if text.strip())


def row_of(entrant: Entrant, plain: Entrant, plan: Plan) -> dict[str, object]:
    """Speed and speed-up as mean and spread over the repetitions, acceptance, and how many texts equal the plain one."""
    speeds = [entrant.speed(r) for r in range(plan.repetitions)]
    ratios = [entrant.speed(r) / plain.speed(r) for r in range(plan.repetitions)]
    by_kind: dict[str, list[float]] = {}
    for (repetition, number), speed in entrant.speeds.items():
        by_kind.setdefault(plan.prompts[number].kind, []).append(speed / plain.speeds[repetition, number])
    counters = entrant.counters
    return {
        "drafter": entrant.name, "tokens_per_s": statistics.fmean(speeds), "tokens_per_s_spread": spread(speeds),
        "speedup": statistics.fmean(ratios), "speedup_spread": spread(ratios), "tokens_per_round": counters.tokens_per_round,
        "mean_acceptance_length": counters.mean_acceptance_length, "acceptance_by_position": counters.acceptance_by_position,
        "draft_share": counters.draft_s / max(1e-9, counters.draft_s + counters.verify_s + counters.other_s),
        "same_text": sum(entrant.texts[n] == plain.texts[n] for n in entrant.texts), "texts": len(entrant.texts),
        "speedup_by_kind": {kind: statistics.fmean(values) for kind, values in by_kind.items()},
    }  # fmt: skip


def spread(values: Sequence[float]) -> float:
    """Standard deviation of a sample; 0 of a single value."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def table_text(rows: list[dict[str, object]], plan: Plan, language: LanguageModel) -> str:
    """The table as it is printed."""
    kinds = list(dict.fromkeys(prompt.kind for prompt in plan.prompts))
    head = ["drafter", "tokens/s", "speed-up", "tokens/pass", "kept by position", "same text", *kinds]
    lines = [head]
    for row in rows:
        kept = " ".join(f"{share:.2f}" for share in row["acceptance_by_position"][:SHOWN_POSITIONS])
        lines.append([
            str(row["drafter"]), f"{row['tokens_per_s']:.1f} +- {row['tokens_per_s_spread']:.1f}",
            f"{row['speedup']:.2f} +- {row['speedup_spread']:.2f}", f"{row['tokens_per_round']:.2f}", kept or "-",
            f"{row['same_text']}/{row['texts']}", *(f"{row['speedup_by_kind'][kind]:.2f}" for kind in kinds),
        ])  # fmt: skip
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    body = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    how = "greedy" if plan.sampling.greedy else f"temperature {plan.sampling.temperature:g}"
    about = (
        f"{language.name} in {language.format}, {torch.get_num_threads()} thread(s), {how}: {len(plan.prompts)} prompts of up to "
        f"{plan.max_new_tokens} tokens, {plan.repetitions} repetition(s) in turn, mean +- standard deviation"
    )
    return "\n".join([about, "", *body, "", "The last columns are the speed-up by kind of prompt."]) + "\n"
