"""What do the algorithms reach? Presets over several seeds: deterministic evaluation of 20 episodes at the end, and the spread.

Processor seconds, not wall seconds, so that a busy machine changes nothing: `env steps per CPU second` of one thread.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from models.rl.algorithms import algorithm
from models.rl.evaluation import evaluate
from models.rl.presets import preset
from models.rl.run import updates
from models.rl.worlds import make_env

CASES = ("ppo/CartPole-v1", "trpo/CartPole-v1", "ddpg/Pendulum-v1", "trpo/Pendulum-v1", "ppo/Pendulum-v1", "a2c/CartPole-v1")


def learn(name: str, env_id: str, seed: int, total: int | None) -> tuple[dict[str, float], float, int]:
    """One run: evaluation, processor seconds, environment steps."""
    setup, how = preset(name, env_id), algorithm(name)
    run = how.start(make_env(env_id, setup.n_envs), setup.settings, seed, setup.hidden)
    began = time.process_time()
    for _ in updates(how.train(run, lambda: setup.settings, total or setup.total)):
        pass
    spent = time.process_time() - began
    return evaluate(run.policy, lambda n: make_env(env_id, n), 20).metrics, spent, run.timesteps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", nargs="+", default=CASES, help="algorithm/environment")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--total", type=int, help="environment steps (default: the preset's)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for case in options.cases:
        name, env_id = case.split("/")
        means = []
        for seed in range(options.seeds):
            metrics, spent, steps = learn(name, env_id, seed, options.total)
            means.append(metrics["eval/mean_reward"])
            print(
                f"{case} seed {seed}: {metrics['eval/mean_reward']:8.1f} +- {metrics['eval/std_reward']:.1f} after {steps:,} steps, "
                f"{steps / spent:,.0f} steps per CPU second", flush=True,
            )  # fmt: skip
        spread = statistics.stdev(means) if len(means) > 1 else 0.0
        print(f"{case}: mean {statistics.mean(means):.1f}, worst {min(means):.1f}, spread over seeds {spread:.1f}", flush=True)


if __name__ == "__main__":
    main()
