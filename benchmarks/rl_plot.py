"""How long a redraw of the metric plot takes with a million points: seen whole, zoomed in, and while points come in.

Run: `python benchmarks/rl_plot.py`; needs no display. Prints milliseconds that this process had the processor (so that neighbours on the
machine do not count), median and largest of 30.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from PySide6.QtWidgets import QApplication

from app.widgets.metric_plot import Line, MetricPlot

POINTS, SEEDS, TIMES = 1_000_000, 3, 30


def runs(n: int, seeds: int) -> list[Line]:
    """Learning curves with noise."""
    rng = np.random.default_rng(0)
    x = np.arange(1, n + 1, dtype=float)
    return [Line(f"s{s}", "PPO", 0, x, 500 * (1 - np.exp(-x / n * 5)) + rng.normal(size=n) * 40, f"seed {s}") for s in range(seeds)]


def timed(act: Callable[[int], None], times: int = TIMES) -> tuple[float, float]:
    """Median and largest of the milliseconds of `act(i)`."""
    took = []
    for i in range(times):
        start = time.process_time()
        act(i)
        took.append((time.process_time() - start) * 1e3)
    return statistics.median(took), max(took)


def measure(title: str, plot: MetricPlot, act: Callable[[int], None]) -> None:
    """Refresh and paint, each apart."""

    def both(i: int) -> None:
        act(i)
        plot.plot.viewport().update()
        QApplication.processEvents()

    (middle, worst), (all_, all_worst) = timed(act), timed(both)
    print(f"{title:44s} thinning {middle:6.2f} ms (worst {worst:6.2f})   with painting {all_:6.2f} ms (worst {all_worst:6.2f})")


def case(name: str, lines: list[Line], smoothing: int, dots: bool) -> None:
    plot = MetricPlot("Return")
    plot.resize(900, 420)
    plot.show()
    QApplication.processEvents()
    start = time.process_time()
    plot.set_smoothing(smoothing)
    plot.set_lines(lines)
    if dots:
        plot.set_dots("s0", lines[0].x, lines[0].y)
    QApplication.processEvents()
    print(f"\n{name}: first drawn after {(time.process_time() - start) * 1e3:.0f} ms")
    n, last = len(lines[0].x), float(lines[0].x[-1])
    measure("all in sight", plot, lambda _: plot.refresh())
    measure("zoomed in and moved", plot, lambda i: _zoom(plot, 0.3 + i * 0.01, last))
    plot.reset_view()
    measure("100 points more a line", plot, lambda i: _grow(plot, lines, i, n))
    plot.close()


def _zoom(plot: MetricPlot, share: float, last: float) -> None:
    plot._all_in_sight = False
    plot.box.setXRange(share * last, (share + 0.05) * last, padding=0)
    plot.refresh()


def _grow(plot: MetricPlot, lines: list[Line], i: int, n: int) -> None:
    for line in lines:
        start = max(n, len(plot.tracks.lines[line.key].raw))
        plot.tracks.append(line.key, np.arange(start + 1.0, start + 101), np.full(100, 500.0))
    plot.refresh()


def main() -> None:
    app = QApplication([])
    print(f"{POINTS:,} points a line, {TIMES} times each, 900 x 420 pixels, Qt raster engine, one thread")
    lines = runs(POINTS, SEEDS)
    case("one run", lines[:1], 1, dots=False)
    case("one run, smoothed, every episode as a dot", lines[:1], 100, dots=True)
    case("three seeds, smoothed, mean and band", lines, 100, dots=False)
    app.quit()


if __name__ == "__main__":
    main()
