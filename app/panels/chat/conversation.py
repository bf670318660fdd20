"""A conversation as a tree: every edit and every new answer is a branch, and nothing is ever taken out of it.

Message 0 is the system prompt, root of the tree.  Each message remembers which of its children is followed; following them from the root
gives the path that is shown.  Reading a saved conversation trusts nothing and keeps whatever makes sense.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from app.protocol.chat import ChatMessage
from app.protocol.errors import UserError

VERSION = 1
ROOT = 0
TITLE_LENGTH = 48
MOST_MESSAGES = 100_000
ROLES = ("system", "user", "assistant")


@dataclass
class Message:
    """One message and its place in the tree."""

    id: int
    parent: int
    role: str
    text: str = ""
    children: list[int] = field(default_factory=list)
    chosen: int = 0
    """Which child is followed."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Of an answer: how it was made and what was measured, JSON-able."""


@dataclass
class Conversation:
    """Messages by number, and what else belongs to them."""

    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    title: str = ""
    changed: float = field(default_factory=time.time)
    messages: dict[int, Message] = field(default_factory=lambda: {ROOT: Message(ROOT, -1, "system")})
    beside: int | None = None
    """An answer shown in the second column."""
    draft: str = ""
    """What stands in the input field."""

    # reading -------------------------------------------------------------------------------------------------------

    @property
    def system(self) -> str:
        """The system prompt."""
        return self.messages[ROOT].text

    @system.setter
    def system(self, text: str) -> None:
        self.messages[ROOT].text = text

    @property
    def name(self) -> str:
        """The title, or the first words, or a placeholder."""
        if self.title:
            return self.title
        first = next((m.text for m in self.messages.values() if m.role == "user" and m.text.strip()), "")
        words = " ".join(first.split())
        return f"{words[:TITLE_LENGTH]}…" if len(words) > TITLE_LENGTH else words or "New chat"

    def path(self) -> list[Message]:
        """The messages that are followed, without the system prompt."""
        found, at = [], self.messages[ROOT]
        while at.children:
            at = self.messages[at.children[min(at.chosen, len(at.children) - 1)]]
            found.append(at)
        return found

    def before(self, message: int) -> list[Message]:
        """The messages from the first to the one before `message`, on its own branch."""
        found, at = [], self.messages[message].parent
        while at > ROOT:
            found.append(self.messages[at])
            at = self.messages[at].parent
        return found[::-1]

    def for_model(self, message: int) -> tuple[ChatMessage, ...]:
        """What the model is given to write answer `message`: the system prompt, if there is one, and all before."""
        system = (ChatMessage(role="system", text=self.system),) if self.system.strip() else ()
        said = (m for m in self.before(message) if m.text or m.role == "user")  # an answer stopped before its first word says nothing
        return system + tuple(ChatMessage(role=m.role, text=m.text) for m in said)  # type: ignore[arg-type]

    def branch_of(self, message: int) -> tuple[int, int]:
        """Which of how many branches a message is, from 1."""
        siblings = self.messages[self.messages[message].parent].children
        return siblings.index(message) + 1, len(siblings)

    @property
    def empty(self) -> bool:
        """Whether nothing was said."""
        return len(self.messages) == 1

    # changing ------------------------------------------------------------------------------------------------------

    def add(self, parent: int, role: str, text: str = "", *, follow: bool = True) -> Message:
        """A new message under `parent`; `follow`: the path leads to it."""
        made = Message(max(self.messages) + 1, parent, role, text)
        self.messages[made.id] = made
        above = self.messages[parent]
        above.children.append(made.id)
        if follow:
            above.chosen = len(above.children) - 1
        return made

    def follow(self, message: int) -> None:
        """Let the path lead through a message."""
        at = self.messages[message]
        while at.parent >= ROOT:
            above = self.messages[at.parent]
            above.chosen = above.children.index(at.id)
            at = above

    def switch(self, message: int, step: int) -> None:
        """Follow the sibling `step` places on."""
        above = self.messages[self.messages[message].parent]
        above.chosen = min(max(above.children.index(message) + step, 0), len(above.children) - 1)

    def touch(self) -> None:
        """Take note of the time of a change."""
        self.changed = time.time()

    # files ---------------------------------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """As JSON-able values."""
        messages = [
            {"id": m.id, "parent": m.parent, "role": m.role, "text": m.text, "chosen": m.chosen, "facts": dict(m.facts)}
            for m in self.messages.values()
        ]
        return {
            "version": VERSION, "id": self.id, "title": self.title, "changed": self.changed, "beside": self.beside,
            "draft": self.draft, "messages": messages,
        }  # fmt: skip


def from_json(content: Any) -> Conversation:
    """A conversation from what `to_json` gave; `UserError` if it is none."""
    if not isinstance(content, dict) or not isinstance(content.get("messages"), list):
        raise UserError("A saved conversation cannot be read.", hint="Its file is left as it is.")
    if not isinstance(content.get("version"), int) or content["version"] > VERSION:
        raise UserError("A conversation was saved by a newer Glassbox.", hint="Its file is left as it is.")
    made = Conversation(id=str(content.get("id", ""))[:64], title=_text(content.get("title"))[:200], draft=_text(content.get("draft")))
    changed = content.get("changed")
    made.changed = float(changed) if isinstance(changed, int | float) else 0.0
    for item in content["messages"][:MOST_MESSAGES]:
        _take(made, item)
    for message in made.messages.values():
        message.chosen = min(max(message.chosen, 0), max(len(message.children) - 1, 0))
    beside = content.get("beside")
    made.beside = beside if isinstance(beside, int) and beside in made.messages and beside != ROOT else None
    return made


def _take(made: Conversation, item: Any) -> None:
    """Add a saved message whose parent is there already."""
    if not isinstance(item, dict) or not all(isinstance(item.get(name), int) for name in ("id", "parent", "chosen")):
        return
    if item["id"] == ROOT:
        made.system = _text(item.get("text"))
        made.messages[ROOT].chosen = item["chosen"]
    elif item["id"] > ROOT and item["id"] not in made.messages and item["parent"] in made.messages and item.get("role") in ROLES[1:]:
        facts = item.get("facts")
        made.messages[item["id"]] = Message(
            item["id"], item["parent"], item["role"], _text(item.get("text")), chosen=item["chosen"],
            facts=facts if isinstance(facts, dict) else {},
        )  # fmt: skip
        made.messages[item["parent"]].children.append(item["id"])


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
