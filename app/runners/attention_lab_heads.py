"""Whose q, k and v the attention lab works on: a head of a language model that reads a text, or random numbers.

The last few layers that were read are kept, so that a dragged slider does not run the model again; results do not depend on it.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor

from app.jobs.attention import Attention
from app.jobs.attention_lab import HeadJob
from app.protocol.attention_lab import LabHead
from app.protocol.errors import UserError
from app.protocol.events import Event, Progress
from app.protocol.payloads import Tokens
from app.runners.attention_sources import Watched, open_language
from app.worker.context import Ctx
from models.language.llama import Llama
from models.language.loading import LanguageModel

MOST_TOKENS = 2048
"""Of a text whose maps are wanted whole: the naive way holds a matrix of so many rows and columns for each mechanism."""
MOST_KEPT = 8
Layer = tuple[Tensor, Tensor, Tensor]
"""q (H, T, D), k and v (H_kv, T, D), fp32."""


@dataclass(frozen=True, eq=False)
class Qkv:
    """q, k, v of one head, (1, 1, T, D) each, fp32, and what they are."""

    q: Tensor
    k: Tensor
    v: Tensor
    head: LabHead

    @property
    def parts(self) -> Layer:
        return self.q, self.k, self.v

    def first(self, count: int) -> Layer:
        """Of the first tokens only."""
        q, k, v = (x[:, :, :count].contiguous() for x in self.parts)
        return q, k, v


# --- heads ---


def open_head(job: HeadJob, ctx: Ctx) -> Generator[Event, None, Qkv]:
    """The head a job names; UserError with a sentence for what is not there."""
    yield Progress(done=0, note="reading q, k and v")
    if job.source == "random":
        return random_head(job, ctx)
    with ExitStack() as stack:
        language, ids = yield from open_language(Attention(model=job.model, text=job.text, device=job.device), ctx, stack)
        return head_of(job, ctx, language, ids)


def random_head(job: HeadJob, ctx: Ctx) -> Qkv:
    """Entries of q, k and v from N(0, 1), the same for a seed on every device."""
    generator = torch.Generator().manual_seed(job.seed)
    q, k, v = (torch.randn(1, 1, job.tokens, job.width, generator=generator).to(ctx.device) for _ in range(3))
    tokens = Tokens(texts=tuple(str(n) for n in range(job.tokens)), ids=tuple(range(job.tokens)), label="places")
    sentence = "Entries drawn from N(0, 1), as at the start of a training: scores have no structure, and every key is as good as another."
    head = LabHead(
        title=f"random, d = {job.width}", sentence=sentence, tokens=tokens, causal=job.causal, width=job.width, scale=job.width**-0.5
    )
    return Qkv(q, k, v, head)


def head_of(job: HeadJob, ctx: Ctx, language: LanguageModel, ids: list[int]) -> Qkv:
    """A head of a model that reads tokens `ids`."""
    config = language.model.config
    for what, number, count in (("layer", job.layer, config.n_layers), ("head", job.head, config.n_heads)):
        if number >= count:
            raise UserError(f"{language.name} has no {what} {number}.", hint=f"It has {what}s 0 to {count - 1}.")
    if not 2 <= len(ids) <= MOST_TOKENS:
        few = len(ids) < 2
        raise UserError(
            f"The text has {'only one token' if few else f'{len(ids):,} tokens, more than the {MOST_TOKENS:,} that are compared'}.",
            hint="Write some more." if few else "Shorten it.",
        )
    q, k, v = read_layer(ctx, language.model, tuple(ids), job.layer)
    shared = job.head * len(k) // len(q)  # which key head the query head looks at
    texts = tuple(language.tokenizer.token_text(token) for token in ids)
    head = LabHead(
        title=f"{language.name}, layer {job.layer}, head {job.head}", tokens=Tokens(texts=texts, ids=tuple(ids), label="text"),
        sentence="A head that was trained with softmax: what another attention makes of it says how this head attends, "
        "not how good a model trained with the other one would be.",
        causal=job.causal, width=config.head_dim, scale=config.head_dim**-0.5, layers=config.n_layers, heads=config.n_heads,
    )  # fmt: skip
    return Qkv(q[None, job.head, None], k[None, shared, None], v[None, shared, None], head)


_KEPT: OrderedDict[tuple[tuple[int, ...], int], tuple[weakref.ref[Llama], Layer]] = OrderedDict()


def read_layer(ctx: Ctx, model: Llama, ids: tuple[int, ...], layer: int) -> Layer:
    """q, k, v of a layer over a text; the model runs up to that layer if they are not at hand."""
    kept = _KEPT.get((ids, layer))
    if kept is not None and kept[0]() is model:
        _KEPT.move_to_end((ids, layer))
        return kept[1]
    probe = Watched(ctx, "q", "k", "v", layers=frozenset([layer]))
    model(torch.tensor([ids], device=ctx.device), n_layers=layer + 1, probe=probe)
    found = tuple(side[layer][0].transpose(0, 1).float().contiguous() for side in (probe.q, probe.k, probe.v))  # (H, T, D)
    _KEPT[ids, layer] = weakref.ref(model), found
    while len(_KEPT) > MOST_KEPT:
        _KEPT.popitem(last=False)
    return found
