"""Training runs by hand: a worker that is turned step by step, small jobs that take a moment, and what they told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from app import runners
from app.jobs.rl import TrainRl
from app.protocol import commands, events
from app.protocol.job import Job, tuned
from app.worker.loop import GpuWorker
from app.worker.mailbox import Mailbox
from tests.conftest import watching_backend

QUICK = {
    "ppo": ("CartPole-v1", "n_steps=32 batch_size=64 n_epochs=1"),
    "a2c": ("CartPole-v1", ""),
    "trpo": ("CartPole-v1", "n_steps=64 batch_size=64 n_critic_updates=1"),
    "qac": ("GridWorld-5x5", ""),
    "off-policy-ac": ("GridWorld-5x5", ""),
    "ddpg": ("Pendulum-v1", "learning_starts=20 batch_size=16 buffer_size=500"),
    "deterministic-ac": ("Pendulum-v1", ""),
}
TOTALS = {"ppo": 512, "a2c": 400, "trpo": 512, "qac": 320, "off-policy-ac": 320, "ddpg": 60, "deterministic-ac": 320}


def quick(algo: str = "ppo", /, **changes: Any) -> TrainRl:
    """A run of a few updates."""
    env, settings = QUICK[algo]
    values = {
        "algo": algo, "env": env, "settings": settings, "total_timesteps": TOTALS[algo], "n_envs": 4 if algo != "ddpg" else 1,
        "eval_every": -1, "eval_episodes": 2, "hidden": () if env.startswith("Grid") else (16,), **changes,
    }  # fmt: skip
    return TrainRl(**values)


class Hand:
    """One worker, one run, turned by hand."""

    def __init__(self, job: Job, park_after: int | None = None) -> None:
        self.mailbox, self.seen, self.job = Mailbox(), [], job
        self.worker = GpuWorker(self.mailbox, runners.runner, backend=watching_backend)
        self.worker.post(commands.Submit(run_id=1, job=job, park_after=park_after))

    def turn(self, times: int = 10**6) -> list[events.Event]:
        """Turn until nothing is left to do, or so often; all events so far."""
        for _ in range(times):
            if not self.worker.turn():
                break
            self.seen += self.mailbox.drain()[0]
        self.seen += self.mailbox.drain()[0]
        return self.seen

    def tune(self, **fields: Any) -> None:
        """Change live fields."""
        self.job = tuned(self.job, type(self.job)(**{**vars(self.job), **fields}))
        self.worker.post(commands.Tune(run_id=1, job=self.job))

    def step(self, count: int = 1) -> list[events.Event]:
        """Take steps, then stand still; the events since."""
        known = len(self.seen)
        self.worker.post(commands.StepOn(run_id=1, count=count))
        return self.turn()[known:]

    def cancel(self) -> list[events.Event]:
        self.worker.post(commands.Cancel(run_id=1))
        return self.turn()


def told(seen: list[events.Event], channel: str) -> list[Any]:
    """Payloads of a channel, in order."""
    return [e.payload for e in seen if isinstance(e, events.Record | events.Preview) and e.channel == channel]


def last(seen: list[events.Event]) -> events.Event:
    return seen[-1]


def sentence(seen: list[events.Event]) -> str:
    """Title and hint of a failure that people can read."""
    end = seen[-1]
    assert isinstance(end, events.Failed), end
    assert end.report.kind == "user", end.report.traceback
    return f"{end.report.title} {end.report.hint}"


def folder_of(seen: list[events.Event]) -> Path:
    """Folder of the run that was trained."""
    return Path(told(seen, "card")[0].folder)
