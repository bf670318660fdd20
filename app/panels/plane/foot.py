"""Under the stages: losses of all lanes, the slider of time, and the transport bar."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QSlider, QVBoxLayout, QWidget

from app.panels.plane.lane import Lane
from app.protocol.payloads import Curve
from app.widgets.curve_view import CurveView
from app.widgets.running_mean import running_mean
from app.widgets.steady_label import SteadyLabel
from app.widgets.transport import Transport

LOSS_HEIGHT = 132
WINDOW = 20
"""Updates over which a loss is averaged for the eye."""


class Foot(QWidget):
    """The time axis of the panel."""

    dragged = Signal(int)
    """The slider was moved to a moment, counted from 0."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.equation = SteadyLabel("mono", name="Equation of this step", tip="The equation of this step with its numbers")
        self.losses = CurveView(x_label="update", y_label="loss")
        self.losses.setFixedHeight(LOSS_HEIGHT)
        self.losses.setToolTip(f"Loss of each network, averaged over {WINDOW} updates for the eye")
        self.slider = QSlider(Qt.Orientation.Horizontal, toolTip="Time of the walk: from noise to data", accessibleName="Time of the walk")
        self.slider.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.transport = Transport(noun="moment")
        inner = QVBoxLayout()
        inner.setContentsMargins(12, 4, 12, 0)
        inner.setSpacing(4)
        for widget in (self.equation, self.slider, self.losses):
            inner.addWidget(widget)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(2)
        box.addLayout(inner)
        box.addWidget(self.transport)
        self.slider.valueChanged.connect(self._on_slider)
        self.show_place(-1, 0)

    def show_place(self, index: int, count: int) -> None:
        """Where the slider stands; tells nobody."""
        self.slider.blockSignals(True)
        self.slider.setRange(0, max(count - 1, 0))
        self.slider.setValue(max(index, 0))
        self.slider.setEnabled(count > 1)
        self.slider.blockSignals(False)

    def show_losses(self, lanes: list[Lane]) -> None:
        """The losses of all lanes."""
        for lane in lanes:
            losses = lane.told.losses
            name = f"{lane.number + 1}: {lane.told.card.title}" if len(lanes) > 1 and lane.told.card else "loss"
            if losses:
                x, y = np.array([one.step for one in losses], float), np.array([one.loss for one in losses])
                self.losses.set_curve(f"lane {lane.number}", Curve(x, running_mean(y, WINDOW), label=name), colour=lane.number)
            else:
                self.losses.remove(f"lane {lane.number}")
        self.losses.set_legend_shown(len(lanes) > 1)

    @Slot(int)
    def _on_slider(self, value: int) -> None:
        self.dragged.emit(value)

