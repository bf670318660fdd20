"""What the program remembers of models: those a person added, and what the last check of each file said.

It lies in `models.json` in the model folder. A model added by path is an entry with that path, its file stays where it is; one that was
fetched or copied is `owned`: its files lie in the model folder and may be deleted. A check counts as long as the files have the sizes and
times they had then.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from app.storage import write_now

FILE = "models.json"
VERSION = 1
MAX_BYTES = 4 * 2**20
PREFIX = "language:"
"""Key of a language model by path: the prefix and the absolute path."""
FILE_SUFFIXES = (".safetensors", ".gguf", ".json", ".txt", ".jinja")
"""What may belong to a model; nothing else is fetched or copied."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A model that a person added. `facts` are pairs of words about its inside."""

    path: str
    title: str
    licence: str = ""
    source: str = ""
    owned: bool = False
    facts: tuple[tuple[str, str], ...] = ()
    digests: tuple[tuple[str, str], ...] = ()
    """File name and digest ("sha256:…", "git:…") where they are known."""

    @property
    def key(self) -> str:
        """Its name in the catalogue."""
        return PREFIX + self.path


@dataclass(frozen=True, kw_only=True)
class Check:
    """What a check found: `sentence` says what is wrong, empty if nothing is."""

    stamp: str
    at: float
    sentence: str = ""
    hint: str = ""


class Shelf:
    """The entries and checks of one model folder, read when it is made and written at each change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notice = ""
        self._entries: dict[str, Entry] = {}
        self._checks: dict[str, Check] = {}
        self._read()

    @property
    def path(self) -> Path:
        """The file it lies in."""
        return self.folder / FILE

    @property
    def entries(self) -> list[Entry]:
        """All models that were added, in that order."""
        return list(self._entries.values())

    def find(self, key: str) -> Entry | None:
        """The entry of that key."""
        return self._entries.get(key)

    def add(self, entry: Entry) -> None:
        """Remember a model, in the place of an older entry of the same path."""
        self._entries[entry.key] = entry
        self._checks.pop(entry.key, None)
        self._write()

    def drop(self, key: str) -> None:
        """Forget a model and its check."""
        self._entries.pop(key, None)
        self._checks.pop(key, None)
        self._write()

    def note_check(self, key: str, files: list[Path], sentence: str = "", hint: str = "") -> None:
        """Remember what a check of these files said."""
        self._checks[key] = Check(stamp=stamp(files), at=time.time(), sentence=sentence, hint=hint)
        self._write()

    def check_of(self, key: str, files: list[Path]) -> Check | None:
        """The last check, if the files are still those that were checked."""
        check = self._checks.get(key)
        return check if check and check.stamp == stamp(files) else None

    def _read(self) -> None:
        try:
            if self.path.stat().st_size > MAX_BYTES:
                raise ValueError("too large")
            content = json.loads(self.path.read_bytes())
            if content["version"] != VERSION:
                raise ValueError(f"version {content['version']}")
            entries = [_made(Entry, row) for row in content["models"]]
            self._checks = {str(key): _made(Check, row) for key, row in content["checks"].items()}
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self._put_aside()
            return
        self._entries = {entry.key: entry for entry in entries}

    def _put_aside(self) -> None:
        aside = self.path.with_name(f"{FILE}.broken")
        try:
            os.replace(self.path, aside)
        except OSError:
            self.notice = f"The list of added models ({self.path}) cannot be read."
        else:
            self.notice = f"The list of added models could not be read and was kept as {aside.name}; add them again."

    def _write(self) -> None:
        content = {
            "version": VERSION,
            "models": [asdict(entry) for entry in self._entries.values()],
            "checks": {key: asdict(check) for key, check in self._checks.items()},
        }
        write_now(self.path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def _made(cls: type, row: dict[str, Any]) -> Any:
    """An `Entry` or `Check` from JSON; TypeError or ValueError if the row is no such thing."""
    kinds = {"str": str, "bool": bool, "float": int | float}
    values = {}
    for item in fields(cls):
        if item.name not in row:
            continue
        value = row[item.name]
        if item.type in kinds and not isinstance(value, kinds[item.type]):
            raise TypeError(f"{item.name} is {value!r}")
        values[item.name] = value if item.type in kinds else tuple((str(name), str(words)) for name, words in value)
    return cls(**values)


def stamp(files: list[Path]) -> str:
    """Names, sizes and times of files: as long as it is the same, so are they."""
    parts = []
    for path in sorted(files):
        try:
            about = path.stat()
        except OSError:
            parts.append(f"{path.name}:gone")
        else:
            parts.append(f"{path.name}:{about.st_size}:{about.st_mtime_ns}")
    return " ".join(parts)


def files_of(path: Path) -> list[Path]:
    """The files of a model: itself, or what may belong to a model directly inside its folder."""
    if path.is_dir():
        return sorted(entry for entry in path.iterdir() if entry.suffix.lower() in FILE_SUFFIXES and entry.is_file())
    return [path] if path.is_file() else []


def size_of(files: list[Path]) -> int:
    """Bytes of all files together."""
    return sum(path.stat().st_size for path in files if path.exists())

