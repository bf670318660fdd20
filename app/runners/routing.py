"""Runners of the routing panel: read a text and write on with every gate's decisions, and say whether the model is there.

The parts: `routing_source.py` (opening, reading, writing), `routing_book.py` (what the gates decided, and what it adds up to),
`routing_steer.py` (before and after, two texts), `routing_specialisation.py` (who reads what).
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import asdict
from pathlib import Path

from app import paths
from app.jobs.routing import BUILT_IN, TRAIN, Routing, RoutingStatus
from app.protocol.errors import UserError
from app.protocol.events import Event, Preview, Progress, Record, Step
from app.protocol.payloads import Result
from app.protocol.routing import LoadTable, RoutedModel, RoutingSummary
from app.runners.getting.look import EXPERTS
from app.runners.getting.shelf import Shelf
from app.runners.routing_book import Book
from app.runners.routing_source import (
    Looker,
    catalog_key,
    check_there,
    described,
    encoded,
    generation,
    opened,
    read_text,
    steering,
    written,
)
from app.worker.context import Ctx
from models import catalog
from models.fitting import CHECKPOINT

Run = Generator[Event, None, Result]
SUMMARY_MS, TELL_S = 700, 0.08
"""How often sums are told while a text is written, and tokens: a quick model writes several between two looks of the window."""
DIGITS = 6


def routing(job: Routing, ctx: Ctx) -> Run:
    """Read the text, write on token by token, and add up what the gates decided."""
    yield Progress(done=0, note="loading the model")
    with opened(job, ctx) as model:
        steer = steering(job, model)
        ids = encoded(job.text, model)
        looked = described(model, job, steer)
        yield Record(channel="opened", payload=looked)
        looker, book = Looker(model, steer), Book(model)
        cache = yield from read_text(looker, ids, book, ctx)
        for one in book.passes:
            yield Record(channel="pass", payload=one)
        text = ""
        if job.max_new_tokens and len(ids) < model.context:
            writing = generation(job, looker, ids, cache, ctx, job.draft_length)
            yield from write(writing, looker, book, ctx)
            text = written(writing, model)
        summary = book.summary()
        yield Record(channel="summary", payload=summary)
        return result(looked, book, summary, text)


def write(writing, looker: Looker, book: Book, ctx: Ctx) -> Iterator[Event]:
    """Tokens as they come, each Record "pass" followed by a Step; the last token is read as well, so that it is routed too."""
    yield Preview(channel="summary", payload=book.summary(exact=False))
    steps, told_at = 0, time.perf_counter()
    for done in writing.rounds():
        steps += book.take(looker, len(done.committed), "generation")
        if ctx.stepping or time.perf_counter() - told_at >= TELL_S:
            yield from tell(book, steps)
            if ctx.every(SUMMARY_MS) and ctx.wants("summary"):
                yield Preview(channel="summary", payload=book.summary(exact=False))
            told_at = time.perf_counter()
        ctx.breathe()
    if writing.cache.length < looker.model.context and len(book.ids) < len(writing.ids):
        looker.step(writing._tensor(writing.ids[-1:]), writing.cache)
        steps += book.take(looker, 1, "generation")
    yield from tell(book, steps, total=steps)


def tell(book: Book, steps: int, total: int = 0) -> Iterator[Event]:
    """What was written since the last time; nothing if nothing was."""
    made = book.tell()
    if made is not None:
        yield Record(channel="pass", payload=made)
        yield Step(index=steps, total=total)


# --- what is told ---


def result(looked: RoutedModel, book: Book, summary: RoutingSummary, text: str) -> Result:
    """routing.json, the balance table, and the figures."""
    whole, table = summary.phases["all"], balance_text(looked, summary)
    facts = {
        "table": table, "text": text, "model_name": looked.title, "tokens": len(book.ids), "perplexity": summary.perplexity,
        "max_vio": whole.mean.max_vio, "max_vio_chance": whole.chance.max_vio, "cv": whole.mean.cv, "entropy": whole.mean.entropy,
        "dead_experts": whole.mean.dead, "dropped": sum(summary.dropped), "steered": list(looked.steered),
    }  # fmt: skip
    return Result(files={"routing.json": routing_json(looked, book, summary), "balance.txt": table + "\n"}, facts=facts)


def routing_json(looked: RoutedModel, book: Book, summary: RoutingSummary) -> dict:
    """Per layer and token: experts, weights, affinities, bias; and the balance."""
    tokens = [
        {"text": text, "id": token, "phase": one.phase, "nats": value}
        for one in book.passes for text, token, value in zip(one.tokens.texts, one.tokens.ids, one.tokens.values)
    ]  # fmt: skip
    layers = [{"layer": layer, "bias": _bias(book, row), "tokens": _decisions(book, row)} for row, layer in enumerate(looked.layers)]
    return {
        "model": asdict(looked), "tokens": tokens, "layers": layers,
        "balance": {phase: table_facts(table, summary.layers) for phase, table in summary.phases.items()},
        "experts_touched": {
            "window": list(summary.window), "mean": summary.touched.mean(0).round(DIGITS).tolist(), "chance": list(summary.touched_chance),
            "checks": None if summary.checks is None else asdict(summary.checks),
        },
    }  # fmt: skip


def _bias(book: Book, row: int) -> list[float] | None:
    bias = book.passes[0].bias
    return None if bias is None else bias[row].tolist()


def _decisions(book: Book, row: int) -> list[dict]:
    found = []
    for one in book.passes:
        for t in range(len(one.tokens.ids)):
            found.append({
                "experts": one.experts[row, t].tolist(), "weights": _short(one.weights[row, t]),
                "affinities": _short(one.affinities[row, t]), "only_by_bias": one.flips[row, t].tolist(),
                "live": one.live[row, t].tolist(), "dropped": one.dropped[row, t].tolist(), "margin": float(one.margin[row, t]),
                "routed_norm": round(float(one.routed_norm[row, t]), DIGITS),
                "shared_norm": None if one.shared_norm is None else round(float(one.shared_norm[row, t]), DIGITS),
            })  # fmt: skip
    return found


def _short(values) -> list[float]:
    return [round(float(value), DIGITS) for value in values]


def table_facts(table: LoadTable, layers: tuple[int, ...]) -> dict:
    """Loads and numbers of a phase."""
    return {
        "tokens": table.tokens, "mean": asdict(table.mean), "chance": asdict(table.chance),
        "layers": [{"layer": n, "load": list(load), **asdict(b)} for n, load, b in zip(layers, table.load, table.layers)],
    }  # fmt: skip


def balance_text(looked: RoutedModel, summary: RoutingSummary) -> str:
    """The balance table of the command line: every number beside what a random router shows at as many tokens."""
    lines = [f"{looked.title}: {len(looked.layers)} layers of {looked.n_experts} experts, {looked.top_k} a token"]
    lines += [f"steered: {', '.join(looked.steered)}"] if looked.steered else []
    for phase, table in summary.phases.items():
        if phase == "all" and len(summary.phases) == 2:
            continue  # it is the only other phase
        lines += ["", f"{'both phases' if phase == 'all' else phase}, {table.tokens} tokens", _head()]
        lines += [_line(str(n), b) for n, b in zip(summary.layers, table.layers)]
        lines += [_line("mean", table.mean), _line("random", table.chance)]
    if (checks := summary.checks) is not None:
        experts, alone = (sum(values) / len(values) for values in (checks.touched, checks.alone))
        lines += ["", f"{checks.passes} checks of drafts read {checks.read:.2f} tokens each and kept {checks.kept:.2f}; "
                      f"each needed {experts:.2f} experts of a layer, one token {alone:.2f}"]  # fmt: skip
    lines += ["", "random: a router that picks uniformly, at as many tokens. MaxVio is over all these tokens together (global)."]
    return "\n".join(lines)


def _head() -> str:
    return f"{'layer':<8}{'MaxVio':>8}{'CV':>8}{'entropy':>9}{'dead':>7}"


def _line(name: str, b) -> str:
    return f"{name:<8}{b.max_vio:>8.3f}{b.cv:>8.3f}{b.entropy:>9.4f}{b.dead:>7.2f}"


# --- status ---


def routing_status(job: RoutingStatus, ctx: Ctx) -> Run:
    """Whether the model can be looked at; loads nothing."""
    yield Progress(done=0, note="looking")
    facts = {"ready": True, "title": "", "sentence": "", "hint": "", "train": TRAIN, "checkpoints": checkpoints(), "added": added()}
    try:
        key = catalog_key(job.model)
        facts["title"] = catalog.spec(key).title
        check_there(key)
    except UserError as error:
        facts |= {"ready": False, "sentence": str(error), "hint": error.hint}
    except catalog.CheckpointError as error:
        facts |= {"ready": False, "sentence": error.message, "hint": error.hint}
    facts["built_in"] = catalog.available(BUILT_IN)
    return Result(facts=facts)


def checkpoints() -> list[dict[str, str]]:
    """Trainings of mixtures in the user's folder that can be looked at, the newest first."""
    root = paths.data_dir() / "training"
    found = [folder for pattern in ("moe-*", "*/moe-*") for folder in root.glob(pattern) if (folder / CHECKPOINT).is_file()]
    found.sort(key=lambda folder: (folder / CHECKPOINT).stat().st_mtime, reverse=True)
    return [{"folder": str(folder), "title": folder.name} for folder in found]


def added() -> list[dict[str, str]]:
    """Mixtures of experts that the person has added to the program's models, and that are still there."""
    entries = [entry for entry in Shelf(paths.models_dir()).entries if EXPERTS in dict(entry.facts) and Path(entry.path).exists()]
    return [{"key": entry.key, "title": entry.title} for entry in entries]
