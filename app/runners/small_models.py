"""Maps of the small language models that the lab trains: every weight of every layer, over one of the texts they are tested on.

A model is named by its training, and trained again where it is not at hand. Its attention may be any of the table, so maps come from the
model itself, whole, instead of from queries and keys.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack

import torch

from app.jobs.attention import AttentionJob, small_training
from app.jobs.attention_lab import TrainAttentions
from app.protocol.attention import Looked
from app.protocol.events import Event
from app.protocol.payloads import Tokens
from app.runners.attention_lab_training import TEST_SEED, TEST_TEXTS, tasks, trained
from app.runners.captures import STORE, Capture, Sight, Weights
from app.worker.context import Ctx
from models.attention.signature import ROWS_SUM_TO_ONE, Attended
from models.attention.small_lm import SmallLm
from models.attention.table import kind

SENTENCE = (
    "Every weight of a small model trained in the lab, over a text that no update saw. {about} Attention shows where a head reads; it is "
    "not an explanation."
)


def small_sight(job: AttentionJob, ctx: Ctx, _stack: ExitStack) -> Generator[Event, None, Sight]:
    """A trained small model on one of the texts it is tested on."""
    training = small_training(job.training)
    model = yield from trained(training, ctx)
    place = job.seed % TEST_TEXTS
    key = ("small", training, place, ctx.device)
    capture = STORE.find(model, key)
    if capture is None:
        capture = _capture(model, training, place, ctx)
        STORE.keep(model, key, capture, ctx.device)
    return Sight(capture=capture, source="small")


@torch.no_grad()
def _capture(model: SmallLm, training: TrainAttentions, place: int, ctx: Ctx) -> Capture:
    _, testing = tasks(training)
    ids = testing.at(0, TEST_TEXTS, training.length, TEST_SEED)[0][place : place + 1].to(ctx.device)  # (1, T)
    maps: list[Attended] = []
    model(ids, maps)
    tokens = Tokens(texts=tuple(testing.words(ids[0].tolist())), ids=tuple(ids[0].tolist()), label="text")
    parts = {("small", 0, layer): _weights(found) for layer, found in enumerate(maps)}
    return Capture(looked={"small": _looked(model, training, tokens, list(parts.values()), ctx)}, parts=parts, ids=ids)


def _weights(found: Attended) -> Weights:
    weights, law = found.weights[0].float(), found.normalisation == ROWS_SUM_TO_ONE
    return Weights(weights=weights, causal=True, softmax=law, kind=f"weights, {found.normalisation}")


def _looked(model: SmallLm, training: TrainAttentions, tokens: Tokens, parts: list[Weights], ctx: Ctx) -> Looked:
    entry, heads = kind(model.config.attention), tuple(part.shape[0] for part in parts)
    name, unit = "layer" if len(parts) == training.n_layers else "unit", training.mechanisms[0]
    return Looked(
        source="small", model=f"Small model, {training.task}, {unit}", number_format=str(torch.float32).removeprefix("torch."), rows=tokens,
        columns=tokens, causal=True, layers=tuple(f"{name} {n}" for n in range(len(parts))), heads=heads, scale=0.0,
        sentence=SENTENCE.format(about=f"{entry.title}: {entry.about}"),
    )  # fmt: skip
