"""Small models of the lab looked into: the model that was trained, its own weights, texts that no update saw, and the wrong ways."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch

from app.jobs.attention import (
    Attention,
    AttentionEdit,
    AttentionMap,
    AttentionOverview,
    AttentionRollout,
    small_training,
    small_words,
)
from app.jobs.attention_lab import TrainAttentions
from app.protocol.attention import SCORES, HeadEdit
from app.protocol.errors import UserError
from app.protocol.events import Progress
from app.runners.attention_lab_training import BOOK, TEST_SEED, TEST_TEXTS
from app.runners.captures import STORE
from models.attention.small_lm import SmallLmConfig, build, train
from models.attention.tasks import TASKS
from models.fitting import FitConfig
from models.nn.rope import rotate
from tests.runners.test_attention import refused, result

SIZES = {"task": "copy", "steps": 3, "length": 12, "dim": 16, "n_layers": 2, "n_heads": 2, "batch_size": 4, "lr": 1e-2, "seed": 5}
TRAINING = " ".join(["softmax", *(f"{name}={value}" for name, value in SIZES.items())])
SMALL = {"source": "small", "training": TRAINING, "seed": 7, "device": "cpu"}


@pytest.fixture(autouse=True)
def nothing_kept():
    STORE.clear()
    BOOK.clear()


def updates(events) -> list[float]:
    return [event.done for event in events if isinstance(event, Progress) and event.unit == "updates"]


def trained_plainly():
    """The same training by the model's own loop, and the text with the number 7."""
    config = SmallLmConfig(
        vocab_size=32, dim=16, n_layers=2, n_heads=2, ffn_dim=8 * 16 // 3, max_len=12, attention="softmax", norm_eps=1e-5
    )
    model, task = build(config, 5), TASKS["copy"]()
    for _step in train(model, task, 4, 12, FitConfig(steps=3, lr=1e-2, warmup=3, seed=5, bf16=False)):
        pass
    return model, task.at(0, TEST_TEXTS, 12, TEST_SEED)[0][7:8]


@torch.no_grad()
def first_layer(model, ids) -> np.ndarray:
    """Softmax weights (H, T, T) of the first block, from its projections."""
    block = model.blocks[0]
    q, k, _v = block.qkv(block.attention_norm(model.tokens(ids))).view(12, 3, 2, 8).unbind(1)
    turn = model._rotations.rows(0, 12, ids.device)
    q, k = rotate(q.clone(), turn), rotate(k.clone(), turn)
    scores = torch.einsum("thd,shd->hts", q, k) / 8**0.5
    return scores.masked_fill(torch.ones(12, 12).triu(1).bool(), float("-inf")).softmax(-1).numpy()


def test_maps_are_those_of_the_model_at_the_end_of_its_training(drive):
    model, ids = trained_plainly()
    events = drive(AttentionMap(**SMALL, layer=0, heads=(1,)))
    shown = result(events).files["map"]
    assert updates(events) == [1, 2, 3] and np.abs(shown.values - first_layer(model, ids)[1]).max() < 1e-5
    looked = result(drive(AttentionOverview(**SMALL, size=8))).files["looked"]
    assert looked.rows.ids == tuple(ids[0].tolist()) and looked.causal and looked.heads == (2, 2)
    assert "not an explanation" in looked.sentence
    assert "Small model, copy, softmax" in shown.caption and "rows sum to 1" in shown.caption
    other = result(drive(AttentionMap(**{**SMALL, "seed": 8}, layer=0, heads=(1,)))).files["map"]
    assert np.abs(other.values - shown.values).max() > 1e-3, "another text"


def test_a_model_that_the_lab_has_just_trained_is_not_trained_again(drive):
    result(drive(TrainAttentions(**SIZES, mechanisms=("softmax", "linear"), test_every=2, device="cpu")))
    events = drive(AttentionMap(**SMALL, layer=1))
    beside = result(events).files["map"].values
    assert not updates(events)
    BOOK.clear()
    STORE.clear()
    events = drive(AttentionMap(**SMALL, layer=1))
    assert updates(events) == [1, 2, 3] and np.array_equal(result(events).files["map"].values, beside), "alone it learns the same"


@pytest.mark.parametrize(("mechanism", "law"), [("linear", True), ("window:width=3", True), ("gau", False)])
def test_other_attentions_show_their_own_weights(drive, mechanism, law):
    job = {**SMALL, "training": TRAINING.replace("softmax", mechanism)}
    stored = np.load(io.BytesIO(result(drive(Attention(**job, layer=0))).files["attention.npz"]))
    weights = stored["weights"]
    assert "scale" not in stored and weights.shape[1:] == (12, 12) and not np.triu(weights[0], 1).any()
    assert bool(np.abs(weights.sum(-1) - 1).max() < 1e-5) is law
    overview = result(drive(AttentionOverview(**job))).files["overview"]
    assert bool(np.isnan(overview.scores[SCORES.index("entropy")]).all()) is not law
    last = drive(AttentionRollout(**job, layer=1))
    assert result(last).files["map"].values.sum(-1) == pytest.approx(np.ones(12), abs=1e-5) if law else "no rollout" in refused(last)


def test_tokens_are_written_as_the_task_writes_them():
    assert TASKS["recall"]().words([0, 15, 16, 31]) == ["k0", "k15", "v0", "v15"] and TASKS["copy"]().words([3]) == ["3"]
    task = TASKS["captions"]()
    assert {"a", "<end>"} <= set(task.words(task.at(0, 1, 64)[0][0].tolist()))


def test_a_training_in_words_and_back():
    training = small_training("window:width=8 task=copy steps=200 lr=0.01")
    assert (training.mechanisms, training.task, training.steps, training.lr) == (("window:width=8",), "copy", 200, 0.01)
    assert small_words(training, "softmax") == "softmax task=copy steps=200 lr=0.01"
    assert small_training(small_words(training, "window:width=8")) == training and small_words(TrainAttentions(), "gau") == "gau"


@pytest.mark.parametrize(("words", "said"), [
    ("", "No small model"), ("softmax steps", "no setting"), ("softmax colour=red", "no setting"), ("softmax steps=many", "is a number"),
    ("softmax task=sums", "cannot be"), ("softmax mechanisms=linear", "no setting"), ("softmax steps=0", "out of range"),
])  # fmt: skip
def test_trainings_that_make_no_sense(words, said):
    with pytest.raises(UserError, match=said):
        small_training(words)


def test_bad_input_is_one_sentence(drive):
    assert "efficient" in refused(drive(AttentionMap(**{**SMALL, "training": "efficient"}))).lower()
    assert "no attention" in refused(drive(AttentionMap(**{**SMALL, "training": "magic"})))
    assert "no layer 2" in refused(drive(AttentionMap(**SMALL, layer=2)))
    assert "no head 2" in refused(drive(AttentionMap(**SMALL, heads=(2,))))
    assert "needs a language model" in refused(drive(AttentionEdit(**SMALL, edits=(HeadEdit(layer=0, head=0),))))
