"""The editor of a noise schedule: its kind, its numbers, and its curve, which can be taken hold of where it may be drawn by hand."""

from __future__ import annotations

from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QComboBox, QFormLayout, QLabel, QVBoxLayout, QWidget

from app.jobs.plane import PlaneSchedule
from app.panels.errands import Errands
from app.panels.plane.schedule_curve import ScheduleCurve
from app.protocol.payloads import Result
from app.protocol.plane import MethodCard, ScheduleCard
from app.widgets.knob_sliders import KnobSliders, Setting

HAND = "hand"
"""The kind whose numbers are heights of the curve."""
TRAINED = "Another schedule is another training: press Train."


class ScheduleEditor(QWidget):
    """Edits the words of a schedule, such as "linear 0.0001 0.02"; hidden for a method without one."""

    changed = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._card: MethodCard | None = None
        self._errands: Errands | None = None
        self._words = ""
        self.kinds = QComboBox(toolTip="How the noise grows along the way; another schedule is another training")
        self.kinds.setAccessibleName("Schedule")
        self.numbers, self.curve, self.words = KnobSliders(), ScheduleCurve(), QLabel(wordWrap=True)
        self.words.setProperty("role", "small")
        rows = QFormLayout()
        rows.setContentsMargins(0, 0, 0, 0)
        rows.addRow("Schedule", self.kinds)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(6)
        box.addLayout(rows)
        for widget in (self.numbers, self.curve, self.words):
            box.addWidget(widget)
        self.kinds.activated.connect(self._on_kind)
        self.numbers.changed.connect(self._on_number)
        self.curve.dragged.connect(self._on_dragged)
        self.hide()

    def use(self, errands: Errands) -> None:
        """Who asks the worker for curves."""
        self._errands = errands

    def show_schedule(self, card: MethodCard, words: str) -> None:
        """Show a method's schedule; tells nobody but asks for its curve."""
        other = self._card is None or card.name != self._card.name
        if not other and words == self._words:
            return
        self._card, self._words = card, words
        self.setVisible(bool(card.schedules))
        if not card.schedules:
            return
        if other:
            self.kinds.clear()
            for one in card.schedules:
                self.kinds.addItem(one.title, one.name)
        name, *numbers = words.split() or [card.schedules[0].name]
        self.kinds.setCurrentIndex(max(self.kinds.findData(name), 0))
        self._show_numbers([float(word) for word in numbers])
        self._ask()

    def _on_curve(self, result: Result) -> None:
        if not result.files:
            return
        self.curve.show_curves(result.files["share"], result.files["ratio"])
        hand = self._kind_named(HAND)
        if hand is not None:
            low, high = hand.numbers[0].lo, hand.numbers[0].hi
            self.curve.range = (low, high)
            if self._kind().name != HAND:
                self.curve.show_dots(falling(result.facts["dots"], low, high))
        else:
            self.curve.show_dots([])
        self.words.setText(" ".join(filter(None, (result.facts["notice"], TRAINED))))

    def _kind(self) -> ScheduleCard:
        return self._card.schedules[self.kinds.currentIndex()]

    def _kind_named(self, name: str) -> ScheduleCard | None:
        return next((one for one in self._card.schedules if one.name == name), None)

    def _show_numbers(self, values: list[float]) -> None:
        kind = self._kind()
        values = values or [number.default for number in kind.numbers]
        if kind.name == HAND:
            self.numbers.set_settings([])
            self.curve.show_dots(values)
        else:
            self.numbers.set_settings([
                Setting(one.name, value, one.title, one.help, one.lo, one.hi, step=(one.hi - one.lo) / 100)
                for one, value in zip(kind.numbers, values)
            ])  # fmt: skip
        self.numbers.setVisible(kind.name != HAND)

    def _set(self, words: str) -> None:
        self._words = words
        self._ask()
        self.changed.emit(words)

    def _ask(self) -> None:
        """Have the curve worked out."""
        job = PlaneSchedule(method=self._card.name, schedule=self._words)
        self._errands.run(job, self._on_curve, key="schedule", failed=lambda report: self.words.setText(f"{report.title} {report.hint}"))

    @Slot(int)
    def _on_kind(self, number: int) -> None:
        kind = self._kind()
        held = self.curve.dots if kind.name == HAND and self.curve.dots else []
        self._show_numbers(list(held))
        self._set("" if number == 0 else " ".join([kind.name, *(f"{value:g}" for value in held)]))

    @Slot()
    def _on_number(self, *_changed: object) -> None:
        self._set(" ".join([self._kind().name, *(f"{value:g}" for value in self.numbers.values().values())]))

    @Slot()
    def _on_dragged(self) -> None:
        if self._kind().name != HAND:
            self.kinds.setCurrentIndex(self.kinds.findData(HAND))
            self.numbers.set_settings([])
            self.numbers.hide()
        self._set(" ".join([HAND, *(f"{value:g}" for value in self.curve.dots)]))


def falling(shares: list[float], low: float, high: float) -> list[float]:
    """Shares that may be drawn by hand: within low .. high, each a little below the one before."""
    n = len(shares)
    tops, floors = (high * 0.999**k for k in range(n)), (low * 1.001 ** (n - 1 - k) for k in range(n))
    found: list[float] = []
    for share, top, floor in zip(shares, tops, floors):
        below = found[-1] * 0.999 if found else top
        found.append(float(f"{max(min(share, top, below), floor):.5g}"))
    return found
