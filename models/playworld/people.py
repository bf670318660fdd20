"""People of Playworld: a skeleton of 18 joints moved by angles (forward kinematics).

Joints are those of OpenPose in COCO order; left and right are the person's own, and people face the viewer, so the
right shoulder lies on the left of the picture. Angles are degrees from straight down, positive outwards: the arm of
a T-pose has 90, a hand held up has 180, a forearm across the belly is negative.
"""

import math
import random

JOINTS = (
    "nose", "neck", "right shoulder", "right elbow", "right wrist", "left shoulder", "left elbow", "left wrist",
    "right hip", "right knee", "right ankle", "left hip", "left knee", "left ankle",
    "right eye", "left eye", "right ear", "left ear",
)

# Lengths as shares of the standing height.
TORSO, NECK_TO_NOSE, SHOULDER, HIP = 0.265, 0.135, 0.105, 0.062
UPPER_ARM, FOREARM, THIGH, SHIN, SOLE = 0.150, 0.140, 0.215, 0.215, 0.045
HEAD = 0.102  # radius
EYE, EYE_UP, EAR, EAR_UP = 0.040, 0.024, 0.100, 0.010

# name: right upper arm, forearm, left upper arm, forearm, right thigh, shin, left thigh, shin (degrees), lean to the
# person's right (degrees), lift off the ground (share of the height). Mirrored in half of the scenes.
POSES: dict[str, tuple[float, ...]] = {
    "standing": (15, 9, 15, 9, 5, 3, 5, 3, 0, 0),
    "waving": (112, 168, 15, 9, 5, 3, 5, 3, 0, 0),
    "arms up": (152, 170, 152, 170, 6, 4, 6, 4, 0, 0),
    "arms wide": (90, 90, 90, 90, 6, 4, 6, 4, 0, 0),
    "hands on hips": (50, -50, 50, -50, 8, 5, 8, 5, 0, 0),
    "pointing": (92, 92, 13, 7, 5, 3, 5, 3, 0, 0),
    "walking": (24, 50, 32, 22, 24, 12, 18, 40, 3, 0),
    "running": (40, 128, 55, -30, 68, -6, 28, 86, 10, 0.02),
    "kicking": (55, 72, 62, 84, 80, 84, 3, 2, -10, 0),
    "sitting": (34, 8, 34, 8, 74, -70, 74, -70, 0, 0),
    "jumping": (112, 155, 112, 155, 46, -28, 46, -28, 0, 0.11),
    "star jump": (130, 132, 130, 132, 36, 36, 36, 36, 0, 0.09),
}
SPREAD = (9, 9, 9, 9, 4, 5, 4, 5, 3, 0.01)  # half width of the random variation, in the same order
FREE = "posing"  # a random pose without a name

Joints = tuple[tuple[float, float, float], ...]


def random_angles(pose: str, rng: random.Random) -> tuple[float, ...]:
    """The ten numbers of a POSES row for a named pose with variation, or for a free pose."""
    if pose == FREE:
        angles = _free_angles(rng)
    else:
        angles = [mean + rng.uniform(-spread, spread) for mean, spread in zip(POSES[pose], SPREAD)]
        angles[9] = max(angles[9], 0.0) if POSES[pose][9] else 0.0
    if rng.random() < 0.5:
        angles = [*angles[2:4], *angles[0:2], *angles[6:8], *angles[4:6], -angles[8], angles[9]]
    return tuple(angles)


def _free_angles(rng: random.Random) -> list[float]:
    arms = []
    for _ in range(2):
        upper = rng.uniform(0, 165)
        arms += [upper, upper + rng.uniform(-95, 60)]
    legs = []
    for _ in range(2):
        thigh = rng.triangular(-4, 60, 8)
        legs += [thigh, thigh + rng.triangular(-60, 35, -3)]
    return [*arms, *legs, rng.uniform(-12, 12), 0.0]


def skeleton(angles: tuple[float, ...], height: float, tilt: float = 0.0, turn: float = 0.0) -> Joints:
    """Joints (x right, y down, c) of a person of this standing height, around the spot (0, 0) on the ground below.

    tilt: head to the person's right, degrees. turn: head to the person's right, -1 to 1; beyond 0.7 the ear on that
    side is hidden (c = 0).
    """
    lean, lift = math.radians(angles[8]), angles[9]
    up = (-math.sin(lean), -math.cos(lean))  # along the spine, from hip to neck
    across = (-up[1], up[0])  # towards the person's left
    neck = (up[0] * TORSO, up[1] * TORSO)  # the root is the middle of the hips
    points: list[tuple[float, float]] = [(0.0, 0.0)] * 18
    points[1] = neck
    for side, first, hip in ((-1, 2, 8), (1, 5, 11)):
        at = 0 if side < 0 else 2
        points[first] = (neck[0] + side * SHOULDER * across[0], neck[1] + side * SHOULDER * across[1] + 0.012)
        points[first + 1] = _reach(points[first], side, angles[at], UPPER_ARM)
        points[first + 2] = _reach(points[first + 1], side, angles[at + 1], FOREARM)
        points[hip] = (side * HIP * across[0], side * HIP * across[1])
        points[hip + 1] = _reach(points[hip], side, angles[at + 4], THIGH)
        points[hip + 2] = _reach(points[hip + 1], side, angles[at + 5], SHIN)
    _place_head(points, neck, lean + math.radians(tilt), turn)
    lowest = max(points[10][1], points[13][1], points[9][1], points[12][1], 0.02)
    drop = -lowest - SOLE - lift
    visible = [1.0] * 18
    if abs(turn) > 0.7:
        visible[16 if turn > 0 else 17] = 0.0
    return tuple((x * height, (y + drop) * height, c) for (x, y), c in zip(points, visible))


def _reach(start: tuple[float, float], side: int, degrees: float, length: float) -> tuple[float, float]:
    angle = math.radians(degrees)
    return (start[0] + side * length * math.sin(angle), start[1] + length * math.cos(angle))


def _place_head(points: list, neck: tuple[float, float], angle: float, turn: float) -> None:
    up = (-math.sin(angle), -math.cos(angle))
    across = (-up[1], up[0])
    shift = -0.035 * turn  # the face slides over the head when it turns

    def at(side: float, high: float) -> tuple[float, float]:
        high += NECK_TO_NOSE
        return (neck[0] + across[0] * side + up[0] * high, neck[1] + across[1] * side + up[1] * high)

    points[0] = at(shift, 0.0)
    points[14], points[15] = at(shift - EYE, EYE_UP), at(shift + EYE, EYE_UP)
    points[16], points[17] = at(-EAR, EAR_UP), at(EAR, EAR_UP)
