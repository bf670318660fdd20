"""What a person sets of latents: the two ends of a row, and a sketch that is carried to the noise and back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QTimer, Slot

from app.jobs.plane import Plane, Point
from app.panels.plane.stages import belonging
from app.panels.plane.words import scale_of

if TYPE_CHECKING:
    from app.panels.plane.panel import PlanePanel

ENDS: tuple[Point, Point] = ((-1.3, -0.4), (0.9, 1.1))
"""Of the row, before anybody drags them."""
SETTLED_MS = 150
"""A walk with other ends begins when they have stood still for so long."""


class Latents(QObject):
    """Ends and sketch, shared by all lanes."""

    def __init__(self, panel: PlanePanel) -> None:
        super().__init__(panel)
        self._panel = panel
        self.ends, self.of_data = ENDS, False
        """Two latents, or two points of the data whose latents the worker finds."""
        self.sketch: tuple[Point, ...] = ()
        self.sketching = False
        self._settle = QTimer(self, singleShot=True, interval=SETTLED_MS)
        self._settle.timeout.connect(self._on_settled)

    def beside(self, shared: Plane) -> Plane:
        """The job with what walks along."""
        return replace(shared, between=self.ends, between_data=self.of_data, sketch=self.sketch)

    def take(self, ends: tuple[Point, Point] | None, sketch: tuple[Point, ...]) -> None:
        """As an arrangement wants it."""
        self.ends, self.of_data, self.sketch = ends or ENDS, False, sketch

    @Slot(int, str, float, float)
    def move_end(self, number: int, name: str, x: float, y: float) -> None:
        """An end was dragged on a stage, at the start of its walk or at its end; the other one stays where it is shown."""
        panel = self._panel
        lane = panel.lanes.all[number]
        moment = lane.told.moments[panel.moment_of(lane)]
        row = belonging(lane.told.rows, moment).xy / scale_of(moment)
        ends = {"A": tuple(row[0].tolist()), "B": tuple(row[-1].tolist())} if moment.last != self.of_data else dict(zip("AB", self.ends))
        ends[name] = (round(x, 4), round(y, 4))
        self.ends, self.of_data = (ends["A"], ends["B"]), moment.last
        self._settle.start()
        panel.touch()

    @Slot()
    def _on_settled(self) -> None:
        if any(stage.held for stage in self._panel.stages.stages):
            self._settle.start()
        else:
            self._panel.run_lanes(self._panel.lanes.all, fresh=False)

    # sketch --------------------------------------------------------------------------------------------------------

    def add_point(self, x: float, y: float) -> None:
        """The pen left a point."""
        self.sketch = (*self.sketch, (round(x, 4), round(y, 4)))

    @Slot(bool)
    def set_sketching(self, on: bool) -> None:
        """Begin a new drawing on the data, or carry what was drawn."""
        panel = self._panel
        if on and not panel.lanes.lead.told.moments:
            self.stop_sketching()
            panel.show_message("info", "There is no walk yet that could carry a sketch: press Train first.")
            return
        self.sketching = on
        for stage in panel.stages.stages:
            stage.set_pen(on)
        if on:
            self.sketch = ()
            panel.side.data.pen.setChecked(False)
            panel.player.go(panel.player.replay.count - 1)
            panel.redraw()
        else:
            panel.run_lanes(panel.lanes.all, fresh=False)
        panel.touch()

    def stop_sketching(self) -> None:
        """Put the pen away without a walk."""
        button = self._panel.stages.sketch
        button.blockSignals(True)
        button.setChecked(False)
        button.blockSignals(False)
        self.sketching = False
        for stage in self._panel.stages.stages:
            stage.set_pen(False)
