"""What a flow has to beat: laws of pictures that need no network, in the same bits per dimension.

Whole numbers 0..255: the uniform law costs 8 bits. A histogram of each pixel knows where it is, but nothing of its neighbours; a Gaussian
with a full covariance knows all linear relations. Both are fitted on training pictures and judged on others. Read first: `tiles.py`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from models.flows.tiles import VALUES

PSEUDO = 0.05
"""Added to each count of a histogram, so that a number never seen is not impossible."""

FLOOR = 1 / (12 * VALUES**2)
"""Variance of the noise that makes numbers continuous: with few pictures a full covariance would otherwise be singular."""


def whole_numbers(v: Tensor) -> Tensor:
    """Pictures (N, C, H, W) of `dequantise` -> the numbers 0..255 they came from, (N, D)."""
    return (v.flatten(1) * VALUES).floor().long()


def histogram_bits(train: Tensor, test: Tensor) -> Tensor:
    """Bits per dimension, (N,), of test pictures under one histogram a pixel and channel."""
    known, asked = whole_numbers(train), whole_numbers(test)
    counts = torch.full((known.shape[1], VALUES), PSEUDO).scatter_add_(1, known.T, torch.ones(known.shape[::-1]))
    return -(counts / counts.sum(1, keepdim=True)).log2().gather(1, asked.T).mean(0)


def gaussian_bits(train: Tensor, test: Tensor, *, full: bool) -> Tensor:
    """Bits per dimension, (N,), of test pictures under a Gaussian of the pixels, with a full covariance or a diagonal one."""
    x, y = train.flatten(1).double(), test.flatten(1).double()
    mean = x.mean(0)
    centred, away = x - mean, y - mean
    if not full:
        variance = centred.square().mean(0)
        nats = 0.5 * (away.square() / variance + variance.log() + math.log(2 * math.pi)).mean(1)
        return (nats / math.log(2) + math.log2(VALUES)).float()
    covariance = centred.T @ centred / len(x) + FLOOR * torch.eye(x.shape[1], dtype=x.dtype)
    factor = torch.linalg.cholesky(covariance)
    whitened = torch.linalg.solve_triangular(factor, away.T, upper=False)
    nats = 0.5 * (whitened.square() + math.log(2 * math.pi)).sum(0) + factor.diagonal().log().sum()
    return (nats / (x.shape[1] * math.log(2)) + math.log2(VALUES)).float()
