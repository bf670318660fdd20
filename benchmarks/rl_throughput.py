"""How many environment steps a second does training make, against stable-baselines3 with the same settings?

PPO on CartPole-v1, one thread, alternating runs; processor seconds, so that a busy machine changes little. Three ways: theirs, ours through
gymnasium, ours with the batched environment; and ours with thousands of copies, where each update sees far more experience.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings

import torch

from models.rl import ppo
from models.rl.run import updates
from models.rl.settings import PPOSettings
from models.rl.worlds import make_env

ENV = "CartPole-v1"
ZOO = PPOSettings(n_steps=32, batch_size=256, n_epochs=20, gae_lambda=0.8, gamma=0.98)
SETUPS = {
    "8 copies x 32 steps, batch 256, 20 epochs (zoo)": (8, ZOO),
    "8 copies x 256 steps, batch 64, 10 epochs (SB3's defaults)": (8, PPOSettings(n_steps=256, batch_size=64, n_epochs=10)),
    "64 copies x 32 steps, batch 2048, 4 epochs": (64, PPOSettings(n_steps=32, batch_size=2048, n_epochs=4)),
}
WIDE = PPOSettings(n_steps=32, batch_size=16384, n_epochs=4)


def theirs(n: int, s: PPOSettings, total: int) -> float:
    """Environment steps a processor second of stable-baselines3."""
    from stable_baselines3 import PPO
    from stable_baselines3.common.env_util import make_vec_env

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = PPO(
            "MlpPolicy", make_vec_env(ENV, n, seed=0), n_steps=s.n_steps, batch_size=s.batch_size, n_epochs=s.n_epochs, device="cpu",
            learning_rate=s.lr, gae_lambda=s.gae_lambda, gamma=s.gamma, seed=0,
        )  # fmt: skip
        began = time.process_time()
        model.learn(total)
    return model.num_timesteps / (time.process_time() - began)


def ours(n: int, s: PPOSettings, total: int, batched: bool) -> float:
    """The same of ours."""
    run = ppo.start(make_env(ENV, n, batched=batched), s, 0)
    began = time.process_time()
    for _ in updates(ppo.ppo(run, lambda: s, total)):
        pass
    return run.timesteps / (time.process_time() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--total", type=int, default=8192)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for title, (n, s) in SETUPS.items():
        rows = [
            (theirs(n, s, options.total), ours(n, s, options.total, False), ours(n, s, options.total, True)) for _ in range(options.repeat)
        ]
        reference, through_gym, batched = (statistics.median(column) for column in zip(*rows, strict=True))
        print(f"{title}: stable-baselines3 {reference:,.0f}, ours through gymnasium {through_gym:,.0f} ({through_gym / reference:.2f}x), "
              f"batched {batched:,.0f} ({batched / reference:.2f}x) steps per CPU second", flush=True)  # fmt: skip
    for n in (1024, 4096):
        rate = ours(n, WIDE, n * WIDE.n_steps * 3, True)
        print(f"{n} copies x 32 steps, batch 16384, 4 epochs, batched: {rate:,.0f} steps per CPU second", flush=True)


if __name__ == "__main__":
    main()
