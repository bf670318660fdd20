"""Runners of the chat panel: answer a conversation, show its raw template, warm a model up, say what can run.

The parts: `chat_prompt.py` (conversation to token ids), `drafters.py` (who drafts), `chat_talk.py` (rounds to payloads), `chat_memory.py`
(keys and values of old turns). Closer looks at a finished reply are in `chat_analysis.py`.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import ExitStack

from app.jobs.chat import Chat, ChatStatus, LoadLanguageModel, RawTemplate
from app.protocol.events import Event, Progress
from app.protocol.payloads import Result
from app.runners.chat_prompt import check_answerable, prepare
from app.runners.chat_talk import Talk
from app.runners.decoding_bench import measure_and_remember
from app.runners.drafters import Choice, blocked, measured, open_drafter, runnable, statuses
from app.worker.context import Ctx
from models import catalog
from models.language.loading import LanguageModel

Run = Generator[Event, None, Result]
UNMEASURED = ("ngram", "lookup")
"""What "auto" takes where nothing may be measured first, the first of them that can run: they cost next to nothing."""


def chat(job: Chat, ctx: Ctx) -> Run:
    """Answer the conversation round by round; whatever ends the run, what was read is kept for the next turn."""
    check_answerable(job.conversation)
    with ExitStack() as stack:
        yield Progress(done=0, note="loading the model")
        language = stack.enter_context(ctx.zoo.use(job.model))
        prepared = prepare(job.conversation, language, job.max_new_tokens)
        if prepared.sentence:
            yield Progress(done=0, total=len(prepared.ids), unit="tokens", note=prepared.sentence)
        choice = yield from _choose(job, ctx, language, stack)
        talk = Talk(job, ctx, language, prepared, choice)
        try:
            yield from talk.read()
            yield from talk.decode()
        finally:
            talk.remember()
        return talk.result()


def _choose(job: Chat, ctx: Ctx, language: LanguageModel, stack: ExitStack) -> Generator[Event, None, Choice]:
    """The drafter asked for, or the fastest one here."""
    known = measured(job.model)
    kind, reason = job.drafter, "chosen"
    if kind == "auto":
        if known is None and job.measure and len(runnable(job.model)) > 1:
            known = yield from measure_and_remember(job.model, language, ctx)
        kind = _unmeasured(job.model) if known is None else known.best
        reason = "not measured here yet" if known is None else f"measured here: {known.words(kind)}"
    notes = ()
    if job.typical and kind == "medusa" and job.temperature > 0:
        notes = ("Typical acceptance is on: the text is not what the model alone would write.",)
    drafter = open_drafter(kind, language, job.model, ctx, stack, typical=job.typical)
    return Choice(kind, drafter, reason, known.tokens_per_s.get("none") if known else None, notes)


def _unmeasured(model: str) -> str:
    return next(kind for kind in UNMEASURED if not blocked(kind, model))


def raw_template(job: RawTemplate, ctx: Ctx) -> Run:
    """The conversation as the model gets it, and what would not fit."""
    yield Progress(done=0, note="loading the model")
    with ctx.zoo.use(job.model) as language:
        prepared = prepare(job.conversation, language, job.max_new_tokens)
        facts = {
            "tokens": len(prepared.ids), "dropped": prepared.dropped, "sentence": prepared.sentence, "context": language.context,
            "notes": list(prepared.notes), "text": prepared.raw,
        }  # fmt: skip
        return Result(files={"prompt": prepared.tokens(language), "raw.txt": prepared.raw}, facts=facts)


def chat_status(job: ChatStatus, ctx: Ctx) -> Run:
    """What the head of the panel says; loads nothing."""
    yield Progress(done=0, note="looking")
    spec, known = catalog.spec(job.model), measured(job.model)
    ready, auto = catalog.available(job.model), known.best if known else _unmeasured(job.model)
    facts = {
        "ready": ready, "title": spec.title, "sentence": "" if ready else f"{spec.title} is not on this machine yet.",
        "hint": "" if ready else "Fetch it on the Models page, or with `python main.py models fetch smollm2`.",
        "auto": auto, "auto_reason": known.words(auto) if known else "not measured here yet",
        "measured": known is not None, "plain_tokens_per_s": known.tokens_per_s.get("none") if known else None,
    }  # fmt: skip
    return Result(files={"drafters": statuses(job.model)}, facts=facts)


def load_language_model(job: LoadLanguageModel, ctx: Ctx) -> Run:
    """Load the model, and say what was chosen for it."""
    began = time.perf_counter()
    yield Progress(done=0, note="loading the model")
    with ctx.zoo.use(job.model) as language:
        facts = {
            "model": language.name, "number_format": language.format, "candidates": language.formats, "context": language.context,
            "fingerprint": language.fingerprint, "seconds": time.perf_counter() - began, "has_template": language.has_template,
        }  # fmt: skip
        return Result(facts=facts)
