"""Train mixtures and watch them: losses, MaxVio beside chance, the load of every expert and the bias that moves against it."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QGridLayout, QWidget

from app.panels.routing.expert_maps import ExpertMaps
from app.panels.routing.page import Page
from app.panels.routing.standings import Standings
from app.panels.routing.training import TrainingRun
from app.panels.routing.training_form import TrainingForm
from app.protocol.payloads import Curve
from app.widgets.growing_curves import GrowingCurves

CURVE_HEIGHT, FORM_WIDTH = 164, 208
NOT_LOSSES = ("max_vio", "dropped", "seconds")
TEACH = (
    "loss-free moves a selection bias by a small step after each update, up for experts below the mean load, down for those above; "
    "aux-loss adds a loss on uneven loads. Published at 1 B weights: MaxVio 0.72 with the loss, 0.04 loss-free, at no worse perplexity "
    "(arXiv 2408.15664); MaxVio below is of single batches, which chance alone makes uneven."
)


class TrainingPage(Page):
    """Form, curves, maps."""

    look_wanted = Signal(object)
    """A run whose experts are to be looked at."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.side = TrainingForm()
        self.losses = GrowingCurves(x_label="update", y_label="loss", y_unit="nats")
        self.balance = GrowingCurves(x_label="update", y_label="MaxVio of the batch")
        self.standings, self.maps = Standings(), ExpertMaps()
        self.state = self.words("No training yet: losses, balance, loads and biases move here while one runs.")
        self._all: list[TrainingRun] = []
        self._compared: bool | None = None
        """Whether the losses of several trainings are drawn, instead of all losses of one."""
        self.side.chosen.connect(self._on_chosen)
        self.side.look_wanted.connect(self._on_look)
        self.side.invalid.connect(self.state.setText)
        grid = QGridLayout()
        grid.addWidget(self.side, 0, 0, 3, 1)
        for curve in (self.losses, self.balance):
            curve.setFixedHeight(CURVE_HEIGHT)
            curve.hide()  # an empty plot says nothing
        grid.addWidget(self.state, 0, 1)
        grid.addWidget(self.losses, 1, 1)
        grid.addWidget(self.balance, 2, 1)
        grid.setColumnStretch(1, 1)
        grid.setColumnMinimumWidth(0, FORM_WIDTH)
        grid.setHorizontalSpacing(12)
        self.column.addWidget(self.standings)
        self.column.addLayout(grid)
        self.column.addWidget(self.maps)
        self.column.addWidget(self.words(TEACH, "small"))
        self.column.addStretch(1)

    def show_run(self, run: TrainingRun) -> None:
        """A training is new, or has told more."""
        if run not in self._all:
            self._all.append(run)
            self.side.runs.addItem(run.label)
            if self.shown is None or not (self.shown.active and self.shown.steps):
                self.side.runs.setCurrentIndex(len(self._all) - 1)
            self._compared = None
        self.side.stop.setEnabled(any(one.active for one in self._all))
        self.standings.show_runs(self._all)
        if run.balance:
            self.balance.show()
            steps, values, chance = (np.array(column, float) for column in zip(*run.balance, strict=True))
            self.balance.set_curve(run.short, Curve(steps, values, label=run.short), colour=run.number - 1)
            self.balance.set_curve("chance", Curve(steps, chance, label="random router"), colour=7, dashed=True)
        self._show_losses(run)
        if run is self.shown:
            self._show(run)

    @property
    def shown(self) -> TrainingRun | None:
        """The training that losses and maps are about."""
        at = self.side.runs.currentIndex()
        return self._all[at] if 0 <= at < len(self._all) else None

    def _show(self, run: TrainingRun) -> None:
        self.state.setText(f"{run.label}: {run.words()}")
        self.side.look.setEnabled(bool(run.facts.get("checkpoint")) or len(run.steps) > 0)
        self.maps.show_run(run)

    def _show_losses(self, run: TrainingRun) -> None:
        """Of one training every loss; of several, what the next token costs in each."""
        several = sum(bool(one.steps) for one in self._all) > 1
        if several != self._compared:
            self._compared = several
            self.losses.clear()
            for one in self._all:
                self._add_losses(one, several)
        else:
            self._add_losses(run, several)
        self.losses.setVisible(any(one.metrics for one in self._all))

    def _add_losses(self, run: TrainingRun, several: bool) -> None:
        if several:
            steps, values = run.text_losses()
            if len(steps):
                self.losses.set_curve(run.short, Curve(steps, values, label=run.short), colour=run.number - 1)
            return
        for number, name in enumerate(name for name in run.metrics if name not in NOT_LOSSES):
            values = run.metrics[name]
            self.losses.set_curve(name, Curve(np.array(run.steps[-len(values) :], float), np.array(values), label=name), colour=number)

    @Slot()
    def _on_look(self) -> None:
        if self.shown is not None:
            self.look_wanted.emit(self.shown)

    @Slot()
    def _on_chosen(self) -> None:
        if self.shown is not None:
            self._show(self.shown)
