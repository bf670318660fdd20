"""Thumbnails of all finished pictures, newest first; single keys act on the chosen one."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, Signal, Slot
from PySide6.QtGui import QIcon, QKeyEvent, QPixmap
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from app.jobs.library import GalleryItem
from app.widgets.icons import icon
from app.widgets.image_view import to_qimage

THUMB = 72
KEYS = {
    Qt.Key.Key_A: "all", Qt.Key.Key_Return: "all", Qt.Key.Key_Enter: "all", Qt.Key.Key_S: "seed",
    Qt.Key.Key_P: "prompts", Qt.Key.Key_R: "remix", Qt.Key.Key_D: "size",
}  # fmt: skip
BUTTONS = (
    ("all", "Recall", "Put all settings, maps and poses of this picture back into the form (A, or double-click)"),
    ("seed", "Seed", "Take its seed (S)"),
    ("prompts", "Prompts", "Take its prompts (P)"),
)
EMPTY = "Every finished picture is kept here, with all that made it, also after a restart."
KEY_HELP = [
    ("A, Enter", "Gallery: recall all settings"),
    ("S", "Gallery: recall the seed"),
    ("P", "Gallery: recall the prompts"),
    ("R", "Gallery: recall all but the seed"),
    ("D", "Gallery: recall the size"),
    ("Del", "Gallery: delete, with undo"),
]
_PATH = Qt.ItemDataRole.UserRole


class GalleryView(QWidget):
    """A grid of thumbnails with its buttons."""

    recall_requested = Signal(str, str)
    """Path, and what: "all", "seed", "prompts", "remix" (all but the seed), "size"."""
    chosen = Signal(str)
    delete_requested = Signal(list)
    folder_requested = Signal(str)
    more_requested = Signal()
    generate_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.list = _Thumbs()
        self._words = QLabel()
        self._teach, self._make = QLabel(EMPTY), QPushButton("Generate a picture")
        self._buttons: dict[str, QPushButton] = {}
        self._delete = QToolButton(toolTip="Delete the chosen pictures (Del); can be undone")
        self._folder = QToolButton(toolTip="Show in folder")
        self._total = 0
        self._known: set[str] = set()
        self._build()

    def _build(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 8, 8, 8)
        column.setSpacing(6)
        row = QHBoxLayout()
        row.setSpacing(4)
        for what, title, tip in BUTTONS:
            button = QPushButton(title, toolTip=tip)
            button.setProperty("role", "flat")
            button.setProperty("what", what)
            button.setMinimumWidth(40)
            button.clicked.connect(self._on_button)
            self._buttons[what] = button
            row.addWidget(button)
        row.addStretch(1)
        for button, glyph, slot in ((self._folder, "open", self._on_folder), (self._delete, "trash", self._on_delete)):
            button.setIcon(icon(glyph))
            button.setAccessibleName(button.toolTip())
            button.clicked.connect(slot)
            row.addWidget(button)
        self._words.setProperty("role", "small")
        self._words.setWordWrap(True)
        self._teach.setProperty("role", "muted")
        self._teach.setWordWrap(True)
        self._teach.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._make.clicked.connect(self.generate_requested)
        column.addLayout(row)
        column.addWidget(self._teach)
        column.addWidget(self._make, 0, Qt.AlignmentFlag.AlignHCenter)
        column.addWidget(self.list, 1)
        column.addWidget(self._words)
        self.list.itemSelectionChanged.connect(self._on_selection)
        self.list.itemDoubleClicked.connect(self._on_double_clicked)
        self.list.key_pressed.connect(self._on_key)
        self.list.verticalScrollBar().valueChanged.connect(self._on_scrolled)
        self._show_state()

    # content -------------------------------------------------------------------------------------------------------

    def clear(self) -> None:
        """Forget everything."""
        self.list.clear()
        self._known.clear()
        self._total = 0
        self._show_state()

    def set_total(self, total: int) -> None:
        """How many pictures there are in the folder."""
        self._total = total
        self._show_state()

    def append(self, item: GalleryItem, *, first: bool = False) -> None:
        """One more picture, at the end or (a new one) at the front."""
        if item.path in self._known:
            return
        self._known.add(item.path)
        row = QListWidgetItem(QIcon(QPixmap.fromImage(to_qimage(item.thumbnail))), "")
        row.setData(_PATH, item.path)
        seed = "" if item.seed is None else f"seed {item.seed}\n"
        row.setToolTip(f"{item.prompt[:300]}\n{seed}{item.width} x {item.height}\n{item.problem}".strip())
        row.setData(Qt.ItemDataRole.AccessibleTextRole, item.prompt or item.problem or "Picture")
        row.setSizeHint(QSize(THUMB + 8, THUMB + 8))
        self.list.insertItem(0 if first else self.list.count(), row)
        self._show_state()

    def remove(self, paths: list[str]) -> None:
        """Take pictures out of the view."""
        for path in paths:
            row = self.find(path)
            if row is not None:
                self.list.takeItem(row)
                self._known.discard(path)
        self._show_state()

    def find(self, path: str) -> int | None:
        """Row of a picture."""
        return next((row for row in range(self.list.count()) if self.list.item(row).data(_PATH) == path), None)

    def paths(self) -> list[str]:
        """All pictures in view, from the first."""
        return [self.list.item(row).data(_PATH) for row in range(self.list.count())]

    def selected(self) -> list[str]:
        """The chosen pictures."""
        return [item.data(_PATH) for item in self.list.selectedItems()]

    def _show_state(self) -> None:
        empty = self.list.count() == 0
        self._teach.setVisible(empty)
        self._make.setVisible(empty)
        self.list.setVisible(not empty)
        count = max(self._total, self.list.count())
        self._words.setText("" if empty else f"{count} picture{'s' if count != 1 else ''}")
        self._on_selection()

    # what the person does ------------------------------------------------------------------------------------------

    @Slot()
    def _on_selection(self) -> None:
        chosen = self.selected()
        for button in self._buttons.values():
            button.setEnabled(len(chosen) == 1)
        self._delete.setEnabled(bool(chosen))
        if len(chosen) == 1:
            self.chosen.emit(chosen[0])

    def _recall(self, what: str) -> None:
        chosen = self.selected()
        if len(chosen) == 1:
            self.recall_requested.emit(chosen[0], what)

    @Slot()
    def _on_button(self) -> None:
        self._recall(self.sender().property("what"))

    @Slot(QListWidgetItem)
    def _on_double_clicked(self, _item: QListWidgetItem) -> None:
        self._recall("all")

    @Slot(int)
    def _on_key(self, key: int) -> None:
        if key in (Qt.Key.Key_Delete, Qt.Key.Key_Backspace):
            self._on_delete()
        else:
            self._recall(KEYS[Qt.Key(key)])

    @Slot()
    def _on_delete(self) -> None:
        if self.selected():
            self.delete_requested.emit(self.selected())

    @Slot()
    def _on_folder(self) -> None:
        self.folder_requested.emit((self.selected() or [""])[0])

    @Slot(int)
    def _on_scrolled(self, value: int) -> None:
        if value >= self.list.verticalScrollBar().maximum() - THUMB and self.list.count() < self._total:
            self.more_requested.emit()


class _Thumbs(QListWidget):
    """The grid; tells of the keys that act on a picture."""

    key_pressed = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.setViewMode(QListWidget.ViewMode.IconMode)
        self.setResizeMode(QListWidget.ResizeMode.Adjust)
        self.setMovement(QListWidget.Movement.Static)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setIconSize(QSize(THUMB, THUMB))
        self.setSpacing(2)
        self.setUniformItemSizes(True)
        self.setAccessibleName("Gallery")

    def keyPressEvent(self, event: QKeyEvent) -> None:
        plain = not event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier
        if plain and (event.key() in KEYS or event.key() in (Qt.Key.Key_Delete, Qt.Key.Key_Backspace)):
            self.key_pressed.emit(event.key())
        else:
            super().keyPressEvent(event)
