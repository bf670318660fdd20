"""The panel as it is shown in README and looked at by its makers: a finished picture, and both editors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from app.jobs.diffusion import demo_job

if TYPE_CHECKING:
    from app.panels.image.panel import ImagePanel


def finished(panel: ImagePanel) -> Iterator[Any]:
    """The demonstration after its last step."""
    yield from _demo(panel)
    panel.watching.go(12)
    panel.watching.decode("x0")
    yield 1.0


def edges(panel: ImagePanel) -> Iterator[Any]:
    """The edge canvas over the finished picture."""
    yield from _demo(panel)
    panel.show_stage("canny")
    yield 0.3


def pose(panel: ImagePanel) -> Iterator[Any]:
    """The pose editor over the finished picture."""
    yield from _demo(panel)
    panel.show_stage("pose")
    yield 0.3


def _demo(panel: ImagePanel) -> Iterator[Any]:
    panel.put_job(demo_job())
    panel.commands.generate()
    yield panel.runs.handle
    yield 0.5


SCENES = [("", finished), ("edges", edges), ("pose", pose)]
