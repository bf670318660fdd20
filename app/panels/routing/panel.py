"""The routing panel: text and gates at the left, tokens over pages of views, the decision about one token at the right.

The panel only joins its parts: `Runs` (the text being read), `Trainings`, `Commands` (what buttons do), `Models` (whose experts),
`Looking` (which token and layer), `Stage` (text and pages), `TokenSide` (the decision looked at), `Timeline`.
"""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QMimeData, Slot
from PySide6.QtGui import QKeyEvent, QKeySequence, QShortcut

from app.panels.base import Panel, Scene
from app.panels.errands import Errands
from app.panels.routing import scenes, state
from app.panels.routing.commands import KEY_HELP, Commands
from app.panels.routing.looking import Looking
from app.panels.routing.models import Models
from app.panels.routing.page import Page
from app.panels.routing.reading import Reading
from app.panels.routing.runs import RUNNING, Runs
from app.panels.routing.side_form import SideForm
from app.panels.routing.stage import Stage
from app.panels.routing.timeline import Timeline
from app.panels.routing.token_side import TokenSide
from app.panels.routing.training import Trainings
from app.panels.routing.wiring import wires


class RoutingPanel(Panel):
    """See which experts a mixture sends each token to, and change it."""

    panel_id = "routing"
    title = "Routing"

    def __init__(self, engine: Any, settings: Any, parent: Any = None) -> None:
        super().__init__(engine, settings, parent)
        self.errands, self.runs, self.trainings = Errands(engine, "routing", self), Runs(engine, self), Trainings(engine, self)
        self.side_form, self.stage, self.timeline, self.side = SideForm(), Stage(), Timeline(), TokenSide()
        self.commands, self.models, self.looking = Commands(self), Models(self), Looking(self)
        self._stale: set[Page] = set()
        self.arrange(self.side_form, self.stage, self.timeline, self.side)
        self.remember_splitter("stage", self.stage.split)
        self.timeline.connect_to(self.runs, self)
        self.stage.text.set_tip(self.looking.tip)
        self._connect()
        self.show_position()

    def _connect(self) -> None:
        for signal, slot in wires(self):
            signal.connect(slot)
        for keys, slot in (
            ("Ctrl+Return", self.commands.read), ("F10", self.commands.step), ("Ctrl+Up", self.looking.up),
            ("Ctrl+Down", self.looking.down), ("Esc", self.runs.stop),
        ):  # fmt: skip
            shortcut = QShortcut(QKeySequence(keys), self, activated=slot)
            shortcut.setContext(shortcut.context().WidgetWithChildrenShortcut)

    # the text ------------------------------------------------------------------------------------------------------

    @Slot(object)
    def on_began(self, reading: Reading) -> None:
        """Another text."""
        self.stage.begin(reading)
        self.side_form.gates.fit(reading.looked)
        self.side.set_layers(reading.looked.layers)
        self.side.clear()
        self.looking.set_row(min(self.looking.wanted, len(reading.looked.layers) - 1))

    @Slot(object)
    def on_grew(self, tokens: list) -> None:
        """More tokens are routed."""
        self.stage.text.append(tokens)

    @Slot()
    def on_summed(self) -> None:
        """The sums have changed: show them on the page in sight, and on the others when they come into sight."""
        self._stale = set(self.stage.all_pages)
        self.on_page()

    def show_row(self, row: int) -> None:
        """Another layer is looked at: the page in sight shows it now, the others when they come into sight."""
        for page in self.stage.all_pages:
            page.set_row(row)
        self.on_summed()

    @Slot()
    def on_page(self) -> None:
        """Another page is in sight, or what it shows has changed."""
        page = self.stage.pages.currentWidget()
        if page in self._stale:
            self._stale.remove(page)
            page.show_reading(self.runs.reading)
        self.touch()

    @Slot()
    def show_position(self) -> None:
        """Where the transport stands."""
        reading = self.runs.reading
        note = f"“{reading.text_of(reading.position - 1)}”" if reading and reading.position else ""
        self.timeline.show_position(self.runs, note)
        if self.runs.state != RUNNING:
            self.stage.text.set_shown(None)

    @Slot(str, object)
    def on_ended(self, how: str, what: Any) -> None:
        """The run is over."""
        if how == "failed":
            self.show_error(what)
            self.models.ask()

    @Slot(str)
    def tell(self, words: str) -> None:
        """A sentence about the form."""
        self.show_message("warn", words)

    # hooks of the window -------------------------------------------------------------------------------------------

    def ready(self) -> None:
        self.models.ask()

    def save_state(self) -> dict:
        return state.saved(self)

    def restore_state(self, saved: dict) -> None:
        state.restore(self, saved)

    def accept_drop(self, mime: QMimeData) -> bool:
        folder = next((path for path in state.folders_of(mime)), None)
        if folder is not None:
            self.models.use_folder(folder)
        return folder is not None

    def screenshot_scenes(self) -> list[Scene]:
        return scenes.SCENES

    def key_help(self) -> list[tuple[str, str]]:
        return KEY_HELP

    def about_to_close(self) -> None:
        self.touch()
        self.runs.stop()
        self.trainings.stop()
        super().about_to_close()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Keys that no child wanted: the transport."""
        if event.key() == 0 or not self.timeline.transport.handle_key(event):
            super().keyPressEvent(event)
