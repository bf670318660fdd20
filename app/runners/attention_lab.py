"""Runners of the attention lab that compare: many attentions on one head, over the length of the text, and a softmax under many scales.

The parts: `attention_lab_heads.py` (whose q, k, v), `attention_lab_tiles.py` (FlashAttention), `attention_lab_training.py`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import asdict

import torch.nn.functional as F
from torch import Tensor

from app.jobs.attention_lab import AttentionKinds, AttentionLengths, AttentionScale, CompareAttentions
from app.protocol.attention_lab import LengthRow, MechanismKind, MechanismKnob, MechanismView, ScalePoint, ScaleReport
from app.protocol.errors import UserError
from app.protocol.events import Event, Progress, Record, Step
from app.protocol.payloads import Result
from app.runners.attention_lab_heads import Qkv, open_head
from app.runners.mechanisms import as_settings, choices
from app.worker import display
from app.worker.context import Ctx
from models import catalog
from models.attention import scaling
from models.attention.compare import Compared, compare, over_lengths
from models.attention.signature import pieces
from models.attention.softmax import softmax_weights
from models.attention.table import ATTENTIONS, kind

Run = Generator[Event, None, Result]
SHORTEST = 16
WIDTHS = (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
FACTORS = tuple(2 ** (n / 2) for n in range(-6, 9))
"""Multiples of 1/sqrt(d) a trained head is shown under, from an eighth to 16."""
BUILT_IN = "smollm2"


def attention_kinds(job: AttentionKinds, ctx: Ctx) -> Run:
    """The table, and whether there is a model to take heads from."""
    yield Progress(done=0, note="looking")
    kinds = tuple(
        MechanismKind(
            name=name, title=entry.title, exact=entry.exact, causal=entry.causal, arxiv=entry.arxiv, about=entry.about, scaled=entry.scaled,
            knobs=tuple(MechanismKnob(**vars(knob)) for knob in entry.knobs),
        )
        for name, entry in ATTENTIONS.items()
    )  # fmt: skip
    return Result(files={"kinds": kinds}, facts={"model_there": catalog.available(BUILT_IN), "names": ", ".join(ATTENTIONS)})


# --- one q, k, v, many attentions ---


def compare_attentions(job: CompareAttentions, ctx: Ctx) -> Run:
    """One Record "mechanism" and one Step for each mechanism that exists under the job's masking."""
    wanted = possible(job.mechanisms, job.causal)
    qkv = yield from open_head(job, ctx)
    yield Record(channel="head", payload=qkv.head)
    views = []
    for done, (name, settings) in enumerate(wanted.values(), 1):
        for row in compare(*qkv.parts, {name: settings}, causal=job.causal, repeats=job.repeats, measure_memory=True):
            views.append(mechanism_view(row, qkv, job.most))
            yield Record(channel="mechanism", payload=views[-1])
        yield Step(index=done, total=len(wanted))
    return Result(facts={"head": qkv.head.title, "tokens": len(qkv.head.tokens.ids), "table": compared_table(views)})


def possible(mechanisms: tuple[str, ...], causal: bool) -> dict:
    """The chosen mechanisms that exist under this masking; UserError if none does."""
    wanted = {words: (name, knobs) for words, (name, knobs) in choices(mechanisms).items() if not (causal and kind(name).causal == "no")}
    if not wanted:
        title = kind(choices(mechanisms)[mechanisms[0]][0]).title
        raise UserError(f"{title} cannot be causal.", hint="Switch Causal off, or choose another.")
    return wanted


def mechanism_view(row: Compared, qkv: Qkv, most: int) -> MechanismView:
    """What the window shows of a row of the comparison; the map in blocks if it has more than `most` rows."""
    cost, T = row.found.cost, qkv.q.shape[2]
    block = pieces(T, most)
    return MechanismView(
        map=display.array(in_blocks(row.found.weights[0, 0], block)), name=row.name, title=kind(row.name).title,
        settings=as_settings(row.settings), block=(block, block), normalisation=row.found.normalisation,
        cosine=row.error.mean_cosine, relative_l2=row.error.relative_l2, best_relative_l2=row.error.best_relative_l2,
        flops=cost.flops, held_bytes=cost.held_bytes, moved_bytes=cost.moved_bytes, peak_bytes=row.peak_bytes, seconds=row.seconds,
        flops_formula=cost.flops_formula, held_formula=cost.held_formula, symbols=tuple(cost.symbols.items()), tokens=T,
    )  # fmt: skip


def in_blocks(weights: Tensor, block: int) -> Tensor:
    """Means over blocks of a map (T, S); the last block of a row or column may be smaller."""
    if block == 1:
        return weights
    return F.avg_pool2d(weights[None], block, ceil_mode=True, count_include_pad=False)[0]


def compared_table(views: list[MechanismView]) -> str:
    """The comparison for the command line."""
    lines = [f"{'mechanism':<30}{'cosine':>8}{'rel. L2':>9}{'best':>8}{'kFLOP':>10}{'peak kB':>9}{'ms':>9}"]
    for v in views:
        numbers = f"{v.cosine:>8.4f}{v.relative_l2:>9.2e}{v.best_relative_l2:>8.4f}{v.flops / 1e3:>10.0f}{v.peak_bytes / 1e3:>9.0f}"
        lines.append(f"{v.title:<30}{numbers}{v.seconds * 1e3:>9.3f}")
    return "\n".join([*lines, "Errors against softmax's output; FLOPs by formula; peak memory and the shortest time measured."])


# --- over the length of the text ---


def attention_lengths(job: AttentionLengths, ctx: Ctx) -> Run:
    """One Record "length" for each mechanism and length, one Step for each length."""
    wanted = possible(job.mechanisms, job.causal)
    qkv = yield from open_head(job, ctx)
    yield Record(channel="head", payload=qkv.head)
    lengths = doubling(job.longest)
    rows = []
    for done, T in enumerate(lengths, 1):
        for words, (name, settings) in wanted.items():
            options = {"causal": job.causal, "measure_up_to": job.measured, "repeats": job.repeats}
            for row in over_lengths(*qkv.parts, {name: settings}, [T], **options):
                rows.append(length_row(words, row))
                yield Record(channel="length", payload=rows[-1])
        yield Step(index=done, total=len(lengths))
    return Result(files={"lengths.json": [asdict(row) for row in rows]}, facts={"head": qkv.head.title, "table": lengths_table(rows)})


def doubling(longest: int) -> list[int]:
    """16, 32, 64, … up to `longest`."""
    lengths = [SHORTEST]
    while lengths[-1] * 2 <= longest:
        lengths.append(lengths[-1] * 2)
    return lengths


def length_row(words: str, row) -> LengthRow:
    """For the window."""
    cost = row.cost
    return LengthRow(
        name=words, title=kind(row.name).title, tokens=row.T, flops=cost.flops, held_bytes=cost.held_bytes, moved_bytes=cost.moved_bytes,
        seconds=row.seconds, relative_l2=None if row.error is None else row.error.relative_l2,
    )  # fmt: skip


def lengths_table(rows: list[LengthRow]) -> str:
    """Times, and FLOPs where nothing was timed, for the command line."""
    names, lengths = list(dict.fromkeys(row.name for row in rows)), list(dict.fromkeys(row.tokens for row in rows))
    found = {(row.name, row.tokens): row for row in rows}
    lines = [f"{'tokens':>8}" + "".join(f"{name[:22]:>24}" for name in names)]
    lines += [f"{T:>8}" + "".join(f"{_timed(found[name, T]):>24}" for name in names) for T in lengths]
    return "\n".join([*lines, "Milliseconds where measured, else FLOPs by formula."])


def _timed(row: LengthRow) -> str:
    return f"{row.flops / 1e6:.3g} MFLOP" if row.seconds is None else f"{row.seconds * 1e3:.3f} ms"


# --- why 1 / sqrt(d) ---


def attention_scale(job: AttentionScale, ctx: Ctx) -> Run:
    """The sharpness of a softmax under the scale d^exponent, and around it."""
    qkv = yield from open_head(job, ctx)
    yield Record(channel="head", payload=qkv.head)
    d, random = qkv.head.width, job.source == "random"
    scale = d**job.exponent
    if random:
        q, k = scaling.random_heads(d, job.tokens, seed=job.seed)
        row = softmax_weights(q[None, None, -1:], k[None, None], causal=False, scale=scale)[0, 0, 0]
    else:
        q, k = qkv.q[0, 0], qkv.k[0, 0]
        row = softmax_weights(q[None, None], k[None, None], causal=job.causal, scale=scale)[0, 0, -1]
    now = scale_point("now", scaling.measure(q, k, scale, causal=job.causal and not random, seed=job.seed))
    curves = tuple(random_curves(job) if random else trained_curve(q, k, job.causal)) if job.curves else ()
    report = ScaleReport(
        row=display.array(row), scores=display.array(k @ q[-1] * scale), now=now, keys=k.shape[0], curves=curves,
    )  # fmt: skip
    return Result(files={"report": report}, facts={**asdict(now), "keys": report.keys, "head": qkv.head.title})


def random_curves(job: AttentionScale) -> Iterator[ScalePoint]:
    """Random heads of growing width, under each rule."""
    for rule in scaling.SCALES:
        for found in scaling.over_widths(WIDTHS, rule, keys=job.tokens, seed=job.seed):
            yield scale_point(rule, found)


def trained_curve(q: Tensor, k: Tensor, causal: bool) -> Iterator[ScalePoint]:
    """A trained head under growing scales."""
    for found in scaling.over_scales(q, k, FACTORS, causal=causal):
        yield scale_point("factor", found)


def scale_point(rule: str, found: scaling.Sharpness) -> ScalePoint:
    """For the window, with the entropy that Gaussian scores of the same deviation would have."""
    return ScalePoint(
        rule=rule, width=found.d, scale=found.scale, score_std=found.score_std, entropy=found.entropy,
        theory=scaling.theory_entropy(found.score_std, found.keys), largest=found.largest, saturated=found.saturated,
        gradient=found.gradient,
    )  # fmt: skip
