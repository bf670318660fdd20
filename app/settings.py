"""What is remembered between sessions: choices, presets, the state of every panel.

One JSON file holds choices and presets, one file a panel its state.  Every change is handed to the I/O thread at once
and written atomically there, so a crash loses nothing.  A file that cannot be read is kept beside itself as
``.broken``; the program starts with defaults and says so in a sentence.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal

from app import paths
from app.storage import Storage

log = logging.getLogger(__name__)
VERSION = 1
DEFAULTS: dict[str, Any] = {
    "theme": "system",  # system, light, dark
    "threads": 0,  # of the worker; 0 = let torch choose
    "device": "auto",  # auto, cpu, cuda, mps
    "reduced_motion": False,
    "panel": "",  # the panel on show
    "window": {},  # geometry and layout, see main_window
    "splitters": {},  # by panel and name, see panels.base
}
_CHOICES = {"theme": ("system", "light", "dark"), "device": ("auto", "cpu", "cuda", "mps")}


class Settings(QObject):
    """Values by key, presets by job, states by panel; all of it JSON-able."""

    changed = Signal(str)

    def __init__(self, folder: Path | None = None, storage: Storage | None = None) -> None:
        super().__init__()
        self.folder = paths.config_dir() if folder is None else Path(folder)
        self.storage = Storage() if storage is None else storage
        self.notice = ""
        content, self.notice = read_versioned(self.path)
        self._values = _checked(content.get("values", {}))
        presets = content.get("presets", {})
        self._presets: dict[str, dict[str, dict]] = presets if isinstance(presets, dict) else {}
        self._panels: dict[str, dict] = {}
        self._reading = self.storage.call(_read_panels, self.folder / "panels")

    @property
    def path(self) -> Path:
        """The file with choices and presets."""
        return self.folder / "settings.json"

    def get(self, key: str, default: Any = None) -> Any:
        """A value, else ``default``, else the program's default."""
        return self._values.get(key, DEFAULTS.get(key) if default is None else default)

    def set(self, key: str, value: Any) -> None:
        """Remember a value; it is on its way to the disk when this returns."""
        if self._values.get(key) != value or key not in self._values:
            self._values[key] = value
            self._write()
            self.changed.emit(key)

    def presets(self, job_name: str) -> dict[str, dict]:
        """Presets of a job by name, each the job's fields as a dict."""
        return dict(self._presets.get(job_name, {}))

    def set_preset(self, job_name: str, name: str, fields: dict | None) -> None:
        """Keep a preset, or remove it with ``None``."""
        kept = self._presets.setdefault(job_name, {})
        if fields is None:
            kept.pop(name, None)
        else:
            kept[name] = dict(fields)
        self._write()
        self.changed.emit(f"presets/{job_name}")

    def panel(self, panel_id: str) -> dict:
        """The state a panel saved; {} if there is none or it could not be read."""
        if panel_id in self._panels:
            return dict(self._panels[panel_id])
        saved, broken = self._reading.result()
        if panel_id in broken:
            self.notice = broken[panel_id]
        return dict(saved.get(panel_id, {}))

    def set_panel(self, panel_id: str, state: dict) -> None:
        """Remember the state of a panel. The dict must not be changed afterwards: the I/O thread encodes it."""
        self._panels[panel_id] = state
        content = {"version": VERSION, "state": state}
        self.storage.write(self.folder / "panels" / f"{panel_id}.json", lambda: encode(content))

    def flush(self, seconds: float = 3.0) -> bool:
        """Wait until all is on the disk; False if that takes longer."""
        return self.storage.flush(seconds)

    def _write(self) -> None:
        content = encode({"version": VERSION, "values": self._values, "presets": self._presets})
        self.storage.write(self.path, content)


def encode(content: dict) -> bytes:
    """JSON as it is written here."""
    return json.dumps(content, ensure_ascii=False, indent=1).encode("utf-8")


def read_versioned(path: Path) -> tuple[dict, str]:
    """The content of a settings file, and a sentence if it had to be put aside ({}: no file, or unreadable)."""
    try:
        content = json.loads(path.read_bytes())
        if not isinstance(content, dict) or not isinstance(content.get("version"), int):
            raise ValueError("no version in it")
        if content["version"] > VERSION:
            raise ValueError(f"version {content['version']} is newer than {VERSION}")
    except FileNotFoundError:
        return {}, ""
    except (OSError, ValueError, RecursionError) as error:
        return {}, _put_aside(path, error)
    return content, ""


def _put_aside(path: Path, error: Exception) -> str:
    log.warning("%s could not be read: %s", path.name, error)
    aside = path.with_name(f"{path.name}.broken")
    try:
        os.replace(path, aside)
    except OSError as second:
        log.warning("%s could not be renamed: %s", path.name, second)
        return f"{path.name} could not be read; Glassbox starts with defaults."
    return f"{path.name} could not be read and was kept as {aside.name}; Glassbox starts with defaults."


def _read_panels(folder: Path) -> tuple[dict[str, dict], dict[str, str]]:
    """States and sentences about broken files, by panel; runs in the I/O thread."""
    states, broken = {}, {}
    for path in sorted(folder.glob("*.json")):
        content, sentence = read_versioned(path)
        if sentence:
            broken[path.stem] = sentence
        elif isinstance(content.get("state"), dict):
            states[path.stem] = content["state"]
    return states, broken


def _checked(values: Any) -> dict[str, Any]:
    """Values of the right type; what is wrong falls back to its default."""
    if not isinstance(values, dict):
        return {}
    kept = {}
    for key, value in values.items():
        default = DEFAULTS.get(key)
        right_type = key not in DEFAULTS or type(value) is type(default)
        if right_type and value in _CHOICES.get(key, (value,)) and not (key == "threads" and value < 0):
            kept[key] = value
        else:
            log.warning("setting %s has the unusable value %r", key, value)
    return kept
