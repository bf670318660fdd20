"""Which models are in memory: `with zoo.use(key) as model` finds, loads, pins and counts in one call.

Shared models are read-only and stateless across calls; a run that changes weights asks for an exclusive copy,
which nobody else sees and which goes when the `with` block ends. Eviction is least-recently-used over unpinned
models, from the device to main memory if it fits there, else out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from app.protocol.events import Event, Evicted, Loading
from app.worker.backend import Backend, Place

Publish = Callable[[Event], None]
Load = Callable[[str, Any, Any, Callable[[int, int], None]], Any]
"""`load(key, device, dtype, progress) -> model`; `progress(done, total)` counts tensors."""
REPORTS_PER_LOAD = 20


@dataclass(eq=False)
class Resident:
    """A model in memory."""

    key: str
    place: Place
    model: Any
    size: int
    pins: int = 0
    used: int = 0
    """Number of the last use."""
    exclusive: bool = False


class Zoo:
    """All models in memory; belongs to the worker thread."""

    def __init__(self, backend: Backend, load: Load, expected_size: Callable[[str], int] = lambda key: 0) -> None:
        self._backend = backend
        self._load = load
        self._expected_size = expected_size
        self._residents: list[Resident] = []
        self._uses = 0

    @contextlib.contextmanager
    def use(self, key: str, place: Place, publish: Publish, *, exclusive: bool = False) -> Iterator[Any]:
        """Yield the model of that key on that place; it stays until the block ends."""
        resident = None if exclusive else self._find(key, place, publish)
        if resident is None:
            resident = self._fetch(key, place, publish, exclusive=exclusive)
        self._uses += 1
        resident.used = self._uses
        resident.pins += 1
        try:
            yield resident.model
        finally:
            resident.pins -= 1
            if resident.exclusive:
                self._drop(resident)

    def drop(self, key: str) -> None:
        """Forget shared copies of a model whose file has changed; those in use live until they are released."""
        self._residents = [entry for entry in self._residents if entry.key != key or entry.exclusive]

    def evict_unpinned(self, publish: Publish) -> int:
        """Drop everything that nobody uses; return the number of models dropped."""
        idle = [entry for entry in self._residents if entry.pins == 0]
        for entry in idle:
            self._drop(entry)
            publish(Evicted(key=entry.key))
        self._backend.free_cache()
        return len(idle)

    def keys(self) -> tuple[str, ...]:
        """Keys of the models in memory, the oldest first."""
        return tuple(entry.key for entry in sorted(self._residents, key=lambda entry: entry.used))

    def pins(self) -> int:
        """Number of uses that have not ended."""
        return sum(entry.pins for entry in self._residents)

    def bytes_on(self, device: Any) -> int:
        """Bytes of all models on a device."""
        return sum(entry.size for entry in self._residents if entry.place.device == device)

    def _find(self, key: str, place: Place, publish: Publish) -> Resident | None:
        same = [e for e in self._residents if e.key == key and e.place.dtype == place.dtype and not e.exclusive]
        for entry in same:
            if entry.place.device == place.device:
                return entry
        for entry in same:
            if entry.pins == 0:
                self._make_room(place.device, entry.size, publish, keep=entry)
                entry.model = self._backend.move(entry.model, place.device)
                entry.place = place
                return entry
        return None

    def _fetch(self, key: str, place: Place, publish: Publish, *, exclusive: bool) -> Resident:
        expected = self._expected_size(key)
        publish(Loading(key=key, done=0, total=expected))
        self._make_room(place.device, expected, publish)
        model = self._load(key, place.device, place.dtype, _reporter(key, expected, publish))
        size = self._backend.size(model) or expected
        resident = Resident(key, place, model, size, exclusive=exclusive)
        self._residents.append(resident)
        publish(Loading(key=key, done=size, total=size))
        return resident

    def _make_room(self, device: Any, wanted: int, publish: Publish, keep: Resident | None = None) -> None:
        budget = self._backend.budget(device)
        while self.bytes_on(device) + wanted > budget:
            idle = [e for e in self._residents if e.pins == 0 and e.place.device == device and e is not keep]
            if not idle:
                return  # try all the same; running out of memory is handled by the loop
            self._push_out(min(idle, key=lambda entry: entry.used), publish)

    def _push_out(self, entry: Resident, publish: Publish) -> None:
        """From the device to main memory if it fits there, else out."""
        main = self._backend.place("cpu", grad=False).device
        fits = self.bytes_on(main) + entry.size <= self._backend.budget(main)
        if not self._backend.on_cpu(entry.place.device) and fits:
            entry.model = self._backend.move(entry.model, main)
            entry.place = Place(main, entry.place.dtype)
        else:
            self._drop(entry)
        publish(Evicted(key=entry.key))

    def _drop(self, entry: Resident) -> None:
        if entry in self._residents:
            self._residents.remove(entry)


def _reporter(key: str, size: int, publish: Publish) -> Callable[[int, int], None]:
    """Counted tensors to a few Loading events in bytes."""

    def progress(done: int, total: int) -> None:
        if done < total and done * REPORTS_PER_LOAD // total > (done - 1) * REPORTS_PER_LOAD // total:
            publish(Loading(key=key, done=size * done // total, total=size))

    return progress


class ZooView:
    """The zoo as one run sees it: on the run's place, with events in the run's name."""

    def __init__(self, zoo: Zoo, place: Place, publish: Publish) -> None:
        self._zoo = zoo
        self._place = place
        self._publish = publish

    def use(self, key: str, exclusive: bool = False) -> contextlib.AbstractContextManager[Any]:
        """`with ctx.zoo.use("playworld/vae") as vae:`; exclusive = a copy of one's own whose weights may change."""
        return self._zoo.use(key, self._place, self._publish, exclusive=exclusive)

    def drop(self, key: str) -> None:
        """Call after writing new weights for `key`, so that the next use reads them."""
        self._zoo.drop(key)
