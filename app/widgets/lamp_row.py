"""Health lamps in a row: each a colour, a shape and a word; below them the sentence of the chosen one, or of the worst."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QFontMetrics, QHelpEvent, QKeyEvent, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from app import theme
from app.protocol.rl import LampView

CELL, LINE, PAD = 40, 17, 8
WORDS = {"off": "no data", "good": "good", "watch": "watch", "bad": "bad"}
ROLES = {"off": "pending", "good": "ok", "watch": "warn", "bad": "error"}
SEVERITY = ("off", "good", "watch", "bad")
EMPTY = "Lamps light up here when a run has learned for a few updates."
_MIDDLE = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter


class LampRow(QWidget):
    """Five or six lamps."""

    chosen = Signal(str)
    """Name of the lamp that was pressed."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._lamps: tuple[LampView, ...] = ()
        self._hover = -1
        self._chosen = ""
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setSizePolicy(policy)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("Health")
        theme.notifier().changed.connect(self.update)

    def set_lamps(self, lamps: Sequence[LampView]) -> None:
        """Show these."""
        if tuple(lamps) != self._lamps:
            self._lamps = tuple(lamps)
            said = "; ".join(f"{lamp.name} {WORDS[lamp.verdict]}: {lamp.sentence}" for lamp in self._lamps)
            self.setAccessibleDescription(said or EMPTY)
            self.update()

    def choose(self, name: str) -> None:
        """Keep the sentence of a lamp on show; "" goes back to the worst."""
        if name != self._chosen:
            self._chosen = name
            self.update()

    def current(self) -> LampView | None:
        """The lamp whose sentence is shown: under the pointer, else chosen, else the worst (the first of equals)."""
        if not self._lamps:
            return None
        if 0 <= self._hover < len(self._lamps):
            return self._lamps[self._hover]
        kept = next((lamp for lamp in self._lamps if lamp.name == self._chosen), None)
        return kept or max(self._lamps, key=lambda lamp: SEVERITY.index(lamp.verdict))

    def sizeHint(self) -> QSize:
        return QSize(480, CELL + 2 * LINE + PAD)

    def minimumSizeHint(self) -> QSize:
        return QSize(300, CELL + 2 * LINE + PAD)

    # places --------------------------------------------------------------------------------------------------------

    def _cell(self, number: int) -> QRectF:
        wide = min((self.width() - PAD) / max(len(self._lamps), 1), 150)
        return QRectF(PAD / 2 + number * wide, 0, wide - 4, CELL)

    def lamp_at(self, x: float, y: float) -> int:
        """Number of the lamp under a point, -1 if there is none."""
        return next((n for n in range(len(self._lamps)) if self._cell(n).contains(x, y)), -1)

    # painting ------------------------------------------------------------------------------------------------------

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        shown = self.current()
        if shown is None:
            painter.setPen(theme.colour("muted"))
            painter.drawText(self.rect().adjusted(PAD, 0, -PAD, 0), _MIDDLE | Qt.TextFlag.TextWordWrap, EMPTY)
            return
        for number, lamp in enumerate(self._lamps):
            self._paint_lamp(painter, self._cell(number), lamp, lamp is shown)
        painter.setFont(theme.font(theme.SMALL))
        painter.setPen(theme.colour("text"))
        place = QRectF(PAD, CELL + 4, self.width() - 2 * PAD, 2 * LINE)
        painter.drawText(place, Qt.AlignmentFlag.AlignLeft | Qt.TextFlag.TextWordWrap, f"{shown.name}: {shown.sentence}")
        if self.hasFocus():
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(theme.colour("focus"), 2))
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(1, 1, -1, -1), 4, 4)

    def _paint_lamp(self, painter: QPainter, cell: QRectF, lamp: LampView, shown: bool) -> None:
        painter.setPen(QPen(theme.colour("border" if shown else "line"), 1))
        painter.setBrush(theme.colour("raised") if shown else theme.colour("surface"))
        painter.drawRoundedRect(cell.adjusted(0.5, 2, -0.5, -0.5), theme.RADIUS, theme.RADIUS)
        paint_sign(painter, QPointF(cell.left() + 13, cell.center().y() + 1), lamp.verdict)
        words = cell.adjusted(24, 4, -1, -2)
        upper, lower = QRectF(words), QRectF(words)
        upper.setHeight(words.height() / 2)
        lower.setTop(words.top() + words.height() / 2)
        font = theme.font(theme.LEAST)
        painter.setFont(font)
        for place, text, role in ((upper, lamp.name, "text"), (lower, WORDS[lamp.verdict], ROLES[lamp.verdict])):
            painter.setPen(theme.colour(role))
            painter.drawText(place, _MIDDLE, QFontMetrics(font).elidedText(text, Qt.TextElideMode.ElideRight, int(place.width())))

    # mouse and keys ------------------------------------------------------------------------------------------------

    def mouseMoveEvent(self, event) -> None:
        number = self.lamp_at(event.position().x(), event.position().y())
        if number != self._hover:
            self._hover = number
            self.update()

    def leaveEvent(self, event) -> None:
        super().leaveEvent(event)
        self._hover = -1
        self.update()

    def mousePressEvent(self, event) -> None:
        number = self.lamp_at(event.position().x(), event.position().y())
        if event.button() == Qt.MouseButton.LeftButton and number >= 0:
            self._press(number)

    def _press(self, number: int) -> None:
        name = self._lamps[number].name
        self.choose("" if name == self._chosen else name)
        self.chosen.emit(name)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """The arrows alone belong to the transport; with Shift they move the chosen lamp."""
        step = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}.get(Qt.Key(event.key()), 0)
        if not (step and event.modifiers() & Qt.KeyboardModifier.ShiftModifier and self._lamps):
            super().keyPressEvent(event)
            return
        self._hover = -1
        number = min(max(self._lamps.index(self.current()) + step, 0), len(self._lamps) - 1)
        self.choose(self._lamps[number].name)
        self.chosen.emit(self._lamps[number].name)

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            number = self.lamp_at(event.pos().x(), event.pos().y())
            QToolTip.showText(event.globalPos(), self._lamps[number].sentence if number >= 0 else "", self)
            return True
        return super().event(event)


def paint_sign(painter: QPainter, middle: QPointF, verdict: str, size: float = 7) -> None:
    """Good: a disc; watch: a triangle; bad: a square with a cross; no data: a ring."""
    colour, ground = theme.colour(ROLES[verdict]), theme.colour("surface")
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(colour)
    if verdict == "good":
        painter.drawEllipse(middle, size, size)
        painter.setPen(QPen(ground, 1.8))
        painter.drawPolyline(QPolygonF([middle + QPointF(-3, 0), middle + QPointF(-1, 2.5), middle + QPointF(3.2, -2.6)]))
    elif verdict == "watch":
        points = [middle + QPointF(0, -size - 1), middle + QPointF(size + 1, size - 1), middle + QPointF(-size - 1, size - 1)]
        painter.drawPolygon(QPolygonF(points))
        painter.setPen(QPen(ground, 1.8))
        painter.drawLine(middle + QPointF(0, -3), middle + QPointF(0, 1.5))
        painter.drawPoint(middle + QPointF(0, 4))
    elif verdict == "bad":
        painter.drawRoundedRect(QRectF(middle.x() - size, middle.y() - size, 2 * size, 2 * size), 2, 2)
        painter.setPen(QPen(ground, 1.8))
        for side in (-1, 1):
            painter.drawLine(middle + QPointF(-3, -3 * side), middle + QPointF(3, 3 * side))
    else:
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(colour, 1.6))
        painter.drawEllipse(middle, size - 1, size - 1)
    painter.setBrush(Qt.BrushStyle.NoBrush)
