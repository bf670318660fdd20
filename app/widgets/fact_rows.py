"""Names and values under one another; numbers that change reuse their labels, so nothing is laid out anew while they need no more room."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtWidgets import QGridLayout, QWidget

from app.widgets.steady_label import SteadyLabel

Row = tuple[str, str] | tuple[str, str, str]


class FactRows(QWidget):
    """Rows of (name, value) or (name, value, tooltip)."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._values: dict[str, SteadyLabel] = {}
        self._rows = QGridLayout(self)  # a QFormLayout keeps old heights when a value grows by a line, and cuts it
        self._rows.setContentsMargins(0, 0, 0, 0)
        self._rows.setColumnStretch(1, 1)
        self._rows.setHorizontalSpacing(8)
        self._rows.setVerticalSpacing(4)

    def set_rows(self, rows: Sequence[Row]) -> None:
        """Show rows."""
        if [row[0] for row in rows] != list(self._values):
            self._begin([row[0] for row in rows])
        for row in rows:
            self._values[row[0]].setText(row[1])
            self._values[row[0]].setToolTip(row[2] if len(row) > 2 else "")

    def _begin(self, names: Sequence[str]) -> None:
        while self._rows.count():
            old = self._rows.takeAt(0).widget()
            old.hide()
            old.deleteLater()
        self._values = {}
        for place, name in enumerate(names):
            caption, self._values[name] = SteadyLabel("muted", wrap=True, selectable=True), SteadyLabel(wrap=True, selectable=True)
            caption.setText(name)
            self._rows.addWidget(caption, place, 0)
            self._rows.addWidget(self._values[name], place, 1)

    def text(self) -> str:
        """All rows, line by line."""
        return "\n".join(f"{name}: {value.text()}" for name, value in self._values.items())
