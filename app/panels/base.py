"""What every panel has: an engine, settings, a banner, a remembered state, drops, keys and scenes for screenshots.

A panel overrides ``save_state`` and ``restore_state`` and calls ``touch()`` when something changed; the state is then
saved a moment later, so that a crash loses nothing.  It owns its views and folds the events of its runs into them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from PySide6.QtCore import QBuffer, QByteArray, QIODevice, QMimeData, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QFileDialog, QSplitter, QVBoxLayout, QWidget

from app.protocol.errors import ErrorReport, UserError
from app.widgets.error_banner import ErrorBanner

log = logging.getLogger(__name__)
SAVE_AFTER_MS = 400
FORM_WIDTH, INSPECTOR_WIDTH = 300, 260
Scene = tuple[str, Callable[["Panel"], Any]]


class Panel(QWidget):
    """Base of all panels; fill ``self.body``."""

    handed = Signal(str, object)
    """Another panel's id, and what it should show: the window brings that panel to the front and lets it `take` that."""
    told = Signal(str, object)
    """The same about something handed over before that has grown: the other panel stays where it is, and may `follow`."""
    panel_id = ""
    title = ""

    def __init__(self, engine: Any, settings: Any, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.engine = engine
        self.settings = settings
        self.setAccessibleName(self.title)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.setSpacing(0)
        self.banner = ErrorBanner(self)
        self.body = QVBoxLayout()
        self.body.setContentsMargins(0, 0, 0, 0)
        self.body.setSpacing(0)
        outer.addWidget(self.banner)
        outer.addLayout(self.body, 1)
        self._saver = QTimer(self, singleShot=True, interval=SAVE_AFTER_MS)
        self._saver.timeout.connect(self.save_now)
        self._splitters: dict[str, QSplitter] = {}
        self._split_saver = QTimer(self, singleShot=True, interval=SAVE_AFTER_MS)
        self._split_saver.timeout.connect(self.save_splitters)

    # layout ----------------------------------------------------------------------------------------------------

    def arrange(
        self, form: QWidget, hero: QWidget, timeline: QWidget, inspector: QWidget, *,
        widths: tuple[int, int] = (FORM_WIDTH, INSPECTOR_WIDTH),
    ) -> None:  # fmt: skip
        """The standard layout: form | hero over timeline | inspector, with splitters that are remembered."""
        middle = QWidget()
        column = QVBoxLayout(middle)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(hero, 1)
        column.addWidget(timeline)
        split = QSplitter(Qt.Orientation.Horizontal)
        for widget in (form, middle, inspector):
            split.addWidget(widget)
        split.setStretchFactor(1, 1)
        split.setSizes([widths[0], 700, widths[1]])
        self.body.addWidget(split, 1)
        self.remember_splitter("columns", split)

    def remember_splitter(self, name: str, splitter: QSplitter) -> None:
        """Restore the sizes of a splitter and save them when the person drags it."""
        splitter.setHandleWidth(5)
        splitter.setChildrenCollapsible(False)
        saved = self.settings.get("splitters").get(f"{self.panel_id}/{name}", "")
        if saved and not splitter.restoreState(QByteArray.fromBase64(str(saved).encode("ascii", "ignore"))):
            log.warning("panel %s: the saved layout of %s is not understood", self.panel_id, name)
        self._splitters[name] = splitter
        splitter.splitterMoved.connect(self._on_splitter_moved)

    @Slot(int, int)
    def _on_splitter_moved(self, _position: int, _index: int) -> None:
        self._split_saver.start()

    @Slot()
    def save_splitters(self) -> None:
        """Hand the sizes of all remembered splitters to the settings."""
        sizes = {
            f"{self.panel_id}/{name}": bytes(splitter.saveState().toBase64()).decode("ascii")
            for name, splitter in self._splitters.items()
        }
        self.settings.set("splitters", {**self.settings.get("splitters"), **sizes})

    # state -----------------------------------------------------------------------------------------------------

    def save_state(self) -> dict:
        """What to remember, as JSON-able values."""
        return {}

    def restore_state(self, state: dict) -> None:
        """Take up what ``save_state`` gave in an earlier session; may raise on nonsense."""

    def touch(self) -> None:
        """Say that the state changed: it is saved a moment from now."""
        self._saver.start()

    @Slot()
    def save_now(self) -> None:
        """Hand the state to the settings at once."""
        self._saver.stop()
        self.settings.set_panel(self.panel_id, self.save_state())

    def restore(self) -> None:
        """Restore what was saved; a state that cannot be read is left aside with a sentence."""
        state = self.settings.panel(self.panel_id)
        if not state:
            return
        try:
            self.restore_state(state)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, UserError) as error:
            log.warning("panel %s: saved state not understood: %r", self.panel_id, error)
            self.show_message(
                "warn", "The state of this panel could not be restored.", "It starts with its defaults instead."
            )

    # messages --------------------------------------------------------------------------------------------------

    def show_error(self, error: UserError | ErrorReport | Exception | str) -> None:
        """Show an error in the panel's banner."""
        self.banner.show_error(error)

    def show_message(
        self, kind: str, text: str, hint: str = "", action: str = "", callback: Callable[[], None] | None = None
    ) -> None:
        """Show a sentence in the panel's banner: kind "info", "warn" or "error"."""
        self.banner.show_message(kind, text, hint, action, callback)

    @Slot(str, object)
    def save_plot(self, kind: str, content: Any) -> None:
        """Ask where, then write a plot on the I/O thread; `kind` "png" or "csv" and content as a plot's `save_requested` gives them."""
        path, _ = QFileDialog.getSaveFileName(self, "Save the plot", f"{self.panel_id}.{kind}", f"*.{kind}")
        if path:
            path = path if path.lower().endswith(f".{kind}") else f"{path}.{kind}"
            self.settings.storage.write(path, content if kind == "csv" else partial(_png, content))
            self.show_message("info", f"Saved as {path}.")

    # hooks of the window ---------------------------------------------------------------------------------------

    def ready(self) -> None:
        """Called once, when the window is painted and the worker may start: submit first runs here."""

    def accept_drop(self, mime: QMimeData) -> bool:
        """Take something dropped on the window; False if it is nothing for this panel."""
        return False

    def take(self, what: object) -> None:
        """Show what another panel has handed over."""

    def follow(self, what: object) -> None:
        """What was handed over has grown."""

    def screenshot_scenes(self) -> list[Scene]:
        """Pairs of a name and a callable that prepares the panel for a picture (`app.screenshots` has the rules)."""
        return [("", _nothing)]

    def key_help(self) -> list[tuple[str, str]]:
        """The keys of this panel for the "?" page: (keys, what they do)."""
        return []

    def about_to_close(self) -> None:
        """Called before the engine closes; save what is not yet saved."""
        if self._split_saver.isActive():
            self.save_splitters()
        if self._saver.isActive():
            self.save_now()


def _png(image: QImage) -> bytes:
    """Encode a plot; called on the I/O thread."""
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    image.save(buffer, "PNG")
    return buffer.data().data()


def _nothing(_panel: Panel) -> None:
    """The scene of a panel that shows itself as it starts."""
