"""A tiled pass over a T x S table of scores: which tile is loaded, which are done, skipped, or still to come.

Queries stand at the left, keys and values on top; the parts in fast memory are lit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PySide6.QtCore import QRectF, Qt, Signal, Slot
from PySide6.QtGui import QBrush, QImage, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from app import theme
from app.protocol.attention_lab import TilePlan, TileView
from app.widgets.colour_scale import ColourScale

EDGE, STRIP, GAP, FOOT = 22, 16, 5, 40


class TileStage(QWidget):
    """Shows the first few tiles of a pass; a click on a tile tells its number."""

    chosen = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._plan: TilePlan | None = None
        self._tiles: Sequence[TileView] = ()
        self._count = 0
        self._picture, self._scale = QImage(), ColourScale()
        self.setMinimumSize(240, 260)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAccessibleName("Tiles")
        theme.notifier().changed.connect(self._colour)

    def set_plan(self, plan: TilePlan | None) -> None:
        """Another pass; no tile is done."""
        self._plan = plan
        self.show_tiles((), 0)

    def show_tiles(self, tiles: Sequence[TileView], count: int) -> None:
        """The first `count` of `tiles` are done, the last of them just now."""
        self._tiles, self._count = tiles, count
        now = self.now
        self.setAccessibleDescription(f"tile {count}: queries {now.rows}, keys {now.columns}" if now else "")
        self._colour()

    @property
    def now(self) -> TileView | None:
        """The tile that is loaded."""
        return self._tiles[self._count - 1] if 0 < self._count <= len(self._tiles) else None

    @Slot()
    def _colour(self) -> None:
        """All finished tiles as one picture, a pixel a score."""
        if self._plan is not None:
            T = self._plan.tokens
            table = np.full((T, T), np.nan, np.float32)
            for tile in self._tiles[: self._count]:
                table[slice(*tile.rows), slice(*tile.columns)] = tile.values
            known = np.abs(table[~np.isnan(table)])
            signed = self._plan.phase == "backward"
            self._scale = ColourScale(float(known.max()) if signed and known.size else 1.0, False, signed)
            hidden = np.arange(T)[None, :] > np.arange(T)[:, None] if self._plan.causal else None
            self._picture = self._scale.picture(table, hidden)
        self.update()

    # painting --------------------------------------------------------------------------------------------------

    def _square(self) -> QRectF:
        side = min(self.width() - EDGE - STRIP - 2 * GAP - 8, self.height() - EDGE - STRIP - 2 * GAP - FOOT)
        return QRectF(EDGE + STRIP + GAP, EDGE + STRIP + GAP, side, side)

    def _part(self, rows: tuple[int, int], columns: tuple[int, int]) -> QRectF:
        """Where a part of the table stands."""
        square, T = self._square(), self._plan.tokens
        cell = square.width() / T
        return QRectF(
            square.left() + columns[0] * cell, square.top() + rows[0] * cell, (columns[1] - columns[0]) * cell, (rows[1] - rows[0]) * cell
        )

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.fillRect(self.rect(), theme.colour("surface"))
        painter.setFont(theme.font(theme.LEAST))
        if self._plan is None:
            return
        square = self._square()
        painter.fillRect(square, theme.colour("stage"))
        self._paint_skipped(painter, square)
        painter.drawImage(square, self._picture)
        self._paint_grid(painter, square)
        self._paint_strips(painter, square)
        if self.now is not None:
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(theme.colour("surface"), 5))
            painter.drawRect(self._part(self.now.rows, self.now.columns))
            painter.setPen(QPen(theme.data_colour(3), 3))
            painter.drawRect(self._part(self.now.rows, self.now.columns))
        self._paint_foot(painter, square)

    def _paint_skipped(self, painter: QPainter, square: QRectF) -> None:
        """Tiles that no query may look into are never loaded."""
        if not self._plan.causal:
            return
        brush = QBrush(theme.colour("muted", 110), Qt.BrushStyle.BDiagPattern)
        for rows, columns in self._parts():
            if columns[0] >= rows[1]:
                painter.fillRect(self._part(rows, columns), brush)

    def _parts(self) -> list[tuple[tuple[int, int], tuple[int, int]]]:
        T, q, k = self._plan.tokens, self._plan.tile_q, self._plan.tile_k
        return [((r, min(r + q, T)), (c, min(c + k, T))) for r in range(0, T, q) for c in range(0, T, k)]

    def _paint_grid(self, painter: QPainter, square: QRectF) -> None:
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(theme.colour("border", 110), 1))
        if min(self._plan.tile_q, self._plan.tile_k) * square.width() / self._plan.tokens > 4:
            for rows, columns in self._parts():
                painter.drawRect(self._part(rows, columns))
        painter.setPen(QPen(theme.colour("border"), 1))
        painter.drawRect(square)

    def _paint_strips(self, painter: QPainter, square: QRectF) -> None:
        """Slow memory: Q at the left, K and V on top; what is loaded is lit."""
        left = QRectF(square.left() - GAP - STRIP, square.top(), STRIP, square.height())
        top = QRectF(square.left(), square.top() - GAP - STRIP, square.width(), STRIP)
        painter.setPen(Qt.PenStyle.NoPen)
        for strip in (left, top):
            painter.fillRect(strip, theme.colour("raised"))
        if self.now is not None:
            part = self._part(self.now.rows, self.now.columns)
            painter.fillRect(QRectF(left.left(), part.top(), STRIP, part.height()), theme.data_colour(0))
            painter.fillRect(QRectF(part.left(), top.top(), part.width(), STRIP), theme.data_colour(1))
        painter.setPen(theme.colour("text"))
        painter.drawText(QRectF(0, square.top(), EDGE - 2, 18), Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, "Q")
        names = "K, V" if self._plan.phase == "forward" else "K, V, dK, dV"
        above = QRectF(square.left(), 0, square.width(), EDGE - 2)
        painter.drawText(above, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignBottom, names)

    def _paint_foot(self, painter: QPainter, square: QRectF) -> None:
        """What the colours mean."""
        forward = self._plan.phase == "forward"
        what = "exp(S − m') when the tile was computed, 0 to 1" if forward else f"gradient of the scores, ±{self._scale.top:.2g}"
        skipped = "; hatched: above the diagonal, never loaded" if self._plan.causal else ""
        painter.setPen(theme.colour("muted"))
        place = QRectF(square.left(), square.bottom() + 6, max(square.width(), self.width() - square.left() - 8), FOOT - 8)
        painter.drawText(place, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop | Qt.TextFlag.TextWordWrap, what + skipped)

    def mousePressEvent(self, event) -> None:
        if self._plan is None:
            return
        for number, tile in enumerate(self._tiles):
            if self._part(tile.rows, tile.columns).contains(event.position()):
                self.chosen.emit(number + 1)
                return
