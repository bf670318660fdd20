"""What the generators of `models` yield, one frozen record a step.

A sampler yields facts (tensors and numbers), a runner turns them into payloads, a view draws them
(architecture, habit 2). The tensors are the sampler's own, not copies: read them, do not write into them.

Read next: `models/diffusion/samplers.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

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
class TrainStep:
    """One step of a training run; `metrics` holds what is worth a curve of its own."""

    step: int  # 1 .. total, counted over resumptions
    total: int
    loss: float
    metrics: dict[str, float] = field(default_factory=dict)
