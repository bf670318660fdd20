"""From an id to an environment: our batched ones by name, everything else by gymnasium."""

from __future__ import annotations

from collections.abc import Callable

from models.rl.envs import CartPole, Pendulum, VecEnv
from models.rl.gridworld import WORLDS, GridWorld
from models.rl.gym_env import GymEnv

BATCHED: dict[str, Callable[[int], VecEnv]] = {
    "CartPole-v1": CartPole,
    "Pendulum-v1": Pendulum,
    **{world: (lambda n, world=world: GridWorld(n, world)) for world in WORLDS},
}
"""Environments that step as tensors."""
OFFERED = (
    *BATCHED, "Acrobot-v1", "MountainCarContinuous-v0", "LunarLander-v3", "LunarLanderContinuous-v3", "HalfCheetah-v5", "Hopper-v5",
)  # fmt: skip


def make_env(env_id: str, n: int = 1, *, batched: bool = True) -> VecEnv:
    """N copies of an environment: as tensors where we have it so (and `batched` allows it), else through gymnasium."""
    if env_id in BATCHED and (batched or env_id in WORLDS):
        return BATCHED[env_id](n)
    return GymEnv(env_id, n)
