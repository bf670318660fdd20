"""The comparison desk: the methods on stage from the same noise, error against number of evaluations on logarithmic axes.

The distance to the end of the exact solution falls with the order of the solver: slopes 1 and 2 are those of Euler and Heun.
"""

from __future__ import annotations

import csv
import io
from dataclasses import astuple, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from PySide6.QtCore import Qt, Slot
from PySide6.QtWidgets import (
    QCheckBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSplitter,
    QStackedWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from app.jobs.plane import ComparePlane, PlaneJob
from app.panels.plane.lane import Choice
from app.protocol.errors import UserError
from app.protocol.payloads import Curve, Result
from app.protocol.plane import MethodCard, PlaneRow
from app.widgets.colour_key import ColourKey, Entry
from app.widgets.curve_view import CurveView

if TYPE_CHECKING:
    from app.panels.plane.panel import PlanePanel

BUDGETS = "4 8 16 32 64 128"
FRESH = "fresh data"
EMPTY = (
    "Press Compare: the methods on stage walk the same noise with few and with many evaluations, and the error of each is drawn here. "
    "Straight lines are orders of convergence."
)


class Desk(QWidget):
    """Runs a comparison and draws its rows."""

    def __init__(self, panel: PlanePanel) -> None:
        super().__init__()
        self._panel, self.handle, self.rows = panel, None, []
        self.errors = CurveView(x_label="evaluations of the network", y_label="mean distance to the exact end")
        self.distances = CurveView(x_label="evaluations of the network", y_label="sliced W1 to held-out data")
        for plot in (self.errors, self.distances):
            plot.set_log(x=True, y=True)
            plot.set_legend_shown(False)
        self.distances.link_x(self.errors)
        self.key, self.words = ColourKey(), QLabel(wordWrap=True)
        self.words.setProperty("role", "small")
        self.all_solvers = QCheckBox("Every solver", toolTip="Each method with all of its solvers, not only with the chosen one")
        self.budgets = QLineEdit(BUDGETS, toolTip="Numbers of evaluations, apart by spaces", accessibleName="Evaluations")
        self.budgets.setMaximumWidth(160)
        self.button = QPushButton("Compare", toolTip="Train what is not trained yet, then walk")
        self.numbers = QToolButton(text="Save numbers …", toolTip="All rows of the comparison as a table (CSV)", enabled=False)
        self.picture = QToolButton(text="Save picture …", toolTip="Both plots with their key (PNG)", enabled=False)
        self._build()
        for plot in (self.errors, self.distances):
            plot.save_requested.connect(panel.save_plot)
        self.numbers.clicked.connect(self._on_numbers)
        self.picture.clicked.connect(self._on_picture)
        self.button.clicked.connect(self.compare)

    def _build(self) -> None:
        head = QHBoxLayout()
        head.setContentsMargins(12, 6, 12, 6)
        head.setSpacing(8)
        for widget in (self.button, self.all_solvers, QLabel("Evaluations"), self.budgets):
            head.addWidget(widget)
        head.addStretch(1)
        for widget in (self.numbers, self.picture):
            head.addWidget(widget)
        plots, empty = QSplitter(Qt.Orientation.Vertical), QLabel(EMPTY, wordWrap=True, alignment=Qt.AlignmentFlag.AlignCenter, margin=48)
        plots.addWidget(self.errors)
        plots.addWidget(self.distances)
        empty.setProperty("role", "muted")
        self._pages = QStackedWidget()
        self._pages.addWidget(empty)
        self._pages.addWidget(plots)
        self.words.setContentsMargins(12, 4, 12, 8)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(0)
        box.addLayout(head)
        box.addWidget(self.key)
        box.addWidget(self._pages, 1)
        box.addWidget(self.words)

    @Slot()
    def compare(self) -> None:
        """Begin anew."""
        try:
            budgets = tuple(int(word) for word in self.budgets.text().replace(",", " ").split())
            shared = self._panel.side.data.shared()
            common = {one.name: getattr(shared, one.name) for one in fields(PlaneJob)}
            job = ComparePlane(**common, methods=self._methods(), budgets=budgets)
        except ValueError:
            self._panel.show_message("warn", "The evaluations are no whole numbers.", f"Write some, such as {BUDGETS}.")
            return
        except UserError as error:
            self._panel.show_error(error)
            return
        self.rows = []
        self._enable()
        for plot in (self.errors, self.distances):
            plot.clear()
        self.words.setText("Training and walking …")
        self.handle = self._panel.engine.submit(job, key="plane/desk", policy="replace")
        self.handle.record.connect(self._on_record)
        self.handle.done.connect(self._on_done)
        self.handle.failed.connect(self._on_failed)

    def _methods(self) -> tuple[str, ...]:
        cards = self._panel.side.method.cards()
        written = [words for choice in self._panel.lanes.choices() for words in entrants(choice, cards, self.all_solvers.isChecked())]
        return tuple(dict.fromkeys(written))

    @Slot(str, object)
    def _on_record(self, channel: str, payload: Any) -> None:
        if channel == "row" and self.sender() is self.handle:
            self.rows.append(payload)
            self._draw()

    @Slot(object)
    def _on_done(self, result: Result) -> None:
        base, slopes = result.facts["data_distance"], result.facts["slopes"]
        if self.rows:
            ends = np.array([min(row.evaluations for row in self.rows), max(row.evaluations for row in self.rows)], float)
            self.distances.set_curve(FRESH, Curve(ends, np.full(2, base), label=FRESH), colour=7, dashed=True)
        told = ", ".join(f"{words} {slope:.2f}" for words, slope in slopes.items() if slope is not None)
        orders = f"Orders (error falls as evaluations to the minus this): {told}. " if told else ""
        likelihoods = [(row.method.partition(":")[0], row.nll) for row in self.rows if row.nll is not None]  # whatever solver walked
        nats = dict.fromkeys(f"{name} {nll:.3f}" for name, nll in likelihoods)
        likely = f"Nats a held-out point: {', '.join(nats)}. " if nats else ""
        self.words.setText(f"{orders}{likely}Dashed: two fresh samples of the data are {base:.4f} apart.")
        self._enable()

    def _enable(self) -> None:
        for button in (self.numbers, self.picture):
            button.setEnabled(bool(self.rows))

    @Slot()
    def _on_numbers(self) -> None:
        self._panel.save_plot("csv", table(self.rows))

    @Slot()
    def _on_picture(self) -> None:
        self._panel.save_plot("png", self.grab(self.key.geometry().united(self._pages.geometry()).united(self.words.geometry())).toImage())

    @Slot(object)
    def _on_failed(self, report: Any) -> None:
        self.words.setText("")
        self._panel.show_error(report)

    def _draw(self) -> None:
        self._pages.setCurrentIndex(1)
        names = list(dict.fromkeys(row.method for row in self.rows))
        self.key.set_entries([Entry(name, number % 8, number >= 8) for number, name in enumerate(names)])
        for number, name in enumerate(names):
            rows = [row for row in self.rows if row.method == name]
            self._curve(self.distances, number, rows, [row.wasserstein for row in rows])
            exact = [row for row in rows if row.distance]
            self._curve(self.errors, number, exact, [row.distance for row in exact])

    @staticmethod
    def _curve(plot: CurveView, number: int, rows: list[PlaneRow], values: list[float]) -> None:
        if rows:
            x = np.array([row.evaluations for row in rows], float)
            plot.set_curve(rows[0].method, Curve(x, np.array(values), label=rows[0].method), colour=number % 8, dashed=number >= 8)


def entrants(choice: Choice, cards: dict[str, MethodCard], every: bool) -> list[str]:
    """A lane as the desk writes it: "edm:heun,churn=40", with each of the method's solvers if wished."""
    card = cards.get(choice.method)
    solvers = card.solvers if every and card is not None else (choice.solver or (card.solvers[0] if card else ""),)
    knobs = [f"{name}={value:g}" for name, value in choice.knobs]
    more = [*(["exact"] if choice.exact else []), *([f"schedule={choice.schedule}"] if choice.schedule else [])]
    return [":".join(filter(None, (choice.method, ",".join(filter(None, (solver, *knobs, *more)))))) for solver in solvers]


def table(rows: list[PlaneRow]) -> str:
    """The rows as CSV."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([one.name for one in fields(PlaneRow)])
    writer.writerows([["" if value is None else value for value in astuple(row)] for row in rows])
    return file.getvalue()
