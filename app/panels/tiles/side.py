"""The left column: which flow, whose weights, presets, the form of the page, and the real pictures to choose from."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QComboBox, QFormLayout, QLabel, QVBoxLayout, QWidget

from app.jobs.flows import SIZE
from app.panels.tiles.presets import PRESETS
from app.panels.tiles.words import NAMES
from app.widgets.scrolled import fill
from app.widgets.tile_picker import TilePicker

WIDTH = 304
NO_PRESET = "Presets …"
WEIGHTS = {"built-in": "Built in", "own": "Trained here"}


class Side(QWidget):
    """Tells of another flow, of presets and of clicked pictures."""

    flow_changed = Signal()
    preset_chosen = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setMinimumWidth(WIDTH)
        self.presets, self.kind, self.weights = QComboBox(), QComboBox(), QComboBox()
        self.presets.addItems([NO_PRESET, *(preset.title for preset in PRESETS)])
        for number, preset in enumerate(PRESETS, 1):
            self.presets.setItemData(number, preset.sentence, Qt.ItemDataRole.ToolTipRole)
        for box, words in ((self.kind, NAMES), (self.weights, WEIGHTS)):
            for name, title in words.items():
                box.addItem(title, name)
        self.kind.setToolTip("Glow: colour, affine couplings, three levels. NICE: grey, additive couplings, one scaling")
        self.weights.setToolTip("The network that came with the program, or the last one trained here, which is kept")
        self.presets.setToolTip("Flows and pictures that show a point each")
        self._forms: list[QWidget] = []
        self.picker = TilePicker(SIZE)
        self.heading = QLabel("Real pictures, never trained on")
        self.heading.setProperty("role", "heading")
        self._build()
        self.presets.activated.connect(self._on_preset)
        for box in (self.kind, self.weights):
            box.activated.connect(self._on_flow)

    def _build(self) -> None:
        rows = QFormLayout()
        for title, box in (("Flow", self.kind), ("Weights", self.weights)):
            rows.addRow(title, box)
        inside, self._column = QWidget(), QVBoxLayout()
        column = self._column
        inside.setLayout(column)
        column.setContentsMargins(12, 8, 12, 12)
        column.setSpacing(10)
        column.addWidget(self.presets)
        column.addLayout(rows)
        for widget in (self.heading, self.picker):
            column.addWidget(widget)
        column.addStretch(1)
        fill(self, inside)

    def add_form(self, form: QWidget) -> None:
        """The form of another page."""
        self._forms.append(form)
        self._column.insertWidget(1 + len(self._forms), form)

    def show_form(self, number: int, picker: bool) -> None:
        """The form of a page, and the real pictures where they are chosen from."""
        for k, form in enumerate(self._forms):
            form.setVisible(k == number)
        for widget in (self.heading, self.picker):
            widget.setVisible(picker)

    def flow(self) -> dict[str, str]:
        """Kind and weights, as the jobs name them."""
        return {"kind": self.kind.currentData(), "weights": self.weights.currentData()}

    def set_flow(self, kind: str, weights: str) -> None:
        """Show a flow; tells nobody."""
        self.kind.setCurrentIndex(self.kind.findData(kind))
        self.weights.setCurrentIndex(self.weights.findData(weights))

    @Slot(int)
    def _on_flow(self, _index: int) -> None:
        self.flow_changed.emit()

    @Slot(int)
    def _on_preset(self, index: int) -> None:
        self.presets.setCurrentIndex(0)
        if index > 0:
            self.preset_chosen.emit(PRESETS[index - 1])
