"""Tokens x layers: how close each decision was, and where the balancing bias alone made it."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QWidget

from app.panels.routing.page import Page
from app.panels.routing.reading import Reading
from app.panels.routing.token_map import TokenMap


class BiasPage(Page):
    """Tokens x layers: how close each decision was, and where the balancing bias alone made it."""

    token_chosen = Signal(int, int)
    """A layer's row and a token."""
    removal_wanted = Signal()
    """Read the text without the bias, before and after."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.scroll = TokenMap("Margins and bias flips", "How close each decision was stands here once a text has been read.")
        self.map, self._words = self.scroll.map, self.words()
        self.remove = QPushButton("Without the bias: before and after", enabled=False)
        self.remove.setToolTip("Read the text with and without the selection bias: balance, perplexity and what the model writes")
        self._reading: Reading | None = None
        self.map.chosen.connect(self.token_chosen)
        self.map.set_tip(self._tip)
        self.remove.clicked.connect(self.removal_wanted)
        row = QHBoxLayout()
        row.addWidget(self.remove)
        row.addStretch(1)
        self.column.addWidget(self._words)
        self.column.addWidget(self.scroll)
        self.column.addLayout(row)
        self.column.addStretch(1)

    def show_reading(self, reading: Reading | None) -> None:
        self._reading = reading
        self.remove.setEnabled(reading is not None and reading.looked.has_bias)
        if reading is None or not len(reading):
            self.scroll.clear()
            return
        margin, flips = reading.column("margin"), reading.column("flips").any(axis=2)
        finite = margin[np.isfinite(margin)]
        top = float(np.quantile(finite, 0.95)) if len(finite) else 1.0
        words = "margin" + ("; dotted: by the bias alone" if flips.any() else "")
        self.scroll.show_values(margin, reading.looked.layers, reading.texts(), (0.0, max(top, 1e-6)), words, marked=flips)
        self._words.setText(self._sentence(reading))

    def select(self, row: int, token: int) -> None:
        """Mark a token; tells nobody."""
        self.scroll.select(row, token)

    def _sentence(self, reading: Reading) -> str:
        margin, flips = reading.column("margin"), reading.column("flips")
        half = np.median(margin[np.isfinite(margin)]) if np.isfinite(margin).any() else 0.0
        close = f"Margin: score of the last expert chosen minus that of the best left out; half the decisions were closer than {half:.4f}."
        if not reading.looked.has_bias:
            return f"This model has no selection bias: its gates choose by affinity alone. {close}"
        least = flips.any(axis=2)
        row = min(self._row, len(flips) - 1)
        return (
            f"{flips.mean():.1%} of the choices ({flips[row].mean():.1%} in layer {reading.looked.layers[row]}) were made only because of "
            f"the selection bias ({least.sum()} of {least.size} decisions have at least one): without it another expert would have been "
            f"taken. {close}"
        )

    def _tip(self, row: int, token: int) -> str:
        told, t = self._reading.at(token)
        experts = [int(e) for e in told.experts[row, t]]
        by_bias = [e for e, flip in zip(experts, told.flips[row, t], strict=True) if flip]
        extra = f"; only by the bias: {', '.join(map(str, by_bias))}" if by_bias else ""
        return f"“{self._reading.text_of(token)}”, layer {self._reading.looked.layers[row]}: margin {told.margin[row, t]:.4f}, " \
               f"experts {', '.join(map(str, experts))}{extra}"  # fmt: skip
