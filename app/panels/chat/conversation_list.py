"""The conversations at the top of the left column: begin, choose, rename, delete."""

from __future__ import annotations

from collections.abc import Iterable

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtGui import QPainter
from PySide6.QtWidgets import QFrame, QHBoxLayout, QListWidget, QListWidgetItem, QPushButton, QToolButton, QVBoxLayout, QWidget

from app import theme
from app.panels.chat.conversation import Conversation
from app.widgets.icons import icon

EMPTY = "Conversations are kept here."
_KEY = Qt.ItemDataRole.UserRole


class _List(QListWidget):
    """Says what will stand in it while there is nothing."""

    def paintEvent(self, event) -> None:
        super().paintEvent(event)
        if not self.count():
            painter = QPainter(self.viewport())
            painter.setPen(theme.colour("muted"))
            painter.setFont(theme.font(theme.SMALL))
            painter.drawText(self.viewport().rect(), Qt.AlignmentFlag.AlignCenter, EMPTY)


class ConversationList(QWidget):
    """Knows names and ids only."""

    new_wanted = Signal()
    chosen = Signal(str)
    renamed = Signal(str, str)
    delete_wanted = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._list, self._filling = _List(), False
        self.new = QPushButton(icon("new"), "New chat", toolTip="Begin another conversation (Ctrl+N)")
        self._delete = QToolButton(toolTip="Delete the chosen conversation", accessibleName="Delete conversation")
        self._delete.setIcon(icon("trash"))
        self.new.clicked.connect(self.new_wanted)
        self._delete.clicked.connect(self._on_delete)
        self._list.setAccessibleName("Conversations")
        self._list.setProperty("role", "rows")
        self._list.setToolTip("Double-click renames")
        self._list.setFrameShape(QFrame.Shape.NoFrame)
        self._list.setEditTriggers(QListWidget.EditTrigger.DoubleClicked | QListWidget.EditTrigger.EditKeyPressed)
        self._list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._list.setTextElideMode(Qt.TextElideMode.ElideRight)
        self._list.setMinimumHeight(60)
        self._list.currentItemChanged.connect(self._on_chosen)
        self._list.itemChanged.connect(self._on_renamed)
        row, column = QHBoxLayout(), QVBoxLayout(self)
        column.setContentsMargins(12, 8, 12, 8)
        column.setSpacing(4)
        row.addWidget(self.new, 1)
        row.addWidget(self._delete)
        column.addLayout(row)
        column.addWidget(self._list, 1)

    def show_all(self, every: Iterable[Conversation], current: str) -> None:
        """Show the list, the newest first."""
        rows = [(conversation.id, conversation.name) for conversation in sorted(every, key=lambda c: -c.changed)]
        here = [(item.data(_KEY), item.text()) for item in self._items()]
        self._filling = True
        if rows != here and self._list.state() != QListWidget.State.EditingState:
            self._list.clear()
            for key, name in rows:
                item = QListWidgetItem(name)
                item.setData(_KEY, key)
                item.setFlags(item.flags() | Qt.ItemFlag.ItemIsEditable)
                self._list.addItem(item)
        found = next((item for item in self._items() if item.data(_KEY) == current), None)
        self._list.setCurrentItem(found)
        self._filling = False
        self._delete.setEnabled(found is not None)

    def names(self) -> list[str]:
        """The names in the list."""
        return [item.text() for item in self._items()]

    def _items(self) -> list[QListWidgetItem]:
        return [self._list.item(row) for row in range(self._list.count())]

    @Slot(QListWidgetItem, QListWidgetItem)
    def _on_chosen(self, item: QListWidgetItem | None, _before: QListWidgetItem | None) -> None:
        if item is not None and not self._filling:
            self.chosen.emit(item.data(_KEY))

    @Slot(QListWidgetItem)
    def _on_renamed(self, item: QListWidgetItem) -> None:
        if not self._filling:
            self.renamed.emit(item.data(_KEY), item.text().strip())

    @Slot()
    def _on_delete(self) -> None:
        item = self._list.currentItem()
        if item is not None:
            self.delete_wanted.emit(item.data(_KEY))
