"""Shared by all tests: no display, a home of their own, no thread or timer left behind, and `drive`."""

from __future__ import annotations

import contextlib
import gc
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import platformdirs
import pytest

SMOLLM2_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def _users_models() -> Path:
    """The person's model folder, looked up before the tests get a home of their own."""
    home = os.environ.get("GLASSBOX_HOME")
    data = Path(home) / "data" if home else Path(platformdirs.user_data_dir("Glassbox", appauthor=False))
    return Path(os.environ.get("GLASSBOX_MODELS") or data / "models")


SMOLLM2 = Path(os.environ.get("GLASSBOX_SMOLLM2") or _users_models() / SMOLLM2_FILE)
os.environ["QT_QPA_PLATFORM"] = "offscreen"
os.environ["GLASSBOX_HOME"] = tempfile.mkdtemp(prefix="glassbox-tests-")

THREAD_ENDS_WITHIN_S = 5.0


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch) -> None:
    """User folders of each test are empty and its own."""
    monkeypatch.setenv("GLASSBOX_HOME", str(tmp_path / "glassbox-home"))
    monkeypatch.delenv("GLASSBOX_MODELS", raising=False)


@pytest.fixture(autouse=True)
def nothing_left_behind(request) -> Iterator[None]:
    """Fail a test that leaves a thread or, if it uses Qt, a running QTimer behind."""
    before = set(threading.enumerate())
    yield
    give_up = time.monotonic() + THREAD_ENDS_WITHIN_S
    while (left := [t for t in set(threading.enumerate()) - before if t.is_alive()]) and time.monotonic() < give_up:
        time.sleep(0.01)
    assert not left, f"threads outlive the test: {[thread.name for thread in left]}"
    if {"qapp", "qtbot"} & set(request.fixturenames):
        assert not (timers := running_timers()), f"timers outlive the test: {timers}"


def running_timers() -> list[str]:
    """QTimers that are alive and active after what was to be deleted is deleted."""
    import shiboken6
    from PySide6.QtCore import QCoreApplication, QEvent, QTimer

    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    timers = [item for item in gc.get_objects() if issubclass(type(item), QTimer) and shiboken6.isValid(item)]
    return [f"{timer.interval()} ms in {timer.parent()!r}" for timer in timers if timer.isActive()]


def torch_state() -> tuple:
    """What a context manager left open across a yield would change."""
    import torch

    autocast = torch.is_autocast_enabled("cpu"), torch.is_autocast_enabled("cuda")
    modes = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
    return *modes, *autocast, torch.get_default_dtype(), torch.get_default_device()


def watching_backend() -> object:
    """The CPU backend; a `next()` that changes torch's state fails the run."""
    from app.worker.backend import TorchBackend

    class Watching(TorchBackend):
        @contextlib.contextmanager
        def grad_mode(self, enabled: bool) -> Iterator[None]:
            with super().grad_mode(enabled):
                before = torch_state()
                yield
                assert torch_state() == before, "torch's state is changed across a yield"

    return Watching(device="cpu")


@pytest.fixture(scope="session")
def smollm2_path() -> Path:
    """The file of SmolLM2; tests that need it are skipped where it is missing."""
    if not SMOLLM2.is_file():
        pytest.skip("SmolLM2 is not here; fetch it with: python main.py models fetch smollm2")
    return SMOLLM2


@pytest.fixture(scope="session")
def smollm2(smollm2_path):
    """SmolLM2 in its number format on this machine, loaded once for all tests."""
    from models.language.loading import load_language_model

    return load_language_model(smollm2_path, keep=False)


@pytest.fixture
def drive() -> Callable[..., list]:
    """`drive(job, models={key: module}, runner=…)` runs a job without a thread and returns all of its events.

    Without `models` the catalogue is used; without `runner` the table. After the run no model may be pinned, the
    events must obey the grammar, and no `next()` may leave torch's thread-wide state changed.
    """
    from app import runners
    from app.protocol.commands import Submit
    from app.protocol.events import grammar_error
    from app.worker import loop
    from app.worker.mailbox import Mailbox

    def run(job, *, models=None, runner=None, previews=True, park_after=None) -> list:
        mailbox = Mailbox(previews=previews)
        options = {"backend": watching_backend}
        if models is not None:
            options["load"] = lambda key, device, dtype, progress: models[key].to(device, dtype)
            options["expected_size"] = lambda key: 0
        worker = loop.GpuWorker(mailbox, (lambda name: runner) if runner else runners.runner, **options)
        worker.post(Submit(run_id=1, job=job, park_after=park_after))
        seen = []
        while worker.turn():
            seen += mailbox.drain()[0]
        seen += mailbox.drain()[0]
        if park_after is None:
            assert grammar_error(seen) == ""
            assert worker.zoo.pins() == 0
        return seen

    return run
