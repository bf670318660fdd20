"""The column at the side: how many lanes, the chosen lane's method, the data that all share, and Train."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QButtonGroup, QComboBox, QFrame, QHBoxLayout, QLabel, QPushButton, QToolButton, QVBoxLayout, QWidget

from app.panels.plane.arrangements import ARRANGEMENTS
from app.panels.plane.data_form import DataForm
from app.panels.plane.method_form import MethodForm
from app.widgets.scrolled import fill

COUNTS = (1, 2, 4)
WIDTH = 288
NO_ARRANGEMENT = "Show me …"


class Side(QWidget):
    """Joins the forms."""

    count_chosen = Signal(int)
    arrangement_chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setMinimumWidth(WIDTH)
        self.method, self.data = MethodForm(), DataForm()
        self.train = QPushButton("Train", toolTip="Train every lane's network and walk the particles (Ctrl+Enter)")
        self.train.setProperty("role", "primary")
        self.arrangements = QComboBox(accessibleName="Show me", toolTip="Methods side by side that show a point together; trains them")
        self.arrangements.addItems([NO_ARRANGEMENT, *ARRANGEMENTS])
        for number, one in enumerate(ARRANGEMENTS.values(), 1):
            self.arrangements.setItemData(number, one.sentence, Qt.ItemDataRole.ToolTipRole)
        self.lane = QLabel("Method")
        self.lane.setProperty("role", "title")
        self._counts = QButtonGroup(self)
        inside = QWidget()
        box = QVBoxLayout(inside)
        box.setContentsMargins(12, 8, 12, 12)
        box.setSpacing(10)
        box.addWidget(self.train)
        box.addWidget(self.arrangements)
        box.addLayout(self._head())
        box.addWidget(self.method)
        line = QFrame(frameShape=QFrame.Shape.HLine)
        line.setProperty("role", "line")
        box.addWidget(line)
        box.addWidget(self.data)
        box.addStretch(1)
        fill(self, inside)
        self._counts.idClicked.connect(self.count_chosen)
        self.arrangements.activated.connect(self._on_arrangement)

    @Slot(int)
    def _on_arrangement(self, number: int) -> None:
        if number > 0:
            self.arrangements.setCurrentIndex(0)
            self.arrangement_chosen.emit(self.arrangements.itemText(number))

    def _head(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(4)
        row.addWidget(self.lane)
        row.addStretch(1)
        for count in COUNTS:
            words = "One method" if count == 1 else f"{count} methods side by side, on the same noise"
            button = QToolButton(text=str(count), checkable=True, checked=count == 1, toolTip=words, accessibleName=words)
            self._counts.addButton(button, count)
            row.addWidget(button)
        return row

    def show_lane(self, number: int, count: int) -> None:
        """Whose method is on show, and of how many."""
        self.lane.setText("Method" if count == 1 else f"On stage {number + 1}")
        self._counts.button(count).setChecked(True)
        self.train.setText("Train" if count == 1 else f"Train all {count}")
