"""Load of every expert and the bias that moves against it: all layers at the newest update, or one layer over the whole training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PySide6.QtCore import Slot
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QToolButton, QVBoxLayout, QWidget

from app.panels.routing.training import Moment, TrainingRun
from app.widgets.grid_map import GridMap

LEAST_TOP = 2.0


class ExpertMaps(QWidget):
    """Two maps side by side, and what they are over."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.load, self.bias = (GridMap(name, least=4, row_height=16, left=60) for name in ("Load per expert", "Selection bias"))
        self.now, self.over = (QToolButton(text=words, checkable=True, autoExclusive=True) for words in ("Newest update", "Over time"))
        self.layer = QComboBox(accessibleName="Layer of the maps", enabled=False)
        self._run: TrainingRun | None = None
        self.load.set_empty_text("Loads per expert move here while a training runs.")
        self.bias.set_empty_text("The selection bias moves here (loss-free).")
        self.now.setChecked(True)
        self.now.setToolTip("All layers, the newest batch")
        self.over.setToolTip("Every expert of one layer, from the first update to the newest")
        self.layer.setToolTip("The layer that is followed over time")
        self.now.toggled.connect(self._on_changed)
        self.layer.activated.connect(self._on_changed)
        head, maps, column = QHBoxLayout(), QHBoxLayout(), QVBoxLayout(self)
        for widget in (self.now, self.over, self.layer):
            head.addWidget(widget)
            widget.hide()
        head.addStretch(1)
        maps.addWidget(self.load, 1)
        maps.addWidget(self.bias, 1)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(head)
        column.addLayout(maps)

    def show_run(self, run: TrainingRun) -> None:
        """Another training, or it has told more."""
        self._run = run
        if run.routing is None:
            self.load.clear()
            self.bias.clear()
            return
        for widget in (self.now, self.over, self.layer):
            widget.show()
        names = list(run.routing["load"].row_labels)
        if [self.layer.itemText(at) for at in range(self.layer.count())] != names:
            self.layer.clear()
            self.layer.addItems(names)
        if self.over.isChecked():
            self._show_over_time(run.moments())
        else:
            self._show_now(run.routing)

    def _show_now(self, routing: dict) -> None:
        load, bias = routing["load"], routing["bias"]
        numbers = [str(e) for e in range(load.values.shape[1])]
        self._show_load(load.values, load.row_labels, numbers, experts=True)
        if bias is None:
            self.bias.clear()
        else:
            self._show_bias(bias.values, bias.row_labels, numbers, experts=True)

    def _show_over_time(self, moments: Sequence[Moment]) -> None:
        layer, steps = max(self.layer.currentIndex(), 0), [f"{moment.step:,}" for moment in moments]
        load = np.stack([moment.load[layer] for moment in moments], axis=1)  # (E, moments)
        names = [f"expert {e}" for e in range(len(load))]
        self._show_load(load, names, steps)
        if moments[-1].bias is None:
            self.bias.clear()
        else:
            self._show_bias(np.stack([moment.bias[layer] for moment in moments], axis=1), names, steps)

    def _show_load(self, values: np.ndarray, rows: Sequence[str], columns: Sequence[str], **look: bool) -> None:
        ends = (0.0, max(LEAST_TOP, float(values.max())))
        self.load.set_values(values, rows, columns, ends, "times fair", digits=1, **look)

    def _show_bias(self, values: np.ndarray, rows: Sequence[str], columns: Sequence[str], **look: bool) -> None:
        top = max(float(np.abs(values).max()), 1e-4)
        self.bias.set_values(values, rows, columns, (-top, top), "bias", table="diverging", digits=3, **look)

    @Slot()
    def _on_changed(self) -> None:
        self.layer.setEnabled(self.over.isChecked())
        if self._run is not None:
            self.show_run(self._run)
