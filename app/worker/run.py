"""One run inside the worker: its job, its generator and its gate."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from app.protocol.commands import Submit
from app.protocol.events import Event, Step
from app.protocol.job import Job
from app.worker.inbox import Inbox
from app.worker.mailbox import Mailbox


class Run:
    """State of a run. `permits` is the number of steps it may still take; None = free."""

    def __init__(self, submit: Submit, inbox: Inbox, mailbox: Mailbox) -> None:
        self.id = submit.run_id
        self.job: Job = submit.job
        self.key = submit.key or submit.job.name
        self.permits = submit.park_after
        self.parked = False
        self.started = False
        self.retried = False
        self.kept = 0
        """Lossless events of the runner so far: with any, a retry would repeat them."""
        self.index = 0
        self.total = 0
        self.between_steps = True
        """The last thing the runner did was to complete a step (or nothing yet)."""
        self.turn = 0
        """Number of the last turn, for the round robin."""
        self.seconds_per_step = 0.0
        self.generator: Generator[Event, None, Any] | None = None
        self._seconds_in_step = 0.0
        self._inbox = inbox
        self._mailbox = mailbox

    @property
    def interactive(self) -> bool:
        """Goes before long runs."""
        return self.job.interactive

    def wants(self, channel: str, last: bool) -> bool:
        """See `Ctx.wants`; nobody looks at all when the mailbox takes no previews."""
        if not self._mailbox.previews:
            return False
        return last or self.permits is not None or self._mailbox.wants(self.id, channel)

    def cancel_requested(self) -> bool:
        """See `Ctx.check`."""
        return self._inbox.cancel_requested(self.id)

    @property
    def stepping(self) -> bool:
        """See `Ctx.stepping`."""
        return self.permits is not None

    def tune(self, job: Job) -> None:
        """Go on with a newer version of the job (made by `app.protocol.job.tuned`)."""
        if type(job) is type(self.job):
            self.job = job

    def note_time(self, seconds: float) -> None:
        """Add time spent in `next()`."""
        self._seconds_in_step += seconds

    def note_step(self, event: Step) -> bool:
        """Count a completed step; return True if the gate closes here.

        After the last step the gate stays open: there is nothing left to see, only the result to fetch.
        """
        first = self.seconds_per_step == 0.0
        taken = self._seconds_in_step / max(event.index - self.index, 1)  # a quick run tells of several steps at once
        self.seconds_per_step = taken if first else 0.7 * self.seconds_per_step + 0.3 * taken
        self._seconds_in_step = 0.0
        self.index, self.total = event.index, event.total
        if self.permits is None:
            return False
        self.permits -= 1
        return self.permits <= 0 and event.index != event.total

    def describe(self) -> str:
        """What the status bar says about this run."""
        words = self.job.name
        if self.index:
            words += f" step {self.index}" + (f"/{self.total}" if self.total else "")
        if self.parked:
            return f"{words}, parked"
        if self.index and self.seconds_per_step:
            words += f", {self.seconds_per_step:.2g} s/step"
        return words
