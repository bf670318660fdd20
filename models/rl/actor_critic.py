"""Three plain actor-critics that learn after every step: the family's members before batches, clipping and replay.

- `qac` (Sutton & Barto 2018, ch. 13; on-policy): a Sarsa critic `q(s, a)`, `th += a q(s, a) grad log pi(a|s)`.
- `off_policy` (Degris et al. 2012, arXiv 1205.4839): a behaviour b acts, `rho = pi / b` weighs both updates.
- `deterministic` (Silver et al. 2014): `d = r + g q(s', mu(s')) - q(s, a)`, `th += a grad mu(s) grad_a q(s, a)` at `a = mu(s)`;
  the behaviour explores, no rho is needed.

N copies step together, and their updates are averaged. All leave out the factor `gamma^t` of the exact policy gradient, as is the
custom. Rates are Adam's. Read next: `a2c.py`, which puts the advantage in the place of q.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from models.rl import nets as networks
from models.rl.a2c import spread
from models.rl.envs import EnvStep, VecEnv
from models.rl.run import Pulse, Run, Settings, Tick, Update, begin, progress_left, report, rng_of
from models.rl.settings import DeterministicSettings, OffPolicySettings, QACSettings


@dataclass(frozen=True)
class StepView:
    """What one update saw; all (N,)."""

    delta: Tensor  # temporal-difference error
    weight: Tensor  # that multiplied grad log pi: q, or rho times delta; for the deterministic one q itself
    rho: Tensor | None  # pi / b before clipping, for the off-policy one


# --- QAC ---


def start_qac(env: VecEnv, settings: QACSettings, seed: int = 0, hidden: tuple[int, ...] = (64, 64)) -> Run:
    """A new run; hidden () over a grid world is the tabular algorithm."""
    actions = networks.discrete_of(env.spec, "QAC")
    rng = rng_of(seed)
    policy = networks.stochastic_policy(env.spec, hidden, rng)
    critic = networks.ActionValues(env.spec.obs_dim, actions.n, hidden, rng)
    run = begin("qac", env, seed, {"policy": policy, "critic": critic}, _adam(settings, policy, critic), rng, hidden)
    with torch.no_grad():
        run.extra["action"] = policy(run.obs).sample(rng)
    return run


def qac(run: Run, settings: Settings, total: int) -> Iterator[Tick | Update]:
    """Sarsa and policy gradient, one step at a time."""
    pulse = Pulse()
    while run.timesteps < total:
        now, before, rate = _next(run, settings, total, pulse)
        obs, action = run.obs, run.extra["action"]
        step = _move(run, action)
        after, run.extra["action"] = _next_actions(run, step)
        metrics, view = learn_qac(run, now, obs, action, step, after)
        yield _report(run, metrics, rate, view, total, pulse, before)


@torch.no_grad()
def _next_actions(run: Run, step: EnvStep) -> tuple[Tensor, Tensor]:
    """Actions in what really followed, and those to take now: the same but where an episode begins anew."""
    after = run.policy(step.final_obs).sample(run.rng)
    if not bool(step.done.any()):
        return after, after
    return after, torch.where(step.done, run.policy(step.obs).sample(run.rng), after)


@torch.enable_grad()
def learn_qac(
    run: Run, settings: QACSettings, obs: Tensor, action: Tensor, step: EnvStep, after: Tensor
) -> tuple[dict[str, float], StepView]:
    """One update of both; the critic's target is held fixed, and so is its value in the actor's loss."""
    critic = run.nets["critic"]
    with torch.no_grad():
        follows = critic(step.final_obs).gather(1, after[:, None]).squeeze(1)
        target = step.reward + settings.gamma * follows * (~step.terminated)
    q = critic(obs).gather(1, action[:, None]).squeeze(1)
    law = run.policy(obs)
    policy_loss = -(law.log_prob(action) * q.detach()).mean()
    entropy = law.entropy().mean()
    metrics = _descend_both(run, settings, policy_loss - settings.ent_coef * entropy, (target - q).square().mean())
    metrics |= {"train/policy_loss": float(policy_loss.detach()), "train/entropy_loss": -float(entropy.detach())}
    return metrics, StepView((target - q).detach(), q.detach(), None)


# --- off-policy ---


def start_off_policy(env: VecEnv, settings: OffPolicySettings, seed: int = 0, hidden: tuple[int, ...] = (64, 64)) -> Run:
    """A new run, of numbered or real-valued actions."""
    rng = rng_of(seed)
    policy, value = networks.stochastic_policy(env.spec, hidden, rng), networks.Value(env.spec.obs_dim, hidden, rng)
    return begin("off-policy-ac", env, seed, {"policy": policy, "value": value}, _adam(settings, policy, value), rng, hidden)


def behaviour(law: networks.Categorical | networks.Gaussian, exploration: float) -> networks.Categorical | networks.Gaussian:
    """The law that acts: a share of uniform mixed in, or a normal wider by that share. Covers all that the policy may do."""
    if isinstance(law, networks.Gaussian):
        return networks.Gaussian(law.mean.detach(), law.log_std.detach() + torch.tensor(1 + exploration).log())
    p = law.logp.detach().exp()
    return networks.Categorical(((1 - exploration) * p + exploration / p.shape[-1]).log())


def off_policy(run: Run, settings: Settings, total: int) -> Iterator[Tick | Update]:
    """Learn about the policy from what another law did."""
    pulse = Pulse()
    while run.timesteps < total:
        now, before, rate = _next(run, settings, total, pulse)
        obs = run.obs
        with torch.no_grad():
            acting = behaviour(run.policy(obs), now.exploration)
            action = acting.sample(run.rng)
        step = _move(run, action)
        metrics, view = learn_off_policy(run, now, obs, action, acting.log_prob(action), step)
        yield _report(run, metrics, rate, view, total, pulse, before)


@torch.enable_grad()
def learn_off_policy(
    run: Run, settings: OffPolicySettings, obs: Tensor, action: Tensor, log_b: Tensor, step: EnvStep
) -> tuple[dict[str, float], StepView]:
    """One update of both, each weighed with rho (eq. 5 and 7 without traces)."""
    value = run.nets["value"]
    with torch.no_grad():
        target = step.reward + settings.gamma * value(step.final_obs) * (~step.terminated)
    v, law = value(obs), run.policy(obs)
    log_prob = law.log_prob(action)
    rho = (log_prob.detach() - log_b).exp()
    used = rho if settings.rho_clip is None else rho.clamp(max=settings.rho_clip)
    delta = (target - v).detach()
    policy_loss = -(used * delta * log_prob).mean()
    entropy = law.entropy().mean()
    metrics = _descend_both(run, settings, policy_loss - settings.ent_coef * entropy, (used * (target - v).square()).mean())
    metrics |= {"train/policy_loss": float(policy_loss.detach()), "train/entropy_loss": -float(entropy.detach())}
    metrics |= {"train/rho_mean": float(rho.mean()), "train/rho_max": float(rho.max())}
    return metrics, StepView(delta, used * delta, rho)


# --- deterministic ---


def start_deterministic(env: VecEnv, settings: DeterministicSettings, seed: int = 0, hidden: tuple[int, ...] = (64, 64)) -> Run:
    """A new run, of bounded real-valued actions."""
    box = networks.box_of(env.spec, "Deterministic actor-critic")
    rng = rng_of(seed)
    policy = networks.DeterministicPolicy(box, env.spec.obs_dim, hidden, rng)
    critic = networks.ActionCritic(env.spec.obs_dim, box.dim, hidden, rng)
    return begin("deterministic-ac", env, seed, {"policy": policy, "critic": critic}, _adam(settings, policy, critic), rng, hidden)


def deterministic(run: Run, settings: Settings, total: int) -> Iterator[Tick | Update]:
    """Climb the critic along the actor; explore with white noise."""
    pulse = Pulse()
    while run.timesteps < total:
        now, before, rate = _next(run, settings, total, pulse)
        obs = run.obs
        with torch.no_grad():
            mean = run.policy(obs)
            action = (mean + now.noise * torch.randn(mean.shape, generator=run.rng)).clamp(-1, 1)
        step = _move(run, action)
        metrics, view = learn_deterministic(run, now, obs, action, step)
        yield _report(run, metrics, rate, view, total, pulse, before)


@torch.enable_grad()
def learn_deterministic(
    run: Run, settings: DeterministicSettings, obs: Tensor, action: Tensor, step: EnvStep
) -> tuple[dict[str, float], StepView]:
    """One update of both; the actor's loss leaves the critic's gradients alone."""
    critic, policy = run.nets["critic"], run.policy
    with torch.no_grad():
        follows = critic(step.final_obs, policy(step.final_obs))
        target = step.reward + settings.gamma * follows * (~step.terminated)
    q = critic(obs, action)
    actor_loss = -critic(obs, policy(obs)).mean()
    metrics = _descend_both(run, settings, actor_loss, (target - q).square().mean())
    return metrics | {"train/actor_loss": float(actor_loss.detach())}, StepView((target - q).detach(), q.detach(), None)


# --- shared ---


def _adam(settings: QACSettings | OffPolicySettings | DeterministicSettings, policy, critic) -> dict[str, torch.optim.Optimizer]:
    return {
        "policy": torch.optim.Adam(policy.parameters(), lr=settings.lr, fused=True),
        "critic": torch.optim.Adam(critic.parameters(), lr=settings.critic_lr, fused=True),
    }


def _next(run: Run, settings: Settings, total: int, pulse: Pulse):
    pulse.reset()
    pulse.wake()
    now, left = settings(), progress_left(run, total)
    run.set_rate("policy", now.rate(left))
    run.set_rate("critic", now.critic_lr * now.rate(left) / now.lr)
    return now, run.timesteps, now.rate(left)


@torch.no_grad()
def _move(run: Run, action: Tensor) -> EnvStep:
    step = run.env.step(run.policy.to_env(action))
    run.counted(step)
    run.obs = step.obs
    return step


def _descend_both(run: Run, settings, policy_loss: Tensor, critic_loss: Tensor) -> dict[str, float]:
    """One step of the actor, one of the critic, each down its own loss; both gradients are taken before either changes."""
    pairs = [(run.optimizers[name], loss) for name, loss in (("policy", policy_loss), ("critic", critic_loss))]
    norms = []
    for optimizer, loss in pairs:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.grad = gradient
        norms.append(float(torch.nn.utils.clip_grad_norm_(parameters, settings.max_grad_norm)))
    for optimizer, _ in pairs:
        optimizer.step()
    return {"train/critic_loss": float(critic_loss.detach()), "train/grad_norm": norms[0], **spread(run)}


def _report(run: Run, metrics: dict[str, float], rate: float, view: StepView, total: int, pulse: Pulse, before: int) -> Update:
    run.updates += 1
    return report(
        run, loss=metrics["train/critic_loss"], metrics=metrics | {"train/learning_rate": rate}, total=total, pulse=pulse,
        steps_before=before, per_update=run.env.n, view=view,
    )  # fmt: skip
