"""The plane lab as it is shown in README and looked at by its makers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from app.panels.plane.lane import Choice

if TYPE_CHECKING:
    from app.panels.plane.panel import PlanePanel

UPDATES = 500
"""Of each of four networks: enough to see, and soon there."""


def one(panel: PlanePanel) -> Iterator[Any]:
    """Flow matching in the middle of its walk."""
    while not panel.side.method.cards():
        yield 0.2
    panel.show_page(0)
    panel.train()
    yield panel.lanes.lane.handle
    panel.player.go(panel.player.replay.count * 6 // 10)
    yield 0.5


def four(panel: PlanePanel) -> Iterator[Any]:
    """Four methods from the same noise."""
    panel.lanes.set_choices([Choice(method=name) for name in ("flow-matching", "edm", "vp", "realnvp")])
    panel.set_count(4)
    panel.side.data.knobs.set_job(replace(panel.side.data.knobs.job(), train_steps=UPDATES, samples=4000))
    panel.train()
    for lane in panel.lanes.all:
        yield lane.handle
    panel.player.go(panel.player.replay.count * 7 // 10)
    yield 0.5


def bent(panel: PlanePanel) -> Iterator[Any]:
    """The plane bent layer by layer, and what the layers have made of the noise."""
    panel.lanes.set_choices([Choice(method=name) for name in ("realnvp", "nice")])
    panel.set_count(2)
    panel.side.data.knobs.set_job(replace(panel.side.data.knobs.job(), train_steps=UPDATES, samples=4000))
    for name in ("grid", "start"):
        panel.stages.switches[name].setChecked(True)
    panel.train()
    for lane in panel.lanes.all:
        yield lane.handle
    panel.player.go(panel.player.replay.count - 1)
    yield 0.5


def desk(panel: PlanePanel) -> Iterator[Any]:
    """Every solver of two methods."""
    while not panel.side.method.cards():
        yield 0.2
    panel.lanes.set_choices([Choice(method=name) for name in ("flow-matching", "edm")])
    panel.set_count(2)
    panel.show_page(1)
    panel.desk.all_solvers.setChecked(True)
    panel.desk.compare()
    yield panel.desk.handle
    yield 0.5


SCENES = [("", one), ("four", four), ("bent", bent), ("desk", desk)]
