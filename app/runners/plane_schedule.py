"""Runner of `plane-schedule`: the course of a noise schedule, for whoever edits it. Nothing is trained."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from app.jobs.plane import PlaneSchedule
from app.protocol.events import Event, Progress
from app.protocol.payloads import Curve, Result
from app.worker.context import Ctx
from models.plane.method import method

DOTS = 7
"""Points at which a curve can be taken hold of, evenly over the clock."""
LEFT = 0.01
"""Share of the signal at the end of a schedule above which walks visibly start from a wrong law."""


def plane_schedule(job: PlaneSchedule, ctx: Ctx) -> Generator[Event, None, Result]:
    """Share of the signal and signal over noise along the clock."""
    yield Progress(done=0, note="looking")
    row = method(job.method)
    if not row.schedules:
        return Result()
    row = row.with_schedule(job.schedule)
    t, m, s = (values.numpy() for values in row.levels())
    share = m**2 / (m**2 + s**2)
    says = f"{share[-1]:.0%} of the variance is still signal where walks start from pure noise." if share[-1] > LEFT else ""
    curves = {"share": Curve(t, share, label="share of the signal"), "ratio": Curve(t, (m / s) ** 2, label="signal over noise")}
    dots = np.interp(np.linspace(0, 1, DOTS), t, share)
    return Result(files=curves, facts={"dots": dots.tolist(), "notice": says, "equation": row.equation})
