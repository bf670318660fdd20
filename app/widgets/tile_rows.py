"""What FlashAttention keeps of each query of a tile: running maximum m, factor a, running sum l, and the output so far."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QLineF, QRectF, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from app import theme
from app.protocol.attention_lab import TilePlan, TileView
from app.widgets.colour_scale import ColourScale

HEAD, FOOT, PAD = 38, 24, 10
SHARES = {"tile": 0.27, "m": 0.17, "a": 0.15, "l": 0.15, "o": 0.26}
TITLES = {
    "tile": ("P of this tile", "exp(S − m')"), "m": ("maximum m", "tick: m, dot: m'"), "a": ("factor a", "exp(m − m')"),
    "l": ("sum l'", "a l + Σ P"), "o": ("output", "(a O + P V) / l'"),
}  # fmt: skip


class TileRows(QWidget):
    """One row a query."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._plan: TilePlan | None = None
        self._tile: TileView | None = None
        self.setMinimumSize(300, 160)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMouseTracking(True)
        self.setAccessibleName("State of the queries in the tile")
        theme.notifier().changed.connect(self.update)

    def show_tile(self, plan: TilePlan | None, tile: TileView | None) -> None:
        """The state after a tile."""
        self._plan, self._tile = plan, tile
        self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.fillRect(self.rect(), theme.colour("surface"))
        tile = self._tile
        if tile is None or not len(tile.m):
            painter.setPen(theme.colour("muted"))
            backward = self._plan is not None and self._plan.phase == "backward"
            words = "Going back there is no running state: P comes from L = m + log l of the forward pass." if backward else ""
            painter.drawText(self.rect().adjusted(24, 24, -24, -24), Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap, words)
            return
        painter.setFont(theme.font(theme.LEAST))
        for name, place in self._columns().items():
            first, second = TITLES[name]
            painter.setPen(theme.colour("text"))
            painter.drawText(QRectF(place.left(), 4, place.width() + PAD, 16), Qt.AlignmentFlag.AlignLeft, first)
            painter.setPen(theme.colour("muted"))
            painter.drawText(QRectF(place.left(), 19, place.width() + PAD, 16), Qt.AlignmentFlag.AlignLeft, second)
        columns = self._columns()
        self._picture(painter, columns["tile"], tile.values, ColourScale(1.0), "0 to 1")
        self._maxima(painter, columns["m"], tile)
        self._bars(painter, columns["a"], tile.rescale, 1.0, 3)
        self._bars(painter, columns["l"], tile.l, float(tile.l.max()) or 1.0, 2)
        top = float(np.abs(tile.partial).max()) or 1.0
        self._picture(painter, columns["o"], tile.partial, ColourScale(top, False, True), f"±{top:.2g}")

    def _columns(self) -> dict[str, QRectF]:
        room, left = self.width() - 2 * PAD - (len(SHARES) - 1) * PAD, float(PAD)
        places = {}
        for name, share in SHARES.items():
            places[name] = QRectF(left, HEAD, share * room, self.height() - HEAD - FOOT)
            left += share * room + PAD
        return places

    def _picture(self, painter: QPainter, place: QRectF, values: np.ndarray, scale: ColourScale, words: str) -> None:
        painter.drawImage(place, scale.picture(np.ascontiguousarray(values)))
        self._foot(painter, place, words)

    def _maxima(self, painter: QPainter, place: QRectF, tile: TileView) -> None:
        """Before as a hollow tick, after as a dot, on one axis."""
        known = np.concatenate([tile.m, tile.m_before[np.isfinite(tile.m_before)]])
        low, high = float(known.min()), float(known.max())
        span = (high - low) or 1.0
        painter.fillRect(place, theme.colour("stage"))
        height = place.height() / len(tile.m)

        def at(value: float) -> float:
            return place.left() + 6 + (value - low) / span * (place.width() - 12)

        for n, (before, after) in enumerate(zip(tile.m_before, tile.m, strict=True)):
            middle = place.top() + (n + 0.5) * height
            if np.isfinite(before):
                painter.setPen(QPen(theme.colour("muted"), 1.5))
                painter.drawLine(QLineF(at(before), middle - min(height, 9) / 2, at(before), middle + min(height, 9) / 2))
                if after > before:
                    painter.drawLine(QLineF(at(before), middle, at(after), middle))
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(theme.data_colour(0))
            side = min(max(height * 0.5, 2.5), 6)
            painter.drawEllipse(QRectF(at(after) - side / 2, middle - side / 2, side, side))
        self._foot(painter, place, f"{low:.2f} to {high:.2f}")

    def _bars(self, painter: QPainter, place: QRectF, values: np.ndarray, full: float, colour: int) -> None:
        painter.fillRect(place, theme.colour("stage"))
        height = place.height() / len(values)
        painter.setPen(Qt.PenStyle.NoPen)
        for n, value in enumerate(values):
            bar = QRectF(place.left(), place.top() + n * height + height * 0.15, float(value) / full * place.width(), max(height * 0.7, 1))
            painter.fillRect(bar, theme.data_colour(colour))
        self._foot(painter, place, f"0 to {full:.3g}")

    def _foot(self, painter: QPainter, place: QRectF, words: str) -> None:
        painter.setPen(theme.colour("muted"))
        painter.drawText(QRectF(place.left(), place.bottom() + 3, place.width() + PAD, 16), Qt.AlignmentFlag.AlignLeft, words)

    def mouseMoveEvent(self, event) -> None:
        tile, place = self._tile, self._columns()["m"]
        if tile is None or not len(tile.m):
            return
        n = int((event.position().y() - place.top()) / place.height() * len(tile.m))
        if 0 <= n < len(tile.m):
            before, m, a, l = (f"{side[n]:.4g}" for side in (tile.m_before, tile.m, tile.rescale, tile.l))
            words = f"query {tile.rows[0] + n}: m {before} → {m}, a {a}, l {l}"
            QToolTip.showText(event.globalPosition().toPoint(), words, self)
