"""The knobs of an algorithm in rows: those that are turned while one watches on top, all others under "More"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QCheckBox, QGridLayout, QLabel, QToolButton, QVBoxLayout, QWidget

from app.protocol.rl import Number, RlSetting
from app.widgets.icons import icon
from app.widgets.number_field import NumberField

FIRST = ("lr", "critic_lr", "clip_range", "ent_coef", "noise", "exploration", "target_kl", "rho_clip")
"""What one turns in a run."""
TITLES = {
    "lr": "Learning rate", "lr_decay": "Rate decay", "critic_lr": "Critic's rate", "ent_coef": "Entropy weight", "vf_coef": "Value weight",
    "clip_range": "Clip range", "clip_decay": "Clip decay", "clip_range_vf": "Value clip range", "gamma": "Discount γ",
    "gae_lambda": "GAE λ",
    "n_steps": "Steps an update", "n_epochs": "Epochs", "target_kl": "KL limit δ", "tau": "Target rate τ", "noise": "Noise σ",
    "noise_theta": "Noise θ", "noise_dt": "Noise dt", "rho_clip": "Ratio limit", "max_grad_norm": "Gradient limit", "cg_steps": "CG steps",
    "cg_damping": "CG damping", "n_critic_updates": "Critic passes", "critic_l2": "Critic L2", "normalize_advantage": "Normalise A",
}  # fmt: skip
CHANGED = " •"


class SettingRows(QWidget):
    """Shows the settings of an algorithm and tells of every change."""

    changed = Signal(str, object)
    """Name and new value."""
    refused = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._rows: dict[str, RlSetting] = {}
        self._editors: dict[str, NumberField | QCheckBox] = {}
        self._labels: dict[str, QLabel] = {}
        self._first, self._rest, self._folded = _grid(), _grid(), QWidget(visible=False)
        self._folded.setLayout(self._rest)
        self.fold = QToolButton(text="More", checkable=True, toolTip="Show or hide the other settings")
        self.fold.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.fold.setIcon(icon("more"))
        self.fold.setProperty("role", "fold")
        self.fold.toggled.connect(self.set_expanded)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addLayout(self._first)
        column.addWidget(self.fold)
        column.addWidget(self._folded)

    def add_more(self, label: str, editor: QWidget, tip: str) -> None:
        """A row of the panel's own under "More"; it stays when the algorithm changes."""
        at = 100 + self._rest.rowCount()
        words = QLabel(label, toolTip=tip)
        words.setBuddy(editor)
        editor.setToolTip(tip)
        self._rest.addWidget(words, at, 0)
        self._rest.addWidget(editor, at, 1)

    # content -------------------------------------------------------------------------------------------------------

    def set_rows(self, rows: Sequence[RlSetting]) -> None:
        """Another algorithm or environment: its settings at their defaults."""
        if tuple(_shape(row) for row in rows) != tuple(map(_shape, self._rows.values())):
            self._build(rows)
        self._rows = {row.name: row for row in rows}
        for row in rows:
            self.set_value(row.name, row.value)

    def _build(self, rows: Sequence[RlSetting]) -> None:
        for widget in (*self._labels.values(), *self._editors.values()):
            widget.hide()
            widget.deleteLater()
        self._labels, self._editors = {}, {}
        first = [row for name in FIRST for row in rows if row.name == name]
        for place, row in enumerate(first):
            self._add(self._first, place, row)
        for place, row in enumerate(row for row in rows if row not in first):
            self._add(self._rest, place, row)

    def _add(self, grid: QGridLayout, place: int, row: RlSetting) -> None:
        name, title = row.name, title_of(row.name)
        when = "applies to a running training before its next update" if row.live else "for the next training"
        tip = f"{row.help[:1].upper()}{row.help[1:]}\n{name}; {when}".strip()
        if row.kind == "switch":
            editor: NumberField | QCheckBox = QCheckBox()
            editor.toggled.connect(self._on_edited)
        else:
            whole = row.kind == "whole"
            editor = NumberField(
                row.value, title=title, lo=row.lo, hi=row.hi, whole=whole, optional=row.optional, open_lo=row.open_lo
            )
            editor.edited.connect(self._on_edited)
            editor.refused.connect(self.refused)
        label = QLabel(title, toolTip=tip)
        label.setBuddy(editor)
        editor.setToolTip(tip)
        editor.setAccessibleName(title)
        editor.setProperty("setting", name)
        grid.addWidget(label, place, 0)
        grid.addWidget(editor, place, 1)
        self._labels[name], self._editors[name] = label, editor

    # values --------------------------------------------------------------------------------------------------------

    def values(self) -> dict[str, Number]:
        """What is set."""
        return {name: _read(editor) for name, editor in self._editors.items()}

    def differences(self) -> dict[str, Number]:
        """What is set other than by default."""
        return {name: value for name, value in self.values().items() if value != self._rows[name].value}

    def set_values(self, values: Mapping[str, Number]) -> None:
        """The defaults with these differences; tells nobody."""
        for name, row in self._rows.items():
            self.set_value(name, values.get(name, row.value))

    def set_value(self, name: str, value: Number) -> None:
        """Show one value; tells nobody."""
        editor = self._editors[name]
        editor.blockSignals(True)
        editor.setChecked(bool(value)) if isinstance(editor, QCheckBox) else editor.set_value(value)
        editor.blockSignals(False)
        self._mark(name)

    def editor(self, name: str) -> NumberField | QCheckBox:
        """What edits a setting."""
        return self._editors[name]

    def _mark(self, name: str) -> None:
        if name in self._rows:
            changed = _read(self._editors[name]) != self._rows[name].value
            self._labels[name].setText(title_of(name) + (CHANGED if changed else ""))

    @Slot()
    def _on_edited(self, *_value: Any) -> None:
        name = self.sender().property("setting")
        self._mark(name)
        self.changed.emit(name, _read(self._editors[name]))

    @Slot(bool)
    def set_expanded(self, expanded: bool) -> None:
        """Unfold or fold the part under "More"."""
        self.fold.setChecked(expanded)
        self.fold.setText("Less" if expanded else "More")
        self.fold.setIcon(icon("less" if expanded else "more"))
        self._folded.setVisible(expanded)


def _shape(row: RlSetting) -> tuple[Any, ...]:
    return row[0], *row[2:]


def title_of(name: str) -> str:
    """A setting in words."""
    return TITLES.get(name, name.replace("_", " ").capitalize())


def _read(editor: NumberField | QCheckBox) -> Number:
    return editor.isChecked() if isinstance(editor, QCheckBox) else editor.value()


def _grid() -> QGridLayout:
    grid = QGridLayout()
    grid.setContentsMargins(0, 0, 0, 0)
    grid.setHorizontalSpacing(8)
    grid.setVerticalSpacing(6)
    grid.setColumnMinimumWidth(0, 112)
    grid.setColumnStretch(1, 1)
    return grid
