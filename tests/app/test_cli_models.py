"""`python main.py models …`: words for people, questions before anything is fetched or deleted, exit codes."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace

import pytest

from app import cli, cli_models, paths
from app.jobs.models import CheckModel, FetchHub, FetchModel, ImportModel, ListModels, LookUpHub, RemoveModel
from app.protocol.encoding import encode
from app.protocol.errors import ErrorReport
from app.protocol.events import Cancelled, Done, Failed
from app.protocol.models import HubChoice, HubFile, HubOffer, ModelRow
from app.protocol.payloads import Result
from app.runners.getting import sources

SMOL = ModelRow(key="smollm2", title="SmolLM2", bytes=98_362_432, licence="Apache-2.0", state="missing", note="Not here yet.")
VAE = ModelRow(key="playworld/vae", title="Autoencoder", bytes=5 * 2**20, licence="own")
MINE = ModelRow(key="language:/a/mine.gguf", title="mine", bytes=2**20, removal="forget", path="/a/mine.gguf")
ONE = HubChoice(label="a.gguf", files=(HubFile(name="a.gguf", bytes=3 * 2**20),))
OFFER = HubOffer(repo="someone/llama", commit="0" * 40, licence="mit", choices=(ONE,), notes=("It is gated.",))


class Worker:
    """Answers jobs from a table of facts and keeps them."""

    def __init__(self) -> None:
        self.jobs: list = []
        self.rows = [SMOL, VAE, MINE]
        self.offer = OFFER
        self.found = {"smollm2": "", "playworld/vae": ""}
        self.end: object = None

    def __call__(self, job, watch) -> object:
        self.jobs.append(job)
        if self.end is not None and not isinstance(job, ListModels | LookUpHub):
            return self.end
        facts = {
            ListModels: {"models": [asdict(row) for row in self.rows], "folder": "/m", "free_bytes": 2**31, "notice": ""},
            LookUpHub: {"offer": encode(self.offer)},
            FetchModel: {"path": "/m/smol.gguf"},
            FetchHub: {"path": "/m/hub/a.gguf"},
            ImportModel: {"key": "language:/a/mine.gguf"},
            CheckModel: {"found": self.found},
            RemoveModel: {"deleted": False, "freed_bytes": 0},
        }[type(job)]
        return Done(result=Result(facts=facts))


@pytest.fixture
def worker(monkeypatch) -> Worker:
    made = Worker()
    monkeypatch.setattr(cli, "run_headless", made)
    return made


def models(*words: str) -> int:
    return cli.main(["models", *words])


def answer(monkeypatch, text: str | None) -> None:
    """What the person types; None: there is no terminal."""
    monkeypatch.setattr(sys.stdin, "isatty", lambda: text is not None, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: text)


@pytest.mark.parametrize("words", [(), ("list",)])
def test_the_list(words, worker, capsys) -> None:
    assert models(*words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["missing", "smollm2", "93.8", "MiB", "Apache-2.0", "SmolLM2"]
    assert "python main.py models fetch smollm2" in lines[1] and lines[2].startswith("ready    playworld/vae")
    assert lines[-1] == "Fetched and added models lie in /m (2.0 GiB free)."


def test_help(worker, capsys) -> None:
    assert models("--help") == 0 and "fetch NAME" in capsys.readouterr().out and worker.jobs == []


@pytest.mark.parametrize(
    "words, sentence",
    [
        (("fetsch",), "models has no command 'fetsch'. Commands: list, fetch, add, check, remove."),
        (("list", "x"), "models list takes no 'x'."),
        (("add",), "Give one path. `python main.py models --help` shows how."),
        (("add", "a", "b"), "Give one path. `python main.py models --help` shows how."),
        (("add", "a", "--cpoy"), "There is no option --cpoy. `python main.py models --help` lists the options."),
        (("add", "a", "--title"), "The option --title needs a value."),
        (("fetch", "gpt"), "Glassbox has no source for a model named 'gpt'. It can fetch smollm2 by itself."),
        (("remove", "nothing"), "There is no model named 'nothing'. `python main.py models` lists them."),
    ],
)
def test_bad_words_are_one_sentence(words, sentence, worker, capsys) -> None:
    assert models(*words) == 2
    assert capsys.readouterr().err.strip() == sentence


def test_fetch_says_what_and_where(worker, capsys) -> None:
    assert models("fetch", "smollm2") == 0
    assert worker.jobs == [FetchModel(model="smollm2")]
    told = capsys.readouterr().out
    assert "88.6 MiB, Apache-2.0" in told and str(paths.models_dir()) in told and "/m/smol.gguf" in told


def test_what_is_here_is_not_fetched_and_needs_no_worker(worker, monkeypatch, capsys) -> None:
    row = replace(sources.SOURCES["smollm2"], bytes=3)
    monkeypatch.setitem(sources.SOURCES, "smollm2", row)
    (paths.models_dir() / row.file).write_bytes(b"123")
    assert models("fetch") == 0 and worker.jobs == []
    assert "is here" in capsys.readouterr().out


def test_a_fetch_that_fails_ends_with_code_2(worker, capsys) -> None:
    worker.end = Failed(report=ErrorReport(kind="user", title="There is no connection.", hint="Try later."))
    assert models("fetch", "--archive", "x.whl") == 2
    assert worker.jobs == [FetchModel(model="smollm2", archive="x.whl")]
    assert capsys.readouterr().err.strip().endswith("There is no connection. Try later.")


def test_a_bug_leaves_its_traceback_in_a_file(worker, capsys) -> None:
    worker.end = Failed(report=ErrorReport(kind="bug", title="ZeroDivisionError", hint="A bug.", traceback="Traceback: 1/0"))
    assert models("add", "x") == 2
    told = capsys.readouterr().err
    assert "Traceback" not in told and str(paths.cache_dir()) in told
    assert (paths.cache_dir() / "error.txt").read_text() == "Traceback: 1/0"


def test_a_cancelled_fetch(worker, capsys) -> None:
    worker.end = Cancelled()
    assert models("fetch") == 130 and "Cancelled." in capsys.readouterr().err


@pytest.mark.parametrize("said, fetched", [("y", True), ("n", False), ("", False)])
def test_the_hub_is_asked_first_and_then_the_person(said, fetched, worker, monkeypatch, capsys) -> None:
    answer(monkeypatch, said)
    assert models("fetch", "someone/llama") == 0
    assert worker.jobs[0] == LookUpHub(repo="someone/llama")
    assert worker.jobs[1:] == ([FetchHub(repo="someone/llama", choice="a.gguf", offer=OFFER)] if fetched else [])
    told = capsys.readouterr().out
    assert "licence mit, 3.0 MiB" in told and "a.gguf" in told and "It is gated." in told
    assert ("Nothing was fetched." in told) is not fetched


def test_without_a_terminal_only_yes_is_a_yes(worker, monkeypatch, capsys) -> None:
    answer(monkeypatch, None)
    assert models("fetch", "someone/llama") == 2 and "--yes" in capsys.readouterr().err
    assert models("fetch", "someone/llama", "--yes", "--revision=v2") == 0
    assert worker.jobs[-2] == LookUpHub(repo="someone/llama", revision="v2")


def test_one_of_several_models_is_named(worker, capsys) -> None:
    worker.offer = replace(OFFER, choices=(ONE, replace(ONE, label="b.gguf")))
    assert models("fetch", "someone/llama", "--yes") == 2
    assert "a.gguf (3.0 MiB), b.gguf (3.0 MiB)" in capsys.readouterr().err
    assert models("fetch", "someone/llama", "--yes", "--file", "c.gguf") == 2
    assert models("fetch", "someone/llama", "--yes", "--file", "b.gguf") == 0
    assert worker.jobs[-1].choice == "b.gguf"


def test_add(worker, capsys) -> None:
    assert models("add", "/a/mine.gguf", "--copy", "--title", "My model") == 0
    assert worker.jobs == [ImportModel(path="/a/mine.gguf", copy=True, title="My model")]
    assert "language:/a/mine.gguf" in capsys.readouterr().out


def test_check_names_what_is_wrong_and_ends_with_code_1(worker, capsys) -> None:
    assert models("check") == 0 and worker.jobs == [CheckModel()]
    worker.found = {"smollm2": "It is cut short."}
    assert models("check", "smollm2", "playworld/vae") == 1
    assert worker.jobs[1:] == [CheckModel(model="smollm2"), CheckModel(model="playworld/vae")]
    assert "smollm2: It is cut short." in capsys.readouterr().out


def test_remove_asks(worker, monkeypatch, capsys) -> None:
    answer(monkeypatch, "n")
    assert models("remove", MINE.key) == 0 and worker.jobs == [ListModels()]
    answer(monkeypatch, "yes")
    assert models("remove", MINE.key) == 0 and worker.jobs[-1] == RemoveModel(model=MINE.key)
    assert "the file stays: /a/mine.gguf" in capsys.readouterr().out


def test_usage_names_every_command() -> None:
    for command in ("list", "fetch", "add", "check", "remove"):
        assert f"\n  {command}" in cli_models.USAGE
