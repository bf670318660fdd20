"""Runners that compare: the model as it is with the model as it is steered, and one text with another."""

from __future__ import annotations

import math
from collections.abc import Generator

import torch
from torch import Tensor

from app.jobs.routing import RoutingPair, RoutingSteer
from app.protocol.errors import UserError
from app.protocol.events import Event, Preview, Progress
from app.protocol.payloads import Result
from app.protocol.routing import PairReport, SteeredSide, SteerReport
from app.runners.routing_book import Book, load_table
from app.runners.routing_source import Looker, Opened, encoded, generation, opened, read_text, steered_words, steering, written
from app.worker.context import Ctx
from models.language.gating import AS_IS, LayerRouting, Steering
from models.language.routing import agreement, visits

Run = Generator[Event, None, Result]
NEXT = 5
SHOW_MS = 60


# --- before and after ---


def routing_steer(job: RoutingSteer, ctx: Ctx) -> Run:
    """Read and write on twice, as it is and steered; tell what has changed."""
    yield Progress(done=0, note="loading the model")
    with opened(job, ctx) as model:
        steer = steering(job, model)
        if not job.changes:
            raise UserError("Nothing is changed at the gates.", hint="Switch an expert off, force one, change k, or remove the bias.")
        ids = encoded(job.text, model)
        before, first = yield from side(job, model, AS_IS, ids, ctx, "before")
        after, second = yield from side(job, model, steer, ids, ctx, "after")
    old, new = first.joined(), second.joined()
    divergence, changed = compared(torch.cat(first.laws), torch.cat(second.laws))
    report = SteerReport(
        steered=steered_words(steer), layers=tuple(old), before=before, after=after,
        kept=tuple(float(agreement(old[layer], new[layer]).mean()) for layer in old), divergence=divergence, changed=changed,
        places=len(ids),
    )  # fmt: skip
    facts = {
        "before": before.text, "after": after.text, "perplexity_before": before.perplexity, "perplexity_after": after.perplexity,
        "divergence": divergence, "likeliest_changed": changed, "places": len(ids), "steered": list(report.steered),
        "table": steer_text(report),
    }  # fmt: skip
    return Result(files={"report": report}, facts=facts)


def side(
    job: RoutingSteer, model: Opened, steer: Steering, ids: list[int], ctx: Ctx, channel: str
) -> Generator[Event, None, tuple[SteeredSide, Book]]:
    """One of the two: read the prompt, keep its laws, write on; the text so far is told as a Preview."""
    looker, book = Looker(model, steer), Book(model, keep_laws=True)
    cache = yield from read_text(looker, ids, book, ctx, f"reading: {channel}")
    joined, text = book.joined(), ""
    if job.max_new_tokens and len(ids) < model.context:
        writing = generation(job, looker, ids, cache, ctx)
        for done in writing.rounds():
            yield Progress(done=writing.new_tokens, total=job.max_new_tokens, unit="tokens", note=f"writing: {channel}")
            if done.reason is not None or ctx.every(SHOW_MS):
                text = written(writing, model)
                yield Preview(channel=channel, payload=text)
    best = book.laws[-1][-1].exp().topk(NEXT)
    likely = tuple((model.tokenizer.token_text(i), p) for i, p in zip(best.indices.tolist(), best.values.tolist()))
    told = SteeredSide(
        text=text, perplexity=book.perplexity, table=load_table(joined), visits=sum(int(one.live.sum()) for one in joined.values()),
        dropped=sum(int(one.dropped.sum()) for one in joined.values()), next_tokens=likely,
    )  # fmt: skip
    return told, book


def compared(before: Tensor, after: Tensor) -> tuple[float, int]:
    """Mean KL(before || after) of log laws (T, V), and at how many places the likeliest token differs."""
    divergence = (before.exp() * (before - after)).sum(-1).mean()
    return max(0.0, float(divergence)), int((before.argmax(-1) != after.argmax(-1)).sum())


def steer_text(report: SteerReport) -> str:
    """The table of the command line."""
    a, b = report.before, report.after
    rows = [
        ("perplexity of the text", a.perplexity, b.perplexity), ("MaxVio, mean of layers", a.table.mean.max_vio, b.table.mean.max_vio),
        ("  random router", a.table.chance.max_vio, b.table.chance.max_vio), ("CV", a.table.mean.cv, b.table.mean.cv),
        ("entropy", a.table.mean.entropy, b.table.mean.entropy), ("dead experts", a.table.mean.dead, b.table.mean.dead),
    ]  # fmt: skip
    lines = [f"steered: {', '.join(report.steered)}", f"{'':<26}{'before':>10}{'after':>10}"]
    lines += [f"{name:<26}{x:>10.4g}{y:>10.4g}" for name, x, y in rows]
    kept = sum(report.kept) / len(report.kept)
    lines += [
        f"{kept:.0%} of the choices are made again; the likeliest next token differs at {report.changed} of {report.places} places; "
        f"mean KL {report.divergence:.4f} nats",
        "", "before:", a.text, "", "after:", b.text,
    ]  # fmt: skip
    return "\n".join(lines)


# --- two texts ---


def routing_pair(job: RoutingPair, ctx: Ctx) -> Run:
    """Both texts through the same gates, and how differently they load the experts."""
    yield Progress(done=0, note="loading the model")
    with opened(job, ctx) as model:
        texts, books = [encoded(job.text, model), encoded(job.other, model)], (Book(model), Book(model))
        for ids, book in zip(texts, books):
            yield from read_text(Looker(model, AS_IS), ids, book, ctx)
        report = yield from pair_report(books, job.shuffles, ctx)
    return Result(files={"report": report}, facts={"table": pair_text(report), "distance": sum(report.distance) / len(report.distance)})


def pair_report(books: tuple[Book, Book], shuffles: int, ctx: Ctx) -> Generator[Event, None, PairReport]:
    """Distances layer by layer, and what dealing the tokens out at random shows."""
    joined = [book.joined() for book in books]
    found: list[tuple[float, float, float]] = []
    for number, layer in enumerate(joined[0]):
        yield Progress(done=number, total=len(joined[0]), unit="layers", note="shuffling tokens")
        found.append(distance_and_chance(joined[0][layer], joined[1][layer], shuffles, ctx.rng))
    loads = tuple(tuple(tuple(shares(visits(one)).tolist()) for one in side.values()) for side in joined)
    distance, chance, p = zip(*found)
    return PairReport(
        layers=tuple(joined[0]), tokens=(len(books[0].ids), len(books[1].ids)), loads=loads, distance=distance, chance=chance, p=p,
        perplexity=(books[0].perplexity, books[1].perplexity),
    )  # fmt: skip


def shares(seen: Tensor) -> Tensor:
    """Visits (T, E) as shares (E,)."""
    return seen.sum(0) / seen.sum().clamp_min(1)


def distance_and_chance(a: LayerRouting, b: LayerRouting, shuffles: int, rng: torch.Generator) -> tuple[float, float, float]:
    """Total variation of the loads of two texts, its mean over shuffles of their tokens, and the share of shuffles as far apart.

    A permutation test over tokens: neighbouring tokens resemble one another, so real texts pass it a little too easily.
    """
    own = float((shares(visits(a)) - shares(visits(b))).abs().sum() / 2)
    seen = torch.cat([visits(a), visits(b)]).cpu()                          # (T, E)
    T, first = len(seen), a.experts.shape[1]
    order = torch.rand(shuffles, T, generator=rng).argsort(-1)              # (S, T)
    inside = (order < first).double()                                       # (S, T) 1: dealt to the first text
    one, two = inside @ seen, (1 - inside) @ seen                           # (S, E) each
    apart = (one / one.sum(-1, keepdim=True).clamp_min(1) - two / two.sum(-1, keepdim=True).clamp_min(1)).abs().sum(-1) / 2
    return own, float(apart.mean()), (1 + int((apart >= own - 1e-12).sum())) / (1 + shuffles)


def pair_text(report: PairReport) -> str:
    """The table of the command line."""
    lines = [f"{'layer':<8}{'distance':>10}{'shuffled':>10}{'p':>8}"]
    for n, d, c, p in zip(report.layers, report.distance, report.chance, report.p):
        lines.append(f"{n:<8}{d:>10.3f}{c:>10.3f}{p:>8.3f}")
    first, second = report.tokens
    lines.append(f"distance: total variation of the experts' shares, {first} against {second} tokens; shuffled: tokens dealt out at random")
    if not any(math.isnan(value) for value in report.perplexity):
        lines.append(f"perplexity {report.perplexity[0]:.4g} and {report.perplexity[1]:.4g}")
    return "\n".join(lines)
