"""A worker without torch: a backend that counts, jobs that need nothing, and runners written in a test."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import ClassVar

from app.protocol.commands import Submit
from app.protocol.job import Job, knob
from app.worker.backend import Place
from app.worker.loop import GpuWorker
from app.worker.mailbox import Mailbox


@dataclass(frozen=True, kw_only=True)
class Quick(Job):
    """An interactive job."""

    count: int = knob(3, lo=0, hi=10**9)
    seed: int = knob(-1, lo=-1, hi=2**32 - 1)
    strength: float = knob(1.0, lo=0.0, hi=2.0, live=True)


@dataclass(frozen=True, kw_only=True)
class Long(Job):
    """A training-like job."""

    grad: ClassVar[bool] = True
    interactive: ClassVar[bool] = False
    count: int = knob(3, lo=0, hi=10**9)


class FakeBackend:
    """Devices are words; memory errors are `MemoryError`."""

    name, dtype_name, threads = "fake", "float32", 2

    def __init__(self, budgets: dict[str, int] | None = None) -> None:
        self.budgets = budgets or {"gpu": 100, "cpu": 100}
        self.grad = False
        self.moves: list[tuple[str, str]] = []
        self.emptied = 0

    def place(self, wish: str, grad: bool) -> Place:
        return Place("gpu" if wish == "auto" else wish, "float32")

    def rng(self, seed: int) -> int:
        return seed

    @contextlib.contextmanager
    def grad_mode(self, enabled: bool):
        before, self.grad = self.grad, enabled
        try:
            yield
        finally:
            self.grad = before

    def is_memory_error(self, error: BaseException) -> bool:
        return isinstance(error, MemoryError)

    def free_cache(self) -> None:
        self.emptied += 1

    def memory(self) -> tuple[int, str]:
        return 10**9, "GPU"

    def budget(self, device: str) -> int:
        return self.budgets[device]

    def move(self, model: object, device: str) -> object:
        self.moves.append((str(model), device))
        return model

    def on_cpu(self, device: str) -> bool:
        return device == "cpu"

    def size(self, model: object) -> int:
        return 0


class Bench:
    """A worker driven by hand: `go()` until nothing moves; `seen` holds all events in order."""

    def __init__(self, runners: dict, *, previews: bool = True, budgets: dict[str, int] | None = None, sizes: dict | None = None) -> None:
        self.mailbox = Mailbox(previews=previews)
        self.backend = FakeBackend(budgets)
        self.loads: list[str] = []
        self.sizes = sizes or {}
        self.worker = GpuWorker(
            self.mailbox, runners.__getitem__, backend=lambda: self.backend, load=self._load,
            expected_size=lambda key: self.sizes.get(key, 0),
        )  # fmt: skip
        self.seen: list = []
        self.statuses: list = []

    def _load(self, key, device, dtype, progress):
        self.loads.append(key)
        progress(1, 2)
        return f"model {key} #{len(self.loads)}"

    def submit(self, run_id: int, job: Job, **words) -> None:
        self.worker.post(Submit(run_id=run_id, job=job, **words))

    def turn(self, times: int = 1) -> None:
        for _ in range(times):
            self.worker.turn()
            self.look()

    def look(self) -> None:
        arrived, status = self.mailbox.drain()
        self.seen += arrived
        if status is not None:
            self.statuses.append(status)

    def go(self, limit: int = 10_000) -> list:
        while self.worker.turn():
            self.look()
            limit -= 1
            assert limit, "the worker does not come to rest"
        self.look()
        return self.seen

    def of(self, run_id: int) -> list:
        return [event for event in self.seen if event.run_id == run_id]

    def names(self, run_id: int) -> list[str]:
        return [type(event).__name__ for event in self.of(run_id)]
