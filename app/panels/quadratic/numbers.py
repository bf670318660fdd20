"""A, b and the start of a quadratic in the plane as numbers, and A's eigenvalues and angle, which say the same."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QGridLayout, QLabel, QWidget

from app.widgets.number_field import NumberField

MOST = 1e6
"""Size of a number that can be typed."""
TIPS = {
    "A": "Symmetric: both entries beside the diagonal change together",
    "b": "f(x) = x'Ax / 2 − b'x; the minimum lies where A x = b",
    "start": "Where the descents begin; also dragged on the landscape",
}


def entries(eigenvalues: Sequence[float], angle: float) -> tuple[float, float, float]:
    """a11, a12, a22 of the symmetric matrix with these eigenvalues, its first axis at `angle` degrees."""
    (first, second), turn = eigenvalues, math.radians(angle)
    c, s = math.cos(turn), math.sin(turn)
    return first * c * c + second * s * s, (first - second) * c * s, first * s * s + second * c * c


def axes(a11: float, a12: float, a22: float) -> tuple[tuple[float, float], float]:
    """Eigenvalues, rising, and the angle of the first one's axis within ±90 degrees."""
    middle, half = (a11 + a22) / 2, math.hypot((a11 - a22) / 2, a12)
    angle = math.degrees(math.atan2(2 * a12, a11 - a22)) / 2 + 90  # of the smaller one: a right angle from the larger one's
    return (middle - half, middle + half), (angle + 90) % 180 - 90 if half else 0.0


class Numbers(QWidget):
    """Shows the numbers and tells of each one that is typed."""

    matrix_edited = Signal(float, float, float)
    """a11, a12, a22"""
    b_edited = Signal(float, float)
    start_edited = Signal(float, float)
    refused = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.fields: dict[str, NumberField] = {}
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(6)
        grid.setVerticalSpacing(4)
        rows = (("A", ("a11", "a12")), ("", ("a21", "a22")), ("b", ("b1", "b2")), ("start", ("start1", "start2")))
        for place, (title, names) in enumerate(rows):
            grid.addWidget(QLabel(title.capitalize() if title == "start" else title), place, 0)
            for column, name in enumerate(names, 1):
                field = self.fields[name] = NumberField(0.0, title=name, lo=-MOST, hi=MOST)
                field.setToolTip(TIPS[title or "A"])
                field.edited.connect(self._on_edited)
                field.refused.connect(self.refused)
                grid.addWidget(field, place, column)

    def show_matrix(self, a11: float, a12: float, a22: float) -> None:
        """Show A; tells nobody."""
        self._put(a11=a11, a12=a12, a21=a12, a22=a22)

    def show_b(self, b: Sequence[float]) -> None:
        """Show b; tells nobody."""
        self._put(b1=b[0], b2=b[1])

    def show_start(self, start: Sequence[float]) -> None:
        """Show the start; tells nobody."""
        self._put(start1=start[0], start2=start[1])

    def _put(self, **values: float) -> None:
        for name, value in values.items():
            self.fields[name].set_value(float(f"{value + 0.0:.6g}"))

    @Slot(object)
    def _on_edited(self, value: object) -> None:
        name = next(name for name, field in self.fields.items() if field is self.sender())
        if name in ("a12", "a21"):
            self._put(a12=value, a21=value)
        now = {name: field.value() for name, field in self.fields.items()}
        if name.startswith("a"):
            self.matrix_edited.emit(now["a11"], now["a12"], now["a22"])
        elif name.startswith("b"):
            self.b_edited.emit(now["b1"], now["b2"])
        else:
            self.start_edited.emit(now["start1"], now["start2"])
