"""Laws without a network, in bits per dimension: known answers and torch's own distributions."""

import math

import pytest
import torch

from models.flows.baselines import FLOOR, gaussian_bits, histogram_bits, whole_numbers
from models.flows.tiles import dequantise


def numbers(n, high, seed=0):
    x = torch.randint(high, (n, 2, 3, 1), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)).expand(n, 2, 3, 3)
    return x, dequantise(x, 1, torch.Generator().manual_seed(seed))


def test_a_histogram_knows_how_many_numbers_are_likely():
    x, v = numbers(4000, 4)
    assert torch.equal(whole_numbers(v), x[..., 0].flatten(1).long())
    assert float(histogram_bits(v, numbers(500, 4, 1)[1]).mean()) == pytest.approx(2.0, abs=0.03)
    assert float(histogram_bits(*(numbers(8000, 256, seed)[1] for seed in (0, 1))).mean()) == pytest.approx(8.0, abs=0.1)


def test_a_histogram_is_one_of_each_pixel_and_finite_for_what_it_never_saw():
    v = torch.zeros(100, 1, 1, 2)
    v[:, ..., 1] = 0.5
    bits = histogram_bits(v, torch.tensor([[[[0.0, 0.5]]], [[[0.5, 0.0]]]]))
    never = math.log2((100 + 256 * 0.05) / 0.05)
    assert bits.tolist() == pytest.approx([math.log2((100 + 256 * 0.05) / 100.05), never], rel=1e-5)


def test_gaussians_are_torchs():
    mixed = torch.randn(6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    draw = torch.randn(900, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) @ mixed
    train, test = draw[:800].reshape(-1, 1, 2, 3), draw[800:].reshape(-1, 1, 2, 3)
    mean, covariance = draw[:800].mean(0), draw[:800].T.cov(correction=0)
    law = torch.distributions.MultivariateNormal(mean, covariance + FLOOR * torch.eye(6))
    full = 8 - law.log_prob(draw[800:]) / (6 * math.log(2))
    assert torch.allclose(gaussian_bits(train, test, full=True), full.float(), atol=1e-5)
    alone = torch.distributions.Normal(mean, covariance.diagonal().sqrt())
    diagonal = 8 - alone.log_prob(draw[800:]).sum(1) / (6 * math.log(2))
    assert torch.allclose(gaussian_bits(train, test, full=False), diagonal.float(), atol=1e-5)
    assert full.mean() < diagonal.mean()
    assert gaussian_bits(train[:4], test, full=True).isfinite().all(), "fewer pictures than dimensions"
