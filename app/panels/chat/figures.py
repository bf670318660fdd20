"""The figures of a reply in words and bars: speed, acceptance, where the time goes, and whether drafting pays at all.

Break-even: with acceptance a per place a round of draft length n gives (1 - a^(n+1)) / (1 - a) tokens; it pays when that many plain steps
would take longer than the round (Leviathan et al. 2022, arXiv 2211.17192, theorem 3.8).
"""

from __future__ import annotations

from typing import Any

from app.panels.chat.reply import Reply, drafter_title, speed_up
from app.protocol.chat import GammaPoint, GammaReport
from app.widgets.probability_bars import Bar
from app.widgets.rounds_strip import SPLIT_COLOURS
from app.widgets.token_words import quoted

Rows = list[tuple[str, ...]]
MOST_LISTED = 5


def summary_rows(reply: Reply) -> Rows:
    """Names, values and what they mean."""
    counters, facts = reply.counters, reply.facts
    rows: Rows = [
        ("Drafter", drafter_title(reply.drafter), str(facts.get("drafter_reason", ""))),
        ("Speed", f"{counters.get('tokens_per_s', 0):.1f} tok/s", "tokens over the time of all rounds, without reading the prompt"),
        ("Plain", _speed(facts.get("plain_tokens_per_s")), "the same text, one token a pass, measured on this machine"),
        ("Speed-up", _times(speed_up(facts)), "measured speed over measured plain speed of the same text"),
        ("Tokens", f"{counters.get('new_tokens', 0)} in {counters.get('rounds', 0)} rounds", "a round is one pass of the model"),
        (
            "Per round",
            f"{counters.get('mean_acceptance_length', 1):.2f} tokens",
            "1 + accepted, over rounds with a draft; plain: 1.00",
        ),
        ("Accepted", _share(counters), _tested_tip(counters)),
        ("Prompt", f"{facts.get('prompt_tokens', 0)} tokens, {facts.get('prefill_s', 0) * 1000:.0f} ms", "read before the first round"),
        ("Numbers", str(facts.get("number_format", "–")), "format of the weights, chosen by measurement"),
    ]
    if facts.get("seed") is not None and facts.get("job", {}).get("temperature"):
        rows.append(("Seed", str(facts["seed"]), "the same seed gives the same text"))
    return rows


def depth_bars(reply: Reply) -> list[Bar]:
    """Acceptance by position: the share of rounds whose draft was kept there."""
    return [
        Bar(
            f"depth {depth + 1}",
            share,
            f"{share:.0%}",
            role="ok",
            tip="share of the rounds with a draft that kept a token here",
        )
        for depth, share in enumerate(reply.counters.get("acceptance_by_position", ()))
    ]


def time_bars(reply: Reply) -> list[Bar]:
    """Where the time went."""
    parts = {name: reply.counters.get(f"{name}_s", 0.0) for name in ("draft", "verify", "other")}
    total = sum(parts.values())
    tips = {"draft": "the drafter proposing", "verify": "the model checking", "other": "drawing, testing and bookkeeping"}
    colours = dict(zip(parts, SPLIT_COLOURS, strict=True))
    return [Bar(name, value / total, f"{value:.2f} s", colours[name], tip=tips[name]) for name, value in parts.items()] if total else []


def stamp_words(stamp: dict[str, Any] | None) -> tuple[str, str]:
    """The sentence of the lossless stamp and its role."""
    if not stamp:
        return "", ""
    if stamp.get("ok"):
        return str(stamp.get("sentence", "")), "ok"
    listed = [
        f"{quoted(str(miss.get('text', '')))} at {miss.get('position')}: the model prefers {quoted(str(miss.get('best_text', '')))} by "
        f"{miss.get('gap', 0):.3g}"
        for miss in stamp.get("mismatches", ())[:MOST_LISTED]
    ]  # fmt: skip
    return "\n".join([str(stamp.get("sentence", "")), *listed]), "warn"


def break_even(report: GammaReport, used: int) -> tuple[list[Bar], str]:
    """Acceptance you have, with the one you need as a tick, and what that means for the draft length used, or else the best one."""
    by_length = {point.draft_length: point for point in report.points}
    wanted = used or report.best or 1  # an adaptive length, 0, is no one length
    point = by_length.get(wanted) or next((point for point in report.points if point.draft_length), None)
    if point is None:
        return [], ""
    if draws_trees(report):
        pays, own = "pays" if point.speedup > 1 else "costs", point.tokens_per_round
        return [], f"A tree of {point.draft_length} must give {_needed_tokens(point):.2f} tokens a round, and gives {own:.2f}: it {pays}."
    need, have = point.needed_acceptance, report.acceptance
    pays = have > need
    tip = "the bar is the acceptance you have, the tick the acceptance you need to break even"
    bars = [Bar("acceptance", have, f"{have:.0%}", role="ok" if pays else "error", mark=min(need, 1.0), tip=tip)]
    least = f"{need:.0%}" if need <= 1 else "more than every draft"
    sentence = (
        f"Draft length {point.draft_length} needs {least} accepted to break even and has {have:.0%}: it {'pays' if pays else 'costs'}."
    )
    return bars, sentence


def draws_trees(report: GammaReport) -> bool:
    """Whether draft lengths are numbers of nodes, which compete: no acceptance per position describes them."""
    return report.drafter == "medusa"


def break_even_line(report: GammaReport) -> tuple[str, list[float], list[float]]:
    """What is compared (a name for the axis), what there is and what is needed, for every draft length from 1 on."""
    points = [point for point in report.points if point.draft_length]
    if draws_trees(report):
        return "tokens a round", [each.tokens_per_round for each in points], [_needed_tokens(each) for each in points]
    return "acceptance", [report.acceptance] * len(points), [each.needed_acceptance for each in points]


def _needed_tokens(point: GammaPoint) -> float:
    """Tokens a round at which it would be as fast as plain decoding: it gives `speedup` times as many."""
    return point.tokens_per_round / point.speedup if point.speedup else 0.0


def best_words(report: GammaReport) -> str:
    """The best setting of the gamma curve, in a sentence."""
    if not report.best:
        return "On this text plain decoding is fastest: no draft length pays."
    point = next((point for point in report.points if point.draft_length == report.best), None)
    sure = "" if report.exact else " (an estimate)"
    return f"Best here: draft length {report.best}, {point.speedup:.2f}x plain{sure}." if point else ""


def _tested_tip(counters: dict[str, Any]) -> str:
    rate, tested = counters.get("tested_acceptance_rate"), counters.get("num_tested_draft_tokens", 0)
    words = "accepted over drafted tokens"
    return words if rate is None else f"{words}; of the {tested} that were tested, not counting those behind a rejection, {rate:.0%}"


def _speed(value: float | None) -> str:
    return f"{value:.1f} tok/s" if value else "not measured"


def _times(value: float | None) -> str:
    return f"{value:.2f}x" if value else "not measured"


def _share(counters: dict[str, Any]) -> str:
    if not counters.get("num_draft_tokens"):
        return "no drafts"
    kept, drafted = counters.get("num_accepted_draft_tokens", 0), counters.get("num_draft_tokens", 0)
    rate = counters.get("draft_acceptance_rate")
    return f"{kept} of {drafted} nodes" if rate is None else f"{rate:.0%} ({kept} of {drafted})"
