"""How early a picture of the plane lab is right: every method's particles at marks of its training, held against held-out points.

The training stands still at each mark, and its clock with it, while 10,000 particles are walked by the default sampler with the averaged
weights of that moment, as the panel's own look does; the last column is the end of the training. "Right" is the aim that the finished
method must meet (1.5 times the distance of two fresh samples, plus 0.03); "visibly right" here means twice that. With one thread the
clock is the processor time of this process, which other work on the machine does not lengthen; else it is the clock on the wall.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import report
import torch
from plane_methods import POINTS, aim_of, config_of, setting, walked

from models.plane.data import cloud
from models.plane.errors import PlaneError
from models.plane.method import METHODS, Method, method
from models.plane.metrics import sliced_wasserstein

MARKS = (2, 5, 10, 15, 20, 30, 60)
LATER = 2.0
"""Times the aim: visibly right."""


def looks(
    row: Method, data: str, seed: int, marks: tuple[float, ...], clock: Callable[[], float]
) -> tuple[list[tuple[float, float]], float]:
    """(seconds of training, distance) at each mark that the training reaches and at its end or the last mark, and the aim."""
    points, net, (label, knobs) = cloud(data), row.build(seed), setting(row)
    held_out = points.held_out(POINTS, label=label)
    found, waiting, spent, begin = [], list(marks), 0.0, clock()

    def look(weights: AbstractContextManager) -> None:
        try:
            with weights:
                found.append((spent, sliced_wasserstein(walked(row, net, knobs, seed).x, held_out)))
        except PlaneError:
            found.append((spent, float("inf")))  # a young network may lead anywhere

    updates = row.train(net, points, config_of(row, seed), row.batch_size)
    for step in updates:
        spent += clock() - begin
        if waiting and spent >= waiting[0]:
            while waiting and spent >= waiting[0]:
                waiting.pop(0)
            look(step.averaged())
        if not waiting:
            break
        begin = clock()
    updates.close()
    if waiting:  # it ended before the last mark
        look(nullcontext())
    return found, aim_of(points, held_out, label)


def first_under(found: list[tuple[float, float]], limit: float) -> str:
    """The first mark from which on every look is under the limit."""
    under = "-"
    for seconds, distance in reversed(found):
        if distance > limit:
            break
        under = f"{seconds:.0f}"
    return under


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="moons")
    parser.add_argument("--methods", default=",".join(METHODS), help="separated by commas, so that a run can be taken up again")
    parser.add_argument("--marks", default=",".join(map(str, MARKS)), help="seconds of training")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    marks = tuple(float(mark) for mark in options.marks.split(","))
    clock = time.process_time if options.threads == 1 else time.perf_counter
    report.heading(f"How early each method's {options.data} are right: sliced W1 by seconds of training", options.threads)
    print(f"{'method':<16}{'aim':>8}{'right s':>9}{'visibly':>9}  W1 at " + " ".join(f"{mark:>7g}" for mark in marks) + "      end (s)")
    rows = {name: method(name) for name in options.methods.split(",")}
    for name, method_row in rows.items():
        found, aim = looks(method_row, options.data, options.seed, marks, clock)
        ended = len(found) <= len(marks) and found[-1][0] < marks[-1]
        row = " ".join(f"{distance:>7.3f}" for _, distance in (found[:-1] if ended else found))
        end = f"{found[-1][1]:.3f} ({found[-1][0]:.1f})" if ended else ""
        told = partial(first_under, found)
        print(f"{name:<16}{aim:>8.4f}{told(aim):>9}{told(LATER * aim):>9}        {row:<{8 * len(marks) - 1}} {end:>12}", flush=True)


if __name__ == "__main__":
    main()
