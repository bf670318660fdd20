"""What the inspector says about a tile of FlashAttention."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from app.panels.attention_lab.page import Told
from app.protocol.attention_lab import TilePlan, TileView
from app.protocol.sizes import size_words
from app.widgets.fact_rows import Row

FORWARD = (
    "Watch the factor a: where a query meets a score above all before, its old sum and output shrink by a, and everything stays on one "
    "scale. After the last tile of a row O / l is the softmax output, though the whole row was never in memory at once."
)
BACKWARD = (
    "The weights are computed a second time from L, one number a query, instead of being kept. That is more arithmetic, and on long texts "
    "less traffic, which on a GPU is the faster way."
)
REFERENCE = "arXiv 2205.14135, 2307.08691; online softmax: arXiv 1805.02867"


def told_of_tile(plan: TilePlan | None, tile: TileView | None, facts: dict[str, Any]) -> Told:
    """Numbers of the tile, the update with the numbers of its first query, and what to look for."""
    if plan is None or tile is None:
        return Told(name="FlashAttention", explanation=FORWARD, reference=REFERENCE)
    forward = plan.phase == "forward"
    rows: list[Row] = [
        ("Tile", f"{tile.index + 1} of {plan.tiles}"), ("Queries", f"{tile.rows[0]} to {tile.rows[1] - 1}"),
        ("Keys", f"{tile.columns[0]} to {tile.columns[1] - 1}"),
        ("Moved", f"{size_words(tile.moved_bytes)} of {size_words(plan.tiled_bytes)}", "to and from slow memory so far, counted"),
        ("Naive way", size_words(plan.naive_bytes), "with the matrices S and P in slow memory"),
        ("Difference", difference_words(tile.difference, forward), "largest difference of any number from the naive way's result"),
    ]  # fmt: skip
    if plan.tiled_bytes >= plan.naive_bytes:
        rows.append(("Saved", "nothing at this size: the text is short, or the tiles small"))
    if forward and facts.get("fp16_keys"):
        rows.append(("Without m", fp16_words(facts), "the row with the largest score, exp without subtracting the maximum, in fp16"))
    return Told(
        name="FlashAttention", rows=tuple(rows), equation=forward_equation(tile) if forward else BACKWARD_EQUATION,
        explanation=FORWARD if forward else BACKWARD, reference=REFERENCE,
    )  # fmt: skip


BACKWARD_EQUATION = "D = rowsum(dO * O),  P = exp(S − L)\ndV += Pᵀ dO,  dS = P * (dO Vᵀ − D)\ndQ += dS K / √d,  dK += dSᵀ Q / √d"


def forward_equation(tile: TileView) -> str:
    """The update of the query whose sum shrinks most (of equals: that gains most), with its numbers.

    The largest score of the tile itself follows from P = exp(S - m').
    """
    n = int(np.lexsort((-tile.values.sum(axis=1), tile.rescale))[0])
    before, m, a, l = (float(side[n]) for side in (tile.m_before, tile.m, tile.rescale, tile.l))
    p, top = float(tile.values[n].sum()), float(tile.values[n].max())
    peak = f"{m + math.log(top):.3f}" if top > 0 else "−∞"
    old = (l - p) / a if a > 0 else 0.0
    start = "−∞" if math.isinf(before) else f"{before:.3f}"
    return (
        f"query {tile.rows[0] + n}:\nm' = max({start}, {peak}) = {m:.3f}\na = exp({start} − {m:.3f}) = {a:.3f}\n"
        f"l' = a l + Σ P = {a:.3f} · {old:.3f} + {p:.3f} = {l:.3f}\nO' = a O + P V"
    )


def result_words(plan: TilePlan, tile: TileView) -> str:
    """What is finished, and how near it is to the naive way, in a sentence."""
    if plan.phase == "backward":
        done = "all gradients of q, k and v" if not math.isnan(tile.difference) else ""
    else:
        end = tile.rows[1] if tile.row_done else tile.rows[0]
        done = f"outputs of queries 0 to {end - 1}" if end else ""
    if not done:
        return "No row of tiles is finished yet." if plan.phase == "forward" else "The gradients are whole after the last tile."
    return f"Finished: {done}. Largest difference from the naive way: {difference_words(tile.difference, plan.phase == 'forward')}."


def difference_words(difference: float, forward: bool) -> str:
    """How far the result is from the naive way's."""
    if math.isnan(difference):
        return "no row is finished yet" if forward else "known after the last tile"
    return f"{difference:.1e}" + (" (equal to 1e-5)" if difference < 1e-5 else " (more than 1e-5)")


def fp16_words(facts: dict[str, Any]) -> str:
    """What happens without the running maximum."""
    lost, keys, top = facts["fp16_lost"], facts["fp16_keys"], facts["fp16_top"]
    if not lost:
        return f"the largest score is {top:.1f}; exp still fits into fp16, which ends at exp(11.09)"
    return f"largest score {top:.1f}: {lost} of {keys} weights of query {facts['fp16_row']} are no numbers in fp16"
