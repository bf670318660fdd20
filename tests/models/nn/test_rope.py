"""Rotary positions: scores depend on distance only, every kind of stretching equals transformers', layouts convert."""

import pytest
import torch
from transformers import LlamaConfig as TheirConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from models.nn.rope import RopeScaling, RotationTable, frequencies, half_split_to_pairs, magnitude, pairs_to_half_split, rotate, rotations

HEAD_DIM, THETA = 64, 10_000.0
LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 256}
YARN = {"factor": 4.0, "original_max_position_embeddings": 256}


def test_scores_depend_on_the_distance_only():
    g = torch.Generator().manual_seed(0)
    q, k = (torch.randn(1, 1, 1, HEAD_DIM, generator=g) for _ in range(2))

    def score(p: int, at: int) -> float:
        turns = rotations(torch.tensor([p, at]), HEAD_DIM, THETA)[:, None]
        return (rotate(q.clone(), turns[:1]) * rotate(k.clone(), turns[1:])).sum().item()

    near = [score(p, p - 7) for p in (7, 50, 1000, 4000)]
    assert max(near) - min(near) < 1e-2 * abs(near[0])  # angles of fp32 at 4000 are good to 2.4e-4
    assert abs(score(7, 0) - score(57, 50)) < 1e-4
    assert abs(score(7, 0) - score(8, 0)) > 1e-2


def test_rotation_is_that_of_the_paper():
    """Eq. 34: pair i = (x_2i, x_2i+1) is turned by p theta^(-2i/d)."""
    turned = rotate(torch.arange(8.0).view(1, 1, 1, 8), rotations(torch.tensor([3]), 8, 100.0)[:, None]).flatten()
    for i in range(4):
        angle = torch.tensor(3 * 100.0 ** (-2 * i / 8))
        expected = torch.stack([2 * i * angle.cos() - (2 * i + 1) * angle.sin(), 2 * i * angle.sin() + (2 * i + 1) * angle.cos()])
        assert torch.allclose(turned[2 * i : 2 * i + 2], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "values", "length"),
    [
        ("linear", {"factor": 4.0}, 0),
        ("dynamic", {"factor": 2.0}, 0),
        ("dynamic", {"factor": 2.0}, 2500),
        ("llama3", LLAMA3, 0),
        ("yarn", YARN, 0),
        ("yarn", {**YARN, "beta_fast": 16.0, "beta_slow": 2.0, "truncate": False}, 0),
        ("yarn", {**YARN, "attention_factor": 0.7}, 0),
        ("yarn", {**YARN, "original_max_position_embeddings": 8}, 0),
    ],
)
def test_frequencies_equal_transformers(kind, values, length):
    parameters = {"rope_type": kind, "rope_theta": THETA, **values}
    config = TheirConfig(hidden_size=HEAD_DIM, num_attention_heads=1, max_position_embeddings=1024, rope_parameters=parameters)
    theirs, attention_scaling = ROPE_INIT_FUNCTIONS[kind](config, "cpu", seq_len=length or None)
    names = {name: value for name, value in values.items() if not name.startswith("original") and name != "factor"}
    ours = RopeScaling(kind, values["factor"], values.get("original_max_position_embeddings", 1024), **names)
    assert torch.allclose(frequencies(HEAD_DIM, THETA, ours, length), theirs, rtol=1e-5, atol=0)
    assert magnitude(ours) == pytest.approx(attention_scaling)
    if length or kind != "dynamic":
        assert not torch.allclose(theirs, frequencies(HEAD_DIM, THETA), rtol=1e-3)


def test_listed_factors_divide():
    factors = tuple(float(i + 1) for i in range(32))
    scaling = RopeScaling("factors", 1.0, 8192, factors=factors)
    assert torch.allclose(frequencies(HEAD_DIM, THETA, scaling) * torch.tensor(factors), frequencies(HEAD_DIM, THETA))


@pytest.mark.parametrize("scaling", [None, RopeScaling("dynamic", 2.0, 600)])
def test_the_table_gives_what_is_computed_afresh(scaling):
    table = RotationTable(8, THETA, scaling)
    for start, end in ((0, 5), (5, 6), (590, 700), (699, 1500), (3, 9)):
        rows = table.rows(start, end, torch.device("cpu"))
        length = end if scaling and end > 600 else 0
        expected = rotations(torch.arange(start, end), 8, THETA, scaling, length)[:, None]
        assert torch.equal(rows, expected)
    assert torch.equal(table.at(torch.tensor([4, 2])), rotations(torch.tensor([4, 2]), 8, THETA)[:, None])


def test_layouts_convert_and_keep_scores():
    """A half-split rotation of half-split rows equals ours of reordered rows, as scores."""
    g = torch.Generator().manual_seed(1)
    weight, x = torch.randn(3 * 8, 5, generator=g), torch.randn(2, 5, generator=g)
    assert torch.equal(pairs_to_half_split(half_split_to_pairs(weight, 3), 3), weight)
    angles = torch.tensor([[2.0], [9.0]]) * frequencies(8, THETA)
    cos, sin = (torch.cat([f, f], -1)[:, None] for f in (angles.cos(), angles.sin()))
    half = (x @ weight.T).view(2, 3, 8)
    half = half * cos + torch.cat([-half[..., 4:], half[..., :4]], -1) * sin
    pairs = rotate((x @ half_split_to_pairs(weight, 3).T).view(1, 2, 3, 8), torch.polar(torch.ones(2, 1, 4), angles[:, None]))[0]
    assert torch.allclose((half[0] * half[1]).sum(-1), (pairs[0] * pairs[1]).sum(-1), atol=1e-4)


@pytest.mark.parametrize("values", [{"kind": "odd"}, {"factor": 0.0}, {"factor": float("nan")}, {"original_len": 0}])
def test_senseless_scaling_is_refused(values):
    with pytest.raises(ValueError, match="rope scaling"):
        RopeScaling(**{"kind": "linear", "factor": 2.0, "original_len": 128, **values})
