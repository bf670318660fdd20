"""Branches: another answer of several, what-ifs in a second column, and keeping one of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Slot

from app.panels.chat.reply import Reply
from app.widgets.token_words import quoted

if TYPE_CHECKING:
    from app.panels.chat.panel import ChatPanel


class Branching(QObject):
    """Moves between the branches of a conversation, and begins new ones from a refused draft or an alternative."""

    def __init__(self, panel: ChatPanel) -> None:
        super().__init__(panel)
        self._panel = panel
        for signal, slot in (
            (panel.messages.switched, self._on_switched), (panel.messages.ghost_clicked, self.continue_draft),
            (panel.timeline.tree.node_clicked, self._on_node), (panel.side.alternative_chosen, self._on_alternative),
            (panel.stage.beside_closed, self.close_beside), (panel.stage.beside_kept, self._on_keep),
        ):  # fmt: skip
            signal.connect(slot)

    @Slot(int, int)
    def _on_switched(self, message: int, step: int) -> None:
        panel = self._panel
        panel.conversation.switch(message, step)
        panel.stage.main.hold()
        panel.show_conversation()
        last = panel.conversation.path()[-1]
        if last.role == "assistant":
            panel.player.focus(panel.messages.reply(last.id))
            panel.messages.with_rounds(panel.player.reply, panel.following.grew)

    @Slot(object, int, int)
    def continue_draft(self, reply: Reply, round_: int, place: int) -> None:
        """What if a refused draft had been kept?"""
        draft = reply.rounds[round_].drafted[place]
        self._panel.side.token.show_draft(reply, round_, draft)
        self._branch(reply, reply.ids_to_draft(round_, place), f"What if: {quoted(draft.text)}, drafted and refused in round {round_ + 1}")

    @Slot(object)
    def _on_alternative(self, token_id: int) -> None:
        reply, token = self._panel.looked_at
        if reply is not None and 0 <= token < reply.tokens:
            other = next((other for other in reply.token(token).top if other.id == token_id), None)
            words = f"What if: {quoted(other.text)}" if other else "What if"
            self._branch(reply, reply.ids_with(token, token_id), f"{words} instead of {quoted(reply.token(token).text)}, token {token + 1}")

    def _branch(self, reply: Reply, ids: tuple[int, ...], words: str) -> None:
        """Continue a reply from another token, in the second column."""
        panel, conversation = self._panel, self._panel.conversation
        job = self._panel.commands.job()
        if job is None or reply.conversation != conversation.id:
            return
        if conversation.beside is not None:
            panel.runs.stop(panel.messages.reply(conversation.beside))
        asked = conversation.messages[reply.message].parent
        made = conversation.add(asked, "assistant", follow=False)
        made.facts["branch"] = words
        conversation.beside = made.id
        branch = panel.messages.begin(made.id)
        own = reply.facts.get("job", {})
        job = replace(job, continue_ids=ids, model=own.get("model", job.model), temperature=own.get("temperature", job.temperature))
        panel.measures.forget()
        self._panel.commands.submit(job, branch)
        panel.show_conversation()
        panel.player.focus(branch)

    @Slot()
    def close_beside(self) -> None:
        """Close the second column; its answer stays as a branch."""
        panel = self._panel
        if panel.conversation.beside is not None:
            reply = panel.messages.reply(panel.conversation.beside)
            panel.runs.stop(reply)
            panel.conversation.beside = None
            panel.show_conversation()
            if panel.player.reply is reply:
                panel.focus_newest()

    @Slot()
    def _on_keep(self) -> None:
        panel = self._panel
        if panel.conversation.beside is not None:
            panel.conversation.follow(panel.conversation.beside)
            panel.conversation.beside = None
            panel.show_conversation()

    @Slot(int)
    def _on_node(self, place: int) -> None:
        reply = self._panel.player.reply
        if reply is not None and reply.position:
            self.continue_draft(reply, reply.position - 1, place)
