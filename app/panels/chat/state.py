"""What the panel remembers between sessions besides its conversations, as JSON-able values, and back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from app.jobs.chat import Chat
from app.protocol.errors import UserError
from app.protocol.job import job_from_dict, job_to_dict

if TYPE_CHECKING:
    from app.panels.chat.panel import ChatPanel

VERSION = 1


def saved(panel: ChatPanel) -> dict[str, Any]:
    """Knobs, which conversation is open, and how the views stand."""
    try:
        job = replace(panel.side_form.job(), messages=(), prompt="", continue_ids=())
    except UserError:
        job = Chat()
    return {
        "version": VERSION,
        "job": job_to_dict(job),
        "side_form": panel.side_form.choices(),
        "conversation": panel.conversation.id,
        "side": panel.side.currentIndex(),
        "draft": panel.timeline.draft_shown,
        "speed": panel.player.speed,
        "tokens": panel.messages.show_tokens,
    }


def restore(panel: ChatPanel, state: dict[str, Any]) -> None:
    """Put a saved state back."""
    job, _warnings = job_from_dict(Chat, state["job"])
    panel.side_form.set_job(job)
    panel.side_form.set_choices(state.get("side_form", {}))
    panel.wanted = str(state.get("conversation", ""))
    panel.side.setCurrentIndex(int(state.get("side", 0)))
    panel.timeline.set_draft_shown(bool(state.get("draft", False)))
    speed = float(state.get("speed", 1.0))
    panel.player.set_speed(speed)
    panel.timeline.set_speed(speed)
    panel.messages.show_tokens = bool(state.get("tokens", True))
    if panel.library.conversations:
        panel.open_conversation(panel.wanted)
