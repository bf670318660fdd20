"""The right column: the heads on show in numbers and words, the token looked at with the logit lens, and the heads that are changed."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import (
    QDoubleSpinBox,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from app import theme
from app.panels.attention.explain import lens_bars, profile_bars
from app.panels.attention.maps import Profile
from app.panels.attention.words import EMPTY_CHANGE, EMPTY_TOKEN
from app.protocol.chat import LensRow
from app.widgets.inspector import Inspector
from app.widgets.probability_bars import ProbabilityBars

HEAD, TOKEN, CHANGE = range(3)


class SideView(QTabWidget):
    """Three pages."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.head, self.token, self.change = Inspector(), TokenPage(), ChangePage()
        self.head.clear("Look at a text: what the selected head is, in numbers and words, stands here.")
        for page, title, tip in (
            (self.head, "Head", "The heads on show, in numbers and words"),
            (self.token, "Token", "What the pinned token looks at, and the logit lens"),
            (self.change, "Change", "Heads that are removed or scaled"),
        ):
            self.setTabToolTip(self.addTab(page, title), tip)


class TokenPage(QScrollArea):
    """The strongest weights of the tokens in focus, and what each layer would say next."""

    pressed = Signal(object)
    """A token of the other side."""

    def __init__(self) -> None:
        super().__init__()
        self.weights, self.layers = ProbabilityBars("Largest weights"), ProbabilityBars("Logit lens")
        self._title, self._note = _label("heading"), _label("muted")
        self._lens = _label("small")
        inside, column = QWidget(), QVBoxLayout()
        inside.setLayout(column)
        column.setContentsMargins(8, 8, 8, 8)
        column.setSpacing(6)
        for widget in (self._title, self.weights, self._note, self._lens, self.layers):
            column.addWidget(widget)
        column.addStretch(1)
        self.setWidget(inside)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.weights.pressed.connect(self.pressed)
        self.show_profile("", None, ())
        self.set_lens("", None)

    def show_profile(self, title: str, profile: Profile | None, texts: tuple[str, ...], note: str = "") -> None:
        """The weights of the tokens in focus, and what must be said of them; None: nothing is in focus."""
        self._title.setText(title)
        self._title.setVisible(bool(title))
        self.weights.set_bars(profile_bars(profile, texts) if profile is not None else [])
        self._note.setText(note if profile is not None else EMPTY_TOKEN)

    def set_lens(self, words: str, rows: tuple[LensRow, ...] | None) -> None:
        """The logit lens; None: it is not there, and `words` may say why."""
        self._lens.setText(words)
        self._lens.setVisible(bool(words))
        self.layers.set_bars(lens_bars(rows) if rows else [])

    def text(self) -> str:
        """The words on show."""
        return "\n".join(label.text() for label in (self._title, self._note, self._lens))


class ChangePage(QWidget):
    """The changed heads with their factors, and the button that shows what comes of it."""

    factor_changed = Signal(object, float)
    """(layer, head), factor."""
    run_wanted = Signal()
    clear_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.run = QPushButton("Compare before and after", toolTip="Read the text with and without the change, and go on from it")
        self.clear = QPushButton("Leave all as they are")
        self._note, self._rows = _label("muted"), QFormLayout()
        self._boxes: dict[tuple[int, int], QDoubleSpinBox] = {}
        self.run.setProperty("role", "primary")
        column, buttons = QVBoxLayout(self), QHBoxLayout()
        column.setContentsMargins(12, 12, 12, 12)
        column.setSpacing(8)
        buttons.addWidget(self.clear)
        column.addWidget(self._note)
        column.addLayout(self._rows)
        column.addWidget(self.run)
        column.addLayout(buttons)
        column.addStretch(1)
        self.run.clicked.connect(self.run_wanted)
        self.clear.clicked.connect(self.clear_wanted)
        self.set_factors({}, False)

    def set_factors(self, factors: dict[tuple[int, int], float], able: bool) -> None:
        """Show the changed heads; `able`: whether heads of this source can be changed at all."""
        if factors.keys() != self._boxes.keys():
            while self._rows.rowCount():
                self._rows.removeRow(0)
            self._boxes = {head: self._box(head) for head in sorted(factors)}
        for head, box in self._boxes.items():
            box.blockSignals(True)
            box.setValue(factors[head])
            box.blockSignals(False)
        words = "What a head writes is multiplied by its factor; 0 removes it, 1 leaves it as it is." if factors else EMPTY_CHANGE
        self._note.setText(words if able or factors else "Heads of language models can be changed, once a text is looked at.")
        self.run.setVisible(bool(factors))
        self.clear.setVisible(bool(factors))

    def _box(self, head: tuple[int, int]) -> QDoubleSpinBox:
        box = theme.pad(QDoubleSpinBox(decimals=2, minimum=-4.0, maximum=4.0, singleStep=0.1))
        box.setKeyboardTracking(False)
        box.setProperty("head", list(head))
        box.setAccessibleName(f"Factor of layer {head[0]}, head {head[1]}")
        box.setToolTip("0 removes the head, 1 leaves it as it is")
        box.valueChanged.connect(self._on_value)
        self._rows.addRow(f"Layer {head[0]}, head {head[1]}", box)
        return box

    @Slot(float)
    def _on_value(self, factor: float) -> None:
        self.factor_changed.emit(tuple(self.sender().property("head")), factor)


def _label(role: str) -> QLabel:
    label = QLabel(wordWrap=True)
    label.setProperty("role", role)
    return label
