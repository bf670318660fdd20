"""Names and values under one another; rows are kept and reused, and laid out anew only where one needs more lines than it has.

A grid layout would ask every label for its height at many widths whenever one row changes, and that takes longer than a frame.
"""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QEvent, QSize, Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QWidget

from app.widgets.steady_label import SteadyLabel

Row = tuple[str, str] | tuple[str, str, str]
APART, BELOW = 8, 4
"""Pixels between a name and its value, and between rows."""
WIDEST = 0.45
"""Share of the width that names may take before they wrap."""


class FactRows(QWidget):
    """Rows of (name, value) or (name, value, tooltip)."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._kept: list[tuple[SteadyLabel, SteadyLabel]] = []
        self._shown = 0
        policy = self.sizePolicy()
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)

    def set_rows(self, rows: Sequence[Row]) -> None:
        """Show rows."""
        while len(self._kept) < len(rows):
            self._kept.append((self._label("muted"), self._label("")))
        for (caption, value), row in zip(self._kept, rows):
            caption.setText(row[0])
            value.setText(row[1])
            value.setToolTip(row[2] if len(row) > 2 else "")
        if len(rows) != self._shown:
            self._shown = len(rows)
            self._place()
            for place, pair in enumerate(self._kept):
                for label in pair:
                    label.setVisible(place < self._shown)
            self.updateGeometry()

    def text(self) -> str:
        """All rows, line by line."""
        return "\n".join(f"{caption.text()}: {value.text()}" for caption, value in self._rows())

    def hasHeightForWidth(self) -> bool:
        return True

    def heightForWidth(self, width: int) -> int:
        names = self._names(width)
        heights = [self._height(*pair, names, width) for pair in self._rows()]
        return sum(heights) + BELOW * max(0, len(heights) - 1)

    def sizeHint(self) -> QSize:
        return QSize(self.width(), self.heightForWidth(self.width()))

    def minimumSizeHint(self) -> QSize:
        return QSize(0, 0)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._place()

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.LayoutRequest:  # a label has more lines now, or fewer
            self._place()
            if self.heightForWidth(self.width()) != self.height():
                self.updateGeometry()
        return super().event(event)

    def _label(self, role: str) -> SteadyLabel:
        label = SteadyLabel(role, wrap=True, selectable=True)
        label.label.setAlignment(Qt.AlignmentFlag.AlignTop)
        label.setParent(self)
        return label

    def _rows(self) -> list[tuple[SteadyLabel, SteadyLabel]]:
        return self._kept[: self._shown]

    def _names(self, width: int) -> int:
        """Pixels of the column of names: as wide as the widest, within bounds."""
        widest = max((caption.line_width() for caption, _value in self._rows()), default=0)
        return min(widest, int(WIDEST * width))

    def _height(self, caption: SteadyLabel, value: SteadyLabel, names: int, width: int) -> int:
        return max(caption.heightForWidth(names), value.heightForWidth(max(1, width - names - APART)))

    def _place(self) -> None:
        width, y = self.width(), 0
        names = self._names(width)
        for caption, value in self._rows():
            height = self._height(caption, value, names, width)
            caption.setGeometry(0, y, names, height)
            value.setGeometry(names + APART, y, max(1, width - names - APART), height)
            y += height + BELOW
