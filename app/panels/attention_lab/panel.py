"""The attention lab: four pages under one tab bar, with the form at the side, one transport bar at the bottom, and the inspector."""

from __future__ import annotations

from functools import partial
from typing import Any

from PySide6.QtCore import Slot
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QStackedWidget, QTabBar, QVBoxLayout, QWidget

from app.jobs.attention_lab import AttentionKinds
from app.panels.attention_lab import scenes
from app.panels.attention_lab.head_choice import HeadChoice
from app.panels.attention_lab.mechanisms_page import MechanismsPage
from app.panels.attention_lab.page import LabPage
from app.panels.attention_lab.scale_page import ScalePage
from app.panels.attention_lab.tiles_page import TilesPage
from app.panels.attention_lab.training_page import TrainingPage
from app.panels.base import INSPECTOR_WIDTH, Panel, Scene
from app.panels.errands import Errands
from app.protocol.payloads import Result
from app.widgets.inspector import Inspector
from app.widgets.transport import Transport

NO_MODEL = "SmolLM2 is not on this machine, so q, k and v are random numbers."


class AttentionLabPanel(Panel):
    """Joins the pages; each keeps its own runs."""

    panel_id = "attention_lab"
    title = "Attention lab"

    def __init__(self, engine: Any, settings: Any, parent: Any = None) -> None:
        super().__init__(engine, settings, parent)
        self.head, self.errands = HeadChoice(), Errands(engine, self.panel_id, self)
        self.mechanisms, self.tiles = MechanismsPage(self), TilesPage(self)
        self.scale, self.training = ScalePage(self), TrainingPage(self)
        self.pages: tuple[LabPage, ...] = (self.mechanisms, self.tiles, self.scale, self.training)
        self.tabs, self.transport, self.inspector = QTabBar(expanding=False, drawBase=False), Transport(), Inspector()
        self._forms, self._views = QStackedWidget(), QStackedWidget()
        self._asked = False
        for page in self.pages:
            self.tabs.setTabToolTip(self.tabs.addTab(page.title), page.tip)
            self._forms.addWidget(page.form)
            self._views.addWidget(page.view)
            page.moved.connect(self._show_place)
        self.inspector.setMinimumWidth(INSPECTOR_WIDTH)
        self.body.addWidget(self.tabs)
        self.arrange(self._side(), self._views, self.transport, self.inspector)
        self._connect()
        self._show_place()

    def _side(self) -> QWidget:
        side = QWidget()
        side.setMinimumWidth(288)
        box = QVBoxLayout(side)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(0)
        box.addWidget(self.head)
        box.addWidget(self._forms, 1)
        return side

    def _connect(self) -> None:
        self.tabs.currentChanged.connect(self.show_page)
        self.head.changed.connect(self._on_head)
        self.head.form.invalid.connect(self.show_error)
        self.errands.failed.connect(self.show_error)
        bar = self.transport
        for name in ("first", "previous", "play", "pause", "next", "last", "stop"):
            getattr(bar, name).connect(partial(self._on_key, name))
        bar.install_keys(self)
        QShortcut(QKeySequence("Ctrl+Tab"), self, activated=self._on_next_page)
        QShortcut(QKeySequence("F10"), self, activated=self.step)

    # pages ---------------------------------------------------------------------------------------------------------

    @property
    def page(self) -> LabPage:
        """The page in sight."""
        return self.pages[self.tabs.currentIndex()]

    @Slot(int)
    def show_page(self, number: int) -> None:
        """Bring a page into sight."""
        self.tabs.setCurrentIndex(number)
        for page in self.pages:
            if page is not self.page:
                page.replay.pause()
        self._forms.setCurrentIndex(number)
        self._views.setCurrentIndex(number)
        self.head.setVisible(self.page.takes_head)
        if self._asked:
            self.page.appear()
        self._show_place()
        self.touch()

    @Slot()
    def _on_next_page(self) -> None:
        self.show_page((self.tabs.currentIndex() + 1) % len(self.pages))

    @Slot()
    def step(self) -> None:
        """Train step by step: begin, or take one step, and stand still; elsewhere one step on."""
        if self.page is self.training and self.training.run is None:
            self.training.train()
        self._on_key("next")

    @Slot()
    def _on_head(self) -> None:
        for page in self.pages:
            page.stale = page.takes_head
        if self._asked:
            self.page.appear()
        self.touch()

    def _on_key(self, name: str) -> None:
        self.page.key(name)

    @Slot()
    def _show_place(self) -> None:
        place, told = self.page.place(), self.page.told()
        back, on = (place.index > 1, place.index < place.total) if self.page.takes_head else (False, place.state == "paused")
        self.transport.set_noun(place.noun)
        self.transport.set_state(place.state)
        self.transport.set_can(back=back, forward=on)
        self.transport.set_position(place.index, place.total, place.note)
        self.inspector.set_content(told.name, told.rows, told.equation, told.explanation, told.reference)

    # start and state -----------------------------------------------------------------------------------------------

    def ready(self) -> None:
        self.errands.run(AttentionKinds(), self._on_kinds)

    def _on_kinds(self, result: Result) -> None:
        for page in (self.mechanisms, self.training):
            page.kinds.set_kinds(result.files["kinds"])
        if not result.facts["model_there"] and self.head.values()["source"] == "model":
            self.head.set_source("random")
            self.show_message("info", NO_MODEL, "Fetch SmolLM2 on the page Models to look at a trained head.")
        self._asked = True
        self.page.show_first()

    def save_state(self) -> dict:
        return {"page": self.tabs.currentIndex(), "head": self.head.save(), "pages": [page.save() for page in self.pages]}

    def restore_state(self, state: dict) -> None:
        self.head.restore(state["head"])
        for page, own in zip(self.pages, state["pages"], strict=True):
            page.restore(own)
        self.show_page(min(max(int(state["page"]), 0), len(self.pages) - 1))

    def screenshot_scenes(self) -> list[Scene]:
        return scenes.SCENES

    def key_help(self) -> list[tuple[str, str]]:
        pages = [("Ctrl+Tab", "Next page of the lab"), ("F10", "Step by step: train one update, then stand still")]
        return [*pages, ("Enter on a card", "That mechanism large, beside softmax")]
