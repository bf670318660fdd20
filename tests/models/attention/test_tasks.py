"""The texts small language models are trained on: what is in them, what counts, and that seeds decide."""

import pytest
import torch

from models.attention.tasks import IGNORE, TASKS, captions, copy, recall
from models.playworld.words import END, VOCAB_SIZE, decode


@pytest.mark.parametrize("name", TASKS)
def test_a_batch_is_a_function_of_seed_and_step(name):
    task = TASKS[name]()
    (ids, targets), again, other = task.at(3, 4, 24, seed=1), task.at(3, 4, 24, seed=1), task.at(4, 4, 24, seed=1)
    assert ids.shape == targets.shape == (4, 24) and torch.equal(ids, again[0]) and torch.equal(targets, again[1])
    assert not torch.equal(ids, other[0]) and not torch.equal(ids, task.at(3, 4, 24, seed=2)[0])
    assert ids.min() >= 0 and ids.max() < task.vocab_size
    counts = targets[:, :-1] != IGNORE
    assert torch.equal(targets[:, :-1][counts], ids[:, 1:][counts])  # the next token


def test_copies_repeat_after_their_period_and_count_from_then_on():
    ids, targets = copy(50).at(0, 64, 40)
    periods = []
    for text, target in zip(ids, targets, strict=True):
        first = int((target != IGNORE).nonzero()[0]) + 1  # targets are one ahead
        periods.append(first)
        assert torch.equal(text[first:], text[:-first]) and (target[first - 1 :] != IGNORE).all()
    assert min(periods) == 4 and max(periods) == 20
    _, targets = copy(50, period=7).at(0, 8, 40)
    assert ((targets != IGNORE).sum(1) == 40 - 6).all()


def test_recall_asks_for_values_that_were_told():
    ids, targets = recall(pairs=4, symbols=10).at(0, 16, 20)
    for text, target in zip(ids.tolist(), targets.tolist(), strict=True):
        told = dict(zip(text[0:8:2], text[1:8:2], strict=True))
        assert len(told) == 4 and all(key < 10 <= value for key, value in told.items())
        asked = [(text[i], target[i]) for i in range(20) if target[i] != IGNORE]
        assert len(asked) == 6 and all(told[key] == value for key, value in asked)
    with pytest.raises(ValueError, match="more than 8 tokens"):
        recall(pairs=4).at(0, 1, 8)
    with pytest.raises(ValueError, match="20 different keys"):
        recall(pairs=20, symbols=10)


def test_captions_are_sentences_of_playworld():
    ids, targets = captions().at(0, 3, 60)
    assert captions().vocab_size == VOCAB_SIZE and (targets != IGNORE).all() and (ids == END).any()
    assert "<unk>" not in decode(ids[0].tolist())
    assert not torch.equal(ids, captions("validation").at(0, 3, 60)[0])
