"""The panel of derivatives: drag a point and a direction over contours and surface, and see partials, gradient, slope and tangent plane."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
from PySide6.QtCore import Qt, QTimer, Slot
from PySide6.QtWidgets import QSplitter, QVBoxLayout, QWidget

from app.jobs.derivatives import Gradient
from app.panels.base import INSPECTOR_WIDTH, Panel, Scene
from app.panels.derivatives import scenes
from app.panels.derivatives.form import Form
from app.panels.derivatives.plots import CENTRAL, SECANT, SLICE, TANGENT, Plots
from app.panels.derivatives.words import SHOWS, WATCH, formulas, note, rows_of
from app.panels.replay import Replay
from app.protocol.derivatives import Rise, Surface
from app.protocol.errors import UserError
from app.protocol.job import job_from_dict, job_to_dict
from app.protocol.payloads import Result
from app.widgets.colour_key import ColourKey, Entry
from app.widgets.inspector import Inspector
from app.widgets.plane_stage import PlaneStage
from app.widgets.surface_view import Line, SurfaceView
from app.widgets.transport import Transport

ASK_MS, PACE_MS, LEVELS = 40, 250, 15
POINT, HEAD = "p", "u"
DIGITS = 3
"""Of the reach: as fine as a dragged point is written."""
GRADIENT, LEVEL = 4, 2
"""Data colours of the gradient and of the level curve."""
KEY = (
    Entry("along u", SLICE), Entry("∇f", GRADIENT), Entry("level curve", LEVEL), Entry("tangent", TANGENT),
    Entry("secant over h", SECANT, True), Entry("central difference", CENTRAL),
)  # fmt: skip


class DerivativesPanel(Panel):
    """Joins form, stage, surface and plots."""

    panel_id = "derivatives"
    title = "Slopes"

    def __init__(self, engine: Any, settings: Any, parent: Any = None) -> None:
        super().__init__(engine, settings, parent)
        self.form, self.plots, self.transport, self.inspector = Form(), Plots(), Transport(noun="secant"), Inspector()
        self.stage, self.view = PlaneStage("Contours"), SurfaceView("Surface", empty="Type a function of x and y.")
        self.replay, self.handle = Replay(self, PACE_MS), None
        self.surface: Surface | None = None
        self.rise: Rise | None = None
        self.inspector.setMinimumWidth(INSPECTOR_WIDTH)
        upper, split, under = QSplitter(Qt.Orientation.Horizontal), QSplitter(Qt.Orientation.Vertical), QWidget()
        for widget in (self.stage, self.view):
            upper.addWidget(widget)
        self.key, column = ColourKey(), QVBoxLayout(under)
        self.key.set_entries(KEY)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.key)
        column.addWidget(self.plots, 1)
        for widget in (upper, under):
            split.addWidget(widget)
        split.setSizes([430, 220])
        self.arrange(self.form, split, self.transport, self.inspector)
        self._ask = QTimer(self, singleShot=True, interval=ASK_MS)
        self.form.changed.connect(self._on_changed)
        self._ask.timeout.connect(self.run)
        self.stage.handle_moved.connect(self._on_dragged)
        self.replay.moved.connect(self.show_secant)
        for name in ("first", "previous", "play", "pause", "next", "last", "stop"):
            getattr(self.transport, name).connect(partial(self._on_key, name))
        self.transport.install_keys(self)
        for plot in (self.plots.slice, self.plots.turn, self.plots.secants):
            plot.save_requested.connect(self.save_plot)

    # running -------------------------------------------------------------------------------------------------------

    @Slot()
    def run(self) -> None:
        """Compute what is set; a computation on its way gives place."""
        try:
            job = self.form.job()
        except UserError as error:
            self.show_error(error)
            return
        self.handle = self.engine.submit(job, key="derivatives/run", policy="replace")
        self.handle.record.connect(self._on_record)
        self.handle.done.connect(self._on_done)
        self.handle.failed.connect(self._on_failed)

    @Slot()
    def _on_changed(self) -> None:
        self.touch()
        self._ask.start()

    @Slot(str, float, float)
    def _on_dragged(self, name: str, x: float, y: float) -> None:
        digits = max(2, DIGITS - 1 - math.floor(math.log10(self.form.reach.value())))
        if name == POINT:
            self.form.centre = () if self.surface is None else self.surface.centre  # else the square would move with the pointer
            self.form.put(point=(f"{x:.{digits}f}", f"{y:.{digits}f}"))
        elif self.rise is not None:
            self.form.put(direction=tuple(f"{a - b:.{digits}f}" for a, b in zip((x, y), self.rise.point)))
        self._on_changed()

    @Slot(str, object)
    def _on_record(self, channel: str, payload: Any) -> None:
        if self.sender() is self.handle:
            setattr(self, channel, payload)

    @Slot(object)
    def _on_done(self, _result: Result) -> None:
        self.banner.hide()
        self._show_surface()
        self._show_rise()

    @Slot(object)
    def _on_failed(self, report: Any) -> None:
        self.show_error(report)

    # showing -------------------------------------------------------------------------------------------------------

    def _show_surface(self) -> None:
        land = self.surface
        values = land.values if land.cut is None else np.clip(land.values, *land.cut)
        known = values[np.isfinite(values)]
        self.stage.set_span(land.reach, land.centre)
        self.stage.set_title(f"f(x, y) = {land.formula}")
        self.stage.set_contours(values, np.linspace(known.min(), known.max(), LEVELS + 2)[1:-1] if known.size else np.zeros(1))
        self.view.set_surface(values, land.centre, land.reach, note(land) or "Drag to turn")

    def _show_rise(self) -> None:
        rise, reach = self.rise, self.surface.reach
        point, unit = np.array(rise.point), np.array(rise.unit)
        arrow = 0.45 * reach
        self.stage.set_handles({POINT: tuple(point), HEAD: tuple(point + arrow * unit)})
        paths, inks = [np.stack([point, point + arrow * unit])], [SLICE]
        if rise.gradient is not None and rise.steepest:
            paths.append(np.stack([point, point + arrow * np.array(rise.gradient) / rise.steepest]))
            inks.append(GRADIENT)
        if len(rise.level):
            paths.append(rise.level)
            inks.append(LEVEL)
        self.stage.set_paths(paths, inks)
        self.plots.show_rise(rise, self.surface.cut)
        self.form.worked.setText("\n\n".join(rise.worked))
        self.replay.reset(len(rise.secant_step), self.replay.index if self.replay.count else 1)
        self.show_secant()

    def _lines(self) -> list[Line]:
        """The slice, the point, and the level curve on the surface."""
        rise = self.rise
        along = np.array(rise.point) + rise.slice_at[:, None] * np.array(rise.unit)
        inside = np.abs(along - self.surface.centre).max(1) <= self.surface.reach
        heights = rise.slice_height if self.surface.cut is None else np.clip(rise.slice_height, *self.surface.cut)
        lines = [Line(np.column_stack([along[inside], heights[inside]]), SLICE)]
        if len(rise.level):
            lines.append(Line(np.column_stack([rise.level, np.full(len(rise.level), rise.value)]), LEVEL))
        h, slope = (values[max(self.replay.index - 1, 0)] for values in (rise.secant_step, rise.secant_slope))
        ends = np.array([[*rise.point, rise.value], [*(np.array(rise.point) + h * np.array(rise.unit)), rise.value + h * slope]])
        return [*lines, Line(ends, SECANT, dots=True)]

    @Slot()
    def show_secant(self) -> None:
        """All that depends on h."""
        rise = self.rise
        if rise is None or not self.replay.count:
            return
        number, count = max(self.replay.index - 1, 0), self.replay.count
        self.plots.show_secant(rise, number)
        self.view.set_lines(self._lines())
        self.view.set_plane(self._plane())
        bar = self.transport
        bar.set_state(self.replay.state)
        bar.set_can(back=number > 0, forward=number < count - 1)
        bar.set_position(number + 1, count, f"h {rise.secant_step[number]:.2g}   slope {rise.secant_slope[number]:.6g}")
        shows = SHOWS.get(self.form.gallery.currentText(), "")
        self.inspector.set_content("Directional derivative", rows_of(rise, number), formulas(rise, number), f"{shows} {WATCH}".strip())

    def _plane(self) -> np.ndarray | None:
        """Corners of the tangent plane around the point; None where f is not smooth."""
        rise = self.rise
        if rise.gradient is None:
            return None
        half = 0.4 * self.surface.reach
        corners = half * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
        return np.column_stack([corners + rise.point, rise.value + corners @ np.array(rise.gradient)])

    def _on_key(self, name: str) -> None:
        getattr(self.replay, {"next": "forward"}.get(name, name))()

    # hooks ---------------------------------------------------------------------------------------------------------

    def ready(self) -> None:
        self.run()

    def save_state(self) -> dict:
        return job_to_dict(self.form.job())

    def restore_state(self, state: dict) -> None:
        job, _warnings = job_from_dict(Gradient, state)
        self.form.set_job(job)

    def screenshot_scenes(self) -> list[Scene]:
        return scenes.SCENES

    def key_help(self) -> list[tuple[str, str]]:
        return [("Drag p, u", "Move the point, turn the direction"), ("Drag the surface, Shift+arrows", "Turn it")]
