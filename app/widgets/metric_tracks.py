"""The lines and dots of a `MetricPlot` as they are kept: told, smoothed, grouped by algorithm. Numbers only, no window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.widgets.colour_scale import figure
from app.widgets.metric_series import Series, Smoother


@dataclass(frozen=True, eq=False)
class Line:
    """One run's numbers, x growing; runs of one `group` (an algorithm's seeds) share the hue `colour`, a data colour's number.

    `points`: a few numbers that stand for themselves (evaluations): dots on a thin line, neither smoothed nor averaged.
    """

    key: str
    group: str
    colour: int
    x: np.ndarray
    y: np.ndarray
    label: str
    points: bool = False


class Track:
    """A line as it is kept: what was told, and smoothed."""

    def __init__(self, line: Line, window: int) -> None:
        self.line, self.raw = line, Series()
        self.smooth_over(window)

    def smooth_over(self, window: int) -> None:
        """Smooth all anew, with another span."""
        self._smooth = Series() if window > 1 and not self.line.points else None
        self._smoother = Smoother(window)
        if self._smooth is not None:
            self._smooth.extend(self.raw.x, self._smoother.extend(self.raw.y))

    def extend(self, x: np.ndarray, y: np.ndarray) -> None:
        """More points."""
        self.raw.extend(x, y)
        if self._smooth is not None:
            self._smooth.extend(x, self._smoother.extend(y))

    @property
    def shown(self) -> Series:
        """The curve that is drawn strongly."""
        return self.raw if self._smooth is None else self._smooth

    def at(self, x: float) -> float | None:
        """The value at the point nearest to x; None before the first and after the last."""
        series = self.shown
        if not len(series) or not series.x[0] <= x <= series.x[-1]:
            return None
        return float(series.y[series.nearest(x)])

    def words_at(self, x: float) -> str:
        """The same in words."""
        value = self.at(x)
        return "–" if value is None else figure(value)


class Tracks:
    """All lines and dots of a plot."""

    def __init__(self) -> None:
        self.lines: dict[str, Track] = {}
        self.dots: dict[str, Series] = {}
        self.window = 1

    def __bool__(self) -> bool:
        return bool(self.dots) or any(len(track.raw) for track in self.lines.values())

    def set_lines(self, lines: Sequence[Line]) -> bool:
        """Keep these and no others; returns whether anything is new."""
        known, self.lines = self.lines, {}
        new = list(known) != [line.key for line in lines]
        for line in lines:
            x, y = np.asarray(line.x, float), np.asarray(line.y, float)
            track = known.get(line.key)
            if track is None or not track.raw.follows(x, y):
                track, new = Track(line, self.window), True
            new = new or (line.group, line.colour, line.label) != (track.line.group, track.line.colour, track.line.label)
            track.line = line
            if len(x) > len(track.raw):
                new = True
                track.extend(x[len(track.raw) :], y[len(track.raw) :])
            self.lines[line.key] = track
        return new

    def append(self, key: str, x: np.ndarray, y: np.ndarray) -> None:
        """More points of a known line."""
        self.lines[key].extend(np.atleast_1d(x), np.atleast_1d(y))

    def set_dots(self, key: str, x: np.ndarray, y: np.ndarray) -> bool:
        """The dots of a line; no points takes them away. Returns whether anything is new."""
        series = self.dots.get(key)
        if series is not None and len(series) == len(x) and series.follows(x, y) or series is None and not len(x):
            return False
        if series is None or not series.follows(x, y):
            series = self.dots[key] = Series()
        series.extend(x[len(series) :], y[len(series) :])
        if not len(series):
            del self.dots[key]
        return True

    def set_window(self, window: int) -> None:
        """Another span of smoothing."""
        if window != self.window:
            self.window = window
            for track in self.lines.values():
                track.smooth_over(window)

    def groups(self) -> dict[str, list[Track]]:
        """Lines by group, in the order they came; a line without a group stands alone."""
        found: dict[str, list[Track]] = {}
        for track in self.lines.values():
            if len(track.raw):
                alone = track.line.points or not track.line.group
                found.setdefault(track.line.key if alone else track.line.group, []).append(track)
        return found

    def colour(self, key: str) -> int:
        """Number of a line's data colour."""
        base = key if key in self.lines else key.rpartition("/")[0]
        return self.lines[base].line.colour if base in self.lines else 0

    def csv(self) -> str:
        """Every point that was told: line, x, y."""
        rows = ["line,x,y"]
        for track in self.lines.values():
            rows += [f"{track.line.key},{x:.9g},{y:.9g}" for x, y in zip(track.raw.x, track.raw.y, strict=True)]
        return "\n".join(rows) + "\n"
