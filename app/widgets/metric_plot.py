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
from app.widgets.colour_scale import figure
from app.widgets.metric_items import Dots, FigureAxis, PlotHead, PlotKey, Still, settled
from app.widgets.metric_layers import Layers
from app.widgets.metric_menu import PlotMenu
from app.widgets.metric_tracks import Line, Tracks
from app.widgets.plot_style import style_axes

AHEAD, AIR = 0.12, 0.06
"""Shares of the length by which x runs ahead of a growing curve, and y leaves room above and below."""
_TURNS = cycle(range(10, 160, 25))
"""ms by which small plots put off their redraw, so that six of them do not hold up the window at once."""
EMPTY = "Curves grow here while a run learns."


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
        self.title, self.unit, self.compact = title, unit, compact
        self.tracks = Tracks()
        self.log, self._axis = False, ("environment steps", "")
        self._moments = np.empty(0)
        self._all_in_sight, self._stale, self._cross_at = True, True, None
        self._key_at = (0.0, 0.0)
        self._numbered: bool | None = None
        self._axes: tuple[tuple[float, float] | None, tuple[float, float] | None] = (None, None)
        self._soon = QTimer(self, interval=next(_TURNS) if compact else 0, singleShot=True)
        self._soon.timeout.connect(self.refresh)
        self.head = PlotHead(title)
        self.plot = pg.PlotWidget(axisItems={side: FigureAxis(side) for side in ("bottom", "left")})
        self.plot.setMenuEnabled(False)
        self.plot.hideButtons()
        for side in ("bottom", "left"):
            self.plot.getAxis(side).setCacheMode(QGraphicsItem.CacheMode.DeviceCoordinateCache)
        self.box = self.plot.getPlotItem().vb
        self.box.disableAutoRange()
        self.box.setMouseEnabled(x=not compact, y=False)
        self.layers = Layers(self)
        self._cursor, self._cross = Still(angle=90, movable=not compact, label="" if compact else "{value:,.0f}"), Still(angle=90)
        self._ticks = Dots(4)
        for item in (self._ticks, self._cursor, self._cross):
            self.plot.addItem(item, ignoreBounds=True)
        self._cursor.hide()
        self._cross.hide()
        self.key = PlotKey(self.plot)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self.head)
        layout.addWidget(self.plot)
        self._listen()
        self.setMinimumSize(120, 90 if compact else 150)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName(f"Plot of {title}")
        self.plot.setToolTip("Wheel zooms, drag moves, double-click shows everything, right click saves." if not compact else title)
        self._menu = PlotMenu(self)
        self._restyle()

    def _listen(self) -> None:
        self._cursor.sigDragged.connect(self._on_cursor_dragged)
        self.head.pressed.connect(self.clicked)
        self.plot.scene().sigMouseMoved.connect(self._on_mouse_moved)
        self.plot.scene().sigMouseClicked.connect(self._on_mouse_clicked)
        self.plot.viewport().installEventFilter(self)
        self.box.sigRangeChangedManually.connect(self._on_zoomed)
        theme.notifier().changed.connect(self._on_theme)

    # content -------------------------------------------------------------------------------------------------------

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
        if (label, unit) != self._axis:
            self._axis = (label, unit)
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
            self.log, self._axes = y, (self._axes[0], None)
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
        moments = np.sort(np.asarray(xs, float))
        if not np.array_equal(moments, self._moments):
            self._moments = moments
            self._changed()

    def set_cursor(self, x: float | None) -> None:
        """Put the marker at x, or take it away; tells nobody."""
        self._cursor.setVisible(x is not None)
        if x is not None:
            self._cursor.setValue(x)

    def cursor_at(self) -> float | None:
        """Where the marker stands."""
        return float(self._cursor.value()) if self._cursor.isVisible() else None

    def set_cross(self, x: float | None) -> None:
        """Read all values at x (the pointer is over another plot of the same runs), or no longer."""
        self._cross_at = x
        self._cross.setVisible(x is not None)
        if x is not None:
            self._cross.setValue(x)
        self._read()

    @Slot()
    def reset_view(self) -> None:
        """Show everything again."""
        self._all_in_sight, self._axes = True, (None, None)
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
            first = self._axes[0] is None
            x = settled(self._axes[0], *self.layers.x_ends(), (0.02, 0.02 if first else AHEAD))
            if x != self._axes[0]:
                self.box.setXRange(*x, padding=0)
            self._axes = (x, self._axes[1])
        (x0, x1), _ = self.box.viewRange()
        ends = settled(self._axes[1], *self.layers.draw(x0, x1, max(int(self.plot.width()), 50)), (AIR, AIR))
        if ends != self._axes[1]:
            self.box.setYRange(*ends, padding=0)
            self._axes = (self._axes[0], ends)
        ticks = self._moments[(self._moments >= x0) & (self._moments <= x1)]
        self._ticks.show_points(ticks, np.full(len(ticks), ends[0] + (ends[1] - ends[0]) * 0.012), theme.colour("accent", 170), 3.5)
        if bool(self.tracks) != self._numbered:
            self._numbered = bool(self.tracks)
            for side in ("bottom", "left"):
                self.plot.getAxis(side).setStyle(showValues=self._numbered)
        self.head.show_words(self._note(), self._newest(), self.unit)
        self.setAccessibleDescription(f"{self.head.note} {self.head.value}".strip())
        self._read()

    def _note(self) -> str:
        """What is done to the numbers, in words."""
        window = self.tracks.window
        parts = [f"EMA over {window} points, debiased; faint: as told" if window > 1 else ""]
        seeds = self.layers.largest_group
        parts.append(f"thick: mean of {seeds} seeds, band: ± 1 std (n − 1)" if seeds > 1 else "")
        parts.append("dots: single episodes" if self.tracks.dots else "")
        parts.append("values of 0 and below cannot stand on a log scale" if self.log and self.layers.left_out else "")
        return "; ".join(part for part in parts if part)

    def _newest(self) -> str:
        """The last value of the line that was told last, if there is but one."""
        if len(self.tracks.lines) != 1:
            return ""
        (track,) = self.tracks.lines.values()
        return figure(float(track.raw.y[-1])) if len(track.raw) else ""

    def _read(self) -> None:
        if self.compact:
            if self._cross_at is not None:
                rows = self.layers.key_rows(self._cross_at)
                self.head.show_words(self.head.note, "  ".join(row.value for row in rows[:4]))
            elif self.tracks:
                self.head.show_words(self._note(), self._newest(), self.unit)
            return
        head = "" if self._cross_at is None else f"{self._axis[0]} {self._cross_at:,.0f} {self._axis[1]}".strip()
        self.key.show_rows(head if self.tracks else EMPTY, self.layers.key_rows(self._cross_at))
        margin = 8
        if not self.tracks:
            self.key.move((self.plot.width() - self.key.width()) // 2 + 20, (self.plot.height() - self.key.height()) // 2 - 20)
            return
        self._place_key(margin)

    def _place_key(self, margin: int) -> None:
        """The key stands in the corner where it hides least; where it stands already is as good as a little better."""
        scene = self.box.sceneBoundingRect()
        right, bottom = scene.right() - self.key.width() - margin, scene.bottom() - self.key.height() - margin
        corners = [(right, bottom), (right, scene.top() + margin), (scene.left() + margin, scene.top() + margin)]
        hidden = []
        for x, y in corners:
            top_left, end = (self.box.mapSceneToView(QPointF(*at)) for at in ((x, y), (x + self.key.width(), y + self.key.height())))
            hidden.append(self.layers.hidden_by(top_left.x(), end.x(), end.y(), top_left.y()) - 2 * ((x, y) == self._key_at))
        best = corners[int(np.argmin(hidden))]
        self._key_at = best
        self.key.move(int(best[0]), int(max(best[1], margin)))

    @Slot()
    def _on_theme(self) -> None:
        self._restyle()
        self.layers.restyle()

    def _restyle(self) -> None:
        label, unit = self._axis
        words = ("", "") if self.compact else (f"{label} ({unit})" if unit else label, self.unit)
        style_axes(self.plot, words, named=not self.compact)
        self._cursor.setPen(pg.mkPen(theme.tokens().text, width=2))
        self._cursor.setHoverPen(pg.mkPen(theme.tokens().text, width=4))
        if not self.compact:
            self._cursor.label.setColor(theme.tokens().on_accent)
            self._cursor.label.fill = pg.mkBrush(theme.tokens().accent)
            self._cursor.label.setFont(theme.font(theme.LEAST, bold=True))
        self._cross.setPen(pg.mkPen(theme.tokens().muted, style=Qt.PenStyle.DotLine))
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
        self._all_in_sight, self._axes = False, (None, None)
        self._changed()

    @Slot()
    def _on_cursor_dragged(self) -> None:
        self.move_cursor(float(self._cursor.value()))

    def move_cursor(self, x: float) -> None:
        """As if a person put the marker there: it snaps to the nearest moment, and tells."""
        if len(self._moments):
            x = float(self._moments[np.argmin(np.abs(self._moments - x))])
        self.set_cursor(x)
        self.cursor_moved.emit(x)

    @Slot(object)
    def _on_mouse_clicked(self, event) -> None:
        if event.button() != Qt.MouseButton.LeftButton or event.double():
            return
        if self.compact:
            self.clicked.emit()
        elif self._cursor.isVisible() or len(self._moments):
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
        if step and event.modifiers() & Qt.KeyboardModifier.ShiftModifier and self._cursor.isVisible():
            self._step(step)
        elif key in (Qt.Key.Key_Plus, Qt.Key.Key_Minus) and not self.compact:
            self.box.scaleBy(x=0.8 if key == Qt.Key.Key_Plus else 1.25)
            self._on_zoomed()
        elif key == Qt.Key.Key_0:
            self.reset_view()
        else:
            super().keyPressEvent(event)

    def _step(self, step: int) -> None:
        at = float(self._cursor.value())
        if len(self._moments):
            number = int(np.argmin(np.abs(self._moments - at))) + step
            self.move_cursor(float(self._moments[min(max(number, 0), len(self._moments) - 1)]))
        else:
            (x0, x1), _ = self.box.viewRange()
            self.move_cursor(at + step * (x1 - x0) / 100)

    def contextMenuEvent(self, event) -> None:
        self._menu.pop_up(event.globalPos())


__all__ = ["Line", "MetricPlot"]
