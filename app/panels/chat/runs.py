"""The replies being written: one at a time, a second one (another drafter, another model, a branch) behind it.

A `Run` folds the events of its handle into its `Reply`.  A run that was ended is heard no more: what it still sends goes nowhere.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from PySide6.QtCore import QObject, Signal, Slot

from app.jobs.chat import Chat
from app.panels.chat.reply import FAILED, STOPPED, WAITING, WRITING, Reply, sentence, settings_of
from app.protocol.chat import ChatPrompt, ChatRound
from app.protocol.sizes import progress_words

KEY = "chat/reply"
IDLE, STARTING, RUNNING, PAUSED = "idle", "starting", "running", "paused"


class Runs(QObject):
    """Submits replies and tells what becomes of them."""

    began = Signal(object)
    """Reply: it has its turn now, or will have."""
    prompted = Signal(object)
    """Reply: the model has read the prompt."""
    grew = Signal(object)
    """Reply: it has one more round, or newer counters."""
    parked = Signal(object)
    """Reply: its run stands still."""
    ended = Signal(object, str, object)
    """Reply, how ("done", "cancelled", "failed"), and the result or the report."""
    state_changed = Signal()
    busy = Signal(str)
    """A sentence while there is nothing to see yet, such as loading weights; "" when that is over."""

    def __init__(self, engine: Any, parent: QObject) -> None:
        super().__init__(parent)
        self._engine = engine
        self._runs: list[Run] = []

    def submit(self, job: Chat, reply: Reply, park_after: int | None = None) -> None:
        """Let the model write a reply, behind those that are waiting."""
        reply.facts.update(state=WAITING, job=settings_of(job))
        run = Run(self, self._engine.submit(job, key=KEY, policy="queue", park_after=park_after), reply)
        self._runs.append(run)
        self.began.emit(reply)
        self.state_changed.emit()

    def swap(self, reply: Reply, **changed: Any) -> None:
        """Let another run go on where the one of `reply` is, with other settings; what was written stays."""
        old = self.run_of(reply)
        if old is None or old.handle.job.drafter == changed.get("drafter"):
            return
        state, place = old.state, self._runs.index(old)
        job = replace(old.handle.job, continue_ids=reply.swap() if reply.rounds else old.handle.job.continue_ids, **changed)
        self._runs.remove(old)  # before it ends: what it still says is not heard
        old.handle.cancel()
        old.deleteLater()
        reply.facts["job"] = settings_of(job)
        park_after = 1 if state == PAUSED else None
        self._runs.insert(place, Run(self, self._engine.submit(job, key=KEY, policy="queue", park_after=park_after), reply))
        self.state_changed.emit()

    def run_of(self, reply: Reply | None) -> Run | None:
        """The run that writes a reply, if it has not ended."""
        return next((run for run in self._runs if run.reply is reply), None)

    @property
    def active(self) -> bool:
        """Whether any reply is being written or waited for."""
        return bool(self._runs)

    def state_of(self, reply: Reply | None) -> str:
        """idle, starting, running or paused."""
        run = self.run_of(reply)
        return run.state if run else IDLE

    def stop(self, reply: Reply | None = None) -> None:
        """End the run of a reply, or all; what was written stays."""
        for run in list(reversed(self._runs)):
            if reply is None or run.reply is reply:
                run.handle.cancel()

    def tune(self, **live: Any) -> None:
        """Pass live knobs on to the runs, if they differ."""
        for run in self._runs:
            newer = replace(run.handle.job, **live)
            if newer != run.handle.job:
                run.handle.tune(newer)

    # what runs tell ------------------------------------------------------------------------------------------------

    def hears(self, run: Run) -> bool:
        """Whether a run has not ended."""
        return run in self._runs

    def close(self, run: Run, how: str, what: Any) -> None:
        """A run has ended."""
        if run not in self._runs:
            return
        self._runs.remove(run)
        if how != "done":
            run.reply.recount()
        run.reply.facts["state"] = {"cancelled": STOPPED, "failed": FAILED}.get(how, "")
        self.busy.emit("")
        self.ended.emit(run.reply, how, what)
        self.state_changed.emit()
        run.deleteLater()


class Run(QObject):
    """One submitted reply: its handle, and what it has told so far."""

    def __init__(self, runs: Runs, handle: Any, reply: Reply) -> None:
        super().__init__(runs)
        self._runs, self.handle, self.reply = runs, handle, reply
        self.state = STARTING
        for signal, slot in (
            (handle.loading, self._on_loading), (handle.progress, self._on_progress), (handle.record, self._on_record),
            (handle.started, self._on_going), (handle.resumed, self._on_going), (handle.parked, self._on_parked),
            (handle.done, self._on_done), (handle.cancelled, self._on_cancelled), (handle.failed, self._on_failed),
        ):  # fmt: skip
            signal.connect(slot)

    def _set_state(self, state: str) -> None:
        if state != self.state:
            self.state = state
            self._runs.state_changed.emit()

    @Slot(str, object, object)
    def _on_loading(self, key: str, done: int, total: int) -> None:
        if self._runs.hears(self):
            size = f", {progress_words(done, total)}" if total else ""
            self._runs.busy.emit(f"Loading {key}{size}" if done < total or not total else "")

    @Slot(object)
    def _on_progress(self, progress: Any) -> None:
        if self._runs.hears(self):
            self._runs.busy.emit(sentence(progress.note))

    @Slot(str, object)
    def _on_record(self, channel: str, payload: Any) -> None:
        if not self._runs.hears(self):
            return
        reply = self.reply
        if channel == "prompt" and isinstance(payload, ChatPrompt):
            reply.begin(payload)
            self._runs.prompted.emit(reply)
        elif channel == "round" and isinstance(payload, ChatRound):
            if not reply.rounds:
                reply.facts["state"] = WRITING
                self._runs.busy.emit("")
            reply.add(payload)
            self._runs.grew.emit(reply)
        elif channel == "counters":
            reply.count(payload)
            self._runs.grew.emit(reply)

    @Slot()
    def _on_going(self) -> None:
        if self._runs.hears(self):
            self._set_state(RUNNING)

    @Slot(int)
    def _on_parked(self, _index: int) -> None:
        if self._runs.hears(self):
            self._set_state(PAUSED)
            self._runs.parked.emit(self.reply)

    @Slot(object)
    def _on_done(self, result: Any) -> None:
        if self._runs.hears(self):
            self.reply.finish(result.facts)
            self._runs.close(self, "done", result)

    @Slot()
    def _on_cancelled(self) -> None:
        self._runs.close(self, "cancelled", None)

    @Slot(object)
    def _on_failed(self, report: Any) -> None:
        self._runs.close(self, "failed", report)
