"""Where a message is written: grows with its lines, Enter sends, Shift+Enter begins a line; the button sends or stops."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from app.widgets.icons import icon
from app.widgets.prompt_edit import PromptEdit

MOST_LINES = 8


class ComposerEdit(PromptEdit):
    """The field itself."""

    def keyPressEvent(self, event: QKeyEvent) -> None:
        plain = not event.modifiers() & (Qt.KeyboardModifier.ShiftModifier | Qt.KeyboardModifier.ControlModifier)
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and plain:
            self.submitted.emit()
        else:
            super().keyPressEvent(event)


class Composer(QFrame):
    """Field, buttons, and a quiet line below for what should be known before sending."""

    submitted = Signal(str)
    stop_wanted = Signal()
    step_wanted = Signal()
    edited = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.edit = ComposerEdit("Write a message", lines=1)
        self.edit.setAccessibleName("Message")
        self.send = QPushButton()
        self.step = QPushButton("Step by step", toolTip="Send, and stand still after the first round (F10)")
        self._note = QLabel(wordWrap=True)
        self._note.setProperty("role", "small")
        self._note.hide()
        self._busy = False
        row, column = QHBoxLayout(), QVBoxLayout(self)
        column.setContentsMargins(12, 8, 12, 8)
        column.setSpacing(4)
        row.setSpacing(8)
        row.addWidget(self.edit, 1)
        row.addWidget(self.step, 0, Qt.AlignmentFlag.AlignBottom)
        row.addWidget(self.send, 0, Qt.AlignmentFlag.AlignBottom)
        column.addWidget(self._note)
        column.addLayout(row)
        self.edit.submitted.connect(self._on_submit)
        self.edit.edited.connect(self.edited)
        self.edit.textChanged.connect(self._fit)
        self.send.clicked.connect(self._on_button)
        self.step.clicked.connect(self.step_wanted)
        self.set_busy(False)
        self._fit()

    def text(self) -> str:
        """What is written."""
        return self.edit.text()

    def set_text(self, text: str) -> None:
        """Put words into the field; tells nobody."""
        self.edit.set_text(text)
        self._fit()

    def set_busy(self, busy: bool) -> None:
        """While a reply is written the button stops it."""
        self._busy = busy
        self.send.setText("Stop" if busy else "Send")
        self.send.setIcon(icon("stop", "text") if busy else icon("send", "on_accent"))
        self.send.setToolTip("Stop writing; what is there stays (Esc)" if busy else "Send (Enter; Shift+Enter begins a new line)")
        self.send.setProperty("role", "" if busy else "primary")
        self.send.style().unpolish(self.send)
        self.send.style().polish(self.send)
        self.step.setEnabled(not busy)

    def set_note(self, words: str) -> None:
        """A sentence above the field, such as how much of a long text the model can hold."""
        self._note.setText(words)
        self._note.setVisible(bool(words))

    def note(self) -> str:
        """The sentence."""
        return self._note.text()

    @Slot()
    def _fit(self) -> None:
        lines = min(max(self.edit.document().size().height(), 1), MOST_LINES)
        height = round(lines * self.edit.fontMetrics().lineSpacing()) + 16
        if height != self.edit.height():
            self.edit.setFixedHeight(height)

    def resizeEvent(self, event) -> None:
        super().resizeEvent(event)
        self._fit()

    @Slot()
    def _on_submit(self) -> None:
        self.submitted.emit(self.text())

    @Slot()
    def _on_button(self) -> None:
        if self._busy:
            self.stop_wanted.emit()
        else:
            self._on_submit()
