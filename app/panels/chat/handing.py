"""A reply's tokens for the attention panel: when its button is pressed, and on as long as that reply is being written."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, QTimer, Slot

from app.jobs.attention import AttentionOverview
from app.panels.chat.reply import Reply

if TYPE_CHECKING:
    from app.panels.chat.panel import ChatPanel

PANEL = "attention"
EVERY_MS = 300
"""How often a reply that grows is told; each time some tokens are read at once, which costs a few per cent of writing them."""


class Handing(QObject):
    """Hands over model and token ids; what is shown of them is not its business."""

    def __init__(self, panel: ChatPanel) -> None:
        super().__init__(panel)
        self._panel = panel
        self._reply: Reply | None = None
        self._pace = QTimer(self, singleShot=True, interval=EVERY_MS)
        self._pace.timeout.connect(self._tell)
        for signal, slot in (
            (panel.messages.attention_wanted, self._on_wanted), (panel.runs.grew, self._on_grew), (panel.runs.ended, self._on_ended),
        ):  # fmt: skip
            signal.connect(slot)

    def close_down(self) -> None:
        """Tell nothing more."""
        self._pace.stop()

    @Slot(object)
    def _on_wanted(self, reply: Reply) -> None:
        self._panel.messages.with_rounds(reply, partial(self._hand, reply))

    def _hand(self, reply: Reply) -> None:
        if not reply.ids:
            self._panel.show_message("info", "There is nothing to look at yet.", "Wait for the first words of the reply.")
            return
        self._reply = reply if reply.going else None
        self._panel.handed.emit(PANEL, self._job(reply))

    @staticmethod
    def _job(reply: Reply) -> AttentionOverview:
        model = str(reply.facts.get("job", {}).get("model", "smollm2"))
        return AttentionOverview(source="text", model=model, ids=(*reply.given_ids, *reply.ids), text=reply.text, growing=reply.going)

    @Slot(object)
    def _on_grew(self, reply: Reply) -> None:
        if reply is self._reply and not self._pace.isActive():
            self._pace.start()

    @Slot(object, str, object)
    def _on_ended(self, reply: Reply, _how: str, _what: Any) -> None:
        if reply is self._reply:
            self._tell()
            self._reply = None

    @Slot()
    def _tell(self) -> None:
        self._pace.stop()
        if self._reply is not None and self._reply.ids:
            self._panel.told.emit(PANEL, self._job(self._reply))
