"""The list of experts that are switched off or forced."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QAbstractItemView, QListWidget, QListWidgetItem, QWidget

HEIGHT = 66
Pair = tuple[int, int]


class Switched(QListWidget):
    """(layer, expert) pairs, each "off" or "force"; a double-click takes one away."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._ways: dict[Pair, str] = {}
        self.setFixedHeight(HEIGHT)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setAccessibleName("Experts switched off or forced")
        self.setToolTip("Double-click takes a line away")
        self.itemDoubleClicked.connect(self._on_removed)

    def pairs(self, how: str) -> tuple[Pair, ...]:
        """Those that are "off", or those that are under "force"."""
        return tuple(sorted(pair for pair, way in self._ways.items() if way == how))

    def set_pairs(self, off: tuple[Pair, ...], force: tuple[Pair, ...]) -> None:
        """Show other pairs; tells nobody."""
        self._ways = dict.fromkeys(off, "off") | dict.fromkeys(force, "force")
        self._list()

    def switch(self, layer: int, expert: int, how: str) -> None:
        """Switch an expert "off", "force" it, or leave it ("") to the gate."""
        self._ways.pop((layer, expert), None)
        if how:
            self._ways[(layer, expert)] = how
        self._list()
        self.changed.emit()

    def _list(self) -> None:
        self.clear()
        for (layer, expert), how in sorted(self._ways.items()):
            item = QListWidgetItem(f"layer {layer}: expert {expert} {'off' if how == 'off' else 'forced'}")
            item.setData(Qt.ItemDataRole.UserRole, (layer, expert))
            self.addItem(item)

    @Slot(object)
    def _on_removed(self, item: QListWidgetItem) -> None:
        self.switch(*item.data(Qt.ItemDataRole.UserRole), "")
