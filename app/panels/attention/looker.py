"""The run that shows what a model looked at: one at a time, a newer one in place of the older, whose late events are not heard."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

from PySide6.QtCore import QObject, Signal, Slot

from app.jobs.attention import AttentionJob, AttentionOverview
from app.protocol.attention import Looked, OverviewMaps
from app.protocol.payloads import Result

KEY = "attention/look"
J = TypeVar("J", bound=AttentionJob)


def like(job: AttentionJob, cls: type[J], **more: Any) -> J:
    """A job of another kind on the same source."""
    return cls(**{item.name: getattr(job, item.name) for item in fields(AttentionJob)}, **more)


class Looker(QObject):
    """Submits looks and tells what comes of them."""

    looked = Signal(object)
    """`Looked`: the sides of the maps are known; maps of this source can be asked for."""
    overview = Signal(object)
    """`OverviewMaps`, fuller each time."""
    state_changed = Signal(bool)
    """Whether a look is in work."""
    busy = Signal(str)
    """A sentence about what goes on, "" when it is over."""
    failed = Signal(object)

    def __init__(self, engine: Any, parent: QObject, *, key: str = KEY) -> None:
        super().__init__(parent)
        self._engine, self._key = engine, key
        self._run: LookRun | None = None
        self.job: AttentionOverview | None = None
        """The job of what is on show."""

    @property
    def active(self) -> bool:
        """Whether a look is in work."""
        return self._run is not None

    @property
    def handle(self) -> Any:
        """The run in work."""
        return self._run.handle if self._run else None

    def look(self, job: AttentionOverview) -> None:
        """Look; what was in work is ended."""
        old, self._run = self._run, None
        if old is not None:
            old.handle.cancel()
            old.deleteLater()
        self._run = LookRun(self, self._engine.submit(job, key=self._key, policy="replace"), job)
        self.state_changed.emit(True)

    @Slot()
    def stop(self) -> None:
        """End the look; what has come stays."""
        if self._run is not None:
            self._run.handle.cancel()

    def hears(self, run: LookRun) -> bool:
        """Whether a run is the one in work."""
        return run is self._run

    def take_looked(self, run: LookRun, looked: Looked) -> None:
        """The sides of the maps have come."""
        self.job = run.job
        self.looked.emit(looked)

    def close(self, run: LookRun) -> None:
        """A run has ended."""
        if run is self._run:
            self._run = None
            self.busy.emit("")
            self.state_changed.emit(False)
            run.deleteLater()


class LookRun(QObject):
    """Folds the events of one look."""

    def __init__(self, looker: Looker, handle: Any, job: AttentionOverview) -> None:
        super().__init__(looker)
        self._looker, self.handle, self.job = looker, handle, job
        self._told: Looked | None = None
        for signal, slot in (
            (handle.record, self._on_record), (handle.progress, self._on_progress), (handle.loading, self._on_loading),
            (handle.done, self._on_done), (handle.failed, self._on_failed), (handle.finished, self._on_finished),
        ):  # fmt: skip
            signal.connect(slot)

    @Slot(str, object)
    def _on_record(self, channel: str, payload: Any) -> None:
        if self._looker.hears(self):
            if channel == "looked" and isinstance(payload, Looked):
                self._tell(payload)
            elif channel == "overview" and isinstance(payload, OverviewMaps):
                self._looker.overview.emit(payload)

    def _tell(self, looked: Looked) -> None:
        if looked is not self._told:
            self._told = looked
            self._looker.take_looked(self, looked)

    @Slot(object)
    def _on_progress(self, progress: Any) -> None:
        if self._looker.hears(self):
            share = f" {progress.done:g} of {progress.total:g}" if progress.total else ""
            words = progress.note or f"{progress.unit}{share}"
            self._looker.busy.emit(f"{words[:1].upper()}{words[1:]} …")

    @Slot(str, object, object)
    def _on_loading(self, key: str, done: Any, total: Any) -> None:
        if self._looker.hears(self):
            share = f" {done / total:.0%}" if total else ""
            self._looker.busy.emit(f"Loading {key}{share} …")

    @Slot(object)
    def _on_done(self, result: Result) -> None:
        if self._looker.hears(self):
            if self._told is None and isinstance(result.files.get("looked"), Looked):
                self._tell(result.files["looked"])
            if isinstance(result.files.get("overview"), OverviewMaps):
                self._looker.overview.emit(result.files["overview"])

    @Slot(object)
    def _on_failed(self, report: Any) -> None:
        if self._looker.hears(self):
            self._looker.failed.emit(report)

    @Slot()
    def _on_finished(self) -> None:
        self._looker.close(self)
