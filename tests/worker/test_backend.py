"""The torch side on the CPU, and that `drive` notices state left open across a yield."""

from __future__ import annotations

import pytest

from app.protocol import events
from app.protocol.errors import UserError
from app.worker.backend import TorchBackend, physical_bytes, resident_bytes
from tests.worker.fakes import Long, Quick

torch = pytest.importorskip("torch")


def test_places_and_dtypes() -> None:
    backend = TorchBackend(device="cpu")
    assert (backend.name, backend.dtype_name) == ("cpu", "float32")
    place = backend.place("auto", grad=True)
    assert place.device == torch.device("cpu") and place.dtype == torch.float32 and backend.on_cpu(place.device)
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="no device 'cuda'"):
            backend.place("cuda", grad=False)


def test_the_same_seed_gives_the_same_noise() -> None:
    backend = TorchBackend(device="cpu")
    a, b = (torch.randn(3, generator=backend.rng(2**32 - 1)) for _ in range(2))
    assert torch.equal(a, b) and not torch.equal(a, torch.randn(3, generator=backend.rng(1)))


def test_sizes_count_shared_weights_once() -> None:
    backend = TorchBackend(device="cpu")
    layer = torch.nn.Linear(10, 10, bias=False)
    assert backend.size(torch.nn.Sequential(layer, layer)) == 400 and backend.size("no module") == 0


def test_memory_errors_are_told_from_others() -> None:
    backend = TorchBackend(device="cpu")
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert backend.is_memory_error(caught.value) and backend.is_memory_error(MemoryError())
    assert not backend.is_memory_error(RuntimeError("shapes differ")) and not backend.is_memory_error(ValueError("out of memory"))


def test_memory_figures_are_plausible() -> None:
    assert 10**7 < resident_bytes() < physical_bytes()


def test_grad_follows_the_job(drive) -> None:
    def runner(job, ctx):
        yield events.Record(channel="grad", payload=torch.is_grad_enabled())
        yield events.Record(channel="grad", payload=torch.is_grad_enabled())

    for job, wanted in ((Quick(), False), (Long(), True)):
        assert [e.payload for e in drive(job, runner=runner) if isinstance(e, events.Record)] == [wanted] * 2


def test_drive_notices_what_is_left_open_across_a_yield(drive) -> None:
    def runner(job, ctx):
        with torch.autocast("cpu", torch.bfloat16):
            yield events.Step(index=1, total=1)

    seen = drive(Quick(), runner=runner)
    assert isinstance(seen[-1], events.Failed) and "changed across a yield" in seen[-1].report.title
    assert not torch.is_autocast_enabled("cpu")


def test_models_are_shared_between_runs_of_the_zoo(drive) -> None:
    layer = torch.nn.Linear(2, 2)

    def runner(job, ctx):
        with ctx.zoo.use("a") as model, torch.inference_mode():
            out = model(torch.ones(1, 2, dtype=ctx.dtype, device=ctx.device))
        yield events.Record(channel="out", payload=(model is layer, tuple(out.shape)))

    assert [e.payload for e in drive(Quick(), models={"a": layer}, runner=runner) if isinstance(e, events.Record)] == [(True, (1, 2))]
