"""What can be done with a run of the list: show, go on, take its setup, export, delete; and two policies beside one another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QBuffer, QIODevice, QObject, Slot
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QFileDialog

from app.jobs.rl import CompareRl, ExportRl, RlHistory
from app.panels.rl.run_rows import Entry
from app.panels.rl.setup_words import job_of
from app.panels.rl.training import Training
from app.protocol.payloads import Result
from app.protocol.rl import parse_setup

if TYPE_CHECKING:
    from app.panels.rl.panel import RlPanel


class RunWishes(QObject):
    """Turns wishes about runs into jobs."""

    def __init__(self, panel: RlPanel) -> None:
        super().__init__(panel)
        self._panel = panel

    @Slot(object)
    def show(self, entry: Entry) -> None:
        """Its curves, read from its folder if they are not here; and if it has ended, its last policy at play."""
        self._with(entry, self._show)

    def _show(self, training: Training) -> None:
        self._panel.trainings.show(training)
        if not training.active:
            self._panel.looking.last()

    @Slot(object)
    def resume(self, entry: Entry) -> None:
        """Go on where it was saved."""
        self._with(entry, self._resume)

    def _resume(self, training: Training) -> None:
        panel, total = self._panel, 0
        if training.active:
            return
        if training.steps >= training.total > 0:
            total = int(panel.side_form.total.value())
            if total <= training.steps:
                text = f"This run has made all its {training.steps:,} steps."
                panel.show_message("info", text, "Set more steps in the form to extend it.")
                return
        panel.looking.look(None)
        job = replace(job_of(training.run_setup), resume=training.folder, settings="", total_timesteps=total)  # its knobs stay as saved
        panel.trainings.resume(training, job)

    def _with(self, entry: Entry, then: Callable[[Training], None]) -> None:
        """Do something with a run that is in memory; read it from its folder if it is not."""
        if entry.training is not None:
            then(entry.training)
        else:
            self._panel.errands.run(RlHistory(run=entry.folder), partial(self._read, then), key=f"history {entry.folder}")

    def _read(self, then: Callable[[Training], None], result: Result) -> None:
        then(self._panel.trainings.take(result, job_of(parse_setup(result.files["card"].setup))))

    @Slot()
    def open(self) -> None:
        """Ask for the folder of a run, and show it."""
        name = QFileDialog.getExistingDirectory(self._panel, "Open the folder of a run")
        if name:
            self.open_folder(name)

    def open_folder(self, folder: str) -> None:
        """Show the run in a folder."""
        self._panel.errands.run(RlHistory(run=folder), partial(self._read, self._show), key=f"history {folder}")

    def reopen(self, folders: list[str]) -> None:
        """The runs of the session before; those that are gone are left out."""
        for folder in folders:
            self._panel.errands.run(
                RlHistory(run=folder), partial(self._read, self._panel.trainings.show), key=f"history {folder}", failed=self._gone
            )

    def _gone(self, _report: Any) -> None:
        """A run that was deleted outside; the list of runs does not have it either."""

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
        self._panel.errands.run(ExportRl(run=entry.folder), partial(self._write, folder))

    def _write(self, folder: Path, result: Result) -> None:
        for name, content in result.files.items():
            self._panel.settings.storage.write(folder / name, content)
        self._panel.show_message("info", f"{len(result.files)} files of the run are written to {folder}.", ", ".join(result.files))

    @Slot(str, object)
    def save_plot(self, kind: str, content: Any) -> None:
        """Save a plot as a picture or as numbers."""
        path, _ = QFileDialog.getSaveFileName(self._panel, "Save the plot", f"plot.{kind}", f"*.{kind}")
        if path:
            self._panel.settings.storage.write(path, content if kind == "csv" else partial(_png, content))

    @Slot(object)
    def delete(self, entry: Entry) -> None:
        """Ask, then delete the folder."""
        what = entry.card.run if entry.card else entry.folder
        self._panel.show_message(
            "warn", f"Delete the run {what}, with its policies and curves?", "This cannot be undone.", "Delete",
            partial(self._panel.library.delete, entry),
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


def _png(image: QImage) -> bytes:
    """Encode a plot; called on the I/O thread."""
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    image.save(buffer, "PNG")
    return buffer.data().data()
