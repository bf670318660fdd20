"""What stands beside the first look: a second text, or the same text in a second model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QCheckBox, QComboBox, QVBoxLayout, QWidget

from app.jobs.attention import AttentionOverview
from app.widgets.prompt_edit import PromptEdit


class BesideForm(QWidget):
    """A switch, and the fields it unfolds."""

    changed = Signal()
    look_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.wanted = QCheckBox("A second one beside it", toolTip="Another text, or another model, in the same layer and heads")
        self.text, self.models = PromptEdit("The second text; empty: the same text", lines=4), QComboBox()
        self._source = "text"
        self.text.setAccessibleName("Second text")
        self.text.setToolTip("The text that stands beside the first; empty takes the same one")
        self.models.setAccessibleName("Model of the second text")
        self.models.setToolTip("The model that reads the second text")
        self.models.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.models.setMinimumContentsLength(8)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        for widget in (self.wanted, self.models, self.text):
            column.addWidget(widget)
        self.wanted.toggled.connect(self._on_wanted)
        self.text.edited.connect(self.changed)
        self.text.submitted.connect(self.look_wanted)
        self.models.activated.connect(self.changed)
        self._show_fields()

    def job(self, first: AttentionOverview) -> AttentionOverview | None:
        """The second look to a first; None if none is wanted, or it would be the same."""
        if not self.wanted.isChecked() or self.isHidden():
            return None
        model = self.models.currentData() if first.source == "text" and self.models.currentData() else first.model
        text = self.text.text()
        second = replace(first, model=model, text=text or first.text, ids=() if text else first.ids)
        return None if second == first else second

    def set_source(self, source: str) -> None:
        """Only texts have a second one, and only language models a choice of model."""
        self._source = source
        self.setVisible(source not in ("clip-picture", "small"))
        self._show_fields()

    def set_models(self, models: Sequence[tuple[str, str]]) -> None:
        """Language models that are here: (key, title)."""
        kept = self.models.currentData()
        self.models.clear()
        for key, title in models:
            self.models.addItem(title, key)
        self.models.setCurrentIndex(max(self.models.findData(kept), 0))

    def choices(self) -> dict[str, Any]:
        """What is set, JSON-able."""
        return {"wanted": self.wanted.isChecked(), "text": self.text.text(), "model": self.models.currentData()}

    def set_choices(self, choices: dict[str, Any]) -> None:
        """Put back what `choices` gave."""
        self.text.set_text(str(choices["text"]))
        if self.models.findData(choices["model"]) < 0 and choices["model"]:
            self.models.addItem(str(choices["model"]).rsplit("/", 1)[-1], choices["model"])
        self.models.setCurrentIndex(max(self.models.findData(choices["model"]), 0))
        self.wanted.setChecked(bool(choices["wanted"]))

    def _show_fields(self) -> None:
        on = self.wanted.isChecked()
        self.text.setVisible(on)
        self.models.setVisible(on and self._source == "text")

    @Slot()
    def _on_wanted(self) -> None:
        self._show_fields()
        self.changed.emit()
