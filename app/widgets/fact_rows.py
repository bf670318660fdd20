"""Names and values under one another; numbers that change reuse their labels, so nothing is laid out anew while they need no more room."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtWidgets import QFormLayout, QWidget

from app.widgets.steady_label import SteadyLabel

Row = tuple[str, str] | tuple[str, str, str]


class FactRows(QWidget):
    """Rows of (name, value) or (name, value, tooltip)."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._values: dict[str, SteadyLabel] = {}
        self._rows = QFormLayout(self)
        self._rows.setContentsMargins(0, 0, 0, 0)
        self._rows.setHorizontalSpacing(8)
        self._rows.setVerticalSpacing(4)

    def set_rows(self, rows: Sequence[Row]) -> None:
        """Show rows."""
        if [row[0] for row in rows] != list(self._values):
            while self._rows.rowCount():
                self._rows.removeRow(0)
            self._values = {}
            for row in rows:
                self._values[row[0]] = SteadyLabel(wrap=True, selectable=True)
                caption = SteadyLabel("muted", wrap=True, selectable=True)
                caption.setText(row[0])
                self._rows.addRow(caption, self._values[row[0]])
        for row in rows:
            self._values[row[0]].setText(row[1])
            self._values[row[0]].setToolTip(row[2] if len(row) > 2 else "")

    def text(self) -> str:
        """All rows, line by line."""
        return "\n".join(f"{name}: {value.text()}" for name, value in self._values.items())
