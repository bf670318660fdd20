"""Canned plane lab: an engine without a worker, and runs told by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from app.jobs.plane import Plane, PlaneMethods, PlaneSchedule
from app.protocol.payloads import Curve, Result
from app.protocol.plane import (
    Arrows,
    CloudCard,
    CloudPoints,
    DensityMap,
    MethodCard,
    Particles,
    PlaneKnobCard,
    PlaneLoss,
    PlanePlot,
    PlanePreset,
    ScheduleCard,
)
from tests.app.image_panel_fakes import FakeEngine, FakeHandle

CHURN = PlaneKnobCard(name="churn", title="Churn", default=0.0, lo=0.0, hi=100.0, help="Noise added on the way.", whole=False)
REPAIR = PlanePreset(title="Churn repairs", sentence="Noise on the way forgets errors.", settings=(("data", "rings"), ("churn", 40.0)))


def card(name: str, **changes: Any) -> MethodCard:
    given = {
        "name": name, "title": name.title(), "arxiv": "2210.02747", "equation": "dx/dt = v", "watch_for": "Look. And look.",
        "solvers": ("heun", "euler"), "evaluations": 40, "train_steps": 2000, "batch_size": 1024, "lr": 1e-3, "field": "velocity",
        "density": "exact", "layers": False, "backwards": True, "exact": False, "ode": True, "knobs": (), "presets": (),
    }  # fmt: skip
    return MethodCard(**{**given, **changes})


def number(name: str, default: float, lo: float, hi: float) -> PlaneKnobCard:
    return PlaneKnobCard(name=name, title=name, default=default, lo=lo, hi=hi, help="A number.", whole=False)


SCHEDULES = (
    ScheduleCard(name="linear", title="Linear", numbers=(number("first", 1e-4, 1e-5, 0.05), number("last", 0.02, 1e-4, 0.2))),
    ScheduleCard(name="hand", title="By hand", numbers=tuple(number(f"share {k}", 0.9 - 0.2 * k, 1e-4, 0.999) for k in range(4))),
)
CURVE = Curve(np.array([0.1, 1.0, 10.0]), np.array([1.0, 0.5, 0.0]), label="c_skip")
SHARE = Curve(np.array([0.0, 0.5, 1.0]), np.array([0.9, 0.5, 0.1]))
PLOT = PlanePlot(title="Coefficients", x_label="σ", y_label="c", curves=(CURVE,), clock="level", log_x=True)
CARDS = (card("flow-matching", any_source=True), card("edm", knobs=(CHURN,), presets=(REPAIR,)), card("realnvp"), card("vp", exact=True),
         card("ddpm", schedules=SCHEDULES))
CLOUDS = tuple(CloudCard(name=name, title=name.title(), classes=1, exact=False) for name in ("moons", "rings"))


def particles(index: int, count: int = 6, *, level: float | None = None, way: str = "walk", n: int = 50) -> Particles:
    """Moment `index` of `count`: noise over signal falls evenly from large to nothing, unless a level is given."""
    noise = 1 - index / (count - 1) if level is None else level / np.hypot(1, level)
    signal = 1 - noise if level is None else 1 / np.hypot(1, level)
    xy = np.random.default_rng(0).normal(size=(n, 2)) * max(noise, 0.1)
    return Particles(xy=xy, way=way, index=index, time=index / (count - 1), evaluations=8 * index, signal=signal, noise=noise,
                     says=f"step {index}", last=index == count - 1)  # fmt: skip


class PlaneEngine(FakeEngine):
    """Answers the tables; tells runs when asked to."""

    def answer_tables(self) -> None:
        for handle in self.handles:
            if isinstance(handle.job, PlaneMethods) and handle.active:
                handle.begin()
                handle.succeed(Result(files={"methods": CARDS, "clouds": CLOUDS}))

    def answer_schedules(self, dots: tuple[float, ...] = (0.99, 0.7, 0.3, 0.01), notice: str = "") -> None:
        """Curves for the editor of schedules."""
        for handle in self.handles:
            if isinstance(handle.job, PlaneSchedule) and handle.active:
                handle.begin()
                handle.succeed(Result(files={"share": SHARE, "ratio": SHARE}, facts={"dots": list(dots), "notice": notice}))

    def runs(self) -> list[FakeHandle]:
        return [handle for handle in self.handles if isinstance(handle.job, Plane)]

    def tell(self, handle: FakeHandle, moments: list[Particles] | None = None, *, end: bool = True) -> None:
        """A whole run: card, cloud, losses, moments with field and lattice, density, figures."""
        handle.begin()
        say = handle.record.emit
        say("method", next(card for card in CARDS if card.name == handle.job.method))
        say("cloud", CloudPoints(xy=np.random.default_rng(1).normal(size=(40, 2)), title="Moons", centre=(0.0, 0.0), scale=1.0))
        say("train", tuple(PlaneLoss(step=k, total=3, loss=1 / k, seconds=0.1 * k) for k in (1, 2, 3)))
        at = np.stack(np.meshgrid([-1.0, 1.0], [-1.0, 1.0]), -1).reshape(-1, 2)
        for one in moments if moments is not None else [particles(k) for k in range(6)]:
            say("particles", one)
            say("field", Arrows(at=at, arrows=-at, name="velocity", index=one.index, time=one.time))
            say("grid", Particles(xy=at, way="grid", index=one.index, time=one.time, evaluations=one.evaluations))
            say("marginal", DensityMap(values=np.full((4, 4), float(one.index)), reach=3.0, kind="noised data", index=one.index))
            say("clean", Particles(xy=2 * at, way="clean", index=one.index, time=one.time, evaluations=one.evaluations))
            if handle.job.between:
                ends = np.array(handle.job.between, float)
                shares = np.linspace(0, 1, 5)[:, None]
                say("between", Particles(xy=(1 - shares) * ends[0] + shares * ends[1] + 0.1 * one.index, way="between", index=one.index,
                                         time=one.time, evaluations=one.evaluations))  # fmt: skip
            if handle.job.sketch:
                xy = np.array(handle.job.sketch, float) * (1 + one.index)
                say("sketch", Particles(xy=xy, way="sketch", index=one.index, time=one.time, evaluations=one.evaluations))
            say("parts", tuple(Arrows(at=at, arrows=k * at, name=f"part {k}", index=one.index, time=one.time) for k in (1, 2)))
        say("chords", Arrows(at=at, arrows=-2 * at, name="chords", index=0, time=0.0))
        say("density", DensityMap(values=np.zeros((4, 4)), reach=3.0, kind="exact"))
        say("plot", PLOT)
        if end:
            facts = {
                "sliced_wasserstein": 0.03, "data_distance": 0.02, "projections": 256, "walk_seconds": 0.5, "nll_nats": 1.5,
                "density": "exact",
            }  # fmt: skip
            handle.succeed(Result(facts=facts))
