"""Entropy, gradient and saturation of a softmax: over the width for random heads, over the scale for a trained one."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QSplitter, QVBoxLayout, QWidget

from app.protocol.attention_lab import ScalePoint, ScaleReport
from app.protocol.payloads import Curve
from app.widgets.colour_key import ColourKey, Entry
from app.widgets.curve_view import CurveView

PLOTS = (
    ("entropy", "entropy", "nats"), ("gradient", "gradient at q, rms", ""), ("saturated", "saturated rows, share", ""),
)  # fmt: skip
RULES = {"1/sqrt(d)": "scale 1/√d", "none": "no scale", "1/d": "scale 1/d", "factor": "this head"}


class ScaleCurves(QWidget):
    """Three plots beside one another; the dashed line is theory, the cursor where the sliders stand."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.key, split, box = ColourKey(), QSplitter(Qt.Orientation.Horizontal), QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(0)
        box.addWidget(self.key)
        box.addWidget(split, 1)
        self.plots = {name: CurveView(y_label=label, y_unit=unit) for name, label, unit in PLOTS}
        for name, plot in self.plots.items():
            plot.set_log(x=True, y=name == "gradient")
            plot.set_legend_shown(False)
            split.addWidget(plot)
        self._rules: tuple[str, ...] = ()

    def show_report(self, report: ScaleReport) -> None:
        """New curves if there are some, and where we stand."""
        if report.curves:
            self._draw(report.curves)
        at = report.now.width if "factor" not in self._rules else report.now.scale * report.now.width**0.5
        for plot in self.plots.values():
            plot.set_cursor(at)

    def _draw(self, points: tuple[ScalePoint, ...]) -> None:
        self._rules = tuple(dict.fromkeys(point.rule for point in points))
        trained = "factor" in self._rules
        entries = [Entry(RULES.get(rule, rule), colour) for colour, rule in enumerate(self._rules)]
        self.key.set_entries([*entries, Entry("theory: ln n − σ²/2, then 0", 0, dashed=True)])
        for name, label, unit in PLOTS:
            plot = self.plots[name]
            plot.clear()
            plot.set_labels("scale × √d" if trained else "width d", label, y_unit=unit)
            for colour, rule in enumerate(self._rules):
                own = [point for point in points if point.rule == rule]
                x = np.array([point.scale * point.width**0.5 if trained else point.width for point in own])
                y = np.array([getattr(point, name) for point in own])
                kept = y > 0 if name == "gradient" else np.full(len(y), True)
                plot.set_curve(rule, Curve(x[kept], y[kept], label=RULES.get(rule, rule)), colour=colour)
                if name == "entropy":
                    theory = np.array([point.theory for point in own])
                    plot.set_curve(f"{rule} theory", Curve(x, theory, label=f"{RULES.get(rule, rule)}, theory"), colour=colour, dashed=True)
