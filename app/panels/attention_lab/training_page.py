"""Small language models that differ in their attention alone, trained side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Slot
from PySide6.QtWidgets import QPushButton

from app.jobs.attention import AttentionOverview, small_words
from app.jobs.attention_lab import TRAINED, TrainAttentions
from app.panels.attention_lab.kind_list import KindList
from app.panels.attention_lab.listener import Listener
from app.panels.attention_lab.page import LabPage, Place, Told, column
from app.panels.attention_lab.race import Race
from app.panels.attention_lab.race_view import RaceView
from app.panels.attention_lab.race_words import told_of_race
from app.protocol.job import job_from_dict, job_to_dict
from app.widgets.param_form import ParamForm

if TYPE_CHECKING:
    from app.panels.attention_lab.panel import AttentionLabPanel


LOOK_PANEL = "attention"


class TrainingPage(LabPage):
    """A form, losses and accuracies, and the transport bar as pause and stop."""

    title, tip = "Training", "Small language models with different attentions, trained side by side on the same texts"
    takes_head = False

    def __init__(self, lab: AttentionLabPanel) -> None:
        super().__init__(lab)
        self.kinds = KindList(TRAINED, without="no")
        self.knobs = ParamForm(TrainAttentions, skip=("mechanisms", "device"))
        self.button = QPushButton("Train", toolTip="Train a fresh model with each ticked attention")
        self.button.setProperty("role", "primary")
        self.form, self.view, self.race = column(self.button, self.knobs, self.kinds), RaceView(), Race()
        self.run: Listener | None = None
        self._state = "idle"
        self.button.clicked.connect(self.train)
        self.knobs.changed.connect(self._on_changed)
        self.knobs.invalid.connect(lab.show_error)
        self.kinds.chosen_changed.connect(self._on_changed)
        self.kinds.tuned.connect(self._on_changed)
        self.view.look_wanted.connect(self._on_look)

    # running -------------------------------------------------------------------------------------------------------

    @Slot()
    def train(self) -> None:
        """Begin anew; a running training is ended."""
        if not self.kinds.chosen():
            self.lab.show_message("warn", "No attention is chosen.", "Tick at least one.")
            return
        if self.run is not None:
            self.run.silence()
        values = {name: self.knobs.value(name) for name in job_to_dict(self.knobs.job()) if name != "mechanisms"}
        job = TrainAttentions(**{**values, "mechanisms": self.kinds.all_written()})
        self.race = Race(job)
        self.view.set_trained(False)
        self.view.begin({self.kinds.written(name): self.kinds.colour(name) for name in self.kinds.chosen()})
        self.run = Listener(self, job, "train", "replace", record=self._on_record, ended=self._on_ended)
        handle = self.run.handle
        for signal, slot in ((handle.started, self._on_running), (handle.parked, self._on_parked), (handle.resumed, self._on_running)):
            signal.connect(slot)
        self._set_state("running")

    def _on_record(self, channel: str, payload: Any) -> None:
        self.race.take(channel, payload)
        self.view.show_race(self.race, channel)
        self.moved.emit()

    def _on_ended(self) -> None:
        self.race.ended = self.run.handle.state
        self.run = None
        self.view.set_trained(self.race.ended == "done")
        self._set_state("idle")

    @Slot(str)
    def _on_look(self, learner: str) -> None:
        """The maps of a trained model, in the attention panel."""
        self.lab.handed.emit(LOOK_PANEL, AttentionOverview(source="small", training=small_words(self.race.job, learner)))

    @Slot()
    def _on_running(self) -> None:
        self._set_state("running")

    @Slot(int)
    def _on_parked(self, _index: int) -> None:
        self._set_state("paused")

    def _set_state(self, state: str) -> None:
        self._state = state
        self.button.setText("Train again" if self.race.step else "Train")
        self.moved.emit()

    @Slot()
    def _on_changed(self, *_values: Any) -> None:
        self.lab.touch()

    # the transport bar ---------------------------------------------------------------------------------------------

    def key(self, name: str) -> str:
        if self.run is None:
            if name == "play":
                self.train()
            return name
        handle = self.run.handle
        {"play": handle.resume, "pause": handle.pause, "next": handle.step_on, "stop": handle.cancel}.get(name, lambda: None)()
        return name

    def place(self) -> Place:
        race = self.race
        note = "training" if self._state == "running" else {"done": "finished", "cancelled": "stopped"}.get(race.ended, "")
        return Place(noun="update", state=self._state, index=race.step, total=race.total, note=note)

    def told(self) -> Told:
        return told_of_race(self.race, self.knobs.value("task"))

    def save(self) -> dict[str, Any]:
        return {**job_to_dict(self.knobs.job()), "mechanisms": list(self.kinds.start())}

    def restore(self, state: dict[str, Any]) -> None:
        job, _warnings = job_from_dict(TrainAttentions, state)
        self.knobs.set_job(job)
        self.kinds.set_written(job.mechanisms)
