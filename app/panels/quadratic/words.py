"""What the panel says about descents."""

from __future__ import annotations

import math

import numpy as np

from app.protocol.quadratic import DescentPath, Landscape
from app.widgets.fact_rows import Row

COLOURS = {"steepest": 2, "fixed": 3, "heavy-ball": 4, "conjugate": 0, "jacobi": 5, "newton": 1}
FALLING = 6
"""Data colour of the way along which f falls without end."""
TITLES = {
    "steepest": ("Steepest", "Along the residual to the lowest point on that line; successive gradients stand at right angles"),
    "fixed": ("Fixed step", "The same direction, always the same factor; above 2 / largest eigenvalue it runs away"),
    "heavy-ball": ("Heavy ball", "A fixed step plus a share of the step before (Polyak 1964)"),
    "conjugate": ("Conjugate gradients", "Directions that do not undo each other: done after as many steps as there are eigenvalues"),
    "jacobi": ("Preconditioned", "Conjugate gradients after dividing by A's diagonal (Jacobi)"),
    "newton": ("Newton", "Solves A x = b: there in one step"),
}
EQUATION = "f(x) = x'Ax / 2 − b'x,   r = b − Ax"
WATCH = (
    "Steepest descent zig-zags in a long valley, since each step ends where the next gradient stands at a right angle to it. Conjugate "
    "gradients need two steps in the plane, however long the valley is: drag the start, and the ends λ₁ and λ₂ of one level's axes."
)
NO_MINIMUM = (
    "Along the axis of a negative eigenvalue f falls for ever; where an eigenvalue is 0, f is flat along its axis, or falls if b points "
    "that way. No descent is run: none could arrive."
)
EMPTY = "A landscape appears here at once."
PRESETS: dict[str, tuple[str, dict[str, object]]] = {
    "A long valley": ("Steepest descent zig-zags; conjugate gradients are there in two steps.",
                      {"eigenvalues": (1.0, 40.0), "methods": ("steepest", "conjugate"), "start": ()}),
    "A bowl": ("Equal eigenvalues: every descent goes straight to the middle.",
               {"eigenvalues": (5.0, 5.0), "methods": ("steepest", "conjugate"), "start": ()}),
    "A step too long": ("A fixed step above 2 / largest eigenvalue climbs out of the valley.",
                        {"eigenvalues": (1.0, 10.0), "methods": ("fixed",), "length": 0.21, "start": ()}),
    "Momentum": ("A heavy ball against a fixed step in the same valley.",
                 {"eigenvalues": (1.0, 60.0), "methods": ("fixed", "heavy-ball"), "start": (), "steps": 60}),
    "No minimum": ("One eigenvalue is negative: along its axis f falls without end.",
                   {"eigenvalues": (-1.0, 4.0), "methods": ("steepest",), "start": (1.0, 1.0)}),
    "Rounding": ("Forty variables, condition 10⁶: rounding spoils the directions, and it takes far more than forty steps. Tick Repair.",
                 {"spectrum": "log", "variables": 40, "condition": 1e6, "methods": ("conjugate",), "start": (), "steps": 300}),
    "Few eigenvalues": ("A hundred variables, two different eigenvalues: conjugate gradients need two steps.",
                        {"spectrum": "two", "variables": 100, "methods": ("steepest", "conjugate"), "start": ()}),
}  # fmt: skip


def figure(value: float) -> str:
    """Four figures, a true minus."""
    return f"{value + 0.0:.4g}".replace("-", "−")


def at(values: np.ndarray, step: int) -> float:
    """Of a path that may have ended before."""
    return float(values[min(step, len(values) - 1)])


def rows_of(facts: dict, path: DescentPath | None, step: int) -> list[Row]:
    """Numbers of the inspector."""
    rows: list[Row] = []
    if "condition" in facts:
        values = facts["eigenvalues"]
        shown = ", ".join(figure(value) for value in values) if len(values) <= 4 else f"{figure(values[0])} … {figure(values[-1])}"
        rows += [("Eigenvalues", shown), ("Condition", figure(facts["condition"]), "Largest over smallest eigenvalue")]
        if len(values) == 2:
            rows.append(("Minimum at", ", ".join(figure(value) for value in facts["minimiser"])))
        else:
            rows.append(("Variables", str(len(values))))
    if path is None:
        return rows
    rows += [("Step", count_of(path, step)), ("f − f*", figure(at(path.excess, step)), "Height above the minimum")]
    if math.isfinite(bound := at(path.bound, step)):
        rows.append(("promised", f"≤ {figure(bound)}", "What theory promises f − f* to stay below"))
    rows.append(("|b − Ax|", figure(at(path.residual, step))))
    return [*rows, ("Notice", path.notice)] if path.notice else rows


def beside(path: DescentPath, step: int) -> Row:
    """Another path, in one line."""
    return TITLES[path.name][0], f"{count_of(path, step)}, f − f* {figure(at(path.excess, step))}"


def count_of(path: DescentPath, step: int) -> str:
    """Step 3 of 7."""
    last = len(path.points) - 1
    return f"{min(step, last)} of {last}"


def formula_of(path: DescentPath, step: int, named: bool) -> str:
    """The step that led here with its numbers; empty at the start."""
    says = path.says[min(step, len(path.says) - 1)]
    lines = says.replace("-", "−").replace(",  ", "\n")
    return f"{TITLES[path.name][0]}\n{lines}" if says and named else lines


def rows_of_saddle(land: Landscape, eigenvalues: tuple[float, float]) -> list[Row]:
    """Numbers of a landscape without minimum."""
    way = ", ".join(f"{value + 0.0:.3g}" for value in land.axes[0]).replace("-", "−")
    return [("Eigenvalues", ", ".join(figure(value) for value in eigenvalues)), ("No end along", f"({way})", "Where f never rises again")]
