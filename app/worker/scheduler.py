"""Who is next: interactive runs first, round robin among equals, and a small share for long runs.

Long runs (training) keep at least about a fifth of the time while interactive ones work: a chat never stops a
training run for good. Runs of one key never overlap.
"""

from __future__ import annotations

from app.protocol.commands import Policy
from app.worker.run import Run

INTERACTIVE_SHARE = 4.0
"""A long run gets a turn after interactive runs have had this many times the length of its last turn."""
FIRST_GUESS_S = 0.25
"""Length of a long run's turn before one has been measured."""


class Scheduler:
    """All runs that have not ended, in the order they came."""

    def __init__(self) -> None:
        self.runs: list[Run] = []
        self._turns = 0
        self._interactive_s = 0.0
        self._long_turn_s = FIRST_GUESS_S

    def admit(self, run: Run, policy: Policy) -> list[Run]:
        """Add a run and return those that have to end because of it."""
        same = [other for other in self.runs if other.key == run.key]
        self.runs.append(run)
        if policy == "replace":
            return same
        if policy == "follow":
            return [other for other in same if not other.started]
        return []

    def find(self, run_id: int) -> Run | None:
        """The run of that number if it has not ended."""
        return next((run for run in self.runs if run.id == run_id), None)

    def remove(self, run: Run) -> None:
        """The run has ended."""
        if run in self.runs:
            self.runs.remove(run)

    def waiting(self) -> list[Run]:
        """Runs that wait for an earlier one of the same key."""
        taken: set[str] = set()
        late = []
        for run in self.runs:
            if run.key in taken:
                late.append(run)
            taken.add(run.key)
        return late

    def runnable(self) -> list[Run]:
        """Runs that could take a step now."""
        late = self.waiting()
        return [run for run in self.runs if not run.parked and run not in late]

    def pick(self) -> Run | None:
        """The run to advance, or None if all stand still."""
        ready = self.runnable()
        quick = [run for run in ready if run.interactive]
        slow = [run for run in ready if not run.interactive]
        group = quick or slow
        if quick and slow and self._interactive_s >= INTERACTIVE_SHARE * self._long_turn_s:
            group = slow
        return min(group, key=lambda run: (run.turn, run.id), default=None)

    def spent(self, run: Run, seconds: float) -> None:
        """Note that a run has had a turn of that length."""
        self._turns += 1
        run.turn = self._turns
        if run.interactive:
            self._interactive_s += seconds
        else:
            self._interactive_s = 0.0
            self._long_turn_s = seconds
