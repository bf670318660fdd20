"""Trainings that are kept on the disk: looked up after each of them, offered once after the start, and taken up again."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal, Slot
from PySide6.QtWidgets import QPushButton

from app.jobs.flows import KeptFlows, LearnFlow
from app.panels.tiles.words import NAMES
from app.protocol.job import job_from_dict
from app.protocol.payloads import Result
from app.protocol.tiles import KeptFlow

if TYPE_CHECKING:
    from app.panels.tiles.panel import TilesPanel


class Kept(QObject):
    """The last training of each kind, and the button that takes one up."""

    changed = Signal()
    """Other trainings are kept now."""
    wanted = Signal(object)
    """This training is to go on: its job."""

    def __init__(self, panel: TilesPanel) -> None:
        super().__init__(panel)
        self._panel, self._cards, self._offered = panel, {}, False
        self.button = QPushButton("Go on", visible=False)
        self.button.clicked.connect(self.go_on)

    def card(self) -> KeptFlow | None:
        """That of the chosen kind."""
        return self._cards.get(self._panel.flow()["kind"])

    def ask(self) -> None:
        """Look them up."""
        self._panel.errands.run(KeptFlows(), self._on_cards, key="kept")

    def _on_cards(self, result: Result) -> None:
        self._cards = {one.kind: one for one in result.files["kept"]}
        self.changed.emit()
        if not self._offered:
            self._offered = True
            self._offer()

    def _offer(self) -> None:
        """At the start: the newest one that is not finished can go on."""
        waiting = [one for one in self._cards.values() if one.can_go_on]
        if waiting and not self._panel.learn.active and not self._panel.banner.isVisible():
            one = max(waiting, key=lambda each: each.when)
            words = f"A training of {NAMES[one.kind]} stands at update {one.step:,} of {one.total:,}, kept {one.when}."
            hint = "What it has learned is under Weights, Trained here."
            self._panel.show_message("info", words, hint, "Go on", partial(self._take_up, one.kind))

    def _take_up(self, kind: str) -> None:
        self._panel.banner.hide()
        self._panel.show_flow(kind, "own")
        self.go_on()

    @Slot()
    def go_on(self) -> None:
        """Take up that of the chosen kind, with its own settings."""
        if (one := self.card()) is not None:
            job, _warnings = job_from_dict(LearnFlow, json.loads(one.job))
            self.wanted.emit(replace(job, resume=True))

    def show(self, *, active: bool) -> None:
        """The button, where there is something to take up."""
        one = self.card()
        self.button.setVisible(one is not None and one.can_go_on and not active)
        if one is not None:
            self.button.setText(f"Go on from update {one.step:,}")
            self.button.setToolTip(f"Take up the {NAMES[one.kind]} of {one.when}, {one.total:,} updates long, with its own settings")
