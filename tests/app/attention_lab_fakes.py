"""Canned lab: an engine without a worker, and payloads that obey the rules of the protocol."""

from __future__ import annotations

from typing import Any

import numpy as np

from app.jobs.attention_lab import AttentionKinds, AttentionLengths, AttentionScale, CompareAttentions, FlashTiles, read
from app.protocol.attention_lab import (
    LabHead,
    Learner,
    LearnerPoint,
    LengthRow,
    MechanismKind,
    MechanismKnob,
    MechanismView,
    ScalePoint,
    ScaleReport,
    TilePlan,
    TileView,
)
from app.protocol.payloads import Result, Tokens
from tests.app.image_panel_fakes import FakeEngine, FakeHandle

T, D = 12, 8
KINDS = (
    MechanismKind(name="softmax", title="Softmax", exact="exact", causal="yes", arxiv="1706.03762", about="All keys.", scaled=True),
    MechanismKind(
        name="window", title="Sliding window", exact="subset", causal="yes", arxiv="2004.05150", about="Near keys.", scaled=True,
        knobs=(MechanismKnob(name="width", default=64, lo=1, hi=4096, help="Tokens."),
               MechanismKnob(name="sinks", default=0, lo=0, hi=64, help="First tokens.")),
    ),
    MechanismKind(
        name="performer", title="Random features", exact="approximation", causal="yes", arxiv="2009.14794", about="Features.", scaled=True,
        knobs=(MechanismKnob(name="features", default=128, lo=1, hi=4096, help="Directions."),
               MechanismKnob(name="kind", default="positive", help="Which.", choices=("positive", "trigonometric")),
               MechanismKnob(name="orthogonal", default=True, help="Right angles."),
               MechanismKnob(name="seed", default=0, lo=0, hi=2**31 - 1, help="Seed.")),
    ),
    MechanismKind(name="efficient", title="Efficient", exact="other law", causal="no", arxiv="1812.01243", about="No.", scaled=False),
)  # fmt: skip


def head(causal: bool = True, layers: int = 30) -> LabHead:
    tokens = Tokens(texts=tuple(f"t{n}" for n in range(T)), ids=tuple(range(T)))
    return LabHead(title="SmolLM2, layer 5, head 0", sentence="A trained head.", tokens=tokens, causal=causal, width=D, scale=D**-0.5,
                   layers=layers, heads=9)  # fmt: skip


def view(words: str) -> MechanismView:
    name, settings = read(words)
    kind = next(kind for kind in KINDS if kind.name == name)
    values = {**kind.defaults, **{knob: type(kind.defaults[knob])(value) for knob, value in settings.items()}}
    width = values.get("width", T)
    map_ = np.tril(np.triu(np.full((T, T), 0.25, np.float32), 1 - width))
    return MechanismView(
        map_, name=name, title=kind.title, settings=tuple(values.items()), block=(1, 1), normalisation="rows sum to 1", cosine=0.75,
        relative_l2=1 / width, best_relative_l2=0.2, flops=1_230_000, held_bytes=4000, moved_bytes=9000, peak_bytes=5000, seconds=0.00123,
        flops_formula="2 B H T S d", held_formula="B H T", symbols=(("T", T),), tokens=T,
    )  # fmt: skip


def tiles(job: FlashTiles) -> tuple[TilePlan, list[TileView]]:
    """A causal pass over T tokens in tiles of 4 x 4; the running state is computed the plain way."""
    rng = np.random.default_rng(0)
    scores = np.where(np.tril(np.ones((T, T))) > 0, rng.normal(size=(T, T)), -np.inf).astype(np.float32)
    v, made = rng.normal(size=(T, D)).astype(np.float32), []
    for r in range(0, T, 4):
        m, l, o = np.full(4, -np.inf, np.float32), np.zeros(4, np.float32), np.zeros((4, D), np.float32)
        for c in range(0, r + 4, 4):
            s = scores[r : r + 4, c : c + 4]
            new = np.maximum(m, s.max(1))
            p, a = np.exp(s - new[:, None]), np.exp(m - new)
            before, m, l, o = m, new, a * l + p.sum(1), a[:, None] * o + p @ v[c : c + 4]
            made.append(TileView(len(made), (r, r + 4), (c, c + 4), p, before, m, l, a, o / l[:, None], c == r, 100 * (len(made) + 1),
                                 float("nan") if not made and c != r else 2e-7))  # fmt: skip
    weights = np.exp(scores - scores.max(1, keepdims=True))
    plan = TilePlan(weights / weights.sum(1, keepdims=True), phase=job.phase, tokens=T, width=D, tile_q=4, tile_k=4, tiles=len(made),
                    causal=True, naive_bytes=2000, tiled_bytes=600)  # fmt: skip
    return plan, made


def point(rule: str, width: int, scale: float) -> ScalePoint:
    sigma = scale * width**0.5
    return ScalePoint(rule=rule, width=width, scale=scale, score_std=sigma, entropy=5 / (1 + sigma), theory=max(0.0, 5.5 - sigma**2 / 2),
                      largest=0.1, saturated=0.02, gradient=0.004 * scale)  # fmt: skip


def report(job: AttentionScale) -> ScaleReport:
    scores = -np.arange(job.tokens, dtype=np.float32) * job.width**job.exponent
    row = np.exp(scores)
    rules = {"1/sqrt(d)": -0.5, "none": 0.0, "1/d": -1.0}
    random = job.source == "random"
    curves = [point(rule, d, d**e) for rule, e in rules.items() for d in (2, 16, 128)]
    curves = curves if random else [point("factor", D, 2**n) for n in range(4)]
    return ScaleReport(row / row.sum(), scores, now=point("now", job.width, job.width**job.exponent), keys=job.tokens,
                       curves=tuple(curves) if job.curves else ())  # fmt: skip


def points(step: int, test: bool = False, names: tuple[str, ...] = ("softmax", "window:width=8")) -> tuple[LearnerPoint, ...]:
    return tuple(
        LearnerPoint(name=name, step=step, loss=3.0 / (1 + step + n), accuracy=step / (10 + n), test=test, seconds=0.01 * step)
        for n, name in enumerate(names)
    )


LEARNERS = (
    Learner(name="softmax", title="Softmax", parameters=1000), Learner(name="window:width=8", title="Sliding window", parameters=1000),
)  # fmt: skip


class LabEngine(FakeEngine):
    """Answers the jobs of the lab when asked to."""

    model_there = True

    def waiting(self, kind: type) -> list[FakeHandle]:
        return [handle for handle in self.handles if type(handle.job) is kind and handle.active]

    def answer(self, handle: FakeHandle) -> None:
        handle.begin()
        for channel, payload in self.records(handle.job):
            handle.record.emit(channel, payload)
        handle.succeed(self.result(handle.job))

    def answer_all(self) -> None:
        """Until nothing of the lab waits, but trainings."""
        kinds = (AttentionKinds, CompareAttentions, AttentionLengths, FlashTiles, AttentionScale)
        while open_ := [handle for handle in self.handles if handle.active and isinstance(handle.job, kinds)]:
            for handle in open_:
                self.answer(handle)

    def records(self, job: Any) -> list[tuple[str, Any]]:
        match job:
            case CompareAttentions():
                shown = [w for w in job.mechanisms if not (job.causal and read(w)[0] == "efficient")]
                return [("head", head(job.causal)), *(("mechanism", view(words)) for words in shown)]
            case AttentionLengths():
                return [("head", head()), *(("length", row) for row in lengths(job))]
            case FlashTiles():
                plan, made = tiles(job)
                return [("head", head()), ("plan", plan), *(("tile", tile) for tile in made)]
            case AttentionScale():
                return [("head", head())]
        return []

    def result(self, job: Any) -> Result:
        match job:
            case AttentionKinds():
                return Result(files={"kinds": KINDS}, facts={"model_there": self.model_there})
            case FlashTiles():
                return Result(facts={"fp16_row": 7, "fp16_top": 12.5, "fp16_keys": 8, "fp16_lost": 3})
            case AttentionScale():
                return Result(files={"report": report(job)})
        return Result()


def lengths(job: AttentionLengths) -> list[LengthRow]:
    return [
        LengthRow(name=words, title=read(words)[0], tokens=n, flops=n * n, held_bytes=n, moved_bytes=2 * n,
                  seconds=n * 1e-6 if n <= job.measured else None, relative_l2=None)
        for n in (256, 1024, 4096) for words in job.mechanisms
    ]  # fmt: skip
