"""Opens a mixture of experts by its name, cuts a text into its tokens, makes wishes about the gates fit it, and lets it read and write.

A model is the built-in mixture, a folder of safetensors (`moe:PATH`, `language:PATH`), or the checkpoint of a training. Read next:
`routing_book.py`, which takes down what the gates decide.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from app.jobs.routing import BUILT_IN, TRAIN, RoutingSource, Steered
from app.protocol.errors import UserError
from app.protocol.events import Event, Progress
from app.protocol.routing import RoutedModel
from app.runners.moe import tokenizer_file
from app.runners.moe_evaluation import from_checkpoint
from app.runners.routing_book import Book
from app.worker.context import Ctx
from models import catalog
from models.decoding.draft_length import FixedLength
from models.decoding.drafting import NoDrafter
from models.decoding.generate import Generation
from models.decoding.prompt_lookup import PromptLookup
from models.decoding.sampling import SamplingConfig
from models.language.gating import RoutingTrace, Steering
from models.language.loading import LanguageModel
from models.language.mixture_data import TOKENIZER, mixture_tokenizer
from models.language.sparse_decoder import SparseDecoder
from models.language.tokenizer import Tokenizer
from models.nn.kvcache import KVCache

PREFIXES = ("moe:", "language:")
CHUNK = 128
"""Tokens of a text read at once; a model with capacity reads all at once, since its places are counted per pass."""


@dataclass(frozen=True, eq=False)
class Opened:
    """A model with experts and what is needed to read a text. `begin` stands before every text."""

    net: SparseDecoder
    tokenizer: Tokenizer
    title: str
    number_format: str
    begin: tuple[int, ...]
    stop_ids: frozenset[int]

    @property
    def context(self) -> int:
        return self.net.config.max_len

    @property
    def layers(self) -> tuple[int, ...]:
        return tuple(sorted(self.net.gated_layers))

    @property
    def n_experts(self) -> int:
        return self.net.config.n_experts

    @property
    def capacity_factor(self) -> float | None:
        return getattr(self.net.config, "capacity_factor", None)

    @property
    def has_bias(self) -> bool:
        return hasattr(self.net, "biases")


# --- opening ---


@contextmanager
def opened(job: RoutingSource, ctx: Ctx) -> Iterator[Opened]:
    """The job's model, pinned; UserError with one sentence if it is missing or has no experts."""
    with ExitStack() as stack:
        if job.checkpoint:
            folder = Path(job.checkpoint)
            net = stack.enter_context(from_checkpoint(folder, ctx))
            yield _built_in(net, mixture_tokenizer(folder / TOKENIZER), f"checkpoint {folder.name}")
            return
        key = catalog_key(job.model)
        check_there(key)
        found = stack.enter_context(ctx.zoo.use(key))
        net = found.model if isinstance(found, LanguageModel) else found
        if not isinstance(net, SparseDecoder) or not net.gated_layers:
            raise UserError(f"{catalog.spec(key).title} has no experts.", hint=f"Choose {BUILT_IN}, or a mixture of experts by moe:PATH.")
        if isinstance(found, LanguageModel):
            yield _foreign(found)
        else:
            yield _built_in(net, mixture_tokenizer(tokenizer_file(key)), catalog.spec(key).title)


def catalog_key(model: str) -> str:
    """moe:PATH and language:PATH with the path made whole; other names as they are."""
    prefix = next((prefix for prefix in PREFIXES if model.startswith(prefix)), "")
    if not prefix:
        return model
    path = Path(model.removeprefix(prefix)).expanduser().absolute()
    return catalog.LANGUAGE + str(path)


def check_there(key: str) -> None:
    """UserError if the model's weights are not on this machine."""
    spec = catalog.spec(key)
    if spec.bytes == 0 and key == BUILT_IN:
        raise UserError("The built-in mixture of experts has not been trained yet.", hint=f"Train it: `{TRAIN}`, or on the page Training.")
    if spec.bytes == 0 and key.startswith(catalog.LANGUAGE):
        raise UserError(f"There is no model at {spec.path}.", hint="Name a folder with config.json, tokenizer.json and safetensors.")


def _built_in(net: SparseDecoder, tokenizer, title: str) -> Opened:
    if tokenizer.vocab_size > net.config.vocab_size:
        raise UserError(
            f"The tokenizer of {title} has {tokenizer.vocab_size} tokens, its embedding only {net.config.vocab_size}.",
            hint="They belong to different trainings; train it again.",
        )
    return Opened(net, tokenizer, title, words_of(net), (tokenizer.end_id,), frozenset({tokenizer.end_id}))


def _foreign(language: LanguageModel) -> Opened:
    tokenizer = language.tokenizer
    bos = tuple(tokenizer.encode(tokenizer.bos, special=True)) if tokenizer.bos else ()
    return Opened(language.model, tokenizer, language.name, language.format, bos, frozenset(tokenizer.stop_ids))


def words_of(net: SparseDecoder) -> str:
    """The numbers its weights are kept in."""
    return str(net.norm_out.weight.dtype).removeprefix("torch.").replace("float", "fp").replace("bfp", "bf")


def gate_words(net: SparseDecoder) -> str:
    """How the affinities of its gates come about."""
    return "sigmoid" if hasattr(net, "biases") else "softmax"


def described(model: Opened, job: RoutingSource, steer: Steering) -> RoutedModel:
    """What is looked at, for whoever shows it."""
    config, groups = model.net.config, getattr(model.net.config, "groups", None)
    shared = getattr(config, "n_shared", 1 if hasattr(config, "shared_dim") else 0)
    limited = groups is not None and groups.allowed < groups.count
    return RoutedModel(
        model=job.checkpoint or job.model, title=model.title, number_format=model.number_format, layers=model.layers,
        n_experts=config.n_experts, top_k=steer.top_k or config.top_k, n_shared=shared, gate=gate_words(model.net),
        has_bias=model.has_bias, groups=(groups.count, groups.allowed) if limited else None,
        capacity_factor=steer.capacity_factor or model.capacity_factor, context=model.context, steered=steered_words(steer),
    )  # fmt: skip


# --- text and wishes ---


def encoded(text: str, model: Opened) -> list[int]:
    """Token ids, with what stands before every text; UserError if there is no text or it is too long."""
    if not text.strip():
        raise UserError("There is no text to read.", hint="Write or paste some.")
    ids = [*model.begin, *model.tokenizer.encode(text)]
    if len(ids) > model.context:
        raise UserError(f"The text has {len(ids):,} tokens, and {model.title} holds {model.context:,}.", hint="Shorten it.")
    return ids


def steering(job: Steered, model: Opened) -> Steering:
    """The job's wishes, checked against the model; UserError or RoutingError with a sentence."""
    steer = Steering(
        off=frozenset(job.off), force=frozenset(job.force), top_k=job.experts_a_token or None, use_bias=job.use_bias,
        capacity_factor=job.capacity_factor or None,
    )  # fmt: skip
    steer.check(model.net.gated_layers, model.n_experts)
    k = steer.top_k or model.net.config.top_k
    for layer in model.layers:
        off, forced = (sum(at == layer for at, _ in pairs) for pairs in (steer.off, steer.force))
        if off == model.n_experts:
            raise UserError(f"All {off} experts of layer {layer} are switched off.", hint="Leave at least one on.")
        if forced > k:
            raise UserError(f"{forced} experts of layer {layer} are forced, and a token visits {k}.", hint="Let it visit more.")
    if not job.use_bias and not model.has_bias:
        raise UserError(f"{model.title} has no selection bias to remove.", hint="Models of the DeepSeek-V3 type have one.")
    if job.capacity_factor and not hasattr(model.net.config, "capacity_factor"):
        raise UserError(f"{model.title} turns no token away, so it has no capacity to change.", hint="Models of the Switch type have one.")
    return steer


def steered_words(steer: Steering) -> tuple[str, ...]:
    """What is changed at the gates, in words."""
    found = [f"layer {layer}: expert {expert} off" for layer, expert in sorted(steer.off)]
    found += [f"layer {layer}: expert {expert} forced" for layer, expert in sorted(steer.force)]
    if steer.top_k is not None:
        found.append(f"{steer.top_k} expert{'s' if steer.top_k != 1 else ''} a token")
    if not steer.use_bias:
        found.append("without the selection bias")
    if steer.capacity_factor is not None:
        found.append(f"capacity factor {steer.capacity_factor:g}")
    return tuple(found)


# --- reading and writing ---


@dataclass
class Looker:
    """The model as the decoding loop sees it: keeps the trace and the logits of its newest pass."""

    model: Opened
    steer: Steering
    start: int = 0
    ids: list[int] = field(default_factory=list)
    trace: RoutingTrace = field(default_factory=RoutingTrace)
    logits: Tensor = field(default_factory=lambda: torch.empty(0))

    def new_cache(self, max_len: int) -> KVCache:
        return self.model.net.new_cache(max_len)

    def step(self, ids: Tensor, cache: KVCache, *, last_only: bool = False, **how) -> tuple[Tensor, Tensor]:
        self.start, self.ids, self.trace = cache.length, ids.tolist(), RoutingTrace()
        self.logits, hidden = self.model.net.step(ids, cache, trace=self.trace, steer=self.steer, **how)
        return (self.logits[-1:] if last_only else self.logits), hidden


def read_text(looker: Looker, ids: list[int], book: Book, ctx: Ctx, note: str = "reading the text") -> Generator[Event, None, KVCache]:
    """Read a whole text into a cache, pass by pass; the book takes everything down."""
    cache = looker.new_cache(looker.model.context)
    limit = looker.steer.capacity_factor or looker.model.capacity_factor
    size = len(ids) if limit else CHUNK
    for start in range(0, len(ids), size):
        part = ids[start : start + size]
        looker.step(torch.tensor(part, device=ctx.device), cache)
        book.take(looker, len(part), "prompt")
        book.tell()
        yield Progress(done=start + len(part), total=len(ids), unit="tokens", note=note)
    return cache


def generation(job: Steered, looker: Looker, ids: list[int], cache: KVCache | None, ctx: Ctx, draft_length: int = 0) -> Generation:
    """A text in the making that goes on from `ids`, which `cache` holds."""
    return Generation(
        net=looker, prompt_ids=ids, drafter=PromptLookup() if draft_length else NoDrafter(),
        sampling=SamplingConfig(temperature=job.temperature, seed=job.seed), length=FixedLength(draft_length),
        stop_ids=looker.model.stop_ids, max_new_tokens=job.max_new_tokens, context=looker.model.context, top=1, cache=cache,
        cached_ids=ids if cache is not None else (), device=ctx.device,
    )  # fmt: skip


def written(writing: Generation, model: Opened) -> str:
    """What was written after the prompt, without the mark of its end."""
    new = writing.ids[len(writing.prompt_ids) :]
    return model.tokenizer.decode(new[:-1] if new and new[-1] in model.stop_ids else new)
