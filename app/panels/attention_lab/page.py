"""What the four pages of the lab have in common: a form, a view, a place on the time axis, and words about what is looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QScrollArea, QVBoxLayout, QWidget

from app.panels.replay import Replay
from app.widgets.fact_rows import Row
from app.widgets.scrolled import scrolled

if TYPE_CHECKING:
    from app.panels.attention_lab.panel import AttentionLabPanel

MARGIN, SPACING = 12, 8


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a page stands: `state` as the transport bar knows it."""

    noun: str = "step"
    state: str = "idle"
    index: int = 0
    total: int = 0
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Told:
    """What the inspector says."""

    name: str = ""
    rows: tuple[Row, ...] = ()
    equation: str = ""
    explanation: str = ""
    reference: str = ""


class LabPage(QObject):
    """A page; `form` and `view` are made by the page itself."""

    moved = Signal()
    """The place or the words have changed."""
    title, tip = "", ""
    takes_head = True

    def __init__(self, lab: AttentionLabPanel) -> None:
        super().__init__(lab)
        self.lab = lab
        self.form: QWidget = QWidget()
        self.view: QWidget = QWidget()
        self.stale = False
        """Another head was chosen while the page was out of sight."""
        self.replay = Replay(self)
        self.replay.moved.connect(self.moved)

    def show_first(self) -> None:
        """The page comes into sight."""

    def appear(self) -> None:
        """The page is in sight: what it shows must belong to the chosen head."""
        if self.stale:
            self.stale = False
            self.head_changed()
        else:
            self.show_first()

    def head_changed(self) -> None:
        """Another q, k, v is chosen."""

    def place(self) -> Place:
        """For the transport bar."""
        return Place()

    def told(self) -> Told:
        """For the inspector."""
        return Told()

    def save(self) -> dict[str, Any]:
        """What to remember."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Take it up again."""

    def key(self, name: str) -> str:
        """The replay's move that belongs to a button of the transport bar."""
        getattr(self.replay, {"next": "forward"}.get(name, name))()
        return name


def column(*widgets: QWidget) -> QScrollArea:
    """Widgets under one another in a scrolling column."""
    inside, layout = QWidget(), QVBoxLayout()
    inside.setLayout(layout)
    layout.setContentsMargins(MARGIN, SPACING, MARGIN, MARGIN)
    layout.setSpacing(SPACING)
    for widget in widgets:
        layout.addWidget(widget)
    layout.addStretch(1)
    return scrolled(inside)
