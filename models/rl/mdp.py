"""Finite Markov decision processes, solved exactly: what the tabular proofs and the grid world's arrows are measured against.

Everything follows from `v = (I - gamma P_pi)^-1 r_pi` (Sutton & Barto 2018, ch. 3, 4 and 13): values, visits, the policy gradient.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class MDP:
    """States 0 .. S - 1 and actions 0 .. A - 1. An ending is a state that leads to itself with reward 0, or rows of P that sum to less."""

    P: Tensor  # (S, A, S) probability of the next state, float64
    R: Tensor  # (S, A) expected reward
    start: Tensor  # (S,) distribution of the first state
    gamma: float

    def values(self, pi: Tensor) -> tuple[Tensor, Tensor]:
        """`v` (S,) and `q` (S, A) of a policy `pi` (S, A): one linear solve."""
        P, r = torch.einsum("sa,sat->st", pi, self.P), (pi * self.R).sum(1)
        v = torch.linalg.solve(torch.eye(len(P), dtype=P.dtype) - self.gamma * P, r)
        return v, self.R + self.gamma * self.P @ v

    def visits(self, pi: Tensor) -> Tensor:
        """Discounted visits `d(s) = sum_t gamma^t P(s_t = s)`, (S,); they sum to 1 / (1 - gamma) if nothing ends."""
        P = torch.einsum("sa,sat->st", pi, self.P)
        return torch.linalg.solve(torch.eye(len(P), dtype=P.dtype) - self.gamma * P.T, self.start)

    def policy_gradient(self, logits: Tensor) -> Tensor:
        """Gradient (S, A) of `J = start . v` by the logits of a softmax policy: `d(s) pi(a|s) (q(s, a) - v(s))`.

        The policy gradient theorem (Sutton et al. 2000) with `d log pi(a|s) / d logit(b|s) = [a = b] - pi(b|s)` worked out.
        """
        pi = logits.softmax(1)
        v, q = self.values(pi)
        return self.visits(pi)[:, None] * pi * (q - v[:, None])

    def optimal(self, tolerance: float = 1e-12) -> tuple[Tensor, Tensor]:
        """`v*` (S,) and `q*` (S, A) by policy iteration: exact after finitely many rounds."""
        pi = torch.full_like(self.R, 1 / self.R.shape[1])
        v, q = self.values(pi)
        while True:
            greedy = torch.nn.functional.one_hot(q.argmax(1), q.shape[1]).to(q.dtype)
            better, q = self.values(greedy)
            if float((better - v).abs().max()) < tolerance:
                return better, q
            v = better
