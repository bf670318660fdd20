"""The mechanisms of the table: which are chosen, and the knobs of the one that is looked at."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from PySide6.QtCore import QSize, Qt, Signal, Slot
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QLabel, QListWidget, QListWidgetItem, QVBoxLayout, QWidget

from app import theme
from app.jobs.attention_lab import read, written
from app.panels.attention_lab.kind_parts import dot, setting, typed
from app.protocol.attention_lab import MechanismKind, Value
from app.widgets.knob_sliders import KnobSliders

ROW = 19
_NAME = Qt.ItemDataRole.UserRole


class KindList(QWidget):
    """A list with boxes to tick, sliders for the current row below."""

    chosen_changed = Signal()
    """Other mechanisms are ticked."""
    tuned = Signal(str)
    """A knob of this mechanism was moved."""
    selected = Signal(str)

    def __init__(self, start: Iterable[str], parent: QWidget | None = None, *, without: str = "") -> None:
        """`start`: mechanisms as jobs write them, ticked at first; `without`: a word of `MechanismKind.causal` that is left out."""
        super().__init__(parent)
        self._start, self._without = tuple(start), without
        self.kinds: dict[str, MechanismKind] = {}
        self._settings: dict[str, dict[str, Value]] = {}
        self.list, self.sliders = QListWidget(accessibleName="Mechanisms"), KnobSliders()
        self.words = QLabel(wordWrap=True)
        self.words.setProperty("role", "small")
        self.list.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setUniformItemSizes(True)
        self.list.setStyleSheet("QListView::item { border: 0; padding: 0 2px; }")  # else a selected row moves by a pixel or two
        self.list.currentItemChanged.connect(self._on_current)
        self.list.itemChanged.connect(self._on_ticked)
        self.sliders.changed.connect(self._on_tuned)
        theme.notifier().changed.connect(self._colour)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(8)
        for widget in (self.list, self.words, self.sliders):
            box.addWidget(widget)

    def set_kinds(self, kinds: Iterable[MechanismKind]) -> None:
        """The table has come."""
        self.kinds = {kind.name: kind for kind in kinds if kind.causal != self._without}
        self.list.blockSignals(True)
        self.list.clear()
        for name, kind in self.kinds.items():
            item = QListWidgetItem(kind.title)
            item.setData(_NAME, name)
            item.setSizeHint(QSize(0, ROW))
            item.setToolTip(f"{kind.about} arXiv {kind.arxiv}")
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
            self.list.addItem(item)
        self._settings = {name: kind.defaults for name, kind in self.kinds.items()}
        self.set_written(self._start)
        self.list.setFixedHeight(ROW * self.list.count() + 2 * self.list.frameWidth() + 2)
        self.list.blockSignals(False)
        self._colour()
        self.list.setCurrentRow(0)

    # what is chosen ------------------------------------------------------------------------------------------------

    def chosen(self) -> list[str]:
        """Names that are ticked, in the order of the table."""
        return [name for name, item in self._items() if item.checkState() == Qt.CheckState.Checked]

    def written(self, name: str) -> str:
        """A mechanism as jobs write it: only knobs that are not as they are by default."""
        kind = self.kinds[name]
        return written(name, {knob: value for knob, value in self._settings[name].items() if value != kind.defaults[knob]})

    def all_written(self) -> tuple[str, ...]:
        """All that are ticked."""
        return tuple(self.written(name) for name in self.chosen())

    def set_written(self, mechanisms: Iterable[str]) -> None:
        """Tick these and no others, with their knobs; unknown ones are left out. Tells nobody."""
        given = dict(read(words) for words in mechanisms)
        if not self.kinds:
            self._start = tuple(written(name, settings) for name, settings in given.items())
            return
        self.list.blockSignals(True)
        for name, item in self._items():
            item.setCheckState(Qt.CheckState.Checked if name in given else Qt.CheckState.Unchecked)
            for knob in self.kinds[name].knobs:
                if knob.name in given.get(name, {}):
                    self._settings[name][knob.name] = typed(given[name][knob.name], knob.default)
        self.list.blockSignals(False)
        self._show_knobs()

    def start(self) -> tuple[str, ...]:
        """All that are ticked, or will be once the table has come."""
        return self.all_written() if self.kinds else self._start

    @property
    def current(self) -> str:
        """The mechanism whose knobs are shown."""
        item = self.list.currentItem()
        return item.data(_NAME) if item else ""

    def select(self, name: str) -> None:
        """Show the knobs of a mechanism."""
        for row, (each, _item) in enumerate(self._items()):
            if each == name and row != self.list.currentRow():
                self.list.setCurrentRow(row)

    def colour(self, name: str) -> int:
        """The data colour of a mechanism: its place among those ticked."""
        chosen = self.chosen()
        return chosen.index(name) if name in chosen else len(chosen)

    def _items(self) -> list[tuple[str, QListWidgetItem]]:
        return [(self.list.item(row).data(_NAME), self.list.item(row)) for row in range(self.list.count())]

    def _show_knobs(self) -> None:
        kind = self.kinds.get(self.current)
        self.words.setText(kind.about if kind else "")
        values = self._settings.get(self.current, {})
        self.sliders.set_settings([setting(knob, values[knob.name]) for knob in kind.knobs] if kind else [])

    @Slot()
    def _colour(self) -> None:
        self.list.blockSignals(True)
        chosen = self.chosen()
        for name, item in self._items():
            item.setIcon(dot(theme.data_colour(chosen.index(name)) if name in chosen else QColor(0, 0, 0, 0)))
        self.list.blockSignals(False)

    @Slot()
    def _on_current(self, *_items: Any) -> None:
        self._show_knobs()
        self.selected.emit(self.current)

    @Slot(QListWidgetItem)
    def _on_ticked(self, _item: QListWidgetItem) -> None:
        self._colour()
        self.chosen_changed.emit()

    @Slot(str, object)
    def _on_tuned(self, knob: str, value: Value) -> None:
        self._settings[self.current][knob] = value
        self.tuned.emit(self.current)
