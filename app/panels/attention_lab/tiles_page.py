"""FlashAttention, one tile a step: what is loaded, the running maximum and sum, the rescaling, and the bytes that move."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QTimer, Slot

from app.jobs.attention_lab import FlashTiles, HeadJob
from app.panels.attention_lab.listener import Listener
from app.panels.attention_lab.page import LabPage, Place, Told, column
from app.panels.attention_lab.tile_words import told_of_tile
from app.panels.attention_lab.tiles_view import TilesView
from app.protocol.attention_lab import TilePlan, TileView
from app.protocol.job import job_from_dict, job_to_dict
from app.protocol.payloads import Result
from app.widgets.param_form import ParamForm

if TYPE_CHECKING:
    from app.panels.attention_lab.panel import AttentionLabPanel

OWN = ("tile_q", "tile_k", "phase", "length")
WAIT_MS = 200
PLAY_MS = 450

class TilesPage(LabPage):
    """The tiles of one pass, replayed."""

    title, tip = "FlashAttention", "The same softmax, tile by tile, with a running maximum and sum"

    def __init__(self, lab: AttentionLabPanel) -> None:
        super().__init__(lab)
        self.knobs = ParamForm(FlashTiles, skip=[item.name for item in fields(HeadJob)])
        self.knobs.set_expanded(True)
        self.form = column(self.knobs)
        self.view = TilesView()
        self.plan: TilePlan | None = None
        self.tiles: list[TileView] = []
        self.facts: dict[str, Any] = {}
        self._run: Listener | None = None
        self._clock = QTimer(self, singleShot=True, interval=WAIT_MS)
        self._clock.timeout.connect(self.compute)
        self.replay.set_pace(PLAY_MS)
        self.knobs.changed.connect(self._on_changed)
        self.knobs.invalid.connect(lab.show_error)
        self.view.stage.chosen.connect(self._on_chosen)
        self.replay.moved.connect(self._show)

    # running -------------------------------------------------------------------------------------------------------

    def show_first(self) -> None:
        if self.plan is None and self._run is None:
            self.compute()

    def head_changed(self) -> None:
        self.compute()

    def compute(self) -> None:
        """All tiles of the pass; they are looked at afterwards."""
        if self._run is not None:
            self._run.silence()
        job = FlashTiles(**self.lab.head.values(), **{name: self.knobs.value(name) for name in OWN})
        self._run = Listener(self, job, "tiles", "replace", record=self._on_record, done=self._on_done, ended=self._on_ended)

    @Slot(object)
    def _on_changed(self, _job: Any) -> None:
        self._clock.start()
        self.lab.touch()

    def _on_record(self, channel: str, payload: Any) -> None:
        if channel == "head":
            self.lab.head.show_head(payload)
        elif channel == "plan":
            self.plan, self.tiles, self.facts = payload, [], {}
            self.view.stage.set_plan(payload)
            self.replay.reset(0)
        elif channel == "tile":
            self.tiles.append(payload)

    def _on_done(self, result: Result) -> None:
        self.facts = result.facts
        self.replay.reset(len(self.tiles), 1 if self.tiles else 0)

    def _on_ended(self) -> None:
        self._run = None

    @Slot(int)
    def _on_chosen(self, number: int) -> None:
        self.replay.pause()
        self.replay.go(number)

    # showing -------------------------------------------------------------------------------------------------------

    @property
    def now(self) -> TileView | None:
        """The tile that is looked at."""
        return self.tiles[self.replay.index - 1] if 0 < self.replay.index <= len(self.tiles) else None

    @Slot()
    def _show(self) -> None:
        self.view.show_tiles(self.plan, self.tiles, self.replay.index)

    def place(self) -> Place:
        tile = self.now
        note = f"queries {tile.rows[0]}–{tile.rows[1] - 1}, keys {tile.columns[0]}–{tile.columns[1] - 1}" if tile else ""
        return Place(noun="tile", state=self.replay.state, index=self.replay.index, total=self.replay.count, note=note)

    def told(self) -> Told:
        return told_of_tile(self.plan, self.now, self.facts)

    def save(self) -> dict[str, Any]:
        return {name: value for name, value in job_to_dict(self.knobs.job()).items() if name in OWN}

    def restore(self, state: dict[str, Any]) -> None:
        job, _warnings = job_from_dict(FlashTiles, state)
        self.knobs.set_job(job)
