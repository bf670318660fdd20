"""The left column: what to look at, in which model, and the button that looks. Only the fields that count for a source are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import (
    QAbstractSpinBox,
    QComboBox,
    QFormLayout,
    QFrame,
    QLabel,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from app.jobs.attention import SOURCES, AttentionOverview
from app.panels.attention.beside_form import BesideForm
from app.panels.attention.picture_field import PictureField
from app.panels.attention.small_field import SmallField
from app.protocol.job import field_types, knobs
from app.protocol.payloads import Image
from app.widgets.field_editors import FieldEditor, make_editor
from app.widgets.prompt_edit import PromptEdit

SMOLLM2, OWN = "smollm2", "own"
NUMBERS = ("steps", "cfg_scale", "seed")
SHOWN = {
    "text": ("model", "text"),
    "clip-text": ("text",),
    "clip-picture": ("picture", "seed"),
    "clip-words": ("text", "picture", "seed"),
    "unet-self": ("text", *NUMBERS),
    "unet-words": ("text", *NUMBERS),
    "small": ("training", "seed"),
}
TITLES = {
    "text": "Language model: text",
    "clip-text": "CLIP: words",
    "clip-picture": "CLIP: patches",
    "clip-words": "CLIP: words to patches",
    "unet-self": "UNet: cells",
    "unet-words": "UNet: cells to words",
    "small": "Small model of the Lab",
}
PLAYWORLD = "a person waving beside a red house, day sky, grass"
TEXTS = {source: PLAYWORLD for source in SHOWN if source != "text"}
"""What the text field begins with, where the job's own example makes no sense."""


class SideForm(QWidget):
    """The fields of a look."""

    changed = Signal()
    look_wanted = Signal()
    model_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._values: dict[str, Any] = {item.name: item.default for item in fields(AttentionOverview)}
        self._texts = {"text": self._values["text"], **TEXTS}
        self._editors: dict[str, FieldEditor] = {}
        self.source, self.models = QComboBox(), QComboBox()
        self.text = PromptEdit("A text to look at", lines=7)
        self.picture, self.small, self.beside = PictureField(), SmallField(), BesideForm()
        self.look = QPushButton("Look", toolTip="See what the model looks at (Ctrl+Enter)")
        self._exact, self._rows = QLabel(wordWrap=True), QFormLayout()
        self._build()
        self.set_models([(SMOLLM2, "SmolLM2 135M")])
        self.set_picture(None)
        self.set_text(self._values["text"])

    # building ------------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        rows, words, kinds = self._rows, knobs(AttentionOverview), field_types(AttentionOverview)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setSpacing(8)
        rows.setRowWrapPolicy(QFormLayout.RowWrapPolicy.DontWrapRows)
        for box in (self.source, self.models):
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.setMinimumContentsLength(8)
        for key, title in SOURCES.items():
            self.source.addItem(TITLES[key], key)
            self.source.setItemData(self.source.count() - 1, title, Qt.ItemDataRole.ToolTipRole)
        self._exact.setProperty("role", "small")
        self._exact.hide()
        for name, widget in (("source", self.source), ("model", self.models), ("text", self.text), ("picture", self.picture)):
            widget.setAccessibleName(words[name].title)
            widget.setToolTip(words[name].help)
            rows.addRow(widget)
        rows.addRow(self.small)
        rows.addRow(self._exact)
        for name in NUMBERS:
            editor = make_editor(name, words[name], kinds[name])
            editor.set_value(self._values[name])
            editor.edited.connect(self._on_edited)
            self._editors[name] = editor
            rows.addRow(words[name].title, editor.widget)
        rows.addRow(self.beside)
        for box in self.findChildren(QAbstractSpinBox):
            box.setMinimumWidth(72)
        self.source.activated.connect(self._on_source)
        self.models.activated.connect(self._on_model)
        self.text.edited.connect(self._on_text)
        for signal in (self.text.submitted, self.beside.look_wanted):
            signal.connect(self.look_wanted)
        self.beside.changed.connect(self.changed)
        self.small.edited.connect(self._on_small)
        self.picture.removed.connect(self._on_removed)
        self.look.clicked.connect(self.look_wanted)
        self._frame()

    def _frame(self) -> None:
        inside, column, foot = QWidget(), QVBoxLayout(), QVBoxLayout()
        inside.setLayout(column)
        column.setContentsMargins(12, 12, 12, 12)
        column.addLayout(self._rows)
        column.addStretch(1)
        scroll = QScrollArea(widgetResizable=True)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # what stands in it has the focus
        scroll.setWidget(inside)
        self.look.setProperty("role", "primary")
        foot.setContentsMargins(12, 8, 12, 8)
        foot.addWidget(self.look)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.setSpacing(0)
        outer.addWidget(scroll, 1)
        outer.addLayout(foot)
        self.setMinimumWidth(224)

    # values --------------------------------------------------------------------------------------------------------

    def job(self) -> AttentionOverview:
        """The look as set; raises `UserError` if the values do not make one."""
        return AttentionOverview(**{**self._values, "step": min(self._values["step"], self._values["steps"])})

    def set_job(self, job: AttentionOverview) -> None:
        """Show a look; tells nobody."""
        for item in fields(AttentionOverview):
            self._values[item.name] = getattr(job, item.name)
        self._texts[job.source] = job.text
        self.source.setCurrentIndex(self.source.findData(job.source))
        self.text.set_text(job.text)
        for name, editor in self._editors.items():
            editor.set_value(self._values[name])
        self.set_models(self._models)
        self.small.set_words(job.training)
        self.set_picture(job.picture)
        self._show_fields()

    @property
    def ids(self) -> tuple[int, ...]:
        """The exact tokens that are set; none if it is a text."""
        return self._values["ids"]

    def set_step(self, step: int) -> None:
        """The denoising step that is shown."""
        self._values["step"] = step

    def set_models(self, models: Sequence[tuple[str, str]]) -> None:
        """Language models that are here: (key, title). The one that is set stays in the list."""
        self._models = list(models)
        current = self._values["model"]
        if current not in dict(self._models):
            self._models.append((current, current.rsplit("/", 1)[-1]))
        self.beside.set_models(self._models)
        self.models.clear()
        for key, title in self._models:
            self.models.addItem(title, key)
        self.models.addItem("A model by path …", OWN)
        self.models.setCurrentIndex(self.models.findData(current))

    def set_model(self, model: str) -> None:
        """Take a language model by its name in the catalogue or as language:PATH."""
        self._values["model"] = model
        self.set_models(self._models)

    def set_picture(self, picture: Image | None) -> None:
        """The picture to look at; None: the scene of the built-in world that has the seed."""
        self._values["picture"] = picture
        self.picture.set_picture(picture)

    def set_text(self, text: str, ids: tuple[int, ...] = ()) -> None:
        """The text to look at; with `ids`, exactly these tokens stand for it until somebody types."""
        self._values["text"] = self._texts[self._values["source"]] = text
        self._values["ids"] = ids
        self.text.set_text(text)
        self._show_fields()

    def _show_fields(self) -> None:
        """Only what counts for the source."""
        shown = SHOWN[self._values["source"]]
        rows = {"model": self.models, "text": self.text, "picture": self.picture, "training": self.small}
        for name, widget in (*rows.items(), *((name, editor.widget) for name, editor in self._editors.items())):
            self._rows.setRowVisible(widget, name in shown)
        self.beside.set_source(self._values["source"])
        count = len(self._values["ids"])
        self._exact.setText(f"These are exactly {count} tokens, as a reply had them; typing makes them a text again." if count else "")
        self._rows.setRowVisible(self._exact, bool(count))

    # changes by the person -----------------------------------------------------------------------------------------

    @Slot()
    def _on_source(self) -> None:
        source = self.source.currentData()
        if source != self._values["source"]:
            self._values["source"] = source
            self.set_text(self._texts[source])
            self.changed.emit()

    @Slot()
    def _on_model(self) -> None:
        key = self.models.currentData()
        if key == OWN:
            self.models.setCurrentIndex(self.models.findData(self._values["model"]))
            self.model_wanted.emit()
        elif key != self._values["model"]:
            self._values["model"] = key
            self.changed.emit()

    @Slot(str)
    def _on_text(self, text: str) -> None:
        self._values["text"] = self._texts[self._values["source"]] = text
        if self._values["ids"]:
            self._values["ids"] = ()
            self._show_fields()
        self.changed.emit()

    @Slot()
    def _on_small(self) -> None:
        self._values["training"] = self.small.words()
        self.changed.emit()

    @Slot(str)
    def _on_edited(self, name: str) -> None:
        self._values[name] = self._editors[name].value()
        self.changed.emit()

    @Slot()
    def _on_removed(self) -> None:
        self.set_picture(None)
        self.changed.emit()
