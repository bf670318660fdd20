"""An inline message: one sentence, a hint, one action and a close button. Nothing modal ever says "OK"."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QFrame, QGridLayout, QLabel, QPlainTextEdit, QPushButton, QToolButton, QWidget

from app.protocol.errors import ErrorReport, UserError
from app.widgets.icons import IconLabel, icon

_ICON = {"info": ("info", "info"), "warn": ("warning", "warn"), "error": ("error", "error")}
_SPOKEN = {"info": "Note", "warn": "Warning", "error": "Error"}


class ErrorBanner(QFrame):
    """Shows one message at a time; a newer one replaces the older."""

    acted = Signal()
    closed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("Banner")
        self._callback: Callable[[], None] | None = None
        self._mark = IconLabel("info", "info", 20)
        self._text, self._hint = QLabel(), QLabel()
        self._action = QPushButton()
        self._more = QToolButton(text="Details", toolTip="Show what happened in full", checkable=True)
        self._close = QToolButton(toolTip="Close this message (Esc)", accessibleName="Close message")
        self._details = QPlainTextEdit(readOnly=True, accessibleName="Details")
        self.kind = "info"
        self._build()
        self.hide()

    def _build(self) -> None:
        for label in (self._text, self._hint):
            label.setWordWrap(True)
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            label.setTextFormat(Qt.TextFormat.PlainText)
        self._text.setProperty("role", "heading")
        self._hint.setProperty("role", "small")
        self._close.setIcon(icon("close"))
        self._details.setMaximumHeight(160)
        self._details.hide()
        layout = QGridLayout(self)
        layout.setContentsMargins(12, 8, 8, 8)
        layout.setHorizontalSpacing(8)
        layout.setVerticalSpacing(2)
        layout.addWidget(self._mark, 0, 0, 2, 1, Qt.AlignmentFlag.AlignTop)
        layout.addWidget(self._text, 0, 1)
        layout.addWidget(self._hint, 1, 1)
        for column, button in enumerate((self._more, self._action, self._close), start=2):
            layout.addWidget(button, 0, column, 2, 1, Qt.AlignmentFlag.AlignVCenter)
        layout.addWidget(self._details, 2, 1, 1, 4)
        layout.setColumnStretch(1, 1)
        self._action.clicked.connect(self._on_action)
        self._close.clicked.connect(self._on_close)
        self._more.toggled.connect(self._details.setVisible)

    def show_message(
        self, kind: str, text: str, hint: str = "", action: str = "",
        callback: Callable[[], None] | None = None, details: str = "",
    ) -> None:  # fmt: skip
        """Show a sentence of kind "info", "warn" or "error", with an optional hint, action button and details."""
        self.kind = kind
        self._mark.show_icon(*_ICON[kind])
        self._text.setText(text)
        self._hint.setText(hint)
        self._hint.setVisible(bool(hint))
        self._action.setText(action)
        self._action.setVisible(bool(action))
        self._callback = callback
        self._details.setPlainText(details)
        self._more.setChecked(False)
        self._more.setVisible(bool(details))
        self.setAccessibleName(f"{_SPOKEN[kind]}: {text}")
        self.setAccessibleDescription(hint)
        self.setProperty("kind", kind)
        self.style().unpolish(self)
        self.style().polish(self)
        self.show()

    def show_error(self, error: UserError | ErrorReport | Exception | str) -> None:
        """Show what went wrong: a ``UserError``, an ``ErrorReport`` from the worker, or any sentence."""
        if isinstance(error, ErrorReport):
            self.show_message("error", error.title, error.hint, details=error.traceback)
        elif isinstance(error, UserError):
            self.show_message("error", str(error), error.hint)
        else:
            self.show_message("error", str(error))

    def text(self) -> str:
        """The sentence on show, "" when the banner is hidden."""
        return "" if self.isHidden() else self._text.text()

    def clear(self) -> None:
        """Take the message away."""
        self._callback = None
        self.hide()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self._on_close()
        else:
            super().keyPressEvent(event)

    @Slot()
    def _on_action(self) -> None:
        callback = self._callback
        self.clear()
        self.acted.emit()
        if callback is not None:
            callback()

    @Slot()
    def _on_close(self) -> None:
        self.clear()
        self.closed.emit()
