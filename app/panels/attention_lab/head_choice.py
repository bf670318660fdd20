"""Whose q, k and v: the form that three pages share."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from PySide6.QtCore import QTimer, Signal, Slot
from PySide6.QtWidgets import QLabel, QSizePolicy, QVBoxLayout, QWidget

from app.jobs.attention_lab import CompareAttentions, HeadJob
from app.protocol.attention_lab import LabHead
from app.protocol.job import job_from_dict, job_to_dict
from app.widgets.param_form import ParamForm

NAMES = tuple(item.name for item in fields(HeadJob))
SKIPPED = ("mechanisms", "most", "repeats", "device")
RANDOM, OF_MODEL = ("tokens", "width", "seed"), ("text", "layer", "head", "model")
WAIT_MS = 350  # while somebody types


class HeadChoice(QWidget):
    """A form for the fields of `HeadJob`, with a line that says what came of it."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.form = ParamForm(CompareAttentions, skip=SKIPPED)
        self.words = QLabel(wordWrap=True)
        self.words.setProperty("role", "small")
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        box = QVBoxLayout(self)
        box.setContentsMargins(12, 8, 12, 4)
        box.setSpacing(6)
        box.addWidget(self.form)
        box.addWidget(self.words)
        self._clock = QTimer(self, singleShot=True, interval=WAIT_MS)
        self._clock.timeout.connect(self.changed)
        self.form.changed.connect(self._on_changed)
        self._enable()

    def values(self) -> dict[str, Any]:
        """The fields that name a head, for any job of the lab."""
        return {name: self.form.value(name) for name in NAMES}

    def set_source(self, source: str) -> None:
        """A model's head, or random numbers; tells nobody."""
        self.form.set_value("source", source)
        self._enable()

    def show_head(self, head: LabHead) -> None:
        """What the worker says it is."""
        self.words.setText(f"{head.title}: {len(head.tokens.ids)} tokens, d = {head.width}")
        for name, count in (("layer", head.layers), ("head", head.heads)):
            if count:
                self.form.editor(name).setMaximum(count - 1)

    def save(self) -> dict[str, Any]:
        """What to remember."""
        return {name: value for name, value in job_to_dict(self.form.job()).items() if name in NAMES}

    def restore(self, state: dict[str, Any]) -> None:
        """Take it up again."""
        job, _warnings = job_from_dict(CompareAttentions, state)
        self.form.set_job(job)
        self._enable()

    def _enable(self) -> None:
        random = self.form.value("source") == "random"
        for names, on in ((RANDOM, random), (OF_MODEL, not random)):
            for name in names:
                self.form.editor(name).setEnabled(on)

    @Slot(object)
    def _on_changed(self, _job: object) -> None:
        self._enable()
        if self.form.value("source") == "random":
            self.form.set_expanded(True)  # its knobs are there
        self._clock.start()
