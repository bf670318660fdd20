"""The time axis at the bottom: the tokens of the text, one after the other, with the transport of every panel."""

from __future__ import annotations

from PySide6.QtCore import QObject
from PySide6.QtWidgets import QVBoxLayout, QWidget

from app.panels.routing.runs import Runs
from app.widgets.elided_label import ElidedLabel
from app.widgets.transport import Transport


class Timeline(QWidget):
    """Transport bar, and a line about what goes on."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.transport, self._busy = Transport(noun="token"), ElidedLabel("muted", width=320)
        self.transport.add_widget(self._busy)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.transport)

    def connect_to(self, runs: Runs, _owner: QObject) -> None:
        """Let the buttons move in the text."""
        bar = self.transport
        for signal, slot in (
            (bar.first, runs.first), (bar.previous, runs.previous), (bar.play, runs.play), (bar.pause, runs.pause),
            (bar.next, runs.next), (bar.last, runs.last), (bar.stop, runs.stop),
        ):  # fmt: skip
            signal.connect(slot)

    def set_busy(self, words: str) -> None:
        """What is going on while there is nothing to see."""
        self._busy.setText(words[:1].upper() + words[1:])

    def busy(self) -> str:
        """What is said to be going on."""
        return self._busy.text()

    def show_position(self, runs: Runs, note: str) -> None:
        """Where we are, and which buttons can be pressed."""
        reading = runs.reading
        position, last = (reading.position, len(reading)) if reading else (0, 0)
        self.transport.set_state({"starting": "running"}.get(runs.state, runs.state))
        self.transport.set_can(back=position > 1, forward=position < last)
        self.transport.set_position(position, last, note)
