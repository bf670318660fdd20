"""The panel of descents as it is shown and looked at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from app.panels.quadratic.panel import QuadraticPanel


def valley(panel: QuadraticPanel) -> Iterator[Any]:
    """Zig-zag against two steps."""
    panel.form.presets.setCurrentIndex(1)
    panel.form._on_preset(1)
    yield 0.5
    yield panel.handle
    yield 0.3


def saddle(panel: QuadraticPanel) -> Iterator[Any]:
    """No minimum: the way down without end."""
    panel.form.presets.setCurrentIndex(5)
    panel.form._on_preset(5)
    yield 0.5
    yield panel.handle
    yield 0.3


SCENES = [("", valley), ("no-minimum", saddle)]
