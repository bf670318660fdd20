"""Named poses to start from, as angles of a jointed figure with the proportions of Playworld's people.

Angles are degrees from straight down, positive outwards (away from the middle of the body): 90 is an arm held out,
180 a hand straight up, a negative one points inwards. The two sides of a body share all lengths by construction.
Figures come in shares of the standing height, feet near y = 0, y pointing down.
"""

from __future__ import annotations

import math

import numpy as np

from app.widgets.pose_model import NOBODY, bounds

TORSO, NECK_TO_NOSE, SHOULDER, SHOULDER_DROP, HIP = 0.265, 0.135, 0.105, 0.012, 0.062
UPPER_ARM, FOREARM, THIGH, SHIN, SOLE = 0.150, 0.140, 0.215, 0.215, 0.045
EYE, EYE_UP, EAR, EAR_UP = 0.040, 0.024, 0.100, 0.010
SHARE = 0.8  # of the canvas height a new person takes
GROUND = 0.92  # of the canvas height the feet of a new person stand at

# Right upper arm, forearm, left upper arm, forearm, right thigh, shin, left thigh, shin, lean to the person's right.
ANGLES: dict[str, tuple[float, ...]] = {
    "standing": (15, 9, 15, 9, 5, 3, 5, 3, 0),
    "waving": (112, 168, 15, 9, 5, 3, 5, 3, 0),
    "arms up": (152, 170, 152, 170, 6, 4, 6, 4, 0),
    "arms wide": (90, 90, 90, 90, 6, 4, 6, 4, 0),
    "hands on hips": (50, -50, 50, -50, 8, 5, 8, 5, 0),
    "pointing": (92, 92, 13, 7, 5, 3, 5, 3, 0),
    "walking": (24, 50, 32, 22, 24, 12, 18, 40, 3),
    "running": (40, 128, 55, -30, 68, -6, 28, 86, 10),
    "kicking": (55, 72, 62, 84, 80, 84, 3, 2, -10),
    "sitting": (34, 8, 34, 8, 74, -70, 74, -70, 0),
    "jumping": (112, 155, 112, 155, 46, -28, 46, -28, 0),
    "star jump": (130, 132, 130, 132, 36, 36, 36, 36, 0),
    "dancing": (120, 175, 70, 10, 12, 6, 48, -30, -6),
    "thinking": (28, -140, 30, -75, 5, 3, 5, 3, 3),
    "bowing": (10, 25, -12, -25, 6, 4, 6, 4, 24),
}


def figure(angles: tuple[float, ...]) -> np.ndarray:
    """The 18 joints (18, 2) of a figure of height 1 with these nine angles, facing the viewer."""
    lean = math.radians(angles[8])
    up = np.array([-math.sin(lean), -math.cos(lean)])
    across = np.array([-up[1], up[0]])  # towards the person's left, which is the viewer's right
    points = np.zeros((18, 2))
    neck = points[1] = up * TORSO
    for side, shoulder, hip, arm, leg in ((-1, 2, 8, 0, 4), (1, 5, 11, 2, 6)):
        points[shoulder] = neck + side * SHOULDER * across + (0, SHOULDER_DROP)
        points[shoulder + 1] = points[shoulder] + _bone(side, angles[arm], UPPER_ARM)
        points[shoulder + 2] = points[shoulder + 1] + _bone(side, angles[arm + 1], FOREARM)
        points[hip] = side * HIP * across
        points[hip + 1] = points[hip] + _bone(side, angles[leg], THIGH)
        points[hip + 2] = points[hip + 1] + _bone(side, angles[leg + 1], SHIN)
        points[14 if side < 0 else 15] = neck + side * EYE * across + (NECK_TO_NOSE + EYE_UP) * up
        points[16 if side < 0 else 17] = neck + side * EAR * across + (NECK_TO_NOSE + EAR_UP) * up
    points[0] = neck + NECK_TO_NOSE * up
    lowest = points[[9, 10, 12, 13], 1].max()
    return points - (0, lowest + SOLE)


def _bone(side: int, degrees: float, length: float) -> np.ndarray:
    angle = math.radians(degrees)
    return length * np.array([side * math.sin(angle), math.cos(angle)])


PRESETS: dict[str, np.ndarray] = {name: figure(angles) for name, angles in ANGLES.items()}


def place(name: str, width: int, height: int, others: np.ndarray = NOBODY) -> np.ndarray:
    """A person (18, 3) in the pose `name`, inside a canvas, standing where `others` leave the most room."""
    points = PRESETS[name]
    wide, high = np.ptp(points[:, 0]), -points[:, 1].min()
    scale = SHARE * min(height / max(high, 1.0), width / max(wide, 0.5))
    half = scale * wide / 2
    middle = _free_middle(half, width, others)
    out = np.ones((18, 3))
    out[:, 0] = points[:, 0] * scale + middle - scale * (points[:, 0].max() + points[:, 0].min()) / 2
    out[:, 1] = points[:, 1] * scale + min(height * GROUND, (height + scale) / 2)
    return out


def _free_middle(half: float, width: int, others: np.ndarray) -> float:
    """The x at which a body of half width `half` keeps farthest from the bodies there are; the middle if alone."""
    taken = [(box[0] + box[2]) / 2 for box in map(bounds, others) if box]
    low, high = min(half + 2, width / 2), max(width - half - 2, width / 2)
    choices = np.linspace(low, high, 33)
    if not taken:
        return width / 2
    away = np.abs(choices[:, None] - np.array(taken)).min(axis=1)
    return float(choices[away.argmax()])
