"""The list of words that would complete what stands before the cursor, in groups; `prompt_edit` feeds it keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QListWidget, QListWidgetItem, QWidget

from app import theme

_MOST_ROWS = 12


class WordPopup(QListWidget):
    """The words on offer under the cursor, in groups with headings; it never takes the focus."""

    def __init__(self, owner: QWidget) -> None:
        super().__init__(owner)
        self.setWindowFlags(Qt.WindowType.ToolTip)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setProperty("role", "popup")
        self.setAccessibleName("Completions")
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)

    def offer(self, groups: Mapping[str, Sequence[str]]) -> None:
        """Fill the list; the first word is chosen."""
        self.clear()
        for group, words in groups.items():
            heading = QListWidgetItem(group)
            heading.setFlags(Qt.ItemFlag.NoItemFlags)
            heading.setForeground(theme.colour("muted"))
            heading.setFont(theme.font(theme.LEAST))
            self.addItem(heading)
            for word in words:
                self.addItem(QListWidgetItem(f"  {word}"))
        self.move_choice(1)
        rows = min(self.count(), _MOST_ROWS)
        self.resize(max(self.sizeHintForColumn(0) + 40, 160), rows * max(self.sizeHintForRow(0), 16) + 12)

    def move_choice(self, by: int) -> None:
        """Choose the next word in a direction, jumping over headings."""
        row = self.currentRow() + by
        while 0 <= row < self.count() and not self.item(row).flags():
            row += by
        if 0 <= row < self.count():
            self.setCurrentRow(row)

    def choice(self) -> str:
        """The chosen word."""
        item = self.currentItem()
        return item.text().strip() if item is not None and item.flags() else ""

    def words(self) -> list[str]:
        """All words on offer."""
        items = (self.item(row) for row in range(self.count()))
        return [item.text().strip() for item in items if item.flags()]
