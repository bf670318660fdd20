"""One training as the panel knows it: what it told, whether it runs here, or was read from its folder."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from PySide6.QtCore import QObject, Signal, Slot

from app.jobs.rl import TrainRl
from app.panels.rl.columns import Columns, Table
from app.protocol.payloads import Result
from app.protocol.rl import (
    AgentFrame,
    GridView,
    LampView,
    Number,
    PlaneView,
    RlChange,
    RlRow,
    RunCard,
    RunSetup,
    Setup,
    parse_settings,
    parse_setup,
)

WAITING, RUNNING, PAUSED = "waiting", "running", "paused"
ACTIVE = (WAITING, RUNNING, PAUSED)
WORDS = {
    WAITING: "waiting", RUNNING: "training", PAUSED: "paused", "finished": "finished", "stopped": "stopped", "failed": "failed",
    "interrupted": "interrupted",
}  # fmt: skip
STEPS, SECONDS, UPDATE = "steps", "seconds", "update"
"""Columns beside the metrics."""


read_setup = lru_cache(maxsize=256)(parse_setup)
"""Asked for many times a drawing."""


class Training(QObject):
    """Folds the records of a run into columns; `told(channel)` says what has changed."""

    told = Signal(object, str)
    """This training, and the channel: card, setup, metrics, episodes, lamps, change, eval, agent, plane, inside, state, end."""

    def __init__(self, parent: QObject, number: int, job: TrainRl | None = None) -> None:
        super().__init__(parent)
        self.number, self.job, self.handle = number, job, None
        self.state, self.note = WAITING, ""
        self.card: RunCard | None = None
        self.setup: Setup | None = None
        self.metrics, self.evals, self.episodes = Columns(), Columns(), Table(3)
        self.changes: list[RlChange] = []
        self.moments: tuple[int, ...] = ()
        self.lamps: tuple[LampView, ...] = ()
        self.agent: AgentFrame | None = None
        self.plane: PlaneView | GridView | None = None
        self.inside: tuple[Any, ...] = ()
        self.facts: dict[str, Any] = {}
        self.colour, self.group, self.visible = 0, "", True

    # who it is -----------------------------------------------------------------------------------------------------

    @property
    def active(self) -> bool:
        """Whether it runs here and has not ended."""
        return self.handle is not None and self.state in ACTIVE

    @property
    def run_setup(self) -> RunSetup:
        """Its whole setup, as far as it is known."""
        if self.card is not None:
            return read_setup(self.card.setup)
        job = self.job or TrainRl()
        return RunSetup(job.algo, job.env, max(job.seed, 0), job.total_timesteps, job.n_envs, job.hidden, job.backend, job.settings)

    def settings(self) -> dict[str, Number]:
        """The settings as they stand in the run: asked for, else in use."""
        used = {item.name: item.value for item in self.setup.settings} if self.setup else {}
        return used | parse_settings(self.job.settings if self.job else "")

    @property
    def folder(self) -> str:
        """Its folder, "" until it is known."""
        return self.card.folder if self.card else ""

    @property
    def steps(self) -> int:
        """Environment steps so far."""
        if len(self.metrics):
            return int(self.metrics[STEPS][-1])
        return int(self.episodes.rows[-1, 0]) if len(self.episodes) else self.card.timesteps if self.card else 0

    @property
    def total(self) -> int:
        """Environment steps there will be."""
        if self.card is not None:
            return self.card.total
        return self.setup.total if self.setup else self.run_setup.total

    def words(self) -> str:
        """Where it stands."""
        if self.state == RUNNING and self.note:
            return self.note
        share = f"{self.steps:,} of {self.total:,} steps" if self.total else f"{self.steps:,} steps"
        return f"{share}, {WORDS[self.state]}"

    # what it tells -------------------------------------------------------------------------------------------------

    def follow(self, handle: Any) -> None:
        """Listen to the run behind a handle."""
        self.handle, self.state = handle, WAITING
        for signal, slot in (
            (handle.progress, self._on_progress), (handle.record, self._on_record), (handle.preview, self._on_preview),
            (handle.started, self._on_going), (handle.resumed, self._on_going), (handle.parked, self._on_parked),
            (handle.done, self._on_done), (handle.cancelled, self._on_cancelled), (handle.failed, self._on_failed),
        ):  # fmt: skip
            signal.connect(slot)

    def take_history(self, result: Result) -> None:
        """Everything its folder knows, in the place of what was told so far."""
        files = result.files
        self.card, self.setup, self.moments = files["card"], files["setup"], tuple(files["moments"])
        self.metrics, self.evals, self.episodes = Columns(), Columns(), Table(3)
        self.metrics.add(map(flat, files["metrics"]))
        self.evals.add(map(flat, files["evals"]))
        self.episodes.add(files["episodes"].table)
        self.changes, self.lamps = list(files["changes"]), tuple(files.get("lamps", ()))
        self.state = self.state if self.active else self.card.state
        self.told.emit(self, "metrics")

    @Slot(str, object)
    def _on_record(self, channel: str, payload: Any) -> None:
        if channel == "metrics":
            self.metrics.add(map(flat, payload))
        elif channel == "eval":
            self.evals.add([flat(payload)])
        elif channel == "episodes":
            self.episodes.add(payload.table)
        elif channel == "change":
            self.changes.append(payload)
        elif channel in ("card", "setup", "lamps", "moments"):
            setattr(self, channel, payload)
            if channel == "card" and payload.state == "running":
                self._cut(payload.timesteps + 1)
        elif channel == "refused":
            self.note = str(payload)
        self.told.emit(self, channel)

    def _cut(self, timesteps: int) -> None:
        """It goes on from a moment that may be earlier than what was told: what had come after is no part of the run any more."""
        self.metrics.cut(STEPS, timesteps)
        self.evals.cut(STEPS, timesteps)
        self.episodes.cut(timesteps)
        self.changes = [change for change in self.changes if change.timesteps < timesteps]

    @Slot(str, object)
    def _on_preview(self, channel: str, payload: Any) -> None:
        if channel in ("agent", "plane", "inside"):
            setattr(self, channel, payload)
            self.told.emit(self, channel)

    @Slot(object)
    def _on_progress(self, progress: Any) -> None:
        self._set(self.state, progress.note)

    @Slot()
    def _on_going(self) -> None:
        self._set(RUNNING)

    @Slot(int)
    def _on_parked(self, _index: int) -> None:
        self._set(PAUSED)

    @Slot(object)
    def _on_done(self, result: Result) -> None:
        self.facts = dict(result.facts)
        self._end("finished")

    @Slot()
    def _on_cancelled(self) -> None:
        self._end("stopped")

    @Slot(object)
    def _on_failed(self, report: Any) -> None:
        self.facts["report"] = report
        self._end("failed", str(report.title))

    def _set(self, state: str, note: str = "") -> None:
        self.state, self.note = state, note
        self.told.emit(self, "state")

    def _end(self, state: str, note: str = "") -> None:
        self.state, self.note = state, note
        self.told.emit(self, "end")


def flat(row: RlRow) -> list[tuple[str, float]]:
    """A row with its clocks as columns."""
    return [(UPDATE, row.update), (STEPS, row.timesteps), (SECONDS, row.seconds), *row.metrics]
