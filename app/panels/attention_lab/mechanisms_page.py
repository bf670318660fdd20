"""One q, k, v, many attentions: maps, errors, cost and time, live under the sliders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Slot

from app.jobs.attention_lab import COMPARED
from app.panels.attention_lab.explain import card, told_of_view
from app.panels.attention_lab.kind_list import KindList
from app.panels.attention_lab.maps_view import MapsView
from app.panels.attention_lab.mechanism_runs import TIMED_MOST, MechanismRuns
from app.panels.attention_lab.page import LabPage, Place, Told, column
from app.protocol.attention_lab import LabHead, MechanismView
from app.protocol.payloads import Result
from app.widgets.map_cards import Card

if TYPE_CHECKING:
    from app.panels.attention_lab.panel import AttentionLabPanel


class MechanismsPage(LabPage):
    """Cards for the ticked mechanisms."""

    title, tip = "Mechanisms", "One q, k, v, many attentions: map, error and cost of each"

    def __init__(self, lab: AttentionLabPanel) -> None:
        super().__init__(lab)
        self.kinds, self.view = KindList(COMPARED), MapsView()
        self.form = column(self.kinds)
        self.head: LabHead | None = None
        self.views: dict[str, MechanismView] = {}
        self.runs = MechanismRuns(self)
        for signal, slot in (
            (self.kinds.chosen_changed, self._on_chosen), (self.kinds.tuned, self._on_tuned), (self.kinds.selected, self._on_selected),
            (self.view.cards.selected, self.kinds.select), (self.view.cards.opened, self._on_opened),
            (self.view.mode_changed, self._on_mode), (self.view.lengths.measure, self.measure), (self.replay.moved, self._on_replay),
        ):  # fmt: skip
            signal.connect(slot)

    # running -------------------------------------------------------------------------------------------------------

    def show_first(self) -> None:
        if self.kinds.kinds and self.head is None and not self.runs.comparing:
            self.compare()

    def head_changed(self) -> None:
        self.compare()
        self.view.lengths.begin({})
        if self.view.mode == "lengths":
            self.measure()

    def compare(self) -> None:
        """All ticked mechanisms on the chosen head."""
        self.views = {}
        self._show_cards()
        self.replay.reset(len(self.shown()), self._number())
        self.runs.compare()
        self.moved.emit()

    def shown(self) -> list[str]:
        """Ticked mechanisms that exist under this masking."""
        causal = self.lab.head.values()["causal"]
        return [name for name in self.kinds.chosen() if not (causal and self.kinds.kinds[name].causal == "no")]

    def measure(self) -> None:
        """Time and cost over lengths."""
        self.view.lengths.begin({self.kinds.written(name): self.kinds.colour(name) for name in self.kinds.chosen()})
        self.runs.measure()

    # what comes back -----------------------------------------------------------------------------------------------

    def take(self, channel: str, payload: Any) -> None:
        if channel == "head":
            self.head = payload
            self.lab.head.show_head(payload)
        elif channel == "mechanism":
            self.views[payload.name] = payload
            self.view.cards.put(self._card(payload.name))
            if payload.name in ("softmax", self.kinds.current):
                self._show_selected()
        elif channel == "length":
            self.view.lengths.add(payload, last=payload.name == self.kinds.written(self.shown()[-1]))

    def measured(self, _result: Result) -> None:
        """All lengths are through."""
        self.view.lengths.finish(TIMED_MOST)

    @Slot(str)
    def _on_tuned(self, name: str) -> None:
        if name in self.shown():
            self.runs.tune(name)
        self.lab.touch()

    @Slot()
    def _on_chosen(self) -> None:
        missing = [name for name in self.shown() if name not in self.views and name not in self.runs.coming]
        self._show_cards()
        self.replay.reset(len(self.shown()), self._number())
        for name in missing:
            self._on_tuned(name)
        self.lab.touch()

    # showing -------------------------------------------------------------------------------------------------------

    def _card(self, name: str) -> Card:
        return card(self.kinds.kinds[name], self.views.get(name), self.kinds.colour(name), bool(self.head and self.head.causal))

    def _show_cards(self) -> None:
        self.view.cards.set_cards([self._card(name) for name in self.shown()])

    def _number(self) -> int:
        shown = self.shown()
        return shown.index(self.kinds.current) + 1 if self.kinds.current in shown else 0

    @Slot(str)
    def _on_selected(self, name: str) -> None:
        self.view.cards.select(name)
        if self._number() and self.replay.index != self._number():
            self.replay.go(self._number())
        self._show_selected()

    def _show_selected(self) -> None:
        self.view.show_pair(self.head, self.views.get("softmax"), self.views.get(self.kinds.current))
        self.moved.emit()

    @Slot()
    def _on_replay(self) -> None:
        if 0 < self.replay.index <= len(self.shown()):
            self.kinds.select(self.shown()[self.replay.index - 1])

    @Slot(str)
    def _on_opened(self, name: str) -> None:
        self.kinds.select(name)
        self.view.set_mode("beside")
        self.lab.touch()

    @Slot(str)
    def _on_mode(self, mode: str) -> None:
        if mode == "lengths" and not self.view.lengths.rows():
            self.measure()
        self.lab.touch()

    def place(self) -> Place:
        title = self.kinds.kinds[self.kinds.current].title if self.kinds.current else ""
        return Place(
            noun="mechanism", state=self.replay.state, index=self.replay.index, total=self.replay.count,
            note="computing …" if self.runs.comparing else title,
        )  # fmt: skip

    def told(self) -> Told:
        return told_of_view(self.views.get(self.kinds.current), self.kinds.kinds.get(self.kinds.current), self.head)

    def save(self) -> dict[str, Any]:
        return {"mechanisms": list(self.kinds.start()), "mode": self.view.mode, "log": self.view.log.isChecked()}

    def restore(self, state: dict[str, Any]) -> None:
        self.kinds.set_written([str(words) for words in state["mechanisms"]])
        self.view.set_mode(str(state["mode"]))
        self.view.log.setChecked(bool(state["log"]))
