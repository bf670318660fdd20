"""All runs in rows: those that train here, and those in their folders from earlier, with what can be done with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtGui import QColor, QPainter, QPixmap
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

from app import theme
from app.panels.rl.training import WORDS, Training
from app.protocol.rl import RunCard

TITLES = ("Algorithm", "Environment", "Seed", "Steps", "State", "Evaluation", "Begun")
EMPTY = "No runs yet. Press Train: each run is kept in a folder of its own and listed here, also after a crash."
GOES_ON = ("stopped", "interrupted", "failed")


@dataclass(frozen=True)
class Entry:
    """One row: what the folder says, what is in memory, or both."""

    card: RunCard | None
    training: Training | None

    @property
    def state(self) -> str:
        """Of the training here, else as its folder says."""
        return self.training.state if self.training else self.card.state if self.card else ""

    @property
    def active(self) -> bool:
        """Does it train here?"""
        return self.training is not None and self.training.active

    @property
    def folder(self) -> str:
        """Its folder, "" if it has none yet."""
        return self.card.folder if self.card else self.training.folder if self.training else ""


class RunsPage(QWidget):
    """The table and its buttons."""

    show_wanted = Signal(object)
    resume_wanted = Signal(object)
    export_wanted = Signal(object)
    reuse_wanted = Signal(object)
    delete_wanted = Signal(object)
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
        for name, title, tip in (
            ("show", "Show", "Its curves, and its policies for the time machine (double click)"),
            ("resume", "Resume", "Go on where it was saved"), ("reuse", "Use setup", "Put its setup into the form"),
            ("export", "Export …", "CSV, TensorBoard event file and the policy, into a folder"),
            ("delete", "Delete …", "Delete its folder"),
        ):
            button = QPushButton(title, toolTip=tip)
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
        chosen = self.selected()
        self._silent = True
        self.entries = list(entries)
        self.table.setRowCount(len(entries))
        for row, entry in enumerate(entries):
            self._fill(row, entry)
        self._silent = False
        self.table.setVisible(bool(entries))
        self._empty.setVisible(not entries)
        keep = next((row for row, entry in enumerate(entries) if chosen and _same(entry, chosen)), -1)
        self.table.selectRow(keep) if keep >= 0 else self.table.clearSelection()
        self._on_selected()

    def _fill(self, row: int, entry: Entry) -> None:
        for column, words in enumerate(_words(entry)):
            item = QTableWidgetItem(words)
            item.setToolTip(_tip(entry))
            if column == 0:
                item.setData(Qt.ItemDataRole.DecorationRole, _chip(entry.training))
                if entry.training is not None:
                    item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
                    item.setCheckState(Qt.CheckState.Checked if entry.training.visible else Qt.CheckState.Unchecked)
            self.table.setItem(row, column, item)

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
            "show": entry is not None, "resume": there and not entry.active and entry.state in (*GOES_ON, "finished", "running"),
            "reuse": entry is not None, "export": there, "delete": there and not entry.active,
        }  # fmt: skip
        for name, button in self.buttons.items():
            button.setEnabled(bool(able[name]))

    @Slot()
    def _on_button(self) -> None:
        entry = self.selected()
        if entry is not None:
            getattr(self, f"{self.sender().property('wish')}_wanted").emit(entry)

    @Slot(int, int)
    def _on_double(self, row: int, _column: int) -> None:
        self.show_wanted.emit(self.entries[row])

    @Slot(QTableWidgetItem)
    def _on_ticked(self, item: QTableWidgetItem) -> None:
        entry = self.entries[item.row()]
        if not self._silent and item.column() == 0 and entry.training is not None:
            self.drawn_changed.emit(entry.training, item.checkState() == Qt.CheckState.Checked)


def _same(entry: Entry, other: Entry) -> bool:
    return entry.training is other.training if entry.training or other.training else entry.folder == other.folder


def _words(entry: Entry) -> tuple[str, ...]:
    """The cells of a row."""
    training, card = entry.training, entry.card
    setup = training.run_setup if training else None
    algo, env, seed = (setup.algo, setup.env, setup.seed) if setup else (card.algo, card.env, card.seed)
    steps, total = (training.steps, training.total) if training else (card.timesteps, card.total)
    mean = training.evals.last("eval/mean_reward") if training and len(training.evals) else card.eval_mean if card else None
    std = training.evals.last("eval/std_reward") if training and len(training.evals) else card.eval_std if card else None
    judged = "" if mean is None or mean != mean else f"{mean:.4g} ± {std or 0:.3g}"
    share = f"{steps:,} of {total:,}" if total else f"{steps:,}"
    return algo, env, str(seed), share, WORDS.get(entry.state, entry.state), judged, card.started if card else ""


def _tip(entry: Entry) -> str:
    parts = [entry.card.sentence, entry.card.setup, entry.folder] if entry.card else [entry.folder]
    return "\n".join(part for part in parts if part) or "Ticked: its curves are drawn."


def _chip(training: Training | None) -> QPixmap:
    """The colour of its curves; a ring for one that is not drawn."""
    pixels = QPixmap(12, 12)
    pixels.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixels)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    ink: QColor = theme.data_colour(training.colour) if training else theme.colour("muted")
    painter.setPen(ink)
    if training is not None:
        painter.setBrush(ink)
    painter.drawEllipse(2, 2, 8, 8)
    painter.end()
    return pixels
