"""Runner of `export-plane`, and the animation of a run: a walk as a file."""

from __future__ import annotations

import csv
import io
from collections.abc import Generator, Sequence
from pathlib import Path

import numpy as np

from app.jobs.plane import ExportPlane
from app.protocol.errors import UserError
from app.protocol.events import Event, Progress
from app.protocol.payloads import Result
from app.protocol.plane import CloudPoints, Particles
from app.runners.plane_picture import film, frame, joined
from app.storage import write_now
from app.worker.context import Ctx

MOST_FRAMES = 120
Parts = Generator[Event, None, bytes]


def export_plane(job: ExportPlane, ctx: Ctx) -> Generator[Event, None, Result]:
    """Write the file that the ending of its name asks for."""
    if not job.moments:
        raise UserError("There is no walk to write.", hint="Train a method first.")
    writers = {".gif": animation, ".png": picture, ".npz": arrays, ".csv": table}
    ending = Path(job.path).suffix.lower()
    if ending not in writers:
        raise UserError(f"A walk cannot be written as {Path(job.path).name[:60]!r}.", hint=f"End the name with {', '.join(writers)}.")
    content = yield from writers[ending](job, ctx)
    return Result(facts={"path": str(write_now(job.path, content)), "bytes": len(content)})


def animation(job: ExportPlane, ctx: Ctx) -> Parts:
    """All moments one after another."""
    return (yield from animated(walks_of(job), job.data, ctx))


Walks = Sequence[tuple[str, Sequence[Particles]]]
"""Titles and moments; of all walks equally many."""


def walks_of(job: ExportPlane) -> Walks:
    """The walk and those beside it."""
    n = len(job.moments)
    if len(job.others) != n * len(job.titles):
        raise UserError(f"{len(job.others)} moments are not {n} of each of {len(job.titles)} walks.", hint="Give each walk as many.")
    return [(job.method, job.moments), *((title, job.others[k * n : (k + 1) * n]) for k, title in enumerate(job.titles))]


def animated(walks: Walks, data: CloudPoints | None, ctx: Ctx) -> Parts:
    """The GIF of walks side by side, at most MOST_FRAMES of their moments."""
    count = len(walks[0][1])
    shown = sorted({round(k) for k in np.linspace(0, count - 1, min(count, MOST_FRAMES))})
    frames = []
    for done, number in enumerate(shown, 1):
        ctx.check()
        frames.append(joined([drawn(moments[number], data, title) for title, moments in walks]))
        yield Progress(done=done, total=len(shown), unit="frames", note="drawing")
    return film(frames)


def picture(job: ExportPlane, ctx: Ctx) -> Parts:
    """One moment."""
    yield Progress(done=0, note="drawing")
    file = io.BytesIO()
    at = min(job.at, len(job.moments) - 1)
    joined([drawn(moments[at], job.data, title) for title, moments in walks_of(job)]).save(file, "PNG")
    return file.getvalue()


def arrays(job: ExportPlane, ctx: Ctx) -> Parts:
    """Positions (moments, N, 2) of each way, with time, signal and noise of each moment."""
    yield Progress(done=0, note="writing")
    found = {}
    for way in dict.fromkeys(moment.way for moment in job.moments):
        moments = [moment for moment in job.moments if moment.way == way]
        found[f"{way}_xy"] = np.stack([moment.xy for moment in moments])
        for name in ("time", "signal", "noise", "evaluations"):
            found[f"{way}_{name}"] = np.array([getattr(moment, name) for moment in moments], float)
    file = io.BytesIO()
    np.savez_compressed(file, **found)
    return file.getvalue()


def table(job: ExportPlane, ctx: Ctx) -> Parts:
    """x, y of one moment."""
    yield Progress(done=0, note="writing")
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("x", "y"), *moment_of(job).xy.tolist()])
    return text.getvalue().encode()


def moment_of(job: ExportPlane) -> Particles:
    """The chosen moment."""
    return job.moments[min(job.at, len(job.moments) - 1)]


def drawn(moment: Particles, data: CloudPoints | None, method: str):
    """A moment at unit size, with its clock as title."""
    scale = max(1.0, moment.spread)
    words = f"{method}   t {moment.time:.3f}   {moment.evaluations} evaluations" + (f"   drawn / {scale:.3g}" if scale > 1.005 else "")
    return frame(moment.xy / scale, None if data is None else data.xy / (scale if moment.way == "walk" else 1.0), words)
