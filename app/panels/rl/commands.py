"""What buttons and keys do: train, stand still, step, turn a knob, and what can be done with a run of the list."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Slot
from PySide6.QtWidgets import QFileDialog

from app.jobs.rl import CompareRl, ExportRl, RlHistory, TrainRl
from app.panels.rl.runs_page import Entry
from app.panels.rl.setup_words import job_of
from app.panels.rl.training import PAUSED, Training
from app.protocol.errors import UserError
from app.protocol.payloads import Result
from app.protocol.rl import parse_setup, settings_text

if TYPE_CHECKING:
    from app.panels.rl.panel import RlPanel

KEY_HELP = [
    ("Ctrl+Enter", "Train"),
    ("F10", "Train, standing still after each update"),
    ("Left, Right", "The policy before, after: it plays the seeded episode"),
    ("Shift+Space", "Play or stop the episode"),
    ("End", "Back to what goes on now"),
]
CAN_WATCH = "watch" in {item.name for item in fields(TrainRl)}


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
            if CAN_WATCH and training.job.watch != wanted:
                self._tune(training, watch=wanted)

    def _tune(self, training: Training, **values: Any) -> None:
        training.job = replace(training.job, **values)
        training.handle.tune(training.job)

    # runs of the list ----------------------------------------------------------------------------------------------

    @Slot(object)
    def show(self, entry: Entry) -> None:
        """Its curves; read from its folder if they are not here."""
        self._with(entry, self._panel.trainings.show)

    @Slot(object)
    def resume(self, entry: Entry) -> None:
        """Go on where it was saved."""
        self._with(entry, self._resume)

    def _resume(self, training: Training) -> None:
        if not training.active:
            panel = self._panel
            panel.looking.look(None)
            job = replace(job_of(training.run_setup), resume=training.folder, settings="")  # the knobs stay as they were saved
            panel.trainings.resume(training, job)

    def _with(self, entry: Entry, then: Any) -> None:
        if entry.training is not None:
            then(entry.training)
            return

        def take(result: Result) -> None:
            then(self._panel.trainings.take(result, job_of(parse_setup(result.files["card"].setup))))

        self._panel.errands.run(RlHistory(run=entry.folder), take, key="history")

    @Slot(object)
    def reuse(self, entry: Entry) -> None:
        """Its setup into the form."""
        training = entry.training
        self._panel.setups.take_text(entry.card.setup if entry.card else training.setup.text if training.setup else "")

    @Slot(object)
    def export(self, entry: Entry) -> None:
        """Ask for a folder and write the run's files there."""
        name = QFileDialog.getExistingDirectory(self._panel, "Export the run into a folder")
        if name:
            self.export_to(entry, Path(name))

    def export_to(self, entry: Entry, folder: Path) -> None:
        """Write the run's files, in the I/O thread."""
        panel = self._panel

        def take(result: Result) -> None:
            for file, content in result.files.items():
                panel.settings.storage.write(folder / file, content)
            panel.show_message("info", f"{len(result.files)} files of the run are written to {folder}.", ", ".join(result.files))

        panel.errands.run(ExportRl(run=entry.folder), take)

    @Slot(object)
    def delete(self, entry: Entry) -> None:
        """Ask, then delete the folder."""
        what = entry.card.run if entry.card else entry.folder
        self._panel.show_message(
            "warn", f"Delete the run {what}, with its policies and curves?", "This cannot be undone.", "Delete",
            lambda: self._panel.library.delete(entry),
        )  # fmt: skip

    # comparing -----------------------------------------------------------------------------------------------------

    @Slot(object)
    def compare(self, with_whom: tuple[str, int]) -> None:
        """The moment looked at, and another policy, on the same episode."""
        panel, shown = self._panel, self._panel.trainings.shown
        if shown is None or not shown.folder:
            return
        at = panel.looking.at
        job = CompareRl(
            run=shown.folder, timesteps=-1 if at is None else at, seed=panel.looking.seed, other=with_whom[0], other_timesteps=with_whom[1]
        )
        page = panel.stage.compare
        page.set_busy("Playing both …")
        panel.errands.run(job, self._compared, key="compare", failed=self._not_compared)

    def _compared(self, result: Result) -> None:
        self._panel.stage.compare.set_busy("")
        self._panel.stage.compare.show_pair(result)

    def _not_compared(self, report: Any) -> None:
        self._panel.stage.compare.set_busy("")
        self._panel.show_error(report)
