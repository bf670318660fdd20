"""Which painter draws which environment, what part of its world is shown, and the units of its facts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import degrees

from PySide6.QtGui import QPainter

from app.protocol.rl import AgentFrame
from app.widgets.agents import classic
from app.widgets.agents.camera import Camera
from app.widgets.agents.geometry import wrapped


@dataclass(frozen=True)
class Portrait:
    """`window`: left, bottom, right, top in the environment's units; `limit`: the largest real-valued action."""

    paint: Callable[[QPainter, Camera, AgentFrame], None]
    window: tuple[float, float, float, float]
    units: dict[str, str] = field(default_factory=dict)
    limit: float = 1.0
    plane: tuple[str, str] | None = None
    """The two facts that are the axes of its plane, if it has one (see `models/rl/planes.py`)."""


_ANGLES = {"angle": "rad", "angular_velocity": "rad/s", "angle_1": "rad", "angle_2": "rad"}
_TURNS = {**_ANGLES, "angular_velocity_1": "rad/s", "angular_velocity_2": "rad/s", "torque": "N m"}
PORTRAITS = {
    "CartPole-v1": Portrait(
        classic.paint_cart_pole, (-2.8, -0.42, 2.8, 1.2), {"x": "m", "velocity": "m/s", "force": "N", **_ANGLES},
        plane=("angle", "angular_velocity"),
    ),
    "Pendulum-v1": Portrait(classic.paint_pendulum, (-1.35, -1.2, 1.35, 1.42), _TURNS, 2.0, ("angle", "angular_velocity")),
    "Acrobot-v1": Portrait(classic.paint_acrobot, (-2.15, -2.1, 2.15, 2.15), _TURNS),
    "MountainCar-v0": Portrait(classic.paint_mountain_car, (-1.2, 0.0, 0.6, 1.22), plane=("x", "velocity")),
    "MountainCarContinuous-v0": Portrait(classic.paint_mountain_car, (-1.2, 0.0, 0.6, 1.22), plane=("x", "velocity")),
}  # fmt: skip
NOBODY = Portrait(lambda *_: None, (0, 0, 1, 1))
"""For environments that draw themselves."""


SPOKEN = {"force": "last force", "torque": "last torque"}
"""These facts are of the step before; the action beside them is the one taken now."""


def shown_facts(frame: AgentFrame) -> tuple[tuple[str, float], ...]:
    """The facts that are worth reading beside the action."""
    return tuple(fact for fact in frame.facts if fact[0] != "action")


def portrait_of(env: str) -> Portrait:
    """How an environment is drawn here."""
    return PORTRAITS.get(env, NOBODY)


def is_grid(env: str) -> bool:
    """Is it one of our grid worlds?"""
    return env.startswith("GridWorld")


def fact_words(env: str, name: str, value: float) -> tuple[str, str]:
    """A fact's name and its value with unit; angles also in degrees, within half a turn."""
    unit = portrait_of(env).units.get(name, "")
    spoken = SPOKEN.get(name, name.replace("_", " "))
    if is_grid(env):
        return spoken, f"{value:.0f}"
    if unit == "rad":
        return spoken, signed(f"{value:+.2f} rad ({degrees(wrapped(value)):+.1f}°)")
    return spoken, signed(f"{value:+.3f} {unit}".rstrip() if abs(value) < 1000 else f"{value:+.4g} {unit}".rstrip())


def signed(text: str) -> str:
    """With a true minus."""
    return text.replace("-", "−")


def place_on_plane(frame: AgentFrame) -> tuple[float, float] | None:
    """Where a frame's agent is on the plane of its environment, None if it has none; the pendulum's angle within half a turn."""
    plane, facts = portrait_of(frame.env).plane, dict(frame.facts)
    if plane is None or not all(name in facts for name in plane):
        return None
    x, y = (facts[name] for name in plane)
    return (wrapped(x) if frame.env == "Pendulum-v1" else x), y
