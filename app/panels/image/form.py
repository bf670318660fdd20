"""The settings of a picture: prompts on top, the everyday knobs in pairs, the rest under "More".

Titles, ranges and tooltips come from the knobs of `Txt2Img`. Double-click on a title puts the default back; a changed
knob wears a dot. The controls are edited elsewhere and put into the job by the panel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from PySide6.QtCore import QEvent, QObject, Qt, Signal, Slot
from PySide6.QtWidgets import QAbstractSpinBox, QCheckBox, QHBoxLayout, QLabel, QToolButton, QVBoxLayout, QWidget

from app.jobs.diffusion import SAMPLER_TITLES, SCHEDULE_TITLES, Txt2Img
from app.panels.image.words import Words, unknown_note
from app.protocol.errors import UserError
from app.protocol.job import field_types, knobs
from app.widgets.field_editors import FieldEditor, make_editor
from app.widgets.icons import icon
from app.widgets.prompt_edit import PromptEdit

PAIRS = (("sampler", "schedule"), ("steps", "cfg_scale"), ("width", "height"), ("seed", "batch_count"))
MORE = (("eta", "device"), ("keep_steps",))
WIDTHS = {"seed": 2}  # shares of the line; all others take one
LEAST_FIELD = 56  # px; fields share the width of the column instead of asking for more
PROMPTS = {
    "prompt": ("What the picture shall show", 3),
    "negative_prompt": ("What it shall not show", 2),
}
_CHANGED = " •"


class Form(QWidget):
    """Edits all fields of `Txt2Img` but the controls."""

    changed = Signal()
    submitted = Signal()

    def __init__(self, words: Words, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._words = words
        self._defaults = {item.name: getattr(Txt2Img(), item.name) for item in fields(Txt2Img)}
        self._values: dict[str, Any] = dict(self._defaults)
        self._editors: dict[str, FieldEditor] = {}
        self._labels: dict[str, QLabel] = {}
        self.prompts: dict[str, PromptEdit] = {}
        self._note, self._problem = QLabel(), QLabel()
        self._notes: list[str] = []
        self._fold = QToolButton(text="More", toolTip="Show or hide the settings that seldom change")
        self._folded = QWidget(visible=False)
        self._build()

    # layout --------------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        for name in PROMPTS:
            self._add_prompt(column, name)
        self._add_quiet(column)
        everyday, more = QVBoxLayout(), QVBoxLayout()
        for lines, names_of_lines in ((everyday, PAIRS), (more, MORE)):
            lines.setContentsMargins(0, 0, 0, 0)
            lines.setSpacing(4)
            for names in names_of_lines:
                lines.addLayout(self._line(names))
        self._folded.setLayout(more)
        self._fold.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self._fold.clicked.connect(self._on_fold)
        self.set_expanded(False)
        column.addLayout(everyday)
        column.addWidget(self._problem)
        column.addWidget(self._fold)
        column.addWidget(self._folded)
        self._name_choices()

    def _add_prompt(self, column: QVBoxLayout, name: str) -> None:
        placeholder, lines = PROMPTS[name]
        edit = PromptEdit(placeholder, lines=lines)
        edit.set_text(self._values[name])
        edit.setAccessibleName(knobs(Txt2Img)[name].title)
        edit.setToolTip(knobs(Txt2Img)[name].help)
        edit.setProperty("field", name)
        edit.setAcceptDrops(False)  # a picture dropped here is for the panel
        edit.edited.connect(self._on_prompt_edited)
        edit.submitted.connect(self.submitted)
        edit.unknown_changed.connect(self._on_unknown)
        self.prompts[name] = edit
        column.addWidget(self._label(name, edit))
        column.addWidget(edit)

    def _add_quiet(self, column: QVBoxLayout) -> None:
        for label, role in ((self._note, "small"), (self._problem, "error")):
            label.setProperty("role", role)
            label.setWordWrap(True)
            label.hide()
        column.addWidget(self._note)

    def _line(self, names: Sequence[str]) -> QHBoxLayout:
        """Fields side by side, each below its title."""
        line = QHBoxLayout()
        line.setSpacing(8)
        for name in names:
            cell = QVBoxLayout()
            cell.setSpacing(2)
            editor = self._make_editor(name)
            cell.addWidget(self._label(name, editor.widget))
            cell.addWidget(editor.widget)
            line.addLayout(cell, WIDTHS.get(name, 1))
            line.setAlignment(cell, Qt.AlignmentFlag.AlignTop)
        return line

    def _make_editor(self, name: str) -> FieldEditor:
        knob = knobs(Txt2Img)[name]
        editor = make_editor(name, knob, field_types(Txt2Img)[name])
        editor.set_value(self._values[name])
        editor.edited.connect(self._on_edited)
        for field in (editor.widget, *editor.widget.findChildren(QAbstractSpinBox)):
            field.setToolTip(knob.help)
            if not isinstance(field, QCheckBox):
                field.setMinimumWidth(LEAST_FIELD)
        self._editors[name] = editor
        return editor

    def _label(self, name: str, widget: QWidget) -> QLabel:
        knob = knobs(Txt2Img)[name]
        label = QLabel(knob.title)
        label.setProperty("role", "small")
        label.setProperty("field", name)
        label.setBuddy(widget)
        label.setToolTip(f"{knob.help}\nDouble-click puts the default back.")
        label.installEventFilter(self)
        self._labels[name] = label
        return label

    def _name_choices(self) -> None:
        for name, titles in (("sampler", SAMPLER_TITLES), ("schedule", SCHEDULE_TITLES)):
            editor = self._editors[name]
            editor.set_choices(list(titles), list(titles.values()))
            editor.set_value(self._values[name])

    @Slot(bool)
    def set_expanded(self, expanded: bool) -> None:
        """Show or hide what is under "More"."""
        self._fold.setText("Less" if expanded else "More")
        self._fold.setIcon(icon("less" if expanded else "more"))
        self._folded.setVisible(expanded)

    def is_expanded(self) -> bool:
        """Whether it is shown."""
        return not self._folded.isHidden()

    @Slot()
    def _on_fold(self) -> None:
        self.set_expanded(not self.is_expanded())

    # values --------------------------------------------------------------------------------------------------------

    def job(self) -> Txt2Img:
        """The job as set; raises `UserError` if the values do not fit together."""
        return Txt2Img(**self._values)

    def value(self, name: str) -> Any:
        """The value of a field."""
        return self._values[name]

    def set_job(self, job: Txt2Img) -> None:
        """Show a job; tells nobody."""
        for item in fields(Txt2Img):
            self.set_value(item.name, getattr(job, item.name))
        self._check()

    def set_value(self, name: str, value: Any) -> None:
        """Set one field; tells nobody."""
        self._values[name] = value
        if name in self._editors:
            self._editors[name].set_value(value)
        elif name in self.prompts:
            self.prompts[name].set_text(value)
        self._mark(name)

    def reset(self, name: str) -> None:
        """Put the default of a field back, and tell of it."""
        self.set_value(name, self._defaults[name])
        self._tell()

    def set_last_seed(self, seed: int) -> None:
        """The seed the last run used, for the reuse button."""
        self._editors["seed"].set_last(seed)

    def words_known(self) -> None:
        """The vocabulary has arrived: offer it, and look at the prompts again."""
        for edit in self.prompts.values():
            edit.set_words(self._words.groups)
            edit.set_unknown(self._words.unknown)

    def focus_chain(self) -> list[QWidget]:
        """What Tab goes through, in the order of reading."""
        shown = [self.editor(name) for pair in PAIRS for name in pair]
        return [*self.prompts.values(), *shown, self._fold, *(self.editor(name) for line in MORE for name in line)]

    def problem(self) -> str:
        """Why the values do not make a job; "" if they do."""
        return self._problem.text()

    def editor(self, name: str) -> QWidget:
        """The widget of a field."""
        return self.prompts[name] if name in self.prompts else self._editors[name].widget

    # changes by the person -----------------------------------------------------------------------------------------

    def _mark(self, name: str) -> None:
        if name in self._labels:
            changed = self._values[name] != self._defaults[name] and name not in PROMPTS
            self._labels[name].setText(knobs(Txt2Img)[name].title + (_CHANGED if changed else ""))
            self._labels[name].setAccessibleDescription("changed" if changed else "")

    def _tell(self) -> None:
        self._check()
        self.changed.emit()

    def _check(self) -> None:
        try:
            self.job()
        except UserError as error:
            self._problem.setText(f"{error} {error.hint}".strip())
        else:
            self._problem.clear()
        self._problem.setVisible(bool(self._problem.text()))

    @Slot(str)
    def _on_edited(self, name: str) -> None:
        self._values[name] = self._editors[name].value()
        self._mark(name)
        self._tell()

    @Slot(str)
    def _on_prompt_edited(self, text: str) -> None:
        self._values[self.sender().property("field")] = text
        self._tell()

    def set_notes(self, notes: Sequence[str]) -> None:
        """Quiet sentences of the check, such as words that do not fit into the model's context."""
        self._notes = list(notes)
        self._on_unknown([])

    @Slot(list)
    def _on_unknown(self, _words: list[str]) -> None:
        words = [word for edit in self.prompts.values() for word in edit.unknown]
        lines = [unknown_note(list(dict.fromkeys(words))), *self._notes]
        self._note.setText("\n".join(line for line in lines if line))
        self._note.setVisible(bool(self._note.text()))

    def note(self) -> str:
        """The quiet lines under the prompts."""
        return self._note.text()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.MouseButtonDblClick and watched.property("field"):
            self.reset(watched.property("field"))
            return True
        return super().eventFilter(watched, event)
