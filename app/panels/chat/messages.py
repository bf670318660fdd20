"""Fills the columns with the messages of a conversation, and keeps them up to date while replies grow.

What arrives is gathered and shown at most 30 times a second, and only the cards it concerns are touched.
"""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal, Slot

from app.panels.chat.conversation import Conversation, Message
from app.panels.chat.library import Library
from app.panels.chat.player import Player
from app.panels.chat.reply import GOING, Reply, drafter_title, footer
from app.panels.chat.runs import PAUSED
from app.panels.chat.stage import Stage
from app.widgets.message_card import CardLook, MessageCard

EVERY_MS = 33  # 30 times a second is as fast as anybody reads
SHOWN_AT_FIRST, SHOWN_MORE = 16, 24
FOOTER_TIP = "How it was made: opens its figures"


class Messages(QObject):
    """The conversation on show, and the replies that belong to it."""

    token_selected = Signal(object, int)
    """Reply, token."""
    ghost_clicked = Signal(object, int, int)
    """Reply, round, place of the draft."""
    focus_wanted = Signal(object)
    """Reply: its figures are asked for."""
    copied = Signal(str)
    edited = Signal(int, str)
    renewed = Signal(int)
    switched = Signal(int, int)
    link_clicked = Signal(str)
    round_hovered = Signal(object, int)
    tokens_toggled = Signal(bool)
    attention_wanted = Signal(object)
    """Reply: what its tokens look at is asked for."""
    flushed = Signal()
    """What had changed is on show."""

    def __init__(self, stage: Stage, library: Library, player: Player, parent: QObject) -> None:
        super().__init__(parent)
        self._stage, self._library, self._player = stage, library, player
        self.conversation = Conversation()
        self.show_tokens = True
        self._replies: dict[tuple[str, int], Reply] = {}
        self._open: dict[tuple[str, int], bool] = {}
        self._shown = SHOWN_AT_FIRST
        self._dirty: set[int] = set()
        self._clock = QTimer(self, singleShot=True, interval=EVERY_MS)
        self._clock.timeout.connect(self.flush)
        stage.main.earlier_wanted.connect(self._on_earlier)
        player.moved.connect(self._on_moved)
        player.state_changed.connect(self._on_moved)

    # the conversation ----------------------------------------------------------------------------------------------

    def show(self, conversation: Conversation) -> None:
        """Show another conversation."""
        if conversation is not self.conversation:
            self.conversation, self._shown = conversation, SHOWN_AT_FIRST
            for column in (self._stage.main, self._stage.beside):
                column.sync([], self._make_card)
        self.update()

    def update(self) -> None:
        """Show the path as it is now."""
        conversation = self.conversation
        path = [message.id for message in conversation.path()]
        shown = path[-self._shown :]
        self._stage.main.sync(shown, self._make_card, earlier=len(shown) < len(path))
        self._stage.set_title(conversation.name)
        beside = conversation.beside
        if beside is not None and (beside in path or conversation.messages[beside].parent not in (0, *path)):
            beside = conversation.beside = None
        keys = [] if beside is None else [m.id for m in conversation.before(beside)[-1:]] + [beside]
        self._stage.beside.sync(keys, self._make_card)
        self._stage.show_beside("" if beside is None else self._beside_title(beside))
        for card in self._cards():
            card.set_look(self._look(conversation.messages[card.key]))

    def _beside_title(self, message: int) -> str:
        facts = self.conversation.messages[message].facts
        return facts.get("branch") or f"Same question: {drafter_title(facts.get('job', {}).get('drafter', ''))}"

    def reply(self, message: int) -> Reply:
        """The reply behind an answer of this conversation; its rounds are read when it is first wanted."""
        key = (self.conversation.id, message)
        if key not in self._replies:
            self._replies[key] = made = Reply(*key, self.conversation.messages[message].facts)
            made.loaded = not made.facts.get("counters") and not self.conversation.messages[message].text
        return self._replies[key]

    def begin(self, message: int) -> Reply:
        """A fresh reply for a message that is about to be answered."""
        key = (self.conversation.id, message)
        self._replies[key] = Reply(*key, self.conversation.messages[message].facts)
        return self._replies[key]

    def forget(self, conversation: str) -> None:
        """A conversation was deleted."""
        for key in [key for key in self._replies if key[0] == conversation]:
            del self._replies[key]

    def with_rounds(self, reply: Reply, then: Any) -> None:
        """Call `then` when the rounds of a reply are here."""
        if reply.loaded:
            then()
        else:
            self._library.load_rounds(reply, then)

    def replies_beside(self, reply: Reply) -> list[Reply]:
        """The replies on show that answer the same message."""
        if reply.conversation != self.conversation.id:
            return []
        siblings = self.conversation.messages[self.conversation.messages[reply.message].parent].children
        return [self.reply(card.key) for card in self._cards() if card.key in siblings]

    def replies_here(self) -> list[Reply]:
        """All replies of this conversation that are in memory."""
        return [reply for (conversation, _message), reply in self._replies.items() if conversation == self.conversation.id]

    # cards ---------------------------------------------------------------------------------------------------------

    def _cards(self) -> list[MessageCard]:
        return [*self._stage.main.cards(), *self._stage.beside.cards()]

    def _make_card(self, key: int) -> MessageCard:
        message = self.conversation.messages[key]
        card = MessageCard(key, self._look(message))
        for signal, slot in (
            (card.copied, self._on_copied), (card.edited, self.edited), (card.renewed, self.renewed), (card.switched, self.switched),
            (card.footer_clicked, self._on_footer), (card.tokens_toggled, self._on_tokens), (card.token_selected, self._on_token),
            (card.ghost_clicked, self._on_ghost), (card.round_hovered, self._on_hovered), (card.link_clicked, self.link_clicked),
            (card.attention_wanted, self._on_attention),
        ):  # fmt: skip
            signal.connect(slot)
        card.set_text(message.text)
        if message.role == "assistant" and self._open.get((self.conversation.id, key), self.show_tokens and not message.children):
            self._open_tokens(card)
        return card

    def _open_tokens(self, card: MessageCard) -> None:
        card.show_tokens(True)
        reply = self.reply(card.key)
        if reply.loaded:
            card.set_rounds(reply.rounds, reply.beginning)
        else:
            self._library.load_rounds(reply, self._mark(reply))

    def _mark(self, reply: Reply) -> Any:
        def loaded() -> None:
            self.touch(reply)

        return loaded

    def _look(self, message: Message) -> CardLook:
        branch, branches = self.conversation.branch_of(message.id)
        if message.role == "user":
            return CardLook("user", "You", branch=branch, branches=branches, editable=True)
        facts, job = message.facts, message.facts.get("job", {})
        title = str(facts.get("title") or job.get("model", "") or "Answer").rsplit("/", 1)[-1]
        words = [drafter_title(facts.get("drafter", job.get("drafter", "")))]
        if job.get("temperature"):
            words.append(f"temperature {job['temperature']:g}")
        return CardLook(
            "assistant", title, " · ".join(word for word in words if word), branch, branches, footer(facts), FOOTER_TIP,
            warning=" ".join(facts.get("notes", [])),
            renewable=facts.get("state") not in GOING, tokens=True,
        )  # fmt: skip

    # growing -------------------------------------------------------------------------------------------------------

    def touch(self, reply: Reply) -> None:
        """A reply has changed: its card shows it a moment from now."""
        if reply.conversation == self.conversation.id:
            self._dirty.add(reply.message)
            if not self._clock.isActive():
                self._clock.start()

    @Slot()
    def flush(self) -> None:
        """Show what has changed now."""
        self._clock.stop()
        dirty, self._dirty = self._dirty, set()
        for card in self._cards():
            if card.key in dirty:
                message, reply = self.conversation.messages[card.key], self.reply(card.key)
                card.set_text(message.text)
                card.set_look(self._look(message))
                if reply.loaded:
                    card.set_rounds(reply.rounds, reply.beginning)
                self._show_position(card, reply)
        self.flushed.emit()

    def _show_position(self, card: MessageCard, reply: Reply) -> None:
        """In a replay what is still to come is pale; the round looked at is lit."""
        if card.tokens is not None:
            player = self._player
            here = reply is player.reply
            card.tokens.set_shown(reply.position if here and player.replaying else None)
            looking = here and (reply.position < len(reply.rounds) or player.state == PAUSED)
            card.tokens.set_lit(reply.position - 1 if looking else -1)

    @Slot()
    def _on_moved(self) -> None:
        for card in self._cards():
            if card.look.role == "assistant":
                self._show_position(card, self.reply(card.key))
        if self._player.replaying and (card := self._card_of(self._player.reply)) is not None and not card.tokens_shown:
            self._open_tokens(card)

    def _card_of(self, reply: Reply | None) -> MessageCard | None:
        if reply is None or reply.conversation != self.conversation.id:
            return None
        return next((card for card in self._cards() if card.key == reply.message), None)

    def light(self, reply: Reply | None, round_: int) -> None:
        """Light a round of a reply in its token view (-1: none)."""
        card = self._card_of(reply)
        if card is not None and card.tokens is not None:
            card.tokens.set_lit(round_)

    def select(self, reply: Reply | None, token: int) -> None:
        """Mark a token as the one looked at, and no other anywhere."""
        for card in self._cards():
            if card.tokens is not None:
                card.tokens.select(token if reply is not None and card.key == reply.message else -1)

    def close_down(self) -> None:
        """Show nothing more."""
        self._clock.stop()

    # what cards tell -----------------------------------------------------------------------------------------------

    @Slot(int)
    def _on_copied(self, key: int) -> None:
        self.copied.emit(self.conversation.messages[key].text)

    @Slot(int)
    def _on_footer(self, key: int) -> None:
        self.focus_wanted.emit(self.reply(key))

    @Slot(int, bool)
    def _on_tokens(self, key: int, shown: bool) -> None:
        self._open[self.conversation.id, key] = self.show_tokens = shown
        self._stage.main.hold()
        if shown:
            self._open_tokens(self._card_of(self.reply(key)))
        self.tokens_toggled.emit(shown)

    @Slot(int)
    def _on_attention(self, key: int) -> None:
        self.attention_wanted.emit(self.reply(key))

    @Slot(int, int)
    def _on_token(self, key: int, token: int) -> None:
        self.token_selected.emit(self.reply(key), token)

    @Slot(int, int, int)
    def _on_ghost(self, key: int, round_: int, place: int) -> None:
        self.ghost_clicked.emit(self.reply(key), round_, place)

    @Slot(int, int)
    def _on_hovered(self, key: int, round_: int) -> None:
        self.round_hovered.emit(self.reply(key), round_)

    @Slot()
    def _on_earlier(self) -> None:
        self._shown += SHOWN_MORE
        self._stage.main.hold()
        self.update()
