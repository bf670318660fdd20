"""One, two or four lanes on the same noise: what they share, which one is chosen, and what a preset changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from PySide6.QtCore import QObject, Signal

from app.jobs.plane import Plane
from app.panels.plane.lane import Choice, Lane
from app.protocol.plane import PlanePreset

OWN = {"solver": "", "evaluations": 0, "exact": False, "schedule": ""}
"""Fields of a choice that a preset sets, by name or else to these."""
FIRST = ("flow-matching", "edm", "realnvp", "vp")
"""What further lanes begin with."""


class Lanes(QObject):
    """The lanes; the first leads the timeline."""

    learned = Signal()
    moved = Signal()
    ended = Signal(object)
    """A lane whose newest run is over."""

    def __init__(self, engine: Any, parent: QObject) -> None:
        super().__init__(parent)
        self._engine = engine
        self.all: list[Lane] = []
        self.chosen = 0
        self.set_count(1)

    @property
    def lane(self) -> Lane:
        """The chosen one."""
        return self.all[self.chosen]

    @property
    def lead(self) -> Lane:
        """The one whose moments are the timeline: the first that has any."""
        return next((lane for lane in self.all if lane.told.moments), self.all[0])

    def others(self) -> list[Lane]:
        """All but the chosen one, as far as they have walked."""
        return [lane for lane in self.all if lane is not self.lane and lane.told.moments]

    @property
    def state(self) -> str:
        """As the transport bar knows it: running while any lane runs."""
        states = [lane.state for lane in self.all]
        return "running" if "running" in states else "paused" if "paused" in states else "idle"

    def set_count(self, count: int) -> None:
        """So many lanes; those that go end their runs."""
        for lane in self.all[count:]:
            lane.stop()
            lane.deleteLater()
        self.all = self.all[:count]
        while len(self.all) < count:
            lane = Lane(self._engine, len(self.all), self)
            lane.choice = Choice(method=FIRST[lane.number])
            lane.learned.connect(self.learned)
            lane.moved.connect(self.moved)
            lane.ended.connect(self._on_ended)
            self.all.append(lane)
        self.chosen = min(self.chosen, count - 1)

    def choices(self) -> list[Choice]:
        """What is set, lane by lane."""
        return [lane.choice for lane in self.all]

    def set_choices(self, choices: list[Choice]) -> None:
        """Take up what was set."""
        self.set_count(len(choices))
        for lane, choice in zip(self.all, choices, strict=True):
            lane.choice = choice

    def press(self, name: str) -> None:
        """A button of the transport bar that is for runs on their way."""
        for lane in self.all:
            if lane.state != "idle":
                {"play": lane.handle.resume, "pause": lane.handle.pause, "next": lane.handle.step_on, "stop": lane.stop}[name]()

    def step(self, begin: Callable[[], None]) -> None:
        """Run step by step: begin, or take one step, and stand still."""
        if self.state == "idle":
            begin()
        self.press("next")

    def _on_ended(self) -> None:
        self.ended.emit(self.sender())


def preset_of(choice: Choice, shared: Plane, preset: PlanePreset) -> tuple[Choice, dict[str, Any]]:
    """The choice a preset makes, and the fields of the shared job that it sets (data, updates, …)."""
    fields = {name for name in Plane.__dataclass_fields__}
    own, knobs, common = {}, {}, {}
    for name, value in preset.settings:
        if name in OWN:
            own[name] = type(OWN[name])(value)
        elif name in fields:
            common[name] = type(getattr(shared, name))(value)
        else:
            knobs[name] = float(value)
    return replace(choice, **OWN | own, knobs=tuple(knobs.items())), common
