"""Tokens x layers: how close each decision was, and where the balancing bias alone made it."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import Signal
from PySide6.QtWidgets import QScrollArea, QWidget

from app.panels.routing.page import Page
from app.panels.routing.reading import Reading
from app.widgets.grid_map import FOOT, HEAD, GridMap

ROW = 24


class BiasPage(Page):
    """Tokens x layers: how close each decision was, and where the balancing bias alone made it."""

    token_chosen = Signal(int, int)
    """A layer's row and a token."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.map, self._words, self._scroll = GridMap("Margins and bias flips", least=16, row_height=ROW), self.words(), QScrollArea()
        self._reading: Reading | None = None
        self._scroll.setWidgetResizable(True)
        self._scroll.setWidget(self.map)
        self._scroll.setFrameShape(QScrollArea.Shape.NoFrame)
        self.map.chosen.connect(self.token_chosen)
        self.map.set_tip(self._tip)
        self.map.set_empty_text("How close each decision was stands here once a text has been read.")
        self.column.addWidget(self._words)
        self.column.addWidget(self._scroll)
        self.column.addStretch(1)

    def show_reading(self, reading: Reading | None) -> None:
        self._reading = reading
        if reading is None or not len(reading):
            self.map.clear()
            return
        margin, flips = reading.column("margin"), reading.column("flips").any(axis=2)
        finite = margin[np.isfinite(margin)]
        top = float(np.quantile(finite, 0.95)) if len(finite) else 1.0
        self.map.set_values(
            margin, [f"layer {n}" for n in reading.looked.layers], reading.texts(), (0.0, max(top, 1e-6)),
            "margin" + ("; dotted: by the bias alone" if flips.any() else ""),
            marked=flips, table="viridis",
        )  # fmt: skip
        self._scroll.setFixedHeight(HEAD + ROW * len(margin) + FOOT + 20)
        self._words.setText(self._sentence(reading, flips, margin))

    def select(self, row: int, token: int) -> None:
        """Mark a token; tells nobody."""
        self.map.select(row, token)

    @staticmethod
    def _sentence(reading: Reading, flips: np.ndarray, margin: np.ndarray) -> str:
        half = np.median(margin[np.isfinite(margin)]) if np.isfinite(margin).any() else 0.0
        close = f"Margin: score of the last expert chosen minus that of the best left out; half the decisions were closer than {half:.4f}."
        if not reading.looked.has_bias:
            return f"This model has no selection bias: its gates choose by affinity alone. {close}"
        share = reading.column("flips").mean()
        return (
            f"{share:.1%} of the choices were made only because of the selection bias ({flips.sum()} of {flips.size} decisions have at "
            f"least one): without it another expert would have been taken. {close}"
        )

    def _tip(self, row: int, token: int) -> str:
        told, t = self._reading.at(token)
        experts = [int(e) for e in told.experts[row, t]]
        by_bias = [e for e, flip in zip(experts, told.flips[row, t], strict=True) if flip]
        extra = f"; only by the bias: {', '.join(map(str, by_bias))}" if by_bias else ""
        return f"“{self._reading.text_of(token)}”, layer {self._reading.looked.layers[row]}: margin {told.margin[row, t]:.4f}, " \
               f"experts {', '.join(map(str, experts))}{extra}"  # fmt: skip
