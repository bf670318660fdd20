"""How fast is the picture world drawn? Scenes a second on one core: the picture alone, and with all that is known about it."""

from __future__ import annotations

import argparse
import os
import random
import time

import cv2
import report

from models.playworld.caption import caption
from models.playworld.edges import edges
from models.playworld.render import joints, render
from models.playworld.scene import sample_scene


def picture(seed: int, size: int) -> None:
    """A scene, drawn."""
    render(sample_scene(seed), size)


def everything(seed: int, size: int) -> None:
    """What a training picture needs: drawing, caption with facts, joints, edge map."""
    scene = sample_scene(seed)
    edges(render(scene, size))
    caption(scene, random.Random(seed))
    joints(scene, size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=1000, help="scenes of a repetition")
    parser.add_argument("--repeat", type=int, default=5, help="repetitions of each kind, in turn")
    parser.add_argument("--size", type=int, default=128, help="side of the picture in pixels")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    report.heading(f"Playworld at {options.size} px, scenes a second on one core")

    def rate(draw) -> float:
        begin = time.perf_counter()
        for seed in range(options.scenes):
            draw(seed, options.size)
        return options.scenes / (time.perf_counter() - begin)

    rates = report.alternate(lambda: rate(picture), lambda: rate(everything), options.repeat)
    for name, taken in zip(("picture alone", "with caption, joints and edges"), rates, strict=True):
        print(f"{name:<31} {report.spread(taken, 'scenes/s')}")


if __name__ == "__main__":
    main()
