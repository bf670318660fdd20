"""Runner of the gamma curve: what every draft length would have given on a finished reply, and where drafting breaks even.

The drafter's guesses are taken once over the finished text (`models/decoding/replay.py`), the costs of drafting and verifying are measured
here and now; together they give the curve without a second run (`models/decoding/theory.py`).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from app.jobs.chat import GammaCurve
from app.protocol.chat import GammaPoint, GammaReport
from app.protocol.errors import UserError
from app.protocol.events import Event, Progress
from app.protocol.payloads import Curve, Result
from app.runners.chat_analysis import check_finished
from app.runners.drafters import open_drafter
from app.worker.context import Ctx
from models.decoding import replay, theory
from models.decoding.draft_length import Costs, FixedBudget
from models.decoding.draft_model import DraftModel
from models.decoding.drafting import Cache, Context, Drafter
from models.decoding.eagle import EagleDrafter
from models.decoding.early_exit import EarlyExit
from models.decoding.lookup_first import LookupFirst
from models.decoding.medusa import MedusaDrafter
from models.decoding.mtp import MtpDrafter
from models.decoding.sampling import SamplingConfig
from models.decoding.theory import CurvePoint, Teacher
from models.decoding.tree import best_shape
from models.language.loading import LanguageModel

REPEATS = 3
TREE_NOTE = "Medusa drafts trees: a draft length is a number of nodes, in the tree that suits this very text best."
SAMPLED_NOTE = "The text was drawn, not chosen: what is counted are guesses that equal it."
FEW = 16
"""Replies of fewer tokens say little."""


@dataclass(frozen=True)
class Subject:
    """The finished text with everything needed to measure on it."""

    language: LanguageModel
    text: replay.FinishedText
    cache: Cache  # of all tokens but the last
    drafter: Drafter
    most: int


def gamma_curve(job: GammaCurve, ctx: Ctx) -> Generator[Event, None, Result]:
    """Count what was guessed right, measure what it costs, and draw the curve."""
    if job.drafter in ("none", "auto"):
        raise UserError("A gamma curve needs a drafter.", hint="Choose one, for instance lookup.")
    yield Progress(done=0, note="loading the model")
    with ExitStack() as stack:
        language = stack.enter_context(ctx.zoo.use(job.model))
        check_finished(job, language)
        make = partial(open_drafter, job.drafter, language, job.model, ctx, stack)
        ids = [*job.prompt_ids, *job.reply_ids]
        text, cache = yield from _read(ids, len(job.prompt_ids), language, ctx)
        subject = Subject(language, text, cache, make(), job.max_length)
        costs = yield from _costs(subject)
        subject = replace(subject, drafter=make())  # that one has seen how the text ends
        yield Progress(done=0, note="counting right guesses")
        points, acceptance = _points(subject, costs, job.other_s)
        report = _report(job, points, acceptance, costs)
        curve = Curve(
            x=np.array([point.draft_length for point in report.points]), y=np.array([point.tokens_per_s for point in report.points]),
            x_label="draft length", y_label="tokens/s", label=f"{job.drafter}, {len(job.reply_ids)} tokens",
        )  # fmt: skip
        best = report.points[report.best]
        facts = {"drafter": job.drafter, "best": report.best, "tokens_per_s": best.tokens_per_s, "speedup": best.speedup,
                 "acceptance": report.acceptance, "exact": report.exact, "notes": list(report.notes)}  # fmt: skip
        return Result(files={"report": report, "curve.csv": curve}, facts=facts)


def _read(ids: list[int], reply: int, language: LanguageModel, ctx: Ctx) -> Generator[Event, None, tuple[replay.FinishedText, Cache]]:
    """The text with its states, and keys and values of all its tokens but the last, with room for a draft behind them."""
    tokens, cache, states = torch.tensor(ids, device=ctx.device), language.model.new_cache(), []
    for part in tokens.split(replay.CHUNK):
        states.append(language.model.step(part, cache, last_only=True)[1])
        yield Progress(done=cache.length, total=len(ids), unit="tokens", note="reading the text")
    cache.crop(len(ids) - 1)
    return replay.FinishedText(tokens, torch.cat(states), reply), cache


def _points(subject: Subject, costs: Costs, other_s: float) -> tuple[list[CurvePoint], float]:
    """The curve, and how often a first guess is right."""
    drafter, text, most = subject.drafter, subject.text, subject.most
    if not isinstance(drafter, MedusaDrafter):
        teacher = _teacher(drafter, text, most)
        return theory.gamma_curve(teacher, costs, most, other_s), teacher.acceptance
    ranks = replay.medusa_ranks(drafter.heads, drafter.unembed, text)
    return _tree_points(ranks, costs, most, other_s), sum(row[0] == 0 for row in ranks) / max(1, len(ranks))


def _teacher(drafter: Drafter, text: replay.FinishedText, most: int) -> Teacher:
    if isinstance(drafter, LookupFirst):
        return replay.lookup_first_teacher(text.ids.tolist(), text.reply, most, drafter, _teacher(drafter.other, text, most))
    if isinstance(drafter, EarlyExit):
        return replay.early_exit_teacher(drafter.net, drafter.n_layers, text, most)
    if isinstance(drafter, DraftModel):
        return replay.draft_model_teacher(drafter.net, text, most)
    if isinstance(drafter, MtpDrafter):
        return replay.mtp_teacher(drafter.heads, drafter.unembed, text, most)
    if isinstance(drafter, EagleDrafter):
        return replay.eagle_teacher(drafter.layer, drafter.embed, drafter.unembed, text, most)
    return replay.looking_teacher(text.ids.tolist(), text.reply, most, drafter)


def _tree_points(ranks: list[list[int]], costs: Costs, most: int, other_s: float) -> list[CurvePoint]:
    """Trees of 0, 1, 2, … nodes, each of the shape that keeps most tokens of this text."""
    plain_s, points, heads = costs.verify(1) + other_s, [], range(len(ranks[0]))
    accuracies = [[sum(row[k] == choice for row in ranks) / len(ranks) for choice in range(replay.MAX_WIDTH)] for k in heads]
    for nodes in range(most + 1):
        rounds = theory.replay_tree(ranks, best_shape(accuracies, nodes))
        tokens, round_s = sum(rounds) / len(rounds), costs.draft(nodes) + costs.verify(nodes + 1) + other_s
        points.append(CurvePoint(
            nodes, sum(made > nodes for made in rounds) / len(rounds), tokens, tokens / round_s, tokens / round_s * plain_s,
            theory.needed_acceptance(nodes, costs, other_s),
        ))  # fmt: skip
    return points


# --- costs ---


def _costs(subject: Subject) -> Generator[Event, None, Costs]:
    """Seconds of passes over 1, 2, … tokens and of drafts of 1, 2, … tokens behind the text: medians."""
    model, ids, cache = subject.language.model, subject.text.ids.tolist(), subject.cache
    base, verify_s, draft_s = cache.length, [], []
    rows = min(subject.most + 1, subject.language.context - base)
    for count in range(1, rows + 1):
        def verify(count: int = count) -> None:
            model.step(torch.tensor((ids * 2)[:count], device=subject.text.ids.device), cache)
            cache.crop(base)

        verify_s.append(_seconds(verify))
        yield Progress(done=count, total=2 * rows, unit="costs", note="measuring what checking costs")
    drafter = subject.drafter.other if isinstance(subject.drafter, LookupFirst) else subject.drafter  # lookup costs nothing
    drafter.observe(0, ids[:-1], subject.text.hidden[:-1])
    for count in range(1, max(2, rows)):
        def draft(count: int = count) -> None:
            drafter.propose(Context(ids, cache, subject.text.hidden[-2], SamplingConfig(), None, FixedBudget(count)))

        draft_s.append(_seconds(draft))
        yield Progress(done=rows + count, total=2 * rows, unit="costs", note="measuring what drafting costs")
    return Costs(tuple(verify_s), tuple(draft_s))


def _seconds(work: Callable[[], None]) -> float:
    work()
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


# --- the report ---


def _report(job: GammaCurve, points: list[CurvePoint], acceptance: float, costs: Costs) -> GammaReport:
    told = tuple(
        GammaPoint(
            draft_length=point.length, accepted_at=point.accepted_at, tokens_per_round=point.tokens_per_round,
            tokens_per_s=point.tokens_per_s, speedup=point.speedup, needed_acceptance=point.needed,
        ) for point in points
    )  # fmt: skip
    notes = [TREE_NOTE] * (job.drafter == "medusa") + [SAMPLED_NOTE] * (job.temperature > 0)
    notes += [f"The reply has only {len(job.reply_ids)} tokens."] * (len(job.reply_ids) < FEW)
    return GammaReport(
        drafter=job.drafter, points=told, best=max(range(len(told)), key=lambda place: told[place].tokens_per_s), acceptance=acceptance,
        plain_s=costs.verify(1) + job.other_s, draft_s=costs.draft_s, verify_s=costs.verify_s,
        exact=job.temperature == 0 and job.drafter != "medusa",
        notes=tuple(notes),
    )  # fmt: skip
