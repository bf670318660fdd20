"""Runner of `flash-tiles`: FlashAttention, one tile an event, with the naive way's result beside it."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import torch
from torch import Tensor

from app.jobs.attention_lab import FlashTiles
from app.protocol.attention_lab import TilePlan, TileView
from app.protocol.errors import UserError
from app.protocol.events import Event, Record, Step
from app.protocol.payloads import Result
from app.runners.attention_lab_heads import open_head
from app.worker import display
from app.worker.context import Ctx
from models.attention.flash import BackwardTile, TileStep, Tiling, backward_steps, forward_steps, row_without_maximum
from models.attention.signature import NEGATIVE_INFINITY, past
from models.attention.softmax import softmax, softmax_weights

Run = Generator[Event, None, Result]
MOST_TILES = 4096


def flash_tiles(job: FlashTiles, ctx: Ctx) -> Run:
    """Records "head", "plan", then "tile" and one Step each."""
    qkv = yield from open_head(job, ctx)
    q, k, v = qkv.first(job.length)
    plan = Tiling(q.shape[2], k.shape[2], q.shape[3], v.shape[3], job.tile_q, job.tile_k, job.causal, q.element_size())
    if len(plan.tiles()) > MOST_TILES:
        raise UserError(f"That makes {len(plan.tiles()):,} tiles, too many to look at.", hint="Take larger tiles or fewer tokens.")
    yield Record(channel="head", payload=qkv.head)
    yield Record(channel="plan", payload=tile_plan(plan, softmax_weights(q, k, causal=job.causal)[0, 0], job.phase))
    tiles = forward(q, k, v, job) if job.phase == "forward" else backward(q, k, v, job)
    moved, difference, total = 0, float("nan"), len(plan.tiles())
    for view in tiles:
        moved, difference = view.moved_bytes, view.difference
        yield Record(channel="tile", payload=view)
        yield Step(index=view.index + 1, total=total)
    facts = {"difference": difference, "moved_bytes": moved, "naive_bytes": naive_bytes(plan, job.phase), "tiles": total}
    return Result(facts={**facts, **without_maximum(q[0, 0], k[0, 0], job.causal), "head": qkv.head.title})


def without_maximum(q: Tensor, k: Tensor, causal: bool) -> dict[str, float]:
    """The row with the largest score as the formula says it, in fp16, without subtracting the maximum: how many weights are lost."""
    scores = q @ k.T * q.shape[-1] ** -0.5                                  # (T, T)
    if causal:
        scores = scores.masked_fill(~past(len(q), len(k), q.device), NEGATIVE_INFINITY)
    row = int(scores.amax(dim=-1).argmax())
    weights = row_without_maximum(q[row], k[: row + 1] if causal else k)
    return {"fp16_row": row, "fp16_top": float(scores[row].max()), "fp16_keys": len(weights), "fp16_lost": int((~weights.isfinite()).sum())}


def naive_bytes(plan: Tiling, phase: str) -> int:
    """What the naive way moves."""
    return (plan.naive_traffic if phase == "forward" else plan.naive_backward_traffic) * plan.itemsize


def tile_plan(plan: Tiling, weights: Tensor, phase: str) -> TilePlan:
    """For the window."""
    tiled = plan.forward_traffic if phase == "forward" else plan.backward_traffic
    return TilePlan(
        weights=display.array(weights), phase=phase, tokens=plan.T, width=plan.d, tile_q=plan.tile_q, tile_k=plan.tile_k,
        tiles=len(plan.tiles()), causal=plan.causal, naive_bytes=naive_bytes(plan, phase), tiled_bytes=tiled * plan.itemsize,
    )  # fmt: skip


def forward(q: Tensor, k: Tensor, v: Tensor, job: FlashTiles) -> Iterator[TileView]:
    """Tiles of the forward pass; finished rows are held against softmax's output."""
    reference, difference = softmax(q, k, v, causal=job.causal).out, float("nan")
    for step in forward_steps(q, k, v, tile_q=job.tile_q, tile_k=job.tile_k, causal=job.causal):
        if step.row_done:
            found = float((step.partial - reference[:, :, step.rows.start : step.rows.stop]).abs().max())
            difference = found if difference != difference else max(difference, found)
        yield forward_view(step, difference)


def forward_view(step: TileStep, difference: float) -> TileView:
    """For the window; the batch and the head are dropped."""
    p, before, m, l, a, partial = (
        display.array(x[0, 0]) for x in (step.p, step.m_before, step.m, step.l, step.rescale, step.partial)
    )
    return TileView(
        index=step.index, rows=(step.rows.start, step.rows.stop), columns=(step.columns.start, step.columns.stop), values=p,
        m_before=before, m=m, l=l, rescale=a, partial=partial, row_done=step.row_done, moved_bytes=step.moved_bytes, difference=difference,
    )  # fmt: skip


def backward(q: Tensor, k: Tensor, v: Tensor, job: FlashTiles) -> Iterator[TileView]:
    """Tiles of the backward pass for a random gradient of the output; the gradients of q, k, v are held against autograd's at the end."""
    dout = torch.randn(q.shape[:3] + v.shape[3:], generator=torch.Generator().manual_seed(job.seed)).to(q)
    sizes = {"tile_q": job.tile_q, "tile_k": job.tile_k, "causal": job.causal}
    out, logs = returned(forward_steps(q, k, v, **sizes))
    steps, last = backward_steps(q, k, v, out, logs, dout, **sizes), None
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            yield backward_view(last, worst(end.value, naive_gradients(q, k, v, dout, job.causal)))
            return
        if last is not None:
            yield backward_view(last, float("nan"))
        last = step


def backward_view(step: BackwardTile, difference: float) -> TileView:
    """For the window."""
    none = display.array(torch.zeros(0))
    return TileView(
        index=step.index, rows=(step.rows.start, step.rows.stop), columns=(step.columns.start, step.columns.stop),
        values=display.array(step.ds[0, 0]), m_before=none, m=none, l=none, rescale=none, partial=none.reshape(0, 0), row_done=False,
        moved_bytes=step.moved_bytes, difference=difference,
    )  # fmt: skip


def naive_gradients(q: Tensor, k: Tensor, v: Tensor, dout: Tensor, causal: bool) -> tuple[Tensor, ...]:
    """Autograd's, through the matrix of weights."""
    with torch.enable_grad():
        leaves = [x.detach().clone().requires_grad_(True) for x in (q, k, v)]
        return torch.autograd.grad(softmax(*leaves, causal=causal).out, leaves, dout)


def worst(found: tuple[Tensor, ...], wanted: tuple[Tensor, ...]) -> float:
    """Largest difference of any entry."""
    return max(float((a - b).abs().max()) for a, b in zip(found, wanted, strict=True))


def returned(steps: Iterator) -> tuple[Tensor, ...]:
    """What a generator returns when its steps are through."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
