"""The closed set of events a run sends; new systems add payloads, never events.

Runners yield them with `run_id` 0; the worker stamps the number of the run. Lossy events may be overtaken by
newer ones of the same channel, all others arrive; before a barrier every lossy event still waiting is flushed.
Grammar: Queued Started? (Loading|Progress|Preview|Record|Step|Parked|Resumed|Evicted)* (Done|Cancelled|Failed).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.protocol.errors import ErrorReport


@dataclass(frozen=True, kw_only=True)
class Event:
    """Base of all events; `run_id` is stamped by the worker."""

    run_id: int = 0


@dataclass(frozen=True, kw_only=True)
class Queued(Event):
    """The worker has taken the job in."""


@dataclass(frozen=True, kw_only=True)
class Started(Event):
    """The runner is about to take its first step."""


@dataclass(frozen=True, kw_only=True)
class Loading(Event):
    """A model is being loaded: `done` of `total` bytes."""

    key: str
    done: int
    total: int


@dataclass(frozen=True, kw_only=True)
class Evicted(Event):
    """A model had to leave the device."""

    key: str


@dataclass(frozen=True, kw_only=True)
class Progress(Event):
    """A long stage without steps; total 0 = length unknown."""

    done: float
    total: float = 0
    unit: str = ""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Preview(Event):
    """Something to look at, of which only the newest per channel matters."""

    channel: str
    payload: Any


@dataclass(frozen=True, kw_only=True)
class Record(Event):
    """Something to keep: a token, a loss, a kept step."""

    channel: str
    payload: Any


@dataclass(frozen=True, kw_only=True)
class Step(Event):
    """Step `index` (1-based) of `total` is complete: here a step-through stops."""

    index: int
    total: int


@dataclass(frozen=True, kw_only=True)
class Parked(Event):
    """The run stands still after step `index`."""

    index: int


@dataclass(frozen=True, kw_only=True)
class Resumed(Event):
    """The run goes on."""


@dataclass(frozen=True, kw_only=True)
class Done(Event):
    """The run returned `result`."""

    result: Any


@dataclass(frozen=True, kw_only=True)
class Cancelled(Event):
    """The run was ended on request."""


@dataclass(frozen=True, kw_only=True)
class Failed(Event):
    """The run failed; the report holds text only."""

    report: ErrorReport


LOSSY = (Progress, Preview)
TERMINAL = (Done, Cancelled, Failed)
BARRIERS = (Parked, Resumed, *TERMINAL)
FROM_RUNNERS = (Progress, Preview, Record, Step)
"""What a runner may yield; everything else is said by the worker."""


def grammar_error(events: Sequence[Event]) -> str:
    """Say what is wrong with the complete event list of one run, or return an empty string."""
    if not events or not isinstance(events[0], Queued):
        return "a run must begin with Queued"
    if not isinstance(events[-1], TERMINAL):
        return "a run must end with Done, Cancelled or Failed"
    for place, event in enumerate(events[1:-1], start=1):
        if isinstance(event, TERMINAL):
            return f"{type(event).__name__} at place {place} is not the last event"
        if isinstance(event, Queued) or (isinstance(event, Started) and place != 1):
            return f"{type(event).__name__} at place {place} comes too late"
    if len({event.run_id for event in events}) != 1:
        return "the events belong to several runs"
    return ""
