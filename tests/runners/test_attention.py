"""The attention runners on a tiny random LLaMA: maps against the whole map computed plainly, the store, files, bad input."""

from __future__ import annotations

import io
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from app import runners
from app.jobs.attention import (
    Attention,
    AttentionExport,
    AttentionMap,
    AttentionOverview,
    AttentionProfile,
    AttentionRollout,
)
from app.protocol import commands
from app.protocol.attention import SCORES
from app.protocol.events import Cancelled, Done, Failed, Progress, Record
from app.runners import attention_sources, attention_views, captures
from app.runners.attention_picture import UNSEEN
from app.runners.attention_sources import _layers_that_fit
from app.runners.captures import STORE, Capture, Heads, Store
from app.worker import loop
from app.worker.mailbox import Mailbox
from models.attention.measures import head_scores, rollout
from models.attention.signature import repeat_heads
from models.nn.probe import Probe
from tests.conftest import torch_state
from tests.runners.tiny_language import CONFIG, tiny_language

KEY = "smollm2"
TEXT = "ab ab cd ab, and then ab again, till the end of it all."
LAYERS, HEADS = 3, 2
TEXT_JOB = {"text": TEXT, "device": "cpu"}
KINDS = (Attention, AttentionOverview, AttentionMap, AttentionProfile, AttentionRollout, AttentionExport)


def result(events):
    last = events[-1]
    assert isinstance(last, Done), getattr(last, "report", last)
    return last.result


def records(events, channel):
    return [event.payload for event in events if isinstance(event, Record) and event.channel == channel]


def refused(events) -> str:
    last = events[-1]
    assert isinstance(last, Failed) and last.report.kind == "user", last
    assert "\n" not in last.report.title
    return last.report.title


@pytest.fixture(autouse=True)
def empty_store():
    STORE.clear()


@pytest.fixture
def language():
    return tiny_language()


@pytest.fixture
def run(drive, language):
    return partial(drive, models={KEY: language})


def maps_of(language, text=TEXT) -> torch.Tensor:
    """All weights (layers, H, T, T), in fp64, computed with nothing that the runners use."""
    probe = Probe("q", "k")
    language.model(torch.tensor([language.tokenizer.encode(text)]), probe=probe)
    maps = []
    for layer in range(LAYERS):
        q, k = probe.q[layer][0].double(), repeat_heads(probe.k[layer].transpose(1, 2), HEADS)[0].double()
        scores = torch.einsum("thd,hsd->hts", q, k) / q.shape[-1] ** 0.5
        maps.append(scores.masked_fill(torch.ones(scores.shape[1:]).triu(1).bool(), float("-inf")).softmax(-1))
    return torch.stack(maps)


def count_reads(language, monkeypatch) -> list[int]:
    """How many layers each pass over a text went through."""
    reads, original = [], language.model._run

    def run(*args):
        reads.append(args[5] or LAYERS)
        return original(*args)

    monkeypatch.setattr(language.model, "_run", run)
    return reads


# --- reading: in pieces, on from what is known, once -----------------------------------------------------


def pieces(language, monkeypatch) -> list[int]:
    """How many tokens each pass read."""
    read, original = [], language.model.forward

    def forward(ids, *args, **kwargs):
        read.append(ids.shape[1])
        return original(ids, *args, **kwargs)

    monkeypatch.setattr(language.model, "forward", forward)
    return read


def test_a_long_text_is_read_in_pieces_and_says_how_far(run, language, monkeypatch):
    whole = maps_of(language)
    monkeypatch.setattr(attention_sources, "PIECE", 20)
    read = pieces(language, monkeypatch)
    events = run(AttentionMap(**TEXT_JOB, layer=2, heads=(1,)))
    told = [(e.done, e.total, e.unit) for e in events if isinstance(e, Progress) and e.total]
    assert told[: len(read)] == [(first, len(TEXT), "tokens") for first in range(0, len(TEXT), 20)] and sum(read) == len(TEXT)
    assert np.abs(result(events).files["map"].values - whole[2, 1].numpy()).max() < 1e-6
    assert next(iter(STORE._entries)).capture.cache is None, "nobody reads on"


def test_a_text_that_grows_is_read_on_and_its_maps_are_those_of_the_whole(run, language, monkeypatch):
    ids, read = tuple(language.tokenizer.encode(TEXT)), pieces(language, monkeypatch)
    for end in (30, 33, 41):
        events = run(AttentionOverview(ids=ids[:end], growing=True, up_to=LAYERS - 1, device="cpu"))
        assert set(result(events).files) == {"looked"} and not records(events, "overview")
    assert read == [30, 3, 8]
    last = run(AttentionOverview(ids=ids, device="cpu"))
    assert read == [30, 3, 8, len(ids) - 41] and "overview" in result(last).files
    for layer in range(LAYERS):
        shown = result(run(AttentionMap(ids=ids, layer=layer, heads=(1,), device="cpu"))).files["map"]
        assert np.abs(shown.values - maps_of(language)[layer, 1].numpy()).max() < 2e-6
    assert len(read) == 4 + LAYERS, "but for the reads of this test, nothing was read again"
    assert all(entry.capture.cache is None for entry in STORE._entries)


def test_a_text_that_grows_is_read_no_deeper_than_is_looked(run, language, monkeypatch):
    ids, reads = tuple(language.tokenizer.encode(TEXT)), count_reads(language, monkeypatch)
    for end in (30, 40):
        run(AttentionOverview(ids=ids[:end], growing=True, up_to=1, device="cpu"))
        shown = result(run(AttentionMap(ids=ids[:end], layer=1, device="cpu"))).files["map"]
        assert np.abs(shown.values - maps_of(language, TEXT[:end])[1, 0].numpy()).max() < 2e-6
    reads = [layers for layers in reads if layers != LAYERS]
    assert reads == [2, 2]
    shown = result(run(AttentionMap(ids=ids[:40], layer=2, device="cpu"))).files["map"]
    assert np.abs(shown.values - maps_of(language, TEXT[:40])[2, 0].numpy()).max() < 2e-6, "deeper: read anew"
    run(AttentionOverview(ids=ids[:45], growing=True, up_to=2, device="cpu"))
    shown = result(run(AttentionMap(ids=ids[:45], layer=2, device="cpu"))).files["map"]
    assert np.abs(shown.values - maps_of(language, TEXT[:45])[2, 0].numpy()).max() < 2e-6
    assert "no layer 3" in refused(run(AttentionOverview(ids=ids, growing=True, up_to=3, device="cpu")))


def test_another_text_is_read_from_its_beginning(run, language, monkeypatch):
    ids, read = tuple(language.tokenizer.encode(TEXT)), pieces(language, monkeypatch)
    run(AttentionOverview(ids=ids[:30], growing=True, device="cpu"))
    run(AttentionOverview(ids=(ids[1], *ids[1:35]), growing=True, device="cpu"))
    assert read == [30, 35]


def test_two_who_want_the_same_long_text_have_it_read_once(language, monkeypatch):
    """Also when the one that reads is ended in the middle: then the other reads."""
    monkeypatch.setattr(attention_sources, "PIECE", 10)
    for ended in (0, 1, 2):  # the map's run comes to reading first, since it has nothing to tell before
        STORE.clear()
        read, mailbox = pieces(language, monkeypatch), Mailbox()
        worker = loop.GpuWorker(mailbox, runners.runner, load=lambda *_a, **_k: language, expected_size=lambda key: 0)
        worker.post(commands.Submit(run_id=1, job=AttentionOverview(**TEXT_JOB), key="a"))
        worker.post(commands.Submit(run_id=2, job=AttentionMap(**TEXT_JOB), key="b"))
        for _ in range(12):
            worker.turn()
        assert 0 < sum(read) < len(TEXT)
        if ended:
            worker.post(commands.Cancel(run_id=ended))
        while worker.turn():
            pass
        ends = {e.run_id: type(e) for e in mailbox.drain()[0] if isinstance(e, (Done, Cancelled))}
        assert ends == {number: Cancelled if number == ended else Done for number in (1, 2)}
        assert (sum(read) == len(TEXT)) == (ended != 2) and worker.zoo.pins() == 0


# --- one map -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows_at_once", [3, 128])
@pytest.mark.parametrize("heads", [(1,), (), (0, 1)])
def test_a_map_is_the_softmax_of_the_models_own_queries_and_keys(run, language, monkeypatch, heads, rows_at_once):
    monkeypatch.setattr(attention_views, "ROWS_AT_ONCE", rows_at_once)
    shown = result(run(AttentionMap(**TEXT_JOB, layer=2, heads=heads))).files["map"]
    wanted = maps_of(language)[2][list(heads) or [0, 1]].mean(0)
    assert np.abs(shown.values - wanted.numpy()).max() < 1e-6
    assert shown.exact and shown.rows == shown.columns == (0, len(TEXT)) and shown.heads == (heads or (0, 1))
    assert np.abs(shown.values.sum(-1) - 1).max() < 1e-5 and np.abs(np.triu(shown.values, 1)).max() == 0
    assert "softmax" in shown.caption and "layer 2" in shown.caption and "√8" in shown.caption
    assert ("mean of all 2 heads" in shown.caption) == (heads != (1,))


def test_heads_share_keys_as_in_the_model(drive):
    language = tiny_language(config=replace(CONFIG, n_heads=6, n_kv_heads=3))
    probe = Probe("q", "k")
    language.model(torch.tensor([language.tokenizer.encode(TEXT)]), probe=probe)
    for head in (0, 3, 5):
        shown = result(drive(AttentionMap(**TEXT_JOB, heads=(head,)), models={KEY: language})).files["map"]
        scores = probe.q[0][0, :, head] @ probe.k[0][0, :, head // 2].T / 8**0.5
        wanted = scores.masked_fill(torch.ones_like(scores).triu(1).bool(), float("-inf")).softmax(-1)
        assert np.abs(shown.values - wanted.numpy()).max() < 1e-6
    scores = result(drive(AttentionOverview(**TEXT_JOB), models={KEY: language})).files["overview"].scores
    assert scores.shape == (len(SCORES), 3, 6) and not np.isnan(scores).any()


def test_a_window_is_that_part_of_the_whole(run, language):
    shown = result(run(AttentionMap(**TEXT_JOB, layer=1, rows=(30, 41), columns=(3, 33)))).files["map"]
    assert np.abs(shown.values - maps_of(language)[1, 0, 30:41, 3:33].numpy()).max() < 1e-6
    assert shown.rows == (30, 41) and shown.columns == (3, 33) and shown.exact


@pytest.mark.parametrize("rows, columns", [((0, 0), (0, 0)), ((2, 51), (5, 40))])
def test_blocks_are_means_of_the_exact_map(run, language, monkeypatch, rows, columns):
    monkeypatch.setattr(attention_views, "ROWS_AT_ONCE", 7)
    shown = result(run(AttentionMap(**TEXT_JOB, most=16, rows=rows, columns=columns))).files["map"]
    exact = maps_of(language)[0, 0, slice(*shown.rows), slice(*shown.columns)]
    high, wide = shown.block
    assert high == -(-exact.shape[0] // 16) and wide == -(-exact.shape[1] // 16) and max(shown.values.shape) <= 16
    wanted = [[part.mean().item() for part in row.split(wide, 1)] for row in exact.split(high, 0)]
    assert np.abs(shown.values - np.array(wanted)).max() < 1e-6
    assert not shown.exact and f"mean of {high} × {wide}" in shown.caption


def test_without_the_first_key_each_row_sums_to_one_again(run, language):
    shown = result(run(AttentionMap(**TEXT_JOB, layer=1, heads=(), drop_first=True))).files["map"]
    weights = maps_of(language)[1].clone()
    weights[:, :, 0] = 0
    wanted = (weights / weights.sum(-1, keepdim=True).clamp(min=1e-30)).mean(0)
    assert np.abs(shown.values - wanted.numpy()).max() < 1e-5
    assert shown.dropped_first and shown.values[0].sum() == 0 and "first key left out" in shown.caption


def test_normalisations_change_what_is_shown_and_say_so(run):
    plain, rows, absolute = (
        result(run(AttentionMap(**TEXT_JOB, normalisation=how))).files["map"] for how in ("as it is", "each row to 1", "absolute")
    )
    np.testing.assert_allclose(rows.values, plain.values / plain.values.max(-1, keepdims=True), rtol=1e-6)
    np.testing.assert_allclose(absolute.values, plain.values / plain.values.max(), rtol=1e-6)
    assert "divided" not in plain.caption and "row divided" in rows.caption and "divided by the largest shown" in absolute.caption


def test_a_model_in_bf16_has_its_maps_in_fp32(run, drive, language):
    half = tiny_language()
    half.model.to(torch.bfloat16)
    shown = result(drive(AttentionMap(**TEXT_JOB), models={KEY: half})).files["map"]
    assert np.abs(shown.values.sum(-1) - 1).max() < 1e-5, "bf16 weights would miss 1 by some thousandths"
    assert np.abs(shown.values - maps_of(language)[0, 0].numpy()).max() < 0.1


# --- tokens, rollout -----------------------------------------------------------------------------------


def test_a_profile_is_rows_and_columns_of_the_map(run, language):
    found = result(run(AttentionProfile(**TEXT_JOB, layer=1, heads=(), tokens=(4, 20)))).files["profile"]
    mean = maps_of(language)[1].mean(0)
    assert np.abs(found.looks_at - mean[[4, 20]].mean(0).numpy()).max() < 1e-6
    assert np.abs(found.looked_at_by - mean[:, [4, 20]].mean(1).numpy()).max() < 1e-6
    assert found.tokens == (4, 20) and "mean of 2 tokens" in found.caption


@pytest.mark.parametrize("residual", [0.5, 0.2])
def test_rollout_is_the_product_of_the_layers(run, language, residual):
    shown = result(run(AttentionRollout(**TEXT_JOB, layer=2, residual=residual))).files["map"]
    wanted = rollout(list(maps_of(language)[:, None]), residual)[-1][0]
    assert np.abs(shown.values - wanted.numpy()).max() < 1e-5
    assert "rollout" in shown.caption and "layer 0 to layer 2" in shown.caption and f"{residual:g}" in shown.caption


def test_a_part_of_a_rollout_without_the_first_key(run, language):
    shown = result(run(AttentionRollout(**TEXT_JOB, layer=1, drop_first=True, rows=(20, 30), normalisation="each row to 1"))).files["map"]
    wanted = rollout(list(maps_of(language)[:2, None]))[-1][0].clone()
    wanted[:, 0] = 0
    wanted = wanted[20:30] / wanted[20:30].amax(-1, keepdim=True)
    assert np.abs(shown.values - wanted.numpy()).max() < 1e-5 and shown.dropped_first and shown.rows == (20, 30)


# --- overview ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows_at_once", [5, 128])
def test_the_overview_holds_block_means_and_scores_of_every_head(run, language, monkeypatch, rows_at_once):
    monkeypatch.setattr(attention_views, "ROWS_AT_ONCE", rows_at_once)
    events = run(AttentionOverview(**TEXT_JOB, size=8))
    found, looked = result(events).files["overview"], result(events).files["looked"]
    maps, T = maps_of(language), len(TEXT)
    assert found.thumbnails.shape == (LAYERS, HEADS, 8, 8) and looked.heads == (HEADS,) * LAYERS and len(looked.layers) == LAYERS
    edges = [place * T // 8 for place in range(9)]
    for row in range(8):
        for column in range(8):
            block = maps[:, :, edges[row] : edges[row + 1], edges[column] : edges[column + 1]].mean((-2, -1)).numpy()
            assert np.abs(found.thumbnails[:, :, row, column] * found.peaks - block).max() < 1e-6
    assert found.thumbnails.max(axis=(-2, -1)) == pytest.approx(1)
    ids = torch.tensor([language.tokenizer.encode(TEXT)]).expand(LAYERS, -1)
    wanted = head_scores(maps.float(), ids)
    for place, name in enumerate(SCORES):
        assert np.abs(found.scores[place] - getattr(wanted, name).numpy()).max() < 1e-5, name
    assert looked.causal and looked.rows == looked.columns and "".join(looked.rows.texts) == TEXT
    assert looked.scale == pytest.approx(8**-0.5) and "not an explanation" in looked.sentence


def test_the_grid_fills_as_it_is_computed(run, monkeypatch):
    from app.runners import attention

    monkeypatch.setattr(attention, "REPORT_MS", 0)
    events = run(AttentionOverview(**TEXT_JOB, size=8))
    told = records(events, "overview")
    filled = [int((~np.isnan(maps.peaks[:, 0])).sum()) for maps in told]
    assert filled == [1, 2, 3] and len(records(events, "looked")) == 1
    places = [type(event.payload).__name__ for event in events if isinstance(event, Record)]
    assert places[0] == "Looked", "the panel draws its axes first"


def test_equal_jobs_give_equal_results_whether_or_not_the_store_knows(run, language):
    job = AttentionOverview(**TEXT_JOB, size=8)
    first, second = (result(run(job)).files["overview"] for _ in range(2))
    STORE.clear()
    third = result(run(job)).files["overview"]
    for other in (second, third):
        assert np.array_equal(first.thumbnails, other.thumbnails) and np.array_equal(first.scores, other.scores, equal_nan=True)


def test_one_token_is_a_map_of_one_weight(run):
    assert result(run(AttentionMap(text="a", device="cpu"))).files["map"].values.tolist() == [[1.0]]
    found = result(run(AttentionOverview(text="a", device="cpu", size=8))).files["overview"]
    assert (found.thumbnails == 1).all() and found.scores[SCORES.index("itself")].tolist() == [[1, 1]] * 3
    assert np.isnan(found.scores[SCORES.index("previous")]).all()


def test_token_ids_stand_in_for_a_text(run, language):
    ids = tuple(language.tokenizer.encode(TEXT))
    by_ids, by_text = (result(run(AttentionMap(device="cpu", **given))) for given in ({"ids": ids, "text": ""}, {"text": TEXT}))
    assert np.array_equal(by_ids.files["map"].values, by_text.files["map"].values)


def test_names_of_control_tokens_count_as_such(run):
    looked = result(run(AttentionOverview(text="<|im_start|>user", device="cpu"))).files["looked"]
    assert looked.rows.texts[:2] == ("<|im_start|>", "u") and looked.rows.ids[0] == 256


# --- the store -----------------------------------------------------------------------------------------


def test_only_the_first_job_of_a_source_runs_the_model(run, language, monkeypatch):
    reads = count_reads(language, monkeypatch)
    for job in (AttentionMap(**TEXT_JOB, layer=1), AttentionOverview(**TEXT_JOB), AttentionRollout(**TEXT_JOB, layer=2)):
        result(run(job))
    assert reads == [3] and len(STORE) == 1
    result(run(AttentionMap(text="another text", device="cpu")))
    assert reads == [3, 3] and len(STORE) == 2
    result(run(AttentionMap(**TEXT_JOB)))
    assert len(reads) == 2


def test_what_does_not_fit_is_read_a_few_layers_at_a_time(run, language, monkeypatch):
    whole = {job: result(run(job)).files for job in (AttentionOverview(**TEXT_JOB), AttentionRollout(**TEXT_JOB, layer=2))}
    size = STORE.bytes
    STORE.clear()
    monkeypatch.setattr(STORE, "most_bytes", size // 2)
    reads, held, keep = count_reads(language, monkeypatch), [], STORE.keep
    monkeypatch.setattr(STORE, "keep", lambda model, key, capture, device: held.append(capture.bytes) or keep(model, key, capture, device))
    for job, files in whole.items():
        again = result(run(job)).files
        for name in files.keys() - {"looked"}:
            values = (files[name], again[name])
            arrays = [value.thumbnails if name == "overview" else value.values for value in values]
            assert np.array_equal(*arrays)
        assert STORE.bytes <= size // 2
    assert reads[:3] == [1, 2, 3], "each layer alone, none above it"
    assert max(held) <= size // 2, "what was read before is let go of"
    assert np.abs(result(run(AttentionMap(**TEXT_JOB, layer=1))).files["map"].values - maps_of(language)[1, 0].numpy()).max() < 1e-6


def test_layers_are_read_at_once_if_they_fit(language):
    per_layer = 10 * (HEADS + 1) * 8 * 4
    assert _layers_that_fit(10, language.model, 3 * per_layer, 1) == range(3)
    assert _layers_that_fit(10, language.model, 3 * per_layer - 1, 1) == range(1, 3)
    assert _layers_that_fit(10, language.model, 1, 2) == range(2, 3)


def heads_of(size: int) -> Capture:
    q = torch.zeros(1, size, 1)
    return Capture(parts={("text", 0, 0): Heads(q=q, k=q, causal=True)})


def test_the_store_is_bounded_and_forgets_the_oldest(monkeypatch):
    monkeypatch.setattr(captures, "free_bytes", lambda device: None)
    store, model, device = Store(most_bytes=800, most_sources=3), torch.nn.Linear(1, 1), torch.device("cpu")
    for key in "abc":
        store.keep(model, key, heads_of(20), device)  # 160 bytes each
    assert store.find(model, "a") is not None and store.bytes == 480  # and is the newest now
    store.keep(model, "d", heads_of(20), device)
    assert [key for key in "abcd" if store.find(model, key)] == ["a", "c", "d"]
    store.keep(model, "e", heads_of(90), device)
    assert [key for key in "acde" if store.find(model, key)] == ["e"] and store.bytes == 720
    store.keep(model, "f", heads_of(200), device)
    assert len(store) == 0, "larger than the bound"
    assert store.find(torch.nn.Linear(1, 1), "e") is None


def test_the_store_lets_go_with_the_model_and_when_memory_is_short(monkeypatch):
    store, model, other, device = Store(), torch.nn.Linear(1, 1), torch.nn.Linear(1, 1), torch.device("cpu")
    monkeypatch.setattr(captures, "free_bytes", lambda device: None)
    store.keep(model, "a", heads_of(20), device)
    store.keep(other, "a", heads_of(20), device)
    del model
    assert len(store) == 1 and store.find(other, "a") is not None
    monkeypatch.setattr(captures, "free_bytes", lambda device: 100 * 2**20)
    assert store.room(device) == 25 * 2**20
    store.keep(other, "b", heads_of(20), device)
    assert len(store) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_closing_at_every_yield_releases_all_pins_and_leaves_torch_alone(language, kind, monkeypatch):
    monkeypatch.setattr(attention_views, "ROWS_AT_ONCE", 30)
    for stop_after in range(1, 60):
        STORE.clear()
        mailbox = Mailbox()
        worker = loop.GpuWorker(
            mailbox, runners.runner, load=lambda key, device, dtype, progress: language, expected_size=lambda key: 0
        )
        worker.post(commands.Submit(run_id=1, job=kind(**TEXT_JOB)))
        before = torch_state()
        for _ in range(stop_after):
            if not worker.turn():
                break
            assert torch_state() == before
        worker.post(commands.Cancel(run_id=1))
        while worker.turn():
            pass
        assert worker.zoo.pins() == 0
        last = mailbox.drain()[0][-1]
        assert isinstance(last, Cancelled | Done)
        if isinstance(last, Done):
            break
    assert isinstance(last, Done) and stop_after > 3


# --- files ---------------------------------------------------------------------------------------------


def test_the_command_lines_job_leaves_numbers_and_a_picture(run, language):
    done = result(run(Attention(**TEXT_JOB, layer=1)))
    stored = np.load(io.BytesIO(done.files["attention.npz"]), allow_pickle=False)
    assert stored["weights"].dtype == np.float32 and np.abs(stored["weights"] - maps_of(language)[1].numpy()).max() < 1e-6
    assert "".join(stored["tokens"]) == TEXT and stored["layer"] == 1 and stored["scale"] == pytest.approx(8**-0.5)
    assert list(stored["column_tokens"]) == list(stored["tokens"]) and done.files["tokens"].ids == tuple(TEXT.encode())
    picture = done.files["attention.png"]
    assert picture.width >= 500 and len(np.unique(picture.pixels.reshape(-1, 3), axis=0)) > 50
    assert {"layer": 1, "heads": 2, "tokens": len(TEXT)}.items() <= done.facts.items() and "seconds" in done.facts
    assert result(run(Attention(**TEXT_JOB, layer=1))).files["attention.png"].sha256 == picture.sha256


def test_what_may_not_be_seen_is_left_grey_in_the_picture(run):
    pixels = result(run(AttentionExport(**TEXT_JOB))).files["attention.png"].pixels
    grey = (pixels == UNSEEN).all(-1)
    rows = grey.sum(1)[grey.any(1)]
    assert grey.sum() > 50_000 and rows[0] > 500 and (np.diff(rows.astype(int)) <= 0).all(), "a triangle, wide above"


def test_an_export_is_the_shown_part_in_full(run, language):
    shown = {"layer": 1, "heads": (), "rows": (10, 30), "columns": (0, 25), "drop_first": True, "most": 16}
    files = result(run(AttentionExport(**TEXT_JOB, **shown, normalisation="absolute"))).files
    stored = np.load(io.BytesIO(files["attention.npz"]), allow_pickle=False)
    exact = maps_of(language)[1].clone()
    exact[:, :, 0] = 0
    exact = (exact / exact.sum(-1, keepdim=True))[:, 10:30, :25].numpy()
    assert stored["weights"].shape == (2, 20, 25) and np.abs(stored["weights"] - exact).max() < 1e-5
    assert list(stored["rows"]) == [10, 30] and list(stored["tokens"]) == list(TEXT[10:30])
    lines = files["attention.csv"].splitlines()
    assert len(lines) == 21 and lines[3].split(",")[0] == TEXT[12]
    assert np.abs(np.array([line.rsplit(",", 25)[1:] for line in lines[1:]], float) - exact.mean(0)).max() < 1e-5
    assert files["attention.png"].width > 300


def test_a_rollout_is_exported_as_it_is_shown(run, language):
    shown = result(run(AttentionRollout(**TEXT_JOB, layer=2, residual=0.3, drop_first=True))).files["map"]
    done = result(run(AttentionExport(**TEXT_JOB, layer=2, residual=0.3, drop_first=True, rollout=True, normalisation="absolute")))
    stored = np.load(io.BytesIO(done.files["attention.npz"]), allow_pickle=False)
    assert stored["weights"].shape == (1, len(TEXT), len(TEXT)) and np.abs(stored["weights"][0] - shown.values).max() < 1e-6
    assert "scale" not in stored and list(stored["heads"]) == [0, 1] and list(stored["tokens"]) == list(TEXT)
    lines = done.files["attention.csv"].splitlines()
    written = np.array([line.rsplit(",", len(TEXT))[1:] for line in lines[1:]], float)
    assert np.abs(written - shown.values).max() < 1e-6 and "rollout" in done.facts["caption"] and "0.3" in done.facts["caption"]
    assert done.files["attention.png"].width > 300
    part = result(run(AttentionExport(**TEXT_JOB, layer=2, residual=0.3, rollout=True, rows=(4, 9), columns=(0, 7))))
    assert np.load(io.BytesIO(part.files["attention.npz"]))["weights"].shape == (1, 5, 7)


# --- bad input -----------------------------------------------------------------------------------------

BAD = (
    (AttentionOverview, {"text": "  \n"}, "no text"),
    (AttentionMap, {"layer": 3}, "no layer 3"),
    (Attention, {"layer": 30}, "no layer 30"),
    (AttentionRollout, {"layer": 3}, "no layer 3"),
    (AttentionExport, {"layer": 3, "rollout": True}, "no layer 3"),
    (AttentionMap, {"heads": (0, 2)}, "no head 2"),
    (AttentionMap, {"heads": (-1,)}, "no head -1"),
    (AttentionMap, {"rows": (5, 5)}, "5 to 5"),
    (AttentionMap, {"columns": (0, 1000)}, "0 to 1000"),
    (AttentionMap, {"rows": (-3, 5)}, "-3 to 5"),
    (AttentionProfile, {"tokens": (55,)}, "no token 55"),
    (AttentionProfile, {"tokens": (-1,)}, "no token -1"),
    (AttentionProfile, {"tokens": ()}, "No token"),
    (AttentionOverview, {"ids": (1, 5000)}, "does not know"),
    (AttentionOverview, {"text": "a" * 500}, "500 tokens, tiny holds 400"),
    (AttentionOverview, {"text": "a" * 30_000}, "30,000 characters"),
    (AttentionOverview, {"model": "builtin-moe"}, "no language model"),
    (AttentionOverview, {"model": "playworld/vae"}, "no language model"),
)


@pytest.mark.parametrize("kind, changes, words", BAD)
def test_bad_input_is_one_sentence(run, kind, changes, words):
    assert words in refused(run(kind(**(TEXT_JOB | changes))))


def test_a_model_that_is_no_llama_is_refused(drive):
    odd = replace(tiny_language(), model=torch.nn.Linear(2, 2))
    assert "family" in refused(drive(AttentionOverview(**TEXT_JOB), models={KEY: odd}))


def test_what_would_fill_the_disk_is_refused(run, monkeypatch):
    from app.runners import attention, attention_across

    monkeypatch.setattr(attention, "MOST_FILE_BYTES", 20_000)
    monkeypatch.setattr(attention_across, "MOST_ROLLOUT_BYTES", 20_000)
    assert "KiB" in refused(run(Attention(**TEXT_JOB))) and "KiB" in refused(run(AttentionRollout(**TEXT_JOB)))
    monkeypatch.setattr(attention, "MOST_CSV_VALUES", 1000)
    assert "more than 1,000" in refused(run(AttentionExport(**TEXT_JOB)))


def test_a_missing_model_and_an_unknown_family_are_told(drive, tmp_path):
    """From the real catalogue, in an empty home."""
    assert "is missing" in refused(drive(AttentionOverview(**TEXT_JOB)))
    (tmp_path / "model.gguf").write_bytes(b"no model")
    assert refused(drive(AttentionOverview(**TEXT_JOB, model=f"language:{tmp_path}/model.gguf")))
    folder = tmp_path / "bert"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "bert"}')
    assert "bert" in refused(drive(AttentionOverview(**TEXT_JOB, model=f"language:{folder}")))
