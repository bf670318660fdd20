"""Who reads what: on held-out text, how often tokens of each domain, or each frequent token, visit each expert of a layer."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QSpinBox, QToolButton, QWidget

from app import theme
from app.panels.routing.page import Page
from app.panels.routing.reading import Reading, shown
from app.protocol.routing import SpecialistTable
from app.widgets.grid_map import GridMap
from app.widgets.interval_rows import Interval, IntervalRows

TEACH = (
    "Reads documents that were never trained on and counts who goes where. Tokens of one document resemble one another, so intervals come "
    "from the spread between documents; what they cannot tell from chance stays grey."
)
GUARD = (
    "Few experts read a subject: gates mostly follow the shape of tokens. An expert is no “maths expert” because its share here is high; "
    "read the interval, and how many documents stand behind it."
)


class SpecialistPage(Page):
    """Table and intervals of the chosen expert."""

    measure_wanted = Signal(int)
    """Tokens of each domain."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.map, self.rows = GridMap("Share of each label's tokens that visit each expert", least=7, left=104), IntervalRows("Intervals")
        self._tables: dict[str, SpecialistTable] = {}
        self._kind, self._expert = "domain", 0
        self._words, self._pick = self.words(TEACH), self.words(role="heading")
        self.tokens = theme.pad(QSpinBox())
        self.measure = QPushButton("Measure", toolTip="Read held-out documents of every domain")
        self.map.chosen.connect(self._on_chosen)
        self.map.set_tip(self._tip)
        self.map.set_empty_text("")
        self.column.addLayout(self._head())
        for widget in (self._words, self.map, self._pick, self.rows, self.words(GUARD, "small")):
            self.column.addWidget(widget)
        self.column.addStretch(1)

    def _head(self) -> QHBoxLayout:
        row = QHBoxLayout()
        self._buttons = {}
        for kind, words, tip in (
            ("domain", "By domain", "Which experts the tokens of each domain visit"),
            ("token", "By token", "Which experts each kind of token visits"),
        ):  # fmt: skip
            button = QToolButton(text=words, toolTip=tip, checkable=True, checked=kind == self._kind, autoExclusive=True, enabled=False)
            button.setProperty("kind", kind)
            button.clicked.connect(self._on_kind)
            self._buttons[kind] = button
            row.addWidget(button)
        row.addStretch(1)
        self.tokens.setRange(200, 1_000_000)
        self.tokens.setSingleStep(1000)
        self.tokens.setValue(8000)
        self.tokens.setSuffix(" tokens each")
        self.tokens.setAccessibleName("Tokens of every domain")
        self.tokens.setToolTip("How many tokens of each domain are read: more take longer and narrow the intervals")
        self.measure.clicked.connect(self._on_measure)
        row.addWidget(self.tokens)
        row.addWidget(self.measure)
        return row

    # content -------------------------------------------------------------------------------------------------------

    def set_tables(self, domains: SpecialistTable | None, tokens: SpecialistTable | None) -> None:
        """What was measured; None: nothing yet, for this model."""
        self._tables = {"domain": domains, "token": tokens} if domains is not None and tokens is not None else {}
        for button in self._buttons.values():
            button.setEnabled(bool(self._tables))
        self._show()

    def set_busy(self, words: str) -> None:
        """What is going on; "" when it is over."""
        self.measure.setEnabled(not words)
        self._words.setText(words or TEACH)
        if not words and self._tables:
            self._show()

    def show_reading(self, reading: Reading | None) -> None:
        """What was measured, for the layer looked at: it is not about the text."""
        if self._tables:
            self._show()

    def set_expert(self, expert: int) -> None:
        """Another expert is looked at."""
        self._expert = expert
        self._show()

    def _show(self) -> None:
        table = self._tables.get(self._kind)
        if table is None:
            self.map.clear()
            self.rows.set_rows((), 0.0)
            self._pick.setText("")
            self._words.setText(TEACH)
            return
        row = min(self._row, len(table.layers) - 1)
        share, E = table.share[row], table.share.shape[2]
        pale = np.array([[not table.speaks(row, label, e) for e in range(E)] for label in range(len(table.labels))])
        names = [shown(label) if self._kind == "token" else label for label in table.labels]
        self.map.set_values(
            share, names, [str(e) for e in range(E)], (0.0, 1.0),
            f"share of the label's tokens; chance is {table.chance:.2f}; grey: no telling", pale=pale,
            experts=True,
        )  # fmt: skip
        self._expert = min(self._expert, E - 1)
        self._words.setText(f"Layer {table.layers[row]}. {sum(table.tokens):,} tokens counted; click a column to see its intervals.")
        self._pick.setText(f"Expert {self._expert} of layer {table.layers[row]}")
        self.rows.set_rows([self._interval(table, row, label, names[label]) for label in range(len(names))], table.chance)

    def _interval(self, table: SpecialistTable, row: int, label: int, name: str) -> Interval:
        e, few = self._expert, table.documents[label] < table.least
        note = f"{table.tokens[label]:,} of {table.documents[label]} documents" + (", too few" if few else "")
        low, high = float(table.low[row, label, e]), float(table.high[row, label, e])
        return Interval(name, float(table.share[row, label, e]), low, high, note, table.speaks(row, label, e))

    def _tip(self, label: int, expert: int) -> str:
        table, row = self._tables[self._kind], min(self._row, len(self._tables[self._kind].layers) - 1)
        low, high = table.low[row, label, expert], table.high[row, label, expert]
        told = f"{table.share[row, label, expert]:.3f}, 95 % interval {low:.3f} to {high:.3f}"
        sample = f"{table.tokens[label]:,} tokens of {table.documents[label]} documents"
        verdict = "" if table.speaks(row, label, expert) else "\nnot to be told from chance, or too few documents"
        return f"{shown(table.labels[label])}, expert {expert}: {told}\n{sample}{verdict}"

    @Slot()
    def _on_kind(self) -> None:
        self._kind = self.sender().property("kind")
        self._show()

    @Slot(int, int)
    def _on_chosen(self, _label: int, expert: int) -> None:
        self.set_expert(expert)

    @Slot()
    def _on_measure(self) -> None:
        self.measure_wanted.emit(self.tokens.value())
