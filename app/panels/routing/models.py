"""Whose experts: is the model here, another model or checkpoint, and the trainings that make one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Slot
from PySide6.QtWidgets import QFileDialog

from app import paths
from app.jobs.moe import TrainMoe
from app.jobs.routing import BUILT_IN, RoutingStatus
from app.panels.routing.training import TrainingRun, kind_of
from app.panels.routing.training_form import side_by_side
from app.protocol.payloads import Result

if TYPE_CHECKING:
    from app.panels.routing.panel import RoutingPanel

LIVE = ("bias_step", "sequence_weight", "aux_weight", "z_weight", "jitter", "capacity_factor", "top_k")


class Models(QObject):
    """Asks, opens, trains."""

    def __init__(self, panel: RoutingPanel) -> None:
        super().__init__(panel)
        self._panel = panel
        self.known = False
        """Whether it is known if the chosen model is here."""

    def ask(self) -> None:
        """Is the chosen model here? Loads nothing."""
        self._panel.errands.run(RoutingStatus(**self._panel.side_form.source), self._take_status, key="status")

    def _take_status(self, result: Result) -> None:
        facts, form = result.facts, self._panel.side_form
        self.known = True
        found = [(BUILT_IN, str(one["folder"]), str(one["title"])) for one in facts.get("checkpoints", ())]
        added = [(str(one["key"]), "", str(one["title"])) for one in facts.get("added", ())]
        own = [choice for choice in form.choices() if choice[0] != BUILT_IN and choice[0] not in [one[0] for one in added]]
        form.set_choices([*added, *found, *own])
        missing = "" if form.source["checkpoint"] or facts.get("ready") else str(facts.get("sentence"))
        words, hint = "" if self._panel.runs.reading else missing, str(facts.get("hint", ""))
        self._panel.stage.show_missing(words, hint, trainable=form.source["model"] == BUILT_IN)

    @Slot()
    def open_folder(self) -> None:
        """Ask for a mixture of experts on disk."""
        name = QFileDialog.getExistingDirectory(self._panel, "Open a folder with a mixture of experts")
        if name:
            self.use_folder(Path(name))

    def use_folder(self, folder: Path) -> None:
        """Look at a folder: of safetensors as they are published, or the checkpoint of a training."""
        checkpoint = (folder / "checkpoint.safetensors").is_file()
        self._panel.side_form.use(BUILT_IN if checkpoint else f"moe:{folder}", str(folder) if checkpoint else "")
        self.other_model()

    @Slot()
    def other_model(self) -> None:
        """Another model is chosen: what was measured on the old one no longer stands."""
        self._panel.banner.clear()
        self._panel.stage.specialists.set_tables(None, None)
        self._panel.stage.pair.show_report(None)
        self._panel.touch()
        self.ask()

    @Slot(int)
    def train_built_in(self, steps: int) -> None:
        """Train and install the built-in mixture."""
        self._panel.stage.training.side.form.set_value("steps", steps)
        self._panel.stage.pages.setCurrentWidget(self._panel.stage.training)
        self.train(TrainMoe(steps=steps, install=True))

    @Slot(object)
    def train(self, job: TrainMoe) -> None:
        """Begin a training, or go on with it."""
        self._panel.trainings.start(job)

    @Slot(object)
    def side_by_side(self, job: TrainMoe) -> None:
        """The same training under each kind of balancing."""
        self._panel.trainings.race(side_by_side(job, str(paths.data_dir() / "training" / "side-by-side")))

    @Slot(object)
    def tune(self, job: TrainMoe) -> None:
        """Live knobs reach the trainings that run, as far as they fit."""
        for run in self._panel.trainings.active:
            run.handle.tune(replace(run.job, **{name: getattr(job, name) for name in LIVE}))

    @Slot(object)
    def look_at(self, run: TrainingRun) -> None:
        """Read the text with the newest checkpoint of a training."""
        if folder := run.facts.get("checkpoint"):
            self.use_folder(Path(folder))
            self._panel.commands.read()
            return
        start = f"moe-{run.job.model}-{kind_of(run.job)}-"
        self._panel.errands.run(RoutingStatus(), lambda result: self._look(result, start, run), key="look")

    def _look(self, result: Result, start: str, run: TrainingRun) -> None:
        root = run.job.folder or str(paths.data_dir() / "training")
        found = [one for one in result.facts["checkpoints"] if one["title"].startswith(start) and str(Path(one["folder"]).parent) == root]
        if found:
            self.use_folder(Path(found[0]["folder"]))
            self._panel.commands.read()
        else:
            self._panel.show_message("info", "This training has not kept a checkpoint yet.", "It keeps one every few minutes.")

    @Slot(object)
    def trained(self, run: TrainingRun) -> None:
        """A training has ended: perhaps there is a model now."""
        self.ask()
