"""What can be set: the landscape by eigenvalues and angle or by a spectrum, the descents, their steps."""

from __future__ import annotations

from dataclasses import replace

from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QCheckBox, QComboBox, QFormLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from app.jobs.quadratic import Quadratic
from app.panels.quadratic.words import COLOURS, PRESETS, TITLES
from app.widgets.knob_sliders import KnobSliders, Setting
from app.widgets.param_form import ParamForm
from app.widgets.scrolled import fill

SKIPPED = ("eigenvalues", "angle", "entries", "b", "start", "methods", "steps", "side", "seed", "device", "dtype")
NO_PRESET = "Presets …"
WIDTH = 288
AXES = (
    Setting("first", 1.0, "Eigenvalue 1", "Of A: how steep the landscape is along its first axis", -10.0, 100.0, 0.1),
    Setting("second", 10.0, "Eigenvalue 2", "Along its second axis", -10.0, 100.0, 0.1),
    Setting("angle", 30.0, "Angle", "Of the first axis, in degrees", -90.0, 90.0, 1.0),
    Setting("steps", 30, "Steps", "At most", 1, 500, 1),
)


class Form(QWidget):
    """Edits the job; `start` is dragged on the stage."""

    changed = Signal()
    preset_told = Signal(str, str)
    invalid = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setMinimumWidth(WIDTH)
        self.start: tuple[float, ...] = ()
        self.presets, self.knobs, self.axes = QComboBox(), ParamForm(Quadratic, skip=SKIPPED), KnobSliders()
        self.presets.addItems([NO_PRESET, *PRESETS])
        for number, (sentence, _settings) in enumerate(PRESETS.values(), 1):
            self.presets.setItemData(number, sentence, 3)  # Qt.ItemDataRole.ToolTipRole
        self.axes.set_settings(AXES)
        self.methods = {name: QCheckBox(title, toolTip=tip) for name, (title, tip) in TITLES.items()}
        self.reset = QPushButton("Hardest start", toolTip="Put the start where steepest descent has it hardest")
        self._build()
        self.set_job(Quadratic())
        self.presets.activated.connect(self._on_preset)
        self.axes.changed.connect(self._on_changed)
        self.knobs.changed.connect(self._on_knobs)
        self.knobs.invalid.connect(self.invalid)
        self.reset.clicked.connect(self._on_reset)
        for box in self.methods.values():
            box.toggled.connect(self._on_changed)

    def _build(self) -> None:
        inside = QWidget()
        box = QVBoxLayout(inside)
        box.setContentsMargins(12, 8, 12, 12)
        box.setSpacing(8)
        rows = QFormLayout()
        rows.addRow("Preset", self.presets)
        box.addLayout(rows)
        box.addWidget(self.axes)
        heading = QLabel("Descents")
        heading.setProperty("role", "heading")
        box.addWidget(heading)
        for name, check in self.methods.items():
            check.setProperty("colour", COLOURS[name])
            box.addWidget(check)
        box.addWidget(self.reset)
        box.addWidget(self.knobs)
        box.addStretch(1)
        fill(self, inside)

    def chosen(self) -> tuple[str, ...]:
        """The ticked descents."""
        return tuple(name for name, box in self.methods.items() if box.isChecked())

    def job(self) -> Quadratic:
        """What is set; UserError if it makes no job."""
        axes, flat = self.axes.values(), self.knobs.value("spectrum") == "given"
        own = {"eigenvalues": (axes["first"], axes["second"]), "angle": axes["angle"], "steps": axes["steps"], "methods": self.chosen()}
        return replace(self.knobs.job(), **own, start=self.start if flat else ())

    def set_job(self, job: Quadratic) -> None:
        """Show a job; tells nobody."""
        self.knobs.set_job(job)
        for name, value in (("first", job.eigenvalues[0]), ("second", job.eigenvalues[1]), ("angle", job.angle), ("steps", job.steps)):
            self.axes.set_value(name, value)
        for name, box in self.methods.items():
            box.blockSignals(True)
            box.setChecked(name in job.methods)
            box.blockSignals(False)
        self.start = job.start
        self._enable()

    def drag_axis(self, number: int, size: float, angle: float) -> None:
        """An axis was dragged: another size of its eigenvalue, whose sign stays, and another angle."""
        name = ("first", "second")[number]
        sign = -1.0 if self.axes.values()[name] < 0 else 1.0
        self.axes.set_value(name, max(round(sign * size, 2), AXES[number].lo))
        self.axes.set_value("angle", round(angle, 1))
        self.changed.emit()

    def _enable(self) -> None:
        flat = self.knobs.value("spectrum") == "given"
        for name in ("first", "second", "angle"):
            self.axes.set_enabled(name, flat)
        self.reset.setEnabled(flat)

    @Slot(int)
    def _on_preset(self, index: int) -> None:
        if index > 0:
            name = self.presets.itemText(index)
            sentence, settings = PRESETS[name]
            self.set_job(replace(Quadratic(), **settings))
            self.presets.setCurrentIndex(0)
            self.changed.emit()
            self.preset_told.emit(name, sentence)

    @Slot()
    def _on_reset(self) -> None:
        self.start = ()
        self.changed.emit()

    @Slot(object)
    def _on_knobs(self, _job: Quadratic) -> None:
        self._enable()
        self.changed.emit()

    @Slot()
    def _on_changed(self, *_values: object) -> None:
        self.changed.emit()
