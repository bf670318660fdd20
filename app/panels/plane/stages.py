"""The hero: one square stage for each lane, the same axes everywhere; switches above them for what lies behind the particles."""

from __future__ import annotations

import math

import numpy as np
from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QCheckBox, QGridLayout, QHBoxLayout, QToolButton, QVBoxLayout, QWidget

from app.panels.plane.lane import Told
from app.panels.plane.words import BUSY, EMPTY, scale_of, title_of
from app.protocol.plane import Particles
from app.widgets.icons import icon
from app.widgets.plane_stage import PlaneStage

MOST_SHOWN = 10_000
"""Particles painted on all stages together."""
PATHS = 40
SECTORS = 4
DRAG = "Drag A and B: at the start of the walk as latents, at its end as data, whose latents are found by inversion (DDIM, eta 0)"
SKETCH = "Draw on the data, then press again: the drawing is carried to the noise by inversion (DDIM with eta 0, or the ODE) and back"
SWITCHES = (
    ("data", "Data", "Held-out points of the data", True),
    ("field", "Field", "The field of this moment as arrows; the longest stand for the largest", True),
    ("density", "Density", "The noised data, or the flow's own density; at the end the method's own, where it has one", True),
    ("paths", "Paths", f"The ways of {PATHS} particles so far", False),
    ("grid", "Grid", "A lattice of the starts, carried along: how the plane is bent", False),
    ("start", "Starts", "Colour particles by the quarter they began in", False),
    ("between", "Between", f"Two latents and a row between them, along the sphere (slerp). {DRAG}", False),
    ("forward", "Forward", "Held-out data with as much noise as this moment has, signal x₀ + noise ε: the way there, at every time", False),
    ("clean", "x₀", "Where the network believes the data points are, from here", False),
    ("parts", "Scores", "What guidance adds up: blue the score without a label, red what is added to it", False),
    ("chords", "Chords", "Straight lines from start to data, as the training pairs them: they cross, the flow does not", False),
)
OFFERED = {"clean": "clean", "parts": "parts", "chords": "chords"}
"""Switches that are there only where a run has told something to show: name -> part of `Told`."""
SECOND = ("between", "forward", "clean", "parts", "chords")
"""Those of the second row."""
HELD_OUT, PARTICLES, CLEAN, ROW, DRAWN, CARRIED = range(6)
"""Layers of a stage."""
CLEAN_INK, CHORD_INK, PART_INKS, ROW_INK, DRAWN_INK, CARRIED_INK = 4, 5, (0, 3), 7, 4, 7
EPSILON = np.random.default_rng(0).standard_normal((MOST_SHOWN // 4, 2))
"""The noise of the held-out points that are carried forward."""
COLUMNS = {1: 1, 2: 2, 4: 2}


class Stages(QWidget):
    """Shows lanes side by side."""

    chosen = Signal(int)
    """A stage was clicked."""
    pen_moved = Signal(float, float)
    end_moved = Signal(int, str, float, float)
    """On a stage, an end of the row of latents was dragged to a place of its axes."""
    switched = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.stages: list[PlaneStage] = []
        self.switches = {name: QCheckBox(title, toolTip=tip, checked=on) for name, title, tip, on in SWITCHES}
        self._behind: list[object] = []
        for name in OFFERED:
            self.switches[name].hide()
        first, second = QHBoxLayout(), QHBoxLayout()
        for name, switch in self.switches.items():
            (second if name in SECOND else first).addWidget(switch)
            switch.toggled.connect(self._on_switch)
        self.sketch = QToolButton(text="Sketch", checkable=True, toolTip=SKETCH)
        self.sketch.setIcon(icon("pen"))
        self.sketch.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        second.addStretch(1)
        second.addWidget(self.sketch)
        first.addStretch(1)
        self._grid = QGridLayout()
        self._grid.setContentsMargins(4, 0, 4, 0)
        self._grid.setSpacing(4)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(4)
        for row in (first, second):
            row.setContentsMargins(12, 6 if row is first else 0, 12, 0)
            row.setSpacing(10)
            box.addLayout(row)
        box.addLayout(self._grid, 1)
        self.set_count(1)

    def set_count(self, count: int) -> None:
        """So many stages: 1, 2 or 4."""
        while len(self.stages) < count:
            stage = PlaneStage(f"Stage {len(self.stages) + 1}", empty=EMPTY)
            stage.clicked.connect(self._on_clicked)
            stage.pen_moved.connect(self.pen_moved)
            stage.handle_moved.connect(self._on_handle)
            self.stages.append(stage)
        for number, stage in enumerate(self.stages):
            self._grid.removeWidget(stage)
            stage.setVisible(number < count)
            if number < count:
                self._grid.addWidget(stage, number // COLUMNS[count], number % COLUMNS[count])
        self.stages, gone = self.stages[:count], self.stages[count:]
        for stage in gone:
            stage.deleteLater()
        self._behind = [None] * count

    def show_chosen(self, number: int) -> None:
        """Frame the stage whose method is set at the side, if there are several."""
        for at, stage in enumerate(self.stages):
            stage.set_framed(at == number and len(self.stages) > 1)

    def on(self, name: str) -> bool:
        """Is that shown?"""
        return self.switches[name].isChecked()

    # a lane on its stage -------------------------------------------------------------------------------------------

    def show_lane(self, number: int, told: Told, index: int, name: str) -> None:
        """A run at one of its moments (-1: as it learns), and what to call it."""
        stage = self.stages[number]
        moment = told.moments[index] if 0 <= index < len(told.moments) else told.learning
        shown = MOST_SHOWN // len(self.stages)
        stage.set_title(title_of(name, moment, shown, brief=len(self.stages) > 1))
        self._show_behind(number, told, moment)
        self._offer(number, told)
        held_out = told.cloud.xy[: shown // 4] if self.on("data") and told.cloud is not None else np.zeros((0, 2))
        if self.on("forward") and moment is not None and math.isfinite(moment.noise):
            held_out = moment.signal * held_out + moment.noise * EPSILON[: len(held_out)]
        scale = 1.0 if moment is None else scale_of(moment)
        stage.set_points(held_out / scale if moment is None or moment.way != "back" else held_out, ink=1, layer=HELD_OUT)
        xy = np.zeros((0, 2)) if moment is None else moment.xy[:shown] / scale
        stage.set_points(xy, groups=self._sectors(told, len(xy)), ink=0, layer=PARTICLES)
        clean = belonging(told.clean, moment) if self.on("clean") else None
        stage.set_points(np.zeros((0, 2)) if clean is None else clean.xy / scale, ink=CLEAN_INK, layer=CLEAN)
        lines, chords, row = self._paths(told, moment, index), self._chords(told, moment), self._row(told, moment)
        stage.set_paths(lines + chords + row, [1] * len(lines) + [CHORD_INK] * len(chords) + [ROW_INK] * len(row))
        self._show_latents(stage, told, moment, row)

    def show_drawn(self, points: np.ndarray) -> None:
        """The cloud that is being drawn, on the first stage."""
        stage = self.stages[0]
        stage.clear()
        stage.set_title(f"Draw where the data are: {len(points)} points, at least 20 are needed")
        stage.set_points(points, ink=1)

    def show_busy(self, number: int) -> None:
        """A run has been asked for and has told nothing yet."""
        self.stages[number].set_title(BUSY)

    def _show_behind(self, number: int, told: Told, moment: Particles | None) -> None:
        """Field and density stand still while particles move between two kept moments: paint them only when they change."""
        walking = moment is not None and moment.way == "walk"
        field = belonging(told.fields, moment) if self.on("field") and moment is not None and moment.way in ("walk", "back") else None
        parts = next((one for one in told.parts if one[0].index == moment.index), None) if self.on("parts") and walking else None
        own = told.density if walking and moment.last else None
        density = (own or belonging(told.marginals, moment)) if self.on("density") and walking else None
        key = (id(field), id(density), id(parts))
        if self._behind[number] == key:
            return
        self._behind[number] = key
        stage = self.stages[number]
        scale = 1.0 if moment is None else scale_of(moment)
        nothing = np.zeros((0, 2))
        if parts is not None:
            at, inks = (np.concatenate([one.at for one in parts]) / scale, np.repeat(PART_INKS, len(parts[0].at)))
            stage.set_field(at, np.concatenate([one.arrows for one in parts]), inks)
        else:
            stage.set_field(*((nothing, nothing) if field is None else self._thinned(field.at / scale, field.arrows)))
        stage.set_density(None if density is None else np.exp(density.values - density.values.max()), density.kind if density else "")

    def _thinned(self, at: np.ndarray, arrows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Every second arrow each way where stages are small."""
        side = round(len(at) ** 0.5)
        if len(self.stages) < 4 or side < 4:
            return at, arrows
        return tuple(values.reshape(side, side, 2)[::2, ::2].reshape(-1, 2) for values in (at, arrows))

    def _sectors(self, told: Told, count: int) -> np.ndarray | None:
        if not self.on("start") or not told.moments:
            return None
        start = told.moments[0].xy[:count]
        turn = np.arctan2(start[:, 1], start[:, 0]) / (2 * np.pi) % 1
        return np.minimum((turn * SECTORS).astype(int), SECTORS - 1)

    def _paths(self, told: Told, moment: Particles | None, index: int) -> list[np.ndarray]:
        if moment is None or index < 0:
            return []
        lines = []
        if self.on("paths"):
            way = [one for one in told.moments[: index + 1] if one.way == moment.way]
            lines += list(np.stack([one.xy[:PATHS] / scale_of(one) for one in way], 1))
        if self.on("grid"):
            lattice = next((one for one in told.lattices if one.index == moment.index), None)
            lines += lattice_lines(lattice) if lattice is not None and moment.way == "walk" else []
        return lines

    def _chords(self, told: Told, moment: Particles | None) -> list[np.ndarray]:
        if not self.on("chords") or told.chords is None or moment is None or moment.way != "walk":
            return []
        return list(np.stack([told.chords.at, told.chords.at + told.chords.arrows], 1))

    def _row(self, told: Told, moment: Particles | None) -> list[np.ndarray]:
        """The row of latents where it is now, at the stage's scale: one line, or none."""
        row = belonging(told.rows, moment) if self.on("between") and moment is not None and moment.way == "walk" else None
        return [] if row is None else [row.xy / scale_of(moment)]

    def _show_latents(self, stage: PlaneStage, told: Told, moment: Particles | None, row: list[np.ndarray]) -> None:
        """Row and sketch as points; the ends of the row can be held where the walk begins and ends."""
        nothing, walking = np.zeros((0, 2)), moment is not None and moment.way == "walk"
        stage.set_points(row[0] if row else nothing, ink=ROW_INK, layer=ROW)
        held = bool(row) and (moment.index == 0 or moment.last)
        stage.set_handles({"A": tuple(row[0][0].tolist()), "B": tuple(row[0][-1].tolist())} if held else {})
        sketch = belonging(told.sketches, moment) if walking else None
        drawn = told.job.sketch if sketch is not None and moment.last else ()
        stage.set_points(np.array(drawn, float).reshape(-1, 2), ink=DRAWN_INK, layer=DRAWN)
        stage.set_points(nothing if sketch is None else sketch.xy / scale_of(moment), ink=CARRIED_INK, layer=CARRIED)

    def show_sketch(self, points: np.ndarray) -> None:
        """A drawing on its way, over what the stages show."""
        for stage in self.stages:
            stage.set_title(f"Draw on the data, then press Sketch again: {len(points)} points")
            stage.set_points(points, ink=CARRIED_INK, layer=CARRIED)
            stage.set_points(np.zeros((0, 2)), layer=DRAWN)

    @Slot(str, float, float)
    def _on_handle(self, name: str, x: float, y: float) -> None:
        self.end_moved.emit(self.stages.index(self.sender()), name, x, y)

    def _offer(self, number: int, told: Told) -> None:
        """Show the switches of what any lane has told; the first lane asks anew."""
        for name, part in OFFERED.items():
            there = bool(getattr(told, part)) if name != "chords" else told.chords is not None
            shown = there or (number > 0 and not self.switches[name].isHidden())
            if self.switches[name].isHidden() == shown:
                self.switches[name].setVisible(shown)

    @Slot(float, float)
    def _on_clicked(self, *_at: float) -> None:
        self.chosen.emit(self.stages.index(self.sender()))

    @Slot(bool)
    def _on_switch(self, _on: bool) -> None:
        self._behind = [None] * len(self.stages)
        self.switched.emit()


def belonging(kept: list, moment: Particles | None):
    """What was told with that moment, or None."""
    return next((one for one in kept if moment is not None and one.index == moment.index), None)


def lattice_lines(lattice: Particles) -> list[np.ndarray]:
    """Rows and columns of a square lattice that has been carried along."""
    side = round(len(lattice.xy) ** 0.5)
    points = (lattice.xy / scale_of(lattice)).reshape(side, side, 2)
    return [*points, *points.transpose(1, 0, 2)]
