"""A form made from a job class: one row a knob, the important ones on top, the rest folded under "More".

The tooltip of a row is the help text of its knob.  A changed knob wears a dot; double-click on its label (or the
label's menu) puts the default back.  Fields that a panel lays out by itself are skipped but stay part of the job.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import MISSING, fields
from typing import Any

from PySide6.QtCore import QEvent, QObject, Qt, Signal, Slot
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QGridLayout, QLabel, QToolButton, QVBoxLayout, QWidget

from app.protocol.errors import UserError
from app.protocol.job import Job, field_types, knobs
from app.widgets.field_editors import FieldEditor, make_editor
from app.widgets.icons import icon

_CHANGED = " •"


class ParamForm(QWidget):
    """Edits one job; tells of every change with a new frozen job."""

    changed = Signal(object)
    invalid = Signal(str)

    def __init__(self, job_class: type[Job], *, skip: Iterable[str] = (), parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.job_class = job_class
        self._defaults = {item.name: _default(item) for item in fields(job_class) if _has_default(item)}
        self._values = dict(self._defaults)
        self._editors: dict[str, FieldEditor] = {}
        self._labels: dict[str, QLabel] = {}
        self._build(set(skip))

    def _build(self, skip: set[str]) -> None:
        words, kinds = knobs(self.job_class), field_types(self.job_class)
        shown = [name for name in words if name not in skip]
        any_top = any(words[name].top for name in shown)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.setSpacing(4)
        first, rest = QGridLayout(), QGridLayout()
        self._fold = QToolButton(text="More", checkable=True, toolTip="Show or hide the other settings")
        self._fold.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self._fold.setIcon(icon("more"))
        self._fold.setProperty("role", "fold")
        self._fold.toggled.connect(self.set_expanded)
        self._folded = QWidget(visible=False)
        self._folded.setLayout(rest)
        for grid in (first, rest):
            grid.setContentsMargins(0, 0, 0, 0)
            grid.setHorizontalSpacing(8)
            grid.setVerticalSpacing(6)
            grid.setColumnStretch(1, 1)
        for name in sorted(shown, key=lambda name: words[name].advanced):
            on_top = words[name].top if any_top else not words[name].advanced
            self._add_row(first if on_top else rest, name, kinds[name])
        beside = (label for name, label in self._labels.items() if not words[name].multiline)
        width = max((label.fontMetrics().horizontalAdvance(label.text() + _CHANGED) for label in beside), default=0)
        for grid in (first, rest):
            grid.setColumnMinimumWidth(0, width + 2)
        self._fold.setVisible(rest.count() > 0)
        outer.addLayout(first)
        outer.addWidget(self._fold)
        outer.addWidget(self._folded)

    def _add_row(self, grid: QGridLayout, name: str, kind: Any) -> None:
        knob = knobs(self.job_class)[name]
        editor = make_editor(name, knob, kind)
        if editor is None:
            return
        label = QLabel(knob.title)
        label.setBuddy(editor.widget)
        label.setToolTip(f"{knob.help}\nDouble-click puts the default back.".strip())
        label.installEventFilter(self)
        label.setProperty("field", name)
        back = QAction("Back to the default", label)
        back.setData(name)
        back.triggered.connect(self._on_reset_action)
        label.addAction(back)
        label.setContextMenuPolicy(Qt.ContextMenuPolicy.ActionsContextMenu)
        row = grid.rowCount()
        if knob.multiline:
            grid.addWidget(label, row, 0, 1, 2)
            grid.addWidget(editor.widget, row + 1, 0, 1, 2)
        else:
            grid.addWidget(label, row, 0)
            grid.addWidget(editor.widget, row, 1)
        self._editors[name], self._labels[name] = editor, label
        if name in self._values:
            editor.set_value(self._values[name])
        editor.edited.connect(self._on_edited)

    # values ----------------------------------------------------------------------------------------------------

    def job(self) -> Job:
        """The job as set; raises ``UserError`` if the values do not make one."""
        return self.job_class(**self._values)

    def set_job(self, job: Job) -> None:
        """Show a job; tells nobody."""
        for name in self._all_names():
            self._put(name, getattr(job, name))

    def value(self, name: str) -> Any:
        """The value of one field."""
        return self._values[name]

    def set_value(self, name: str, value: Any) -> None:
        """Set one field, shown or skipped; tells nobody."""
        if name not in self._all_names():
            raise KeyError(name)
        self._put(name, value)

    def editor(self, name: str) -> QWidget:
        """The widget that edits a field."""
        return self._editors[name].widget

    def set_choices(self, name: str, values: Sequence[Any], labels: Sequence[str] | None = None) -> None:
        """Replace the choices of a field, for instance by what can run here, with the words to show."""
        editor = self._editors[name]
        editor.set_choices(list(values), None if labels is None else list(labels))
        self._values[name] = editor.value()

    def set_last_seed(self, seed: int) -> None:
        """Tell the seed rows which seed the last run used."""
        for editor in self._editors.values():
            if hasattr(editor, "set_last"):
                editor.set_last(seed)

    def changed_names(self) -> list[str]:
        """Fields that differ from their default."""
        return [name for name, value in self._values.items() if value != self._defaults.get(name, value)]

    def reset(self, name: str) -> None:
        """Put the default of a field back, and tell of it."""
        if name in self._defaults:
            self._put(name, self._defaults[name])
            self._announce()

    @Slot(bool)
    def set_expanded(self, expanded: bool) -> None:
        """Unfold or fold the part under "More"."""
        self._fold.setChecked(expanded)
        self._fold.setText("Less" if expanded else "More")
        self._fold.setIcon(icon("less" if expanded else "more"))
        self._folded.setVisible(expanded)

    def is_expanded(self) -> bool:
        """True while the part under "More" is shown."""
        return self._fold.isChecked()

    def _all_names(self) -> list[str]:
        return [item.name for item in fields(self.job_class)]

    def _put(self, name: str, value: Any) -> None:
        self._values[name] = value
        if name in self._editors:
            self._editors[name].set_value(value)
        self._mark(name)

    def _mark(self, name: str) -> None:
        label = self._labels.get(name)
        if label is None:
            return
        title = knobs(self.job_class)[name].title
        changed = name in self._defaults and self._values[name] != self._defaults[name]
        label.setText(title + _CHANGED if changed else title)
        label.setAccessibleDescription("changed" if changed else "")

    def _announce(self) -> None:
        try:
            job = self.job()
        except UserError as error:
            self.invalid.emit(str(error))
        else:
            self.changed.emit(job)

    @Slot(str)
    def _on_edited(self, name: str) -> None:
        self._values[name] = self._editors[name].value()
        self._mark(name)
        self._announce()

    @Slot()
    def _on_reset_action(self) -> None:
        self.reset(self.sender().data())

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.MouseButtonDblClick and watched.property("field"):
            self.reset(watched.property("field"))
            return True
        return super().eventFilter(watched, event)


def _has_default(item: Any) -> bool:
    return item.default is not MISSING or item.default_factory is not MISSING


def _default(item: Any) -> Any:
    return item.default if item.default is not MISSING else item.default_factory()
