"""The only contact between window and worker: submit, handles, and the timer that empties the mailbox.

The worker never touches Qt. A 16 ms timer on the GUI thread, running only while something can happen, drains
the mailbox and turns events into signals of the run's handle: for a few milliseconds at a time, so that what comes in a
rush does not keep the window from painting.
"""

from __future__ import annotations

import itertools
import time
from collections import deque

from PySide6.QtCore import QObject, QTimer, Signal

from app import runners
from app.protocol import commands, events
from app.protocol.job import Job, tuned
from app.protocol.status import WorkerStatus
from app.worker.backend import TorchBackend
from app.worker.loop import GpuWorker
from app.worker.mailbox import Mailbox

DRAIN_EVERY_MS = 16
TURN_S, BETWEEN_MS = 0.004, 1
"""How long events are delivered in one go, and the pause for the window before the rest."""
CLOSE_WITHIN_S = 3.0
STAND_BACK = 5
"""The worker's nice level beside a window: with as many torch threads as cores, the window still gets a core when it wants one."""


class RunHandle(QObject):
    """One submitted run as a panel sees it. Cancelling detaches at once: no late result arrives."""

    started = Signal()
    loading = Signal(str, object, object)
    """key, bytes done, bytes in all (Python ints: a C int ends at 2 GB)"""
    progress = Signal(object)
    preview = Signal(str, object)
    record = Signal(str, object)
    step = Signal(int, int)
    parked = Signal(int)
    resumed = Signal()
    done = Signal(object)
    cancelled = Signal()
    failed = Signal(object)
    finished = Signal()
    """After any of done, cancelled, failed."""

    def __init__(self, engine: Engine, run_id: int, job: Job) -> None:
        super().__init__(engine)
        self._engine = engine
        self.run_id = run_id
        self.job = job
        self.state = "queued"
        """queued, running, parked, done, cancelled or failed"""

    @property
    def active(self) -> bool:
        """Has the run not ended?"""
        return self.state in ("queued", "running", "parked")

    def cancel(self) -> None:
        """End the run; `cancelled` and `finished` are emitted in this very call."""
        if self.active:
            self._engine.post(commands.Cancel(run_id=self.run_id))
            self._end("cancelled", self.cancelled)

    def pause(self) -> None:
        """Stand still at the end of the current step."""
        self._engine.post(commands.Pause(run_id=self.run_id))

    def step_on(self, n: int = 1) -> None:
        """Take `n` steps, then stand still."""
        self._engine.post(commands.StepOn(run_id=self.run_id, count=n))

    def resume(self) -> None:
        """Run through."""
        self._engine.post(commands.Resume(run_id=self.run_id))

    def tune(self, job: Job) -> None:
        """Take over the live fields of `job`; UserError if they do not fit together."""
        self.job = tuned(self.job, job)
        self._engine.post(commands.Tune(run_id=self.run_id, job=self.job))

    def receive(self, event: events.Event) -> None:
        """Turn an event into a signal (called by the engine)."""
        if not self.active:
            return
        match event:
            case events.Started():
                self.state = "running"
                self.started.emit()
            case events.Loading():
                self.loading.emit(event.key, event.done, event.total)
            case events.Progress():
                self.progress.emit(event)
            case events.Preview():
                self.preview.emit(event.channel, event.payload)
            case events.Record():
                self.record.emit(event.channel, event.payload)
            case events.Step():
                self.step.emit(event.index, event.total)
            case events.Parked():
                self.state = "parked"
                self.parked.emit(event.index)
            case events.Resumed():
                self.state = "running"
                self.resumed.emit()
            case events.Done():
                self._end("done", self.done, event.result)
            case events.Cancelled():
                self._end("cancelled", self.cancelled)
            case events.Failed():
                self._end("failed", self.failed, event.report)

    def _end(self, state: str, signal: Signal, *values: object) -> None:
        self.state = state
        signal.emit(*values)
        self.finished.emit()


class Engine(QObject):
    """Owns the worker thread. Call `start` once the window is on the screen: torch is imported then."""

    status = Signal(object)
    """A `WorkerStatus` for the status bar."""

    def __init__(
        self,
        parent: QObject | None = None,
        *,
        threads: int | None = None,
        device: str = "auto",
        worker: GpuWorker | None = None,
    ) -> None:
        super().__init__(parent)
        self._worker = worker or GpuWorker(Mailbox(), runners.runner, backend=lambda: TorchBackend(threads=threads, device=device))
        self._mailbox = self._worker.mailbox
        self._handles: dict[int, RunHandle] = {}
        self._numbers = itertools.count(1)
        self._closed = False
        self.last_status = WorkerStatus()
        self._arrived: deque[events.Event] = deque()
        self._told: WorkerStatus | None = None
        """What has come out of the mailbox and is not delivered yet; the status follows the events before it."""
        self._rest = QTimer(self, singleShot=True, interval=BETWEEN_MS)
        self._rest.timeout.connect(self.drain)
        self._timer = QTimer(self)
        self._timer.setInterval(DRAIN_EVERY_MS)
        self._timer.timeout.connect(self.drain)

    def start(self) -> None:
        """Start the worker thread (once)."""
        if not self._closed:
            self._worker.start(nice=STAND_BACK)
            self._timer.start()

    def submit(self, job: Job, *, key: str | None = None, policy: commands.Policy = "queue", park_after: int | None = None) -> RunHandle:
        """Hand in a job. Runs of one `key` (the job's name if not given) never overlap; see `commands.Submit`."""
        handle = RunHandle(self, next(self._numbers), job)
        self._handles[handle.run_id] = handle
        self.post(commands.Submit(run_id=handle.run_id, job=job, key=key or job.name, policy=policy, park_after=park_after))
        self.start()
        return handle

    def post(self, command: commands.Command) -> None:
        """Hand a command to the worker and look for answers."""
        self._worker.post(command)
        if self._worker.alive:
            self._timer.start()

    def active(self) -> list[RunHandle]:
        """Handles of all runs that have not ended, oldest first."""
        return [handle for handle in self._handles.values() if handle.active]

    def cancel_all(self) -> None:
        """End every run."""
        for handle in self.active():
            handle.cancel()

    def drain(self) -> None:
        """Empty the mailbox into signals, in turns; stop the timer when nothing more can come by itself."""
        if not self._arrived:  # else the worker sees by what waits there that the window is behind
            arrived, status = self._mailbox.drain()
            self._arrived.extend(arrived)
            self._told = status or self._told  # a slot may run an event loop of its own, and so this once more
        if not self._arrived and self._told is None and self._settled():
            self._timer.stop()
        over = time.perf_counter() + TURN_S
        while self._arrived:
            self._deliver(self._arrived.popleft())
            if self._arrived and time.perf_counter() > over:
                self._rest.start()
                return
        if self._told is not None:
            self.last_status, self._told = self._told, None
            self.status.emit(self.last_status)

    def close(self, seconds: float = CLOSE_WITHIN_S) -> bool:
        """End all runs and the worker. False: it is inside a long call, and the program should leave by `os._exit`."""
        if not self._closed:
            self._closed = True
            self.cancel_all()
            self._timer.stop()
            self._rest.stop()
            self._worker.post(commands.Quit())
        return self._worker.join(seconds)

    def _deliver(self, event: events.Event) -> None:
        handle = self._handles.get(event.run_id)
        if handle is None:
            return
        handle.receive(event)
        if isinstance(event, events.TERMINAL):
            self._handles.pop(event.run_id, None)
            handle.setParent(None)  # from here on the panel alone keeps it alive

    def _settled(self) -> bool:
        """Every run stands still or has ended, and the worker has said so."""
        still = all(handle.state == "parked" for handle in self._handles.values())
        return still and (self.last_status.idle or bool(self._handles))
