"""Pictures that people bring, from a file or from bytes, as payloads: whatever is wrong becomes a `UserError`.

The decoding itself is `models.diffusion.maps.read_picture`. Here stand what a window needs around it: a bound on
the size of the file, PNGs stripped of their texts (hostile metadata never reaches the decoder), and notes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from app.protocol.errors import UserError
from app.protocol.payloads import Image
from app.protocol.sizes import size_words
from app.runners.png_recipe import SIGNATURE, without_texts
from models.diffusion import maps

MAX_FILE_BYTES = 256 * 2**20


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture as read, and a sentence for everything worth knowing about it."""

    image: Image
    notes: tuple[str, ...] = field(default=())


def read_file(path: str | Path) -> bytes:
    """The bytes of a file; one sentence if there is none, it cannot be read or is too large."""
    path = Path(path)
    try:
        if path.is_dir():
            raise UserError(f"{path.name} is a folder, not a file.", hint="Choose a file inside it.")
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise UserError(f"{path.name} has {size_words(size)}; files up to {size_words(MAX_FILE_BYTES)} are read.")
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"There is no file {path}.", hint="Check the path.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "the name is not valid"
        raise UserError(f"{path.name} cannot be read: {reason}.") from None


def read_picture(data: bytes, name: str = "The picture") -> Picture:
    """Decode the bytes of a picture file as 8-bit RGB; see `maps.read_picture` for what is converted how."""
    if data.startswith(SIGNATURE):
        data = without_texts(data)
    try:
        pixels = maps.read_picture(data, ground="auto")
    except maps.PictureError as error:
        raise UserError(str(error).replace("The picture", name, 1), hint="Choose another picture.") from None
    height, width = pixels.shape[:2]
    notes = ()
    if max(height, width) == maps.MAX_SIDE:
        notes = (f"{name} was read at {width} x {height} pixels, the most that is handled.",)
    return Picture(image=Image(pixels=pixels, label=name), notes=notes)


def read_picture_file(path: str | Path) -> Picture:
    """`read_picture` of a file."""
    return read_picture(read_file(path), Path(path).name)
