"""What is changed at the gates: experts switched off or forced, how many a token visits, the bias, the capacity."""

from __future__ import annotations

from dataclasses import replace

from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import (
    QCheckBox,
    QDoubleSpinBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from app import theme
from app.jobs.routing import Routing
from app.panels.routing.switched import Switched
from app.protocol.job import knobs
from app.protocol.routing import RoutedModel


class GatesForm(QWidget):
    """Edits the steering fields of a job."""

    changed = Signal()
    compare_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        words = knobs(Routing)
        self.k, self.capacity = theme.pad(QSpinBox()), theme.pad(QDoubleSpinBox())
        self.bias = QCheckBox("Use the selection bias", checked=True, toolTip=words["use_bias"].help)
        self.pairs, self._layer, self._expert = Switched(), theme.pad(QSpinBox()), theme.pad(QSpinBox())
        self.compare = QPushButton("Before and after", toolTip="Read the text with the model as it is and as changed here, side by side")
        self.k.setRange(0, 16)
        self.k.setSpecialValueText("the model's own")
        self.capacity.setRange(0, 100)
        self.capacity.setSingleStep(0.25)
        self.capacity.setSpecialValueText("the model's own")
        for box, name in ((self.k, "experts_a_token"), (self.capacity, "capacity_factor")):
            box.setToolTip(words[name].help)
            box.setAccessibleName(words[name].title)
            box.setKeyboardTracking(False)
            box.valueChanged.connect(self._on_changed)
        self.bias.toggled.connect(self._on_changed)
        self.pairs.changed.connect(self._on_changed)
        self.compare.clicked.connect(self.compare_wanted)
        self._build()

    def _build(self) -> None:
        column, rows, pick, add = QVBoxLayout(self), QFormLayout(), QHBoxLayout(), QHBoxLayout()
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        rows.addRow("Experts a token", self.k)
        self._capacity_label = QLabel("Capacity factor")
        rows.addRow(self._capacity_label, self.capacity)
        self._capacity_label.hide()
        self.capacity.hide()
        for words, box, tip in (
            ("Layer", self._layer, "Of the expert to switch, counted from 0; a click on an expert sets both"),
            ("Expert", self._expert, "The expert of that layer, counted from 0"),
        ):
            box.setAccessibleName(words)
            box.setToolTip(tip)
            box.setMinimumWidth(52)
            pick.addWidget(QLabel(words))
            pick.addWidget(box, 1)
        off, force, clear = QPushButton("Off"), QPushButton("Force"), QPushButton("Clear")
        for button, tip, slot in (
            (off, "No token may visit this expert", self._on_off), (force, "Every token visits this expert", self._on_force),
            (clear, "The model as it is", self.clear),
        ):  # fmt: skip
            button.setToolTip(tip)
            button.clicked.connect(slot)
            add.addWidget(button, 1)
        column.addLayout(rows)
        column.addWidget(self.bias)
        column.addLayout(pick)
        column.addLayout(add)
        column.addWidget(self.pairs)
        column.addWidget(self.compare)

    # values --------------------------------------------------------------------------------------------------------

    def put_into(self, job: Routing) -> Routing:
        """The job with what is changed here."""
        return replace(
            job, off=self.pairs.pairs("off"), force=self.pairs.pairs("force"), experts_a_token=self.k.value(),
            use_bias=self.bias.isChecked(), capacity_factor=self.capacity.value(),
        )  # fmt: skip

    def show_job(self, job: Routing) -> None:
        """Show what a job changes; tells nobody."""
        self.blockSignals(True)
        self.pairs.set_pairs(job.off, job.force)
        self.k.setValue(job.experts_a_token)
        self.bias.setChecked(job.use_bias)
        self.capacity.setValue(job.capacity_factor)
        self.blockSignals(False)

    def fit(self, looked: RoutedModel) -> None:
        """What can be changed in this model."""
        self.k.setRange(0, looked.n_experts)
        self._layer.setRange(looked.layers[0], looked.layers[-1])
        self._expert.setRange(0, looked.n_experts - 1)
        self.bias.setEnabled(looked.has_bias)
        limited = looked.capacity_factor is not None
        self.capacity.setVisible(limited)
        self._capacity_label.setVisible(limited)

    def point(self, layer: int, expert: int) -> None:
        """Take over an expert that was clicked elsewhere."""
        self._layer.setValue(layer)
        self._expert.setValue(expert)

    @Slot()
    def clear(self) -> None:
        """The model as it is."""
        self.show_job(Routing())
        self._on_changed()

    @Slot()
    def _on_off(self) -> None:
        self.pairs.switch(self._layer.value(), self._expert.value(), "off")

    @Slot()
    def _on_force(self) -> None:
        self.pairs.switch(self._layer.value(), self._expert.value(), "force")

    @Slot()
    def _on_changed(self, *_values: object) -> None:
        self.changed.emit()
