"""Generalised advantage estimation (Schulman et al. 2016, arXiv 1506.02438), and n-step returns as its special case.

`A_t = sum_k (gamma lambda)^k delta_{t+k}`, `delta_t = r_t + gamma v(s_{t+1}) - v(s_t)` (eq. 11-16), cut where an episode ends. lambda 0 is
one-step TD, lambda 1 the n-step return minus the value. `next_values` are of the states that really followed: where the time limit cut an
episode, of the last state of it, and after a termination they count nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor


def gae(
    rewards: Tensor, values: Tensor, next_values: Tensor, terminated: Tensor, done: Tensor, *, gamma: float, lam: float
) -> tuple[Tensor, Tensor]:
    """All arguments (T, N). Returns advantages and lambda-returns `R = A + v`, both (T, N)."""
    delta = rewards + gamma * next_values * (~terminated) - values
    keep = gamma * lam * (~done).to(rewards.dtype)
    advantages, carried = torch.empty_like(delta), torch.zeros_like(delta[0])
    for t in reversed(range(len(delta))):
        carried = delta[t] + keep[t] * carried
        advantages[t] = carried
    return advantages, advantages + values


def discounted_returns(rewards: Tensor, gamma: float) -> Tensor:
    """`G_t = r_t + gamma G_{t+1}` of one whole episode (T,), the truth that values are compared with."""
    returns, carried = torch.empty_like(rewards), torch.zeros((), dtype=rewards.dtype)
    for t in reversed(range(len(rewards))):
        carried = rewards[t] + gamma * carried
        returns[t] = carried
    return returns
