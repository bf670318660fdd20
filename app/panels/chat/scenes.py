"""The panel as it is shown in README and looked at by its makers: a reply with its rounds, its draft tree, a branch, the empty state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from app.panels.chat.welcome import EXAMPLES

if TYPE_CHECKING:
    from app.panels.chat.panel import ChatPanel

LOADED_WITHIN_S = 8.0


def reply(panel: ChatPanel) -> Iterator[Any]:
    """A reply with its tokens, one of them looked at."""
    yield LOADED_WITHIN_S
    panel.new_conversation()
    panel.commands.send(EXAMPLES[2][0])
    yield from _until_still(panel)
    written = panel.player.reply
    if written is not None and written.rounds:
        panel._on_token(written, _worth_seeing(written))
    yield 0.5


def draft(panel: ChatPanel) -> Iterator[Any]:
    """The draft of a round, drawn, and the figures of the reply."""
    panel.timeline.set_draft_shown(True)
    panel.side.setCurrentWidget(panel.side.reply)
    panel.measures.gamma()
    yield 6.0


def branch(panel: ChatPanel) -> Iterator[Any]:
    """What would have come of a refused draft, in a second column."""
    panel.timeline.set_draft_shown(False)
    written = panel.player.reply
    refused = written and next(((r.index, n) for r in written.rounds for n, d in enumerate(r.drafted) if d.fate == "rejected"), None)
    if refused:
        panel.branching._on_ghost(written, *refused)
        yield from _until_still(panel)
    yield 0.5


def empty(panel: ChatPanel) -> Iterator[Any]:
    """Before the first message."""
    panel.new_conversation()
    yield 0.3


def _until_still(panel: ChatPanel) -> Iterator[Any]:
    run = panel.runs.run_of(panel.player.reply)
    if run is not None:
        yield run.handle
    yield 4.0


def _worth_seeing(written: Any) -> int:
    """An accepted token in the middle of a reply."""
    tokens = [token for round_ in written.rounds for token in round_.tokens]
    kept = [place for place, token in enumerate(tokens) if token.kind == "accepted"]
    return kept[len(kept) // 2] if kept else len(tokens) // 2


SCENES = [("", reply), ("draft", draft), ("branch", branch), ("empty", empty)]
