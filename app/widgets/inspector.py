"""Answers "what am I looking at?": a name, numbers, the equation of this step, two sentences, the paper."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QVBoxLayout, QWidget

from app.widgets.fact_rows import FactRows, Row
from app.widgets.scrolled import ScrollArea
from app.widgets.steady_label import SteadyLabel


class Inspector(ScrollArea):
    """Text only; changing numbers reuse their labels, and the layout stands still while they need no more lines."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setAccessibleName("Inspector")
        inside = QWidget()
        self.setWidget(inside)
        column = QVBoxLayout(inside)
        column.setContentsMargins(12, 12, 12, 12)
        column.setSpacing(8)
        self._name = _label("title")
        self._rows = FactRows()
        self._box = QFrame()
        self._box.setProperty("role", "raised")
        self._equation = _label("")
        QVBoxLayout(self._box).addWidget(self._equation)
        self._box.layout().setContentsMargins(8, 8, 8, 8)
        self._explanation = _label("muted")
        self._reference = _label("small")
        column.addWidget(self._name)
        column.addWidget(self._rows)
        for widget in (self._box, self._explanation, self._reference):
            column.addWidget(widget)
        column.addStretch(1)
        self.clear("What is on show stands here in numbers and words.")

    def set_content(self, name: str, rows: Sequence[Row] = (), equation: str = "", explanation: str = "", reference: str = "") -> None:
        """Show a thing: ``rows`` are (label, value) or (label, value, tooltip)."""
        self._show(self._name, name)
        self._rows.set_rows(rows)
        self._show(self._equation, equation)
        self._box.setVisible(bool(equation))
        self._show(self._explanation, explanation)
        self._show(self._reference, reference)

    def clear(self, text: str = "") -> None:
        """Show nothing but a line that says what would stand here."""
        self.set_content("", explanation=text)

    def text(self) -> str:
        """All words on show, line by line."""
        parts = (self._name.text(), self._rows.text(), self._equation.text(), self._explanation.text(), self._reference.text())
        return "\n".join(part for part in parts if part)

    @staticmethod
    def _show(label: SteadyLabel, text: str) -> None:
        label.setText(text)
        label.setVisible(bool(text))


def _label(role: str) -> SteadyLabel:
    return SteadyLabel(role, wrap=True, selectable=True)
