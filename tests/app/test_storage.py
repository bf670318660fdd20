"""Files: all or nothing, the newest wins, errors are told."""

from __future__ import annotations

import errno
import threading

import pytest

from app.protocol.errors import UserError
from app.storage import Storage, write_now


@pytest.fixture
def storage():
    made = Storage()
    yield made
    assert made.close()


def test_the_newest_write_of_a_path_wins(storage, tmp_path) -> None:
    gate, written = threading.Event(), []
    storage.call(gate.wait, 10)
    futures = [storage.write(tmp_path / "a.txt", lambda i=i: written.append(i) or str(i).encode()) for i in range(5)]
    other = storage.write(tmp_path / "deep" / "b.txt", "b")
    gate.set()
    assert storage.flush(10)
    assert written == [4] and (tmp_path / "a.txt").read_text() == "4" and {f.result(1) for f in futures} == {tmp_path / "a.txt"}
    assert other.result(1).read_text() == "b"


def test_a_failed_write_keeps_the_old_file_and_is_told(storage, tmp_path, monkeypatch) -> None:
    write_now(tmp_path / "a.txt", "old")

    def full(fd):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("app.storage.os.fsync", full)
    future = storage.write(tmp_path / "a.txt", "new")
    assert storage.flush(10)
    with pytest.raises(UserError, match="the disk is full"):
        future.result(1)
    assert [error.message for error in storage.errors()] == ["a.txt could not be saved: the disk is full."]
    assert storage.errors() == [] and [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_writing_below_a_file_is_told(tmp_path) -> None:
    write_now(tmp_path / "a", "x")
    with pytest.raises(UserError, match="could not be saved"):
        write_now(tmp_path / "a" / "b.txt", "x")


def test_calls_return_values_and_errors(storage) -> None:
    assert storage.call(sum, (1, 2)).result(5) == 3
    with pytest.raises(ZeroDivisionError):
        storage.call(lambda: 1 / 0).result(5)
    assert storage.errors() == []


def test_closing_writes_what_is_waiting(tmp_path) -> None:
    made = Storage()
    for i in range(20):
        made.write(tmp_path / f"{i}.txt", "x")
    assert made.close(10) and len(list(tmp_path.iterdir())) == 20
    with pytest.raises(RuntimeError):
        made.write(tmp_path / "late.txt", "x")
