"""The grammar of a run."""

from __future__ import annotations

import pytest

from app.protocol.errors import ErrorReport
from app.protocol.events import Cancelled, Done, Failed, Parked, Preview, Queued, Record, Resumed, Started, Step, grammar_error

FAILED = Failed(report=ErrorReport(kind="user", title="no"))
STEP = Step(index=1, total=1)


@pytest.mark.parametrize(
    "events",
    [
        [Queued(), Cancelled()],
        [Queued(), FAILED],
        [Queued(), Started(), Done(result=None)],
        [Queued(), Started(), Preview(channel="x", payload=1), STEP, Parked(index=1), Resumed(), Record(channel="x", payload=1), FAILED],
    ],
)
def test_runs_that_obey(events) -> None:
    assert grammar_error(events) == ""


@pytest.mark.parametrize(
    "events",
    [
        [], [Queued()], [Started(), Done(result=1)], [Queued(), Started(), STEP], [Queued(), STEP, Started(), Cancelled()],
        [Queued(), Queued(), Cancelled()], [Queued(), Cancelled(), Cancelled()], [Queued(), Done(result=1), STEP, Cancelled()],
        [Queued(run_id=1), Done(run_id=2, result=1)],
    ],
)  # fmt: skip
def test_runs_that_do_not(events) -> None:
    assert grammar_error(events)
