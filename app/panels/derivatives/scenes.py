"""The panel of derivatives as it is shown and looked at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from app.panels.derivatives.panel import DerivativesPanel


def bowl(panel: DerivativesPanel) -> Iterator[Any]:
    """The worked example, half way to the tangent."""
    while panel.rise is None:
        yield 0.2
    panel.replay.go(5)
    yield 0.3


def pole(panel: DerivativesPanel) -> Iterator[Any]:
    """A typed function that divides by zero in view."""
    panel.form.function.setText("1/x + y")
    panel.form.function.editingFinished.emit()
    yield 0.5
    yield panel.handle
    panel.replay.go(7)
    yield 0.3


SCENES = [("", bowl), ("pole", pole)]
