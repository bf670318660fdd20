"""A conversation becomes token ids: put through the chat template and cut to what the context holds.

What has to go is said in a sentence before anything is computed. Whole old turns go first; the system message and the last message stay.
If the last message alone is too long, its middle goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from app.protocol.chat import REPLACEMENT, ChatMessage
from app.protocol.errors import UserError
from app.protocol.payloads import Tokens
from models.language.chat_template import encode_chat, render
from models.language.loading import LanguageModel

REPLY_SHARE = 4
"""At most a quarter of the context is kept free for the reply; a longer one ends where the context ends."""
MARKERS = 16
"""Tokens that a template spends on one message, at most, when lengths are estimated."""
GAP = "\n[...]\n"
Kept = tuple[ChatMessage, ...]


@dataclass(frozen=True)
class Prepared:
    """What the model reads, and what had to be left out."""

    messages: tuple[ChatMessage, ...]
    ids: list[int]
    raw: str
    total: int  # tokens of the whole conversation, as far as they were counted
    sentence: str  # what was left out; empty if nothing
    notes: tuple[str, ...]

    @property
    def dropped(self) -> int:
        return max(0, self.total - len(self.ids)) if self.sentence else 0

    def tokens(self, language: LanguageModel) -> Tokens:
        texts = {i: language.tokenizer.token_text(i) for i in set(self.ids)}
        return Tokens(texts=tuple(texts[i] for i in self.ids), ids=tuple(self.ids), label="prompt")


def check_answerable(messages: Sequence[ChatMessage]) -> None:
    """UserError unless the conversation ends with words of the user."""
    if messages and messages[-1].role != "user":
        raise UserError("The conversation does not end with a message to answer.", hint="Write something first.")
    if not messages or not messages[-1].text.strip():
        raise UserError("There is nothing to answer: the message is empty.", hint="Write something first.")


def prepare(messages: Sequence[ChatMessage], language: LanguageModel, max_new_tokens: int) -> Prepared:
    """Template, encode, and cut if need be."""
    messages = tuple(messages)
    room = language.context - min(max_new_tokens, language.context // REPLY_SHARE)
    ids, sentence = _encode(messages, language), ""
    total = len(ids)
    if total > room:
        messages, sentence = _shorten(messages, language, room, total)
        ids = _encode(messages, language)
    broken = any(REPLACEMENT in message.text for message in messages)
    notes = (f"Characters that are no text stand as {REPLACEMENT}.",) if broken else ()
    return Prepared(messages, ids, render(language.template, _plain(messages)), total, sentence, notes)


def _plain(messages: Sequence[ChatMessage]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.text} for message in messages]


def _encode(messages: Sequence[ChatMessage], language: LanguageModel) -> list[int]:
    return list(encode_chat(language.tokenizer, language.template, _plain(messages)))


def _shorten(messages: Kept, language: LanguageModel, room: int, total: int) -> tuple[Kept, str]:
    """The messages that fit into `room` tokens, and the sentence about the rest."""
    head = messages[:1] if messages[0].role == "system" else ()
    turns = messages[len(head) :]
    sizes = [len(language.tokenizer.encode(message.text)) + MARKERS for message in turns]
    first, left = 0, total
    while first < len(turns) - 1 and left > room:
        left -= sizes[first]
        first += 1
    kept = (*head, *turns[first:])
    while len(_encode(kept, language)) > room and first < len(turns) - 1:  # estimated a little too low
        first += 1
        kept = (*head, *turns[first:])
    holds = f"The conversation has {total:,} tokens, and {room:,} fit beside the reply: "
    if len(_encode(kept, language)) <= room:
        count = f"the oldest {first} messages are" if first > 1 else "the oldest message is"
        return kept, holds + f"{count} left out."
    return _without_middle(kept, language, room, holds + ("all older messages and " if first else ""))


def _without_middle(messages: Kept, language: LanguageModel, room: int, begin: str) -> tuple[Kept, str]:
    """Cut the middle out of the last message until all fits."""
    tokenizer, last = language.tokenizer, messages[-1]
    ids = tokenizer.encode(last.text)
    around = len(_encode((*messages[:-1], replace(last, text="x")), language))
    half = (room - around) // 2
    while half > 0:
        text = tokenizer.decode(ids[:half]) + GAP + tokenizer.decode(ids[-half:])
        kept = (*messages[:-1], replace(last, text=text))
        over = len(_encode(kept, language)) - room
        if over <= 0:
            left_out = len(ids) - 2 * half
            return kept, begin + f"{left_out:,} tokens in the middle of the last message are left out, {2 * half:,} are kept."
        half -= (over + 1) // 2
    raise UserError(
        f"The system message alone fills the context of {language.context:,} tokens.", hint="Shorten the system message."
    )
