"""What the inspector says of a token or a round: numbers, the rule with its current numbers, two sentences, the paper.

The rule of speculative sampling (Leviathan et al. 2022, arXiv 2211.17192, algorithm 1; Chen et al. 2023, arXiv 2302.01318): a draft x is
kept if u < p(x) / q(x); at the first refusal the model draws from max(0, p - q), normalised; if all are kept it draws one more from p.
"""

from __future__ import annotations

from typing import NamedTuple

from app.panels.chat.reply import Reply, drafter_title
from app.protocol.chat import ChatRound, ChatToken, DraftedToken
from app.widgets.probability_bars import Bar
from app.widgets.rounds_strip import seconds
from app.widgets.token_words import KIND_WORDS, drafts_of, number, quoted, ratio

LEVIATHAN = "Leviathan et al. 2022, arXiv 2211.17192"
PAPERS = {
    "lookup": "Prompt lookup; the rule: Leviathan et al. 2022, arXiv 2211.17192",
    "ngram": "A table in place of the datastore of REST: He et al. 2023, arXiv 2311.08252",
    "medusa": "Cai et al. 2024, arXiv 2401.10774",
    "eagle": "Li et al. 2024, arXiv 2401.15077",
    "mtp": "Gloeckle et al. 2024, arXiv 2404.19737",
    "early-exit": "Elhoushi et al. 2024, arXiv 2404.16710",
    "draft": "Leviathan et al. 2022, arXiv 2211.17192; Chen et al. 2023, arXiv 2302.01318",
}
WORDS = {
    "accepted": "The drafter guessed what the model would have written. The model only had to check it, together with the other guesses.",
    "corrected": "The drafter was wrong here, so the rest of its draft was thrown away. The model's own token comes from what its law p "
    "has left over the drafter's q: that keeps the text exactly as likely as without a drafter.",
    "bonus": "Every guess was right, and the check had computed the law of the next token as well: it comes for free.",
    "plain": "No draft was tested here: the model read one token and wrote one, as all chat programs do.",
}  # fmt: skip
Rows = list[tuple[str, ...]]


class Page(NamedTuple):
    """What `Inspector.set_content` takes."""

    name: str
    rows: Rows
    equation: str
    explanation: str
    reference: str


def token_page(reply: Reply, token: int) -> Page:
    """About a token of the reply."""
    round_, place = reply.at(token)
    shown = round_.tokens[place]
    draft = drafts_of(round_).get(place)
    rows: Rows = [
        ("Token", f"{token + 1} of {reply.tokens}, id {shown.id}", "its place in the reply, and its number in the vocabulary"),
        ("Fate", KIND_WORDS[shown.kind], "what became of the draft at this place"),
        ("Round", f"{round_.index + 1}, place {place + 1} of {len(round_.tokens)}", "one round is one pass of the model"),
        ("p", number(shown.p), "probability under the law it was drawn from, temperature and filters applied"),
        ("p raw", number(shown.p_raw), "probability at temperature 1, without filters"),
        ("Entropy", f"{shown.entropy:.2f} nats", "how undecided the model was: 0 is certain"),
    ]
    if draft is not None:
        rows[3:3] = [("q", number(draft.q), "probability under the drafter's law"), ("u", number(draft.u), "the draw it was tested with")]
    return Page(quoted(shown.text), rows, token_equation(round_, place), WORDS[shown.kind], _paper(round_))


def draft_page(reply: Reply, round_: ChatRound, draft: DraftedToken) -> Page:
    """About a drafted token that was not kept."""
    rows: Rows = [
        ("Fate", KIND_WORDS[draft.fate], ""),
        ("Round", str(round_.index + 1), "one round is one pass of the model"),
        ("Depth", str(draft.depth), "1 is the first guess of the round"),
        ("q", number(draft.q), "probability under the drafter's law"),
        ("p", number(draft.p), "probability under the model's law"),
        ("u", number(draft.u), "the draw it was tested with"),
    ]
    words = "It was never tested: a guess before it had been refused." if draft.fate == "untested" else "The model refused this guess."
    return Page(quoted(draft.text), rows, _test(draft), f"{words} Click it to see where the text would have gone.", _paper(round_))


def round_page(reply: Reply, index: int) -> Page:
    """About a round."""
    round_ = reply.rounds[index]
    kept, tested = (sum(d.fate == "accepted" for d in round_.drafted), sum(d.fate != "untested" for d in round_.drafted))
    rows: Rows = [
        ("Drafter", drafter_title(round_.drafter), "who proposed"),
        ("Drafted", f"{len(round_.drafted)}, {tested} tested", "tokens proposed, and how many of them were looked at"),
        ("Accepted", str(kept), "drafts the model agreed with"),
        ("Written", f"{len(round_.tokens)} token{'s' if len(round_.tokens) != 1 else ''}", "what the round added to the text"),
        ("Draft", _ms(round_.draft_s), "time of the drafter"),
        ("Verify", _ms(round_.verify_s), "time of the model's pass"),
        ("Other", _ms(round_.other_s), "drawing, testing, bookkeeping"),
        ("Per token", _ms(seconds(round_) / max(len(round_.tokens), 1)), "time of the round over the tokens it added"),
    ]
    equation = f"tokens per round = 1 + accepted\n{len(round_.tokens)} = 1 + {kept}" if len(round_.tokens) == kept + 1 else ""
    words = (
        "One pass of the model checks all drafted tokens at once; its cost hardly depends on how many there are."
        if tested
        else WORDS["plain"]
    )
    return Page(f"Round {index + 1} of {len(reply.rounds)}", rows, equation, words, _paper(round_))


def token_equation(round_: ChatRound, place: int) -> str:
    """The rule that decided a token, and below it the same with its numbers."""
    token = round_.tokens[place]
    draft = drafts_of(round_).get(place)
    if token.kind == "accepted" and draft is not None:
        return _test(draft)
    if token.kind == "corrected":
        refused = next((d for d in round_.drafted if d.fate == "rejected" and d.depth == place + 1), None)
        rule = "x ~ max(0, p − q) / Σ max(0, p − q)"
        if refused is None or token.p == 1.0:
            return f"x = argmax p\np({quoted(token.text)}) is the largest" if token.p == 1.0 else rule
        left = max(0.0, token.p - (token.q or 0.0))
        return f"{rule}\nhere max(0, {number(token.p)} − {number(token.q or 0.0)}) = {number(left)}\n{_test(refused)}"
    return f"x ~ p\np({quoted(token.text)}) = {number(token.p)}"


def _test(draft: DraftedToken) -> str:
    """Accept or not, in numbers."""
    if draft.fate == "untested":
        return "accept if u < p / q\nnot tested"
    if draft.u is None:
        return "accept if x = argmax p\n" + ("it is" if draft.fate == "accepted" else "it is not")
    sign = "<" if draft.fate == "accepted" else "≥"
    share = ratio(draft.p, draft.q)
    bound = f"{number(draft.p)} / {number(draft.q)} = {number(share) if share is None or share < 1 else '1 (capped)'}"
    return f"accept if u < p / q\n{number(draft.u)} {sign} {bound}"


def alternative_bars(token: ChatToken) -> list[Bar]:
    """The model's likeliest tokens at a place; pressing another one continues from it."""
    bars = [
        Bar(
            quoted(other.text), other.p, number(other.p), role="ok" if other.id == token.id else "accent", mono=True,
            chosen=other.id == token.id, key=None if other.id == token.id else other.id,
            tip="the token that was written" if other.id == token.id else "Click: continue from this token in a second column",
        )
        for other in token.top
    ]  # fmt: skip
    if token.id not in [other.id for other in token.top]:
        bars.append(
            Bar(quoted(token.text), token.p_raw, number(token.p_raw), role="ok", mono=True, chosen=True, tip="the token that was written")
        )
    return bars


def verdict_bars(round_: ChatRound, place: int) -> list[Bar]:
    """Draft q, target p, and their ratio with the draw as a tick, of an accepted token."""
    draft = drafts_of(round_).get(place)
    return draft_bars(draft) if draft is not None else []


def draft_bars(draft: DraftedToken) -> list[Bar]:
    """The same of any drafted token; under greedy decoding, where p is 0 or 1, what both found likely at temperature 1."""
    if draft.u is None and draft.p_raw is not None:
        own = [Bar("drafter", draft.q_raw, number(draft.q_raw), role="warn", tip="the drafter's own confidence")] if draft.q_raw else []
        role = "ok" if draft.fate == "accepted" else "error"
        return [*own, Bar("model", draft.p_raw, number(draft.p_raw), role=role, tip="how likely the model finds it, at temperature 1")]
    bars = [Bar("draft q", draft.q, number(draft.q), role="warn", tip="how sure the drafter was")]
    if draft.p is not None:
        bars.append(Bar("target p", draft.p, number(draft.p), role="accent", tip="how likely the model finds it"))
        share = ratio(draft.p, draft.q) or 0.0
        role = "ok" if draft.fate == "accepted" else "error"
        tip = "the chance to be kept; the tick is the draw u: left of the bar's end it is kept"
        bars.append(Bar("p / q", share, number(share), role=role, mark=draft.u, tip=tip))
    return bars


def _paper(round_: ChatRound) -> str:
    return PAPERS.get(round_.drafter, LEVIATHAN) if round_.drafted else LEVIATHAN


def _ms(value: float) -> str:
    return f"{value * 1000:.3g} ms"
