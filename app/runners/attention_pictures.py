"""Queries and keys of the models that know pictures: CLIP's towers, and the diffusion UNet at every step of a run.

The similarity of words and patches is no attention: CLIP's towers meet only in their last vectors. It is shown as what it is, cosines.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from app.jobs.attention import AttentionJob
from app.jobs.diffusion import Txt2Img
from app.protocol.attention import Looked
from app.protocol.errors import UserError
from app.protocol.events import Event, Progress
from app.protocol.payloads import Image, Tokens
from app.runners.attention_views import cells
from app.runners.captures import STORE, Capture, Heads, Sight, Watched
from app.runners.diffusion import Studio, decode, open_studio, sampler_of
from app.runners.diffusion_models import Family, family
from app.runners.plan import make_plan, text_notes
from app.worker import display
from app.worker.context import Ctx
from models import catalog
from models.diffusion import maps
from models.diffusion.unet import UNetConfig
from models.playworld import render
from models.playworld.scene import sample_scene

RESIZE = "Crop and Resize"
NO_EXPLANATION = "Attention shows where a head reads; it is not an explanation."
SENTENCES = {
    "clip-text": f"Softmax weights of the text tower: each word sees itself and those before it, each row sums to 1. {NO_EXPLANATION}",
    "clip-picture": f"Softmax weights of the image tower: class token and patches see each other, each row sums to 1. {NO_EXPLANATION}",
    "clip-words": (
        "No attention of the model: cosines (-1 to 1) of each word's last state and each patch's own values in the last layer (MaskCLIP, "
        "arXiv 2112.01071), both projected into the space in which CLIP compares whole texts and pictures. It was trained on those only: "
        "single words and patches are noisy, and a high one is no proof that the thing is there."
    ),
    "unet-self": (
        "Softmax weights of the UNet's self-attention, of the half of the guidance that has the prompt: cells look at cells, each row "
        f"sums to 1. {NO_EXPLANATION}"
    ),
    "unet-words": (
        "Softmax weights of the UNet's cross-attention, of the half of the guidance that has the prompt: each cell's row over all tokens "
        f"sums to 1, <pad> (more <end> tokens that fill the prompt up) included. {NO_EXPLANATION}"
    ),
}  # fmt: skip


# --- CLIP ---


def clip_sight(job: AttentionJob, ctx: Ctx, stack: ExitStack) -> Generator[Event, None, Sight]:
    """One of CLIP's towers, or the similarity of what both say."""
    kind = family(job.family)
    if job.source != "clip-picture" and not job.text.strip():
        raise UserError("There is no text to look at.", hint="Type some words.")
    yield Progress(done=0, note="loading the model")
    clip = stack.enter_context(ctx.zoo.use(f"{job.family}/clip"))
    picture = None if job.source == "clip-text" else _picture(job, clip.config.vision.image_size)
    key = (job.source, "" if job.source == "clip-picture" else job.text, "" if picture is None else picture.sha256, ctx.device)
    capture = STORE.find(clip, key)
    if capture is None:
        capture = {"clip-text": _clip_text, "clip-picture": _clip_picture, "clip-words": _clip_words}[job.source](
            clip, job, kind, picture, ctx
        )
        STORE.keep(clip, key, capture, ctx.device)
    return Sight(capture=capture, source=job.source)


def _picture(job: AttentionJob, side: int) -> Image:
    """The picture as the image tower sees it."""
    if job.picture is None:
        return Image(pixels=render.render(sample_scene(job.seed), side), label=f"Playworld scene {job.seed}")
    if min(job.picture.width, job.picture.height) < maps.MIN_SIDE:
        raise UserError(f"The picture has only {job.picture.width} x {job.picture.height} pixels.", hint="Choose a larger one.")
    return replace(job.picture, pixels=maps.resize(job.picture.pixels, side, side, RESIZE))


def _words(kind: Family, text: str) -> Tokens:
    """All tokens of a prompt as the text tower gets them, filled up to its length."""
    ids = kind.encode(text, kind.max_len)
    words = kind.split_words(text)[: kind.max_len - 2]
    texts = ["<start>", *words, "<end>"]
    return Tokens(texts=(*texts, *["<pad>"] * (len(ids) - len(texts))), ids=tuple(ids), label="prompt")


def _without_padding(tokens: Tokens) -> Tokens:
    end = tokens.texts.index("<end>") + 1
    return Tokens(texts=tokens.texts[:end], ids=tokens.ids[:end], label=tokens.label)


def _looked(job: AttentionJob, net: str, dtype: torch.dtype, *, source: str = "", notes: Sequence[str] = (), **fields: object) -> Looked:
    """What every source says of itself, and `fields`; `source` is the job's own unless told."""
    source = source or job.source
    given = {"causal": False, "sentence": " ".join((SENTENCES[source], *notes)), "source": source} | fields
    return Looked(model=catalog.spec(f"{job.family}/{net}").title, number_format=str(dtype).removeprefix("torch."), **given)


def _tower(blocks: nn.ModuleList) -> dict[str, object]:
    heads, dim = blocks[0].attention.n_heads, blocks[0].attention.q.in_features
    return {
        "layers": tuple(f"layer {n}" for n in range(len(blocks))), "heads": (heads,) * len(blocks), "scale": (dim // heads) ** -0.5,
    }  # fmt: skip


def _heads(q: Tensor, k: Tensor, causal: bool = False) -> Heads:
    """From what a probe holds of one text or picture, (T, H, D) and (S, H, D)."""
    return Heads(q=q.transpose(0, 1).contiguous(), k=k.transpose(0, 1).contiguous(), causal=causal)


def _clip_text(clip: nn.Module, job: AttentionJob, kind: Family, picture: Image | None, ctx: Ctx) -> Capture:
    """The words up to the end token; what fills the text up comes later, and nothing before it sees it."""
    tokens, probe = _without_padding(_words(kind, job.text)), Watched(ctx, "q", "k")
    n = len(tokens.ids)
    clip.text(_prompt(kind, job.text, ctx), probe=probe)
    notes = text_notes(job.text, "text", kind)
    looked = _looked(job, "clip", ctx.dtype, rows=tokens, columns=tokens, causal=True, notes=notes, **_tower(clip.text.blocks))
    parts = {("clip-text", 0, layer): _heads(probe.q[layer][0, :n], probe.k[layer][0, :n], causal=True) for layer in probe.q}
    return Capture(looked={"clip-text": looked}, parts=parts, ids=torch.tensor([tokens.ids], device=ctx.device))


def _prompt(kind: Family, text: str, ctx: Ctx) -> Tensor:
    return torch.tensor([kind.encode(text, kind.max_len)], device=ctx.device)  # (1, T)


def _pixels(picture: Image, ctx: Ctx) -> Tensor:
    return display.tensor(picture, device=ctx.device).to(ctx.dtype)         # (1, 3, S, S) in [-1, 1]


def _clip_picture(clip: nn.Module, job: AttentionJob, kind: Family, picture: Image, ctx: Ctx) -> Capture:
    probe, side = Watched(ctx, "q", "k"), clip.config.vision.image_size // clip.config.vision.patch_size
    clip.vision(_pixels(picture, ctx), probe=probe)
    tokens = cells(side, side, first=("<class>",))
    looked = _looked(
        job, "clip", ctx.dtype, rows=tokens, columns=tokens, row_grid=(side, side), column_grid=(side, side), row_extra=1, column_extra=1,
        picture=picture, **_tower(clip.vision.blocks),
    )  # fmt: skip
    parts = {("clip-picture", 0, layer): _heads(probe.q[layer][0], probe.k[layer][0]) for layer in probe.q}
    return Capture(looked={"clip-picture": looked}, parts=parts)


def _clip_words(clip: nn.Module, job: AttentionJob, kind: Family, picture: Image, ctx: Ctx) -> Capture:
    """Word states and the patches' own values in the joint space, of length 1."""
    tokens, side = _without_padding(_words(kind, job.text)), clip.config.vision.image_size // clip.config.vision.patch_size
    words = clip.text(_prompt(kind, job.text, ctx))[0, : len(tokens.ids)]   # (T, dim)
    patches = clip.vision.patch_values(_pixels(picture, ctx))[0]            # (P, dim)
    q = normalize(clip.text_projection(words).float(), dim=-1)              # (T, joint)
    k = normalize(clip.vision_projection(patches).float(), dim=-1)          # (P, joint)
    looked = _looked(
        job, "clip", ctx.dtype, rows=tokens, columns=cells(side, side), column_grid=(side, side), picture=picture, layers=("joint space",),
        heads=(1,), scale=1.0, notes=text_notes(job.text, "text", kind),
    )  # fmt: skip
    heads = Heads(q=q[None], k=k[None], causal=False, softmax=False)
    return Capture(looked={"clip-words": looked}, parts={("clip-words", 0, 0): heads})


# --- UNet ---


def unet_sight(job: AttentionJob, ctx: Ctx, stack: ExitStack) -> Generator[Event, None, Sight]:
    """The UNet at one step of a picture; one run serves both kinds of attention and all of its steps."""
    if job.step > job.steps:
        raise UserError(f"The run has {job.steps} steps, there is no step {job.step}.", hint="Choose an earlier one, or more steps.")
    if job.source == "unet-words" and not job.text.strip():
        raise UserError("There are no prompt words to look at.", hint="Type some words.")
    txt2img = Txt2Img(prompt=job.text, steps=job.steps, cfg_scale=job.cfg_scale, seed=job.seed, model=job.family)
    yield Progress(done=0, note="loading the models")
    unet = stack.enter_context(ctx.zoo.use(f"{job.family}/unet"))
    key = ("unet", job.text, job.steps, job.cfg_scale, job.seed, ctx.device)
    capture = STORE.find(unet, key)
    if capture is None or (job.source, job.step, 0) not in capture.parts:
        with ExitStack() as studio_stack:
            studio = open_studio(make_plan(txt2img), ctx, studio_stack)
            capture, picture = yield from _make_picture(studio, job.step)
        capture.looked |= _unet_looked(job, studio, unet.config, picture)
        STORE.keep(unet, key, capture, ctx.device)
    return Sight(capture=capture, source=job.source, step=job.step)


def _make_picture(studio: Studio, step: int) -> Generator[Event, None, tuple[Capture, Image]]:
    """Make the picture; keep the queries and keys of all its steps, or of the one asked for where all would take too much memory."""
    capture, net, total, last = Capture(), studio.denoiser.unet, studio.job.steps, None
    steps, room = sampler_of(studio, studio.job.seed), STORE.room(studio.ctx.device)
    all_fit = True
    for i in range(1, total + 1):
        probe = Watched(studio.ctx, "q", "k", "cross_q", "cross_k")
        studio.denoiser.unet = partial(net, probe=probe)
        last = next(steps)
        if i == 1:
            all_fit = total * sum(part.bytes for part in _parts(probe, i).values()) <= room
        if all_fit or i == step:
            capture.parts |= _parts(probe, i)
        yield Progress(done=i, total=total, unit="steps", note="making the picture")
    return capture, decode(studio.vae, last.x_next, f"seed {studio.job.seed}, {total} steps")


def _parts(probe: Watched, step: int) -> dict[tuple[str, int, int], Heads]:
    """Of the half with the prompt, which is the last of the batch."""
    sides = {"unet-self": (probe.q, probe.k), "unet-words": (probe.cross_q, probe.cross_k)}
    return {(source, step, layer): _heads(q[layer][-1], k[layer][-1]) for source, (q, k) in sides.items() for layer in q}


def _unet_looked(job: AttentionJob, studio: Studio, unet: UNetConfig, picture: Image) -> dict[str, Looked]:
    """Both kinds of attention."""
    shrink, places, kind = studio.vae.config.downscale, unet.transformers, studio.plan.kind
    height, width = picture.height // shrink, picture.width // shrink
    grids = tuple((-(-height // 2**level), -(-width // 2**level)) for _, level in places)
    names = [f"{place} {grid[0]} × {grid[1]}" for (place, _), grid in zip(places, grids, strict=True)]
    layers = tuple(f"{name} ({names[:n].count(name) + 1})" if names.count(name) > 1 else name for n, name in enumerate(names))
    own = cells(*grids[0])
    common = {
        "layers": layers, "heads": (unet.n_heads,) * len(layers), "grids": grids, "row_grid": grids[0], "rows": own, "picture": picture,
        "steps": job.steps, "scale": (unet.block_out_channels[places[0][1]] // unet.n_heads) ** -0.5,
        "notes": text_notes(job.text, "prompt", kind),
    }  # fmt: skip
    dtype = studio.ctx.dtype
    return {
        "unet-self": _looked(job, "unet", dtype, source="unet-self", columns=own, column_grid=grids[0], **common),
        "unet-words": _looked(job, "unet", dtype, source="unet-words", columns=_words(kind, job.text), **common),
    }
