"""Lossless events all arrive, of lossy ones the newest, barriers flush first."""

from __future__ import annotations

from app.protocol.events import Done, Parked, Preview, Progress, Record, Step
from app.protocol.status import WorkerStatus
from app.worker.mailbox import Mailbox


def preview(value: int, run_id: int = 1, channel: str = "x0") -> Preview:
    return Preview(run_id=run_id, channel=channel, payload=value)


def test_records_all_arrive_and_previews_only_the_newest_in_the_order_sent() -> None:
    box = Mailbox()
    box.put(preview(1))
    for i in range(3):
        box.put(Record(run_id=1, channel="loss", payload=i))
    box.put(preview(2))
    box.put(Progress(run_id=1, done=1))
    box.put(Progress(run_id=1, done=2))
    arrived, _ = box.drain()
    assert [e.payload for e in arrived if isinstance(e, Record)] == [0, 1, 2]
    assert arrived[-2:] == [preview(2), Progress(run_id=1, done=2)] and len(arrived) == 5
    assert box.drain() == ([], None)


def test_slots_are_per_run_and_channel() -> None:
    box = Mailbox()
    for event in (preview(1), preview(2, channel="xt"), preview(3, run_id=2), preview(4)):
        box.put(event)
    assert [e.payload for e in box.drain()[0]] == [2, 3, 4]


def test_wants_is_false_while_the_slot_is_full() -> None:
    box = Mailbox()
    assert box.wants(1, "x0")
    box.put(preview(1))
    assert not box.wants(1, "x0") and box.wants(1, "xt") and box.wants(2, "x0")
    box.drain()
    assert box.wants(1, "x0")
    assert not Mailbox(previews=False).wants(1, "x0")


def test_a_barrier_flushes_the_slots_of_its_run() -> None:
    box = Mailbox()
    box.put(preview(1))
    box.put(preview(9, run_id=2))
    box.put(Step(run_id=1, index=1, total=2))
    box.put(Parked(run_id=1, index=1))
    assert box.wants(1, "x0") and not box.wants(2, "x0")
    box.put(preview(2))  # must not overtake the parked picture
    box.put(Done(run_id=1, result=None))
    arrived = [e for e in box.drain()[0] if e.run_id == 1]
    assert [getattr(e, "payload", type(e).__name__) for e in arrived] == [1, "Step", "Parked", 2, "Done"]


def test_the_newest_status_wins_and_waiting_ends() -> None:
    box = Mailbox()
    assert not box.wait(0.0)
    box.put_status(WorkerStatus(state="a"))
    box.put_status(WorkerStatus(state="b"))
    assert box.wait(0.0)
    assert box.drain()[1].state == "b" and box.drain()[1] is None


def test_backlog_counts_what_nobody_fetched() -> None:
    box = Mailbox()
    for i in range(4):
        box.put(Record(run_id=1, channel="c", payload=i))
    box.put(preview(1))
    assert box.backlog() == 4
    box.drain()
    assert box.backlog() == 0
