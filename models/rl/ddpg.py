"""Deep deterministic policy gradient (Lillicrap et al. 2016, arXiv 1509.02971): off-policy, for bounded real-valued actions.

`y = r + gamma (1 - terminated) Q'(s', mu'(s'))`; the critic regresses on y, the actor climbs `Q(s, mu(s))`; both are followed slowly by
target networks. Actions are in -1 .. 1 everywhere but at the environment's border, and so is the noise, white or Ornstein-Uhlenbeck.
stable-baselines3's DDPG is the same (a TD3 with one critic, no delay and no target noise): equal batches give equal updates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from models.rl import nets as networks
from models.rl.buffers import ReplayBuffer, Transitions
from models.rl.envs import VecEnv
from models.rl.run import Pulse, Run, Settings, Tick, Update, begin, progress_left, report, rng_of
from models.rl.settings import DDPGSettings


@dataclass(frozen=True)
class DDPGView:
    """What one update saw."""

    noise: Tensor  # (N, A) that was added to the actor's last action, in units where actions span -1 .. 1
    action: Tensor  # (N, A) taken, in the environment's units
    q: Tensor  # (B,) predicted for the batch
    target: Tensor  # (B,) that it was pulled to
    target_lag: float  # distance between the actor's and its target's parameters, relative to their length


class Noise:
    """Exploration for N copies. White: `sigma N(0, 1)`. Ornstein-Uhlenbeck (eq. in section 7 of the paper, after Uhlenbeck & Ornstein
    1930): `n += theta (0 - n) dt + sigma sqrt(dt) N(0, 1)`, which remembers and so pushes in one direction for a while.
    """

    def __init__(self, n: int, dim: int) -> None:
        self.value = torch.zeros(n, dim)

    def draw(self, settings: DDPGSettings, rng: torch.Generator) -> Tensor:
        fresh = torch.randn(self.value.shape, generator=rng)
        if settings.noise_theta == 0:
            self.value = settings.noise * fresh
        else:
            dt = settings.noise_dt
            self.value = self.value * (1 - settings.noise_theta * dt) + settings.noise * dt**0.5 * fresh
        return self.value

    def forget(self, done: Tensor) -> None:
        """Episodes that end take their noise along."""
        self.value = self.value * (~done)[:, None]


def start(env: VecEnv, settings: DDPGSettings, seed: int = 0, hidden: tuple[int, ...] = (400, 300)) -> Run:
    """A new run: fresh networks, targets equal to them, an empty buffer."""
    box = networks.box_of(env.spec, "DDPG")
    replay = ReplayBuffer(settings.buffer_size, env.spec.obs_dim, box.dim)
    rng = rng_of(seed)
    nets = {name: networks.DeterministicPolicy(box, env.spec.obs_dim, hidden, rng) for name in ("policy", "policy_target")}
    nets |= {name: networks.ActionCritic(env.spec.obs_dim, box.dim, hidden, rng) for name in ("critic", "critic_target")}
    return assemble(env, seed, nets, settings, replay, rng, hidden)


def assemble(env: VecEnv, seed: int, nets: dict, settings: DDPGSettings, replay: ReplayBuffer, rng: torch.Generator, hidden: tuple) -> Run:
    """A run from given networks; the targets are set equal to what they follow."""
    for name in ("policy", "critic"):
        nets[f"{name}_target"].load_state_dict(nets[name].state_dict())
    optimizers = {
        "policy": torch.optim.Adam(nets["policy"].parameters(), lr=settings.lr, fused=True),
        "critic": torch.optim.Adam(nets["critic"].parameters(), lr=settings.critic_lr, weight_decay=settings.critic_l2, fused=True),
    }
    run = begin("ddpg", env, seed, nets, optimizers, rng, hidden)
    run.extra |= {"replay": replay, "noise": Noise(env.n, replay.data.actions.shape[1])}
    return run


def ddpg(run: Run, settings: Settings, total: int) -> Iterator[Tick | Update]:
    """Learn until `total` environment steps have been made; once it has begun, an update after every step of the copies."""
    pulse = Pulse()
    while run.timesteps < total:
        pulse.reset()
        pulse.wake()
        now, before = settings(), run.timesteps
        action = explore(run, now)
        while run.timesteps < min(now.learning_starts, total) or run.extra["replay"].size < 1:
            if pulse.due():
                pulse.rest()
                yield Tick(phase="collecting", done=run.timesteps, total=now.learning_starts, timesteps=run.timesteps)
                pulse.wake()
            action = explore(run, now)
        left = progress_left(run, total)
        run.set_rate("policy", now.rate(left))
        run.set_rate("critic", now.critic_lr * now.rate(left) / now.lr)
        for _ in range(now.gradient_steps):
            metrics, q, target = learn(run, run.extra["replay"].sample(now.batch_size, run.rng), now)
        run.updates += now.gradient_steps
        view = DDPGView(noise=run.extra["noise"].value, action=action, q=q, target=target, target_lag=lag(run))
        yield report(
            run, loss=metrics["train/critic_loss"], metrics=metrics | {"train/learning_rate": now.rate(left)}, total=total, pulse=pulse,
            steps_before=before, per_update=run.env.n, view=view,
        )  # fmt: skip


@torch.no_grad()
def explore(run: Run, settings: DDPGSettings) -> Tensor:
    """One step of all copies, into the buffer: uniform before learning starts, then the actor with noise. Returns the action taken."""
    if run.timesteps < settings.learning_starts:
        action = torch.rand(run.extra["noise"].value.shape, generator=run.rng) * 2 - 1
    else:
        action = (run.policy(run.obs) + run.extra["noise"].draw(settings, run.rng)).clamp(-1, 1)
    taken = run.policy.to_env(action)
    step = run.env.step(taken)
    run.counted(step)
    run.extra["replay"].add(Transitions(run.obs, action, step.reward, step.final_obs, step.terminated))
    run.extra["noise"].forget(step.done)
    run.obs = step.obs
    return taken


@torch.enable_grad()
def learn(run: Run, batch: Transitions, settings: DDPGSettings) -> tuple[dict[str, float], Tensor, Tensor]:
    """Critic, actor, targets, in this order. Returns metrics, predictions (B,) and what they were pulled to (B,)."""
    nets = run.nets
    with torch.no_grad():
        after = nets["critic_target"](batch.next_obs, nets["policy_target"](batch.next_obs))
        target = batch.rewards + settings.gamma * (1 - batch.terminated) * after
    q = nets["critic"](batch.obs, batch.actions)
    critic_loss = (q - target).square().mean()
    run.optimizers["critic"].zero_grad(set_to_none=True)
    critic_loss.backward()
    run.optimizers["critic"].step()

    actor_loss = actor_objective(run, batch.obs)
    run.optimizers["policy"].zero_grad(set_to_none=True)
    actor_loss.backward(inputs=list(run.policy.parameters()))  # the critic's own gradients are not even computed
    run.optimizers["policy"].step()
    for name in ("policy", "critic"):
        networks.soft_update(nets[f"{name}_target"], nets[name], settings.tau)
    metrics = {"train/actor_loss": float(actor_loss.detach()), "train/critic_loss": float(critic_loss.detach())}
    return metrics | {"train/q_mean": float(q.detach().mean())}, q.detach(), target


def actor_objective(run: Run, obs: Tensor) -> Tensor:
    """`-mean Q(s, mu(s))`; its gradient by the actor is the deterministic policy gradient (Silver et al. 2014, eq. 9)."""
    return -run.nets["critic"](obs, run.policy(obs)).mean()


@torch.no_grad()
def lag(run: Run) -> float:
    """How far the target actor is behind, relative to the actor's parameters."""
    online = networks.flat(list(run.policy.parameters()))
    target = networks.flat(list(run.nets["policy_target"].parameters()))
    return float((online - target).norm() / online.norm().clamp(min=1e-12))
