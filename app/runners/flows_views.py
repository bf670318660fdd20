"""Runners of the tile lab's views: facts, samples, ways between two pictures, filling in, and one picture layer by layer.

The real pictures are the first validation scenes, the same for every view; grey flows see them in grey.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from app import paths
from app.jobs.flows import REAL, SIZE, FlowBetween, FlowFacts, FlowFill, FlowJob, FlowLayers, FlowSamples
from app.protocol.errors import UserError
from app.protocol.events import Event, Progress, Record, Step
from app.protocol.payloads import Curve, Image, Result
from app.protocol.tiles import FillStep, LayerLook
from app.runners import flows_kept
from app.runners.flows import measured, sheet
from app.worker.context import Ctx
from models.flows import baselines, depth
from models.flows.nice import spectrum
from models.flows.tiles import TileFlow, dequantise, inpaint, inpaint_adam, interpolate, langevin
from models.flows.training import own_bank
from models.playworld.bank import SceneBank
from models.playworld.render import render
from models.playworld.scene import sample_scene

SHEET_ROW = 8
SPAN = 0.995
"""A layer's picture is drawn so that this share of its numbers fits between black and white."""
OWN: dict[str, TileFlow] = {}
"""The last network that `learn-flow` made, by kind, as far as it has been asked for since the program was started."""


@contextmanager
def opened(job: FlowJob, ctx: Ctx) -> Iterator[TileFlow]:
    """The flow a view asks for."""
    if job.weights == "built-in":
        with ctx.zoo.use(f"playworld/{job.kind}") as model:
            yield model
    else:
        if job.kind not in OWN:
            if (kept := flows_kept.model(job.kind)) is None:
                name = flows_kept.NAMES[job.kind]
                raise UserError(f"No {name} has been trained here yet.", hint="Press Train, or take the built-in weights.")
            OWN[job.kind] = kept
        yield OWN[job.kind]


@lru_cache(maxsize=2)
def real(count: int, channels: int) -> Tensor:
    """The first validation scenes (N, C, H, W), made continuous with a noise of their own."""
    scenes = np.stack([render(sample_scene(k, "validation"), SIZE) for k in range(count)])
    return dequantise(torch.from_numpy(scenes), channels, torch.Generator().manual_seed(0))


def chosen(model: TileFlow, *numbers: int) -> Tensor:
    """Real pictures by number, (n, C, H, W)."""
    return real(REAL, model.shape[0])[list(numbers)]


def training_bank(scenes: int) -> Generator[Event, None, SceneBank]:
    """Training scenes on disk in the user's data folder; missing ones are drawn now."""
    bank = own_bank(Path(paths.data_dir()) / "training" / "bank", scenes)
    for done, total in bank.fill():
        yield Progress(done=done, total=total, unit="scenes", note="drawing scenes")
    return bank


# facts ---------------------------------------------------------------------------------------------------------------------


def flow_facts(job: FlowFacts, ctx: Ctx) -> Generator[Event, None, Result]:
    """The real pictures first, then the flow's own figures, then the baselines."""
    yield Record(channel="tiles", payload=sheet(real(REAL, 3), SHEET_ROW, "validation scenes"))
    with opened(job, ctx) as model:
        v = real(max(job.scenes, REAL), model.shape[0])[: job.scenes]
        facts = {**measured(model, v), "parameters": sum(p.numel() for p in model.parameters()), "dims": model.dims, "scenes": job.scenes}
        facts |= {"levels": per_level(model, v)}
        files = {"spectrum": spectrum_curve(model)} if job.kind == "nice" else {}
        yield Record(channel="facts", payload=facts)
        channels = model.shape[0]
    bank = yield from training_bank(job.fitted)
    seen = torch.from_numpy(bank.images(np.arange(job.fitted)))
    known = dequantise(seen, channels, torch.Generator().manual_seed(1))
    for name, bits in (
        ("histogram_bits", baselines.histogram_bits(known, v)), ("diagonal_bits", baselines.gaussian_bits(known, v, full=False)),
        ("gaussian_bits", baselines.gaussian_bits(known, v, full=True)),
    ):  # fmt: skip
        facts[name] = float(bits.mean())
    return Result(files=files, facts=facts)


@torch.no_grad()
def per_level(model: TileFlow, v: Tensor) -> list[dict[str, float]]:
    """Of each level, finest first: numbers it hands to the noise, bits that noise costs, bits its layers add."""
    z, _ = model.encode(v)
    groups, paid = depth.noise_groups(model), depth.noise_bits(model, z)
    layers = [0.0] * len(groups)
    for step in depth.descend(model, v):
        layers[step.level] += float(step.bits.mean())
    return [{"numbers": len(g), "noise": float(p.mean()), "layers": added} for g, p, added in zip(groups, paid, layers, strict=True)]


def spectrum_curve(model: TileFlow) -> Curve:
    """NICE's `e^{-a}`, largest first."""
    values = spectrum(model.flow).double().numpy()
    return Curve(x=np.arange(1, len(values) + 1), y=values, x_label="direction, widest first", y_label="e^(−a)", label="width")


# samples and ways ----------------------------------------------------------------------------------------------------------


def flow_samples(job: FlowSamples, ctx: Ctx) -> Generator[Event, None, Result]:
    """The same seed is the same noise, whatever its size."""
    with opened(job, ctx) as model:
        drawn, facts = drawn_samples(model, job.samples, job.temperature, job.share, job.seed)
    yield Step(index=1, total=1)
    return Result(files={"samples": sheet(drawn, SHEET_ROW, f"{job.kind}, temperature {job.temperature:g}")}, facts=facts)


@torch.no_grad()
def drawn_samples(model: TileFlow, count: int, temperature: float, share: float, seed: int) -> tuple[Tensor, dict[str, float]]:
    """Pictures, and how far they leave [0, 1] before they are cut."""
    noise = model.noise(count, torch.Generator().manual_seed(seed))
    v = model.decode(depth.thinned(model, temperature * noise, share))
    outside = ((v < 0) | (v > 1)).float().mean()
    return v, {"outside": float(outside), "kept": round(share * model.dims), "lost": int((~torch.isfinite(v)).flatten(1).any(1).sum())}


@torch.no_grad()
def flow_between(job: FlowBetween, ctx: Ctx) -> Generator[Event, None, Result]:
    """Both ways, and what each picture on them costs."""
    with opened(job, ctx) as model:
        first, second = chosen(model, job.first, job.second)
        through = interpolate(model, first, second, job.columns)
        share = torch.linspace(0, 1, job.columns)[:, None, None, None]
        faded = (1 - share) * first + share * second
        bits = [model.bits_per_dim(way.clamp(0, 1 - 2**-16)).tolist() for way in (through, faded)]
        ends = float((through[[0, -1]] - torch.stack([first, second])).abs().max())
        z, _ = model.encode(torch.stack([first, second]))
    yield Step(index=1, total=1)
    facts = {"bits": bits[0], "faded_bits": bits[1], "end_error": ends, "distance": float((z[1] - z[0]).norm())}
    return Result(files={"path": sheet(torch.cat([through, faded]), job.columns, "through the noise; faded over")}, facts=facts)


# filling in ----------------------------------------------------------------------------------------------------------------


def flow_fill(job: FlowFill, ctx: Ctx) -> Generator[Event, None, Result]:
    """Every step is told, so that it can be stepped through and gone back to."""
    known = mask_of(job.hidden)
    generator = torch.Generator().manual_seed(job.seed)
    with opened(job, ctx) as model:
        truth = chosen(model, job.tile)
        climb = {"adam": inpaint_adam, "ascent": inpaint, "langevin": langevin}[job.method]
        with torch.no_grad():
            true_bits = float(model.bits_per_dim(truth))
        for step in climb(model, truth, known, job.steps, generator):
            bits = float(bits_of(model, step.log_density))
            shown = FillStep(index=step.i, total=step.n, picture=tile(step.v), bits=bits, accepted=bool(step.accepted))
            yield Record(channel="fill", payload=shown)
            if step.i:
                yield Step(index=step.i, total=step.n)
        error = float((step.v - truth).square().mean().sqrt())
    return Result(files={"filled.png": shown.picture}, facts={"bits": bits, "true_bits": true_bits, "error": error})


def mask_of(hidden: tuple[int, ...]) -> Tensor:
    """(1, 1, H, W): 1 where a pixel is given."""
    if not hidden:
        raise UserError("No pixel is hidden, so there is nothing to fill in.", hint="Paint over a part of the picture first.")
    if not all(0 <= k < SIZE * SIZE for k in hidden):
        raise UserError(f"Hidden pixels are numbered 0 to {SIZE * SIZE - 1}.")
    known = torch.ones(SIZE * SIZE)
    known[list(hidden)] = 0
    return known.reshape(1, 1, SIZE, SIZE)


def bits_of(model: TileFlow, log_density: Tensor) -> Tensor:
    """Nats of a picture in [0, 1] as bits per dimension of its whole numbers."""
    return 8 - depth.in_bits(model, log_density)


def tile(v: Tensor, label: str = "") -> Image:
    """One picture (1, C, H, W)."""
    return sheet(v, 1, label)


# layer by layer ------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def flow_layers(job: FlowLayers, ctx: Ctx) -> Generator[Event, None, Result]:
    """All layers at once: a picture costs milliseconds."""
    with opened(job, ctx) as model:
        v = chosen(model, job.tile)
        looks = tuple(looked_at(model, v))
        z, _ = model.encode(v)
        noise = [float(bits) for bits in depth.noise_bits(model, z)]
        facts = {"bits": float(model.bits_per_dim(v)), "noise_bits": noise, "inverse_error": float((model.decode(z) - v).abs().max())}
    yield Step(index=1, total=1)
    return Result(files={"layers": looks}, facts=facts)


def looked_at(model: TileFlow, v: Tensor) -> Iterator[LayerLook]:
    """A look after each layer."""
    so_far = 0.0
    for step in depth.descend(model, v):
        state = depth.as_picture(model, step.x, step.depth)
        span = max(float(state.abs().flatten().quantile(SPAN)), 1e-6)
        so_far += float(step.bits)
        yield LayerLook(
            index=step.i, total=step.n, title=step.title, level=step.level + 1, picture=tile(0.5 + state / (2 * span)),
            span=span, bits=float(step.bits), so_far=so_far,
        )  # fmt: skip
