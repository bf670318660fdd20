"""The loop: lifecycle, gate, cancelling, scheduling, errors. By hand, without a thread, torch or Qt."""

from __future__ import annotations

import os
import sys
import threading
import time

import pytest

from app.protocol import commands, events
from app.protocol.errors import UserError
from app.worker.context import CancelRun
from app.worker.run import Run
from tests.worker.fakes import Bench, Long, Quick


def count(job, ctx):
    for i in range(job.count):
        if ctx.wants("x", last=i + 1 == job.count):
            yield events.Preview(channel="x", payload=i + 1)
        yield events.Step(index=i + 1, total=job.count)
    return job.count


def endless(job, ctx):
    i = 0
    while True:
        i += 1
        yield events.Step(index=i, total=0)


def test_a_run_from_queued_to_done() -> None:
    bench = Bench({"quick": count})
    bench.submit(7, Quick(count=2))
    seen = bench.go()
    assert bench.names(7) == ["Queued", "Started", "Preview", "Step", "Preview", "Step", "Done"]
    assert seen[-1].result == 2 and {event.run_id for event in seen} == {7}
    assert events.grammar_error(seen) == ""
    assert bench.statuses[-1].idle and bench.statuses[-1].state == "idle"


def test_park_after_first_step_then_step_then_resume() -> None:
    bench = Bench({"quick": count})
    bench.submit(1, Quick(count=6), park_after=1)
    bench.go()
    assert bench.names(1)[-2:] == ["Step", "Parked"] and bench.seen[-1].index == 1
    assert "parked" in bench.statuses[-1].state and bench.statuses[-1].parked == (1,)
    bench.worker.post(commands.StepOn(run_id=1, count=2))
    bench.go()
    assert bench.names(1)[-6:] == ["Resumed", "Preview", "Step", "Preview", "Step", "Parked"] and bench.seen[-1].index == 3
    bench.worker.post(commands.Resume(run_id=1))
    bench.go()
    assert bench.names(1)[-1] == "Done" and bench.names(1).count("Step") == 6
    assert events.grammar_error(bench.of(1)) == ""


def test_a_runner_knows_whether_somebody_waits_for_a_step() -> None:
    """Free: it may gather several steps; stepping, or about to pause: each is wanted as it comes."""
    told = []

    def gathers(job, ctx):
        for i in range(6):
            told.append(ctx.stepping)
            if ctx.stepping or i in (2, 5):
                yield events.Step(index=i + 1, total=0)

    bench = Bench({"quick": gathers})
    bench.submit(1, Quick(count=6), park_after=1)
    bench.go()
    assert told == [True] and bench.names(1)[-2:] == ["Step", "Parked"]
    bench.worker.post(commands.Resume(run_id=1))
    bench.go()
    assert told[1:] == [False] * 5 and [e.index for e in bench.of(1) if isinstance(e, events.Step)] == [1, 3, 6]


def test_steps_told_together_share_their_time() -> None:
    run = Run(commands.Submit(run_id=1, job=Quick()), None, None)
    run.note_time(1.0)
    run.note_step(events.Step(index=10, total=0))
    assert run.seconds_per_step == pytest.approx(0.1)
    run.note_time(0.1)
    run.note_step(events.Step(index=11, total=0))
    assert run.seconds_per_step == pytest.approx(0.1)


def test_stepping_through_does_not_stop_after_the_last_step() -> None:
    bench = Bench({"quick": count})
    bench.submit(1, Quick(count=2), park_after=1)
    bench.go()
    bench.worker.post(commands.StepOn(run_id=1))
    bench.go()
    assert bench.names(1)[-2:] == ["Step", "Done"]


def test_pause_waits_for_the_end_of_the_step() -> None:
    bench = Bench({"quick": count})
    bench.submit(1, Quick(count=4))
    bench.turn(3)  # preview 1, step 1, preview 2: in the middle of step 2
    assert bench.names(1)[-1] == "Preview"
    bench.worker.post(commands.Pause(run_id=1))
    bench.go()
    assert bench.names(1)[-2:] == ["Step", "Parked"] and bench.seen[-1].index == 2


def test_pause_before_the_first_step_keeps_the_grammar() -> None:
    bench = Bench({"quick": count})
    bench.submit(1, Quick(count=1))
    bench.worker.post(commands.Pause(run_id=1))
    bench.go()
    assert bench.names(1) == ["Queued", "Started", "Parked"]
    bench.worker.post(commands.Resume(run_id=1))
    bench.go()
    assert events.grammar_error(bench.of(1)) == ""


def test_others_work_on_while_one_is_parked() -> None:
    bench = Bench({"quick": count, "long": count})
    bench.submit(1, Quick(count=9), park_after=1)
    bench.submit(2, Long(count=2))
    bench.go()
    assert bench.names(1)[-1] == "Parked" and bench.names(2)[-1] == "Done"


def test_cancel_closes_the_generator_so_that_with_blocks_unwind() -> None:
    left = []

    def runner(job, ctx):
        try:
            yield from endless(job, ctx)
        finally:
            left.append("unwound")

    bench = Bench({"quick": runner})
    bench.submit(1, Quick())
    bench.turn(3)
    bench.worker.post(commands.Cancel(run_id=1))
    bench.go()
    assert left == ["unwound"] and bench.names(1)[-1] == "Cancelled"
    assert events.grammar_error(bench.of(1)) == ""


def test_cancel_shows_to_check_before_the_command_is_applied() -> None:
    bench = Bench({})

    def runner(job, ctx):
        bench.worker.post(commands.Cancel(run_id=1))  # as if another thread had clicked meanwhile
        ctx.check()
        raise AssertionError("check() let a cancelled run go on")
        yield

    bench.worker._runner = lambda name: runner
    bench.submit(1, Quick())
    bench.go()
    assert bench.names(1) == ["Queued", "Started", "Cancelled"]


def test_cancelling_a_waiting_run_and_one_that_has_ended() -> None:
    bench = Bench({"quick": count})
    bench.submit(1, Quick(count=1))
    bench.submit(2, Quick(count=1))
    bench.worker.post(commands.Cancel(run_id=2))
    bench.go()
    bench.worker.post(commands.Cancel(run_id=1))
    bench.go()
    assert bench.names(2) == ["Queued", "Cancelled"] and bench.names(1)[-1] == "Done"


def test_a_runner_that_resists_closing_fails_but_the_worker_lives() -> None:
    def stubborn(job, ctx):
        try:
            yield events.Step(index=1, total=2)
        finally:
            raise RuntimeError("no")

    bench = Bench({"quick": stubborn, "long": count})
    bench.submit(1, Quick())
    bench.turn()
    bench.worker.post(commands.Cancel(run_id=1))
    bench.submit(2, Long())
    bench.go()
    assert bench.names(1)[-1] == "Failed" and bench.names(2)[-1] == "Done"


def test_quit_ends_every_run() -> None:
    bench = Bench({"quick": endless, "long": endless})
    bench.submit(1, Quick(), park_after=1)
    bench.submit(2, Long())
    bench.turn(6)
    bench.worker.post(commands.Quit())
    bench.worker.turn()
    bench.look()
    assert bench.names(1)[-1] == bench.names(2)[-1] == "Cancelled"
    assert not bench.worker.turn()


@pytest.mark.parametrize(
    "error, kind", [(UserError("No such map.", hint="Draw one."), "user"), (ValueError("x"), "bug"), (SystemExit(3), "bug")]
)
def test_errors_cross_as_text(error, kind) -> None:
    def failing(job, ctx):
        yield events.Step(index=1, total=2)
        raise error

    bench = Bench({"quick": failing})
    bench.submit(1, Quick(count=5))
    bench.go()
    report = bench.seen[-1].report
    assert report.kind == kind and "failing" in report.traceback and '"count": 5' in report.job_json
    assert all(isinstance(value, str) for value in vars(report).values())
    if kind == "user":
        assert (report.title, report.hint) == ("No such map.", "Draw one.")


def test_yielding_what_only_the_worker_says_is_a_bug() -> None:
    def runner(job, ctx):
        yield events.Done(result=1)

    bench = Bench({"quick": runner})
    bench.submit(1, Quick())
    bench.go()
    assert bench.names(1) == ["Queued", "Started", "Failed"] and bench.seen[-1].report.kind == "bug"


def test_without_a_device_every_run_fails_with_the_reason() -> None:
    bench = Bench({"quick": count})

    def broken():
        raise UserError("This machine has no device 'cuda'.", hint="Choose auto.")

    bench.worker._make_backend = broken
    bench.submit(1, Quick())
    bench.go()
    assert bench.names(1) == ["Queued", "Failed"] and "no device" in bench.seen[-1].report.title
    assert "no device" in bench.statuses[-1].state and bench.statuses[-1].idle


def test_out_of_memory_is_tried_again_once_when_nothing_was_kept() -> None:
    tries = []

    def hungry(job, ctx):
        tries.append(1)
        yield events.Preview(channel="x", payload=0)
        if len(tries) == 1:
            raise MemoryError
        return "fits"

    bench = Bench({"quick": hungry})
    bench.submit(1, Quick())
    bench.go()
    assert len(tries) == 2 and bench.seen[-1].result == "fits"
    assert bench.backend.emptied == 1 and events.grammar_error(bench.of(1)) == ""


@pytest.mark.parametrize("kept", [True, False])
def test_out_of_memory_for_good(kept) -> None:
    tries = []

    def hungry(job, ctx):
        tries.append(1)
        if kept:
            yield events.Record(channel="loss", payload=1.0)
        raise MemoryError
        yield

    bench = Bench({"quick": hungry})
    bench.submit(1, Quick())
    bench.go()
    assert len(tries) == (1 if kept else 2)
    assert bench.seen[-1].report.kind == "memory" and "smaller" in bench.seen[-1].report.hint


def test_grad_is_on_only_for_training_and_only_inside_next() -> None:
    modes = []

    def look(job, ctx):
        modes.append(bench.backend.grad)
        yield events.Step(index=1, total=1)
        modes.append(bench.backend.grad)

    bench = Bench({"quick": look, "long": look})
    bench.submit(1, Long())
    bench.turn()
    assert not bench.backend.grad
    bench.go()
    bench.submit(2, Quick())
    bench.go()
    assert modes == [True, True, False, False]


def test_tuning_reaches_the_running_job() -> None:
    strengths = []

    def runner(job, ctx):
        for i in range(3):
            strengths.append(ctx.job.strength)
            yield events.Step(index=i + 1, total=3)

    bench = Bench({"quick": runner})
    bench.submit(1, Quick())
    bench.turn()
    bench.worker.post(commands.Tune(run_id=1, job=Quick(strength=0.5)))
    bench.worker.post(commands.Tune(run_id=1, job=Long()))  # another kind of job is not taken over
    bench.go()
    assert strengths == [1.0, 0.5, 0.5]


def test_seed_minus_one_is_drawn_and_others_are_kept() -> None:
    seeds = []

    def runner(job, ctx):
        seeds.append((ctx.seed, ctx.rng))
        yield events.Step(index=1, total=1)

    bench = Bench({"quick": runner})
    for run_id, seed in enumerate((5, -1, -1), start=1):
        bench.submit(run_id, Quick(seed=seed))
    bench.go()
    assert seeds[0] == (5, 5) and seeds[1][0] >= 0 and seeds[1] != seeds[2]


def test_previews_nobody_fetched_are_not_made_but_the_last_and_parked_ones_are() -> None:
    bench = Bench({"quick": count})
    bench.submit(1, Quick(count=5))
    while bench.worker.turn():
        pass  # nobody drains the mailbox
    bench.look()
    previews = [event.payload for event in bench.seen if isinstance(event, events.Preview)]
    assert previews == [5]  # 2 to 4 were not wanted, 5 took the place of 1
    bench.submit(2, Quick(count=5), park_after=3)
    while bench.worker.turn():
        pass
    bench.look()
    assert [type(event).__name__ for event in bench.of(2)[-3:]] == ["Preview", "Step", "Parked"]
    assert bench.of(2)[-3].payload == 3


def test_without_a_watcher_no_preview_is_made_at_all() -> None:
    bench = Bench({"quick": count}, previews=False)
    bench.submit(1, Quick(count=3))
    bench.go()
    assert "Preview" not in bench.names(1) and bench.names(1)[-1] == "Done"


def test_every_lets_through_once_per_interval(monkeypatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("app.worker.context.time.perf_counter", lambda: clock[0])
    passed = []

    def runner(job, ctx):
        for i in range(10):
            clock[0] += 0.006
            if ctx.every(16):
                passed.append(i)
        yield events.Step(index=1, total=1)

    bench = Bench({"quick": runner})
    bench.submit(1, Quick())
    bench.go()
    assert passed == [0, 3, 6, 9]


def test_breath_sleeps_only_when_it_is_time(monkeypatch) -> None:
    from app.worker.context import BREATH_S, Breath

    clock, slept = [0.0], []
    monkeypatch.setattr("app.worker.context.time.perf_counter", lambda: clock[0])
    breath = Breath(sleep=slept.append)
    for _ in range(40):
        clock[0] += 0.0001
        breath()
    assert slept == [BREATH_S] * 2  # 4 ms of Python


def test_cancel_run_passes_a_broad_except() -> None:
    assert not issubclass(CancelRun, Exception)


def test_the_thread_runs_and_ends() -> None:
    bench = Bench({"quick": count})
    bench.worker.start()
    bench.submit(1, Quick(count=3))
    give_up = time.monotonic() + 10
    while "Done" not in bench.names(1) and time.monotonic() < give_up:
        bench.mailbox.wait(0.1)
        bench.look()
    bench.worker.post(commands.Quit())
    assert bench.worker.join(5) and not bench.worker.alive
    assert bench.names(1)[-1] == "Done"


@pytest.mark.skipif(sys.platform != "linux", reason="a nice level of one thread is known to Linux alone")
def test_the_thread_stands_back_when_asked_and_no_other_does() -> None:
    bench, levels = Bench({"quick": count}), []
    backend = bench.worker._make_backend

    def noting() -> object:
        levels.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return backend()

    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    bench.worker._make_backend = noting
    bench.worker.start(nice=own + 3)
    bench.worker.post(commands.Quit())
    assert bench.worker.join(5) and levels == [min(own + 3, 19)]
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == own


def test_a_stuck_reader_stops_the_runs_but_not_the_commands(monkeypatch) -> None:
    monkeypatch.setattr("app.worker.loop.MAX_BACKLOG", 5)
    bench = Bench({"quick": endless})
    bench.submit(1, Quick())
    for _ in range(30):
        bench.worker.turn()  # nobody drains
    assert bench.mailbox.backlog() == 6
    bench.worker.post(commands.Cancel(run_id=1))
    bench.go()
    assert bench.names(1)[-1] == "Cancelled" and bench.names(1).count("Step") == 4
