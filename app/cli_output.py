"""What a run leaves behind on the command line: files, `result.json`, a progress line, a summary."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
import time
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from app.protocol import events, payloads
from app.protocol.chat import ChatPrompt, ChatRound
from app.protocol.encoding import encode, png_bytes, summary
from app.protocol.errors import UserError
from app.protocol.job import Job
from app.storage import write_now

BAR_WIDTH = 30
IN_FULL = ("text", "table", "worked")
"""Facts that are printed whole: what a language model wrote, what a benchmark found, a solution line by line."""
LOG_EVERY_S = 30.0
"""Without a terminal, one line this often."""


def write_result(result: Any, job: Job, seconds: float, out: Path) -> dict[str, Any]:
    """Write the files of a `Result` and `result.json` under `out`; return what stands in `result.json`."""
    if not isinstance(result, payloads.Result):
        result = payloads.Result(facts={} if result is None else {"result": result})
    names = [_write_file(out, name, value) for name, value in result.files.items()]
    table = {"job": job.name, **summary(job), **encode(result.facts), "seconds": round(seconds, 3), "files": names}
    table = _finite(table)
    write_now(out / "result.json", json.dumps(table, indent=2, ensure_ascii=False) + "\n")
    return table


def _finite(value: Any) -> Any:
    """NaN and infinity are not JSON: they become None."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list) else value


def _write_file(out: Path, name: str, value: Any) -> str:
    suffix, content = file_content(value)
    name = name if Path(name).suffix else name + suffix
    path = out / name
    if not path.resolve().is_relative_to(out.resolve()):
        raise UserError(f"The run wants to write {name!r} outside of its folder.")
    write_now(path, content)
    return name


def file_content(value: Any) -> tuple[str, bytes | str]:
    """The usual suffix and the content of a payload, table, text or array as a file."""
    if isinstance(value, payloads.Image):
        return ".png", png_bytes(value.pixels)
    if isinstance(value, payloads.Curve):
        header = [value.x_label or "x", value.y_label or "y"]
        return ".csv", _csv([header, *zip(value.x.tolist(), value.y.tolist(), strict=True)])
    if isinstance(value, payloads.Pose):
        return ".json", json.dumps(value.openpose(), indent=1) + "\n"
    if isinstance(value, bytes):
        return ".bin", value
    if isinstance(value, str):
        return ".txt", value
    if isinstance(value, np.ndarray):
        buffer = io.BytesIO()
        np.save(buffer, value, allow_pickle=False)
        return ".npy", buffer.getvalue()
    return ".json", json.dumps(_finite(encode(value)), indent=2, ensure_ascii=False) + "\n"


def _csv(rows: list[Any]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()


class ProgressLine:
    """A bar on a terminal, a line now and then elsewhere; always on stderr, so that stdout stays clean."""

    def __init__(self, name: str, stream: TextIO | None = None) -> None:
        self._name = name
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._told = time.perf_counter()
        self._stage = ("", 0.0)
        self._begin = (self._told, 0.0)  # when the stage that runs now was first heard of, and how far it was then
        self._note = ""
        self._drawn = 0

    def watch(self, event: events.Event) -> None:
        """Take note of an event of the run."""
        if isinstance(event, events.Loading):
            self._show(f"loading {event.key}", 0, 0)
        elif isinstance(event, events.Progress):
            self._note = event.note
            self._show(event.unit, event.done, event.total)
        elif isinstance(event, events.Step):
            self._show("step", event.index, event.total)

    def close(self) -> None:
        """Clear the bar."""
        if self._terminal and self._drawn:
            self._stream.write("\r" + " " * self._drawn + "\r")
            self._stream.flush()

    def _show(self, unit: str, done: float, total: float) -> None:
        now = time.perf_counter()
        if (unit, total) != self._stage:
            self._stage, self._begin = (unit, total), (now, done)
        last = total > 0 and done >= total
        if now - self._told < (0.05 if self._terminal else LOG_EVERY_S) and not (last and self._terminal):
            return
        self._told = now
        share = min(1.0, done / total) if total else 0.0
        count = f"{unit} {done:g}" + (f"/{total:g}" if total else "") if done or total else unit
        since, first = self._begin
        left = f", {(now - since) * (total - done) / (done - first):.0f} s left" if total and done > first else ""
        text = f"{self._name}: {count}{left}" + (f"  {self._note}" if self._note else "")
        if not self._terminal:
            self._stream.write(text + "\n")
        else:
            filled = round(share * BAR_WIDTH)
            line = f"[{'#' * filled}{'.' * (BAR_WIDTH - filled)}] {text}"[:110]
            self._stream.write("\r" + line.ljust(self._drawn))
            self._drawn = len(line)
        self._stream.flush()


class ReplyText:
    """Prints what a language model writes as it comes, without space around it; everything else goes to the progress line.

    What is printed in the end is `text.strip()` and an empty line.
    """

    def __init__(self, line: ProgressLine, stream: TextIO | None = None) -> None:
        self._line, self._stream = line, stream or sys.stdout
        self._held = ""  # space that is printed when more follows
        self.begun = False

    def watch(self, event: events.Event) -> None:
        """Take note of an event of the run; once text comes, the bar is silent."""
        if isinstance(event, events.Record) and isinstance(event.payload, ChatRound):
            self._write(event.payload.text)
        elif isinstance(event, events.Record) and isinstance(event.payload, ChatPrompt):
            self._write("".join(token.piece for token in event.payload.beginning))
        elif not self.begun:
            self._line.watch(event)

    def close(self) -> None:
        """End the text."""
        if self.begun:
            self._stream.write("\n\n")
            self._stream.flush()

    def _write(self, piece: str) -> None:
        text = self._held + piece if self.begun else piece.lstrip()
        shown = text.rstrip()
        if shown and not self.begun:
            self._line.close()
            self.begun = True
        self._held = text[len(shown) :]
        self._stream.write(shown)
        self._stream.flush()


def summarise(table: dict[str, Any], out: Path, text_was_shown: bool = False) -> str:
    """A few lines for people: texts in full, facts that are short, and where the files are."""
    lines = [f"{table[key].strip()}\n" for key in IN_FULL if isinstance(table.get(key), str) and not (key == "text" and text_was_shown)]
    for key, value in table.items():
        if key in IN_FULL:
            continue
        if isinstance(value, str | int | float | bool) and len(str(value)) <= 80 and value != "":
            lines.append(f"  {key}: {value}")
    files = table["files"]
    shown = ", ".join(files[:4]) + (f" and {len(files) - 4} more" if len(files) > 4 else "")
    lines.append(f"Written to {out}: {shown + ', ' if shown else ''}result.json")
    return "\n".join(lines)
