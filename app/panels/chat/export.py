"""A conversation as Markdown, for people, and as JSON, with every branch and every round that is in memory."""

from __future__ import annotations

import re
from typing import Any

from app.panels.chat.conversation import Conversation, Message
from app.panels.chat.reply import Reply, footer
from app.protocol.chat import ChatMessage
from app.protocol.encoding import encode

NAMES = {"user": "You", "assistant": "Model"}


def as_chat(message: Message) -> ChatMessage:
    """A message as the model is given it."""
    return ChatMessage(role=message.role, text=message.text)  # type: ignore[arg-type]


def markdown(conversation: Conversation) -> str:
    """The path that is followed, as Markdown."""
    parts = [f"# {conversation.name}"]
    if conversation.system.strip():
        parts.append(f"> System prompt: {conversation.system.strip()}")
    for message in conversation.path():
        parts.append(f"## {NAMES[message.role]}\n\n{message.text.strip()}")
        if message.role == "assistant" and (line := footer(message.facts)):
            parts.append(f"*{line}*")
    return "\n\n".join(parts) + "\n"


def everything(conversation: Conversation, replies: list[Reply]) -> dict[str, Any]:
    """All branches, and the rounds of the given replies with the field names of the protocol."""
    rounds = {str(reply.message): [encode(round_) for round_ in reply.rounds] for reply in replies if reply.rounds}
    return conversation.to_json() | {"name": conversation.name, "rounds": rounds}


def file_name(conversation: Conversation) -> str:
    """A name for a file made from the title."""
    return re.sub(r"[^\w\- ]+", "", conversation.name).strip()[:60] or "conversation"
