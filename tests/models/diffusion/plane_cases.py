"""What the tests of the plane's diffusion methods share: a mixture with correlated parts and labels, seeds, a test of equal laws."""

import math

import torch

from models.plane.mixture import Mixture


def covariance(law):
    """Mean (D,) and covariance (D, D) of a mixture."""
    mean = law.weights @ law.means
    second = law.covariances + law.means[:, :, None] * law.means[:, None]
    return mean, torch.einsum("k,kij->ij", law.weights, second) - torch.outer(mean, mean)


def standardised(law):
    """Centred and with unit mean variance, as every cloud is."""
    mean, cov = covariance(law)
    return law.moved(tuple(mean.tolist()), math.sqrt(float(cov.diagonal().mean())))


TWO = standardised(Mixture(
    torch.tensor([0.3, 0.7]),
    torch.tensor([[-1.0, 0.5], [0.8, -0.4]]),
    torch.tensor([[[0.1, 0.05], [0.05, 0.2]], [[0.3, 0.0], [0.0, 0.05]]]),
))  # fmt: skip
"""Two correlated parts."""
FOUR = standardised(Mixture(
    torch.tensor([0.2, 0.3, 0.25, 0.25]),
    torch.tensor([[-1.2, 0.0], [1.0, 0.9], [0.0, -1.1], [0.3, 1.2]]),
    torch.tensor([[[0.2, 0.05], [0.05, 0.1]], [[0.1, -0.04], [-0.04, 0.2]], [[0.3, 0.0], [0.0, 0.05]], [[0.05, 0.0], [0.0, 0.05]]]),
    torch.tensor([0, 1, 0, 1]),
))  # fmt: skip
"""Four parts, two labels."""


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(n, seed=0, dim=2):
    return torch.randn(n, dim, generator=seeded(seed), dtype=torch.float64)


def assert_same_law(x, y, projections=8, p=0.001):
    """Kolmogorov-Smirnov on evenly spaced projections; false alarm for about 1 in 1000 / 8 seeds, and the seeds are fixed."""
    from scipy.stats import ks_2samp

    for k in range(projections):
        angle = math.pi * k / projections
        direction = torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
        found = ks_2samp((x.double() @ direction).numpy(), (y.double() @ direction).numpy())
        assert found.pvalue > p, f"projection {k}: p = {found.pvalue:.2g}, D = {found.statistic:.3f}"
