"""How many environment steps a second does training make, against stable-baselines3 with the same settings?

One thread, alternating runs; processor seconds, so that a busy machine changes less. Three ways: theirs, ours through gymnasium, ours with
the batched environment. With few copies and many epochs all three spend their time in gradient steps, which no environment makes faster;
with thousands of copies and one pass over the data, which batching is meant for, the environment decides. `--cases 0 3` runs some of them.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings

import report  # noqa: F401 - puts the program on the path
import torch

from models.rl.algorithms import algorithm
from models.rl.run import updates
from models.rl.settings import A2CSettings, PPOSettings
from models.rl.worlds import make_env

CART, PENDULUM = "CartPole-v1", "Pendulum-v1"
ZOO = PPOSettings(n_steps=32, batch_size=256, n_epochs=20, gae_lambda=0.8, gamma=0.98)
DEFAULT = PPOSettings(n_steps=256, batch_size=64, n_epochs=10)
WIDE = PPOSettings(n_steps=32, batch_size=16384, n_epochs=4)
CASES = (
    ("ppo", CART, "8 copies x 32 steps, batch 256, 20 epochs (zoo)", 8, ZOO, 4096),
    ("ppo", CART, "8 copies x 256 steps, batch 64, 10 epochs (SB3's defaults)", 8, DEFAULT, 4096),
    ("a2c", CART, "8 copies x 5 steps (SB3's defaults, zoo)", 8, A2CSettings(), 4000),
    ("ppo", CART, "64 copies x 32 steps, batch 2048, 4 epochs", 64, PPOSettings(n_steps=32, batch_size=2048, n_epochs=4), 8192),
    ("ppo", CART, "1024 copies x 32 steps, batch 16384, 4 epochs", 1024, WIDE, 65536),
    ("a2c", CART, "1024 copies x 8 steps", 1024, A2CSettings(n_steps=8), 32768),
    ("ppo", PENDULUM, "1024 copies x 32 steps, batch 16384, 4 epochs", 1024, WIDE, 65536),
    ("a2c", PENDULUM, "1024 copies x 8 steps", 1024, A2CSettings(n_steps=8), 32768),
)  # fmt: skip


def theirs(name: str, env: str, n: int, s: A2CSettings | PPOSettings, total: int) -> float:
    """Environment steps a processor second of stable-baselines3."""
    import stable_baselines3
    from stable_baselines3.common.env_util import make_vec_env

    extra = {"batch_size": s.batch_size, "n_epochs": s.n_epochs} if isinstance(s, PPOSettings) else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = getattr(stable_baselines3, name.upper())(
            "MlpPolicy", make_vec_env(env, n, seed=0), n_steps=s.n_steps, device="cpu", learning_rate=s.lr, gae_lambda=s.gae_lambda,
            gamma=s.gamma, seed=0, **extra,
        )  # fmt: skip
        began = time.process_time()
        model.learn(total)
    return model.num_timesteps / (time.process_time() - began)


def ours(name: str, env: str, n: int, s: A2CSettings | PPOSettings, total: int, batched: bool) -> float:
    """The same of ours."""
    how = algorithm(name)
    run = how.start(make_env(env, n, batched=batched), s, 0)
    began = time.process_time()
    for _ in updates(how.train(run, lambda: s, total)):
        pass
    return run.timesteps / (time.process_time() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--cases", type=int, nargs="+", default=range(len(CASES)), help="numbers of the cases, from 0")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for case in options.cases:
        name, env, title, n, s, total = CASES[case]
        for way in (False, True):
            ours(name, env, n, s, 1, way)  # the first update of a process pays for what is loaded then
        same = (name, env, n, s, total)
        rows = [(theirs(*same), ours(*same, False), ours(*same, True)) for _ in range(options.repeat)]
        reference, through_gym, batched = (statistics.median(column) for column in zip(*rows, strict=True))
        print(
            f"{name} {env} {title}: stable-baselines3 {reference:,.0f}, ours through gymnasium {through_gym:,.0f} "
            f"({through_gym / reference:.2f}x), batched {batched:,.0f} ({batched / reference:.2f}x) steps per CPU second", flush=True,
        )  # fmt: skip


if __name__ == "__main__":
    main()
