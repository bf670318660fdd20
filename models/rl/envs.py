"""Environments in batches: thousands of cart-poles or pendulums in one tensor step.

The dynamics are gymnasium's CartPole-v1 and Pendulum-v1 (Barto, Sutton & Anderson 1983; gymnasium's sources), to the last digit that
matters: a test drives both with the same actions. States are float64 as there, observations float32.

The contract, for these and for the adapter in `gym_env.py`: N copies step together; one that ends begins anew in the same step, and
`final_obs` keeps what it saw last. Termination (the pole fell) and truncation (time was up) stay apart, since only after the first is
the value of what follows zero. Read next: `gridworld.py`, `gym_env.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from models.rl.errors import check_range


@dataclass(frozen=True)
class Discrete:
    """`n` actions, numbered from 0."""

    n: int


@dataclass(frozen=True)
class Box:
    """Actions of real numbers within `low` and `high`, one pair of bounds a dimension; bounds may be infinite."""

    low: tuple[float, ...]
    high: tuple[float, ...]

    @property
    def dim(self) -> int:
        return len(self.low)

    @property
    def bounded(self) -> bool:
        return all(map(math.isfinite, self.low + self.high))


@dataclass(frozen=True, kw_only=True)
class EnvSpec:
    """What a learner must know of an environment before it starts."""

    id: str
    obs_dim: int
    actions: Discrete | Box
    max_steps: int  # after which an episode is truncated
    solved_at: float | None = None  # mean return that counts as solved, where the environment names one


@dataclass(frozen=True)
class EnvStep:
    """What N environments answer to one action each."""

    obs: Tensor  # (N, D) float32, what is seen now: after the new beginning where an episode ended
    reward: Tensor  # (N,) float32
    terminated: Tensor  # (N,) bool, the task ended: nothing follows
    truncated: Tensor  # (N,) bool, the time ended: something would have followed
    final_obs: Tensor  # (N, D) what was seen before any new beginning

    @property
    def done(self) -> Tensor:
        return self.terminated | self.truncated


class VecEnv(Protocol):
    """N environments that step together."""

    spec: EnvSpec
    n: int

    def reset(self, seed: int) -> Tensor:
        """Begin all episodes anew; the seed decides these and all later beginnings. Returns observations (N, D)."""

    def step(self, action: Tensor) -> EnvStep:
        """One step of all; `action` is (N,) int64 or (N, A) float32 within the bounds."""

    def facts(self, i: int = 0) -> dict[str, float]:
        """What a painter needs to draw copy `i` as it stands."""

    def get_state(self) -> dict[str, Tensor] | None:
        """All that decides what follows, or None if the environment cannot tell."""

    def set_state(self, state: dict[str, Tensor]) -> None:
        """Go back to a state from `get_state`."""


class BatchedEnv:
    """Common to the environments made of tensors: clocks, time limits, new beginnings, state for snapshots."""

    spec: ClassVar[EnvSpec]

    def __init__(self, n: int = 1) -> None:
        check_range("The number of environments", n, 1, 1_000_000)
        self.n = n
        self.rng = torch.Generator()
        self.state = torch.zeros(n, 0, dtype=torch.float64)
        self.clock = torch.zeros(n, dtype=torch.int64)
        self.last_action: Tensor | None = None

    def reset(self, seed: int) -> Tensor:
        self.rng.manual_seed(seed)
        self.state = self.begin(self.n)
        self.clock = torch.zeros(self.n, dtype=torch.int64)
        self.last_action = None
        return self.observe(self.state)

    def step(self, action: Tensor) -> EnvStep:
        state, reward, terminated = self.dynamics(self.state, action)
        self.last_action, self.clock = action, self.clock + 1
        truncated = self.clock >= self.spec.max_steps
        obs = final = self.observe(state)
        ended = (terminated | truncated).nonzero().squeeze(1)
        if len(ended):
            fresh = self.begin(len(ended))
            state, obs = state.index_copy(0, ended, fresh), obs.index_copy(0, ended, self.observe(fresh))
            self.clock.index_fill_(0, ended, 0)
        self.state = state
        return EnvStep(obs, reward, terminated, truncated, final)

    def begin(self, n: int) -> Tensor:
        """States (n, S) from which episodes begin."""
        raise NotImplementedError

    def dynamics(self, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, S) states and the actions to the next states, rewards (N,) float32, terminated (N,) bool."""
        raise NotImplementedError

    def observe(self, state: Tensor) -> Tensor:
        """(N, S) states to (N, D) float32 observations."""
        return state.float()

    def get_state(self) -> dict[str, Tensor]:
        return {"state": self.state.clone(), "clock": self.clock.clone(), "rng": self.rng.get_state()}

    def set_state(self, state: dict[str, Tensor]) -> None:
        self.state, self.clock = state["state"].clone(), state["clock"].clone()
        self.rng.set_state(state["rng"])
        self.last_action = None


class CartPole(BatchedEnv):
    """A pole on a cart, pushed left or right with 10 N every 20 ms; each step that it stands is worth 1. CartPole-v1.

    State and observation: position (m), velocity (m/s), angle (rad, 0 upright), angular velocity (rad/s).
    """

    spec = EnvSpec(id="CartPole-v1", obs_dim=4, actions=Discrete(2), max_steps=500, solved_at=475.0)
    gravity, mass_cart, mass_pole, half_length, force, dt = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02
    max_angle, max_position = 12 * 2 * math.pi / 360, 2.4

    def begin(self, n: int) -> Tensor:
        return torch.rand(n, 4, generator=self.rng, dtype=torch.float64) * 0.1 - 0.05

    def dynamics(self, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Euler steps of Florian (2007), eq. 23-24 without friction."""
        total, pole = self.mass_pole + self.mass_cart, self.mass_pole * self.half_length
        x, v, angle, spin = state.unbind(1)
        force = (action * 2 - 1) * self.force
        cos, sin = angle.cos(), angle.sin()
        push = (force + pole * spin.square() * sin) / total
        turn = (self.gravity * sin - cos * push) / (self.half_length * (4.0 / 3.0 - self.mass_pole * cos.square() / total))
        pull = push - pole * turn * cos / total
        state = state + self.dt * torch.stack((v, pull, spin, turn), 1)
        terminated = (state[:, 0].abs() > self.max_position) | (state[:, 2].abs() > self.max_angle)
        return state, torch.ones(len(state)), terminated

    def facts(self, i: int = 0) -> dict[str, float]:
        x, v, angle, spin = self.state[i].tolist()
        push = 0.0 if self.last_action is None else float(self.last_action[i] * 2 - 1) * self.force
        return {"x": x, "velocity": v, "angle": angle, "angular_velocity": spin, "force": push}


class Pendulum(BatchedEnv):
    """A pendulum to be swung up and held with at most 2 Nm, weaker than gravity. Pendulum-v1.

    State: angle (rad, 0 upright), angular velocity (rad/s, within 8). Observation: cosine, sine, angular velocity. Reward:
    `-(angle^2 + 0.1 velocity^2 + 0.001 torque^2)` before the step.
    """

    spec = EnvSpec(id="Pendulum-v1", obs_dim=3, actions=Box((-2.0,), (2.0,)), max_steps=200)
    gravity, mass, length, dt, max_speed, max_torque = 10.0, 1.0, 1.0, 0.05, 8.0, 2.0

    def begin(self, n: int) -> Tensor:
        wide = torch.tensor((math.pi, 1.0), dtype=torch.float64)
        return (torch.rand(n, 2, generator=self.rng, dtype=torch.float64) * 2 - 1) * wide

    def dynamics(self, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        angle, spin = state.unbind(1)
        torque = action[:, 0].clamp(-self.max_torque, self.max_torque)  # float32 until it meets the state, as in gymnasium
        off = (angle + math.pi) % (2 * math.pi) - math.pi
        reward = -(off.square() + 0.1 * spin.square() + 0.001 * torque.square())
        pull = 3 * self.gravity / (2 * self.length) * angle.sin() + 3.0 / (self.mass * self.length**2) * torque
        spin = (spin + pull * self.dt).clamp(-self.max_speed, self.max_speed)
        state = torch.stack((angle + spin * self.dt, spin), 1)
        return state, reward.float(), torch.zeros(len(state), dtype=torch.bool)

    def observe(self, state: Tensor) -> Tensor:
        return torch.stack((state[:, 0].cos(), state[:, 0].sin(), state[:, 1]), 1).float()

    def facts(self, i: int = 0) -> dict[str, float]:
        angle, spin = self.state[i].tolist()
        torque = 0.0 if self.last_action is None else float(self.last_action[i, 0].clamp(-self.max_torque, self.max_torque))
        return {"angle": angle, "angular_velocity": spin, "torque": torque}
