"""Where the parts of the classic environments stand, in their own units, y upward: as gymnasium 1.x draws and computes them.

Angles in radians. CartPole: 0 upright, positive leans right. Pendulum: 0 upright, positive counter-clockwise. Acrobot: 0 hangs down,
positive counter-clockwise, the second angle counted from the first link. Mountain car: the hill is `0.45 sin(3 x) + 0.55`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import atan, cos, pi, sin

Point = tuple[float, float]

CART_LIMIT, POLE_LENGTH, POLE_LIMIT = 2.4, 1.0, 12 * 2 * pi / 360
"""m, m, rad: beyond the limits an episode ends; the pole is twice gymnasium's `length`, which is half of it."""
CART_SIZE, AXLE = (0.4, 0.24), 0.06
"""m: gymnasium's 50 x 30 px at 125 px/m; the axle above the middle of the cart."""
ROD_LENGTH, LINK_LENGTH, BAR_HEIGHT = 1.0, 1.0, 1.0
HILL_RANGE, CAR_SIZE, CAR_CLEARANCE, FLAG_HEIGHT = (-1.2, 0.6), (0.12, 0.06), 0.03, 0.15
"""Gymnasium's 40 x 20 px car, 10 px above the ground, and 50 px flag, at 333 px per unit."""
GOALS = {"MountainCar-v0": 0.5, "MountainCarContinuous-v0": 0.45}


@dataclass(frozen=True)
class CartPole:
    """The cart's middle, the axle, the tip of the pole."""

    cart: Point
    axle: Point
    tip: Point


def cart_pole(facts: Mapping[str, float]) -> CartPole:
    """From `x` (m) and `angle` (rad)."""
    x, angle = facts["x"], facts["angle"]
    return CartPole((x, 0.0), (x, AXLE), (x + POLE_LENGTH * sin(angle), AXLE + POLE_LENGTH * cos(angle)))


def pendulum(facts: Mapping[str, float]) -> Point:
    """The end of the rod; it turns about the origin."""
    return -ROD_LENGTH * sin(facts["angle"]), ROD_LENGTH * cos(facts["angle"])


def acrobot(facts: Mapping[str, float]) -> tuple[Point, Point]:
    """Elbow and tip; the shoulder is the origin. The goal is the tip above `BAR_HEIGHT`."""
    first, both = facts["angle_1"], facts["angle_1"] + facts["angle_2"]
    elbow = LINK_LENGTH * sin(first), -LINK_LENGTH * cos(first)
    return elbow, (elbow[0] + LINK_LENGTH * sin(both), elbow[1] - LINK_LENGTH * cos(both))


def hill(x: float) -> float:
    """Height of the ground."""
    return 0.45 * sin(3 * x) + 0.55


def slope(x: float) -> float:
    """Angle of the ground, rad: the tangent, where gymnasium's own picture takes cos(3 x) itself for the angle."""
    return atan(1.35 * cos(3 * x))


def wrapped(angle: float) -> float:
    """An angle within -pi .. pi."""
    return (angle + pi) % (2 * pi) - pi
