"""Embeddings of numbers: the sinusoidal code of a diffusion time (Vaswani et al., 2017, section 3.5)."""

import math

import torch
from torch import Tensor


def sinusoidal(t: Tensor, dim: int, max_period: float = 10_000.0) -> Tensor:
    """[cos(t f), sin(t f)] with f_i = max_period^(-i / (dim/2)); cosines first, as Stable Diffusion has it.

    t is (B,), whole or fractional; the result is (B, dim) in fp32, since fp16 cannot resolve angles near 1000.
    """
    half = dim // 2
    i = torch.arange(half, dtype=torch.float32, device=t.device)            # (dim/2,)
    frequencies = torch.exp(-math.log(max_period) * i / half)               # (dim/2,)
    angles = t.float()[:, None] * frequencies                               # (B, dim/2)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)                  # (B, dim)
