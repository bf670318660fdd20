"""Views and training of the tile lab on tiny flows: what is shown is what the flow computes."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from app.jobs.flows import REAL, FlowBetween, FlowFacts, FlowFill, FlowLayers, FlowSamples, KeptFlows, LearnFlow
from app.protocol.commands import Cancel, Submit
from app.protocol.events import Cancelled, Done, Failed, Record, Step
from app.protocol.job import job_from_dict
from app.runners import flows_kept, flows_views, runner
from app.runners.flows import sheet
from app.worker import loop
from app.worker.mailbox import Mailbox
from models import catalog
from models.flows import depth
from tests.conftest import watching_backend
from tests.runners.test_flows import kind  # noqa: F401  the fixture: tiny weights of both kinds

LOWER = tuple(range(128, 256))
TINY = {"steps": 4, "depth": 1, "width": 4, "scenes": 512, "batch_size": 8, "samples": 4, "look_every": 0.0}


@pytest.fixture(autouse=True)
def nothing_trained(monkeypatch):
    monkeypatch.setattr(flows_views, "OWN", {})
    monkeypatch.setattr("app.runners.flows_live.OWN", flows_views.OWN)


def result(events):
    assert isinstance(events[-1], Done), events[-1]
    return events[-1].result


def records(events, channel):
    return [event.payload for event in events if isinstance(event, Record) and event.channel == channel]


def tiles_of(image):
    rows, columns = image.height // 16, image.width // 16
    return image.pixels.reshape(rows, 16, columns, 16, 3).swapaxes(1, 2).reshape(-1, 16, 16, 3).astype(int)


def real_tiles(model):
    return tiles_of(sheet(flows_views.real(REAL, model.shape[0]), 8, ""))


def test_samples_are_the_same_noise_at_any_temperature(kind, drive):  # noqa: F811
    model = catalog.load(f"playworld/{kind}")
    for temperature, share in ((0.7, 1.0), (1.0, 0.25)):
        done = result(drive(FlowSamples(kind=kind, temperature=temperature, share=share, samples=8, seed=3)))
        with torch.no_grad():
            noise = temperature * model.noise(8, torch.Generator().manual_seed(3))
            expected = sheet(model.decode(depth.thinned(model, noise, share)), 8, "")
        assert np.array_equal(done.files["samples"].pixels, expected.pixels)
        assert done.facts["kept"] == round(share * model.dims)
    cold = tiles_of(result(drive(FlowSamples(kind=kind, temperature=0.0, samples=8))).files["samples"])
    assert (cold == cold[0]).all()


def test_the_way_between_two_pictures_ends_at_them(kind, drive):  # noqa: F811
    model = catalog.load(f"playworld/{kind}")
    done = result(drive(FlowBetween(kind=kind, first=3, second=5, columns=5)))
    both, real = tiles_of(done.files["path"]), real_tiles(model)
    for way in (both[:5], both[5:]):
        assert abs(way[0] - real[3]).max() <= 1 and abs(way[-1] - real[5]).max() <= 1
    assert abs(both[7] - (real[3] + real[5]) / 2).max() <= 1.5, "the lower row fades over"
    bits = done.facts["bits"]
    assert len(bits) == len(done.facts["faded_bits"]) == 5 and done.facts["end_error"] < 1e-3
    with torch.no_grad():
        assert bits[0] == pytest.approx(float(model.bits_per_dim(flows_views.chosen(model, 3))), abs=1e-3)


@pytest.mark.parametrize("method", ["adam", "ascent", "langevin"])
def test_filling_in_is_told_step_by_step_and_leaves_what_is_given(kind, method, drive):  # noqa: F811
    events = drive(FlowFill(kind=kind, tile=2, hidden=LOWER, method=method, steps=5, seed=1))
    done, steps = result(events), records(events, "fill")
    real = real_tiles(catalog.load(f"playworld/{kind}"))[2]
    assert [step.index for step in steps] == list(range(6)) == [0, *(e.index for e in events if isinstance(e, Step))]
    for step in steps:
        assert np.array_equal(step.picture.pixels[:8], real[:8]) and not np.array_equal(step.picture.pixels[8:], real[8:])
    if method == "ascent":
        assert all(after.bits <= before.bits for before, after in zip(steps, steps[1:])) and steps[-1].bits < steps[0].bits
    else:
        assert all(step.accepted for step in steps)
    assert done.facts["bits"] == steps[-1].bits and np.isfinite(done.facts["true_bits"]) and done.facts["error"] > 0


def test_nothing_hidden_and_pixels_outside_are_told(kind, drive):  # noqa: F811
    for hidden, words in (((), "nothing to fill in"), ((5, 256), "0 to 255")):
        end = drive(FlowFill(kind=kind, hidden=hidden))[-1]
        assert isinstance(end, Failed) and words in end.report.title


def test_layers_and_noise_sum_to_the_bits(kind, drive):  # noqa: F811
    done = result(drive(FlowLayers(kind=kind, tile=1)))
    looks, facts = done.files["layers"], done.facts
    assert looks[-1].so_far == pytest.approx(sum(look.bits for look in looks))
    assert looks[-1].so_far + sum(facts["noise_bits"]) == pytest.approx(facts["bits"], abs=1e-4)
    titles = {"glow": "logit squeeze actnorm 1x1_convolution coupling split squeeze", "nice": "data additive_coupling"}[kind].split()
    assert [look.title.replace(" ", "_") for look in looks][: len(titles)] == titles
    assert len(facts["noise_bits"]) == {"glow": 2, "nice": 1}[kind] and all(look.picture.pixels.shape == (16, 16, 3) for look in looks)
    if kind == "nice":
        real = real_tiles(catalog.load("playworld/nice"))[1][..., 0]
        shown = looks[0].picture.pixels[..., 0].astype(float)
        assert np.corrcoef(real.flatten(), shown.flatten())[0, 1] > 0.99, "the first look is the picture itself"


def test_facts_stand_beside_laws_without_a_network(kind, drive):  # noqa: F811
    events = drive(FlowFacts(kind=kind, scenes=24, fitted=1024))
    facts = result(events).facts
    assert facts["bits_per_dim"] == pytest.approx(sum(row["noise"] + row["layers"] for row in facts["levels"]), abs=1e-3)
    assert facts["diagonal_bits"] < 8 and 4 < facts["histogram_bits"] < 8 and facts["inverse_error"] < 1e-3
    assert kind == "glow" or facts["gaussian_bits"] < facts["diagonal_bits"], "1024 scenes are few for 768 dimensions"
    assert tiles_of(records(events, "tiles")[0]).shape[0] == REAL and records(events, "facts")[0]["bits_per_dim"] == facts["bits_per_dim"]
    assert sum(row["numbers"] for row in facts["levels"]) == facts["dims"]
    curve = result(events).files.get("spectrum")
    assert (curve is None) == (kind == "glow")
    if curve is not None:
        assert len(curve.y) == 256 and (np.diff(curve.y) <= 0).all()


def test_a_flow_that_was_not_trained_here_is_told(drive):
    end = drive(FlowSamples(kind="nice", weights="own"))[-1]
    assert isinstance(end, Failed) and "No NICE has been trained" in end.report.title and "Train" in end.report.hint


@pytest.mark.parametrize("name", ["glow", "nice"])
def test_learning_is_watched_and_then_asked_for(name, drive):
    job = LearnFlow(kind=name, temperature=0.5, **TINY)
    events = drive(job)
    facts, moments = result(events).facts, records(events, "moment")
    assert [m.step for m in moments] == [0, 1, 2, 3, 4] and [e.index for e in events if isinstance(e, Step)] == [1, 2, 3, 4]
    rows = [row for part in records(events, "train") for row in part]
    assert [step for step, _ in rows] == [1, 2, 3, 4] and moments[2].bits == pytest.approx(rows[1][1])
    assert not np.array_equal(moments[0].sheet.pixels, moments[-1].sheet.pixels) and facts["notice"] == ""
    again = result(drive(FlowSamples(kind=name, weights="own", temperature=0.5, samples=4)))
    assert np.array_equal(again.files["samples"].pixels, moments[-1].sheet.pixels), "the same weights, the same noise"
    assert 3 < facts["bits_per_dim"] < 10
    assert np.array_equal(records(drive(job), "moment")[-1].sheet.pixels, moments[-1].sheet.pixels)


def weights_of(name):
    return {key: value.clone() for key, value in flows_kept.model(name).state_dict().items()}


def test_a_training_outlives_the_program(drive):
    moments = records(drive(LearnFlow(kind="nice", **TINY)), "moment")
    flows_views.OWN.clear()  # as a new program begins
    again = result(drive(FlowSamples(kind="nice", weights="own", samples=4)))
    assert np.array_equal(again.files["samples"].pixels, moments[-1].sheet.pixels)
    (card,) = result(drive(KeptFlows())).files["kept"]
    assert (card.kind, card.step, card.total, card.can_go_on, card.notice) == ("nice", 4, 4, False, "") and len(card.rows) == 4
    assert [path.name for path in flows_kept.folder().iterdir()] == ["nice.safetensors"], "what is finished needs no checkpoint"


def stopped_at(job, step):
    """A training that is closed in the middle, as by Stop or by closing the program."""
    mailbox, seen = Mailbox(), []
    worker = loop.GpuWorker(mailbox, runner, backend=watching_backend)
    worker.post(Submit(run_id=1, job=job))
    while worker.turn():
        seen += mailbox.drain()[0]
        if isinstance(seen[-1], Step) and seen[-1].index == step:
            worker.post(Cancel(run_id=1))
    assert isinstance((seen + mailbox.drain()[0])[-1], Cancelled)


@pytest.mark.parametrize("name", ["glow", "nice"])
def test_a_stopped_training_goes_on_and_ends_as_an_unbroken_one(name, drive, monkeypatch):
    monkeypatch.setattr("app.runners.flows_live.KEEP_S", 0.0)
    job = LearnFlow(kind=name, **TINY)
    whole = drive(job)
    wanted = weights_of(name)
    stopped_at(job, 2)
    (card,) = result(drive(KeptFlows())).files["kept"]
    assert (card.step, card.total, card.can_go_on) == (2, 4, True) and job_from_dict(LearnFlow, json.loads(card.job))[0].steps == 4
    events = drive(replace(job, resume=True, temperature=0.1))
    assert [event.index for event in events if isinstance(event, Step)] == [3, 4] and [m.step for m in records(events, "moment")] == [3, 4]
    told = [row for part in records(events, "train") for row in part]
    assert told == [row for part in records(whole, "train") for row in part], "the losses before are told again"
    found = weights_of(name)
    assert all(torch.equal(found[key], value) for key, value in wanted.items())
    end = drive(replace(job, resume=True))[-1]
    assert isinstance(end, Failed) and "cannot go on" in end.report.title, "it is finished"


def test_another_training_takes_the_place_of_the_kept_one(drive, monkeypatch):
    monkeypatch.setattr("app.runners.flows_live.KEEP_S", 0.0)
    first, second = LearnFlow(kind="nice", **TINY), LearnFlow(kind="nice", **(TINY | {"couplings": 2}))
    stopped_at(first, 2)
    stopped_at(second, 1)
    (card,) = result(drive(KeptFlows())).files["kept"]
    assert card.step == 1 and json.loads(card.job)["couplings"] == 2 and len(list(flows_kept.folder().glob("nice-*"))) == 1
    end = drive(replace(first, resume=True))[-1]
    assert isinstance(end, Failed) and "was not kept" in end.report.title
    again = [event.index for event in drive(second) if isinstance(event, Step)]
    assert again == [1, 2, 3, 4], "whoever does not ask for it does not go on"


def test_a_damaged_file_is_told_and_no_obstacle(drive):
    drive(LearnFlow(kind="nice", **TINY))
    flows_views.OWN.clear()
    (flows_kept.folder() / "nice.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0nonsense")
    end = drive(FlowSamples(kind="nice", weights="own", samples=4))[-1]
    assert isinstance(end, Failed) and "damaged" in end.report.title and result(drive(KeptFlows())).files["kept"] == ()
    assert isinstance(drive(LearnFlow(kind="nice", **TINY))[-1], Done)


def test_a_training_that_diverges_says_so_and_keeps_the_last_good_weights(drive):
    events = drive(LearnFlow(kind="glow", **(TINY | {"lr": 10.0, "steps": 80, "look_every": 60.0})))
    facts, notice = result(events).facts, records(events, "notice")
    assert len(notice) == 1 and "diverged" in notice[0] and facts["notice"] == notice[0]
    assert np.isfinite(facts["bits_per_dim"]) and records(events, "train")[-1][-1][0] < 80
    flows_views.OWN.clear()
    shown = result(drive(FlowSamples(kind="glow", weights="own", samples=4)))
    assert shown.facts["lost"] == 0
    (card,) = result(drive(KeptFlows())).files["kept"]
    assert card.notice == notice[0] and not card.can_go_on
