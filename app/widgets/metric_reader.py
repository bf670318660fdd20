"""What a `MetricPlot` says: the key with the values under the pointer, the words of its head line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, Qt

from app import theme
from app.widgets.colour_scale import figure
from app.widgets.metric_items import PlotKey, Still

if TYPE_CHECKING:
    from app.widgets.metric_plot import MetricPlot

EMPTY = "Curves grow here while a run learns."
MARGIN, LOYALTY = 8, 2
"""px; how many places more the key may hide before it moves to another corner."""
MOST_SMALL = 4
"""Values that fit into the head of a small plot."""


class Reader:
    """Belongs to one plot."""

    def __init__(self, plot: MetricPlot) -> None:
        self._plot = plot
        self.x: float | None = None
        """Where the values are read."""
        self.key = PlotKey(plot.plot)
        self._corner, self._at_rest = (0.0, 0.0), True
        self._cross = Still(angle=90)
        self._cross.hide()
        plot.plot.addItem(self._cross, ignoreBounds=True)

    def point(self, x: float | None) -> None:
        """Read at x, or no longer."""
        self.x = x
        self._cross.setVisible(x is not None)
        if x is not None:
            self._cross.setValue(x)
        self.tell()

    def set_key_at_rest(self, shown: bool) -> None:
        """Whether the key stands there also when nobody points; a `ColourKey` can stand beside the plot instead."""
        self._at_rest = shown
        self.tell()

    def restyle(self) -> None:
        """Take the colours of the theme in use."""
        self._cross.setPen(pg.mkPen(theme.tokens().muted, style=Qt.PenStyle.DotLine))

    # words ---------------------------------------------------------------------------------------------------------

    def tell(self) -> None:
        """Bring head and key up to date."""
        plot = self._plot
        rows = plot.layers.key_rows(self.x)
        if plot.compact and self.x is not None:
            plot.head.show_words(plot.head.note, "  ".join(row.value for row in rows[:MOST_SMALL]))
        else:
            plot.head.show_words(self.note(), self.newest(), plot.unit)
        if plot.compact:
            return
        label, unit = plot.axis
        head = "" if self.x is None else f"{label} {self.x:,.0f} {unit}".strip()
        wanted = self._at_rest or self.x is not None or not plot.tracks
        self.key.show_rows(head if plot.tracks else EMPTY, rows if wanted else ())
        self._place()

    def note(self) -> str:
        """What is done to the numbers, in words."""
        plot, window, seeds = self._plot, self._plot.tracks.window, self._plot.layers.largest_group
        parts = [f"EMA over {window} points, debiased; faint: as told" if window > 1 else ""]
        parts.append(f"thick: mean of {seeds} seeds, band: ± 1 std (n − 1)" if seeds > 1 else "")
        parts.append("dots: single episodes" if plot.tracks.dots else "")
        parts.append("values of 0 and below cannot stand on a log scale" if plot.log and plot.layers.left_out else "")
        return "; ".join(part for part in parts if part)

    def newest(self) -> str:
        """The last value, if there is but one line."""
        if len(self._plot.tracks.lines) != 1:
            return ""
        (track,) = self._plot.tracks.lines.values()
        return figure(float(track.raw.y[-1])) if len(track.raw) else ""

    # place of the key ----------------------------------------------------------------------------------------------

    def _place(self) -> None:
        """The key stands in the corner where it hides least; where it stands already is as good as a little better."""
        plot, key = self._plot.plot, self.key
        if not self._plot.tracks:
            key.move((plot.width() - key.width()) // 2 + 20, (plot.height() - key.height()) // 2 - 20)
            return
        room = self._plot.box.sceneBoundingRect().adjusted(MARGIN, MARGIN, -MARGIN - key.width(), -MARGIN - key.height())
        corners = [(room.right(), room.bottom()), (room.right(), room.top()), (room.left(), room.top())]
        hidden = [self._hidden(x, y) - LOYALTY * ((x, y) == self._corner) for x, y in corners]
        self._corner = corners[int(np.argmin(hidden))]
        key.move(int(self._corner[0]), int(max(self._corner[1], MARGIN)))

    def _hidden(self, x: float, y: float) -> int:
        """How much the key would hide if it stood at this pixel."""
        ends = QPointF(x, y), QPointF(x + self.key.width(), y + self.key.height())
        start, end = (self._plot.box.mapSceneToView(point) for point in ends)
        return self._plot.layers.hidden_by(start.x(), end.x(), end.y(), start.y())
