"""The panel of tiles as it is shown and looked at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from app.panels.tiles.presets import PRESETS

if TYPE_CHECKING:
    from app.panels.tiles.panel import TilesPanel

UPDATES = 60


def samples(panel: TilesPanel) -> Iterator[Any]:
    """Glow at temperature 0.7."""
    panel.take_preset(PRESETS[0])
    while "gaussian_bits" not in panel.facts:
        yield 0.2
    panel.banner.hide()
    yield 0.5


def between(panel: TilesPanel) -> Iterator[Any]:
    """Half-way between two pictures."""
    panel.show_page(1)
    while not panel.between.facts:
        yield 0.2
    yield 0.3


def filling(panel: TilesPanel) -> Iterator[Any]:
    """The lower half comes back."""
    panel.show_page(2)
    while panel.real_sheet() is None:
        yield 0.2
    panel.fill.run()
    yield panel.fill.handle
    yield 0.3


def layers(panel: TilesPanel) -> Iterator[Any]:
    """In the middle of the flow."""
    panel.show_page(3)
    while not panel.depth.looks:
        yield 0.2
    panel.depth.replay.go(len(panel.depth.looks) // 2)
    yield 0.3


def nice(panel: TilesPanel) -> Iterator[Any]:
    """A fresh NICE learns."""
    panel.show_page(0)
    panel.side.set_flow("nice", "built-in")
    panel._on_flow()
    panel.learn.knobs.set_value("steps", UPDATES)
    panel.learn.train()
    yield panel.learn.handle
    while "gaussian_bits" not in panel.facts:
        yield 0.2
    yield 0.3


SCENES = [("", samples), ("between", between), ("fill", filling), ("layers", layers), ("learn", nice)]
