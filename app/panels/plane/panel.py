"""The plane lab: choose data and a method, press Train, watch particles travel, drag time both ways, put methods side by side."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from PySide6.QtCore import QMimeData, Qt, QTimer, Slot
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QStackedWidget, QTabBar

from app.jobs.plane import PlaneMethods
from app.panels.base import Panel, Scene
from app.panels.errands import Errands
from app.panels.plane import memory, scenes
from app.panels.plane.arrangements import ARRANGEMENTS, STANDARD
from app.panels.plane.beside import Beside
from app.panels.plane.desk import Desk
from app.panels.plane.foot import Foot
from app.panels.plane.intake import Intake
from app.panels.plane.lane import Choice, Lane
from app.panels.plane.lanes import Lanes, preset_of
from app.panels.plane.latents import Latents
from app.panels.plane.player import Player
from app.panels.plane.sharing import Sharing
from app.panels.plane.side import Side
from app.panels.plane.stages import Stages
from app.panels.plane.words import SOURCES, names_of, rows_of, short_place_of
from app.protocol.errors import UserError
from app.protocol.payloads import Result
from app.protocol.plane import PlanePreset

REDRAW_MS = 33
LOSSES_MS = 250
"""Between two redrawings of the losses."""
TUNE_MS = 120
"""A dragged knob starts a walk after it has stood still for so long."""


class PlanePanel(Panel):
    """Joins forms, lanes, stages and timeline."""

    panel_id = "plane"
    title = "Plane"

    def __init__(self, engine: Any, settings: Any, parent: Any = None) -> None:
        super().__init__(engine, settings, parent)
        self.errands, self.lanes, self.player = Errands(engine, self.panel_id, self), Lanes(engine, self), Player(self)
        self.side, self.stages, self.foot, self.beside = Side(), Stages(), Foot(), Beside()
        self.intake, self.sharing = Intake(self.errands, self), Sharing(self)
        self.foot.transport.add_widget(self.sharing.button)
        self.drawing, self.latents = False, Latents(self)
        self.desk, self.tabs, self._hero = Desk(self), QTabBar(expanding=False, drawBase=False), QStackedWidget()
        for page, title, tip in ((self.stages, "Stage", "Particles, field and density"), (self.desk, "Desk", "Error against evaluations")):
            self._hero.addWidget(page)
            self.tabs.setTabToolTip(self.tabs.addTab(title), tip)
        self.body.addWidget(self.tabs)
        self.arrange(self.side, self._hero, self.foot, self.beside)
        self._redraw = QTimer(self, singleShot=True, interval=REDRAW_MS)
        self._tune = QTimer(self, singleShot=True, interval=TUNE_MS)
        self._losses = QTimer(self, singleShot=True, interval=LOSSES_MS)
        self._connect()
        self.show_lane(0)

    def _connect(self) -> None:
        method, data, bar = self.side.method, self.side.data, self.foot.transport
        for signal, slot in (
            (self.side.train.clicked, self.train), (self.side.count_chosen, self.set_count), (method.changed, self._on_choice),
            (method.preset_chosen, self._on_preset), (data.changed, self._on_data), (data.pen_wanted, self.set_pen),
            (data.picture_wanted, self.intake.choose), (data.invalid, self.show_error), (self.stages.chosen, self.show_lane),
            (self.stages.pen_moved, self._on_pen), (self.stages.switched, self.redraw), (self.foot.dragged, self.player.go),
            (self.player.moved, self.redraw), (self.lanes.learned, self._on_learned), (self.lanes.moved, self._on_moved),
            (self.lanes.ended, self._on_ended), (self.errands.failed, self.show_error), (self.intake.picture, data.set_picture),
            (self._redraw.timeout, self.redraw), (self._tune.timeout, self._on_tune), (self._losses.timeout, self.show_losses),
            (self.tabs.currentChanged, self.show_page),
            (self.stages.end_moved, self.latents.move_end), (self.stages.sketch.toggled, self.latents.set_sketching),
        ):  # fmt: skip
            signal.connect(slot)
        for name in ("first", "previous", "play", "pause", "next", "last", "stop"):
            getattr(bar, name).connect(partial(self._on_key, name))
        bar.install_keys(self)
        method.schedule.use(self.errands)
        self.beside.save_requested.connect(self.save_plot)
        self.side.arrangement_chosen.connect(self.arrange_lanes)
        for keys, slot in (("Ctrl+Return", self.train), ("F10", partial(self.lanes.step, self.train))):
            QShortcut(QKeySequence(keys), self, activated=slot, context=Qt.ShortcutContext.WidgetWithChildrenShortcut)

    @Slot(int)
    def show_page(self, number: int) -> None:
        """The stage, or the desk."""
        self.tabs.setCurrentIndex(number)
        self._hero.setCurrentIndex(number)
        self.foot.setVisible(number == 0)
        self.touch()

    # lanes ---------------------------------------------------------------------------------------------------------

    @Slot(int)
    def show_lane(self, number: int) -> None:
        """Show what is set for a lane, and its numbers."""
        self.lanes.chosen = number
        self.side.show_lane(number, len(self.lanes.all))
        self.side.method.show_choice(self.lanes.lane.choice)
        self.stages.show_chosen(number)
        self._allow_sources()
        self.redraw()

    @Slot(int)
    def set_count(self, count: int) -> None:
        """One, two or four methods."""
        self.lanes.set_count(count)
        self.stages.set_count(count)
        self.player.grown(self.lanes.lead.told)  # the leading lane may be gone
        self.show_losses()
        self.show_lane(self.lanes.chosen)
        self.touch()

    @Slot(str)
    def arrange_lanes(self, name: str) -> None:
        """Put up methods side by side that show a point together, and run them."""
        one = ARRANGEMENTS[name]
        self.lanes.set_choices(list(one.lanes))
        self.side.data.take({"source": "noise", **dict(one.shared)})
        self.set_count(len(one.lanes))
        for switch, box in self.stages.switches.items():
            box.setChecked(switch in (*STANDARD, *one.switches))
        self.latents.take(one.between, one.sketch)
        self.show_page(0)
        self.train()
        self.show_message("info", name, one.sentence)

    @Slot()
    def train(self) -> None:
        """Train and walk in every lane, from the same noise."""
        self.side.data.pen.setChecked(False)
        self.latents.stop_sketching()
        self.run_lanes(self.lanes.all, fresh=True)

    def run_lanes(self, lanes: list[Lane], *, fresh: bool) -> None:
        try:
            shared = self.latents.beside(self.side.data.shared())
            for lane in lanes:
                lane.run(shared, fresh=fresh)
        except UserError as error:
            self.show_error(error)
            return
        self.banner.hide()
        self.player.begin()

    def _allow_sources(self) -> None:
        cards = self.side.method.cards()
        self.side.data.allow_sources(all(cards[lane.choice.method].any_source for lane in self.lanes.all if lane.choice.method in cards))

    @Slot(object, bool)
    def _on_choice(self, choice: Choice, other_network: bool) -> None:
        self.lanes.lane.choice = choice
        self._allow_sources()
        self.touch()
        self.redraw_soon()
        if not other_network and self.lanes.lane.told.job is not None:
            self._tune.start()

    @Slot()
    def _on_tune(self) -> None:
        self.run_lanes([self.lanes.lane], fresh=False)

    @Slot(object)
    def _on_preset(self, preset: PlanePreset) -> None:
        choice, common = preset_of(self.lanes.lane.choice, self.side.data.shared(), preset)
        self.lanes.lane.choice = choice
        self.side.data.take(common)
        self.side.method.show_choice(choice)
        self.run_lanes(self.lanes.all if "data" in common else [self.lanes.lane], fresh=True)
        self.show_message("info", preset.title, preset.sentence)

    # data ----------------------------------------------------------------------------------------------------------

    @Slot(bool)
    def _on_data(self, _other: bool) -> None:
        self.touch()

    @Slot(bool)
    def set_pen(self, on: bool) -> None:
        """Draw a cloud on the first stage, or look at the runs again."""
        if on:
            self.latents.stop_sketching()
        self.drawing = on
        self.stages.stages[0].set_pen(on)
        self.redraw()

    @Slot(float, float)
    def _on_pen(self, x: float, y: float) -> None:
        (self.latents.add_point if self.latents.sketching else self.side.data.add_point)(x, y)
        self.redraw_soon()
        self.touch()

    # showing -------------------------------------------------------------------------------------------------------

    def redraw_soon(self) -> None:
        """Redraw once for many events."""
        if not self._redraw.isActive():
            self._redraw.start()

    @Slot()
    def _on_learned(self) -> None:
        self._show_losses_soon()
        self.redraw_soon()

    def _show_losses_soon(self) -> None:
        if not self._losses.isActive():
            self._losses.start()

    @Slot()
    def show_losses(self) -> None:
        """Draw the losses of all lanes."""
        self.beside.show_losses(self.lanes.all)

    @Slot()
    def _on_moved(self) -> None:
        self.player.grown(self.lanes.lead.told)
        self.redraw_soon()

    @Slot(object)
    def _on_ended(self, lane: Lane) -> None:
        if lane.failure is not None:
            self.show_error(lane.failure)
        if lane.told.notice:
            self.show_message("warn", lane.told.notice)
        self.show_losses()
        if self.lanes.state == "idle" and self.lanes.lead.told.moments:
            self.player.ended()

    @Slot()
    def redraw(self) -> None:
        """Everything that depends on the moment and on what the lanes have told."""
        index, lead = self.player.index, self.lanes.lead.told
        for lane, name in zip(self.lanes.all, names_of([lane.told for lane in self.lanes.all])):
            at = self.moment_of(lane)
            self.stages.show_lane(lane.number, lane.told, at, name)
            if lane is self.lanes.lane:
                self._tell(lane, at)
        if self.drawing:
            self.stages.show_drawn(np.array(self.side.data.points, float).reshape(-1, 2))
        if self.latents.sketching:
            self.stages.show_sketch(np.array(self.latents.sketch, float).reshape(-1, 2))
        self.foot.show_place(index, len(lead.moments))
        bar, count = self.foot.transport, len(lead.moments)
        state = self.lanes.state if self.lanes.state != "idle" else self.player.replay.state
        bar.set_state(state)
        bar.set_can(back=index > 0, forward=-1 < index < count - 1)
        bar.set_position(index + 1, count, short_place_of(lead.moments[index]) if index >= 0 else "")

    def moment_of(self, lane: Lane) -> int:
        """Which of its moments a lane shows: the one that stands beside that of the leading lane; -1 without any."""
        index, lead = self.player.index, self.lanes.lead.told
        if index < 0 or not lane.told.moments:
            return -1
        return index if lane.told is lead else lane.told.beside(lead, index)

    def _tell(self, lane: Lane, at: int) -> None:
        moment = lane.told.moments[at] if at >= 0 else lane.told.learning
        card = lane.told.card or self.side.method.card()
        self.beside.show_plots(lane.told.plots, moment)
        self.foot.equation.setText(moment.says if moment is not None else card.equation if card else "")
        if card is not None:
            reference = SOURCES.format(card.arxiv) if card.arxiv else ""
            self.beside.inspector.set_content(card.title, rows_of(lane, moment), card.equation, card.watch_for, reference)

    def _on_key(self, name: str) -> None:
        if self.lanes.state != "idle" and name in ("play", "pause", "next", "stop"):
            self.lanes.press(name)
        else:
            self.player.press(name)

    # hooks ---------------------------------------------------------------------------------------------------------

    def ready(self) -> None:
        self.errands.run(PlaneMethods(), self._on_methods)

    def _on_methods(self, result: Result) -> None:
        self.side.method.set_cards(result.files["methods"])
        self.side.data.set_clouds(result.files["clouds"])
        self.show_lane(self.lanes.chosen)

    def accept_drop(self, mime: QMimeData) -> bool:
        return self.intake.take(mime)

    def save_state(self) -> dict:
        return memory.saved(self)

    def restore_state(self, state: dict) -> None:
        memory.restore(self, state)

    def screenshot_scenes(self) -> list[Scene]:
        return scenes.SCENES

    def key_help(self) -> list[tuple[str, str]]:
        stage = [("Click on a stage", "Set and read that method"), ("Wheel, double-click", "Zoom, show all")]
        return [("Ctrl+Enter", "Train and walk"), ("F10", "Step by step: one update or step of the walk, then stand still"), *stage]
