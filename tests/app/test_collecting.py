"""The garbage collector stands back while the worker works, and still frees what was dropped."""

from __future__ import annotations

import gc
import weakref

import pytest
from PySide6.QtCore import QPoint

from app import collecting
from app.protocol.status import WorkerStatus

IDLE = {"idle": True, "device": "cpu", "state": "idle"}


@pytest.fixture
def keeper(qapp, monkeypatch):
    monkeypatch.setattr(collecting, "IDLE_MS", 5)
    thresholds = gc.get_threshold()
    made = collecting.Collecting()
    yield made
    made._clock.stop()
    made._away.stop()
    gc.set_threshold(*thresholds)
    gc.unfreeze()
    gc.enable()


class Knot:
    """An object that only the collector can free."""

    def __init__(self) -> None:
        self.itself = self


def test_collecting_begins_again_once_torch_is_there_without_what_is_loaded(keeper) -> None:
    assert not gc.isenabled() and not gc.get_freeze_count()
    keeper.follow(WorkerStatus(state="loading torch"))
    assert not gc.isenabled()
    kept = Knot()
    keeper.follow(WorkerStatus(**IDLE))
    assert gc.isenabled() and gc.get_freeze_count() > 10_000
    assert not any(each is kept for each in gc.get_objects()), "a collection does not walk it"


def test_a_worker_without_a_device_does_not_leave_it_off(keeper) -> None:
    keeper.follow(WorkerStatus(state="no device: torch is missing", idle=True))
    assert gc.isenabled()


def test_what_a_dropped_model_leaves_is_freed_when_the_worker_is_idle(keeper, qtbot) -> None:
    keeper.follow(WorkerStatus(**IDLE, models=("a",)))
    qtbot.waitUntil(lambda: keeper._models == ("a",))
    model = Knot()
    gone = weakref.ref(model)
    gc.freeze()  # as if it had been there when models were frozen
    del model
    gc.collect()
    assert gone() is not None, "frozen: no collection finds it"
    keeper.follow(WorkerStatus(**IDLE, models=()))
    qtbot.waitUntil(lambda: keeper._models == ())
    assert gone() is None and gc.get_freeze_count()


def test_what_a_model_brought_is_frozen_without_a_collection(keeper, qtbot, monkeypatch) -> None:
    calls = []
    monkeypatch.setattr(collecting.gc, "collect", lambda: calls.append(1))
    keeper.follow(WorkerStatus(**IDLE))
    model = Knot()
    keeper.follow(WorkerStatus(**IDLE, models=("a",)))
    qtbot.waitUntil(lambda: keeper._models == ("a",))
    assert not calls and not any(each is model for each in gc.get_objects())


def test_nothing_is_collected_while_a_run_goes_on_nor_again_without_reason(keeper, qtbot, monkeypatch) -> None:
    keeper.follow(WorkerStatus(**IDLE, models=("a", "b")))
    qtbot.waitUntil(lambda: keeper._models == ("a", "b"))
    calls = []
    monkeypatch.setattr(collecting.gc, "collect", lambda: calls.append(1))
    keeper.follow(WorkerStatus(**IDLE, models=("a",)))
    keeper.follow(WorkerStatus(state="chat round 3", device="cpu", models=("a",)))
    qtbot.wait(30)
    assert not calls
    keeper.follow(WorkerStatus(**IDLE, models=("a",)))
    qtbot.waitUntil(lambda: len(calls) == 1)
    keeper.follow(WorkerStatus(**IDLE, models=("a",)))
    qtbot.wait(30)
    assert len(calls) == 1


def test_what_work_leaves_is_frozen_when_the_worker_falls_idle(keeper, qtbot) -> None:
    keeper.follow(WorkerStatus(**IDLE))
    keeper.follow(WorkerStatus(state="plane step 3", device="cpu"))
    made = Knot()
    qtbot.wait(30)
    assert any(each is made for each in gc.get_objects()), "not in the middle of work"
    keeper.follow(WorkerStatus(**IDLE))
    qtbot.waitUntil(lambda: not any(each is made for each in gc.get_objects()))


def test_a_full_collection_waits_until_nobody_is_there(keeper, qtbot, monkeypatch) -> None:
    assert gc.get_threshold()[2] == collecting.RARELY
    places = [QPoint(1, 1), QPoint(2, 2)]
    monkeypatch.setattr(collecting.QCursor, "pos", lambda: places[0])
    keeper._away.setInterval(20)
    keeper.follow(WorkerStatus(**IDLE, models=("a",)))
    qtbot.waitUntil(lambda: keeper._away.isActive())
    left = Knot()
    gone = weakref.ref(left)
    gc.freeze()
    del left
    places.pop(0)
    qtbot.wait(30)
    assert gone() is not None, "the pointer has moved"
    qtbot.waitUntil(lambda: gone() is None)
    assert gc.get_freeze_count() and not keeper._away.isActive()
