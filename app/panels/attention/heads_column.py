"""The heads at the side of the map: all of them small, coloured or sorted by a score."""

from __future__ import annotations

from typing import Any

import numpy as np
from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QToolButton, QVBoxLayout, QWidget

from app.panels.attention.words import SCORE_HELP
from app.protocol.attention import SCORES, Looked, OverviewMaps
from app.widgets.elided_label import ElidedLabel
from app.widgets.head_grid import HeadGrid
from app.widgets.icons import icon


class HeadsColumn(QWidget):
    """Grid, and what it is coloured and sorted by."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.grid, self.score, self.sort = HeadGrid(), QComboBox(), QToolButton(checkable=True)
        self.overview: OverviewMaps | None = None
        self._note = ElidedLabel("muted", 12)
        self.score.addItem("Maps", "")
        for name in SCORES:
            self.score.addItem(name.capitalize(), name)
            self.score.setItemData(self.score.count() - 1, SCORE_HELP[name], Qt.ItemDataRole.ToolTipRole)
        self.score.setAccessibleName("What heads are coloured by")
        self.score.setToolTip("Show maps, or colour heads by a score")
        self.sort.setIcon(icon("chart"))
        self.sort.setToolTip("Sort the heads by the score, largest first")
        self.sort.setAccessibleName("Sort by score")
        top, column = QHBoxLayout(), QVBoxLayout(self)
        top.addWidget(self.score, 1)
        top.addWidget(self.sort)
        column.setContentsMargins(8, 4, 4, 0)
        column.setSpacing(4)
        column.addLayout(top)
        column.addWidget(self._note)
        column.addWidget(self.grid, 1)
        self.score.currentIndexChanged.connect(self._on_score)
        self.sort.toggled.connect(self._on_score)
        self.setMinimumWidth(150)
        self._on_score()

    def begin(self, looked: Looked) -> None:
        """Another model or text."""
        self.overview = None
        self.grid.set_heads(looked.heads, looked.layers)
        self._show()

    def set_overview(self, overview: OverviewMaps) -> None:
        """Maps and scores, some of them perhaps still missing."""
        self.overview = overview
        self._show()

    def values(self, name: str) -> np.ndarray | None:
        """A score of all heads, (layers, most heads)."""
        return self.overview.scores[SCORES.index(name)] if self.overview is not None and name in SCORES else None

    def choices(self) -> dict[str, Any]:
        """What is set, JSON-able."""
        return {"score": self.score.currentData(), "sort": self.sort.isChecked()}

    def set_choices(self, choices: dict[str, Any]) -> None:
        """Put back what `choices` gave."""
        self.score.setCurrentIndex(max(self.score.findData(choices["score"]), 0))
        self.sort.setChecked(bool(choices["sort"]))

    def _show(self) -> None:
        name = self.score.currentData()
        self.grid.set_maps(self.overview.thumbnails if self.overview is not None else None)
        scores = self.values(name)
        self.grid.set_scores(name, scores, scores is not None and self.sort.isChecked())
        ranked = "largest first" if self.sort.isChecked() else self.grid.score_scale().words()
        self._note.setText(f"{ranked} · {SCORE_HELP[name]}" if name else "layer by row, head by column")

    @Slot()
    def _on_score(self) -> None:
        name = self.score.currentData()
        self.sort.setEnabled(bool(name))
        self._show()
        self.changed.emit()
