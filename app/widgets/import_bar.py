"""The bar under the edge canvas while a picture is being turned into edges: two Canny thresholds and two choices.

It only asks: whoever listens computes the map (a worker job) and hands it to the canvas as a preview.
"""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QCheckBox, QFrame, QGridLayout, QHBoxLayout, QLabel, QPushButton, QSlider, QSpinBox, QWidget

from app import theme

LOW, HIGH = 100, 200  # the defaults of every tool looked at (anchors, image panel, 4.1)


class ImportBar(QFrame):
    """Thresholds, "already a map", "invert", apply and cancel."""

    thresholds_changed = Signal(int, int)
    options_changed = Signal(bool, bool)
    applied = Signal()
    cancelled = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("role", "raised")
        self.setAccessibleName("Import a picture as edges")
        self._name, self._advice = QLabel("Picture"), QLabel()
        self._low, self._low_box = self._threshold("Low threshold", LOW, "Weaker edges than this are dropped (1-255)")
        self._high, self._high_box = self._threshold("High threshold", HIGH, "Edges stronger than this are always kept (1-255)")
        self._map = QCheckBox("Already a map", toolTip="The picture already is white lines on black: take it as it is")
        self._invert = QCheckBox("Invert", toolTip="Swap black and white, for dark lines on a bright ground")
        self._apply = QPushButton("Apply", toolTip="Take these edges as the drawing (Enter)")
        self._cancel = QPushButton("Cancel", toolTip="Keep the drawing as it was (Esc)")
        self._build()

    def _threshold(self, name: str, value: int, tip: str) -> tuple[QSlider, QSpinBox]:
        slider, box = QSlider(Qt.Orientation.Horizontal), QSpinBox()
        for widget in (slider, box):
            widget.setRange(1, 255)
            widget.setValue(value)
            widget.setToolTip(tip)
            widget.setAccessibleName(name)
        slider.setPageStep(10)
        slider.valueChanged.connect(box.setValue)
        box.valueChanged.connect(slider.setValue)
        return slider, box

    def _build(self) -> None:
        self._name.setProperty("role", "heading")
        self._advice.setProperty("role", "warn")
        self._advice.setWordWrap(True)
        self._apply.setProperty("role", "primary")
        grid = QGridLayout(self)
        grid.setContentsMargins(12, theme.GRID, 12, theme.GRID)
        grid.setHorizontalSpacing(theme.GRID)
        grid.setVerticalSpacing(4)
        head = QHBoxLayout()
        head.setSpacing(12)
        head.addWidget(self._name)
        head.addWidget(self._advice, 1)
        grid.addLayout(head, 0, 0, 1, 5)
        for row, (text, slider, box) in enumerate((("Low", self._low, self._low_box), ("High", self._high, self._high_box)), 1):
            grid.addWidget(QLabel(text), row, 0)
            grid.addWidget(slider, row, 1)
            grid.addWidget(box, row, 2)
        grid.addWidget(self._map, 1, 3)
        grid.addWidget(self._invert, 2, 3)
        grid.addWidget(self._apply, 1, 4)
        grid.addWidget(self._cancel, 2, 4)
        grid.setColumnStretch(1, 1)
        self._low.valueChanged.connect(self._on_low)
        self._high.valueChanged.connect(self._on_high)
        self._map.toggled.connect(self._on_options)
        self._invert.toggled.connect(self._on_options)
        self._apply.clicked.connect(self.applied)
        self._cancel.clicked.connect(self.cancelled)

    def low(self) -> int:
        """Low Canny threshold."""
        return self._low.value()

    def high(self) -> int:
        """High Canny threshold."""
        return self._high.value()

    def already_map(self) -> bool:
        """Whether the picture is to be taken as it is."""
        return self._map.isChecked()

    def invert(self) -> bool:
        """Whether black and white are to be swapped."""
        return self._invert.isChecked()

    def set_thresholds(self, low: int, high: int) -> None:
        """Set both without a signal."""
        for widget, value in ((self._low, low), (self._low_box, low), (self._high, high), (self._high_box, high)):
            widget.blockSignals(True)
            widget.setValue(value)
            widget.blockSignals(False)

    def set_already_map(self, on: bool) -> None:
        """Set the choice without a signal."""
        self._map.blockSignals(True)
        self._map.setChecked(on)
        self._map.blockSignals(False)
        self._enable()

    def set_invert(self, on: bool) -> None:
        """Set the choice without a signal."""
        self._invert.blockSignals(True)
        self._invert.setChecked(on)
        self._invert.blockSignals(False)

    def set_name(self, name: str) -> None:
        """What is being imported."""
        self._name.setText(name)

    def set_advice(self, text: str) -> None:
        """One line of advice, such as why inverting was chosen; "" for none."""
        self._advice.setText(text)

    def set_ready(self, ready: bool) -> None:
        """Whether there is a preview to apply."""
        self._apply.setEnabled(ready)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self._apply.isEnabled():
            self.applied.emit()
        elif event.key() == Qt.Key.Key_Escape:
            self.cancelled.emit()
        else:
            super().keyPressEvent(event)

    @Slot(int)
    def _on_low(self, low: int) -> None:
        if self._high.value() < low:
            self._push(self._high, self._high_box, low)
        self.thresholds_changed.emit(low, self._high.value())

    @Slot(int)
    def _on_high(self, high: int) -> None:
        if self._low.value() > high:
            self._push(self._low, self._low_box, high)
        self.thresholds_changed.emit(self._low.value(), high)

    def _push(self, slider: QSlider, box: QSpinBox, value: int) -> None:
        """Move the other threshold along, as one change."""
        for widget in (slider, box):
            widget.blockSignals(True)
            widget.setValue(value)
            widget.blockSignals(False)

    @Slot()
    def _on_options(self) -> None:
        self._enable()
        self.options_changed.emit(self.already_map(), self.invert())

    def _enable(self) -> None:
        for widget in (self._low, self._low_box, self._high, self._high_box):
            widget.setEnabled(not self.already_map())
