"""The attention lab's runners on a tiny language model and on random heads: numbers equal those of models.attention called directly."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from app import runners
from app.jobs.attention_lab import (
    AttentionKinds,
    AttentionLengths,
    AttentionScale,
    CompareAttentions,
    FlashTiles,
    TrainAttentions,
    read,
    written,
)
from app.protocol.commands import Cancel, Submit
from app.protocol.errors import UserError
from app.protocol.events import Cancelled, Done, Failed, Record, Step
from app.runners import attention_lab, attention_lab_heads, attention_lab_training
from app.runners.attention_lab import in_blocks
from app.worker import loop
from app.worker.mailbox import Mailbox
from models.attention import scaling
from models.attention.cost import Sizes
from models.attention.flash import Tiling, backward_steps, forward_steps
from models.attention.measures import error
from models.attention.signature import repeat_heads
from models.attention.small_lm import SmallLmConfig, build, score, train
from models.attention.softmax import softmax, softmax_weights
from models.attention.table import ATTENTIONS, attend, cost
from models.attention.tasks import recall
from models.fitting import FitConfig
from models.nn.probe import Probe
from tests.conftest import torch_state
from tests.runners.tiny_language import CONFIG, tiny_language

TEXT = "the cat and the cat and the dog"
RANDOM = {"source": "random", "tokens": 24, "width": 8, "seed": 3, "device": "cpu"}
SMALL = {"dim": 16, "n_layers": 1, "n_heads": 1, "batch_size": 4, "length": 24, "device": "cpu"}


@pytest.fixture
def language():
    return tiny_language()


@pytest.fixture
def lab(drive, language):
    """`lab(job)`: the events of a run on the tiny model."""
    attention_lab_heads._KEPT.clear()
    return partial(drive, models={"smollm2": language})


def records(events, channel):
    return [event.payload for event in events if isinstance(event, Record) and event.channel == channel]


def result(events):
    assert isinstance(events[-1], Done), getattr(events[-1], "report", events[-1])
    return events[-1].result


def refused(events):
    assert isinstance(events[-1], Failed) and events[-1].report.kind == "user", events[-1]
    return f"{events[-1].report.title} {events[-1].report.hint}"


def on_model(kind, **changes):
    return kind(**{"text": TEXT, "layer": 1, "head": 1, "device": "cpu", **changes})


def probed(language, layer, head):
    """q, k, v of a head, (1, 1, T, D), read without the runner."""
    ids, probe = torch.tensor([language.tokenizer.encode(TEXT)]), Probe("q", "k", "v")
    language.model(ids, probe=probe)
    q, k, v = (side[layer].transpose(1, 2) for side in (probe.q, probe.k, probe.v))
    return q[:, head, None], repeat_heads(k, q.shape[1])[:, head, None], repeat_heads(v, q.shape[1])[:, head, None]


def drawn(tokens=24, width=8, seed=3):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(1, 1, tokens, width, generator=generator) for _ in range(3)]


# --- the table ---


def test_the_table_comes_whole_with_its_knobs(lab):
    kinds = result(lab(AttentionKinds(device="cpu"))).files["kinds"]
    assert [kind.name for kind in kinds] == list(ATTENTIONS)
    for kind in kinds:
        entry = ATTENTIONS[kind.name]
        assert (kind.title, kind.arxiv, kind.exact, kind.causal) == (entry.title, entry.arxiv, entry.exact, entry.causal)
        assert kind.defaults == entry.settings() and [knob.hi for knob in kind.knobs] == [knob.hi for knob in entry.knobs]


def test_mechanisms_as_words():
    assert read("window:width=64,sinks=4") == ("window", {"width": "64", "sinks": "4"}) and read("softmax") == ("softmax", {})
    assert written("lsh", {"shared": True, "buckets": 4}) == "lsh:shared=True,buckets=4" and written("softmax") == "softmax"
    assert written(*read("performer:kind=trigonometric,seed=2")) == "performer:kind=trigonometric,seed=2"
    with pytest.raises(UserError, match="is no mechanism"):
        read("window:64")


# --- one head, many attentions ---


def test_a_models_head_is_compared_as_the_models_module_does_it(lab, language):
    chosen = ("softmax", "window:width=4,sinks=1", "performer:features=16,chunk=8", "lsh:buckets=4,shared=yes", "linear:feature=relu")
    events = lab(on_model(CompareAttentions, mechanisms=chosen, repeats=1))
    facts, views, (head,) = result(events).facts, records(events, "mechanism"), records(events, "head")
    q, k, v = probed(language, 1, 1)
    assert head.tokens.texts == tuple(TEXT) and (head.width, head.layers, head.heads) == (8, 3, 2) and head.causal
    assert [view.name for view in views] == [read(words)[0] for words in chosen]
    knobs = [{}, {"width": 4, "sinks": 1}, {"features": 16, "chunk": 8}, {"buckets": 4, "shared": True}, {"feature": "relu"}]
    reference = softmax(q, k, v).out
    for view, settings in zip(views, knobs, strict=True):
        found = attend(view.name, q, k, v, want_map=True, knobs=settings)
        np.testing.assert_allclose(view.map, found.weights[0, 0], atol=1e-5)
        wanted = error(found.out, reference)
        assert view.relative_l2 == pytest.approx(wanted.relative_l2, abs=1e-5)
        assert view.cosine == pytest.approx(wanted.mean_cosine, abs=1e-5)
        assert view.best_relative_l2 == pytest.approx(wanted.best_relative_l2, abs=1e-3)
        assert dict(view.settings) == ATTENTIONS[view.name].settings(settings)
        assert (view.flops, view.moved_bytes, view.held_bytes) == (found.cost.flops, found.cost.moved_bytes, found.cost.held_bytes)
        assert view.seconds > 0 and view.peak_bytes > 0 and view.normalisation == found.normalisation
    assert facts["tokens"] == len(TEXT) and "Sliding window" in facts["table"]
    assert [event.index for event in events if isinstance(event, Step)] == [1, 2, 3, 4, 5]


def test_heads_that_share_keys_get_those_of_their_group(drive):
    language = tiny_language(config=replace(CONFIG, n_heads=4, n_kv_heads=2))
    found = []
    for head in range(4):
        attention_lab_heads._KEPT.clear()
        events = drive(on_model(CompareAttentions, head=head, mechanisms=("softmax",), repeats=1), models={"smollm2": language})
        found.append(records(events, "mechanism")[0].map)
        np.testing.assert_allclose(found[-1], softmax_weights(*probed(language, 1, head)[:2])[0, 0], atol=1e-5)
    assert not np.allclose(found[1], found[2], atol=1e-3)


def test_what_cannot_be_causal_is_left_out_of_a_causal_comparison(lab):
    both = CompareAttentions(**RANDOM, mechanisms=("efficient", "softmax"), repeats=1)
    assert [view.name for view in records(lab(both), "mechanism")] == ["softmax"]
    free = CompareAttentions(**RANDOM, mechanisms=("efficient", "softmax"), repeats=1, causal=False)
    views = records(lab(free), "mechanism")
    assert [view.name for view in views] == ["efficient", "softmax"] and (views[1].map > 0).all()


def test_equal_jobs_give_equal_maps_and_the_model_runs_once(lab, language, monkeypatch):
    calls, forward = [], type(language.model).forward
    monkeypatch.setattr(type(language.model), "forward", lambda *a, **k: calls.append(1) or forward(*a, **k))
    job = on_model(CompareAttentions, mechanisms=("softmax", "performer:seed=5"), repeats=1)
    first, second = (records(lab(job), "mechanism") for _ in range(2))
    assert all(np.array_equal(a.map, b.map) and a.cosine == b.cosine for a, b in zip(first, second, strict=True))
    assert len(calls) == 1
    other = records(lab(on_model(CompareAttentions, head=0, mechanisms=("softmax",), repeats=1)), "mechanism")
    assert not np.array_equal(other[0].map, first[0].map) and len(calls) == 1
    lab(on_model(CompareAttentions, layer=0, mechanisms=("softmax",), repeats=1))
    assert len(calls) == 2


def test_what_is_kept_belongs_to_one_model(drive):
    attention_lab_heads._KEPT.clear()
    job = on_model(CompareAttentions, mechanisms=("softmax",), repeats=1)
    models = [tiny_language(seed) for seed in (0, 1)]
    first, second = (records(drive(job, models={"smollm2": model}), "mechanism")[0].map for model in models)
    assert not np.allclose(first, second, atol=1e-3)


def test_random_heads_are_a_function_of_the_seed(lab):
    q, k, _ = drawn()
    found = records(lab(CompareAttentions(**RANDOM, mechanisms=("softmax",), repeats=1)), "mechanism")[0]
    np.testing.assert_allclose(found.map, softmax_weights(q, k)[0, 0], atol=1e-6)


def test_large_maps_come_in_blocks(lab):
    found = records(lab(CompareAttentions(**RANDOM, mechanisms=("softmax",), repeats=1, most=10)), "mechanism")[0]
    q, k, _ = drawn()
    whole = softmax_weights(q, k)[0, 0].numpy()
    assert found.map.shape == (8, 8) and found.block == (3, 3)
    np.testing.assert_allclose(found.map[2, 1], whole[6:9, 3:6].mean(), atol=1e-6)
    edge = in_blocks(torch.arange(25.0).reshape(5, 5), 2)
    assert edge.shape == (3, 3) and edge[2, 2] == 24 and edge[0, 2] == (4 + 9) / 2


def test_over_lengths_formulas_everywhere_and_times_where_asked(lab):
    events = lab(AttentionLengths(**RANDOM, mechanisms=("softmax", "window:width=8"), longest=600, measured=128, repeats=1))
    rows = records(events, "length")
    assert [(row.name, row.tokens) for row in rows] == [(n, T) for T in (16, 32, 64, 128, 256, 512) for n in ("softmax", "window:width=8")]
    for row in rows:
        sizes = Sizes(T=row.tokens, S=row.tokens, d=8, dv=8)
        assert row.flops == cost(read(row.name)[0], sizes, knobs={"width": 8} if ":" in row.name else {}).flops
        assert (row.seconds is None) == (row.tokens > 128)
        assert (row.relative_l2 is None) == (row.tokens > 16), "24 tokens are repeated from there on, so there is no error"
    q, k, v = (x[:, :, :16] for x in drawn())
    found = attend("window", q, k, v, knobs={"width": 8}).out
    assert rows[0].relative_l2 == 0 and rows[1].relative_l2 == pytest.approx(error(found, softmax(q, k, v).out).relative_l2)
    assert [event.index for event in events if isinstance(event, Step)] == [1, 2, 3, 4, 5, 6]
    assert len(result(events).files["lengths.json"]) == 12 and "MFLOP" in result(events).facts["table"]


# --- tiles ---


def test_tiles_are_those_of_the_models_module(lab, language):
    events = lab(on_model(FlashTiles, tile_q=8, tile_k=4, length=20))
    (plan,), tiles, facts = records(events, "plan"), records(events, "tile"), result(events).facts
    q, k, v = (x[:, :, :20] for x in probed(language, 1, 1))
    tiling = Tiling(20, 20, 8, 8, 8, 4, causal=True)
    assert (plan.tiles, plan.tiled_bytes, plan.naive_bytes) == (len(tiling.tiles()), tiling.forward_traffic * 4, tiling.naive_traffic * 4)
    assert len(tiles) == plan.tiles == facts["tiles"] and tiles[-1].moved_bytes == plan.tiled_bytes == facts["moved_bytes"]
    for tile, step in zip(tiles, forward_steps(q, k, v, tile_q=8, tile_k=4), strict=True):
        assert tile.rows == (step.rows.start, step.rows.stop) and tile.columns == (step.columns.start, step.columns.stop)
        for name, wanted in (("values", step.p), ("m", step.m), ("l", step.l), ("rescale", step.rescale), ("partial", step.partial)):
            np.testing.assert_allclose(getattr(tile, name), wanted[0, 0], atol=1e-5)
    reference, last = softmax(q, k, v).out[0, 0].numpy(), [tile for tile in tiles if tile.row_done]
    np.testing.assert_allclose(np.concatenate([tile.partial for tile in last]), reference, atol=1e-5)
    assert np.isnan(tiles[0].difference) and 0 <= facts["difference"] == tiles[-1].difference < 1e-5
    np.testing.assert_allclose(plan.weights, softmax_weights(q, k)[0, 0], atol=1e-5)


def test_the_difference_is_the_largest_of_all_finished_rows(lab):
    tiles, (q, k, v) = records(lab(FlashTiles(**RANDOM, tile_q=2, tile_k=8)), "tile"), drawn()
    reference, worst = softmax(q, k, v).out[0, 0].numpy(), float("nan")
    for tile in tiles:
        if tile.row_done:
            worst = np.fmax(worst, np.abs(tile.partial - reference[slice(*tile.rows)]).max())
        assert tile.difference == pytest.approx(worst, abs=1e-9, nan_ok=True)
    assert len({tile.difference for tile in tiles if tile.difference == tile.difference}) > 1


def test_the_backward_pass_ends_with_the_gradients_of_autograd(lab):
    events = lab(FlashTiles(**RANDOM, tile_q=8, tile_k=8, phase="backward"))
    tiles, facts = records(events, "tile"), result(events).facts
    assert facts["difference"] < 1e-4 and np.isnan([tile.difference for tile in tiles[:-1]]).all()
    q, k, v = drawn()
    dout = torch.randn(1, 1, 24, 8, generator=torch.Generator().manual_seed(3))
    weights = softmax_weights(q, k)
    dp = dout @ v.mT
    ds = (weights * (dp - (weights * dp).sum(-1, keepdim=True)))[0, 0].numpy()
    for tile in tiles:
        np.testing.assert_allclose(tile.values, ds[slice(*tile.rows), slice(*tile.columns)], atol=1e-5)
    steps = backward_steps(q, k, v, softmax(q, k, v).out, torch.zeros(1, 1, 24), dout, tile_q=8, tile_k=8)
    assert [tile.moved_bytes for tile in tiles] == [step.moved_bytes for step in steps]


def test_a_row_without_its_maximum_overflows_in_fp16(lab):
    calm = result(lab(FlashTiles(**RANDOM))).facts
    assert calm["fp16_lost"] == 0 and calm["fp16_top"] < 11
    loud = result(lab(FlashTiles(**{**RANDOM, "width": 2, "tokens": 200, "seed": 1}))).facts
    q, k, _ = drawn(200, 2, 1)
    scores = (q[0, 0, :96] @ k[0, 0, :96].T / 2**0.5).tril()
    assert loud["fp16_top"] == pytest.approx(float(scores.max()), rel=1e-4)
    assert (loud["fp16_lost"] > 0) == (loud["fp16_top"] > np.log(65504))


# --- scale ---


def test_sharpness_is_that_of_the_models_module(lab):
    events = lab(AttentionScale(**{**RANDOM, "tokens": 40, "width": 16}, exponent=-0.25))
    report = result(events).files["report"]
    q, k = scaling.random_heads(16, 40, seed=3)
    wanted = scaling.measure(q, k, 16**-0.25, seed=3)
    for name in ("entropy", "score_std", "saturated", "gradient", "largest"):
        assert getattr(report.now, name) == pytest.approx(getattr(wanted, name))
    assert report.now.theory == scaling.theory_entropy(wanted.score_std, 40) and report.keys == 40
    np.testing.assert_allclose(report.row, (q[-1] @ k.T * 16**-0.25).softmax(-1), atol=1e-6)
    np.testing.assert_allclose(np.exp(report.scores) / np.exp(report.scores).sum(), report.row, atol=1e-6)
    none = [point for point in report.curves if point.rule == "none"]
    assert [point.width for point in none] == list(attention_lab.WIDTHS)
    assert [p.entropy for p in none] == pytest.approx([s.entropy for s in scaling.over_widths(attention_lab.WIDTHS, "none", 40, 3)])
    bare = lab(AttentionScale(**{**RANDOM, "tokens": 40, "width": 16}, exponent=-0.25, curves=False))
    assert result(bare).files["report"].curves == () and np.array_equal(result(bare).files["report"].row, report.row)


def test_a_trained_head_under_other_scales(lab, language):
    report = result(lab(on_model(AttentionScale))).files["report"]
    q, k, _ = probed(language, 1, 1)
    np.testing.assert_allclose(report.row, softmax_weights(q, k)[0, 0, -1], atol=1e-5)
    own = next(point for point in report.curves if point.scale == pytest.approx(8**-0.5))
    assert {point.rule for point in report.curves} == {"factor"} and own.entropy == pytest.approx(report.now.entropy, rel=1e-4)


# --- training ---


def test_models_are_trained_in_turns_on_the_same_batches(lab):
    job = TrainAttentions(**SMALL, mechanisms=("softmax", "window:width=4"), steps=3, test_every=2, lr=1e-2)
    events = lab(job)
    trained = [point for payload in records(events, "train") for point in payload]
    tested = [point for payload in records(events, "test") for point in payload]
    assert [(p.name, p.step) for p in trained] == [(n, s) for s in (1, 2, 3) for n in ("softmax", "window:width=4")]
    assert [(p.name, p.step) for p in tested] == [(n, s) for s in (0, 2, 3) for n in ("softmax", "window:width=4")]
    (learners,) = records(events, "learners")
    config = SmallLmConfig(
        vocab_size=32, dim=16, n_layers=1, n_heads=1, ffn_dim=42, max_len=24, attention="window", knobs={"width": 4}
    )  # fmt: skip
    net = build(config, 0)
    assert learners[1].parameters == sum(p.numel() for p in net.parameters()) and learners[1].title == "Sliding window"
    fitted = FitConfig(steps=3, lr=1e-2, warmup=3, seed=0, bf16=False)
    alone = [step.loss for step in train(net, recall(), 4, 24, fitted)]
    assert [p.loss for p in trained if p.name == "window:width=4"] == pytest.approx(alone)
    wanted = score(net, recall(), attention_lab_training.TEST_TEXTS, 24, attention_lab_training.TEST_SEED)
    assert tested[-1].loss == pytest.approx(wanted["loss"]) and tested[-1].accuracy == pytest.approx(wanted["accuracy"])
    facts = result(events).facts
    assert facts["scores"]["window:width=4"]["loss"] == tested[-1].loss and "window:width=4" in facts["table"]
    assert [event.index for event in events if isinstance(event, Step)] == [1, 2, 3]


@pytest.mark.parametrize("job", [
    TrainAttentions(**SMALL, mechanisms=("linear",), steps=10_000), on_model(CompareAttentions), on_model(FlashTiles, tile_q=4),
    on_model(FlashTiles, tile_q=4, phase="backward"), on_model(AttentionLengths, measured=16),
])  # fmt: skip
def test_runs_can_be_parked_and_ended_between_two_steps(language, job):
    mailbox = Mailbox()
    load = lambda key, device, dtype, progress=None: language  # noqa: E731
    worker = loop.GpuWorker(mailbox, runners.runner, load=load, expected_size=lambda key: 0)
    worker.post(Submit(run_id=1, job=job, park_after=2))
    seen, before = [], torch_state()
    while worker.turn():
        seen += mailbox.drain()[0]
    assert [event.index for event in seen if isinstance(event, Step)] == [1, 2]
    worker.post(Cancel(run_id=1))
    while worker.turn():
        pass
    assert isinstance(mailbox.drain()[0][-1], Cancelled)
    assert worker.zoo.pins() == 0 and torch_state() == before


def test_captions_are_tested_on_scenes_apart(lab):
    events = lab(TrainAttentions(**SMALL, task="captions", mechanisms=("softmax",), steps=1))
    assert isinstance(events[-1], Done)
    learning, testing = attention_lab_training.tasks(TrainAttentions(task="captions"))
    assert learning.at(0, 1, 40)[0].tolist() != testing.at(0, 1, 40)[0].tolist()
    config = SmallLmConfig(vocab_size=testing.vocab_size, dim=16, n_layers=1, n_heads=1, ffn_dim=42, max_len=24, attention="softmax")
    wanted = score(build(config, 0), testing, attention_lab_training.TEST_TEXTS, 24, attention_lab_training.TEST_SEED)
    assert records(events, "test")[0][0].loss == pytest.approx(wanted["loss"], rel=1e-5)


# --- bad input ---


@pytest.mark.parametrize(("job", "words"), [
    (on_model(CompareAttentions, text="  "), "There is no text"),
    (on_model(CompareAttentions, text="a"), "only one token"),
    (on_model(CompareAttentions, layer=7), "no layer 7. It has layers 0 to 2"),
    (on_model(FlashTiles, head=2), "no head 2. It has heads 0 to 1"),
    (on_model(AttentionScale, model="playworld/clip"), "no language model"),
    (on_model(CompareAttentions, text="a" * 401), "401 tokens"),
    (CompareAttentions(**RANDOM, mechanisms=("softmaxx",)), "no attention 'softmaxx'"),
    (CompareAttentions(**RANDOM, mechanisms=("window:depth=3",)), "no knob depth"),
    (CompareAttentions(**RANDOM, mechanisms=("window:width=many",)), "width is a number, not many"),
    (CompareAttentions(**RANDOM, mechanisms=("window:width=0",)), "width lies between 1 and 4096"),
    (CompareAttentions(**RANDOM, mechanisms=("lsh:shared=maybe",)), "shared is true or false"),
    (CompareAttentions(**RANDOM, mechanisms=()), "No mechanism is chosen"),
    (CompareAttentions(**RANDOM, mechanisms=("efficient",)), "Efficient attention cannot be causal"),
    (FlashTiles(**{**RANDOM, "tokens": 512}, tile_q=1, tile_k=1, length=512), "tiles, too many to look at"),
    (TrainAttentions(**{**SMALL, "dim": 24, "n_heads": 5}), "does not split into 5 heads"),
    (TrainAttentions(**{**SMALL, "length": 10}), "too short for this task"),
    (TrainAttentions(**SMALL, mechanisms=("efficient",)), "cannot be causal"),
])  # fmt: skip
def test_bad_input_is_told_in_a_sentence(lab, job, words):
    assert words in refused(lab(job))
