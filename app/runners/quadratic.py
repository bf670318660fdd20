"""Runner of the quadratic lab; all mathematics is that of `models/optim/quadratic.py`."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator

import numpy as np
import torch
from torch import Tensor

from app.jobs.quadratic import MOST, Quadratic
from app.protocol.errors import UserError
from app.protocol.events import Event, Record, Step
from app.protocol.payloads import Result
from app.protocol.quadratic import DescentPath, Landscape
from app.runners.quadratic_picture import picture
from app.worker.context import Ctx
from models.optim import quadratic as maths

MARGIN = 1.3
"""The landscape reaches so many times as far from its middle as the start."""
AT_ONCE = 200
"""Steps between two looks at whether the run was cancelled."""

Run = Generator[Event, None, Result]


def quadratic(job: Quadratic, ctx: Ctx) -> Run:
    """The landscape, then one Record "path" and one Step for each descent."""
    names = tuple(dict.fromkeys(job.methods))
    if not names or (unknown := [name for name in names if name not in maths.DESCENTS]):
        said = f"There is no descent named {unknown[0][:40]!r}." if names else "There is no descent to run."
        raise UserError(said, hint=f"Descents: {', '.join(maths.DESCENTS)}.")
    A, b = matrix(job)
    start = beginning(job, A, b)
    land, plane = landscape(A, b, start, job)
    if land is not None:
        yield Record(channel="landscape", payload=land)
    problem = maths.Quadratic(A, b)  # says what is wrong with an A that has no minimum
    paths = []
    for done, name in enumerate(names, 1):
        paths.append(follow(name, problem, start, plane, job, ctx))
        yield Record(channel="path", payload=paths[-1])
        yield Step(index=done, total=len(names))
    facts = {
        "eigenvalues": problem.spectrum.tolist(), "condition": problem.condition, "minimiser": problem.best.tolist(),
        "least": problem.least, "steps": {path.name: len(path.points) - 1 for path in paths}, "table": table(problem, paths),
    }  # fmt: skip
    return Result(files={"paths.csv": as_csv(paths), "picture.png": picture(land, paths)}, facts=facts)


def numbers(values: tuple[float, ...], n: int, what: str) -> Tensor:
    """(n,) float64; UserError for another count."""
    if len(values) != n:
        raise UserError(f"{what} has {len(values)} numbers, but there are {n} variables.", hint="Give one number for each variable.")
    return torch.tensor(values, dtype=torch.float64)


def matrix(job: Quadratic) -> tuple[Tensor, Tensor]:
    """A (n, n) and b (n,) as the job describes them, whatever A's eigenvalues are."""
    if job.entries:
        n = math.isqrt(len(job.entries))
        if n * n != len(job.entries) or not 2 <= n <= MOST:
            raise UserError(f"{len(job.entries)} entries do not fill a square matrix.", hint=f"A has n x n entries, n from 2 to {MOST}.")
        A = torch.tensor(job.entries, dtype=torch.float64).reshape(n, n)
        A = (A + A.T) / 2
    else:
        values = spectrum(job)
        n = len(values)
        axes = maths.rotation(n, math.radians(job.angle), job.seed)
        A = axes @ torch.diag(values) @ axes.T
    return A, numbers(job.b, n, "b") if job.b else torch.zeros(n, dtype=torch.float64)


def spectrum(job: Quadratic) -> Tensor:
    """The eigenvalues that the job asks for, (n,)."""
    if job.spectrum == "given":
        if not 2 <= len(job.eigenvalues) <= MOST:
            raise UserError(f"{len(job.eigenvalues)} eigenvalues make no plane.", hint=f"Give 2 to {MOST} of them.")
        return torch.tensor(job.eigenvalues, dtype=torch.float64)
    if job.spectrum == "two":
        return torch.cat([torch.ones(job.variables // 2), torch.full((job.variables - job.variables // 2,), job.condition)]).double()
    if job.spectrum == "log":
        return torch.logspace(0, math.log10(job.condition), job.variables, dtype=torch.float64)
    return torch.linspace(1, job.condition, job.variables, dtype=torch.float64)


def beginning(job: Quadratic, A: Tensor, b: Tensor) -> Tensor:
    """Where the descents begin, (n,): as given; in the plane where steepest descent has it hardest; in more variables drawn by the seed.

    The hardest start takes part in two eigenvalues only: with more variables conjugate gradients would always be done in two steps.
    """
    if job.start:
        return numbers(job.start, len(b), "The start")
    if len(b) > 2:
        return stationary(A, b) + torch.randn(len(b), generator=torch.Generator().manual_seed(job.seed + 1), dtype=torch.float64)
    values, axes = torch.linalg.eigh(A)
    return stationary(A, b) + (axes / values.abs().clamp(min=1e-9)).sum(1)


def stationary(A: Tensor, b: Tensor) -> Tensor:
    """Where the gradient vanishes, (n,); 0 for a singular A."""
    flat = float(torch.linalg.eigvalsh(A).abs().min()) <= 1e-12
    return torch.zeros_like(b) if flat else torch.linalg.solve(A, b)


def landscape(A: Tensor, b: Tensor, start: Tensor, job: Quadratic) -> tuple[Landscape | None, Tensor]:
    """f over a square, and the plane it lies in: (n + 1, 2), two directions over the foot of the plane's origin in x's own coordinates.

    Two variables: the x plane itself. More: the axes of the extreme eigenvalues through the stationary point.
    """
    (values, axes), rest, flat = torch.linalg.eigh(A), stationary(A, b), len(b) == 2
    span = torch.eye(2, dtype=A.dtype) if flat else axes[:, [0, -1]]                                    # (n, 2)
    foot = torch.zeros_like(b) if flat else rest
    centre = span.T @ (rest - foot)
    far = max(float((span.T @ (start - rest)).abs().max()), 1e-6)
    reach = job.reach if far <= job.reach else MARGIN * far
    plane, side = torch.cat([span, (span.T @ foot)[None]]), job.side
    if not side:
        return None, plane
    line = torch.linspace(-reach, reach, side, dtype=A.dtype)
    y, x = torch.meshgrid(line, line, indexing="ij")
    at = torch.stack([x, y], -1) @ span.T + rest                                                         # (side, side, n)
    f = 0.5 * torch.einsum("abi,ij,abj->ab", at, A, at) - at @ b
    level = float(0.5 * rest @ A @ rest - b @ rest)
    seen = [span.T @ axis for axis in (maths.falling(axes, b), axes[:, -1])]
    definite = bool(values[0] > maths.SINGULAR * values.abs().max())
    land = Landscape(
        values=f.numpy(), centre=tuple(centre.tolist()), reach=reach, level=level, definite=definite,
        axes=tuple(tuple(one.tolist()) for one in seen),
    )  # fmt: skip
    return land, plane


def follow(name: str, problem: maths.Quadratic, start: Tensor, plane: Tensor, job: Quadratic, ctx: Ctx) -> DescentPath:
    """A whole descent; one that runs away ends with its sentence."""
    records, notice = [], ""
    steps = descent(name, problem, start, job)
    try:
        for record in steps:
            records.append(record)
            if len(records) % AT_ONCE == 0:
                ctx.check()
    except maths.QuadraticError as error:
        notice = f"{error.message} {error.hint}"
    points = torch.stack([record.x for record in records]) @ plane[:-1] - plane[-1]
    bounds = promised(name, problem)
    return DescentPath(
        points=points.numpy(), excess=np.array([record.excess for record in records]),
        residual=np.array([float(record.gradient.norm()) for record in records]),
        bound=np.array([bounds(m) * records[0].excess for m in range(len(records))]), name=name, title=maths.DESCENTS[name][0],
        says=tuple(record.says for record in records), notice=notice,
    )  # fmt: skip


def descent(name: str, problem: maths.Quadratic, start: Tensor, job: Quadratic) -> Iterator[maths.DescentStep]:
    """The descent of that name with the job's settings."""
    if name == "fixed":
        best = 2 / float(problem.spectrum[0] + problem.spectrum[-1])
        return maths.fixed(problem, start, job.steps, job.length or best)
    if name == "heavy-ball":
        return maths.heavy_ball(problem, start, job.steps, job.length or None, None if job.momentum < 0 else job.momentum)
    if name in ("conjugate", "jacobi"):
        return maths.DESCENTS[name][1](problem, start, job.steps, repair=job.repair)
    return maths.DESCENTS[name][1](problem, start, job.steps)


def promised(name: str, problem: maths.Quadratic):
    """m -> the largest share of f - f* that theory leaves after m steps; nan where it says nothing."""
    if name == "steepest":
        return lambda m: maths.steepest_bound(problem.condition, m)
    if name in ("conjugate", "jacobi"):
        k = problem.condition if name == "conjugate" else maths.scaled_condition(problem)
        return lambda m: maths.conjugate_bound(k, m) ** 2
    return lambda m: math.nan


def table(problem: maths.Quadratic, paths: list[DescentPath]) -> str:
    """For the command line."""
    lines = [f"{'descent':<54}{'steps':>7}{'f - f*':>12}{'|b - Ax|':>12}"]
    for path in paths:
        lines.append(f"{path.title:<54}{len(path.points) - 1:>7}{path.excess[-1]:>12.2e}{path.residual[-1]:>12.2e}  {path.notice}".rstrip())
    return "\n".join([*lines, f"{len(problem.b)} variables, condition number {problem.condition:.4g}."])


def as_csv(paths: list[DescentPath]) -> str:
    """Every step of every descent."""
    lines = ["descent,step,x,y,excess,residual,bound"]
    for path in paths:
        for m, (x, y) in enumerate(path.points.tolist()):
            bound = "" if math.isnan(path.bound[m]) else repr(float(path.bound[m]))
            lines.append(f"{path.name},{m},{x!r},{y!r},{float(path.excess[m])!r},{float(path.residual[m])!r},{bound}")
    return "\n".join(lines) + "\n"
