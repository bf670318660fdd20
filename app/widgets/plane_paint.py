"""What the plane's stage is painted from: points as a soft cloud, vectors as arrows, round numbers for the axes."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pyqtgraph as pg
from PySide6.QtGui import QColor, QImage, QPainterPath

MOST_SIDE = 600
"""Pixels a side of the layer of points; a larger stage shows it enlarged, so that ten thousand points stay cheap."""
OPAQUE = 1.1
"""Ink of a point's middle; n points over each other cover 1 - exp(-n OPAQUE)."""
HEAD, BARB = 0.34, 0.45
"""Length of an arrow's head, as a share of its own, and the angle of its barbs."""
GAMMA = 0.6
"""A density is shown as this power of its share of the largest, so that thin parts can be seen."""
PARTS = 4
"""Places of a point within a pixel that are told apart, each way."""


def cloud_picture(places: np.ndarray, side: int, radius: float, inks: list[QColor], groups: np.ndarray | None = None) -> QImage:
    """Points (N, 2) in pixels of a square of `side` -> premultiplied picture; `groups` (N,) picks the ink of each point.

    What lies outside, or is not a number, is left out.
    """
    kept = np.isfinite(places).all(1)
    places, groups = places[kept], None if groups is None else groups[kept]
    if groups is None:
        pixels = _one_ink(ink_layer(places, side, radius), inks[0])
    else:
        pixels = _many_inks([ink_layer(places[groups == k], side, radius) for k in range(len(inks))], inks)
    return QImage(pixels.data, side, side, 4 * side, QImage.Format.Format_ARGB32_Premultiplied).copy()


def _one_ink(amount: np.ndarray, ink: QColor) -> np.ndarray:
    """How much ink (n,) -> pixels, uint32 (n,)."""
    pixels = np.zeros(len(amount), np.uint32)
    inked = np.flatnonzero(amount > 0)
    pixels[inked] = _shades(ink.rgb())[_bytes(1 - np.exp(-OPAQUE * amount[inked]))]
    return pixels


def _many_inks(layers: list[np.ndarray], inks: list[QColor]) -> np.ndarray:
    """How much of each ink (n,) -> pixels, uint32 (n,): covered by all together, coloured by their shares."""
    total = np.sum(layers, axis=0)
    inked = np.flatnonzero(total > 0)
    amount = total[inked]
    cover = 1 - np.exp(-OPAQUE * amount)
    pixels = np.zeros(len(total), np.uint32)
    pixels[inked] = _bytes(cover) << 24
    for shift, channel in ((16, "red"), (8, "green"), (0, "blue")):
        value = sum(layer[inked] * getattr(ink, channel)() for layer, ink in zip(layers, inks)) / amount
        pixels[inked] |= _bytes(value / 255 * cover) << shift
    return pixels


def _bytes(shares: np.ndarray) -> np.ndarray:
    return (shares * 255 + 0.5).astype(np.uint32)


def ink_layer(places: np.ndarray, side: int, radius: float) -> np.ndarray:
    """How much ink each pixel gets, float (side * side,): a soft disc of 1 in its middle for every point."""
    stamps, steps = _stamps(round(radius, 2))
    reach = -steps[0]
    fine = np.floor(places * PARTS).astype(np.int64)                             # (N, 2)
    first = fine // PARTS
    inside = ((first >= reach) & (first < side - reach)).all(1)
    first, part = first[inside], (fine - first * PARTS)[inside]
    offsets = (steps[:, None] * side + steps).ravel()                            # (S * S,)
    index = (first[:, 1] * side + first[:, 0])[:, None] + offsets                # (N, S * S)
    ink = stamps[part[:, 1] * PARTS + part[:, 0]]
    return np.bincount(index.ravel(), ink.ravel(), minlength=side * side)


@cache
def _stamps(radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Ink of a disc (PARTS * PARTS, S * S) for each place of its middle within a pixel, and the pixels (S,) it reaches."""
    reach = max(1, math.ceil(radius + 1 - 1 / (2 * PARTS)) - 1)  # farthest pixel with any ink
    steps = np.arange(-reach, reach + 1)
    middles = (np.arange(PARTS) + 0.5) / PARTS
    apart = steps + 0.5 - middles[:, None]                                       # (PARTS, S)
    distance = np.hypot(apart[None, :, None, :], apart[:, None, :, None])        # y part, x part, row, column
    return np.clip(radius + 0.5 - distance, 0, 1).reshape(PARTS**2, -1), steps


def shade(values: np.ndarray, ink: QColor) -> QImage:
    """A density (n, n), rows from low y to high y, as more or less of one ink; rows from high y to low y in the picture."""
    known = np.nan_to_num(values[::-1], nan=0.0, posinf=0.0, neginf=0.0)
    share = np.clip(known / max(float(known.max()), 1e-12), 0, 1) ** GAMMA
    pixels = _shades(ink.rgb())[(share * 255).astype(np.uint8)]
    return QImage(pixels.data, *pixels.shape[::-1], 4 * pixels.shape[1], QImage.Format.Format_ARGB32_Premultiplied).copy()


def contours(values: np.ndarray, side: int, levels: np.ndarray, low: QColor, high: QColor, line: QColor) -> QImage:
    """Values (n, n), rows from low y to high y, as bands between levels (L,) from one colour to another, with a line at each level.

    Between the given values it is interpolated linearly both ways, to `side` pixels; what is no number stays clear.
    """
    fine = enlarged(values[::-1], side)
    known = np.isfinite(fine)
    band = np.searchsorted(levels, np.where(known, fine, 0.0))                   # (side, side), 0 .. L
    edge = np.zeros_like(known)
    edge[:, 1:] |= band[:, 1:] != band[:, :-1]
    edge[1:] |= band[1:] != band[:-1]
    share = np.arange(len(levels) + 1) / max(1, len(levels))
    ends = [np.array([ink.red(), ink.green(), ink.blue()]) for ink in (low, high)]
    inks = np.rint(ends[0] + share[:, None] * (ends[1] - ends[0])).astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    pixels = np.where(edge, np.uint32(line.rgb() & 0xFFFFFF), inks[band]) | np.uint32(0xFF000000)
    pixels = np.ascontiguousarray(np.where(known, pixels, 0), np.uint32)
    return QImage(pixels.data, side, side, 4 * side, QImage.Format.Format_ARGB32_Premultiplied).copy()


def enlarged(values: np.ndarray, side: int) -> np.ndarray:
    """Values (n, m) at the middles of cells -> (side, side), linear between the middles, constant beyond the outermost."""
    for axis in (0, 1):
        count = values.shape[axis]
        at = np.clip((np.arange(side) + 0.5) / side * count - 0.5, 0, count - 1)
        first = np.minimum(at.astype(int), max(count - 2, 0))
        share = (at - first).reshape(-1, 1) if axis == 0 else at - first
        below, above = np.take(values, first, axis), np.take(values, np.minimum(first + 1, count - 1), axis)
        values = below * (1 - share) + above * share
    return values


@cache
def _shades(rgb: int) -> np.ndarray:
    """One ink from nothing to full cover, premultiplied, uint32 (256,)."""
    cover = np.arange(256, dtype=np.uint32)
    shades = cover << 24
    for shift in (16, 8, 0):
        shades |= ((rgb >> shift & 255) * cover // 255) << shift
    return shades


def arrow_lines(tails: np.ndarray, tips: np.ndarray) -> QPainterPath:
    """Shaft and two barbs for each arrow; tails and tips (N, 2) in pixels. Arrows shorter than two pixels are left out."""
    along = tips - tails
    long = np.hypot(*along.T) >= 2
    tails, tips, along = tails[long], tips[long], along[long]
    lines = [np.hstack([tails, tips])]
    for turn in (-BARB, BARB):
        c, s = math.cos(turn), math.sin(turn)
        lines.append(np.hstack([tips, tips - HEAD * along @ np.array([[c, s], [-s, c]])]))
    ends = np.vstack(lines).reshape(-1, 2)                                       # (6 N, 2): begin, end, begin, end ...
    return pg.functions.arrayToQPath(*ends.T, connect="pairs")


def arrow_tips(places: np.ndarray, vectors: np.ndarray, spacing: float) -> tuple[np.ndarray, float]:
    """Ends of arrows (N, 2) in the plane that begin at `places`, and the length that stands for a full `spacing`.

    Longest of most: the 95th percentile fills a cell; longer ones are cut there.
    """
    length = np.linalg.norm(vectors, axis=1)
    known = length[np.isfinite(length)]
    full = float(np.percentile(known, 95)) if known.size and known.max() > 0 else 1.0
    scale = spacing / full * np.minimum(1, full / np.maximum(length, 1e-12))
    return places + np.nan_to_num(vectors * scale[:, None]), full


def round_ticks(low: float, high: float, most: int = 7) -> list[float]:
    """Round numbers between two ends: multiples of 1, 2 or 5 times a power of ten, at most `most`."""
    raw = (high - low) / most
    unit = 10 ** math.floor(math.log10(raw))
    step = next(m * unit for m in (1, 2, 5, 10) if m * unit >= raw * (1 - 1e-9))
    return [round(k * step, 10) for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]
