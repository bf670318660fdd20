"""The column at the right: the chosen lane in numbers and words; under it the losses of all lanes, or curves that explain the method."""

from __future__ import annotations

import math

import numpy as np
from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QStackedWidget, QVBoxLayout, QWidget

from app.panels.base import INSPECTOR_WIDTH
from app.panels.plane.lane import Lane
from app.panels.plane.words import names_of
from app.protocol.payloads import Curve
from app.protocol.plane import Particles, PlanePlot
from app.widgets.colour_key import ColourKey, Entry
from app.widgets.curve_view import CurveView
from app.widgets.growing_curves import GrowingCurves
from app.widgets.inspector import Inspector
from app.widgets.running_mean import running_mean

PLOT_HEIGHT = 170
MOST, WINDOW = 1000, 20
"""Losses drawn of a lane, evenly over its updates, and how many of those are averaged for the eye."""
LOSSES = "Losses"


class Beside(QWidget):
    """Inspector over plots."""

    save_requested = Signal(str, object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setMinimumWidth(INSPECTOR_WIDTH)
        self.inspector, self.key, self.choice = Inspector(), ColourKey(), QComboBox(accessibleName="Plot")
        self.choice.setToolTip("Losses, or curves that explain the chosen method")
        self.losses, self.curves = GrowingCurves(x_label="update", y_label="loss"), CurveView()
        self.losses.setToolTip(f"Loss of each network, averaged over {WINDOW} points for the eye; methods have losses of their own kind")
        self._lanes: list[Lane] = []
        self._plots: tuple[PlanePlot, ...] = ()
        self._shown: PlanePlot | None = None
        self._wanted = LOSSES
        self._moment: Particles | None = None
        self.stack = QStackedWidget()
        for plot in (self.losses, self.curves):
            plot.set_legend_shown(False)
            plot.save_requested.connect(self.save_requested)
            self.stack.addWidget(plot)
        self.stack.setFixedHeight(PLOT_HEIGHT)
        box = QVBoxLayout(self)
        box.setSpacing(0)
        box.addWidget(self.inspector, 1)
        row = QHBoxLayout()
        row.setContentsMargins(12, 4, 12, 2)
        row.addWidget(self.choice)
        box.addLayout(row)
        for widget in (self.key, self.stack):
            box.addWidget(widget)
        box.setContentsMargins(0, 0, 6, 4)
        self.choice.currentIndexChanged.connect(self._on_choice)
        self._offer(())

    def show_losses(self, lanes: list[Lane]) -> None:
        """The losses of all lanes; without any there is no plot."""
        self._lanes, learned = lanes, [lane for lane in lanes if lane.told.losses]
        for key in set(self.losses.curves()) - {f"lane {lane.number}" for lane in learned}:
            self.losses.remove(key)
        for lane in learned:
            losses = lane.told.losses
            x, y = np.array([(one.step, one.loss) for one in losses[:: max(1, len(losses) // MOST)]], float).T
            self.losses.set_curve(f"lane {lane.number}", Curve(x, running_mean(y, WINDOW), label="loss"), colour=lane.number)
        self._arrange()

    def show_plots(self, plots: list[PlanePlot], moment: Particles | None) -> None:
        """Curves of the chosen lane, with the moment on them where its clock is theirs."""
        self._moment = moment
        if len(plots) != len(self._plots) or any(old is not new for old, new in zip(self._plots, plots)):
            self._offer(tuple(plots))
        self._show_moment()

    def _show_moment(self) -> None:
        moment = self._moment
        if self._shown is not None:
            at = {"level": moment.level, "time": moment.time}.get(self._shown.clock, math.nan) if moment is not None else math.nan
            self.curves.set_cursor(at if math.isfinite(at) and (at > 0 or not self._shown.log_x) else None)

    def _offer(self, plots: tuple[PlanePlot, ...]) -> None:
        """Other plots to choose from; the chosen one stays if there is one of its name."""
        self._plots = plots
        self.choice.blockSignals(True)
        self.choice.clear()
        self.choice.addItems([LOSSES, *(plot.title for plot in plots)])
        self.choice.setCurrentIndex(max(self.choice.findText(self._wanted), 0))
        self.choice.blockSignals(False)
        self._show(self.choice.currentIndex())

    @Slot(int)
    def _on_choice(self, number: int) -> None:
        self._wanted = self.choice.itemText(number)
        self._show(number)

    def _show(self, number: int) -> None:
        self._shown = self._plots[number - 1] if number > 0 else None
        if (plot := self._shown) is not None:
            self.curves.clear()
            self.curves.set_log(plot.log_x, plot.log_y)
            self.curves.set_labels(plot.x_label, plot.y_label)
            for number, curve in enumerate(plot.curves):
                self.curves.set_curve(curve.label, curve, colour=number)
            self.curves.reset_view()
        self._show_moment()
        self._arrange()

    def _arrange(self) -> None:
        """Key, choice and plot, as far as there is something to show."""
        plot, learned = self._shown, [lane for lane in self._lanes if lane.told.losses]
        self.stack.setCurrentIndex(0 if plot is None else 1)
        if plot is not None:
            entries = [Entry(curve.label, number) for number, curve in enumerate(plot.curves)]
        else:
            several = learned if len(self._lanes) > 1 else []
            names = names_of([lane.told for lane in several])
            entries = [Entry(name, lane.number) for lane, name in zip(several, names)]
        self.key.set_entries(entries)
        self.key.setVisible(bool(entries))
        self.choice.setVisible(bool(self._plots))
        self.stack.setVisible(plot is not None or bool(learned))
