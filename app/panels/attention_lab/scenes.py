"""The lab as it is shown in README and looked at by its makers: each page once, and both other views of the first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from app.panels.attention_lab.panel import AttentionLabPanel

WITHIN_S, LOOK_EVERY_S = 120.0, 0.2
UPDATES = 240


def maps(panel: AttentionLabPanel) -> Iterator[Any]:
    """All mechanisms on one head."""
    page = panel.mechanisms
    panel.show_page(0)
    yield from _until(lambda: page.kinds.kinds and len(page.views) == len(page.shown()))
    page.kinds.select("window")
    yield 0.5


def beside(panel: AttentionLabPanel) -> Iterator[Any]:
    """One mechanism beside softmax."""
    panel.mechanisms.kinds.select("low_rank")
    panel.mechanisms.view.set_mode("beside")
    panel.mechanisms.view.log.setChecked(True)
    yield 0.5


def lengths(panel: AttentionLabPanel) -> Iterator[Any]:
    """Cost over length."""
    panel.mechanisms.view.set_mode("lengths")
    panel.mechanisms.measure()
    yield panel.mechanisms.runs.measuring.handle
    yield 0.5


def tiles(panel: AttentionLabPanel) -> Iterator[Any]:
    """Where the running maximum rises most: a head that looks at the token before meets its largest scores last."""
    panel.mechanisms.view.set_mode("maps")
    panel.head.restore({**panel.head.save(), "layer": 2, "head": 1})
    panel.show_page(1)
    yield from _until(lambda: panel.tiles.replay.count)
    spread = [float(tile.rescale.std()) if tile.rescale.size else 0.0 for tile in panel.tiles.tiles]
    panel.tiles.replay.go(1 + max(range(len(spread)), key=spread.__getitem__, default=0))
    yield 0.5


def scale(panel: AttentionLabPanel) -> Iterator[Any]:
    """Without a scale."""
    panel.show_page(2)
    yield from _until(lambda: panel.scale.report)
    panel.scale.replay.go(17)
    yield 1.5


def training(panel: AttentionLabPanel) -> Iterator[Any]:
    """A finished training."""
    panel.show_page(3)
    panel.training.knobs.set_value("steps", UPDATES)
    panel.training.train()
    yield panel.training.run.handle
    yield 0.5


def _until(there: Callable[[], Any]) -> Iterator[float]:
    """Wait for something, in steps; give up in the end."""
    for _step in range(round(WITHIN_S / LOOK_EVERY_S)):
        if there():
            return
        yield LOOK_EVERY_S


SCENES = [("", maps), ("beside", beside), ("lengths", lengths), ("tiles", tiles), ("scale", scale), ("training", training)]
