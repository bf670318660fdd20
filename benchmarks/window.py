"""The real window with one of its panels and a real worker, in a home folder of its own, for benchmarks to press its buttons.

Qt draws into memory (its platform "offscreen") unless QT_QPA_PLATFORM says otherwise.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import report  # noqa: F401 - puts the program on the path
import stand_in
from PySide6.QtCore import QEventLoop, QTimer
from PySide6.QtWidgets import QApplication

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
WITHIN_S, FIRST_WORDS = 600.0, 4


@contextmanager
def image_panel(threads: int | None = None) -> Iterator[Any]:
    """The Image panel of an open window whose worker is idle."""
    with stand_in.weights(), open_panel("image", threads) as panel:
        yield panel


@contextmanager
def chat_panel(threads: int | None = None) -> Iterator[Any]:
    """The Chat panel of an open window that has loaded SmolLM2, measured its drafters, and is idle."""
    from models import catalog

    os.environ["GLASSBOX_MODELS"] = str(catalog.models_folder())  # the person's own: the home folder is another one
    if not catalog.available("smollm2"):
        raise SystemExit("SmolLM2 is not here: fetch it with `python main.py models fetch smollm2`.")
    with open_panel("chat", threads) as panel:
        yield panel


@contextmanager
def open_panel(name: str, threads: int | None = None) -> Iterator[Any]:
    """A panel of an open window whose worker is idle."""
    with tempfile.TemporaryDirectory(prefix="glassbox-benchmark-") as home:
        os.environ["GLASSBOX_HOME"] = home
        app = QApplication.instance() or QApplication(["glassbox"])
        from app import theme
        from app.collecting import Collecting
        from app.engine import Engine
        from app.main_window import MainWindow
        from app.registry import PANELS
        from app.settings import Settings

        theme.apply("light")
        left_hard: list[int] = []
        collecting, engine = Collecting(app), Engine(threads=threads)
        engine.status.connect(collecting.follow)
        main_window = MainWindow(engine, PANELS, Settings(), leave=left_hard.append)
        main_window.show()
        main_window.show_panel(name)
        try:
            wait_until_idle(main_window.engine)
            yield main_window.current_panel()
        finally:
            main_window.close()
            app.processEvents()


def let_run(seconds: float) -> None:
    """Qt's own event loop for so long."""
    loop = QEventLoop()
    QTimer.singleShot(int(seconds * 1000), loop.quit)
    loop.exec()


def wait_for(signal: Any, start: Callable[[], Any] | None = None, accept: Callable[..., bool] = lambda *_values: True) -> None:
    """Call `start` and run Qt's event loop until the signal comes with values that are accepted."""
    loop = QEventLoop()
    came: list[bool] = []

    def on_signal(*values: object) -> None:
        if accept(*values):
            came.append(True)
            loop.quit()

    signal.connect(on_signal)
    QTimer.singleShot(int(WITHIN_S * 1000), loop.quit)
    if start is not None:
        start()
    if not came:
        loop.exec()
    signal.disconnect(on_signal)
    if not came:
        raise TimeoutError(f"nothing came within {WITHIN_S:.0f} s")


def wait_until_idle(engine: Any) -> None:
    """Run until nothing has been asked of the worker for a moment: the panel asks it things shortly after every change."""
    quiet = 0
    while quiet < 3:
        let_run(0.2)
        quiet = quiet + 1 if engine.last_status.idle and engine.last_status.device and not engine.active() else 0


def write_reply(panel: Any, question: str, *, follow: bool = False, **settings: Any) -> Any:
    """Ask in a fresh conversation, with some settings changed, and run until the answer is there; the reply.

    `follow`: its attention is asked for after the first words, as by its button, and followed until its end.
    """
    panel.side_form.check.setChecked(False)
    panel.side_form.set_job(replace(panel.side_form.job(), **settings))
    panel.new_conversation()
    how: list[str] = []
    asked: list[Any] = []

    def on_grew(reply: Any) -> None:
        if follow and not asked and reply.tokens >= FIRST_WORDS:
            asked.append(reply)
            panel.messages.attention_wanted.emit(reply)

    def on_ended(_reply: Any, end: str, _what: Any) -> None:
        how.append(end)

    panel.runs.grew.connect(on_grew)
    panel.runs.ended.connect(on_ended)
    wait_for(panel.runs.ended, start=lambda: panel.commands.send(question))
    panel.runs.grew.disconnect(on_grew)
    panel.runs.ended.disconnect(on_ended)
    if how != ["done"]:
        raise RuntimeError(f"the run ended as {how}: {panel.banner.text()}")
    return panel.player.reply


def make_picture(panel: Any) -> None:
    """Press Generate and run until the picture is there."""
    how: list[str] = []
    panel.runs.ended.connect(how.append)
    wait_for(panel.runs.ended, start=panel.commands.generate)
    panel.runs.ended.disconnect(how.append)
    if how != ["done"]:
        raise RuntimeError(f"the run ended as {how}: {panel.banner.text()}")
