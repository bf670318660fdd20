"""A metric of many runs over environment steps or seconds: every point faint, its smoothed curve, the mean and band of several seeds.

Behind the curves the published reference, on them the knobs that were turned and a marker to drag to a moment. However long the curves
are, only what can be seen is drawn, with every peak in its place. The wheel zooms, drag moves, y follows what is in sight.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QEvent, QPointF, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QGraphicsItem, QVBoxLayout, QWidget

from app import theme
from app.protocol.rl import Reference
from app.widgets.metric_items import FigureAxis, PlotHead, settled
from app.widgets.metric_layers import Layers
from app.widgets.metric_marker import Marker
from app.widgets.metric_menu import PlotMenu
from app.widgets.metric_reader import Reader
from app.widgets.metric_tracks import Line, Tracks
from app.widgets.plot_style import style_axes

AHEAD, AIR = 0.25, 0.06
"""Shares of the length by which x runs ahead of a growing curve, and y leaves room above and below."""
Ends = tuple[float, float] | None
_TURNS = cycle(range(10, 160, 25))
"""ms by which small plots put off their redraw, so that six of them do not hold up the window at once."""


class MetricPlot(QWidget):
    """One metric."""

    cursor_moved = Signal(float)
    """A person moved the marker to this x."""
    clicked = Signal()
    """A compact plot was pressed."""
    pointed = Signal(object)
    """The x under the pointer, None when it leaves."""
    save_requested = Signal(str, object)

    def __init__(self, title: str, unit: str = "", compact: bool = False, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        theme.configure_plots()
        self.title, self.unit, self.compact = "", "", compact
        self.tracks = Tracks()
        self.log, self.axis = False, ("environment steps", "")
        self._all_in_sight, self._stale = True, True
        self._numbered: bool | None = None
        self._ends: tuple[Ends, Ends] = (None, None)
        self._soon = QTimer(self, interval=next(_TURNS) if compact else 0, singleShot=True)
        self._soon.timeout.connect(self.refresh)
        self.head = PlotHead()
        self.plot = _bare_plot()
        self.box = self.plot.getPlotItem().vb
        self.box.setMouseEnabled(x=not compact, y=False)
        self.plot.getAxis("bottom").setTickDensity(0.6 if compact else 1.0)
        self.layers = Layers(self)
        self.marker, self.reader = Marker(self.plot, small=compact), Reader(self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self.head)
        layout.addWidget(self.plot)
        self._listen()
        self.setMinimumSize(120, 90 if compact else 150)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.plot.setToolTip("Wheel zooms, drag moves, double-click shows everything, right click saves.")
        self._menu = PlotMenu(self)
        self.rename(title, unit)

    def _listen(self) -> None:
        self.marker.line.sigDragged.connect(self._on_cursor_dragged)
        self.head.pressed.connect(self.clicked)
        self.plot.scene().sigMouseMoved.connect(self._on_mouse_moved)
        self.plot.scene().sigMouseClicked.connect(self._on_mouse_clicked)
        self.plot.viewport().installEventFilter(self)
        self.box.sigRangeChangedManually.connect(self._on_zoomed)
        theme.notifier().changed.connect(self._on_theme)

    # content -------------------------------------------------------------------------------------------------------

    def rename(self, title: str, unit: str = "") -> None:
        """Another metric: nothing is drawn of it yet."""
        self.title, self.unit, self._ends = title, unit, (None, None)
        self.head.set_title(title)
        self.setAccessibleName(f"Plot of {title}")
        if self.compact:
            self.plot.setToolTip(title)
        self.tracks.set_lines(())
        self._restyle()

    def set_lines(self, lines: Sequence[Line]) -> None:
        """Show these; arrays that go on from those before cost only their new part."""
        if self.tracks.set_lines(lines):
            self._changed()

    def append(self, key: str, x: np.ndarray, y: np.ndarray) -> None:
        """More points of a line."""
        self.tracks.append(key, np.asarray(x, float), np.asarray(y, float))
        self._changed()

    def set_dots(self, key: str, x: np.ndarray, y: np.ndarray) -> None:
        """Single episodes, or evaluations, of the line of that key."""
        if self.tracks.set_dots(key, np.asarray(x, float), np.asarray(y, float)):
            self._changed()

    def set_axis(self, label: str, unit: str = "") -> None:
        """What x is."""
        if (label, unit) != self.axis:
            self.axis = (label, unit)
            self.reset_view()
            self._restyle()

    def set_smoothing(self, window: int) -> None:
        """Span of the exponential moving average in points; 1 draws the numbers as they are."""
        if max(int(window), 1) != self.tracks.window:
            self.tracks.set_window(max(int(window), 1))
            self._changed()

    def set_log(self, y: bool) -> None:
        """Logarithmic y; what is not above 0 cannot be drawn then, and the head says so."""
        self._menu.log.setChecked(y)
        if y != self.log:
            self.log, self._ends = y, (self._ends[0], None)
            self.plot.getAxis("left").setLogMode(y)
            self._changed()

    def set_reference(self, reference: Reference | None) -> None:
        """A published result behind the curves."""
        if self.layers.set_reference(reference):
            self._changed()

    def set_marks(self, marks: Sequence[tuple[float, str]]) -> None:
        """Moments at which a knob was turned, with words."""
        self.layers.set_marks(marks, labelled=not self.compact)

    def set_moments(self, xs: Sequence[float]) -> None:
        """Places the marker snaps to; ticks at the foot."""
        if self.marker.set_moments(xs):
            self._changed()

    def set_cursor(self, x: float | None) -> None:
        """Put the marker at x, or take it away; tells nobody."""
        self.marker.place(x)

    def cursor_at(self) -> float | None:
        """Where the marker stands."""
        return self.marker.at()

    def set_cross(self, x: float | None) -> None:
        """Read all values at x (the pointer is over another plot of the same runs), or no longer."""
        self.reader.point(x)

    @Slot()
    def reset_view(self) -> None:
        """Show everything again."""
        self._all_in_sight, self._ends = True, (None, None)
        self._changed()

    def csv(self) -> str:
        """All points, not smoothed: line, x, y."""
        return self.tracks.csv()

    def readout(self, x: float) -> list[tuple[str, str]]:
        """What is read at x: words and value of every line and every mean."""
        return [(row.words, row.value) for row in self.layers.key_rows(x)]

    # drawing -------------------------------------------------------------------------------------------------------

    def _changed(self) -> None:
        """Draw anew before long: several changes at once are drawn together, and none while nobody looks."""
        self._stale = True
        if self.isVisible() and not self._soon.isActive():
            self._soon.start()

    @Slot()
    def refresh(self) -> None:
        """Draw what is in sight; costs by what is seen, not by what is known."""
        self._stale = False
        self._soon.stop()
        if self._all_in_sight:
            first = self._ends[0] is None
            x = settled(self._ends[0], *self.layers.x_ends(), (0.02, 0.02 if first else AHEAD))
            if x != self._ends[0]:
                self.box.setXRange(*x, padding=0)
            self._ends = (x, self._ends[1])
        (x0, x1), _ = self.box.viewRange()
        ends = settled(self._ends[1], *self.layers.draw(x0, x1, max(int(self.plot.width()), 50)), (AIR, AIR))
        if ends != self._ends[1]:
            self.box.setYRange(*ends, padding=0)
            self._ends = (self._ends[0], ends)
        self.marker.draw(x0, x1, ends)
        if bool(self.tracks) != self._numbered:
            self._numbered = bool(self.tracks)
            for side in ("bottom", "left"):
                self.plot.getAxis(side).setStyle(showValues=self._numbered)
        self.reader.tell()
        self.setAccessibleDescription(f"{self.head.note} {self.head.value}".strip())

    @Slot()
    def _on_theme(self) -> None:
        self._restyle()
        self.layers.restyle()

    def _restyle(self) -> None:
        label, unit = self.axis
        words = ("", "") if self.compact else (f"{label} ({unit})" if unit else label, self.unit)
        style_axes(self.plot, words, named=not self.compact)
        self.marker.restyle()
        self.reader.restyle()
        self._changed()

    # mouse and keys ------------------------------------------------------------------------------------------------

    def showEvent(self, event) -> None:
        super().showEvent(event)
        if self._stale:
            self.refresh()

    def resizeEvent(self, event) -> None:
        super().resizeEvent(event)
        self._changed()

    def eventFilter(self, watched, event: QEvent) -> bool:
        if event.type() == QEvent.Type.MouseButtonDblClick:
            self.reset_view()
            return True
        if event.type() == QEvent.Type.Leave:
            self.set_cross(None)
            self.pointed.emit(None)
        return super().eventFilter(watched, event)

    @Slot()
    def _on_zoomed(self) -> None:
        self._all_in_sight, self._ends = False, (None, None)
        self._changed()

    @Slot()
    def _on_cursor_dragged(self) -> None:
        self.move_cursor(float(self.marker.line.value()))

    def move_cursor(self, x: float) -> None:
        """As if a person put the marker there: it snaps to the nearest moment, and tells."""
        x = self.marker.nearest(x)
        self.set_cursor(x)
        self.cursor_moved.emit(x)

    @Slot(object)
    def _on_mouse_clicked(self, event) -> None:
        if event.button() != Qt.MouseButton.LeftButton or event.double():
            return
        if self.compact:
            self.clicked.emit()
        elif self.marker.wanted:
            self.move_cursor(self.box.mapSceneToView(event.scenePos()).x())

    @Slot(object)
    def _on_mouse_moved(self, position: QPointF) -> None:
        inside = bool(self.tracks) and self.box.sceneBoundingRect().contains(position)
        x = self.box.mapSceneToView(position).x() if inside else None
        self.set_cross(x)
        self.pointed.emit(x)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Shift and the arrows move the marker, plus and minus zoom, 0 shows everything."""
        key = Qt.Key(event.key())
        step = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}.get(key, 0)
        if step and event.modifiers() & Qt.KeyboardModifier.ShiftModifier and self.marker.at() is not None:
            (x0, x1), _ = self.box.viewRange()
            self.move_cursor(self.marker.beside(step, (x1 - x0) / 100))
        elif key in (Qt.Key.Key_Plus, Qt.Key.Key_Minus) and not self.compact:
            self.box.scaleBy(x=0.8 if key == Qt.Key.Key_Plus else 1.25)
            self._on_zoomed()
        elif key == Qt.Key.Key_0:
            self.reset_view()
        else:
            super().keyPressEvent(event)

    def contextMenuEvent(self, event) -> None:
        self._menu.pop_up(event.globalPos())


def _bare_plot() -> pg.PlotWidget:
    """A plot without menu and buttons whose axes are pictures, drawn anew only when they change."""
    plot = pg.PlotWidget(axisItems={side: FigureAxis(side) for side in ("bottom", "left")})
    plot.setMenuEnabled(False)
    plot.hideButtons()
    plot.getPlotItem().vb.disableAutoRange()
    for side in ("bottom", "left"):
        plot.getAxis(side).setCacheMode(QGraphicsItem.CacheMode.DeviceCoordinateCache)
    return plot


__all__ = ["Line", "MetricPlot"]
