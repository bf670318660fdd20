"""Runners that ask what a head is good for: the text read and continued without it, and what each layer would say next."""

from __future__ import annotations

import math
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor

from app.jobs.attention import AttentionEdit, AttentionLens
from app.protocol.attention import EditReport, HeadEdit, NextTokens
from app.protocol.errors import UserError
from app.protocol.events import Event, Progress
from app.protocol.payloads import Result
from app.runners.attention_sources import open_language
from app.runners.chat_talk import PREFILL_CHUNK
from app.runners.lens import lens as lens_at
from app.worker.context import Ctx
from models.language.llama import Gains
from models.language.loading import LanguageModel

TOP = 10
LENS_TOP = 5
ROWS_AT_ONCE = 64
"""Rows of logits held at a time; 64 of SmolLM2's are 12 MB."""
Run = Generator[Event, None, Result]


def edit(job: AttentionEdit, ctx: Ctx) -> Run:
    """Read the text and go on greedily, once as the model is and once with some heads' outputs scaled."""
    with ExitStack() as stack:
        language, ids = yield from open_language(job, ctx, stack, "Changing heads")
        gains = _gains(job.edits, language, ctx)
        before = yield from _read(language, ids, job.max_new_tokens, None, ctx, "reading with all heads")
        after = yield from _read(language, ids, job.max_new_tokens, gains, ctx, "reading with the change")
        report = yield from _compare(job.edits, language, ids, before, after)
        facts = {name: getattr(report, name) for name in ("sentence", "before_text", "after_text", "before_loss", "after_loss")}
        return Result(files={"report": report}, facts=facts)


def _gains(edits: tuple[HeadEdit, ...], language: LanguageModel, ctx: Ctx) -> Gains:
    """One factor for each head of the layers that change."""
    config, gains = language.model.config, {}
    if not edits:
        raise UserError("No head is changed.", hint="Name a layer, a head and a factor; 0 removes the head.")
    for one in edits:
        if not (0 <= one.layer < config.n_layers and 0 <= one.head < config.n_heads):
            raise UserError(
                f"There is no head {one.head} in a layer {one.layer}.",
                hint=f"{language.name} has layers 0 to {config.n_layers - 1} with heads 0 to {config.n_heads - 1}.",
            )
        if not math.isfinite(one.factor):
            raise UserError("The factor of a head must be a finite number.", hint="0 removes it, 1 leaves it as it is.")
    if len({(one.layer, one.head) for one in edits}) < len(edits):
        raise UserError("A head is changed twice.", hint="Name each head once.")
    for one in edits:
        ones = torch.ones(config.n_heads, device=ctx.device, dtype=language.model.norm_out.weight.dtype)
        gains.setdefault(one.layer, ones)[one.head] = one.factor
    return gains


@dataclass(frozen=True)
class _Reading:
    """Hidden states (T, dim) of the text, and the tokens that followed."""

    hidden: Tensor
    new_ids: list[int]


def _read(
    language: LanguageModel, ids: list[int], new_tokens: int, gains: Gains | None, ctx: Ctx, note: str
) -> Generator[Event, None, _Reading]:
    model, room = language.model, min(new_tokens, language.context - len(ids))
    cache, states = model.new_cache(len(ids) + room), []
    while cache.length < len(ids):
        chunk = torch.tensor(ids[cache.length : cache.length + PREFILL_CHUNK], device=ctx.device)[None]  # (1, n)
        states.append(model(chunk, cache, gains=gains)[0])                  # (n, dim)
        yield Progress(done=cache.length, total=len(ids), unit="tokens", note=note)
    new_ids, last = [], states[-1][-1:]                                     # (1, dim)
    while len(new_ids) < room:
        token = int(model.head(last).argmax())
        new_ids.append(token)
        if token in language.tokenizer.stop_ids or len(new_ids) == room:
            break
        last = model(torch.tensor([[token]], device=ctx.device), cache, gains=gains)[0]
        yield Progress(done=len(new_ids), total=room, unit="tokens", note=f"{note}, writing on")
    return _Reading(torch.cat(states), new_ids)


def _compare(
    edits: tuple[HeadEdit, ...], language: LanguageModel, ids: list[int], before: _Reading, after: _Reading
) -> Generator[Event, None, EditReport]:
    head, kl, losses = language.model.head, [], torch.zeros(2, dtype=torch.float64)
    following = torch.tensor([*ids[1:], 0], device=before.hidden.device)
    for start in range(0, len(ids), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        laws = [head(reading.hidden[rows]).log_softmax(-1) for reading in (before, after)]  # 2 x (rows, V)
        kl += (laws[0].exp() * (laws[0] - laws[1])).sum(-1).clamp(min=0).tolist()
        said = torch.stack([law.gather(-1, following[rows, None])[:, 0] for law in laws]).double()  # (2, rows)
        losses -= said[:, : len(ids) - 1 - start].sum(-1).cpu()
        yield Progress(done=min(start + ROWS_AT_ONCE, len(ids)), total=len(ids), unit="tokens", note="comparing")
    loss = [float(total) / (len(ids) - 1) if len(ids) > 1 else math.nan for total in losses]
    nexts = [_next(head(reading.hidden[-1:])[0], language) for reading in (before, after)]
    texts = [language.tokenizer.decode(reading.new_ids) if reading.new_ids else "" for reading in (before, after)]
    return EditReport(
        edits=edits, before=nexts[0], after=nexts[1], before_text=texts[0], after_text=texts[1], before_loss=loss[0], after_loss=loss[1],
        kl=tuple(kl), sentence=_sentence(edits, nexts, loss, kl, [language.tokenizer.token_text(token) for token in ids]),
    )  # fmt: skip


def _next(logits: Tensor, language: LanguageModel) -> NextTokens:
    p, ids = logits.softmax(-1).topk(min(TOP, len(logits)))
    return NextTokens(texts=tuple(map(language.tokenizer.token_text, ids.tolist())), ids=tuple(ids.tolist()), p=tuple(p.tolist()))


def _sentence(edits: tuple[HeadEdit, ...], nexts: list[NextTokens], loss: list[float], kl: list[float], texts: list[str]) -> str:
    """What the change did, in words."""
    what = f"{len(edits)} heads changed" if len(edits) > 1 else f"Head {edits[0].head} of layer {edits[0].layer} times {edits[0].factor:g}"
    if not any(kl):
        return f"{what}: nothing changes."
    first, then = nexts[0].texts[0], nexts[1].texts[0]
    said = f"the next token stays {first!r}" if nexts[0].ids[0] == nexts[1].ids[0] else f"the next token changes from {first!r} to {then!r}"
    read = f"; the loss of the text goes from {loss[0]:.3f} to {loss[1]:.3f} nats a token" if len(texts) > 1 else ""
    most = max(range(len(kl)), key=kl.__getitem__)
    return f"{what}: {said}{read}; the law changes most after {texts[most]!r} (token {most}, KL {kl[most]:.3g} nats)."


def lens(job: AttentionLens, ctx: Ctx) -> Run:
    """What every layer would say next at a token of any text."""
    with ExitStack() as stack:
        language, ids = yield from open_language(job, ctx, stack, "The logit lens")
        return (yield from lens_at(tuple(ids), job.token, LENS_TOP, language, ctx))
