"""The picture of a plane run: where the particles ended, held-out points beside them, and some of the paths that led there."""

from __future__ import annotations

import io
import textwrap

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw

from app.protocol.payloads import Image
from app.runners.attention_picture import GREY, GROUND, INK, font

SIDE, MARGIN, GAP, HEAD = 420, 24, 18, 24
REACH = 3.0
"""Half the side of each square, in units of the standardised cloud."""
PARTICLE, DATA, PATH = (31, 103, 189), (92, 92, 100), (31, 103, 189)
BEHIND = (214, 140, 20)
FRAME_MS, LAST_MS = 60, 1500
"""How long a frame of an animation stands, and its last."""
FULL = 6.0
"""Points on a pixel's neighbourhood at which its colour is full."""


def picture(samples: np.ndarray, data: np.ndarray, trails: np.ndarray, caption: str) -> Image:
    """samples, data (N, 2) and trails (T, n, 2), all at unit size, in three squares of the same axes."""
    sheet = Pillow.new("RGB", (2 * MARGIN + 3 * SIDE + 2 * GAP, MARGIN + HEAD + SIDE + 60), GROUND)
    draw = ImageDraw.Draw(sheet)
    parts = (("Particles", points(samples, PARTICLE)), ("Held-out data", points(data, DATA)), ("Paths", paths(trails)))
    for i, (title, square) in enumerate(parts):
        x = MARGIN + i * (SIDE + GAP)
        draw.text((x, MARGIN - 8), title, INK, font(15))
        sheet.paste(Pillow.fromarray(square), (x, MARGIN + HEAD))
        draw.rectangle((x - 1, MARGIN + HEAD - 1, x + SIDE, MARGIN + HEAD + SIDE), outline=(214, 214, 220))
    for i, line in enumerate(textwrap.wrap(caption, 190)):
        draw.text((MARGIN, MARGIN + HEAD + SIDE + 12 + 18 * i), line, GREY, font(12))
    return Image(np.asarray(sheet).copy(), label=caption)


def frame(xy: np.ndarray, data: np.ndarray | None, title: str) -> Pillow.Image:
    """One moment: particles (N, 2) over held-out points, both at unit size, under a title."""
    sheet = Pillow.new("RGB", (SIDE + 2 * MARGIN, SIDE + 2 * MARGIN + HEAD), GROUND)
    ImageDraw.Draw(sheet).text((MARGIN, MARGIN - 8), title, INK, font(13))
    square = points(xy, PARTICLE).astype(int)
    if data is not None:
        square = np.minimum(square, np.array(GROUND) - (np.array(GROUND) - points(data, BEHIND)) // 2)
    sheet.paste(Pillow.fromarray(square.astype(np.uint8)), (MARGIN, MARGIN + HEAD))
    ImageDraw.Draw(sheet).rectangle((MARGIN - 1, MARGIN + HEAD - 1, MARGIN + SIDE, MARGIN + HEAD + SIDE), outline=(214, 214, 220))
    return sheet


def joined(frames: list[Pillow.Image]) -> Pillow.Image:
    """Frames of one size side by side, at most two in a row."""
    columns = min(2, len(frames))
    width, height = frames[0].size
    sheet = Pillow.new("RGB", (columns * width, -(-len(frames) // columns) * height), GROUND)
    for i, one in enumerate(frames):
        sheet.paste(one, (i % columns * width, i // columns * height))
    return sheet


def film(frames: list[Pillow.Image]) -> bytes:
    """An animated GIF that stands a while at its end."""
    file = io.BytesIO()
    pace = [FRAME_MS] * (len(frames) - 1) + [LAST_MS]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=pace, loop=0, optimize=False)
    return file.getvalue()


def cells(xy: np.ndarray) -> np.ndarray:
    """Pixel coordinates (column, row from the top) of points; rows upwards in the plane."""
    return np.stack([(xy[..., 0] + REACH), (REACH - xy[..., 1])], -1) * SIDE / (2 * REACH)


def points(xy: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Soft points: the more fall into a pixel's 3 x 3 neighbourhood, the fuller its colour; uint8 (SIDE, SIDE, 3)."""
    at = cells(xy[np.isfinite(xy).all(1)])
    count, _, _ = np.histogram2d(at[:, 1], at[:, 0], bins=SIDE, range=((0, SIDE), (0, SIDE)))
    padded = np.pad(count, 1)
    soft = sum(padded[i : i + SIDE, j : j + SIDE] * (4, 2, 1)[abs(i - 1) + abs(j - 1)] / 4 for i in range(3) for j in range(3))
    share = np.sqrt(np.clip(soft * 10_000 / max(len(xy), 1) / FULL, 0, 1))[..., None]
    return (np.array(GROUND) * (1 - share) + np.array(colour) * share).round().astype(np.uint8)


def paths(trails: np.ndarray) -> np.ndarray:
    """Lines from where particles began (grey) to where they ended (blue)."""
    sheet = Pillow.new("RGB", (2 * SIDE, 2 * SIDE), GROUND)  # twice as large, for smooth lines
    draw = ImageDraw.Draw(sheet)
    at = 2 * cells(np.clip(np.nan_to_num(trails), -10 * REACH, 10 * REACH))
    for i in range(at.shape[1]):
        draw.line([tuple(p) for p in at[:, i].tolist()], fill=(170, 186, 206), width=2)
    for place, colour in ((0, (150, 150, 158)), (-1, PATH)):
        for x, y in at[place].tolist():
            draw.ellipse((x - 5, y - 5, x + 5, y + 5), fill=colour)
    return np.asarray(sheet.resize((SIDE, SIDE), Pillow.Resampling.LANCZOS))
