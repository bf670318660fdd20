"""What a walk is held against on its way: the law of the noised data at every level, and the exact field where it is known."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from app.protocol.plane import DensityMap
from app.worker import display
from models.plane.data import Cloud
from models.plane.method import Knobs, Method, PlaneStep, Plot
from models.plane.metrics import noised_density
from models.plane.mixture import Mixture

JUDGED = 500
"""Particles at which fields are compared."""
LEAST = 1e-12
"""Density below which a map is as good as empty, per unit of area."""


@dataclass
class Referee:
    """Knows the data of one walk."""

    data: Tensor
    """Held-out points (N, 2), of the wanted label only."""
    start: Tensor | None
    """As many points of the cloud in which walks start; None for N(0, I)."""
    law: Mixture | None
    exact: nn.Module | None
    """Stands where the net stands and knows the answer; None where nobody does, or where the walk itself asks it."""
    errors: list[tuple[float, float]] = field(default_factory=list)
    """Time, and mean |field - exact field| over mean |exact field|, of each judged moment."""

    @classmethod
    def of(cls, row: Method, cloud: Cloud, data: Tensor, label: int | None, exact: bool) -> Referee:
        """For a walk to a cloud; `exact`: it follows the exact answer itself."""
        start = None if cloud.source is None else cloud.source.held_out(len(data), seed=2)
        law = None if cloud.mixture is None or start is not None else cloud.mixture if label is None else cloud.mixture.given(label)
        judge = None if law is None or exact or row.exact is None or row.field is None else row.exact(cloud.mixture)
        return cls(data, start, law, judge)

    def judge(self, row: Method, net: nn.Module, step: PlaneStep, knobs: Knobs) -> None:
        """Compare the fields where the particles are."""
        if self.exact is not None:
            x = step.x[:JUDGED]
            wanted = row.field(self.exact, x, step.time, knobs)
            away = (row.field(net, x, step.time, knobs) - wanted).norm(dim=1).mean() / wanted.norm(dim=1).mean()
            self.errors.append((step.time, float(away)))

    def marginal(self, step: PlaneStep, side: int, reach: float, index: int) -> DensityMap:
        """Log density of the data at the noise of a step."""
        if self.law is not None:
            places = (torch.arange(side) + 0.5) / side * 2 * reach - reach
            y, x = torch.meshgrid(places, places, indexing="ij")
            values = self.law.log_density(torch.stack([x, y], -1).reshape(-1, 2), step.signal, step.noise).reshape(side, side)
            return DensityMap(display.array(values), reach, "noised data, exact", index)
        x, m, s = self.data, step.signal, step.noise
        if self.start is not None:
            x, m, s = m * x + s * self.start, 1.0, 0.0
        values = noised_density(x, m, s, side, reach).clamp(min=LEAST).log()
        what = "noised data" if self.start is None else "chords between both clouds"
        return DensityMap(display.array(values), reach, f"{what}, counted from {len(x):,} held-out points", index)

    def facts(self) -> dict[str, float]:
        """The mean error of the way, if it was judged."""
        return {"field_error": sum(error for _, error in self.errors) / len(self.errors)} if self.errors else {}

    def plots(self) -> tuple[Plot, ...]:
        """The error over the way, if it was judged."""
        if not self.errors:
            return ()
        curves = {"of the learned field": tuple(self.errors)}
        return (Plot(title="Error of the field", x="time", y="share of the exact field", clock="time", log_y=True, curves=curves),)
