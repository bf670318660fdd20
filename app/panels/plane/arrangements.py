"""Methods put side by side so that together they show a point: what the entry "Show me …" offers, and the panel's own scenes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from app.jobs.plane import Point
from app.panels.plane.lane import Choice


@dataclass(frozen=True, kw_only=True)
class Arrangement:
    """Lanes, fields of the job they share, and switches beside the standard ones."""

    sentence: str
    lanes: tuple[Choice, ...]
    shared: Mapping[str, object] = field(default_factory=dict)
    switches: tuple[str, ...] = ()
    between: tuple[Point, Point] | None = None
    """Ends of the row of latents."""
    sketch: tuple[Point, ...] = ()
    """A drawing to carry to the noise and back."""


def several(*names: str) -> tuple[Choice, ...]:
    """Methods as they are."""
    return tuple(Choice(method=name) for name in names)


def star(tips: int = 5, each: int = 12) -> tuple[Point, ...]:
    """The outline of a star, point by point."""
    corners = [(radius * math.sin(math.pi * k / tips), radius * math.cos(math.pi * k / tips))
               for k, radius in zip(range(2 * tips + 1), (1.6, 0.64) * (tips + 1))]  # fmt: skip
    return tuple(
        (round(a[0] + (b[0] - a[0]) * i / each, 3), round(a[1] + (b[1] - a[1]) * i / each, 3))
        for a, b in pairwise(corners) for i in range(each)
    )  # fmt: skip


STAR = star()
STANDARD = ("data", "field", "density")
GUIDED = (("label", 1.0), ("guidance", 3.0))
WRONG = (("start", 0.5),)
ARRANGEMENTS: dict[str, Arrangement] = {
    "The ODE and the SDE": Arrangement(
        sentence="The same noise, the same law at every time: the ODE's lines are smooth, the SDE's paths shiver.",
        lanes=(Choice(method="vp"), Choice(method="vp", solver="euler-maruyama", evaluations=400)), switches=("paths",),
    ),
    "Three kinds of noise": Arrangement(
        sentence="VP keeps its size, sub-VP shrinks first, VE explodes; EDM walks VE's path with a network that sees unit variance.",
        lanes=several("vp", "subvp", "ve", "edm"),
    ),
    "One denoiser, four targets": Arrangement(
        sentence="EDM's target, noise, v and velocity: the same lines, from networks that answer with different things.",
        lanes=several("edm", "edm-noise", "edm-v", "edm-flow"),
    ),
    "Churn repairs": Arrangement(
        sentence="Both begin with half the noise they should; only the one that churns forgets it.",
        lanes=(Choice(method="edm", evaluations=119, knobs=WRONG), Choice(method="edm", evaluations=119, knobs=(*WRONG, ("churn", 24.0)))),
    ),
    "Predictor and corrector": Arrangement(
        sentence="The same 40 predictor steps; on the right a Langevin step at the level reached follows each: sharper samples.",
        lanes=(
            Choice(method="ve", solver="reverse-diffusion", evaluations=40),
            Choice(method="ve", solver="reverse-diffusion", evaluations=79, knobs=(("corrections", 1.0),)),
        ),
    ),
    "DDIM and DDPM in 20 steps": Arrangement(
        sentence="Deterministic steps get by with few links of the chain, fresh noise in each does not.",
        lanes=(Choice(method="ddpm", evaluations=20), Choice(method="ddpm", solver="ddpm", evaluations=20)), switches=("clean",),
    ),
    "Linear, cosine, by hand": Arrangement(
        sentence="Three noise schedules, 20 DDIM steps each: see where each spends them, then bend the curve at the side and train anew.",
        lanes=(
            Choice(method="ddpm", evaluations=20), Choice(method="ddpm", evaluations=20, schedule="cosine"),
            Choice(method="ddpm", evaluations=20, schedule="hand 0.9995 0.95 0.8 0.5 0.2 0.04 0.0005"),
            Choice(method="ddpm", evaluations=20, schedule="hand 0.5 0.1 0.03 0.01 0.004 0.001 0.0005"),
        ),
    ),
    "Interpolation of two latents": Arrangement(
        sentence="A row of latents from A to B, walked by DDIM with eta 0: drag A and B at the start, or at the end as points of the data.",
        lanes=(Choice(method="ddpm", evaluations=100), Choice(method="flow-matching")), switches=("between",),
    ),
    "Inversion of a drawing": Arrangement(
        sentence="A star goes to the noise by DDIM inversion and back: nearly the same in 200 steps, not in 10. Draw your own: Sketch.",
        lanes=(Choice(method="ddpm", evaluations=200), Choice(method="ddpm", evaluations=10)), sketch=STAR,
    ),
    "Reflow straightens": Arrangement(
        sentence="Two Euler steps each: the first flow is bent and misses, the third and its distillation hardly do.",
        lanes=(
            Choice(method="reflow", knobs=(("round", 1.0),)),
            Choice(method="reflow", solver="euler", evaluations=2, knobs=(("round", 1.0),)),
            Choice(method="reflow", solver="euler", evaluations=2, knobs=(("round", 3.0),)), Choice(method="reflow", solver="one-step"),
        ),
        switches=("paths",),
    ),
    "From eight Gaussians to moons": Arrangement(
        sentence="A flow between two clouds: chords of the training cross, lines of the flow do not; reflow straightens them.",
        lanes=several("rectified-flow", "reflow"), shared={"source": "eight-gaussians", "data": "moons"}, switches=("paths", "chords"),
    ),
    "Two guidances and their referee": Arrangement(
        sentence="Above trained, below with exact scores: there both are the same to rounding. w = 3 pushes beyond the wanted part.",
        lanes=(
            Choice(method="classifier", knobs=GUIDED), Choice(method="classifier-free", knobs=GUIDED),
            Choice(method="classifier", knobs=GUIDED, exact=True), Choice(method="classifier-free", knobs=GUIDED, exact=True),
        ),
        shared={"data": "eight-gaussians"}, switches=("parts",),
    ),
    "Guidance over a row of w": Arrangement(
        sentence="w = 0, 1, 3 and 8 from the same noise: all parts, one part as it is, then its mode and beyond, less and less of it.",
        lanes=tuple(Choice(method="classifier-free", knobs=(("label", 1.0), ("guidance", w))) for w in (0.0, 1.0, 3.0, 8.0)),
    ),
    "Layers and streams": Arrangement(
        sentence="Couplings shear the plane layer by layer, the continuous flow bends it through time; watch the grid.",
        lanes=several("realnvp", "glow", "nice", "cnf"), switches=("grid", "start"),
    ),
    "Three couplings are needed": Arrangement(
        sentence="Two couplings leave the noise sheared and not folded; ten fold it into moons without changing any area.",
        lanes=several("nice-two", "nice"), switches=("grid", "start"),
    ),
}  # fmt: skip
