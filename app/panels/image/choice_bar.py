"""A question in a line above the panel, with a button for each answer; nothing modal."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QToolButton, QWidget

from app.widgets.icons import icon

Answer = tuple[str, Callable[[], None]]


class ChoiceBar(QFrame):
    """Asks one question at a time; a newer one replaces the older."""

    asked = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("Banner")
        self.setProperty("kind", "info")
        self._text = QLabel(wordWrap=True)
        self._text.setProperty("role", "heading")
        self._close = QToolButton(toolTip="None of these (Esc)", accessibleName="Close question")
        self._close.setIcon(icon("close"))
        self._close.clicked.connect(self.clear)
        self._answers: list[tuple[QPushButton, Callable[[], None]]] = []
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(12, 8, 8, 8)
        self._row.addWidget(self._text, 1)
        self._row.addWidget(self._close)
        self.hide()

    def ask(self, text: str, answers: Sequence[Answer]) -> None:
        """Show a question."""
        self.clear()
        self._text.setText(text)
        for place, (title, do) in enumerate(answers):
            button = QPushButton(title)
            button.clicked.connect(self._on_answer)
            self._answers.append((button, do))
            self._row.insertWidget(1 + place, button)
        self.setAccessibleName(text)
        self.show()
        self.asked.emit()

    def text(self) -> str:
        """The question on show, "" if there is none."""
        return "" if self.isHidden() else self._text.text()

    def answer(self, title: str) -> None:
        """Press an answer by its title."""
        next(button for button, _do in self._answers if button.text() == title).click()

    @Slot()
    def clear(self) -> None:
        """Take the question away."""
        for button, _do in self._answers:
            self._row.removeWidget(button)
            button.hide()
            button.deleteLater()
        self._answers = []
        self.hide()

    @Slot()
    def _on_answer(self) -> None:
        do = next(do for button, do in self._answers if button is self.sender())
        self.clear()
        do()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.clear()
        else:
            super().keyPressEvent(event)
