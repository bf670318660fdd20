"""Runner of `flow-tiles`: measures, samples, interpolations, then the ascent, step by step."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from app.jobs.flows import FlowTiles
from app.protocol.events import Event, Preview, Record, Step
from app.protocol.payloads import Image, Result
from app.worker.context import Ctx
from models.flows.tiles import TileFlow, dequantise, inpaint, interpolate, quantise, sample
from models.flows.training import SIZE
from models.playworld.render import render
from models.playworld.scene import sample_scene

SHEET = 8  # samples in a row


def flow_tiles(job: FlowTiles, ctx: Ctx) -> Generator[Event, None, Result]:
    """What the flow knows of scenes it never saw, and what it draws."""
    generator = torch.Generator().manual_seed(job.seed)
    with ctx.zoo.use(f"playworld/{job.kind}") as model:
        count = max(job.scenes, 2 * job.rows)
        scenes = np.stack([render(sample_scene(k, "validation"), SIZE) for k in range(count)])
        v = dequantise(torch.from_numpy(scenes), model.shape[0], generator)
        facts = {**measured(model, v[: job.scenes]), "temperature": job.temperature}
        yield Record(channel="facts", payload=facts)
        drawn = sample(model, job.samples, job.temperature, generator)
        files = {"samples.png": sheet(drawn, min(SHEET, job.samples), f"{job.kind}, temperature {job.temperature:g}")}
        yield Record(channel="samples", payload=files["samples.png"])
        between = torch.cat([interpolate(model, v[2 * k], v[2 * k + 1], job.columns) for k in range(job.rows)])
        files["interpolation.png"] = sheet(between, job.columns, "from scene to scene along a line in the noise")
        yield Record(channel="interpolation", payload=files["interpolation.png"])
        known = mask(job.hidden)
        shown = ()
        for step in inpaint(model, v[: job.rows], known, job.climb, generator):
            shown = torch.stack([v[: job.rows] * known, step.v, v[: job.rows]], 1).flatten(0, 1)
            if ctx.wants("inpainting", last=step.last):
                yield Preview(channel="inpainting", payload=sheet(shown, 3, f"log p {step.log_density.mean():.0f} nats"))
            if step.i:
                yield Step(index=step.i, total=step.n)
        files["inpainting.png"] = sheet(shown, 3, "given, filled in, truth")
        facts |= {"inpainted_log_density": float(step.log_density.mean()), "true_log_density": true_density(model, v[: job.rows])}
        yield Record(channel="inpainting", payload=files["inpainting.png"])
    return Result(files=files, facts=facts)


@torch.no_grad()
def measured(model: TileFlow, v: Tensor) -> dict[str, float]:
    """Bits per dimension and the largest error of there and back, over pictures (N, C, H, W)."""
    z, _ = model.encode(v)
    bits = model.bits_per_dim(v)
    error = float((model.decode(z) - v).abs().max())
    return {"bits_per_dim": float(bits.mean()), "bits_standard_error": float(bits.std() / len(v) ** 0.5), "inverse_error": error}


@torch.no_grad()
def true_density(model: TileFlow, v: Tensor) -> float:
    """Mean log density of the pictures themselves, in nats."""
    return float(model.log_density(v).mean())


def mask(hidden: str) -> Tensor:
    """(1, 1, H, W): 1 where a pixel is given."""
    known = torch.ones(1, 1, SIZE, SIZE)
    half, quarter = SIZE // 2, SIZE // 4
    rows, columns = {
        "left": (slice(None), slice(0, half)), "right": (slice(None), slice(half, None)), "top": (slice(0, half), slice(None)),
        "bottom": (slice(half, None), slice(None)), "middle": (slice(quarter, -quarter), slice(quarter, -quarter)),
    }[hidden]  # fmt: skip
    known[..., rows, columns] = 0
    return known


def sheet(v: Tensor, columns: int, label: str) -> Image:
    """Pictures (N, C, H, W) in rows, one pixel a pixel; a last row that is not full ends in black."""
    tiles = quantise(torch.nan_to_num(v))
    missing = -len(tiles) % columns
    tiles = torch.cat([tiles, tiles.new_zeros(missing, *tiles.shape[1:])])
    return Image(pixels=rearrange(tiles, "(r c) h w k -> (r h) (c w) k", c=columns).contiguous().numpy(), label=label)
