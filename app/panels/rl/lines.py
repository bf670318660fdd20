"""From what trainings told to the lines of a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from app.panels.rl.setting_rows import title_of
from app.panels.rl.training import SECONDS, STEPS, Training
from app.protocol.rl import RlChange
from app.widgets.metric_plot import Line
from app.widgets.number_field import written

AXES = {STEPS: ("environment steps", ""), SECONDS: ("time of work", "s")}
MOST_DOTS = 4000
EVALUATION, INK = "evaluation", 7


def lines(trainings: Sequence[Training], name: str, axis: str, labels: Mapping[str, str]) -> list[Line]:
    """A metric of several trainings; those of a group share label and colour."""
    drawn = []
    for training in trainings:
        told = training.evals if name.startswith("eval/") else training.metrics
        y = told[name]
        there = ~np.isnan(y)
        if there.any():
            label = f"{labels.get(training.group, training.group)}, seed {training.run_setup.seed}"
            drawn.append(Line(str(training.number), labels.get(training.group, ""), training.colour, told[axis][there], y[there], label))
    return drawn


def episode_dots(training: Training, axis: str) -> tuple[np.ndarray, np.ndarray]:
    """(x, y) of every episode of training; thinned evenly to `MOST_DOTS`."""
    rows = training.episodes.rows
    rows = rows[:: -(-len(rows) // MOST_DOTS)] if len(rows) > MOST_DOTS else rows
    return on_axis(training, rows[:, 0], axis), rows[:, 1]


def evaluation(training: Training, axis: str) -> list[Line]:
    """The evaluations apart from training, as a line of their own."""
    x, y = training.evals[axis], training.evals["eval/mean_reward"]
    return [Line(f"{training.number}/eval", EVALUATION, INK, x, y, EVALUATION, points=True)] if len(x) else []


def on_axis(training: Training, steps: np.ndarray, axis: str) -> np.ndarray:
    """Environment steps as steps or as seconds of work."""
    if axis == STEPS or not len(training.metrics):
        return steps
    return np.interp(steps, training.metrics[STEPS], training.metrics[SECONDS])


def to_steps(training: Training, x: float, axis: str) -> int:
    """The environment step of a place on the axis."""
    if axis == STEPS or not len(training.metrics):
        return int(x)
    return int(np.interp(x, training.metrics[SECONDS], training.metrics[STEPS]))


def marks(training: Training, axis: str) -> list[tuple[float, str]]:
    """Knobs turned in the run: where, and from what to what."""
    at = on_axis(training, np.array([change.timesteps for change in training.changes], float), axis)
    return [(float(x), change_words(change)) for x, change in zip(at, training.changes, strict=True)]


def change_words(change: RlChange) -> str:
    """ "Clip range 0.2 → 0.1"."""
    before, after = (written(None if value != value else value) for value in (change.before, change.after))
    return f"{title_of(change.name)} {before} → {after}"


