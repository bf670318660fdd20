"""Why scores are divided by sqrt(d) (Vaswani et al., arXiv 1706.03762, section 3.2.1, footnote 4).

If the entries of q and k are independent with mean 0 and variance 1, q.k has variance d: scores spread like sqrt(d).
A softmax over n scores of deviation sigma behaves like n independent Gaussian energies (Derrida's random energy model,
1981): its entropy is about log n - sigma²/2 until sigma reaches sqrt(2 log n), beyond which one key has all the weight.
There the Jacobian diag(p) - p p^T goes to 0 and nothing is learned any more. Dividing by sqrt(d) keeps sigma at 1 for
every width; T5 (arXiv 1910.10683) does not divide and starts q smaller by 1/sqrt(d) instead. Doing both is a mistake.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.attention.signature import NEGATIVE_INFINITY, AttentionError, past

SATURATED = 0.99  # a row is saturated if one key has more than this share
SCALES = {"1/sqrt(d)": -0.5, "none": 0.0, "1/d": -1.0}
"""Exponents of d. 1/d is what muP asks for (arXiv 2203.03466): q and k become correlated when trained."""


@dataclass(frozen=True, kw_only=True)
class Sharpness:
    """How sharp a softmax is and how much of a gradient passes it; means over all rows with at least two keys."""

    d: int
    scale: float
    keys: int  # of the longest row
    score_std: float  # of the scaled scores within a row; rows are averaged as variances
    entropy: float  # nats
    evenness: float  # entropy / log(keys of the row): 1 = uniform, 0 = one key has all
    largest: float  # mean weight of the strongest key
    saturated: float  # share of rows whose strongest key has more than SATURATED
    jacobian: float  # Frobenius norm of diag(p) - p p^T, at most 1/2, for two keys of equal weight
    gradient: float  # rms of what arrives at the entries of q if N(0, 1) arrives at each weight


def measure(q: Tensor, k: Tensor, scale: float, *, causal: bool = False, seed: int = 0) -> Sharpness:
    """Sharpness of softmax(scale q k^T) for q (..., T, d), k (..., S, d), of a model or drawn at random."""
    T, S, d = q.shape[-2], k.shape[-2], q.shape[-1]
    mask = past(T, S, q.device) if causal else torch.ones(T, S, dtype=torch.bool, device=q.device)
    counts = mask.sum(-1)                                                   # (T,)
    rows = counts > 1
    if not rows.any():
        raise AttentionError("Sharpness needs a query with at least two keys.", "Type a longer text.")
    q, mask, counts = q[..., rows, :], mask[rows], counts[rows]
    scores = q @ k.transpose(-1, -2) * scale                                # (..., T, S)
    p = scores.masked_fill(~mask, NEGATIVE_INFINITY).softmax(dim=-1)            # (..., T, S)
    entropy = -torch.xlogy(p, p).sum(-1)                                    # (..., T)
    strongest = p.amax(dim=-1)
    return Sharpness(
        d=d, scale=scale, keys=int(counts.max()), score_std=float(_row_variance(scores, mask).mean().sqrt()),
        entropy=float(entropy.mean()), evenness=float((entropy / counts.log()).mean()), largest=float(strongest.mean()),
        saturated=float((strongest > SATURATED).float().mean()), jacobian=float(jacobian_norm(p).mean()),
        gradient=_query_gradient(p, k, scale, seed),
    )  # fmt: skip


def jacobian_norm(p: Tensor) -> Tensor:
    """Frobenius norm of the softmax's Jacobian diag(p) - p p^T, from p (..., S): sqrt(s2 - 2 s3 + s2²), s_a = sum p^a."""
    s2, s3 = p.square().sum(-1), p.pow(3).sum(-1)
    return (s2 - 2 * s3 + s2.square()).clamp(min=0).sqrt()


def _query_gradient(p: Tensor, k: Tensor, scale: float, seed: int) -> float:
    """rms over q's entries of scale k^T (diag(p) - p p^T) g, with g ~ N(0, I): what a loss on p sends back to q."""
    g = torch.randn(p.shape, generator=torch.Generator().manual_seed(seed)).to(p)
    ds = p * (g - (p * g).sum(-1, keepdim=True))                            # (..., T, S)
    return float((scale * ds @ k).square().mean().sqrt())


def _row_variance(scores: Tensor, mask: Tensor) -> Tensor:
    """Variance of the visible scores of each row, (..., T)."""
    n = mask.sum(-1)
    mean = (scores * mask).sum(-1) / n
    return ((scores - mean[..., None]) * mask).square().sum(-1) / (n - 1)


def random_heads(d: int, keys: int, queries: int = 256, seed: int = 0) -> tuple[Tensor, Tensor]:
    """q (queries, d) and k (keys, d) with independent entries from N(0, 1), as at a standard initialisation."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(queries, d, generator=generator), torch.randn(keys, d, generator=generator)


def over_widths(widths: Sequence[int], scale: str = "1/sqrt(d)", keys: int = 256, seed: int = 0) -> Iterator[Sharpness]:
    """Random heads of growing width under one rule of `SCALES`."""
    if scale not in SCALES:
        raise AttentionError(f"There is no scale {scale!r}; there are {', '.join(SCALES)}.")
    for d in widths:
        q, k = random_heads(d, keys, seed=seed)
        yield measure(q, k, d ** SCALES[scale], seed=seed)


def over_scales(q: Tensor, k: Tensor, factors: Sequence[float], *, causal: bool = False) -> Iterator[Sharpness]:
    """One head under `factor` / sqrt(d) for each factor: 1 is as it was trained, sqrt(d) as without dividing."""
    for factor in factors:
        yield measure(q, k, factor * q.shape[-1] ** -0.5, causal=causal)


def theory_entropy(sigma: float, keys: int) -> float:
    """Entropy in nats of a softmax over so many Gaussian scores of deviation sigma: log n - sigma²/2, or 0 once frozen."""
    frozen = math.sqrt(2 * math.log(keys))
    return max(0.0, math.log(keys) - sigma**2 / 2) if sigma < frozen else 0.0
