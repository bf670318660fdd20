"""The chat panel: conversations and knobs at the left, messages over the rounds of a reply, numbers at the right.

The panel itself only joins its parts: `Library` (what is kept), `Runs` (what is being written), `Player` (where we stand), `Messages`
(what is shown), `Looking` (what the numbers are about), `Commands`, `Branching`, `Sharing` (what buttons do), `Measures` (closer looks at
a reply), `Gate` (is the model here).
"""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QMimeData, Slot
from PySide6.QtGui import QKeyEvent, QKeySequence, QShortcut

from app import paths
from app.panels.base import Panel, Scene
from app.panels.chat import scenes, state
from app.panels.chat.branching import Branching
from app.panels.chat.commands import KEY_HELP, Commands
from app.panels.chat.conversation import Conversation
from app.panels.chat.gate import Gate
from app.panels.chat.handing import Handing
from app.panels.chat.intake import model_path
from app.panels.chat.library import Library
from app.panels.chat.looking import Looking
from app.panels.chat.measures import Measures
from app.panels.chat.messages import Messages
from app.panels.chat.player import Player
from app.panels.chat.reply import Reply, sentence
from app.panels.chat.runs import Runs
from app.panels.chat.sharing import Sharing
from app.panels.chat.side_form import SideForm
from app.panels.chat.side_view import SideView
from app.panels.chat.stage import Stage
from app.panels.chat.timeline import Following, Timeline
from app.panels.errands import Errands
from app.protocol.errors import UserError


class ChatPanel(Panel):
    """Talk with a language model, and see every speculative round."""

    panel_id = "chat"
    title = "Chat"

    def __init__(self, engine: Any, settings: Any, parent: Any = None) -> None:
        super().__init__(engine, settings, parent)
        self.conversation = Conversation()
        self.wanted = ""
        """The conversation to open once all are read."""
        self.errands, self.runs = Errands(engine, self.panel_id, self), Runs(engine, self)
        self.player = Player(self.runs, self)
        self.library = Library(settings.storage, paths.data_dir() / "conversations", self)
        self.side_form, self.stage, self.timeline, self.side = SideForm(), Stage(), Timeline(), SideView()
        self.messages = Messages(self.stage, self.library, self.player, self)
        self.following = Following(self.timeline, self.player, self)
        self.looking, self.gate, self.measures = Looking(self), Gate(self), Measures(self)
        self.commands, self.branching, self.sharing, self.handing = Commands(self), Branching(self), Sharing(self), Handing(self)
        self.arrange(self.side_form, self.stage, self.timeline, self.side)
        self.remember_splitter("form", self.side_form)
        self.remember_splitter("answers", self.stage.columns)
        self.setFocusProxy(self.stage.composer.edit)
        self._connect()
        self.show_conversation()
        self.library.open()

    def _connect(self) -> None:
        for signal, slot in (
            (self.library.opened, self._on_opened), (self.library.changed, self._on_library), (self.library.failed, self.show_error),
            (self.errands.failed, self.show_error), (self.side_form.conversations.chosen, self.open_conversation),
            (self.side_form.changed, self._on_settings), (self.side_form.invalid, self._on_invalid),
            (self.runs.prompted, self._on_prompted), (self.runs.grew, self._on_grew), (self.runs.ended, self._on_ended),
            (self.runs.state_changed, self._on_run_state), (self.runs.busy, self.timeline.set_busy),
            (self.messages.flushed, self._on_flushed), (self.messages.tokens_toggled, self.touch),
            (self.timeline.draft_toggled, self.touch), (self.timeline.speed_chosen, self.touch), (self.side.currentChanged, self.touch),
            (self.stage.composer.edited, self._on_draft),
        ):  # fmt: skip
            signal.connect(slot)
        for keys, slot in (
            ("F10", self.commands.step), ("Ctrl+N", self.new_conversation), ("Ctrl+R", self.commands.renew_last),
            ("Esc", self.player.stop),
        ):  # fmt: skip
            shortcut = QShortcut(QKeySequence(keys), self, activated=slot)
            shortcut.setContext(shortcut.context().WidgetWithChildrenShortcut)

    # conversations -------------------------------------------------------------------------------------------------

    @Slot()
    def _on_opened(self) -> None:
        if self.conversation.empty:
            self.open_conversation(self.wanted)
        self._on_library()

    @Slot(str)
    def open_conversation(self, key: str) -> None:
        """Show a saved conversation; an unknown key shows a fresh one."""
        self.conversation = self.library.conversations.get(key) or Conversation()
        self.looking.nowhere()
        self.side_form.system.set_text(self.conversation.system)
        self.stage.composer.set_text(self.conversation.draft)
        self.stage.composer.set_note("")
        self.stage.show_raw(None)
        self.show_conversation()
        self.focus_newest()
        self.stage.main.follow()
        self.touch()

    @Slot()
    def new_conversation(self) -> None:
        """Begin another conversation."""
        self.open_conversation("")
        self.stage.composer.edit.setFocus()

    def open_newest(self) -> None:
        """Show the conversation that was changed last."""
        newest = max(self.library.conversations.values(), key=lambda each: each.changed, default=None)
        self.open_conversation(newest.id if newest else "")

    def show_conversation(self) -> None:
        """Show the conversation as it is now, and keep it."""
        self.messages.show(self.conversation)
        if not self.conversation.empty:
            self.library.keep(self.conversation)
        self._on_library()

    def keep(self) -> None:
        """The conversation has changed without any view having to."""
        if not self.conversation.empty or self.conversation.id in self.library.conversations:
            self.library.keep(self.conversation)

    def focus_newest(self) -> None:
        """Let timeline and figures show the newest answer."""
        answers = [message for message in self.conversation.path() if message.role == "assistant"]
        reply = self.messages.reply(answers[-1].id) if answers else None
        self.player.focus(reply)
        if reply is not None:
            self.messages.with_rounds(reply, self.following.grew)

    @Slot()
    def _on_library(self) -> None:
        self.side_form.conversations.show_all(self.library.conversations.values(), self.conversation.id)

    @Slot(str)
    def _on_draft(self, text: str) -> None:
        self.conversation.draft = text
        self.keep()

    # replies being written -----------------------------------------------------------------------------------------

    @Slot(object)
    def _on_prompted(self, reply: Reply) -> None:
        """Another reply has its turn: look at it, unless the one looked at is being written."""
        self._on_grew(reply)
        if not self.player.live and reply.conversation == self.conversation.id:
            self.player.focus(reply)

    @Slot(object)
    def _on_grew(self, reply: Reply) -> None:
        conversation = self.library.conversations.get(reply.conversation)
        if conversation is not None:
            conversation.messages[reply.message].text = reply.text
            self.library.keep(conversation)
            self.library.keep_rounds(reply)
        self.messages.touch(reply)

    @Slot(object, str, object)
    def _on_ended(self, reply: Reply, _how: str, _what: Any) -> None:
        self._on_grew(reply)
        self.library.forget_lines(reply)
        self.messages.flush()
        self.messages.update()
        self.side.reply.show_reply(self.player.reply)

    def facts_changed(self, reply: Reply) -> None:
        """Something more is known about a finished reply."""
        self.tell_progress(None)
        conversation = self.library.conversations.get(reply.conversation)
        if conversation is not None:
            self.library.keep(conversation)
        self.messages.touch(reply)
        if reply is self.player.reply:
            self.side.reply.show_reply(reply)

    def tell_progress(self, progress: Any) -> None:
        """What a short job is doing; None: it is over."""
        self.timeline.set_busy(sentence(progress.note) if progress is not None else "")

    @Slot()
    def _on_run_state(self) -> None:
        self.stage.composer.set_busy(self.runs.active)

    @Slot()
    def _on_flushed(self) -> None:
        if self.player.live:
            self.following.soon()
        else:
            self.following.grew()
        self.side.reply.show_reply(self.player.reply, following=self.player.live)

    @property
    def looked_at(self) -> tuple[Reply | None, int]:
        """The token that is looked at: its reply and its place; (None, -1) if none is."""
        return self.looking.at

    # settings ------------------------------------------------------------------------------------------------------

    @Slot()
    def _on_settings(self) -> None:
        self.touch()
        try:
            job = self.side_form.job()
        except UserError:
            return  # the form says it itself
        self.runs.tune(draft_length=job.draft_length, temperature=job.temperature)
        self.commands.change_drafter(job.drafter)
        if job.model != self.gate.asked:
            self.gate.ask()

    @Slot(str)
    def _on_invalid(self, words: str) -> None:
        self.show_message("warn", words)

    # hooks of the window -------------------------------------------------------------------------------------------

    def ready(self) -> None:
        self.gate.ask()

    def save_state(self) -> dict:
        return state.saved(self)

    def restore_state(self, saved: dict) -> None:
        state.restore(self, saved)

    def accept_drop(self, mime: QMimeData) -> bool:
        path = model_path(mime)
        if path is not None:
            self.gate.add(path)
        return path is not None

    def screenshot_scenes(self) -> list[Scene]:
        return scenes.SCENES

    def key_help(self) -> list[tuple[str, str]]:
        return KEY_HELP

    def about_to_close(self) -> None:
        self.touch()
        self.runs.stop()
        for part in (self.player, self.messages, self.following, self.sharing, self.handing, self.side.reply, self.library):
            part.close_down()
        super().about_to_close()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Keys that no child wanted: the transport."""
        if event.key() == 0 or not self.timeline.transport.handle_key(event):
            super().keyPressEvent(event)
