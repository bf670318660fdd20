"""Values that runs show and return: pictures, curves, poses and the like, as numpy arrays with labels.

Payloads are immutable. Arrays are copied once if needed and made read-only, and equality and hash go by
content, so that a job holding a picture can be compared, stored as a preset and coalesced.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np

from app.protocol.errors import UserError

JOINT_NAMES = (
    "nose", "neck", "right shoulder", "right elbow", "right wrist", "left shoulder", "left elbow", "left wrist",
    "right hip", "right knee", "right ankle", "left hip", "left knee", "left ankle",
    "right eye", "left eye", "right ear", "left ear",
)  # fmt: skip
"""The 18 OpenPose joints in COCO order; left and right are the person's own."""

LIMBS = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13),
    (1, 0), (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip
"""Pairs of joints; limb j is drawn in 60 % of JOINT_COLOURS[j]."""

JOINT_COLOURS = (
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0), (0, 255, 85),
    (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255),
    (170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85),
)  # fmt: skip
"""RGB per joint, as the reference renderer of OpenPose maps paints them."""


def _freeze(array: Any, dtype: type, shape: tuple[int | None, ...], what: str) -> np.ndarray:
    """Check dtype and shape (None = any length) and return a contiguous read-only array."""
    array = np.asarray(array)
    if dtype is np.uint8 and array.dtype != np.uint8:
        raise ValueError(f"{what} must be uint8, got {array.dtype}")
    given = array.shape
    if len(given) != len(shape) or any(want not in (None, have) for want, have in zip(shape, given, strict=True)):
        raise ValueError(f"{what} must have shape {shape}, got {given}")
    if array.flags.writeable or array.dtype != dtype or not array.flags.c_contiguous:
        array = np.array(array, dtype=dtype, order="C")
        array.flags.writeable = False
    return array


def _rebuild(cls: type, values: dict[str, Any]) -> Any:
    return cls(**values)


class Payload:
    """Base of array payloads: content hash, equality by it, and pickling that keeps arrays read-only."""

    @cached_property
    def fingerprint(self) -> str:
        """Hex digest over every field: shape and bytes of arrays, text of the rest."""
        digest = hashlib.sha256(type(self).__name__.encode())
        for item in fields(self):  # type: ignore[arg-type]
            value = getattr(self, item.name)
            if isinstance(value, np.ndarray):
                digest.update(f"|{item.name}{value.shape}".encode())
                digest.update(value.tobytes())
            else:
                digest.update(f"|{item.name}={value!r}".encode())
        return digest.hexdigest()

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self is other or self.fingerprint == other.fingerprint  # type: ignore[attr-defined]

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), {item.name: getattr(self, item.name) for item in fields(self)})  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class Image(Payload):
    """A picture: `pixels` uint8 (H, W, 3), what it shows, and which decoder made it."""

    pixels: np.ndarray
    label: str = ""
    decoder: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "pixels", _freeze(self.pixels, np.uint8, (None, None, 3), "Image.pixels"))

    @property
    def height(self) -> int:
        """Rows."""
        return self.pixels.shape[0]

    @property
    def width(self) -> int:
        """Columns."""
        return self.pixels.shape[1]

    @cached_property
    def sha256(self) -> str:
        """Hex digest of the pixels alone, in row order: what "same job, same pixels" compares."""
        return hashlib.sha256(self.pixels.tobytes()).hexdigest()


@dataclass(frozen=True, eq=False)
class Points(Payload):
    """Points in the plane: `xy` float32 (N, 2), with an optional group number per point."""

    xy: np.ndarray
    groups: tuple[int, ...] = ()
    label: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "xy", _freeze(self.xy, np.float32, (None, 2), "Points.xy"))
        if self.groups and len(self.groups) != len(self.xy):
            raise ValueError(f"Points has {len(self.xy)} points but {len(self.groups)} groups")


@dataclass(frozen=True, eq=False)
class Curve(Payload):
    """y over x, both float64 (N,), with the words for the axes."""

    x: np.ndarray
    y: np.ndarray
    x_label: str = ""
    y_label: str = ""
    label: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "x", _freeze(self.x, np.float64, (None,), "Curve.x"))
        object.__setattr__(self, "y", _freeze(self.y, np.float64, (None,), "Curve.y"))
        if len(self.x) != len(self.y):
            raise ValueError(f"Curve has {len(self.x)} x but {len(self.y)} y")


@dataclass(frozen=True, eq=False)
class Matrix(Payload):
    """A table of numbers, float32 (rows, columns), such as an attention map."""

    values: np.ndarray
    row_labels: tuple[str, ...] = ()
    column_labels: tuple[str, ...] = ()
    label: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", _freeze(self.values, np.float32, (None, None), "Matrix.values"))


@dataclass(frozen=True)
class Tokens:
    """A text cut into tokens; `values` may hold one number per token (probability, loss, attention)."""

    texts: tuple[str, ...]
    ids: tuple[int, ...]
    values: tuple[float, ...] = ()
    label: str = ""

    def __post_init__(self) -> None:
        if len(self.texts) != len(self.ids):
            raise ValueError(f"Tokens has {len(self.texts)} texts but {len(self.ids)} ids")


@dataclass(frozen=True, eq=False)
class Boxes(Payload):
    """Rectangles `xyxy` float32 (N, 4) in pixels of a picture `width` x `height`, with labels and scores."""

    xyxy: np.ndarray
    labels: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    width: int = 0
    height: int = 0
    label: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "xyxy", _freeze(self.xyxy, np.float32, (None, 4), "Boxes.xyxy"))


@dataclass(frozen=True)
class Person:
    """18 joints `(x, y, c)` in pixels, COCO order; c == 0 means the joint is missing."""

    points: tuple[tuple[float, float, float], ...]

    def __post_init__(self) -> None:
        points = tuple(tuple(float(number) for number in point) for point in self.points)
        if len(points) != len(JOINT_NAMES) or any(len(point) != 3 for point in points):
            raise UserError(
                f"A person needs {len(JOINT_NAMES)} joints of three numbers each, but {len(points)} were given.",
                hint="Each joint is x, y and a confidence; a missing joint is 0, 0, 0.",
            )
        if not all(math.isfinite(number) for point in points for number in point):
            raise UserError("A joint of the pose is not a finite number.", hint="Replace it, or set the joint to 0, 0, 0.")
        object.__setattr__(self, "points", points)


@dataclass(frozen=True)
class Pose:
    """People on a canvas of `width` x `height` pixels."""

    people: tuple[Person, ...]
    width: int
    height: int

    def __post_init__(self) -> None:
        if not isinstance(self.people, tuple) or not all(isinstance(person, Person) for person in self.people):
            raise UserError("The people of a pose must be a tuple of persons.")
        sizes = (self.width, self.height)
        if not all(isinstance(size, int) and not isinstance(size, bool) and 1 <= size <= 100_000 for size in sizes):
            raise UserError(f"A pose cannot have a canvas of {str(self.width)[:20]} x {str(self.height)[:20]}.")

    def openpose(self) -> dict[str, Any]:
        """The pose as other programs read it: OpenPose's JSON document, missing points as 0, 0, 0."""
        flat = [[value if point[2] > 0 else 0.0 for point in person.points for value in point] for person in self.people]
        people = [{"pose_keypoints_2d": [round(float(value), 3) for value in values]} for values in flat]
        return {"people": people, "canvas_width": self.width, "canvas_height": self.height}


@dataclass(frozen=True, eq=False)
class Result:
    """What a run returns: named `files` (payloads, dicts, texts, bytes, arrays) and `facts` (numbers, words)."""

    files: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
