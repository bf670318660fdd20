"""What a gate thought of every expert for one token: affinity as a bar, the selection bias apart from it, the chosen with their number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QBrush, QHelpEvent, QPainter, QPen
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from app import theme
from app.widgets.expert_paint import expert_colour, paint_badge

HEIGHT, FOOT, HEAD = 128, 16, 20
BARRED = 40
"""Opacity, of 255, of experts that could not be chosen."""


class AffinityBars(QWidget):
    """One column an expert; the dashed line is the score of the last one chosen."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._affinities = np.zeros(0, np.float32)
        self._bias: np.ndarray | None = None
        self._chosen: tuple[int, ...] = ()
        self._flipped: tuple[int, ...] = ()
        self._barred: frozenset[int] = frozenset()
        self._groups = 1
        self.setFixedHeight(HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Affinity and bias of every expert")
        theme.notifier().changed.connect(self.update)

    def set_values(
        self, affinities: np.ndarray, bias: np.ndarray | None, chosen: Sequence[int], flipped: Sequence[int] = (),
        barred: Sequence[int] = (), groups: int = 1,
    ) -> None:  # fmt: skip
        """Affinities (E,) and bias (E,) of one token and layer; `flipped`: chosen only because of the bias; `barred`: not to be had."""
        self._affinities, self._bias, self._chosen, self._flipped = affinities, bias, tuple(chosen), tuple(flipped)
        self._barred, self._groups = frozenset(barred), groups
        self.update()

    def clear(self) -> None:
        """Show nothing."""
        self.set_values(np.zeros(0, np.float32), None, ())

    def sizeHint(self) -> QSize:
        return QSize(220, HEIGHT)

    def paintEvent(self, _event) -> None:
        painter = QPainter(self)
        E = len(self._affinities)
        if not E:
            return
        affinities, bias = self._affinities.tolist(), [0.0] * E if self._bias is None else self._bias.tolist()
        scores = [affinity + extra for affinity, extra in zip(affinities, bias, strict=True)]
        top, low = max(*scores, *affinities, 1e-6) * 1.05, min(0.0, *scores)
        width, room = self.width() / E, HEIGHT - FOOT - HEAD

        def y(value: float) -> float:
            return HEAD + room * (1 - (value - low) / (top - low))

        for expert in range(E):
            chosen = expert in self._chosen
            bar = QRectF(expert * width + 1, y(affinities[expert]), width - 2, y(low) - y(affinities[expert]))
            colour = expert_colour(expert)
            colour.setAlpha(255 if chosen else BARRED if expert in self._barred else 110)
            painter.fillRect(bar, colour)
            if bias[expert]:
                ends = sorted((y(affinities[expert]), y(scores[expert])))
                place = QRectF(bar.left(), ends[0], bar.width(), max(ends[1] - ends[0], 1))
                pattern = Qt.BrushStyle.DiagCrossPattern if bias[expert] < 0 else Qt.BrushStyle.BDiagPattern
                painter.fillRect(place, QBrush(theme.colour("text"), pattern))
                painter.setPen(QPen(theme.colour("text"), 1))
                painter.drawLine(QPointF(bar.left(), y(scores[expert])), QPointF(bar.right(), y(scores[expert])))
            if chosen and width >= 13:
                paint_badge(painter, QRectF(bar.left(), HEIGHT - FOOT + 1, bar.width(), FOOT - 2), expert)
            if expert in self._flipped:
                painter.setPen(QPen(theme.colour("text"), 1, Qt.PenStyle.DotLine))
                painter.drawRect(QRectF(expert * width, HEAD - 3, width - 1, HEIGHT - HEAD + 2))
        painter.setPen(QPen(theme.colour("muted"), 1))
        for group in range(1, self._groups):
            x = round(group * self.width() / self._groups)
            painter.drawLine(x, HEAD - 4, x, HEIGHT)
        self._paint_words(painter, top)
        if self._chosen:
            last = y(min(scores[e] for e in self._chosen))
            painter.setPen(QPen(theme.colour("muted"), 1, Qt.PenStyle.DashLine))
            painter.drawLine(QPointF(0, last), QPointF(self.width(), last))

    def _paint_words(self, painter: QPainter, top: float) -> None:
        painter.setFont(theme.font(theme.LEAST))
        painter.setPen(theme.colour("muted"))
        words = f"affinity to {top:.2g}" + ("; hatched: bias" if self._bias is not None else "")
        words += "; faint: out" if self._barred else ""
        painter.drawText(QRectF(0, 0, self.width(), HEAD - 6), Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, words)

    def tip_at(self, x: float) -> str:
        """The numbers of the expert under the pointer."""
        if not len(self._affinities):
            return ""
        expert = min(max(int(x / self.width() * len(self._affinities)), 0), len(self._affinities) - 1)
        words = f"expert {expert}: affinity {self._affinities[expert]:.4f}"
        if self._bias is not None:
            words += f", bias {self._bias[expert]:+.4f}, together {self._affinities[expert] + self._bias[expert]:.4f}"
        words += "\nnot to be had: its group was left out, or it is switched off" if expert in self._barred else ""
        words += "\nchosen" + (" only because of the bias" if expert in self._flipped else "") if expert in self._chosen else ""
        return words

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            QToolTip.showText(event.globalPos(), self.tip_at(event.pos().x()), self)
            return True
        return super().event(event)
