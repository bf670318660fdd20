"""Losses and accuracies of small models over their updates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSplitter, QStackedLayout, QVBoxLayout, QWidget

from app.panels.attention_lab.race import Race
from app.protocol.payloads import Curve
from app.widgets.colour_key import ColourKey, Entry
from app.widgets.growing_curves import GrowingCurves
from app.widgets.running_mean import running_mean

WINDOW = 10
"""Updates over which a training loss is averaged for the eye."""
EMPTY = (
    "Press Train: a fresh little language model for each ticked attention learns from the same texts, in turns, and their losses grow here "
    "side by side."
)


class RaceView(QWidget):
    """Two plots over one another, and below them what can be done with the trained models."""

    look_wanted = Signal(str)
    """A learner's name."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.losses = GrowingCurves(x_label="update", y_label=f"training loss, mean of {WINDOW} updates", y_unit="nats")
        self.scores = GrowingCurves(x_label="update", y_label="accuracy on texts apart, share of tokens")
        self._colours: dict[str, int] = {}
        split = QSplitter(Qt.Orientation.Vertical)
        split.addWidget(self.losses)
        split.addWidget(self.scores)
        self.key, both = ColourKey(), QWidget()
        box = QVBoxLayout(both)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(0)
        box.addWidget(self.key)
        box.addWidget(split, 1)
        box.addWidget(self._foot())
        for plot in (self.losses, self.scores):
            plot.set_legend_shown(False)
        empty = QLabel(EMPTY, wordWrap=True, alignment=Qt.AlignmentFlag.AlignCenter, margin=48)
        empty.setProperty("role", "muted")
        self._stack = QStackedLayout(self)
        self._stack.addWidget(empty)
        self._stack.addWidget(both)

    def _foot(self) -> QWidget:
        self.foot, row = QWidget(), QHBoxLayout()
        self.foot.setLayout(row)
        row.setContentsMargins(12, 4, 12, 4)
        row.setSpacing(8)
        label = QLabel("See what it looks at:")
        label.setProperty("role", "small")
        row.addWidget(label)
        row.addStretch(1)
        self.foot.hide()
        return self.foot

    def set_trained(self, trained: bool) -> None:
        """Whether the models have come to the end of their training, and can be looked into."""
        self.foot.setVisible(trained)

    def _set_learners(self, names: Sequence[str]) -> None:
        row = self.foot.layout()
        while row.count() > 2:
            row.takeAt(1).widget().deleteLater()
        for place, name in enumerate(names, 1):
            button = QPushButton(name, toolTip=f"Open the attention of this model, {name}, in the panel Attention")
            button.clicked.connect(self._on_look)
            row.insertWidget(place, button)

    @Slot()
    def _on_look(self) -> None:
        self.look_wanted.emit(self.sender().text())

    def begin(self, colours: dict[str, int]) -> None:
        """Another training."""
        self._colours = dict(colours)
        self._set_learners(list(colours))
        self.key.set_entries([Entry(name, colour, colour >= 8) for name, colour in colours.items()])
        for plot in (self.losses, self.scores):
            plot.clear()
        self._stack.setCurrentIndex(1)

    def show_race(self, race: Race, channel: str) -> None:
        """Draw what a record of that channel has changed."""
        plot, book = (self.losses, race.trained) if channel == "train" else (self.scores, race.tested)
        for name, points in book.items():
            x = np.array([point.step for point in points], float)
            y = smoothed(np.array([point.loss for point in points])) if channel == "train" else np.array([p.accuracy for p in points])
            plot.set_curve(name, Curve(x, y, label=name), colour=self._colours.get(name, 0), dashed=self._colours.get(name, 0) >= 8)


def smoothed(values: np.ndarray) -> np.ndarray:
    """Each value with up to WINDOW - 1 before it, averaged."""
    return running_mean(values, WINDOW)
