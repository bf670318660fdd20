"""The folder of a run on the disk, written so that a crash at any moment loses seconds at most.

run.json            setup, state, how far it is; replaced as a whole
metrics.csv         a row an update (thinned, if there are very many), stable-baselines3's names; appended to
evaluations.csv     a row an evaluation
episodes.csv        step at the end, return, length
changes.csv         knobs turned
checkpoint.safetensors   the whole run, replaced as a whole
policies/           policy and critic at moments spread over the run, at most `MOST_POLICIES` and `MOST_BYTES`
result.json         when it has ended
What was appended after the last checkpoint is cut off when a run is resumed: rows and checkpoint agree then.
"""

from __future__ import annotations

import csv
import datetime
import json
import math
import os
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as tensor_bytes
from torch import Tensor, nn

from app import paths
from app.protocol import rl as told
from app.protocol.errors import UserError
from app.storage import write_now
from models.rl.errors import RLError
from models.rl.snapshots import Snapshot

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
    import msvcrt

MOST_POLICIES = 200
MOST_BYTES = 128 * 2**20
METRICS, EVALS, EPISODES, CHANGES = "metrics.csv", "evaluations.csv", "episodes.csv", "changes.csv"
CHECKPOINT, CARD, POLICIES = "checkpoint.safetensors", "run.json", "policies"
FIRST = ("update", "time/total_timesteps", "time/time_elapsed")
EPISODE_COLUMNS = ("timesteps", "return", "length")
CHANGE_COLUMNS = ("timesteps", "name", "before", "after")
ROOM = "Make room, then resume the run."
TARGETS = "_target"
"""Networks whose names end so are not kept in policies/."""
LOCK = "lock"


def root_of(folder: str) -> Path:
    """Where run folders lie."""
    return Path(folder) if folder else paths.data_dir() / "rl"


def find(run: str, folder: str = "") -> Path:
    """The folder of a run, by its path or by its name in the list; UserError if there is none."""
    if not run:
        raise UserError("No run is named.", hint="Choose one of the list of runs.")
    for path in (root_of(folder) / run, Path(run)):
        if (path / CARD).is_file():
            return path
    raise UserError(f"There is no run {run[:80]!r}.", hint="The list of runs shows those that are kept.")


def new(root: Path, setup: told.RunSetup) -> RunFolder:
    """A fresh folder, named after what runs in it."""
    started = datetime.datetime.now()
    stem = re.sub(r"[^A-Za-z0-9._-]", "-", f"{setup.algo}-{setup.env}-seed{setup.seed}-{started:%Y%m%d-%H%M%S}")
    for number in range(1, 1000):
        path = root / (stem if number == 1 else f"{stem}-{number}")
        try:
            path.mkdir(parents=True, exist_ok=False)
        except FileExistsError:
            continue
        except OSError as error:
            raise UserError(f"The folder {root} cannot be used: {error.strerror}.", hint="Choose another folder.") from error
        return RunFolder(path, {"setup": told.setup_text(setup), "started": f"{started:%Y-%m-%d %H:%M}", "state": "running"})
    raise UserError(f"There are too many runs of this second in {root}.", hint="Try again.")


def opened(path: Path) -> RunFolder:
    """A folder that is there."""
    try:
        facts = json.loads((path / CARD).read_text("utf-8"))
        told.parse_setup(facts["setup"])
        float(facts.get("timesteps", 0))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"The run {path.name} is damaged: run.json cannot be read.", hint="Delete it, or choose another run.") from error
    return RunFolder(path, facts)


class RunFolder:
    """One run's files; written by its runner alone."""

    def __init__(self, path: Path, facts: dict[str, Any]) -> None:
        self.path, self.facts = path, facts
        self.metrics, self.evals = Table(path / METRICS, FIRST), Table(path / EVALS, FIRST)
        self.episodes, self.changes = Table(path / EPISODES, EPISODE_COLUMNS), Table(path / CHANGES, CHANGE_COLUMNS)
        self.shelf = Shelf(path / POLICIES)

    @property
    def setup(self) -> told.RunSetup:
        return told.parse_setup(self.facts["setup"])

    def say(self, **facts: Any) -> None:
        """Change run.json."""
        self.facts |= facts
        write_now(self.path / CARD, json.dumps(self.facts, indent=1, ensure_ascii=False) + "\n")

    def save(self, snapshot: Snapshot) -> None:
        """Replace the checkpoint; everything appended before is on the disk by then."""
        for table in (self.metrics, self.evals, self.episodes, self.changes):
            table.flush()
        write_now(self.path / CHECKPOINT, tensor_file(snapshot.tensors, {"glassbox": json.dumps(snapshot.facts)}))
        self.say(timesteps=snapshot.facts["timesteps"])

    def cut(self, timesteps: int) -> None:
        """Forget what was told after a moment."""
        self.metrics.cut(1, timesteps)
        self.evals.cut(1, timesteps)
        self.episodes.cut(0, timesteps)
        self.changes.cut(0, timesteps)
        self.shelf.cut(timesteps)

    def card(self) -> told.RunCard:
        """As a row of the list."""
        setup, facts = self.setup, self.facts
        return told.RunCard(
            run=self.path.name, folder=str(self.path), algo=setup.algo, env=setup.env, seed=setup.seed, total=setup.total,
            timesteps=int(facts.get("timesteps", 0)), state=self.state(), eval_mean=facts.get("eval_mean"), eval_std=facts.get("eval_std"),
            setup=facts["setup"], started=str(facts.get("started", "")), sentence=str(facts.get("sentence", "")),
        )  # fmt: skip

    def lamps(self) -> tuple[told.LampView, ...]:
        """As they stood when the run was saved last."""
        return tuple(told.LampView(*map(str, lamp)) for lamp in self.facts.get("lamps", ()) if len(lamp) == 3)

    def state(self) -> told.State:
        """What run.json says; a run that says it is running, and that nobody holds, was interrupted."""
        state = self.facts.get("state")
        if state != "running":
            return state if state in ("finished", "stopped", "failed") else "interrupted"
        return "running" if is_held(self.path) else "interrupted"


def hold(path: Path) -> IO[bytes]:
    """Take a run's folder for oneself until the file returned is closed, or the process ends in whatever way; UserError if it is taken."""
    file = open(path / LOCK, "ab")
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    except OSError as error:
        file.close()
        raise UserError(f"The run {path.name} is going on.", hint="Stop it first.") from error
    return file


def is_held(path: Path) -> bool:
    """Does a run go on in this folder, in this process or another?"""
    try:
        hold(path).close()
    except UserError:
        return True
    return False


# --- tables ---


class Table:
    """A CSV file that is appended to; columns that turn up later are added to the right, older rows stay empty there."""

    def __init__(self, path: Path, first: Sequence[str]) -> None:
        self.path, self.columns = path, list(first)
        self._waiting: list[Sequence[Any]] = []
        if path.is_file():
            self.columns = self.read()[0] or self.columns

    def add(self, rows: Iterable[Sequence[Any]]) -> None:
        """Rows in order of `columns`; kept until `flush`."""
        self._waiting += rows

    def add_named(self, named: Iterable[dict[str, Any]]) -> None:
        """Rows by column name."""
        for row in named:
            fresh = [name for name in row if name not in self.columns]
            if fresh:
                self._widen(fresh)
            self._waiting.append([row.get(name, "") for name in self.columns])

    def _widen(self, names: list[str]) -> None:
        self.flush()
        old = self.read()[1] if self.path.is_file() else []
        self.columns += names
        if old:
            self._replace(old)

    def flush(self) -> None:
        """Append what waits."""
        if not self._waiting:
            return
        try:
            fresh = not self.path.is_file()
            with open(self.path, "a", encoding="utf-8", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerows([self.columns] if fresh else [])
                writer.writerows(self._waiting)
        except OSError as error:
            raise UserError(f"{self.path.name} could not be written: {(error.strerror or str(error)).lower()}.", hint=ROOM) from error
        self._waiting.clear()

    def read(self) -> tuple[list[str], list[list[str]]]:
        """Columns and rows; a last line that was cut off by a crash is left out."""
        try:
            text = self.path.read_text("utf-8")
        except FileNotFoundError:
            return list(self.columns), []
        except (OSError, ValueError) as error:
            raise UserError(f"{self.path.name} of the run cannot be read.", hint="Delete the run, or choose another.") from error
        whole = text[: text.rfind("\n") + 1]
        rows = [row for row in csv.reader(whole.splitlines()) if row]
        return (rows[0], rows[1:]) if rows else (list(self.columns), [])

    def cut(self, column: int, most: float) -> None:
        """Keep only rows whose number in a column is at most that; also mends a last line that was cut off."""
        if self.path.is_file():
            self._replace([row for row in self.read()[1] if len(row) > column and _number(row[column]) <= most])

    def _replace(self, rows: list[list[str]]) -> None:
        lines = [",".join(self.columns), *(",".join(row) for row in rows)]
        write_now(self.path, "\n".join(lines) + "\n")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def named(row: told.RlRow) -> dict[str, Any]:
    """A row of metrics by column."""
    return {"update": row.update, "time/total_timesteps": row.timesteps, "time/time_elapsed": round(row.seconds, 4), **_short(row.metrics)}


def _short(metrics: Iterable[tuple[str, float]]) -> dict[str, Any]:
    return {name: value if isinstance(value, int) else float(f"{value:.8g}") for name, value in metrics if name not in FIRST}


def rows_of(table: Table) -> tuple[told.RlRow, ...]:
    """The rows of metrics.csv or evaluations.csv."""
    columns, rows = table.read()
    made = []
    for row in rows:
        numbers = dict(zip(columns, map(_number, row)))
        if not all(math.isfinite(numbers.get(name, math.nan)) for name in FIRST):
            continue
        update, timesteps, seconds = (numbers[name] for name in FIRST)
        metrics = tuple((name, numbers[name]) for name, text in zip(columns, row) if name not in FIRST and text != "")
        made.append(told.RlRow(int(update), int(timesteps), seconds, ((FIRST[1], timesteps), *metrics)))
    return tuple(made)


def episodes_of(table: Table) -> told.Episodes:
    """All episodes of a run."""
    rows = [[_number(cell) for cell in row] for row in table.read()[1] if len(row) == 3]
    return told.Episodes(np.array(rows, np.float64).reshape(-1, 3))


def changes_of(table: Table) -> tuple[told.RlChange, ...]:
    """All knobs turned."""
    return tuple(told.RlChange(int(float(at)), name, _number(before), _number(after)) for at, name, before, after in table.read()[1])


# --- policies ---


@dataclass(frozen=True)
class Kept:
    """The networks of a moment."""

    timesteps: int
    tensors: dict[str, Tensor]


class Shelf:
    """Policies of a run on the disk, spread over the whole of it: when there are too many, every second one goes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.gap, self._last = 0, -math.inf

    def moments(self) -> tuple[int, ...]:
        """Environment steps of the policies there, in order."""
        return tuple(sorted(int(file.stem) for file in self.path.glob("*.safetensors") if file.stem.isdigit()))

    def due(self, timesteps: int, total: int) -> bool:
        """Is it time for the next one? The first, then evenly."""
        if self.gap == 0:
            self.gap, self._last = max(1, total // (MOST_POLICIES // 2)), max(self.moments(), default=-math.inf)
        return timesteps >= self._last + self.gap

    def add(self, timesteps: int, nets: nn.ModuleDict) -> None:
        """Keep policy and critic as they are now."""
        tensors = {name: value for name, value in nets.state_dict().items() if not name.partition(".")[0].endswith(TARGETS)}
        data = tensor_file(tensors, {"timesteps": str(timesteps)})
        self._write(timesteps, data)
        self._last = timesteps
        there = self.moments()
        if len(there) > max(2, min(MOST_POLICIES, MOST_BYTES // len(data))):
            self.gap *= 2
            for moment in there[1:-1:2]:
                self._file(moment).unlink(missing_ok=True)

    def _write(self, moment: int, data: bytes) -> None:
        """Without waiting for the disk: one policy of a hundred may be lost in a crash, the run is in the checkpoint."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            part = self.path / "new.part"
            part.write_bytes(data)
            os.replace(part, self._file(moment))
        except OSError as error:
            raise UserError(f"A policy could not be kept: {(error.strerror or str(error)).lower()}.", hint=ROOM) from error

    def at(self, timesteps: int) -> Kept:
        """The last one that is no newer than the moment asked for (-1: the newest); the first if there is none."""
        there = self.moments()
        if not there:
            raise UserError("This run has kept no policy yet.", hint="Wait for its first update.")
        earlier = [moment for moment in there if timesteps < 0 or moment <= timesteps]
        moment = earlier[-1] if earlier else there[0]
        try:
            with safe_open(str(self._file(moment)), "pt") as file:
                return Kept(moment, {name: file.get_tensor(name) for name in file.keys()})
        except (SafetensorError, OSError, ValueError) as error:
            raise UserError(f"The policy of step {moment:,} is damaged.", hint="Choose another moment of the run.") from error

    def cut(self, timesteps: int) -> None:
        """Forget what is newer."""
        for moment in self.moments():
            if moment > timesteps:
                self._file(moment).unlink(missing_ok=True)

    def _file(self, moment: int) -> Path:
        return self.path / f"{moment:012d}.safetensors"


def fill(nets: nn.ModuleDict, kept: Kept) -> None:
    """Write the weights of a moment into networks of the same setup."""
    mine = {name: value for name, value in nets.state_dict().items() if not name.partition(".")[0].endswith(TARGETS)}
    wrong = mine.keys() ^ kept.tensors.keys() or {name for name in mine if mine[name].shape != kept.tensors[name].shape}
    if wrong:
        raise RLError("The policy kept does not fit the run: its networks differ.", "Its folder has been changed: choose another run.")
    nets.load_state_dict(nets.state_dict() | kept.tensors)


def tensor_file(tensors: dict[str, Tensor], words: dict[str, str]) -> bytes:
    """A safetensors file in memory."""
    return tensor_bytes({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, metadata=words)


# --- the list ---


def cards(root: Path) -> tuple[told.RunCard, ...]:
    """All runs of a folder, the newest first; a damaged one says so."""
    found = [(path.stat().st_mtime, path) for path in root.iterdir() if (path / CARD).is_file()] if root.is_dir() else []
    return tuple(_card(path) for _, path in sorted(found, reverse=True))


def _card(path: Path) -> told.RunCard:
    try:
        return opened(path).card()
    except UserError as error:
        return told.RunCard(path.name, str(path), "", "", 0, 0, 0, "failed", None, None, "", sentence=error.message)


def delete(root: Path, run: str) -> None:
    """Remove a run that does not go on."""
    path = find(run, str(root))
    if path.resolve().parent != root.resolve():
        raise UserError(f"{run[:80]!r} is not in the list of runs.", hint="Delete its folder yourself.")
    hold(path).close()
    try:
        shutil.rmtree(path)
    except OSError as error:
        raise UserError(f"{path.name} could not be deleted: {error.strerror}.", hint="Delete its folder yourself.") from error
