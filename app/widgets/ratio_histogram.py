"""PPO: how far an update moved the ratios pi / pi_old, with the clip band and the share outside of it."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QBrush, QKeyEvent, QPainter, QPen

from app import theme
from app.protocol.rl import RatioView
from app.widgets.chart_box import ChartBox
from app.widgets.chart_frame import ChartFrame
from app.widgets.colour_scale import figure

LEAST_SHARE = 1e-4
"""Foot of the logarithmic scale."""


class RatioHistogram(ChartBox):
    """One update."""

    def __init__(self, parent=None) -> None:
        super().__init__("Ratios of the last epoch", "The ratios of PPO's updates appear here after the first update.", parent)
        self._view: RatioView | None = None
        self._log = False
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setToolTip(
            "pi(a|s) / pi_old(a|s) of every sample after the last epoch. Where the advantage would gain by it, samples outside the band "
            "have no gradient any more. L: logarithmic."
        )

    def show_view(self, view: RatioView | None) -> None:
        """Another update."""
        self._view = view
        self.renew()

    def set_log(self, log: bool) -> None:
        """Shares on a logarithmic scale, for the tails."""
        self._log = log
        self.renew()

    def has_view(self) -> bool:
        return self._view is not None and float(self._view.counts.sum()) > 0

    @property
    def shares(self) -> np.ndarray:
        """Share of the samples in each bin."""
        return self._view.counts / self._view.counts.sum()

    def band(self) -> tuple[float, float]:
        """The clip band."""
        return 1 - self._view.clip_range, 1 + self._view.clip_range

    def ends(self) -> tuple[float, float]:
        """From where to where the ratios go that are seen, at least twice the band."""
        edges, used = self._view.edges, np.nonzero(self._view.counts)[0]
        reach = max(1 - float(edges[used[0]]), float(edges[used[-1] + 1]) - 1, 2 * self._view.clip_range, 0.05)
        return max(1 - reach, float(edges[0])), min(1 + reach, float(edges[-1]))

    def caption(self) -> str:
        view = self._view
        text = f"{view.outside:.1%} of the ratios outside 1 ± {view.clip_range:.3g}, after {view.timesteps:,} steps"
        if view.kl_by_epoch:
            text += f"; KL after {len(view.kl_by_epoch)} epochs {figure(view.kl_by_epoch[-1])}"
        return text + (f"; stopped by the KL limit in epoch {view.stopped_in_epoch + 1}" if view.stopped_in_epoch is not None else "")

    def frame(self) -> ChartFrame:
        """The axes; the height runs to the highest bin."""
        top = float(self.shares.max()) * 1.12
        height = (np.log10(LEAST_SHARE), max(np.log10(top), -1)) if self._log else (0.0, top)
        return ChartFrame.within(self.room(), self.ends(), height)

    def height_of(self, share: float) -> float:
        """A share as a height on the axis."""
        return np.log10(max(share, LEAST_SHARE)) if self._log else share

    def is_outside(self, number: int) -> bool:
        """Does a bin lie outside the band, by its middle?"""
        middle = (self._view.edges[number] + self._view.edges[number + 1]) / 2
        return abs(float(middle) - 1) > self._view.clip_range

    def bin_at(self, at: QPointF) -> int:
        """Number of the bin under a point, -1 if there is none."""
        place = self.frame().under(at)
        if place is None:
            return -1
        number = int(np.searchsorted(self._view.edges, place[0], "right")) - 1
        return number if 0 <= number < len(self._view.counts) else -1

    def readout(self, at: QPointF) -> str:
        number = self.bin_at(at)
        if number < 0:
            return ""
        low, high = self._view.edges[number : number + 2]
        last = number == len(self._view.counts) - 1
        where = f"ratio {low:.3f} and above" if last else f"ratio {low:.3f} to {high:.3f}"
        return f"{where}: {self.shares[number]:.2%} of the samples, {'outside' if self.is_outside(number) else 'within'} the band"

    def paint_chart(self, painter: QPainter, room: QRectF) -> None:
        frame = self.frame()
        foot = frame.y[0]
        low, high = (frame.at(end, foot).x() for end in self.band())
        painter.fillRect(QRectF(low, frame.place.top(), high - low, frame.place.height()), theme.colour("ok", 26))
        frame.paint_axes(painter, "ratio pi / pi_old", "log10 share" if self._log else "share of samples", grid=False)
        painter.setClipRect(frame.place)
        for number, share in enumerate(self.shares):
            if share > 0:
                a = frame.at(float(self._view.edges[number]), self.height_of(float(share)))
                b = frame.at(float(self._view.edges[number + 1]), foot)
                bar = QRectF(a, b).adjusted(0.5, 0, -0.5, 0)
                outside = self.is_outside(number)
                painter.fillRect(bar, theme.colour("warn" if outside else "accent"))
                if outside:
                    painter.fillRect(bar, QBrush(theme.colour("surface"), Qt.BrushStyle.BDiagPattern))
        painter.setPen(QPen(theme.colour("ok"), 1.5, Qt.PenStyle.DashLine))
        for x in (low, high):
            painter.drawLine(QPointF(x, frame.place.top()), QPointF(x, frame.place.bottom()))
        painter.setClipping(False)
        painter.setFont(theme.font(theme.LEAST))
        painter.setPen(theme.colour("ok"))
        for x, end, side in ((low, self.band()[0], Qt.AlignmentFlag.AlignRight), (high, self.band()[1], Qt.AlignmentFlag.AlignLeft)):
            place = QRectF(x - 64 if side == Qt.AlignmentFlag.AlignRight else x + 4, frame.place.top() + 2, 60, 14)
            painter.drawText(place, side, f"{end:.3g}")
        painter.setPen(theme.colour("warn"))
        words = QRectF(frame.place.left(), frame.place.top() + 2, frame.place.width() - 6, 16)
        painter.setFont(theme.font(theme.SMALL, bold=True))
        painter.drawText(words, Qt.AlignmentFlag.AlignRight, f"{self._view.outside:.1%} outside")

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_L:
            self.set_log(not self._log)
        else:
            super().keyPressEvent(event)
