"""The transport of a reply: where in its rounds we look, replay, slow motion, and standing still after a round.

A finished reply is replayed with the times that were measured, or slower.  While a reply is being written, slow motion lets its run stand
still after every round for as long as the round would last at that pace.
"""

from __future__ import annotations

from PySide6.QtCore import QObject, QTimer, Signal, Slot

from app.panels.chat.reply import Reply
from app.panels.chat.runs import IDLE, PAUSED, RUNNING, STARTING, Runs
from app.widgets.rounds_strip import seconds

SPEEDS = (1.0, 0.5, 0.25, 0.1)
LEAST_MS, MOST_MS = 16, 4000


class Player(QObject):
    """Moves through the reply in focus."""

    moved = Signal()
    """Another round is looked at."""
    state_changed = Signal()
    focused = Signal()
    """Another reply is in focus."""

    def __init__(self, runs: Runs, parent: QObject) -> None:
        super().__init__(parent)
        self._runs = runs
        self.reply: Reply | None = None
        self.speed = 1.0
        self._held = self._replaying = False
        self._clock = QTimer(self, singleShot=True)
        self._clock.timeout.connect(self._on_clock)
        runs.parked.connect(self._on_parked)
        runs.state_changed.connect(self._on_runs)

    @property
    def state(self) -> str:
        """idle, starting, running or paused, as the transport shows it."""
        if self._replaying:
            return RUNNING
        state = self._runs.state_of(self.reply)
        return RUNNING if state == PAUSED and not self._held else state

    @property
    def live(self) -> bool:
        """Whether the reply in focus is being written."""
        return self._runs.state_of(self.reply) != IDLE

    @property
    def replaying(self) -> bool:
        """Whether old rounds are being played."""
        return self._replaying

    def focus(self, reply: Reply | None, *, held: bool = False) -> None:
        """Look at another reply; `held`: its run was submitted to stand still after its first round."""
        self._stop_replay()
        if reply is not self.reply:
            self.reply = reply
            self._held = held or self._runs.state_of(reply) == PAUSED
            self.focused.emit()
        elif held:
            self._held = True
        self.state_changed.emit()
        self.moved.emit()

    # moving --------------------------------------------------------------------------------------------------------

    def go(self, position: int) -> None:
        """Look at a round, from 1."""
        if self.reply is not None and self.reply.rounds:
            position = min(max(position, 1), len(self.reply.rounds))
            if position != self.reply.position:
                self.reply.position = position
                self.moved.emit()

    def look(self, position: int) -> None:
        """Look at a round, from 1, and stay there."""
        self._stop_replay()
        self.go(position)

    @Slot()
    def first(self) -> None:
        """The first round."""
        self.look(1)

    @Slot()
    def last(self) -> None:
        """The newest round."""
        if self.reply is not None:
            self.look(len(self.reply.rounds))

    @Slot()
    def previous(self) -> None:
        """One round back; a live reply goes on."""
        if self.reply is not None:
            self.look(self.reply.position - 1)

    @Slot()
    def next(self) -> None:
        """One round on; at the end of a reply that stands still, compute it."""
        self._stop_replay()
        reply = self.reply
        if reply is None:
            return
        if reply.position < len(reply.rounds):
            self.go(reply.position + 1)
        elif self._runs.state_of(reply) == PAUSED:
            self._held = True
            self._runs.run_of(reply).handle.step_on(1)

    @Slot()
    def play(self) -> None:
        """Go on writing, or replay what was written."""
        reply = self.reply
        if reply is None:
            return
        if self.live:
            self._held = False
            self.go(len(reply.rounds))
            self._go_on()
        elif reply.rounds:
            if reply.position >= len(reply.rounds):
                reply.position = 1
            self._replaying = True
            self.moved.emit()
            self._wait_for_round()
        self.state_changed.emit()

    @Slot()
    def pause(self) -> None:
        """Stand still."""
        self._stop_replay()
        self._hold()
        self.state_changed.emit()

    @Slot()
    def stop(self) -> None:
        """End the replay, or every reply being written."""
        if self._replaying:
            self._stop_replay()
            self.last()
        else:
            self._runs.stop()

    def set_speed(self, speed: float) -> None:
        """How fast rounds pass: 1 as measured, less is slower."""
        self.speed = speed
        if self._runs.state_of(self.reply) == RUNNING and speed < 1:
            self._runs.run_of(self.reply).handle.pause()
        elif self._runs.state_of(self.reply) == PAUSED and not self._held:
            self._go_on()

    def close_down(self) -> None:
        """Stop the clock."""
        self._replaying = False
        self._clock.stop()

    # the clock -----------------------------------------------------------------------------------------------------

    def _hold(self) -> None:
        if self._runs.state_of(self.reply) in (STARTING, RUNNING):
            self._runs.run_of(self.reply).handle.pause()
        if self.live and not self._held:
            self._held = True
            self._clock.stop()
            self.state_changed.emit()

    def _go_on(self) -> None:
        run = self._runs.run_of(self.reply)
        if run is None:
            return
        if self.speed >= 1:
            run.handle.resume()
        else:
            run.handle.step_on(1)

    def _wait_for_round(self) -> None:
        length = seconds(self.reply.rounds[self.reply.position - 1]) / self.speed
        self._clock.start(round(min(max(length * 1000, LEAST_MS), MOST_MS)))

    def _stop_replay(self) -> None:
        if self._replaying:
            self._replaying = False
            self._clock.stop()
            self.state_changed.emit()

    @Slot()
    def _on_clock(self) -> None:
        if not self._replaying:
            if not self._held:
                self._go_on()
            return
        self.go(self.reply.position + 1)
        if self.reply.position < len(self.reply.rounds):
            self._wait_for_round()
        else:
            self._stop_replay()

    @Slot(object)
    def _on_parked(self, reply: Reply) -> None:
        """A run stands still: for good, or for the rest of a slow round. One that is not looked at goes on."""
        if reply is not self.reply:
            self._runs.run_of(reply).handle.resume()
        elif not self._held and reply.rounds:
            rest = seconds(reply.rounds[-1]) * (1 / self.speed - 1)
            self._clock.start(round(min(max(rest * 1000, 1), MOST_MS)))

    @Slot()
    def _on_runs(self) -> None:
        if not self.live:
            self._held = False
        self.state_changed.emit()
