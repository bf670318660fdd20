"""Linformer: full rank is softmax attention, pressing is what its matrices say, the causal form adds nothing of the future."""

import pytest
import torch

from models.attention.lowrank import MIXED, low_rank, projection_matrix
from models.attention.measures import error, rank_for
from models.attention.signature import AttentionError
from models.attention.softmax import softmax
from tests.models.parity import assert_close, normal


def heads(T=40, d=8):
    return normal(2, 3, T, d), normal(2, 3, T, d, seed=2), normal(2, 3, T, d, seed=3)


@pytest.mark.parametrize("causal, n", [(False, 40), (True, 16)])
def test_full_rank_and_identity_is_softmax_attention(causal, n):
    q, k, v = heads()
    found = low_rank(q, k, v, causal=causal, chunk=16, E=torch.eye(n), F=torch.eye(n), want_map=True)
    expected = softmax(q, k, v, causal=causal, want_map=True)
    assert_close(found.out, expected.out, 1e-6)
    assert_close(found.weights, expected.weights, 1e-6)


def test_the_papers_form_is_its_equation():
    q, k, v = heads()
    E, F = normal(5, 40, seed=4), normal(5, 40, seed=5)
    expected = (q @ (E @ k).transpose(-1, -2) * 8**-0.5).softmax(-1) @ (F @ v)
    found = low_rank(q, k, v, causal=False, E=E, F=F)
    assert_close(found.out, expected, 1e-5)
    assert found.normalisation == MIXED


def test_pooling_takes_means_of_even_segments():
    E = projection_matrix("pool", 3, 8)
    assert E.tolist() == [[1 / 3] * 3 + [0] * 5, [0] * 3 + [1 / 3] * 3 + [0] * 2, [0] * 6 + [1 / 2] * 2]
    assert torch.equal(projection_matrix("pool", 8, 8), torch.eye(8).double())


def test_random_projections_keep_products_on_average():
    """Johnson-Lindenstrauss: E[E^T E] = I; over 2,000 draws each entry within 5 standard errors of sqrt(2 / (r draws))."""
    draws = torch.stack([projection_matrix("random", 4, 6, seed) for seed in range(2000)])
    mean = (draws.transpose(1, 2) @ draws).mean(0)
    assert (mean - torch.eye(6)).abs().max() < 5 * (2 / (4 * 2000)) ** 0.5


def test_a_pressed_key_stands_for_as_many_as_it_presses():
    """Where all keys and values of a chunk are alike, pressing them to one loses nothing: the log(c/r) sees to that."""
    q, k, v = heads(T=32)
    k, v = (x[:, :, ::8].repeat_interleave(8, dim=2) for x in (k, v))
    found = low_rank(q, k, v, rank=1, chunk=8).out
    assert_close(found, softmax(q, k, v).out, 1e-5)


def test_more_rank_means_less_error():
    q, k, v = heads(T=64)
    for causal in (True, False):
        reference = softmax(q, k, v, causal=causal).out
        errors = [error(low_rank(q, k, v, causal=causal, rank=r, chunk=32).out, reference).relative_l2 for r in (1, 8, 32, 64)]
        assert errors[0] > errors[1] > errors[2] and (causal or errors[2] > errors[3])
        assert errors[3] < 1e-5


def test_the_map_has_no_more_than_the_rank_asked_for():
    q, k, v = heads()
    weights = low_rank(q, k, v, causal=False, rank=4, want_map=True).weights
    assert int(torch.linalg.matrix_rank(weights, rtol=1e-5).max()) == 4
    assert int(rank_for(weights, 0.9999).max()) <= 4 < int(rank_for(softmax(q, k, v, causal=False, want_map=True).weights, 0.9999).min())


@pytest.mark.parametrize("options, message", [({"E": torch.eye(3)}, "do not press 64 keys"), ({"projection": "svd"}, "pool and random")])
def test_bad_projections_are_refused(options, message):
    with pytest.raises(AttentionError, match=message):
        low_rank(*heads(), **options)
