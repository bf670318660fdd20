"""One reply in the making: reads the prompt, decodes rounds, tells them as payloads, and remembers what was read.

The mathematics is `models/decoding/generate.py`; here live settings reach it, and its records become what a window can show.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

import torch

from app.jobs.chat import Chat
from app.protocol.chat import Alternative, ChatPrompt, ChatRound, ChatToken, DraftedToken, ForcedToken
from app.protocol.errors import UserError
from app.protocol.events import Event, Progress, Record, Step
from app.protocol.payloads import Result
from app.runners.chat_memory import Listener, Read, memory_of
from app.runners.chat_prompt import Prepared
from app.runners.drafters import Choice, length_policy
from app.worker.context import Ctx
from models.decoding.counters import Counters
from models.decoding.generate import Generation
from models.decoding.sampling import SamplingConfig
from models.language.formats import lossless
from models.language.loading import LanguageModel
from models.language.tokenizer import Tokenizer
from models.steps import Committed, Drafted, Round

PREFILL_CHUNK = 128
"""Tokens read at once: a third of a second on one core, so that a long prompt can be cancelled and shows progress."""
COUNTERS_MS = 200


@dataclass
class Clock:
    """Seconds of a reply by what they went into."""

    prefill: float = 0.0
    draft: float = 0.0
    verify: float = 0.0
    other: float = 0.0
    first_token: float | None = None

    @property
    def rounds(self) -> float:
        return self.draft + self.verify + self.other


class Teller:
    """Turns the rounds of one text into payloads."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer, self.stream = tokenizer, tokenizer.stream()

    def tell(self, done: Round, *, exact: bool = True) -> ChatRound:
        """A round with its texts; the time this takes counts as the round's."""
        began = time.perf_counter()
        tokens = tuple(self._token(token) for token in done.committed)
        if done.reason is not None and (rest := self.stream.end()):
            tokens = (*tokens[:-1], replace(tokens[-1], piece=tokens[-1].piece + rest))
        drafted = tuple(self._drafted(node) for node in done.drafted)
        return ChatRound(
            index=done.index, drafter=done.drafter, draft_length=done.draft_length, position=done.position, drafted=drafted, tokens=tokens,
            draft_s=done.draft_s, verify_s=done.verify_s, other_s=done.other_s + time.perf_counter() - began,
            lossless=done.lossless and exact, reason=done.reason,
        )  # fmt: skip

    def piece(self, token: int) -> str:
        """What a token adds to the message; the end marker adds nothing."""
        return "" if token in self.tokenizer.stop_ids else self.stream.push(token)

    def _token(self, token: Committed) -> ChatToken:
        text = self.tokenizer.token_text
        return ChatToken(
            id=token.token, text=text(token.token), piece=self.piece(token.token), kind=token.kind, p=token.p, p_raw=token.p_raw,
            q=token.q, u=token.u, top=tuple(Alternative(id=i, text=text(i), p=p) for i, p in token.top), entropy=token.entropy,
        )  # fmt: skip

    def _drafted(self, node: Drafted) -> DraftedToken:
        return DraftedToken(
            id=node.token, text=self.tokenizer.token_text(node.token), q=node.q, p=node.p, u=node.u, fate=node.fate, parent=node.parent,
            depth=node.depth, q_raw=node.q_raw, p_raw=node.p_raw,
        )  # fmt: skip


class Talk:
    """The state of one chat run between its events."""

    def __init__(self, job: Chat, ctx: Ctx, language: LanguageModel, prepared: Prepared, choice: Choice) -> None:
        self.job, self.ctx, self.language, self.prepared, self.choice = job, ctx, language, prepared, choice
        self.begin = time.perf_counter()
        self.forced = forced_beginning(job, language)
        self.listener = Listener(choice.drafter)
        self.clock, self.counters = Clock(), Counters()
        self.rounds: list[ChatRound] = []
        self.teller, text = Teller(language.tokenizer), language.tokenizer.token_text
        self.beginning = tuple(ForcedToken(id=token, text=text(token), piece=self.teller.piece(token)) for token in self.forced)
        self.exact = lossless(language.format) or choice.name == "none"
        self.generation = self._generation([*prepared.ids, *self.forced])

    def _generation(self, ids: list[int]) -> Generation:
        """Begin with what is known from the last turn; drafters hear of it as if it had just been read."""
        known = memory_of(self.language.model).take(ids)
        job, device = self.job, self.ctx.device
        generation = Generation(
            net=self.language.model, prompt_ids=ids, drafter=self.listener, sampling=self._sampling(), length=self._length(),
            stop_ids=self.language.tokenizer.stop_ids, max_new_tokens=max(1, job.max_new_tokens - len(self.forced)),
            context=self.language.context, top=job.top, cache=known.cache if known else None,
            cached_ids=known.ids if known else (), device=device,
        )  # fmt: skip
        if generation.reused:
            self.listener.observe(0, ids[: generation.reused], known.hidden[: generation.reused])
        return generation

    def _sampling(self) -> SamplingConfig:
        job = self.ctx.job
        return SamplingConfig(
            temperature=job.temperature, top_k=job.top_k, top_p=job.top_p, min_p=job.min_p,
            repetition_penalty=job.repetition_penalty, seed=self.ctx.seed,
        )  # fmt: skip

    def _length(self):
        job = self.ctx.job
        return length_policy(self.language.model, self.choice.name, job.draft_length, greedy=job.temperature == 0)

    # --- reading the prompt ---

    def read(self) -> Iterator[Event]:
        """Read the prompt in chunks, and tell what was read."""
        generation = self.generation
        for done, total in generation.prefill(PREFILL_CHUNK):
            if done < total:
                yield Progress(done=done, total=total, unit="tokens", note="reading the prompt")
        self.clock.prefill = time.perf_counter() - self.begin
        prepared, choice, language = self.prepared, self.choice, self.language
        yield Record(channel="prompt", payload=ChatPrompt(
            tokens=prepared.tokens(language), beginning=self.beginning, raw=prepared.raw, dropped=prepared.dropped,
            dropped_sentence=prepared.sentence, reused=generation.reused, prefill_s=self.clock.prefill, context=language.context,
            model=language.name, number_format=language.format, drafter=choice.name, drafter_reason=choice.reason,
            lossless=self.exact and self.listener.typical is None, notes=self.notes,
        ))  # fmt: skip

    @property
    def notes(self) -> tuple[str, ...]:
        return (*self.prepared.notes, *self.choice.notes)

    # --- rounds ---

    def decode(self) -> Iterator[Event]:
        """One Record "round" and one Step a round; temperature and draft length are taken anew before each."""
        if any(token in self.language.tokenizer.stop_ids for token in self.forced):
            return
        rounds = self.generation.rounds()
        settings = self._live()
        while True:
            if (now := self._live()) != settings:
                settings = now
                self.generation.sampling, self.generation.length = self._sampling(), self._length()
            done = next(rounds, None)
            if done is None:
                return
            told = self._tell(done)
            if self.clock.first_token is None:
                self.clock.first_token = time.perf_counter() - self.begin
            yield Record(channel="round", payload=told)
            if done.reason is not None or self.ctx.every(COUNTERS_MS):
                yield Record(channel="counters", payload=self.count())
            yield Step(index=done.index + 1, total=done.index + 1 if done.reason else 0)

    def _live(self) -> tuple[float, int]:
        return self.ctx.job.temperature, self.ctx.job.draft_length

    def _tell(self, done: Round) -> ChatRound:
        self.counters.add(done)
        told = self.teller.tell(done, exact=self.exact)
        self.clock.draft += told.draft_s
        self.clock.verify += told.verify_s
        self.clock.other += told.other_s
        self.rounds.append(told)
        return told

    # --- numbers ---

    def count(self) -> dict[str, object]:
        """Counters so far under vLLM's names, and where the time went."""
        new, clock = self.generation.new_tokens, self.clock
        return self.counters.as_dict() | {
            "prefill_s": clock.prefill, "other_s": clock.other, "tokens_per_s": new / clock.rounds if clock.rounds else 0.0,
        }

    def result(self) -> Result:
        """The finished reply with all numbers."""
        counters, language = self.count(), self.language
        text = "".join([*(token.piece for token in self.beginning), *(told.text for told in self.rounds)])
        clock = self.clock
        facts = {
            "text": text, "token_ids": [*self.forced, *(token.id for told in self.rounds for token in told.tokens)],
            "prompt_ids": self.prepared.ids, "rounds": [brief(told) for told in self.rounds], "counters": counters,
            "seconds_split": {"prefill": clock.prefill, "draft": clock.draft, "verify": clock.verify, "other": clock.other},
            "first_token_s": clock.first_token,
            "tokens_per_s": counters["tokens_per_s"], "plain_tokens_per_s": self.choice.plain_tokens_per_s, "drafter": self.choice.name,
            "drafter_reason": self.choice.reason, "model_name": language.name,
            "number_format": language.format, "lossless": self.exact and all(told.lossless for told in self.rounds),
            "reason": self.rounds[-1].reason if self.rounds else "stop", "notes": [*filter(None, (self.prepared.sentence,)), *self.notes],
            "reused": self.generation.reused, "seed": self.ctx.seed,
        }  # fmt: skip
        return Result(files={"reply.txt": text, "rounds.json": [asdict(told) for told in self.rounds]}, facts=facts)

    def remember(self) -> None:
        """Keep what was read for the next turn, as far as its states are known."""
        cache, states = self.generation.cache, self.listener.states
        length = min(cache.length, self.listener.read)
        if length:
            cache.crop(length)
            text = Read(self.generation.ids[:length], cache, torch.cat(states)[:length])
            memory_of(self.language.model).keep(text, self.ctx.device)


def forced_beginning(job: Chat, language: LanguageModel) -> list[int]:
    """The token ids that the reply has to begin with, up to the first end marker."""
    known = language.tokenizer.vocab_size
    wrong = next((token for token in job.continue_ids if not 0 <= token < known), None)
    if wrong is not None:
        raise UserError(
            f"The forced beginning names token {wrong}, and {language.name} has {known:,}.", hint="Branch from a reply of this model."
        )
    stop = next((place for place, token in enumerate(job.continue_ids) if token in language.tokenizer.stop_ids), None)
    return list(job.continue_ids if stop is None else job.continue_ids[: stop + 1])


def brief(told: ChatRound) -> dict[str, object]:
    """A round for result.json: what was proposed, how much was kept, and the probabilities compared."""
    return {
        "proposed": [node.id for node in told.drafted], "accepted": sum(node.fate == "accepted" for node in told.drafted),
        "p": [node.p for node in told.drafted], "q": [node.q for node in told.drafted], "u": [node.u for node in told.drafted],
        "parents": [node.parent for node in told.drafted], "tokens": [token.id for token in told.tokens],
        "kinds": [token.kind for token in told.tokens],
    }  # fmt: skip
