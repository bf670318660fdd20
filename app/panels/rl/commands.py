"""What buttons and keys do: train, stand still, step, go on, end, turn a knob."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Slot

from app.panels.rl.training import PAUSED, Training
from app.protocol.errors import UserError
from app.protocol.rl import settings_text

if TYPE_CHECKING:
    from app.panels.rl.panel import RlPanel

KEY_HELP = [
    ("Ctrl+Enter", "Train"),
    ("F10", "Step by step: one update, then stand still"),
    ("Left, Right", "The policy before, after: it plays the seeded episode"),
    ("Shift+Space", "Play or stop the episode"),
    ("End", "Back to what goes on now"),
]


class Commands(QObject):
    """Turns wishes into jobs."""

    def __init__(self, panel: RlPanel) -> None:
        super().__init__(panel)
        self._panel = panel

    # training ------------------------------------------------------------------------------------------------------

    @Slot()
    def train(self) -> None:
        """One training a seed."""
        self._start(None)

    @Slot()
    def step(self) -> None:
        """Begin and stand still after the first update; go on by one where it stands still already; stop where it runs."""
        going = self.group()
        if not going:
            self._start(1)
        elif any(training.state == PAUSED for training in going):
            self._each("step_on", going)
        else:
            self._each("pause", going)

    def _start(self, park_after: int | None) -> None:
        panel = self._panel
        try:
            jobs = panel.side_form.jobs()
        except UserError as error:
            panel.show_error(error)
            return
        panel.banner.clear()
        panel.side_form.show_line()
        panel.looking.look(None)
        started = [panel.trainings.start(job, park_after) for job in jobs]
        panel.trainings.show(started[0])

    def group(self) -> list[Training]:
        """The shown training and the other seeds of its setup, as far as they go on: they stand still and end together."""
        shown = self._panel.trainings.shown
        if shown is None or not shown.active:
            return []
        return [training for training in self._panel.trainings.active if training.group == shown.group]

    def _each(self, wish: str, going: list[Training]) -> None:
        for training in going:
            getattr(training.handle, wish)()

    # the transport -------------------------------------------------------------------------------------------------

    @Slot()
    def play(self) -> None:
        """Go on; or play the episode of the moment looked at, of the newest policy if none is."""
        looking, going = self._panel.looking, self.group()
        if any(training.state == PAUSED for training in going):
            self._each("resume", going)
        elif looking.at is None:
            looking.last()
        else:
            looking.player.play()

    @Slot()
    def pause(self) -> None:
        """Stand still after the update."""
        if going := self.group():
            self._each("pause", going)
        else:
            self._panel.looking.player.pause()

    @Slot()
    def next(self) -> None:
        """The policy after the one looked at; one update more if it is the newest, and the training stands still."""
        looking, going = self._panel.looking, self.group()
        if looking.next():
            return
        if any(training.state == PAUSED for training in going):
            looking.follow()
            self._each("step_on", going)
        elif not going:
            looking.last()

    @Slot()
    def stop(self) -> None:
        """End the training; what it has learned stays in its folder, and it can be resumed."""
        for training in self.group():
            training.handle.cancel()

    # knobs ---------------------------------------------------------------------------------------------------------

    @Slot(str, object)
    def turn(self, name: str, value: Any) -> None:
        """A knob was turned: hand it to the trainings of this algorithm and environment that run."""
        form = self._panel.side_form
        setting = form.setup.setting(name) if form.setup else None
        if setting is None or not setting.live:
            return
        for training in self._panel.trainings.active:
            if (training.run_setup.algo, training.run_setup.env) == form.pair:
                self._tune(training, settings=settings_text(training.settings() | {name: value}))

    def watch(self) -> None:
        """Only the training in sight sends its agent and maps."""
        panel = self._panel
        for training in panel.trainings.active:
            wanted = training is panel.trainings.shown and panel.isVisible() and panel.looking.at is None
            if training.job.watch != wanted:
                self._tune(training, watch=wanted)

    def _tune(self, training: Training, **values: Any) -> None:
        training.job = replace(training.job, **values)
        training.handle.tune(training.job)
