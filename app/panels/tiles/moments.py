"""The training that is watched: losses, and what the flow made of the same noise at each moment; no Qt."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import numpy as np

from app.jobs.flows import LearnFlow
from app.protocol.job import job_from_dict
from app.protocol.payloads import Curve
from app.protocol.tiles import KeptFlow, LearnMoment

MOST_MOMENTS, MOST_ROWS = 240, 20_000


@dataclass
class Learned:
    """All that has come of one training."""

    job: LearnFlow = field(default_factory=LearnFlow)
    rows: list[tuple[int, float]] = field(default_factory=list)
    moments: list[LearnMoment] = field(default_factory=list)
    notice: str = ""
    ended: str = ""

    @classmethod
    def of(cls, kept: KeptFlow) -> Learned:
        """A training that is kept: its losses; what it made of the noise on its way is not."""
        job, _warnings = job_from_dict(LearnFlow, json.loads(kept.job))
        ended = "done" if kept.step == kept.total else "cancelled"
        return cls(job, list(kept.rows), notice=kept.notice, ended=ended)

    @property
    def step(self) -> int:
        """Updates made."""
        return max(self.rows[-1][0] if self.rows else 0, self.moments[-1].step if self.moments else 0)

    def take(self, channel: str, payload: object) -> None:
        """A record; what is remembered is thinned evenly when it grows too long, first and last stay."""
        if channel == "train":
            self.rows += payload
            if len(self.rows) > MOST_ROWS:
                del self.rows[1:-1:2]
        elif channel == "moment":
            self.moments.append(payload)
            if len(self.moments) > MOST_MOMENTS:
                del self.moments[1:-1:2]
        elif channel == "notice":
            self.notice = payload

    def loss(self) -> Curve:
        """Bits of each update's batch."""
        x, y = np.array(self.rows, float).reshape(-1, 2).T
        return Curve(x=x, y=y, label="a batch")

    def means(self) -> Curve:
        """Means between two moments."""
        known = [(m.step, m.bits) for m in self.moments if np.isfinite(m.bits)]
        x, y = np.array(known, float).reshape(-1, 2).T
        return Curve(x=x, y=y, label="mean between looks")
