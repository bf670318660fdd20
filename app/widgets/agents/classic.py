"""The classic control environments, painted: lines and joints only, crisp at any size, colours by role."""

from __future__ import annotations

from math import cos, degrees, pi, sin

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QPainter, QPolygonF

from app import theme
from app.protocol.rl import AgentFrame
from app.widgets.agents import geometry
from app.widgets.agents.camera import Camera
from app.widgets.agents.strokes import arrow, disc, pen, rod, turn_arrow

DASH = Qt.PenStyle.DashLine
CART, POLE, LINK = 0, 1, 2
"""Data colours of bodies and of what is to be balanced."""


def paint_cart_pole(painter: QPainter, camera: Camera, frame: AgentFrame) -> None:
    """The cart on its rail, the pole, the limits of both, the push."""
    facts = dict(frame.facts)
    shape = geometry.cart_pole(facts)
    width, height = geometry.CART_SIZE
    floor = -height / 2 - 0.07
    painter.setPen(pen(theme.colour("border"), 1.5))
    painter.drawLine(camera.at(-geometry.CART_LIMIT - 0.3, floor), camera.at(geometry.CART_LIMIT + 0.3, floor))
    for end in (-geometry.CART_LIMIT, geometry.CART_LIMIT):
        painter.setPen(pen(theme.colour("error"), 1.5, DASH))
        painter.drawLine(camera.at(end, floor), camera.at(end, 0.3))
        _words(painter, camera.at(end, floor), f"{end:+.1f} m".replace("-", "−"))
    painter.setPen(pen(theme.colour("border"), 1, DASH))
    for side in (-1, 1):
        reach = geometry.POLE_LENGTH * 1.08
        away = side * geometry.POLE_LIMIT
        painter.drawLine(camera.at(*shape.axle), camera.at(shape.axle[0] + reach * sin(away), shape.axle[1] + reach * cos(away)))
    for side in (-0.25, 0.25):
        disc(painter, camera.at(shape.cart[0] + side * width, floor + 0.045), camera.width(0.045, 2), theme.colour("on_stage"))
    corner = camera.at(shape.cart[0] - width / 2, height / 2)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(theme.data_colour(CART))
    painter.drawRoundedRect(QRectF(corner.x(), corner.y(), camera.width(width), camera.width(height)), 3, 3)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    rod(painter, camera.at(*shape.axle), camera.at(*shape.tip), camera.width(0.08, 3), theme.data_colour(POLE))
    disc(painter, camera.at(*shape.axle), camera.width(0.04, 2), theme.colour("stage"))
    push = 2 * _given(frame, 0.5) - 1
    if push:
        side = 1 if push > 0 else -1
        near, far = (camera.at(shape.cart[0] + side * (width / 2 + gap), 0) for gap in (0.05, 0.4))
        arrow(painter, near, far, camera.width(0.035, 2), theme.colour("text"))


def paint_pendulum(painter: QPainter, camera: Camera, frame: AgentFrame) -> None:
    """The rod about its axle, where it should stand, and the torque as an arrow round the axle."""
    facts = dict(frame.facts)
    painter.setPen(pen(theme.colour("border"), 1, DASH))
    painter.drawLine(camera.at(0, 0), camera.at(0, geometry.ROD_LENGTH * 1.2))
    painter.drawEllipse(camera.at(0, 0), camera.width(geometry.ROD_LENGTH), camera.width(geometry.ROD_LENGTH))
    _words(painter, camera.at(0, geometry.ROD_LENGTH * 1.2) - QPointF(0, 19), "upright: 0")
    rod(painter, camera.at(0, 0), camera.at(*geometry.pendulum(facts)), camera.width(0.14, 4), theme.data_colour(POLE))
    disc(painter, camera.at(0, 0), camera.width(0.05, 2), theme.colour("stage"))
    torque = min(max(_given(frame, 0.0), -2.0), 2.0)
    turn_arrow(painter, camera.at(0, 0), camera.width(0.38), torque / 2 * pi * 0.8, camera.width(0.03, 2), theme.colour("text"))


def paint_acrobot(painter: QPainter, camera: Camera, frame: AgentFrame) -> None:
    """Two links, the height to reach, and the torque at the elbow."""
    facts = dict(frame.facts)
    elbow, tip = geometry.acrobot(facts)
    painter.setPen(pen(theme.colour("ok"), 1.5, DASH))
    painter.drawLine(camera.at(-2.1, geometry.BAR_HEIGHT), camera.at(2.1, geometry.BAR_HEIGHT))
    _words(painter, camera.at(-1.7, geometry.BAR_HEIGHT) - QPointF(0, 19), "to reach")
    for one, other, colour in (((0.0, 0.0), elbow, CART), (elbow, tip, LINK)):
        rod(painter, camera.at(*one), camera.at(*other), camera.width(0.16, 4), theme.data_colour(colour))
    for joint in ((0.0, 0.0), elbow):
        disc(painter, camera.at(*joint), camera.width(0.06, 2), theme.colour("stage"))
    torque = _given(frame, 1.0) - 1
    turn_arrow(painter, camera.at(*elbow), camera.width(0.34), torque * pi * 0.6, camera.width(0.05, 2), theme.colour("text"))


def paint_mountain_car(painter: QPainter, camera: Camera, frame: AgentFrame) -> None:
    """The hill, the flag on it, the car along the slope, its push."""
    facts = dict(frame.facts)
    x0, x1 = geometry.HILL_RANGE
    steps = [x0 + (x1 - x0) * i / 90 for i in range(91)]
    ground = [camera.at(x, geometry.hill(x)) for x in steps]
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(theme.colour("raised"))
    painter.drawPolygon(QPolygonF([camera.at(x0, 0), *ground, camera.at(x1, 0)]))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.setPen(pen(theme.colour("border"), 2))
    painter.drawPolyline(QPolygonF(ground))
    _paint_flag(painter, camera, geometry.GOALS.get(frame.env, 0.5))
    _paint_car(painter, camera, facts["x"])
    push = _given(frame, 1.0) - 1 if frame.env == "MountainCar-v0" else min(max(_given(frame, 0.0), -1.0), 1.0)
    if push:
        foot = (facts["x"], geometry.hill(facts["x"]) + 0.14)
        along = geometry.slope(facts["x"])
        far = foot[0] + 0.22 * push * cos(along), foot[1] + 0.22 * push * sin(along)
        arrow(painter, camera.at(*foot), camera.at(*far), camera.width(0.012, 2), theme.colour("text"))


def _paint_flag(painter: QPainter, camera: Camera, x: float) -> None:
    foot, top = camera.at(x, geometry.hill(x)), camera.at(x, geometry.hill(x) + geometry.FLAG_HEIGHT)
    painter.setPen(pen(theme.colour("text"), 1.5))
    painter.drawLine(foot, top)
    side = camera.width(0.03)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(theme.colour("ok"))
    painter.drawPolygon(QPolygonF([top, top + QPointF(2.4 * side, side / 2), top + QPointF(0, side)]))
    painter.setBrush(Qt.BrushStyle.NoBrush)


def _paint_car(painter: QPainter, camera: Camera, x: float) -> None:
    width, height = (camera.width(size) for size in geometry.CAR_SIZE)
    painter.save()
    painter.translate(camera.at(x, geometry.hill(x)))
    painter.rotate(-degrees(geometry.slope(x)))
    lift = camera.width(geometry.CAR_CLEARANCE)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(theme.data_colour(CART))
    painter.drawRoundedRect(QRectF(-width / 2, -lift - height, width, height), 3, 3)
    painter.restore()
    painter.save()
    painter.translate(camera.at(x, geometry.hill(x)))
    painter.rotate(-degrees(geometry.slope(x)))
    for side in (-1, 1):
        disc(painter, QPointF(side * width / 4, -height * 0.4), height * 0.4, theme.colour("on_stage"), theme.colour("stage"))
    painter.restore()


def _given(frame: AgentFrame, nothing: float) -> float:
    """The action taken in the state that is drawn."""
    return frame.action[0] if frame.action else nothing


def _words(painter: QPainter, foot: QPointF, text: str) -> None:
    """Small words centred under a point."""
    painter.setFont(theme.font(theme.LEAST))
    painter.setPen(theme.colour("on_stage"))
    painter.drawText(QRectF(foot.x() - 50, foot.y() + 3, 100, 16), Qt.AlignmentFlag.AlignHCenter, text)
