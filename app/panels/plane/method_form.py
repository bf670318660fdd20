"""What can be set for one lane: method, preset, solver, evaluations, and the numbers of its walk as sliders."""

from __future__ import annotations

from dataclasses import replace

from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QCheckBox, QComboBox, QFormLayout, QSpinBox, QVBoxLayout, QWidget

from app import theme
from app.panels.plane.lane import Choice
from app.panels.plane.schedule_editor import ScheduleEditor
from app.protocol.plane import MethodCard, PlanePreset
from app.widgets.knob_sliders import KnobSliders, Setting

MOST_EVALUATIONS = 2000
NO_PRESET = "Presets …"


class MethodForm(QWidget):
    """Edits a `Choice`."""

    changed = Signal(object, bool)
    """The new choice, and whether the network must be another."""
    preset_chosen = Signal(object)
    """A `PlanePreset`: it may set fields of all lanes."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._cards: dict[str, MethodCard] = {}
        self._choice, self._silent = Choice(), False
        self.methods, self.presets, self.solvers = QComboBox(), QComboBox(), QComboBox()
        self.evaluations = theme.pad(QSpinBox(minimum=0, maximum=MOST_EVALUATIONS, specialValueText="method's own"))
        self.evaluations.setKeyboardTracking(False)
        self.exact = QCheckBox("Exact answer", toolTip="The known law of the eight Gaussians stands in for the network; nothing is trained")
        self.knobs, self.schedule = KnobSliders(), ScheduleEditor()
        rows = QFormLayout()
        rows.setContentsMargins(0, 0, 0, 0)
        for title, editor, tip in (
            ("Method", self.methods, "How noise becomes data"),
            ("Preset", self.presets, "Settings that show what the method is about"),
            ("Solver", self.solvers, "How the walk is cut into steps; no new training"),
            ("Evaluations", self.evaluations, "Of the network, for each particle; no new training"),
        ):
            editor.setToolTip(tip)
            editor.setAccessibleName(title)
            rows.addRow(title, editor)
            if isinstance(editor, QComboBox):
                editor.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(8)
        rows.addRow("", self.exact)
        box.addLayout(rows)
        box.addWidget(self.knobs)
        box.addWidget(self.schedule)
        self.methods.activated.connect(self._on_method)
        self.presets.activated.connect(self._on_preset)
        self.solvers.activated.connect(self._on_walk)
        self.evaluations.valueChanged.connect(self._on_walk)
        self.knobs.changed.connect(self._on_walk)
        self.exact.toggled.connect(self._on_walk)
        self.schedule.changed.connect(self._on_schedule)

    def set_cards(self, cards: tuple[MethodCard, ...]) -> None:
        """The table of methods."""
        self._cards = {card.name: card for card in cards}
        self.methods.clear()
        for card in cards:
            self.methods.addItem(card.title, card.name)
        self.show_choice(self._choice)

    def cards(self) -> dict[str, MethodCard]:
        """The table of methods by name."""
        return self._cards

    def card(self) -> MethodCard | None:
        """The method on show."""
        return self._cards.get(self._choice.method)

    def show_choice(self, choice: Choice) -> None:
        """Show what is set for a lane; tells nobody."""
        if self._cards and choice.method not in self._cards:
            choice = Choice(method=next(iter(self._cards)))
        same = choice.method == self._choice.method and self.solvers.count()
        self._choice, card = choice, self._cards.get(choice.method)
        if card is None:
            return
        self._silent = True
        self.methods.setCurrentIndex(self.methods.findData(choice.method))
        if not same:
            self._show_card(card)
        self.solvers.setCurrentText(choice.solver or card.solvers[0])
        self.evaluations.setValue(choice.evaluations)
        self.exact.setChecked(choice.exact)
        self.exact.setEnabled(card.exact)
        for name, value in {knob.name: knob.default for knob in card.knobs}.items():
            self.knobs.set_value(name, dict(choice.knobs).get(name, value))
        self._silent = False
        self.schedule.show_schedule(card, choice.schedule)

    def _show_card(self, card: MethodCard) -> None:
        self.presets.clear()
        self.presets.addItem(NO_PRESET)
        for number, preset in enumerate(card.presets):
            self.presets.addItem(preset.title, number)
            self.presets.setItemData(number + 1, preset.sentence, 3)  # Qt.ItemDataRole.ToolTipRole
        self.presets.setEnabled(bool(card.presets))
        self.solvers.clear()
        self.solvers.addItems(list(card.solvers))
        self.solvers.setEnabled(len(card.solvers) > 1)
        self.evaluations.setToolTip(f"Of the network, for each particle; this method's own number is {card.evaluations}. No new training.")
        self.knobs.set_settings([
            Setting(knob.name, round(knob.default) if knob.whole else float(knob.default), knob.title, knob.help, knob.lo, knob.hi,
                    step=1 if knob.whole else (knob.hi - knob.lo) / 100)
            for knob in card.knobs
        ])  # fmt: skip

    @Slot(int)
    def _on_method(self, _index: int) -> None:
        name = self.methods.currentData()
        if name != self._choice.method:
            self.show_choice(Choice(method=name))
            self.changed.emit(self._choice, True)

    @Slot(str)
    def _on_schedule(self, words: str) -> None:
        self._choice = replace(self._choice, schedule=words)
        self.changed.emit(self._choice, True)

    @Slot(int)
    def _on_preset(self, index: int) -> None:
        card = self.card()
        if index > 0 and card is not None:
            preset: PlanePreset = card.presets[self.presets.itemData(index)]
            self.presets.setCurrentIndex(0)
            self.preset_chosen.emit(preset)

    @Slot()
    @Slot(int)
    @Slot(bool)
    def _on_walk(self, *_value: object) -> None:
        if self._silent:
            return
        knobs = tuple((name, float(value)) for name, value in self.knobs.values().items())
        walk = {"solver": self.solvers.currentText(), "evaluations": self.evaluations.value(), "exact": self.exact.isChecked()}
        self._choice = replace(self._choice, **walk, knobs=knobs)
        self.changed.emit(self._choice, False)
