"""Experts as colours and numbers: expert e has the same colour in every view, and its number always stands with it.

Eight hues; from the ninth expert on they come again, washed out, and are told apart by their numbers.
"""

from __future__ import annotations

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QPainter

from app import theme

HUES = 8
WASH = (0.0, 0.5)
"""How much of the ground is mixed in, by round through the hues."""


def expert_colour(expert: int) -> QColor:
    """The colour of an expert in the theme in use."""
    wash = WASH[expert // HUES % len(WASH)]
    return mixed(theme.data_colour(expert), theme.colour("surface"), wash)


def mixed(one: QColor, other: QColor, share: float) -> QColor:
    """One colour with a share of another."""
    parts = ((a * (1 - share) + b * share) for a, b in zip(one.getRgb()[:3], other.getRgb()[:3], strict=True))
    return QColor(*(round(part) for part in parts))


def ink_on(ground: QColor) -> QColor:
    """Black or white, whichever can be read better."""
    dark = theme.contrast(ground.name(), "#101010") >= theme.contrast(ground.name(), "#ffffff")
    return QColor("#101010" if dark else "#ffffff")


def paint_badge(painter: QPainter, place: QRectF, expert: int, *, struck: bool = False) -> None:
    """An expert's number on its colour; struck out if it had no place for the token."""
    ground = expert_colour(expert)
    painter.fillRect(place, ground)
    font = theme.font(theme.LEAST)
    font.setStrikeOut(struck)
    painter.setFont(font)
    painter.setPen(ink_on(ground))
    painter.drawText(place, Qt.AlignmentFlag.AlignCenter, str(expert))
