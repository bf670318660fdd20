"""Does the window stay fluid while pictures are made? Intervals of a 60 Hz timer on the GUI thread, idle and generating with previews.

Qt's timers count whole milliseconds: 16 ms is the nearest to 60 Hz. What is above is the time the GUI thread was kept from its work.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import report
import window
from PySide6.QtCore import QObject, Qt, QTimer, Slot

BEAT_MS = 16


class Heartbeat(QObject):
    """Notes the intervals between its ticks in milliseconds."""

    def __init__(self) -> None:
        super().__init__()
        self.intervals: list[float] = []
        self._timer = QTimer(self, interval=BEAT_MS, timerType=Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._on_beat)
        self._timer.start()
        self._last = time.perf_counter()

    @Slot()
    def _on_beat(self) -> None:
        now = time.perf_counter()
        self.intervals.append((now - self._last) * 1000)
        self._last = now

    def stop(self) -> list[float]:
        """End it; returns the intervals."""
        self._timer.stop()
        return self.intervals


def idle(seconds: float) -> list[float]:
    """Nothing is computed."""
    beat = Heartbeat()
    window.let_run(seconds)
    return beat.stop()


def generating(panel, seconds: float) -> list[float]:
    """One picture after another, all three lenses, film strip and curve on show."""
    beat, end = Heartbeat(), time.perf_counter() + seconds
    while time.perf_counter() < end:
        window.make_picture(panel)
    return beat.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each measurement")
    parser.add_argument("--repeat", type=int, default=3, help="times each of the two is measured, in turn")
    parser.add_argument("--threads", type=int, help="torch threads of the worker (default: torch's own choice)")
    parser.add_argument("--size", type=int, default=128, help="side of the pictures in pixels")
    options = parser.parse_args()
    with window.image_panel(options.threads) as panel:
        from app.jobs.diffusion import demo_job

        report.heading("GUI heartbeat, edges and pose controlled, 20 steps", panel.engine.last_status.threads)
        panel.put_job(replace(demo_job(), width=options.size, height=options.size, keep_steps=False))
        window.make_picture(panel)  # loads the networks
        window.wait_until_idle(panel.engine)
        pools: dict[str, list[float]] = {"idle": [], "generating": []}
        for turn in range(1, options.repeat + 1):
            for name, taken in (("idle", idle(options.seconds)), ("generating", generating(panel, options.seconds))):
                pools[name] += taken
                print(f"  {turn} {name:<11} {report.percentiles(taken, 'ms')}", flush=True)
    for name, taken in pools.items():
        print(f"{name:<15} {report.percentiles(taken, 'ms')}")


if __name__ == "__main__":
    main()
