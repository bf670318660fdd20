"""An answer in the making or made: its rounds, where in them we look, and what was measured about it.

`facts` is what is kept with the message and must be JSON-able; rounds are kept in a file of their own (`reply_file.py`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from app.jobs.chat import DRAFTER_TITLES, Chat
from app.panels.chat.counting import counted, together
from app.protocol.chat import ChatPrompt, ChatRound, ChatToken, ForcedToken, GammaReport
from app.widgets.token_layout import way_to

WAITING, WRITING, STOPPED, FAILED, BROKEN_OFF = "waiting", "writing", "stopped", "failed", "broken off"
GOING = (WAITING, WRITING)
SHORT_TITLES = {
    "none": "plain", "lookup": "prompt lookup", "ngram": "n-gram memory", "early-exit": "early exit", "draft": "draft model",
    "medusa": "Medusa heads", "mtp": "multi-token prediction", "eagle": "EAGLE layer", "auto": "fastest drafter",
}  # fmt: skip


class Reply:
    """The rounds of one message of a conversation."""

    def __init__(self, conversation: str, message: int, facts: dict[str, Any] | None = None) -> None:
        self.conversation, self.message = conversation, message
        self.facts: dict[str, Any] = facts if facts is not None else {}
        self.prompt: ChatPrompt | None = None
        self.prompt_ids: tuple[int, ...] = ()
        self.beginning: tuple[ForcedToken, ...] = ()
        """Tokens the reply had to begin with; part of its text, and of no round."""
        self.rounds: list[ChatRound] = []
        self.gamma: GammaReport | None = None
        self.position = 0
        """The round looked at, from 1; 0 before the first."""
        self.loaded = True
        """False while the rounds of an old answer lie only in its file."""
        self.before_swap: dict[str, Any] = {}
        """Counters of the runs before the one that writes now: the drafter was changed in the middle."""
        self._firsts: list[int] = []
        self._pieces: list[str] = []

    # growing -------------------------------------------------------------------------------------------------------

    def begin(self, prompt: ChatPrompt) -> None:
        """The model has read the prompt; or, in the middle of a reply, another drafter has."""
        if self.rounds:
            self.facts.update(drafter=prompt.drafter, drafter_reason=prompt.drafter_reason, lossless=prompt.lossless)
            return
        self.prompt, self.prompt_ids, self.beginning = prompt, tuple(prompt.tokens.ids), prompt.beginning
        self.facts.update(
            model=prompt.model, number_format=prompt.number_format, drafter=prompt.drafter, drafter_reason=prompt.drafter_reason,
            lossless=prompt.lossless,
            prompt_tokens=len(prompt.tokens.ids), prefill_s=prompt.prefill_s,
            notes=[note for note in (prompt.dropped_sentence, *prompt.notes) if note],
        )  # fmt: skip

    def add(self, round_: ChatRound) -> None:
        """One more round; the look goes along if it was at the end."""
        following = self.position == len(self.rounds)
        if round_.index != len(self.rounds):  # a run that took over counts its rounds from 0
            round_ = replace(round_, index=len(self.rounds))
        self._firsts.append(self.tokens)
        self.rounds.append(round_)
        self._pieces.append(round_.text)
        if following:
            self.position = len(self.rounds)

    def count(self, counters: dict[str, Any]) -> None:
        """Newer counters of the run that writes."""
        self.facts["counters"] = together(self.before_swap, counters)

    def recount(self) -> None:
        """Count the rounds that are here: the run that wrote them ended before it told its newest counters."""
        if self.rounds:
            self.facts["counters"] = counted(self.rounds, self.facts.get("prefill_s", 0.0))

    def swap(self) -> tuple[int, ...]:
        """Another run is about to go on: returns the tokens it has to begin with."""
        self.recount()
        self.before_swap = self.counters
        return (*(given.id for given in self.beginning), *self.ids)

    def restore(self, prompt_ids: tuple[int, ...], beginning: tuple[ForcedToken, ...], rounds: Sequence[ChatRound]) -> None:
        """Take up what was read from the file of an old reply."""
        self.loaded, self.prompt_ids, self.beginning = True, prompt_ids, beginning
        for round_ in rounds:
            self.add(round_)
        if self.facts.get("state") == BROKEN_OFF:  # rounds reach the disk less often than counters: tell of those that are here
            self.recount()

    def finish(self, facts: dict[str, Any]) -> None:
        """The run has ended by itself."""
        self.facts.update({name: facts[name] for name in ("reason", "seed", "lossless") if facts.get(name) is not None})
        self.facts["notes"] = list(facts.get("notes", ()))
        if facts.get("counters"):
            self.count(facts["counters"])

    # reading -------------------------------------------------------------------------------------------------------

    @property
    def text(self) -> str:
        """All that was written."""
        return "".join([*(token.piece for token in self.beginning), *self._pieces])

    @property
    def tokens(self) -> int:
        """How many tokens were written, those given not counted."""
        return self._firsts[-1] + len(self.rounds[-1].tokens) if self.rounds else 0

    @property
    def given_ids(self) -> tuple[int, ...]:
        """Prompt and beginning: what was there before the first round."""
        return (*self.prompt_ids, *(token.id for token in self.beginning))

    @property
    def ids(self) -> tuple[int, ...]:
        """The tokens written, as numbers."""
        return tuple(token.id for round_ in self.rounds for token in round_.tokens)

    @property
    def going(self) -> bool:
        """Whether it is still being written, or waited for."""
        return self.facts.get("state") in GOING

    @property
    def counters(self) -> dict[str, Any]:
        """The newest counters, vLLM's names."""
        return self.facts.get("counters", {})

    @property
    def drafter(self) -> str:
        """The kind of drafter that ran, or was asked for."""
        return str(self.facts.get("drafter", self.facts.get("job", {}).get("drafter", "none")))

    def at(self, token: int) -> tuple[ChatRound, int]:
        """The round of a token of the reply, and its place therein."""
        number = bisect_right(self._firsts, token) - 1
        return self.rounds[number], token - self._firsts[number]

    def token(self, token: int) -> ChatToken:
        """A token of the reply."""
        round_, place = self.at(token)
        return round_.tokens[place]

    def first_of(self, round_: int) -> int:
        """The first token of a round (from 0), by its place in the reply."""
        return self._firsts[round_]

    def before(self, round_: int, characters: int) -> str:
        """The end of the text before a round, the newest user words not included."""
        text, at = "", round_ - 1
        while at >= 0 and len(text) < characters:
            text = self._pieces[at] + text
            at -= 1
        return text

    # branching -----------------------------------------------------------------------------------------------------

    def ids_with(self, token: int, other: int) -> tuple[int, ...]:
        """The beginning of the reply up to `token`, with another token in its place."""
        return (*(given.id for given in self.beginning), *self.ids[:token], other)

    def ids_to_draft(self, round_: int, place: int) -> tuple[int, ...]:
        """The reply up to a round, and the drafted way to one of its drafts."""
        drafted = self.rounds[round_].drafted
        way = (drafted[step].id for step in way_to(drafted, place))
        return (*(given.id for given in self.beginning), *self.ids[: self._firsts[round_]], *way)


# words about a reply -----------------------------------------------------------------------------------------------


def drafter_title(kind: str) -> str:
    """The short name of a drafter, as it stands in a line of figures."""
    return SHORT_TITLES.get(kind, DRAFTER_TITLES.get(kind, kind))


def sentence(words: str) -> str:
    """Words with a capital at their beginning; names within keep theirs."""
    return words[:1].upper() + words[1:]


def speed_up(facts: dict[str, Any]) -> float | None:
    """Measured tokens a second over measured plain ones of the same text; None if plain was not measured."""
    plain, own = facts.get("plain_tokens_per_s"), facts.get("counters", {}).get("tokens_per_s")
    return own / plain if plain and own else None


def losslessness(facts: dict[str, Any]) -> str:
    """What can be said about the text being the one of plain decoding."""
    stamp = facts.get("stamp")
    if stamp:
        count = len(stamp.get("mismatches", ()))
        return "lossless" if stamp.get("ok") else f"{count} token{'s' if count != 1 else ''} not the first choice"
    if facts.get("lossless") is None or not facts.get("counters", {}).get("num_draft_tokens"):
        return ""
    return "lossless" if facts["lossless"] else "not lossless"


def footer(facts: dict[str, Any]) -> str:
    """The line under an answer, in the words people know."""
    counters = facts.get("counters", {})
    parts = []
    if counters.get("new_tokens"):
        parts += [f"{counters.get('tokens_per_s', 0):.0f} tok/s", f"{counters['new_tokens']} tokens"]
    if counters.get("num_draft_tokens"):
        parts.append(accepted_words(counters))
        if (gain := speed_up(facts)) is not None:
            parts.append(f"{gain:.2f}x measured")
    parts.append(losslessness(facts))
    ending = {"length": "cut at the token limit", "context": "the context is full"}.get(facts.get("reason", ""), "")
    state = facts.get("state", "")
    parts += [ending, "" if state == WRITING else state]
    return " · ".join(part for part in parts if part)


def accepted_words(counters: dict[str, Any]) -> str:
    """Share of the proposed tokens that were kept; of a tree, whose nodes compete, tokens a round instead."""
    rate = counters.get("draft_acceptance_rate")
    if rate is None:
        return f"{counters.get('mean_acceptance_length', 1):.2f} tokens a tree"
    return f"{rate * 100:.0f} % draft tokens accepted"


def settings_of(job: Chat) -> dict[str, Any]:
    """What of a job is worth remembering beside an answer."""
    names = ("drafter", "draft_length", "temperature", "top_k", "top_p", "min_p", "repetition_penalty", "max_new_tokens", "seed", "typical")
    return {"model": job.model} | {name: getattr(job, name) for name in names}
