"""Settings as rows of a word, a slider and a number: for knobs that are dragged while something is watched.

Wide ranges have a logarithmic slider. The number beside it takes what the slider cannot reach.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QObject, Qt, Signal, Slot
from PySide6.QtWidgets import QCheckBox, QComboBox, QDoubleSpinBox, QGridLayout, QHBoxLayout, QLabel, QSlider, QWidget

from app import theme

Value = int | float | str | bool
STEPS = 400
"""Places of a slider."""
LOGARITHMIC = 40
"""A range whose ends differ by this factor is dragged in equal ratios."""
SEEDS = 1_000_000
"""A range that reaches further names a seed: nothing to drag."""
_NUMBER_WIDTH = 72


@dataclass(frozen=True)
class Setting:
    """One row. `reach` is where the slider ends, if before `hi`."""

    name: str
    value: Value
    title: str = ""
    help: str = ""
    lo: float | None = None
    hi: float | None = None
    step: float = 1
    reach: float | None = None
    choices: tuple[str, ...] = ()


class KnobSliders(QWidget):
    """Shows some settings and tells of every change."""

    changed = Signal(str, object)
    """Name and new value."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._rows: dict[str, _Row] = {}
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(8)
        self._grid.setVerticalSpacing(6)
        self._grid.setColumnStretch(1, 1)

    def set_settings(self, settings: Sequence[Setting]) -> None:
        """Other rows."""
        for row in self._rows.values():
            for widget in (row.label, row.widget):
                self._grid.removeWidget(widget)
                widget.hide()
                widget.deleteLater()
        self._rows = {}
        for place, setting in enumerate(settings):
            row = _make(setting, self)
            row.edited.connect(self.changed)
            self._grid.addWidget(row.label, place, 0)
            self._grid.addWidget(row.widget, place, 1)
            self._rows[setting.name] = row

    def values(self) -> dict[str, Value]:
        """What is set."""
        return {name: row.value() for name, row in self._rows.items()}

    def set_value(self, name: str, value: Value) -> None:
        """Show a value; tells nobody."""
        self._rows[name].show(value)

    def set_enabled(self, name: str, enabled: bool) -> None:
        """Whether a row can be changed."""
        self._rows[name].label.setEnabled(enabled)
        self._rows[name].widget.setEnabled(enabled)

    def editor(self, name: str) -> QWidget:
        """The slider, box or switch of a row."""
        return self._rows[name].editor


class _Row(QObject):
    """A label and what edits the value."""

    edited = Signal(str, object)

    def __init__(self, setting: Setting, editor: QWidget, widget: QWidget, parent: QWidget) -> None:
        super().__init__(parent)
        self.setting, self.editor, self.widget = setting, editor, widget
        title = setting.title or setting.name.replace("_", " ").capitalize()
        self.label = QLabel(title)
        self.label.setBuddy(editor)
        self._silent = False
        for shown in (self.label, widget, editor):
            shown.setToolTip(setting.help)
        editor.setAccessibleName(title)

    def value(self) -> Value:
        raise NotImplementedError

    def show(self, value: Value) -> None:
        self._silent = True
        self._put(value)
        self._silent = False

    def _put(self, value: Any) -> None:
        raise NotImplementedError

    @Slot()
    def _tell(self) -> None:
        if not self._silent:
            self.edited.emit(self.setting.name, self.value())


class _Switch(_Row):
    def __init__(self, setting: Setting, parent: QWidget) -> None:
        box = QCheckBox()
        super().__init__(setting, box, box, parent)
        self.show(setting.value)
        box.toggled.connect(self._tell)

    def value(self) -> bool:
        return self.editor.isChecked()

    def _put(self, value: Any) -> None:
        self.editor.setChecked(bool(value))


class _Choice(_Row):
    def __init__(self, setting: Setting, parent: QWidget) -> None:
        box = QComboBox()
        box.addItems(list(setting.choices))
        box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        super().__init__(setting, box, box, parent)
        self.show(setting.value)
        box.currentIndexChanged.connect(self._tell)

    def value(self) -> str:
        return self.editor.currentText()

    def _put(self, value: Any) -> None:
        self.editor.setCurrentText(str(value))


class _Number(_Row):
    """A slider and a box that follow each other; `editor` is the slider, or the box where there is nothing to drag."""

    def __init__(self, setting: Setting, parent: QWidget) -> None:
        self.whole = isinstance(setting.value, int)
        self.top = min(setting.hi, setting.reach or setting.hi)
        self.by_ratio = setting.lo > 0 and self.top / setting.lo >= LOGARITHMIC
        self.slider = QSlider(Qt.Orientation.Horizontal, minimum=0, maximum=STEPS)
        self.decimals = 0 if self.whole else _decimals(setting)
        self.box = theme.pad(QDoubleSpinBox(decimals=self.decimals))
        self.box.setRange(setting.lo, setting.hi)
        self.box.setSingleStep(setting.step)
        self.box.setKeyboardTracking(False)
        self.box.setFixedWidth(_NUMBER_WIDTH + 8 * max(0, self.decimals - 3))
        dragged = setting.hi < SEEDS
        widget, row = QWidget(), QHBoxLayout()
        widget.setLayout(row)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(6)
        row.addWidget(self.slider, 1)
        row.addWidget(self.box)
        self.slider.setVisible(dragged)
        if not dragged:
            row.addStretch(1)
        super().__init__(setting, self.slider if dragged else self.box, widget, parent)
        self.box.setAccessibleName(setting.title or setting.name)
        self.box.setToolTip(setting.help)
        self.show(setting.value)
        self.slider.valueChanged.connect(self._on_dragged)
        self.box.valueChanged.connect(self._on_typed)

    def value(self) -> int | float:
        return round(self.box.value()) if self.whole else round(self.box.value(), max(4, self.decimals))

    def _put(self, value: Any) -> None:
        self.box.setValue(value)
        self.slider.setValue(self._place(value))

    def _place(self, value: float) -> int:
        lo, hi = self.setting.lo, max(self.top, self.setting.lo + 1e-9)
        value = min(max(value, lo), hi)
        share = math.log(value / lo) / math.log(hi / lo) if self.by_ratio else (value - lo) / (hi - lo)
        return round(share * STEPS)

    @Slot(int)
    def _on_dragged(self, place: int) -> None:
        if self._silent:
            return
        lo, hi, share, step = self.setting.lo, self.top, place / STEPS, self.setting.step
        value = lo * (hi / lo) ** share if self.by_ratio else lo + round(share * (hi - lo) / step) * step
        before = self.value()
        self._silent = True
        self.box.setValue(value)
        self._silent = False
        if self.value() != before:
            self._tell()

    @Slot(float)
    def _on_typed(self, value: float) -> None:
        if not self._silent:
            self._silent = True
            self.slider.setValue(self._place(value))
            self._silent = False
            self._tell()


def _decimals(setting: Setting) -> int:
    """Two, or as many as tell the smallest values of a range apart that begins below a hundredth."""
    small = min((abs(value) for value in (setting.lo, setting.value) if value), default=1.0)
    return 2 if small >= 0.01 or setting.lo <= 0 else math.ceil(-math.log10(small))


def _make(setting: Setting, parent: QWidget) -> _Row:
    if setting.choices:
        return _Choice(setting, parent)
    return _Switch(setting, parent) if isinstance(setting.value, bool) else _Number(setting, parent)
