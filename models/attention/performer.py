"""Random-feature attention (Performer, Choromanski et al., arXiv 2009.14794): softmax's kernel as an expectation.

    exp(x.y) = E_w[ exp(w.x - |x|²/2) exp(w.y - |y|²/2) ],   w ~ N(0, I)      (Lemma 1: positive features)
             = E_w[ exp(|x|²/2) exp(|y|²/2) cos(w.(x - y)) ]                  (trigonometric, may turn negative)

with x = q / d^(1/4), y = k / d^(1/4), estimated from m draws of w. Rows w come in blocks of d that are orthogonal and
as long as Gaussian vectors are (chi-distributed), which keeps the mean and lowers the variance. What follows is linear
attention. The error falls like m^(-1/2), with a factor that grows like exp(|x + y|²): fine for small scores, hopeless
for sharp heads.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.attention.cost import Cost, Sizes, cost_of
from models.attention.linear import FORMS, kernel_attention, kernel_weights, kernel_work
from models.attention.signature import ROWS_SUM_TO_ONE, Attended, AttentionError, check, default_scale, pieces

KINDS = ("positive", "trigonometric")


def performer(
    q: Tensor, k: Tensor, v: Tensor, *, causal: bool = True, want_map: bool = False, scale: float | None = None,
    features: int = 128, kind: str = "positive", orthogonal: bool = True, seed: int = 0, form: str = "chunked", chunk: int = 64,
) -> Attended:  # fmt: skip
    """Softmax attention approximately, with the same random directions for all tokens and heads."""
    check(q, k, v, own_tokens=causal)
    if kind not in KINDS or form not in FORMS:
        raise AttentionError(f"Random features are {' or '.join(KINDS)}, not {kind}; forms are {', '.join(FORMS)}, not {form}.")
    w = directions(features, q.shape[-1], orthogonal, seed).to(q)           # (m, d)
    root = default_scale(scale, q.shape[-1]) ** 0.5
    fq, fk, _ = random_features(q * root, k * root, w, kind)                # (B, H, T, D), (B, H, S, D)
    return Attended(
        out=kernel_attention(fq, fk, v, causal=causal, form=form, chunk=chunk),
        weights=kernel_weights(fq, fk, causal=causal) if want_map else None,
        normalisation=ROWS_SUM_TO_ONE if kind == "positive" else "rows sum to 1, single weights may be negative",
        cost=performer_cost(Sizes.of(q, k, v), causal, features=features, kind=kind, form=form, chunk=chunk),
    )


def performer_cost(
    sizes: Sizes, causal: bool = True, features: int = 128, kind: str = "positive", orthogonal: bool = True, seed: int = 0,
    form: str = "chunked", chunk: int = 64,
) -> Cost:  # fmt: skip
    """m directions for every query and key, then linear attention with D features (2m for sine and cosine)."""
    work, state = kernel_work(causal, form, "D")
    return cost_of(
        sizes, flops=f"2 B H ((T + S) d m + {work})", held=f"B H ((T + S) D + {state})",
        m=features, D=features if kind == "positive" else 2 * features, n=pieces(sizes.T, chunk), c=min(chunk, sizes.T),
    )  # fmt: skip


def directions(m: int, d: int, orthogonal: bool = True, seed: int = 0) -> Tensor:
    """m random directions (m, d), each distributed as N(0, I); in blocks of d rows orthogonal to each other."""
    generator = torch.Generator().manual_seed(seed)
    gaussian = torch.randn(m, d, generator=generator)                       # (m, d)
    if not orthogonal:
        return gaussian
    squares = torch.randn(pieces(m, d), d, d, generator=generator)
    q, r = torch.linalg.qr(squares)
    q = q * torch.diagonal(r, dim1=-2, dim2=-1).sign()[:, None]             # uniform over rotations (Mezzadri 2007)
    return q.flatten(0, 1)[:m] * gaussian.norm(dim=1, keepdim=True)


def random_features(x: Tensor, y: Tensor, w: Tensor, kind: str = "positive") -> tuple[Tensor, Tensor, Tensor]:
    """Features of x (..., T, d) and y (..., S, d), both already scaled: (..., T, D), (..., S, D), and c (..., T, 1).

    The estimate of exp(x.y) is their product times exp(c). Exponents are shifted to be at most 0, for keys feature by
    feature; what keys lose there queries gain, and what queries lose is c, which cancels where rows are divided by sums.
    """
    (log_x, wave_x), (log_y, wave_y) = _exponents(x, w, kind), _exponents(y, w, kind)
    of_keys = log_y.detach().amax(dim=-2, keepdim=True)                     # (..., 1, m)
    log_x = log_x + of_keys
    of_query = log_x.detach().amax(dim=-1, keepdim=True)                    # (..., T, 1)
    fx, fy = (log_x - of_query).exp() / len(w), (log_y - of_keys).exp()
    return fx * wave_x, fy * wave_y, of_query


def _exponents(x: Tensor, w: Tensor, kind: str) -> tuple[Tensor, Tensor | float]:
    """Each feature as exp(a) times a wave: a is (..., T, m) or (..., T, 1), the wave 1 or (..., T, 2m)."""
    half = x.square().sum(dim=-1, keepdim=True) / 2                         # (..., T, 1)
    angles = x @ w.transpose(-1, -2)                                        # (..., T, m)
    if kind == "positive":
        return angles - half, 1.0
    return half, torch.cat([angles.cos(), angles.sin()], dim=-1)
