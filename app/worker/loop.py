"""The worker's loop: apply all commands, pick a run, call `next()` once, publish, repeat.

All scheduling state belongs to this one thread; the only locks are in inbox and mailbox. Every run ends with
exactly one of Done, Cancelled, Failed. No thread-wide torch state outlives a `next()`.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from app.protocol import commands, events
from app.protocol.encoding import summary
from app.protocol.errors import ErrorReport, UserError, report
from app.protocol.sizes import size_words
from app.protocol.status import WorkerStatus
from app.worker.backend import Backend, TorchBackend
from app.worker.context import Breath, CancelRun, Ctx, choose_seed
from app.worker.inbox import Inbox
from app.worker.mailbox import Mailbox
from app.worker.run import Run
from app.worker.scheduler import Scheduler
from app.worker.zoo import Load, Zoo, ZooView

STATUS_EVERY_S = 0.2
MAX_BACKLOG = 5000
"""Lossless events nobody has fetched: with more, runs wait, so that a stuck reader costs no memory."""


def catalog_load(key: str, device: object, dtype: object, progress: Callable[[int, int], None]) -> object:
    """Load a model of the catalogue."""
    from models import catalog

    return catalog.load(key, device, dtype, progress)


def catalog_size(key: str) -> int:
    """Bytes a model of the catalogue will take, as far as it says so; 0 if not."""
    from models import catalog

    return int(getattr(catalog.SPECS.get(key), "bytes", 0) or 0)


@dataclass(frozen=True)
class Failure:
    """A failure as text, made inside the `except` block so that nothing of the exception outlives it."""

    report: ErrorReport
    memory: bool


class GpuWorker:
    """Steps the generators of all runs in turn, in a thread of its own (`start`) or by hand (`turn`)."""

    def __init__(
        self,
        mailbox: Mailbox,
        runner: Callable[[str], Callable],
        *,
        backend: Callable[[], Backend] = TorchBackend,
        load: Load = catalog_load,
        expected_size: Callable[[str], int] = catalog_size,
    ) -> None:
        self.mailbox = mailbox
        self._runner = runner
        self._make_backend = backend
        self._load = load
        self._expected_size = expected_size
        self._inbox = Inbox()
        self._scheduler = Scheduler()
        self._breath = Breath()
        self._backend: Backend | None = None
        self._broken: ErrorReport | None = None
        self._zoo: Zoo | None = None
        self._thread: threading.Thread | None = None
        self._quit = False
        self._status_at = 0.0

    # Called by any thread

    def start(self, nice: int = 0) -> None:
        """Start the thread (once); `nice` is how far it and torch's own threads stand back behind the window (Linux)."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._main, args=(nice,), name="glassbox-worker", daemon=True)
            self._thread.start()

    def post(self, command: commands.Command) -> None:
        """Hand in a command; returns at once."""
        self._inbox.post(command)

    def join(self, seconds: float) -> bool:
        """Wait for the thread to end after `Quit`; False if it is still inside a long call."""
        if self._thread is None:
            return True
        self._thread.join(seconds)
        return not self._thread.is_alive()

    @property
    def alive(self) -> bool:
        """Is the thread there?"""
        return self._thread is not None and self._thread.is_alive()

    # The worker thread

    def _main(self, nice: int) -> None:
        if nice and sys.platform == "linux":  # elsewhere the number would count for the whole process
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)
        self.begin()
        while not self._quit:
            if not self.turn() and not self._quit:
                self._inbox.wait()

    def begin(self) -> None:
        """Import torch and find the device: the first thing the thread does."""
        if self._backend is not None or self._broken is not None:
            return
        self.mailbox.put_status(WorkerStatus(state="loading torch"))
        try:
            self._backend = self._make_backend()
        except Exception as error:  # without a device every run fails with these words, and the window lives on
            self._broken = report(error)
        else:
            self._zoo = Zoo(self._backend, self._load, self._expected_size)
        self._tell_status()

    def turn(self) -> bool:
        """Apply all commands and advance one run by one `next()`; False if there was nothing to advance."""
        self.begin()
        for command in self._inbox.take():
            self._apply(command)
        run = None if self._quit else self._scheduler.pick()
        if run is None:
            return False
        if self.mailbox.backlog() > MAX_BACKLOG:
            time.sleep(0.005)
            return True
        begin = time.perf_counter()
        self._advance(run, begin)
        self._scheduler.spent(run, time.perf_counter() - begin)
        if self._scheduler.runs and time.perf_counter() - self._status_at > STATUS_EVERY_S:
            self._tell_status(run)
        self._breath()
        return True

    @property
    def zoo(self) -> Zoo:
        """Model residency; there once `begin` has succeeded."""
        assert self._zoo is not None
        return self._zoo

    # Commands

    def _apply(self, command: commands.Command) -> None:
        if isinstance(command, commands.Quit):
            self._quit = True
            for run in list(self._scheduler.runs):
                self._end(run, events.Cancelled())
            return
        if isinstance(command, commands.Submit):
            self._submit(command)
            return
        run = self._scheduler.find(command.run_id)
        if run is None:
            self._inbox.forget(command.run_id)  # it has ended already
        elif isinstance(command, commands.Cancel):
            self._end(run, events.Cancelled())
        elif isinstance(command, commands.Pause):
            self._pause(run)
        elif isinstance(command, commands.StepOn):
            self._go_on(run, permits=max(1, command.count))
        elif isinstance(command, commands.Resume):
            self._go_on(run, permits=None)
        elif isinstance(command, commands.Tune):
            run.tune(command.job)

    def _submit(self, command: commands.Submit) -> None:
        run = Run(command, self._inbox, self.mailbox)
        for other in self._scheduler.admit(run, command.policy):
            self._end(other, events.Cancelled())
        self._publish(run, events.Queued())
        if self._broken is not None:
            self._end(run, events.Failed(report=self._broken))
        self._tell_status()

    def _pause(self, run: Run) -> None:
        """Park now at a step border (or if the run has no steps), else at the end of the current step."""
        if run.parked:
            return
        run.permits = 1
        if run.between_steps or run.index == 0:
            self._park(run)

    def _go_on(self, run: Run, permits: int | None) -> None:
        run.permits = permits
        if run.parked:
            run.parked = False
            self._publish(run, events.Resumed())
            self._tell_status(run)

    def _say_started(self, run: Run) -> None:
        if not run.started:
            run.started = True
            self._publish(run, events.Started())

    def _park(self, run: Run) -> None:
        self._say_started(run)  # a run paused before its first step has started nevertheless
        run.permits = 0
        run.parked = True
        self._publish(run, events.Parked(index=run.index))
        self._tell_status(run)

    # One step of one run

    def _advance(self, run: Run, begin: float) -> None:
        if run.cancel_requested():
            self._end(run, events.Cancelled())
            return
        event: events.Event | None = None
        ended: events.Event | None = None
        failure: Failure | None = None
        try:
            with self._backend.grad_mode(run.job.grad):
                event = next(run.generator or self._open(run))
        except StopIteration as stop:
            ended = events.Done(result=stop.value)
        except CancelRun:
            ended = events.Cancelled()
        except BaseException as error:  # even SystemExit of a runner must not end the worker
            failure = Failure(report(error, _job_json(run)), self._backend.is_memory_error(error))
        run.note_time(time.perf_counter() - begin)
        if failure is not None:
            self._fail(run, failure)
        elif ended is not None:
            self._end(run, ended)
        else:
            self._take(run, event)

    def _open(self, run: Run) -> object:
        """Make the generator of a run; its first `next()` does the first work."""
        self._say_started(run)
        runner = self._runner(run.job.name)
        place = self._backend.place(run.job.device, run.job.grad)
        seed = choose_seed(run.job)
        view = ZooView(self.zoo, place, lambda event: self._publish_loading(run, event))
        run.generator = runner(run.job, Ctx(run, view, place, self._backend.rng(seed), seed, self._breath))
        return run.generator

    def _take(self, run: Run, event: events.Event | None) -> None:
        """Publish what a runner has yielded and close the gate if it has to."""
        if not isinstance(event, events.FROM_RUNNERS):
            error = TypeError(f"the runner of {run.job.name} yielded {type(event).__name__}, which only the worker sends")
            self._end(run, events.Failed(report=report(error, _job_json(run))))
            return
        self._publish(run, event)
        run.between_steps = isinstance(event, events.Step)
        if isinstance(event, events.Record | events.Step):
            run.kept += 1
        if isinstance(event, events.Step) and run.note_step(event):
            self._park(run)

    def _fail(self, run: Run, failure: Failure) -> None:
        """Out of memory: make room and try once more if nothing was sent that could not be sent again."""
        run.generator = None
        if not failure.memory:
            self._end(run, events.Failed(report=failure.report))
            return
        self.zoo.evict_unpinned(lambda event: self._publish(run, event))
        if run.kept == 0 and not run.retried:
            run.retried = True
            return
        self._end(run, events.Failed(report=self._memory_report(failure.report)))

    def _memory_report(self, original: ErrorReport) -> ErrorReport:
        used, kind = self._backend.memory()
        place = "the device" if kind == "GPU" else "main memory"
        hint = f"Glassbox holds {size_words(used)} of {place}. Choose a smaller size, fewer pictures at once, or end parked runs."
        return dataclasses.replace(original, kind="memory", title="There is not enough memory for this run.", hint=hint)

    def _end(self, run: Run, event: events.Event) -> None:
        """Close the generator so that its `with` blocks unwind, and send the one terminal event."""
        if run.generator is not None:
            try:
                with self._backend.grad_mode(run.job.grad):
                    run.generator.close()
            except BaseException as error:  # a runner that fails while it is closed must not end the worker
                event = events.Failed(report=report(error, _job_json(run)))
            run.generator = None
        run.parked = False
        self._scheduler.remove(run)
        self._publish(run, event)
        self._inbox.forget(run.id)
        self._tell_status()

    # Telling

    def _publish(self, run: Run, event: events.Event) -> None:
        self.mailbox.put(dataclasses.replace(event, run_id=run.id))

    def _publish_loading(self, run: Run, event: events.Event) -> None:
        """Publish what the zoo says in the name of a run; loading is a long stretch, so cancelling works here."""
        if run.cancel_requested():
            raise CancelRun
        self._publish(run, event)
        if isinstance(event, events.Loading):
            loading = event.done < event.total or event.done == 0
            self._tell_status(run, f"loading {event.key}" if loading else "")

    def _tell_status(self, run: Run | None = None, state: str = "") -> None:
        self._status_at = time.perf_counter()
        runs = self._scheduler.runs
        if run not in runs:
            run = next(iter(self._scheduler.runnable()), None) or (runs[-1] if runs else None)
        if self._broken is not None:
            self.mailbox.put_status(WorkerStatus(state=f"no device: {self._broken.title}", idle=not runs))
            return
        used, kind = self._backend.memory()
        self.mailbox.put_status(
            WorkerStatus(
                state=state or (run.describe() if run else "idle"),
                idle=not runs,
                run_id=run.id if run else 0,
                queue=len(self._scheduler.waiting()),
                parked=tuple(each.id for each in runs if each.parked),
                device=self._backend.name,
                dtype=self._backend.dtype_name,
                threads=self._backend.threads,
                memory_bytes=used,
                memory_kind=kind,
                models=self.zoo.keys(),
            )
        )


def _job_json(run: Run) -> str:
    """The job as JSON with digests in place of pictures."""
    try:
        return json.dumps(summary(run.job))
    except (TypeError, ValueError, UserError):
        return repr(run.job)[:10_000]
