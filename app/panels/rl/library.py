"""The runs on the disk beside those in memory: the list, deleting, and the offer to go on with what a crash has interrupted."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Slot

from app.jobs.rl import RlRuns
from app.panels.rl.run_rows import Entry
from app.protocol.payloads import Result
from app.protocol.rl import RunCard

if TYPE_CHECKING:
    from app.panels.rl.panel import RlPanel


class Library(QObject):
    """Keeps the cards of the folders, and makes the rows of the list."""

    def __init__(self, panel: RlPanel) -> None:
        super().__init__(panel)
        self._panel = panel
        self.cards: tuple[RunCard, ...] = ()
        self._offered = False

    @Slot()
    def refresh(self) -> None:
        """Read the list anew."""
        self._panel.errands.run(RlRuns(), self._take, key="runs")

    def delete(self, entry: Entry) -> None:
        """Delete the folder of a run, and take it off the plots."""
        if entry.training is not None:
            self._panel.trainings.remove(entry.training)
        self._panel.errands.run(RlRuns(delete=entry.card.run if entry.card else Path(entry.folder).name), self._take)

    def _take(self, result: Result) -> None:
        self.cards = tuple(result.files["runs"])
        self.show()
        if not self._offered:
            self._offered = True
            self._offer()

    def _offer(self) -> None:
        """After a crash: the newest interrupted run can go on."""
        card = next((card for card in self.cards if card.state == "interrupted"), None)
        if card is not None and self._panel.trainings.of_folder(card.folder) is None:
            self._panel.show_message(
                "info", f"A training was interrupted: {card.algo} on {card.env}, at {card.timesteps:,} of {card.total:,} steps.",
                "Its curves and policies are kept; others stand in the list of runs.", "Resume",
                partial(self._panel.wishes.resume, Entry(card, None)),
            )  # fmt: skip

    def entries(self) -> list[Entry]:
        """What trains or is shown here first, then the folders that are not, the newest first."""
        trainings = self._panel.trainings.all
        here = [Entry(training.card or self._card(training.folder), training) for training in reversed(trainings)]
        folders = {training.folder for training in trainings}
        return here + [Entry(card, None) for card in self.cards if card.folder not in folders]

    def _card(self, folder: str) -> RunCard | None:
        return next((card for card in self.cards if folder and card.folder == folder), None)

    def show(self) -> None:
        """Fill the list, and what a policy can be compared with."""
        stage, shown = self._panel.stage, self._panel.trainings.shown
        entries = self.entries()
        stage.runs.set_entries(entries)
        env = shown.run_setup.env if shown else ""
        choices = [(shown.folder, "this run in the end")] if shown and shown.folder else []
        choices += [
            (entry.folder, f"{entry.card.algo}, seed {entry.card.seed}, begun {entry.card.started}") for entry in entries
            if entry.card and entry.card.env == env and entry.training is not shown
        ]  # fmt: skip
        stage.compare.set_choices(choices)
