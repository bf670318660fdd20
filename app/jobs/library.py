"""Jobs around files: open a picture, read a recipe back from a PNG, keep a gallery.

The gallery is a folder of PNG files, each with its whole recipe inside; there is no database that could
be lost or disagree. A picture is in the gallery once its file has its final name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from app.jobs.diffusion import Txt2Img
from app.protocol.job import Job, knob
from app.protocol.payloads import Image


@dataclass(frozen=True, kw_only=True)
class OpenPicture(Job):
    """Read a picture file (or its bytes, from the clipboard) as 8-bit RGB, whatever it was."""

    name: ClassVar[str] = "open-picture"

    path: str = ""
    data: bytes = b""


@dataclass(frozen=True, kw_only=True)
class ReadRecipe(Job):
    """Read from a dropped PNG how it was made: our own chunk, else A1111 text, else name the tool."""

    name: ClassVar[str] = "read-recipe"

    path: str = ""
    data: bytes = b""


@dataclass(frozen=True, kw_only=True)
class SaveToGallery(Job):
    """Write one picture with its recipe into the gallery folder, or under an exact path (export)."""

    name: ClassVar[str] = "save-to-gallery"

    image: Image | None = field(default=None)
    txt2img: Txt2Img | None = field(default=None)
    folder: str = ""
    path: str = ""


@dataclass(frozen=True, kw_only=True)
class ListGallery(Job):
    """The newest pictures of the gallery with thumbnails, seeds and prompts."""

    name: ClassVar[str] = "list-gallery"

    folder: str = ""
    limit: int = knob(200, lo=1, hi=5000, title="Limit", help="At most so many pictures are listed.")
    offset: int = knob(0, lo=0, hi=1_000_000, title="Offset", help="Leave out so many of the newest.")
    thumbnail: int = knob(128, lo=16, hi=512, unit="px", title="Thumbnail", help="Longest side of a thumbnail.")


@dataclass(frozen=True, kw_only=True)
class DeleteFromGallery(Job):
    """Remove pictures from the gallery folder; nothing outside it is touched."""

    name: ClassVar[str] = "delete-from-gallery"

    folder: str = ""
    paths: tuple[str, ...] = field(default=())


@dataclass(frozen=True, kw_only=True)
class GalleryItem:
    """One picture of the gallery; `problem` is a sentence when its recipe could not be read."""

    path: str
    thumbnail: Image
    width: int
    height: int
    seed: int | None
    prompt: str
    saved_at: float
    problem: str = ""
