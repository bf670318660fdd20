"""Does the window stay fluid while the plane moves? Intervals of a 60 Hz timer, idle, while a network trains, and while a walk plays.

What is painted: 10,000 particles with held-out data and the field of every moment. Also the milliseconds one repainted moment takes.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import report
import window
from gui_latency import Heartbeat, idle

MOMENTS = 40


def walked(panel, method: str, updates: int) -> None:
    """A trained method with its walk, standing at the end."""
    from app.panels.plane.lane import Choice

    panel.set_count(1)
    panel.lanes.lane.choice = Choice(method=method)
    panel.side.data.knobs.set_job(replace(panel.side.data.knobs.job(), train_steps=updates))
    panel.train()
    handle = panel.lanes.lane.handle
    window.wait_for(handle.finished)
    panel.player.replay.pause()


def training(panel, seconds: float) -> list[float]:
    """A network learns, its loss and quick looks are drawn."""
    job = panel.side.data.knobs.job()
    panel.side.data.knobs.set_job(replace(job, train_steps=1_000_000))
    panel.train()
    window.let_run(0.5)
    beat = Heartbeat()
    window.let_run(seconds)
    intervals = beat.stop()
    panel.lanes.lane.stop()
    panel.side.data.knobs.set_job(job)
    window.wait_until_idle(panel.engine)
    return intervals


def playing(panel, seconds: float) -> list[float]:
    """The walk plays over and over, as fast as the screen shows it."""
    from app.panels.plane.player import LEAST_MS

    panel.player.replay.set_pace(LEAST_MS)
    beat, end = Heartbeat(), time.perf_counter() + seconds
    while time.perf_counter() < end:
        panel.player.replay.go(1)
        panel.player.replay.play()
        window.wait_for(panel.player.replay.moved, accept=lambda: not panel.player.replay.playing)
    return beat.stop()


def repaints(panel) -> list[float]:
    """Milliseconds of a moment that is moved to and painted at once."""
    taken, count = [], panel.player.replay.count
    for step in range(MOMENTS):
        begin = time.perf_counter()
        panel.player.go(step % count)
        panel.stages.stages[0].repaint()
        taken.append((time.perf_counter() - begin) * 1000)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0, help="length of each measurement")
    parser.add_argument("--repeat", type=int, default=2, help="times each is measured, in turn")
    parser.add_argument("--threads", type=int, help="torch threads of the worker (default: torch's own choice)")
    parser.add_argument("--method", default="flow-matching")
    parser.add_argument("--updates", type=int, default=500, help="of the network whose walk is played")
    options = parser.parse_args()
    with window.open_panel("plane", options.threads) as panel:
        report.heading("GUI heartbeat of the plane lab, 10,000 particles with field", panel.engine.last_status.threads)
        pools: dict[str, list[float]] = {}
        for turn in range(1, options.repeat + 1):
            works = {"idle": lambda: idle(options.seconds), "training": lambda: training(panel, options.seconds)}
            for name, work in works.items():
                pools.setdefault(name, []).extend(work())
            walked(panel, options.method, options.updates)
            pools.setdefault("playing", []).extend(playing(panel, options.seconds))
            pools.setdefault("a moment, painted", []).extend(repaints(panel))
            print(f"  {turn} of {options.repeat}", flush=True)
        for name, taken in pools.items():
            print(f"{name:<24} {report.percentiles(taken, 'ms')}")


if __name__ == "__main__":
    main()
