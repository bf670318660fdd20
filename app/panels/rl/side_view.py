"""The right column: the map of values and policy, and words about the run, or about the metric or lamp that was pressed."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Qt, Slot
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QLabel, QSplitter, QVBoxLayout, QWidget

from app.panels.rl.training import Training
from app.widgets.inspector import Inspector
from app.widgets.plane_map import PlaneMap

LAYERS = {"value": "Value", "advantage": "Advantage", "action": "Action", "certainty": "Certainty"}
NO_PLANE = "Values and policy over two numbers of the state appear here while it trains: CartPole, Pendulum, MountainCar, grid worlds."


class SideView(QWidget):
    """Map and inspector."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.plane, self.inspector = PlaneMap(), Inspector()
        self.layer, self.split = QComboBox(), QSplitter(Qt.Orientation.Vertical)
        self.layer.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.layer.setMinimumContentsLength(9)
        self.layer.setAccessibleName("Layer of the map")
        self.layer.setToolTip("What the colours of the map say")
        self.layer.activated.connect(self._on_layer)
        self._layers: tuple[str, ...] = ()
        top, head, column = QWidget(), QHBoxLayout(), QVBoxLayout(self)
        box = QVBoxLayout(top)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(0)
        head.setContentsMargins(8, 4, 8, 2)
        title = QLabel("Policy map")
        title.setProperty("role", "heading")
        head.addWidget(title, 1)
        head.addWidget(self.layer)
        box.addLayout(head)
        box.addWidget(self.plane, 1)
        for widget in (top, self.inspector):
            self.split.addWidget(widget)
        self.split.setSizes([330, 360])
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.split)
        self.setMinimumWidth(240)
        self.clear()

    def clear(self) -> None:
        """Nothing to look into yet."""
        self.plane.clear(NO_PLANE)
        self.layer.hide()

    def show_training(self, training: Training | None) -> None:
        """Another training."""
        self.clear()
        if training is not None:
            self.show_plane(training.plane)

    def show_plane(self, plane: Any) -> None:
        """The map."""
        if plane is not None and self.isVisible():
            self.plane.show_view(plane)
            self._offer(tuple(self.plane.layers()))

    def follow(self, frame: Any) -> None:
        """Where the agent stands on the map."""
        if self.isVisible():
            self.plane.follow(frame)

    def _offer(self, layers: tuple[str, ...]) -> None:
        if layers == self._layers:
            self.layer.setVisible(len(layers) > 1)
            return
        kept, self._layers = self.layer.currentData(), layers
        self.layer.clear()
        for name in layers:
            self.layer.addItem(LAYERS.get(name, name.capitalize()), name)
        self.layer.setCurrentIndex(max(0, self.layer.findData(kept)))
        self.layer.setVisible(len(layers) > 1)

    @Slot()
    def _on_layer(self) -> None:
        self.plane.set_layer(self.layer.currentData())
