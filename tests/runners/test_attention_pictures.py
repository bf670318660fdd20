"""Attention of CLIP and of the UNet through the runners, on tiny random networks: against the networks themselves."""

from __future__ import annotations

import io
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
    AttentionSum,
)
from app.jobs.diffusion import Txt2Img
from app.protocol import commands
from app.protocol.attention import SCORES
from app.protocol.events import Cancelled, Done
from app.protocol.payloads import Image
from app.runners.captures import STORE
from app.worker import display, loop
from app.worker.mailbox import Mailbox
from models.diffusion.unet import UNet
from models.playworld import words
from models.playworld.render import render
from models.playworld.scene import sample_scene
from tests.runners.test_attention import refused, result

TEXT = "a red ball on grass"
TOKENS = ("<start>", "a", "red", "ball", "on", "grass", "<end>")
BASE = {"text": TEXT, "family": "tiny", "device": "cpu", "steps": 3, "step": 2, "cfg_scale": 3.0, "seed": 4}
SOURCES = ("clip-text", "clip-picture", "clip-words", "unet-self", "unet-words")


@pytest.fixture(autouse=True)
def empty_store():
    STORE.clear()


@pytest.fixture
def run(drive, tiny_nets, tiny):
    return partial(drive, models=tiny_nets)


def shown(run, source, **changes):
    return result(run(AttentionMap(**(BASE | {"source": source} | changes)))).files["map"]


def looked_at(run, source, **changes):
    return result(run(AttentionOverview(**(BASE | {"source": source, "size": 8} | changes)))).files


def ids():
    return torch.tensor([words.encode(TEXT)])


def scene(side=32):
    return Image(pixels=render(sample_scene(4), side))


# --- CLIP ----------------------------------------------------------------------------------------------


def test_words_onto_words_is_what_the_text_tower_applies(run, tiny_nets):
    text = tiny_nets["tiny/clip"].text
    x = text.tokens(ids()) + text.positions
    block = text.blocks[0]
    wanted = block.attention.weights(block.norm1(x), causal=True)[0, :, :7, :7]  # (H, 7, 7)
    for head in (0, 1):
        found = shown(run, "clip-text", heads=(head,))
        assert np.abs(found.values - wanted[head].numpy()).max() < 1e-5
        assert np.abs(found.values.sum(-1) - 1).max() < 1e-5, "nothing behind <end> is seen"
    looked = looked_at(run, "clip-text")["looked"]
    assert looked.rows.texts == looked.columns.texts == TOKENS and looked.causal and looked.rows.ids == tuple(words.encode(TEXT)[:7])
    assert looked.heads == (2,) and looked.model == "tiny clip" and looked.scale == pytest.approx(6**-0.5)


def test_patches_onto_patches_is_what_the_image_tower_applies(run, tiny_nets):
    vision = tiny_nets["tiny/clip"].vision
    x = display.tensor(scene())
    patches = vision.patches(x).flatten(2).mT
    start = vision.norm_in(torch.cat([vision.class_token.expand(1, 1, -1), patches], 1) + vision.positions)
    wanted = vision.blocks[0].attention.weights(vision.blocks[0].norm1(start))[0]
    assert np.abs(shown(run, "clip-picture", heads=(1,)).values - wanted[1].numpy()).max() < 1e-5
    given = shown(run, "clip-picture", heads=(1,), picture=scene(64), seed=99)
    assert given.values.shape == (5, 5) and np.abs(given.values - wanted[1].numpy()).max() < 0.2, "shrunk, not the same pixels"
    files = looked_at(run, "clip-picture")
    looked, scores = files["looked"], files["overview"].scores
    assert looked.rows.texts == ("<class>", "0,0", "0,1", "1,0", "1,1") and looked.row_grid == looked.column_grid == (2, 2)
    assert looked.row_extra == looked.column_extra == 1 and looked.picture.sha256 == scene().sha256 and not looked.causal
    part = wanted[:, 1:, 1:]
    places = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]])
    far = ((part / part.sum(-1, keepdim=True)) * torch.cdist(places, places)).sum(-1).mean(-1)
    assert scores[SCORES.index("distance"), 0] == pytest.approx(far.numpy(), abs=1e-5)
    assert scores[SCORES.index("sink"), 0] == pytest.approx(wanted[:, 1:, 0].mean(-1).numpy(), abs=1e-5)
    assert np.isnan(scores[SCORES.index("previous")]).all() and np.isnan(scores[SCORES.index("induction")]).all()


def test_words_to_patches_are_cosines_in_the_joint_space(run, tiny_nets):
    clip = tiny_nets["tiny/clip"]
    said = clip.text_projection(clip.text(ids())[0, :7])
    vision, last, met = clip.vision, clip.vision.blocks[-1], []
    hook = last.norm1.register_forward_hook(lambda _module, _inputs, normed: met.append(normed))
    vision(display.tensor(scene()))
    hook.remove()
    values = met[0][0, 1:] @ last.attention.v.weight.T + last.attention.v.bias  # MaskCLIP: each patch's own, nothing mixed
    seen = clip.vision_projection(vision.norm_out(values @ last.attention.out.weight.T + last.attention.out.bias))
    wanted = torch.cosine_similarity(said[:, None], seen[None], dim=-1)
    found = shown(run, "clip-words", drop_first=True)
    assert np.abs(found.values - wanted.numpy()).max() < 1e-5 and found.values.shape == (7, 4) and found.values.min() < 0
    assert "cosine" in found.caption and not found.dropped_first and "left out" not in found.caption
    files = looked_at(run, "clip-words")
    assert "No attention of the model" in files["looked"].sentence and files["looked"].column_grid == (2, 2)
    assert np.isnan(files["overview"].scores).all() and np.abs(files["overview"].thumbnails).max() == pytest.approx(1)
    end = clip.encode_text(ids())[0]
    assert torch.nn.functional.normalize(said[-1], dim=-1) == pytest.approx(end, abs=1e-5), "the <end> row is CLIP's own text vector"


# --- UNet ----------------------------------------------------------------------------------------------


def weights_at(run, tiny_nets, monkeypatch, step: int):
    """What the UNet's attentions apply at a step, from their inputs in a plain txt2img run: kind -> [(H, T, S) by layer]."""
    from models.nn.attention import Attention as Layer

    seen, original, calls = {"unet-self": [], "unet-words": []}, Layer.forward, []
    forward = UNet.forward

    def count(self, *args, **options):
        calls.append(1)
        return forward(self, *args, **options)

    def watch(self, x, context=None, causal=False, note=None):
        if len(calls) == step:
            seen["unet-self" if context is None else "unet-words"].append(self.weights(x, context)[-1])
        return original(self, x, context, causal, note)

    with monkeypatch.context() as patch:
        patch.setattr(UNet, "forward", count)
        patch.setattr(Layer, "forward", watch)
        job = Txt2Img(prompt=TEXT, model="tiny", steps=3, cfg_scale=3.0, seed=4, device="cpu")
        picture = result(run(job)).facts["sha256"]
    return seen, picture


@pytest.mark.parametrize("step", [1, 3])
def test_maps_are_those_of_the_prompted_half_of_a_txt2img_run(run, tiny_nets, monkeypatch, step):
    seen, picture = weights_at(run, tiny_nets, monkeypatch, step)
    for source in ("unet-self", "unet-words"):
        looked = looked_at(run, source)["looked"]
        assert looked.picture.sha256 == picture, "watching changes nothing"
        assert len(looked.layers) == len(looked.grids) == len(seen[source]) == 7
        for layer, wanted in enumerate(seen[source]):
            found = shown(run, source, layer=layer, heads=(1,), step=step)
            assert np.abs(found.values - wanted[1].numpy()).max() < 1e-5
            assert found.values.shape[0] == np.prod(looked.grids[layer]) and np.abs(found.values.sum(-1) - 1).max() < 1e-5
            assert f"step {step} of 3" in found.caption


def test_one_run_serves_all_steps_and_both_kinds(run, monkeypatch):
    calls, forward = [], UNet.forward
    monkeypatch.setattr(UNet, "forward", lambda self, *args, **options: calls.append(1) or forward(self, *args, **options))
    maps = [shown(run, source, step=step).values for source in ("unet-self", "unet-words") for step in (1, 2, 3)]
    assert len(calls) == 3 and len(STORE) == 1
    assert all(np.abs(maps[place] - maps[place + 1]).max() > 1e-4 for place in (0, 1, 3, 4)), "steps differ"
    shown(run, "unet-words", seed=5)
    assert len(calls) == 6


def test_where_not_all_steps_fit_the_one_asked_for_is_kept(run, monkeypatch):
    wanted = [shown(run, "unet-words", step=step).values for step in (1, 3)]
    size = STORE.bytes
    STORE.clear()
    monkeypatch.setattr(STORE, "most_bytes", size // 2)
    for step, values in zip((1, 3), wanted, strict=True):
        assert np.array_equal(shown(run, "unet-words", step=step).values, values)
        assert STORE.bytes == size // 3


def test_sides_of_the_unets_maps(run):
    files = looked_at(run, "unet-words")
    looked = files["looked"]
    assert looked.columns.texts[:7] == TOKENS and set(looked.columns.texts[7:]) == {"<pad>"} and len(looked.columns.ids) == 32
    assert looked.row_grid == looked.grids[0] == (16, 16) and looked.grids[3] == (8, 8) and looked.rows.texts[17] == "1,1"
    assert looked.layers[0] == "down 16 × 16" and looked.layers[3].startswith("up 8 × 8 (") and looked.steps == 3
    scores = files["overview"].scores
    known = {name for place, name in enumerate(SCORES) if not np.isnan(scores[place]).any()}
    assert known == {"entropy", "evenness", "sink"}
    scores = looked_at(run, "unet-self")["overview"].scores
    assert {name for place, name in enumerate(SCORES) if not np.isnan(scores[place]).any()} == {"entropy", "evenness", "distance", "itself"}


def test_a_place_is_a_cell_or_a_word(run):
    whole = shown(run, "unet-words", layer=3, heads=()).values
    both, cell = (
        result(run(AttentionProfile(**BASE, source="unet-words", layer=3, heads=(), tokens=(place,)))).files["profile"] for place in (3, 40)
    )
    assert np.abs(both.looks_at - whole[3]).max() < 1e-6 and np.abs(both.looked_at_by - whole[:, 3]).max() < 1e-6
    assert np.abs(cell.looks_at - whole[40]).max() < 1e-6 and np.isnan(cell.looked_at_by).all() and len(cell.looked_at_by) == 64


# --- all layers together ----------------------------------------------------------------------------------


def all_layers(run, layer: int, step: int) -> torch.Tensor:
    """Mean over heads and layers, every word's picture brought to the grid of `layer` by Pillow's bilinear filter: (cells, words)."""
    from PIL import Image as Pillow

    grids = looked_at(run, "unet-words")["looked"].grids
    height, width = grids[layer]
    found = []
    for n, grid in enumerate(grids):
        words_of = shown(run, "unet-words", layer=n, heads=(), step=step, most=4096).values.T
        sized = [Pillow.fromarray(one.reshape(grid)).resize((width, height), Pillow.Resampling.BILINEAR) for one in words_of]
        found.append(np.stack([np.asarray(one).ravel() for one in sized], axis=1))
    return np.mean(found, axis=0)


@pytest.mark.parametrize("layer", [0, 3])
def test_all_layers_of_a_step_or_of_the_run_are_one_map(run, layer):
    steps = [all_layers(run, layer, step) for step in (1, 2, 3)]
    job = {**BASE, "source": "unet-words", "layer": layer}
    one = result(run(AttentionSum(**job, summed="step"))).files["map"]
    assert np.abs(one.values - steps[1]).max() < 1e-4 and np.abs(one.values.sum(-1) - 1).max() < 1e-5
    every = result(run(AttentionSum(**job, summed="run"))).files["map"]
    assert np.abs(every.values - np.mean(steps, axis=0)).max() < 1e-4 and np.abs(every.values - one.values).max() > 1e-4
    assert "all 7 layers" in one.caption and "step 2 of 3" in one.caption and "all 3 steps" in every.caption
    stored = result(run(AttentionExport(**job, summed="run"))).files["attention.npz"]
    assert np.load(io.BytesIO(stored))["weights"][0] == pytest.approx(every.values, abs=1e-6)


def test_a_sum_needs_words_and_all_that_it_sums(run, monkeypatch):
    assert "prompt words" in refused(run(AttentionSum(**BASE, source="clip-picture")))
    assert "prompt words" in refused(run(AttentionSum(**BASE, source="unet-self")))
    shown(run, "unet-words")
    monkeypatch.setattr(STORE, "most_bytes", STORE.bytes // 2)
    STORE.clear()
    assert "more memory than may be kept" in refused(run(AttentionSum(**BASE, source="unet-words", summed="run")))
    assert result(run(AttentionSum(**BASE, source="unet-words", summed="step"))).files["map"].values.shape[1] == 32


# --- every source --------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_has_files_and_is_the_same_again(run, source):
    done = result(run(Attention(**BASE, source=source)))
    stored = np.load(io.BytesIO(done.files["attention.npz"]), allow_pickle=False)
    assert stored["weights"].shape == (done.facts["heads"], len(stored["tokens"]), len(stored["column_tokens"]))
    assert stored["weights"][0] == pytest.approx(shown(run, source, most=4096).values, abs=1e-6)
    first = looked_at(run, source)["overview"]
    STORE.clear()
    second = looked_at(run, source)["overview"]
    assert np.array_equal(first.thumbnails, second.thumbnails) and np.array_equal(first.scores, second.scores, equal_nan=True)
    assert result(run(AttentionExport(**BASE, source=source))).files["attention.csv"].count("\n") == len(stored["tokens"]) + 1


@pytest.mark.parametrize("source", SOURCES)
def test_closing_at_every_yield_releases_all_pins(tiny_nets, tiny, source):
    for stop_after in range(1, 40):
        STORE.clear()
        mailbox = Mailbox()
        worker = loop.GpuWorker(
            mailbox, runners.runner, load=lambda key, device, dtype, progress: tiny_nets[key].to(device, dtype), expected_size=lambda key: 0
        )
        worker.post(commands.Submit(run_id=1, job=AttentionOverview(**BASE, source=source)))
        for _ in range(stop_after):
            if not worker.turn():
                break
        worker.post(commands.Cancel(run_id=1))
        while worker.turn():
            pass
        assert worker.zoo.pins() == 0
        last = mailbox.drain()[0][-1]
        assert isinstance(last, Cancelled | Done)
        if isinstance(last, Done):
            break
    assert isinstance(last, Done) and stop_after > 2


def test_rollout_needs_layers_on_the_same_tokens(run):
    for source in ("clip-words", "unet-self", "unet-words"):
        assert "same tokens" in refused(run(AttentionRollout(**BASE, source=source)))
    found = result(run(AttentionRollout(**BASE, source="clip-picture", residual=0.0))).files["map"]
    assert found.values == pytest.approx(shown(run, "clip-picture", heads=()).values, abs=1e-6)


def test_bad_input_is_one_sentence(run):
    assert "no text" in refused(run(AttentionMap(**(BASE | {"text": " "}), source="clip-text")))
    assert "no prompt words" in refused(run(AttentionMap(**(BASE | {"text": ""}), source="unet-words")))
    assert "no step 4" in refused(run(AttentionMap(**(BASE | {"step": 4}), source="unet-self")))
    assert "no layer 7" in refused(run(AttentionMap(**BASE, source="unet-self", layer=7)))
    assert "no head 2" in refused(run(AttentionMap(**BASE, source="clip-text", heads=(2,))))
    assert "2 x 9" in refused(run(AttentionMap(**BASE, source="clip-picture", picture=Image(pixels=np.zeros((9, 2, 3), np.uint8)))))
    assert "no model named" in refused(run(AttentionMap(**(BASE | {"family": "sd15"}), source="clip-text")))


def test_unknown_and_unread_words_are_said(run):
    assert "does not know: zebra" in looked_at(run, "clip-text", text="a zebra")["looked"].sentence
    sentence = looked_at(run, "unet-words", text="a red ball " * 12)["looked"].sentence
    assert "36 words" in sentence and "reads 30" in sentence
