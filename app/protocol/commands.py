"""What the window or the command line asks of the worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from app.protocol.job import Job

Policy = Literal["queue", "replace", "follow"]


@dataclass(frozen=True, kw_only=True)
class Command:
    """Base of all commands; `run_id` names the run."""

    run_id: int = 0


@dataclass(frozen=True, kw_only=True)
class Submit(Command):
    """Run a job. Runs of one `key` never overlap; `policy` says what happens to those already there.

    queue: wait for them. replace: end them all. follow: let the running one end, drop those waiting.
    """

    job: Job
    key: str = ""
    policy: Policy = "queue"
    park_after: int | None = None
    """Stop after so many steps; None = run through."""


@dataclass(frozen=True, kw_only=True)
class Cancel(Command):
    """End the run."""


@dataclass(frozen=True, kw_only=True)
class Pause(Command):
    """Stand still at the end of the current step."""


@dataclass(frozen=True, kw_only=True)
class StepOn(Command):
    """Take `count` steps, then stand still."""

    count: int = 1


@dataclass(frozen=True, kw_only=True)
class Resume(Command):
    """Run through."""


@dataclass(frozen=True, kw_only=True)
class Tune(Command):
    """Change the live fields of a run."""

    job: Job


@dataclass(frozen=True, kw_only=True)
class Quit(Command):
    """End every run and the worker."""
