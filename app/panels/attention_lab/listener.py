"""Follows one run of a page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QObject, Slot

from app.panels.attention_lab.page import LabPage
from app.protocol.job import Job


class Listener(QObject):
    """Follows one run and tells a page of its records, its result and its end; another run of the page silences it."""

    def __init__(
        self, page: LabPage, job: Job, key: str, policy: str, *,
        record: Callable[[str, Any], None] | None = None, done: Callable[[Any], None] | None = None,
        ended: Callable[[], None] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(page)
        self._page, self._record, self._done, self._ended = page, record, done, ended
        self._heard = True
        self.handle = page.lab.engine.submit(job, key=f"{page.lab.panel_id}/{key}", policy=policy)
        self.handle.record.connect(self._on_record)
        self.handle.done.connect(self._on_done)
        self.handle.failed.connect(self._on_failed)
        self.handle.finished.connect(self._on_finished)

    @property
    def active(self) -> bool:
        """Has the run not ended?"""
        return self._heard and self.handle.active

    def silence(self, *, cancel: bool = True) -> None:
        """Nothing of this run is wanted any more."""
        self._heard = False
        if cancel:
            self.handle.cancel()

    @Slot(str, object)
    def _on_record(self, channel: str, payload: Any) -> None:
        if self._heard and self._record is not None:
            self._record(channel, payload)

    @Slot(object)
    def _on_done(self, result: Any) -> None:
        if self._heard and self._done is not None:
            self._done(result)

    @Slot(object)
    def _on_failed(self, report: Any) -> None:
        if self._heard:
            self._page.lab.show_error(report)

    @Slot()
    def _on_finished(self) -> None:
        if self._heard and self._ended is not None:
            self._ended()
        self.deleteLater()
