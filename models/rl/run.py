"""A training run: everything that changes while it lasts, the records it yields, and the collecting of experience that all share.

An algorithm is a generator over a `Run` and reads its settings afresh before every update, from a callable: so a learning rate can be
changed in the run without a shared mutable object. Nothing is kept anywhere else; `snapshots.py` copies a run, restores it, saves it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from models.rl.envs import EnvStep, VecEnv
from models.rl.errors import RLError, check_range
from models.steps import TrainStep

WINDOW = 100
"""Episodes in `rollout/ep_rew_mean`, as in stable-baselines3."""
TICK_S = 1.5e-3
"""Seconds of work between two ticks: long enough to cost nothing, short enough for a live window."""
CHUNK = 4096
"""Rows of one forward pass over a rollout: its activations stay in the processor's cache."""


@dataclass(frozen=True, kw_only=True)
class Tick:
    """A sign of life within an update: a place where a run can be paused or ended. `done` of `total` steps or mini-batches."""

    phase: str  # "collecting" or "optimising"
    done: int
    total: int
    timesteps: int


@dataclass(frozen=True, kw_only=True)
class Update(TrainStep):
    """One change of the policy. `metrics` carry stable-baselines3's names; `view` what the algorithm's own pictures need.

    `total` is the number of updates the whole run will have, as far as it can be known.
    """

    timesteps: int  # environment steps so far, of all copies together
    total_timesteps: int
    episodes: Tensor  # (k, 3) that ended since the update before: environment step, return, length
    seconds: float  # of work in this update, without the time the run stood still
    view: Any = None


@dataclass
class Run:
    """All that changes in a training run. Made by `start` of each algorithm; written by its generator alone."""

    algorithm: str
    env: VecEnv
    seed: int
    nets: nn.ModuleDict  # "policy" always; critics and targets by name
    optimizers: dict[str, torch.optim.Optimizer]
    rng: torch.Generator
    obs: Tensor  # (N, D) what the agents see now
    hidden: tuple[int, ...] = (64, 64)
    timesteps: int = 0
    updates: int = 0
    returns: Tensor = field(default_factory=lambda: torch.zeros(0))  # (N,) of the running episodes
    lengths: Tensor = field(default_factory=lambda: torch.zeros(0))
    recent: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=WINDOW))
    ended: list[tuple[float, float, float]] = field(default_factory=list)  # episodes not yet told in an update: step, return, length
    extra: dict[str, Any] = field(default_factory=dict)  # what one algorithm alone has: replay buffer, noise

    @property
    def policy(self) -> nn.Module:
        return self.nets["policy"]

    @torch.no_grad()
    def counted(self, step: EnvStep) -> None:
        """Add a step of all copies to the clocks, and file the episodes that it ended."""
        self.timesteps += self.env.n
        self.returns += step.reward
        self.lengths += 1
        done = step.done
        if bool(done.any()):
            fresh = list(zip(self.returns[done].tolist(), self.lengths[done].tolist(), strict=True))
            self.ended += [(self.timesteps, gain, length) for gain, length in fresh]
            self.recent.extend(fresh[-WINDOW:])
            self.returns.masked_fill_(done, 0)
            self.lengths.masked_fill_(done, 0)

    def told_episodes(self) -> Tensor:
        """Episodes (k, 3) ended since the last call."""
        block = torch.tensor(self.ended, dtype=torch.float64).reshape(-1, 3)
        self.ended.clear()
        return block

    def set_rate(self, name: str, rate: float) -> None:
        for group in self.optimizers[name].param_groups:
            group["lr"] = rate


def begin(
    algorithm: str, env: VecEnv, seed: int, nets: dict[str, nn.Module], optimizers: dict[str, torch.optim.Optimizer],
    rng: torch.Generator, hidden: tuple[int, ...],
) -> Run:  # fmt: skip
    """A run at its first moment: episodes begun, nothing learned."""
    run = Run(algorithm, env, seed, nn.ModuleDict(nets), optimizers, rng, env.reset(seed), hidden)
    run.returns, run.lengths = torch.zeros(env.n), torch.zeros(env.n)
    return run


def rng_of(seed: int) -> torch.Generator:
    """The noise of a run: weights first, then actions and mini-batches. Differs from the environment's with the same seed."""
    check_range("The seed", seed, 0, 2**32 - 1)
    return torch.Generator().manual_seed(seed + 2**32)


class Pulse:
    """Decides when a tick is due, and measures the time worked since the last update."""

    def __init__(self) -> None:
        self.worked, self.woken = 0.0, time.perf_counter()

    def due(self) -> bool:
        """True when `TICK_S` have been worked since the last rest; the caller then yields and calls `wake`."""
        return time.perf_counter() - self.woken >= TICK_S

    def rest(self) -> None:
        """Work stops here: a yield follows."""
        self.worked += time.perf_counter() - self.woken

    def wake(self) -> None:
        self.woken = time.perf_counter()

    def reset(self) -> None:
        self.worked = 0.0


@dataclass(frozen=True)
class Rollout:
    """T steps of N copies under one policy; all (T, N) but `obs` (T, N, D) and real-valued actions (T, N, A)."""

    obs: Tensor
    actions: Tensor  # as drawn, before clipping to the bounds
    log_probs: Tensor  # NaN if they were not wanted
    rewards: Tensor
    values: Tensor
    next_values: Tensor  # of the states that really followed, also where the time limit cut
    terminated: Tensor
    done: Tensor

    def flat(self, tensor: Tensor) -> Tensor:
        """(T, N, ...) to (T N, ...), time first."""
        return tensor.reshape(-1, *tensor.shape[2:])


def collect(run: Run, n_steps: int, pulse: Pulse, *, log_probs: bool = True) -> Iterator[Tick]:
    """Let the policy act `n_steps` times in every copy; the generator's return value is the `Rollout`.

    Log-probabilities (if wanted) and values are worked out afterwards, all at once: the policy does not change meanwhile, and a hundred
    small forward passes cost far more than a large one.
    """
    obs, actions, rewards, terminated, done = ([] for _ in range(5))
    cut: list[tuple[int, Tensor, Tensor]] = []
    for t in range(n_steps):
        obs.append(run.obs)
        action, step = _act(run)
        for column, item in zip((actions, rewards, terminated, done), (action, step.reward, step.terminated, step.done), strict=True):
            column.append(item)
        if bool(step.truncated.any()):
            only_cut = step.truncated & ~step.terminated
            cut.append((t, only_cut, step.final_obs[only_cut]))
        if pulse.due():
            pulse.rest()
            yield Tick(phase="collecting", done=t + 1, total=n_steps, timesteps=run.timesteps)
            pulse.wake()
    return _rollout(run, *map(torch.stack, (obs, actions, rewards, terminated, done)), cut, log_probs)


@torch.no_grad()
def _act(run: Run) -> tuple[Tensor, EnvStep]:
    action = run.policy(run.obs).sample(run.rng)
    step = run.env.step(run.policy.to_env(action))
    run.counted(step)
    run.obs = step.obs
    return action, step


@torch.no_grad()
def _rollout(
    run: Run, obs: Tensor, actions: Tensor, rewards: Tensor, terminated: Tensor, done: Tensor, cut: list[tuple[int, Tensor, Tensor]],
    wanted: bool,
) -> Rollout:
    value, shape = run.nets["value"], rewards.shape
    parts, acts = obs.flatten(0, 1).split(CHUNK), actions.flatten(0, 1).split(CHUNK)
    log_probs = torch.full(shape, torch.nan)
    if wanted:
        log_probs = torch.cat([run.policy(part).log_prob(act) for part, act in zip(parts, acts, strict=True)]).view(shape)
    values = torch.cat([value(part) for part in parts]).view(shape)
    after = torch.cat((values[1:], value(run.obs)[None]))
    for t, where, final_obs in cut:
        after[t, where] = value(final_obs)
    return Rollout(obs, actions, log_probs, rewards, values, after, terminated, done)


def report(
    run: Run, *, loss: float, metrics: dict[str, float], view: Any, total: int, per_update: int, pulse: Pulse, steps_before: int
) -> Update:
    """The record of the update that has just been made; what every algorithm tells alike is added here."""
    if loss != loss or loss in (float("inf"), float("-inf")):
        raise RLError("The loss is no longer a finite number.", "Lower the learning rate, then go on from an earlier snapshot.")
    pulse.rest()
    shared = {"time/total_timesteps": run.timesteps, "time/iterations": run.updates, "train/n_updates": run.updates}
    shared["time/fps"] = (run.timesteps - steps_before) / max(pulse.worked, 1e-9)
    if run.recent:
        returns, lengths = zip(*run.recent, strict=True)
        shared["rollout/ep_rew_mean"], shared["rollout/ep_len_mean"] = sum(returns) / len(returns), sum(lengths) / len(lengths)
    left = -(-max(0, total - run.timesteps) // per_update)
    return Update(
        step=run.updates, total=run.updates + left, loss=loss, metrics=shared | metrics, timesteps=run.timesteps,
        total_timesteps=total, episodes=run.told_episodes(), seconds=pulse.worked, view=view,
    )  # fmt: skip


def progress_left(run: Run, total: int) -> float:
    """Share of the run still to come, 1 at its beginning and 0 at its end: what linear schedules multiply with."""
    return max(0.0, 1.0 - run.timesteps / total)


Settings = Callable[[], Any]
"""Returns the latest settings; asked before every update."""


def updates(steps: Iterator[Tick | Update]) -> Iterator[Update]:
    """Only the updates of a run, for those who need no ticks."""
    return (step for step in steps if isinstance(step, Update))
