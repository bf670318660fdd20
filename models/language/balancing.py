"""Keeping experts evenly used: losses on the gate, and a bias that is moved by hand.

    load-balance loss   E sum_e f_e P_e             Switch, arXiv 2101.03961, eq. 4 to 6
    z-loss              mean of logsumexp(logits)^2  ST-MoE, arXiv 2202.08906, eq. 5
    importance loss     CV^2 of sum_t p_te           Shazeer et al., arXiv 1701.06538, eq. 6 and 7
    sequence-wise loss  sum_e f_e P_e in a sequence  DeepSeek-V3, arXiv 2412.19437, eq. 17 to 20
    bias                b_e += u sign(mean load - load_e)   Wang et al., arXiv 2408.15664, algorithm 1

f is the share of the choices that fell on an expert, counted, without gradient; P is how much probability the gate gives it,
and carries the gradient. All losses are 1 for an even load (z-loss and importance apart), whatever k is; transformers'
`load_balancing_loss_func` of Mixtral counts tokens instead of choices and gives k.
"""

from __future__ import annotations

import torch
from torch import Tensor


def load(experts: Tensor, n_experts: int) -> Tensor:
    """How many choices (...) fell on each expert: (E,) fp32."""
    return torch.bincount(experts.flatten(), minlength=n_experts).float()   # (E,)


def load_balance_loss(affinities: Tensor, experts: Tensor) -> Tensor:
    """E sum_e f_e P_e over all tokens together: affinities (..., E) that sum to 1, experts (..., K)."""
    E = affinities.shape[-1]
    f = load(experts, E) / experts.numel()                                  # (E,)
    P = affinities.flatten(0, -2).mean(0)                                   # (E,)
    return E * (f * P).sum()


def z_loss(logits: Tensor) -> Tensor:
    """Mean squared logsumexp of the gate's logits (..., E), which keeps them small."""
    return logits.logsumexp(-1).square().mean()


def importance_loss(affinities: Tensor) -> Tensor:
    """Squared coefficient of variation of the summed affinities (..., E)."""
    total = affinities.flatten(0, -2).sum(0)                                # (E,)
    return total.var(unbiased=False) / total.mean().square()


def sequence_balance_loss(affinities: Tensor, experts: Tensor) -> Tensor:
    """sum_e f_e P_e of each sequence, averaged: affinities (B, T, E) of any scale, experts (B, T, K)."""
    (B, T, E), K = affinities.shape, experts.shape[-1]
    counts = torch.zeros(B, E, device=experts.device).scatter_add_(1, experts.flatten(1), torch.ones(B, T * K, device=experts.device))
    f = counts * E / (K * T)                                                # (B, E)
    P = (affinities / affinities.sum(-1, keepdim=True)).mean(1)             # (B, E)
    return (f * P).sum(-1).mean()


@torch.no_grad()
def update_bias(bias: Tensor, counts: Tensor, step: float) -> None:
    """Move the selection bias (E,) in place: up by `step` for experts below the mean load (E,), down for those above."""
    bias += step * torch.sign(counts.mean() - counts).to(bias)
