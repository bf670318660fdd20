"""What do the algorithms reach? Presets over several seeds: deterministic evaluation of 20 episodes at the end, spread, and the aim.

In parts: `--cases ppo/CartPole-v1 --seeds 0 1`; with `--json FILE` results gather there, and the table is of all that it holds. Processor
seconds, not wall seconds, so that a busy machine changes little: environment steps a CPU second of one thread.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import report  # noqa: F401 - puts the program on the path
import torch

from models.rl.algorithms import algorithm
from models.rl.evaluation import evaluate
from models.rl.presets import preset
from models.rl.run import updates
from models.rl.worlds import make_env

AIMS = {
    "ppo/CartPole-v1": ("mean 500, every seed at least 475", lambda means: min(means) >= 475 and statistics.mean(means) >= 499.5),
    "trpo/CartPole-v1": ("mean 500, every seed at least 475", lambda means: min(means) >= 475 and statistics.mean(means) >= 499.5),
    "a2c/CartPole-v1": ("at least 475", lambda means: statistics.mean(means) >= 475),
    "ddpg/Pendulum-v1": ("better than -200", lambda means: statistics.mean(means) > -200),
    "trpo/Pendulum-v1": ("better than -250", lambda means: statistics.mean(means) > -250),
    "ppo/Pendulum-v1": ("better than -250", lambda means: statistics.mean(means) > -250),
    "ppo/LunarLander-v3": ("above 200", lambda means: statistics.mean(means) > 200),
}
"""What each case is to reach with its preset's number of environment steps."""


def learn(name: str, env_id: str, seed: int, total: int | None) -> tuple[dict[str, float], float, int]:
    """One run: evaluation, processor seconds, environment steps."""
    setup, how = preset(name, env_id), algorithm(name)
    run = how.start(make_env(env_id, setup.n_envs), setup.settings, seed, setup.hidden)
    began = time.process_time()
    for _ in updates(how.train(run, lambda: setup.settings, total or setup.total)):
        pass
    spent = time.process_time() - began
    return evaluate(run.policy, lambda n: make_env(env_id, n), 20).metrics, spent, run.timesteps


def table(found: dict[str, dict[str, list[float]]]) -> str:
    """One line a case: mean over the seeds, worst seed, spread, speed, aim."""
    lines = []
    for case, seeds in found.items():
        means, rates, steps = zip(*seeds.values(), strict=True)
        spread = statistics.stdev(means) if len(means) > 1 else 0.0
        aim, reached = AIMS.get(case, ("", lambda _: False))
        verdict = "reached" if reached(means) else "not reached"
        lines.append(
            f"{case} {int(max(steps)):,} steps, {len(means)} seeds: mean {statistics.mean(means):.1f}, worst {min(means):.1f}, "
            f"spread {spread:.1f}, {statistics.median(rates):,.0f} steps per CPU second; aim: {aim}, {verdict}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", nargs="+", default=list(AIMS), help="algorithm/environment")
    parser.add_argument("--seeds", type=int, nargs="+", default=range(5), help="which seeds")
    parser.add_argument("--total", type=int, help="environment steps (default: the preset's)")
    parser.add_argument("--json", type=Path, help="file in which results gather")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = json.loads(options.json.read_text()) if options.json and options.json.exists() else {}
    for case in options.cases:
        name, env_id = case.split("/")
        for seed in options.seeds:
            metrics, spent, steps = learn(name, env_id, seed, options.total)
            found.setdefault(case, {})[str(seed)] = [metrics["eval/mean_reward"], steps / spent, steps]
            print(
                f"{case} seed {seed}: {metrics['eval/mean_reward']:8.1f} +- {metrics['eval/std_reward']:.1f} after {steps:,} steps, "
                f"{steps / spent:,.0f} steps per CPU second", flush=True,
            )  # fmt: skip
            if options.json:
                options.json.write_text(json.dumps(found, indent=1))
    print(table(found))


if __name__ == "__main__":
    main()
