"""Maps over two numbers of the state: values, best actions, Q surfaces. For what is small enough to be drawn.

A plane fixes all other numbers (the cart in the middle, at rest) and says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.rl.envs import BatchedEnv, CartPole, Pendulum
from models.rl.errors import RLError
from models.rl.nets import Categorical, Gaussian


@dataclass(frozen=True)
class Plane:
    """Two axes with names, units and ranges, and where the rest of the state stands."""

    x_name: str
    y_name: str
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    fixed: str  # in words
    columns: tuple[int, int]  # of the observation, for x and y
    obs_dim: int
    circular: bool = False  # x is an angle, seen as cosine and sine

    def observations(self, n: int) -> Tensor:
        """(n * n, D): a grid, y in rows from low to high, x within each row."""
        ys, xs = torch.meshgrid(torch.linspace(*self.y_range, n), torch.linspace(*self.x_range, n), indexing="ij")
        if self.circular:
            return torch.stack((xs.cos(), xs.sin(), ys), -1).reshape(-1, 3)
        obs = torch.zeros(n * n, self.obs_dim)
        obs[:, self.columns[0]], obs[:, self.columns[1]] = xs.reshape(-1), ys.reshape(-1)
        return obs


PLANES = {
    "CartPole-v1": Plane("angle (rad)", "angular velocity (rad/s)", (-0.21, 0.21), (-3.0, 3.0), "cart in the middle, at rest", (2, 3), 4),
    "Pendulum-v1": Plane(
        "angle (rad, 0 upright)", "angular velocity (rad/s)", (-math.pi, math.pi), (-8.0, 8.0), "", (0, 2), 3, circular=True
    ),
    "MountainCar-v0": Plane("position", "velocity", (-1.2, 0.6), (-0.07, 0.07), "", (0, 1), 2),
    "MountainCarContinuous-v0": Plane("position", "velocity", (-1.2, 0.6), (-0.07, 0.07), "", (0, 1), 2),
}


@dataclass(frozen=True)
class PlaneMap:
    """(n, n) each, rows from low y to high y."""

    value: Tensor  # v(s); for critics of actions, of the policy's best one
    action: Tensor  # best action: its number, or its first component in the environment's units
    certainty: Tensor | None  # probability of the best action, for numbered ones


@torch.no_grad()
def plane_map(nets: nn.ModuleDict, obs: Tensor, shape: tuple[int, int]) -> PlaneMap:
    """Values and best actions in the states `obs` (rows x columns, D), by whichever critic a run has."""
    policy = nets["policy"]
    law = policy(obs)
    action = law.mode() if isinstance(law, Categorical | Gaussian) else law
    certainty = law.logp.exp().max(-1).values.reshape(shape) if isinstance(law, Categorical) else None
    taken = policy.to_env(action)
    first = taken if taken.ndim == 1 else taken[:, 0]
    return PlaneMap(state_values(nets, obs, action).reshape(shape), first.reshape(shape), certainty)


def state_values(nets: nn.ModuleDict, obs: Tensor, action: Tensor) -> Tensor:
    """`v(s)` (B,), or `q(s, a)` of the given actions where the critic knows only that."""
    if "value" in nets:
        return nets["value"](obs)
    critic = nets["critic"]
    if action.dtype == torch.int64:
        return critic(obs).gather(-1, action[:, None]).squeeze(-1)
    return critic(obs, action)


STATES = {
    "CartPole-v1": (CartPole, lambda obs: obs.double()),
    "Pendulum-v1": (Pendulum, lambda obs: torch.stack((torch.atan2(obs[:, 1], obs[:, 0]), obs[:, 2]), 1).double()),
}
"""Environments whose one step is known in closed form: how to make one, and observations (B, D) to states."""


@torch.no_grad()
def advantage(nets: nn.ModuleDict, env_id: str, obs: Tensor, gamma: float) -> tuple[Tensor, str] | None:
    """How much better one action is than another in the states `obs` (B, D): (B,) and of which over which, in words.

    Numbered actions: the second of two over the first. Real ones: the policy's best over none. `q(s, a)` is the critic's where it knows
    actions, else `r + gamma v(s')` one step ahead; None where neither is possible.
    """
    policy = nets["policy"]
    law = policy(obs)
    if isinstance(law, Categorical):
        if law.logp.shape[-1] != 2:
            return None
        pair = tuple(torch.full((len(obs),), number) for number in (1, 0))
        words = "action 1 over action 0"
    else:
        best = law.mode() if isinstance(law, Gaussian) else law
        pair, words = (best, torch.zeros_like(best)), "the policy's action over none"
    if "critic" in nets:
        critic = nets["critic"]
        q = [critic(obs).gather(1, a[:, None]).squeeze(1) if a.dtype == torch.int64 else critic(obs, a) for a in pair]
        return q[0] - q[1], f"{words}, by q(s, a)"
    if env_id not in STATES:
        return None
    make, state_of = STATES[env_id]
    q = [_one_step(nets["value"], make(), state_of(obs), policy.to_env(a), gamma) for a in pair]
    return q[0] - q[1], f"{words}, by r + gamma v(s')"


def _one_step(value: nn.Module, env: BatchedEnv, state: Tensor, action: Tensor, gamma: float) -> Tensor:
    after, reward, terminated = env.dynamics(state, action)
    return reward + gamma * value(env.observe(after)) * (~terminated)


@dataclass(frozen=True)
class QSurface:
    """Q over one number of the state and one of the action, and the actor's curve on it."""

    x: Tensor  # (n,) the state's number
    action: Tensor  # (m,) in the environment's units
    q: Tensor  # (m, n)
    actor: Tensor  # (n,) the actor's action at each x


@torch.no_grad()
def q_surface(nets: nn.ModuleDict, plane: Plane, n: int = 61, m: int = 41) -> QSurface:
    """For DDPG and the deterministic actor-critic: Q along the middle row of the plane (y in the middle of its range)."""
    policy = nets["policy"]
    if not hasattr(policy, "from_env") or policy.middle.numel() != 1:
        raise RLError("A Q surface needs one real-valued action and a critic of actions.", "Choose DDPG on Pendulum-v1.")
    odd = n + 1 - n % 2
    obs = plane.observations(odd).reshape(odd, odd, -1)[odd // 2]
    action = torch.linspace(-1, 1, m)
    q = torch.stack([nets["critic"](obs, a.expand(odd, 1)) for a in action])
    return QSurface(torch.linspace(*plane.x_range, odd), policy.to_env(action[:, None])[:, 0], q, policy.to_env(policy(obs))[:, 0])
