"""What has been heard of a training so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from app.jobs.attention_lab import TrainAttentions
from app.protocol.attention_lab import Learner, LearnerPoint


@dataclass
class Race:
    """Learners with their points; `ended` is the state in which the run ended, "" before."""

    job: TrainAttentions | None = None
    learners: tuple[Learner, ...] = ()
    trained: dict[str, list[LearnerPoint]] = field(default_factory=dict)
    tested: dict[str, list[LearnerPoint]] = field(default_factory=dict)
    ended: str = ""

    def take(self, channel: str, payload: Any) -> None:
        """A record of the run."""
        if channel == "learners":
            self.learners = payload
        elif channel in ("train", "test"):
            book = self.trained if channel == "train" else self.tested
            for point in payload:
                book.setdefault(point.name, []).append(point)

    @property
    def step(self) -> int:
        """Updates that all learners have made."""
        return min((points[-1].step for points in self.trained.values()), default=0)

    @property
    def total(self) -> int:
        """Updates in all."""
        return self.job.steps if self.job else 0

    def score(self, name: str) -> LearnerPoint | None:
        """The newest test of a learner."""
        return self.tested[name][-1] if self.tested.get(name) else None
