"""Who is next, and what a submit does to runs of the same key."""

from __future__ import annotations

from app.protocol import events
from app.protocol.commands import Submit
from app.worker.inbox import Inbox
from app.worker.mailbox import Mailbox
from app.worker.run import Run
from app.worker.scheduler import FIRST_GUESS_S, INTERACTIVE_SHARE, Scheduler
from tests.worker.fakes import Bench, Long, Quick


def steps(job, ctx):
    for i in range(job.count):
        yield events.Step(index=i + 1, total=job.count)


def make(run_id: int, job, key: str = "") -> Run:
    return Run(Submit(run_id=run_id, job=job, key=key or f"key {run_id}"), Inbox(), Mailbox())


def order(scheduler: Scheduler, turns: int, seconds: dict[int, float]) -> list[int]:
    """Numbers of the runs in the order they get their turns, each taking its `seconds`."""
    picked = []
    for _ in range(turns):
        run = scheduler.pick()
        picked.append(run.id)
        scheduler.spent(run, seconds[run.id])
    return picked


def test_round_robin_among_equals() -> None:
    scheduler = Scheduler()
    for run_id in (1, 2, 3):
        scheduler.admit(make(run_id, Long()), "queue")
    assert order(scheduler, 7, dict.fromkeys((1, 2, 3), 0.1)) == [1, 2, 3, 1, 2, 3, 1]


def test_interactive_first_but_long_ones_keep_their_share() -> None:
    scheduler = Scheduler()
    scheduler.admit(make(1, Long()), "queue")
    assert order(scheduler, 1, {1: 0.1}) == [1]
    scheduler.admit(make(2, Quick()), "queue")
    picked = order(scheduler, 1000, {1: 0.1, 2: 0.1})
    assert picked[:5] == [2, 2, 2, 2, 1]
    share = picked.count(1) / len(picked)
    assert abs(share - 1 / (1 + INTERACTIVE_SHARE)) < 0.02


def test_a_click_is_not_held_up_by_a_long_run_of_unknown_length() -> None:
    scheduler = Scheduler()
    scheduler.admit(make(1, Long()), "queue")
    scheduler.admit(make(2, Quick()), "queue")
    needed = int(INTERACTIVE_SHARE * FIRST_GUESS_S / 0.1)
    assert order(scheduler, needed, {1: 5.0, 2: 0.1}) == [2] * needed


def test_queue_waits_for_the_same_key_only() -> None:
    bench = Bench({"quick": steps})
    for run_id, key in ((1, "a"), (2, "a"), (3, "b")):
        bench.submit(run_id, Quick(count=2), key=key)
    bench.turn(4)
    assert bench.names(2) == ["Queued"] and "Step" in bench.names(3)
    assert bench.statuses[-1].queue == 1
    bench.go()
    begin = [(type(e).__name__, e.run_id) for e in bench.seen]
    assert begin.index(("Started", 2)) > begin.index(("Done", 1))


def test_without_a_key_runs_of_one_kind_queue() -> None:
    bench = Bench({"quick": steps})
    bench.submit(1, Quick(count=2))
    bench.submit(2, Quick(count=2))
    bench.turn(2)
    assert bench.names(2) == ["Queued"]


def test_replace_ends_all_of_the_key_also_parked_ones() -> None:
    bench = Bench({"quick": steps})
    bench.submit(1, Quick(count=9), key="a", park_after=1)
    bench.submit(2, Quick(count=9), key="a")
    bench.submit(3, Quick(count=9), key="b", park_after=1)
    bench.go()
    bench.submit(4, Quick(count=1), key="a", policy="replace")
    bench.go()
    assert bench.names(1)[-1] == bench.names(2)[-1] == "Cancelled"
    assert bench.names(3)[-1] == "Parked" and bench.names(4)[-1] == "Done"


def test_follow_lets_the_running_one_end_and_keeps_the_newest() -> None:
    bench = Bench({"quick": steps})
    bench.submit(1, Quick(count=3), key="a", policy="follow")
    bench.turn()
    for run_id in (2, 3, 4):
        bench.submit(run_id, Quick(count=1), key="a", policy="follow")
    bench.go()
    assert [bench.names(run_id)[-1] for run_id in (1, 2, 3, 4)] == ["Done", "Cancelled", "Cancelled", "Done"]
    assert bench.names(2) == ["Queued", "Cancelled"]
