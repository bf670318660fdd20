"""Pages of the window that are no panels: settings and the list of keys; `app.models_page` has the models."""

from __future__ import annotations

import os

from PySide6.QtCore import QMimeData, Qt, Signal, Slot
from PySide6.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QComboBox,
    QFormLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QPushButton,
    QSpinBox,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from app import theme
from app.widgets.icons import icon

WIDTH = 760
Rows = list[tuple[str, ...]]


class Page(QWidget):
    """A column with a title and a button that goes back to the panel."""

    closed = Signal()

    def __init__(self, title: str, explanation: str) -> None:
        super().__init__()
        self.setAccessibleName(title)
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(24, 16, 24, 16)
        self.column.setSpacing(12)
        back = QPushButton("Back", toolTip="Back to the panel (Esc)")
        back.setIcon(icon("previous"))
        back.setFixedWidth(90)
        back.clicked.connect(self.closed)
        heading, words = QLabel(title), QLabel(explanation)
        heading.setProperty("role", "title")
        words.setProperty("role", "muted")
        words.setWordWrap(True)
        for widget in (back, heading, words):
            self.column.addWidget(widget)

    def refresh(self) -> None:
        """Called when the page is shown."""

    def accept_drop(self, mime: QMimeData) -> bool:
        """Take something dropped on the page; False leaves it to the panel."""
        return False

    def key_help(self) -> list[tuple[str, str]]:
        """The keys of this page for the list of keys: (keys, what they do)."""
        return []


class SettingsPage(Page):
    """Theme, threads, device, motion; each is saved when it is changed."""

    def __init__(self, settings) -> None:
        super().__init__("Settings", "Every change is saved at once.")
        self._settings = settings
        self.theme = QComboBox(toolTip="Light, dark, or as the system has it")
        self.theme.addItems(["System", "Light", "Dark"])
        self.threads = QSpinBox(toolTip="Threads for computing; fewer leave room for other programs")
        theme.pad(self.threads)
        self.threads.setRange(0, os.cpu_count() or 1)
        self.threads.setSpecialValueText("automatic")
        self.device = QComboBox(toolTip="Where to compute, if a job does not say it; auto takes the best there is")
        self.device.addItems(["auto", "cpu", "cuda", "mps"])
        self.motion = QCheckBox("Reduce motion", toolTip="Fold and fade without animation")
        form = QFormLayout()
        form.setHorizontalSpacing(16)
        form.setVerticalSpacing(8)
        for words, widget in (("Theme", self.theme), ("Threads", self.threads), ("Device", self.device)):
            widget.setMaximumWidth(220)
            widget.setAccessibleName(words)
            form.addRow(words, widget)
        form.addRow("", self.motion)
        later = QLabel("Threads and device take effect at the next start.")
        later.setProperty("role", "small")
        self.column.addLayout(form)
        self.column.addWidget(later)
        self.column.addStretch(1)
        self.refresh()
        self.theme.currentTextChanged.connect(self._on_theme)
        self.threads.valueChanged.connect(self._on_threads)
        self.device.currentTextChanged.connect(self._on_device)
        self.motion.toggled.connect(self._on_motion)

    def refresh(self) -> None:
        self.theme.setCurrentText(self._settings.get("theme").capitalize())
        self.threads.setValue(self._settings.get("threads"))
        self.device.setCurrentText(self._settings.get("device"))
        self.motion.setChecked(self._settings.get("reduced_motion"))

    @Slot(str)
    def _on_theme(self, choice: str) -> None:
        self._settings.set("theme", choice.lower())
        theme.apply(choice.lower())

    @Slot(int)
    def _on_threads(self, count: int) -> None:
        self._settings.set("threads", count)

    @Slot(str)
    def _on_device(self, device: str) -> None:
        self._settings.set("device", device)

    @Slot(bool)
    def _on_motion(self, reduced: bool) -> None:
        self._settings.set("reduced_motion", reduced)
        theme.set_reduced_motion(reduced)


class KeysPage(Page):
    """All keys, with a field to search them."""

    def __init__(self) -> None:
        super().__init__("Keys", "Single letters and stepping keys do nothing while a text field has the focus.")
        self.search = QLineEdit(placeholderText="Search keys", clearButtonEnabled=True, accessibleName="Search keys")
        self.search.setMaximumWidth(WIDTH)
        self.table = _table("Where", "Keys", "What they do")
        self.search.textChanged.connect(self._on_search)
        self.column.addWidget(self.search)
        self.column.addWidget(self.table, 1)

    def set_rows(self, rows: Rows) -> None:
        """Show (where, keys, what)."""
        _fill(self.table, rows)
        self._on_search(self.search.text())

    @Slot(str)
    def _on_search(self, text: str) -> None:
        for row in range(self.table.rowCount()):
            words = " ".join(self.table.item(row, column).text() for column in range(3)).lower()
            self.table.setRowHidden(row, text.lower() not in words)


def _table(*titles: str) -> QTableWidget:
    table = QTableWidget(0, len(titles))
    table.setHorizontalHeaderLabels(titles)
    table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    table.verticalHeader().hide()
    table.verticalHeader().setDefaultSectionSize(28)
    table.setShowGrid(False)
    table.setMaximumWidth(WIDTH)
    table.setAccessibleName(titles[0])
    table.setTabKeyNavigation(False)
    table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
    table.horizontalHeader().setStretchLastSection(True)
    table.horizontalHeader().setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
    table.horizontalHeader().setHighlightSections(False)
    return table


def _fill(table: QTableWidget, rows: Rows) -> None:
    table.setRowCount(len(rows))
    for row, values in enumerate(rows):
        for column, value in enumerate(values):
            table.setItem(row, column, QTableWidgetItem(value))
