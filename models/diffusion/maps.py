"""Control maps: reading pictures of any kind, edges, resizing, and checks in words before a run.

A canny map is white lines on black, a pose map the coloured figure of `openpose.py` on black. Most failures of
ControlNet in practice come from the map, not from the network: an inverted map, a map put through the edge
detector a second time, a stretched one, a photograph where a map should be. `check_map` names each in a sentence.

Edges are OpenCV's Canny (1986) on the grey values of the 8-bit picture, without a blur before it, at the
size of the picture to be made: the same that the built-in canny ControlNet was trained on.

Read next: `openpose.py`, `controlnet.py`.
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from models.diffusion.openpose import JOINT_COLOURS, LIMB_COLOURS

Polarity = Literal["white-on-black", "black-on-white", "colour-on-black", "not a map"]
ResizeMode = Literal["Just Resize", "Crop and Resize", "Resize and Fill"]
Ground = Literal["white", "black", "auto"]

RESIZE_MODES: tuple[ResizeMode, ...] = ("Just Resize", "Crop and Resize", "Resize and Fill")

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")  # decoders without an outside program
MAX_SIDE = 4096  # px, larger pictures are shrunk to it while reading
MAX_DECODED = 80_000_000  # pixels decoded at once, 240 MB; a JPEG is shrunk while decoding and may have more
MIN_SIDE = 8  # px, one latent cell
BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)
"""What Pillow's decoders raise on damaged files (SyntaxError for a broken PNG)."""

GROUND_TOLERANCE = 40  # of 255: how far from black or white a ground may be (JPEG)
PALETTE_TOLERANCE = 48  # of 255 in each channel: the same for the colours of a pose map
EXACT_TOLERANCE = 12  # of 255: how near a colour must come to count as one of the pose colours
STRETCH_TOLERANCE = 0.02  # relative difference of aspect that nobody sees


class PictureError(ValueError):
    """A picture that cannot be read or used; the message is one sentence for the person who brought it."""


# --- reading ----------------------------------------------------------------------------------------------------


def read_picture(source: bytes | Path | str, *, ground: Ground = "white", max_side: int = MAX_SIDE) -> np.ndarray:
    """uint8 RGB (H, W, 3) of a picture file or its bytes, upright, its longer side at most `max_side`.

    16-bit pictures are scaled to 8 bits, CMYK and palettes converted, the rotation in the EXIF data applied, the
    first picture of several taken. What is transparent becomes `ground`; "auto" takes black under bright and white
    under dark content, so that lines drawn on nothing stay visible. Raises PictureError.
    """
    data, name = _bytes_of(source)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            _limit_size(picture, name, max_side)
            picture = ImageOps.exif_transpose(picture)
            rgb = _to_rgb(picture, ground)
    except PictureError:
        raise
    except UnidentifiedImageError as error:
        raise PictureError(_what_it_is(data, name)) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PictureError(f"{name} has too many pixels to be opened; make it smaller first.") from error
    except BROKEN as error:
        raise PictureError(f"{name} is damaged and cannot be read to its end.") from error
    return _shrink(rgb, max_side)


def _bytes_of(source: bytes | Path | str) -> tuple[bytes, str]:
    """The bytes and a name for messages."""
    if isinstance(source, bytes | bytearray | memoryview):
        data, name = bytes(source), "The picture"
    else:
        path = Path(source)
        name = path.name or str(path)
        try:
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise PictureError(f"There is no file {name}.") from error
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "the name is not valid"
            raise PictureError(f"{name} cannot be opened: {reason}.") from error
    if not data:
        raise PictureError(f"{name} is empty.")
    return data, name


def _what_it_is(data: bytes, name: str) -> str:
    """One sentence on a file that no decoder knows."""
    head = data[:512]
    if b"\0" not in head and all(byte >= 32 or byte in b"\t\n\r\f" for byte in head):
        return f"{name} is a text file, not a picture."
    return f"{name} is not a picture this program can read (PNG, JPEG, WebP, BMP, GIF, TIFF)."


def _limit_size(picture: Image.Image, name: str, max_side: int) -> None:
    """Before any pixel is decoded: ask a JPEG for a smaller version of itself, refuse what would not fit."""
    picture.draft(picture.mode, (max_side, max_side))
    width, height = picture.size
    if width * height > MAX_DECODED:
        raise PictureError(
            f"{name} is {width} x {height} pixels, more than {MAX_DECODED // 1_000_000} million; make it smaller first."
        )


def _to_rgb(picture: Image.Image, ground: Ground) -> np.ndarray:
    """uint8 (H, W, 3) of any Pillow mode."""
    if picture.mode.startswith("I") or picture.mode == "F":
        return np.repeat(_to_8_bit(np.asarray(picture), whole=picture.mode != "F")[..., None], 3, axis=2)
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        return _on_ground(np.asarray(picture.convert("RGBA")), ground)
    return np.array(picture.convert("RGB"))


def _to_8_bit(values: np.ndarray, *, whole: bool) -> np.ndarray:
    """Grey values of more than 8 bits as uint8: whole numbers of 16 bits, floats in 0 .. 1 or 0 .. 255."""
    values = np.nan_to_num(values.astype(np.float64))
    top = 65535.0 if whole else 1.0 if values.max() <= 1 else 255.0
    return np.round(values.clip(0, top) * (255 / top)).astype(np.uint8)


def _on_ground(rgba: np.ndarray, ground: Ground) -> np.ndarray:
    """Lay (H, W, 4) on a ground of one colour."""
    colour, alpha = rgba[..., :3].astype(np.float32), rgba[..., 3:].astype(np.float32) / 255
    if ground == "auto":
        brightness = (colour.max(axis=2, keepdims=True) * alpha).sum() / max(alpha.sum(), 1e-6)
        ground = "black" if brightness > 127.5 else "white"
    below = 255.0 if ground == "white" else 0.0
    return np.round(colour * alpha + below * (1 - alpha)).astype(np.uint8)


def _shrink(rgb: np.ndarray, max_side: int) -> np.ndarray:
    """The picture with its longer side at most `max_side`."""
    height, width = rgb.shape[:2]
    scale = max_side / max(height, width)
    if scale >= 1:
        return rgb
    return _resample(rgb, max(1, round(width * scale)), max(1, round(height * scale)))


# --- edges, inversion, size -------------------------------------------------------------------------------------


def canny(rgb: np.ndarray, low: float = 100, high: float = 200) -> np.ndarray:
    """White edges on black, uint8 (H, W), of a uint8 picture (H, W, 3) or (H, W)."""
    grey = rgb if rgb.ndim == 2 else cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2GRAY)
    return cv2.Canny(grey, low, high)


def invert(picture: np.ndarray) -> np.ndarray:
    """Black for white and white for black."""
    return 255 - picture


def resize(picture: np.ndarray, width: int, height: int, mode: ResizeMode = "Crop and Resize") -> np.ndarray:
    """A uint8 picture (H, W) or (H, W, 3) in another size.

    "Just Resize" stretches; "Crop and Resize" keeps the proportions and cuts what sticks out, equally on both
    sides; "Resize and Fill" keeps them and fills up with the median colour of the border (black for a map).
    """
    if mode == "Just Resize":
        return _resample(picture, width, height)
    old_height, old_width = picture.shape[:2]
    ratios = width / old_width, height / old_height
    scale = max(ratios) if mode == "Crop and Resize" else min(ratios)
    inner_width, inner_height = max(1, round(old_width * scale)), max(1, round(old_height * scale))
    inner = _resample(picture, inner_width, inner_height)
    left, top = (inner_width - width) // 2, (inner_height - height) // 2
    if mode == "Crop and Resize":
        return np.ascontiguousarray(inner[top : top + height, left : left + width])
    if mode != "Resize and Fill":
        raise ValueError(f"A picture is resized by one of {', '.join(RESIZE_MODES)}, not by {mode!r}.")
    border = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    filled = np.empty((height, width, *picture.shape[2:]), np.uint8)
    filled[:] = np.median(border, axis=0).astype(np.uint8)
    filled[-top : -top + inner_height, -left : -left + inner_width] = inner
    return filled


def _resample(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """Area means when shrinking, straight lines between pixels when growing."""
    old_height, old_width = picture.shape[:2]
    if (old_height, old_width) == (height, width):
        return picture
    shrinking = width * height < old_width * old_height
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)


# --- inspection -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MapReport:
    """What a picture looks like to a ControlNet."""

    looks_like_map: bool  # lines or a figure on an even ground: it needs no edge detector
    polarity: Polarity
    is_pose_map: bool
    is_blank: bool  # a ground with nothing on it
    size: tuple[int, int]  # width, height
    notes: tuple[str, ...]  # sentences worth showing, in order of weight


def inspect_map(picture: np.ndarray) -> MapReport:
    """Look at a uint8 picture (H, W) or (H, W, 3): map or photograph, right way round or inverted, edges or pose."""
    rgb = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
    pose = _is_pose_map(rgb)
    polarity: Polarity = "colour-on-black" if pose else _line_polarity(rgb)
    ground = 255 if polarity == "black-on-white" else 0
    blank = polarity != "not a map" and not pose and bool((np.abs(rgb.astype(np.int16) - ground) < 64).all())
    return MapReport(
        looks_like_map=polarity != "not a map",
        polarity=polarity,
        is_pose_map=pose,
        is_blank=blank,
        size=(rgb.shape[1], rgb.shape[0]),
        notes=_notes(rgb, polarity, blank),
    )


def _notes(rgb: np.ndarray, polarity: Polarity, blank: bool) -> tuple[str, ...]:
    notes = []
    if min(rgb.shape[:2]) < MIN_SIDE:
        notes.append(f"The picture is only {rgb.shape[1]} x {rgb.shape[0]} pixels, too small to guide anything.")
    if blank:
        notes.append("The map is blank: there is no line in it to follow.")
    if polarity == "black-on-white":
        notes.append(f"The ground is bright (mean {rgb.mean():.0f} of 255); a map needs white lines on black: invert it.")
    elif polarity == "colour-on-black":
        notes.append("This is a pose map, coloured bones on black.")
    elif polarity == "white-on-black" and not blank:
        notes.append("This already is a map, white lines on black: use it as it is, without edge detection.")
    return tuple(notes)


def _line_polarity(rgb: np.ndarray) -> Polarity:
    """Colourless, mostly an even ground of black or white, and what is on it mostly reaches the other end."""
    low, high = rgb.min(axis=2).astype(np.int16), rgb.max(axis=2).astype(np.int16)
    if np.mean(high - low > GROUND_TOLERANCE) > 0.01:
        return "not a map"
    bright_ground = rgb.mean() > 127.5
    depth = 255 - low if bright_ground else high  # distance from the ground
    on_ground = depth <= GROUND_TOLERANCE
    drawn = depth[~on_ground]
    if on_ground.mean() < 0.5 or (drawn.size and np.mean(drawn >= 128) < 0.5):
        return "not a map"
    return "black-on-white" if bright_ground else "white-on-black"


_PALETTE = np.array(JOINT_COLOURS + LIMB_COLOURS, np.int16)


def _is_pose_map(rgb: np.ndarray) -> bool:
    """Black ground, and on it at least three of OpenPose's colours and little else."""
    drawn = rgb[rgb.max(axis=2) > GROUND_TOLERANCE]  # (K, 3)
    if not 0 < len(drawn) < 0.5 * rgb.shape[0] * rgb.shape[1]:
        return False
    cells = (drawn // 8).astype(np.int32) @ np.array([1024, 32, 1])  # a 32^3 histogram of colours
    counts = np.bincount(cells)
    used = counts.nonzero()[0]
    counts = counts[used]
    centres = np.stack([used // 1024, used // 32 % 32, used % 32], axis=1) * 8 + 4
    distance = np.abs(centres[:, None] - _PALETTE[None]).max(axis=2)  # (cells, palette)
    nearest = distance.min(axis=1)
    kinds = np.unique(distance[nearest <= EXACT_TOLERANCE].argmin(axis=1))
    return bool(counts[nearest <= PALETTE_TOLERANCE].sum() >= 0.8 * counts.sum() and len(kinds) >= 3)


def stretch_note(size: tuple[int, int], width: int, height: int) -> str:
    """A sentence if a map of `size` (width, height) would be deformed in a picture of width x height, else ""."""
    aspect, wanted = size[0] / size[1], width / height
    if abs(aspect / wanted - 1) <= STRETCH_TOLERANCE:
        return ""
    return (
        f"The map is {size[0]} x {size[1]} and the picture {width} x {height}: "
        "crop or fill it, or it will be stretched."
    )


def check_map(picture: np.ndarray, kind: Literal["canny", "pose"], width: int, height: int) -> tuple[str, ...]:
    """What stands against using a picture as the control map of a run as it is, in sentences; () if nothing does.

    `kind` is what the control's network expects, width and height the size of the picture to be made.
    """
    report = inspect_map(picture)
    against = []
    if min(report.size) < MIN_SIDE or report.is_blank:
        against.append(report.notes[0])
    elif kind == "pose" and not report.is_pose_map:
        against.append("This is not a pose map: no coloured OpenPose figure on black was found in it.")
    elif kind == "canny" and report.is_pose_map:
        against.append("This is a pose map, but the control expects edges: choose the kind Pose for it.")
    elif kind == "canny" and report.polarity == "black-on-white":
        against.append(report.notes[0])
    elif kind == "canny" and not report.looks_like_map:
        against.append("This is a picture, not an edge map: turn it into edges first.")
    stretch = stretch_note(report.size, width, height)
    return (*against, stretch) if stretch else tuple(against)
