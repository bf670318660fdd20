"""Playing without learning: evaluation apart from training, and one seeded episode replayed with any policy of the past.

The policy acts without chance (the mode of its law). An episode of a seed begins alike for every policy, so two of them can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from models.rl.envs import VecEnv
from models.rl.errors import RLError
from models.rl.nets import Categorical, Gaussian

T = TypeVar("T")


@dataclass(frozen=True)
class Evaluation:
    """Returns and lengths of whole episodes, (n,) each.

    `predicted` and `obtained`, with a critic of actions: its q(s, a) at the first step, and the discounted return that then came, as far
    as the time limit let it. A critic that predicts more than comes overestimates (Fujimoto et al. 2018, arXiv 1802.09477, figure 1).
    """

    returns: Tensor
    lengths: Tensor
    predicted: Tensor | None = None
    obtained: Tensor | None = None

    @property
    def metrics(self) -> dict[str, float]:
        """stable-baselines3's names, and the spread."""
        found = {
            "eval/mean_reward": float(self.returns.mean()),
            "eval/std_reward": float(self.returns.std(correction=0)),
            "eval/mean_ep_length": float(self.lengths.mean()),
        }
        if self.predicted is not None and self.obtained is not None:
            found |= {"eval/q_predicted": float(self.predicted.mean()), "eval/q_obtained": float(self.obtained.mean())}
        return found


@torch.no_grad()
def best_action(policy: nn.Module, obs: Tensor) -> Tensor:
    """The action (N, ...) that a policy thinks best, as the environment takes it."""
    law = policy(obs)
    return policy.to_env(law.mode() if isinstance(law, Categorical | Gaussian) else law)


def finish(work: Generator[int, None, T]) -> T:
    """Let a generator run to its end; its return value."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value


def evaluate(policy: nn.Module, make: Callable[[int], VecEnv], episodes: int = 20, seed: int = 10_000) -> Evaluation:
    """The first episode of each of `episodes` copies, played without chance. `make(n)` builds the copies; training is not touched."""
    return finish(evaluating(policy, make(episodes), seed))


def evaluating(
    policy: nn.Module, env: VecEnv, seed: int = 10_000, critic: nn.Module | None = None, gamma: float = 1.0
) -> Generator[int, None, Evaluation]:
    """`evaluate`, telling after every step how many episodes still run; with a critic of actions also how far it is from the truth."""
    obs = env.reset(seed)
    returns, obtained = torch.zeros(2, env.n, dtype=torch.float64)
    lengths, running = torch.zeros(env.n), torch.ones(env.n, dtype=torch.bool)
    predicted = None if critic is None else foretold(policy, critic, obs)
    for t in range(env.spec.max_steps):
        with torch.no_grad():
            step = env.step(best_action(policy, obs))
        reward = step.reward.double() * running
        returns += reward
        obtained += gamma**t * reward
        lengths += running
        running &= ~step.done
        obs = step.obs
        if not bool(running.any()):
            return Evaluation(returns, lengths, predicted, None if predicted is None else obtained)
        yield int(running.sum())
    raise RLError(f"{env.spec.id} did not end within its {env.spec.max_steps} steps.", "The environment's time limit does not work.")


@torch.no_grad()
def foretold(policy: nn.Module, critic: nn.Module, obs: Tensor) -> Tensor:
    """q(s, a) (B,) of the best actions, by a critic of numbered or of real actions."""
    law = policy(obs)
    if isinstance(law, Categorical):
        return critic(obs).gather(1, law.mode()[:, None]).squeeze(1).double()
    return critic(obs, law).double()


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


def play(policy: nn.Module, env: VecEnv, seed: int = 0) -> Episode:
    """The episode of a seed under a policy, without chance; `env` must hold one copy."""
    return finish(playing(policy, env, seed))


def playing(policy: nn.Module, env: VecEnv, seed: int = 0) -> Generator[int, None, Episode]:
    """`play`, telling the number of each step before it is made: the environment can be looked at then."""
    if env.n != 1:
        raise RLError(f"An episode is played in one copy; there are {env.n}.", "Make an environment with one copy.")
    obs, facts = env.reset(seed), [env.facts()]
    seen, actions, rewards, laws = [], [], [], []
    terminated = False
    for t in range(env.spec.max_steps):
        yield t
        with torch.no_grad():
            law = policy(obs)
            action = policy.to_env(law.mode() if isinstance(law, Categorical | Gaussian) else law)
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
