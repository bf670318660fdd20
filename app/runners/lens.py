"""The logit lens: what every layer would say next at one place of a text, if it were the last (nostalgebraist, 2020)."""

from __future__ import annotations

from collections.abc import Generator

import torch
from torch import Tensor

from app.protocol.chat import Alternative, LensRow
from app.protocol.errors import UserError
from app.protocol.events import Event, Progress
from app.protocol.payloads import Result
from app.runners.chat_memory import memory_of
from app.runners.chat_talk import PREFILL_CHUNK
from app.worker.context import Ctx
from models.language.loading import LanguageModel
from models.nn.probe import Probe


def check_ids(ids: tuple[int, ...], language: LanguageModel) -> None:
    """UserError for ids of another model and for texts that do not fit."""
    size = language.model.config.vocab_size
    if any(not 0 <= token < size for token in ids):
        raise UserError(f"The text holds tokens that {language.name} does not know.", hint="Choose the model that wrote it.")
    if len(ids) > language.context:
        raise UserError(f"The text has {len(ids):,} tokens, {language.name} holds {language.context:,}.", hint="Look at a shorter one.")


def lens(ids: tuple[int, ...], position: int, top: int, language: LanguageModel, ctx: Ctx) -> Generator[Event, None, Result]:
    """Every layer's state at one place (-1: the last), through the final norm and the head; files "rows", facts of the place."""
    if not ids:
        raise UserError("There is no text to look into.", hint="Let the model answer something first.")
    check_ids(ids, language)
    place = len(ids) - 1 if position < 0 else position
    if place >= len(ids):
        raise UserError(f"The text has {len(ids)} tokens, there is no place {place}.", hint="Choose an earlier one.")
    states = yield from _residuals(ids[: place + 1], language, ctx)         # (layers + 1, dim)
    following = ids[place + 1] if place + 1 < len(ids) else None
    rows = _lens_rows(states, following, top, language)
    text = language.tokenizer.token_text
    facts = {"position": place, "token": text(ids[place]), "next": "" if following is None else text(following)}
    return Result(files={"rows": rows}, facts=facts)


def _residuals(ids: tuple[int, ...], language: LanguageModel, ctx: Ctx) -> Generator[Event, None, Tensor]:
    """The residual stream at the last place, the embedding first (layers + 1, dim); what is remembered of the text is not read again."""
    cache = memory_of(language.model).look(ids) or language.model.new_cache(len(ids))
    probe = Probe("resid")
    while cache.length < len(ids):
        end = min(cache.length + PREFILL_CHUNK, len(ids))
        chunk = torch.tensor(ids[cache.length : end], device=ctx.device)[None]  # (1, n)
        language.model(chunk, cache, probe=probe if end == len(ids) else None)
        yield Progress(done=end, total=len(ids), unit="tokens", note="reading the text")
    return torch.stack([probe.resid[layer][0, -1] for layer in sorted(probe.resid)])


def _lens_rows(states: Tensor, following: int | None, top: int, language: LanguageModel) -> tuple[LensRow, ...]:
    model = language.model
    logp = model.head(model.norm_out(states)).log_softmax(-1)               # (layers + 1, V)
    p = logp.exp()
    best, entropy = p.topk(top, -1), -(p * logp.clamp_min(-1e4)).sum(-1)
    rows = []
    for layer in range(len(states)):
        pairs = zip(best.indices[layer].tolist(), best.values[layer].tolist(), strict=True)
        rank = -1 if following is None else int((p[layer] > p[layer, following]).sum())
        rows.append(LensRow(
            layer=layer, top=tuple(Alternative(id=i, text=language.tokenizer.token_text(i), p=value) for i, value in pairs),
            p_next=0.0 if following is None else float(p[layer, following]), rank_next=rank, entropy=float(entropy[layer]),
        ))  # fmt: skip
    return tuple(rows)
