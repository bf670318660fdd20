"""How much of the load each expert of each layer carries, and how even that is, beside what chance would show."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QButtonGroup, QHBoxLayout, QLabel, QPushButton, QToolButton, QWidget

from app.panels.routing.page import Page
from app.panels.routing.reading import Reading
from app.protocol.routing import PHASES, LoadTable
from app.widgets.balance_strip import BalanceStrip, balance_words
from app.widgets.grid_map import GridMap

PHASE_TITLES = {"all": "Whole text", "prompt": "Prompt", "generation": "Written"}
LEAST_TOP = 2.0
"""The colours reach at least to this many times the fair share, so that small differences look small."""


class LoadPage(Page):
    """Load map over the balance."""

    expert_chosen = Signal(int, int)
    """A layer's row and an expert."""
    switch_wanted = Signal(int, int, str)
    """A layer's row, an expert, and "off", "force" or ""."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.map, self.strip = GridMap("Load of every expert in every layer", least=14), BalanceStrip()
        self.phase = "all"
        self._words, self._touched = QLabel(wordWrap=True), QLabel(wordWrap=True)
        self._phases, self._buttons = QButtonGroup(self), {}
        self._reading: Reading | None = None
        self.map.set_empty_text("The load of each expert stands here once a text has been read.")
        self.map.chosen.connect(self._on_chosen)
        self.map.set_tip(self._tip)
        self._touched.setProperty("role", "small")
        self.column.addLayout(self._head())
        for widget in (self.map, self.strip, self._words, self._touched):
            self.column.addWidget(widget)
        self.column.addStretch(1)

    def _head(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(2)
        for phase in PHASES:
            button = QToolButton(text=PHASE_TITLES[phase], checkable=True, checked=phase == self.phase)
            button.setToolTip(f"Loads over: {PHASE_TITLES[phase].lower()}")
            button.setProperty("phase", phase)
            button.clicked.connect(self._on_phase)
            self._phases.addButton(button)
            self._buttons[phase] = button
            row.addWidget(button)
        row.addStretch(1)
        self._pick = QLabel("Click an expert to switch it")
        self._pick.setProperty("role", "small")
        row.addWidget(self._pick)
        self.switches = []
        for words, how, tip in (("Off", "off", "No token may visit it"), ("Force", "force", "Every token visits it"),
                                ("Leave", "", "Let the gate decide")):  # fmt: skip
            button = QPushButton(words, toolTip=tip, enabled=False)
            button.setProperty("how", how)
            button.clicked.connect(self._on_switch)
            self.switches.append(button)
            row.addWidget(button)
        return row

    # content -------------------------------------------------------------------------------------------------------

    def show_reading(self, reading: Reading | None) -> None:
        """The sums have changed, or it is another text."""
        self._reading = reading
        table = self._table()
        if table is None:
            self.map.clear()
            self.strip.set_table(None)
            self._words.setText("")
            self._touched.setText("")
            return
        for phase, button in self._buttons.items():
            button.setEnabled(phase in reading.summary.phases)
        load = np.array(table.load, float)
        use = load / load.mean(axis=1, keepdims=True)
        E = load.shape[1]
        self.map.set_values(
            use, [f"layer {n}" for n in reading.summary.layers], [str(e) for e in range(E)], (0.0, max(LEAST_TOP, float(use.max()))),
            "load / mean load of the layer; 1 is fair, 0 dead", digits=1, experts=True,
        )  # fmt: skip
        self.strip.set_table(table, reading.summary.layers)
        self._words.setText(balance_words(table))
        self._touched.setText(touched_words(reading))

    def set_row(self, row: int) -> None:
        """Another layer is looked at."""
        self.strip.set_row(row)
        self.map.select(row, self.map.current[1])

    def set_phase(self, phase: str) -> None:
        """Show the loads of a phase; tells nobody."""
        self.phase = phase if phase in PHASES else "all"
        self._buttons[self.phase].setChecked(True)
        self.show_reading(self._reading)

    def _table(self) -> LoadTable | None:
        if self._reading is None or self._reading.summary is None:
            return None
        phases = self._reading.summary.phases
        return phases.get(self.phase) or phases["all"]

    def _tip(self, row: int, expert: int) -> str:
        table = self._table()
        load = table.load[row]
        share = load[expert] / max(table.tokens, 1)
        return (
            f"layer {self._reading.summary.layers[row]}, expert {expert}: visited by {load[expert]} of {table.tokens} tokens "
            f"({share:.0%}), {load[expert] / (sum(load) / len(load)):.2f} times its fair share"
        )

    @Slot()
    def _on_phase(self) -> None:
        self.set_phase(self.sender().property("phase"))

    @Slot(int, int)
    def _on_chosen(self, row: int, expert: int) -> None:
        self._pick.setText(f"layer {self._reading.summary.layers[row]}, expert {expert}")
        for button in self.switches:
            button.setEnabled(True)
        self.expert_chosen.emit(row, expert)

    @Slot()
    def _on_switch(self) -> None:
        self.switch_wanted.emit(*self.map.current, self.sender().property("how"))


def touched_words(reading: Reading) -> str:
    """Experts read by a pass over several tokens, places that were full, and who adds how much."""
    summary, parts = reading.summary, []
    if len(summary.window) > 1:
        several = ", ".join(f"{n} tokens {t:.1f} ({c:.1f})" for n, t, c in
                            zip(summary.window[1:], summary.touched.mean(axis=0)[1:], summary.touched_chance[1:], strict=True))  # fmt: skip
        parts.append(
            f"Experts of a layer that one pass must read: one token {summary.touched[:, 0].mean():.1f}, {several}; in brackets a random "
            "router. A check of drafted tokens is such a pass."
        )
    if any(summary.dropped):
        parts.append(f"{sum(summary.dropped)} choices found their expert full (capacity {reading.looked.capacity_factor:g}): struck out.")
    if summary.shared_norm:
        routed, shared = np.mean(summary.routed_norm), np.mean(summary.shared_norm)
        parts.append(f"Mean length added to the residual stream: routed experts {routed:.2f}, shared expert {shared:.2f}.")
    return " ".join(parts)
