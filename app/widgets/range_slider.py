"""A slider with two ends, for a window in time: both values printed, a line of words beneath, usable by keyboard."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent, QPainter, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from app import theme

_KNOB = 7  # radius in pixels
_PAGE = 10  # steps of Page Up and Page Down


class RangeSlider(QWidget):
    """Two knobs on one line. Left and Right move the active one, Down and Up choose the lower or upper."""

    changed = Signal(float, float)
    released = Signal(float, float)

    def __init__(
        self, lo: float = 0.0, hi: float = 1.0, *, step: float = 0.01, decimals: int = 2, gap: float = 0.0,
        colour: int | None = None, parent: QWidget | None = None,
    ) -> None:  # fmt: skip
        super().__init__(parent)
        self._lo, self._hi, self._step, self._decimals, self._gap = lo, hi, step, decimals, gap
        self._ends = [lo, hi]
        self._active = 0
        self._held: int | None = None
        self._note = ""
        self._colour = colour
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._describe()

    def values(self) -> tuple[float, float]:
        """Lower and upper end."""
        return self._ends[0], self._ends[1]

    def set_values(self, lower: float, upper: float) -> None:
        """Set both ends; tells nobody."""
        self._ends = sorted((self._snap(lower), self._snap(upper)))
        self._describe()

    def set_note(self, note: str) -> None:
        """Words beneath the line, for instance "steps 1-10 of 20, sigma 14.6 to 1.5"."""
        if bool(note) != bool(self._note):
            self.updateGeometry()
        self._note = note
        self._describe()

    def note(self) -> str:
        """The words beneath the line."""
        return self._note

    def set_colour(self, index: int | None) -> None:
        """Draw the window in a colour of the data set, as it is shaded elsewhere; None for the accent."""
        self._colour = index
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(180, 44 if self._note else 26)

    def minimumSizeHint(self) -> QSize:
        return QSize(120, self.sizeHint().height())

    def _describe(self) -> None:
        lower, upper = self._text(0), self._text(1)
        self.setAccessibleDescription(f"{lower} to {upper}. {self._note}".strip())
        self.setToolTip(
            f"{self.accessibleName()} {lower} to {upper}\nDrag an end; "
            "keys: Left, Right, Page Up, Page Down; Up and Down choose the end.".strip()
        )
        self.update()

    def _text(self, end: int) -> str:
        return f"{self._ends[end]:.{self._decimals}f}"

    def _snap(self, value: float) -> float:
        value = self._lo + round((value - self._lo) / self._step) * self._step
        return round(min(max(value, self._lo), self._hi), 6)

    # geometry and painting -------------------------------------------------------------------------------------

    def _margin(self) -> float:
        widest = self.fontMetrics().horizontalAdvance(f"{self._hi:.{self._decimals}f}")
        return widest + _KNOB + 8

    def _x(self, value: float) -> float:
        margin = self._margin()
        return margin + (value - self._lo) / (self._hi - self._lo) * (self.width() - 2 * margin)

    def _value(self, x: float) -> float:
        margin = self._margin()
        return self._lo + (x - margin) / max(self.width() - 2 * margin, 1) * (self._hi - self._lo)

    def paintEvent(self, _event: QEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        middle, left, right = 13.0, self._x(self._ends[0]), self._x(self._ends[1])
        ink = theme.colour("accent") if self._colour is None else theme.data_colour(self._colour)
        if not self.isEnabled():
            ink = theme.colour("border")
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.colour("line"))
        painter.drawRoundedRect(QRectF(self._x(self._lo), middle - 2, self._x(self._hi) - self._x(self._lo), 4), 2, 2)
        painter.setBrush(ink)
        painter.drawRect(QRectF(left, middle - 2, right - left, 4))
        for end, x in enumerate((left, right)):
            focused = self.hasFocus() and end == self._active
            painter.setPen(QPen(theme.colour("focus" if focused else "border"), 2.5 if focused else 1))
            painter.setBrush(theme.colour("surface"))
            painter.drawEllipse(QPointF(x, middle), _KNOB - 1, _KNOB - 1)
        self._paint_words(painter)

    def _paint_words(self, painter: QPainter) -> None:
        painter.setFont(theme.font(theme.SMALL))
        painter.setPen(theme.colour("text" if self.isEnabled() else "muted"))
        margin = self._margin() - _KNOB - 4
        middle = Qt.AlignmentFlag.AlignVCenter
        painter.drawText(QRectF(0, 3, margin, 20), Qt.AlignmentFlag.AlignLeft | middle, self._text(0))
        painter.drawText(
            QRectF(self.width() - margin, 3, margin, 20), Qt.AlignmentFlag.AlignRight | middle, self._text(1)
        )
        if self._note:
            painter.setPen(theme.colour("muted"))
            words = painter.fontMetrics().elidedText(self._note, Qt.TextElideMode.ElideRight, self.width())
            painter.drawText(QRectF(0, 25, self.width(), 18), Qt.AlignmentFlag.AlignLeft | middle, words)

    # mouse and keys --------------------------------------------------------------------------------------------

    def _move(self, end: int, value: float) -> None:
        value = self._snap(value)
        other = self._ends[1 - end]
        value = min(value, other - self._gap) if end == 0 else max(value, other + self._gap)
        value = self._snap(value)
        if value != self._ends[end]:
            self._ends[end] = value
            self._describe()
            self.changed.emit(*self.values())

    def mousePressEvent(self, event) -> None:
        if event.button() != Qt.MouseButton.LeftButton:
            return
        x = event.position().x()
        left, right = self._x(self._ends[0]), self._x(self._ends[1])
        if left == right:
            self._held = 0 if x < left or self._ends[1] >= self._hi else 1
        else:
            self._held = 0 if abs(x - left) <= abs(x - right) else 1
        self._active = self._held
        self._move(self._held, self._value(x))
        self.update()

    def mouseMoveEvent(self, event) -> None:
        if self._held is not None:
            self._move(self._held, self._value(event.position().x()))

    def mouseReleaseEvent(self, _event) -> None:
        if self._held is not None:
            self._held = None
            self.released.emit(*self.values())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key, now = event.key(), self._ends[self._active]
        places = {
            Qt.Key.Key_Left: now - self._step, Qt.Key.Key_Right: now + self._step, Qt.Key.Key_Home: self._lo,
            Qt.Key.Key_End: self._hi, Qt.Key.Key_PageDown: now - _PAGE * self._step,
            Qt.Key.Key_PageUp: now + _PAGE * self._step,
        }  # fmt: skip
        if key in (Qt.Key.Key_Up, Qt.Key.Key_Down):
            self._active = 1 if key == Qt.Key.Key_Up else 0
            self.update()
        elif key in places:
            before = self.values()
            self._move(self._active, places[key])
            if self.values() != before:
                self.released.emit(*self.values())
        else:
            event.ignore()

    def focusInEvent(self, event) -> None:
        super().focusInEvent(event)
        self.update()

    def focusOutEvent(self, event) -> None:
        super().focusOutEvent(event)
        self.update()
