"""The picture of a quadratic run: the landscape with the paths on it, and f - f* over the steps on a logarithmic axis."""

from __future__ import annotations

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw

from app.protocol.payloads import Image
from app.protocol.quadratic import DescentPath, Landscape
from app.runners.attention_picture import GREY, GROUND, INK, LINE, font

SIDE, MARGIN, GAP, HEAD = 460, 28, 70, 24
COLOURS = ((31, 103, 189), (214, 96, 16), (22, 135, 84), (136, 76, 175), (196, 48, 92), (92, 92, 100))
BANDS = 14
DECADES = 16
"""The error axis reaches so many powers of ten down at most."""


def picture(land: Landscape | None, paths: list[DescentPath]) -> Image:
    """Landscape on the left (none if it was not wanted), errors on the right; bounds are dashed."""
    left = SIDE + GAP if land is not None else 40
    sheet = Pillow.new("RGB", (MARGIN + left + SIDE + MARGIN, MARGIN + HEAD + SIDE + 40 + 18 * len(paths)), GROUND)
    draw = ImageDraw.Draw(sheet)
    top = MARGIN + HEAD
    if land is not None:
        draw.text((MARGIN, MARGIN - 8), "Contours of f and paths", INK, font(15))
        sheet.paste(_ground(land, paths), (MARGIN, top))
    _errors(draw, paths, MARGIN + left, top)
    for i, path in enumerate(paths):
        y = top + SIDE + 30 + 18 * i
        draw.line((MARGIN, y + 7, MARGIN + 24, y + 7), COLOURS[i % len(COLOURS)], 3)
        draw.text((MARGIN + 34, y), f"{path.title}: {len(path.points) - 1} steps, f - f* = {path.excess[-1]:.2e}", GREY, font(12))
    return Image(np.asarray(sheet).copy(), label="quadratic")


def _ground(land: Landscape, paths: list[DescentPath]) -> Pillow.Image:
    """Bands of equal f, even in its root, with the paths of all descents."""
    root = np.sqrt(np.abs(land.values - land.level))
    fine = Pillow.fromarray((root[::-1] / max(root.max(), 1e-300)).astype(np.float32)).resize((SIDE, SIDE), Pillow.Resampling.BICUBIC)
    band = np.floor(np.asarray(fine) * BANDS) % 2
    ground = Pillow.fromarray(np.where(band[..., None] > 0, 234, 249).astype(np.uint8).repeat(3, 2))
    draw = ImageDraw.Draw(ground)
    for i, path in enumerate(paths):
        at = ((path.points - land.centre) / land.reach * [1, -1] + 1) * (SIDE - 1) / 2
        places = [tuple(place) for place in np.clip(at, -SIDE, 2 * SIDE).tolist()]
        if len(places) > 1:
            draw.line(places, COLOURS[i % len(COLOURS)], 2)
        for x, y in places[:200]:
            draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=COLOURS[i % len(COLOURS)])
    return ground


def _errors(draw: ImageDraw.ImageDraw, paths: list[DescentPath], left: int, top: int) -> None:
    draw.text((left, MARGIN - 8), "f - f* over steps (dashed: bound)", INK, font(15))
    draw.rectangle((left, top, left + SIDE, top + SIDE), outline=LINE)
    high = np.log10(max(float(np.nanmax(path.excess)) for path in paths) + 1e-300)
    longest = max(max(len(path.points) for path in paths) - 1, 1)
    for power in range(int(np.ceil(high)) - DECADES, int(np.ceil(high)) + 1, 2):
        y = top + (high - power) / DECADES * SIDE
        if top <= y <= top + SIDE:
            draw.line((left, y, left + SIDE, y), LINE)
            draw.text((left - 36, y - 8), f"1e{power}", GREY, font(11))
    for k in range(5):
        draw.text((left + SIDE * k / 4 - 6, top + SIDE + 6), f"{longest * k / 4:g}", GREY, font(11))
    for i, path in enumerate(paths):
        for values, dashed in ((path.bound, True), (path.excess, False)):
            depth = np.clip((high - np.log10(np.maximum(values, 1e-300))) / DECADES, 0, 1) * SIDE
            places = [(left + SIDE * m / longest, top + y) for m, y in enumerate(depth.tolist()) if np.isfinite(y)]
            for m, (a, b) in enumerate(zip(places, places[1:])):
                if not (dashed and m % 2):
                    draw.line((*a, *b), COLOURS[i % len(COLOURS)], 1 if dashed else 2)
