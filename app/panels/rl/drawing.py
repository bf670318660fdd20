"""When what is drawn: agents and maps as they come, curves and words a few times a second, nothing while the panel is out of sight."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, QTimer, Slot

from app.panels.rl import explain
from app.panels.rl.training import Training

if TYPE_CHECKING:
    from app.panels.rl.panel import RlPanel

DRAW_MS = 160
"""Curves, lamps and words are drawn at most this often; what is told meanwhile is drawn with them."""


class Drawing(QObject):
    """Hears the trainings and the time machine, and draws."""

    def __init__(self, panel: RlPanel) -> None:
        super().__init__(panel)
        self._panel, self._chosen = panel, ""
        self._clock = QTimer(self, singleShot=True, interval=DRAW_MS)
        self._clock.timeout.connect(self.draw)

    # what comes ----------------------------------------------------------------------------------------------------

    @Slot(object, str)
    def heard(self, training: Training, channel: str) -> None:
        """A training has told something."""
        panel = self._panel
        if channel == "end":
            self._ended(training)
        elif channel == "refused":
            panel.show_message("warn", training.note)
        elif channel == "card":
            panel.library.show()
        elif channel == "state":
            self.place()
        if training is panel.trainings.shown and panel.looking.at is None and panel.isVisible():
            if channel == "agent":
                panel.stage.agent.show_live(training)
                panel.side.follow(training.agent)
            elif channel == "plane":
                panel.side.show_plane(training.plane)
        if channel == "inside" and training is panel.trainings.shown:
            panel.stage.show_inside(training)
        if channel not in ("agent", "plane", "inside"):
            self.soon()

    def _ended(self, training: Training) -> None:
        report = training.facts.get("report")
        if training.state == "failed" and report is not None:
            self._panel.show_error(report)
        self._panel.library.refresh()
        self.place()

    @Slot()
    def other_shown(self) -> None:
        """Another training is looked at."""
        panel, shown = self._panel, self._panel.trainings.shown
        self._chosen = ""
        panel.looking.look(None)
        panel.stage.compare.clear()
        panel.stage.agent.show_training(shown)
        panel.side.show_training(shown)
        panel.stage.show_inside(shown)
        panel.stage.runs.select(shown)
        panel.commands.watch()
        self.soon()

    @Slot()
    def listed(self) -> None:
        """A training came or went."""
        self._panel.library.show()
        self.soon()

    @Slot()
    def moved(self) -> None:
        """The time machine stands elsewhere."""
        panel = self._panel
        if panel.looking.at is None:
            panel.stage.agent.show_training(panel.trainings.shown)
            panel.side.show_plane(panel.trainings.shown.plane if panel.trainings.shown else None)
        panel.commands.watch()
        self.place()

    @Slot(object)
    def plane(self, plane: Any) -> None:
        """The map of the moment looked at."""
        self._panel.side.show_plane(plane)
        self._panel.stage.agent.show_plane(plane)

    @Slot(object, int)
    def film_frame(self, frame: Any, _index: int) -> None:
        """The agent of the film has moved."""
        self._panel.side.follow(frame)

    @Slot(str)
    def explain(self, what: str) -> None:
        """A metric or a lamp was pressed; the same again goes back to the run."""
        self._chosen = "" if what == self._chosen else what
        self._words()

    @Slot()
    def page(self) -> None:
        """Another page below."""
        self._panel.touch()
        self._panel.stage.show_inside(self._panel.trainings.shown)
        self.draw()

    # drawing -------------------------------------------------------------------------------------------------------

    @Slot()
    def soon(self) -> None:
        """Draw in a moment, with all that comes until then."""
        if not self._clock.isActive() and self._panel.isVisible():
            self._clock.start()

    def rest(self) -> None:
        """Out of sight: what is told from now on is drawn when it comes into sight again."""
        self._clock.stop()

    @Slot()
    def draw(self) -> None:
        """Everything that moves slowly."""
        if self._panel.isVisible():
            self.curves()
            self._lamps()
            self._words()
            self._rows()

    @Slot()
    def curves(self) -> None:
        """All plots in sight."""
        panel = self._panel
        shown, drawn, labels = panel.trainings.shown, panel.trainings.drawn(), panel.trainings.labels()
        stage = panel.stage
        stage.curves.draw(shown, drawn, labels)
        if stage.small.isVisible():
            stage.small.draw(shown, drawn, labels, stage.curves.over, stage.curves.smoothing.currentData())
        self.place()

    @Slot()
    def place(self) -> None:
        """Cursor and transport."""
        panel, shown = self._panel, self._panel.trainings.shown
        if panel.isVisible():
            panel.stage.curves.place_cursor(shown, panel.looking.at, panel.looking.moments())
            panel.stage.small.set_cursor(panel.stage.curves.plot.cursor_at() if panel.looking.at is not None else None)
            panel.timeline.show_place(shown, panel.looking)
            if shown is not None and panel.looking.at is None:
                panel.timeline.set_busy(shown.note if shown.active and not shown.note[:1].isdigit() else "")

    def _lamps(self) -> None:
        shown = self._panel.trainings.shown
        self._panel.stage.lamps.set_lamps(shown.lamps if shown else ())

    def _words(self) -> None:
        told = explain.told(self._panel.trainings.shown, self._chosen)
        self._panel.side.inspector.set_content(told.name, told.rows, told.equation, told.explanation, told.reference)

    def _rows(self) -> None:
        if self._panel.stage.runs.isVisible():
            self._panel.stage.runs.set_entries(self._panel.library.entries())
