"""From a network that predicts noise (or v) to `denoise(x, sigma) -> x0`, the contract of all samplers.

The UNet sees `x / sqrt(1 + sigma^2)` and the training time t at which noise was sigma. Its output F becomes
the expected clean picture (Karras et al. 2022, arXiv 2206.00364, table 1):

    epsilon   x0 = x - sigma F
    v         x0 = x / (1 + sigma^2) - sigma / sqrt(1 + sigma^2) F        (arXiv 2202.00512)
    sample    x0 = F

Guidance (`guidance.py`) asks for both halves, without caption and with it, in one batch, null half first; at
scale 1 only for the second. ControlNets (arXiv 2302.05543) add residuals to the UNet's skips; several are
added up, each times its weight.

Which step it is, a sampler does not say: the denoiser finds it from sigma and the run's levels. A control is
therefore a function of the noise level alone, and Heun's second evaluation in step i, made at the level where
step i + 1 begins, already obeys the controls of step i + 1.

Read next: `samplers.py`, `controlnet.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from models.diffusion.guidance import cfg, control_on
from models.diffusion.schedule import NoiseSchedule

Prediction = Literal["epsilon", "v", "sample"]
ControlMode = Literal["balanced", "prompt", "control"]

PROMPT_DECAY = 0.825  # per residual, from the middle outwards; the figure sd-webui-controlnet uses


def to_x0(prediction: Prediction, output: Tensor, x: Tensor, sigma: float) -> Tensor:
    """The clean picture that a network's output at (x, sigma) stands for; x in sigma space."""
    if prediction == "epsilon":
        return x - sigma * output
    if prediction == "v":
        return x / (1 + sigma**2) - sigma / (1 + sigma**2) ** 0.5 * output
    if prediction == "sample":
        return output
    raise ValueError(f"A network predicts epsilon, v or sample, not {prediction!r}.")


@dataclass(frozen=True, kw_only=True, eq=False)
class ControlInput:
    """One ControlNet at work in a run: on in step i of N unless `i/N < start` or `(i+1)/N > end`.

    Modes: "balanced" acts on both halves of the guidance; "prompt" (My prompt is more important) on both, residual
    i of L weakened by 0.825^(L-1-i), so the shallow ones most; "control" (ControlNet is more important) on the half
    with the caption only, which guidance then multiplies.
    """

    net: Callable[[Tensor, Tensor, Tensor, Tensor], tuple[list[Tensor], Tensor]]
    hint: Tensor  # (1 or B, 3, H, W) in [0, 1], H and W those of the picture
    weight: float = 1.0
    start: float = 0.0
    end: float = 1.0
    mode: ControlMode = "balanced"


class Denoiser:
    """`denoise(x, sigma) -> x0` for one run.

    Holds its arguments and nothing else. `cfg_scale` and `controls` may be set anew between two steps.
    """

    def __init__(
        self,
        unet: Callable[..., Tensor],
        schedule: NoiseSchedule,
        *,
        context: Tensor,
        null_context: Tensor | None = None,
        cfg_scale: float = 1.0,
        prediction: Prediction = "epsilon",
        controls: Sequence[ControlInput] = (),
        sigmas: Tensor | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        """context, null_context (1 or B, T, D): the text states; without null_context there is no guidance.

        `sigmas` are the run's levels, needed with controls. `dtype` is what the networks compute in (default:
        that of x); x itself keeps its own.
        """
        if null_context is not None and null_context.shape[1:] != context.shape[1:]:
            raise ValueError(
                f"The two contexts differ in shape: {tuple(null_context.shape)} against {tuple(context.shape)}."
            )
        if controls and sigmas is None:
            raise ValueError("A denoiser with controls needs the sigmas of the run to know which step it is.")
        self.unet = unet
        self.schedule = schedule
        self.context = context
        self.null_context = null_context
        self.cfg_scale = cfg_scale
        self.prediction = prediction
        self.controls = tuple(controls)
        self.levels = () if sigmas is None else tuple(sigmas.tolist())
        self.dtype = dtype

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        """The expected clean picture (B, C, H, W) in x at noise sigma > 0, with guidance and controls."""
        guided = self.null_context is not None and self.cfg_scale != 1
        dtype = self.dtype or x.dtype
        x_in = (x / (1 + sigma**2) ** 0.5).to(dtype)  # (B, C, H, W)
        x_in = torch.cat([x_in, x_in]) if guided else x_in  # (halves B, C, H, W), null half first
        t = torch.full((len(x_in),), self.timestep(sigma), dtype=torch.float32, device=x.device)
        context = self._contexts(len(x), guided).to(dtype)  # (halves B, T, D)
        down, mid = self._residuals(x_in, t, context, sigma, n_cond=len(x))
        output = self.unet(x_in, t, context, down_residuals=down, mid_residual=mid).to(x.dtype)
        if guided:
            null, cond = output.chunk(2)
            output = cfg(null, cond, self.cfg_scale)
        return to_x0(self.prediction, output, x, sigma)

    def timestep(self, sigma: float) -> float:
        """The training time the network is told for sigma."""
        return self.schedule.sigma_to_t(sigma)

    def active(self, sigma: float) -> tuple[ControlInput, ...]:
        """The controls that are on at sigma; those of weight 0 never are."""
        n = len(self.levels) - 1
        i = self._step_index(sigma)
        return tuple(c for c in self.controls if c.weight != 0 and control_on(i, n, c.start, c.end))

    def _step_index(self, sigma: float) -> int:
        """The step that begins at sigma or runs through it: the last i with `levels[i] >= sigma`."""
        reached = sum(level >= sigma * (1 - 1e-6) for level in self.levels[:-1])
        return max(0, reached - 1)

    def _contexts(self, batch: int, guided: bool) -> Tensor:
        """The text states for every row of the batch, null half first: (halves B, T, D)."""
        halves = (self.null_context, self.context) if guided else (self.context,)
        return torch.cat([half.expand(batch, -1, -1) for half in halves])

    def _residuals(
        self, x: Tensor, t: Tensor, context: Tensor, sigma: float, *, n_cond: int
    ) -> tuple[list[Tensor] | None, Tensor | None]:
        """The sum over all active controls; (None, None) where there is none."""
        total: list[Tensor] = []
        for control in self.active(sigma):
            residuals = _control_residuals(control, x, t, context, n_cond)
            total = [a + b for a, b in zip(total, residuals, strict=True)] if total else residuals
        return (total[:-1], total[-1]) if total else (None, None)


def _control_residuals(control: ControlInput, x: Tensor, t: Tensor, context: Tensor, n_cond: int) -> list[Tensor]:
    """One control's weighted residuals, the middle one last, for all rows of the batch.

    In mode "control" the net sees only the `n_cond` rows with the caption, which come last; the others get 0.
    """
    unguided = len(x) - n_cond if control.mode == "control" else 0
    rows = slice(unguided, None)
    hint = control.hint.to(x.dtype)
    hint = hint.expand(n_cond, -1, -1, -1).repeat(len(x[rows]) // n_cond, 1, 1, 1)
    down, mid = control.net(x[rows], t[rows], context[rows], hint)
    residuals = [*down, mid]
    depth = len(residuals) - 1
    decay = PROMPT_DECAY if control.mode == "prompt" else 1.0
    scaled = [control.weight * decay ** (depth - i) * residual for i, residual in enumerate(residuals)]
    if unguided == 0:
        return scaled
    return [torch.cat([torch.zeros_like(r[:1]).expand(unguided, *r.shape[1:]), r]) for r in scaled]
