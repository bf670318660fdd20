"""Runners of the training jobs: fill the bank, train, report, install."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from app import paths
from app.jobs.training import PictureTraining, TrainClip, TrainControl, TrainFlow, Training, TrainJudge, TrainUnet, TrainVae
from app.protocol.errors import UserError
from app.protocol.events import Event, Progress, Record, Step
from app.protocol.payloads import Curve, Result
from app.worker.context import Ctx
from models import catalog, checkpoint
from models.diffusion import training as diffusion
from models.diffusion.controlnet import ControlNet
from models.diffusion.preview import save_latent_rgb
from models.diffusion.schedule import NoiseSchedule
from models.fitting import Average, FitConfig
from models.flows import training as flows
from models.multimodal import clip_training
from models.playworld.bank import SceneBank
from models.steps import TrainStep
from models.vision import training as vision

REPORT_MS = 200  # between two records of a training run
PREDICTION = "v"

Run = Generator[Event, None, Result]


def train_vae(job: TrainVae, ctx: Ctx) -> Run:
    """Train the autoencoder; what is installed has standardised latents and comes with its linear preview map."""
    bank = yield from scene_bank(job)
    vae = start_model("playworld/vae", job, ctx, installed=job.go_on or job.decoder_only)
    average = Average(vae, job.ema)
    name = "vae-decoder" if job.decoder_only else "vae"
    steps = diffusion.train_vae(vae, bank, job.batch_size, fit_config(job, ctx, name), average, job.decoder_only)
    result = yield from follow(job, ctx, steps)
    if job.install:
        vae.load_state_dict(average.state)
        if not job.decoder_only:
            diffusion.standardise_latents(vae, bank)
        save("playworld/vae", vae.state_dict())
        save_latent_rgb(diffusion.fit_preview(vae, bank), catalog.weights_folder() / "playworld-latent-rgb.json")
    return result


def train_clip(job: TrainClip, ctx: Ctx) -> Run:
    """Train the text tower to read, or the picture tower to agree with it."""
    bank = yield from scene_bank(job)
    if job.stage == "words":
        return (yield from train_words(job, ctx, bank))
    clip = start_model("playworld/clip", job, ctx, installed=True)
    if not job.go_on:
        fresh = start_model("playworld/clip", job, ctx, installed=False)
        fresh.text.load_state_dict(clip.text.state_dict())
        clip = fresh
    average = Average(clip, job.ema)
    steps = clip_training.train_clip(clip, bank, job.batch_size, fit_config(job, ctx, "clip"), average)
    return (yield from follow_and_install(job, ctx, steps, "playworld/clip", average))


def train_words(job: TrainClip, ctx: Ctx, bank: SceneBank) -> Run:
    """What is installed is a whole CLIP whose picture tower is still untrained."""
    clip = start_model("playworld/clip", job, ctx, installed=job.go_on)
    reader = clip_training.Reader(clip.text).to(ctx.device)
    average = Average(reader, job.ema)
    result = yield from follow(
        job, ctx, clip_training.train_words(reader, bank, job.batch_size, fit_config(job, ctx, "clip-words"), average)
    )
    if job.install:
        reader.load_state_dict(average.state)
        save("playworld/clip", clip.state_dict())
    return result


def train_unet(job: TrainUnet, ctx: Ctx) -> Run:
    """Train the UNet beside the frozen autoencoder and text tower."""
    bank = yield from scene_bank(job)
    with ctx.zoo.use("playworld/vae") as vae, ctx.zoo.use("playworld/clip") as clip:
        latents = yield from latent_bank(job, bank, vae)
        unet = start_model("playworld/unet", job, ctx, installed=job.go_on)
        average = Average(unet, job.ema)
        steps = diffusion.train_unet(
            unet, latents, clip.text, NoiseSchedule.scaled_linear(), job.batch_size, fit_config(job, ctx, "unet"), average
        )
        return (yield from follow_and_install(job, ctx, steps, "playworld/unet", average))


def train_control(job: TrainControl, ctx: Ctx) -> Run:
    """Train one ControlNet, begun as a copy of the UNet's encoder."""
    bank = yield from scene_bank(job)
    key = f"playworld/control-{job.kind}"
    with ExitStack() as stack:
        vae, clip, unet = (stack.enter_context(ctx.zoo.use(f"playworld/{name}")) for name in ("vae", "clip", "unet"))
        latents = yield from latent_bank(job, bank, vae)
        net = start_model(key, job, ctx, installed=job.go_on)
        if not job.go_on:
            net = ControlNet.from_unet(unet, net.config.hint_channels).requires_grad_(True).train()
            diffusion.wake_hint(net.hint)
        average = Average(net, job.ema)
        config = fit_config(job, ctx, f"control-{job.kind}")
        steps = diffusion.train_controlnet(
            net, unet, job.kind, latents, clip.text, NoiseSchedule.scaled_linear(), job.batch_size, config, average
        )
        return (yield from follow_and_install(job, ctx, steps, key, average))


def train_judge(job: TrainJudge, ctx: Ctx) -> Run:
    """Train the fact classifier or the joint regressor on renders."""
    bank = yield from scene_bank(job)
    key = f"playworld/{job.kind}"
    net = start_model(key, job, ctx, installed=job.go_on)
    average = Average(net, job.ema)
    train = vision.train_facts if job.kind == "facts" else vision.train_joints
    steps = train(net, bank, job.batch_size, fit_config(job, ctx, job.kind), average)
    return (yield from follow_and_install(job, ctx, steps, key, average))


def train_flow(job: TrainFlow, ctx: Ctx) -> Run:
    """Train a flow on tiles; its averaged weights tell their bits per dimension on scenes never seen."""
    bank = yield from scene_bank(job, size=flows.SIZE)
    key = f"playworld/{job.kind}"
    net = start_model(key, job, ctx, installed=job.go_on)
    flows.prepare(net, bank, job.seed)
    average = Average(net, job.ema)
    steps = flows.train_tiles(net, bank, job.batch_size, fit_config(job, ctx, job.kind), average)
    result = yield from follow_and_install(job, ctx, steps, key, average)
    if not job.validation:
        return result
    unseen = yield from scene_bank(job, size=flows.SIZE, split="validation", count=job.validation)
    net.load_state_dict(average.state)
    return replace(result, facts={**result.facts, "validation_bits_per_dim": flows.mean_bits(net, unseen, job.validation, job.seed)})


def work_folder(job: Training) -> Path:
    return Path(job.folder) if job.folder else paths.data_dir() / "training"


def fit_config(job: Training, ctx: Ctx, name: str) -> FitConfig:
    return FitConfig(
        steps=job.steps, lr=job.lr, cooldown=job.cooldown, ema=job.ema, seed=job.seed, bf16=job.bf16, folder=work_folder(job) / name
    )


def start_model(key: str, job: Training, ctx: Ctx, *, installed: bool) -> nn.Module:
    """The installed model or a freshly initialised one, ready to be trained in fp32."""
    torch.manual_seed(job.seed)
    model = catalog.load(key) if installed else catalog.spec(key).build()
    return model.to(ctx.device, torch.float32).requires_grad_(True).train()


def scene_bank(
    job: PictureTraining, *, size: int = 128, split: str = "train", count: int = 0
) -> Generator[Event, None, SceneBank]:
    bank = SceneBank(work_folder(job) / "bank", split, count=count or job.scenes, size=size)
    for done, total in bank.fill():
        yield Progress(done=done, total=total, unit="scenes", note="drawing scenes")
    return bank


def latent_bank(job: PictureTraining, bank: SceneBank, vae: nn.Module) -> Generator[Event, None, diffusion.LatentBank]:
    latents = diffusion.LatentBank(bank, vae, work_folder(job))
    for done, total in latents.fill():
        yield Progress(done=done, total=total, unit="pictures", note="encoding scenes")
    return latents


def follow_and_install(job: Training, ctx: Ctx, steps: Iterator[TrainStep], key: str, average: Average) -> Run:
    """Follow a run to its end and, if asked, put its averaged weights where the program looks for them."""
    result = yield from follow(job, ctx, steps)
    if job.install:
        save(key, average.state)
    return result


def follow(job: Training, ctx: Ctx, steps: Iterator[TrainStep | Event]) -> Run:
    """Report a training run now and then; events between its steps are passed on."""
    history: list[TrainStep] = []
    begun, fresh = time.perf_counter(), []
    for step in steps:
        if isinstance(step, Event):
            yield step
            continue
        fresh.append(step)
        if ctx.every(REPORT_MS) or step.step == step.total:
            history += fresh
            yield Record(channel="train", payload=[{"step": s.step, "loss": s.loss, **s.metrics} for s in fresh])
            fresh = []
            yield Progress(done=step.step, total=step.total, unit="updates", note=f"loss {step.loss:.4f}")
        yield Step(index=step.step, total=step.total)
    return report(job, history, time.perf_counter() - begun)


def save(key: str, state: dict[str, Tensor]) -> None:
    spec = catalog.spec(key)
    try:
        checkpoint.save_sharded(state, spec.path, storage=spec.storage)
    except OSError as error:
        raise UserError(
            f"The weights could not be written: {error.strerror}.",
            hint="The checkpoint is kept; free some space and start again.",
        ) from error


def report(job: Training, history: list[TrainStep], seconds: float) -> Result:
    """Last means and the loss curve."""
    if not history:
        return Result(files={}, facts={"seconds": seconds, "note": "The checkpoint already holds all these steps."})
    tail = history[-max(1, len(history) // 20) :]
    means = {name: float(np.mean([s.metrics[name] for s in tail])) for name in tail[-1].metrics if name != "lr"}
    curve = Curve(
        x=np.array([s.step for s in history]),
        y=np.array([s.loss for s in history]),
        x_label="update",
        y_label="loss",
        label="training loss",
    )
    facts = {"seconds": seconds, "updates": len(history), "loss": float(np.mean([s.loss for s in tail])), **means}
    return Result(files={"loss.csv": curve}, facts=facts)
