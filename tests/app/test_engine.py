"""The engine: signals on the GUI thread, a timer that rests, cancelling that detaches, closing that never hangs."""

from __future__ import annotations

import threading
import time

import pytest
from PySide6.QtCore import QThread

from app.engine import Engine
from app.protocol import events
from app.protocol.errors import UserError
from app.protocol.status import WorkerStatus
from tests.worker.fakes import Bench, Quick


def steps(job, ctx):
    for i in range(job.count):
        yield events.Preview(channel="x0", payload=i)
        yield events.Record(channel="strength", payload=ctx.job.strength)
        yield events.Step(index=i + 1, total=job.count)
    return "picture"


@pytest.fixture
def make(qtbot):
    """Makes engines on a fake device and closes them."""
    engines = []

    def engine(runner=steps) -> Engine:
        engines.append(Engine(worker=Bench({"quick": runner}).worker))
        return engines[-1]

    yield engine
    for each in engines:
        assert each.close()


def listen(handle) -> list:
    """All signals of a handle as tuples, in order."""
    heard = []
    for name in ("started", "preview", "record", "step", "parked", "resumed", "done", "cancelled", "failed", "finished"):
        getattr(handle, name).connect(lambda *values, name=name: heard.append((name, *values)))
    return heard


def test_a_run_arrives_as_signals_on_the_gui_thread(make, qtbot) -> None:
    engine = make()
    handle = engine.submit(Quick(count=3))
    heard = listen(handle)
    threads = []
    handle.step.connect(lambda *_: threads.append(QThread.currentThread()))
    with qtbot.waitSignal(handle.finished, timeout=5000):
        assert handle.state == "queued" and handle.active
    assert [entry for entry in heard if entry[0] == "step"] == [("step", 1, 3), ("step", 2, 3), ("step", 3, 3)]
    assert heard[0] == ("started",) and heard[-2:] == [("done", "picture"), ("finished",)]
    assert handle.state == "done" and set(threads) == {qtbot_thread()}


def qtbot_thread() -> QThread:
    from PySide6.QtWidgets import QApplication

    return QApplication.instance().thread()


def test_the_timer_rests_when_nothing_can_come(make, qtbot) -> None:
    engine = make()
    handle = engine.submit(Quick(count=5), park_after=1)
    qtbot.waitUntil(lambda: handle.state == "parked" and not engine._timer.isActive(), timeout=5000)
    handle.resume()
    assert engine._timer.isActive()
    qtbot.waitUntil(lambda: handle.state == "done" and not engine._timer.isActive(), timeout=5000)
    assert engine.last_status.idle and engine.last_status.state == "idle" and engine.active() == []


def test_a_rush_of_events_leaves_the_window_its_turns_and_keeps_its_order(make, qtbot) -> None:
    engine = make(runner=lambda job, ctx: iter(()))
    handle, heard = engine.submit(Quick()), []
    handle.record.connect(lambda _channel, payload: (heard.append(payload), time.sleep(0.003)))
    engine.status.connect(lambda status: heard.append(status))
    last = WorkerStatus(state="told after all of them")
    qtbot.waitUntil(lambda: not engine.active())
    engine._timer.stop()
    engine._handles[handle.run_id], handle.state = handle, "running"
    heard.clear()
    for number in range(6):
        engine._mailbox.put(events.Record(run_id=handle.run_id, channel="loss", payload=number))
    engine._mailbox.put_status(last)
    engine.drain()
    assert heard == [0, 1], "two of 3 ms are more than a turn"
    engine._mailbox.put(events.Record(run_id=handle.run_id, channel="loss", payload=6))
    assert engine._mailbox.backlog() == 1, "what comes meanwhile waits where the worker sees it"
    engine._timer.start()
    qtbot.waitUntil(lambda: 6 in heard)
    assert heard == [*range(6), last, 6] and not engine._arrived
    engine._handles.clear()


def test_stepping(make, qtbot) -> None:
    engine = make()
    handle = engine.submit(Quick(count=9), park_after=1)
    heard = listen(handle)
    qtbot.waitUntil(lambda: handle.state == "parked", timeout=5000)
    with qtbot.waitSignal(handle.parked, timeout=5000):
        handle.step_on(2)
    assert heard[-1] == ("parked", 3)
    assert ("preview", "x0", 2) in heard  # the parked picture has arrived before the parking
    handle.cancel()


def test_cancel_detaches_in_the_same_call(make, qtbot) -> None:
    engine = make()
    handle = engine.submit(Quick(count=10**6))
    heard = listen(handle)
    qtbot.waitUntil(lambda: ("started",) in heard, timeout=5000)
    handle.cancel()
    assert heard[-2:] == [("cancelled",), ("finished",)] and handle.state == "cancelled"
    count = len(heard)
    qtbot.waitUntil(lambda: engine.last_status.idle and not engine._timer.isActive(), timeout=5000)
    handle.cancel()
    assert len(heard) == count


def test_tuning_and_tuning_that_does_not_fit(make, qtbot) -> None:
    engine = make()
    handle = engine.submit(Quick(count=3), park_after=1)
    heard = listen(handle)
    qtbot.waitUntil(lambda: handle.state == "parked", timeout=5000)
    handle.tune(Quick(count=500, strength=0.25))
    assert handle.job == Quick(count=3, strength=0.25)
    with qtbot.waitSignal(handle.finished, timeout=5000):
        handle.resume()
    assert [entry[2] for entry in heard if entry[0] == "record"] == [1.0, 0.25, 0.25]


def test_failures_arrive_as_reports(make, qtbot) -> None:
    def failing(job, ctx):
        raise UserError("The map is empty.", hint="Draw something.")
        yield

    engine = make(failing)
    handle = engine.submit(Quick())
    with qtbot.waitSignal(handle.failed, timeout=5000) as caught:
        pass
    assert caught.args[0].title == "The map is empty." and handle.state == "failed"


def test_replace_policy_ends_the_older_run(make, qtbot) -> None:
    engine = make()
    first = engine.submit(Quick(count=10**6), key="a")
    second = engine.submit(Quick(count=1), key="a", policy="replace")
    with qtbot.waitSignal(second.done, timeout=5000):
        pass
    qtbot.waitUntil(lambda: first.state == "cancelled", timeout=5000)


def test_the_queue_is_counted_and_cancel_all_empties_it(make, qtbot) -> None:
    engine = make()
    handles = [engine.submit(Quick(count=10**6)) for _ in range(3)]
    qtbot.waitUntil(lambda: engine.last_status.queue == 2, timeout=5000)
    assert "quick" in engine.last_status.state and engine.last_status.device == "fake"
    engine.cancel_all()
    assert [handle.state for handle in handles] == ["cancelled"] * 3
    qtbot.waitUntil(lambda: engine.last_status.idle, timeout=5000)


def test_nothing_runs_before_start(make, qtbot) -> None:
    engine = make()
    assert not engine._worker.alive and not engine._timer.isActive()
    engine.start()
    qtbot.waitUntil(lambda: engine.last_status.idle, timeout=5000)


def test_closing_in_the_middle_of_a_long_call_gives_up_in_time(make, qtbot) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def stuck(job, ctx):
        inside.set()
        go_on.wait(20)
        yield events.Step(index=1, total=1)

    engine = make(stuck)
    handle = engine.submit(Quick())
    assert inside.wait(5)
    assert not engine.close(0.05)
    assert handle.state == "cancelled" and not engine._timer.isActive()
    go_on.set()
    assert engine.close(5)
