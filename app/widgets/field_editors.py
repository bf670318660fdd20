"""One editor per kind of field of a job: number, choice, yes/no, text, seed. `param_form` puts them in rows."""

from __future__ import annotations

import math
import random
import typing
from typing import Any, Literal

from PySide6.QtCore import QEvent, QObject, Qt, Signal, Slot
from PySide6.QtWidgets import (
    QAbstractSpinBox,
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QLineEdit,
    QSpinBox,
    QToolButton,
    QWidget,
)

from app import theme
from app.protocol.job import Knob
from app.widgets.icons import icon
from app.widgets.prompt_edit import PromptEdit

_INT32 = 2**31 - 1
_UNBOUNDED = 1e9
RANDOM_SEED = -1
_SEED_TOP = 2**32 - 1


class FieldEditor(QObject):
    """A widget with ``value``, ``set_value`` (silent) and the signal ``edited(name)`` when the person changed it."""

    edited = Signal(str)

    def __init__(self, name: str, knob: Knob, widget: QWidget) -> None:
        super().__init__(widget)
        self.name, self.knob, self.widget = name, knob, widget
        self._silent = False

    def value(self) -> Any:
        """What the person has set."""
        raise NotImplementedError

    def set_value(self, value: Any) -> None:
        """Show a value without telling anybody."""
        self._silent = True
        try:
            self._show(value)
        finally:
            self._silent = False

    def _show(self, value: Any) -> None:
        raise NotImplementedError

    def _guard_from_wheel(self, box: QWidget) -> None:
        """Scrolling the form past a field must not change it: the wheel works only with the focus."""
        box.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        box.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Wheel and not watched.hasFocus():
            event.ignore()
            return True
        return super().eventFilter(watched, event)

    @Slot()
    def _on_edited(self) -> None:
        if not self._silent:
            self.edited.emit(self.name)


class _NumberEditor(FieldEditor):
    def __init__(self, name: str, knob: Knob, kind: type) -> None:
        lo = -_UNBOUNDED if knob.lo is None else knob.lo
        hi = _UNBOUNDED if knob.hi is None else knob.hi
        self._kind = kind
        if kind is int and -_INT32 <= lo and hi <= _INT32:
            box: QAbstractSpinBox = QSpinBox()
            box.setRange(int(lo), int(hi))
            box.setSingleStep(int(knob.step or 1))
        else:
            step = knob.step or (1 if kind is int else 0.1)
            box = QDoubleSpinBox()
            box.setDecimals(0 if kind is int else max(1, _decimals(step)))
            box.setRange(lo, hi)
            box.setSingleStep(step)
        box.setSuffix(f" {knob.unit}" if knob.unit else "")
        box.setKeyboardTracking(False)
        super().__init__(name, knob, theme.pad(box))
        self._guard_from_wheel(box)
        box.valueChanged.connect(self._on_edited)

    def value(self) -> int | float:
        return self._kind(self.widget.value())

    def _show(self, value: float) -> None:
        box = self.widget
        if self._kind is float and math.isfinite(value):
            box.setDecimals(max(box.decimals(), min(_decimals(value), 6)))
        box.setValue(self._kind(value))


class _ChoiceEditor(FieldEditor):
    def __init__(self, name: str, knob: Knob, values: tuple[Any, ...]) -> None:
        box = QComboBox()
        box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        box.setMinimumContentsLength(8)
        super().__init__(name, knob, box)
        self._guard_from_wheel(box)
        self._values: list[Any] = []
        self.set_choices(list(values))
        box.currentIndexChanged.connect(self._on_edited)

    def set_choices(self, values: list[Any], labels: list[str] | None = None) -> None:
        """Replace what can be chosen; the choice stays if it is still there."""
        self._silent = True
        kept = self.value() if self._values else None
        self._values = list(values)
        self.widget.clear()
        self.widget.addItems(labels or [str(value) for value in values])
        if kept in self._values:
            self.widget.setCurrentIndex(self._values.index(kept))
        self._silent = False

    def value(self) -> Any:
        return self._values[self.widget.currentIndex()]

    def _show(self, value: Any) -> None:
        self.widget.setCurrentIndex(self._values.index(value))


class _CheckEditor(FieldEditor):
    def __init__(self, name: str, knob: Knob) -> None:
        super().__init__(name, knob, QCheckBox())
        self.widget.toggled.connect(self._on_edited)

    def value(self) -> bool:
        return self.widget.isChecked()

    def _show(self, value: bool) -> None:
        self.widget.setChecked(value)


class _LineEditor(FieldEditor):
    def __init__(self, name: str, knob: Knob) -> None:
        super().__init__(name, knob, QLineEdit())
        self.widget.textChanged.connect(self._on_edited)

    def value(self) -> str:
        return self.widget.text()

    def _show(self, value: str) -> None:
        self.widget.setText(value)


class _TextEditor(FieldEditor):
    def __init__(self, name: str, knob: Knob) -> None:
        super().__init__(name, knob, PromptEdit())
        self.widget.edited.connect(self._on_edited)

    def value(self) -> str:
        return self.widget.text()

    def _show(self, value: str) -> None:
        self.widget.set_text(value)


class _SeedEditor(FieldEditor):
    """A seed: -1 (shown as "random") or a fixed number, with a dice and a button that takes the last one used."""

    def __init__(self, name: str, knob: Knob) -> None:
        row = QWidget()
        super().__init__(name, knob, row)
        lo = RANDOM_SEED if knob.lo is None else knob.lo
        self.box = QDoubleSpinBox(decimals=0)  # a QSpinBox ends at 2**31
        self.box.setRange(lo, _SEED_TOP if knob.hi is None else knob.hi)
        if lo == RANDOM_SEED:
            self.box.setSpecialValueText("random")
        theme.pad(self.box).setKeyboardTracking(False)
        self._guard_from_wheel(self.box)
        self.dice = QToolButton(toolTip="A new random seed every time", accessibleName="Random seed")
        self.dice.setIcon(icon("dice"))
        self.reuse = QToolButton(toolTip="Take the seed of the last run", accessibleName="Reuse seed", enabled=False)
        self.reuse.setIcon(icon("reuse"))
        layout = QHBoxLayout(row)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.box, 1)
        layout.addWidget(self.dice)
        layout.addWidget(self.reuse)
        row.setFocusProxy(self.box)
        self._last: int | None = None
        self.box.valueChanged.connect(self._on_edited)
        self.dice.clicked.connect(self._on_dice)
        self.reuse.clicked.connect(self._on_reuse)

    def value(self) -> int:
        return int(self.box.value())

    def _show(self, value: int) -> None:
        self.box.setValue(value)

    def set_last(self, seed: int) -> None:
        """The seed the last run used."""
        self._last = seed
        self.reuse.setEnabled(True)
        self.reuse.setToolTip(f"Take the seed of the last run, {seed}")

    @Slot()
    def _on_dice(self) -> None:
        """Back to random; where random is not a seed, draw one."""
        able = self.box.minimum() == RANDOM_SEED
        self.box.setValue(RANDOM_SEED if able else random.randint(0, int(self.box.maximum())))

    @Slot()
    def _on_reuse(self) -> None:
        if self._last is not None:
            self.box.setValue(self._last)


def make_editor(name: str, knob: Knob, kind: Any) -> FieldEditor | None:
    """The editor for a field's type, or None for types that need a view of their own (pictures, poses, lists)."""
    if knob.widget == "seed":
        editor: FieldEditor = _SeedEditor(name, knob)
    elif typing.get_origin(kind) is Literal:
        editor = _ChoiceEditor(name, knob, typing.get_args(kind))
    elif kind is bool:
        editor = _CheckEditor(name, knob)
    elif kind in (int, float):
        editor = _NumberEditor(name, knob, kind)
    elif kind is str:
        editor = _TextEditor(name, knob) if knob.multiline else _LineEditor(name, knob)
    else:
        return None
    editor.widget.setAccessibleName(knob.title)
    editor.widget.setToolTip(knob.help)
    return editor


def _decimals(number: float) -> int:
    """Digits after the point that ``number`` needs, at most 6."""
    text = f"{number:.6f}".rstrip("0")
    return len(text.split(".")[1])
