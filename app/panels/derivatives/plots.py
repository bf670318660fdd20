"""The plots under the stage: the slice with its secant and tangent, D_u over the direction, and the secant's slope as h shrinks."""

from __future__ import annotations

import math

import numpy as np
from PySide6.QtWidgets import QHBoxLayout, QWidget

from app.protocol.derivatives import Rise
from app.protocol.payloads import Curve
from app.widgets.curve_view import CurveView

SLICE, TANGENT, SECANT, CENTRAL = 0, 3, 1, 5
"""Data colours, the same wherever these stand."""


class Plots(QWidget):
    """Three small plots in a row."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.slice = CurveView(x_label="t along u", y_label="f(p + t u)")
        self.turn = CurveView(x_label="direction", y_label="D_u f", x_unit="degrees")
        self.secants = CurveView(x_label="h", y_label="slope over h")
        self.secants.set_log(x=True)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(2)
        tips = (
            "The surface cut along u; its secant over h and its tangent",
            "How fast f rises in every direction: a cosine, if f is smooth",
            "The secant's slope (f(p + h u) − f(p)) / h and the central difference over ±h tend to D_u f; far left rounding takes over",
        )
        for plot, tip in zip((self.slice, self.turn, self.secants), tips, strict=True):
            plot.set_legend_shown(False)
            plot.setToolTip(tip)
            row.addWidget(plot, 1)

    def show_rise(self, rise: Rise, cut: tuple[float, float] | None) -> None:
        """Another point, direction or function; heights beyond `cut` are left out."""
        height = rise.slice_height
        seen = np.isfinite(height) if cut is None else (height >= cut[0]) & (height <= cut[1])
        self.slice.set_curve("slice", Curve(rise.slice_at, np.where(seen, height, np.nan), label="f"), colour=SLICE)
        ends = np.array([rise.slice_at[0], rise.slice_at[-1]])
        if rise.gradient is not None:
            self.slice.set_curve("tangent", Curve(ends, rise.value + rise.directional * ends, label="tangent"), colour=TANGENT)
        else:
            self.slice.remove("tangent")
        known = np.isfinite(rise.around)
        self.turn.set_curve("around", Curve(np.degrees(rise.turn[known]), rise.around[known], label="D_u f"), colour=SLICE)
        self.turn.set_cursor(math.degrees(math.atan2(rise.unit[1], rise.unit[0])) % 360)
        for name, slopes, ink in (("central", rise.secant_central, CENTRAL), ("secants", rise.secant_slope, SECANT)):
            known = np.isfinite(slopes)
            self.secants.set_curve(name, Curve(rise.secant_step[known], slopes[known], label=name), colour=ink)
        if rise.directional is not None:
            level = np.full(2, rise.directional)
            self.secants.set_curve("limit", Curve(rise.secant_step[[0, -1]], level, label="D_u f"), colour=TANGENT, dashed=True)
        else:
            self.secants.remove("limit")

    def show_secant(self, rise: Rise, number: int) -> None:
        """The secant of one h."""
        h, slope = rise.secant_step[number], rise.secant_slope[number]
        ends = np.array([rise.slice_at[0], rise.slice_at[-1]])
        self.slice.set_curve("secant", Curve(ends, rise.value + slope * ends, label="secant"), colour=SECANT, dashed=True)
        self.secants.set_cursor(float(h))
