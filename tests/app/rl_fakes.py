"""Canned trainings for the tests of the reinforcement learning panel: setups, cards, rows, frames, films, maps."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from app.protocol.payloads import Result
from app.protocol.rl import (
    AgentFrame,
    EpisodeFilm,
    Episodes,
    LampView,
    PlaneView,
    RatioView,
    Reference,
    RlChange,
    RlRow,
    RlSetting,
    RunCard,
    Setup,
)

INF = math.inf
PPO = (
    RlSetting("gamma", 0.98, 0.0, 1.0, True, "Discount."),
    RlSetting("lr", 0.001, 0.0, 10.0, True, "Learning rate.", open_lo=True),
    RlSetting("n_steps", 32, 1, 1_000_000, True, "Steps.", kind="whole"),
    RlSetting("normalize_advantage", True, 0.0, 1.0, True, "Normalise.", kind="switch"),
    RlSetting("clip_range", 0.2, 0.0, 10.0, True, "Clip.", open_lo=True),
    RlSetting("target_kl", None, 0.0, INF, True, "Limit.", optional=True, open_lo=True),
    RlSetting("ent_coef", 0.0, 0.0, 10.0, True, "Entropy."),
    RlSetting("vf_coef", 0.5, 0.0, 10.0, True, "Value."),
)
DDPG = (
    RlSetting("gamma", 0.98, 0.0, 1.0, True, "Discount."),
    RlSetting("lr", 0.001, 0.0, 10.0, True, "Learning rate.", open_lo=True),
    RlSetting("buffer_size", 200_000, 1, 100_000_000, False, "Buffer.", kind="whole"),
    RlSetting("noise", 0.1, 0.0, 10.0, True, "Noise."),
    RlSetting("tau", 0.005, 0.0, 1.0, True, "Target rate.", open_lo=True),
)
CHOICES = {
    "algorithms": [
        {"name": name, "title": name.upper(), "suits": name not in ("ddpg", "deterministic-ac"), "note": ""}
        for name in ("qac", "a2c", "off-policy-ac", "deterministic-ac", "ddpg", "trpo", "ppo")
    ],
    "environments": [
        {"id": "CartPole-v1", "ready": True, "note": ""}, {"id": "Pendulum-v1", "ready": True, "note": ""},
        {"id": "LunarLander-v3", "ready": False, "note": 'Install it with: pip install "gymnasium[box2d]".'},
    ],
    "presets": [{"algo": "ppo", "env": "CartPole-v1", "note": "rl-baselines3-zoo, ppo.yml."}],
}  # fmt: skip


def setup(algo: str = "ppo", env: str = "CartPole-v1", **changed: object) -> Setup:
    """A preset, some settings changed."""
    rows = tuple(row._replace(value=changed.get(row.name, row.value)) for row in (DDPG if algo == "ddpg" else PPO))
    return Setup(
        algo=algo, env=env, total=100_000, n_envs=8, hidden=(64, 64), settings=rows, reference=Reference(500, 0, 100_000, "the zoo"),
        note="rl-baselines3-zoo, ppo.yml.", title=algo.upper(), solved_at=475.0,
    )  # fmt: skip


def setup_result(algo: str = "ppo", env: str = "CartPole-v1") -> Result:
    """What the job rl-setup gives."""
    return Result(files={"setup": setup(algo, env)}, facts=CHOICES)


def card(seed: int = 0, algo: str = "ppo", env: str = "CartPole-v1", **changed: object) -> RunCard:
    """A row of the list of runs."""
    run = f"{algo}-{env}-{seed}"
    text = f"{algo} {env} seed={seed} total=100000 n_envs=8 hidden=64,64 gamma=0.98 lr=0.001"
    base = RunCard(run, f"/runs/{run}", algo, env, seed, 100_000, 0, "running", None, None, text, "2026-11-22 09:00")
    return replace(base, **changed)


def rows(first: int, last: int, *, each: int = 256, gain: float = 1.0) -> tuple[RlRow, ...]:
    """The metrics of updates first .. last; no episode has ended in the first."""
    made = []
    for n in range(first, last + 1):
        told = {"train/approx_kl": 0.01, "train/clip_fraction": 0.1, "train/entropy_loss": -0.6, "train/explained_variance": n / 100,
                "train/value_loss": 10.0 / n, "time/fps": 9000.0, "train/learning_rate": 0.001}  # fmt: skip
        told |= {"rollout/ep_rew_mean": gain * 10.0 * n, "rollout/ep_len_mean": 10.0 * n} if n > 1 else {}
        made.append(RlRow(n, n * each, n * 0.05, tuple(told.items())))
    return tuple(made)


def evaluation(update: int, mean: float = 480.0, *, each: int = 256) -> RlRow:
    """An evaluation apart from training."""
    told = {"eval/mean_reward": mean, "eval/std_reward": 20.0, "eval/mean_ep_length": mean}
    return RlRow(update, update * each, update * 0.05, tuple(told.items()))


def episodes(*ends: float) -> Episodes:
    """Episodes that ended at these steps."""
    return Episodes(np.array([[at, 10.0 + n, 10.0 + n] for n, at in enumerate(ends)]).reshape(-1, 3))


def frame(step: int = 0, angle: float = 0.05, total: float = 3.0) -> AgentFrame:
    """CartPole at a moment."""
    facts = {"x": 0.1, "velocity": 0.0, "angle": angle, "angular_velocity": 0.2, "force": 10.0}
    return AgentFrame(
        env="CartPole-v1", step=step, facts=tuple(facts.items()), action=(1.0,), action_names=("left", "right"), probabilities=(0.25, 0.75),
        value=12.5, reward=1.0, total=total, ended=False,
    )  # fmt: skip


def film(timesteps: int, length: int = 5, seed: int = 0) -> EpisodeFilm:
    """A short episode."""
    frames = tuple(frame(n, angle=timesteps / 1e6, total=float(n)) for n in range(length))
    return EpisodeFilm(timesteps=timesteps, seed=seed, frames=frames, total=float(length), terminated=True)


def plane(timesteps: int = 256, n: int = 8) -> PlaneView:
    """Values over angle and angular velocity."""
    value = np.linspace(0, 1, n * n, dtype=np.float32).reshape(n, n)
    return PlaneView(
        x_name="angle (rad)", y_name="angular velocity (rad/s)", x_range=(-0.2, 0.2), y_range=(-3, 3), fixed="cart in the middle",
        value=value, action=(value > 0.5).astype(np.float32), certainty=value, advantage=value - 0.5, action_names=("left", "right"),
        circular=False, timesteps=timesteps, here=(0.0, 0.1), advantage_name="right over left",
    )  # fmt: skip


def inside() -> tuple[RatioView, ...]:
    """PPO's ratios."""
    edges = np.linspace(0, 2, 21)
    return (RatioView(edges=edges, counts=np.ones(20), clip_range=0.2, outside=0.1, timesteps=256),)


LAMPS = (
    LampView("KL", "good", "Updates are small: 0.0100 nats each."), LampView("Critic", "bad", "Explained variance is -0.50, below 0."),
    LampView("Exploration", "watch", "Exploration is nearly gone."), LampView("Clipping", "good", "10% outside."),
    LampView("Signal", "good", "Advantages differ."), LampView("Return", "off", "Too few episodes have ended to judge."),
)  # fmt: skip


def history(made: RunCard, last: int = 20) -> Result:
    """What the job rl-history gives."""
    moments = tuple(n * 256 for n in range(0, last + 1, 5))
    files = {
        "metrics": rows(1, last), "episodes": episodes(100, 200, 300), "changes": (RlChange(512, "clip_range", 0.2, 0.1),),
        "evals": (evaluation(last),), "moments": moments, "setup": setup(made.algo, made.env), "card": made, "lamps": LAMPS,
    }  # fmt: skip
    return Result(files=files, facts={})
