"""Residency: one load per model, pins, least recently used first, exclusive copies."""

from __future__ import annotations

import pytest

from app.protocol import commands, events
from app.protocol.events import Evicted, Loading
from app.worker.backend import Place
from app.worker.zoo import Zoo
from tests.worker.fakes import Bench, FakeBackend, Long, Quick

GPU, CPU = Place("gpu", "float32"), Place("cpu", "float32")


class Keeper:
    """A zoo whose models take 40 bytes each, with its events."""

    def __init__(self, gpu: int = 100, cpu: int = 100) -> None:
        self.backend = FakeBackend({"gpu": gpu, "cpu": cpu})
        self.loads: list[str] = []
        self.events: list = []
        self.zoo = Zoo(self.backend, self.load, lambda key: 40)

    def load(self, key, device, dtype, progress):
        self.loads.append(key)
        return f"{key} #{len(self.loads)}"

    def use(self, key: str, place: Place = GPU, **words):
        return self.zoo.use(key, place, self.events.append, **words)

    def evicted(self) -> list[str]:
        return [event.key for event in self.events if isinstance(event, Evicted)]


def test_a_model_is_loaded_once_and_told() -> None:
    keeper = Keeper()
    with keeper.use("vae") as first, keeper.use("vae") as again:
        assert first is again and keeper.zoo.pins() == 2
    with keeper.use("vae"):
        pass
    assert keeper.loads == ["vae"] and keeper.zoo.pins() == 0
    assert [(e.done, e.total) for e in keeper.events if isinstance(e, Loading)] == [(0, 40), (40, 40)]


def test_the_least_recently_used_goes_to_main_memory_and_comes_back_without_a_load() -> None:
    keeper = Keeper()
    for key in ("a", "b", "a", "c"):  # two fit; b is the oldest when c comes
        with keeper.use(key):
            pass
    assert keeper.evicted() == ["b"] and keeper.backend.moves == [("b #2", "cpu")]
    assert keeper.zoo.bytes_on("gpu") == 80 and keeper.zoo.bytes_on("cpu") == 40
    with keeper.use("b") as model:
        assert model == "b #2"
    assert keeper.loads == ["a", "b", "c"] and keeper.evicted() == ["b", "a"]


def test_without_room_in_main_memory_it_is_dropped() -> None:
    keeper = Keeper(cpu=30)
    for key in ("a", "b", "c"):
        with keeper.use(key):
            pass
    assert keeper.zoo.keys() == ("b", "c") and keeper.zoo.bytes_on("cpu") == 0


def test_pinned_models_stay_even_if_the_budget_is_exceeded() -> None:
    keeper = Keeper()
    with keeper.use("a"), keeper.use("b"), keeper.use("c"):
        assert keeper.evicted() == [] and keeper.zoo.bytes_on("gpu") == 120


def test_an_exclusive_copy_is_ones_own_and_goes_at_the_end() -> None:
    keeper = Keeper()
    with keeper.use("a") as shared, keeper.use("a", exclusive=True) as own:
        assert own != shared
        with keeper.use("a") as other:
            assert other is shared
    assert keeper.zoo.keys() == ("a",) and keeper.zoo.bytes_on("gpu") == 40


def test_dropped_weights_are_read_again() -> None:
    keeper = Keeper()
    with keeper.use("a") as old:
        keeper.zoo.drop("a")
        with keeper.use("a") as new:
            assert new != old
    assert keeper.zoo.pins() == 0 and keeper.loads == ["a", "a"]


def test_evict_unpinned_spares_what_is_in_use() -> None:
    keeper = Keeper()
    with keeper.use("b"):
        pass
    with keeper.use("a"):
        assert keeper.zoo.evict_unpinned(keeper.events.append) == 1
        assert keeper.zoo.keys() == ("a",)
    assert keeper.backend.emptied == 1


def test_a_failed_load_leaves_nothing_behind() -> None:
    keeper = Keeper()
    keeper.zoo._load = lambda *args: (_ for _ in ()).throw(OSError("cut short"))
    with pytest.raises(OSError), keeper.use("a"):
        pass
    assert keeper.zoo.keys() == () and keeper.zoo.pins() == 0


def uses(job, ctx):
    with ctx.zoo.use("a") as first, ctx.zoo.use("b") as second:
        yield events.Record(channel="models", payload=(first, second))
        for i in range(3):
            yield events.Step(index=i + 1, total=3)


@pytest.mark.parametrize("turns", range(1, 6))
def test_cancelling_at_any_yield_releases_all_pins(turns) -> None:
    bench = Bench({"quick": uses}, sizes={"a": 40, "b": 40})
    bench.submit(1, Quick())
    bench.turn(turns)
    bench.worker.post(commands.Cancel(run_id=1))
    bench.go()
    assert bench.worker.zoo.pins() == 0 and bench.names(1)[-1] in ("Cancelled", "Done")
    assert "Loading" in bench.names(1)


def test_cancelling_while_a_model_loads() -> None:
    bench = Bench({"long": uses}, sizes={"a": 40})

    def load(key, device, dtype, progress):
        progress(1, 100)
        bench.worker.post(commands.Cancel(run_id=1))
        for done in range(2, 101):
            progress(done, 100)
        raise AssertionError("loading went on after cancel")

    bench.worker._load = load
    bench.submit(1, Long())
    bench.go()
    assert bench.names(1)[-1] == "Cancelled" and bench.worker.zoo.keys() == ()
    assert any("loading a" in status.state for status in bench.statuses) or bench.names(1).count("Loading") >= 1
