"""A reply that is being written, seen from here: looked at again whenever it has grown, one look at a time, the newest token in focus."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Slot

from app.jobs.attention import AttentionOverview
from app.panels.attention.selection import Focus
from app.protocol.attention import Looked

if TYPE_CHECKING:
    from app.panels.attention.panel import AttentionPanel


class Live(QObject):
    """Follows one reply until somebody looks at something else; rests while the panel is hidden."""

    def __init__(self, panel: AttentionPanel) -> None:
        super().__init__(panel)
        self._panel = panel
        self._newest: AttentionOverview | None = None
        self._waiting = False
        self._focus: Focus | None = None
        panel.looker.state_changed.connect(self._on_state)
        panel.maps.changed.connect(self._on_map)

    @property
    def going(self) -> bool:
        """Whether more tokens will come."""
        return self._newest is not None and self._newest.growing

    def begin(self, job: AttentionOverview) -> None:
        """Another reply, the first of it."""
        self._newest, self._waiting, self._focus = job, False, None

    def stop(self) -> None:
        """Follow nothing."""
        self._newest, self._waiting, self._focus = None, False, None

    def grow(self, job: AttentionOverview) -> None:
        """The reply has grown; another one than the one on show is not followed."""
        newest = self._newest
        if newest is None or not newest.growing or (job.model, job.ids[: len(newest.ids)]) != (newest.model, newest.ids):
            return
        if self._panel.form.ids != newest.ids and not self._waiting:  # somebody has typed a text
            self.stop()
            return
        self._newest, self._waiting = job, True
        self.catch_up()

    def catch_up(self) -> None:
        """Look at the newest, if nothing is in work and somebody sees it."""
        if self._waiting and self._newest is not None and not self._panel.looker.active and self._panel.isVisible():
            self._waiting = False
            self._panel.form.set_text(self._newest.text, self._newest.ids)
            self._panel.looker.look(replace(self._newest, up_to=self._panel.selection.layer))

    @Slot(bool)
    def _on_state(self, active: bool) -> None:
        if not active:
            self.catch_up()

    def grown(self, before: Looked | None, now: Looked) -> bool:
        """Whether what is looked at now is what was looked at before, and more of it."""
        if self._newest is None or before is None or (before.source, before.model, before.heads) != ("text", now.model, now.heads):
            return False
        return now.source == "text" and now.rows.ids[: len(before.rows.ids)] == before.rows.ids

    @Slot()
    def _on_map(self) -> None:
        """Show what the newest token looks at, as soon as its map is there, unless a person has pinned another."""
        selection, whole = self._panel.selection, self._panel.maps.whole
        if self._newest is not None and whole is not None and selection.pinned in (None, self._focus):
            self._focus = Focus("rows", (whole.rows[1] - 1,))
            selection.show(self._focus)

    def words(self, looked: Looked) -> str:
        """What the line at the bottom says."""
        return f"Following a reply: {len(looked.rows.texts):,} tokens; small maps of all heads come with its end"
