"""An engine without a worker for the tests of the image panel: it keeps what is submitted, tests answer by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from PySide6.QtCore import QObject, Signal

from app.jobs.diffusion import CheckControls, PictureRecord, StepRecord, Txt2Img, controlled_steps
from app.jobs.library import ListGallery
from app.jobs.maps import PoseMap
from app.jobs.vocabulary import Vocabulary
from app.protocol.errors import ErrorReport
from app.protocol.job import tuned
from app.protocol.payloads import Image, Result
from app.protocol.status import WorkerStatus


class FakeHandle(QObject):
    """The signals of a real handle; `emit_*` methods play the worker, also after the end (late events)."""

    started = Signal()
    loading = Signal(str, object, object)
    progress = Signal(object)
    preview = Signal(str, object)
    record = Signal(str, object)
    step = Signal(int, int)
    parked = Signal(int)
    resumed = Signal()
    done = Signal(object)
    cancelled = Signal()
    failed = Signal(object)
    finished = Signal()

    def __init__(self, engine: FakeEngine, number: int, job: Any, key: str, policy: str, park_after: int | None) -> None:
        super().__init__(engine)
        self.run_id, self.job, self.key, self.policy, self.park_after = number, job, key, policy, park_after
        self.state, self.asked = "queued", []

    @property
    def active(self) -> bool:
        return self.state in ("queued", "running", "parked")

    def cancel(self) -> None:
        if self.active:
            self.asked.append("cancel")
            self.end("cancelled", self.cancelled)

    def pause(self) -> None:
        self.asked.append("pause")

    def step_on(self, n: int = 1) -> None:
        self.asked.append("step")

    def resume(self) -> None:
        self.asked.append("resume")

    def tune(self, job: Any) -> None:
        self.job = tuned(self.job, job)
        self.asked.append("tune")

    # the worker's side

    def begin(self) -> None:
        self.state = "running"
        self.started.emit()

    def park(self, index: int) -> None:
        self.state = "parked"
        self.parked.emit(index)

    def go_on(self) -> None:
        self.state = "running"
        self.resumed.emit()

    def end(self, state: str, signal: Any, *values: Any) -> None:
        self.state = state
        signal.emit(*values)
        self.finished.emit()

    def succeed(self, result: Result | None = None) -> None:
        self.end("done", self.done, result or Result())

    def fail(self, title: str = "It broke.", hint: str = "Mend it.") -> None:
        self.end("failed", self.failed, ErrorReport(kind="user", title=title, hint=hint))

    def tell_start(self, seed: int = 7) -> None:
        self.record.emit("start", start_facts(self.job, seed))

    def tell_step(self, index: int, picture: int = 0) -> None:
        """The events of step `index` (from 0) of a picture."""
        n = self.job.steps
        self.record.emit("step", step_record(self.job, index, picture))
        self.step.emit(picture * n + index + 1, n * self.job.batch_count)

    def tell_picture(self, picture: int = 0, saved_as: str = "", save_error: str = "") -> None:
        made = replace(self.job, seed=7 + picture, batch_count=1)
        self.record.emit(
            "picture",
            PictureRecord(picture=picture, image=picture_of(picture), seed=7 + picture, job=made, saved_as=saved_as, save_error=save_error),
        )

    def run_through(self) -> None:
        """A whole run."""
        self.begin()
        self.tell_start()
        for picture in range(self.job.batch_count):
            for index in range(self.job.steps):
                self.tell_step(index, picture)
            self.tell_picture(picture)
        self.succeed()


class FakeEngine(QObject):
    """Keeps handles; answers the checks, skeletons, words and listings that the panel asks for all the time."""

    status = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.handles: list[FakeHandle] = []
        self.last_status = WorkerStatus()
        self.answers = True
        self.gallery: list[dict[str, Any]] = []

    def submit(self, job: Any, *, key: str | None = None, policy: str = "queue", park_after: int | None = None) -> FakeHandle:
        if policy == "replace":
            for handle in self.handles:
                if handle.key == key and handle.active:
                    handle.state = "cancelled"  # the worker's own word comes later, see `late_goodbyes`
        handle = FakeHandle(self, len(self.handles) + 1, job, key or job.name, policy, park_after)
        self.handles.append(handle)
        return handle

    def start(self) -> None: ...

    def last(self, kind: type) -> FakeHandle:
        """The newest handle of a job class."""
        return next(handle for handle in reversed(self.handles) if isinstance(handle.job, kind))

    def count(self, kind: type) -> int:
        return sum(isinstance(handle.job, kind) for handle in self.handles)

    def answer_all(self) -> None:
        """Finish every short job that has a canned answer."""
        for handle in list(self.handles):
            if handle.active and (result := self.canned(handle.job)) is not None:
                handle.succeed(result)

    def canned(self, job: Any) -> Result | None:
        if isinstance(job, CheckControls):
            return Result(facts=start_facts(job.txt2img, 0) | {"ok": True, "error": "", "hint": ""})
        if isinstance(job, PoseMap):
            return Result(files={"map.png": flat(90, job.width, job.height)})
        if isinstance(job, Vocabulary):
            return Result(facts={"groups": {"things": ["house", "tree"]}, "words": ["a", "red", "house", "tree"]})
        if isinstance(job, ListGallery):
            files = {f"thumb/{n}": flat(60) for n in range(len(self.gallery))}
            return Result(files=files, facts={"total": len(self.gallery), "items": self.gallery})
        return None


def flat(value: int, width: int = 16, height: int = 16, **words: str) -> Image:
    return Image(np.full((height, width, 3), value, np.uint8), **words)


def picture_of(number: int) -> Image:
    return flat(200 + number, 128, 128, label=f"seed {7 + number}", decoder="full VAE")


def sigmas_of(job: Txt2Img) -> list[float]:
    return [*np.geomspace(14.6, 0.03, job.steps).tolist(), 0.0]


def start_facts(job: Txt2Img, seed: int) -> dict[str, Any]:
    controls = []
    for control in job.control:
        steps = controlled_steps(control.start, control.end, job.steps)
        ends = [steps[0], steps[-1]] if steps else []
        has_map = control.image is not None or control.pose is not None
        covers = f"steps {ends[0] + 1}-{ends[1] + 1} of {job.steps}" if ends else ""
        sentence = f"Acts on {covers}." if has_map else "It has no map."
        controls.append(
            {"active": has_map and control.enabled, "sentence": sentence, "covers": covers, "steps": ends, "notes": [],
             "question": "" if has_map else "invert", "hint": "" if has_map else "Draw one."}
        )  # fmt: skip
    return {"seed": seed, "sigmas": sigmas_of(job), "notes": [], "controls": controls, "maps": {}}


def step_record(job: Txt2Img, index: int, picture: int = 0) -> StepRecord:
    sigmas = sigmas_of(job)
    linear = "linear latent-to-RGB map"
    latent = np.full((4, 16, 16), index, np.float32)
    return StepRecord(
        picture=picture, index=index, total=job.steps, sigma=sigmas[index], sigma_next=sigmas[index + 1], t=500.0, seconds=0.1,
        cfg_scale=job.cfg_scale, active_controls=(), x_t=flat(index, decoder=linear), x0=flat(100 + index, decoder=linear),
        eps=flat(50 + index, decoder=linear), x=latent, x0_latent=latent,
    )  # fmt: skip
