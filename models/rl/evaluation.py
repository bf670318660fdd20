"""Playing without learning: evaluation apart from training, and one seeded episode replayed with any policy of the past.

The policy acts without chance (the mode of its law). An episode of a seed begins alike for every policy, so two of them can be compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.rl.envs import VecEnv
from models.rl.errors import RLError
from models.rl.nets import Categorical, Gaussian


@dataclass(frozen=True)
class Evaluation:
    """Returns and lengths of whole episodes, (n,) each."""

    returns: Tensor
    lengths: Tensor

    @property
    def metrics(self) -> dict[str, float]:
        """stable-baselines3's names, and the spread."""
        std = float(self.returns.std(correction=0))
        return {
            "eval/mean_reward": float(self.returns.mean()),
            "eval/std_reward": std,
            "eval/mean_ep_length": float(self.lengths.mean()),
        }


@torch.no_grad()
def best_action(policy: nn.Module, obs: Tensor) -> Tensor:
    """The action (N, ...) that a policy thinks best, as the environment takes it."""
    law = policy(obs)
    return policy.to_env(law.mode() if isinstance(law, Categorical | Gaussian) else law)


def evaluate(policy: nn.Module, make: Callable[[int], VecEnv], episodes: int = 20, seed: int = 10_000) -> Evaluation:
    """The first episode of each of `episodes` copies, played without chance. `make(n)` builds the copies; training is not touched."""
    env = make(episodes)
    obs = env.reset(seed)
    returns, lengths, running = torch.zeros(episodes, dtype=torch.float64), torch.zeros(episodes), torch.ones(episodes, dtype=torch.bool)
    for _ in range(env.spec.max_steps):
        step = env.step(best_action(policy, obs))
        returns += step.reward * running
        lengths += running
        running &= ~step.done
        obs = step.obs
        if not bool(running.any()):
            return Evaluation(returns, lengths)
    raise RLError(f"{env.spec.id} did not end within its {env.spec.max_steps} steps.", "The environment's time limit does not work.")


@dataclass(frozen=True)
class Episode:
    """One episode from its first step to its last: T steps."""

    obs: Tensor  # (T, D) before each action
    actions: Tensor  # (T, ...) as the environment took them
    rewards: Tensor  # (T,)
    facts: tuple[dict[str, float], ...]  # (T) for drawing, before each action
    probabilities: Tensor | None  # (T, A) of numbered actions
    terminated: bool

    @property
    def total(self) -> float:
        return float(self.rewards.double().sum())


@torch.no_grad()
def play(policy: nn.Module, env: VecEnv, seed: int = 0) -> Episode:
    """The episode of a seed under a policy, without chance; `env` must hold one copy."""
    if env.n != 1:
        raise RLError(f"An episode is played in one copy; there are {env.n}.", "Make an environment with one copy.")
    obs, facts = env.reset(seed), [env.facts()]
    seen, actions, rewards, laws = [], [], [], []
    terminated = False
    for _ in range(env.spec.max_steps):
        law = policy(obs)
        action = best_action(policy, obs)
        step = env.step(action)
        seen.append(obs[0])
        actions.append(action[0])
        rewards.append(step.reward[0])
        laws += [law.logp[0].exp()] if isinstance(law, Categorical) else []
        obs, terminated = step.obs, bool(step.terminated[0])
        if bool(step.done[0]):
            break
        facts.append(env.facts())
    chances = torch.stack(laws) if laws else None
    return Episode(torch.stack(seen), torch.stack(actions), torch.stack(rewards), tuple(facts), chances, terminated)


def difference(policy: nn.Module, other: nn.Module, obs: Tensor) -> Tensor:
    """How differently two policies would act in the states (T, D): (T,).

    Numbered actions: total variation distance of the laws, 0 .. 1. Real ones: distance of the best actions, in the environment's units.
    """
    with torch.no_grad():
        a, b = policy(obs), other(obs)
    if isinstance(a, Categorical) and isinstance(b, Categorical):
        return 0.5 * (a.logp.exp() - b.logp.exp()).abs().sum(-1)
    return (best_action(policy, obs) - best_action(other, obs)).norm(dim=-1)
