"""Where queries and keys come from: a language model that reads a text, CLIP's two towers, the UNet while it makes a picture, the lab.

`open_sight(job, ctx, stack)` runs the model if the store does not hold the source yet; the models run their fast attention all the while,
and weights are computed from queries and keys later, where somebody looks.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack
from functools import partial

import torch

from app.jobs.attention import SOURCES, AttentionJob
from app.protocol.attention import Looked
from app.protocol.errors import UserError
from app.protocol.events import Event, Progress
from app.protocol.payloads import Tokens
from app.runners.attention_pictures import clip_sight, unet_sight
from app.runners.captures import STORE, Capture, Heads, Part, Sight, Watched
from app.runners.lens import check_ids
from app.runners.small_models import small_sight
from app.worker.context import Ctx
from models import catalog
from models.language.llama import Llama
from models.language.loading import LanguageModel

CHARACTERS_A_TOKEN = 50
"""A text with more characters than this for each token of the context is refused before it is cut into tokens."""
PIECE = 256
"""Tokens of a text read at once; between two pieces others have their turn, and the run can be ended."""
TEXT_SENTENCE = (
    "Softmax weights of each head over the text, each row sums to 1 over the tokens before it and itself. They show where a head reads; "
    "attention is not an explanation of what the model says."
)


def open_sight(job: AttentionJob, ctx: Ctx, stack: ExitStack) -> Generator[Event, None, Sight]:
    """What a job looks at; the models stay pinned until the stack is closed."""
    if job.source == "text":
        return (yield from text_sight(job, ctx, stack))
    if job.source == "small":
        return (yield from small_sight(job, ctx, stack))
    if job.source.startswith("clip"):
        return (yield from clip_sight(job, ctx, stack))
    return (yield from unet_sight(job, ctx, stack))


def open_language(job: AttentionJob, ctx: Ctx, stack: ExitStack, what: str = "") -> Generator[Event, None, tuple[LanguageModel, list[int]]]:
    """The language model and the tokens of the job's text; UserError for other sources (`what` they are needed for) and bad texts."""
    if job.source != "text":
        raise UserError(f"{what} needs a language model, not {SOURCES[job.source]!r}.", hint="Choose the source text.")
    if not job.ids and not job.text.strip():
        raise UserError("There is no text to look at.", hint="Type or paste some words.")
    if not isinstance(catalog.spec(job.model), catalog.LanguageSpec):
        raise UserError(f"{job.model} is no language model whose attention can be shown.", hint="Choose smollm2, or language:PATH.")
    yield Progress(done=0, note="loading the model")
    language = stack.enter_context(ctx.zoo.use(job.model))
    if not isinstance(getattr(language, "model", None), Llama):
        raise UserError(f"{job.model} is of a family whose attention cannot be shown.", hint="LLaMA and its like can be looked into.")
    ids = list(job.ids) or _encode(job.text, language)
    check_ids(tuple(ids), language)
    return language, ids


def _encode(text: str, language: LanguageModel) -> list[int]:
    """Token ids; names of control tokens count as such, so that a chat's raw prompt can be pasted."""
    if len(text) > CHARACTERS_A_TOKEN * language.context:
        raise UserError(
            f"The text has {len(text):,} characters, and {language.name} holds {language.context:,} tokens.", hint="Look at a shorter one."
        )
    return language.tokenizer.encode(text, special=True)


def text_sight(job: AttentionJob, ctx: Ctx, stack: ExitStack) -> Generator[Event, None, Sight]:
    """A text that a language model reads."""
    language, ids = yield from open_language(job, ctx, stack)
    key, growing = ("text", tuple(ids), ctx.device), getattr(job, "growing", False)  # only of an overview
    capture = STORE.find(language.model, key)
    if capture is None:
        capture = Capture(looked={"text": _text_looked(language, ids)}, ids=torch.tensor([ids], device=ctx.device))
        STORE.keep(language.model, key, capture, ctx.device)  # so that others who want it find it while it is being read
    return Sight(capture=capture, source="text", read=partial(_read, capture, key, language.model, ctx, growing))


def _text_looked(language: LanguageModel, ids: list[int]) -> Looked:
    config = language.model.config
    texts = {token: language.tokenizer.token_text(token) for token in set(ids)}
    tokens = Tokens(texts=tuple(texts[token] for token in ids), ids=tuple(ids), label="text")
    return Looked(
        source="text", model=language.name, number_format=language.format, rows=tokens, columns=tokens, causal=True,
        layers=tuple(f"layer {n}" for n in range(config.n_layers)), heads=(config.n_heads,) * config.n_layers,
        scale=config.head_dim**-0.5, sentence=TEXT_SENTENCE,
    )  # fmt: skip


def _read(capture: Capture, key: tuple, model: Llama, ctx: Ctx, growing: bool, layer: int) -> Generator[Event, None, None]:
    """Read the text, for all layers, or, where so many queries and keys do not fit, for as many from `layer` on as do.

    A text that grows is read up to `layer` only, since reading takes its time from the writing.
    """
    wanted = _layers_that_fit(capture.ids.shape[1], model, STORE.room(ctx.device), layer)
    growing = growing and len(wanted) == model.config.n_layers
    wanted = range(layer + 1) if growing else wanted
    begun = STORE.beginning(model, key[1], ctx.device, wanted) if wanted.start == 0 else None
    capture.parts.clear()
    capture.reading = True
    try:
        capture.parts |= yield from _heads_of(capture, model, ctx, wanted, begun, growing)
    finally:
        capture.reading = False
    STORE.keep(model, key, capture, ctx.device)


def _heads_of(
    capture: Capture, model: Llama, ctx: Ctx, wanted: range, begun: Capture | None, growing: bool
) -> Generator[Event, None, dict[Part, Heads]]:
    """Queries and keys of some layers, read in pieces; a text that grows is read on from where `begun` ends."""
    ids, sides, start, cache = capture.ids, [], 0, None
    if begun is not None:
        start, cache, begun.cache = begun.ids.shape[1], begun.cache, None
    elif growing or ids.shape[1] > PIECE:
        cache = model.new_cache(None if growing else ids.shape[1])
    for first in range(start, ids.shape[1], PIECE):
        yield Progress(done=first, total=ids.shape[1], unit="tokens", note="reading the text")
        probe = Watched(ctx, "q", "k", layers=frozenset(wanted))
        model(ids[:, first : first + PIECE], cache, n_layers=wanted[-1] + 1, probe=probe)
        sides.append(probe)
    found = {}
    for n in wanted:
        before = [] if begun is None else [begun.parts["text", 0, n]]
        q = torch.cat([*(one.q for one in before), *(one.q[n][0].transpose(0, 1) for one in sides)], dim=1)  # (H, T, D)
        k = torch.cat([*(one.k for one in before), *(one.k[n][0].transpose(0, 1) for one in sides)], dim=1)  # (H_kv, T, D)
        found["text", 0, n] = Heads(q=q, k=k, causal=True)
    capture.cache = cache if growing else None
    return found


def _layers_that_fit(tokens: int, model: Llama, room: int, layer: int) -> range:
    c = model.config
    fits = room // (tokens * (c.n_heads + c.n_kv_heads) * c.head_dim * model.norm_out.weight.element_size())
    return range(c.n_layers) if fits >= c.n_layers else range(layer, min(layer + max(1, fits), c.n_layers))
