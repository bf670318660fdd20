"""What can be set: the landscape by eigenvalues and angle, by A and b, or by a spectrum; the descents, their steps."""

from __future__ import annotations

from dataclasses import replace

from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QCheckBox, QComboBox, QFormLayout, QGridLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from app.jobs.quadratic import Quadratic
from app.panels.quadratic import numbers
from app.panels.quadratic.words import PRESETS, TITLES
from app.widgets.knob_sliders import KnobSliders, Setting
from app.widgets.param_form import ParamForm
from app.widgets.scrolled import fill

FLAT = ("first", "second", "angle")
"""Sliders that shape a landscape of two variables."""
ACTS = {"variables": (), "condition": (), "length": ("fixed", "heavy-ball"), "momentum": ("heavy-ball",), "repair": ("conjugate", "jacobi")}
"""Descents that listen to a knob; those without any belong to a spectrum that is not given."""
SKIPPED = ("eigenvalues", "angle", "entries", "b", "start", "methods", "steps", "side", "reach", "seed", "device", "dtype")
NO_PRESET = "Presets …"
WIDTH = 288
AXES = (
    Setting("first", 1.0, "Eigenvalue 1", "Of A: how steep the landscape is along its first axis", -10.0, 100.0, 0.1),
    Setting("second", 10.0, "Eigenvalue 2", "Along its second axis", -10.0, 100.0, 0.1),
    Setting("ratio", 10.0, "Condition", "Largest over smallest eigenvalue; dragging it moves the largest", 1.0, 100.0, 1.0),
    Setting("angle", 30.0, "Angle", "Of the first axis, in degrees", -90.0, 90.0, 1.0),
    Setting("steps", 30, "Steps", "At most", 1, 500, 1),
)


class Form(QWidget):
    """Edits the job; `start` and axes are dragged on the stage too."""

    changed = Signal()
    preset_told = Signal(str)
    """What its point is."""
    invalid = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setMinimumWidth(WIDTH)
        self.start: tuple[float, ...] = ()
        self.b: tuple[float, ...] = ()
        self.reach = 0.0
        """Half the side of the landscape, held while the start is dragged; 0: it fits the start."""
        self.shape: dict[str, float] = {}
        """Eigenvalues and angle, which the sliders show rounded."""
        self.numbers = numbers.Numbers()
        self.presets, self.knobs, self.axes = QComboBox(), ParamForm(Quadratic, skip=SKIPPED), KnobSliders()
        self.presets.addItems([NO_PRESET, *PRESETS])
        self.presets.setToolTip("Landscapes and descents that show a point each")
        for number, (sentence, _settings) in enumerate(PRESETS.values(), 1):
            self.presets.setItemData(number, sentence, 3)  # Qt.ItemDataRole.ToolTipRole
        self.axes.set_settings(AXES)
        self.methods = {name: QCheckBox(title, toolTip=tip) for name, (title, tip) in TITLES.items()}
        self.reset = QPushButton("Hardest start", toolTip="Put the start where steepest descent has it hardest")
        self._build()
        self.set_job(Quadratic())
        self.presets.activated.connect(self._on_preset)
        self.axes.changed.connect(self._on_slid)
        self.numbers.matrix_edited.connect(self._on_matrix)
        self.numbers.b_edited.connect(self._on_b)
        self.numbers.start_edited.connect(self._on_start)
        self.numbers.refused.connect(self.invalid)
        self.knobs.changed.connect(self._on_knobs)
        self.knobs.invalid.connect(self.invalid)
        self.reset.clicked.connect(self._on_reset)
        for box in self.methods.values():
            box.toggled.connect(self._on_ticked)

    def _build(self) -> None:
        inside = QWidget()
        box = QVBoxLayout(inside)
        box.setContentsMargins(12, 8, 12, 12)
        box.setSpacing(8)
        rows = QFormLayout()
        rows.addRow("Preset", self.presets)
        box.addLayout(rows)
        box.addWidget(self.axes)
        box.addWidget(self.numbers)
        heading = QLabel("Descents")
        heading.setProperty("role", "heading")
        box.addWidget(heading)
        columns = QGridLayout()
        columns.setHorizontalSpacing(4)
        columns.setVerticalSpacing(4)
        for place, check in enumerate(self.methods.values()):
            columns.addWidget(check, place % 3, place // 3)
        box.addLayout(columns)
        box.addWidget(self.reset)
        box.addWidget(self.knobs)
        box.addStretch(1)
        fill(self, inside)

    def chosen(self) -> tuple[str, ...]:
        """The ticked descents."""
        return tuple(name for name, box in self.methods.items() if box.isChecked())

    def job(self) -> Quadratic:
        """What is set; UserError if it makes no job."""
        shape, steps = self.shape, self.axes.values()["steps"]
        own = {"eigenvalues": self.eigenvalues, "angle": shape["angle"], "steps": steps, "methods": self.chosen()}
        flat = {"start": self.start, "b": self.b, "reach": self.reach} if self.flat else {"start": (), "b": (), "reach": 0.0}
        return replace(self.knobs.job(), **own, **flat)

    @property
    def flat(self) -> bool:
        """Is the landscape one of two variables, shaped by hand?"""
        return self.knobs.value("spectrum") == "given"

    @property
    def eigenvalues(self) -> tuple[float, float]:
        """Of the landscape shaped by hand."""
        return self.shape["first"], self.shape["second"]

    def set_job(self, job: Quadratic) -> None:
        """Show a job; tells nobody."""
        self.knobs.set_job(job)
        self.axes.set_value("steps", job.steps)
        for name, box in self.methods.items():
            box.blockSignals(True)
            box.setChecked(name in job.methods)
            box.blockSignals(False)
        self.start, self.b, self.reach = job.start, job.b, job.reach
        self._shape(first=job.eigenvalues[0], second=job.eigenvalues[1], angle=job.angle)
        self._enable()

    def drag_axis(self, number: int, size: float, angle: float) -> None:
        """An axis was dragged: another size of its eigenvalue, whose sign stays, and another angle."""
        name = ("first", "second")[number]
        sign = -1.0 if self.shape[name] < 0 else 1.0
        self._shape(**{name: max(round(sign * size, 2), AXES[number].lo), "angle": round(angle, 1)})
        self.changed.emit()

    def show_start(self, start: tuple[float, float]) -> None:
        """Where the descents began, be it given or the hardest place."""
        self.numbers.show_start(start)

    def _shape(self, **values: float) -> None:
        """Take over eigenvalues or angle, and show the sliders, the matrix and the condition number that belong to them."""
        self.shape |= values
        for name, value in self.shape.items():
            self.axes.set_value(name, value)
        low, high = sorted(self.eigenvalues)
        self.axes.set_value("ratio", high / low if low > 0 else 1.0)
        self.axes.set_enabled("ratio", self.flat and low > 0)
        self.numbers.show_matrix(*numbers.entries(self.eigenvalues, self.shape["angle"]))
        self.numbers.show_b(self.b or (0.0, 0.0))
        if self.start:
            self.show_start(self.start)

    def _enable(self) -> None:
        chosen = self.chosen()
        for name in FLAT:
            self.axes.set_enabled(name, self.flat)
        self.axes.set_enabled("ratio", self.flat and min(self.eigenvalues) > 0)
        for widget in (self.reset, self.numbers):
            widget.setEnabled(self.flat)
        for name, listeners in ACTS.items():
            self.knobs.editor(name).setEnabled(bool(set(listeners) & set(chosen)) if listeners else not self.flat)

    @Slot(str, object)
    def _on_slid(self, name: str, value: object) -> None:
        if name in self.shape:
            self._shape(**{name: value})
        elif name == "ratio":
            low, high = sorted(("first", "second"), key=self.shape.get)
            self._shape(**{high: self.shape[low] * value})
        self.changed.emit()

    @Slot(float, float, float)
    def _on_matrix(self, a11: float, a12: float, a22: float) -> None:
        values, angle = numbers.axes(a11, a12, a22)
        lo, hi = AXES[0].lo, AXES[0].hi
        if lo <= values[0] <= values[1] <= hi:
            self._shape(first=values[0], second=values[1], angle=angle)
            self.changed.emit()
        else:
            self.invalid.emit(f"That A has the eigenvalues {values[0]:.4g} and {values[1]:.4g}; they may lie from {lo:g} to {hi:g}.")
            self._shape()

    @Slot(float, float)
    def _on_b(self, *b: float) -> None:
        self.b = b if any(b) else ()
        self.changed.emit()

    @Slot(float, float)
    def _on_start(self, *start: float) -> None:
        self.start, self.reach = start, 0.0
        self.changed.emit()

    @Slot(int)
    def _on_preset(self, index: int) -> None:
        if index > 0:
            sentence, settings = PRESETS[self.presets.itemText(index)]
            self.set_job(replace(Quadratic(), **settings))
            self.presets.setCurrentIndex(0)
            self.changed.emit()
            self.preset_told.emit(sentence)

    @Slot()
    def _on_reset(self) -> None:
        self.start, self.reach = (), 0.0
        self.changed.emit()

    @Slot(object)
    def _on_knobs(self, _job: Quadratic) -> None:
        self._enable()
        self.changed.emit()

    @Slot(bool)
    def _on_ticked(self, _on: bool) -> None:
        self._enable()
        self.changed.emit()
