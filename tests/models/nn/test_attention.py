"""Attention against its formula, and the weights it shows against what it computes."""

import pytest
import torch
from einops import einsum, rearrange

from models.nn.attention import Attention
from tests.models.parity import fill, normal


@pytest.mark.parametrize("causal", [False, True])
def test_weights_are_those_that_forward_applies(causal):
    attention = fill(Attention(24, n_heads=3), std=0.4)
    x = normal(2, 5, 24)
    weights = attention.weights(x, causal=causal)
    v = rearrange(attention.v(x), "b s (h d) -> b h s d", h=3)
    mixed = rearrange(einsum(weights, v, "b h t s, b h s d -> b h t d"), "b h t d -> b t (h d)")
    torch.testing.assert_close(attention.out(mixed), attention(x, causal=causal), rtol=0, atol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
def test_rows_of_weights_sum_to_one(causal):
    attention = fill(Attention(24, n_heads=3), std=0.4)
    weights = attention.weights(normal(2, 5, 24), causal=causal)
    assert weights.shape == (2, 3, 5, 5)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3, 5), rtol=0, atol=1e-6)
    assert (weights.triu(1).abs().max() == 0) == causal
    assert weights.std() > 0.01


def test_cross_attention_looks_at_the_context_only():
    attention = fill(Attention(24, n_heads=3, context_dim=10), std=0.4)
    x, context = normal(2, 5, 24), normal(2, 7, 10, seed=2)
    assert attention(x, context).shape == (2, 5, 24)
    assert attention.weights(x, context).shape == (2, 3, 5, 7)
    one_word = context[:, :1]
    same_for_all = attention(x, one_word)  # a single word gets all the weight, whoever asks
    torch.testing.assert_close(same_for_all, same_for_all[:, :1].expand(2, 5, 24), rtol=0, atol=1e-6)


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="24.*5"):
        Attention(24, n_heads=5)
