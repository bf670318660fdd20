"""What the inspector says of the heads on show, and of tokens: numbers, the equation with its numbers, what must not be concluded."""

from __future__ import annotations

import numpy as np

from app.panels.attention.maps import Looks, Profile
from app.panels.attention.selection import Focus
from app.panels.attention.sides import side
from app.panels.attention.words import NOT_AN_EXPLANATION, SCORE_HELP
from app.protocol.attention import SCORES, Looked, OverviewMaps, WeightMap
from app.protocol.chat import LensRow
from app.widgets.colour_scale import figure
from app.widgets.matrix_axes import label
from app.widgets.probability_bars import Bar
from app.widgets.token_words import number, quoted

VASWANI = "Vaswani et al. 2017, arXiv 1706.03762"
DAAM = "Tang et al. 2022, arXiv 2210.04885"
ROLLOUT = "Abnar and Zuidema 2020, arXiv 2005.00928"
CLIP = "CLIP: arXiv 2103.00020; MaskCLIP: arXiv 2112.01071"
SIMILARITY = "clip-words"
"""The source whose maps are cosines of states, not attention."""
MOST_BARS = 8


def heads_in_words(heads: tuple[int, ...], count: int) -> str:
    """Which heads, and that several are a mean."""
    if len(heads) == 1:
        return f"head {heads[0]}"
    if len(heads) == count:
        return f"mean of all {count} heads"
    return f"mean of heads {', '.join(map(str, heads))}"


def head_page(
    looked: Looked, map_: WeightMap | None, overview: OverviewMaps | None, layer: int, heads: tuple[int, ...], looks: Looks
) -> tuple:
    """What `Inspector.set_content` takes."""
    rows: list[tuple[str, ...]] = [
        ("Model", looked.model, "whose attention this is"),
        ("Numbers", looked.number_format, "number format of the weights of the model"),
        ("Queries", _side_in_words(looked, "rows", layer), "rows of the map"),
        ("Keys", _side_in_words(looked, "columns", layer), "columns of the map"),
    ]
    if map_ is not None:
        rows += [
            ("Values", map_.caption, "what a value of the map is"),
            ("Normalised", map_.normalisation + (", first key dropped" if map_.dropped_first else ""), "what was done for the eye"),
            ("Block", block_in_words(map_), "queries and keys to a value"),
            ("Time", f"{map_.seconds * 1000:.0f} ms", "to compute this map from the kept queries and keys"),
        ]
    if overview is not None and len(heads) == 1 and not looks.across:
        rows += score_rows(overview, layer, heads[0])
    title = map_title(looked, layer, heads, looks)
    words = looked.sentence if "explanation" in looked.sentence else f"{looked.sentence} {caution(looked)}".strip()
    paper = CLIP if looked.source == SIMILARITY else ROLLOUT if looks.rollout else DAAM if looks.across else VASWANI
    return title[:1].upper() + title[1:], rows, _equation(looked, looks), words, paper


def map_title(looked: Looked, layer: int, heads: tuple[int, ...], looks: Looks) -> str:
    """Which layers and heads a map is of."""
    if looks.rollout:
        return f"rollout up to {looked.layers[layer]}"
    if looks.across:
        return "mean of all heads and layers" + (", all steps" if looks.summed == "run" else "")
    if looked.source == SIMILARITY:
        return looked.layers[layer]
    return f"{looked.layers[layer]}, {heads_in_words(heads, looked.heads[layer])}"


def caution(looked: Looked) -> str:
    """What must stand beside weights; similarities are no attention at all."""
    return "" if looked.source == SIMILARITY else NOT_AN_EXPLANATION


def block_in_words(map_: WeightMap) -> str:
    """How many weights a value stands for, and of which rows if not of all."""
    part = f", rows {map_.rows[0]} to {map_.rows[1] - 1} in sight" if map_.rows[0] or map_.columns[0] > 1 else ""
    return f"1 x 1, exact{part}" if map_.exact else f"{map_.block[0]} x {map_.block[1]}, means"


def score_rows(overview: OverviewMaps, layer: int, head: int) -> list[tuple[str, ...]]:
    """A head's scores, each with its rank among all heads."""
    rows: list[tuple[str, ...]] = []
    for name, scores in zip(SCORES, overview.scores, strict=True):
        value, known = scores[layer, head], scores[~np.isnan(scores)]
        if not np.isnan(value):
            rank = int((known > value).sum()) + 1
            rows.append((name.capitalize(), f"{figure(float(value))}   {rank}. of {known.size}", SCORE_HELP[name]))
    return rows


def _side_in_words(looked: Looked, axis: str, layer: int) -> str:
    there = side(looked, axis, layer)
    count = len(there.texts)
    if there.grid is None:
        return "1 token" if count == 1 else f"{count:,} tokens"
    extra = f" and {there.extra} before" if there.extra else ""
    return f"{there.grid[0]} x {there.grid[1]} cells{extra}"


def _equation(looked: Looked, looks: Looks) -> str:
    if looks.rollout:
        return f"Ã = (1 − r) mean(A) + r I,  r = {looks.residual:g}\nR = Ã_l … Ã_1"
    if looks.across:
        return "mean over l, h of resize(A_lh)\nA = softmax(s · q kᵀ)"
    if looked.source == SIMILARITY:
        return "cos(word, patch), no softmax"
    if not looked.scale:
        return "out = A v"
    mask = " + mask" if looked.causal else ""
    return f"A = softmax(s · q kᵀ{mask})\ns = {looked.scale:.4g} = 1 / √{round(1 / looked.scale**2)}"


def focus_in_words(looked: Looked, focus: Focus, layer: int) -> str:
    """Tokens in focus, a few of them by name, and in which direction they are looked at."""
    texts = side(looked, focus.axis, layer).texts
    names = ", ".join(f"“{label(texts, token)}”" for token in focus.tokens[:3])
    more = f" and {len(focus.tokens) - 3} more" if len(focus.tokens) > 3 else ""
    one, several = ("looks at", "look at, on average") if focus.axis == "rows" else ("is looked at by", "are looked at by, on average")
    if looked.source == SIMILARITY:
        one, several = "is similar to", "are similar to, on average"
    return f"{names}{more} {one if len(focus.tokens) == 1 else several}"


def profile_in_words(looked: Looked, profile: Profile | None, layer: int, heads: tuple[int, ...], looks: Looks) -> str:
    """What shades are."""
    if profile is None:
        return "Point at a token: the others are shaded by their weight. Click pins, Shift adds, Esc lets go."
    what, of = focus_in_words(looked, profile.focus, layer), map_title(looked, layer, heads, looks)
    return f"what {what} · {of}" + ("" if profile.exact else " · means of blocks")


def profile_bars(profile: Profile, texts: tuple[str, ...]) -> list[Bar]:
    """The tokens with the largest weights."""
    weights = np.nan_to_num(profile.weights[: len(texts)])
    order = np.argsort(-weights)[:MOST_BARS]
    top = float(weights[order[0]]) if order.size and weights[order[0]] > 0 else 1.0
    tip = "exact weight" if profile.exact else "mean of a block; the exact weight is on its way"
    return [
        Bar(quoted(texts[n]), float(weights[n]) / max(top, 1.0), number(float(weights[n])), mono=True, key=int(n), tip=f"token {n}: {tip}")
        for n in order if weights[n] > 0
    ]  # fmt: skip


def lens_bars(rows: tuple[LensRow, ...]) -> list[Bar]:
    """What each layer would say next, last layer on top; the bar is the probability of the token that came."""
    bars = []
    for row in rows:
        best = row.top[0] if row.top else None
        came = f"the token that came has rank {row.rank_next + 1}" if row.rank_next >= 0 else "the text ends here"
        share = best.p if row.rank_next < 0 and best else row.p_next
        tip = f"after layer {row.layer}: {came}; entropy {row.entropy:.2f} nats"
        role = "ok" if row.rank_next == 0 else "accent"
        bars.append(Bar(f"{row.layer}  {quoted(best.text) if best else ''}", share, number(share), role=role, mono=True, tip=tip))
    return bars[::-1]
