"""Which small model to look into: its attention, and the task it is trained for; what else its training says is kept as it is."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QComboBox, QLabel, QVBoxLayout, QWidget

from app.jobs.attention import small_training, small_words
from app.jobs.attention_lab import TRAINED, TrainAttentions
from app.protocol.job import field_types

MECHANISMS = (*TRAINED, "top_k:keep=4", "lsh:buckets=4", "low_rank:rank=4,chunk=8", "performer", "gau")
TASK_TITLES = {"recall": "Recall of pairs", "copy": "Copying", "captions": "Captions"}
TASKS = get_args(field_types(TrainAttentions)["task"])


class SmallField(QWidget):
    """Two lists, and a line about the training."""

    edited = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.mechanism, self.task, self._note = QComboBox(), QComboBox(), QLabel(wordWrap=True)
        self._training = small_training(TRAINED[0])
        self.mechanism.addItems(MECHANISMS)
        self.mechanism.setAccessibleName("Attention of the small model")
        self.mechanism.setToolTip("What its layers attend with, with settings")
        for task in TASKS:
            self.task.addItem(TASK_TITLES[task], task)
        self.task.setAccessibleName("Task of the small model")
        self.task.setToolTip("What it has learned")
        self._note.setProperty("role", "small")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        for widget in (self.mechanism, self.task, self._note):
            column.addWidget(widget)
        for box in (self.mechanism, self.task):
            box.setMinimumContentsLength(8)
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.activated.connect(self._on_chosen)
        self.set_words(TRAINED[0])

    def words(self) -> str:
        """As a job names it."""
        return small_words(self._training, self._training.mechanisms[0])

    def set_words(self, words: str) -> None:
        """Show a training; tells nobody."""
        self._training = training = small_training(words)
        (mechanism,) = training.mechanisms
        if self.mechanism.findText(mechanism) < 0:
            self.mechanism.addItem(mechanism)
        self.mechanism.setCurrentText(mechanism)
        self.task.setCurrentIndex(self.task.findData(training.task))
        self._note.setText(
            f"Trained here in {training.steps:,} updates on texts of {training.length} tokens, {training.n_layers} layers of "
            f"{training.n_heads} heads, if the Lab has not trained it just before."
        )

    @Slot()
    def _on_chosen(self) -> None:
        chosen = replace(self._training, mechanisms=(self.mechanism.currentText(),), task=self.task.currentData())
        self.set_words(small_words(chosen, chosen.mechanisms[0]))
        self.edited.emit()
