"""Closer looks at a finished reply: is it what the model alone says, how fast would plain decoding be, what do the layers think.

All take token ids, as the facts of a chat run hold them, and run the model over the finished text (teacher forcing).
"""

from __future__ import annotations

from collections.abc import Generator

import torch
from torch import Tensor

from app.jobs.chat import FinishedText, LogitLens, LosslessStamp, MeasurePlain
from app.protocol.errors import UserError
from app.protocol.events import Event, Progress, Step
from app.protocol.payloads import Result
from app.runners.chat_memory import Listener, Read, memory_of
from app.runners.chat_talk import PREFILL_CHUNK, Teller
from app.runners.lens import check_ids, lens
from app.worker.context import Ctx
from models.decoding.draft_length import FixedLength
from models.decoding.drafting import Cache, LanguageNet, NoDrafter
from models.decoding.generate import Generation
from models.decoding.replay import check_greedy
from models.decoding.sampling import SamplingConfig
from models.language.loading import LanguageModel

NEAR_TIE = 0.05
"""A gap between logits that rounding in another order of sums explains."""
MISMATCHES = 50
REPORT_MS = 200
DICTATED = 1e4
"""Logit of a dictated token: its probability is 1, and choosing it costs what choosing any token costs."""
Run = Generator[Event, None, Result]


def check_finished(job: FinishedText, language: LanguageModel) -> None:
    """UserError unless there is a reply to look at."""
    if not job.prompt_ids or not job.reply_ids:
        raise UserError("There is no reply to look at.", hint="Let the model answer something first.")
    check_ids((*job.prompt_ids, *job.reply_ids), language)


# --- lossless stamp ---


def lossless_stamp(job: LosslessStamp, ctx: Ctx) -> Run:
    """Compare every token of a greedy reply with the argmax of one pass over the finished text."""
    yield Progress(done=0, note="loading the model")
    with ctx.zoo.use(job.model) as language:
        check_finished(job, language)
        ids, reply, total, found = [*job.prompt_ids, *job.reply_ids], len(job.prompt_ids), len(job.reply_ids), []
        sampling = SamplingConfig(repetition_penalty=job.repetition_penalty)
        for done, wrong in check_greedy(language.model, ids, reply, sampling, ctx.device):
            found += wrong
            yield Progress(done=done, total=total, unit="tokens", note="checking")
        gap, text = max((each.gap for each in found), default=0.0), language.tokenizer.token_text
        rows = [
            {"position": each.place - reply, "id": each.token, "text": text(each.token), "best_id": each.best, "best_text": text(each.best),
             "gap": each.gap} for each in found[:MISMATCHES]
        ]  # fmt: skip
        facts = {
            "ok": not found, "checked": total, "mismatches": rows, "mismatch_count": len(found), "largest_gap": gap,
            "near_tie": gap < NEAR_TIE, "sentence": _stamp_sentence(total, len(found), gap), "number_format": language.format,
        }  # fmt: skip
        return Result(facts=facts)


def _stamp_sentence(checked: int, wrong: int, gap: float) -> str:
    if not wrong:
        return f"Lossless: all {checked} tokens are the model's own first choice."
    kind = "near ties that rounding decided" if gap < NEAR_TIE else "more than rounding explains"
    return f"{wrong} of {checked} tokens are not the model's first choice; the largest gap is {gap:.3g}: {kind}."


# --- a measured plain run ---


class Dictated:
    """A net that is certain of what comes next: the text it was given. Everything costs what it costs without dictation."""

    def __init__(self, net: LanguageNet, ids: list[int]) -> None:
        self.net, self.ids = net, ids

    def new_cache(self, max_len: int) -> Cache:
        return self.net.new_cache(max_len)

    def step(self, ids: Tensor, cache: Cache, **options: object) -> tuple[Tensor, Tensor]:
        logits, hidden = self.net.step(ids, cache, **options)
        if cache.length < len(self.ids):
            logits[-1, self.ids[cache.length]] = DICTATED
        return logits, hidden


def measure_plain(job: MeasurePlain, ctx: Ctx) -> Run:
    """Decode the same reply one token a pass, with all that a chat does around it, and say how fast that was."""
    yield Progress(done=0, note="loading the model")
    with ctx.zoo.use(job.model) as language:
        check_finished(job, language)
        ids = [*job.prompt_ids, *job.reply_ids]
        generation, listener = _plain(job, ctx, language, ids)
        for done, total in generation.prefill(PREFILL_CHUNK):
            yield Progress(done=done, total=total, unit="tokens", note="reading the prompt")
        teller, seconds = Teller(language.tokenizer), 0.0
        for told in map(teller.tell, generation.rounds()):
            seconds += told.draft_s + told.verify_s + told.other_s
            if ctx.every(REPORT_MS):
                yield Progress(done=generation.new_tokens, total=len(job.reply_ids), unit="tokens", note="decoding plainly")
            yield Step(index=told.index + 1, total=len(job.reply_ids))
        read = min(generation.cache.length, listener.read)
        memory_of(language.model).keep(Read(ids[:read], generation.cache, torch.cat(listener.states)[:read]), ctx.device)
        count = generation.new_tokens
        return Result(facts={"tokens_per_s": count / seconds, "seconds": seconds, "tokens": count, "number_format": language.format})


def _plain(job: MeasurePlain, ctx: Ctx, language: LanguageModel, ids: list[int]) -> tuple[Generation, Listener]:
    known, listener, prompt = memory_of(language.model).take(job.prompt_ids), Listener(NoDrafter()), list(job.prompt_ids)
    sampling = SamplingConfig(temperature=job.temperature, top_k=job.top_k, top_p=job.top_p, min_p=job.min_p,
                              repetition_penalty=job.repetition_penalty)  # fmt: skip
    generation = Generation(
        net=Dictated(language.model, ids), prompt_ids=prompt, drafter=listener, sampling=sampling, length=FixedLength(0),
        max_new_tokens=len(job.reply_ids), context=language.context, top=job.top, cache=known.cache if known else None,
        cached_ids=known.ids if known else (), device=ctx.device,
    )  # fmt: skip
    if generation.reused:
        listener.observe(0, prompt[: generation.reused], known.hidden[: generation.reused])
    return generation, listener


# --- logit lens ---


def logit_lens(job: LogitLens, ctx: Ctx) -> Run:
    """Every layer's state at one place, through the final norm and the head as if it were the last (the logit lens)."""
    yield Progress(done=0, note="loading the model")
    with ctx.zoo.use(job.model) as language:
        return (yield from lens(job.ids, job.position, job.top, language, ctx))
