"""What a `MetricPlot` draws from what it knows: runs with their smoothed curves, groups with mean and band, dots, reference, marks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QPen

from app import theme
from app.protocol.rl import Reference
from app.widgets.metric_items import Band, Dots, KeyRow, Still
from app.widgets.metric_series import Series, mean_and_band, standing
from app.widgets.metric_tracks import Track
from app.widgets.metric_words import fitting, mean_words, reference_words

if TYPE_CHECKING:
    from app.widgets.metric_plot import MetricPlot

DENSE, JAGGED = 200, 0.05
"""More points than this whose steps are larger than this share of their height make a jagged curve."""
FAINT, THIN, BAND, DOT = 70, 140, 44, 90
"""Opacities of 255."""


class Layers:
    """The items of one plot."""

    def __init__(self, plot: MetricPlot) -> None:
        self._plot, self.tracks = plot, plot.tracks
        self._curves: dict[tuple[str, str], pg.PlotCurveItem] = {}
        self._shapes: dict[tuple[str, str], Band | Dots] = {}
        self._marks: list[Still] = []
        self._ink = ""
        self._reference: Reference | None = None
        self._level: Still | None = None
        self._low, self._high = np.inf, -np.inf
        self.largest_group, self.left_out = 1, False

    # reference and marks -------------------------------------------------------------------------------------------

    def set_reference(self, reference: Reference | None) -> bool:
        """The published result, or none; returns whether it is another."""
        if reference == self._reference:
            return False
        self._reference = reference
        if self._level is not None:
            self._plot.plot.removeItem(self._level)
            self._level = None
        if reference is not None:
            label = {"position": 0.02, "anchors": [(0, 0), (0, 1)], "color": theme.tokens().muted}
            words = "" if self._plot.compact else reference_words(reference)[-1]
            self._level = Still(angle=0, label=words or None, labelOpts=label if words else None)
            if words:
                self._level.label.setFont(theme.font(theme.LEAST))
            self._level.setPen(pg.mkPen(theme.tokens().muted, style=Qt.PenStyle.DashLine))
            self._plot.plot.addItem(self._level, ignoreBounds=True)
        return True

    def set_marks(self, marks: Sequence[tuple[float, str]], *, labelled: bool) -> None:
        """Lines where knobs were turned; their words stand in four lanes, so that neighbours can be read."""
        if [(mark.value(), mark.words) for mark in self._marks] == list(marks) and self._ink == theme.tokens().warn:
            return
        for old in self._marks:
            self._plot.plot.removeItem(old)
        self._marks, self._ink = [], theme.tokens().warn
        ink, ground = self._ink, theme.colour("surface", 215)
        for number, (x, words) in enumerate(marks):
            options = {"position": 0.84 - 0.07 * (number % 4), "anchors": [(0, 0.5), (1, 0.5)], "color": ink, "fill": ground}
            line = Still(x, angle=90, label=words if labelled else None, labelOpts=options if labelled else None)
            if labelled:
                line.label.setFont(theme.font(theme.LEAST))
            line.setPen(pg.mkPen(ink, style=Qt.PenStyle.DotLine))
            line.words = words
            line.setZValue(3)
            self._plot.plot.addItem(line, ignoreBounds=True)
            self._marks.append(line)

    def restyle(self) -> None:
        """Another theme: the marks and the reference are made anew, the curves when they are drawn."""
        reference, self._reference = self._reference, None
        self.set_reference(None)
        if reference is not None:
            self.set_reference(reference)
        self.set_marks([(mark.value(), mark.words) for mark in self._marks], labelled=not self._plot.compact)

    # drawing -------------------------------------------------------------------------------------------------------

    def x_ends(self) -> tuple[float, float]:
        """From the first to the last point of all lines and dots."""
        known = [s.x for s in (*(track.raw for track in self.tracks.lines.values()), *self.tracks.dots.values()) if len(s)]
        if not known:
            return 0.0, 1.0
        low, high = min(float(x[0]) for x in known), max(float(x[-1]) for x in known)
        return low, high if high > low else low + 1

    def draw(self, x0: float, x1: float, pixels: int) -> tuple[float, float]:
        """Put what is between x0 and x1 on the screen; returns the ends that y needs."""
        self._low, self._high = np.inf, -np.inf
        self.left_out, self.largest_group = False, 1
        kept: set[tuple[str, str]] = set()
        for group, tracks in self.tracks.groups().items():
            self._draw_group(group, tracks, (x0, x1), pixels, kept)
        for key, series in self.tracks.dots.items():
            x, y = self._finite(*series.seen(x0, x1, max(pixels // 2, 20)))
            colour = theme.data_colour(self.tracks.colour(key), DOT)
            self._shape(("dots", key), Dots, kept).show_points(x, y, colour, 2.5 * self._ratio)
        self._draw_reference(x0, x1, kept)
        for store in (self._curves, self._shapes):
            for name in [name for name in store if name not in kept]:
                self._plot.plot.removeItem(store.pop(name))
        return self._ends()

    def _draw_group(self, group: str, tracks: list[Track], sight: tuple[float, float], pixels: int, kept: set) -> None:
        several = len(tracks) > 1
        self.largest_group = max(self.largest_group, len(tracks))
        for track in tracks:
            colour = theme.data_colour(track.line.colour)
            smooth = self.tracks.window > 1 and not track.line.points
            if smooth and not several:
                self._curve(("raw", track.line.key), track.raw, sight, pixels, (colour, FAINT, 1.0), kept)
            if track.line.points:
                x, y = self._finite(*track.raw.seen(*sight, max(pixels // 4, 20)))
                self._shape(("points", track.line.key), Dots, kept).show_points(x, y, colour, 5 * self._ratio)
            style = (colour, THIN, 1.0) if several or track.line.points else (colour, 255, 1.0 if self._plot.compact else 2.0)
            self._curve(("line", track.line.key), track.shown, sight, pixels, style, kept)
        if several and all(len(track.raw) for track in tracks):
            x, mean, std = mean_and_band([track.shown for track in tracks], *sight)
            colour = theme.data_colour(tracks[0].line.colour)
            xs, low, high = self._finite(x, mean - std, mean + std)
            self._shape(("band", group), Band, kept).show_between(xs, low, high, with_alpha(colour, BAND))
            xs, ys = self._finite(x, mean)
            self._stroke(("mean", group), kept, xs, ys, pg.mkPen(colour, width=2.5))

    def _curve(self, name: tuple[str, str], series: Series, sight: tuple[float, float], pixels: int, style: tuple, kept: set) -> None:
        x, y = series.seen(*sight, max(pixels // 2, 20))
        y = self._up(y)
        known = y[np.isfinite(y)]
        self._stretch(known)
        colour, alpha, width = style
        self._stroke(name, kept, x, y, pg.mkPen(with_alpha(colour, alpha), width=1.0 if is_jagged(y, known) else width))

    def _stroke(self, name: tuple[str, str], kept: set, x: np.ndarray, y: np.ndarray, pen: QPen) -> None:
        """Thick curves as single segments: Qt strokes a jagged thick line as a whole many times more slowly."""
        kept.add(name)
        if name not in self._curves:
            self._curves[name] = made = pg.PlotCurveItem()
            made.setZValue({"raw": -4, "line": 0, "mean": 2}[name[0]])
            self._plot.plot.addItem(made, ignoreBounds=True)
        pen.setWidthF(pen.widthF() * self._ratio)
        self._curves[name].setSegmentedLineMode("on" if pen.widthF() > 1 else "off")
        self._curves[name].setData(x, y, connect="finite", pen=pen, antialias=True)

    def _draw_reference(self, x0: float, x1: float, kept: set) -> None:
        known = self._reference
        if known is None or self._level is None:
            return
        mean, low, high = (float(v) for v in self._up(np.array([known.mean, known.mean - known.std, known.mean + known.std])))
        self._level.setVisible(bool(np.isfinite(mean)))
        if not np.isfinite(mean):
            return
        self._level.setValue(mean)
        if not self._plot.compact:
            self._level.label.setFormat(fitting(reference_words(known), self._plot.plot.width() * 0.9))
        low = low if np.isfinite(low) else mean
        xs = np.array([x0, x1])
        colour = theme.colour("muted", 36)
        self._shape(("reference", "band"), Band, kept).show_between(xs, np.full(2, low), np.full(2, high), colour)
        self._shape(("reference", "point"), Dots, kept).show_points(
            np.array([float(known.timesteps)]), np.array([mean]), theme.colour("muted"), 8 * self._ratio
        )
        self._stretch(np.array([low, high]))

    def _ends(self) -> tuple[float, float]:
        if not np.isfinite(self._low):
            return 0.0, 1.0
        flat = (abs(self._high) * 0.06 or 1.0) if self._high == self._low else 0.0
        return self._low - flat, self._high + flat

    def hidden_by(self, x0: float, x1: float, y0: float, y1: float) -> int:
        """How much of the curves runs through a part of the plot: places out of 24 a curve."""
        at, hidden = np.linspace(x0, x1, 24), 0
        for (role, _), curve in self._curves.items():
            x, y = curve.getData()
            if role != "raw" and x is not None and len(x):
                heights = np.interp(at, x, y, left=np.nan, right=np.nan)
                hidden += int(((heights > y0) & (heights < y1)).sum())
        return hidden

    @property
    def _ratio(self) -> float:
        """Pixels of the screen to one of ours: pens that keep their width count in the former."""
        return self._plot.devicePixelRatioF()

    def _up(self, y: np.ndarray) -> np.ndarray:
        """Values as heights: themselves, or their logarithms."""
        if not self._plot.log:
            return y
        with np.errstate(divide="ignore", invalid="ignore"):
            heights = np.where(y > 0, np.log10(y), np.nan)
        self.left_out = self.left_out or bool((y <= 0).any())
        return heights

    def _finite(self, x: np.ndarray, *heights: np.ndarray) -> tuple[np.ndarray, ...]:
        ups = [self._up(y) for y in heights]
        good = np.isfinite(ups).all(0) if len(x) else np.zeros(0, bool)
        for up in ups:
            self._stretch(up[good])
        return x[good], *(up[good] for up in ups)

    def _stretch(self, known: np.ndarray) -> None:
        if len(known):
            self._low, self._high = min(self._low, float(known.min())), max(self._high, float(known.max()))

    def _shape(self, name: tuple[str, str], kind: type, kept: set) -> Band | Dots:
        kept.add(name)
        if name not in self._shapes:
            self._shapes[name] = kind()
            self._plot.plot.addItem(self._shapes[name], ignoreBounds=True)
        return self._shapes[name]

    # words ---------------------------------------------------------------------------------------------------------

    def key_rows(self, x: float | None) -> list[KeyRow]:
        """A row a line, a mean, the reference; with values if x is given."""
        rows = []
        for group, tracks in self.tracks.groups().items():
            colour = theme.data_colour(tracks[0].line.colour)
            if len(tracks) > 1:
                rows.append(KeyRow(f"{group}: mean of {len(tracks)}", colour, "" if x is None else mean_words(tracks, x)))
            if len(tracks) == 1 or x is not None:
                rows += [KeyRow(t.line.label, colour, "" if x is None else t.words_at(x), thin=len(tracks) > 1) for t in tracks]
        first = next(iter(self.tracks.lines.values()), None)
        if self._reference is not None and first is not None and len(first.raw) and not self._plot.compact:
            known = self._reference
            told = standing(known.mean, known.std, known.timesteps, first.shown.x, first.shown.y)
            who = "" if len(self.tracks.lines) == 1 else f" ({first.line.label})"
            rows.append(KeyRow(f"reference{who}: {told}" if told else "reference", theme.colour("muted"), dotted=True))
        return rows


def is_jagged(y: np.ndarray, known: np.ndarray) -> bool:
    """Do many neighbouring points lie so far apart that thin strokes fill the picture, and thick ones only cost time?"""
    height = float(known.max() - known.min()) if len(known) else 0.0
    return len(y) > DENSE and float(np.nanmean(np.abs(np.diff(y)))) > JAGGED * height


def with_alpha(colour: QColor, alpha: int) -> QColor:
    """The colour, more or less opaque."""
    made = QColor(colour)
    made.setAlpha(alpha)
    return made
