"""Time and cost over the length of the text, both axes logarithmic: measured points at the left, formulas at the right."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QLabel, QPushButton, QSplitter, QVBoxLayout, QWidget

from app.protocol.attention_lab import LengthRow
from app.protocol.payloads import Curve
from app.widgets.colour_key import ColourKey, Entry
from app.widgets.curve_view import CurveView

COSTS: dict[str, tuple[str, Callable[[LengthRow], float | None]]] = {
    "FLOPs": ("FLOPs, by formula", lambda row: row.flops),
    "Bytes moved": ("bytes to and from slow memory, by formula", lambda row: row.moved_bytes),
    "Bytes written": ("bytes between q, k, v and the output, by formula", lambda row: max(row.held_bytes, 1)),
    "Error": ("relative L2, measured on the text", lambda row: row.relative_l2 or None),
}


class LengthsView(QWidget):
    """Two plots; `measure` asks for them."""

    measure = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.times = CurveView(x_label="tokens", y_label="time of a call, measured", y_unit="ms")
        self.costs = CurveView(x_label="tokens", y_label=COSTS["FLOPs"][0])
        self.key = ColourKey()
        self._cost, self._words = QComboBox(accessibleName="Cost"), QLabel(wordWrap=True)
        self._button = QPushButton("Measure again", toolTip="Time every ticked mechanism once more")
        self._rows: list[LengthRow] = []
        self._colours: dict[str, int] = {}
        self._cost.addItems(list(COSTS))
        self._cost.setToolTip("What the second plot counts: operations, bytes moved or written, or the error")
        self._cost.currentTextChanged.connect(self._redraw)
        self._button.clicked.connect(self.measure)
        self._words.setProperty("role", "small")
        for plot in (self.times, self.costs):
            plot.set_log(x=True, y=True)
            plot.set_legend_shown(False)
        self.times.link_x(self.costs)
        foot = QHBoxLayout()
        foot.setContentsMargins(12, 6, 12, 6)
        foot.setSpacing(8)
        foot.addWidget(self._words, 1)
        foot.addWidget(self._cost)
        foot.addWidget(self._button)
        split = QSplitter(Qt.Orientation.Vertical)
        split.addWidget(self.times)
        split.addWidget(self.costs)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(0)
        box.addWidget(self.key)
        box.addWidget(split, 1)
        box.addLayout(foot)

    def begin(self, colours: dict[str, int]) -> None:
        """Another measurement; colours of the mechanisms as jobs write them."""
        self._rows, self._colours = [], dict(colours)
        for plot in (self.times, self.costs):
            plot.clear()
        self._words.setText("measuring …")

    def add(self, row: LengthRow, *, last: bool) -> None:
        """A point more; with the last of a length all are drawn."""
        self._rows.append(row)
        if last:
            self._words.setText(f"measured up to {row.tokens:,} tokens" if row.seconds is not None else "computing …")
            self._redraw()

    def finish(self, timed: int) -> None:
        """All points are there; calls were timed up to so many tokens."""
        self._words.setText(
            f"Times are measured, up to {timed:,} tokens (a text that is too short is repeated); costs are formulas at every length. "
            "A slope of 1 is linear, of 2 quadratic."
        )
        self._redraw()

    def rows(self) -> list[LengthRow]:
        """What has come so far."""
        return list(self._rows)

    @Slot()
    def _redraw(self, *_text: object) -> None:
        label, of = COSTS[self._cost.currentText()]
        self.times.link_x(None if label == COSTS["Error"][0] else self.costs)
        self.costs.clear()
        self.costs.set_labels("tokens", label)
        titles = {row.name: row.title for row in self._rows}
        self.key.set_entries([Entry(title, self._colours.get(name, 0), self._colours.get(name, 0) >= 8) for name, title in titles.items()])
        for name in dict.fromkeys(row.name for row in self._rows):
            rows = [row for row in self._rows if row.name == name]
            timed = [row for row in rows if row.seconds is not None]
            colour = self._colours.get(name, 0)
            self._draw(self.times, name, timed, [row.seconds * 1e3 for row in timed], colour)
            known = [row for row in rows if of(row) is not None]
            self._draw(self.costs, name, known, [of(row) for row in known], colour)

    @staticmethod
    def _draw(plot: CurveView, name: str, rows: list[LengthRow], values: list[float], colour: int) -> None:
        if rows:
            x = np.array([row.tokens for row in rows])
            plot.set_curve(name, Curve(x, np.array(values, float), label=rows[0].title), colour=colour, dashed=colour >= 8)
