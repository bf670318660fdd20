"""Where experience lies: a ring of transitions for replay (Lin 1992), and the question whether memory will hold it.

Rollouts of the on-policy algorithms are `run.Rollout` and `a2c.Batch`: they are thrown away after each update.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
from torch import Tensor

from models.rl.errors import RLError

SHARE = 0.25
"""Of the machine's memory, that one buffer may take."""
UNKNOWN_MEMORY = 4 * 2**30
"""Bytes assumed where the system does not tell."""


def memory_bytes() -> int:
    """Physical memory of the machine."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return UNKNOWN_MEMORY


def check_memory(what: str, needed: int) -> None:
    """Refuse, before anything is allocated, what would not fit into the memory set aside for it."""
    room = int(SHARE * memory_bytes())
    if needed > room:
        raise RLError(
            f"{what} would need {needed / 2**30:.1f} GiB of memory; at most {room / 2**30:.1f} GiB are given to it.",
            "Choose fewer copies, fewer steps or a smaller buffer.",
        )


def check_rollout(n: int, n_steps: int, obs_dim: int, batch_size: int = 1) -> None:
    """Is a rollout of n copies large enough for its mini-batches and small enough for memory? In float32, twice: stacked and flat."""
    if batch_size > n * n_steps:
        raise RLError(
            f"The batch of {batch_size} is larger than the rollout of {n} x {n_steps} = {n * n_steps} steps.",
            "Lower the batch size, or collect more steps.",
        )
    check_memory(f"A rollout of {n} x {n_steps} steps", 2 * 4 * n * n_steps * (obs_dim + 8))


@dataclass(frozen=True)
class Transitions:
    """B transitions; actions in -1 .. 1. `terminated`, not `done`: what the time limit cut goes on in the value."""

    obs: Tensor  # (B, D)
    actions: Tensor  # (B, A)
    rewards: Tensor  # (B,)
    next_obs: Tensor  # (B, D)
    terminated: Tensor  # (B,) float, 0 or 1


class ReplayBuffer:
    """The newest `capacity` transitions; older ones are overwritten."""

    def __init__(self, capacity: int, obs_dim: int, action_dim: int) -> None:
        check_memory(f"A replay buffer of {capacity:,} steps", 4 * capacity * (2 * obs_dim + action_dim + 2))
        self.capacity, self.size, self.at = capacity, 0, 0
        self.data = Transitions(
            torch.zeros(capacity, obs_dim), torch.zeros(capacity, action_dim), torch.zeros(capacity), torch.zeros(capacity, obs_dim),
            torch.zeros(capacity),
        )  # fmt: skip

    def add(self, batch: Transitions) -> None:
        """Append B transitions, B at most the capacity."""
        count = len(batch.rewards)
        if count > self.capacity:
            raise RLError(f"{count} copies step at once, but the buffer holds {self.capacity}.", "Choose a larger buffer or fewer copies.")
        where = (torch.arange(count) + self.at) % self.capacity
        for name in ("obs", "actions", "rewards", "next_obs", "terminated"):
            getattr(self.data, name).index_copy_(0, where, getattr(batch, name).float())
        self.at, self.size = (self.at + count) % self.capacity, min(self.capacity, self.size + count)

    def sample(self, count: int, rng: torch.Generator) -> Transitions:
        """`count` transitions, drawn uniformly with replacement."""
        return self.rows(torch.randint(self.size, (count,), generator=rng))

    def rows(self, where: Tensor) -> Transitions:
        d = self.data
        return Transitions(d.obs[where], d.actions[where], d.rewards[where], d.next_obs[where], d.terminated[where])

    def get_state(self) -> dict[str, Tensor]:
        """The filled part and where writing goes on."""
        parts = {name: getattr(self.data, name)[: self.size].clone() for name in ("obs", "actions", "rewards", "next_obs", "terminated")}
        return parts | {"at": torch.tensor([self.at])}

    def set_state(self, state: dict[str, Tensor]) -> None:
        if len(state["rewards"]) > self.capacity:
            raise RLError(f"The snapshot holds {len(state['rewards']):,} steps, the buffer {self.capacity:,}.", "Choose a larger buffer.")
        self.size, self.at = len(state["rewards"]), int(state["at"]) % self.capacity
        for name in ("obs", "actions", "rewards", "next_obs", "terminated"):
            getattr(self.data, name)[: self.size] = state[name]
