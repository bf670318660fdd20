"""A policy and its values over the states: a plane of two numbers, or the cells of a grid world; with the agent's trail on it.

Three layers: values and advantages as heat maps with their scale, the policy as regions (numbered actions) or a signed map (real ones).
"""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Slot
from PySide6.QtGui import QImage, QKeyEvent, QPainter, QPaintEvent, QPen, QPixmap
from PySide6.QtWidgets import QSizePolicy, QWidget

from app import theme
from app.protocol.rl import AgentFrame, GridView, PlaneView
from app.widgets import plane_layers as plane
from app.widgets.agents import grid_cells
from app.widgets.agents.portraits import is_grid, place_on_plane
from app.widgets.chart_frame import ChartFrame, lines_of, paint_caption, paint_empty, paint_scale
from app.widgets.colour_scale import ColourScale
from app.widgets.turns import in_turn

STRIP, LINE, LONGEST_TRAIL = 20, 15, 500
NARROW = 440
"""Width below which the meaning of the arrows moves from the scale into the caption."""
EMPTY = "Values and policy over the states appear here for CartPole, Pendulum, the mountain car and grid worlds."


class PlaneMap(QWidget):
    """Shows one view."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._view: PlaneView | GridView | None = None
        self._layer, self._arrows, self._empty = "value", True, EMPTY
        self._picture, self._scale = QImage(), ColourScale()
        self._base: QPixmap | None = None
        self._trail: list[tuple[float, float]] = []
        self._env, self._last_step = "", -1
        self._pointer: QPointF | None = None
        self.setMinimumSize(220, 200)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setAccessibleName("Values and policy")
        self.setToolTip("Point at a state to read it. Keys: V values, A advantages, P policy, R arrows.")
        theme.notifier().changed.connect(self._colour)

    # content -------------------------------------------------------------------------------------------------------

    def show_view(self, view: PlaneView | GridView) -> None:
        """Another moment of the policy."""
        if isinstance(view, GridView) != isinstance(self._view, GridView) or not self._same_place(view):
            self._trail = []
        self._view = view
        if view.here is not None and not self._trail:
            self._trail = [view.here]
        self._colour()

    def _same_place(self, view: PlaneView | GridView) -> bool:
        old = self._view
        if isinstance(view, GridView) or isinstance(old, GridView) or old is None:
            return True
        return (old.x_name, old.x_range, old.y_range) == (view.x_name, view.x_range, view.y_range)

    def set_layer(self, layer: str) -> None:
        """One of "value", "advantage", "action"; what a view does not hold falls back to "value"."""
        if layer not in plane.LAYERS:
            raise ValueError(f"a layer is one of {plane.LAYERS}, not {layer!r}")
        self._layer = layer
        self._colour()

    def set_arrows(self, shown: bool) -> None:
        """Whether the policy stands as arrows over the map."""
        self._arrows = shown
        self._renew()

    def follow(self, frame: AgentFrame) -> None:
        """The agent has moved; its trail begins anew with each episode."""
        facts = dict(frame.facts)
        at = (facts["row"], facts["column"]) if is_grid(frame.env) and "row" in facts else place_on_plane(frame)
        if frame.env != self._env or frame.step < self._last_step:
            self._trail = []
        self._env, self._last_step = frame.env, frame.step
        if at is not None:
            self._trail = [*self._trail[1 - LONGEST_TRAIL :], at]
            in_turn(self)

    def clear(self, words: str = "") -> None:
        """Show no view, but words about what will appear."""
        self._view, self._trail, self._empty = None, [], words or self._empty
        self._renew()

    def layers(self) -> tuple[str, ...]:
        """Which layers the view holds."""
        return plane.layers_of(self._view)

    @property
    def layer(self) -> str:
        """The layer on show."""
        return self._layer if self._layer in self.layers() else "value"

    @property
    def trail(self) -> list[tuple[float, float]]:
        """Where the agent has been in this episode."""
        return list(self._trail)

    def readout(self) -> str:
        """The state under the pointer in words."""
        if self._view is None or self._pointer is None:
            return ""
        if isinstance(self._view, GridView):
            cell = self._cells().under(self._pointer)
            return grid_cells.cell_words(self._view, *cell) if cell else ""
        at = self.frame().under(self._pointer)
        return plane.words_at(self._view, *at) if at else ""

    def caption(self) -> str:
        """What is shown, in words."""
        view = self._view
        if view is None:
            return ""
        if isinstance(view, GridView):
            return f"after {view.timesteps:,} steps; arrows: probability of each move"
        what = {"value": view.value_name, "advantage": view.advantage_name or "advantage", "action": "best action"}[self.layer]
        arrows = f"; {self._arrow_words()}" if self.width() < NARROW and self._arrow_words() else ""
        return f"{what}, after {view.timesteps:,} steps" + (f"; {view.fixed}" if view.fixed else "") + arrows

    def _arrow_words(self) -> str:
        return plane.arrow_words(self._view) if self._arrows and self.layer != "action" else ""

    def foot(self) -> int:
        """Height of the caption."""
        return lines_of(self.caption(), self.width() - 16, 3 if self.height() > 240 else 1) * LINE + 5

    # places --------------------------------------------------------------------------------------------------------

    def frame(self) -> ChartFrame:
        """The axes of a plane."""
        room = QRectF(0, STRIP, self.width(), self.height() - STRIP - self.foot())
        return ChartFrame.within(room, self._view.x_range, self._view.y_range)

    def _cells(self) -> grid_cells.Cells:
        view = self._view
        return grid_cells.Cells.within(self._grid_place(), len(view.rows), len(view.rows[0]))

    def _grid_place(self) -> QRectF:
        return QRectF(8, STRIP + 8, self.width() - 16, self.height() - STRIP - self.foot() - 14)

    def sizeHint(self) -> QSize:
        return QSize(420, 360)

    # painting ------------------------------------------------------------------------------------------------------

    @Slot()
    def _colour(self) -> None:
        if isinstance(self._view, PlaneView):
            self._picture = plane.picture_of(self._view, self.layer)
            self._scale = plane.scale_of(self._view, self.layer)
        elif self._view is not None:
            self._scale = grid_cells.value_scale(self._view)
        self._renew()

    def _renew(self) -> None:
        self._base = None
        self.setAccessibleDescription(self.caption() or self._empty)
        in_turn(self)

    def resizeEvent(self, event) -> None:
        super().resizeEvent(event)
        self._renew()

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        if self._base is None:
            self._base = self._paint_base()
        painter.drawPixmap(0, 0, self._base)
        if self._view is None:
            return
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if isinstance(self._view, GridView):
            if self._trail:
                grid_cells.paint_agent(painter, self._cells(), *self._trail[-1])
        else:
            frame = self.frame()
            painter.setClipRect(frame.place)
            plane.paint_trail(painter, frame, self._trail, self._view.circular)
            painter.setClipping(False)
        strip = QRectF(0, self.height() - self.foot(), self.width(), self.foot())
        paint_caption(painter, strip, self.readout(), self.caption(), (self.foot() - 5) // LINE)
        if self.hasFocus():
            painter.setPen(QPen(theme.colour("focus"), 2))
            painter.drawRect(self.rect().adjusted(1, 1, -1, -1))

    def _paint_base(self) -> QPixmap:
        """All that stands still while the agent moves."""
        ratio = self.devicePixelRatioF()
        base = QPixmap(self.size() * ratio)
        base.setDevicePixelRatio(ratio)
        base.fill(theme.colour("surface"))
        painter = QPainter(base)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self._view is None:
            paint_empty(painter, QRectF(self.rect()), self._empty)
        elif isinstance(self._view, GridView):
            grid_cells.paint_world(painter, self._grid_place(), self._view, None, by_action=self.layer == "action")
            self._paint_legend(painter, self._view.action_names if self.layer == "action" else ())
        else:
            self._paint_plane(painter, self._view)
        painter.end()
        return base

    def _paint_plane(self, painter: QPainter, view: PlaneView) -> None:
        frame = self.frame()
        painter.save()
        painter.setClipRect(frame.place)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, False)
        painter.drawImage(plane.target_of(frame, len(view.value)), self._picture)
        if self._arrows and self.layer != "action":
            plane.paint_arrows(painter, frame, view, self._picture)
        painter.restore()
        frame.paint_axes(painter, view.x_name, view.y_name)
        self._paint_legend(painter, view.action_names if self.layer == "action" and view.certainty is not None else ())

    def _paint_legend(self, painter: QPainter, names: tuple[str, ...]) -> None:
        """Names of the actions with their colours, or the scale of the numbers."""
        if not names:
            kind = "diverging" if self._scale.signed else "viridis"
            if self.width() < NARROW:
                paint_scale(painter, self._scale, 8, 4, f"{self.layer} ({kind})", width=50)
            else:
                paint_scale(painter, self._scale, 8, 4, f"{self.layer} ({kind}, linear)   {self._arrow_words()}")
            return
        painter.setFont(theme.font(theme.LEAST))
        x = 8.0
        for number, name in enumerate(names):
            painter.fillRect(QRectF(x, 6, 12, 10), plane.action_colour(number))
            painter.setPen(theme.colour("text"))
            painter.drawText(QPointF(x + 17, 15), name)
            x += 17 + painter.fontMetrics().horizontalAdvance(name) + 14
        painter.setPen(theme.colour("muted"))
        painter.drawText(QPointF(x, 15), "faded: less certain")

    # mouse and keys ------------------------------------------------------------------------------------------------

    def mouseMoveEvent(self, event) -> None:
        self._pointer = event.position()
        self.update()

    def leaveEvent(self, event) -> None:
        super().leaveEvent(event)
        self._pointer = None
        self.update()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        layer = {Qt.Key.Key_V: "value", Qt.Key.Key_A: "advantage", Qt.Key.Key_P: "action"}.get(Qt.Key(event.key()))
        if layer is not None and layer in self.layers():
            self.set_layer(layer)
        elif event.key() == Qt.Key.Key_R:
            self.set_arrows(not self._arrows)
        else:
            super().keyPressEvent(event)
