"""What the panel says about descents."""

from __future__ import annotations

from app.protocol.quadratic import DescentPath
from app.widgets.fact_rows import Row

COLOURS = {"steepest": 2, "fixed": 3, "heavy-ball": 4, "conjugate": 0, "jacobi": 5, "newton": 1}
TITLES = {
    "steepest": ("Steepest descent", "Along the residual to the lowest point on that line; successive gradients stand at right angles"),
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
    "Few eigenvalues": ("A hundred variables, two different eigenvalues: conjugate gradients need two steps.",
                        {"spectrum": "two", "variables": 100, "methods": ("steepest", "conjugate"), "start": ()}),
}  # fmt: skip


def figure(value: float) -> str:
    """Four figures, a true minus."""
    return f"{value + 0.0:.4g}".replace("-", "−")


def rows_of(facts: dict, path: DescentPath | None, step: int) -> list[Row]:
    """Numbers of the inspector."""
    rows: list[Row] = []
    if "condition" in facts:
        values = facts["eigenvalues"]
        shown = ", ".join(figure(value) for value in values) if len(values) <= 4 else f"{figure(values[0])} … {figure(values[-1])}"
        rows += [("Eigenvalues", shown), ("Condition", figure(facts["condition"]), "Largest over smallest eigenvalue")]
        if len(values) == 2:
            rows.append(("Minimum at", ", ".join(figure(value) for value in facts["minimiser"])))
    if path is None:
        return rows
    at = min(step, len(path.points) - 1)
    rows += [("Step", f"{at} of {len(path.points) - 1}"), ("f − f*", figure(path.excess[at]), "Height above the minimum")]
    if path.bound[at] == path.bound[at]:
        rows.append(("promised", f"≤ {figure(path.bound[at])}", "What theory promises f − f* to stay below"))
    rows.append(("|b − Ax|", figure(path.residual[at])))
    if path.notice:
        rows.append(("Notice", path.notice))
    return rows
