"""The plane lab as it is shown in README and looked at by its makers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from app.panels.plane.arrangements import ARRANGEMENTS, STANDARD, Arrangement, several
from app.panels.plane.data_form import DRAWN
from app.protocol.payloads import Image

if TYPE_CHECKING:
    from app.panels.plane.panel import PlanePanel

UPDATES, PARTICLES = 500, 4000
"""Of each network and on each stage, where several stand side by side: enough to see, and soon there."""


def one(panel: PlanePanel) -> Iterator[Any]:
    """Flow matching in the middle of its walk."""
    while not panel.side.method.cards():
        yield 0.2
    panel.show_page(0)
    panel.train()
    yield panel.lanes.lane.handle
    panel.player.go(panel.player.replay.count * 6 // 10)
    yield 0.5


def played(panel: PlanePanel, arrangement: Arrangement, share: float) -> Iterator[Any]:
    """Methods side by side, at a share of their way."""
    while not panel.side.method.cards():
        yield 0.2
    panel.show_page(0)
    panel.lanes.set_choices(list(arrangement.lanes))
    panel.set_count(len(arrangement.lanes))
    for switch, box in panel.stages.switches.items():
        box.setChecked(switch in (*STANDARD, *arrangement.switches))
    panel.latents.take(arrangement.between, arrangement.sketch)
    panel.side.data.knobs.set_job(replace(panel.side.data.knobs.job(), train_steps=UPDATES, samples=PARTICLES))
    panel.side.data.take({"data": "moons", "source": "noise", **arrangement.shared})
    panel.show_lane(0)
    panel.train()
    for lane in panel.lanes.all:
        yield lane.handle
    panel.player.go(round((panel.player.replay.count - 1) * share))
    yield 0.5


def four(panel: PlanePanel) -> Iterator[Any]:
    """Four methods from the same noise."""
    yield from played(panel, Arrangement(sentence="", lanes=several("flow-matching", "edm", "vp", "realnvp")), 0.7)


def guided(panel: PlanePanel) -> Iterator[Any]:
    """Classifier guidance and classifier-free guidance, learned and exact, with the two scores they add up."""
    yield from played(panel, ARRANGEMENTS["Two guidances and their referee"], 0.8)


def straight(panel: PlanePanel) -> Iterator[Any]:
    """What reflow does to the paths, and how straight each round is."""
    yield from played(panel, ARRANGEMENTS["Reflow straightens"], 1.0)
    panel.beside.choice.setCurrentText("Round by round")
    yield 0.3


def between(panel: PlanePanel) -> Iterator[Any]:
    """From eight Gaussians to moons: chords cross, the flow does not."""
    yield from played(panel, ARRANGEMENTS["From eight Gaussians to moons"], 0.6)


def latents(panel: PlanePanel) -> Iterator[Any]:
    """A row of latents between two, and where it lands."""
    yield from played(panel, ARRANGEMENTS["Interpolation of two latents"], 1.0)


def inverted(panel: PlanePanel) -> Iterator[Any]:
    """A drawing that went to the noise and came back."""
    yield from played(panel, ARRANGEMENTS["Inversion of a drawing"], 1.0)


def scheduled(panel: PlanePanel) -> Iterator[Any]:
    """Four noise schedules, one of them in the editor, and what the network guesses on the way."""
    yield from played(panel, ARRANGEMENTS["Linear, cosine, by hand"], 0.7)
    panel.stages.switches["clean"].setChecked(True)
    panel.show_lane(2)
    yield 0.5


def strength(panel: PlanePanel) -> Iterator[Any]:
    """Guidance over a row of w."""
    yield from played(panel, ARRANGEMENTS["Guidance over a row of w"], 1.0)


def bent(panel: PlanePanel) -> Iterator[Any]:
    """The plane bent layer by layer and through time, and what becomes of the noise."""
    yield from played(panel, ARRANGEMENTS["Layers and streams"], 1.0)


def levels(panel: PlanePanel) -> Iterator[Any]:
    """One row of the EDM table with its coefficients, and the guessed points."""
    yield from played(panel, Arrangement(sentence="", lanes=several("edm"), switches=("clean",)), 0.6)
    panel.beside.choice.setCurrentText("Coefficients")
    yield 0.3


def drawn(panel: PlanePanel) -> Iterator[Any]:
    """A cloud from the pen."""
    turn = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    heart = np.stack([16 * np.sin(turn) ** 3, 13 * np.cos(turn) - 5 * np.cos(2 * turn) - 2 * np.cos(3 * turn) - np.cos(4 * turn)], 1) / 9
    panel.side.data.set_points(tuple((float(x), float(y)) for x, y in heart))
    yield from played(panel, Arrangement(sentence="", lanes=several("flow-matching"), shared={"data": DRAWN}), 1.0)


def pictured(panel: PlanePanel) -> Iterator[Any]:
    """A picture as density."""
    y, x = np.mgrid[1:-1:64j, -1:1:64j]
    crescent = (x**2 + y**2 < 0.8) & ((x - 0.35) ** 2 + (y - 0.2) ** 2 > 0.4)
    grey = np.where(crescent, 20, 250).astype(np.uint8)
    panel.side.data.set_picture(Image(np.repeat(grey[:, :, None], 3, 2)))
    yield from played(panel, Arrangement(sentence="", lanes=several("rectified-flow"), shared={"data": "picture"}), 1.0)


def desk(panel: PlanePanel) -> Iterator[Any]:
    """Every solver of two methods."""
    while not panel.side.method.cards():
        yield 0.2
    panel.side.data.take({"data": "moons"})
    panel.lanes.set_choices(list(several("flow-matching", "edm")))
    panel.set_count(2)
    panel.show_page(1)
    panel.desk.all_solvers.setChecked(True)
    panel.desk.compare()
    yield panel.desk.handle
    yield 0.5


SCENES = [
    ("", one), ("four", four), ("guided", guided), ("strength", strength), ("straight", straight), ("between", between), ("bent", bent),
    ("levels", levels), ("latents", latents), ("inverted", inverted), ("scheduled", scheduled), ("drawn", drawn), ("pictured", pictured),
    ("desk", desk),
]  # fmt: skip
