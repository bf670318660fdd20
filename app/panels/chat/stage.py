"""The middle of the panel: a head with the conversation's name, one or two columns of messages, and the field to write in."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QHBoxLayout, QMenu, QPlainTextEdit, QPushButton, QSplitter, QStackedWidget, QToolButton, QVBoxLayout, QWidget

from app import theme
from app.panels.chat.welcome import Welcome
from app.widgets.composer import Composer
from app.widgets.elided_label import ElidedLabel
from app.widgets.icons import icon
from app.widgets.message_column import MessageColumn

EXPORTS = (("markdown", "Copy as Markdown"), ("save-markdown", "Save as Markdown …"), ("save-json", "Save as JSON …"))


class Stage(QWidget):
    """Views only; `messages.py` fills the columns."""

    raw_wanted = Signal(bool)
    export_wanted = Signal(str)
    beside_closed = Signal()
    beside_kept = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.main, self.beside = MessageColumn(), MessageColumn()
        self.welcome, self.composer = Welcome(), Composer()
        self.raw = QPlainTextEdit(readOnly=True, accessibleName="The text the model gets")
        self.columns, self._pages = QSplitter(Qt.Orientation.Horizontal), QStackedWidget()
        self._title, self._beside_title = ElidedLabel(bold=True), ElidedLabel("muted", theme.SMALL)
        self._raw_button = QPushButton(icon("code"), "Raw text", checkable=True)
        self.main.set_empty(self.welcome)
        self._beside_box = self._beside_column()
        self.columns.addWidget(self.main)
        self.columns.addWidget(self._beside_box)
        self.columns.setChildrenCollapsible(False)
        self.columns.setHandleWidth(5)
        self._beside_box.hide()
        self.raw.setFont(theme.font(theme.SMALL, mono=True))
        self._pages.addWidget(self.columns)
        self._pages.addWidget(self.raw)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addLayout(self._head())
        column.addWidget(self._pages, 1)
        column.addWidget(self.composer)

    def _head(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setContentsMargins(16, 4, 8, 4)
        row.setSpacing(4)
        self._raw_button.setProperty("role", "flat")
        self._raw_button.setToolTip("The conversation as the model gets it: the chat template's text, control tokens included")
        self._raw_button.toggled.connect(self.raw_wanted)
        export, menu = QPushButton(icon("export"), "Export", toolTip="Copy or save this conversation"), QMenu(self)
        export.setProperty("role", "flat")
        for kind, words in EXPORTS:
            action = menu.addAction(words)
            action.setData(kind)
            action.triggered.connect(self._on_export)
        export.setMenu(menu)
        row.addWidget(self._title, 1)
        row.addWidget(self._raw_button)
        row.addWidget(export)
        return row

    def _beside_column(self) -> QWidget:
        box, row = QWidget(), QHBoxLayout()
        column = QVBoxLayout(box)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        row.setContentsMargins(16, 4, 8, 4)
        keep = QPushButton("Keep this one", toolTip="Follow this answer: the conversation goes on from it")
        close = QToolButton(toolTip="Close the second column; its answer stays as a branch", accessibleName="Close the second column")
        close.setIcon(icon("close"))
        keep.clicked.connect(self.beside_kept)
        close.clicked.connect(self.beside_closed)
        row.addWidget(self._beside_title, 1)
        row.addWidget(keep)
        row.addWidget(close)
        column.addLayout(row)
        column.addWidget(self.beside, 1)
        return box

    def set_title(self, title: str) -> None:
        """The name of the conversation."""
        self._title.setText(title)

    def show_beside(self, title: str) -> None:
        """Open the second column under a title; "" closes it."""
        opening = bool(title) and self._beside_box.isHidden()
        self._beside_box.setVisible(bool(title))
        self._beside_title.setText(title)
        if opening:
            half = self.columns.width() // 2
            self.columns.setSizes([half, half])

    @property
    def beside_shown(self) -> bool:
        """Whether there is a second column."""
        return not self._beside_box.isHidden()

    def show_raw(self, text: str | None) -> None:
        """Show the raw text in the place of the messages; None: the messages."""
        self._raw_button.blockSignals(True)
        self._raw_button.setChecked(text is not None)
        self._raw_button.blockSignals(False)
        if text is not None:
            self.raw.setPlainText(text)
        self._pages.setCurrentWidget(self.columns if text is None else self.raw)

    @property
    def raw_shown(self) -> bool:
        """Whether the raw text is on show."""
        return self._pages.currentWidget() is self.raw

    @Slot()
    def _on_export(self) -> None:
        self.export_wanted.emit(self.sender().data())
