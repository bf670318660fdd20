"""Advantage actor-critic (Mnih et al. 2016, arXiv 1602.01783, without the asynchrony).

After `n_steps` of every copy, one gradient step on `-A log pi + c_v (R - v)^2 - c_e H` with `R` the n-step or lambda-return and `A = R - v`
held fixed. RMSprop as in the paper; equal to stable-baselines3's A2C on equal weights and rollout.
Read next: `ppo.py`, which goes over the same data many times.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from models.rl import nets as networks
from models.rl.buffers import check_rollout
from models.rl.by_hand import Seen, clip
from models.rl.envs import VecEnv
from models.rl.gae import gae
from models.rl.run import Pulse, Rollout, Run, Settings, Tick, Update, begin, collect, progress_left, report, rng_of
from models.rl.settings import A2CSettings


@dataclass(frozen=True)
class Batch:
    """Experience laid flat, ready for an update: n rows."""

    obs: Tensor  # (n, D)
    actions: Tensor  # (n,) or (n, A)
    log_probs: Tensor  # (n,) under the policy that acted
    values: Tensor  # (n,) as predicted then
    advantages: Tensor
    returns: Tensor

    def __len__(self) -> int:
        return len(self.obs)

    def __getitem__(self, rows: Tensor) -> Batch:
        parts = (self.obs, self.actions, self.log_probs, self.values, self.advantages, self.returns)
        return Batch(*(part[rows] for part in parts))

    @property
    def normalized_advantages(self) -> Tensor:
        """Mean 0, standard deviation 1 over the rows; as they are if there is only one."""
        a = self.advantages
        return (a - a.mean()) / (a.std() + 1e-8) if len(a) > 1 else a


@dataclass(frozen=True)
class A2CView:
    """What an update looked like."""

    advantages: Tensor  # (n,)
    returns: Tensor
    values: Tensor


@torch.no_grad()
def batch_of(rollout: Rollout, gamma: float, lam: float) -> Batch:
    """Advantages and returns of a rollout, all laid flat."""
    advantages, returns = gae(rollout.rewards, rollout.values, rollout.next_values, rollout.terminated, rollout.done, gamma=gamma, lam=lam)
    parts = (rollout.obs, rollout.actions, rollout.log_probs, rollout.values, advantages, returns)
    return Batch(*map(rollout.flat, parts))


def start(env: VecEnv, settings: A2CSettings, seed: int = 0, hidden: tuple[int, ...] = (64, 64)) -> Run:
    """A new run: fresh networks, all episodes begun."""
    check_rollout(env.n, settings.n_steps, env.spec.obs_dim)
    rng = rng_of(seed)
    policy = networks.stochastic_policy(env.spec, hidden, rng)
    nets = {"policy": policy, "value": networks.Value(env.spec.obs_dim, hidden, rng)}
    both = [*policy.parameters(), *nets["value"].parameters()]
    optimizers = {"both": torch.optim.RMSprop(both, lr=settings.lr, alpha=0.99, eps=1e-5, foreach=True)}
    return begin("a2c", env, seed, nets, optimizers, rng, hidden)


def a2c(run: Run, settings: Settings, total: int) -> Iterator[Tick | Update]:
    """Learn until `total` environment steps have been made."""
    pulse = Pulse()
    while run.timesteps < total:
        pulse.reset()
        pulse.wake()
        now, before = settings(), run.timesteps
        rollout = yield from collect(run, now.n_steps, pulse, log_probs=False)
        batch = batch_of(rollout, now.gamma, now.gae_lambda)
        rate = now.rate(progress_left(run, total))
        run.set_rate("both", rate)
        metrics = learn(run, batch, now)
        run.updates += 1
        yield report(
            run, loss=metrics["train/loss"], metrics=metrics | {"train/learning_rate": rate}, total=total, pulse=pulse, steps_before=before,
            per_update=now.n_steps * run.env.n, view=A2CView(batch.advantages, batch.returns, batch.values),
        )  # fmt: skip


@torch.no_grad()
def learn(run: Run, batch: Batch, settings: A2CSettings) -> dict[str, float]:
    """One gradient step on the whole batch, the gradient by hand."""
    seen, n = Seen(run.policy, run.nets["value"], batch.obs), len(batch)
    advantages = batch.normalized_advantages if settings.normalize_advantage else batch.advantages
    wrong = seen.value - batch.returns
    terms = torch.stack((-advantages * seen.law.log_prob(batch.actions), wrong.square(), -seen.law.entropy()))
    policy_loss, value_loss, entropy_loss = terms.mean(1).tolist()
    gradients = seen.pull(batch.actions, advantages / -n, -settings.ent_coef / n, wrong * (2 * settings.vf_coef / n))
    norm = clip(gradients, settings.max_grad_norm)
    run.optimizers["both"].step()
    return {
        "train/policy_loss": policy_loss,
        "train/value_loss": value_loss,
        "train/entropy_loss": entropy_loss,
        "train/loss": policy_loss + settings.ent_coef * entropy_loss + settings.vf_coef * value_loss,
        "train/grad_norm": float(norm),
        "train/explained_variance": networks.explained_variance(batch.values, batch.returns),
        **spread(run),
    }


def spread(run: Run) -> dict[str, float]:
    """The standard deviation of a Gaussian policy, as a metric."""
    log_std = getattr(run.policy, "log_std", None)
    return {} if log_std is None else {"train/std": float(log_std.detach().exp().mean())}
