"""All runs in rows: those that train here, and those in their folders from earlier, with what can be done with them."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from app.panels.rl.run_rows import Entry, chip, same, tip, words
from app.panels.rl.training import ACTIVE, Training

TITLES = ("Algorithm", "Environment", "Seed", "Steps", "State", "Evaluation", "Begun")
EMPTY = "No runs yet. Press Train: each run is kept in a folder of its own and listed here, also after a crash."
GOES_ON = ("stopped", "interrupted", "failed")


class RunsPage(QWidget):
    """The table and its buttons."""

    show_wanted = Signal(object)
    resume_wanted = Signal(object)
    export_wanted = Signal(object)
    reuse_wanted = Signal(object)
    delete_wanted = Signal(object)
    open_wanted = Signal()
    drawn_changed = Signal(object, bool)
    """A training is to be drawn, or not."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.entries: list[Entry] = []
        self.table, self._empty = QTableWidget(0, len(TITLES)), QLabel(EMPTY, wordWrap=True, alignment=Qt.AlignmentFlag.AlignCenter)
        self.buttons: dict[str, QPushButton] = {}
        self._silent = False
        self._build()
        self.set_entries([])

    def _build(self) -> None:
        table = self.table
        table.setHorizontalHeaderLabels(TITLES)
        table.verticalHeader().hide()
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        table.setShowGrid(False)
        table.setAccessibleName("Runs")
        table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        table.horizontalHeader().setStretchLastSection(True)
        table.itemSelectionChanged.connect(self._on_selected)
        table.cellDoubleClicked.connect(self._on_double)
        table.itemChanged.connect(self._on_ticked)
        self._empty.setProperty("role", "muted")
        row, column = QHBoxLayout(), QVBoxLayout(self)
        for name, title, what in (
            ("show", "Show", "Its curves, and its policies for the time machine (double click)"),
            ("resume", "Resume", "Go on where it was saved; a finished one up to the number of steps in the form"),
            ("reuse", "Use setup", "Put its setup into the form"),
            ("export", "Export …", "CSV, TensorBoard event file and the policy, into a folder"),
            ("delete", "Delete …", "Delete its folder"), ("open", "Open …", "A run in a folder elsewhere"),
        ):
            button = QPushButton(title, toolTip=what)
            button.setProperty("wish", name)
            button.clicked.connect(self._on_button)
            self.buttons[name] = button
            row.addWidget(button)
        row.addStretch(1)
        column.setContentsMargins(8, 6, 8, 6)
        column.setSpacing(6)
        column.addWidget(table, 1)
        column.addWidget(self._empty, 1)
        column.addLayout(row)

    # content -------------------------------------------------------------------------------------------------------

    def set_entries(self, entries: Sequence[Entry]) -> None:
        """Other rows; what is selected stays so."""
        chosen, before = self.selected(), self.entries
        alike = len(before) == len(entries) and all(map(same, before, entries))
        self._silent = True
        self.entries = list(entries)
        self.table.setRowCount(len(entries) if alike else 0)
        self.table.setRowCount(len(entries))
        for row, entry in enumerate(entries):
            self._fill(row, entry)
        self._silent = False
        if alike and entries:
            self._on_selected()
            return
        self.table.setVisible(bool(entries))
        self._empty.setVisible(not entries)
        keep = next((row for row, entry in enumerate(entries) if chosen and same(entry, chosen)), -1)
        self.table.selectRow(keep) if keep >= 0 else self.table.clearSelection()
        self._on_selected()

    def _fill(self, row: int, entry: Entry) -> None:
        for column, text in enumerate(words(entry)):
            item = self.table.item(row, column)
            if item is None:
                item = QTableWidgetItem()
                self.table.setItem(row, column, item)
            item.setText(text)
            item.setToolTip(tip(entry))
            if column == 0:
                item.setData(Qt.ItemDataRole.DecorationRole, chip(entry.training))
                if entry.training is not None:
                    item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
                    item.setCheckState(Qt.CheckState.Checked if entry.training.visible else Qt.CheckState.Unchecked)

    def selected(self) -> Entry | None:
        """The row that buttons are about."""
        rows = self.table.selectionModel().selectedRows() if self.table.rowCount() else []
        return self.entries[rows[0].row()] if rows and rows[0].row() < len(self.entries) else None

    def select(self, training: Training | None) -> None:
        """Select the row of a training; tells nobody."""
        row = next((row for row, entry in enumerate(self.entries) if training is not None and entry.training is training), -1)
        if row >= 0:
            self.table.selectRow(row)

    # wishes --------------------------------------------------------------------------------------------------------

    @Slot()
    def _on_selected(self) -> None:
        entry = self.selected()
        there = entry is not None and bool(entry.folder)
        able = {
            "show": entry is not None, "resume": there and entry.state in (*GOES_ON, "finished"), "reuse": entry is not None,
            "export": there, "delete": there and entry.state not in ACTIVE, "open": True,
        }  # fmt: skip
        for name, button in self.buttons.items():
            button.setEnabled(bool(able[name]))

    @Slot()
    def _on_button(self) -> None:
        entry, wish = self.selected(), self.sender().property("wish")
        if wish == "open":
            self.open_wanted.emit()
        elif entry is not None:
            getattr(self, f"{wish}_wanted").emit(entry)

    @Slot(int, int)
    def _on_double(self, row: int, _column: int) -> None:
        self.show_wanted.emit(self.entries[row])

    @Slot(QTableWidgetItem)
    def _on_ticked(self, item: QTableWidgetItem) -> None:
        entry = self.entries[item.row()]
        if not self._silent and item.column() == 0 and entry.training is not None:
            self.drawn_changed.emit(entry.training, item.checkState() == Qt.CheckState.Checked)
