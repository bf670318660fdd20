"""One q, k, v, many attentions: maps, errors, cost and time, live under the sliders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Slot

from app.jobs.attention_lab import COMPARED, AttentionLengths, CompareAttentions
from app.panels.attention_lab.explain import CAUSAL, card_lines, told_of_view
from app.panels.attention_lab.kind_list import KindList
from app.panels.attention_lab.listener import Listener
from app.panels.attention_lab.maps_view import MapsView
from app.panels.attention_lab.page import LabPage, Place, Told, column
from app.protocol.attention_lab import LabHead, LengthRow, MechanismView
from app.protocol.payloads import Result
from app.widgets.map_cards import Card

if TYPE_CHECKING:
    from app.panels.attention_lab.panel import AttentionLabPanel

TIMED_MOST = 1024
"""Tokens up to which calls are timed: a window that is used is not to wait for minutes."""
INTRO = (
    "Each card is the same head under another attention. Look first where softmax's map is bright, then which patterns keep those cells: "
    "there the error is small."
)


class MechanismsPage(LabPage):
    """Cards for the ticked mechanisms."""

    title, tip = "Mechanisms", "One q, k, v, many attentions: map, error and cost of each"

    def __init__(self, lab: AttentionLabPanel) -> None:
        super().__init__(lab)
        self.kinds, self.view = KindList(COMPARED), MapsView()
        self.form = column(self.kinds)
        self.head: LabHead | None = None
        self.views: dict[str, MechanismView] = {}
        self._run: Listener | None = None
        self._tuning: dict[str, Listener] = {}
        self.measuring: Listener | None = None
        for signal, slot in (
            (self.kinds.chosen_changed, self._on_chosen), (self.kinds.tuned, self._on_tuned), (self.kinds.selected, self._on_selected),
            (self.view.cards.selected, self.kinds.select), (self.view.cards.opened, self._on_opened),
            (self.view.mode_changed, self._on_mode), (self.view.lengths.measure, self.measure), (self.replay.moved, self._on_replay),
        ):  # fmt: skip
            signal.connect(slot)

    # running -------------------------------------------------------------------------------------------------------

    def show_first(self) -> None:
        if self.kinds.kinds and self.head is None and self._run is None:
            self.compare()

    def head_changed(self) -> None:
        self.compare()
        self.view.lengths.begin({})
        if self.view.mode == "lengths":
            self.measure()

    def compare(self) -> None:
        """All ticked mechanisms on the chosen head."""
        self._silence()
        self.views = {}
        self._show_cards()
        self.replay.reset(len(self.shown()))
        if not self.kinds.chosen():
            return
        job = CompareAttentions(**self.lab.head.values(), mechanisms=self.kinds.all_written())
        self._run = Listener(self, job, "compare", "replace", record=self._on_record, ended=self._on_ended)
        self.moved.emit()

    def shown(self) -> list[str]:
        """Ticked mechanisms that exist under this masking."""
        causal = self.lab.head.values()["causal"]
        return [name for name in self.kinds.chosen() if not (causal and self.kinds.kinds[name].causal == "no")]

    def measure(self) -> None:
        """Time and cost over lengths."""
        if self.measuring is not None:
            self.measuring.silence()
        self.view.lengths.begin({self.kinds.written(name): self.kinds.colour(name) for name in self.kinds.chosen()})
        if self.shown():
            job = AttentionLengths(**self.lab.head.values(), mechanisms=self.kinds.all_written(), measured=TIMED_MOST, longest=65536)
            self.measuring = Listener(self, job, "lengths", "replace", record=self._on_record, done=self._on_measured)

    def _silence(self) -> None:
        for run in (self._run, self.measuring, *self._tuning.values()):
            if run is not None:
                run.silence()
        self._run = self.measuring = None
        self._tuning = {}

    # what comes back -----------------------------------------------------------------------------------------------

    def _on_record(self, channel: str, payload: Any) -> None:
        if channel == "head":
            self.head = payload
            self.lab.head.show_head(payload)
        elif channel == "mechanism":
            self.views[payload.name] = payload
            self.view.cards.put(self._card(payload.name))
            if payload.name in ("softmax", self.kinds.current):
                self._show_selected()
        elif channel == "length" and isinstance(payload, LengthRow):
            self.view.lengths.add(payload)
            if payload.name == self.kinds.written(self.shown()[-1]):
                self.view.lengths.show_rows(f"measured up to {payload.tokens:,} tokens" if payload.seconds else "computing …")

    def _on_ended(self) -> None:
        self._run = None
        self.moved.emit()

    def _on_measured(self, _result: Result) -> None:
        self.view.lengths.show_rows(
            f"Times are measured, up to {TIMED_MOST:,} tokens (a text that is too short is repeated); costs are formulas at every length. "
            "A slope of 1 is linear, of 2 quadratic."
        )

    def _on_tuned(self, name: str) -> None:
        if name in self.shown():
            job = CompareAttentions(**self.lab.head.values(), mechanisms=(self.kinds.written(name),))
            self._tuning[name] = Listener(self, job, f"tune-{name}", "follow", record=self._on_record)
        self.lab.touch()

    @Slot()
    def _on_chosen(self) -> None:
        missing = [name for name in self.shown() if name not in self.views]
        self._show_cards()
        self.replay.reset(len(self.shown()), self._number())
        for name in missing:
            self._on_tuned(name)
        self.lab.touch()

    # showing -------------------------------------------------------------------------------------------------------

    def _card(self, name: str) -> Card:
        kind, view = self.kinds.kinds[name], self.views.get(name)
        return Card(
            key=name, title=kind.title, values=view.map if view else None, lines=card_lines(view) if view else (("", ""),) * 5,
            colour=self.kinds.colour(name), above=bool(self.head and self.head.causal), tip=f"{kind.about} {CAUSAL[kind.causal]}.",
        )  # fmt: skip

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
        busy = self._run is not None and self._run.active
        title = self.kinds.kinds[self.kinds.current].title if self.kinds.current else ""
        return Place(
            noun="mechanism", state=self.replay.state, index=self.replay.index, total=self.replay.count,
            note="computing …" if busy else title,
        )  # fmt: skip

    def told(self) -> Told:
        view = self.views.get(self.kinds.current)
        if view is None or self.head is None:
            return Told(name="One q, k, v, many attentions", explanation=INTRO)
        return told_of_view(view, self.kinds.kinds[view.name], self.head)

    def save(self) -> dict[str, Any]:
        return {"mechanisms": list(self.kinds.start()), "mode": self.view.mode, "log": self.view.log.isChecked()}

    def restore(self, state: dict[str, Any]) -> None:
        self.kinds.set_written([str(words) for words in state["mechanisms"]])
        self.view.set_mode(str(state["mode"]))
        self.view.log.setChecked(bool(state["log"]))
