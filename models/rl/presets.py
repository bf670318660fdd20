"""Settings that suit an algorithm and an environment, and what they are known to reach.

Sources: rl-baselines3-zoo, `hyperparams/{ppo,a2c,trpo,ddpg}.yml` and `benchmark.md` (one run each, deterministic evaluation). Where the
zoo uses what is not here (state-dependent exploration, normalised observations) the note says so: the reference then is another setup's.
"""

from __future__ import annotations

from dataclasses import dataclass

from models.rl.algorithms import ALGORITHMS, algorithm
from models.rl.settings import (
    A2CSettings,
    Checked,
    DDPGSettings,
    OffPolicySettings,
    PPOSettings,
    QACSettings,
    TRPOSettings,
)


@dataclass(frozen=True)
class Reference:
    """A published result: mean and standard deviation of returns after so many environment steps."""

    mean: float
    std: float
    timesteps: int
    source: str


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Everything a run needs besides the seed."""

    settings: Checked
    n_envs: int
    total: int  # environment steps
    hidden: tuple[int, ...]
    note: str
    reference: Reference | None = None


ZOO = "rl-baselines3-zoo benchmark.md"
PRESETS: dict[tuple[str, str], Preset] = {
    ("ppo", "CartPole-v1"): Preset(
        settings=PPOSettings(
            n_steps=32, batch_size=256, n_epochs=20, gae_lambda=0.8, gamma=0.98, lr=1e-3, lr_decay=1.0, clip_range=0.2, clip_decay=1.0
        ),
        n_envs=8, total=100_000, hidden=(64, 64), note="rl-baselines3-zoo, ppo.yml: learning rate and clip range fall linearly to zero.",
        reference=Reference(500, 0, 100_000, ZOO),
    ),
    ("ppo", "Pendulum-v1"): Preset(
        settings=PPOSettings(n_steps=1024, gae_lambda=0.95, gamma=0.9, n_epochs=10, lr=1e-3, clip_range=0.2),
        n_envs=4, total=100_000, hidden=(64, 64), note="rl-baselines3-zoo, ppo.yml, without its state-dependent exploration.",
        reference=Reference(-172, 104, 100_000, ZOO),
    ),
    ("ppo", "LunarLander-v3"): Preset(
        settings=PPOSettings(n_steps=1024, batch_size=64, gae_lambda=0.98, gamma=0.999, n_epochs=4, ent_coef=0.01),
        n_envs=16, total=1_000_000, hidden=(64, 64), note="rl-baselines3-zoo, ppo.yml (there for LunarLander-v2).",
        reference=Reference(242, 32, 1_000_000, ZOO + ", LunarLander-v2"),
    ),
    ("ppo", "LunarLanderContinuous-v3"): Preset(
        settings=PPOSettings(n_steps=1024, batch_size=64, gae_lambda=0.98, gamma=0.999, n_epochs=4, ent_coef=0.01),
        n_envs=16, total=1_000_000, hidden=(64, 64), note="rl-baselines3-zoo, ppo.yml (there for LunarLanderContinuous-v2).",
        reference=Reference(271, 32, 1_000_000, ZOO + ", LunarLanderContinuous-v2"),
    ),
    ("ppo", "Acrobot-v1"): Preset(
        settings=PPOSettings(n_steps=256, gae_lambda=0.94, gamma=0.99, n_epochs=4),
        n_envs=16, total=1_000_000, hidden=(64, 64), note="rl-baselines3-zoo, ppo.yml, without its normalised observations.",
    ),
    ("trpo", "CartPole-v1"): Preset(
        settings=TRPOSettings(n_steps=512, batch_size=512, cg_damping=1e-3, gae_lambda=0.98, gamma=0.99, lr=1e-3, n_critic_updates=20),
        n_envs=2, total=100_000, hidden=(64, 64), note="rl-baselines3-zoo, trpo.yml.",
        reference=Reference(500, 0, 100_000, ZOO),
    ),
    ("trpo", "Pendulum-v1"): Preset(
        settings=TRPOSettings(n_steps=1024, gamma=0.9, n_critic_updates=15),
        n_envs=2, total=100_000, hidden=(64, 64), note="rl-baselines3-zoo, trpo.yml, without its state-dependent exploration.",
        reference=Reference(-175, 128, 100_000, ZOO),
    ),
    ("trpo", "LunarLander-v3"): Preset(
        settings=TRPOSettings(n_steps=512, cg_damping=0.01, gae_lambda=0.98, gamma=0.99, lr=1e-3, n_critic_updates=15),
        n_envs=2, total=200_000, hidden=(64, 64), note="rl-baselines3-zoo, trpo.yml.",
        reference=Reference(133, 112, 200_000, ZOO + ", LunarLander-v2"),
    ),
    ("a2c", "CartPole-v1"): Preset(
        settings=A2CSettings(), n_envs=8, total=500_000, hidden=(64, 64), note="rl-baselines3-zoo, a2c.yml.",
        reference=Reference(500, 0, 500_000, ZOO),
    ),
    ("a2c", "Pendulum-v1"): Preset(
        settings=A2CSettings(n_steps=8, gae_lambda=0.9, vf_coef=0.4, gamma=0.9, lr_decay=1.0),
        n_envs=8, total=1_000_000, hidden=(64, 64),
        note="After rl-baselines3-zoo, a2c.yml, without its state-dependent exploration and normalised observations.",
        reference=Reference(-163, 103, 1_000_000, ZOO),
    ),
    ("ddpg", "Pendulum-v1"): Preset(
        settings=DDPGSettings(gamma=0.98, batch_size=100, buffer_size=200_000, learning_starts=10_000, noise=0.1, lr=1e-3, critic_lr=1e-3),
        n_envs=1, total=20_000, hidden=(400, 300),
        note="rl-baselines3-zoo, ddpg.yml, with one update a step in the place of 200 after each episode; batch 100, once the default.",
        reference=Reference(-152, 94, 20_000, ZOO),
    ),
    ("ddpg", "MountainCarContinuous-v0"): Preset(
        settings=DDPGSettings(noise=0.5, noise_theta=0.15),
        n_envs=1, total=300_000, hidden=(400, 300), note="rl-baselines3-zoo, ddpg.yml: Ornstein-Uhlenbeck noise of 0.5.",
    ),
    ("ddpg", "LunarLanderContinuous-v3"): Preset(
        settings=DDPGSettings(gamma=0.98, batch_size=100, buffer_size=200_000, learning_starts=10_000, noise=0.1),
        n_envs=1, total=300_000, hidden=(400, 300), note="rl-baselines3-zoo, ddpg.yml (there for LunarLanderContinuous-v2).",
        reference=Reference(230, 92, 300_000, ZOO + ", LunarLanderContinuous-v2"),
    ),
}  # fmt: skip
TABULAR: dict[str, Checked] = {
    "qac": QACSettings(lr=0.02, critic_lr=0.05),
    "a2c": A2CSettings(lr=0.05, n_steps=8),
    "off-policy-ac": OffPolicySettings(lr=0.02, critic_lr=0.05),
    "ppo": PPOSettings(n_steps=64, batch_size=256, lr=0.02),
    "trpo": TRPOSettings(n_steps=64, lr=0.02),
}
"""For grid worlds with linear networks, which are tables."""
DEFAULTS: dict[str, Preset] = {
    name: Preset(settings=a.settings(), n_envs=n_envs, total=total, hidden=a.hidden, note="The algorithm's defaults, not tuned for this.")
    for name, n_envs, total in (
        ("qac", 16, 200_000), ("a2c", 8, 500_000), ("off-policy-ac", 16, 200_000), ("deterministic-ac", 16, 200_000), ("ddpg", 1, 50_000),
        ("trpo", 2, 100_000), ("ppo", 4, 200_000),
    )
    for a in (ALGORITHMS[name],)
}  # fmt: skip


def preset(name: str, env_id: str) -> Preset:
    """The tuned setup where there is one, a table's for grid worlds, else the algorithm's defaults."""
    algorithm(name)
    if (name, env_id) in PRESETS:
        return PRESETS[name, env_id]
    if env_id.startswith("GridWorld") and name in TABULAR:
        return Preset(settings=TABULAR[name], n_envs=16, total=100_000, hidden=(), note="A table for each cell: no hidden layer.")
    return DEFAULTS[name]


