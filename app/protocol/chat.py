"""Values that chat runs show and return: messages, the prompt as the model got it, and rounds of speculative decoding.

A round is one pass of the target model: the drafter proposes, the target verifies, tokens are committed. The names of counters follow
vLLM (`num_draft_tokens` …). Everything here is small, frozen and pickles.

What a run of job `chat` (`app/jobs/chat.py`) sends, in this order:
    Record "prompt"    ChatPrompt, once, after the prompt has been read
    Record "round"     ChatRound, one a round, each followed by Step(index = rounds so far, total)
    Record "counters"  dict with the keys COUNTERS, about every 200 ms and after the last round
    Done(Result)       facts with the keys CHAT_FACTS; files "reply.txt" (str) and "rounds.json" (list of dicts)
`Step.total` is 0, since nobody knows how many rounds a reply takes, but for the last round, where it equals the index.

Other jobs and what their `Result` holds stand at the head of `app/jobs/chat.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from app.protocol.payloads import Tokens

Role = Literal["system", "user", "assistant"]
TokenKind = Literal["plain", "accepted", "corrected", "bonus"]
Fate = Literal["accepted", "rejected", "untested"]

REPLACEMENT = "\ufffd"
"""Stands where a character was broken."""

COUNTERS = (
    "rounds", "new_tokens", "num_spec_steps", "num_draft_tokens", "num_accepted_draft_tokens", "num_tested_draft_tokens",
    "draft_acceptance_rate", "tested_acceptance_rate", "mean_acceptance_length", "acceptance_histogram", "acceptance_by_position",
    "acceptance_given_tested", "tokens_per_round", "tokens_per_s", "draft_s", "verify_s", "other_s", "prefill_s", "draft_n",
    "draft_n_accepted",
)  # fmt: skip
"""Keys of Record "counters". A speculative step (`num_spec_steps`) is a round that proposed something; a draft token is tested if no guess
before it in its draft was refused (untested ones say nothing about the drafter), and only what became text counts as accepted.

`draft_acceptance_rate`: accepted / proposed, as vLLM has it; `tested_acceptance_rate`: accepted / tested. Both are None for trees, whose
nodes exclude each other, and where nothing was proposed (tested). `acceptance_by_position[i]`: share of all speculative steps that kept
their draft token i + 1; `acceptance_given_tested[i]`: share of those steps that tested it, None if none did. `acceptance_histogram[n]`:
steps that kept exactly n. `mean_acceptance_length` = 1 + accepted / steps = 1 + the sum of `acceptance_by_position`, 1 without such
steps; `tokens_per_round` counts the plain rounds too. `tokens_per_s` counts the seconds of rounds (`draft_s`, `verify_s`, `other_s`),
without reading the prompt (`prefill_s`). `draft_n`, `draft_n_accepted`: proposed and accepted under llama.cpp's names."""

CHAT_FACTS = (
    "text", "token_ids", "prompt_ids", "rounds", "counters", "seconds_split", "first_token_s", "tokens_per_s", "plain_tokens_per_s",
    "drafter", "drafter_reason", "model_name", "number_format", "lossless", "reason", "notes", "reused", "seed",
)  # fmt: skip
"""Keys of a chat's `Result.facts`. `seconds_split`: {"prefill", "draft", "verify", "other"}; `first_token_s` counts from the moment the
model was there; `plain_tokens_per_s` is the last measured plain speed of this model on this machine, or None; `drafter` is the kind that
ran ("auto" resolved) and `drafter_reason` says why; `reason`: "stop", "length" or "context"."""


def whole_characters(text: str) -> str:
    """The text with surrogate pairs joined and lone ones replaced, so that it can be written as UTF-8."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@dataclass(frozen=True, kw_only=True)
class ChatMessage:
    """One message of a conversation; the system prompt is simply the first one. Half surrogate pairs, which no file takes, are replaced."""

    role: Role
    text: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", whole_characters(self.text))


@dataclass(frozen=True, kw_only=True)
class Alternative:
    """One of the likeliest tokens at a place, by the raw law (temperature 1, no filters)."""

    id: int
    text: str
    p: float


@dataclass(frozen=True, kw_only=True)
class ForcedToken:
    """A token that the reply had to begin with; `piece` is what it adds to the message."""

    id: int
    text: str
    piece: str


@dataclass(frozen=True, kw_only=True)
class ChatPrompt:
    """What the model was given: the template's text cut into tokens, and how much of the conversation fitted."""

    tokens: Tokens
    beginning: tuple[ForcedToken, ...] = ()
    """The forced beginning of the reply (`continue_ids`); no round is told for it."""
    raw: str
    """The text the chat template made, control tokens included."""
    dropped: int
    """Tokens of the conversation left out because the context is full; the system message and the last message stay."""
    dropped_sentence: str
    """What was left out, in words; empty if nothing was."""
    reused: int
    """Tokens whose keys and values were kept from the last turn, and so were not computed again."""
    prefill_s: float
    context: int
    """Most tokens the model can hold, prompt and reply together."""
    model: str
    number_format: str
    drafter: str
    drafter_reason: str
    """Why this drafter: asked for, or measured to be the fastest here."""
    lossless: bool
    """The text is what plain decoding of the same job would give, in law (and token for token when greedy)."""
    notes: tuple[str, ...] = ()
    """Sentences worth showing: a drafter that gave way, a message cut short, text that was repaired."""


@dataclass(frozen=True, kw_only=True)
class DraftedToken:
    """A token some drafter proposed. `p`, `u` are None when the token was never tested.

    Accepted if u <= p / q. `parent` is the place in the same round's `drafted` of the token before it, -1 for the round's root
    (the newest committed token); a chain has parents -1, 0, 1, …
    """

    id: int
    text: str
    q: float
    """Probability under the drafter's law after the sampling filters; 1 for drafters that name just one token."""
    p: float | None
    """Probability under the target's law after the sampling filters."""
    u: float | None
    """The draw it was tested with; None if greedy or untested."""
    fate: Fate
    parent: int
    depth: int
    """1 for the first guess after the root."""
    q_raw: float | None = None
    """The drafter's own confidence (its softmax at temperature 1), where it has one."""
    p_raw: float | None = None
    """Probability under the target's softmax at temperature 1: worth showing when decoding is greedy and p is 0 or 1."""


@dataclass(frozen=True, kw_only=True)
class ChatToken:
    """A token of the reply.

    `text` shows the token itself (bytes that are no whole character, and control tokens, made readable); `piece` is what it adds to the
    message: joined pieces are the reply, also where one character takes several tokens, and the end marker adds nothing.
    """

    id: int
    text: str
    piece: str
    kind: TokenKind
    """plain: no draft was there; accepted: a kept guess; corrected: the target's own after a rejection; bonus: after all were kept."""
    p: float
    """Under the law it was drawn from (temperature and filters applied)."""
    p_raw: float
    """Under softmax at temperature 1."""
    q: float | None
    u: float | None
    top: tuple[Alternative, ...]
    entropy: float
    """Of the raw law, in nats."""


@dataclass(frozen=True, kw_only=True)
class ChatRound:
    """One pass of the target: what was proposed, what became of it, what it added and what it cost."""

    index: int
    """From 0."""
    drafter: str
    draft_length: int
    position: int
    """Place in prompt + reply of the first committed token."""
    drafted: tuple[DraftedToken, ...]
    tokens: tuple[ChatToken, ...]
    draft_s: float
    verify_s: float
    other_s: float
    lossless: bool
    reason: str | None = None
    """Set on the last round: "stop", "length" or "context"."""

    @property
    def text(self) -> str:
        """What the round adds to the message."""
        return "".join(token.piece for token in self.tokens)


@dataclass(frozen=True, kw_only=True)
class LensRow:
    """What one layer would say next (logit lens): its likeliest tokens, and how it ranks the token that came."""

    layer: int
    """0 = the embedding, n = after layer n."""
    top: tuple[Alternative, ...]
    p_next: float
    """Probability of the token that really followed; 0 at the end of the text."""
    rank_next: int
    """Its rank, 0 = likeliest; -1 at the end of the text."""
    entropy: float


@dataclass(frozen=True, kw_only=True)
class DrafterStatus:
    """One kind of drafter: whether it can run for the chosen model, and why not."""

    name: str
    title: str
    ready: bool
    sentence: str
    """What it does, or why it cannot run."""
    lossless: bool
    tokens_per_s: float | None = None
    """Measured on this machine (`choose-drafter`, `benchmark-decoding`); None = not measured."""
    speedup: float | None = None
    """Measured against plain decoding on the same prompts."""


@dataclass(frozen=True, kw_only=True)
class GammaPoint:
    """One draft length on the gamma curve."""

    draft_length: int
    """0: plain decoding. With Medusa: nodes of the tree."""
    accepted_at: float
    """Share of places whose guess at exactly this depth (1-based) is right, all earlier ones being right too."""
    tokens_per_round: float
    tokens_per_s: float
    speedup: float
    """Against the measured plain step."""
    needed_acceptance: float
    """Acceptance per position at which this length would break even; above 1: it cannot."""


@dataclass(frozen=True, kw_only=True)
class GammaReport:
    """What every draft length would have given on a finished text, from one teacher-forced pass, with measured costs."""

    drafter: str
    points: tuple[GammaPoint, ...]
    """Of draft length 0 (plain decoding), 1, 2, …"""
    best: int
    """Draft length with the highest tokens_per_s; 0 = plain decoding is best."""
    acceptance: float
    """Acceptance per position as drafted: the share of first guesses that are right."""
    plain_s: float
    """Seconds a plain round takes, all that is neither drafting nor checking included."""
    draft_s: tuple[float, ...]
    """Seconds to draft 1, 2, … tokens."""
    verify_s: tuple[float, ...]
    """Seconds to verify 1, 2, … tokens and the root."""
    exact: bool
    """A run with this draft length would keep exactly so many; false for sampled texts and trees, see `notes`."""
    notes: tuple[str, ...] = field(default=())
