"""FlashAttention: equal to torch's attention in value and gradient whatever the tiles, its running state, its traffic."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from models.attention.flash import Tiling, attention, backward_steps, forward_steps, paper_tiles, row_without_maximum
from models.attention.meter import Meter
from models.attention.signature import AttentionError, past, repeat_heads
from models.attention.softmax import softmax
from tests.models.parity import normal

TILES = [(16, 16), (7, 5), (64, 3), (1, 64)]


def heads(T=37, S=37, d=8, dv=6, kv=4):
    return normal(2, 4, T, d), normal(2, kv, S, d, seed=2), normal(2, kv, S, dv, seed=3)


def run(steps):
    records = []
    while True:
        try:
            records.append(next(steps))
        except StopIteration as end:
            return records, end.value


@pytest.mark.parametrize("tile_q, tile_k", TILES)
@pytest.mark.parametrize("causal", [True, False])
def test_output_and_gradients_equal_torchs(causal, tile_q, tile_k):
    q, k, v = (x.requires_grad_() for x in heads())
    direction = normal(2, 4, 37, 6, seed=5)
    out, logs = attention(q, k, v, causal=causal, tile_q=tile_q, tile_k=tile_k)
    expected = scaled_dot_product_attention(q, k, v, is_causal=causal)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-5)
    scores = (q @ k.transpose(-1, -2) * 8**-0.5).masked_fill(~past(37, 37) if causal else torch.tensor(False), float("-inf"))
    torch.testing.assert_close(logs, scores.logsumexp(-1), rtol=0, atol=1e-5)
    got = torch.autograd.grad((out * direction).sum(), [q, k, v])
    wanted = torch.autograd.grad((expected * direction).sum(), [q, k, v])
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize("T, S", [(5, 12), (12, 5)])
def test_causality_is_aligned_at_the_last_token(T, S):
    q, k, v = heads(T, S)
    out, logs = attention(q, k, v, tile_q=4, tile_k=4)
    torch.testing.assert_close(out, softmax(q, k, v).out, rtol=0, atol=1e-5)
    if T > S:  # queries before the first key
        assert out[:, :, : T - S].abs().max() == 0 and (logs[:, :, : T - S] == float("-inf")).all()


def test_shared_key_heads():
    q, k, v = (x.requires_grad_() for x in heads(kv=2))
    out, _ = attention(q, k, v, tile_q=8, tile_k=8)
    expected = scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-5)
    got, wanted = (torch.autograd.grad(x.square().sum(), [q, k, v]) for x in (out, expected))
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)
    assert got[1].shape == (2, 2, 37, 8)


@pytest.mark.parametrize("causal", [True, False])
def test_padding_is_not_seen_and_texts_of_padding_alone_give_zeros(causal):
    q, k, v = (x.requires_grad_() for x in heads())
    keep = torch.ones(2, 37, dtype=torch.bool)
    keep[0, 20:] = False
    keep[1] = False
    out, _ = attention(q, k, v, causal=causal, key_mask=keep, tile_q=8, tile_k=8)
    expected = softmax(q, k, v, causal=causal, mask=keep[:, None, None]).out
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-5)
    assert out[1].abs().max() == 0
    got, wanted = (torch.autograd.grad(x.square().sum(), [q, k, v]) for x in (out, expected))
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)
        assert one.isfinite().all() and one[1].abs().max() == 0


def test_gradcheck():
    q, k, v = (x.double().requires_grad_() for x in (normal(1, 2, 6, 3), normal(1, 2, 7, 3, seed=2), normal(1, 2, 7, 2, seed=3)))
    assert torch.autograd.gradcheck(lambda q, k, v: attention(q, k, v, tile_q=4, tile_k=3, scale=0.8)[0], (q, k, v))


@pytest.mark.parametrize("causal", [True, False])
def test_tiles_do_not_matter(causal):
    q, k, v = heads()
    outs = [attention(q, k, v, causal=causal, tile_q=a, tile_k=b)[0] for a, b in TILES]
    for out in outs[1:]:
        torch.testing.assert_close(out, outs[0], rtol=0, atol=1e-6)


def test_each_step_holds_the_attention_over_the_keys_seen_so_far():
    q, k, v = heads()
    records, (out, _) = run(forward_steps(q, k, v, tile_q=10, tile_k=8))
    for step in records:
        rows, seen = slice(step.rows.start, step.rows.stop), step.columns.stop
        mask = past(37, 37)[rows, :seen]
        scores = (q[:, :, rows] @ k[:, :, :seen].transpose(-1, -2) * 8**-0.5).masked_fill(~mask, float("-inf"))
        torch.testing.assert_close(step.m, scores.amax(-1), rtol=0, atol=1e-6)
        torch.testing.assert_close(step.m + step.l.log(), scores.logsumexp(-1), rtol=0, atol=1e-5)
        torch.testing.assert_close(step.partial, scores.softmax(-1) @ v[:, :, :seen], rtol=0, atol=1e-5)
        torch.testing.assert_close(step.rescale, (step.m_before - step.m).exp(), rtol=0, atol=0)
        torch.testing.assert_close(step.p, (step.scores - step.m[..., None]).exp(), rtol=0, atol=0)
        if step.row_done:
            torch.testing.assert_close(step.partial, out[:, :, rows], rtol=0, atol=0)
    assert [step.index for step in records] == list(range(records[0].total))


def test_tiles_above_the_diagonal_are_skipped():
    plan = Tiling(37, 37, 8, 6, 10, 8, causal=True)
    pairs = {(i // 10, j // 8) for i in range(37) for j in range(37) if j <= i}
    assert {(row.start // 10, column.start // 8) for row, column in plan.tiles()} == pairs
    assert len(Tiling(37, 37, 8, 6, 10, 8, causal=False).tiles()) == 4 * 5


def test_the_backward_tiles_bring_the_weights_back():
    q, k, v = heads()
    found = softmax(q, k, v, want_map=True)
    _, (out, logs) = run(forward_steps(q, k, v, tile_q=10, tile_k=8))
    records, (dq, _, _) = run(backward_steps(q, k, v, out, logs, torch.ones_like(out), tile_q=10, tile_k=8))
    for step in records:
        rows, columns = slice(step.rows.start, step.rows.stop), slice(step.columns.start, step.columns.stop)
        torch.testing.assert_close(step.p, found.weights[:, :, rows, columns], rtol=0, atol=1e-5)
    assert len(records) == records[0].total and records[0].columns == records[1].columns  # keys outside, queries inside
    ds = torch.zeros(2, 4, 37, 37)
    for step in records:
        ds[:, :, step.rows.start : step.rows.stop, step.columns.start : step.columns.stop] = step.ds
    torch.testing.assert_close(dq, ds @ k * 8**-0.5, rtol=0, atol=1e-5)


@pytest.mark.parametrize("causal", [True, False])
def test_traffic_is_counted_as_the_formula_says(causal):
    q, k, v = heads()
    plan = Tiling(37, 37, 8, 6, 10, 8, causal)
    records, (out, logs) = run(forward_steps(q, k, v, tile_q=10, tile_k=8, causal=causal))
    moved = [step.moved_bytes for step in records]
    assert moved == sorted(moved) and moved[-1] == plan.forward_traffic * 4 * 2 * 4
    assert records[0].naive_bytes == plan.naive_traffic * 4 * 2 * 4
    records, _ = run(backward_steps(q, k, v, out, logs, out, tile_q=10, tile_k=8, causal=causal))
    assert records[-1].moved_bytes == plan.backward_traffic * 4 * 2 * 4 and records[-1].naive_bytes == plan.naive_backward_traffic * 32


def test_traffic_falls_with_fast_memory_as_the_paper_says():
    """N² d² / M: four times the fast memory, a quarter of the traffic, while tiles are smaller than d; below the naive way."""
    def traffic(memory):
        tile_q, tile_k = paper_tiles(memory, d=64)
        assert 4 * 64 * tile_k >= memory and tile_q == min(tile_k, 64)
        return Tiling(4096, 4096, 64, 64, tile_q, tile_k, causal=False).forward_traffic

    few, more = traffic(4 * 64 * 8), traffic(4 * 64 * 32)
    assert 3.8 < few / more < 4.1
    tall = Tiling(4096, 4096, 64, 64, 256, 64, causal=False)
    assert traffic(4 * 64 * 64) < tall.naive_traffic / 1.9 and tall.forward_traffic < tall.naive_traffic / 7


def test_extra_memory_is_linear_in_the_length():
    """Measured: for four times the tokens at most 4.2 times the bytes, forward and backward; the naive way needs over 12 times."""
    def peak(f, T):
        q, k, v = (normal(1, 1, T, 8, seed=seed).requires_grad_() for seed in (1, 2, 3))
        with Meter() as meter:
            f(q, k, v).sum().backward()
        return meter.peak_bytes

    def flash(q, k, v):
        return attention(q, k, v, tile_q=16, tile_k=16)[0]

    assert peak(flash, 256) < 4.2 * peak(flash, 64)
    assert peak(lambda q, k, v: softmax(q, k, v).out, 256) > 12 * peak(lambda q, k, v: softmax(q, k, v).out, 64)


def test_without_the_maximum_half_precision_overflows():
    q, k = torch.full((4,), 5.0), torch.eye(4).repeat(3, 1) * 10
    row = row_without_maximum(q, k)
    assert row.isnan().any()
    torch.testing.assert_close(row_without_maximum(q / 10, k, torch.float32), (k @ q / 20).softmax(-1), rtol=0, atol=1e-6)
    q, k, v = (5 * x.half() for x in heads())
    out, _ = attention(q, k, v)
    assert out.isfinite().all()


def test_a_tile_of_nothing_is_refused():
    q, k, v = heads()
    with pytest.raises(AttentionError, match="at least one query"):
        attention(q, repeat_heads(k, 4), v, tile_q=0)
