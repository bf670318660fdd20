"""A row of the list of runs: what the folder says, what is in memory, and both in words."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import Qt
from PySide6.QtGui import QPainter, QPixmap

from app import theme
from app.panels.rl.training import WORDS, Training
from app.protocol.rl import RunCard


@dataclass(frozen=True)
class Entry:
    """One row: what the folder says, what is in memory, or both."""

    card: RunCard | None
    training: Training | None

    @property
    def state(self) -> str:
        """Of the training here, else as its folder says."""
        return self.training.state if self.training else self.card.state if self.card else ""

    @property
    def folder(self) -> str:
        """Its folder, "" if it has none yet."""
        return self.card.folder if self.card else self.training.folder if self.training else ""


def same(entry: Entry, other: Entry) -> bool:
    """Are both about one run?"""
    return entry.training is other.training if entry.training or other.training else entry.folder == other.folder


def words(entry: Entry) -> tuple[str, ...]:
    """The cells of a row."""
    training, card = entry.training, entry.card
    setup = training.run_setup if training else None
    algo, env, seed = (setup.algo, setup.env, setup.seed) if setup else (card.algo, card.env, card.seed)
    steps, total = (training.steps, training.total) if training else (card.timesteps, card.total)
    mean = training.evals.last("eval/mean_reward") if training and len(training.evals) else card.eval_mean if card else None
    std = training.evals.last("eval/std_reward") if training and len(training.evals) else card.eval_std if card else None
    judged = "" if mean is None or mean != mean else f"{mean:.4g} ± {std or 0:.3g}"
    share = f"{steps:,} of {total:,}" if steps < total else f"{steps:,}"
    return algo, env, str(seed), share, WORDS.get(entry.state, entry.state), judged, card.started if card else ""


def tip(entry: Entry) -> str:
    """What is wrong with a run, its whole setup, and where it lies."""
    parts = [entry.card.sentence, entry.card.setup, entry.folder] if entry.card else [entry.folder]
    return "\n".join(part for part in parts if part) or "Ticked: its curves are drawn."


def chip(training: Training | None) -> QPixmap:
    """The colour of its curves; a ring for one that is not drawn."""
    pixels = QPixmap(12, 12)
    pixels.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixels)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    ink = theme.data_colour(training.colour) if training else theme.colour("muted")
    painter.setPen(ink)
    if training is not None and training.visible:
        painter.setBrush(ink)
    painter.drawEllipse(2, 2, 8, 8)
    painter.end()
    return pixels
