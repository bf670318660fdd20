"""What the generators of `models` yield, one frozen record a step.

A sampler yields facts (tensors and numbers), a runner turns them into payloads, a view draws them
(architecture, habit 2). The tensors are the sampler's own, not copies: read them, do not write into them.

Read next: `models/diffusion/samplers.py`, `models/decoding/generate.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class SolverState:
    """What a sampler must remember from one step to the next: its last evaluation of the network.

    One-step methods do not need it; multistep methods (DPM++ 2M) extrapolate from it. Every sampler reports
    it all the same, so that a run may be continued with another sampler than it was begun with.
    """

    x0: Tensor  # the clean picture predicted in the step before
    sigma: float  # and the noise level at which that was


@dataclass(frozen=True, kw_only=True)
class DenoiseStep:
    """Step `i` of `n` of a sampler, in sigma space: `x = x0 + sigma eps`, sigma falling to 0.

    Going on from here: `sampler(denoise, step.x_next, sigmas, noise=…, start=step.i + 1, state=step.state)`
    gives, bit for bit, the steps that the run itself would have made.
    """

    i: int  # 0 .. n - 1
    n: int
    sigma: float  # noise level of x
    sigma_next: float  # noise level of x_next
    t: float | None = None  # the network's own clock at sigma, if the denoiser tells it
    x: Tensor  # (B, C, H, W) before the step
    x0: Tensor  # (B, C, H, W) the clean picture the network sees in x
    x_next: Tensor  # (B, C, H, W) after the step
    is_last: bool
    state: SolverState

    @property
    def eps(self) -> Tensor:
        """The noise the network sees in x, of unit variance: `(x - x0) / sigma`."""
        return (self.x - self.x0) / self.sigma

    @property
    def x_scaled(self) -> Tensor:
        """x in the variance-preserving scale of DDPM and Stable Diffusion: `x_t = x / sqrt(1 + sigma^2)`."""
        return self.x / (1 + self.sigma**2) ** 0.5


@dataclass(frozen=True, kw_only=True)
class OdeStep:
    """Where the solution of a differential equation stands after one step."""

    x: Tensor
    t: float  # of x
    h: float  # length of the step that led here, with its sign; 0 at the start
    evaluations: int  # of the right-hand side, so far
    last: bool
    error: float | None = None  # in units of the tolerance; None where the method does not estimate it
    rejected: int = 0  # steps tried and thrown away, so far
    slopes: tuple[Tensor, ...] = ()  # at the stages of the step that led here, if the solver keeps them


@dataclass(frozen=True, kw_only=True)
class TrainStep:
    """One step of a training run; `metrics` holds what is worth a curve of its own."""

    step: int  # 1 .. total, counted over resumptions
    total: int
    loss: float
    metrics: dict[str, float] = field(default_factory=dict)
    averaged: Callable[[], AbstractContextManager[None]] = field(default=nullcontext, compare=False, repr=False)
    """While its block lasts the model holds its averaged weights: what a look at an unfinished training should show."""


# --- speculative decoding ---


@dataclass(frozen=True, kw_only=True)
class Drafted:
    """A token that a drafter proposed, a node of the round's tree, and what became of it.

    `accepted`: kept. `rejected`: tested and thrown away. `untested`: never looked at, because its parent fell, a sibling
    was taken before it, or the text ended there.
    """

    token: int
    q: float  # of the token under the drafter's filtered law; 1 if the proposal was not drawn but chosen
    q_raw: float | None = None  # how sure the drafter was before it drew: as a rule its largest probability at T = 1
    p: float | None  # under the target's filtered law, given that all before it is rejected or kept; None: untested
    p_raw: float | None = None  # under the target's softmax at T = 1
    u: float | None  # the draw it was compared with: accepted if u <= p / q; None: no draw was needed
    fate: Literal["accepted", "rejected", "untested"]
    parent: int  # index in the round of the node it continues, -1 for the last committed token
    depth: int  # 1 for the first token after the last committed one


@dataclass(frozen=True, kw_only=True)
class Committed:
    """A token that became text.

    `plain`: drawn without a draft. `accepted`: proposed and kept. `corrected`: drawn from what the law leaves after the
    rejected proposals. `bonus`: drawn after the last accepted proposal, for which the same pass gave the law.
    """

    token: int
    kind: Literal["plain", "accepted", "corrected", "bonus"]
    p: float  # under the filtered law (temperature, top-k, ...)
    p_raw: float  # under the softmax at T = 1
    q: float | None  # as drafted; None unless accepted
    u: float | None  # the draw that decided: the acceptance test if accepted, else the inverse of the law; None if greedy
    top: tuple[tuple[int, float], ...]  # the likeliest tokens of the raw law, likeliest first
    entropy: float  # of the raw law, in nats


@dataclass(frozen=True, kw_only=True)
class Round:
    """One round of decoding: draft, verify in one pass of the target, commit. A plain step is a round without a draft."""

    index: int
    drafter: str
    draft_length: int  # tokens proposed along the longest path: 0 in a plain step
    position: int  # of the first committed token in the sequence, prompt included
    drafted: tuple[Drafted, ...]
    committed: tuple[Committed, ...]
    draft_s: float
    verify_s: float
    other_s: float
    lossless: bool  # whether the rule that tested this round's draft keeps the target's law
    reason: Literal["stop", "length", "context"] | None = None  # why the text ends with this round

    @property
    def accepted(self) -> int:
        """How many proposed tokens became text."""
        return sum(token.kind == "accepted" for token in self.committed)
