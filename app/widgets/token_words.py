"""Sentences about one token of a speculative round: for tooltips and the inspector."""

from __future__ import annotations

from app.protocol.chat import ChatRound, ChatToken, DraftedToken
from app.widgets.fate_marks import visible

KIND_WORDS = {
    "accepted": "accepted draft",
    "corrected": "correction",
    "bonus": "bonus token",
    "plain": "plain token",
    "rejected": "rejected draft",
    "untested": "untested draft",
}
MOST_TOLD = 5


def number(value: float | None) -> str:
    """A probability or a draw, three figures; an en dash if there is none."""
    if value is None:
        return "–"
    return f"{value:.3f}" if value == 0 or value >= 0.001 else f"{value:.1e}"


def quoted(text: str) -> str:
    """A token's text between quotation marks that show its spaces."""
    return f"“{visible(text)}”"


def ratio(p: float | None, q: float | None) -> float | None:
    """p / q, capped at 1: the chance that a draft is kept."""
    return None if p is None or not q else min(1.0, p / q)


def verdict(draft: DraftedToken) -> str:
    """Why a drafted token was kept or not."""
    if draft.fate == "untested":
        return "not tested: a token before it was rejected"
    kept = draft.fate == "accepted"
    if draft.u is None:
        return "kept: it is the model's own choice" if kept else "rejected: the model's own choice is another token"
    bound = number(ratio(draft.p, draft.q))
    return f"kept: u {number(draft.u)} is below p/q {bound}" if kept else f"rejected: u {number(draft.u)} is not below p/q {bound}"


def drafts_of(round_: ChatRound) -> dict[int, DraftedToken]:
    """The accepted drafts by the place of their token in the round."""
    return {draft.depth - 1: draft for draft in round_.drafted if draft.fate == "accepted"}


def token_tip(round_: ChatRound, place: int) -> str:
    """All about a committed token, line by line."""
    token = round_.tokens[place]
    lines = [f"{quoted(token.text)}   {KIND_WORDS[token.kind]}, round {round_.index + 1}"]
    draft = drafts_of(round_).get(place)
    if token.kind == "accepted" and draft is not None:
        lines.append(f"draft q {number(draft.q)}   target p {number(draft.p)}   draw u {number(draft.u)}")
        lines.append(verdict(draft))
    else:
        lines.append(f"target p {number(token.p)}" + (f"   draw u {number(token.u)}" if token.u is not None else ""))
    lines.append(alternatives(token))
    lines.append(f"entropy {token.entropy:.2f} nats   click for more")
    return "\n".join(line for line in lines if line)


def alternatives(token: ChatToken) -> str:
    """The likeliest tokens at its place."""
    told = ", ".join(f"{quoted(other.text)} {other.p:.0%}" for other in token.top[:MOST_TOLD])
    return f"model: {told}" if told else ""


def ghost_tip(draft: DraftedToken) -> str:
    """All about a drafted token that was not kept."""
    lines = [
        f"{quoted(draft.text)}   {KIND_WORDS[draft.fate]}",
        f"draft q {number(draft.q)}   target p {number(draft.p)}   draw u {number(draft.u)}",
        verdict(draft),
        "click: continue from it in a second column",
    ]
    return "\n".join(lines)
