"""The OpenPose stick figure: 18 points, the reference picture of them, and the JSON programs exchange.

Points in COCO order (Cao et al. 2019, arXiv 1812.08008); left and right are the person's own. The pose ControlNet
learned one particular drawing, so there is one renderer, `draw_pose`, equal pixel by pixel to those of
sd-webui-controlnet and controlnet_aux at 512 px: for each person first the limbs, filled ellipses of half
axes (length / 2, bone width) in 60 % of colour j, then the joints, discs of radius bone width in full colour j.
A limb with a missing end is not drawn.

JSON: `{"people": [{"pose_keypoints_2d": [x, y, c, … 18 times]}], "canvas_width": W, "canvas_height": H}`. Files
in the wild hold pixels or shares of the canvas, one such object or a list of them, and 25 points (OpenPose's
BODY_25) instead of 18; `parse_pose` reads them all, `pose_json` writes pixels.

Read next: `maps.py`, `controlnet.py`.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import cv2
import numpy as np

JOINTS = (
    "nose", "neck", "right shoulder", "right elbow", "right wrist", "left shoulder", "left elbow", "left wrist",
    "right hip", "right knee", "right ankle", "left hip", "left knee", "left ankle",
    "right eye", "left eye", "right ear", "left ear",
)  # fmt: skip

LIMBS = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13),
    (1, 0), (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip
"""Pairs of joints in drawing order; limb j is drawn in `LIMB_COLOURS[j]`."""

JOINT_COLOURS = (
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0),
    (0, 255, 0), (0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255),
    (0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85),
)  # fmt: skip
"""RGB of joint j: eighteen steps around the hue circle."""

LIMB_BRIGHTNESS = 0.6
LIMB_COLOURS = tuple(
    tuple(int(channel * LIMB_BRIGHTNESS) for channel in colour) for colour in JOINT_COLOURS[: len(LIMBS)]
)

BONE_WIDTH = 4  # px at 512 px, the half width of a limb and the radius of a joint
REFERENCE_SIZE = 512  # px, the shorter side at which that holds
MIN_CONFIDENCE = 0.1  # points below are taken as missing when reading
FAR_OUT = 4.0  # a point further than this many canvas sizes from the canvas is an error in the file
MAX_PEOPLE = 100
BODY_25 = (0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18)
"""Where the 18 points stand among the 25 of BODY_25, which adds a middle hip (8) and six points of the feet."""


class PoseFormatError(ValueError):
    """A pose that cannot be read; the message is one sentence for the person who brought it."""


@dataclass(frozen=True, eq=False)
class PoseFile:
    """What a pose file says."""

    people: np.ndarray  # (P, 18, 3) float64: x, y in pixels of the canvas, c in 0 .. 1 with 0 for missing
    width: int
    height: int


def bone_width_for(width: int, height: int) -> int:
    """The half width of bones in px: 4 at 512 px, in proportion to the shorter side, at least 1."""
    return max(1, round(BONE_WIDTH * min(width, height) / REFERENCE_SIZE))


def draw_pose(people: np.ndarray, width: int, height: int, bone_width: int | None = None) -> np.ndarray:
    """The control picture of people (P, 18, 3), x and y in pixels, c == 0 for missing: uint8 (height, width, 3).

    Raises ValueError for another shape or a point that is not finite. `bone_width` as in `bone_width_for`.
    """
    points = np.asarray(people, dtype=np.float64)
    if points.size == 0:
        return np.zeros((height, width, 3), np.uint8)
    if points.shape[1:] != (len(JOINTS), 3):
        raise ValueError(f"People are points of shape (people, {len(JOINTS)}, 3), not {points.shape}.")
    if not np.isfinite(points).all():
        raise ValueError("A joint lies at a place that is not a number.")
    radius = bone_width_for(width, height) if bone_width is None else max(1, round(bone_width))
    limit = 100 * max(width, height)  # keeps the integer arithmetic of OpenCV in range
    canvas = np.zeros((height, width, 3), np.uint8)
    for person in np.clip(points, -limit, limit).tolist():
        _draw_limbs(canvas, person, radius)
        for (x, y, c), colour in zip(person, JOINT_COLOURS, strict=True):
            if c > 0:
                cv2.circle(canvas, (int(x), int(y)), radius, colour, thickness=-1)
    return canvas


def _draw_limbs(canvas: np.ndarray, person: list[list[float]], radius: int) -> None:
    """One person's limbs; all numbers are cut to whole pixels and degrees, as the published renderers do."""
    for (a, b), colour in zip(LIMBS, LIMB_COLOURS, strict=True):
        (ax, ay, ac), (bx, by, bc) = person[a], person[b]
        if ac <= 0 or bc <= 0:
            continue
        centre = int((ax + bx) / 2), int((ay + by) / 2)
        half_length = int(math.hypot(ax - bx, ay - by) / 2)
        angle = int(math.degrees(math.atan2(ay - by, ax - bx)))
        outline = cv2.ellipse2Poly(centre, (half_length, radius), angle, 0, 360, 1)
        cv2.fillConvexPoly(canvas, outline, colour)


def pose_json(people: np.ndarray, width: int, height: int) -> str:
    """The people (P, 18, 3) in pixels as OpenPose JSON; missing points become 0, 0, 0."""
    points = np.asarray(people, dtype=np.float64).reshape(-1, len(JOINTS), 3)
    points = np.where(points[..., 2:] > 0, points, 0.0)
    listed = [{"pose_keypoints_2d": [round(value, 3) for value in person.ravel().tolist()]} for person in points]
    return json.dumps({"people": listed, "canvas_width": width, "canvas_height": height}, indent=1)


def parse_pose(text: str | bytes, width: int | None = None, height: int | None = None) -> PoseFile:
    """The people in an OpenPose JSON text of any of the known variants.

    `width`, `height`: the canvas to assume where the file names none; a file in shares of the canvas without any
    canvas is laid on 512 x 512. Raises PoseFormatError.
    """
    document = _load(text)
    size = _canvas(document, width, height)
    people = document.get("people")
    if not isinstance(people, list):
        raise PoseFormatError('This JSON has no list "people", so it is no OpenPose file.')
    if len(people) > MAX_PEOPLE:
        raise PoseFormatError(f"This pose file lists {len(people)} people; at most {MAX_PEOPLE} can be drawn.")
    points = [_person(person, number) for number, person in enumerate(people, 1)]
    points = [person for person in points if (person[:, 2] > 0).any()]
    if not points:
        raise PoseFormatError("This pose file holds no person with a visible joint.")
    people_px = np.stack(points)
    seen = people_px[..., 2] > 0
    if np.abs(people_px[seen][:, :2]).max() <= 1:  # shares of the canvas
        people_px[..., :2] *= size or (REFERENCE_SIZE, REFERENCE_SIZE)
        size = size or (REFERENCE_SIZE, REFERENCE_SIZE)
    size = size or _enclosing(people_px[seen][:, :2])
    _refuse_far_out(people_px, seen, size)
    return PoseFile(people_px, *size)


def _load(text: str | bytes) -> dict:
    """The JSON object in the text, or the first one of a list."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PoseFormatError("This is not a pose file: its text is not valid JSON.") from error
    if isinstance(document, list) and document:
        document = document[0]
    if not isinstance(document, dict):
        raise PoseFormatError('This JSON has no list "people", so it is no OpenPose file.')
    return document


def _canvas(document: dict, width: int | None, height: int | None) -> tuple[int, int] | None:
    """The size the file names, else the one given, else None."""
    named = document.get("canvas_width"), document.get("canvas_height")
    if named == (None, None):
        return (width, height) if width and height else None
    sizes = [_number(value) for value in named]
    if any(size is None or not 1 <= size <= 100_000 for size in sizes):
        raise PoseFormatError(f"The canvas of this pose file has the impossible size {named[0]} x {named[1]}.")
    return round(sizes[0]), round(sizes[1])


def _person(person: object, number: int) -> np.ndarray:
    """(18, 3) of one entry of "people", points below MIN_CONFIDENCE set to 0, 0, 0."""
    values = person.get("pose_keypoints_2d") if isinstance(person, dict) else None
    if values is None and isinstance(person, dict) and "pose_keypoints_2d" in person:
        values = []  # a person of whom only hands or face were found
    if not isinstance(values, list):
        raise PoseFormatError(f'Person {number} of this pose file has no list "pose_keypoints_2d".')
    if len(values) not in (0, 54, 75):
        raise PoseFormatError(
            f"Person {number} of this pose file has {len(values)} numbers; 18 points x, y, c make 54 (BODY_25: 75)."
        )
    numbers = [_number(value) for value in values]
    if None in numbers:
        raise PoseFormatError(f"Person {number} of this pose file has a coordinate that is not a number.")
    points = np.array(numbers, dtype=np.float64).reshape(-1, 3)
    if len(points) == 25:
        points = points[list(BODY_25)]
    elif len(points) == 0:
        points = np.zeros((len(JOINTS), 3))
    points[points[:, 2] < MIN_CONFIDENCE] = 0.0
    points[:, 2] = points[:, 2].clip(max=1.0)
    return points


def _number(value: object) -> float | None:
    """A finite number, or None for anything else (JSON lets NaN, Infinity, words and 400 digits through)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _enclosing(points: np.ndarray) -> tuple[int, int]:
    """The size of a canvas for points (K, 2) in a file that names none: a multiple of 64, at least 512."""
    largest = min(float(points.max()), 100_000.0)
    side = max(REFERENCE_SIZE, 64 * math.ceil((largest + 1) / 64))
    return side, side


def _refuse_far_out(people: np.ndarray, seen: np.ndarray, size: tuple[int, int]) -> None:
    limit = np.array(size) * FAR_OUT
    far = seen & ((people[..., :2] < -limit) | (people[..., :2] > limit + size)).any(-1)
    if far.any():
        number, joint = np.argwhere(far)[0]
        x, y = people[number, joint, :2]
        raise PoseFormatError(
            f"The {JOINTS[joint]} of person {number + 1} lies at {x:.5g}, {y:.5g}, far outside the canvas of "
            f"{size[0]} x {size[1]}."
        )
