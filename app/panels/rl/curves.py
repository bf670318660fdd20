"""The return over the training: curves and bands, episodes as dots, evaluations, the published result, and the time machine's cursor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QVBoxLayout, QWidget

from app.panels.rl import lines
from app.panels.rl.explain import pace
from app.panels.rl.metrics import RETURN, metric
from app.panels.rl.training import SECONDS, STEPS, Training
from app.widgets.colour_key import ColourKey, Entry
from app.widgets.metric_plot import MetricPlot

SMOOTHING = (1, 3, 10, 30, 100)


class Curves(QWidget):
    """One large plot with its switches; the small ones beside it follow the same switches."""

    changed = Signal()
    """Axis, smoothing or scale."""
    looked = Signal(int)
    """The cursor was dragged to a place: environment steps."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.plot, self.name = MetricPlot(metric(RETURN).title), RETURN
        self.key = ColourKey()
        self._shown: Training | None = None
        self.axis, self.smoothing = QComboBox(), QComboBox()
        self.dots, self.log = QCheckBox("Dots", checked=True), QCheckBox("Log")
        for title, key in (("steps", STEPS), ("time", SECONDS)):
            self.axis.addItem(title, key)
        for box, letters in ((self.axis, 4), (self.smoothing, 5)):
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.setMinimumContentsLength(letters)
        for span in SMOOTHING:
            self.smoothing.addItem("raw" if span == 1 else f"avg {span}", span)
        self._build()
        self._apply()

    def _build(self) -> None:
        row, column = QHBoxLayout(), QVBoxLayout(self)
        row.setContentsMargins(8, 4, 8, 2)
        row.setSpacing(6)
        for widget, name, tip in (
            (self.axis, "x axis", "Over environment steps, or over the time of work in seconds"),
            (self.smoothing, "Smoothing", "Average over so many points of the curve (exponential); the raw curve stays, faint"),
            (self.dots, "Episodes", "Every single episode of the shown training as a dot"),
            (self.log, "Logarithmic", "Logarithmic y axis; numbers below zero are left out"),
        ):  # fmt: skip
            widget.setAccessibleName(name)
            widget.setToolTip(tip)
            row.addWidget(widget)
        row.addStretch(1)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addLayout(row)
        column.addWidget(self.key)
        column.addWidget(self.plot, 1)
        self.plot.reader.set_key_at_rest(False)
        self.axis.activated.connect(self._on_switch)
        self.smoothing.activated.connect(self._on_switch)
        self.log.toggled.connect(self._on_switch)
        self.dots.toggled.connect(self._on_switch)
        self.plot.cursor_moved.connect(self._on_cursor)

    # switches ------------------------------------------------------------------------------------------------------

    @property
    def over(self) -> str:
        """What the x axis counts: a column."""
        return self.axis.currentData()

    def save(self) -> dict[str, object]:
        """The switches as they stand."""
        return {"over": self.over, "smooth": self.smoothing.currentData(), "log": self.log.isChecked(), "dots": self.dots.isChecked()}

    def restore(self, state: Mapping[str, object]) -> None:
        """Put the switches back."""
        self.axis.setCurrentIndex(max(0, self.axis.findData(state.get("over", STEPS))))
        self.smoothing.setCurrentIndex(max(0, self.smoothing.findData(state.get("smooth", 1))))
        self.log.setChecked(bool(state.get("log", False)))
        self.dots.setChecked(bool(state.get("dots", True)))
        self._apply()

    @Slot()
    def _on_switch(self, *_values: object) -> None:
        self._apply()
        self.changed.emit()

    def _apply(self) -> None:
        self.plot.set_axis(*lines.AXES[self.over])
        self.plot.set_smoothing(self.smoothing.currentData())
        self.plot.set_log(self.log.isChecked())

    # content -------------------------------------------------------------------------------------------------------

    def draw(self, shown: Training | None, drawn: Sequence[Training], labels: Mapping[str, str]) -> None:
        """The curves as they stand."""
        if self._shown is not None and self._shown is not shown:
            self.plot.set_dots(str(self._shown.number), np.empty(0), np.empty(0))
        self._shown = shown
        evaluated = lines.evaluation(shown, self.over) if shown is not None else []
        self.plot.set_lines([*lines.lines(drawn, RETURN, self.over, labels), *evaluated])
        self.key.set_entries(entries(shown, drawn, labels))
        if shown is None:
            return
        x, y = lines.episode_dots(shown, self.over) if self.dots.isChecked() else (np.empty(0), np.empty(0))
        self.plot.set_dots(str(shown.number), x, y)
        self.plot.set_marks(lines.marks(shown, self.over))
        self.plot.set_reference(shown.setup.reference if shown.setup and self.over == STEPS else None)

    def place_cursor(self, training: Training | None, at: int | None, moments: np.ndarray) -> None:
        """Where the time machine stands; at the newest while it follows."""
        if training is None or not len(training.metrics):
            self.plot.set_cursor(None)
            return
        steps = np.array([training.steps if at is None else at], float)
        self.plot.set_moments(lines.on_axis(training, moments, self.over))
        self.plot.set_cursor(float(lines.on_axis(training, steps, self.over)[0]))

    @Slot(float)
    def _on_cursor(self, x: float) -> None:
        if self._shown is not None:
            self.looked.emit(lines.to_steps(self._shown, x, self.over))


def entries(shown: Training | None, drawn: Sequence[Training], labels: Mapping[str, str]) -> list[Entry]:
    """What the colours mean: groups, evaluation, and the published result with how the shown training fares against it."""
    found = []
    for group, label in labels.items():
        members = [training for training in drawn if training.group == group and len(training.metrics)]
        if members:
            which = f"seed {members[0].run_setup.seed}" if len(members) == 1 else f"mean of {len(members)} seeds"
            found.append(Entry(f"{label}, {which}", members[0].colour))
    if shown is not None and len(shown.evals):
        found.append(Entry(lines.EVALUATION, lines.INK))
    if shown is not None and shown.setup is not None and shown.setup.reference is not None and len(shown.metrics):
        found.append(Entry(f"published: {pace(shown).partition(',')[0]}", lines.INK, dashed=True))
    return found
