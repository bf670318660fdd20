"""The runs of the panel: the one being watched, those waiting behind it, and the buttons that steer it.

A `Run` folds the events of its handle into its film. Only the watched run is heard: what a replaced or cancelled run
still sends goes nowhere.
"""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QObject, Signal, Slot

from app.jobs.diffusion import PictureRecord, StepRecord, Txt2Img
from app.panels.image.film import LENSES, Film
from app.protocol.sizes import progress_words

KEY = "image/txt2img"
IDLE, STARTING, RUNNING, PAUSED = "idle", "starting", "running", "paused"


class Runs(QObject):
    """Submits pictures and tells what becomes of the one watched."""

    began = Signal(object)
    """Film: another run is watched from now on."""
    planned = Signal(object)
    """dict: seed, sigmas, controls and maps, told by the run before its first step."""
    kept = Signal(int)
    """Number of a step that is now in the film."""
    finished_picture = Signal(object)
    """PictureRecord."""
    state_changed = Signal(str)
    """idle, starting, running or paused."""
    waiting_changed = Signal(int)
    busy = Signal(str)
    """A sentence while there are no steps to see, such as loading weights; "" when that is over."""
    failed = Signal(object)
    """ErrorReport."""
    ended = Signal(str)
    """done, cancelled or failed."""

    def __init__(self, engine: Any, parent: QObject) -> None:
        super().__init__(parent)
        self._engine = engine
        self._watched: Run | None = None
        self._waiting: list[Run] = []
        self.state = IDLE

    @property
    def film(self) -> Film | None:
        """The film of the run watched now or last."""
        return self._watched.film if self._watched else None

    @property
    def handle(self) -> Any:
        """The handle of the run watched now or last."""
        return self._watched.handle if self._watched else None

    @property
    def waiting(self) -> list[Run]:
        """Runs that come after the watched one."""
        return list(self._waiting)

    @property
    def active(self) -> bool:
        """Whether the watched run has not ended."""
        return self.state != IDLE

    def submit(self, job: Txt2Img, park_after: int | None = None) -> None:
        """Make a picture; behind the one in work, or in place of one that stands still."""
        parked = self.state == PAUSED
        if parked:
            self._drop_waiting()
        policy = "replace" if parked else "queue"
        run = Run(self, self._engine.submit(job, key=KEY, policy=policy, park_after=park_after), job)
        if self.active and not parked:
            self._waiting.append(run)
            self.waiting_changed.emit(len(self._waiting))
        else:
            self._watch(run)

    @Slot()
    def pause(self) -> None:
        """Stand still at the end of this step."""
        if self.state in (STARTING, RUNNING):
            self._watched.handle.pause()

    @Slot()
    def resume(self) -> None:
        """Go on."""
        if self.state == PAUSED:
            self._watched.handle.resume()

    @Slot()
    def step(self) -> None:
        """Compute one more step, then stand still."""
        if self.state == PAUSED:
            self._watched.handle.step_on(1)

    @Slot()
    def stop(self) -> None:
        """End the watched run; its steps stay. The next in the queue begins."""
        if self.active:
            self._watched.handle.cancel()

    def stop_all(self) -> None:
        """End the watched run and all waiting ones."""
        self._drop_waiting()
        self.stop()

    def tune(self, job: Txt2Img) -> None:
        """Pass on the live knobs of `job` (the CFG scale) to the watched run, if they differ."""
        if self.active and self._watched.handle.job.cfg_scale != job.cfg_scale:
            self._watched.handle.tune(job)

    # what runs tell ------------------------------------------------------------------------------------------------

    def hears(self, run: Run) -> bool:
        """Whether `run` is the one watched."""
        return run is self._watched and self.active

    def set_state(self, state: str) -> None:
        """Take note of the watched run's state."""
        if state != self.state:
            self.state = state
            self.state_changed.emit(state)

    def close(self, run: Run, how: str) -> None:
        """`run` has ended."""
        if run in self._waiting:
            self._waiting.remove(run)
            self.waiting_changed.emit(len(self._waiting))
            run.deleteLater()
        elif run is self._watched:
            self.busy.emit("")
            self.set_state(IDLE)
            self.ended.emit(how)
            if self._waiting and not self.active:
                following = self._waiting.pop(0)
                self.waiting_changed.emit(len(self._waiting))
                self._watch(following)

    def _watch(self, run: Run) -> None:
        former, self._watched = self._watched, run
        if former is not None:
            former.deleteLater()
        self.began.emit(run.film)
        self.set_state(STARTING)

    def _drop_waiting(self) -> None:
        for run in list(self._waiting):
            run.handle.cancel()


class Run(QObject):
    """One submitted picture (or batch): its handle, and its film."""

    def __init__(self, runs: Runs, handle: Any, job: Txt2Img) -> None:
        super().__init__(runs)
        self._runs, self.handle, self.film = runs, handle, Film(job)
        handle.loading.connect(self._on_loading)
        handle.progress.connect(self._on_progress)
        handle.preview.connect(self._on_preview)
        handle.record.connect(self._on_record)
        handle.started.connect(self._on_going)
        handle.resumed.connect(self._on_going)
        handle.parked.connect(self._on_parked)
        handle.done.connect(self._on_done)
        handle.cancelled.connect(self._on_cancelled)
        handle.failed.connect(self._on_failed)

    @Slot(str, object, object)
    def _on_loading(self, key: str, done: int, total: int) -> None:
        if self._runs.hears(self):
            size = f", {progress_words(done, total)}" if total else ""
            self._runs.busy.emit(f"Loading {key}{size}" if done < total or not total else "")

    @Slot(object)
    def _on_progress(self, progress: Any) -> None:
        if self._runs.hears(self):
            self._runs.busy.emit(progress.note.capitalize())

    @Slot(str, object)
    def _on_preview(self, channel: str, payload: Any) -> None:
        """The last step's x0 comes decoded by the full VAE; all other previews are in the records too."""
        if channel in LENSES and "VAE" in payload.decoder and self._runs.hears(self):
            self.film.keep_exact(self.film.last, channel, payload)
            self._runs.kept.emit(self.film.last)

    @Slot(str, object)
    def _on_record(self, channel: str, payload: Any) -> None:
        if not self._runs.hears(self):
            return
        if channel == "start":
            self.film.start = payload
            self._runs.planned.emit(payload)
        elif isinstance(payload, StepRecord):
            self._runs.busy.emit("")
            self._runs.kept.emit(self.film.add(payload))
        elif isinstance(payload, PictureRecord):
            self.film.pictures[payload.picture] = payload
            self._runs.finished_picture.emit(payload)

    @Slot()
    def _on_going(self) -> None:
        if self._runs.hears(self):
            self._runs.set_state(RUNNING)

    @Slot(int)
    def _on_parked(self, _index: int) -> None:
        if self._runs.hears(self):
            self._runs.busy.emit("")
            self._runs.set_state(PAUSED)

    @Slot(object)
    def _on_done(self, _result: Any) -> None:
        self._runs.close(self, "done")

    @Slot()
    def _on_cancelled(self) -> None:
        self._runs.close(self, "cancelled")

    @Slot(object)
    def _on_failed(self, report: Any) -> None:
        if self._runs.hears(self):
            self._runs.failed.emit(report)
        self._runs.close(self, "failed")
