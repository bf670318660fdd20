"""Who adds how much, shared and routed experts, token by token; and how many experts one pass must read, a check of drafts above all."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QWidget

from app.panels.routing.page import Page
from app.panels.routing.reading import Reading
from app.panels.routing.token_map import TokenMap
from app.protocol.payloads import Curve
from app.protocol.routing import Checks, RoutingSummary
from app.widgets.curve_view import CurveView

WIDEST = 3.0
MOST_LAYERS = 8
"""Layers up to which each is told in words."""
CURVE_HEIGHT = 200
DRAFT_HINT = "Set a draft length (at the left, under More) to see what real checks of drafted tokens need."


class WorkPage(Page):
    """Contributions over the number of experts read."""

    token_chosen = Signal(int, int)
    """A layer's row and a token."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.parts = TokenMap("Routed against shared", "What routed and shared experts add stands here once a text has been read.")
        self.curve = CurveView(x_label="tokens read in one pass", y_label="experts of a layer")
        self.curve.setFixedHeight(CURVE_HEIGHT)
        self._adds, self._reads = self.words(), self.words()
        self._head = self.words("Experts that one pass must read", "heading")
        self._reading: Reading | None = None
        self.parts.map.chosen.connect(self.token_chosen)
        self.parts.map.set_tip(self._tip)
        for widget in (self.words("Shared and routed experts", "heading"), self._adds, self.parts, self._head):
            self.column.addWidget(widget)
        row = QHBoxLayout()
        row.setSpacing(16)
        row.addWidget(self.curve, 1)
        row.addWidget(self._reads, 1)
        self.column.addLayout(row)
        self.column.addStretch(1)
        self.show_reading(None)

    def show_reading(self, reading: Reading | None) -> None:
        self._reading = reading
        told = reading is not None and reading.summary is not None
        for widget in (self._head, self._reads, self.curve):
            widget.setVisible(told)
        if not told:
            self.parts.clear()
            self._adds.setText("")
            return
        routed, shared = self._lengths()
        values = routed if shared is None else np.log2(np.maximum(routed, 1e-9) / np.maximum(shared, 1e-9))
        ends = (0.0, float(routed.max())) if shared is None else (-WIDEST, WIDEST)
        words = "length that routed experts add" if shared is None else "log2 of routed / shared, by length; 0: as much"
        look = {"table": "viridis" if shared is None else "diverging", "digits": 1}
        self.parts.show_values(values, reading.looked.layers, reading.texts(), ends, words, **look)
        self._adds.setText(adds_words(reading.summary))
        self._show_curve(reading.summary)

    def select(self, row: int, token: int) -> None:
        """Mark a token; tells nobody."""
        self.parts.select(row, token)

    def _lengths(self) -> tuple[np.ndarray, np.ndarray | None]:
        has = self._reading.passes[0].shared_norm is not None
        return self._reading.column("routed_norm"), self._reading.column("shared_norm") if has else None

    def _show_curve(self, summary: RoutingSummary) -> None:
        x = np.array(summary.window, float)
        row = min(self._row, len(summary.layers) - 1)
        layer = f"layer {summary.layers[row]}"
        self.curve.clear()
        self.curve.set_curve("mean", Curve(x, summary.touched.mean(axis=0), label="mean of layers"), colour=0)
        self.curve.set_curve("layer", Curve(x, summary.touched[row], label=layer), colour=1)
        self.curve.set_curve("chance", Curve(x, np.array(summary.touched_chance), label="random router"), colour=7, dashed=True)
        if summary.checks is not None:
            reads, experts = summary.checks.read, float(np.mean(summary.checks.touched))
            cross = Curve(np.array([reads, reads]), np.array([0.0, experts]), label="checks of drafts, measured")
            self.curve.set_curve("checks", cross, colour=2)
        self._reads.setText(f"{reads_words(summary)} {DRAFT_HINT if summary.checks is None else checks_words(summary.checks)}")

    def _tip(self, row: int, token: int) -> str:
        told, t = self._reading.at(token)
        shared = "" if told.shared_norm is None else f", shared {told.shared_norm[row, t]:.3f}"
        layer = self._reading.looked.layers[row]
        return f"“{self._reading.text_of(token)}”, layer {layer}: routed experts add {told.routed_norm[row, t]:.3f}{shared}"


def adds_words(summary: RoutingSummary) -> str:
    """Who adds how much, layer by layer, or but for the extremes where there are many."""
    routed, shared = np.array(summary.routed_norm), np.array(summary.shared_norm)
    told = [f"{value:.2f}" for value in routed]
    if len(shared):
        told = [f"{words} and {value:.2f}" for words, value in zip(told, shared, strict=True)]
    rows = range(len(told)) if len(told) <= MOST_LAYERS else sorted({int(routed.argmin()), int(routed.argmax())})
    by_layer = ", ".join(f"{summary.layers[row]}: {told[row]}" for row in rows)
    extremes = "" if len(told) <= MOST_LAYERS else " (least and most)"
    if not len(shared):
        return f"There is no shared expert. Mean length that the chosen experts add to the residual stream, by layer{extremes}: {by_layer}."
    return (
        f"Mean length added to the residual stream, routed and shared, by layer{extremes}: {by_layer}. All layers: {routed.mean():.2f} and "
        f"{shared.mean():.2f}, so the shared expert does {shared.mean() / max(routed.mean() + shared.mean(), 1e-9):.0%} of the lengths."
    )


def reads_words(summary: RoutingSummary) -> str:
    """Neighbouring tokens of this text."""
    several = summary.window[-1]
    return (
        f"A pass over one token reads {summary.touched[:, 0].mean():.1f} experts of a layer; over {several} neighbouring tokens of this "
        f"text {summary.touched[:, -1].mean():.1f} (a random router {summary.touched_chance[-1]:.1f}). A check of drafted tokens is such "
        "a pass: what it reads beyond one token's experts is what speculation costs a mixture."
    )  # fmt: skip


def checks_words(checks: Checks) -> str:
    """What the checks of this text needed, against writing token by token."""
    experts, alone = float(np.mean(checks.touched)), float(np.mean(checks.alone))
    each = experts / max(alone, 1e-9)
    return (
        f"Measured: {checks.passes} checks read {checks.read:.1f} tokens each and kept {checks.kept:.1f}; a check needed {experts:.1f} "
        f"experts of a layer where one token needs {alone:.1f}: {each:.2f} times the expert weights for {checks.kept:.2f} tokens, "
        f"{each / max(checks.kept, 1e-9):.2f} times as many for a token of text as without drafts."
    )
