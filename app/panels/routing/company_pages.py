"""Experts in company: which are visited by the same tokens, and who goes where from layer to layer."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QWidget

from app.panels.routing.page import Page
from app.panels.routing.reading import Reading
from app.protocol.routing import RoutingSummary
from app.widgets.expert_flow import ExpertFlow
from app.widgets.grid_map import GridMap

WIDEST = 2.0
LEAST_EXPECTED = 5.0
"""Meetings of two experts that chance should show before their ratio is told (the old rule for counts)."""


class TogetherPage(Page):
    """Which experts of a layer are visited by the same tokens, against what independent choices would show."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.map, self._words = GridMap("Experts visited together", least=8, row_height=20), self.words()
        self._summary: RoutingSummary | None = None
        self.map.set_tip(self._tip)
        self.map.set_empty_text("Which experts go together stands here once a text has been read.")
        self.column.addWidget(self._words)
        self.column.addWidget(self.map)
        self.column.addStretch(1)

    def show_reading(self, reading: Reading | None) -> None:
        self._summary = reading.summary if reading else None
        self._show()

    def _show(self) -> None:
        summary = self._summary
        if summary is None:
            self.map.clear()
            self._words.setText("")
            return
        if summary.top_k == 1:
            self.map.clear()
            self._words.setText("Each token visits one expert, so no two are visited together.")
            return
        row = min(self._row, len(summary.layers) - 1)
        together, chance = summary.together[row], summary.together_chance[row]
        expected = chance[:, None] * chance[None, :] * summary.phases["all"].tokens
        with np.errstate(divide="ignore", invalid="ignore"):
            lift = np.log2(together / chance[None, :]).clip(-WIDEST, WIDEST)
        np.fill_diagonal(lift, np.nan)
        few = (expected < LEAST_EXPECTED) | np.eye(len(chance), dtype=bool)
        numbers = [str(e) for e in range(len(chance))]
        self.map.set_values(
            lift, [f"expert {e}" for e in numbers], numbers, (-WIDEST, WIDEST), "log2 of how often against independent choices, cut at 2",
            digits=1, table="diverging", pale=few, experts=True,
        )  # fmt: skip
        self._words.setText(
            f"Layer {summary.layers[row]}: of the tokens that visit the row's expert, how many also visit the column's. Grey cells are too "
            f"few to tell (chance would show under {LEAST_EXPECTED:.0f} meetings in these {summary.phases['all'].tokens} tokens)."
        )

    def _tip(self, row: int, column: int) -> str:
        layer = min(self._row, len(self._summary.layers) - 1)
        share, chance = self._summary.together[layer, row, column], self._summary.together_chance[layer, column]
        return f"of the tokens that visit expert {row}, {share:.0%} visit expert {column} as well; of all tokens {chance:.0%} do"


class FlowPage(Page):
    """From which expert to which."""

    expert_chosen = Signal(int, int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.flow, self._words = ExpertFlow(), self.words()
        self.flow.set_empty_text("Who goes where from layer to layer stands here once a text has been read.")
        self.flow.chosen.connect(self._on_chosen)
        self.column.addWidget(self._words)
        self.column.addWidget(self.flow)
        self.column.addStretch(1)

    def show_reading(self, reading: Reading | None) -> None:
        summary = reading.summary if reading else None
        self.flow.set_flow(np.zeros((0, 0, 0)) if summary is None else summary.flow, summary.layers if summary else ())
        self._words.setText("" if summary is None else (
            "A band is as wide as its share of the visits that go from one expert to another; coloured where that is more than the two "
            "experts' own shares explain (1.25 times or more). The widest bands are drawn; point at an expert to follow it."
        ))  # fmt: skip

    @Slot(int, int)
    def _on_chosen(self, row: int, expert: int) -> None:
        self.expert_chosen.emit(row, expert)
