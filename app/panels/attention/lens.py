"""The logit lens of the pinned token: what every layer of the language model would say next, asked for when its page is open."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Slot

from app.jobs.attention import AttentionLens
from app.panels.attention.looker import like
from app.panels.attention.side_view import TOKEN
from app.protocol.payloads import Result
from app.widgets.token_words import quoted

if TYPE_CHECKING:
    from app.panels.attention.panel import AttentionPanel

ASKING = "Logit lens: asking every layer …"


class Lens(QObject):
    """Follows the pinned token."""

    def __init__(self, panel: AttentionPanel) -> None:
        super().__init__(panel)
        self._panel = panel
        self._wanted: AttentionLens | None = None
        panel.selection.focus_changed.connect(self.update)
        panel.side.currentChanged.connect(self.update)

    @Slot()
    def update(self) -> None:
        """Ask for the newest pinned token, if it is another one and somebody sees it."""
        panel, pinned = self._panel, self._panel.selection.pinned
        if panel.looker.job is None or panel.looker.job.source != "text" or pinned is None or panel.live.going:
            self._wanted = None
            panel.side.token.set_lens("", None)
            return
        job = like(panel.looker.job, AttentionLens, token=pinned.tokens[-1])
        if job == self._wanted or panel.side.currentIndex() != TOKEN:
            return
        self._wanted = job
        panel.side.token.set_lens(ASKING, None)
        panel.errands.run(job, partial(self._take, job), key="lens", failed=partial(self._not_taken, job))

    def _take(self, job: AttentionLens, result: Result) -> None:
        if job == self._wanted:
            token, following = str(result.facts.get("token", "")), str(result.facts.get("next", ""))
            came = f"the probability of {quoted(following)}, which came" if following else "that of the layer's likeliest token"
            words = f"Logit lens after {quoted(token)}: what each layer would write next; the bar is {came}."
            self._panel.side.token.set_lens(words, result.files["rows"])

    def _not_taken(self, job: AttentionLens, report: Any) -> None:
        if job == self._wanted:
            self._wanted = None
            self._panel.side.token.set_lens("", None)
            self._panel.show_error(report)
