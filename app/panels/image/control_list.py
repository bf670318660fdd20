"""The list of controls: several at once, added and removed, with an empty state that teaches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from app.jobs.diffusion import Control
from app.panels.image.control_row import ControlRow
from app.widgets.icons import icon

EMPTY = "A control makes the picture follow what you draw: edges, or people as stick figures."
MOST_CONTROLS = 8


class ControlList(QWidget):
    """Rows of controls, in the order in which the run takes them."""

    changed = Signal()
    opened = Signal(object)
    removed = Signal(object)
    """The `Control` that was removed, with its drawing, so that it can be had back."""
    answered = Signal(object, str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._rows: list[ControlRow] = []
        self._empty = QLabel(EMPTY)
        self._column = QVBoxLayout()
        self._column.setSpacing(8)
        self._add: dict[str, QPushButton] = {}
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.setSpacing(6)
        outer.addLayout(self._head())
        outer.addWidget(self._empty)
        outer.addLayout(self._column)
        self._empty.setWordWrap(True)
        self._empty.setProperty("role", "small")

    def _head(self) -> QHBoxLayout:
        head = QHBoxLayout()
        head.setSpacing(4)
        title = QLabel("Controls")
        title.setProperty("role", "heading")
        head.addWidget(title, 1)
        for kind, text, tip in (
            ("canny", "Canny", "Add a control by edges: draw them, or take them from a picture"),
            ("pose", "Pose", "Add a control by people: place their joints"),
        ):
            button = QPushButton(icon("add"), text)
            button.setToolTip(tip)
            button.setAccessibleName(f"Add {text} control")
            button.setProperty("role", "flat")
            button.setProperty("kind", kind)
            button.clicked.connect(self._on_add)
            self._add[kind] = button
            head.addWidget(button)
        return head

    # the list ------------------------------------------------------------------------------------------------------

    @property
    def rows(self) -> list[ControlRow]:
        """All rows, from the top."""
        return list(self._rows)

    def controls(self) -> tuple[Control, ...]:
        """What the job gets."""
        return tuple(row.control for row in self._rows)

    def set_controls(self, controls: Sequence[Control]) -> None:
        """Show other controls; tells nobody."""
        while len(self._rows) > len(controls):
            self._drop(self._rows[-1])
        for row, control in zip(self._rows, controls, strict=False):
            row.set_control(control)
        for control in controls[len(self._rows) :]:
            self._append(control)
        self._show_empty()

    def add(self, control: Control) -> ControlRow:
        """One more control; tells that the list changed."""
        row = self._append(control)
        self._show_empty()
        self.changed.emit()
        return row

    def first(self, kind: str) -> ControlRow | None:
        """The topmost row of a kind."""
        return next((row for row in self._rows if row.control.kind == kind), None)

    def set_checks(self, checks: Sequence[dict[str, Any]]) -> None:
        """What `CheckControls` says of each, in order."""
        for row, check in zip(self._rows, checks, strict=False):
            row.set_check(check)

    def mark(self, chosen: Sequence[ControlRow | None]) -> None:
        """Mark the rows whose drawing is in an editor on the stage."""
        for row in self._rows:
            row.set_active_edit(row in chosen)

    def _append(self, control: Control) -> ControlRow:
        row = ControlRow(control, colour=len(self._rows))
        row.changed.connect(self.changed)
        row.open_requested.connect(self.opened)
        row.remove_requested.connect(self._on_remove)
        row.answered.connect(self.answered)
        self._column.addWidget(row)
        before = self._rows[-1].focus_chain()[-1] if self._rows else self._add["pose"]
        for widget in row.focus_chain():
            QWidget.setTabOrder(before, widget)
            before = widget
        self._rows.append(row)
        return row

    def focus_chain(self) -> list[QWidget]:
        """What Tab goes through before the rows."""
        return list(self._add.values())

    def _drop(self, row: ControlRow) -> None:
        self._rows.remove(row)
        row.hide()
        row.setParent(None)
        row.deleteLater()
        for place, left in enumerate(self._rows):
            left.window_slider.set_colour(place)

    def _show_empty(self) -> None:
        self._empty.setVisible(not self._rows)
        for button in self._add.values():
            button.setEnabled(len(self._rows) < MOST_CONTROLS)

    @Slot()
    def _on_add(self) -> None:
        row = self.add(Control(kind=self.sender().property("kind")))
        self.opened.emit(row)

    @Slot(object)
    def _on_remove(self, row: ControlRow) -> None:
        control = row.control
        self._drop(row)
        self._show_empty()
        self.removed.emit(control)
        self.changed.emit()
