"""Heads changed and the logit lens on any text, on a tiny random LLaMA: against a model whose weights are changed instead."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch

from app.cli_options import make_job
from app.jobs.attention import AttentionEdit, AttentionLens
from app.jobs.chat import LogitLens
from app.protocol.attention import HeadEdit
from app.protocol.errors import UserError
from app.runners import attention_edit
from tests.runners.test_attention import TEXT, TEXT_JOB, refused, result
from tests.runners.tiny_language import END, tiny_language

KEY = "smollm2"
WIDTH = 8


@pytest.fixture
def language():
    return tiny_language()


@pytest.fixture
def run(drive, language):
    return partial(drive, models={KEY: language})


def report(run, *edits, **changes):
    made = tuple(HeadEdit(layer=layer, head=head, factor=factor) for layer, head, factor in edits)
    return result(run(AttentionEdit(**(TEXT_JOB | {"edits": made, "max_new_tokens": 12} | changes)))).files["report"]


def with_columns(*edits):
    """The tiny model with the heads' columns of the output projections multiplied."""
    model = tiny_language().model
    for layer, head, factor in edits:
        model.blocks[layer].out.weight.data[:, head * WIDTH : (head + 1) * WIDTH] *= factor
    return model


def greedy(model, ids, n):
    ids = list(ids)
    for _ in range(n):
        ids.append(int(model.head(model(torch.tensor([ids])))[0, -1].argmax()))
        if ids[-1] == END:
            break
    return ids


@pytest.mark.parametrize("edits", [((1, 0, 0.0),), ((0, 1, 2.5), (2, 0, -1.0)), ((2, 0, 0.0), (2, 1, 0.0))])
@pytest.mark.parametrize("rows_at_once", [7, 64])
def test_a_change_is_what_changed_weights_would_do(run, language, monkeypatch, edits, rows_at_once):
    monkeypatch.setattr(attention_edit, "ROWS_AT_ONCE", rows_at_once)
    found, ids = report(run, *edits), list(TEXT.encode())
    laws = [model.head(model(torch.tensor([ids])))[0].double().log_softmax(-1) for model in (language.model, with_columns(*edits))]
    for told, law in zip((found.before, found.after), laws, strict=True):
        p, best = law[-1].exp().topk(10)
        assert told.ids == tuple(best.tolist()) and told.p == pytest.approx(p.tolist(), rel=1e-3)
        assert told.texts[0] == language.tokenizer.token_text(told.ids[0])
    losses = [-law[torch.arange(len(ids) - 1), ids[1:]].mean().item() for law in laws]
    assert (found.before_loss, found.after_loss) == pytest.approx(losses, abs=1e-4)
    kl = (laws[0].exp() * (laws[0] - laws[1])).sum(-1)
    assert len(found.kl) == len(ids) and found.kl == pytest.approx(kl.tolist(), abs=1e-3) and max(found.kl) > 1e-2
    for text, model in ((found.before_text, language.model), (found.after_text, with_columns(*edits))):
        assert text == language.tokenizer.decode(greedy(model, ids, 12)[len(ids) :])
    assert f"{losses[1]:.3f}"[:4] in found.sentence and found.edits == tuple(HeadEdit(layer=a, head=b, factor=c) for a, b, c in edits)


def test_a_factor_of_one_changes_nothing_at_all(run):
    found = report(run, (0, 0, 1.0), (2, 1, 1.0))
    assert found.before == found.after and found.before_text == found.after_text and found.before_loss == found.after_loss
    assert set(found.kl) == {0.0} and "nothing changes" in found.sentence


def test_nothing_stays_on_the_model(run, language):
    state = {name: value.clone() for name, value in language.model.state_dict().items()}
    first = report(run, (1, 0, 0.0))
    assert first.before == report(run, (1, 1, 0.0)).before
    assert all(torch.equal(value, state[name]) for name, value in language.model.state_dict().items())
    assert report(run, (1, 0, 0.0)) == first


def test_one_token_has_no_loss_and_no_new_tokens_no_text(run):
    found = report(run, (1, 0, 0.0), text="a", max_new_tokens=0)
    assert math.isnan(found.before_loss) and found.before_text == found.after_text == "" and len(found.kl) == 1


def test_the_context_bounds_the_continuation(run, language):
    found = report(run, (1, 0, 0.0), text="ab " * 132, max_new_tokens=50)
    assert len(found.kl) == 396 and len(found.before_text.encode("utf-8", "replace")) <= 4 * 4


@pytest.mark.parametrize("edits, words", [
    ((), "No head"), (((3, 0, 0.0),), "layer 3"), (((0, 2, 0.0),), "head 2"), (((0, -1, 0.0),), "head -1"),
    (((0, 0, float("nan")),), "finite"), (((0, 0, 0.0), (0, 0, 2.0)), "twice"),
])  # fmt: skip
def test_heads_that_cannot_be_changed(run, edits, words):
    made = tuple(HeadEdit(layer=layer, head=head, factor=factor) for layer, head, factor in edits)
    assert words in refused(run(AttentionEdit(**TEXT_JOB, edits=made)))


def test_only_language_models_are_edited_and_looked_into(run):
    one = (HeadEdit(layer=0, head=0),)
    assert "language model" in refused(run(AttentionEdit(**TEXT_JOB, edits=one, source="clip-text")))
    assert "language model" in refused(run(AttentionLens(**TEXT_JOB, source="unet-words")))
    assert "no text" in refused(run(AttentionEdit(text=" ", edits=one)))


def test_edits_on_the_command_line():
    made = make_job(AttentionEdit, ["--edit", "3,5", "--edit", "0,1,0.5", "--text", "x"])
    assert made.edits == (HeadEdit(layer=3, head=5, factor=0.0), HeadEdit(layer=0, head=1, factor=0.5))
    for wrong in ("3", "a,b", "1,2,3,4", "1,2,x"):
        with pytest.raises(UserError, match="--edit needs"):
            make_job(AttentionEdit, ["--edit", wrong])


def test_the_lens_is_the_chats_at_any_token(run, language):
    ids = tuple(TEXT.encode())
    for token in (0, 20, len(ids) - 1):
        done = result(run(AttentionLens(**TEXT_JOB, token=token)))
        chat = result(run(LogitLens(ids=ids, position=token, top=5, device="cpu")))
        assert done.files["rows"] == chat.files["rows"] and done.facts == chat.facts
        law = language.model.head(language.model(torch.tensor([ids[: token + 1]])))[0, -1].softmax(-1)
        assert [other.id for other in done.files["rows"][-1].top] == law.topk(5).indices.tolist()
        assert done.facts["token"] == TEXT[token]
    assert "no place 55" in refused(run(AttentionLens(**TEXT_JOB, token=55)))
