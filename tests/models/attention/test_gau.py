"""Gated attention units: equations, causality, the mixed-chunk form against dense and explicit ones, weights counted."""

import pytest
import torch
from torch.nn.functional import silu

from models.attention.gau import Gau, GauConfig, gau, gau_chunked, parts, squared_scores
from models.attention.signature import AttentionError, past
from tests.models.parity import assert_close, fill, normal


def heads(T=40, s=8, e=6):
    return normal(2, 1, T, s), normal(2, 1, T, s, seed=2), normal(2, 1, T, e, seed=3)


def config(**changes):
    sizes = {"dim": 12, "expansion_dim": 24, "shared_dim": 8, "max_len": 40, "chunk": 0, "scaling": "common", "norm_eps": 1e-5,
             "rope_theta": 1e4}  # fmt: skip
    return GauConfig(**{**sizes, **changes})


def test_both_scalings_are_their_equations():
    q, k, v = heads()
    bias = normal(40, 40, seed=4)
    paper = (q @ k.transpose(-1, -2) / 40 + bias).relu() ** 2
    common = (q @ k.transpose(-1, -2) / 8**0.5 + bias).relu() ** 2 / 40
    assert_close(squared_scores(q, k, "paper", 40, bias), paper, 1e-6)
    assert_close(squared_scores(q, k, "common", 40, bias), common, 1e-6)
    gate = normal(2, 1, 40, 6, seed=5)
    for scaling, weights in (("paper", paper), ("common", common)):
        assert_close(gau(q, k, v, scaling=scaling, gate=gate, bias=bias).out, gate * ((weights * past(40, 40)) @ v), 1e-5)


def test_causality_is_exact_although_scores_are_masked_after_the_square():
    q, k, v = heads()
    bias = torch.full((40, 40), 10.0)  # relu(0 + bias)² would not be zero: masking before the square would leak
    found = gau(q, k, v, bias=bias, want_map=True)
    assert found.weights[..., ~past(40, 40)].abs().max() == 0 and found.weights[..., past(40, 40)].min() > 0


def test_gates():
    q, k, v = heads()
    still = gau(q, k, v).out
    torch.testing.assert_close(gau(q, k, v, gate="value").out, silu(v) * still)
    torch.testing.assert_close(gau(q, k, v, gate=torch.zeros_like(v)).out, torch.zeros_like(v))
    with pytest.raises(AttentionError, match="open or value"):
        gau(q, k, v, gate="shut")
    with pytest.raises(AttentionError, match="common and paper"):
        gau(q, k, v, scaling="other")


@pytest.mark.parametrize("scaling", ["common", "paper"])
@pytest.mark.parametrize("chunk", [40, 64])
def test_one_chunk_is_the_dense_unit(scaling, chunk):
    q, k, v = heads()
    assert_close(gau_chunked(q, k, v, chunk=chunk, scaling=scaling).out, gau(q, k, v, n=chunk, scaling=scaling).out, 1e-6)


@pytest.mark.parametrize("T", [40, 37])
def test_the_parts_are_explicit_masked_sums(T):
    c = 8
    q, k, v = heads(T)
    q_lin, k_lin = normal(2, 1, T, 8, seed=5), normal(2, 1, T, 8, seed=6)
    chunk = torch.arange(T) // c
    inside, before = chunk == chunk[:, None], chunk < chunk[:, None]
    quad, lin = parts(q, k, q_lin, k_lin, v, chunk=c)
    square = (q @ k.transpose(-1, -2) / 8**0.5).relu() ** 2 / c * (inside & past(T, T))
    assert_close(quad, square @ v, 1e-5)
    seen = before.sum(-1, keepdim=True)
    assert torch.equal(seen[:, 0], chunk * c)
    assert_close(lin, ((q_lin @ k_lin.transpose(-1, -2)) * before / seen.clamp(min=1)) @ v, 1e-5)
    assert lin[:, :, :c].abs().max() == 0  # nothing lies before the first chunk, and nothing is divided by it
    quad, lin = parts(q, k, q_lin, k_lin, v, chunk=c, causal=False)
    assert_close(quad, ((q @ k.transpose(-1, -2) / 8**0.5).relu() ** 2 / c * inside) @ v, 1e-5)
    assert_close(lin, q_lin @ (k_lin.transpose(-1, -2) @ v) / T, 1e-5)


@pytest.mark.parametrize("chunk, copies", [(0, 2), (8, 4)])
def test_number_of_weights(chunk, copies):
    """3 d e + d s, and a gain and an offset of width s for each affine copy: 4 s for two copies."""
    layer = Gau(config(chunk=chunk))
    counted = sum(p.numel() for name, p in layer.named_parameters() if name not in ("norm.weight", "relative_bias"))
    assert counted == 3 * 12 * 24 + 12 * 8 + 2 * copies * 8


@pytest.mark.parametrize("chunk", [0, 8])
def test_a_layer_does_not_see_the_future_nor_the_length_of_the_text(chunk):
    layer = fill(Gau(config(chunk=chunk)), std=0.5)
    x = normal(2, 40, 12)
    whole = layer(x)
    changed = x.clone()
    changed[:, 23:] = normal(2, 17, 12, seed=9)
    assert torch.equal(layer(changed)[:, :23], whole[:, :23]) and not torch.equal(layer(changed)[:, 23:], whole[:, 23:])
    torch.testing.assert_close(layer(x[:, :23]), whole[:, :23], rtol=0, atol=1e-5)


@pytest.mark.parametrize("chunk", [0, 8])
def test_a_layer_is_its_equations(chunk):
    layer = fill(Gau(config(chunk=chunk)), std=0.5)
    x = normal(2, 40, 12)
    found = layer.attend(layer.norm(x), want_map=True)
    u, v = silu(layer.to_u(layer.norm(x))), silu(layer.to_v(layer.norm(x)))
    expected = layer.out(u * (found.weights[:, 0] @ v))
    torch.testing.assert_close(found.out, expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(layer(x), x + expected, rtol=0, atol=1e-4)


def test_distances_have_a_bias_of_their_own():
    layer = Gau(config(max_len=4))
    with torch.no_grad():
        layer.relative_bias.copy_(torch.arange(-3.0, 4.0))
    i = torch.arange(6)
    assert torch.equal(layer._bias(6), (i[:, None] - i).clamp(-3, 3).float())


def test_positions_turn_queries_and_keys():
    layer = fill(Gau(config(dim=12, shared_dim=8)), std=0.5)
    with torch.no_grad():
        layer.relative_bias.zero_()
        layer.offset.fill_(1.0)  # scores above 0, where the square does not cut them off
    same = normal(1, 1, 12).expand(1, 10, 12)
    weights = layer.attend(same, want_map=True, causal=False).weights[0, 0]
    for distance in range(-9, 10):  # equal tokens differ by their distance only
        diagonal = weights.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=0, atol=1e-5)
    assert weights.std() > 1e-4


def test_bad_sizes_are_refused():
    with pytest.raises(ValueError, match="even width"):
        config(shared_dim=7)
    with pytest.raises(ValueError, match="scaling"):
        config(scaling="both")
