"""Runner of `compare-plane`: several methods from the same noise, error against number of evaluations, with slopes."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor

from app.jobs.plane import ComparePlane, read_knobs
from app.protocol.errors import UserError
from app.protocol.events import Event, Record, Step
from app.protocol.payloads import Result
from app.protocol.plane import PlaneRow
from app.runners.plane import HELD_OUT, label_of
from app.runners.plane_training import card, last, open_cloud, prepared, walked
from app.worker.context import Ctx
from models.plane.data import Cloud
from models.plane.errors import DivergedError
from models.plane.method import Method, method
from models.plane.metrics import sliced_wasserstein, slope
from models.solvers import SolverError

REFERENCE = 4
"""The exact end is that of the method's most accurate solver with so many times the largest budget."""
WALK_SEED = 2_000_003
EXACT, SCHEDULE, SCORED = "exact", "schedule=", 500
"""Words behind a method that ask for its exact answer and for a noise schedule; points whose likelihood is averaged."""

Run = Generator[Event, None, Result]


@dataclass
class Entrant:
    """One line of the comparison: a method with its solver and knobs."""

    words: str
    name: str
    row: Method
    solver: str
    knobs: dict[str, float]
    exact: bool

    @classmethod
    def read(cls, words: str) -> Entrant:
        """From "edm:heun,churn=40", "ddpm:ddim,schedule=cosine 0.008", "edm:exact" or "edm"; a solver's own name may hold a comma."""
        name, _, rest = words.partition(":")
        parts = [part.strip() for part in rest.replace(":", ",").split(",") if part.strip()]
        schedule = next((part.removeprefix(SCHEDULE) for part in parts if part.startswith(SCHEDULE)), "")
        row = method(name.strip()).with_schedule(schedule)
        solver = row.check_solver(", ".join(part for part in parts if "=" not in part and part != EXACT))
        knobs = row.settings(read_knobs(tuple(part for part in parts if "=" in part and not part.startswith(SCHEDULE))))
        return cls(words, name.strip(), row.by(solver), solver, knobs, EXACT in parts)

    def end(self, net, noise: Tensor, solver: str, evaluations: int, seed: int):
        """The last step of a walk."""
        generator = torch.Generator().manual_seed(seed + WALK_SEED)
        return last(walked(self.row, net, noise, solver, evaluations, generator, self.knobs))


def compare_plane(job: ComparePlane, ctx: Ctx) -> Run:
    """One Record "row" and one Step for each method and budget."""
    entrants = [Entrant.read(words) for words in dict.fromkeys(job.methods)]
    if not entrants or not job.budgets:
        raise UserError("There is nothing to compare.", hint="Name a method and a number of evaluations.")
    points, key = open_cloud(job)
    noise = points.start(job.samples, torch.Generator().manual_seed(job.seed))
    rows, done, total = [], 0, len(entrants) * len(job.budgets)
    for entrant in entrants:
        yield Record(channel="method", payload=card(entrant.name, entrant.row))
        held_out = points.held_out(HELD_OUT, label=label_of(entrant.knobs))
        exact = entrant.exact or (job.exact and entrant.row.exact is not None)
        net = (yield from prepared(job, ctx, entrant.name, entrant.row, points, key, exact)).net
        ideal = yield from reference(entrant, net, noise, job)
        nll = likelihood(entrant, net, held_out[:SCORED], points)
        for budget in sorted(set(job.budgets)):
            ctx.check()
            try:
                rows.append(replace(measured(entrant, net, noise, budget, job, held_out, ideal), nll=nll))
                yield Record(channel="row", payload=rows[-1])
            except DivergedError as error:
                yield Record(channel="notice", payload=f"{entrant.words} with {budget} evaluations: {error.message}")
            done += 1
            yield Step(index=done, total=total)
    slopes = {words: slope_of([row for row in rows if row.method == words]) for words in dict.fromkeys(row.method for row in rows)}
    base = sliced_wasserstein(points.held_out(job.samples, seed=1), points.held_out(HELD_OUT))
    facts = {"cloud": points.title, "data_distance": base, "slopes": slopes, "table": table(rows, slopes, base)}
    return Result(files={"rows.json": [asdict(row) for row in rows], "rows.csv": as_csv(rows)}, facts=facts)


def reference(entrant: Entrant, net, noise: Tensor, job: ComparePlane) -> Generator[Event, None, Tensor | None]:
    """Where the exact solution from this noise ends, as near as the most accurate of the method's solvers comes; None if there is none."""
    if not entrant.row.ode or not entrant.row.walks_alone(entrant.solver, entrant.knobs):
        return None
    best = next((one for one in ("rk4", "heun") if one in entrant.row.solvers), entrant.solver)
    try:
        return entrant.end(net, noise, best, REFERENCE * max(max(job.budgets), 64), job.seed).x
    except DivergedError as error:
        yield Record(channel="notice", payload=f"{entrant.words} has no exact end: {error.message}")


def likelihood(entrant: Entrant, net, x: Tensor, points: Cloud) -> float | None:
    """Mean of -log p in nats, where the method has a density."""
    if entrant.row.log_density is None or points.source is not None:
        return None
    try:
        return -float(entrant.row.log_density(net, x, entrant.knobs).mean())
    except SolverError:
        return None  # its walks will say why


def measured(entrant: Entrant, net, noise: Tensor, budget: int, job: ComparePlane, held_out: Tensor, ideal: Tensor | None) -> PlaneRow:
    """One walk and how far from the data, and from the exact end, it ended."""
    begin = time.perf_counter()
    end = entrant.end(net, noise, entrant.solver, budget, job.seed)
    seconds = time.perf_counter() - begin
    away = None if ideal is None else float((end.x - ideal).norm(dim=1).mean())
    return PlaneRow(
        method=entrant.words, solver=entrant.solver, evaluations=end.evaluations, wasserstein=sliced_wasserstein(end.x, held_out),
        distance=away, seconds=seconds,
    )  # fmt: skip


def slope_of(rows: list[PlaneRow]) -> float | None:
    """The order at which the distance to the exact end falls; None without one."""
    known = [row for row in rows if row.distance is not None]
    if len({row.evaluations for row in known}) < 2:
        return None
    return slope([row.evaluations for row in known], [row.distance for row in known])


def table(rows: list[PlaneRow], slopes: dict[str, float | None], base: float) -> str:
    """For the command line."""
    lines = [f"{'method':<34}{'evaluations':>12}{'sliced W1':>11}{'to exact end':>14}{'nats':>8}{'s':>8}"]
    for row in rows:
        away, nats = "" if row.distance is None else f"{row.distance:.2e}", "" if row.nll is None else f"{row.nll:.3f}"
        lines.append(f"{row.method[:33]:<34}{row.evaluations:>12}{row.wasserstein:>11.4f}{away:>14}{nats:>8}{row.seconds:>8.2f}")
    orders = ", ".join(f"{name} {value:.2f}" for name, value in slopes.items() if value is not None)
    return "\n".join([*lines, f"Order of the distance to the exact end: {orders or 'none'}. Fresh data against held-out data: {base:.4f}."])


def as_csv(rows: list[PlaneRow]) -> str:
    """The rows for a spreadsheet."""
    names = list(asdict(rows[0])) if rows else []
    return "\n".join([",".join(names), *(",".join("" if v is None else str(v) for v in asdict(row).values()) for row in rows)]) + "\n"
