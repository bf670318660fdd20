"""The left side of the training page: the knobs of a training, and its buttons."""

from __future__ import annotations

from dataclasses import replace

from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QAbstractSpinBox, QComboBox, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from app.jobs.moe import TrainMoe
from app.protocol.errors import UserError
from app.widgets.param_form import ParamForm

LEAST_FIELD = 56
SKIPPED = (
    "device", "conversations", "tokenizer", "library", "bf16", "folder", "ema", "cooldown", "documents", "lr", "go_on", "seed", "window",
    "batch_size", "mtp_weight",
)  # fmt: skip
SIDE_BY_SIDE = ("loss-free", "aux-loss", "none")
RACE_BATCH, RACE_WINDOW = 8, 128


class TrainingForm(QWidget):
    """Form, buttons, and the list of trainings."""

    train_wanted = Signal(object)
    side_by_side_wanted = Signal(object)
    stop_wanted = Signal()
    look_wanted = Signal()
    chosen = Signal()
    """Another training of the list."""
    tuned = Signal(object)
    invalid = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.form, self.runs = ParamForm(TrainMoe, skip=SKIPPED), QComboBox()
        self.train, self.stop = QPushButton("Train"), QPushButton("Stop", enabled=False)
        self.both, self.look = QPushButton("Balancing side by side"), QPushButton("Look at its experts", enabled=False)
        self.form.set_value("install", True)
        self.form.changed.connect(self.tuned)
        for button, tip, slot in (
            (self.train, "Begin, or go on from the checkpoint", self._on_train),
            (self.stop, "End all trainings; what was learned since the last checkpoint is lost", self.stop_wanted),
            (self.both, "The same data and steps under each balancing, by turns: loss-free, aux-loss, none; small batches", self._on_both),
            (self.look, "Read the text with the checkpoint of the training shown", self.look_wanted),
        ):  # fmt: skip
            button.setToolTip(tip)
            button.clicked.connect(slot)
        self.runs.setAccessibleName("Training shown")
        self.runs.setToolTip("Which training the maps and losses show")
        self.runs.activated.connect(self.chosen)
        for box in [*self.form.findChildren(QAbstractSpinBox), *self.form.findChildren(QComboBox), self.runs]:
            box.setMinimumWidth(LEAST_FIELD)
        row, column = QHBoxLayout(), QVBoxLayout(self)
        row.addWidget(self.train, 1)
        row.addWidget(self.stop, 1)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.form)
        column.addLayout(row)
        for widget in (self.both, self.runs, self.look):
            column.addWidget(widget)
        column.addStretch(1)

    def job(self) -> TrainMoe:
        """The settings; raises `UserError` if they do not fit together."""
        job = self.form.job()
        return replace(job, install=False) if job.model == "switch" else job  # it is none of the built-in models

    def _wanted(self, signal) -> None:
        try:
            signal.emit(self.job())
        except UserError as error:
            self.invalid.emit(str(error))

    @Slot()
    def _on_train(self) -> None:
        self._wanted(self.train_wanted)

    @Slot()
    def _on_both(self) -> None:
        self._wanted(self.side_by_side_wanted)


def side_by_side(job: TrainMoe, folder: str) -> list[TrainMoe]:
    """The same training under each kind of balancing, in a folder of its own, installing nothing, batches small enough to watch."""
    kinds = SIDE_BY_SIDE if job.model == "deepseek" else SIDE_BY_SIDE[1:]
    small = replace(job, folder=folder, install=False, go_on=False, batch_size=RACE_BATCH, window=RACE_WINDOW)
    return [replace(small, balancing=kind) for kind in kinds]
