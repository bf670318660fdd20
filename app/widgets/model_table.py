"""All models in one table, grouped: state, name with what it is for, size, licence, where from. States are told by icon and word."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QModelIndex, QSize, Qt, Signal, Slot
from PySide6.QtGui import QKeyEvent, QPainter, QPalette
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from app import theme
from app.protocol.models import ModelRow
from app.protocol.sizes import size_words
from app.widgets.icons import icon

COLUMNS = ("State", "Model", "Size", "Licence", "From")
STATE, TITLE, SIZE, LICENCE, SOURCE = range(5)
WIDTHS = {STATE: 148, SIZE: 88, LICENCE: 112, SOURCE: 168}
"""Of the columns that do not stretch."""
STATES = {
    "ready": ("ok", "ok", "Ready"),
    "missing": ("import", "muted", "Not here"),
    "partial": ("clock", "warn", "Interrupted"),
    "damaged": ("error", "error", "Damaged"),
    "memory": ("chip", "info", "In memory"),
    "loading": ("refresh", "info", "Loading"),
    "busy": ("import", "info", "Fetching"),
}
"""State -> icon, its colour role, word."""
ROW_HEIGHT, HEADING_HEIGHT, PADDING = 46, 30, 8
_KEY = Qt.ItemDataRole.UserRole
_SECOND = Qt.ItemDataRole.UserRole + 1
"""A second line under the first."""
_MUTED = Qt.ItemDataRole.UserRole + 2


class _Cells(QStyledItemDelegate):
    """Paints texts in the colours of the theme in use, and titles with a second line."""

    def initStyleOption(self, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        super().initStyleOption(option, index)
        option.state &= ~QStyle.StateFlag.State_HasFocus  # the whole row is marked, not a cell
        ink = theme.colour("muted" if index.data(_MUTED) else "text")
        for role in (QPalette.ColorRole.Text, QPalette.ColorRole.HighlightedText):
            option.palette.setColor(role, ink)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        second = index.data(_SECOND)
        if not second:
            super().paint(painter, option, index)
            return
        self.initStyleOption(option, index)
        title, option.text = option.text, ""
        style = option.widget.style()
        style.drawControl(QStyle.ControlElement.CE_ItemViewItem, option, painter, option.widget)
        lines = option.rect.adjusted(PADDING, 6, -PADDING, -6)
        painter.save()
        for words, font, role, side in (
            (title, theme.font(), "text", Qt.AlignmentFlag.AlignTop),
            (second, theme.font(theme.SMALL), "muted", Qt.AlignmentFlag.AlignBottom),
        ):
            painter.setFont(font)
            painter.setPen(theme.colour(role))
            shown = painter.fontMetrics().elidedText(words, Qt.TextElideMode.ElideRight, lines.width())
            painter.drawText(lines, side | Qt.AlignmentFlag.AlignLeft, shown)
        painter.restore()


class ModelTable(QTableWidget):
    """Rows of `ModelRow` under a heading for each family; one row is chosen at a time."""

    chosen = Signal(str)
    """Key of the row the person moved to."""
    activated_key = Signal(str)
    """Enter, Space or a double click on a row."""
    remove_requested = Signal(str)
    """Delete."""
    check_requested = Signal(str)
    """C."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, len(COLUMNS), parent)
        self.setAccessibleName("Models")
        self.setHorizontalHeaderLabels(COLUMNS)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setTabKeyNavigation(False)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setIconSize(QSize(16, 16))
        self.setItemDelegate(_Cells(self))
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(ROW_HEIGHT)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self._shape_header()
        self._rows: dict[str, ModelRow] = {}
        self._busy: dict[str, str] = {}
        self._in_memory: frozenset[str] = frozenset()
        self.itemSelectionChanged.connect(self._on_selection)
        self.itemDoubleClicked.connect(self._on_double_clicked)

    def _shape_header(self) -> None:
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        header.setSectionResizeMode(TITLE, QHeaderView.ResizeMode.Stretch)
        header.setMinimumSectionSize(60)
        for column, width in WIDTHS.items():
            self.setColumnWidth(column, width)
        header.setHighlightSections(False)
        for column in range(len(COLUMNS)):
            side = Qt.AlignmentFlag.AlignRight if column == SIZE else Qt.AlignmentFlag.AlignLeft
            self.horizontalHeaderItem(column).setTextAlignment(side | Qt.AlignmentFlag.AlignVCenter)

    # content -------------------------------------------------------------------------------------------------------

    def set_rows(self, rows: Sequence[ModelRow]) -> None:
        """Show these rows, in this order under their families; the choice stays where it can."""
        chosen = self.chosen_key()
        self.blockSignals(True)
        self.clearSpans()
        self.setRowCount(0)
        self._rows = {row.key: row for row in rows}
        family = ""
        for row in rows:
            if row.family != family:
                family = row.family
                self._add_heading(family)
            self._add(row)
        self.blockSignals(False)
        self.choose(chosen if chosen in self._rows else next(iter(self._rows), ""))

    def set_busy(self, busy: dict[str, str]) -> None:
        """Keys at work and the words for it, such as "48 %"."""
        self._busy = dict(busy)
        self._show_states()

    @property
    def in_memory(self) -> frozenset[str]:
        """Keys of models that are loaded, as last told."""
        return self._in_memory

    def set_in_memory(self, keys: frozenset[str]) -> None:
        """Keys of models that are loaded."""
        if keys != self._in_memory:
            self._in_memory = keys
            self._show_states()

    def row_of(self, key: str) -> ModelRow | None:
        """The row of a key."""
        return self._rows.get(key)

    def chosen_key(self) -> str:
        """Key of the chosen row, "" if none is."""
        items = self.selectedItems()
        return items[0].data(_KEY) or "" if items else ""

    def choose(self, key: str) -> None:
        """Choose a row; tells of it like a click."""
        for place in range(self.rowCount()):
            if self.item(place, STATE).data(_KEY) == key:
                self.setCurrentCell(place, TITLE)
                self.chosen.emit(key)
                return

    def state_words(self, key: str) -> tuple[str, str, str]:
        """Icon, role and words of a row's state, work and memory included."""
        row = self._rows[key]
        if key in self._busy:
            name, role, words = STATES["busy"]
            return name, role, self._busy[key] or words
        loaded = row.state == "ready" and key in self._in_memory
        return STATES["memory" if loaded else row.state]

    def _add_heading(self, words: str) -> None:
        place = self.rowCount()
        self.insertRow(place)
        self.setRowHeight(place, HEADING_HEIGHT)
        for column in range(len(COLUMNS)):  # those under the span too: the arrow keys step over what is not enabled
            item = QTableWidgetItem(words if column == STATE else "")
            item.setFlags(Qt.ItemFlag.NoItemFlags)
            item.setFont(theme.font(theme.SMALL, bold=True))
            self.setItem(place, column, item)
        self.setSpan(place, STATE, 1, len(COLUMNS))

    def _add(self, row: ModelRow) -> None:
        place = self.rowCount()
        self.insertRow(place)
        size = size_words(row.bytes) if row.bytes else ""
        for column, text in enumerate(("", row.title, size, row.licence, row.source)):
            item = QTableWidgetItem(text)
            item.setData(_KEY, row.key)
            item.setData(_MUTED, column in (LICENCE, SOURCE))
            item.setToolTip(row.note if column == STATE else text)
            if column == SIZE:
                item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            if column == TITLE:
                item.setData(_SECOND, row.what)
                item.setData(Qt.ItemDataRole.AccessibleDescriptionRole, row.what)
            self.setItem(place, column, item)
        self._show_state(place)

    def _show_states(self) -> None:
        for place in range(self.rowCount()):
            if self.item(place, STATE).data(_KEY):
                self._show_state(place)

    def _show_state(self, place: int) -> None:
        item = self.item(place, STATE)
        name, role, words = self.state_words(item.data(_KEY))
        if item.text() != words:
            item.setText(words)
            item.setIcon(icon(name, role))

    # the person ----------------------------------------------------------------------------------------------------

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key = self.chosen_key()
        if key and event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space):
            self.activated_key.emit(key)
        elif key and event.key() in (Qt.Key.Key_Delete, Qt.Key.Key_Backspace):
            self.remove_requested.emit(key)
        elif key and event.key() == Qt.Key.Key_C and not event.modifiers():
            self.check_requested.emit(key)
        else:
            super().keyPressEvent(event)

    @Slot()
    def _on_selection(self) -> None:
        if key := self.chosen_key():
            self.chosen.emit(key)

    @Slot(QTableWidgetItem)
    def _on_double_clicked(self, item: QTableWidgetItem) -> None:
        if key := item.data(_KEY):
            self.activated_key.emit(key)
