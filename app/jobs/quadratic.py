"""Job of the quadratic lab: `f(x) = x'Ax/2 - b'x` minimised in several ways from one start.

    quadratic    Records "landscape": Landscape, "path": DescentPath for each descent (`app/protocol/quadratic.py`); files paths.csv,
                 picture.png; facts eigenvalues, condition, minimiser, least, steps (of each descent), table. A matrix without a minimum
                 still shows its landscape, then fails with the sentence that names the direction along which f falls without end
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from app.protocol.job import Job, knob

METHODS = ("steepest", "fixed", "heavy-ball", "conjugate", "jacobi", "newton")
MOST = 200


@dataclass(frozen=True, kw_only=True)
class Quadratic(Job):
    """Minimise a quadratic in two or more variables: steepest descent, fixed step, heavy ball, conjugate gradients, Newton."""

    spectrum: Literal["given", "even", "log", "two"] = knob(
        "given", title="Spectrum",
        help="Eigenvalues as given; or as many as Variables from 1 to Condition: evenly, evenly in log, or those two only.",
    )  # fmt: skip
    eigenvalues: tuple[float, ...] = knob((1.0, 10.0), top=True, title="Eigenvalues", help="Of A; their number is that of the variables.")
    angle: float = knob(30.0, lo=-360.0, hi=360.0, top=True, title="Angle", unit="degrees", help="Two variables: of A's first axis.")
    variables: int = knob(20, lo=2, hi=MOST, title="Variables", help="For a spectrum that is not given.")
    condition: float = knob(100.0, lo=1.0, hi=1e8, title="Condition", help="Largest over smallest eigenvalue, for a spectrum not given.")
    entries: tuple[float, ...] = knob((), title="Entries of A", help="Row by row, instead of eigenvalues; made symmetric.")
    b: tuple[float, ...] = knob((), title="b", help="One number for each variable; empty: zeros, so that the minimum is at 0.")
    start: tuple[float, ...] = knob(
        (), title="Start",
        help="One number for each variable; empty: where steepest descent has it hardest, with more than two variables drawn at random.",
    )  # fmt: skip
    methods: tuple[str, ...] = knob(("steepest", "conjugate"), top=True, title="Descents", help=f"Some of {', '.join(METHODS)}.")
    steps: int = knob(30, lo=1, hi=5000, top=True, title="Steps", help="At most.")
    length: float = knob(0.0, lo=0.0, hi=1e6, title="Step length", help="Of the fixed step and the heavy ball; 0: the best one.")
    momentum: float = knob(-1.0, lo=-1.0, hi=1.0, title="Momentum", help="Of the heavy ball; -1: the best one.")
    repair: bool = knob(False, title="Repair", help="Conjugate gradients keep their residuals orthogonal in spite of rounding.")
    seed: int = knob(0, lo=0, hi=2**31 - 1, title="Seed", help="More than two variables: of the random axes and start.")
    reach: float = knob(0.0, lo=0.0, hi=1e9, title="Reach", help="Half the side of the landscape; 0: a little further than the start.")
    side: int = knob(101, lo=0, hi=400, title="Landscape points", help="A side; 0: no landscape.")

    @classmethod
    def cli_field(cls, name: str, text: str) -> object:
        """Descents are written with commas between them."""
        return tuple(part.strip() for part in text.split(",")) if name == "methods" else NotImplemented
