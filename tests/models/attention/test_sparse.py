"""Sparse patterns against their definitions, and sparse attention against Longformer's, BigBird's and Reformer's in transformers.

That the cheap computation equals masked dense attention is tested for all of them in `test_table.py`.
"""

import math

import numpy as np
import pytest
import torch
import transformers

from models.attention import patterns
from models.attention.signature import AttentionError, past
from models.attention.softmax import softmax
from models.attention.sparse import block_sparse, strided
from models.attention.table import attend
from tests.models.parity import LAYER, assert_close, fill, normal

T = 37


def by_definition(rule, causal=True):
    """The matrix of a rule about a query i and a key j."""
    return torch.tensor([[bool(rule(i, j)) and (j <= i or not causal) for j in range(T)] for i in range(T)])


@pytest.mark.parametrize("causal", [True, False])
def test_patterns_are_as_in_the_paper(causal):
    stride, summary = 6, 2
    near = by_definition(lambda i, j: abs(i - j) < stride, causal)
    column = by_definition(lambda i, j: (i - j) % stride == 0, causal)
    block = by_definition(lambda i, j: i // stride == j // stride, causal)
    sums = by_definition(lambda i, j: j % stride >= stride - summary, causal)
    assert torch.equal(patterns.window(T, stride, causal), near)
    assert torch.equal(patterns.window(T, stride, causal, sinks=2), near | by_definition(lambda i, j: j < 2, causal))
    assert torch.equal(patterns.strided(T, stride, "local", causal), near)
    assert torch.equal(patterns.strided(T, stride, "far", causal), column)
    assert torch.equal(patterns.strided(T, stride, "merged", causal), near | column)
    assert torch.equal(patterns.fixed(T, stride, summary, "local", causal), block)
    assert torch.equal(patterns.fixed(T, stride, summary, "far", causal), sums)
    assert torch.equal(patterns.fixed(T, stride, summary, "merged", causal), block | sums)


@pytest.mark.parametrize("stride", [1, 4, 6, 13])
def test_the_two_halves_reach_every_earlier_token_in_two_hops(stride):
    local, far = patterns.strided(T, stride, "local"), patterns.strided(T, stride, "far")
    assert torch.equal((local.float() @ far.float()) > 0, past(T, T))  # first the column, then the neighbourhood
    assert torch.equal(patterns.reach(local | far, layers=2), past(T, T))
    fixed = patterns.fixed(T, stride, 1)
    reached = patterns.reach(fixed, layers=2)  # through the tokens that sum up the blocks before
    done = torch.arange(T) // stride < (torch.arange(T) // stride)[:, None]
    assert reached[done].all() and reached[past(T, T) & ~done].all() and torch.equal(reached, reached & past(T, T))


def test_a_window_alone_needs_many_layers():
    mask = patterns.window(T, 5)
    for layers in (1, 2, 3):
        assert torch.equal(patterns.reach(mask, layers), patterns.window(T, 4 * layers + 1))


def test_big_bird_has_neighbours_global_blocks_and_so_many_random_ones():
    layout = patterns.big_bird(12, near=1, everywhere=1, random=2, seed=3)
    i, j = torch.arange(12)[:, None], torch.arange(12)
    sure = ((i - j <= 1) | (j < 1)) & (j <= i)
    assert layout[sure].all() and not layout[j > i].any()
    free = (~sure & (j <= i)).sum(-1)
    assert torch.equal((layout & ~sure).sum(-1), free.clamp(max=2))
    assert torch.equal(layout, patterns.big_bird(12, random=2, seed=3)) and not torch.equal(layout, patterns.big_bird(12, random=2, seed=4))
    both_ways = patterns.big_bird(12, random=0, causal=False)
    assert both_ways[0].all() and both_ways[-1].all() and both_ways[:, -1].all() and int(both_ways[5].sum()) == 5


def test_density_counts_the_pairs_that_could_be():
    assert patterns.density(past(9, 9)) == 1
    assert patterns.density(patterns.window(9, 1)) == pytest.approx(9 / 45)
    assert patterns.density(patterns.window(9, 1, causal=False), causal=False) == pytest.approx(9 / 81)


def test_alternating_heads_see_one_half_each():
    q, k, v = normal(1, 4, T, 8), normal(1, 4, T, 8, seed=2), normal(1, 4, T, 8, seed=3)
    found = strided(q, k, v, stride=6, part="alternate", want_map=True)
    for head in range(4):
        part = ("local", "far")[head % 2]
        assert torch.equal(found.weights[0, head] > 0, patterns.strided(T, 6, part))


def test_an_edited_layout_is_obeyed():
    q, k, v = normal(1, 1, 20, 8), normal(1, 1, 20, 8, seed=2), normal(1, 1, 20, 8, seed=3)
    layout = torch.eye(4, dtype=torch.bool)
    layout[3, 0] = True
    mask = patterns.blocks(layout, 5, 20)
    found = block_sparse(q, k, v, block=5, layout=layout)
    assert_close(found.out, softmax(q, k, v, mask=mask).out, 1e-6)
    layout[2] = False  # nothing to look at
    assert block_sparse(q, k, v, block=5, layout=layout).out[:, :, 10:15].abs().max() == 0
    with pytest.raises(AttentionError, match="need a layout of 4 x 4, not 3 x 3"):
        block_sparse(q, k, v, block=5, layout=torch.ones(3, 3, dtype=torch.bool))


# Published implementations


def projected(layer, x, names, n_heads):
    """q, k, v as their layer makes them, (B, H, T, d)."""
    return [getattr(layer, name)(x).unflatten(-1, (n_heads, -1)).transpose(1, 2) for name in names]


@torch.no_grad()
def test_window_equals_longformers():
    from transformers.models.longformer.modeling_longformer import LongformerSelfAttention

    config = transformers.LongformerConfig(hidden_size=24, num_attention_heads=3, attention_window=[8], attention_probs_dropout_prob=0.0)
    layer = fill(LongformerSelfAttention(config, layer_id=0), std=0.3)
    x = normal(2, 32, 24)
    nothing = torch.zeros(2, 32, dtype=torch.bool)
    theirs = layer(x, attention_mask=torch.zeros(2, 32), is_index_masked=nothing, is_index_global_attn=nothing, is_global_attn=False)[0]
    q, k, v = projected(layer, x, ("query", "key", "value"), 3)
    ours = attend("window", q, k, v, causal=False, knobs={"width": 8 // 2 + 1}).out
    assert_close(ours.transpose(1, 2).flatten(2), theirs, LAYER)


def test_block_sparse_equals_big_birds(monkeypatch):
    from transformers.models.big_bird.modeling_big_bird import BigBirdBlockSparseAttention, BigBirdModel

    config = transformers.BigBirdConfig(
        hidden_size=16, num_attention_heads=1, block_size=4, num_random_blocks=2, max_position_embeddings=64, attention_type="block_sparse"
    )
    layer = fill(BigBirdBlockSparseAttention(config, seed=0), std=0.3).train()  # random blocks are drawn in training only
    x = normal(1, 64, 16)
    blocked, band, rows, columns = BigBirdModel.create_masks_for_block_sparse_attn(torch.ones(1, 64), 4)
    state = np.random.get_state()
    with torch.no_grad():
        theirs, weights = layer(x, band, rows, columns, blocked, blocked)
        q, k, v = projected(layer, x, ("query", "key", "value"), 1)
    np.random.set_state(state)
    layout = weights[0, 0].unflatten(0, (16, 4)).unflatten(2, (16, 4)).amax(dim=(1, 3)) > 0
    sure = patterns.big_bird(16, random=0, causal=False)
    assert layout[sure].all() and (layout & ~sure).sum(-1)[2:-2].eq(2).all()  # the same pattern as ours
    ours = block_sparse(q, k, v, causal=False, block=4, layout=layout, want_map=True)
    assert_close(ours.out.transpose(1, 2).flatten(2), theirs, LAYER)
    assert_close(ours.weights, weights, LAYER)


@torch.no_grad()
def test_chunks_that_look_one_back_equal_reformers_local_attention():
    from transformers.models.reformer.modeling_reformer import LocalSelfAttention

    config = transformers.ReformerConfig(
        hidden_size=24, num_attention_heads=3, attention_head_size=8, local_attn_chunk_length=8, is_decoder=True,
        local_attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    layer = fill(LocalSelfAttention(config), std=0.3)
    x = normal(2, 40, 24)
    theirs = layer(x).hidden_states
    q, k, v = projected(layer, x, ("query", "key", "value"), 3)
    layout = patterns.big_bird(5, near=1, everywhere=0, random=0)
    assert_close(block_sparse(q, k, v, block=8, layout=layout).out.transpose(1, 2).flatten(2), theirs, LAYER)
    assert math.isclose(patterns.density(patterns.blocks(layout, 8, 40)), (5 * 36 + 4 * 64) / 820)
