"""Mixtures of Gaussians, known exactly at every noise level: the referee of every method of the plane.

If `x0 ~ sum_k w_k N(mu_k, S_k)` and `x = m x0 + s eps`, then `x ~ sum_k w_k N(m mu_k, m^2 S_k + s^2 I)`. Density, score, posterior
mean (the best denoiser) and responsibilities follow in closed form; with the eigenvectors of S_k, noise only adds to the eigenvalues.
Section 4 of Song et al. 2021 (arXiv 2011.13456) uses the same law for its proofs. Everything in float64; in any dimension D.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

Level = float | Tensor
"""m or s: one number for all points, or (N,)."""


class Mixture:
    """weights (K,), means (K, D), covariances (K, D, D); `labels` (K,) gives the class of each component, by default its number."""

    def __init__(self, weights: Tensor, means: Tensor, covariances: Tensor, labels: Tensor | None = None) -> None:
        self.weights = weights.double() / weights.double().sum()
        self.means = means.double()
        self.covariances = covariances.double()
        self.labels = torch.arange(len(weights)) if labels is None else labels
        self.spectrum, self.axes = torch.linalg.eigh(self.covariances)         # (K, D), (K, D, D): columns are eigenvectors
        if float(self.spectrum.min()) < 0 or not math.isfinite(float(self.spectrum.max())):
            raise ValueError("a covariance is not positive semidefinite")

    # --- other mixtures ---

    def given(self, label: int) -> Mixture:
        """The law of x0 in one class."""
        mine = self.labels == label
        if not bool(mine.any()):
            raise ValueError(f"no component has label {label}")
        return Mixture(self.weights[mine], self.means[mine], self.covariances[mine], self.labels[mine])

    def at(self, m: float, s: float) -> Mixture:
        """The law of `m x0 + s eps`."""
        noise = s**2 * torch.eye(self.means.shape[1], dtype=torch.float64)
        return Mixture(self.weights, m * self.means, m**2 * self.covariances + noise, self.labels)

    def moved(self, centre: tuple[float, ...], scale: float) -> Mixture:
        """The law of `(x0 - centre) / scale`."""
        means = (self.means - torch.tensor(centre, dtype=torch.float64)) / scale
        return Mixture(self.weights, means, self.covariances / scale**2, self.labels)

    def sample(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """n points (n, D) float64 and their labels (n,)."""
        k = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        z = torch.randn(n, self.means.shape[1], generator=generator, dtype=torch.float64)
        x = self.means[k] + torch.einsum("nij,nj->ni", self.axes[k], self.spectrum[k].clamp(min=0).sqrt() * z)
        return x, self.labels[k]

    # --- exact answers about x = m x0 + s eps, x (N, D) of any dtype; answers in the dtype of x ---

    def log_density(self, x: Tensor, m: Level = 1.0, s: Level = 0.0) -> Tensor:
        """log p(x), (N,) nats."""
        return self._joint(x, m, s)[0].logsumexp(1).to(x.dtype)

    def responsibilities(self, x: Tensor, m: Level = 1.0, s: Level = 0.0) -> Tensor:
        """p(component | x), (N, K)."""
        return self._joint(x, m, s)[0].softmax(1).to(x.dtype)

    def log_posterior(self, x: Tensor, label: int, m: Level = 1.0, s: Level = 0.0) -> Tensor:
        """log p(label | x), (N,): the exact noise-aware classifier."""
        joint = self._joint(x, m, s)[0]
        return (joint[:, self.labels == label].logsumexp(1) - joint.logsumexp(1)).to(x.dtype)

    def score(self, x: Tensor, m: Level = 1.0, s: Level = 0.0) -> Tensor:
        """grad log p(x), (N, D): responsibilities times each component's `-C^-1 (x - m mu)`."""
        joint, away, variance = self._joint(x, m, s)
        pull = -torch.einsum("kij,nkj->nki", self.axes, away / variance)       # (N, K, D)
        return torch.einsum("nk,nki->ni", joint.softmax(1), pull).to(x.dtype)

    def denoise(self, x: Tensor, m: Level = 1.0, s: Level = 0.0) -> Tensor:
        """E[x0 | x], (N, D): of each component `mu + m S C^-1 (x - m mu)`; the best answer a denoiser can give."""
        joint, away, variance = self._joint(x, m, s)
        gain = _column(m)[..., None] * self.spectrum / variance                # (N or 1, K, D)
        mean = self.means + torch.einsum("kij,nkj->nki", self.axes, gain * away)
        return torch.einsum("nk,nki->ni", joint.softmax(1), mean).to(x.dtype)

    def _joint(self, x: Tensor, m: Level, s: Level) -> tuple[Tensor, Tensor, Tensor]:
        """log w_k N(x; k) (N, K), `x - m mu_k` along the axes of k (N, K, D), and the variances there (N or 1, K, D)."""
        m, s = _column(m)[..., None], _column(s)[..., None]                    # (N or 1, 1, 1)
        away = torch.einsum("kij,nki->nkj", self.axes, x.double()[:, None] - m * self.means)
        variance = m**2 * self.spectrum + s**2
        log = -0.5 * (away**2 / variance + variance.log() + math.log(2 * math.pi)).sum(2)
        return self.weights.log() + log, away, variance


def _column(level: Level) -> Tensor:
    """(N, 1) or (1, 1) float64."""
    return torch.as_tensor(level, dtype=torch.float64).reshape(-1, 1)
