"""The column at the right: the chosen lane in numbers and words, and the losses of all lanes under them."""

from __future__ import annotations

import numpy as np
from PySide6.QtWidgets import QVBoxLayout, QWidget

from app.panels.base import INSPECTOR_WIDTH
from app.panels.plane.lane import Lane
from app.protocol.payloads import Curve
from app.widgets.colour_key import ColourKey, Entry
from app.widgets.curve_view import CurveView
from app.widgets.inspector import Inspector
from app.widgets.running_mean import running_mean

LOSS_HEIGHT = 170
MOST, WINDOW = 1000, 20
"""Losses drawn of a lane, evenly over its updates, and how many of those are averaged for the eye."""


class Beside(QWidget):
    """Inspector over losses."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setMinimumWidth(INSPECTOR_WIDTH)
        self.inspector, self.key = Inspector(), ColourKey()
        self.losses = CurveView(x_label="update", y_label="loss")
        self.losses.setFixedHeight(LOSS_HEIGHT)
        self.losses.setToolTip(f"Loss of each network, averaged over {WINDOW} points for the eye; methods have losses of their own kind")
        self.losses.set_legend_shown(False)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(0)
        box.addWidget(self.inspector, 1)
        box.addWidget(self.key)
        box.addWidget(self.losses)
        self.show_losses([])

    def show_losses(self, lanes: list[Lane]) -> None:
        """The losses of all lanes; without any there is no plot."""
        learned = [lane for lane in lanes if lane.told.losses]
        for key in set(self.losses.curves()) - {f"lane {lane.number}" for lane in learned}:
            self.losses.remove(key)
        for lane in learned:
            losses = lane.told.losses
            x, y = np.array([(one.step, one.loss) for one in losses[:: max(1, len(losses) // MOST)]], float).T
            self.losses.set_curve(f"lane {lane.number}", Curve(x, running_mean(y, WINDOW), label="loss"), colour=lane.number)
        titles = [(lane.number, lane.told.card.title if lane.told.card else "") for lane in learned]
        self.key.set_entries([Entry(title, number) for number, title in titles] if len(lanes) > 1 else [])
        self.key.setVisible(len(lanes) > 1 and bool(learned))
        self.losses.setVisible(bool(learned))
