"""What the numbers at the right are about: a token that was clicked, or the round where the player stands; and hovering, both ways."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Slot

from app.panels.chat.reply import Reply
from app.panels.chat.runs import RUNNING

if TYPE_CHECKING:
    from app.panels.chat.panel import ChatPanel

NOWHERE: tuple[Reply | None, int] = (None, -1)


class Looking(QObject):
    """Follows clicks and the player."""

    def __init__(self, panel: ChatPanel) -> None:
        super().__init__(panel)
        self._panel = panel
        self.at = NOWHERE
        """The token looked at: its reply and its place in it."""
        for signal, slot in (
            (panel.messages.token_selected, self.choose), (panel.messages.focus_wanted, self._on_focus_wanted),
            (panel.messages.round_hovered, self._on_hovered_text), (panel.timeline.strip.hovered, self._on_hovered_strip),
            (panel.player.moved, self._on_moved), (panel.player.focused, self._on_focused),
        ):  # fmt: skip
            signal.connect(slot)

    def nowhere(self) -> None:
        """Look at no token."""
        self.at = NOWHERE

    @Slot(object, int)
    def choose(self, reply: Reply, token: int) -> None:
        """Look at a token."""
        panel = self._panel
        panel.player.focus(reply)
        panel.player.look(reply.at(token)[0].index + 1)
        self.at = (reply, token)
        panel.messages.select(reply, token)
        panel.side.token.show_token(reply, token)
        panel.side.setCurrentWidget(panel.side.token)

    @Slot()
    def _on_moved(self) -> None:
        panel, player, (reply, token) = self._panel, self._panel.player, self.at
        if player.reply is None or not player.reply.position:
            panel.side.token.clear()
            return
        index = player.reply.position - 1
        if reply is player.reply and reply.at(token)[0].index == index:
            return
        if player.state == RUNNING and not player.replaying and index == len(player.reply.rounds) - 1:
            return  # it runs too fast to be read
        self.nowhere()
        panel.messages.select(None, -1)
        panel.side.token.show_round(player.reply, index)

    @Slot()
    def _on_focused(self) -> None:
        self._panel.side.reply.show_reply(self._panel.player.reply)

    @Slot(object)
    def _on_focus_wanted(self, reply: Reply) -> None:
        panel = self._panel
        panel.player.focus(reply)
        panel.messages.with_rounds(reply, panel.following.grew)
        panel.side.setCurrentWidget(panel.side.reply)

    @Slot(object, int)
    def _on_hovered_text(self, reply: Reply, round_: int) -> None:
        self._panel.timeline.strip.set_lit(round_ if reply is self._panel.player.reply else -1)

    @Slot(int)
    def _on_hovered_strip(self, round_: int) -> None:
        self._panel.messages.light(self._panel.player.reply, round_)
