"""The rounds of an answer on disk: a line of JSON a round, so that a file broken off in the middle still gives all lines before.

Line 1: {"version", "prompt_ids", "beginning"}.  Then per round a list in the order of the fields of `ChatRound`, tokens and drafts as lists
as well, numbers with five figures.  A reply of 1000 tokens takes about 250 kB.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.protocol.chat import Alternative, ChatRound, ChatToken, DraftedToken, ForcedToken

VERSION = 1
MOST_BYTES = 200 << 20
KINDS = ("plain", "accepted", "corrected", "bonus")
FATES = ("accepted", "rejected", "untested")


def head(prompt_ids: tuple[int, ...], beginning: tuple[ForcedToken, ...]) -> str:
    """The first line."""
    given = [[token.id, token.text, token.piece] for token in beginning]
    return json.dumps({"version": VERSION, "prompt_ids": list(prompt_ids), "beginning": given})


def line(round_: ChatRound) -> str:
    """A round as one line."""
    drafted = [
        [d.id, d.text, _short(d.q), _short(d.p), _short(d.u), d.fate, d.parent, d.depth, _short(d.q_raw), _short(d.p_raw)]
        for d in round_.drafted
    ]
    tokens = [
        [t.id, t.text, t.piece, t.kind, _short(t.p), _short(t.p_raw), _short(t.q), _short(t.u), _short(t.entropy),
         [[a.id, a.text, _short(a.p)] for a in t.top]]
        for t in round_.tokens
    ]  # fmt: skip
    times = [_short(round_.draft_s), _short(round_.verify_s), _short(round_.other_s)]
    values = [
        round_.index, round_.drafter, round_.draft_length, round_.position, drafted, tokens, times, round_.lossless, round_.reason,
    ]  # fmt: skip
    return json.dumps(values, separators=(",", ":"))


@dataclass(frozen=True)
class Kept:
    """What a file holds."""

    prompt_ids: tuple[int, ...] = ()
    beginning: tuple[ForcedToken, ...] = ()
    rounds: tuple[ChatRound, ...] = ()


def read(path: Path) -> Kept:
    """What a file holds; nothing if there is none. Reads until the first line that makes no sense."""
    if not path.exists() or path.stat().st_size > MOST_BYTES:
        return Kept()
    rows = path.read_text("utf-8", "replace").splitlines()
    try:
        first = json.loads(rows[0])
        if first["version"] != VERSION:
            return Kept()
        prompt_ids = tuple(int(number) for number in first["prompt_ids"])
        beginning = tuple(ForcedToken(id=int(i), text=str(text), piece=str(piece)) for i, text, piece in first["beginning"])
    except (IndexError, KeyError, TypeError, ValueError, RecursionError):
        return Kept()
    rounds: list[ChatRound] = []
    for row in rows[1:]:
        try:
            rounds.append(_round(json.loads(row)))
        except (TypeError, ValueError, KeyError, IndexError, RecursionError):
            break
    return Kept(prompt_ids, beginning, tuple(rounds))


def _round(values: list[Any]) -> ChatRound:
    index, drafter, draft_length, position, drafted, tokens, times, lossless, reason = values
    drafts = tuple(_draft(place, item) for place, item in enumerate(drafted))
    draft_s, verify_s, other_s = (_number(value) for value in times)
    return ChatRound(
        index=int(index), drafter=str(drafter), draft_length=int(draft_length), position=int(position), drafted=drafts,
        tokens=tuple(_token(item) for item in tokens), draft_s=draft_s, verify_s=verify_s, other_s=other_s, lossless=bool(lossless),
        reason=None if reason is None else str(reason),
    )  # fmt: skip


def _draft(place: int, item: list[Any]) -> DraftedToken:
    number, text, q, p, u, fate, parent, depth, q_raw, p_raw = item
    if fate not in FATES or not -1 <= parent < place:
        raise ValueError(f"draft {place} makes no sense")
    return DraftedToken(
        id=int(number), text=str(text), q=_number(q), p=_maybe(p), u=_maybe(u), fate=fate, parent=int(parent), depth=int(depth),
        q_raw=_maybe(q_raw), p_raw=_maybe(p_raw),
    )  # fmt: skip


def _token(item: list[Any]) -> ChatToken:
    number, text, piece, kind, p, p_raw, q, u, entropy, top = item
    if kind not in KINDS:
        raise ValueError(f"a token cannot be {kind!r}")
    others = tuple(Alternative(id=int(i), text=str(t), p=_number(share)) for i, t, share in top)
    return ChatToken(
        id=int(number), text=str(text), piece=str(piece), kind=kind, p=_number(p), p_raw=_number(p_raw), q=_maybe(q), u=_maybe(u),
        top=others, entropy=_number(entropy),
    )  # fmt: skip


def _number(value: Any) -> float:
    made = float(value)
    if not math.isfinite(made):
        raise ValueError("not a finite number")
    return made


def _maybe(value: Any) -> float | None:
    return None if value is None else _number(value)


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")
