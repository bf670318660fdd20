"""The view of FlashAttention: the table of tiles, the traffic and the result so far, and what is kept of each query."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QSplitter, QVBoxLayout, QWidget

from app.panels.attention_lab.tile_words import result_words
from app.protocol.attention_lab import TilePlan, TileView
from app.protocol.sizes import size_words
from app.widgets.probability_bars import Bar, ProbabilityBars
from app.widgets.steady_label import SteadyLabel
from app.widgets.tile_rows import TileRows
from app.widgets.tile_stage import TileStage


class TilesView(QSplitter):
    """Shows the first few tiles of a pass."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(Qt.Orientation.Vertical, parent)
        self.stage, self.rows, self.bytes = TileStage(), TileRows(), ProbabilityBars("Bytes moved")
        self.result = SteadyLabel(wrap=True)
        top, beside = QFrame(), QVBoxLayout()
        top.setProperty("role", "surface")
        row = QHBoxLayout(top)
        row.setContentsMargins(1, 1, 1, 1)
        row.setSpacing(0)
        beside.setContentsMargins(8, 24, 16, 8)
        beside.setSpacing(8)
        for heading, widget in (("Traffic to slow memory", self.bytes), ("Result", self.result)):
            label = QLabel(heading)
            label.setProperty("role", "heading")
            beside.addWidget(label)
            beside.addWidget(widget)
        beside.addStretch(1)
        row.addWidget(self.stage, 6)
        row.addLayout(beside, 5)
        self.addWidget(top)
        self.addWidget(self.rows)
        self.setSizes([350, 250])

    def show_tiles(self, plan: TilePlan | None, tiles: Sequence[TileView], count: int) -> None:
        """The first `count` of `tiles` are done, the last of them just now."""
        now = tiles[count - 1] if 0 < count <= len(tiles) else None
        self.stage.show_tiles(tiles, count)
        self.rows.show_tile(plan, now)
        if plan is None or now is None:
            self.bytes.set_bars([])
            self.result.setText("")
            return
        self.result.setText(result_words(plan, now))
        top = max(plan.naive_bytes, plan.tiled_bytes)
        self.bytes.set_bars([
            Bar("tiles so far", now.moved_bytes / top, size_words(now.moved_bytes), 0, mark=plan.tiled_bytes / top,
                tip=f"all tiles of this pass move {size_words(plan.tiled_bytes)}"),
            Bar("the naive way", plan.naive_bytes / top, size_words(plan.naive_bytes), 1,
                tip="S and P are written to slow memory and read again"),
        ])  # fmt: skip
