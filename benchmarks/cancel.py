"""How soon does Stop stop? Network calls that are still going on or begin after the click, and milliseconds until the worker is idle.

The click comes when the n-th network call of the run (ControlNets and UNet) has just begun, so the rest of that call is always in the
figures: one is the least.
"""

from __future__ import annotations

import argparse
import time
from contextlib import ExitStack
from dataclasses import replace

import report
import window
from PySide6.QtCore import QTimer

SAMPLERS = ("dpmpp_2m", "heun")
LOOK_EVERY_MS = 1


def cancel_at(panel, number: int, networks: list[report.Calls]) -> float:
    """Generate, press Stop in network call `number`, wait until the worker is idle; returns the moment of the click."""
    clicked: list[float] = []
    before = sum(map(len, networks))

    def look() -> None:
        if sum(map(len, networks)) - before >= number:
            looking.stop()
            clicked.append(time.perf_counter())
            panel.watching.stop()

    looking = QTimer(interval=LOOK_EVERY_MS)
    looking.timeout.connect(look)
    looking.start()
    window.wait_for(panel.engine.status, start=panel.commands.generate, accept=lambda status: bool(clicked) and status.idle)
    return clicked[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at", type=int, nargs="+", default=[1, 2, 5, 10, 15, 19], help="network calls in which Stop is pressed")
    parser.add_argument("--repeat", type=int, default=5, help="times at each of them")
    parser.add_argument("--threads", type=int, help="torch threads of the worker (default: torch's own choice)")
    parser.add_argument("--controls", action="store_true", help="with an edge map and a pose: two ControlNets a step")
    options = parser.parse_args()
    with window.image_panel(options.threads) as panel, ExitStack() as stack:
        from app.jobs.diffusion import demo_job
        from models.diffusion.controlnet import ControlNet
        from models.diffusion.unet import UNet
        from models.diffusion.vae import AutoencoderKL

        report.heading(f"Cancel, 20 steps{', two controls' * options.controls}", panel.engine.last_status.threads)
        networks = ((UNet, "forward"), (ControlNet, "forward"), (AutoencoderKL, "decode"))
        all_calls = [stack.enter_context(report.timed_calls(cls, method)) for cls, method in networks]
        job = replace(demo_job(), keep_steps=False)
        for sampler in SAMPLERS:
            panel.put_job(replace(job, sampler=sampler, control=job.control if options.controls else ()))
            window.make_picture(panel)  # loads the networks
            window.wait_until_idle(panel.engine)
            idle_ms, most_unet, most_all = [], 0, 0
            for number in options.at * options.repeat:
                click = cancel_at(panel, number, all_calls)
                idle_ms.append((time.perf_counter() - click) * 1000)
                after = [sum(call[1] > click for call in calls) for calls in all_calls]
                most_unet, most_all = max(most_unet, after[0]), max(most_all, sum(after))
            calls = f"UNet calls at most {most_unet}, calls of any network at most {most_all}"
            print(f"{sampler:<10} {calls}; to idle {report.percentiles(idle_ms, 'ms')}")


if __name__ == "__main__":
    main()
