"""Runner of `train-moe`: fill the bank, train, tell losses and loads, install."""

from __future__ import annotations

import sysconfig
from collections.abc import Generator
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch

from app import paths
from app.jobs.moe import MixtureText, TrainMoe
from app.protocol.errors import UserError
from app.protocol.events import Event, Progress, Record
from app.protocol.payloads import Matrix, Result
from app.runners import training
from app.runners.conversations import read_conversations
from app.worker.context import Ctx
from models import catalog
from models.fitting import Average, averaged_weights, checkpoint_step
from models.language import deepseek_v3, mixture_training
from models.language.gating import Steering
from models.language.mixture_data import TOKENIZER, MixtureBank, MixtureTokenizer, Sources, mixture_tokenizer
from models.language.mixture_training import Balancing, MixtureLoss, start, train_mixture
from models.language.routing import random_router, utilisation
from models.language.sparse_decoder import SparseDecoder
from models.language.switch import SwitchDecoder
from models.language.tokenizer import Tokenizer

KEY = "builtin-moe"
CONVERSATIONS = "conversations.npz"
Run = Generator[Event, None, Result]


# --- text ---


def sources(job: MixtureText) -> Sources:
    """Where the documents of this job come from; UserError if a named file cannot be used."""
    library = Path(job.library) if job.library else Path(sysconfig.get_paths()["stdlib"])
    if not library.is_dir():
        raise UserError(f"There is no folder {library}.", hint="Name a folder of Python files, or leave the field empty.")
    path = Path(job.conversations) if job.conversations else paths.data_dir() / "training" / CONVERSATIONS
    if not job.conversations and not path.is_file():
        return Sources(library=library)
    rows = read_conversations(path)["tokens"]
    file = Path(job.tokenizer) if job.tokenizer else catalog.spec("smollm2").path
    if not file.is_file():
        raise UserError(
            f"The tokenizer of the conversations is missing: there is no {file}.",
            hint="Fetch it with `python main.py models fetch smollm2`, or name a GGUF file of the model that wrote them.",
        )
    return Sources(rows=rows, decode=lambda ids: opened(file).decode(ids), library=library)


@cache
def opened(file: Path) -> Tokenizer:
    """The tokenizer of a GGUF file, read when the first text is decoded."""
    return Tokenizer.from_gguf(file)


def mixture_bank(job: TrainMoe) -> Generator[Event, None, MixtureBank]:
    """The bank in the work folder, filled if it is not there, lacks a domain, or has another tokenizer than installed weights."""
    bank, found = MixtureBank(training.work_folder(job) / "moe"), sources(job)
    tokenizer = mixture_tokenizer(tokenizer_file(KEY)) if job.go_on else None
    if bank.is_filled and set(found.domains) <= set(bank.open().domains):
        if tokenizer is None or tokenizer.fingerprint == bank.tokenizer.fingerprint:
            return bank
    made = {"arithmetic": job.documents, "captions": max(1, job.documents * 3 // 10)}
    for said, note in enumerate(bank.fill(found, made, tokenizer=tokenizer)):
        yield Progress(done=said, total=0, unit="batches of documents", note=note)
    return bank


def tokenizer_file(key: str) -> Path:
    """Where the tokenizer of a built-in mixture lies."""
    path = catalog.spec(key).path
    return path.with_name(f"{path.name}-tokenizer.json")


def check_length(job: TrainMoe, bank: MixtureBank) -> None:
    """UserError if a domain has less text than one window."""
    if short := [domain for domain, stream in bank.streams.items() if len(stream) <= job.window + 1]:
        raise UserError(f"There is too little text of the kind {short[0]} for a window of {job.window} tokens.", hint="Name more text.")


# --- training ---


def train_moe(job: TrainMoe, ctx: Ctx) -> Run:
    """Train, with the loads and biases of the gates beside the losses; installs averaged weights and tokenizer if asked."""
    check_wishes(job)
    bank = yield from mixture_bank(job)
    check_length(job, bank)
    model = started(job, ctx)
    loss = MixtureLoss(model, bank.domains, lambda: balancing(ctx.job))
    average = Average(model, job.ema)
    config = replace(training.fit_config(job, ctx, checkpoint_name(job, bank.tokenizer)), betas=(0.9, 0.95), weight_decay=0.1)
    if checkpoint_step(config.folder):
        check_shape(model, averaged_weights(config.folder), config.folder)
    bank.tokenizer.save(config.folder / TOKENIZER)
    steps = train_mixture(model, bank, loss, job.batch_size, job.window, config, average)
    result = yield from with_routing(training.follow(job, ctx, steps), loss, model)
    if job.install:
        training.save(KEY, average.state)
        bank.tokenizer.save(tokenizer_file(KEY))
        ctx.zoo.drop(KEY)  # so that the next use reads what was written
    facts = {"parameters": sum(p.numel() for p in model.parameters()), "domains": ", ".join(bank.domains), "checkpoint": str(config.folder)}
    return Result(files=result.files, facts={**result.facts, **facts})


def checkpoint_name(job: TrainMoe, tokenizer: MixtureTokenizer) -> str:
    """A folder of its own for what cannot be the same training."""
    return f"moe-{job.model}-{balancing(job).kind}-{tokenizer.fingerprint[:8]}"


def check_shape(model: SparseDecoder, state: dict[str, torch.Tensor], folder: Path) -> None:
    """UserError if a checkpoint's weights are those of a mixture of another shape."""
    if {name: value.shape for name, value in model.state_dict().items()} != {name: value.shape for name, value in state.items()}:
        raise UserError(
            f"The checkpoint in {folder} is of a mixture of another shape than this program trains.", hint="Train in another folder."
        )


def check_wishes(job: TrainMoe) -> None:
    """UserError for what does not fit together."""
    if job.model == "switch" and job.balancing == "loss-free":
        raise UserError("The Switch model has no selection bias.", hint="Choose aux-loss or none for it, or train the deepseek model.")
    if job.model == "switch" and (job.install or job.go_on):
        raise UserError("The Switch model is not one of the built-in models.", hint="Its checkpoint stays in the work folder.")


def balancing(job: TrainMoe) -> Balancing:
    """The live wishes of the newest job."""
    kind = job.balancing if job.balancing != "auto" else ("loss-free" if job.model == "deepseek" else "aux-loss")
    capacity = job.capacity_factor if job.model == "switch" else None
    return Balancing(
        kind=kind, bias_step=job.bias_step, sequence_weight=job.sequence_weight, aux_weight=job.aux_weight, z_weight=job.z_weight,
        mtp_weight=job.mtp_weight, steer=Steering(top_k=job.top_k or None, capacity_factor=capacity, jitter=job.jitter),
    )  # fmt: skip


def started(job: TrainMoe, ctx: Ctx) -> SparseDecoder:
    """A fresh net, or the installed one."""
    if job.go_on:
        return catalog.load(KEY).to(ctx.device, torch.float32).requires_grad_(True).train()
    with torch.device("meta"):
        model = fresh_net(job.model)
    model.to_empty(device=ctx.device)
    start(model, job.seed)
    return model.train()


def fresh_net(name: str) -> SparseDecoder:
    if name == "deepseek":
        return deepseek_v3.DeepseekV3(deepseek_v3.DEEPSEEK_CONFIGS["mixture"])
    return SwitchDecoder(mixture_training.SWITCH_CONFIGS["mixture"])


def with_routing(events: Run, loss: MixtureLoss, model: SparseDecoder) -> Run:
    """The events of a training; each record of losses is followed by one of loads and biases."""
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            return end.value
        yield event
        if isinstance(event, Record) and event.channel == "train":
            yield Record(channel="routing", payload=routing_payload(event.payload[-1], loss, model))


def routing_payload(last: dict, loss: MixtureLoss, model: SparseDecoder) -> dict:
    """The newest batch: loads of its layers, biases as they are now, and what chance would show."""
    layers = sorted(loss.counts)
    loads = torch.stack([utilisation(loss.counts[layer]) for layer in layers])  # (L, E)
    names = tuple(f"layer {layer}" for layer in layers)
    biases = model.biases() if isinstance(model, deepseek_v3.DeepseekV3) else {}
    bias = torch.stack([biases[layer] for layer in layers]).cpu() if biases else None
    return {
        "step": last["step"], "layers": layers, "max_vio": last["max_vio"],
        "chance": random_router(loads.shape[1], loss.top_k, loss.tokens).max_vio,
        "load": Matrix(loads.numpy(), row_labels=names, label="load / mean load"),
        "bias": None if bias is None else Matrix(bias.numpy(), row_labels=names, label="selection bias"),
    }  # fmt: skip
