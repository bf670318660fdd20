"""Experts as colours and numbers: expert e has the same colour in every view, and its number always stands with it.

Eight hues; from the ninth expert on they come again, washed out, and are told apart by their numbers.
"""

from __future__ import annotations

from functools import cache, lru_cache

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QFont, QPainter

from app import theme

HUES = 8
WASH = (0.0, 0.5)
"""How much of the ground is mixed in, by round through the hues."""


def expert_colour(expert: int) -> QColor:
    """The colour of an expert in the theme in use, to keep and to change."""
    return QColor(expert_paints(expert)[0])


def expert_paints(expert: int) -> tuple[QColor, QColor]:
    """The colour of an expert and of what is written on it; shared, so not to be changed."""
    return _paints(expert, theme.tokens().name)


@lru_cache(maxsize=4096)
def _paints(expert: int, _theme: str) -> tuple[QColor, QColor]:
    ground = mixed(theme.data_colour(expert), theme.colour("surface"), WASH[expert // HUES % len(WASH)])
    return ground, ink_on(ground)


@cache
def _badge_font(struck: bool) -> QFont:
    font = theme.font(theme.LEAST)
    font.setStrikeOut(struck)
    return font


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
    ground, ink = expert_paints(expert)
    painter.fillRect(place, ground)
    painter.setFont(_badge_font(struck))
    painter.setPen(ink)
    painter.drawText(place, Qt.AlignmentFlag.AlignCenter, str(expert))
