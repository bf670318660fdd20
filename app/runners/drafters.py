"""Which drafters there are for a model, which can run, which is the fastest here, and how one is made.

A drafter that needs trained weights has them in the catalog under `MODEL/KIND` and needs the very model it was trained for: its vocabulary
and its states. "auto" stands for whatever `app/runners/decoding_bench.py` has measured to be the fastest on this machine, plain decoding
included.
"""

from __future__ import annotations

import hashlib
import json
import platform
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from app import paths
from app.jobs.chat import DRAFTER_TITLES
from app.protocol.chat import DrafterStatus
from app.protocol.errors import UserError
from app.storage import write_now
from app.worker.context import Ctx
from models import catalog
from models.decoding.draft_length import Adaptive, FixedLength, LengthPolicy
from models.decoding.draft_model import DraftModel
from models.decoding.drafting import Drafter, NoDrafter
from models.decoding.eagle import EagleDrafter
from models.decoding.early_exit import EarlyExit
from models.decoding.lookup_first import LookupFirst
from models.decoding.medusa import MedusaDrafter
from models.decoding.mtp import MtpDrafter
from models.decoding.narrow import unembedding
from models.decoding.ngram_memory import NgramDrafter, NgramMemory
from models.decoding.prompt_lookup import PromptLookup
from models.decoding.speculative import Typical
from models.drafters import packed
from models.language.formats import PackedLinear
from models.language.loading import LanguageModel

TRAINED = ("ngram", "draft", "medusa", "mtp", "eagle")
KINDS = ("none", "lookup", "early-exit", *TRAINED)
EXIT_SHARE = 2 / 3
"""Early exit leaves after this share of the layers."""
SENTENCES: dict[str, str] = {
    "none": "One token a pass: what all others are measured against.",
    "lookup": "Proposes what followed the same words earlier in the text; strong where text is copied.",
    "ngram": "Prompt lookup, and where nothing was said before: what this model usually says next, counted in its own writing.",
    "early-exit": "The model's own first layers guess; slower here, since the model was not trained for it.",
    "draft": "A small model of the same vocabulary writes ahead.",
    "medusa": "Extra heads guess several places ahead, checked as a tree.",
    "mtp": "One layer a place ahead, on the model's own states.",
    "eagle": "Prompt lookup, and where nothing repeats one layer continues the model's states, token by token.",
}
MEASURED = "decoding-speed.json"


@dataclass(frozen=True)
class Choice:
    """The drafter that runs, and why."""

    name: str
    drafter: Drafter
    reason: str
    plain_tokens_per_s: float | None = None
    notes: tuple[str, ...] = ()


def key_of(model: str, kind: str) -> str:
    """The catalog's key of a drafter; `smollm2@fp32`, a model in another number format, has the drafters of `smollm2`."""
    return f"{model.partition('@')[0]}/{kind}"


def blocked(kind: str, model: str) -> str:
    """Why a kind of drafter cannot run for a model of the catalog; empty if it can."""
    if kind not in TRAINED:
        return ""
    key = key_of(model, kind)
    if key not in catalog.SPECS:
        return f"There is no {DRAFTER_TITLES[kind]} drafter for this model: one has to be trained on what the model itself writes."
    if not catalog.available(key):
        return f"The weights of the {DRAFTER_TITLES[kind]} drafter are missing."
    return ""


def runnable(model: str) -> list[str]:
    """The kinds that can run for a model of the catalog."""
    return [kind for kind in KINDS if not blocked(kind, model)]


def open_drafter(kind: str, language: LanguageModel, model: str, ctx: Ctx, stack: ExitStack, *, typical: bool = False) -> Drafter:
    """A drafter for one text; its weights stay pinned until `stack` closes. UserError if it cannot run."""
    if problem := blocked(kind, model):
        raise UserError(problem, hint=f"Choose another drafter, or train it: `python main.py run train-drafter --kind {kind} --install`.")
    if kind not in TRAINED:
        return _untrained(kind, language, ctx)
    net = stack.enter_context(ctx.zoo.use(key_of(model, kind)))
    if kind == "ngram":
        _check_memory(net, language)
        return LookupFirst(NgramDrafter(net))
    _check_fit(kind, net, language)
    if isinstance(language.model.unembed, PackedLinear):
        packed(net)
    if kind == "draft":
        return DraftModel(net.with_head_of(language.model), language.context, ctx.device)
    if kind == "medusa":
        return MedusaDrafter(net, unembed(language, net.kept), typical=Typical() if typical else None)
    if kind == "mtp":
        return MtpDrafter(net, unembed(language, net.kept), language.context)
    return LookupFirst(EagleDrafter(net, language.model.tokens, unembed(language, net.kept), language.context, ctx.device))


def _untrained(kind: str, language: LanguageModel, ctx: Ctx) -> Drafter:
    if kind == "lookup":
        return PromptLookup()
    if kind == "early-exit":
        return EarlyExit(language.model, max(1, round(EXIT_SHARE * language.model.config.n_layers)), ctx.device)
    return NoDrafter()


def _check_fit(kind: str, net: nn.Module, language: LanguageModel) -> None:
    """A drafter of another vocabulary or of other states must not run: it would only ever be rejected, or fail inside."""
    config, target = net.config, language.model.config
    inner = getattr(config, "block", config)
    highest = config.vocab_size if kind == "draft" else int(net.kept.max()) + 1
    if kind != "draft" and int(net.kept.min()) < 0:
        raise UserError(f"The {DRAFTER_TITLES[kind]} drafter names tokens that do not exist.", hint="Get its file again, or train it.")
    if highest > target.vocab_size:
        raise UserError(
            f"The {DRAFTER_TITLES[kind]} drafter was made for another vocabulary than that of {language.name}: "
            f"it knows token {highest - 1:,}, and that has {target.vocab_size:,}.",
            hint="Choose another drafter.",
        )
    if inner.dim != target.dim:
        raise UserError(
            f"The {DRAFTER_TITLES[kind]} drafter reads states of {inner.dim} numbers, {language.name} has {target.dim}.",
            hint="Choose another drafter.",
        )


def _check_memory(net: NgramMemory, language: LanguageModel) -> None:
    """The same for a memory of n-grams, whose keys are made from the very token ids."""
    ours, theirs = net.config.vocab_size, language.model.config.vocab_size
    if ours != theirs:
        raise UserError(
            f"The n-grams were counted in a vocabulary of {ours:,} tokens, {language.name} has {theirs:,}.", hint="Choose another drafter."
        )
    if not net.is_sound():
        raise UserError("The memory of n-grams names tokens that do not exist.", hint="Get its file again, or count it again.")


# --- the output matrix of a drafter ---

_unembeds: weakref.WeakKeyDictionary[nn.Module, dict[bytes, Callable[[Tensor], Tensor]]] = weakref.WeakKeyDictionary()


def unembed(language: LanguageModel, kept: Tensor) -> Callable[[Tensor], Tensor]:
    """From states to logits over the `kept` tokens, with the model's own matrix in the model's own number format."""
    model = language.model
    if torch.equal(kept.cpu(), torch.arange(model.config.vocab_size, dtype=kept.dtype)):
        return model.head
    ready, which = _unembeds.setdefault(model, {}), hashlib.sha256(kept.cpu().numpy().tobytes()).digest()
    if which not in ready:
        rows = unembedding(model.tokens.weight, kept)
        ready[which] = PackedLinear(rows.weight) if isinstance(model.unembed, PackedLinear) else rows
    return ready[which]


# --- draft lengths ---

_policies: weakref.WeakKeyDictionary[nn.Module, dict[str, Adaptive]] = weakref.WeakKeyDictionary()


def length_policy(model: nn.Module, drafter: str, draft_length: int, *, greedy: bool) -> LengthPolicy:
    """A fixed length, or one that adapts. Greedy texts do not depend on the length, so what was learned there is kept for the next text;
    above temperature 0 every text begins anew, and equal jobs give equal texts."""
    if drafter == "none":
        return FixedLength(0)
    if draft_length:
        return FixedLength(draft_length)
    if not greedy:
        return Adaptive(clock=False)
    return _policies.setdefault(model, {}).setdefault(drafter, Adaptive())


# --- what was measured on this machine ---


@dataclass(frozen=True)
class Measured:
    """Tokens a second by kind, on this machine with this model, and when."""

    tokens_per_s: dict[str, float]
    when: str

    @property
    def best(self) -> str:
        return max(self.tokens_per_s, key=self.tokens_per_s.__getitem__)

    def speedup(self, kind: str) -> float | None:
        plain, own = self.tokens_per_s.get("none"), self.tokens_per_s.get(kind)
        return own / plain if plain and own else None

    def words(self, kind: str) -> str:
        """How fast a kind was, against plain decoding."""
        own, speedup = self.tokens_per_s[kind], self.speedup(kind)
        return f"{own:.1f} tokens/s" + (f", {speedup:.2f} x plain" if speedup and kind != "none" else "")


def measured(model: str) -> Measured | None:
    """What was measured for a model; None if nothing was, or machine or drafters have changed since."""
    found = _read().get(_identity(model))
    try:
        speeds = {str(kind): float(speed) for kind, speed in found["tokens_per_s"].items() if kind in KINDS}
        return Measured(speeds, str(found["when"])) if speeds else None
    except (TypeError, KeyError, ValueError, AttributeError):
        return None


def remember_measured(model: str, tokens_per_s: dict[str, float], when: str) -> None:
    """Keep what was measured; earlier measurements of other machines and models stay."""
    table = _read()
    table[_identity(model)] = {"tokens_per_s": tokens_per_s, "when": when}
    write_now(_file(), json.dumps(table, indent=1) + "\n")


def _file() -> Path:
    return paths.cache_dir() / MEASURED


def _read() -> dict[str, object]:
    try:
        table = json.loads(_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return table if isinstance(table, dict) else {}


def _identity(model: str) -> str:
    """Everything whose change makes an old measurement worthless."""
    threads, files = torch.get_num_threads(), []
    for kind in ("", *TRAINED):
        key = key_of(model, kind) if kind else model
        try:
            size = catalog.spec(key).bytes
        except catalog.CheckpointError:
            size = 0
        files.append(f"{kind}={size}")
    machine = f"{platform.node()} {platform.processor() or platform.machine()}"
    return f"{model}|{machine}|{threads} threads|torch {torch.__version__}|{' '.join(files)}"


def statuses(model: str) -> tuple[DrafterStatus, ...]:
    """Every kind of drafter, whether it can run, and what was measured; loads nothing."""
    known = measured(model)
    return tuple(
        DrafterStatus(
            name=kind, title=DRAFTER_TITLES[kind], ready=not (problem := blocked(kind, model)), sentence=problem or SENTENCES[kind],
            lossless=True, tokens_per_s=known.tokens_per_s.get(kind) if known else None, speedup=known.speedup(kind) if known else None,
        )  # fmt: skip
        for kind in KINDS
    )
