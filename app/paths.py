"""Where things lie: what ships with the program, and the user's own folders.

`GLASSBOX_HOME` puts all of the user's folders under one place (tests and portable use); `GLASSBOX_MODELS` names
the folder of fetched models alone, for instance on a larger disk.
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

APP_NAME = "Glassbox"
ROOT = Path(__file__).resolve().parent.parent
ASSETS = ROOT / "assets"
WEIGHTS = ASSETS / "weights"


def data_dir() -> Path:
    """Results, drawings, imported models; made if missing."""
    return _folder("data", platformdirs.user_data_dir)


def config_dir() -> Path:
    """Settings and presets; made if missing."""
    return _folder("config", platformdirs.user_config_dir)


def cache_dir() -> Path:
    """What can be made again; made if missing."""
    return _folder("cache", platformdirs.user_cache_dir)


def gallery_dir() -> Path:
    """Pictures kept across restarts; made if missing."""
    return _made(data_dir() / "gallery")


def models_dir() -> Path:
    """Models that were fetched, and the list of those the person added; made if missing.

    `models.catalog.models_folder` finds the same folder without this module (a test compares them).
    """
    named = os.environ.get("GLASSBOX_MODELS")
    return _made(Path(named) if named else data_dir() / "models")


def _folder(name: str, default: object) -> Path:
    home = os.environ.get("GLASSBOX_HOME")
    return _made(Path(home) / name if home else Path(default(APP_NAME, appauthor=False)))


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
