"""A field for numbers of any size: 3e-4 is written as such, steps go in equal ratios, and a number may be left out.

A spin box shows a fixed number of digits and steps by a fixed amount, which suits neither a learning rate nor a buffer of 200,000.
"""

from __future__ import annotations

import math

from PySide6.QtCore import QEvent, QSize, Qt, Signal, Slot
from PySide6.QtGui import QValidator, QWheelEvent
from PySide6.QtWidgets import QAbstractSpinBox, QWidget

from app import theme

OFF = "off"
RATIO = 10**0.1
"""Of two neighbouring steps: ten a decade, as preferred numbers go (Renard's series R10)."""
Number = int | float | None


class NumberField(QAbstractSpinBox):
    """Edits one number within its range; tells of it when it is settled (Enter, arrows, or leaving the field)."""

    edited = Signal(object)
    """The new value: int, float, or None for "off"."""
    refused = Signal(str)
    """A sentence: what was typed is no number within the range; the old one stands again."""

    def __init__(
        self, value: Number = 0, *, title: str = "Number", lo: float = -math.inf, hi: float = math.inf, whole: bool = False,
        optional: bool = False, open_lo: bool = False, parent: QWidget | None = None,
    ) -> None:  # fmt: skip
        super().__init__(parent)
        self._title, self.lo, self.hi, self._whole, self._optional, self._open_lo = title, lo, hi, whole, optional, open_lo
        self._value: Number = value
        self._silent = False
        theme.pad(self)
        self.setAccessibleName(title)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.editingFinished.connect(self._on_finished)
        self.set_value(value)

    def value(self) -> Number:
        """The number that stands; None: left out."""
        return self._value

    def set_value(self, value: Number) -> None:
        """Show a number; tells nobody."""
        self._value = value if value is None else int(value) if self._whole else float(value)
        self.lineEdit().setText(written(self._value))
        self.lineEdit().setCursorPosition(0)

    def _settle(self, value: Number) -> None:
        if value != self._value:
            self.set_value(value)
            self.edited.emit(self._value)

    # typing --------------------------------------------------------------------------------------------------------

    def read(self, text: str) -> Number:
        """What a text says; ValueError with a sentence if it is no number within the range."""
        words = text.strip().replace(",", "").replace("\u2009", "").lower()
        if words in ("", OFF, "none") and self._optional:
            return None
        try:
            number = float(words)
        except ValueError:
            raise ValueError(f"{self._title}: '{text.strip()}' is not a number.") from None
        if not math.isfinite(number) or not self._within(number):
            raise ValueError(f"{self._title} is {text.strip()}, which is out of range: {self.range_words()}.")
        if self._whole and number != int(number):
            raise ValueError(f"{self._title} must be a whole number, not {text.strip()}.")
        return int(number) if self._whole else number

    def _within(self, number: float) -> bool:
        return self.lo <= number <= self.hi and not (self._open_lo and number == self.lo)

    def range_words(self) -> str:
        """From where to where."""
        if math.isinf(self.hi):
            least = "above" if self._open_lo else "at least"
            return f"{least} {written(self.lo)}" if math.isfinite(self.lo) else "any number"
        least = "above " if self._open_lo else ""
        return f"{least}{written(self.lo)} to {written(self.hi)}" if math.isfinite(self.lo) else f"at most {written(self.hi)}"

    @Slot()
    def _on_finished(self) -> None:
        if self.lineEdit().text() == written(self._value):
            return
        try:
            value = self.read(self.lineEdit().text())
        except ValueError as error:
            self.set_value(self._value)
            self.refused.emit(str(error))
        else:
            changed = value != self._value
            self.set_value(value)
            if changed:
                self.edited.emit(value)  # last: whoever hears it may put another number here

    def validate(self, text: str, position: int) -> tuple[QValidator.State, str, int]:
        return QValidator.State.Acceptable, text, position

    # stepping ------------------------------------------------------------------------------------------------------

    def stepEnabled(self) -> QAbstractSpinBox.StepEnabledFlag:
        flag = QAbstractSpinBox.StepEnabledFlag
        if self._value is None:
            return flag.StepNone
        able = flag.StepUpEnabled if self._value < self.hi else flag.StepNone
        return able | (flag.StepDownEnabled if self._value > self.lo else flag.StepNone)

    def stepBy(self, steps: int) -> None:
        if self._value is not None:
            moved = stepped(self._value, steps, self.lo, self.hi, self._whole)
            if self._within(moved):
                self._settle(moved)

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Scrolling a form past the field must not change it: the wheel works only with the focus."""
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()

    def sizeHint(self) -> QSize:
        return QSize(self.fontMetrics().horizontalAdvance("0" * 9) + 40, super().sizeHint().height())

    def minimumSizeHint(self) -> QSize:
        return QSize(56, super().minimumSizeHint().height())

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.EnabledChange:
            self.lineEdit().setCursorPosition(0)


def written(value: Number) -> str:
    """A number as short as it can be written: 0.0003, 200,000, off."""
    if value is None:
        return OFF
    if isinstance(value, int) or (float(value).is_integer() and abs(value) >= 10_000):
        return f"{int(value):,}"
    text = f"{value:.6g}"
    return text.replace("e-0", "e-").replace("e+0", "e")


def stepped(value: float, steps: int, lo: float, hi: float, whole: bool) -> float:
    """The number `steps` further: by hundredths in ranges up to 1, whole ones below ten by one, all others in equal ratios."""
    if hi <= 1:
        moved = round(value + steps / 100, 6)
    elif whole and abs(value) < 10:
        moved = value + steps
    elif value == 0:
        moved = 1e-3 * steps if not whole else steps
    else:
        moved = float(f"{value * RATIO**steps:.2g}")
        if whole and round(moved) == value:
            moved = value + steps
    moved = min(max(moved, lo), hi)
    return round(moved) if whole else moved
