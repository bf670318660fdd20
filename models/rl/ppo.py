"""Proximal policy optimisation (Schulman et al. 2017, arXiv 1707.06347), discrete and continuous.

The same rollout is used for several epochs of mini-batches; the ratio `rho = pi / pi_old` is kept from leaving `1 +- clip_range` where that
would pay: `L = -E min(rho A, clip(rho) A) + c_v (R - v)^2 - c_e H` (eq. 7 and 9). Options: values clipped alike, and an end of the update
when the approximate KL grows too large. Equal to stable-baselines3's PPO on equal weights, rollout and order of the mini-batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from models.rl import nets as networks
from models.rl.a2c import Batch, batch_of, spread
from models.rl.buffers import check_rollout
from models.rl.by_hand import Seen, clip
from models.rl.envs import VecEnv
from models.rl.run import Pulse, Run, Settings, Tick, Update, begin, collect, progress_left, report, rng_of
from models.rl.settings import PPOSettings

RATIO_BINS, RATIO_MAX = 80, 2.0
"""The histogram of ratios spans 0 .. 2; what lies beyond counts in the last bin."""


@dataclass(frozen=True)
class PPOView:
    """What an update did to the ratios."""

    ratio_counts: Tensor  # (80,) of the last epoch, over 0 .. 2
    clip_range: float
    kl_by_epoch: tuple[float, ...]  # mean approximate KL
    clipped_by_epoch: tuple[float, ...]
    stopped_in_epoch: int | None  # by the KL limit, 0-based
    advantages: Tensor  # (n,) not normalised
    returns: Tensor
    values: Tensor


@dataclass
class Facts:
    """Collected over the mini-batches of one update; (epoch, numbers) pairs that stay tensors until they are told."""

    rows: list[tuple[int, Tensor]] = field(default_factory=list)
    ratios: list[Tensor] = field(default_factory=list)  # of the epoch that runs
    stopped_in: int | None = None

    def counts(self) -> Tensor:
        """Histogram of the ratios of the last epoch."""
        return torch.histc(torch.cat(self.ratios).clamp(max=RATIO_MAX), RATIO_BINS, 0, RATIO_MAX)

    def by_epoch(self, column: str) -> tuple[float, ...]:
        epochs = sorted({epoch for epoch, _ in self.rows})
        at = COLUMNS.index(column)
        return tuple(float(torch.stack([row[at] for e, row in self.rows if e == epoch]).mean()) for epoch in epochs)


COLUMNS = ("policy_gradient_loss", "value_loss", "entropy_loss", "loss", "approx_kl", "clip_fraction")


def start(env: VecEnv, settings: PPOSettings, seed: int = 0, hidden: tuple[int, ...] = (64, 64)) -> Run:
    """A new run: fresh networks, all episodes begun."""
    check_rollout(env.n, settings.n_steps, env.spec.obs_dim, settings.batch_size)
    rng = rng_of(seed)
    policy = networks.stochastic_policy(env.spec, hidden, rng)
    nets = {"policy": policy, "value": networks.Value(env.spec.obs_dim, hidden, rng)}
    both = [*policy.parameters(), *nets["value"].parameters()]
    run = begin("ppo", env, seed, nets, {"both": torch.optim.Adam(both, lr=settings.lr, eps=1e-5, fused=True)}, rng, hidden)
    run.extra["epochs"] = 0
    return run


def ppo(run: Run, settings: Settings, total: int) -> Iterator[Tick | Update]:
    """Learn until `total` environment steps have been made."""
    pulse = Pulse()
    while run.timesteps < total:
        pulse.reset()
        pulse.wake()
        now, before = settings(), run.timesteps
        check_rollout(run.env.n, now.n_steps, run.env.spec.obs_dim, now.batch_size)
        rollout = yield from collect(run, now.n_steps, pulse)
        batch = batch_of(rollout, now.gamma, now.gae_lambda)
        left = progress_left(run, total)
        run.set_rate("both", now.rate(left))
        facts = yield from optimise(run, batch, now, now.clip(left), pulse)
        run.updates += 1
        metrics = told(run, facts, batch) | {"train/learning_rate": now.rate(left), "train/clip_range": now.clip(left)}
        yield report(
            run, loss=metrics["train/loss"], metrics=metrics, total=total, pulse=pulse, steps_before=before,
            per_update=now.n_steps * run.env.n, view=view_of(facts, batch, now.clip(left)),
        )  # fmt: skip


def optimise(run: Run, batch: Batch, settings: PPOSettings, clip_range: float, pulse: Pulse) -> Iterator[Tick]:
    """All epochs over one rollout; the generator's return value are the `Facts`."""
    facts = Facts()
    for epoch in range(settings.n_epochs):
        order = torch.randperm(len(batch), generator=run.rng)
        facts.ratios.clear()
        for part in order.split(settings.batch_size):
            row, ratio, stop = learn(run, batch[part], settings, clip_range)
            facts.rows.append((epoch, row))
            facts.ratios.append(ratio)
            if stop:
                facts.stopped_in = epoch
                break
            if pulse.due():
                pulse.rest()
                yield Tick(phase="optimising", done=epoch, total=settings.n_epochs, timesteps=run.timesteps)
                pulse.wake()
        run.extra["epochs"] += 1
        if facts.stopped_in is not None:
            break
    return facts


@torch.no_grad()
def learn(run: Run, batch: Batch, settings: PPOSettings, clip_range: float) -> tuple[Tensor, Tensor, bool]:
    """One gradient step on a mini-batch: the numbers of `COLUMNS`, the ratios, and whether the KL limit forbade the step."""
    seen = Seen(run.policy, run.nets["value"], batch.obs)
    loss = ppo_loss(seen.law, seen.value, batch, settings, clip_range)
    if settings.target_kl is not None and float(loss.row[COLUMNS.index("approx_kl")]) > 1.5 * settings.target_kl:
        return loss.row, loss.ratio, True
    clip(seen.pull(batch.actions, loss.by_log_prob, -settings.ent_coef / len(batch), loss.by_value), settings.max_grad_norm)
    run.optimizers["both"].step()
    return loss.row, loss.ratio, False


@dataclass(frozen=True)
class Loss:
    """The loss of a mini-batch of n rows, and its gradients."""

    row: Tensor  # (6,) the numbers of `COLUMNS`
    ratio: Tensor  # (n,)
    by_log_prob: Tensor  # (n,) gradient by log pi(a|s)
    by_value: Tensor  # (n,) gradient by v(s)


def ppo_loss(
    law: networks.Categorical | networks.Gaussian, value: Tensor, batch: Batch, settings: PPOSettings, clip_range: float
) -> Loss:
    """The clipped surrogate with its companions. Where the clipped product is the smaller one, log pi has no gradient."""
    advantages = batch.normalized_advantages if settings.normalize_advantage else batch.advantages
    log_ratio = law.log_prob(batch.actions) - batch.log_probs
    ratio = log_ratio.exp()
    free, held = advantages * ratio, advantages * ratio.clamp(1 - clip_range, 1 + clip_range)
    wrong, felt = value_error(value, batch, settings.clip_range_vf)
    approx_kl = (ratio - 1) - log_ratio  # Schulman's third estimator: never negative, little variance
    clipped = ((ratio - 1).abs() > clip_range).float()
    policy_loss, value_loss, entropy_loss, kl, outside = torch.stack(
        (-torch.minimum(free, held), wrong.square(), -law.entropy(), approx_kl, clipped)
    ).mean(1).unbind()  # fmt: skip
    loss = policy_loss + settings.ent_coef * entropy_loss + settings.vf_coef * value_loss
    n = len(batch)
    return Loss(
        row=torch.stack((policy_loss, value_loss, entropy_loss, loss, kl, outside)), ratio=ratio,
        by_log_prob=torch.where(free <= held, free, 0.0) / -n,
        by_value=felt * (2 * settings.vf_coef / n),
    )  # fmt: skip


def value_error(value: Tensor, batch: Batch, limit: float | None) -> tuple[Tensor, Tensor]:
    """How far values (n,) are from the returns, and the part of it that has a gradient: none where the change of the value is cut."""
    if limit is None:
        return value - batch.returns, value - batch.returns
    moved = value - batch.values
    wrong = batch.values + moved.clamp(-limit, limit) - batch.returns
    return wrong, wrong * (moved.abs() <= limit)


def told(run: Run, facts: Facts, batch: Batch) -> dict[str, float]:
    """The metrics of an update, averaged as in stable-baselines3: KL over the last epoch, loss of the last mini-batch, else over all."""
    rows = torch.stack([row for _, row in facts.rows])
    last = facts.rows[-1][0]
    metrics = dict(zip((f"train/{name}" for name in COLUMNS), rows.mean(0).tolist(), strict=True))
    metrics["train/loss"] = float(rows[-1, COLUMNS.index("loss")])
    metrics["train/approx_kl"] = float(
        torch.stack([row for epoch, row in facts.rows if epoch == last])[:, COLUMNS.index("approx_kl")].mean()
    )
    metrics["train/explained_variance"] = networks.explained_variance(batch.values, batch.returns)
    metrics["train/n_updates"] = run.extra["epochs"]
    return metrics | spread(run)


def view_of(facts: Facts, batch: Batch, clip_range: float) -> PPOView:
    return PPOView(
        ratio_counts=facts.counts(), clip_range=clip_range, stopped_in_epoch=facts.stopped_in,
        kl_by_epoch=facts.by_epoch("approx_kl"), clipped_by_epoch=facts.by_epoch("clip_fraction"),
        advantages=batch.advantages, returns=batch.returns, values=batch.values,
    )  # fmt: skip
