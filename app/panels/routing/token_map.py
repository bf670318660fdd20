"""Layers x tokens as a map that scrolls sideways and follows the token looked at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PySide6.QtCore import Slot
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QFrame, QScrollArea, QWidget

from app.widgets.grid_map import FOOT, HEAD, LEFT, GridMap

ROW, LEAST, BAR = 24, 16, 20


class TokenMap(QScrollArea):
    """`map` shows a value for every layer and token."""

    def __init__(self, name: str, empty: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.map = GridMap(name, least=LEAST, row_height=ROW)
        self.map.set_empty_text(empty)
        self.setWidgetResizable(True)
        self.setWidget(self.map)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFixedHeight(HEAD + ROW + FOOT + BAR)
        self.horizontalScrollBar().rangeChanged.connect(self._follow)
        self.horizontalScrollBar().valueChanged.connect(self.map.update)  # the names of rows stay in sight

    def show_values(
        self, values: np.ndarray, layers: Sequence[int], texts: Sequence[str], ends: tuple[float, float], words: str, **look: object
    ) -> None:
        """Values (L, T) with the names of layers and tokens; `look` as `GridMap.set_values` takes it."""
        self.map.set_values(values, [f"layer {n}" for n in layers], texts, ends, words, **look)
        self.setFixedHeight(HEAD + ROW * len(values) + FOOT + BAR)

    def clear(self) -> None:
        """Show no values."""
        self.map.clear()

    def select(self, row: int, token: int) -> None:
        """Mark a decision and bring it into sight; tells nobody."""
        self.map.select(row, token)
        if self.isVisible():
            self._follow()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._follow()

    @Slot()
    def _follow(self) -> None:
        token = self.map.current[1]
        if self.map.values.size and token >= 0:
            width = (self.map.width() - LEFT) / self.map.values.shape[1]
            self.ensureVisible(round(LEFT + (token + 0.5) * width), 0, round(LEFT + 2 * width), 0)
