"""Two texts through the same gates: whom each visits, and how far apart that is beside what chance would show."""

from __future__ import annotations

import math

import numpy as np
from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QWidget

from app.panels.routing.page import Page
from app.protocol.routing import PairReport
from app.widgets.grid_map import GridMap
from app.widgets.prompt_edit import PromptEdit


class PairPage(Page):
    """Two texts through the same gates."""

    compare_wanted = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.other = PromptEdit("The text to compare with", lines=3)
        self.map = GridMap("Loads of both texts", least=8, left=84, row_height=20)
        self.compare = QPushButton("Compare", toolTip="Read both texts and compare whom they visit")
        self._words = self.words("Which experts a second text visits, beside those of the text at the left.")
        self.other.setAccessibleName("Other text")
        self.compare.clicked.connect(self._on_compare)
        row = QHBoxLayout()
        row.addWidget(self.other, 1)
        row.addWidget(self.compare)
        self.map.set_tip(self._tip)
        self._report: PairReport | None = None
        self.column.addLayout(row)
        self.column.addWidget(self._words)
        self.column.addWidget(self.map)
        self.column.addStretch(1)

    def show_report(self, report: PairReport | None) -> None:
        """What was found."""
        self._report = report
        if report is None:
            self.map.clear()
            return
        loads = np.array(report.loads)                                      # (2, L, E)
        L, E = loads.shape[1:]
        flat = loads.transpose(1, 0, 2).reshape(2 * L, E) * E
        names = [f"layer {n} {side}" for n in report.layers for side in ("A", "B")]
        self.map.set_values(
            flat, names, [str(e) for e in range(E)], (0.0, max(2.0, float(flat.max()))),
            "load / fair share; A: text at the left, B: this one", digits=1, experts=True,
        )  # fmt: skip
        far = [f"layer {n}: {d:.2f} ({c:.2f}{', no telling' if p > 0.05 else ''})" for n, d, c, p in
               zip(report.layers, report.distance, report.chance, report.p, strict=True)]  # fmt: skip
        perplexity = "" if any(map(math.isnan, report.perplexity)) else " Perplexity {:.3g} and {:.3g}.".format(*report.perplexity)
        self._words.setText(
            "How far apart the loads are, 0 equal to 1 disjoint, and in brackets when the "
            f"{sum(report.tokens)} tokens are dealt out at random: "
            + "; ".join(far) + f".{perplexity} Neighbouring tokens are alike, so real texts look a little further apart than they are."
        )  # fmt: skip

    def _tip(self, row: int, expert: int) -> str:
        side, layer = row % 2, row // 2
        share = self._report.loads[side][layer][expert]
        return f"text {'AB'[side]}, layer {self._report.layers[layer]}, expert {expert}: {share:.1%} of the visits"

    def set_busy(self, busy: bool) -> None:
        """Whether a comparison is on its way."""
        self.compare.setEnabled(not busy)
        self.compare.setText("Comparing …" if busy else "Compare")

    @Slot()
    def _on_compare(self) -> None:
        self.compare_wanted.emit(self.other.text())
