"""The time axis at the bottom: the updates of the shown training, with the transport of every panel."""

from __future__ import annotations

from PySide6.QtWidgets import QVBoxLayout, QWidget

from app.panels.rl.looking import Looking
from app.panels.rl.training import PAUSED, STEPS, UPDATE, Training
from app.widgets.elided_label import ElidedLabel
from app.widgets.transport import Transport


class Timeline(QWidget):
    """Transport bar, and a line about what goes on."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.transport, self._busy = Transport(noun="update"), ElidedLabel("muted", width=160)
        self.transport.add_widget(self._busy)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.transport)

    def set_busy(self, words: str) -> None:
        """What is going on while there is nothing to see."""
        self._busy.setText(words[:1].upper() + words[1:])

    def busy(self) -> str:
        """What is said to be going on."""
        return self._busy.text()

    def show_place(self, training: Training | None, looking: Looking) -> None:
        """Where the time machine stands, and which buttons can be pressed."""
        bar = self.transport
        if training is None:
            bar.set_state("idle")
            bar.set_can(back=False, forward=False)
            bar.set_position(0, 0)
            return
        number, count = looking.place()
        idle = "running" if looking.player.playing else "idle"
        bar.set_state("paused" if training.state == PAUSED else "running" if training.active else idle)
        on = number < count if looking.at is not None else looking.can and not training.active
        bar.set_can(back=looking.can and (number > 1 or looking.at is None), forward=on)
        rows = training.metrics
        newest = int(rows[UPDATE][-1]) if len(rows) else 0
        if looking.at is None or not newest:
            share = f"{training.steps:,} of {training.total:,} steps" if training.total else f"{training.steps:,} steps"
            bar.set_position(newest, newest, share)
        else:
            update = int(rows[UPDATE][rows.at(STEPS, looking.at)])
            bar.set_position(update, newest, f"looking back at step {looking.at:,}")
