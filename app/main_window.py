"""The window: side bar of panels, top bar, pages, status bar; what it does with drops, errors, layout and closing.

Order at start: settings, window shown and painted, then `Engine.start` (torch is imported there, in the worker), then
the panel's `ready`.  Closing saves first, then gives the worker a few seconds, then leaves hard: it never hangs.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from PySide6.QtCore import QByteArray, QEvent, QMimeData, QObject, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QCloseEvent, QKeySequence, QShortcut
from PySide6.QtWidgets import (
    QApplication,
    QFrame,
    QHBoxLayout,
    QLabel,
    QMainWindow,
    QStackedWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from app import theme
from app.collecting import Collecting
from app.models_page import ModelsPage
from app.pages import KeysPage, Page, SettingsPage
from app.panels.base import Panel
from app.protocol.errors import report
from app.registry import PANELS, PanelSpec
from app.settings import Settings
from app.side_bar import SideBar
from app.widgets.error_banner import ErrorBanner
from app.widgets.focus_ring import FocusRing
from app.widgets.icons import icon
from app.widgets.status_bar import StatusBar
from app.widgets.transport import KEY_HELP

log = logging.getLogger(__name__)
NAME = "Glassbox"
LAYOUT_VERSION = 1
CLOSE_WITHIN_S = 3.0
STORAGE_ERRORS_EVERY_MS = 500
STARTUP_LOG = "GLASSBOX_STARTUP_LOG"
WINDOW_KEYS = [
    ("Alt+1 ... Alt+0", "Show a panel"),
    ("Ctrl+comma", "Settings"),
    ("? or F1", "This list of keys"),
    ("Ctrl+Q", "Leave"),
]


class MainWindow(QMainWindow):
    """Shows one panel or page at a time; panels are made when they are first shown."""

    painted = Signal()

    def __init__(
        self, engine: Any, registry: Sequence[PanelSpec], settings: Settings,
        *, leave: Callable[[int], Any] = os._exit,
    ) -> None:  # fmt: skip
        super().__init__()
        self.engine, self.settings = engine, settings
        self._registry = {spec.id: spec for spec in registry}
        self._panels: dict[str, Panel] = {}
        self._leave = leave
        self._current = ""
        self._engine_started = self._was_painted = self._closed = False
        self.setWindowTitle(NAME)
        self.setAcceptDrops(True)
        self.side_bar = SideBar(registry)
        self.banner = ErrorBanner()
        self.stack = QStackedWidget()
        self.status = StatusBar()
        self.pages: dict[str, Page] = {
            "models": ModelsPage(engine, settings), "settings": SettingsPage(settings), "keys": KeysPage(),
        }  # fmt: skip
        self._ring = FocusRing(self)
        self._build()
        self._add_keys()
        engine.status.connect(self.status.set_status)
        self.side_bar.wanted.connect(self.show_panel)
        self.status.cancel_requested.connect(self._on_cancel)
        self._errors = QTimer(self, interval=STORAGE_ERRORS_EVERY_MS)
        self._errors.timeout.connect(self._on_look_for_storage_errors)
        self._errors.start()
        self._restore_layout()
        wanted = settings.get("panel")
        self.show_panel(wanted if wanted in self._registry else next(iter(self._registry), ""))
        if settings.notice:
            self.banner.show_message("warn", settings.notice, "The old file was not deleted.")

    # building --------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        centre = QWidget()
        column = QVBoxLayout(centre)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        middle = QHBoxLayout()
        middle.setSpacing(0)
        middle.addWidget(self.side_bar)
        right = QVBoxLayout()
        right.setSpacing(0)
        right.addWidget(self.banner)
        right.addWidget(self.stack, 1)
        middle.addLayout(right, 1)
        column.addWidget(self._top_bar())
        column.addLayout(middle, 1)
        column.addWidget(self.status)
        for page in self.pages.values():
            self.stack.addWidget(page)
            page.closed.connect(self._on_page_closed)
        self.setCentralWidget(centre)
        self.setMinimumSize(800, 560)
        self.resize(1280, 800)

    def _top_bar(self) -> QFrame:
        bar = QFrame(objectName="TopBar")
        row = QHBoxLayout(bar)
        row.setContentsMargins(12, 4, 8, 4)
        row.setSpacing(4)
        name = QLabel(NAME)
        name.setProperty("role", "title")
        self._where = QLabel()
        self._where.setProperty("role", "muted")
        row.addWidget(name)
        row.addSpacing(8)
        row.addWidget(self._where, 1)
        for page, text, picture, tip in (
            ("models", "Models", "models", "The models that are here, and getting more"),
            ("settings", "Settings", "settings", "Theme, threads, device, motion (Ctrl+comma)"),
            ("keys", "", "help", "List of keys (? or F1)"),
        ):
            button = QToolButton(text=text, toolTip=tip, accessibleName=text or "Keys", objectName=f"open-{page}")
            button.setIcon(icon(picture))
            button.setProperty("page", page)
            if text:
                button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
            button.clicked.connect(self._on_page_button)
            row.addWidget(button)
        return bar

    def _add_keys(self) -> None:
        for keys, slot in (
            ("Ctrl+,", self._on_settings_key),
            ("?", self._on_keys_key),
            ("Shift+?", self._on_keys_key),
            ("F1", self._on_keys_key),
            ("Ctrl+Q", self.close),
        ):
            QShortcut(QKeySequence(keys), self, activated=slot)
        self.side_bar.add_keys(self)

    # panels and pages ------------------------------------------------------------------------------------------

    def panel(self, panel_id: str) -> Panel | None:
        """The panel, made now if it has not been shown yet; None if it cannot be loaded (a banner says why)."""
        if panel_id not in self._panels:
            try:
                made = self._registry[panel_id].load()(self.engine, self.settings)
            except Exception as error:  # a panel that fails to load must not take the others along
                log.exception("panel %s cannot be loaded", panel_id)
                self.banner.show_error(report(error))
                return None
            made.restore()
            made.handed.connect(self._on_handed)
            made.told.connect(self._on_told)
            self._panels[panel_id] = made
            self.stack.addWidget(made)
            if self._engine_started:
                made.ready()
        return self._panels[panel_id]

    def current_panel(self) -> Panel | None:
        """The panel on show, or under the page on show."""
        return self._panels.get(self._current)

    @Slot(str)
    def show_panel(self, panel_id: str) -> None:
        """Bring a panel to the front."""
        panel = self.panel(panel_id) if panel_id in self._registry else None
        if panel is None:
            return
        self._current = panel_id
        self.side_bar.show_chosen(panel_id)
        self.stack.setCurrentWidget(panel)
        panel.setFocus()
        self._where.setText(self._registry[panel_id].tip)
        self.setWindowTitle(f"{self._registry[panel_id].title} - {NAME}")
        self.settings.set("panel", panel_id)

    def show_page(self, name: str) -> None:
        """Show "models", "settings" or "keys" in the place of the panel."""
        page = self.pages[name]
        if isinstance(page, KeysPage):
            page.set_rows(self._key_rows())
        page.refresh()
        self.stack.setCurrentWidget(page)
        self._where.setText("")
        self.setWindowTitle(f"{page.accessibleName()} - {NAME}")
        page.setFocus()

    def _key_rows(self) -> list[tuple[str, ...]]:
        rows = [("everywhere", keys, what) for keys, what in WINDOW_KEYS]
        rows += [("transport", keys, what) for keys, what in KEY_HELP]
        rows += [(page.accessibleName(), keys, what) for page in self.pages.values() for keys, what in page.key_help()]
        panel = self.current_panel()
        return rows + [(panel.title, keys, what) for keys, what in panel.key_help()] if panel else rows

    @Slot(str, object)
    def _on_handed(self, panel_id: str, what: object) -> None:
        """One panel has something for another; they do not know each other."""
        self.show_panel(panel_id)
        if panel_id in self._panels:
            self._panels[panel_id].take(what)

    @Slot(str, object)
    def _on_told(self, panel_id: str, what: object) -> None:
        if panel_id in self._panels:
            self._panels[panel_id].follow(what)

    @Slot()
    def _on_page_closed(self) -> None:
        self.show_panel(self._current)

    @Slot()
    def _on_page_button(self) -> None:
        page = self.sender().property("page")
        if self.stack.currentWidget() is self.pages[page]:
            self._on_page_closed()
        else:
            self.show_page(page)

    @Slot()
    def _on_settings_key(self) -> None:
        self.show_page("settings")

    @Slot()
    def _on_keys_key(self) -> None:
        self.show_page("keys")

    @Slot()
    def _on_cancel(self) -> None:
        self.engine.cancel_all()

    def keyPressEvent(self, event) -> None:
        if event.key() == Qt.Key.Key_Escape and isinstance(self.stack.currentWidget(), Page):
            self._on_page_closed()
        else:
            super().keyPressEvent(event)

    # start -----------------------------------------------------------------------------------------------------

    def event(self, event: QEvent) -> bool:
        handled = super().event(event)
        if event.type() == QEvent.Type.Paint and not self._was_painted:
            self._was_painted = True
            QTimer.singleShot(0, self._on_painted)
        return handled

    @Slot()
    def _on_painted(self) -> None:
        _log_startup("painted")
        self.painted.emit()
        self.start_engine()

    def start_engine(self) -> None:
        """Start the worker (once) and tell the panels that runs may be submitted."""
        if not self._engine_started and not self._closed:
            self._engine_started = True
            self.engine.start()
            for panel in self._panels.values():
                panel.ready()

    # drops -----------------------------------------------------------------------------------------------------

    def dragEnterEvent(self, event) -> None:
        mime = event.mimeData()
        if mime.hasUrls() or mime.hasImage() or mime.hasText():
            event.acceptProposedAction()

    def dropEvent(self, event) -> None:
        panel, shown = self.current_panel(), self.stack.currentWidget()
        if isinstance(shown, Page):
            if shown.accept_drop(event.mimeData()):
                event.acceptProposedAction()
                return
            self._on_page_closed()
        if (panel is not None and panel.accept_drop(event.mimeData())) or self._drop_elsewhere(event.mimeData()):
            event.acceptProposedAction()
        else:
            self.banner.show_message("warn", "Nothing here can open what was dropped.", "Drop a picture, a pose file or a model.")

    def _drop_elsewhere(self, mime: QMimeData) -> bool:
        """Bring the panel to the front that has a use for what the one on show does not want."""
        endings = {Path(url.toLocalFile()).suffix.lower() for url in mime.urls() if url.isLocalFile()}
        wanted = next((spec.id for spec in self._registry.values() if spec.id != self._current and endings & set(spec.drops)), "")
        panel = self.panel(wanted) if wanted else None
        if panel is None or not panel.accept_drop(mime):
            return False
        self.show_panel(wanted)
        return True

    # errors ----------------------------------------------------------------------------------------------------

    def on_exception(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        """``sys.excepthook``: log, say it in the banner, go on."""
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
            return
        log.error("unhandled: %s", "".join(traceback.format_exception(kind, error, trace)))
        if not self._closed:
            self.banner.show_error(report(error))

    @Slot()
    def _on_look_for_storage_errors(self) -> None:
        for error in self.settings.storage.errors():
            self.banner.show_error(error)

    # layout and closing ----------------------------------------------------------------------------------------

    def _restore_layout(self) -> None:
        saved = self.settings.get("window")
        if not saved:
            return
        geometry = str(saved.get("geometry", "")).encode("ascii", "ignore")
        right_version = saved.get("version") == LAYOUT_VERSION
        if not right_version or not self.restoreGeometry(QByteArray.fromBase64(geometry)):
            log.warning("the saved window layout is not understood; the default is used")

    def save_layout(self) -> None:
        """Remember size and place of the window."""
        geometry = bytes(self.saveGeometry().toBase64()).decode("ascii")
        self.settings.set("window", {"version": LAYOUT_VERSION, "geometry": geometry})

    def closeEvent(self, event: QCloseEvent) -> None:
        event.accept()
        if self._closed:
            return
        self._closed = True
        self._errors.stop()
        self.save_layout()
        for panel in self._panels.values():
            try:
                panel.about_to_close()
            except Exception:  # closing must go on whatever a panel does
                log.exception("panel %s failed while closing", panel.panel_id)
        self.hide()
        ended = self.engine.close(CLOSE_WITHIN_S)
        saved = self.settings.storage.close(CLOSE_WITHIN_S)
        if not ended or not saved:
            log.info("the worker is inside one long call, or the disk does not answer: worker ended %s, files written %s", ended, saved)
            self._leave(0)


class _ThreadErrors(QObject):
    """Brings exceptions of other threads to the window."""

    raised = Signal(object, object, object)

    def hook(self, arguments: threading.ExceptHookArgs) -> None:
        """``threading.excepthook``."""
        self.raised.emit(arguments.exc_type, arguments.exc_value, arguments.exc_traceback)


def _log_startup(what: str) -> None:
    """One line "what seconds-since-epoch" to the file named by the environment ("-": to the terminal)."""
    target = os.environ.get(STARTUP_LOG)
    if target == "-":
        print(f"{what} {time.time():.3f}", flush=True)
    elif target:
        with open(target, "a", encoding="utf-8") as file:
            file.write(f"{what} {time.time():.3f}\n")


def run_window(argv: Sequence[str]) -> int:
    """Open the window and run until it is closed; returns the exit code."""
    app = QApplication.instance() or QApplication(list(argv))
    app.setApplicationName(NAME)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl+C in the terminal leaves; all is saved on change
    collecting = Collecting(app)
    settings = Settings()
    theme.set_reduced_motion(settings.get("reduced_motion"))
    theme.apply(settings.get("theme"))
    from app.engine import Engine

    engine = Engine(threads=settings.get("threads") or None, device=settings.get("device"))
    engine.status.connect(collecting.follow)
    window = MainWindow(engine, PANELS, settings)
    sys.excepthook = window.on_exception
    threads = _ThreadErrors()
    threads.raised.connect(window.on_exception)
    threading.excepthook = threads.hook
    window.show()
    return app.exec()
