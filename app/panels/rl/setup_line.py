"""A run's whole setup as one line of text, to be copied to somebody else and pasted back."""

from __future__ import annotations

from PySide6.QtCore import Signal, Slot
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QHBoxLayout, QLabel, QLineEdit, QToolButton, QVBoxLayout, QWidget

from app import theme
from app.widgets.icons import icon

TIP = "Everything that decides a run. Copy it to share it; paste or type another and press Enter to take it over."


class SetupLine(QWidget):
    """The line and two buttons."""

    given = Signal(str)
    """A setup was typed or pasted."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.edit, self._told = QLineEdit(placeholderText="ppo CartPole-v1 seed=0 …"), ""
        self.edit.setFont(theme.font(theme.SMALL, mono=True))
        self.edit.setAccessibleName("Setup as text")
        self.edit.setToolTip(TIP)
        self.copy, self.paste = QToolButton(toolTip="Copy the setup"), QToolButton(toolTip="Take over the setup that was copied")
        row, column = QHBoxLayout(), QVBoxLayout(self)
        row.setSpacing(2)
        row.addWidget(self.edit, 1)
        for button, picture, slot in ((self.copy, "copy", self._on_copy), (self.paste, "paste", self._on_paste)):
            button.setIcon(icon(picture))
            button.setAccessibleName(button.toolTip())
            button.clicked.connect(slot)
            row.addWidget(button)
        self.edit.returnPressed.connect(self._on_typed)
        label = QLabel("Setup as one line", toolTip=TIP)
        label.setProperty("role", "small")
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(label)
        column.addLayout(row)

    def set_text(self, text: str) -> None:
        """Show a setup, unless another is just being typed."""
        if text != self._told and not (self.edit.hasFocus() and self.edit.isModified()):
            self._told = text
            self.edit.setText(text)
            self.edit.setCursorPosition(0)

    def text(self) -> str:
        """The line."""
        return self.edit.text()

    @Slot()
    def _on_copy(self) -> None:
        QGuiApplication.clipboard().setText(self.edit.text())

    @Slot()
    def _on_paste(self) -> None:
        self._give(QGuiApplication.clipboard().text())

    @Slot()
    def _on_typed(self) -> None:
        self._give(self.edit.text())

    def _give(self, text: str) -> None:
        self.edit.setModified(False)
        self._told = ""
        self.given.emit(" ".join(text.split()))
