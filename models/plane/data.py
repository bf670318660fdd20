"""Clouds of points in the plane: six by formula, one drawn by hand, one taken from a picture.

Every cloud is moved and scaled by one factor for both axes, so that its mean is 0 and its mean variance over x and y is 1: all methods
start from N(0, I) and nobody's step size depends on the cloud. `centre` and `scale` lead back: `raw = centre + scale x`.
Points have a label (which moon, which ring); held-out points are points of another seed. The shapes follow
Grathwohl et al. 2018 (arXiv 1810.01367, toy data) and scikit-learn's `make_moons` and `make_swiss_roll`.
Read next: `mixture.py`, `method.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from models.plane.errors import PlaneError
from models.plane.mixture import Mixture

Draw = Callable[[int, torch.Generator], tuple[Tensor, Tensor]]
FEWEST = 20
"""Points of a drawn cloud."""
MOST_CLASSES = 8
"""Labels that any cloud uses; a network with labels has one more, for "no label"."""
BRUSH = 0.04
"""Standard deviation of the blot that stands for a drawn point, in units of the standardised cloud."""
SIDE = 128
"""Cells a side into which a picture is averaged."""
HELD_OUT_SEED = 10_007


@dataclass(frozen=True, eq=False)
class Cloud:
    """A law of points in the plane, standardised; `draw(n, generator)` gives raw points (n, 2) float32 and labels (n,) int64."""

    name: str
    title: str
    classes: int
    draw: Draw
    centre: tuple[float, float]
    scale: float
    mixture: Mixture | None = None
    """The exact law where it is a mixture of Gaussians, standardised like the points."""
    source: Cloud | None = None
    """Where walks start; None: N(0, I)."""

    def labelled(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """n standardised points (n, 2) float32 and their labels (n,)."""
        raw, labels = self.draw(n, generator)
        return (raw - torch.tensor(self.centre)) / self.scale, labels

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """n standardised points, (n, 2) float32."""
        return self.labelled(n, generator)[0]

    def start(self, n: int, generator: torch.Generator) -> Tensor:
        """n points (n, 2) float32 from which walks start."""
        return torch.randn(n, 2, generator=generator) if self.source is None else self.source.sample(n, generator)

    def held_out(self, n: int, seed: int = 0, label: int | None = None) -> Tensor:
        """n points, of one label if it is given, that no training draws: from another seed."""
        generator = torch.Generator().manual_seed(HELD_OUT_SEED + seed)
        if label is None:
            return self.sample(n, generator)
        if not 0 <= label < self.classes:
            raise PlaneError(f"{self.title} has no label {label}.", hint=f"Its labels run from 0 to {self.classes - 1}.")
        x, labels = self.labelled(2 * n * self.classes, generator)  # about 2 n of them
        return x[labels == label][:n]


def cloud(name: str) -> Cloud:
    """The built-in cloud of that name; PlaneError with the names if there is none."""
    if name not in CLOUDS:
        raise PlaneError(f"There is no cloud named {name[:40]!r}.", hint=f"Clouds: {', '.join(CLOUDS)}.")
    return _built_in(name)


def sample(name: str, n: int, generator: torch.Generator) -> Tensor:
    """n points (n, 2) float32 of a built-in cloud, standardised."""
    return cloud(name).sample(n, generator)


@cache
def _built_in(name: str) -> Cloud:
    title, classes, draw = CLOUDS[name]
    if name == "eight-gaussians":
        return _standardised(name, title, classes, draw, (0.0, 0.0), math.sqrt(RADIUS**2 / 2 + SPREAD**2), _eight())
    raw, _ = draw(1 << 18, torch.Generator().manual_seed(0))
    return _standardised(name, title, classes, draw, tuple(raw.mean(0).tolist()), _spread(raw))


def _standardised(name, title, classes, draw, centre, scale, mixture: Mixture | None = None) -> Cloud:
    exact = None if mixture is None else mixture.moved(centre, scale)
    return Cloud(name, title, classes, draw, centre, scale, exact)


def _spread(raw: Tensor) -> float:
    """Root of the mean variance over x and y."""
    return float(raw.double().var(0, correction=0).mean().sqrt())


# --- clouds by formula; u are uniform, z normal draws ---


def _moons(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two half circles of radius 1 that reach into each other, blurred by 0.08."""
    label = torch.randint(2, (n,), generator=generator)
    angle, side = math.pi * torch.rand(n, generator=generator), 1 - 2.0 * label
    x = torch.stack([label + side * angle.cos(), 0.5 * label + side * angle.sin()], 1)
    return x + 0.08 * torch.randn(n, 2, generator=generator), label


def _spirals(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two arms of Archimedes' spiral through one and a half turns, evenly over their length, blurred by 0.1."""
    label = torch.randint(2, (n,), generator=generator)
    angle = 3 * math.pi * torch.rand(n, generator=generator).sqrt()
    arm = (1 - 2.0 * label) * angle / 3
    x = torch.stack([-arm * angle.cos(), arm * angle.sin()], 1)
    return x + 0.1 * torch.randn(n, 2, generator=generator), label


RADIUS, SPREAD = 2.0, 0.2
"""Of the eight Gaussians."""


def _eight() -> Mixture:
    angle = torch.arange(8, dtype=torch.float64) * math.pi / 4
    means = RADIUS * torch.stack([angle.cos(), angle.sin()], 1)
    return Mixture(torch.full((8,), 1 / 8), means, SPREAD**2 * torch.eye(2).expand(8, 2, 2))


def _eight_gaussians(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Eight Gaussians of deviation 0.2 on a circle of radius 2."""
    label = torch.randint(8, (n,), generator=generator)
    angle = label * (math.pi / 4)
    x = RADIUS * torch.stack([angle.cos(), angle.sin()], 1)
    return x + SPREAD * torch.randn(n, 2, generator=generator), label


def _checkerboard(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The eight black squares of a 4 x 4 board, uniformly; the label is the column."""
    column, half = torch.randint(4, (n,), generator=generator), torch.randint(2, (n,), generator=generator)
    corner = torch.stack([column, 2 * half + column % 2], 1)
    return corner + torch.rand(n, 2, generator=generator), column


def _swiss_roll(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """`t (cos t, sin t)`, t uniform in [1.5 pi, 4.5 pi], blurred by 0.5; the label says inner or outer half."""
    u = torch.rand(n, generator=generator)
    t = 1.5 * math.pi * (1 + 2 * u)
    x = torch.stack([t * t.cos(), t * t.sin()], 1)
    return x + 0.5 * torch.randn(n, 2, generator=generator), (u > 0.5).long()


def _rings(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Three circles of radius 1, 2 and 3 with equal shares, blurred by 0.08."""
    label = torch.randint(3, (n,), generator=generator)
    angle = 2 * math.pi * torch.rand(n, generator=generator)
    x = (label + 1)[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
    return x + 0.08 * torch.randn(n, 2, generator=generator), label


CLOUDS: dict[str, tuple[str, int, Draw]] = {
    "moons": ("Moons", 2, _moons),
    "spirals": ("Two spirals", 2, _spirals),
    "eight-gaussians": ("Eight Gaussians", 8, _eight_gaussians),
    "checkerboard": ("Checkerboard", 4, _checkerboard),
    "swiss-roll": ("Swiss roll", 2, _swiss_roll),
    "rings": ("Rings", 3, _rings),
}
"""Name -> title, number of labels, formula."""


# --- clouds of one's own ---


def from_points(points: np.ndarray) -> Cloud:
    """A cloud drawn by hand: every point of (n, 2) is a round blot of BRUSH, so that held-out points differ from the drawn ones.

    PlaneError for fewer than FEWEST points, for points that are no numbers, and if all lie in one place.
    """
    raw = _checked(points)
    centre, scale = tuple(raw.mean(0).tolist()), _spread(raw)

    def draw(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        which = torch.randint(len(raw), (n,), generator=generator)
        return raw[which] + BRUSH * scale * torch.randn(n, 2, generator=generator), torch.zeros(n, dtype=torch.int64)

    shrunk = scale * math.sqrt(1 + BRUSH**2)  # the blots widen the cloud a little
    return Cloud("drawn", "Drawn cloud", 1, draw, centre, shrunk)


def _checked(points: np.ndarray) -> Tensor:
    values = np.asarray(points, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != 2:
        raise PlaneError(f"A cloud is a list of points of two numbers each, not of shape {values.shape}.")
    if len(values) < FEWEST:
        raise PlaneError(f"A cloud of {len(values)} points is too small.", hint=f"Draw at least {FEWEST}.")
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).any(1).sum())
        raise PlaneError(f"{bad} of the {len(values)} points are no finite numbers.", hint="Remove them.")
    size = float(np.abs(values).max())
    if float(values.var(0).mean()) ** 0.5 <= 1e-6 * max(size, 1e-30):
        raise PlaneError("All points of the cloud lie in the same place.", hint="Draw some beside it.")
    if size > 1e6:
        raise PlaneError(f"A point lies at {size:.3g}, too far out.", hint="Keep the points within a million of the origin.")
    return torch.from_numpy(values).float()


def from_picture(grey: np.ndarray, *, dark: bool = True) -> Cloud:
    """A picture (H, W) uint8 taken as density: the darker (or, without `dark`, the lighter) a place, the more points.

    The picture is averaged into at most SIDE cells a side, and points are uniform inside a cell. PlaneError for a picture of one shade.
    """
    ink = np.asarray(grey, dtype=np.float64)
    if ink.ndim != 2 or min(ink.shape) < 2:
        raise PlaneError(f"A density needs a grey picture of at least 2 x 2 pixels, not of shape {ink.shape}.")
    ink = torch.from_numpy(255 - ink if dark else ink)
    block = math.ceil(max(ink.shape) / SIDE)
    ink = torch.nn.functional.avg_pool2d(ink[None], block, ceil_mode=True, count_include_pad=False)[0]
    ink = ink - ink.min()
    if float(ink.max()) < 1:
        raise PlaneError("The picture has one shade only, so it says nothing about where points should lie.", hint="Take another.")
    rows, columns = ink.shape
    level = (ink / ink.sum()).flatten().cumsum(0)

    def draw(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        u = torch.rand(n, generator=generator, dtype=torch.float64)
        cell = torch.searchsorted(level, u).clamp(max=rows * columns - 1)
        corner = torch.stack([cell % columns, rows - 1 - cell // columns], 1)  # y upwards
        return corner.float() + torch.rand(n, 2, generator=generator), torch.zeros(n, dtype=torch.int64)

    raw, _ = draw(1 << 16, torch.Generator().manual_seed(0))
    return _standardised("picture", "Picture", 1, draw, tuple(raw.mean(0).tolist()), _spread(raw))
