"""The panel of tiles: four pages on one flow of small pictures, the form at the side, one transport bar, and the inspector."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from PySide6.QtCore import Slot
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QFileDialog, QStackedWidget, QTabBar

from app.jobs.flows import SIZE, FlowFacts, LearnFlow
from app.panels.base import INSPECTOR_WIDTH, Panel, Scene
from app.panels.errands import Errands
from app.panels.tiles import scenes
from app.panels.tiles.between_page import BetweenPage
from app.panels.tiles.depth_page import DepthPage
from app.panels.tiles.fill_page import FillPage
from app.panels.tiles.kept import Kept
from app.panels.tiles.learn_page import LearnPage
from app.panels.tiles.page import TilesPage
from app.panels.tiles.presets import Preset
from app.panels.tiles.side import WIDTH, Side
from app.protocol.payloads import Curve, Image, Result
from app.widgets.image_view import png_bytes
from app.widgets.inspector import Inspector
from app.widgets.transport import Transport

GREY = (0.299, 0.587, 0.114)
"""NICE's luma (ITU-R BT.601)."""


class TilesPanel(Panel):
    """Joins the pages; what all share is the flow, its facts and the real pictures."""

    panel_id = "tiles"
    title = "Tiles"

    def __init__(self, engine: Any, settings: Any, parent: Any = None) -> None:
        super().__init__(engine, settings, parent)
        self.side, self.errands = Side(), Errands(engine, self.panel_id, self)
        self.facts: dict[str, Any] = {}
        self.spectrum: Curve | None = None
        self._sheet: Image | None = None
        self._begun, self.kept = False, Kept(self)
        self.learn, self.between, self.fill, self.depth = LearnPage(self), BetweenPage(self), FillPage(self), DepthPage(self)
        self.pages: tuple[TilesPage, ...] = (self.learn, self.between, self.fill, self.depth)
        self.tabs, self.transport, self.inspector = QTabBar(expanding=False, drawBase=False), Transport(), Inspector()
        self._views = QStackedWidget()
        for page in self.pages:
            self.tabs.setTabToolTip(self.tabs.addTab(page.title), page.tip)
            self.side.add_form(page.form)
            self._views.addWidget(page.view)
            page.moved.connect(self._show_place)
        self.inspector.setMinimumWidth(INSPECTOR_WIDTH)
        self.body.addWidget(self.tabs)
        self.arrange(self.side, self._views, self.transport, self.inspector, widths=(WIDTH, INSPECTOR_WIDTH))
        self._connect()
        self.show_page(0)

    def _connect(self) -> None:
        self.tabs.currentChanged.connect(self.show_page)
        self.side.flow_changed.connect(self._on_flow)
        self.side.preset_chosen.connect(self.take_preset)
        self.side.picker.chosen.connect(self._on_picked)
        self.errands.failed.connect(self.show_error)
        self.kept.wanted.connect(self.learn.begin)
        for name in ("first", "previous", "play", "pause", "next", "last", "stop"):
            getattr(self.transport, name).connect(partial(self._on_key, name))
        self.transport.install_keys(self)
        QShortcut(QKeySequence("Ctrl+Tab"), self, activated=self._on_next_page)
        QShortcut(QKeySequence("Ctrl+Return"), self, activated=self._on_run)
        QShortcut(QKeySequence("F10"), self, activated=self.step)

    # what all pages share --------------------------------------------------------------------------------------------

    def flow(self) -> dict[str, str]:
        """Kind and weights that every view asks for."""
        return self.side.flow()

    def dims(self) -> int:
        """Numbers of a picture."""
        return SIZE * SIZE * (3 if self.flow()["kind"] == "glow" else 1)

    def real_sheet(self) -> Image | None:
        """The real pictures as the flow sees them: NICE in grey."""
        if self._sheet is None or self.flow()["kind"] == "glow":
            return self._sheet
        grey = (self._sheet.pixels @ GREY).round().astype("uint8")
        return Image(grey[..., None].repeat(3, 2), label=self._sheet.label)

    def own_weights(self) -> None:
        """A flow of the chosen kind is being trained here: it is the one to look at from now on."""
        if self.flow()["weights"] != "own":
            self.side.set_flow(self.flow()["kind"], "own")
            self._other_flow(facts=False)
            self.learn.stale = False  # its moments are its own

    def measure_own(self, kind: str) -> None:
        """A training of that kind is over: measure what came of it, if that is what is looked at."""
        if self.flow() == {"kind": kind, "weights": "own"}:
            self._other_flow()
            self.learn.stale = False
            if self.page is not self.learn:
                self.page.appear()

    def show_flow(self, kind: str, weights: str) -> None:
        """Pictures of another flow."""
        self.side.set_flow(kind, weights)
        self._on_flow()
        self.show_page(0)

    def _other_flow(self, *, facts: bool = True) -> None:
        """All that is shown belongs to another flow."""
        self.facts, self.spectrum = {key: value for key, value in self.facts.items() if key in KEPT} if not facts else {}, None
        for page in self.pages:
            page.stale = True
        if facts and self._begun:
            errand = self.errands.run(FlowFacts(**self.flow()), self._on_facts, key="facts", failed=self._on_no_facts)
            errand.handle.record.connect(self._on_record)

    @Slot(str, object)
    def _on_record(self, channel: str, payload: Any) -> None:
        if channel == "tiles":
            self._sheet = payload
            self.side.picker.set_sheet(self.real_sheet())
            self.fill.show_real()
        elif channel == "facts":
            self.facts = payload
            self._show_place()

    def _on_facts(self, result: Result) -> None:
        self.facts, self.spectrum = result.facts, result.files.get("spectrum")
        self.depth.show_facts()
        self.learn.draw()
        self._show_place()

    def _on_no_facts(self, report: Any) -> None:
        """The page in sight says what is missing."""
        if self.page is not self.learn:
            self.show_error(report)

    # pages -----------------------------------------------------------------------------------------------------------

    @property
    def page(self) -> TilesPage:
        """The page in sight."""
        return self.pages[self.tabs.currentIndex()]

    @Slot(int)
    def show_page(self, number: int) -> None:
        """Bring a page into sight."""
        self.tabs.setCurrentIndex(number)
        for page in self.pages:
            if page is not self.page:
                page.replay.pause()
        self._views.setCurrentIndex(number)
        self.side.show_form(number, picker=self.page is not self.learn)
        if self._begun:
            self.page.appear()
        self.show_marks()
        self._show_place()
        self.touch()

    def show_marks(self) -> None:
        """Which real pictures the page works on."""
        self.side.picker.set_marks(self.page.marks())

    @Slot()
    def _on_next_page(self) -> None:
        self.show_page((self.tabs.currentIndex() + 1) % len(self.pages))

    @Slot()
    def _on_run(self) -> None:
        {self.learn: self.learn.train, self.fill: self.fill.run}.get(self.page, self.page.replay.play)()

    @Slot()
    def step(self) -> None:
        """Train or fill in step by step: begin, or take one step, and stand still; elsewhere one step on."""
        if self.page in (self.learn, self.fill) and not self.page.active:
            self._on_run()
        self.page.key("next")

    @Slot(int)
    def _on_picked(self, number: int) -> None:
        self.page.pick(number)
        self.show_marks()

    @Slot()
    def _on_flow(self) -> None:
        self._other_flow()
        if self._sheet is not None:
            self.side.picker.set_sheet(self.real_sheet())
        self.page.appear()
        self.touch()

    @Slot(object)
    def take_preset(self, preset: Preset) -> None:
        """Set what a preset says, and begin."""
        self.side.set_flow(preset.kind, "built-in")
        for name in ("temperature", "share"):
            self.learn.sliders.set_value(name, preset.knobs.get(name, {"temperature": 0.7, "share": 1.0}[name]))
        self._on_flow()
        self.show_page(preset.page)
        if preset.train:
            self.learn.knobs.set_job(replace(LearnFlow(), **preset.train))
            self.learn.train()
        elif "hidden" in preset.knobs:
            self.fill.hide_pixels(list(preset.knobs["hidden"]))
            self.fill.run()
        self.show_message("info", preset.sentence)

    def _on_key(self, name: str) -> None:
        self.page.key(name)

    @Slot()
    def _show_place(self) -> None:
        place, told = self.page.place(), self.page.told()
        self.transport.set_noun(place.noun)
        self.transport.set_state(place.state)
        self.transport.set_can(back=place.back, forward=place.forward)
        self.transport.set_position(place.index, place.total, place.note)
        self.inspector.set_content(told.name, told.rows, told.equation, told.explanation, told.reference)

    # files -----------------------------------------------------------------------------------------------------------

    @Slot(object)
    def save_picture(self, image: Image) -> None:
        """Write a picture as PNG, one pixel a pixel."""
        self._save("picture.png", "png", partial(png_bytes, image))

    @Slot(str, object)
    def save_plot(self, kind: str, content: Any) -> None:
        """Write a plot as a picture, or its numbers."""
        self._save(f"plot.{kind}", kind, content if kind == "csv" else partial(png_bytes, content))

    def _save(self, name: str, kind: str, content: Any) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Save", name, f"*.{kind}")
        if path:
            self.settings.storage.write(path, content)

    # start and state -------------------------------------------------------------------------------------------------

    def ready(self) -> None:
        self._begun = True
        self.kept.ask()
        self._other_flow()
        self.page.appear()

    def save_state(self) -> dict:
        return {"page": self.tabs.currentIndex(), **self.flow(), "pages": [page.save() for page in self.pages]}

    def restore_state(self, state: dict) -> None:
        for page, own in zip(self.pages, state["pages"], strict=True):
            page.restore(own)
        self.side.set_flow(state["kind"], state.get("weights", "built-in"))
        self.show_page(min(max(int(state["page"]), 0), len(self.pages) - 1))

    def screenshot_scenes(self) -> list[Scene]:
        return scenes.SCENES

    def key_help(self) -> list[tuple[str, str]]:
        runs = [("Ctrl+Enter", "Train, fill in, or play"), ("F10", "Step by step: one update or step, then stand still")]
        return [("Ctrl+Tab", "Next page"), *runs, ("Arrows, Enter", "Choose a real picture")]


KEPT = ("histogram_bits", "diagonal_bits", "gaussian_bits")
"""Facts of the pictures and not of the flow."""
