"""Events on their way from the worker to whoever watches.

Lossless events form a list; lossy ones have one slot per (run, channel), where the newest wins. Each event
has a number, so draining returns them in the order they were sent. Before a barrier the slots of that run are
flushed into the list: a parked picture is the parked step.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from app.protocol.events import BARRIERS, Event, Preview, Progress
from app.protocol.status import WorkerStatus

Slot = tuple[int, str]


class Mailbox:
    """Filled by the worker, emptied by one reader; `wake` is called (by the worker) when it stops being empty."""

    def __init__(self, *, previews: bool = True, wake: Callable[[], None] | None = None) -> None:
        self.previews = previews
        """False when nobody looks: previews are then never even decoded."""
        self._wake = wake
        self._changed = threading.Condition()
        self._number = 0
        self._kept: list[tuple[int, Event]] = []
        self._slots: dict[Slot, tuple[int, Event]] = {}
        self._status: WorkerStatus | None = None

    def put(self, event: Event) -> None:
        """Add an event of the run `event.run_id`."""
        with self._changed:
            self._number += 1
            numbered = (self._number, event)
            if isinstance(event, Preview | Progress):
                channel = f"preview {event.channel}" if isinstance(event, Preview) else "progress"
                self._slots[event.run_id, channel] = numbered
            else:
                if isinstance(event, BARRIERS):
                    self._flush(event.run_id)
                self._kept.append(numbered)
            self._announce()

    def put_status(self, status: WorkerStatus) -> None:
        """Replace the snapshot of the worker."""
        with self._changed:
            self._status = status
            self._announce()

    def wants(self, run_id: int, channel: str) -> bool:
        """Is there room for a preview, that is, has the last one been fetched?"""
        with self._changed:
            return self.previews and (run_id, f"preview {channel}") not in self._slots

    def drain(self) -> tuple[list[Event], WorkerStatus | None]:
        """Take out everything, in the order it was sent, and the newest status if there is a new one."""
        with self._changed:
            numbered = sorted([*self._kept, *self._slots.values()], key=lambda pair: pair[0])
            status, self._status = self._status, None
            self._kept = []
            self._slots = {}
            self._changed.notify_all()
        return [event for _, event in numbered], status

    def wait(self, seconds: float) -> bool:
        """Block until there is something to drain or the time is over."""
        with self._changed:
            return self._changed.wait_for(self._filled, seconds)

    def backlog(self) -> int:
        """Number of lossless events nobody has fetched yet."""
        with self._changed:
            return len(self._kept)

    def _filled(self) -> bool:
        return bool(self._kept or self._slots or self._status)

    def _flush(self, run_id: int) -> None:
        for slot in [slot for slot in self._slots if slot[0] == run_id]:
            self._kept.append(self._slots.pop(slot))

    def _announce(self) -> None:
        self._changed.notify_all()
        if self._wake is not None:
            self._wake()
