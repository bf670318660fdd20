"""The fate of a token, the same in every view: a colour by role, and a second cue that needs no colour.

accepted: green, underlined, a tick.  rejected: red, struck, a cross.  corrected: orange, a triangle.  bonus: blue, a plus.
plain: no colour, a dot.  untested: grey, a dash.
"""

from __future__ import annotations

from functools import cache

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPen, QPolygonF
from PySide6.QtWidgets import QSizePolicy, QWidget

from app import theme

FATES = {
    "accepted": "a drafted token the model agreed with",
    "corrected": "the model's own token after a rejection",
    "bonus": "one more, after all drafted tokens were accepted",
    "plain": "decoded without a draft",
    "rejected": "drafted, and refused by the model",
    "untested": "drafted behind a rejection, never looked at",
}
TINT = 46  # alpha of the ground of a chip: words on it keep a contrast of 4.5 to 1
MARK = 7  # px, side of the square a mark is drawn in


@cache
def _made(_theme: str, name: str, alpha: int) -> QColor:
    return theme.colour(name, alpha)


def ink(fate: str, alpha: int = 255) -> QColor:
    """The colour of a fate in the theme in use; made once, for painters of many tokens."""
    return _made(theme.tokens().name, role(fate), alpha)


def role(fate: str) -> str:
    """The theme role of a fate."""
    return {"plain": "muted", "given": "muted", "untested": "pending"}.get(fate) or theme.FATES[fate]


def ground(fate: str) -> QColor | None:
    """The colour behind a token, or None."""
    return None if fate in ("plain", "given", "untested") else ink(fate, TINT)


def paint_mark(painter: QPainter, centre: QPointF, fate: str, side: float = MARK) -> None:
    """Draw the mark of a fate around a point."""
    half, x, y = side / 2, centre.x(), centre.y()
    colour = ink(fate)
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(QPen(colour, 1.6, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap, Qt.PenJoinStyle.RoundJoin))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    if fate == "accepted":
        painter.drawPolyline(QPolygonF([QPointF(x - half, y), QPointF(x - half / 4, y + half * 0.7), QPointF(x + half, y - half * 0.8)]))
    elif fate == "rejected":
        painter.drawLine(QPointF(x - half, y - half), QPointF(x + half, y + half))
        painter.drawLine(QPointF(x - half, y + half), QPointF(x + half, y - half))
    elif fate == "corrected":
        painter.setBrush(colour)
        painter.drawPolygon(QPolygonF([QPointF(x - half, y + half * 0.8), QPointF(x + half, y + half * 0.8), QPointF(x, y - half * 0.8)]))
    elif fate == "bonus":
        painter.drawLine(QPointF(x - half, y), QPointF(x + half, y))
        painter.drawLine(QPointF(x, y - half), QPointF(x, y + half))
    elif fate == "untested":
        painter.drawLine(QPointF(x - half, y), QPointF(x + half, y))
    else:
        painter.setBrush(colour)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.drawEllipse(centre, side / 5, side / 5)
    painter.restore()


def visible(text: str) -> str:
    """A token's text with line breaks and tabs that can be seen."""
    return text.replace("\r", "␍").replace("\n", "↵").replace("\t", "⇥") or "∅"


class FateLegend(QWidget):
    """What the colours and marks mean, in one line."""

    def __init__(self, fates: tuple[str, ...] = tuple(FATES), parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._fates = fates
        self.setFont(theme.font(theme.LEAST))
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.setAccessibleName("Legend: " + "; ".join(f"{fate}: {FATES[fate]}" for fate in fates))
        self.setToolTip("\n".join(f"{fate}: {FATES[fate]}" for fate in fates))
        theme.notifier().changed.connect(self.update)

    def _places(self, room: int) -> list[tuple[str, QRectF]]:
        metrics, x, y, places = self.fontMetrics(), 0.0, 0.0, []
        for fate in self._fates:
            width = metrics.horizontalAdvance(fate) + MARK + 16
            if x + width > room and x:
                x, y = 0.0, y + metrics.height() + 4
            places.append((fate, QRectF(x, y, width - 4, metrics.height() + 2)))
            x += width + 4
        return places

    def sizeHint(self) -> QSize:
        metrics = self.fontMetrics()
        width = sum(metrics.horizontalAdvance(fate) + MARK + 20 for fate in self._fates)
        return QSize(width, metrics.height() + 2)

    def minimumSizeHint(self) -> QSize:
        return QSize(120, self.fontMetrics().height() + 2)

    def hasHeightForWidth(self) -> bool:
        return True

    def heightForWidth(self, width: int) -> int:
        places = self._places(width)
        return round(places[-1][1].bottom()) + 1 if places else 0

    def paintEvent(self, _event) -> None:
        painter = QPainter(self)
        for fate, place in self._places(self.width()):
            tint = ground(fate)
            if tint is not None:
                painter.fillRect(place, tint)
            paint_mark(painter, QPointF(place.left() + 4 + MARK / 2, place.center().y()), fate)
            words = place.adjusted(MARK + 8, 0, 0, 0)
            struck = fate in ("rejected", "untested")
            painter.setPen(theme.colour(role(fate)) if struck else theme.colour("text"))
            font = theme.font(theme.LEAST)
            font.setStrikeOut(struck)
            font.setUnderline(fate == "accepted")
            painter.setFont(font)
            painter.drawText(words, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, fate)
