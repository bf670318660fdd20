"""How the pose editor draws people: bones like the reference renderer, handles that stay the same size on the screen.

The picture that steers the model is made elsewhere by the reference renderer; this is its look-alike, so that the
stage does not change when that picture arrives a moment later.
"""

from __future__ import annotations

import math

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QPainter, QPen

from app import theme
from app.protocol.payloads import JOINT_COLOURS, LIMBS
from app.widgets.pose_model import placed, visible

DIM = 0.6  # brightness of a limb
BONE_SHARE = 4 / 512  # half width of a limb per pixel of the shorter side
RADIUS, FACE_RADIUS = 5.0, 4.0  # px on the screen
FACE = (0, 14, 15, 16, 17)
PAD = 16.0  # px between the body and its box
STEM = 22.0  # px from the box to the handle that rotates
ACCENT = QColor(theme.DARK.accent)  # the canvas is black in both themes
HALO = QColor(0, 0, 0, 170)
COLOURS = [QColor(*rgb) for rgb in JOINT_COLOURS]
LIMB_COLOURS = [QColor(*(int(channel * DIM) for channel in rgb)) for rgb in JOINT_COLOURS[: len(LIMBS)]]


def bone_radius(width: int, height: int) -> int:
    """Half width of a limb and radius of a joint in pixels of the canvas."""
    return max(1, round(BONE_SHARE * min(width, height)))


def paint_person(painter: QPainter, person: np.ndarray, radius: float) -> None:
    """Limbs as ellipses in 60 % of their colour, then joints as discs, in canvas pixels."""
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    seen, points = visible(person), person.tolist()
    for (a, b), colour in zip(LIMBS, LIMB_COLOURS, strict=True):
        if seen[a] and seen[b]:
            (ax, ay, _), (bx, by, _) = points[a], points[b]
            painter.save()
            painter.translate((ax + bx) / 2, (ay + by) / 2)
            painter.rotate(math.degrees(math.atan2(by - ay, bx - ax)))
            painter.setBrush(colour)
            painter.drawEllipse(QPointF(), math.hypot(bx - ax, by - ay) / 2, radius)
            painter.restore()
    for joint in np.flatnonzero(seen):
        painter.setBrush(COLOURS[joint])
        painter.drawEllipse(QPointF(*points[joint][:2]), radius, radius)


def paint_handles(
    painter: QPainter, person: np.ndarray, places: list[QPointF], *, selected: bool, hot: int | None, chosen: int | None
) -> None:
    """A disc per joint in widget pixels; hollow when hidden, ringed when under the pointer or chosen."""
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    seen = visible(person)
    for joint in np.flatnonzero(placed(person)):
        radius = FACE_RADIUS if joint in FACE else RADIUS
        radius += 1.5 if joint in (hot, chosen) else -1.0 if not selected else 0
        spot = places[joint]
        painter.setPen(QPen(HALO, 2.5))
        painter.setBrush(COLOURS[joint] if seen[joint] else QColor(0, 0, 0, 120))
        painter.drawEllipse(spot, radius, radius)
        edge = QColor("white") if selected and seen[joint] else COLOURS[joint]
        painter.setPen(QPen(edge, 1.2, Qt.PenStyle.SolidLine if seen[joint] else Qt.PenStyle.DotLine))
        painter.drawEllipse(spot, radius, radius)
        if joint == chosen:
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(QColor("white"), 1.5))
            painter.drawEllipse(spot, radius + 3.5, radius + 3.5)


def box_handles(box: QRectF) -> dict[str, QPointF]:
    """The places of the eight scale handles and of the one that rotates, for a body's padded box."""
    centre = box.center()
    xs, ys = {"w": box.left(), "e": box.right()}, {"n": box.top(), "s": box.bottom()}
    out = {v + h: QPointF(xs[h], ys[v]) for v in ys for h in xs}
    out |= {h: QPointF(xs[h], centre.y()) for h in xs} | {v: QPointF(centre.x(), ys[v]) for v in ys}
    return out | {"rotate": QPointF(centre.x(), box.top() - STEM)}


def paint_box(painter: QPainter, box: QRectF, hot: str | None) -> None:
    """The box round the selected body, with its handles."""
    handles = box_handles(box)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)  # straight lines, ten times as fast
    painter.setBrush(Qt.BrushStyle.NoBrush)
    for pen in (QPen(HALO, 3), QPen(ACCENT, 1)):
        painter.setPen(pen)
        painter.drawRect(box)
        painter.drawLine(handles["n"], handles["rotate"])
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    for name, spot in handles.items():
        size = 5.0 if name == hot else 4.0
        painter.setPen(QPen(QColor("black"), 1))
        painter.setBrush(QColor("white") if name == hot else ACCENT)
        if name == "rotate":
            painter.drawEllipse(spot, size + 1, size + 1)
        else:
            painter.drawRect(QRectF(spot.x() - size, spot.y() - size, 2 * size, 2 * size))


def paint_name(painter: QPainter, spot: QPointF, text: str, room: QRectF) -> None:
    """A small label beside a joint, kept inside `room`."""
    painter.setFont(theme.font(theme.SMALL))
    size = QFontMetricsF(painter.font()).size(0, text)
    chip = QRectF(spot.x() + 14, spot.y() - size.height() - 10, size.width() + 12, size.height() + 4)
    chip.moveRight(min(chip.right(), room.right() - 4))
    chip.moveTop(max(chip.top(), room.top() + 4))
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(theme.DARK.raised))
    painter.drawRoundedRect(chip, 4, 4)
    painter.setPen(QColor(theme.DARK.text))
    painter.drawText(chip, Qt.AlignmentFlag.AlignCenter, text)
