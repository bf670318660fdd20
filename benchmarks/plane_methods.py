"""Every method of the plane lab with its defaults on a cloud: how close the particles come to held-out data, and how long it took.

Distance: sliced Wasserstein-1 with 256 projections from 10,000 particles to 10,000 held-out points, beside that between two fresh samples
of the data. The aim is at most 1.5 times that plus 0.03. Likelihood: nats a held-out point, where the method has one. Methods that draw
one label do so at guidance scale 1, where the law is the data's own, and are held against points of that label.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping

import report
import torch
from torch import Tensor, nn

from models.diffusion.noise_model import GUIDANCE, LABEL, NO_LABEL
from models.fitting import FitConfig
from models.plane.data import Cloud, cloud
from models.plane.method import METHODS, Method, PlaneStep, method
from models.plane.metrics import sliced_wasserstein

POINTS, SCORED = 10_000, 2000


def setting(row: Method) -> tuple[int | None, Mapping[str, float]]:
    """Label and knobs under which a method is judged."""
    knobs = row.settings({})
    if knobs.get(LABEL.name, NO_LABEL) == NO_LABEL:
        return None, knobs
    return knobs[LABEL.name], row.settings({GUIDANCE.name: 1.0})


def config_of(row: Method, seed: int) -> FitConfig:
    """How the lab trains a method by default."""
    return FitConfig(steps=row.train_steps, lr=row.lr, warmup=100, cooldown=0.5, weight_decay=0.0, ema=row.ema, seed=seed, bf16=False)


@torch.no_grad()
def walked(row: Method, net: nn.Module, knobs: Mapping[str, float], seed: int) -> PlaneStep:
    """Where the method's default sampler ends from POINTS draws of noise."""
    noise = torch.randn(POINTS, 2, generator=torch.Generator().manual_seed(seed))
    generator = torch.Generator().manual_seed(seed + 1)
    *_, end = row.walk(net, noise, solver=row.solvers[0], evaluations=row.evaluations, generator=generator, knobs=knobs)
    return end


def aim_of(points: Cloud, held_out: Tensor, label: int | None) -> float:
    """What a distance to the held-out points may be at most."""
    return 1.5 * sliced_wasserstein(points.held_out(POINTS, seed=1, label=label), held_out) + 0.03


def measure(name: str, data: str, seed: int) -> str:
    """One line of the table."""
    row, points = method(name), cloud(data)
    net, (label, knobs) = row.build(seed), setting(row)
    begin = time.perf_counter()
    for _ in row.train(net, points, config_of(row, seed), row.batch_size):
        pass
    trained = time.perf_counter()
    end = walked(row, net, knobs, seed)
    seconds = time.perf_counter() - trained
    held_out = points.held_out(POINTS, label=label)
    distance, aim = sliced_wasserstein(end.x, held_out), aim_of(points, held_out, label)
    with torch.no_grad():
        nll = "" if row.log_density is None else f"{-float(row.log_density(net, held_out[:SCORED], knobs).mean()):.3f}"
    told = "reached" if distance <= aim else "SHORT"
    return (
        f"{name:<16}{row.solvers[0]:<16}{end.evaluations:>6}{distance:>9.4f}{aim:>9.4f} {told:<8}{nll:>8}"
        f"{trained - begin:>9.1f}{seconds:>8.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="moons")
    parser.add_argument("--methods", default=",".join(METHODS), help="separated by commas")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    report.heading(f"Methods of the plane on {options.data}", options.threads)
    print(f"{'method':<16}{'solver':<16}{'evals':>6}{'W1':>9}{'aim':>9} {'':<8}{'nats':>8}{'train s':>9}{'walk s':>8}")
    for name in options.methods.split(","):
        print(measure(name, options.data, options.seed), flush=True)


if __name__ == "__main__":
    main()
