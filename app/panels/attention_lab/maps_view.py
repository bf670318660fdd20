"""The views of the first page: all maps side by side, one beside softmax's, and curves over the length of the text."""

from __future__ import annotations

from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QButtonGroup, QCheckBox, QHBoxLayout, QLabel, QPushButton, QSplitter, QStackedWidget, QVBoxLayout, QWidget

from app.panels.attention_lab.lengths_view import LengthsView
from app.protocol.attention_lab import LabHead, MechanismView
from app.widgets.map_cards import MapCards
from app.widgets.matrix_place import Part
from app.widgets.matrix_view import MatrixView
from app.widgets.steady_label import SteadyLabel

MODES = (
    ("maps", "All maps", "Every chosen mechanism on the same q, k, v"),
    ("beside", "Beside softmax", "The selected mechanism large, softmax's map beside it"),
    ("lengths", "Over length", "Cost and time over the length of the text"),
)


class MapsView(QWidget):
    """A row of buttons over one of three views."""

    mode_changed = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.cards, self.lengths, self._stack = MapCards(), LengthsView(), QStackedWidget()
        self.softmax, self.other = MatrixView(name="Softmax"), MatrixView(name="Selected mechanism")
        self.log = QCheckBox("Log colours", toolTip="Logarithmic colours over four decades, for what is small but not nothing")
        self.readout = SteadyLabel("small")
        self._modes = QButtonGroup(self)
        self._titles = [QLabel(), QLabel()]
        self._shown: dict[MatrixView, object] = {}
        self.cards.set_empty("Tick a mechanism at the left, and its map appears here.")
        for view in (self.cards, self._beside(), self.lengths):
            self._stack.addWidget(view)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(0)
        box.addLayout(self._head())
        box.addWidget(self._stack, 1)
        self.log.toggled.connect(self._on_log)
        self.log.setChecked(True)

    def _head(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setContentsMargins(8, 6, 12, 6)
        row.setSpacing(4)
        for number, (_mode, words, tip) in enumerate(MODES):
            button = QPushButton(words, checkable=True, checked=number == 0, toolTip=tip)
            self._modes.addButton(button, number)
            row.addWidget(button)
        self._modes.idClicked.connect(self._on_mode)
        row.addSpacing(8)
        row.addWidget(self.readout)
        row.addStretch(1)
        row.addWidget(self.log)
        return row

    def _beside(self) -> QWidget:
        split = QSplitter()
        for title, view in zip(self._titles, (self.softmax, self.other), strict=True):
            title.setProperty("role", "heading")
            title.setContentsMargins(8, 4, 8, 0)
            side, box = QWidget(), QVBoxLayout()
            side.setLayout(box)
            box.setContentsMargins(0, 0, 0, 0)
            box.setSpacing(0)
            box.addWidget(title)
            box.addWidget(view, 1)
            view.hovered.connect(self._on_hovered)
            split.addWidget(side)
        return split

    @property
    def mode(self) -> str:
        """Which view is shown."""
        return MODES[self._stack.currentIndex()][0]

    def set_mode(self, mode: str) -> None:
        """Show a view; tells nobody."""
        number = next((n for n, each in enumerate(MODES) if each[0] == mode), 0)
        self._modes.button(number).setChecked(True)
        self._stack.setCurrentIndex(number)
        self.log.setVisible(mode != "lengths")
        self.readout.setVisible(mode == "beside")

    def show_pair(self, head: LabHead | None, softmax: MechanismView | None, other: MechanismView | None) -> None:
        """Two maps on the same axes."""
        for title, view, found in zip(self._titles, (self.softmax, self.other), (softmax, other), strict=True):
            title.setText(found.title if found else "")
            if head is None or found is None:
                view.set_parts([], "")
                continue
            ends = (0, len(head.tokens.texts))
            if self._shown.get(view) != (head.tokens, head.causal):
                self._shown[view] = (head.tokens, head.causal)
                view.set_axes(head.tokens.texts, head.tokens.texts, causal=head.causal)
            blocks = "" if found.block == (1, 1) else f", means of {found.block[0]} x {found.block[1]} weights"
            view.set_parts([Part(found.map, ends, ends, found.block)], f"{found.normalisation}{blocks}")

    @Slot(bool)
    def _on_log(self, log: bool) -> None:
        self.cards.set_log(log)
        for view in (self.softmax, self.other):
            view.set_log(log)

    @Slot(int)
    def _on_mode(self, number: int) -> None:
        self.set_mode(MODES[number][0])
        self.mode_changed.emit(self.mode)

    @Slot(int, int)
    def _on_hovered(self, row: int, column: int) -> None:
        source = self.sender()
        other = self.other if source is self.softmax else self.softmax
        other.set_cross(row, column)
        first, second = self.softmax.value(row, column), self.other.value(row, column)
        if row < 0 or first is None or second is None:
            self.readout.setText("")
        else:
            self.readout.setText(f"query {row}, key {column}: softmax {first[0]:.4f}, here {second[0]:.4f}")
