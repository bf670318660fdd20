"""Curves with named axes: a cursor to drag, shaded windows, a crosshair that reads values, export by context menu.

Wheel zooms, drag pans, double-click shows everything again.  A curve that grows is cut to a bounded number of points
by thinning its older half.
"""

from __future__ import annotations

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QEvent, QPointF, Qt, Signal, Slot
from PySide6.QtGui import QAction, QColor, QGuiApplication, QPainter
from PySide6.QtWidgets import QGraphicsItem, QLabel, QMenu, QVBoxLayout, QWidget

from app import theme
from app.protocol.payloads import Curve
from app.widgets.plot_style import style_axes

MOST_POINTS = 5000
_DENSE = 300
"""More points than this make a thinner line: many steps within a pixel look as thick as they are, and cost several times as much."""
_REGION_ALPHA = 22
_LANE = 0.13  # share of the height by which each window ends below the one before, so that all names can be read
_LEGEND, _LINE = 8, 18  # px: the legend from the corner, and the height of a window's name
_CACHED = QGraphicsItem.CacheMode.DeviceCoordinateCache


class Window(pg.LinearRegionItem):
    """A shaded and outlined part of the x axis, its name in the upper corner at its end; ``lane`` counts from the top."""

    def __init__(self, ends: tuple[float, float], name: str, ink: QColor, lane: int) -> None:
        shade = QColor(ink)
        shade.setAlpha(_REGION_ALPHA)
        top = max(1 - lane * _LANE, _LANE)
        super().__init__(ends, movable=False, brush=shade, pen=pg.mkPen(None), span=(0, top))
        self.outline = pg.mkPen(ink, width=1)
        self.setZValue(-10)
        self.setCacheMode(_CACHED)
        self.label = pg.InfLineLabel(self.lines[1], name, position=1.0, anchors=[(0, 0), (1, 0)], color=theme.tokens().text)
        self.label.setFont(theme.font(theme.LEAST))

    def paint(self, painter: QPainter, *_style: object) -> None:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        painter.setBrush(self.currentBrush)
        painter.setPen(self.outline)
        painter.drawRect(self.boundingRect())


class Axis(pg.AxisItem):
    """A true minus; where it is logarithmic, only 1, 2 and 5 times a power of ten are named, so that names stay apart."""

    def tickStrings(self, values: list[float], scale: float, spacing: float) -> list[str]:
        return [text.replace("-", "−") for text in super().tickStrings(values, scale, spacing)]

    def logTickStrings(self, values: list[float], scale: float, spacing: float) -> list[str]:
        return [_decimal(10**value) if round(10 ** (value % 1), 2) in (1, 2, 5, 10) else "" for value in values]


class Mark(pg.InfiniteLine):
    """A line over the curves: where it stands is no reason for the view to find its range, and paint itself, anew."""

    def informViewBoundsChanged(self) -> None: ...


class CurveView(QWidget):
    """One plot; curves are told apart by a key."""

    cursor_moved = Signal(float)
    save_requested = Signal(str, object)

    def __init__(
        self, parent: QWidget | None = None, *, x_label: str = "", y_label: str = "", x_unit: str = "", y_unit: str = ""
    ) -> None:
        super().__init__(parent)
        theme.configure_plots()
        self._curves: dict[str, Curve] = {}
        self._looks: dict[str, tuple[int, bool]] = {}
        self._items: dict[str, pg.PlotDataItem] = {}
        self._regions: list[tuple[float, float, str, int]] = []
        self._region_items: list[Window] = []
        self._log = (False, False)
        self._legend_wanted = True
        self._words = (_with_unit(x_label, x_unit), _with_unit(y_label, y_unit))
        self._plot = pg.PlotWidget(axisItems={side: Axis(side) for side in ("left", "bottom")})
        self._plot.setMenuEnabled(False)
        self._plot.hideButtons()
        self._legend = self._plot.addLegend(offset=(-_LEGEND, _LEGEND))
        self._cursor = Mark(angle=90, movable=True)
        self._cursor.hide()
        self._cursor.sigDragged.connect(self._on_cursor_dragged)
        self._cross = Mark(angle=90)
        self._cross.hide()
        self._plot.addItem(self._cursor, ignoreBounds=True)
        self._plot.addItem(self._cross, ignoreBounds=True)
        self._readout = QLabel(self._plot, visible=False)
        self._readout.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._plot)
        self._plot.scene().sigMouseMoved.connect(self._on_mouse_moved)
        self._plot.scene().sigMouseClicked.connect(self._on_mouse_clicked)
        self._plot.viewport().installEventFilter(self)
        self.setMinimumSize(160, 120)
        self._add_actions()
        theme.notifier().changed.connect(self._restyle)
        self._keep_axes(False)
        self._restyle()
        self._describe()

    # content ---------------------------------------------------------------------------------------------------

    def set_labels(self, x: str, y: str, x_unit: str = "", y_unit: str = "") -> None:
        """Name the axes, with units."""
        self._words = (_with_unit(x, x_unit), _with_unit(y, y_unit))
        self._restyle()
        self._describe()

    def set_curve(self, key: str, curve: Curve, *, colour: int | None = None, dashed: bool = False) -> None:
        """Draw or replace a curve; ``colour`` is an index of the data set, by default the next free one."""
        if colour is None:
            colour = self._looks[key][0] if key in self._looks else len(self._looks)
        if self._curves.get(key) == curve and self._looks[key] == (colour, dashed):
            return  # it stands there already, and drawing it again costs the window half a frame
        self._curves[key] = curve
        self._looks[key] = (colour, dashed)
        if self._words == ("", "") and (curve.x_label or curve.y_label):
            self.set_labels(curve.x_label, curve.y_label)
        if key not in self._items:
            self._keep_axes(True)
            self._items[key] = item = self._plot.plot([], [], name=curve.label or key)
            item.curve.setCacheMode(_CACHED)
            item.scatter.setCacheMode(_CACHED)
        self._items[key].setData(*drawable(curve, self._log), connect="finite")
        self._style_curve(key)
        self._legend.setVisible(self._legend_wanted and len(self._items) > 1)

    def append(self, key: str, x: float, y: float, max_points: int = MOST_POINTS) -> None:
        """Add a point to a curve; beyond ``max_points`` the older half keeps every second point."""
        old = self._curves.get(key)
        xs = np.append(old.x, x) if old is not None else np.array([x])
        ys = np.append(old.y, y) if old is not None else np.array([y])
        if len(xs) > max_points:
            half = len(xs) // 2
            xs, ys = (np.concatenate([values[:half:2], values[half:]]) for values in (xs, ys))
        label = old.label if old is not None else key
        dashed = self._looks.get(key, (0, False))[1]
        self.set_curve(key, Curve(xs, ys, label=label), dashed=dashed)

    def remove(self, key: str) -> None:
        """Take a curve away."""
        item = self._items.pop(key, None)
        if item is not None:
            self._plot.removeItem(item)
            del self._curves[key], self._looks[key]
            self._keep_axes(bool(self._items))
        self._legend.setVisible(self._legend_wanted and len(self._items) > 1)

    def _keep_axes(self, kept: bool) -> None:
        """A cursor that moves takes along pictures of all that stands still; an empty plot has no numbers, and nothing worth keeping."""
        for side in ("left", "bottom"):
            axis = self._plot.getAxis(side)
            axis.setStyle(showValues=kept)
            if (axis.cacheMode() == _CACHED) != kept:
                axis.setCacheMode(_CACHED if kept else QGraphicsItem.CacheMode.NoCache)

    def clear(self) -> None:
        """Take all curves, windows and the cursor away."""
        for key in list(self._items):
            self.remove(key)
        self.set_regions([])
        self.set_cursor(None)

    def set_legend_shown(self, shown: bool) -> None:
        """Whether a legend stands over the curves when there are several; a `ColourKey` can stand beside the plot instead."""
        self._legend_wanted = shown
        self._legend.setVisible(shown and len(self._items) > 1)

    def link_x(self, other: CurveView | None) -> None:
        """Show the same part of the x axis as another plot, or a part of its own again."""
        self._plot.setXLink(other._plot if other is not None else None)

    def curves(self) -> dict[str, Curve]:
        """What is drawn, by key."""
        return dict(self._curves)

    def set_cursor(self, x: float | None) -> None:
        """Put the cursor at ``x`` (or take it away); tells nobody."""
        self._cursor.setVisible(x is not None)
        if x is not None:
            self._cursor.setValue(self._to_axis(x))

    def cursor_at(self) -> float | None:
        """Where the cursor stands."""
        return self._from_axis(self._cursor.value()) if self._cursor.isVisible() else None

    def set_regions(self, regions: list[tuple[float, float, str, int]]) -> None:
        """Shade windows on the x axis: (from, to, name, data colour index)."""
        if list(regions) != self._regions:
            self._regions = list(regions)
            self._draw_regions()

    def _draw_regions(self) -> None:
        for item in self._region_items:
            self._plot.removeItem(item)
        self._region_items = []
        for lane, (x0, x1, name, colour) in enumerate(self._regions):
            window = Window((self._to_axis(x0), self._to_axis(x1)), name, theme.data_colour(colour), lane)
            self._plot.addItem(window, ignoreBounds=True)
            self._region_items.append(window)
        self._legend.setOffset((-_LEGEND, _LEGEND + len(self._regions) * _LINE))

    def set_log(self, x: bool = False, y: bool = False) -> None:
        """Logarithmic axes."""
        cursor = self.cursor_at()
        self._redraw((self._log[0] or x, self._log[1] or y))  # a logarithm of what has none would spoil the range
        self._log = (x, y)
        self._plot.setLogMode(x=x, y=y)
        self._redraw(self._log)
        self._log_action.setChecked(y)
        self._draw_regions()
        self.set_cursor(cursor)

    def _redraw(self, log: tuple[bool, bool]) -> None:
        for key, item in self._items.items():
            item.setData(*drawable(self._curves[key], log), connect="finite")

    @Slot()
    def reset_view(self) -> None:
        """Show everything again."""
        self._plot.getPlotItem().enableAutoRange()

    def csv(self) -> str:
        """The curves as text: key, x, y."""
        rows = ["curve,x,y"]
        for key, curve in self._curves.items():
            rows += [f"{key},{x:.9g},{y:.9g}" for x, y in zip(curve.x, curve.y, strict=True)]
        return "\n".join(rows) + "\n"

    # looks -----------------------------------------------------------------------------------------------------

    @Slot()
    def _restyle(self) -> None:
        tokens = theme.tokens()
        style_axes(self._plot, self._words)
        self._cursor.setPen(pg.mkPen(tokens.accent, width=2))
        self._cursor.setHoverPen(pg.mkPen(tokens.accent, width=4))
        self._cross.setPen(pg.mkPen(tokens.muted, style=Qt.PenStyle.DotLine))
        self._legend.setLabelTextColor(tokens.text)
        for _sample, label in self._legend.items:
            label.setText(label.text)  # pyqtgraph colours words when they are set
        self._readout.setStyleSheet(
            f"background: {tokens.raised}; color: {tokens.text}; padding: 2px 6px; border-radius: 4px;"
            f"font-size: {theme.LEAST}px;"
        )
        for key in self._items:
            self._style_curve(key)
        self._draw_regions()

    def _style_curve(self, key: str) -> None:
        colour, dashed = self._looks[key]
        style = Qt.PenStyle.DashLine if dashed else Qt.PenStyle.SolidLine
        ink = theme.data_colour(colour)
        item, points = self._items[key], len(self._curves[key].x)
        item.setPen(pg.mkPen(ink, width=2 if points <= _DENSE else 1, style=style))
        item.curve.setSegmentedLineMode("off" if dashed else "on")  # one long path is merged with itself first: five times the time
        item.setSymbol("o" if points <= 60 else None)
        item.setSymbolSize(5)
        item.setSymbolBrush(ink)
        item.setSymbolPen(None)

    def _describe(self) -> None:
        x, y = self._words
        self.setAccessibleName(f"Plot of {y} over {x}" if y else "Plot")
        self._plot.setToolTip("Wheel zooms, drag moves, double-click shows everything, right click saves.")

    def _to_axis(self, x: float) -> float:
        return float(np.log10(max(x, 1e-12))) if self._log[0] else float(x)

    def _from_axis(self, x: float) -> float:
        return float(10**x) if self._log[0] else float(x)

    # mouse -----------------------------------------------------------------------------------------------------

    def eventFilter(self, watched, event: QEvent) -> bool:
        if event.type() == QEvent.Type.MouseButtonDblClick:
            self.reset_view()
            return True
        if event.type() == QEvent.Type.Leave:
            self._cross.hide()
            self._readout.hide()
        return super().eventFilter(watched, event)

    @Slot()
    def _on_cursor_dragged(self) -> None:
        self.cursor_moved.emit(self._from_axis(self._cursor.value()))

    @Slot(object)
    def _on_mouse_clicked(self, event) -> None:
        if event.button() == Qt.MouseButton.LeftButton and self._cursor.isVisible() and not event.double():
            at = self._plot.getPlotItem().vb.mapSceneToView(event.scenePos()).x()
            self._cursor.setValue(at)
            self.cursor_moved.emit(self._from_axis(at))

    @Slot(object)
    def _on_mouse_moved(self, position: QPointF) -> None:
        box = self._plot.getPlotItem().vb
        inside = bool(self._curves) and box.sceneBoundingRect().contains(position)
        self._cross.setVisible(inside)
        self._readout.setVisible(inside)
        if inside:
            at = self._nearest_x(self._from_axis(box.mapSceneToView(position).x()))
            self._cross.setValue(self._to_axis(at))
            self._readout.setText(self.readout(at))
            self._readout.adjustSize()
            self._readout.move(int(box.sceneBoundingRect().left()) + 8, 6)

    def _nearest_x(self, x: float) -> float:
        every = np.concatenate([curve.x for curve in self._curves.values()])
        return float(every[np.argmin(np.abs(every - x))]) if len(every) else x

    def readout(self, x: float) -> str:
        """The values of all curves at ``x`` (the nearest point of each), in words."""
        parts = [f"{self._words[0] or 'x'} {x:.5g}"]
        for key, curve in self._curves.items():
            if len(curve.x):
                y = curve.y[np.argmin(np.abs(curve.x - x))]
                name = (self._words[1] or key) if len(self._curves) == 1 else (curve.label or key)
                parts.append(f"{name} {y:.4g}")
        return "   ".join(parts)

    # menu ------------------------------------------------------------------------------------------------------

    def _add_actions(self) -> None:
        for text, slot in (
            ("Show everything", self.reset_view),
            ("Copy picture", self._on_copy),
            ("Copy numbers (CSV)", self._on_copy_numbers),
            ("Save picture …", self._on_save_picture),
            ("Save numbers (CSV) …", self._on_save_numbers),
        ):
            action = QAction(text, self)
            action.triggered.connect(slot)
            self.addAction(action)
        self._log_action = QAction("Logarithmic y axis", self, checkable=True)
        self._log_action.triggered.connect(self._on_log)
        self.addAction(self._log_action)

    def contextMenuEvent(self, event) -> None:
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.addActions(self.actions())
        menu.popup(event.globalPos())

    @Slot(bool)
    def _on_log(self, on: bool) -> None:
        self.set_log(self._log[0], on)

    @Slot()
    def _on_copy(self) -> None:
        QGuiApplication.clipboard().setPixmap(self._plot.grab())

    @Slot()
    def _on_copy_numbers(self) -> None:
        QGuiApplication.clipboard().setText(self.csv())

    @Slot()
    def _on_save_picture(self) -> None:
        self.save_requested.emit("png", self._plot.grab().toImage())

    @Slot()
    def _on_save_numbers(self) -> None:
        self.save_requested.emit("csv", self.csv())


def _decimal(value: float) -> str:
    """20, 0.05, 1e-04: a number of one figure, short."""
    if not 1e-3 < value < 1e5:
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    return f"{value:.3g}" if value < 1 else f"{value:.0f}"


def _with_unit(label: str, unit: str) -> str:
    return f"{label} ({unit})" if unit else label


def drawable(curve: Curve, log: tuple[bool, bool]) -> tuple[np.ndarray, np.ndarray]:
    """The points that have a place (a number, above 0 on a logarithmic axis); between them nan where there is none: the line breaks."""
    x, y = np.asarray(curve.x, float), np.asarray(curve.y, float)
    there, good = (np.isfinite(values) & ((values > 0) | (not logarithmic)) for values, logarithmic in zip((x, y), log, strict=True))
    x, y = x[there], np.where(good, y, np.nan)[there]
    known = np.flatnonzero(np.isfinite(y))
    return (x[known[0] : known[-1] + 1], y[known[0] : known[-1] + 1]) if len(known) else (x[:0], y[:0])
