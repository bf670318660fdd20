"""How much of the load each expert of each layer carries, how even that is beside what chance would show, and what writing changes."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QButtonGroup, QHBoxLayout, QLabel, QPushButton, QToolButton, QWidget

from app.panels.routing.page import Page
from app.panels.routing.reading import Reading
from app.protocol.routing import PHASES, LoadTable
from app.widgets.balance_strip import BalanceStrip, balance_words
from app.widgets.grid_map import GridMap

CHANGE = "change"
PHASE_TITLES = {"all": "Whole text", "prompt": "Prompt", "generation": "Written", CHANGE: "Change"}
PHASE_TIPS = {phase: f"Loads over: {title.lower()}" for phase, title in PHASE_TITLES.items()}
PHASE_TIPS[CHANGE] = "Loads of what the model writes minus those of the prompt"
LEAST_TOP = 2.0
"""The colours reach at least to this many times the fair share, so that small differences look small."""
SURE = 2.0
"""Standard errors that a change of loads must reach to be more than chance."""


class LoadPage(Page):
    """Load map over the balance."""

    expert_chosen = Signal(int, int)
    """A layer's row and an expert."""
    switch_wanted = Signal(int, int, str)
    """A layer's row, an expert, and "off", "force" or ""."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.map, self.strip = GridMap("Load of every expert in every layer", least=8), BalanceStrip()
        self.phase = "all"
        self._words = self.words()
        self._phases, self._buttons = QButtonGroup(self), {}
        self._reading: Reading | None = None
        self.map.set_empty_text("The load of each expert stands here once a text has been read.")
        self.map.chosen.connect(self._on_chosen)
        self.map.set_tip(self._tip)
        self.column.addLayout(self._head())
        for widget in (self.map, self.strip, self._words):
            self.column.addWidget(widget)
        self.column.addStretch(1)

    def _head(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(2)
        for phase in (*PHASES, CHANGE):
            button = QToolButton(text=PHASE_TITLES[phase], checkable=True, checked=phase == self.phase)
            button.setToolTip(PHASE_TIPS[phase])
            button.setProperty("phase", phase)
            button.clicked.connect(self._on_phase)
            self._phases.addButton(button)
            self._buttons[phase] = button
            row.addWidget(button)
        row.addStretch(1)
        self._pick = QLabel("Click an expert")
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
            return
        phases = reading.summary.phases
        for phase, button in self._buttons.items():
            button.setEnabled(phase in phases or (phase == CHANGE and "prompt" in phases and "generation" in phases))
        self.strip.set_table(table, reading.summary.layers)
        if self._changes:
            self._show_change(phases["prompt"], phases["generation"])
            return
        load = np.array(table.load, float)
        use = load / load.mean(axis=1, keepdims=True)
        E = load.shape[1]
        self.map.set_values(
            use, [f"layer {n}" for n in reading.summary.layers], [str(e) for e in range(E)], (0.0, max(LEAST_TOP, float(use.max()))),
            "load / mean load of the layer; 1 is fair, 0 dead", digits=1, experts=True,
        )  # fmt: skip
        self._words.setText(f"{balance_words(table)} {full_words(reading)}".strip())

    @property
    def _changes(self) -> bool:
        return self.phase == CHANGE and self._buttons[CHANGE].isEnabled()

    def _show_change(self, prompt: LoadTable, written: LoadTable) -> None:
        """Loads of what was written minus those of the prompt, each over its mean; pale where chance would show as much."""
        before, after = (np.array(table.load, float) for table in (prompt, written))
        change = after / after.mean(axis=1, keepdims=True) - before / before.mean(axis=1, keepdims=True)
        share = (before + after) / (prompt.tokens + written.tokens)
        error = np.sqrt(share * (1 - share) * (1 / prompt.tokens + 1 / written.tokens))
        pale = np.abs(after / written.tokens - before / prompt.tokens) < SURE * np.maximum(error, 1e-12)
        top = max(LEAST_TOP, float(np.abs(change).max()))
        self.map.set_values(
            change, [f"layer {n}" for n in self._reading.summary.layers], [str(e) for e in range(change.shape[1])], (-top, top),
            "written minus prompt, in mean loads", digits=1, table="diverging", pale=pale, experts=True,
        )  # fmt: skip
        self._words.setText(
            f"Grey: under {SURE:.0f} standard errors of independent tokens ({prompt.tokens} given, {written.tokens} written); tokens of a "
            f"text are alike, so less than the colours is sure. Balance is that of the written: MaxVio {written.mean.max_vio:.2f} (random "
            f"{written.chance.max_vio:.2f}); the prompt's is {prompt.mean.max_vio:.2f} (random {prompt.chance.max_vio:.2f})."
        )

    def set_row(self, row: int) -> None:
        super().set_row(row)
        self.strip.set_row(row)
        self.map.select(row, self.map.current[1])

    def set_phase(self, phase: str) -> None:
        """Show the loads of a phase; tells nobody."""
        self.phase = phase if phase in PHASE_TITLES else "all"
        self._buttons[self.phase].setChecked(True)
        self.show_reading(self._reading)

    def _table(self) -> LoadTable | None:
        if self._reading is None or self._reading.summary is None:
            return None
        phases = self._reading.summary.phases
        return phases.get("generation" if self.phase == CHANGE else self.phase) or phases["all"]

    def _tip(self, row: int, expert: int) -> str:
        if self._changes:
            tables = [self._reading.summary.phases[phase] for phase in ("prompt", "generation")]
            given, written = (f"{table.load[row][expert] / table.tokens:.0%} of {table.tokens}" for table in tables)
            layer = self._reading.summary.layers[row]
            return f"layer {layer}, expert {expert}: visited by {given} given tokens, and by {written} written ones"
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


def full_words(reading: Reading) -> str:
    """Choices that found no place; "" if all did."""
    dropped = sum(reading.summary.dropped)
    factor = reading.looked.capacity_factor
    return f"{dropped} choices found their expert full (capacity {factor:g}): struck out." if dropped else ""
