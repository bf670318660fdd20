"""The left column: whose experts, the text, how much is written on, and what is changed at the gates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import (
    QAbstractSpinBox,
    QComboBox,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLayout,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from app.jobs.routing import BUILT_IN, Routing
from app.panels.routing.gates_form import GatesForm
from app.widgets.icons import icon
from app.widgets.param_form import ParamForm

SKIPPED = ("off", "force", "experts_a_token", "use_bias", "capacity_factor", "model", "checkpoint", "device")
OWN = "own"
LEAST_FIELD = 56


class SideForm(QScrollArea):
    """Makes the job of the next reading."""

    read_wanted = Signal()
    step_wanted = Signal()
    changed = Signal()
    invalid = Signal(str)
    model_changed = Signal()
    folder_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.form, self.gates, self.models = ParamForm(Routing, skip=SKIPPED), GatesForm(), QComboBox()
        self.read = QPushButton(icon("play", "on_accent"), "Read and write on")
        self.step = QPushButton("Step by step", toolTip="Read the text, then write token by token (F10)")
        self._choices: list[tuple[str, str, str]] = []
        self._model, self._checkpoint = BUILT_IN, ""
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # what stands in it has the focus
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMinimumWidth(288)
        self._build()
        self.set_choices([])

    def _build(self) -> None:
        inside, row, buttons = QWidget(), QHBoxLayout(), QVBoxLayout()
        buttons.setSpacing(6)
        column = QVBoxLayout(inside)
        column.setContentsMargins(12, 12, 12, 12)
        column.setSpacing(8)
        self.models.setAccessibleName("Model")
        self.models.setToolTip("Whose experts: the built-in mixture, a folder with safetensors, or the checkpoint of a training")
        self.models.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.models.setMinimumContentsLength(10)
        self.models.activated.connect(self._on_model)
        row.addWidget(QLabel("Model"))
        row.addWidget(self.models, 1)
        self.read.setProperty("role", "primary")
        self.read.setToolTip("Show which experts each token visits, first in the text, then in what the model writes (Ctrl+Enter)")
        self.read.clicked.connect(self.read_wanted)
        self.step.clicked.connect(self.step_wanted)
        buttons.addWidget(self.read)
        buttons.addWidget(self.step)
        self.form.editor("text").setFixedHeight(132)
        for box in self.form.findChildren(QAbstractSpinBox):
            box.setMinimumWidth(LEAST_FIELD)  # a field with a button beside it still fits
        self.form.changed.connect(self._on_changed)
        self.form.invalid.connect(self.invalid)
        self.gates.changed.connect(self._on_changed)
        heading = QLabel("Change the gates")
        heading.setProperty("role", "heading")
        for part in (row, self.form, buttons, _line(), heading, self.gates):
            column.addLayout(part) if isinstance(part, QLayout) else column.addWidget(part)
        column.addStretch(1)
        self.setWidget(inside)

    # values --------------------------------------------------------------------------------------------------------

    def job(self) -> Routing:
        """The settings as a job; raises `UserError` if they do not fit together."""
        return self.gates.put_into(replace(self.form.job(), model=self._model, checkpoint=self._checkpoint))

    def set_job(self, job: Routing) -> None:
        """Show the settings of a job; tells nobody."""
        self.form.set_job(job)
        self.gates.show_job(job)
        self.use(job.model, job.checkpoint)

    @property
    def source(self) -> dict[str, str]:
        """Whose experts, as fields of a job."""
        return {"model": self._model, "checkpoint": self._checkpoint}

    def use(self, model: str, checkpoint: str = "") -> None:
        """Look at another model; tells nobody."""
        self._model, self._checkpoint = model, checkpoint
        self.set_choices([choice for choice in self._choices if choice[0] != BUILT_IN or choice[1]])

    def set_choices(self, choices: Sequence[tuple[str, str, str]]) -> None:
        """What can be looked at besides the built-in mixture: (model, checkpoint, title); what is in use stays."""
        rows = [(BUILT_IN, "", "Built-in mixture"), *choices]
        if (self._model, self._checkpoint) not in [row[:2] for row in rows]:
            rows.append((self._model, self._checkpoint, (self._checkpoint or self._model).rstrip("/").rsplit("/", 1)[-1]))
        self._choices = rows
        self.models.clear()
        for model, checkpoint, title in rows:
            self.models.addItem(title, (model, checkpoint))
            self.models.setItemData(self.models.count() - 1, checkpoint or model, Qt.ItemDataRole.ToolTipRole)
        self.models.addItem("Open a folder …", OWN)
        self.models.setCurrentIndex([row[:2] for row in rows].index((self._model, self._checkpoint)))

    def choices(self) -> list[tuple[str, str, str]]:
        """What can be chosen now."""
        return list(self._choices)

    @Slot()
    def _on_model(self) -> None:
        chosen = self.models.currentData()
        if chosen == OWN:
            self.use(self._model, self._checkpoint)
            self.folder_wanted.emit()
        elif tuple(chosen) != (self._model, self._checkpoint):
            self._model, self._checkpoint = chosen
            self.model_changed.emit()

    @Slot()
    def _on_changed(self, *_values: object) -> None:
        self.changed.emit()


def _line() -> QFrame:
    line = QFrame()
    line.setProperty("role", "line")
    return line
