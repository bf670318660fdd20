"""What a runner may ask for while it runs."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any, Protocol

from app.protocol.job import Job
from app.worker.backend import Place
from app.worker.zoo import ZooView

BREATH_EVERY_S = 0.0015
BREATH_S = 0.0002
"""0.2 ms of real sleep after 1.5 ms of Python keeps painting at 60 Hz beside a Python-bound runner."""


class CancelRun(BaseException):
    """Raised by `ctx.check()` when the run is to end."""


class Breath:
    """Sleeps a little, often enough; one for all runs of the worker."""

    def __init__(self, sleep: Callable[[float], None] = time.sleep) -> None:
        self._sleep = sleep
        self._last = time.perf_counter()

    def __call__(self) -> None:
        """Sleep if the last sleep is long enough ago."""
        if time.perf_counter() - self._last >= BREATH_EVERY_S:
            self._sleep(BREATH_S)
            self._last = time.perf_counter()


class RunLink(Protocol):
    """What the context needs to know of the run it belongs to (implemented in `loop.py`)."""

    job: Job

    def wants(self, channel: str, last: bool) -> bool:
        """Would a preview be looked at?"""

    def cancel_requested(self) -> bool:
        """Has somebody asked the run to end?"""

    @property
    def stepping(self) -> bool:
        """Is the run to stand still at a step that is near?"""


def choose_seed(job: Job) -> int:
    """The job's seed, a random one for -1, or 0 for a job without one."""
    seed = getattr(job, "seed", 0)
    return random.SystemRandom().randrange(2**32) if seed < 0 else seed


class Ctx:
    """Passed to every runner beside the job."""

    def __init__(self, link: RunLink, zoo: ZooView, place: Place, rng: Any, seed: int, breath: Breath) -> None:
        self._link = link
        self.zoo = zoo
        self.device = place.device
        """`torch.device` of this run."""
        self.dtype = place.dtype
        """`torch.dtype` for networks; float32 for jobs with `grad`."""
        self.rng = rng
        """CPU `torch.Generator` seeded with `seed`."""
        self.seed = seed
        """The seed in use: the job's own, or the one drawn for -1."""
        self._breath = breath
        self._last_true = float("-inf")

    @property
    def job(self) -> Job:
        """The newest version of the job: live fields may change during the run."""
        return self._link.job

    def wants(self, channel: str, last: bool = False) -> bool:
        """Is it worth making a preview of this channel now? Always in step mode and on the last step."""
        return self._link.wants(channel, last)

    @property
    def stepping(self) -> bool:
        """Does somebody go step by step, or wait for a step to stand still at? Then gather nothing: yield each `Step` as it comes."""
        return self._link.stepping

    def check(self) -> None:
        """Call inside long stretches without a yield; ends the run if that was asked for."""
        if self._link.cancel_requested():
            raise CancelRun

    def every(self, ms: float) -> bool:
        """True at most once per `ms` milliseconds: yield then, with what has gathered in one `Record`."""
        now = time.perf_counter()
        if (now - self._last_true) * 1000 < ms:
            return False
        self._last_true = now
        return True

    def breathe(self) -> None:
        """Let the window paint; for stretches of Python without a yield."""
        self._breath()
