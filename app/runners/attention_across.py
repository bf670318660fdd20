"""Maps made of several layers: rollout (arXiv 2005.00928), and the mean of all layers over a prompt's words (DAAM, arXiv 2210.04885)."""

from __future__ import annotations

from collections.abc import Generator

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from app.jobs.attention import AttentionExport, AttentionRollout, AttentionSum
from app.protocol.errors import UserError
from app.protocol.events import Event, Progress
from app.protocol.sizes import size_words
from app.runners.attention_views import check_layer, mean_rows, rows_at_once, where, without_first
from app.runners.captures import Heads, Sight, Weights
from models.attention.measures import rollout_step

MOST_ROLLOUT_BYTES = 1024**3
WITH_ROLLOUT = ("text", "clip-text", "clip-picture", "small")
Across = AttentionRollout | AttentionSum | AttentionExport


def goes_across(job: AttentionExport) -> bool:
    """Whether an export is one of several layers."""
    return job.rollout or job.summed != "no"


def across(job: Across, sight: Sight) -> Generator[Event, None, tuple[Tensor, tuple[str, ...]]]:
    """A map (T, S) of several layers, and what it is in words."""
    check_layer(job.layer, sight.looked)
    if getattr(job, "summed", "no") != "no":
        return (yield from _summed(job, sight))
    return (yield from _rolled_out(job, sight))


# --- rollout ---


def _rolled_out(job: AttentionRollout | AttentionExport, sight: Sight) -> Generator[Event, None, tuple[Tensor, tuple[str, ...]]]:
    """The product of the mean maps (T, T) of all layers up to the job's."""
    _check_rollout(job, sight)
    flow = None
    for layer in range(job.layer + 1):
        heads = yield from sight.heads(layer)
        if not heads.softmax:
            raise UserError("The rows of these maps do not sum to 1, so there is no rollout.", hint="Choose another attention.")
        flow = rollout_step(flow, _mean_map(heads), job.residual)
        yield Progress(done=layer + 1, total=job.layer + 1, unit="layers", note="multiplying layers")
    layers = sight.looked.layers
    words = ("rollout", f"{layers[0]} to {layers[job.layer]}", "heads averaged", f"residual share {job.residual:g}")
    return (without_first(flow) if job.drop_first else flow), words


def _check_rollout(job: AttentionRollout | AttentionExport, sight: Sight) -> None:
    looked = sight.looked
    if job.source not in WITH_ROLLOUT:
        raise UserError("A rollout needs layers that all look at the same tokens.", hint="Choose a text, or CLIP's patches.")
    needed = 12 * len(looked.rows.ids) ** 2  # a layer, the product so far and the next one
    if needed > MOST_ROLLOUT_BYTES:
        raise UserError(
            f"The rollout of {len(looked.rows.ids):,} tokens needs {size_words(needed)}.", hint="Look at a text of up to 9,000 tokens."
        )


def _mean_map(heads: Heads | Weights) -> Tensor:
    """The mean of all heads, (T, S)."""
    rows, (count, queries, keys) = mean_rows(heads.ready(), False), heads.shape
    step = rows_at_once(count, keys)
    return torch.cat([rows(start, step) for start in range(0, queries, step)])


# --- all layers over the words of a prompt ---


def _summed(job: AttentionSum | AttentionExport, sight: Sight) -> Generator[Event, None, tuple[Tensor, tuple[str, ...]]]:
    """Cells of the job's layer by words: the mean over heads and layers, each resized to that grid; a row still sums to 1."""
    looked = sight.looked
    if job.source != "unet-words":
        raise UserError("All layers can be summed where cells look at prompt words.", hint="Choose the UNet's cells to words.")
    steps = range(1, looked.steps + 1) if job.summed == "run" else (sight.step,)
    found: Tensor | float = 0.0
    for step in steps:
        for layer, grid in enumerate(looked.grids):
            found = found + _resized(_mean_map(_layer_at(sight, step, layer)), grid, looked.grids[job.layer])
        yield Progress(done=step, total=looked.steps, unit="steps", note="summing layers")
    found = found / (len(steps) * len(looked.grids))
    height, width = looked.grids[job.layer]
    of = f"all {looked.steps} steps" if job.summed == "run" else where(looked, job.layer, sight.step).rpartition(", ")[2]
    words = ("mean over heads and layers", f"all {len(looked.grids)} layers resized to {height} × {width}", of)
    return (without_first(found) if job.drop_first else found), words


def _layer_at(sight: Sight, step: int, layer: int) -> Heads:
    part = sight.capture.parts.get((sight.source, step, layer))
    if part is None:
        raise UserError("The queries of all steps took more memory than may be kept.", hint="Sum the layers of one step.")
    return part


def _resized(rows: Tensor, grid: tuple[int, int], to: tuple[int, int]) -> Tensor:
    """Each word's picture (h, w) at another size: (h w, T) -> (h' w', T)."""
    if grid == to:
        return rows
    pictures = rows.mT.reshape(1, -1, *grid)                                # (1, T, h, w)
    resized = interpolate(pictures, to, mode="bilinear", align_corners=False, antialias=True)
    return resized.flatten(2)[0].mT                                         # (h' w', T)
