"""What the four pages have in common: a form, a view, a place on the time axis, and words about what is looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QVBoxLayout, QWidget

from app.panels.replay import Replay
from app.protocol.payloads import Image
from app.widgets.fact_rows import Row

if TYPE_CHECKING:
    from app.panels.tiles.panel import TilesPanel


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a page stands: `state` as the transport bar knows it."""

    noun: str = "step"
    state: str = "idle"
    index: int = 0
    total: int = 0
    note: str = ""
    back: bool = False
    forward: bool = False


@dataclass(frozen=True, kw_only=True)
class Told:
    """What the inspector says."""

    name: str
    rows: tuple[Row, ...] = ()
    equation: str = ""
    explanation: str = ""
    reference: str = ""


class TilesPage(QObject):
    """A page; `form` and `view` are made by the page itself."""

    moved = Signal()
    """The place or the words have changed."""
    title, tip = "", ""

    def __init__(self, panel: TilesPanel, every_ms: int = 350) -> None:
        super().__init__(panel)
        self.panel = panel
        self.form: QWidget = QWidget()
        self.view: QWidget = QWidget()
        self.stale = True
        """What is shown belongs to another flow or picture."""
        self.replay = Replay(self, every_ms)
        self.replay.moved.connect(self.show_place)
        self.replay.moved.connect(self.moved)

    def appear(self) -> None:
        """The page is in sight: ask for what it lacks."""
        if self.stale:
            self.stale = False
            self.ask()

    def ask(self) -> None:
        """Compute what is shown."""

    def show_place(self) -> None:
        """Draw the place that the replay stands at."""

    def marks(self) -> dict[int, str]:
        """Which real pictures are chosen."""
        return {}

    def pick(self, number: int) -> None:
        """A real picture was clicked."""

    def place(self) -> Place:
        """For the transport bar."""
        return self.replayed("step")

    def replayed(self, noun: str, note: str = "") -> Place:
        """The place of the replay."""
        at, count = self.replay.index, self.replay.count
        return Place(noun=noun, state=self.replay.state, index=at, total=count, note=note, back=at > 1, forward=at < count)

    def told(self) -> Told:
        """For the inspector."""
        return Told(name=self.title)

    def key(self, name: str) -> None:
        """A button of the transport bar."""
        getattr(self.replay, {"next": "forward"}.get(name, name))()

    def save(self) -> dict[str, Any]:
        """What to remember."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Take it up again."""


def under(*widgets: QWidget, spacing: int = 8) -> QWidget:
    """Widgets under one another."""
    holder, box = QWidget(), QVBoxLayout()
    holder.setLayout(box)
    box.setContentsMargins(0, 0, 0, 0)
    box.setSpacing(spacing)
    for widget in widgets:
        box.addWidget(widget)
    return holder


def cut(sheet: Image, number: int, side: int, label: str = "") -> Image:
    """One tile of a sheet, counted along the rows."""
    row, column = divmod(number, sheet.width // side)
    return Image(sheet.pixels[row * side : (row + 1) * side, column * side : (column + 1) * side], label=label)
