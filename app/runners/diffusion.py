"""Runners of the image panel: make pictures and tell every step, check beforehand, decode one step exactly.

Watching never changes a picture: previews are linear maps of tensors that are only read, all noise is a
function of (seed, step), and a picture of a batch is computed alone, so that it equals the one its seed gives.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from app.jobs.diffusion import MAX_SEED, CheckControls, DecodeLatent, PictureRecord, StepRecord, Txt2Img
from app.protocol.errors import UserError
from app.protocol.events import Event, Preview, Progress, Record, Step
from app.protocol.payloads import Image, Result
from app.protocol.sizes import size_words
from app.runners.diffusion_models import preview_map, text_states
from app.runners.library import save_picture
from app.runners.memory import check_memory, picture_bytes
from app.runners.plan import Plan, make_plan, missing_models
from app.runners.png_recipe import infotext_text, png_bytes
from app.worker import display
from app.worker.context import Ctx
from models.diffusion.denoiser import ControlInput, Denoiser
from models.diffusion.preview import LatentRgb, latent_rgb
from models.diffusion.samplers import SAMPLERS, NoiseSource
from models.steps import DenoiseStep

LINEAR = "linear latent-to-RGB map"
FULL_VAE = "full VAE"
FILM_BYTES = 256 * 2**20
"""Latents of a run kept for exact decoding: float32 while they fit, then float16, then none."""
KEPT_BYTES = 512 * 2**20
"""Decoded pictures a run with `keep_steps` may hold."""


@dataclass(kw_only=True)
class Studio:
    """One run at work: its plan, its networks, and what has come out so far."""

    plan: Plan
    ctx: Ctx
    vae: nn.Module
    rgb: LatentRgb
    denoiser: Denoiser
    film_dtype: type | None
    files: dict[str, object] = field(default_factory=dict)
    pictures: list[PictureRecord] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    cfg_used: list[float] = field(default_factory=list)
    """Of the picture being made."""

    @property
    def job(self) -> Txt2Img:
        """The job as it was submitted, with the files of its controls read in."""
        return self.plan.job


def txt2img(job: Txt2Img, ctx: Ctx) -> Generator[Event, None, Result]:
    """Text to image; see `Studio`. Yields Record "start", per step Record "step" and Step, per picture Record "picture"."""
    plan = make_plan(job)
    plan.refuse()
    _check_kept(job)
    yield Progress(done=0, note="loading the models")
    with contextlib.ExitStack() as stack:
        studio = open_studio(plan, ctx, stack)
        for picture in range(job.batch_count):
            yield from _make_picture(studio, picture)
    return Result(files=studio.files | _map_files(plan), facts=_facts(studio))


def open_studio(plan: Plan, ctx: Ctx, stack: contextlib.ExitStack) -> Studio:
    """Load the networks; the text tower is let go of as soon as the prompts are encoded."""
    job = plan.job
    with ctx.zoo.use(f"{job.model}/clip") as clip:
        contexts = [text_states(clip, plan.kind, text, ctx.device) for text in (job.prompt, job.negative_prompt)]
    vae = stack.enter_context(ctx.zoo.use(f"{job.model}/vae"))
    unet = stack.enter_context(ctx.zoo.use(f"{job.model}/unet"))
    nets = {
        kind: stack.enter_context(ctx.zoo.use(f"{job.model}/control-{kind}"))
        for kind in dict.fromkeys(control.control.kind for control in plan.active)
    }
    _check_memory(job, vae, unet, ctx)
    denoiser = Denoiser(
        _checked(unet, ctx), plan.schedule, context=contexts[0], null_context=contexts[1], cfg_scale=job.cfg_scale,
        prediction=plan.kind.prediction, controls=_control_inputs(plan, nets, ctx), sigmas=plan.sigmas, dtype=ctx.dtype,
    )  # fmt: skip
    return Studio(
        plan=plan, ctx=ctx, vae=vae, rgb=preview_map(job.model, vae), denoiser=denoiser, film_dtype=_film_dtype(job)
    )


def _checked(net: nn.Module, ctx: Ctx) -> Callable:
    """The network, which asks before every call whether the run is to end: a cancel waits for one call at most."""

    def call(*args, **options):
        ctx.check()
        return net(*args, **options)

    return call


def _control_inputs(plan: Plan, nets: dict[str, nn.Module], ctx: Ctx) -> list[ControlInput]:
    inputs = []
    for planned in plan.active:
        control = planned.control
        hint = display.hint(planned.map, device=ctx.device)  # (1, 3, H, W) in [0, 1]
        net = _checked(nets[control.kind], ctx)
        inputs.append(ControlInput(net=net, hint=hint, weight=control.weight, start=control.start, end=control.end, mode=control.mode))
    return inputs


def _make_picture(studio: Studio, picture: int) -> Iterator[Event]:
    """One picture of the batch, step by step, then decoded, recorded and saved."""
    job, ctx = studio.job, studio.ctx
    seed = _seed(ctx, picture)
    studio.cfg_used = []
    steps = sampler_of(studio, seed)
    for i in range(job.steps):
        ctx.check()
        studio.denoiser.cfg_scale = _cfg_scale(job, ctx, i)
        studio.cfg_used.append(studio.denoiser.cfg_scale)
        began = time.perf_counter()
        step = next(steps)
        studio.seconds.append(time.perf_counter() - began)
        if picture == 0 and i == 0:
            yield Record(channel="start", payload=_start(studio, seed))
        yield from _show(studio, step, picture)
        if step.is_last:
            yield from _finish(studio, step, picture, seed)
        yield Step(index=picture * job.steps + i + 1, total=job.batch_count * job.steps)


def _seed(ctx: Ctx, picture: int) -> int:
    """The seed of the n-th picture: counted up from the run's, which is drawn once where the job says -1."""
    return (ctx.seed + picture) % (MAX_SEED + 1)


def _cfg_scale(job: Txt2Img, ctx: Ctx, i: int) -> float:
    """The scale of step i: from the curve if there is one, else the newest wish of the slider."""
    return job.cfg_curve[i] if job.cfg_curve else ctx.job.cfg_scale


def sampler_of(studio: Studio, seed: int) -> Iterator[DenoiseStep]:
    """The steps of the picture with that seed."""
    job, device = studio.job, studio.ctx.device
    noise = NoiseSource(seed)
    channels = studio.vae.config.latent_channels
    shape = (1, channels, job.height // studio.vae.config.downscale, job.width // studio.vae.config.downscale)
    x = noise.initial(shape).to(device) * studio.plan.levels[0]  # (1, C, h, w)
    options = {"eta": job.eta} if job.sampler == "ddim" else {}
    return SAMPLERS[job.sampler].function(studio.denoiser, x, studio.plan.sigmas, noise=noise, **options)


# --- what a step shows ---------------------------------------------------------------------------------


def _show(studio: Studio, step: DenoiseStep, picture: int) -> Iterator[Event]:
    """The step's record for the film strip, and previews for whoever is looking."""
    where = f"step {step.i + 1} of {step.n}, sigma {step.sigma:.3g}"
    lenses = {"xt": ("x_t", step.x_scaled), "x0": ("predicted x0", step.x0), "eps": ("removed noise", step.eps)}
    tiles = {
        lens: display.image(latent_rgb(z[0], studio.rgb), label=f"{name}, {where}", decoder=LINEAR)
        for lens, (name, z) in lenses.items()
    }
    record = _record(studio, step, picture, tiles)
    if studio.job.keep_steps:
        _keep(studio, step, picture, where)
    yield Record(channel="step", payload=record)
    for lens, tile in tiles.items():
        if studio.ctx.wants(lens, last=step.is_last):
            yield Preview(channel=lens, payload=tile)


def _record(studio: Studio, step: DenoiseStep, picture: int, tiles: dict[str, Image]) -> StepRecord:
    kept = studio.film_dtype
    controls = studio.plan.controls
    return StepRecord(
        picture=picture,
        index=step.i,
        total=step.n,
        sigma=step.sigma,
        sigma_next=step.sigma_next,
        t=step.t or 0.0,
        seconds=studio.seconds[-1],
        cfg_scale=studio.denoiser.cfg_scale,
        active_controls=tuple(k for k, c in enumerate(controls) if c.active and step.i in c.steps),
        x_t=tiles["xt"],
        x0=tiles["x0"],
        eps=tiles["eps"],
        x=None if kept is None else display.array(step.x[0], kept),
        x0_latent=None if kept is None else display.array(step.x0[0], kept),
    )


def _film_dtype(job: Txt2Img) -> type | None:
    """How exactly the latents of a run can be kept within FILM_BYTES."""
    numbers = 2 * 4 * (job.width // 8) * (job.height // 8) * job.steps * job.batch_count
    if 4 * numbers <= FILM_BYTES:
        return np.float32
    return np.float16 if 2 * numbers <= FILM_BYTES else None


def _keep(studio: Studio, step: DenoiseStep, picture: int, where: str) -> None:
    """Decode x_t and x0 of a step with the full VAE into the files of the result."""
    folder = "steps" if picture == 0 else f"steps-{picture + 1}"
    for lens, name, z in (("xt", "x_t", step.x_scaled), ("x0", "predicted x0", step.x0)):
        label = f"{name}, {where}"
        studio.files[f"{folder}/{step.i + 1:03d}_{lens}.png"] = decode(studio.vae, z, label)


def _check_kept(job: Txt2Img) -> None:
    needs = 2 * 3 * job.width * job.height * job.steps * job.batch_count
    if job.keep_steps and needs > KEPT_BYTES:
        raise UserError(
            f"Keeping all steps decoded would take {size_words(needs)}, more than {size_words(KEPT_BYTES)}.",
            hint="Take fewer steps, a smaller picture or fewer pictures; single steps can be decoded by a click.",
        )


def decode(vae: nn.Module, z: Tensor, label: str = "") -> Image:
    """The picture of scaled latents (1, C, h, w), by the full VAE."""
    dtype = next(vae.parameters()).dtype
    x = vae.decode((z / vae.config.scaling_factor).to(dtype))  # (1, 3, H, W)
    if not torch.isfinite(x).all():
        raise UserError(
            "The picture left the range of numbers and cannot be shown.", hint="Lower the CFG scale or the control weights."
        )
    return display.image(x[0], label=label, decoder=FULL_VAE)


# --- the finished picture ------------------------------------------------------------------------------


def _finish(studio: Studio, step: DenoiseStep, picture: int, seed: int) -> Iterator[Event]:
    """Decode, save, record; the picture is in the gallery before anybody hears of it."""
    image = decode(studio.vae, step.x_next, f"seed {seed}, {step.n} steps")
    recipe = studio.plan.recipe(seed, tuple(studio.cfg_used))
    saved_as, save_error = _save(studio.job.gallery, image, recipe)
    record = PictureRecord(
        picture=picture, image=image, seed=seed, job=recipe, saved_as=saved_as, save_error=save_error
    )
    studio.pictures.append(record)
    studio.files["image.png" if picture == 0 else f"image-{picture + 1}.png"] = png_bytes(image, recipe)
    if studio.ctx.wants("x0", last=True):
        label = f"predicted x0, step {step.n} of {step.n}: the picture"
        yield Preview(channel="x0", payload=replace(image, label=label))
    if studio.ctx.wants("image", last=True):
        yield Preview(channel="image", payload=image)
    yield Record(channel="picture", payload=record)


def _save(folder: str, image: Image, recipe: Txt2Img) -> tuple[str, str]:
    """The path in the gallery, or the sentence why it is not there; never fails the run."""
    if not folder:
        return "", ""
    try:
        return str(save_picture(Path(folder), image, recipe)), ""
    except UserError as error:
        return "", f"{error.message} {error.hint}".strip()


# --- words and numbers ---------------------------------------------------------------------------------


def _start(studio: Studio, seed: int) -> dict[str, object]:
    """Payload of Record "start": what the panel shows beside the first step."""
    return _plan_facts(studio.plan) | {"seed": seed, "maps": _map_files(studio.plan)}


def _plan_facts(plan: Plan) -> dict[str, object]:
    return {
        "sigmas": plan.levels,
        "timesteps": plan.timesteps,
        "schedule_used": plan.job.schedule_used,
        "notes": list(plan.notes),
        "unknown_words": list(plan.unknown_words),
        "controls": [control.as_dict() for control in plan.controls],
    }


def _map_files(plan: Plan) -> dict[str, Image]:
    """The maps as the networks saw them."""
    return {f"maps/{n}-{c.control.kind}.png": c.map for n, c in enumerate(plan.controls) if c.map and c.active}


def _facts(studio: Studio) -> dict[str, object]:
    job, pictures = studio.job, studio.pictures
    hashes = [picture.image.sha256 for picture in pictures]
    return _plan_facts(studio.plan) | {
        "seed": pictures[0].seed,
        "seeds": [picture.seed for picture in pictures],
        "sha256": hashes[0],
        "sha256_all": hashes,
        "seconds_per_step": sum(studio.seconds) / len(studio.seconds),
        "cfg_curve": studio.cfg_used if len(set(studio.cfg_used)) > 1 else list(job.cfg_curve),
        "device": str(studio.ctx.device),
        "dtype": str(studio.ctx.dtype).removeprefix("torch."),
        "saved_as": [picture.saved_as for picture in pictures if picture.saved_as],
        "save_errors": [picture.save_error for picture in pictures if picture.save_error],
        "infotext": infotext_text(pictures[0].job),
    }


def _check_memory(job: Txt2Img, vae: nn.Module, unet: nn.Module, ctx: Ctx) -> None:
    widths = vae.config.block_out_channels[0], unet.config.block_out_channels[0]
    item = torch.finfo(ctx.dtype).bits // 8
    check_memory(job.width, job.height, picture_bytes(job.width, job.height, *widths, rows=2, item=item), ctx.device)


# --- the small jobs ------------------------------------------------------------------------------------


def check_controls(job: CheckControls, ctx: Ctx) -> Generator[Event, None, Result]:
    """Say what a run would do, without loading a network; never fails for what it is asked about."""
    yield Progress(done=0, note="checking")
    try:
        plan = make_plan(job.txt2img)
    except UserError as error:
        return Result(facts={"ok": False, "error": error.message, "hint": error.hint, "notes": [], "controls": []})
    facts = _plan_facts(plan) | {"ok": True, "error": "", "hint": ""}
    problem = missing_models(job.txt2img.model)
    if problem:
        facts |= {"ok": False, "error": problem, "hint": "Get the files again with the program, or train them."}
    try:
        plan.refuse()
    except UserError as error:
        facts |= {"ok": False, "error": error.message, "hint": error.hint}
    return Result(files=dict(_map_files(plan)), facts=facts)


def decode_latent(job: DecodeLatent, ctx: Ctx) -> Generator[Event, None, Result]:
    """Decode one kept latent with the full VAE."""
    yield Progress(done=0, note="decoding")
    needed = {"xt": (job.x,), "x0": (job.x0,), "eps": (job.x, job.x0)}[job.lens]
    if any(z is None or z.ndim != 3 for z in needed) or (job.lens == "eps" and job.sigma <= 0):
        raise UserError("There is no latent to decode.", hint="Run a picture and choose one of its steps.")
    names = {"xt": "x_t", "x0": "predicted x0", "eps": "removed noise"}
    with ctx.zoo.use(f"{job.model}/vae") as vae:
        tensors = [torch.from_numpy(z.astype("float32"))[None].to(ctx.device) for z in needed]  # (1, C, h, w) each
        z = tensors[0]
        if job.lens == "xt":
            z = z / (1 + job.sigma**2) ** 0.5
        elif job.lens == "eps":
            z = (tensors[0] - tensors[1]) / job.sigma
        if z.shape[1] != vae.config.latent_channels:
            raise UserError(f"The latent has {z.shape[1]} channels, this VAE decodes {vae.config.latent_channels}.")
        image = decode(vae, z, ", ".join(filter(None, (names[job.lens], job.caption))))
    return Result(files={"image.png": image})
