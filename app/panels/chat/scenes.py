"""The panel as it is shown in README and looked at by its makers: a reply with its rounds, its draft, a branch, the empty state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from app.panels.chat.reply import Reply
from app.panels.chat.welcome import EXAMPLES

if TYPE_CHECKING:
    from app.panels.chat.panel import ChatPanel

LOADED_WITHIN_S, MEASURED_WITHIN_S, LOOK_EVERY_S = 60.0, 120.0, 0.2


def reply(panel: ChatPanel) -> Iterator[Any]:
    """A reply with its tokens, one of them looked at."""
    yield from _until(lambda: panel.gate.loaded or panel.gate.missing, LOADED_WITHIN_S)
    panel.new_conversation()
    panel.commands.send(EXAMPLES[2][0])
    yield from _written(panel)
    written = panel.player.reply
    if written is not None and written.rounds:
        yield from _until(lambda: "plain_tokens_per_s" in written.facts, MEASURED_WITHIN_S)
        panel.looking.choose(written, _worth_seeing(written))
    yield 0.5


def draft(panel: ChatPanel) -> Iterator[Any]:
    """The draft of a round, drawn, and the figures of the reply."""
    panel.timeline.set_draft_shown(True)
    panel.side.setCurrentWidget(panel.side.reply)
    panel.measures.gamma()
    written = panel.player.reply
    yield from _until(lambda: written is None or written.gamma is not None, MEASURED_WITHIN_S)
    yield 0.5


def branch(panel: ChatPanel) -> Iterator[Any]:
    """What would have come of a refused draft, in a second column."""
    panel.timeline.set_draft_shown(False)
    written = panel.player.reply
    refused = written and next(((r.index, n) for r in written.rounds for n, d in enumerate(r.drafted) if d.fate == "rejected"), None)
    if refused:
        panel.branching.continue_draft(written, *refused)
        yield from _written(panel)
    yield 0.5


def empty(panel: ChatPanel) -> Iterator[Any]:
    """Before the first message."""
    panel.new_conversation()
    yield 0.3


def _until(there: Callable[[], Any], seconds: float) -> Iterator[float]:
    """Wait for something, in steps; give up after `seconds`."""
    for _step in range(round(seconds / LOOK_EVERY_S)):
        if there():
            return
        yield LOOK_EVERY_S


def _written(panel: ChatPanel) -> Iterator[Any]:
    run = panel.runs.run_of(panel.player.reply)
    if run is not None:
        yield run.handle


def _worth_seeing(written: Reply) -> int:
    """An accepted token in the middle of a reply."""
    tokens = [token for round_ in written.rounds for token in round_.tokens]
    kept = [place for place, token in enumerate(tokens) if token.kind == "accepted"]
    return kept[len(kept) // 2] if kept else len(tokens) // 2


SCENES = [("", reply), ("draft", draft), ("branch", branch), ("empty", empty)]
