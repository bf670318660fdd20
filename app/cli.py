"""The command line: the same jobs on the same worker without a window.

`python main.py` opens the window; `run JOB --field value … --out DIR [--json]` runs any job; `jobs`, `models`
list what there is; `screenshot DIR` draws every panel. Bad input ends with code 2 and one sentence, never a
traceback; a bug ends with code 1 and leaves its traceback in `error.txt`.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from app import cli_options, cli_output, jobs, runners
from app.protocol import commands, events
from app.protocol.errors import ErrorReport, UserError, for_people
from app.protocol.job import Job, field_types, knobs
from app.worker.backend import TorchBackend
from app.worker.loop import GpuWorker
from app.worker.mailbox import Mailbox

CANCEL_WITHIN_S = 10.0
EXIT_BUG, EXIT_BAD_INPUT, EXIT_CANCELLED = 1, 2, 130
USAGE = """Usage: python main.py [COMMAND]

  (nothing)                              open the window
  run JOB --field value ... --out DIR    run a job without the window; --json prints result.json,
                                         --threads N limits the processor cores, --help lists the fields
  jobs                                   list the jobs and their fields
  models [list|fetch|add|check|remove]   the models: what is here, getting more; --help says more
  screenshot DIR [PANEL ...] [--scale 2] save a picture of every panel, or of those named
"""


def main(argv: Sequence[str]) -> int:
    """Run a command and return the exit code."""
    table: dict[str, Callable[[list[str]], int]] = {
        "run": _run, "jobs": _jobs, "models": _models, "screenshot": _screenshot,
    }  # fmt: skip
    words = list(argv)
    try:
        if words and words[0] in ("-h", "--help", "help"):
            print(USAGE, end="")
            return 0
        if words and words[0] in table:
            return table[words[0]](words[1:])
        if words and not words[0].startswith("-"):
            raise UserError(f"There is no command {words[0]!r}.", hint=f"Commands: {', '.join(table)}; without one the window opens.")
        return _window(words)
    except KeyboardInterrupt:
        return EXIT_CANCELLED
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if not for_people(error):
            raise
        _say(" ".join(filter(None, (error.message, error.hint))))
        return EXIT_BAD_INPUT


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr)


def has_display() -> bool:
    """Is there a screen, or has Qt been told to do without one?"""
    if not sys.platform.startswith("linux"):
        return True
    platform = os.environ.get("QT_QPA_PLATFORM", "").split(":")[0]
    needs_screen = platform in ("", "xcb", "wayland")
    return not needs_screen or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _window(words: list[str]) -> int:
    if has_display():
        from app.main_window import run_window

        return run_window(words)
    print("There is no display, so instead of the window the built-in demonstration runs and writes into out/.")
    job = importlib.import_module(jobs.JOBS["txt2img"].split(":")[0]).demo_job()
    return _finish(job, Path("out"), as_json=False, threads=None)


def _run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(USAGE, end="")
        return 0 if words else EXIT_BAD_INPUT
    cls = jobs.job_class(words[0])
    tokens = words[1:]
    if "--help" in tokens or "-h" in tokens:
        print(_describe(cls))
        return 0
    as_json = "--json" in tokens
    tokens = [token for token in tokens if token != "--json"]
    out = Path(_take_option(tokens, "--out") or "out")
    threads = _take_option(tokens, "--threads")
    if threads is not None and (not threads.isdigit() or int(threads) < 1):
        raise UserError(f"--threads must be a whole number of at least 1, not {threads[:60]!r}.")
    return _finish(cli_options.make_job(cls, tokens), out, as_json, int(threads) if threads else None)


def _take_option(tokens: list[str], option: str) -> str | None:
    """Remove an option and its value from the tokens and return the value."""
    for place, token in enumerate(tokens):
        if token == option:
            if place + 1 == len(tokens):
                raise UserError(f"The option {option} needs a value.")
            value = tokens[place + 1]
            del tokens[place : place + 2]
            return value
        if token.startswith(option + "="):
            return tokens.pop(place).partition("=")[2]
    return None


def _finish(job: Job, out: Path, as_json: bool, threads: int | None) -> int:
    """Run the job to its end and write what it leaves."""
    begin = time.perf_counter()
    line = cli_output.ProgressLine(job.name)
    reply = cli_output.ReplyText(line)
    end = run_headless(job, line.watch if as_json else reply.watch, threads)
    line.close()
    reply.close()
    if isinstance(end, events.Cancelled):
        _say("Cancelled.")
        return EXIT_CANCELLED
    if isinstance(end, events.Failed):
        return _explain(end.report, out)
    table = cli_output.write_result(end.result, job, time.perf_counter() - begin, out)
    print(json.dumps(table, indent=2, ensure_ascii=False) if as_json else cli_output.summarise(table, out, reply.begun))
    return 0


def _explain(report: ErrorReport, out: Path) -> int:
    if report.kind != "bug":
        _say(" ".join(filter(None, (report.title, report.hint))))
        return EXIT_BAD_INPUT
    path = cli_output.write_now(out / "error.txt", f"{report.traceback}\n{report.job_json}\n")
    _say(f"{report.title} This is a bug in Glassbox; {path} holds the details.")
    return EXIT_BUG


def run_headless(job: Job, watch: Callable[[events.Event], None], threads: int | None = None) -> events.Event:
    """Run a job on a worker of its own and return the terminal event; Ctrl-C cancels, twice leaves at once."""
    mailbox = Mailbox(previews=False)
    worker = GpuWorker(mailbox, runners.runner, backend=lambda: TorchBackend(threads=threads))
    worker.post(commands.Submit(run_id=1, job=job))
    worker.start()
    try:
        return _wait(worker, watch, float("inf"))
    except KeyboardInterrupt:
        worker.post(commands.Cancel(run_id=1))
        return _wait(worker, watch, CANCEL_WITHIN_S)
    finally:
        worker.post(commands.Quit())
        if not worker.join(CANCEL_WITHIN_S):
            sys.stdout.flush()
            os._exit(EXIT_CANCELLED)  # it is inside one long call that cannot be stopped


def _wait(worker: GpuWorker, watch: Callable[[events.Event], None], seconds: float) -> events.Event:
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        worker.mailbox.wait(0.5)
        alive = worker.alive
        for event in worker.mailbox.drain()[0]:
            watch(event)
            if isinstance(event, events.TERMINAL):
                return event
        if not alive:
            raise RuntimeError("the worker thread has ended before the run")
    return events.Cancelled(run_id=1)


def _jobs(words: list[str]) -> int:
    _nothing_more("jobs", words)
    for name in jobs.JOBS:
        print(_describe(jobs.job_class(name)), end="\n\n")
    return 0


def _nothing_more(command: str, words: list[str]) -> None:
    if words:
        raise UserError(f"The command {command} takes no {words[0][:60]!r}.")


def _describe(cls: type[Job]) -> str:
    """Name, first line of the docstring, and one line a field."""
    lines = [f"{cls.name}: {(cls.__doc__ or '').strip().splitlines()[0]}"]
    plain = cls.__dataclass_fields__
    for name, hint in field_types(cls).items():
        words = knobs(cls)[name]
        default = plain[name].default
        shown = f" [{default}]" if isinstance(default, str | int | float) and default != "" else ""
        text = cli_options.describe(hint, words)
        lines.append(f"  --{name.replace('_', '-'):<22} {text}{shown}" + (f"  {words.help}" if words.help else ""))
    return "\n".join(lines)


def _models(words: list[str]) -> int:
    from app import cli_models

    return cli_models.main(words, run_headless)


def _screenshot(words: list[str]) -> int:
    from app import screenshots

    return screenshots.main(words)
