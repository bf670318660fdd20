"""The transport bar: time is the common axis of the program, so every panel has the same buttons and the same keys."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QSize, Qt, Signal, Slot
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import (
    QAbstractSpinBox,
    QApplication,
    QHBoxLayout,
    QLineEdit,
    QPlainTextEdit,
    QTextEdit,
    QToolButton,
    QWidget,
)

from app.widgets.icons import icon
from app.widgets.steady_label import SteadyLabel

STATES = ("idle", "running", "paused")
KEY_HELP = [
    ("Space", "Play or pause"),
    ("Left, comma", "One step back"),
    ("Right, full stop", "One step on; computes it while paused"),
    ("F10", "Step by step: begin if nothing runs, then stand still after every step"),
    ("Home, End", "First, last step"),
    ("Esc", "Stop the run"),
]
_BUTTONS = (
    ("first", "First step (Home)"),
    ("previous", "One step back (Left or comma)"),
    ("play", "Play (Space)"),
    ("next", "One step on (Right, full stop or F10)"),
    ("last", "Last step (End)"),
    ("stop", "Stop the run (Esc)"),
)
_TEXT_FIELDS = (QLineEdit, QTextEdit, QPlainTextEdit, QAbstractSpinBox)


class Transport(QWidget):
    """``|<  <  play/pause  >  >|  stop`` and the words "step 7 of 20  sigma 2.41"."""

    first = Signal()
    previous = Signal()
    play = Signal()
    pause = Signal()
    next = Signal()
    last = Signal()
    stop = Signal()

    def __init__(self, parent: QWidget | None = None, *, noun: str = "step") -> None:
        super().__init__(parent)
        self._noun = noun
        self.setObjectName("Transport")
        self.setAccessibleName("Transport")
        self.state = ""
        self._back = self._forward = False
        self._buttons: dict[str, QToolButton] = {}
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(8, 4, 8, 4)
        self._row.setSpacing(2)
        slots = {
            "first": self.first, "previous": self.previous, "play": self._on_toggle, "next": self.next,
            "last": self.last, "stop": self.stop,
        }  # fmt: skip
        for name, tip in _BUTTONS:
            tip = tip.replace("step", self._noun)
            button = QToolButton(toolTip=tip, accessibleName=tip.split(" (")[0])
            button.setIcon(icon(name))
            button.setIconSize(QSize(18, 18))
            button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            button.clicked.connect(slots[name])
            self._buttons[name] = button
            self._row.addWidget(button)
        self._words = SteadyLabel(name="Position")
        self._row.addSpacing(12)
        self._row.addWidget(self._words)
        self._row.addStretch(1)
        self.set_state("idle")
        self.set_position(0, 0)

    def add_widget(self, widget: QWidget) -> None:
        """Put a widget (for instance a switch x_t | x0 | eps) at the right end."""
        self._row.addWidget(widget)

    def button(self, name: str) -> QToolButton:
        """One of "first", "previous", "play", "next", "last", "stop"."""
        return self._buttons[name]

    def set_noun(self, noun: str) -> None:
        """What is counted; the next position is told in these words."""
        self._noun = noun

    def set_state(self, state: str) -> None:
        """"idle", "running" or "paused": decides what the middle button shows and which buttons can be pressed."""
        if state not in STATES:
            raise ValueError(f"state {state!r} is none of {STATES}")
        if state == self.state:
            return
        self.state = state
        running = state == "running"
        middle = self._buttons["play"]
        middle.setIcon(icon("pause" if running else "play"))
        middle.setToolTip("Pause (Space)" if running else "Play (Space)")
        middle.setAccessibleName("Pause" if running else "Play")
        self._enable()

    def set_can(self, *, back: bool, forward: bool) -> None:
        """Whether there are steps to look at before and after the one on show."""
        if (back, forward) != (self._back, self._forward):
            self._back, self._forward = back, forward
            self._enable()

    def set_position(self, index: int, total: int, note: str = "") -> None:
        """Show "step ``index`` of ``total``" and a note such as "sigma 2.41"."""
        where = f"{self._noun} {index} of {total}" if total else f"no {self._noun}s yet"
        self._words.setText(f"{where}   {note}" if note else where)
        self._words.set_role("" if total else "muted")

    def text(self) -> str:
        """The words beside the buttons."""
        return self._words.text()

    def _enable(self) -> None:
        paused, active = self.state == "paused", self.state != "idle"
        able = {
            "first": self._back, "previous": self._back, "play": active or self._back or self._forward,
            "next": self._forward or paused, "last": self._forward, "stop": active,
        }  # fmt: skip
        for name, button in self._buttons.items():
            button.setEnabled(able[name])

    @Slot()
    def _on_toggle(self) -> None:
        (self.pause if self.state == "running" else self.play).emit()

    # keys ------------------------------------------------------------------------------------------------------

    def install_keys(self, scope: QWidget) -> None:
        """Take the transport keys that no child of ``scope`` wanted for itself."""
        scope.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.KeyPress and isinstance(event, QKeyEvent) and self.handle_key(event):
            return True
        return super().eventFilter(watched, event)

    def handle_key(self, event: QKeyEvent) -> bool:
        """Press the button that belongs to a key; False if there is none, or if a text field has the focus."""
        if not is_time_key(event):
            return False
        name = _KEYS[Qt.Key(event.key())]
        if name != "stop" and isinstance(QApplication.focusWidget(), _TEXT_FIELDS):
            return False
        button = self._buttons[name]
        if button.isEnabled():
            button.click()
        return button.isEnabled() or name != "stop"


def is_time_key(event: QKeyEvent) -> bool:
    """Whether a key belongs to the transport; a view that scrolls leaves those alone, or one could not step while it has the focus."""
    return event.key() in _KEYS and not event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier


_KEYS = {
    Qt.Key.Key_Space: "play", Qt.Key.Key_Left: "previous", Qt.Key.Key_Comma: "previous", Qt.Key.Key_Right: "next",
    Qt.Key.Key_Period: "next", Qt.Key.Key_Home: "first", Qt.Key.Key_End: "last", Qt.Key.Key_Escape: "stop",
    Qt.Key.Key_F10: "next",
}  # fmt: skip
