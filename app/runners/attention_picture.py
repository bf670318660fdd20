"""Maps of attention side by side as one picture, drawn with numpy and Pillow: for the command line and for export.

All maps share one scale. A weight's colour goes by its square root, so that what a sink leaves over can be seen; the bar says so.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from functools import cache

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from app.protocol.payloads import Image

VIRIDIS = (
    (68, 1, 84), (71, 44, 122), (59, 81, 139), (44, 113, 142), (33, 144, 141), (39, 173, 129), (92, 200, 99), (170, 220, 50),
    (253, 231, 37),
)  # fmt: skip
"""Nine of its colours, evenly spaced (van der Walt and Smith, 2015)."""
GROUND, INK, GREY, UNSEEN, LINE = (255, 255, 255), (28, 28, 32), (104, 104, 112), (238, 238, 241), (214, 214, 220)
MARGIN, GAP, LABEL = 28, 18, 22
SIDE, SIDE_ALONE = 256, 640
"""Pixels of a map among others, and alone."""
SMALLEST_CELL, LONGEST_SIDE = 11, 1.6
"""Pixels that a token's name needs; a map may grow by so much for the sake of names."""
LEAST_WIDTH = 640
LONGEST_NAME = 14
BAR = (260, 12)


@cache
def font(size: int) -> ImageFont.ImageFont:
    """DejaVu Sans where it is installed, for it knows most scripts; else the one that Pillow brings."""
    try:
        return ImageFont.truetype("DejaVuSans.ttf", size)
    except OSError:
        return ImageFont.load_default(size)


def colours(share: np.ndarray) -> np.ndarray:
    """Shares 0 to 1 as viridis, uint8 (…, 3)."""
    place = np.clip(share, 0, 1) * (len(VIRIDIS) - 1)
    table = np.array(VIRIDIS, np.float32)
    return np.stack([np.interp(place, range(len(VIRIDIS)), table[:, c]) for c in range(3)], axis=-1).round().astype(np.uint8)


def small_multiples(
    maps: np.ndarray, title: str, caption: str, names: Sequence[str], rows: Sequence[str], columns: Sequence[str], unseen: np.ndarray | None
) -> Image:
    """maps (n, r, c), each under its name; `rows`, `columns` name the tokens; `unseen` (r, c) is True where a query may not look."""
    n = len(maps)
    across = math.ceil(math.sqrt(n))
    down = math.ceil(n / across)
    size = tuple(_side(count, SIDE if n > 1 else SIDE_ALONE) for count in maps.shape[1:])
    named = (size[0] // maps.shape[1] >= SMALLEST_CELL, size[1] // maps.shape[2] >= SMALLEST_CELL)
    left = MARGIN + (_longest(rows) + 6 if named[0] else 0)
    bottom = _longest(columns) + 6 if named[1] else 0
    width = max(left + across * (size[1] + GAP) - GAP + MARGIN, LEAST_WIDTH)
    lines = textwrap.wrap(caption, (width - 2 * MARGIN) // 7)
    head = MARGIN + 30 + 17 * len(lines) + 8
    height = head + down * (LABEL + size[0] + GAP) + bottom + 58
    sheet = Pillow.new("RGB", (width, height), GROUND)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN - 6), _cut(title, width - 2 * MARGIN, font(18)), INK, font(18))
    for i, line in enumerate(lines):
        draw.text((MARGIN, MARGIN + 24 + 17 * i), line, GREY, font(12))
    low, top = _ends(maps)
    for i, values in enumerate(maps):
        x, y = left + i % across * (size[1] + GAP), head + i // across * (LABEL + size[0] + GAP)
        _draw_map(sheet, draw, (x, y), size, values, names[i], unseen, (low, top))
        if named[0] and i % across == 0:
            _name_rows(draw, rows, x, y + LABEL, size[0])
        if named[1] and i + across >= n:
            _name_columns(sheet, columns, x, y + LABEL + size[0], size[1])
    _draw_bar(sheet, draw, (left, height - 50), low, top)
    draw.text((left + BAR[0] + 40, height - 52), "rows look (queries), columns are looked at (keys)", GREY, font(12))
    return Image(pixels=np.asarray(sheet), label=title)


def _side(count: int, side: int) -> int:
    """Pixels of a side: whole ones to a weight where there is room, and enough for names where that takes little more."""
    cell = max(SMALLEST_CELL, side // count)
    if count * cell <= LONGEST_SIDE * side:
        return count * cell
    return count * (side // count) if count <= side else side


def _ends(maps: np.ndarray) -> tuple[float, float]:
    low, top = float(np.nanmin(maps)), float(np.nanmax(maps))
    return (low if low < 0 else 0.0), (top if top > min(low, 0.0) else 1.0)


def _share(values: np.ndarray, low: float, top: float) -> np.ndarray:
    """Where on the scale: by the square root from 0, evenly where there are values below."""
    share = (values - low) / (top - low)
    return share if low < 0 else np.sqrt(np.clip(share, 0, 1))


def _shrunk(values: np.ndarray, size: int, axis: int) -> np.ndarray:
    """Means of about equal blocks along an axis, or each value several times."""
    n = values.shape[axis]
    if n <= size:
        return np.repeat(values, size // n, axis)
    edges = np.arange(size) * n // size
    counts = np.diff(np.append(edges, n))
    return np.add.reduceat(values, edges, axis) / (counts[:, None] if axis == 0 else counts)


def _draw_map(sheet, draw, place, size, values, name, unseen, ends) -> None:
    x, y = place
    draw.text((x, y + 2), name, INK, font(13))
    if unseen is None:  # the first row of a causal map has one key to look at: 1
        draw.text((x + size[1], y + 4), f"largest {values.max():.2g}", GREY, font(11), anchor="ra")
    pixels = colours(_share(_shrunk(_shrunk(values, size[0], 0), size[1], 1), *ends))
    if unseen is not None:
        hidden = _shrunk(_shrunk(unseen.astype(np.float32), size[0], 0), size[1], 1) == 1
        pixels[hidden] = UNSEEN
    sheet.paste(Pillow.fromarray(pixels), (x, y + LABEL))
    draw.rectangle((x - 1, y + LABEL - 1, x + size[1], y + LABEL + size[0]), outline=LINE)


def _name(text: str) -> str:
    shown = text.replace("\n", "⏎").replace("\t", "⇥").replace(" ", "·")
    return shown if len(shown) <= LONGEST_NAME else shown[: LONGEST_NAME - 1] + "…"


def _longest(texts: Sequence[str]) -> int:
    return max((math.ceil(font(10).getlength(_name(text))) for text in texts), default=0)


def _cut(text: str, width: int, face: ImageFont.ImageFont) -> str:
    while len(text) > 1 and face.getlength(text) > width:
        text = text[:-2] + "…"
    return text


def _name_rows(draw: ImageDraw.ImageDraw, rows: Sequence[str], x: int, y: int, height: int) -> None:
    cell = height / len(rows)
    for i, text in enumerate(rows):
        draw.text((x - 6, y + (i + 0.5) * cell), _name(text), GREY, font(10), anchor="rm")


def _name_columns(sheet: Pillow.Image, columns: Sequence[str], x: int, y: int, width: int) -> None:
    """Read from below upwards, ending under their columns."""
    cell, long = width / len(columns), _longest(columns)
    strip = Pillow.new("RGB", (long, width), GROUND)
    draw = ImageDraw.Draw(strip)
    for i, text in enumerate(columns):
        draw.text((long, (i + 0.5) * cell), _name(text), GREY, font(10), anchor="rm")
    sheet.paste(strip.transpose(Pillow.Transpose.ROTATE_90), (x, y + 5))


def _draw_bar(sheet, draw, place, low, top) -> None:
    x, y = place
    width, height = BAR
    sheet.paste(Pillow.fromarray(np.repeat(colours(np.linspace(0, 1, width))[None], height, 0)), (x, y))
    ticks = (low, 0.0, top) if low < 0 else (0.0, 0.04 * top, 0.25 * top, top)
    for tick in ticks:
        at = x + float(_share(np.array(tick), low, top)) * (width - 1)
        draw.text((at, y + height + 3), f"{tick:.2g}", GREY, font(10), anchor="ma")
    draw.text((x, y - 15), "" if low < 0 else "colour by the square root", GREY, font(10))
