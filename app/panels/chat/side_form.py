"""The left column: the conversations, and the knobs of the next reply. What is marked live also changes the reply being written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import (
    QAbstractSpinBox,
    QCheckBox,
    QComboBox,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QScrollArea,
    QSplitter,
    QVBoxLayout,
    QWidget,
)

from app.jobs.chat import DRAFTER_TITLES, Chat
from app.panels.chat.conversation_list import ConversationList
from app.protocol.chat import DrafterStatus
from app.widgets.param_form import ParamForm
from app.widgets.prompt_edit import PromptEdit

LEAST_FIELD = 56
SKIPPED = ("messages", "prompt", "continue_ids", "device", "measure", "model", "top")
OWN = "own"
"""The choice "a model by path" in the list of models."""
TITLES = {
    "auto": "Fastest here", "none": "Plain", "lookup": "Prompt lookup", "ngram": "N-grams", "early-exit": "Early exit",
    "draft": "Draft model", "medusa": "Medusa", "mtp": "Multi-token", "eagle": "EAGLE layer",
}  # fmt: skip


class SideForm(QSplitter):
    """Conversations above, settings below."""

    changed = Signal()
    """The settings of the next reply."""
    invalid = Signal(str)
    system_edited = Signal(str)
    model_wanted = Signal()
    """A model by path or name is wanted."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(Qt.Orientation.Vertical, parent)
        self.form = ParamForm(Chat, skip=SKIPPED)
        self.system = PromptEdit("What the model is told first, such as: Answer in one sentence.", lines=3)
        self.check = QCheckBox("Check every reply", checked=True)
        self.twice = QCheckBox("Answer twice, side by side")
        self._models, self._other_model, self._other_drafter = QComboBox(), QComboBox(), QComboBox()
        self._why = QLabel(wordWrap=True)
        self._models_by_key: list[tuple[str, str]] = []
        self._drafters: tuple[DrafterStatus, ...] = ()
        self._auto_reason = ""
        self.conversations = ConversationList()
        self.addWidget(self.conversations)
        self.addWidget(self._settings())
        self.setChildrenCollapsible(False)
        self.setHandleWidth(5)
        self.setSizes([190, 520])
        self.setStretchFactor(1, 1)
        self.setMinimumWidth(288)
        self.set_models([("smollm2", "SmolLM2 135M")], "smollm2")
        self.set_drafters(())

    # building ------------------------------------------------------------------------------------------------------

    def _settings(self) -> QWidget:
        inside, column = QWidget(), QVBoxLayout()
        inside.setLayout(column)
        column.setContentsMargins(12, 8, 12, 12)
        column.setSpacing(8)
        model = QHBoxLayout()
        self._models.setToolTip("The model that answers")
        self._models.setAccessibleName("Model")
        self._models.activated.connect(self._on_model)
        self._models.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self._models.setMinimumContentsLength(8)
        model.addWidget(QLabel("Model"))
        model.addWidget(self._models, 1)
        column.addLayout(model)
        column.addWidget(self.form)
        self.form.editor("draft_length").setSpecialValueText("adaptive")
        for box in self.form.findChildren(QAbstractSpinBox) + self.form.findChildren(QComboBox):
            box.setMinimumWidth(LEAST_FIELD)
        self._why.setProperty("role", "small")
        column.addWidget(self._why)
        self.form.changed.connect(self._on_form)
        self.form.invalid.connect(self.invalid)
        self.check.setToolTip("After a reply: measure plain decoding of the same text, and check that no token differs from it")
        self.check.toggled.connect(self._on_changed)
        column.addWidget(self.check)
        column.addWidget(self.twice)
        column.addWidget(self._other())
        column.addWidget(_small("System prompt"))
        self.system.setAccessibleName("System prompt")
        self.system.setToolTip("The first message of this conversation; the model sees it before all others")
        self.system.edited.connect(self.system_edited)
        column.addWidget(self.system)
        column.addStretch(1)
        scroll = QScrollArea(widgetResizable=True)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # what stands in it has the focus
        scroll.setWidget(inside)
        return scroll

    def _other(self) -> QWidget:
        self._other_box, grid = QWidget(visible=False), QGridLayout()
        self._other_box.setLayout(grid)
        grid.setContentsMargins(20, 0, 0, 0)
        grid.setHorizontalSpacing(8)
        grid.setVerticalSpacing(4)
        grid.setColumnStretch(1, 1)
        self.twice.setToolTip("The same prompt to a second drafter or model; it waits for the first, so that neither slows the other")
        for row, (words, box) in enumerate((("Drafter", self._other_drafter), ("Model", self._other_model))):
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.setMinimumContentsLength(6)
            box.setAccessibleName(f"{words} of the second answer")
            box.setToolTip(f"{words} that writes the second answer to the same prompt")
            box.activated.connect(self._on_changed)
            grid.addWidget(_small(words), row, 0)
            grid.addWidget(box, row, 1)
        self.twice.toggled.connect(self._other_box.setVisible)
        self.twice.toggled.connect(self._on_changed)
        return self._other_box

    # settings ------------------------------------------------------------------------------------------------------

    def job(self) -> Chat:
        """The settings as a job without messages; raises `UserError` if they do not fit together."""
        return self.form.job()

    def set_job(self, job: Chat) -> None:
        """Show the settings of a job."""
        self.form.set_job(replace(job, messages=(), prompt="", continue_ids=()))
        self.set_models(self._models_by_key, job.model)
        self._tell_why()

    def choices(self) -> dict[str, Any]:
        """What is set besides the job, JSON-able."""
        return {
            "check": self.check.isChecked(), "twice": self.twice.isChecked(), "drafter": self._other_drafter.currentData(),
            "model": self._other_model.currentData(), "more": self.form.is_expanded(),
        }  # fmt: skip

    def set_choices(self, choices: dict[str, Any]) -> None:
        """Put back what `choices` gave."""
        self.check.setChecked(bool(choices.get("check", True)))
        self.twice.setChecked(bool(choices.get("twice", False)))
        self.form.set_expanded(bool(choices.get("more", False)))
        for box, name in ((self._other_drafter, "drafter"), (self._other_model, "model")):
            box.setCurrentIndex(max(box.findData(choices.get(name)), 0))

    def other_job(self, job: Chat) -> Chat | None:
        """The job of the second answer to the same prompt, if one is wanted."""
        if not self.twice.isChecked():
            return None
        return replace(job, drafter=self._other_drafter.currentData(), model=self._other_model.currentData() or job.model)

    def set_models(self, models: Sequence[tuple[str, str]], current: str) -> None:
        """What can answer: (key, title). The model in use stays in the list also when it is gone from the disk."""
        rows = list(models)
        if current not in [key for key, _title in rows]:
            rows.append((current, current.rsplit("/", 1)[-1]))
        self._models_by_key = rows
        for box in (self._models, self._other_model):
            kept = box.currentData() if box is self._other_model else current
            box.clear()
            for key, title in rows:
                box.addItem(title, key)
            box.setCurrentIndex(max(box.findData(kept), 0))
        self._models.addItem("Add a model …", OWN)
        self.form.set_value("model", current)

    def title_of(self, model: str) -> str:
        """The name of a model for people."""
        return dict(self._models_by_key).get(model, model.rsplit("/", 1)[-1])

    def set_drafters(self, drafters: Sequence[DrafterStatus], auto_reason: str = "") -> None:
        """Which drafters can run; the others cannot be chosen, and say why."""
        self._drafters, self._auto_reason = tuple(drafters), auto_reason
        known = {status.name: status for status in drafters}
        for box in (self.form.editor("drafter"), self._other_drafter):
            if box is self._other_drafter and not box.count():
                for name in DRAFTER_TITLES:
                    box.addItem("", name)
            for row, (name, title) in enumerate(DRAFTER_TITLES.items()):
                status = known.get(name)
                ready = status is None or status.ready
                item = box.model().item(row)
                item.setEnabled(ready)
                item.setText(TITLES[name] if ready else f"{TITLES[name]} (not here)")
                item.setToolTip(f"{title}. {auto_reason if name == 'auto' else status.sentence if status else ''}".strip())
        self._tell_why()

    def _tell_why(self) -> None:
        """What the chosen drafter does, or why it cannot run."""
        chosen = self.form.value("drafter")
        status = next((status for status in self._drafters if status.name == chosen), None)
        sentence = self._auto_reason if chosen == "auto" else status.sentence if status else ""
        if status is not None and status.ready and status.speedup:
            sentence = f"{sentence} Measured here: {status.speedup:.2f}x plain."
        self._why.setText(sentence)
        self._why.setVisible(bool(sentence))

    def why(self) -> str:
        """The line about the chosen drafter."""
        return self._why.text()

    @Slot(object)
    def _on_form(self, _job: Any) -> None:
        self._tell_why()
        self.changed.emit()

    @Slot()
    def _on_changed(self, *_values: object) -> None:
        self.changed.emit()

    @Slot()
    def _on_model(self) -> None:
        key = self._models.currentData()
        if key == OWN:
            self._models.setCurrentIndex(max(self._models.findData(self.form.value("model")), 0))
            self.model_wanted.emit()
        elif key != self.form.value("model"):
            self.form.set_value("model", key)
            self.changed.emit()

    @property
    def model(self) -> str:
        """The key of the model that answers."""
        return self.form.value("model")


def _small(words: str) -> QLabel:
    label = QLabel(words)
    label.setProperty("role", "small")
    return label
