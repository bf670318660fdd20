"""Jobs of the plane lab: one method on one cloud, and several methods from the same noise.

What each job gives back (`app/protocol/plane.py`):

    export-plane     writes the file; facts path
    plane-methods    files "methods": tuple[MethodCard, …], "clouds": tuple[CloudCard, …]. Trains nothing
    plane            Records "method": MethodCard, "cloud": CloudPoints, "train": tuple[PlaneLoss, …] (at most every 100 ms), "notice": str,
                     "chords": Arrows as a training pairs start and data, for each kept moment "particles": Particles, "clean": Particles
                     (the guessed x0), "field": Arrows, "parts": tuple[Arrows, …] that add up to it, "marginal": DensityMap of the noised
                     data or of what a flow has made of the noise by then, "grid", "between", "sketch": Particles (each where wanted and
                     known), in the end "density": DensityMap and "plot": PlanePlot; Preview "particles" while it trains. Files samples.npy,
                     held_out.npy, picture.png; facts sliced_wasserstein, data_distance, nll_nats, field_error, inversion_error,
                     evaluations, train_seconds, walk_seconds, …
    plane-schedule   files "share", "ratio": Curve over the method's clock (none for a method without schedules); facts dots (the share at
                     even times), notice, equation
    compare-plane    Records "method", "train", "notice", "row": PlaneRow; files rows.json, rows.csv; facts table, slopes

A method says in its card which solvers and knobs it has. Networks are kept by the worker: another solver, number of evaluations or
knob costs no new training.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from app.protocol.errors import UserError
from app.protocol.job import Job, knob
from app.protocol.payloads import Image
from app.protocol.plane import CloudPoints, Particles

Point = tuple[float, float]
MOST_POINTS = 200_000


@dataclass(frozen=True, kw_only=True)
class PlaneJob(Job):
    """What all share that learn a cloud."""

    interactive: ClassVar[bool] = False

    data: str = knob(
        "moons", top=True, title="Data", help="Cloud by name: moons, spirals, eight-gaussians, checkerboard, swiss-roll, rings."
    )
    points: tuple[Point, ...] = knob(
        (), title="Drawn points", help="A cloud of one's own: x,y one by one, or a text file with two numbers a line."
    )
    picture: Image | None = knob(None, title="Picture", help="A picture whose dark places are taken as the density.")
    light: bool = knob(False, title="Light is dense", help="Take the picture's light places instead.")
    source: str = knob(
        "noise", title="From", help="Where walks start: noise, or a cloud by name with a method that flows between any two."
    )
    train_steps: int = knob(0, lo=0, hi=1_000_000, top=True, title="Updates", help="Of the network; 0: what the method needs as a rule.")
    batch_size: int = knob(0, lo=0, hi=100_000, title="Batch", unit="points", help="Points an update sees; 0: the method's own.")
    lr: float = knob(0.0, lo=0.0, hi=1000.0, title="Learning rate", help="Peak rate of AdamW; 0: the method's own.")
    seed: int = knob(0, lo=0, hi=2**31 - 1, title="Seed", help="First weights, batches, and the noise the particles start from.")

    @classmethod
    def cli_field(cls, name: str, text: str) -> object:
        """A drawn cloud may be a file."""
        if name not in ("points", "between", "sketch"):
            return NotImplemented
        path = Path(text)
        if path.is_file():
            return read_points(path.read_text("utf-8", errors="replace"), path.name)
        return read_points(text, "--point" if name == "points" else f"--{name}")


def read_points(text: str, where: str) -> tuple[Point, ...]:
    """Points from lines of two numbers, parted by comma or space; UserError naming the line that is none."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if not (words := line.replace(",", " ").replace(";", " ").split()):
            continue
        try:
            x, y = map(float, words)
        except ValueError:
            raise UserError(
                f"Line {number} of {where[:60]} is no point: {line[:40]!r}.", hint="A point is two numbers, such as 0.5,1.2."
            ) from None
        found.append((x, y))
        if len(found) > MOST_POINTS:
            raise UserError(f"{where[:60]} holds more than {MOST_POINTS:,} points.", hint="Take some of them.")
    return tuple(found)


@dataclass(frozen=True, kw_only=True)
class PlaneMethods(Job):
    """The tables of methods and clouds of the plane lab."""


@dataclass(frozen=True, kw_only=True)
class PlaneSchedule(Job):
    """The course of a method's noise schedule."""

    method: str = knob("ddpm", title="Method", help="A row of the table of methods.")
    schedule: str = knob("", title="Noise schedule", help="Name and numbers, such as 'linear 0.0001 0.02'; empty: the method's own.")


@dataclass(frozen=True, kw_only=True)
class Plane(PlaneJob):
    """Train a method on a cloud in the plane, then walk noise to data."""

    method: str = knob("flow-matching", top=True, title="Method", help="A row of the table of methods; plane-methods lists them.")
    samples: int = knob(10_000, lo=16, hi=200_000, top=True, title="Particles", help="How many walk from noise to data.")
    solver: str = knob("", top=True, title="Solver", help="One of the method's; empty: its default.")
    evaluations: int = knob(
        0, lo=0, hi=100_000, top=True, title="Evaluations", help="Of the network for each particle; 0: the method's default."
    )
    knobs: tuple[str, ...] = knob((), title="Knobs", help="Numbers of the method's walk, such as churn=40; plane-methods lists them.")
    schedule: str = knob(
        "", title="Noise schedule", help="Name and numbers, such as 'linear 0.0001 0.02' or 'cosine'; empty: the method's own."
    )
    exact: bool = knob(
        False, title="Exact answer", help="Let the known law stand in for the network (eight-gaussians); nothing is trained."
    )
    frames: int = knob(60, lo=2, hi=1000, title="Moments", help="How many moments of a walk are kept at most.")
    grid: int = knob(20, lo=0, hi=100, title="Arrows a side", help="Of the field; 0: none.")
    map_side: int = knob(64, lo=0, hi=400, title="Density cells a side", help="Of the map of log density; 0: none.")
    lattice: int = knob(0, lo=0, hi=61, title="Lattice lines", help="A side of a grid that a deterministic walk carries along; 0: none.")
    between: tuple[Point, ...] = knob(
        (), title="Between", help="Two latents, x,y each: the row between them walks along, where the walk draws no noise."
    )
    between_data: bool = knob(False, title="Between data", help="The two are points of the data; their latents are found by inversion.")
    sketch: tuple[Point, ...] = knob(
        (), title="Sketch", help="Points, or a file of them, that a walk without noise carries to the noise (inversion) and back."
    )
    film: bool = knob(False, title="Film", help="Also write the walk as an animation, walk.gif.")
    back: bool = knob(False, title="And back", help="Also carry held-out data to noise, where the method can.")


@dataclass(frozen=True, kw_only=True)
class ComparePlane(PlaneJob):
    """Several methods from the same noise: error against evaluations, with the order at which each falls."""

    methods: tuple[str, ...] = knob(
        ("flow-matching:euler", "flow-matching:heun", "rectified-flow:euler", "reflow:euler"), title="Methods",
        help="Rows of the table, with solver, knobs or exact behind a colon if wished: flow-matching:heun, edm:churn=40.",
    )  # fmt: skip
    budgets: tuple[int, ...] = knob((4, 8, 16, 32, 64), title="Evaluations", help="Numbers of evaluations each is given.")
    samples: int = knob(2000, lo=16, hi=100_000, title="Particles", help="How many walk.")
    exact: bool = knob(False, title="Exact answer", help="Let the known law stand in for the networks, where it can (eight-gaussians).")


@dataclass(frozen=True, kw_only=True)
class ExportPlane(Job):
    """Write a walk as a file: .gif an animation, .png one moment, .npz all positions, .csv those of one moment."""

    path: str = knob("walk.gif", title="File", help="Its ending says what is written.")
    moments: tuple[Particles, ...] = knob((), title="Moments", help="Of a walk, in their order.")
    at: int = knob(0, lo=0, title="Moment", help="Which one a picture or a table shows, from 0.")
    data: CloudPoints | None = knob(None, title="Data", help="Held-out points behind the particles.")
    method: str = knob("", title="Method", help="Its title.")
    others: tuple[Particles, ...] = knob(
        (), title="Others", help="Walks to draw beside it, one after another: of each as many moments, those that stand beside its own."
    )
    titles: tuple[str, ...] = knob((), title="Their titles", help="Of the methods beside it.")


def written_knobs(settings: dict[str, float]) -> tuple[str, ...]:
    """Knobs as jobs name them: ("churn=40", …)."""
    return tuple(f"{name}={value:g}" for name, value in settings.items())


def read_knobs(words: tuple[str, ...]) -> dict[str, float]:
    """Names and values; UserError for what is no such pair."""
    found = {}
    for word in words:
        name, _, value = word.partition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            raise UserError(f"{word[:60]!r} is no knob.", hint="Write its name and a number, such as churn=40.") from None
    return found
