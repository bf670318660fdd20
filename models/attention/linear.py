"""Linear attention (Katharopoulos et al., arXiv 2006.16236): a kernel instead of the exponential makes it an RNN.

    out_i = phi(q_i)^T S_i / phi(q_i)^T z_i,    S_i = sum_{j <= i} phi(k_j) v_j^T,    z_i = sum_{j <= i} phi(k_j)

One function in three forms: "quadratic" forms the T x T kernel and masks it; "recurrent" carries the state S, whose size
does not depend on T; "chunked" is quadratic inside chunks and carries the state from chunk to chunk: work linear in T, in
few large products. z is the state of a value that is always 1, so v gets such a column and one state serves both. All
the text that is remembered lies in D x dv numbers: that is why recall of many pairs fails where softmax succeeds.

`efficient` is the other early form (Shen et al., arXiv 1812.01243): softmax over the features of each query and over
the positions of each key feature; not causal. Read next: `performer.py`, whose features approximate the exponential.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import elu

from models.attention.cost import Cost, Sizes, cost_of
from models.attention.signature import ROWS_SUM_TO_ONE, Attended, AttentionError, check, pad_tokens, past, pieces

SIGNED = "signed, divided by the number of visible keys"
FORMS = ("chunked", "recurrent", "quadratic")


# Feature maps


def elu1(x: Tensor) -> Tensor:
    """elu(x) + 1: positive, about linear above 0, exponential below; the paper's."""
    return elu(x) + 1


def softmax_features(x: Tensor) -> Tensor:
    """Softmax over the features of each vector."""
    return x.softmax(dim=-1)


def taylor(x: Tensor) -> Tensor:
    """[1, x, x (x) x / sqrt 2] of x / d^(1/4): phi(q)^T phi(k) = 1 + s + s²/2, exp(s) to second order (arXiv 2402.18668).

    Positive for every s, close to softmax while scores are small; 1 + d + d² features.
    """
    x = x * x.shape[-1] ** -0.25
    square = (x[..., :, None] * x[..., None, :]).flatten(-2) * 0.5**0.5     # (..., d²)
    return torch.cat([torch.ones_like(x[..., :1]), x, square], dim=-1)      # (..., 1 + d + d²)


def identity(x: Tensor) -> Tensor:
    """x / d^(1/4): the kernel is the score itself, which may be negative (arXiv 2401.04658 without its decay)."""
    return x * x.shape[-1] ** -0.25


@dataclass(frozen=True)
class FeatureMap:
    """A map phi; `positive`: phi(q)^T phi(k) >= 0, so weights can be normalised; `width`: D as a formula in d."""

    title: str
    function: Callable[[Tensor], Tensor]
    positive: bool
    width: str = "d"


FEATURES: dict[str, FeatureMap] = {
    "elu1": FeatureMap("elu + 1", elu1, positive=True),
    "relu": FeatureMap("ReLU", torch.relu, positive=True),
    "softmax": FeatureMap("softmax over features", softmax_features, positive=True),
    "taylor": FeatureMap("Taylor, second order", taylor, positive=True, width="1 + d + d²"),
    "identity": FeatureMap("identity", identity, positive=False),
}


# Attention


def linear(
    q: Tensor, k: Tensor, v: Tensor, *, causal: bool = True, want_map: bool = False,
    feature: str = "elu1", form: str = "chunked", chunk: int = 64,
) -> Attended:  # fmt: skip
    """Attention with the kernel phi(q)^T phi(k). No 1 / sqrt(d) unless the map has one of its own."""
    check(q, k, v, own_tokens=causal)
    if feature not in FEATURES:
        raise AttentionError(f"There is no feature map {feature!r}; there are {', '.join(FEATURES)}.")
    phi = FEATURES[feature]
    fq, fk = phi.function(q), phi.function(k)                               # (B, H, T, D), (B, H, S, D)
    return Attended(
        out=kernel_attention(fq, fk, v, causal=causal, form=form, chunk=chunk, positive=phi.positive),
        weights=kernel_weights(fq, fk, causal=causal, positive=phi.positive) if want_map else None,
        normalisation=ROWS_SUM_TO_ONE if phi.positive else SIGNED,
        cost=linear_cost(Sizes.of(q, k, v), causal, feature=feature, form=form, chunk=chunk),
    )


def linear_cost(sizes: Sizes, causal: bool = True, feature: str = "elu1", form: str = "chunked", chunk: int = 64) -> Cost:
    """D features, which are computed without matrix products."""
    width = f"({FEATURES[feature].width})"
    work, state = kernel_work(causal, form, width)
    return cost_of(
        sizes, flops=f"2 B H {work}", held=f"B H ((T + S) {width} + {state})", n=pieces(sizes.T, chunk), c=min(chunk, sizes.T)
    )


def kernel_work(causal: bool, form: str, D: str) -> tuple[str, str]:
    """Of `kernel_attention` with D features: multiply-adds per batch and head, and numbers held besides features."""
    e = "(dv + 1)"  # the value's column of ones
    if not causal:
        return f"(S + T) {D} {e}", f"{D} {e}"
    if form == "quadratic":
        return f"T² ({D} + {e})", "T²"
    if form == "recurrent":
        return f"2 T {D} {e}", f"{D} {e}"
    return f"n (c² ({D} + {e}) + 2 c {D} {e})", f"n c² + {D} {e}"


def kernel_attention(
    fq: Tensor, fk: Tensor, v: Tensor, *, causal: bool, form: str = "chunked", chunk: int = 64, positive: bool = True
) -> Tensor:
    """Features fq (B, H, T, D), fk (B, H, S, D) and values (B, H, S, dv) to (B, H, T, dv).

    `positive` kernels are divided by their sum, others by the number of visible keys. A row of zeros stays zero.
    """
    if form not in FORMS:
        raise AttentionError(f"Linear attention has the forms {', '.join(FORMS)}, not {form}.")
    v1 = torch.cat([v, torch.ones_like(v[..., :1])], dim=-1)                # (B, H, S, dv + 1)
    if not causal:
        sums = fq @ (fk.transpose(-1, -2) @ v1)                             # (B, H, T, dv + 1)
    elif form == "recurrent":
        sums = torch.stack([step.sums for step in recurrence(fq, fk, v1)], dim=2)
    else:
        sums = (_chunked if form == "chunked" else _quadratic)(fq, fk, v1, chunk)
    seen = _counts(fq.shape[2], fk.shape[2], causal, fq)                    # (T, 1)
    return _divide(sums[..., :-1], sums[..., -1:] if positive else seen)    # (B, H, T, dv)


def kernel_weights(fq: Tensor, fk: Tensor, *, causal: bool, positive: bool = True) -> Tensor:
    """The implied matrix of weights (B, H, T, S)."""
    kernel = fq @ fk.transpose(-1, -2)                                      # (B, H, T, S)
    if causal:
        kernel = kernel * past(*kernel.shape[-2:], kernel.device)
    return _divide(kernel, kernel.sum(dim=-1, keepdim=True) if positive else _counts(fq.shape[2], fk.shape[2], causal, fq))


def _divide(x: Tensor, by: Tensor) -> Tensor:
    return x / by.masked_fill(by == 0, 1)


def _counts(T: int, S: int, causal: bool, like: Tensor) -> Tensor:
    """How many keys each query sees, (T, 1)."""
    seen = torch.arange(1, T + 1) + (S - T) if causal else torch.full((T,), S)
    return seen[:, None].to(like)


def _quadratic(fq: Tensor, fk: Tensor, v1: Tensor, chunk: int) -> Tensor:
    kernel = fq @ fk.transpose(-1, -2)                                      # (B, H, T, T)
    return (kernel * past(*kernel.shape[-2:], kernel.device)) @ v1          # (B, H, T, dv + 1)


def _chunked(fq: Tensor, fk: Tensor, v1: Tensor, chunk: int) -> Tensor:
    """Quadratic within a chunk, through the state across chunks; only one state lives at a time."""
    T = fq.shape[2]
    c = min(chunk, T)
    state, out = fq.new_zeros(*fq.shape[:2], fq.shape[3], v1.shape[3]), []  # (B, H, D, dv + 1)
    fq, fk, v1 = (pad_tokens(x, c).split(c, dim=2) for x in (fq, fk, v1))
    seen = past(c, c, state.device)
    for q, k, v in zip(fq, fk, v1, strict=True):                            # (B, H, c, D), same, (B, H, c, dv + 1)
        out.append((q @ k.transpose(-1, -2) * seen) @ v + q @ state)
        state = state + k.transpose(-1, -2) @ v
    return torch.cat(out, dim=2)[:, :, :T]                                  # (B, H, T, dv + 1)


@dataclass(frozen=True, kw_only=True)
class LinearStep:
    """Token `i` read: what the attention remembers afterwards. The state is the run's own: read it, do not write."""

    i: int
    state: Tensor  # S, (B, H, D, dv + 1) if the values had their column of ones, whose column is z
    sums: Tensor  # phi(q_i)^T S, (B, H, dv + 1)

    @property
    def out(self) -> Tensor:
        """The output for a positive kernel, (B, H, dv)."""
        return _divide(self.sums[..., :-1], self.sums[..., -1:])


def recurrence(fq: Tensor, fk: Tensor, v1: Tensor) -> Iterator[LinearStep]:
    """Token by token: features (B, H, T, D) and values with a column of ones (B, H, T, dv + 1)."""
    state = fq.new_zeros(*fq.shape[:2], fq.shape[3], v1.shape[3])           # (B, H, D, dv + 1)
    for i in range(fq.shape[2]):
        state = state + fk[:, :, i, :, None] @ v1[:, :, i, None]
        sums = fq[:, :, i, None] @ state                                    # (B, H, 1, dv + 1)
        yield LinearStep(i=i, state=state, sums=sums[:, :, 0])


def memory_steps(q: Tensor, k: Tensor, v: Tensor, feature: str = "elu1") -> Iterator[LinearStep]:
    """`recurrence` of q, k, v (B, H, T, ...) for a view of the state while a text is read."""
    phi = FEATURES[feature].function
    return recurrence(phi(q), phi(k), torch.cat([v, torch.ones_like(v[..., :1])], dim=-1))


# Efficient attention


def efficient(q: Tensor, k: Tensor, v: Tensor, *, causal: bool = False, want_map: bool = False) -> Attended:
    """softmax_features(q) (softmax_positions(k)^T v): each key feature is a map over the text that sums to 1."""
    check(q, k, v)
    if causal:
        raise AttentionError("Efficient attention takes a softmax over all positions and cannot be causal.", "Choose the linear one.")
    fq, fk = q.softmax(dim=-1), k.softmax(dim=-2)                           # (B, H, T, d), (B, H, S, d)
    return Attended(
        out=fq @ (fk.transpose(-1, -2) @ v), weights=fq @ fk.transpose(-1, -2) if want_map else None,
        normalisation=ROWS_SUM_TO_ONE, cost=efficient_cost(Sizes.of(q, k, v)),
    )  # fmt: skip


def efficient_cost(sizes: Sizes, causal: bool = False) -> Cost:
    """One d x dv matrix between keys and queries."""
    return cost_of(sizes, flops="2 B H (S + T) d dv", held="B H ((T + S) d + d dv)")
