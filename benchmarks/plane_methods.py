"""Every method of the plane lab with its defaults on a cloud: how close the particles come to held-out data, and how long it took.

Distance: sliced Wasserstein-1 with 256 projections from 10,000 particles to 10,000 held-out points, beside that between two fresh samples
of the data. The aim is at most 1.5 times that plus 0.03. Likelihood: nats a held-out point, where the method has one. Methods that draw
one label do so at guidance scale 1, where the law is the data's own, and are held against points of that label.
"""

from __future__ import annotations

import argparse
import time

import report
import torch

from models.diffusion.noise_model import GUIDANCE, LABEL, NO_LABEL
from models.fitting import FitConfig
from models.plane.data import cloud
from models.plane.method import METHODS, method
from models.plane.metrics import sliced_wasserstein

POINTS, SCORED = 10_000, 2000


def measure(name: str, data: str, seed: int) -> str:
    """One line of the table."""
    row, points = method(name), cloud(data)
    net, knobs = row.build(seed), row.settings({})
    label = None
    if knobs.get(LABEL.name, NO_LABEL) != NO_LABEL:
        label, knobs = knobs[LABEL.name], row.settings({GUIDANCE.name: 1.0})
    config = FitConfig(steps=row.train_steps, lr=row.lr, warmup=100, cooldown=0.5, weight_decay=0.0, ema=row.ema, seed=seed, bf16=False)
    begin = time.perf_counter()
    for _ in row.train(net, points, config, row.batch_size):
        pass
    trained = time.perf_counter()
    noise = torch.randn(POINTS, 2, generator=torch.Generator().manual_seed(seed))
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for step in row.walk(net, noise, solver=row.solvers[0], evaluations=row.evaluations, generator=generator, knobs=knobs):
            end = step
        walked = time.perf_counter()
        held_out = points.held_out(POINTS, label=label)
        distance = sliced_wasserstein(end.x, held_out)
        fresh = sliced_wasserstein(points.held_out(POINTS, seed=1, label=label), held_out)
        nll = "" if row.log_density is None else f"{-float(row.log_density(net, held_out[:SCORED], knobs).mean()):.3f}"
    told = "reached" if distance <= 1.5 * fresh + 0.03 else "SHORT"
    return (
        f"{name:<16}{row.solvers[0]:<16}{end.evaluations:>6}{distance:>9.4f}{1.5 * fresh + 0.03:>9.4f} {told:<8}{nll:>8}"
        f"{trained - begin:>9.1f}{walked - trained:>8.2f}"
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
