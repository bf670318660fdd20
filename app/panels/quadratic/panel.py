"""The panel of descents: a landscape with paths on it, heights over steps beside what theory promises, and the step in numbers."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from PySide6.QtCore import Qt, QTimer, Slot
from PySide6.QtWidgets import QSplitter, QVBoxLayout, QWidget

from app.jobs.quadratic import Quadratic
from app.panels.base import INSPECTOR_WIDTH, Panel, Scene
from app.panels.quadratic import ellipse, scenes, words
from app.panels.quadratic.form import Form
from app.panels.quadratic.words import COLOURS
from app.panels.replay import Replay
from app.protocol.errors import UserError
from app.protocol.job import job_from_dict, job_to_dict
from app.protocol.payloads import Curve, Result
from app.protocol.quadratic import DescentPath, Landscape
from app.widgets.colour_key import ColourKey, Entry
from app.widgets.curve_view import CurveView
from app.widgets.inspector import Inspector
from app.widgets.plane_stage import PlaneStage
from app.widgets.transport import Transport

ASK_MS, PACE_MS = 40, 250
LEVELS = 14
FLOOR = 1e-16
"""Of the first height: below it heights are rounding, and are drawn there."""
START = "start"


class QuadraticPanel(Panel):
    """Joins form, stage, plot and timeline."""

    panel_id = "quadratic"
    title = "Descent"

    def __init__(self, engine: Any, settings: Any, parent: Any = None) -> None:
        super().__init__(engine, settings, parent)
        self.form, self.stage, self.transport, self.inspector = Form(), PlaneStage("Landscape", empty=words.EMPTY), Transport(), Inspector()
        self.heights = CurveView(x_label="step", y_label="f − f*")
        self.heights.setToolTip("Height above the minimum; what is below 1e-16 of the first is rounding and is drawn there")
        self.heights.set_log(y=True)
        self.replay, self.handle = Replay(self, PACE_MS), None
        self.land: Landscape | None = None
        self._about = ""
        """What the preset on show is there for."""
        self._level = 1.0
        """Height above the lowest point of the ellipse whose axes are dragged."""
        self.paths: dict[str, DescentPath] = {}
        self.facts: dict[str, Any] = {}
        self.inspector.setMinimumWidth(INSPECTOR_WIDTH)
        self.heights.set_legend_shown(False)
        self.key, plots, split = ColourKey(), QWidget(), QSplitter(Qt.Orientation.Vertical)
        under = QVBoxLayout(plots)
        under.setContentsMargins(0, 0, 0, 0)
        under.setSpacing(0)
        for widget in (self.key, self.heights):
            under.addWidget(widget)
        for widget in (self.stage, plots):
            split.addWidget(widget)
        split.setSizes([460, 230])
        self.arrange(self.form, split, self.transport, self.inspector)
        self._ask = QTimer(self, singleShot=True, interval=ASK_MS)
        self._connect()

    def _connect(self) -> None:
        for signal, slot in (
            (self.form.changed, self._on_changed), (self.form.invalid, self.show_error), (self._ask.timeout, self.run),
            (self.form.preset_told, self._on_preset), (self.stage.handle_moved, self._on_dragged),
            (self.replay.moved, self.show_step), (self.heights.cursor_moved, self._on_cursor),
            (self.heights.save_requested, self.save_plot),
        ):  # fmt: skip
            signal.connect(slot)
        for name in ("first", "previous", "play", "pause", "next", "last", "stop"):
            getattr(self.transport, name).connect(partial(self._on_key, name))
        self.transport.install_keys(self)

    # running -------------------------------------------------------------------------------------------------------

    @Slot()
    def run(self) -> None:
        """Compute what is set; a computation on its way gives place."""
        try:
            job = self.form.job()
        except UserError as error:
            self.show_error(error)
            return
        self.handle = self.engine.submit(job, key="quadratic/run", policy="replace")
        self.handle.record.connect(self._on_record)
        self.handle.done.connect(self._on_done)
        self.handle.failed.connect(self._on_failed)

    @Slot()
    def _on_changed(self) -> None:
        self._about = ""
        self.touch()
        self._ask.start()

    @Slot(str)
    def _on_preset(self, sentence: str) -> None:
        self._about = sentence

    @Slot(str, float, float)
    def _on_dragged(self, name: str, x: float, y: float) -> None:
        if name == START:
            self.form.start = (round(x, 4), round(y, 4))
            self.form.reach = self.land.reach if self.land is not None else 0.0  # else the scale would run away under the pointer
            self._on_changed()
        elif self.land is not None:
            if not self.form.start and self.paths:  # else the hardest start, and with it the scale, would run away under the pointer
                self.form.start = tuple(next(iter(self.paths.values())).points[0].round(4).tolist())
            size, angle = ellipse.read(name, x, y, self.land.centre, self._level)
            self.form.drag_axis(ellipse.HANDLES.index(name), size, angle)

    @Slot(str, object)
    def _on_record(self, channel: str, payload: Any) -> None:
        if self.sender() is not self.handle:
            return
        if channel == "landscape":
            self.land, self.paths = payload, {}
        elif channel == "path":
            self.paths[payload.name] = payload

    @Slot(object)
    def _on_done(self, result: Result) -> None:
        self.facts = dict(result.facts)
        ran_away = [f"{path.title}: {path.notice}" for path in self.paths.values() if path.notice]
        if ran_away:
            self.show_message("warn", " ".join(ran_away))
        else:
            self.banner.hide()
        self._show_all()

    @Slot(object)
    def _on_failed(self, report: Any) -> None:
        """A landscape without minimum is shown; before there is a new one, the last good one stays."""
        self.show_error(report)
        if not self.paths:
            self.facts = {}
            self._show_all()

    # showing -------------------------------------------------------------------------------------------------------

    def _show_all(self) -> None:
        longest = max((len(path.points) for path in self.paths.values()), default=0)
        stays = self.replay.index if 0 < self.replay.index < self.replay.count else longest
        self.replay.reset(longest, min(stays, longest))
        if self.land is not None:
            side = len(self.land.values)
            self.stage.set_span(self.land.reach * side / (side - 1), self.land.centre)  # its values reach the corners, as middles of cells
            height = np.nanmax(np.abs(self.land.values - self.land.level)) or 1.0
            if self.stage.held not in ellipse.HANDLES:
                self._level = ellipse.level_of(self.form.eigenvalues, self.land.reach)
            rising = np.append(self.land.level + height * (np.arange(1, LEVELS + 1) / LEVELS) ** 2, self.land.level + self._level)
            falling = [] if self.land.definite else self.land.level - height * (np.arange(1, LEVELS + 1) / LEVELS) ** 2
            self.stage.set_contours(self.land.values, np.sort(np.append(rising, falling)))
        for key in set(self.heights.curves()) - {*self.paths, *(f"{name} bound" for name in self.paths)}:
            self.heights.remove(key)
        for name, path in self.paths.items():
            self._show_heights(name, path)
        drawn = [(path.title, COLOURS[name], f"{name} bound" in self.heights.curves()) for name, path in self.paths.items()]
        bounds = [Entry(f"{title}: promised", colour, True) for title, colour, bounded in drawn if bounded]
        self.key.set_entries([*(Entry(title, colour) for title, colour, _ in drawn), *bounds])
        self.show_step()

    def _show_heights(self, name: str, path: DescentPath) -> None:
        steps = np.arange(len(path.points), dtype=float)
        floor = FLOOR * max(float(path.excess[0]), 1e-300)
        self.heights.set_curve(name, Curve(steps, np.maximum(path.excess, floor), label=path.title), colour=COLOURS[name])
        promised = np.isfinite(path.bound) & (path.bound >= floor)
        if promised.any():
            bound = Curve(steps[promised], path.bound[promised], label=f"{path.title}: bound")
            self.heights.set_curve(f"{name} bound", bound, colour=COLOURS[name], dashed=True)
        else:
            self.heights.remove(f"{name} bound")

    @Slot()
    def show_step(self) -> None:
        """All that depends on the step."""
        step, names = max(self.replay.index - 1, 0), list(self.paths)
        flat = len(self.facts.get("eigenvalues", (0, 0))) == 2
        if names or self.land is None or self.land.definite:
            self.stage.set_paths([self.paths[name].points[: step + 1] for name in names], [COLOURS[name] for name in names], dots=True)
            self.stage.set_title("f over the plane; the paths so far" if flat else "f over the axes of the extreme eigenvalues")
        else:
            ways = ellipse.downhill(self.land)
            self.stage.set_paths(ways, [words.FALLING] * len(ways), dots=True)
            self.stage.set_title("No minimum: along the line f never rises again")
        self.stage.set_handles(self._handles() if flat else {})
        self.heights.set_cursor(float(step) if names else None)
        bar, count = self.transport, self.replay.count
        bar.set_state(self.replay.state)
        bar.set_can(back=step > 0, forward=step < count - 1)
        first = self.paths[names[0]] if names else None
        bar.set_position(step, max(count - 1, 0), f"f − f* {words.figure(words.at(first.excess, step))}" if first else "")
        rows = [*words.rows_of(self.facts, first, step), *(words.beside(self.paths[name], step) for name in names[1:])]
        told = [says for name in names if (says := words.formula_of(self.paths[name], step, len(names) > 1))]
        title, watch = first.title if first else "Descent", words.WATCH
        if not names and self.land is not None:
            title, rows, watch = "No minimum", words.rows_of_saddle(self.land, self.form.eigenvalues), words.NO_MINIMUM
        about = f"{self._about}\n\n{watch}" if self._about else watch
        self.inspector.set_content(title, rows, "\n".join([words.EQUATION, *told]), about, "Hestenes and Stiefel 1952; Polyak 1964")

    def _handles(self) -> dict[str, tuple[float, float]]:
        """The start, and the half axes of one level."""
        axes = {}
        if self.land is not None and self.form.flat:
            axes = ellipse.ends(self.form.eigenvalues, self.form.shape["angle"], self.land.centre, self._level, self.land.reach)
        start = tuple(next(iter(self.paths.values())).points[0].tolist()) if self.paths else self.form.start
        if len(start) != 2:
            return axes
        self.form.show_start(start)
        return {**axes, START: start}

    @Slot(float)
    def _on_cursor(self, x: float) -> None:
        self.replay.pause()
        self.replay.go(round(x) + 1)

    def _on_key(self, name: str) -> None:
        getattr(self.replay, {"next": "forward"}.get(name, name))()

    # hooks ---------------------------------------------------------------------------------------------------------

    def ready(self) -> None:
        self.run()

    def save_state(self) -> dict:
        return job_to_dict(self.form.job())

    def restore_state(self, state: dict) -> None:
        job, _warnings = job_from_dict(Quadratic, state)
        self.form.set_job(job)

    def screenshot_scenes(self) -> list[Scene]:
        return scenes.SCENES

    def key_help(self) -> list[tuple[str, str]]:
        drags = [("Drag the start", "Descend from elsewhere"), ("Drag λ₁, λ₂", "Stretch and turn the landscape")]
        return [*drags, ("Wheel, double-click", "Zoom, show all")]
