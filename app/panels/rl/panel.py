"""The panel of reinforcement learning: what is trained at the left, agent and curves in the middle, maps and words at the right.

The panel only joins its parts: `Trainings` (runs and their columns), `Looking` (the time machine), `Setups` (presets and checks), `Library`
(runs on the disk), `Commands` and `RunWishes` (what buttons do), `Drawing` (when what is drawn), `Stage`, `SideView`, `Timeline`.
"""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QMimeData, QSize, Slot
from PySide6.QtGui import QHideEvent, QKeyEvent, QKeySequence, QShortcut, QShowEvent

from app.panels.base import Panel, Scene
from app.panels.errands import Errands
from app.panels.rl import scenes, state
from app.panels.rl.commands import KEY_HELP, Commands
from app.panels.rl.drawing import Drawing
from app.panels.rl.library import Library
from app.panels.rl.looking import Looking
from app.panels.rl.run_wishes import RunWishes
from app.panels.rl.setups import Setups
from app.panels.rl.side_form import SideForm
from app.panels.rl.side_view import SideView
from app.panels.rl.stage import Stage
from app.panels.rl.timeline import Timeline
from app.panels.rl.trainings import Trainings
from app.panels.rl.wiring import wires
from app.protocol.rl import RunSetup


class RlPanel(Panel):
    """Train agents, watch them learn, and go back along the curve."""

    panel_id = "rl"
    title = "Reinforcement learning"

    def __init__(self, engine: Any, settings: Any, parent: Any = None) -> None:
        super().__init__(engine, settings, parent)
        self.wanted: RunSetup | None = None
        """The setup of the session before, until its preset is there."""
        self.wanted_seeds, self.wanted_runs = "", []
        self.errands, self.trainings, self.looking = Errands(engine, "rl", self), Trainings(engine, self), Looking(self)
        self.side_form, self.stage = SideForm(), Stage(self.looking.player, self, self.isVisible)
        self.timeline, self.side = Timeline(), SideView()
        self.setups, self.library, self.drawing = Setups(self), Library(self), Drawing(self)
        self.commands, self.wishes = Commands(self), RunWishes(self)
        self.arrange(self.side_form, self.stage, self.timeline, self.side, widths=(292, 268))
        self.remember_splitter("rows", self.stage.rows)
        self.remember_splitter("across", self.stage.across)
        self.remember_splitter("side", self.side.split)
        for signal, slot in wires(self):
            signal.connect(slot)
        for keys, slot in (
            ("Ctrl+Return", self.commands.train), ("F10", self.commands.step), ("Shift+Space", self.looking.player.toggle),
            ("Esc", self.commands.stop),
        ):  # fmt: skip
            shortcut = QShortcut(QKeySequence(keys), self, activated=slot)
            shortcut.setContext(shortcut.context().WidgetWithChildrenShortcut)
        self.drawing.draw()
        self.drawing.place()

    @Slot(str)
    def tell(self, words: str) -> None:
        """A sentence about the form."""
        self.show_message("warn", words)

    # hooks of the window -------------------------------------------------------------------------------------------

    def ready(self) -> None:
        self.setups.ask(self.wanted, self.wanted_seeds)
        self.library.refresh()
        self.wishes.reopen(self.wanted_runs)

    def save_state(self) -> dict:
        return state.saved(self)

    def restore_state(self, saved: dict) -> None:
        state.restore(self, saved)

    def accept_drop(self, mime: QMimeData) -> bool:
        folder = state.folder_of(mime)
        if folder:
            self.wishes.open_folder(folder)
        return bool(folder)

    def screenshot_scenes(self) -> list[Scene]:
        return scenes.SCENES

    def key_help(self) -> list[tuple[str, str]]:
        return KEY_HELP

    def about_to_close(self) -> None:
        self.touch()
        self.looking.player.pause()
        self.stage.compare.player.pause()
        self.trainings.stop()
        super().about_to_close()

    def sizeHint(self) -> QSize:
        """Many plots each wish for much room; together they are content with less, and leave the side bar its width."""
        return self.minimumSizeHint()

    def showEvent(self, event: QShowEvent) -> None:
        """In sight again: what was told meanwhile is drawn at once, and the agent is watched."""
        super().showEvent(event)
        self.commands.watch()
        self.stage.agent.show_training(self.trainings.shown if self.looking.at is None else None)
        self.side.show_training(self.trainings.shown)
        self.stage.show_inside(self.trainings.shown)
        self.drawing.draw()

    def hideEvent(self, event: QHideEvent) -> None:
        """Out of sight: training goes on, but nobody watches."""
        super().hideEvent(event)
        self.drawing.rest()
        self.commands.watch()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Keys that no child wanted: the transport."""
        if event.key() == 0 or not self.timeline.transport.handle_key(event):
            super().keyPressEvent(event)
