"""Runners of the attention panel: all heads at a glance, one map exactly, what tokens look at, rollout, and files.

Models run their fast attention, which never forms the weights; here weights are computed from the queries and keys they used, in fp32, for
the layer, heads and rows that are looked at (`captures.py`; where those come from: `attention_sources.py`).
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import ExitStack

import numpy as np
import torch
from torch import Tensor

from app.jobs.attention import (
    Attention,
    AttentionExport,
    AttentionMap,
    AttentionOverview,
    AttentionProfile,
    AttentionRollout,
    AttentionSum,
    AttentionView,
)
from app.protocol.attention import TokenProfile, WeightMap
from app.protocol.errors import UserError
from app.protocol.events import Event, Progress, Record
from app.protocol.payloads import Result
from app.protocol.sizes import size_words
from app.runners.attention_across import across, goes_across
from app.runners.attention_files import csv_text, map_picture, npz_bytes
from app.runners.attention_sources import open_sight
from app.runners.attention_views import (
    EYE_WORDS,
    Frame,
    Summary,
    caption_of,
    check_layer,
    chosen_heads,
    for_the_eye,
    heads_in_words,
    mean_rows,
    rows_at_once,
    rows_of_heads,
    where,
)
from app.runners.captures import Heads, Sight, Weights
from app.worker import display
from app.worker.context import Ctx

REPORT_MS = 150
MOST_FILE_BYTES = 1024**3
"""Of weights written into a file."""
MOST_CSV_VALUES = 4_000_000
DROPPED = "first key left out, rows rescaled to sum to 1"
Run = Generator[Event, None, Result]


def overview(job: AttentionOverview, ctx: Ctx) -> Run:
    """All layers and heads as thumbnails and scores, told as they are computed."""
    with ExitStack() as stack:
        sight = yield from open_sight(job, ctx, stack)
        began = time.perf_counter()
        yield Record(channel="looked", payload=sight.looked)
        if job.growing:
            check_layer(job.up_to, sight.looked)
            yield from sight.heads(job.up_to)
            return Result(files={"looked": sight.looked}, facts={"seconds": time.perf_counter() - began})
        summary, count = Summary(sight.looked, job.size), len(sight.looked.layers)
        for layer in range(count):
            heads = yield from sight.heads(layer)
            yield from summary.add(layer, heads, sight.ids)
            if ctx.every(REPORT_MS) or layer == count - 1:
                yield Record(channel="overview", payload=summary.maps(time.perf_counter() - began))
        maps = summary.maps(time.perf_counter() - began)
        return Result(files={"looked": sight.looked, "overview": maps}, facts={"seconds": maps.seconds})


def _layer(job: Attention | AttentionView, sight: Sight) -> Generator[Event, None, Heads | Weights]:
    check_layer(job.layer, sight.looked)
    return (yield from sight.heads(job.layer))


def weight_map(job: AttentionMap, ctx: Ctx) -> Run:
    """A part of a map of one head, or of the mean of several."""
    with ExitStack() as stack:
        sight = yield from open_sight(job, ctx, stack)
        heads = yield from _layer(job, sight)
        began, chosen = time.perf_counter(), chosen_heads(job.heads, heads.shape[0])
        dropped, frame = job.drop_first and heads.softmax, Frame.of(job, heads.shape[1:])
        values = yield from frame.values(mean_rows(heads.ready(chosen), dropped), rows_at_once(len(chosen), heads.shape[2]))
        what = (heads.kind, where(sight.looked, job.layer, sight.step), heads_in_words(chosen, heads.shape[0]))
        shown = _shown(job, sight, values, frame, chosen, dropped, what, time.perf_counter() - began)
        return Result(files={"map": shown}, facts={"caption": shown.caption, "seconds": shown.seconds})


def _shown(
    job: AttentionView, sight: Sight, values: Tensor, frame: Frame, chosen: tuple[int, ...], dropped: bool, what: tuple[str, ...],
    seconds: float,
) -> WeightMap:  # fmt: skip
    details = (*what[1:], DROPPED if dropped else "", frame.caption(), EYE_WORDS[job.normalisation])
    return WeightMap(
        values=for_the_eye(values, job.normalisation), layer=job.layer, heads=chosen, rows=frame.rows, columns=frame.columns,
        block=frame.block, normalisation=job.normalisation, dropped_first=dropped, caption=caption_of(sight.looked, what[0], *details),
        seconds=seconds,
    )  # fmt: skip


def profile(job: AttentionProfile, ctx: Ctx) -> Run:
    """What some tokens look at, and what looks at them, over the whole map."""
    with ExitStack() as stack:
        sight = yield from open_sight(job, ctx, stack)
        heads = yield from _layer(job, sight)
        chosen, (_, queries, keys) = chosen_heads(job.heads, heads.shape[0]), heads.shape
        as_rows, as_columns = _places(job.tokens, queries, keys)
        dropped = job.drop_first and heads.softmax
        rows = mean_rows(heads.ready(chosen), dropped)
        looks_at = torch.stack([rows(place, 1)[0] for place in as_rows]).mean(0) if as_rows else torch.full((keys,), torch.nan)
        looked_at_by, step = [], rows_at_once(len(chosen), keys)
        for start in range(0, queries, step):
            looked_at_by.append(rows(start, step)[:, as_columns].mean(-1))  # nan without columns
            if start + step < queries:
                yield Progress(done=start, total=queries, unit="rows", note="computing the map")
        caption = caption_of(
            sight.looked, heads.kind, where(sight.looked, job.layer, sight.step), heads_in_words(chosen, heads.shape[0]),
            DROPPED if dropped else "", f"mean of {len(job.tokens)} tokens" if len(job.tokens) > 1 else "",
        )  # fmt: skip
        found = TokenProfile(
            looks_at=display.array(looks_at), looked_at_by=display.array(torch.cat(looked_at_by)), layer=job.layer, heads=chosen,
            tokens=job.tokens, caption=caption,
        )  # fmt: skip
        return Result(files={"profile": found}, facts={"caption": caption})


def _places(tokens: tuple[int, ...], queries: int, keys: int) -> tuple[list[int], list[int]]:
    """Those of the tokens that are queries, and those that are keys."""
    most = max(queries, keys)
    if not tokens:
        raise UserError("No token is chosen.", hint="Choose one or several.")
    if wrong := [place for place in tokens if not 0 <= place < most]:
        raise UserError(f"There are {most} tokens, there is no token {wrong[0]}.", hint=f"They are counted from 0 to {most - 1}.")
    return [place for place in tokens if place < queries], [place for place in tokens if place < keys]


def of_layers(job: AttentionRollout | AttentionSum, ctx: Ctx) -> Run:
    """One map of several layers: their product with the residual stream mixed in, or their mean over the words of a prompt."""
    with ExitStack() as stack:
        sight = yield from open_sight(job, ctx, stack)
        began = time.perf_counter()
        flow, what = yield from across(job, sight)
        frame = Frame.of(job, tuple(flow.shape))
        values = yield from frame.values(lambda start, count: flow[start : start + count], flow.shape[0])
        every_head = chosen_heads((), sight.looked.heads[job.layer])
        shown = _shown(job, sight, values, frame, every_head, job.drop_first, what, time.perf_counter() - began)
        return Result(files={"map": shown}, facts={"caption": shown.caption, "seconds": shown.seconds})


# --- files ---


def _exact(
    heads: Heads | Weights, chosen: tuple[int, ...], frame: Frame, dropped: bool
) -> Generator[Event, None, np.ndarray]:
    """Every weight of the window, float32 (heads, r, c)."""
    (first, end), (left, right) = frame.rows, frame.columns
    size = 4 * len(chosen) * (end - first) * (right - left)
    if size > MOST_FILE_BYTES:
        raise UserError(
            f"The weights of {len(chosen)} heads, {end - first:,} × {right - left:,} each, would take {size_words(size)}.",
            hint="Choose fewer heads, rows or columns, or a shorter text.",
        )
    weights = np.empty((len(chosen), end - first, right - left), np.float32)
    ready, step = heads.ready(chosen), rows_at_once(len(chosen), heads.shape[2])
    for start in range(first, end, step):
        part = rows_of_heads(ready, start, min(step, end - start), dropped)[:, :, left:right]
        weights[:, start - first : start - first + part.shape[1]] = part.cpu()
        yield Progress(done=min(start + step, end) - first, total=end - first, unit="rows", note="computing the maps")
    return weights


def attention(job: Attention, ctx: Ctx) -> Run:
    """The weights of a layer, all heads, and a picture of them."""
    began = time.perf_counter()
    with ExitStack() as stack:
        sight = yield from open_sight(job, ctx, stack)
        heads, looked = (yield from _layer(job, sight)), sight.looked
        count, queries, keys = heads.shape
        frame = Frame(rows=(0, queries), columns=(0, keys), block=(1, 1))
        weights = yield from _exact(heads, tuple(range(count)), frame, False)
        title = f"{looked.model}, {where(looked, job.layer, sight.step)}: {count} heads" if count > 1 else looked.model
        caption = caption_of(looked, heads.kind, where(looked, job.layer, sight.step), looked.sentence)
        names = [f"head {n}" for n in range(count)] if count > 1 else [""]
        picture = map_picture(weights, looked, job.layer, frame, title, names, f"{heads.kind}. {looked.sentence}")
        files = {
            "attention.npz": npz_bytes(weights, looked, job.layer, tuple(range(count)), frame, heads), "attention.png": picture,
            "tokens": looked.rows,
        }  # fmt: skip
        facts = {"layer": job.layer, "heads": count, "tokens": queries, "columns": keys, "caption": caption,
                 "number_format": looked.number_format, "seconds": time.perf_counter() - began}  # fmt: skip
        return Result(files=files, facts=facts)


def export(job: AttentionExport, ctx: Ctx) -> Run:
    """The shown part of the map as numbers and as a picture, every value one weight: all chosen heads in the NPZ, their mean else."""
    with ExitStack() as stack:
        sight = yield from open_sight(job, ctx, stack)
        if goes_across(job):
            return (yield from _export_layers(job, sight))
        heads, looked = (yield from _layer(job, sight)), sight.looked
        chosen, frame = chosen_heads(job.heads, heads.shape[0]), Frame.of(job, heads.shape[1:], most=max(heads.shape))
        _check_table(frame)
        dropped = job.drop_first and heads.softmax
        weights = yield from _exact(heads, chosen, frame, dropped)
        what = (heads.kind, where(looked, job.layer, sight.step), heads_in_words(chosen, heads.shape[0]))
        return (yield from _files(job, sight, weights, frame, chosen, dropped, what, heads))


def _export_layers(job: AttentionExport, sight: Sight) -> Run:
    flow, what = yield from across(job, sight)
    frame = Frame.of(job, tuple(flow.shape), most=max(flow.shape))
    _check_table(frame)
    values = flow[slice(*frame.rows), slice(*frame.columns)].float().cpu().numpy()
    every_head = chosen_heads((), sight.looked.heads[job.layer])
    return (yield from _files(job, sight, values[None], frame, every_head, job.drop_first, what, None))


def _check_table(frame: Frame) -> None:
    (first, end), (left, right) = frame.rows, frame.columns
    if (end - first) * (right - left) > MOST_CSV_VALUES:
        raise UserError(
            f"A table of {end - first:,} × {right - left:,} weights is more than {MOST_CSV_VALUES:,}.", hint="Choose a part of the map."
        )


def _files(
    job: AttentionExport, sight: Sight, weights: np.ndarray, frame: Frame, chosen: tuple[int, ...], dropped: bool, what: tuple[str, ...],
    heads: Heads | Weights | None,
) -> Run:  # fmt: skip
    """Maps (n, r, c) as NPZ, their mean as a table and, for the eye, as a picture."""
    looked, mean = sight.looked, weights.mean(0)                            # (r, c)
    shown = _shown(job, sight, torch.from_numpy(mean), frame, chosen, dropped, what, 0.0)
    table = yield from csv_text(mean, looked, job.layer, frame)
    files = {
        "attention.npz": npz_bytes(weights, looked, job.layer, chosen, frame, heads), "attention.csv": table,
        "attention.png": map_picture(shown.values[None], looked, job.layer, frame, looked.model, [""], shown.caption),
    }  # fmt: skip
    return Result(files=files, facts={"caption": shown.caption})
