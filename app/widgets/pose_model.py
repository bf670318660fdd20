"""Poses as numbers: everything the pose editor does to people, without Qt.

People are one array (P, 18, 3) of x, y in pixels and c, in COCO order. A joint with c = 0 is not drawn; a *hidden*
joint keeps its place (x, y, 0) and can be shown again, a *dropped* one is (0, 0, 0) and gone. Functions give new
arrays, so an array kept for undo never changes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from app.protocol.payloads import JOINT_NAMES, Person, Pose

N_JOINTS = len(JOINT_NAMES)
NOBODY = np.zeros((0, N_JOINTS, 3))
FAR = 1e6  # pixels; beyond it coordinates are cut, so that nothing overflows on the way to the screen
LEAST_SIZE = 2.0  # pixels a body is never scaled below
STEPS_KEPT = 1000  # undo steps; a step of five people is 2 KB


def _mirror_order() -> list[int]:
    swapped = [n.replace("left", "?").replace("right", "left").replace("?", "right") for n in JOINT_NAMES]
    return [JOINT_NAMES.index(name) for name in swapped]


MIRROR = _mirror_order()  # MIRROR[j]: the joint that carries j's name on the other side


def to_array(pose: Pose) -> np.ndarray:
    """The people of a payload."""
    if not pose.people:
        return NOBODY
    people = np.array([person.points for person in pose.people], dtype=np.float64)
    people[..., :2] = np.clip(people[..., :2], -FAR, FAR)
    people[..., 2] = np.clip(people[..., 2], 0, 1)
    return people


def to_pose(people: np.ndarray, width: int, height: int) -> Pose:
    """The payload of an array."""
    return Pose(tuple(Person(tuple(map(tuple, person))) for person in people.tolist()), width, height)


def visible(person: np.ndarray) -> np.ndarray:
    """Which joints are drawn, bool (18,)."""
    return person[..., 2] > 0


def placed(person: np.ndarray) -> np.ndarray:
    """Which joints have a place, drawn or hidden, bool (18,)."""
    return (person != 0).any(axis=-1)


def bounds(person: np.ndarray) -> tuple[float, float, float, float] | None:
    """left, top, right, bottom of the drawn joints; of the hidden ones if none is drawn; None if none is left."""
    which = visible(person) if visible(person).any() else placed(person)
    if not which.any():
        return None
    low, high = person[which, :2].min(axis=0), person[which, :2].max(axis=0)
    return low[0], low[1], high[0], high[1]


def hit_joint(people: np.ndarray, x: float, y: float, reach: float, first: int | None = None) -> tuple[int, int] | None:
    """(person, joint) nearest to a place and within `reach`; the person `first` wins over the others."""
    found = []
    for index, person in enumerate(people):
        distance = np.where(placed(person), np.hypot(person[:, 0] - x, person[:, 1] - y), np.inf)
        joint = int(distance.argmin())
        if distance[joint] <= reach:
            found.append((index != first, distance[joint], index, joint))
    return min(found)[2:] if found else None


def hit_person(people: np.ndarray, x: float, y: float, reach: float, first: int | None = None) -> int | None:
    """The person whose box, widened by `reach`, holds a place: `first` if it does, else the smallest such box."""
    found = []
    for index, person in enumerate(people):
        box = bounds(person)
        if box and box[0] - reach <= x <= box[2] + reach and box[1] - reach <= y <= box[3] + reach:
            found.append((index != first, (box[2] - box[0]) * (box[3] - box[1]), index))
    return min(found)[2] if found else None


def with_person(people: np.ndarray, index: int, person: np.ndarray) -> np.ndarray:
    """`people` with one of them replaced."""
    out = people.copy()
    out[index] = person
    return out


def moved(person: np.ndarray, dx: float, dy: float) -> np.ndarray:
    """All joints that have a place, moved."""
    return _mapped(person, person[:, :2] + (dx, dy))


def joint_moved_to(person: np.ndarray, joint: int, x: float, y: float) -> np.ndarray:
    """One joint put at a place."""
    out = person.copy()
    out[joint, :2] = np.clip((x, y), -FAR, FAR)
    return out


def scaled(person: np.ndarray, about: tuple[float, float], sx: float, sy: float) -> np.ndarray:
    """Scaled about a fixed place."""
    return _mapped(person, (person[:, :2] - about) * (sx, sy) + about)


def rotated(person: np.ndarray, about: tuple[float, float], angle: float) -> np.ndarray:
    """Turned about a fixed place by `angle` radians, clockwise on the screen (y points down)."""
    cos, sin = math.cos(angle), math.sin(angle)
    away = person[:, :2] - about
    return _mapped(person, np.stack([away[:, 0] * cos - away[:, 1] * sin, away[:, 0] * sin + away[:, 1] * cos], 1) + about)


def mirrored(person: np.ndarray) -> np.ndarray:
    """Seen in a mirror at the middle of the body's box: the right wrist becomes the left one, and so on."""
    box = bounds(person)
    if box is None:
        return person.copy()
    flipped = _mapped(person, np.stack([box[0] + box[2] - person[:, 0], person[:, 1]], 1))
    return flipped[MIRROR]


def toggled(person: np.ndarray, joint: int) -> np.ndarray:
    """A drawn joint hidden, a hidden one drawn; a dropped one stays dropped."""
    out = person.copy()
    if placed(person)[joint]:
        out[joint, 2] = 0.0 if out[joint, 2] > 0 else 1.0
    return out


def dropped(person: np.ndarray, joint: int) -> np.ndarray:
    """One joint taken away for good."""
    out = person.copy()
    out[joint] = 0
    return out


def restored(person: np.ndarray, figure: np.ndarray) -> np.ndarray:
    """Every joint drawn again: hidden ones where they are, dropped ones where `figure` (18, 2) would have them.

    The figure is laid over the joints that have a place by the best similarity (least squares over shift, turn and
    scale; in complex numbers z' = a z + b), a single joint by shift alone.
    """
    out, known = person.copy(), placed(person)
    if known.any() and not known.all():
        have = person[known, 0] + 1j * person[known, 1]
        like = figure[known, 0] + 1j * figure[known, 1]
        centred = like - like.mean()
        spread = float((np.abs(centred) ** 2).sum())
        a = (np.conj(centred) * (have - have.mean())).sum() / spread if spread > 0 else 1.0
        guess = a * (figure[:, 0] + 1j * figure[:, 1] - like.mean()) + have.mean()
        out[~known, 0], out[~known, 1] = guess.real[~known], guess.imag[~known]
    out[:, 2] = np.where(placed(out) & (out[:, 2] == 0), 1.0, out[:, 2])
    return out


def reposed(person: np.ndarray, figure: np.ndarray) -> np.ndarray:
    """The pose of `figure` (18, 2), all joints drawn, as large as `person` and with the trunk in the same place."""
    trunk = np.array([1, 2, 5, 8, 11])
    known = trunk[placed(person)[trunk]]
    if not len(known):
        known = np.flatnonzero(placed(person))
    have, like = person[known, :2], figure[known]
    spread = np.linalg.norm(like - like.mean(axis=0))
    scale = np.linalg.norm(have - have.mean(axis=0)) / spread if spread > 0 else 1.0
    out = np.ones_like(person)
    out[:, :2] = (figure - like.mean(axis=0)) * max(scale, LEAST_SIZE) + have.mean(axis=0)
    return out


def fitted(people: np.ndarray, old: tuple[int, int], new: tuple[int, int]) -> np.ndarray:
    """People of a canvas of size `old` on one of size `new`: one scale for both axes, centred."""
    scale = min(new[0] / old[0], new[1] / old[1])
    shift = (new[0] - old[0] * scale) / 2, (new[1] - old[1] * scale) / 2
    out = people.copy()
    out[..., :2] = np.where(placed(people)[..., None], people[..., :2] * scale + shift, 0)
    return out


def box_scale(
    start: tuple[float, float, float, float], handle: str, dx: float, dy: float, free: bool
) -> tuple[tuple[float, float], float, float]:
    """Dragging `handle` ("nw", "n", "ne", "e", ...) of the box `start` by (dx, dy): fixed place and both factors.

    Corners keep the proportions unless `free`; the sides scale one axis. Factors never turn the body inside out.
    """
    left, top, right, bottom = start
    x_sign = 1 if "e" in handle else -1 if "w" in handle else 0
    y_sign = 1 if "s" in handle else -1 if "n" in handle else 0
    about = (left if x_sign > 0 else right if x_sign < 0 else (left + right) / 2,
             top if y_sign > 0 else bottom if y_sign < 0 else (top + bottom) / 2)  # fmt: skip
    wide, high = max(right - left, 1e-6), max(bottom - top, 1e-6)
    sx = max((wide + x_sign * dx) / wide, min(1.0, LEAST_SIZE / wide))
    sy = max((high + y_sign * dy) / high, min(1.0, LEAST_SIZE / high))
    if x_sign and y_sign and not free:  # the pointer's way along the diagonal decides
        along = (x_sign * dx * wide + y_sign * dy * high) / (wide**2 + high**2)
        sx = sy = max(1 + along, min(1.0, LEAST_SIZE / max(wide, high)))
    return about, sx, sy


def _mapped(person: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """`person` with new places for the joints that have one; a place of exactly (0, 0, 0) would mean dropped."""
    out, keep = person.copy(), placed(person)
    out[keep, :2] = np.clip(xy, -FAR, FAR)[keep]
    lost = keep & ~placed(out)
    out[lost, 0] = 1e-3
    return out


@dataclass(frozen=True, eq=False)
class Snapshot:
    """All an undo step needs: the people and the canvas they stand on."""

    people: np.ndarray
    width: int
    height: int

    def same_as(self, other: Snapshot) -> bool:
        """Whether nothing differs."""
        size = (self.width, self.height) == (other.width, other.height)
        return size and np.array_equal(self.people, other.people)


class PoseHistory:
    """Undo and redo over snapshots, bounded in number."""

    def __init__(self) -> None:
        self.undo_stack: list[Snapshot] = []
        self.redo_stack: list[Snapshot] = []

    def push(self, before: Snapshot) -> None:
        """Keep the state `before` a change."""
        self.undo_stack = [*self.undo_stack[-STEPS_KEPT + 1 :], before]
        self.redo_stack.clear()

    def undo(self, now: Snapshot) -> Snapshot:
        """The state before the newest change."""
        self.redo_stack.append(now)
        return self.undo_stack.pop()

    def redo(self, now: Snapshot) -> Snapshot:
        """The state after the change undone last."""
        self.undo_stack.append(now)
        return self.redo_stack.pop()

    def clear(self) -> None:
        """Forget everything."""
        self.undo_stack.clear()
        self.redo_stack.clear()
