"""A page of views below the text: a column that scrolls, told of the reading and of the layer looked at."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QLabel, QScrollArea, QVBoxLayout, QWidget

from app.panels.routing.reading import Reading


class Page(QScrollArea):
    """Fill `column`."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAsNeeded)
        inside = QWidget()
        self.column = QVBoxLayout(inside)
        self.column.setContentsMargins(16, 10, 16, 12)
        self.column.setSpacing(8)
        self.setWidget(inside)

    def show_reading(self, reading: Reading | None) -> None:
        """The sums have changed, or it is another text."""

    def set_row(self, row: int) -> None:
        """Another layer is looked at, by its place among those with experts."""

    @staticmethod
    def words(text: str = "", role: str = "") -> QLabel:
        """A paragraph."""
        label = QLabel(text, wordWrap=True)
        label.setProperty("role", role)
        return label
