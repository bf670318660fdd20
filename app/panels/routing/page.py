"""A page of views below the text: a column that scrolls, told of the reading and of the layer looked at."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QVBoxLayout, QWidget

from app.panels.routing.reading import Reading
from app.widgets.scrolled import ScrollArea
from app.widgets.steady_label import SteadyLabel


class Page(ScrollArea):
    """Fill `column`."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAsNeeded)
        inside = QWidget()
        self._row = 0
        self.column = QVBoxLayout(inside)
        self.column.setContentsMargins(16, 10, 16, 12)
        self.column.setSpacing(8)
        self.setWidget(inside)
        self.horizontalScrollBar().valueChanged.connect(inside.update)  # maps keep the names of their rows in sight

    def show_reading(self, reading: Reading | None) -> None:
        """The sums have changed, or it is another text."""

    def set_row(self, row: int) -> None:
        """Another layer is looked at, by its place among those with experts; `show_reading` follows when the page is in sight."""
        self._row = row

    @staticmethod
    def words(text: str = "", role: str = "") -> SteadyLabel:
        """A paragraph."""
        label = SteadyLabel(role, wrap=True, selectable=True)
        label.setText(text)
        return label
