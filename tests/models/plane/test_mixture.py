"""The exact mixture against autograd, against sums over its own samples, and against the special case of one Gaussian."""

from __future__ import annotations

import math

import pytest
import torch

from models.plane.mixture import Mixture

D = torch.float64


def three() -> Mixture:
    turn = torch.linalg.qr(torch.randn(3, 2, 2, generator=torch.Generator().manual_seed(1), dtype=D)).Q
    spectrum = torch.tensor([[0.3, 0.05], [0.2, 0.4], [0.1, 0.6]], dtype=D)
    covariances = turn @ torch.diag_embed(spectrum) @ turn.mT
    return Mixture(torch.tensor([0.2, 0.5, 0.3]), torch.tensor([[1.0, 0], [-1, 0.5], [0, -1]]), covariances, torch.tensor([0, 1, 0]))


def places(n: int = 50) -> torch.Tensor:
    return 2 * torch.randn(n, 2, generator=torch.Generator().manual_seed(2), dtype=D)


LEVELS = [(1.0, 0.0), (0.7, 0.6), (1.0, 3.0), (0.05, 1.0)]


@pytest.mark.parametrize("m, s", LEVELS)
def test_density_is_that_of_torch(m, s) -> None:
    law = three()
    eye = torch.eye(2, dtype=D)
    parts = torch.distributions.MultivariateNormal(m * law.means, m**2 * law.covariances + s**2 * eye)
    both = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(law.weights), parts)
    assert torch.allclose(law.log_density(places(), m, s), both.log_prob(places()), atol=1e-12)
    assert torch.allclose(law.at(m, s).log_density(places()), both.log_prob(places()), atol=1e-12)


@pytest.mark.parametrize("m, s", LEVELS)
def test_score_is_the_gradient_and_denoising_follows_tweedie(m, s) -> None:
    law, x = three(), places().requires_grad_()
    (gradient,) = torch.autograd.grad(law.log_density(x, m, s).sum(), x)
    score = law.score(x.detach(), m, s)
    assert torch.allclose(score, gradient, atol=1e-10)
    assert torch.allclose(law.denoise(x.detach(), m, s), (x.detach() + s**2 * score) / m, atol=1e-9)


def test_one_level_for_each_point() -> None:
    law, x = three(), places(4)
    m, s = torch.tensor([1.0, 0.7, 1.0, 0.05], dtype=D), torch.tensor([0.1, 0.6, 3.0, 1.0], dtype=D)
    for name in ("log_density", "score", "denoise", "responsibilities"):
        each = torch.cat([getattr(law, name)(x[i : i + 1], float(m[i]), float(s[i])) for i in range(4)])
        assert torch.allclose(getattr(law, name)(x, m, s), each, atol=1e-12), name


def test_posterior_mean_is_that_of_weighted_samples() -> None:
    law, m, s = three(), 0.8, 0.5
    x0, labels = law.sample(400_000, torch.Generator().manual_seed(3))
    x = torch.tensor([[0.4, -0.2]], dtype=D)
    weight = (-0.5 * ((x - m * x0) ** 2).sum(1) / s**2).softmax(0)
    assert torch.allclose(law.denoise(x, m, s)[0], weight @ x0, atol=0.01)
    assert float(law.log_posterior(x, 1, m, s).exp()) == pytest.approx(float(weight[labels == 1].sum()), abs=0.01)


def test_classes_divide_the_law() -> None:
    law, x = three(), places()
    zero, one = law.given(0), law.given(1)
    assert torch.allclose(law.log_density(x).exp(), 0.5 * zero.log_density(x).exp() + 0.5 * one.log_density(x).exp(), atol=1e-12)
    assert torch.allclose(law.log_posterior(x, 0).exp() + law.log_posterior(x, 1).exp(), torch.ones(50, dtype=D), atol=1e-12)
    share = law.responsibilities(x)
    assert torch.allclose(law.log_posterior(x, 0).exp(), share[:, 0] + share[:, 2], atol=1e-12)
    with pytest.raises(ValueError, match="no component"):
        law.given(5)


def test_samples_have_the_mixtures_moments() -> None:
    law = three()
    x, labels = law.sample(200_000, torch.Generator().manual_seed(4))
    assert torch.allclose(x.mean(0), law.weights @ law.means, atol=0.01)
    assert float((labels == 0).double().mean()) == pytest.approx(0.5, abs=0.005)
    moved = law.moved((1.0, -2.0), 4.0)
    y = (x - torch.tensor([1.0, -2.0])) / 4
    assert torch.allclose(moved.log_density(y), law.log_density(x) + 2 * math.log(4), atol=1e-9)


def test_a_broken_covariance_is_refused() -> None:
    with pytest.raises(ValueError, match="positive"):
        Mixture(torch.ones(1), torch.zeros(1, 2), torch.tensor([[[1.0, 2.0], [2.0, 1.0]]]))
