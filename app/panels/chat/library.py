"""All conversations, kept on disk while they grow: one JSON file each, and beside it a file of rounds per answer.

Everything is read and written in the I/O thread (`app.storage`), whole files at once, the newest wins: after a crash at most the last
half second of text is missing.  A file that cannot be read stays where it is, and a sentence says so.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal, Slot

from app.panels.chat import reply_file
from app.panels.chat.conversation import Conversation, from_json
from app.panels.chat.reply import BROKEN_OFF, GOING, Reply
from app.protocol.errors import UserError

TEXT_AFTER_MS, ROUNDS_AFTER_MS, POLL_MS, UNDO_MS = 400, 2000, 20, 15_000


class Library(QObject):
    """Conversations by id; tells when they are read and when one is to be deleted."""

    opened = Signal()
    """All saved conversations are here."""
    changed = Signal()
    """The list, or a name in it, may have changed."""
    failed = Signal(object)
    deleted = Signal()
    """What was taken out of the list is gone for good."""

    def __init__(self, storage: Any, folder: Path, parent: QObject) -> None:
        super().__init__(parent)
        self._storage, self.folder = storage, folder
        self.conversations: dict[str, Conversation] = {}
        self._going: Conversation | None = None
        self._waiting: list[tuple[Future, Callable[[Any], None]]] = []
        self._unsaved: set[str] = set()
        self._lines: dict[tuple[str, int], list[str]] = {}
        self._unsaved_rounds: set[tuple[str, int]] = set()
        self._poll = QTimer(self, interval=POLL_MS)
        self._poll.timeout.connect(self._on_poll)
        self._text_timer = self._timer(TEXT_AFTER_MS, self.write_texts)
        self._rounds_timer = self._timer(ROUNDS_AFTER_MS, self.write_rounds)
        self._delete_timer = self._timer(UNDO_MS, self.delete_now)

    def _timer(self, ms: int, slot: Callable[[], None]) -> QTimer:
        timer = QTimer(self, singleShot=True, interval=ms)
        timer.timeout.connect(slot)
        return timer

    # reading -------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Read all conversations; `opened` follows."""
        self._ask(self._storage.call(read_all, self.folder), self._on_read)

    def _on_read(self, read: tuple[list[Conversation], list[str]]) -> None:
        found, broken = read
        for conversation in found:
            self.conversations.setdefault(conversation.id, conversation)
        if broken:
            names = ", ".join(broken[:3])
            many = "s" if len(broken) != 1 else ""
            self.failed.emit(UserError(f"{len(broken)} saved conversation{many} cannot be read: {names}.", hint="Nothing was deleted."))
        self.opened.emit()
        self.changed.emit()

    def load_rounds(self, reply: Reply, done: Callable[[], None]) -> None:
        """Read the rounds of an old answer; `done` is called when they are there."""

        def take(kept: reply_file.Kept) -> None:
            if not reply.loaded:
                reply.restore(kept.prompt_ids, kept.beginning, kept.rounds)
            done()

        self._ask(self._storage.call(reply_file.read, self._rounds_path(reply.conversation, reply.message)), take)

    def _ask(self, future: Future, then: Callable[[Any], None]) -> None:
        self._waiting.append((future, then))
        self._poll.start()

    @Slot()
    def _on_poll(self) -> None:
        ready = [pair for pair in self._waiting if pair[0].done()]
        self._waiting = [pair for pair in self._waiting if not pair[0].done()]
        if not self._waiting:
            self._poll.stop()
        for future, then in ready:
            if future.exception() is not None:
                self.failed.emit(UserError(f"Conversations could not be read: {future.exception()}."))
            else:
                then(future.result())

    def _path(self, conversation: str) -> Path:
        return self.folder / f"{conversation}.json"

    def _rounds_path(self, conversation: str, message: int) -> Path:
        return self.folder / conversation / f"{message}.jsonl"

    # writing -------------------------------------------------------------------------------------------------------

    def keep(self, conversation: Conversation) -> None:
        """A conversation has changed: it is on its way to the disk a moment from now."""
        conversation.touch()
        self.conversations[conversation.id] = conversation
        self._unsaved.add(conversation.id)
        if not self._text_timer.isActive():
            self._text_timer.start()

    def keep_rounds(self, reply: Reply) -> None:
        """An answer has grown: so will its file."""
        key = (reply.conversation, reply.message)
        lines = self._lines.setdefault(key, [reply_file.head(reply.prompt_ids, reply.beginning)])
        lines += [reply_file.line(round_) for round_ in reply.rounds[len(lines) - 1 :]]
        self._unsaved_rounds.add(key)
        if not self._rounds_timer.isActive():
            self._rounds_timer.start()

    @Slot()
    def write_texts(self) -> None:
        """Hand the changed conversations to the I/O thread at once."""
        self._text_timer.stop()
        for key in self._unsaved & self.conversations.keys():
            content = self.conversations[key].to_json()
            self._storage.write(self._path(key), lambda content=content: json.dumps(content, indent=1).encode())
        self._unsaved.clear()
        self.changed.emit()

    @Slot()
    def write_rounds(self) -> None:
        """Hand the rounds that are not on disk to the I/O thread at once."""
        self._rounds_timer.stop()
        for key in self._unsaved_rounds:
            lines = list(self._lines[key])
            self._storage.write(self._rounds_path(*key), lambda lines=lines: "\n".join(lines).encode())
        self._unsaved_rounds.clear()

    def forget_lines(self, reply: Reply) -> None:
        """An answer is finished: write its rounds and free what was kept for it."""
        self.write_rounds()
        self._lines.pop((reply.conversation, reply.message), None)

    # deleting ------------------------------------------------------------------------------------------------------

    def delete(self, conversation: str) -> Conversation:
        """Take a conversation out of the list; its files go when it can no longer be taken back."""
        self.delete_now()
        self._going = self.conversations.pop(conversation)
        self._unsaved.discard(conversation)
        self._delete_timer.start()
        self.changed.emit()
        return self._going

    def undelete(self) -> None:
        """Take the last deletion back."""
        self._delete_timer.stop()
        if self._going is not None:
            back, self._going = self._going, None
            self.keep(back)
            self.changed.emit()

    @Slot()
    def delete_now(self) -> None:
        """Delete the files of what was taken out of the list."""
        self._delete_timer.stop()
        if self._going is not None:
            gone, self._going = self._going, None
            for key in [key for key in self._lines if key[0] == gone.id]:
                del self._lines[key]
                self._unsaved_rounds.discard(key)
            self._ask(self._storage.call(remove, self.folder, gone.id), lambda _done: None)
            self.deleted.emit()

    def close_down(self) -> None:
        """Write everything now; nothing is asked any more."""
        self.delete_now()
        self.write_texts()
        self.write_rounds()
        self._waiting.clear()
        for timer in (self._poll, self._text_timer, self._rounds_timer, self._delete_timer):
            timer.stop()


def read_all(folder: Path) -> tuple[list[Conversation], list[str]]:
    """All conversations of a folder, and the names of files that cannot be read. For the I/O thread."""
    found, broken = [], []
    for path in sorted(folder.glob("*.json")):
        try:
            conversation = from_json(json.loads(path.read_bytes()))
        except (OSError, ValueError, RecursionError, UserError):
            broken.append(path.name)
            continue
        conversation.id = path.stem
        for message in conversation.messages.values():
            if message.facts.get("state") in GOING:
                message.facts["state"] = BROKEN_OFF
        found.append(conversation)
    return found, broken


def remove(folder: Path, conversation: str) -> None:
    """Delete a conversation's files. For the I/O thread."""
    with contextlib.suppress(FileNotFoundError):
        (folder / f"{conversation}.json").unlink()
    shutil.rmtree(folder / conversation, ignore_errors=True)
