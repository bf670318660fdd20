"""Words of a `MetricPlot`: means over seeds, published results, and the form of a sentence that fits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PySide6.QtGui import QFontMetrics

from app import theme
from app.protocol.rl import Reference
from app.widgets.colour_scale import figure
from app.widgets.metric_tracks import Track


def mean_words(tracks: list[Track], x: float) -> str:
    """Mean and standard deviation over the seeds that reach x."""
    values = np.array([v for v in (track.at(x) for track in tracks) if v is not None and np.isfinite(v)])
    if not len(values):
        return "–"
    return figure(float(values[0])) if len(values) == 1 else f"{figure(float(values.mean()))} ± {figure(float(values.std(ddof=1)))}"


def reference_words(reference: Reference) -> tuple[str, str]:
    """A published result in words, in full and short."""
    short = f"reference: {figure(reference.mean)} ± {figure(reference.std)} after {reference.timesteps:,} steps"
    return f"{short} ({reference.source})", short


def fitting(forms: Sequence[str], width: float) -> str:
    """The first of the forms that is no wider than this in small type, else the last."""
    metrics = QFontMetrics(theme.font(theme.LEAST))
    return next((form for form in forms if metrics.horizontalAdvance(form) <= width), forms[-1])
