"""LSH attention against transformers' Reformer, and what must hold of hashing, sorting and joining rounds."""

import pytest
import torch
import transformers
from transformers.models.reformer.modeling_reformer import LSHSelfAttention

from models.attention.lsh import SELF_SCORE, hash_buckets, lsh, unit_keys
from models.attention.signature import past
from models.attention.softmax import softmax
from tests.models.parity import LAYER, assert_close, fill, normal


def heads(T=40, d=8):
    return normal(2, 3, T, d), normal(2, 3, T, d, seed=2), normal(2, 3, T, d, seed=3)


@pytest.mark.parametrize("rounds", [1, 3])
@pytest.mark.parametrize("causal", [True, False])
def test_equals_reformers_on_its_own_buckets(rounds, causal):
    config = transformers.ReformerConfig(
        hidden_size=24, num_attention_heads=3, attention_head_size=8, num_hashes=rounds, num_buckets=8, lsh_attn_chunk_length=10,
        is_decoder=causal, hash_seed=0, lsh_attention_probs_dropout_prob=0.0, lsh_num_chunks_before=1, lsh_num_chunks_after=0,
    )  # fmt: skip
    layer = fill(LSHSelfAttention(config), std=0.5).double()  # at its -1e5, fp32 is good to two digits only
    x = normal(2, 40, 24).double()
    with torch.no_grad(), torch.random.fork_rng():  # Reformer seeds torch's own generator
        theirs = layer(x)
        q, v = (part(x).unflatten(-1, (3, 8)).transpose(1, 2) for part in (layer.query_key, layer.value))
    offsets = torch.arange(rounds)[:, None] * 8
    hashes = theirs.buckets.view(2, 3, rounds, 40) - offsets
    options = {"causal": causal, "hashes": hashes, "chunk": 10, "shared": True, "same_bucket": False, "wrap": True}
    ours = lsh(q, torch.zeros_like(q), v, want_map=True, **options)
    assert_close(ours.out.transpose(1, 2).flatten(2), theirs.hidden_states, LAYER)
    assert_close(ours.weights @ v, ours.out, LAYER)


@pytest.mark.parametrize("rounds", [1, 2])
@pytest.mark.parametrize("causal", [True, False])
def test_one_bucket_is_full_attention_with_shared_keys(rounds, causal):
    q, _, v = heads()
    one = torch.zeros(2, 3, rounds, 40, dtype=torch.long)
    found = lsh(q, q, v, causal=causal, hashes=one, chunk=40, shared=True, want_map=True)
    scores = (q @ unit_keys(q).transpose(-1, -2)).masked_fill(torch.eye(40, dtype=torch.bool), SELF_SCORE)
    scores = scores.masked_fill(~past(40, 40), -1e9) if causal else scores
    assert_close(found.weights, scores.softmax(-1), 1e-6)
    assert_close(found.out, scores.softmax(-1) @ v, LAYER)
    assert not causal or torch.equal(found.out[:, :, 0], v[:, :, 0])  # the first token has nothing but itself


@pytest.mark.parametrize("rounds", [1, 3])
@pytest.mark.parametrize("causal", [True, False])
def test_one_bucket_is_softmax_attention_with_separate_keys(rounds, causal):
    q, k, v = heads()
    one = torch.zeros(2, 2, 3, rounds, 40, dtype=torch.long)
    found = lsh(q, k, v, causal=causal, hashes=one, chunk=80)
    assert_close(found.out, softmax(q, k, v, causal=causal).out, LAYER)


def test_only_keys_of_the_same_bucket_are_seen():
    q, k, v = heads()
    weights = lsh(q, k, v, buckets=6, rounds=1, want_map=True, seed=4).weights
    of_q, of_k = hash_buckets(q, 6, 1, 4)[:, :, 0], hash_buckets(k, 6, 1, 4)[:, :, 0]
    same = of_q[..., None] == of_k[..., None, :]
    others = weights > 0
    others[..., torch.arange(40), torch.arange(40)] = False  # a token itself is always seen
    assert others.any() and not (others & ~same).any()


def test_more_rounds_miss_less():
    q = normal(1, 1, 200, 16)
    k = q + 0.3 * normal(1, 1, 200, 16, seed=2)
    reference = softmax(q, k, q, scale=1.0).out
    errors = [(lsh(q, k, q, scale=1.0, buckets=8, rounds=rounds).out - reference).norm() for rounds in (1, 4, 16)]
    assert errors[0] > errors[1] > errors[2]


def test_near_directions_meet_more_often_than_far_ones():
    x = torch.nn.functional.normalize(normal(1, 1, 400, 16), dim=-1)
    near = torch.nn.functional.normalize(x + 0.1 * normal(1, 1, 400, 16, seed=2), dim=-1)
    one, other = hash_buckets(x, 8, 4, 0), hash_buckets(near, 8, 4, 0)
    meeting = (one == other).float().mean()
    assert meeting > 0.7
    strangers = (one == other.roll(1, -1)).float().mean()
    assert 0.08 < strangers < 0.2  # about one in eight
    assert torch.equal(hash_buckets(3 * x, 8, 4, 0), one) and (hash_buckets(-x, 8, 4, 0) == (one + 4) % 8).all()  # angles only


def test_all_buckets_are_used_and_seeds_differ():
    x = normal(1, 1, 500, 16)
    one, other = hash_buckets(x, 8, 2, 0), hash_buckets(x, 8, 2, 1)
    assert set(one.flatten().tolist()) == set(range(8)) and not torch.equal(one, other)
    assert not torch.equal(one[:, :, 0], one[:, :, 1])
