"""`python main.py screenshot DIR`: drive every panel on the built-in models and save one PNG a scene and theme.

A panel's ``screenshot_scenes()`` gives pairs of a name and a callable, called with the panel.  The callable may be a
generator that yields what to wait for: nothing (a moment), a number (so many seconds), or a run (until it ends or
stands still).  Each scene runs once and is pictured in both themes; one that takes too long is left out with a sentence.
Works without a display, and leaves the person's settings and gallery alone.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from app import paths
from app.protocol.errors import UserError

SIZE = (1280, 800)
MOMENT_S = 0.15
RUN_WITHIN_S = 300.0
_END = ("parked", "done", "cancelled", "failed")


def main(words: Sequence[str]) -> int:
    """The command's words, ``DIR [PANEL ...] [--scale 2]``: save the pictures into DIR; returns the exit code."""
    folder, panels, scale = parse(words)
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["QT_SCALE_FACTOR"] = str(scale)
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    with tempfile.TemporaryDirectory(prefix="glassbox-screenshots-") as home:
        before = {name: os.environ.get(name) for name in ("GLASSBOX_HOME", "GLASSBOX_MODELS")}
        os.environ["GLASSBOX_MODELS"] = str(paths.models_dir())  # fetched models are shown, all else begins empty
        os.environ["GLASSBOX_HOME"] = home
        try:
            whole, hard = _picture_all(folder, panels)
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
    if hard:  # as the window itself leaves; torch would not survive the end of Python inside a call
        sys.stdout.flush()
        os._exit(0 if whole else 1)
    return 0 if whole else 1


def parse(words: Sequence[str]) -> tuple[Path, tuple[str, ...], float]:
    """Folder, panels (none named: all) and scale from the words of the command; ``UserError`` if they make no sense."""
    from app.registry import PANELS

    known = [spec.id for spec in PANELS]
    named, scale = list(words), "1"
    if named[-2:-1] == ["--scale"]:
        *named, _, scale = named
    if not named or any(word.startswith("-") for word in named) or scale not in ("1", "1.5", "2", "3"):
        usage = "For instance: python main.py screenshot docs/screenshots --scale 2"
        raise UserError("The command screenshot needs one folder, perhaps names of panels, and perhaps --scale 1, 1.5, 2 or 3.", hint=usage)
    if unknown := [word for word in named[1:] if word not in known]:
        raise UserError(f"There is no panel named {unknown[0]}.", hint=f"Panels are {', '.join(known)}.")
    return Path(named[0]), tuple(named[1:]), float(scale)


def _picture_all(folder: Path, panels: Sequence[str]) -> tuple[bool, bool]:
    """Whether all pictures were taken in time, and whether the worker was still inside a long call at the end."""
    from PySide6.QtWidgets import QApplication

    from app import theme
    from app.engine import Engine
    from app.main_window import MainWindow
    from app.registry import PANELS
    from app.settings import Settings

    app = QApplication.instance() or QApplication(["glassbox"])
    theme.set_reduced_motion(True)
    theme.apply("light")
    hard: list[int] = []
    whole = True
    window = MainWindow(Engine(), PANELS, Settings(), leave=hard.append)
    window.resize(*SIZE)
    window.show()
    try:
        for spec in [spec for spec in PANELS if not panels or spec.id in panels]:
            window.show_panel(spec.id)
            panel = window.current_panel()
            if panel is None:
                raise UserError(f"The panel {spec.title} cannot be shown.", hint=window.banner.text())
            whole &= picture_panel(panel, spec.id, lambda name: _save_both(window, folder, name, app.processEvents), app.processEvents)
    finally:
        window.close()
    return whole, bool(hard)


def picture_panel(panel: Any, panel_id: str, save: Callable[[str], None], process_events: Callable[[], Any]) -> bool:
    """Play and save the scenes of one panel; whether all of them were in time."""
    whole = True
    for scene, prepare in panel.screenshot_scenes():
        name = "-".join(part for part in (panel_id, scene) if part)
        try:
            play(prepare(panel), process_events)
            save(name)
        except TooSlowError as slow:
            print(f"{name} is left out. {slow}", file=sys.stderr)
            whole = False
    return whole


class TooSlowError(UserError):
    """A run of a scene did not end in time."""


def play(scene: Any, process_events: Callable[[], Any]) -> None:
    """Run a scene (a generator, or what a plain function returned) to its end."""
    if not hasattr(scene, "__next__"):
        wait(None, process_events)
        return
    for wanted in scene:
        wait(wanted, process_events)


def wait(wanted: Any, process_events: Callable[[], Any]) -> None:
    """Let Qt run for a moment, for a number of seconds, or until a run has ended or stands still."""
    if hasattr(wanted, "state"):
        end = time.monotonic() + RUN_WITHIN_S
        while wanted.state not in _END and time.monotonic() < end:
            process_events()
            time.sleep(0.005)
        if wanted.state not in _END:
            raise TooSlowError(f"A run did not end within {RUN_WITHIN_S:.0f} s.", hint="Is the machine busy?")
        wanted = None
    end = time.monotonic() + (MOMENT_S if wanted is None else float(wanted))
    while time.monotonic() < end:
        process_events()
        time.sleep(0.005)


def _save_both(window: Any, folder: Path, name: str, process_events: Callable[[], Any]) -> None:
    from app import theme

    for choice in ("light", "dark"):
        theme.apply(choice)
        wait(None, process_events)
        path = folder / f"{name}-{choice}.png"
        if not window.grab().save(str(path)):
            raise UserError(f"{path} could not be written.", hint="Is there room, and may you write there?")
        print(path)
    theme.apply("light")
