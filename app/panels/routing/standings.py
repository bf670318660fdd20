"""Trainings in a table: how far each is, what its texts cost, how even its load is beside chance."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtWidgets import QGridLayout, QWidget

from app.panels.routing.training import TrainingRun
from app.widgets.steady_label import SteadyLabel

HEADS = ("training", "update", "loss", "MaxVio", "random", "unused experts")
TIPS = (
    "Kind of balancing",
    "Updates made",
    "Mean of the last updates' losses of the next token over the domains, in nats; what balancing adds is not in it",
    "(largest load - mean load) / mean load of single batches: mean of layers and of the last records",
    "MaxVio of a router that picks at random, at as many tokens",
    "Experts without a token in the newest batch, mean of layers",
)


class Standings(QWidget):
    """One row a training."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(16)
        self._grid.setVerticalSpacing(3)
        self._grid.setColumnStretch(len(HEADS), 1)
        self._rows: list[list[SteadyLabel]] = []
        self.hide()

    def show_runs(self, runs: Sequence[TrainingRun]) -> None:
        """What the trainings have told so far; those that have told nothing are left out."""
        told = [run for run in runs if run.steps]
        self.setVisible(bool(told))
        rows = [HEADS, *map(row_of, told)]
        while len(self._rows) < len(rows):
            self._rows.append([SteadyLabel("muted" if not self._rows else "", tip=tip) for tip in TIPS])
            for column, label in enumerate(self._rows[-1]):
                self._grid.addWidget(label, len(self._rows) - 1, column)
        for labels, words in zip(self._rows, [*rows, *[("",) * len(HEADS)] * (len(self._rows) - len(rows))], strict=True):
            for label, word in zip(labels, words, strict=True):
                label.setText(word)

    def text(self) -> str:
        """The table, line by line."""
        return "\n".join(" | ".join(label.text() for label in row) for row in self._rows)


def row_of(run: TrainingRun) -> tuple[str, ...]:
    """One training in words."""
    loss, balance = run.text_loss(), run.recent_balance()
    even = ("-", "-") if balance is None else tuple(f"{value:.2f}" for value in balance)
    unused = "-" if run.routing is None else f"{(run.routing['load'].values == 0).sum(axis=1).mean():.1f}"
    return run.short, f"{run.steps[-1]:,}", "-" if loss is None else f"{loss:.3f}", *even, unused
