"""What the buttons and keys of the panel do: send, stop, edit, answer again; delete and rename conversations."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Slot

from app.jobs.chat import Chat
from app.panels.chat.conversation import ROOT
from app.panels.chat.reply import Reply
from app.panels.chat.runs import PAUSED
from app.protocol.chat import whole_characters
from app.protocol.errors import ErrorReport, UserError

if TYPE_CHECKING:
    from app.panels.chat.panel import ChatPanel

KEY_HELP = [
    ("Enter", "Send; Shift+Enter begins a new line"),
    ("F10", "Step by step: one round, then stand still"),
    ("Ctrl+N", "New chat"),
    ("Ctrl+R", "Answer again"),
    ("Shift+Left, Shift+Right", "In the token view: the token before, the next"),
    ("Ctrl+wheel", "In the strip: wider or narrower rounds"),
]


class Commands(QObject):
    """Acts on the panel's parts."""

    def __init__(self, panel: ChatPanel) -> None:
        super().__init__(panel)
        self._panel, self._offer = panel, ""
        stage, side, messages = panel.stage, panel.side_form, panel.messages
        for signal, slot in (
            (stage.composer.submitted, self.send), (stage.composer.stop_wanted, panel.runs.stop), (stage.composer.step_wanted, self.step),
            (stage.welcome.example_chosen, self.send), (messages.edited, self._on_edited), (messages.renewed, self._on_renewed),
            (side.conversations.new_wanted, panel.new_conversation), (side.conversations.delete_wanted, self._on_delete),
            (side.conversations.renamed, self._on_renamed),
            (side.system_edited, self._on_system), (panel.runs.ended, self._on_ended),
            (panel.library.deleted, self._on_deleted),
        ):  # fmt: skip
            signal.connect(slot)

    # sending -------------------------------------------------------------------------------------------------------

    @Slot(str)
    def send(self, text: str) -> None:
        """Say something; the model answers."""
        self._send(text)

    @Slot()
    def step(self) -> None:
        """Send, and stand still after the first round; while one stands still: the next round."""
        if self._panel.runs.state_of(self._panel.player.reply) == PAUSED:
            self._panel.player.last()
            self._panel.player.next()
        else:
            self._send(self._panel.stage.composer.text(), held=True)

    def _send(self, text: str, *, held: bool = False) -> None:
        panel, text = self._panel, whole_characters(text)
        if panel.runs.active:
            panel.stage.composer.set_note("A reply is being written: wait for it, or stop it (Esc).")
            return
        if not text.strip():
            panel.stage.composer.set_note("Write something first, or press one of the examples.")
            return
        job = self.job()
        if job is None:
            return
        conversation = panel.conversation
        path = conversation.path()
        parent = path[-1] if path else conversation.messages[ROOT]
        if parent.role == "user":  # nobody answered it: say the new words beside it
            parent = conversation.messages[parent.parent]
        asked = conversation.add(parent.id, "user", text)
        panel.stage.composer.set_text("")
        panel.stage.composer.set_note("")
        conversation.draft = ""
        self.answer(asked.id, job, held=held)

    def job(self) -> Chat | None:
        """The settings as they are, or None with a sentence why not."""
        panel = self._panel
        if panel.gate.missing:
            panel.show_message("warn", panel.gate.missing, panel.gate.hint, *panel.gate.action())
            return None
        try:
            return panel.side_form.job()
        except UserError as error:
            panel.show_error(error)
            return None

    def answer(self, asked: int, job: Chat, *, held: bool = False) -> None:
        """Let the model answer a message, and a second time beside it if that is wanted."""
        panel, conversation = self._panel, self._panel.conversation
        panel.banner.clear()
        panel.measures.forget()
        answer = conversation.add(asked, "assistant")
        other_job = panel.side_form.other_job(job)
        other = conversation.add(asked, "assistant", follow=False) if other_job is not None else None
        conversation.beside = other.id if other else None
        first = panel.messages.begin(answer.id)
        self.submit(job, first, held=held)
        if other is not None:
            self.submit(other_job, panel.messages.begin(other.id))
        panel.show_conversation()
        panel.player.focus(first, held=held)
        panel.stage.show_raw(None)
        panel.stage.main.follow()
        panel.stage.beside.follow()

    def submit(self, job: Chat, reply: Reply, *, held: bool = False) -> None:
        panel = self._panel
        job = replace(job, messages=panel.conversation.for_model(reply.message), measure=False)
        reply.facts["title"] = panel.side_form.title_of(job.model)
        panel.runs.submit(job, reply, 1 if held or panel.player.speed < 1 else None)

    # again ---------------------------------------------------------------------------------------------------------

    @Slot(int, str)
    def _on_edited(self, message: int, text: str) -> None:
        panel = self._panel
        if panel.runs.active:
            panel.runs.stop()
        if not text.strip():
            panel.show_message("warn", "An empty message was not sent.", "The old one stays.")
            return
        job = self.job()
        if job is not None:
            parent = panel.conversation.messages[message].parent
            self.answer(panel.conversation.add(parent, "user", whole_characters(text)).id, job)

    @Slot(int)
    def _on_renewed(self, message: int) -> None:
        panel = self._panel
        panel.runs.stop()
        job = self.job()
        if job is not None:
            panel.conversation.follow(message)
            self.answer(panel.conversation.messages[message].parent, job)

    @Slot()
    def renew_last(self) -> None:
        """Answer the newest message again."""
        last = self._panel.conversation.path()[-1:]
        if last and last[0].role == "assistant":
            self._on_renewed(last[0].id)
        elif last and (job := self.job()) is not None:
            self.answer(last[0].id, job)

    def change_drafter(self, drafter: str) -> None:
        """Let another drafter go on with the reply in focus while it is written."""
        reply = self._panel.player.reply
        if self._panel.runs.run_of(reply) is not None:
            self._panel.runs.swap(reply, drafter=drafter)

    @Slot(object, str, object)
    def _on_ended(self, _reply: Reply, how: str, what: Any) -> None:
        panel = self._panel
        panel.stage.composer.set_note("")
        if how == "failed" and isinstance(what, ErrorReport):
            details = what.traceback if what.kind == "bug" else ""
            panel.banner.show_message("error", what.title, what.hint, "Try again", self.renew_last, details)

    # conversations -------------------------------------------------------------------------------------------------

    @Slot(str)
    def _on_delete(self, conversation: str) -> None:
        panel = self._panel
        if conversation not in panel.library.conversations:
            return
        if conversation == panel.conversation.id:
            panel.runs.stop()
        gone = panel.library.delete(conversation)
        panel.messages.forget(conversation)
        if conversation == panel.conversation.id:
            panel.open_newest()
        self._offer = f"“{gone.name}” was deleted."
        panel.show_message("info", self._offer, "", "Undo", partial(self._undelete, conversation))

    @Slot()
    def _on_deleted(self) -> None:
        """It can no longer be taken back: nor is it offered."""
        if self._panel.banner.text() == self._offer:
            self._panel.banner.clear()

    def _undelete(self, conversation: str) -> None:
        self._panel.library.undelete()
        self._panel.open_conversation(conversation)

    @Slot(str, str)
    def _on_renamed(self, conversation: str, title: str) -> None:
        kept = self._panel.library.conversations.get(conversation)
        if kept is not None:
            kept.title = whole_characters(title)[:200]
            self._panel.library.keep(kept)
            self._panel.show_conversation()

    @Slot(str)
    def _on_system(self, text: str) -> None:
        self._panel.conversation.system = whole_characters(text)
        self._panel.keep()
