"""Joining softmaxes over disjoint keys, empty rows, and shapes that do not fit."""

import pytest
import torch

from models.attention.signature import AttentionError, check, join, partial_softmax, past, repeat_heads
from tests.models.parity import normal


def test_partial_softmax_is_the_softmax_and_its_normaliser():
    scores = normal(3, 5, 7)
    p, logs = partial_softmax(scores)
    torch.testing.assert_close(p, scores.softmax(-1), rtol=0, atol=1e-6)
    torch.testing.assert_close(logs, scores.logsumexp(-1), rtol=0, atol=1e-5)


def test_rows_that_may_look_nowhere_are_zero_and_pass_no_gradient():
    scores = normal(2, 4).requires_grad_()
    mask = torch.tensor([[True, False, True, True], [False] * 4])
    p, logs = partial_softmax(scores, mask)
    assert p[1].abs().max() == 0 and logs[1] == float("-inf")
    (p.square().sum() + logs[0]).backward()
    assert scores.grad.isfinite().all() and scores.grad[1].abs().max() == 0 and scores.grad[0].abs().max() > 0


def test_joined_parts_are_the_softmax_over_all_keys():
    scores, v = normal(2, 6, 9), normal(2, 9, 4, seed=2)
    parts = []
    for keys in (slice(0, 2), slice(2, 3), slice(3, 9)):
        p, logs = partial_softmax(scores[..., keys])
        parts.append((p @ v[:, keys], logs))
    out, logs = join(parts)
    torch.testing.assert_close(out, scores.softmax(-1) @ v, rtol=0, atol=1e-6)
    torch.testing.assert_close(logs, scores.logsumexp(-1), rtol=0, atol=1e-5)


def test_an_empty_part_changes_nothing_and_only_empty_parts_give_zero():
    out, logs = normal(3, 4), normal(3, seed=2)
    nothing = torch.zeros(3, 4), torch.full((3,), float("-inf"))
    assert torch.equal(join([(out, logs), nothing])[0], out)
    assert torch.equal(join([nothing, nothing])[0], torch.zeros(3, 4))


def test_causality_is_aligned_at_the_last_token():
    assert past(2, 4).tolist() == [[True, True, True, False], [True] * 4]
    assert past(3, 2).tolist() == [[False, False], [True, False], [True, True]]


def test_repeated_heads_follow_one_another():
    kv = torch.arange(2.0).view(1, 2, 1, 1)
    assert repeat_heads(kv, 6).flatten().tolist() == [0, 0, 0, 1, 1, 1]
    with pytest.raises(AttentionError, match="5 query heads cannot share 2"):
        repeat_heads(kv, 5)


@pytest.mark.parametrize("shapes", [((1, 2, 3, 4), (1, 2, 3, 5), (1, 2, 3, 4)), ((1, 2, 3, 4), (1, 1, 3, 4), (1, 1, 3, 4)),
                                    ((2, 3, 4), (2, 3, 4), (2, 3, 4)), ((1, 1, 0, 4),) * 3])  # fmt: skip
def test_shapes_that_do_not_fit_are_refused_in_a_sentence(shapes):
    with pytest.raises(AttentionError) as caught:
        check(*(torch.zeros(shape) for shape in shapes))
    assert caught.value.message.endswith(".")
