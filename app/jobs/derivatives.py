"""Job of the derivative lab: a typed function of two variables, a point, a direction.

    gradient     Records "surface": Surface, "rise": Rise (`app/protocol/derivatives.py`); files rise.csv, worked.txt; facts value,
                 directional, exact, gradient, unit, steepest, angle_degrees, differentiable, partials, worked
"""

from __future__ import annotations

from dataclasses import dataclass

from app.protocol.errors import UserError
from app.protocol.job import Job, knob

GALLERY = {
    "Bowl": "x^2 + y^2", "Product": "x*y", "Saddle": "x^2 - y^2", "Waves": "sin(x)*cos(y)", "Rosenbrock": "(1 - x)^2 + 100*(y - x^2)^2",
    "Hill": "exp(-x^2 - y^2)", "Roof": "abs(x) + abs(y)", "Cone": "sqrt(x^2 + y^2)", "Ridge": "x^2*y/(x^4 + y^2)",
}  # fmt: skip
"""Functions that show a point each; the last three have no gradient at the origin. A test holds them against the model's own gallery."""


@dataclass(frozen=True, kw_only=True)
class Gradient(Job):
    """Directional derivative, partial derivatives, gradient and tangent plane of a function at a point."""

    function: str = knob("x^2 + y^2", top=True, title="f(x, y)", help="In x and y, as on paper: x^2*y + sin(pi*y), sqrt(x^2 + y^2).")
    point: tuple[str, ...] = knob(("1", "2"), top=True, title="Point", help="Two numbers, exact if written so: 1,2 or 1/3,0.5.")
    direction: tuple[str, ...] = knob(("3", "4"), top=True, title="Direction", help="Two numbers, of any length; not both 0.")
    reach: float = knob(2.5, lo=1e-3, hi=1e3, title="Reach", help="Half the side of the square in view.")
    centre: tuple[float, ...] = knob((), title="Middle", help="Of the square in view; empty, or if the point lies outside: the point.")
    side: int = knob(81, lo=0, hi=400, title="Points a side", help="Of the surface; 0: none.")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, values in (("point", self.point), ("direction", self.direction)):
            if len(values) != 2:
                raise UserError(f"The {name} has {len(values)} numbers.", hint="Give two, such as 1,2.")
        if len(self.centre) not in (0, 2):
            raise UserError(f"The middle has {len(self.centre)} numbers.", hint="Give two, or none.")

    @classmethod
    def cli_field(cls, name: str, text: str) -> object:
        """A point is written 1,2."""
        if name not in ("point", "direction"):
            return NotImplemented
        return tuple(part.strip() for part in text.split(","))
