"""The runs of the first page: all mechanisms on a head, one under its slider, and all over the length of the text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.jobs.attention_lab import AttentionLengths, CompareAttentions, read
from app.panels.attention_lab.listener import Listener

if TYPE_CHECKING:
    from app.panels.attention_lab.mechanisms_page import MechanismsPage

TIMED_MOST, LONGEST = 1024, 65536
"""Tokens up to which calls are timed, so that a window that is used need not wait for minutes; and up to which formulas go."""


class MechanismRuns:
    """Submits jobs and hands their records to the page; a new comparison silences all that went before."""

    def __init__(self, page: MechanismsPage) -> None:
        self._page = page
        self._compare: Listener | None = None
        self._tuning: dict[str, Listener] = {}
        self.measuring: Listener | None = None

    @property
    def comparing(self) -> bool:
        """Is a comparison of all on its way?"""
        return self._compare is not None and self._compare.active

    @property
    def coming(self) -> set[str]:
        """Mechanisms whose view that comparison will bring."""
        return {read(words)[0] for words in self._compare.handle.job.mechanisms} if self.comparing else set()

    def compare(self) -> None:
        """All ticked mechanisms on the chosen head."""
        for run in (self._compare, self.measuring, *self._tuning.values()):
            if run is not None:
                run.silence()
        self._compare = self.measuring = None
        self._tuning = {}
        page = self._page
        if page.kinds.chosen():
            job = CompareAttentions(**page.lab.head.values(), mechanisms=page.kinds.all_written())
            self._compare = Listener(page, job, "compare", "replace", record=page.take, ended=self._on_compared)

    def tune(self, name: str) -> None:
        """One mechanism, with its knobs as they stand now."""
        job = CompareAttentions(**self._page.lab.head.values(), mechanisms=(self._page.kinds.written(name),))
        self._tuning[name] = Listener(self._page, job, f"tune-{name}", "follow", record=self._page.take)

    def measure(self) -> None:
        """Time and cost over lengths."""
        if self.measuring is not None:
            self.measuring.silence()
        page = self._page
        if page.shown():
            job = AttentionLengths(
                **page.lab.head.values(), mechanisms=page.kinds.all_written(), measured=TIMED_MOST, longest=LONGEST
            )
            self.measuring = Listener(page, job, "lengths", "replace", record=page.take, done=page.measured)

    def _on_compared(self) -> None:
        self._compare = None
        self._page.moved.emit()
