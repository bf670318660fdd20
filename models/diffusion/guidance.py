"""Classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598), and which steps a control guides.

Guidance: the network predicts twice, with the caption and without (or with the negative prompt), and the
difference is stretched: `e = e_null + w (e_c - e_null)`. w = 1 is the plain conditional prediction, 0 the
unconditional one (the paper's w is ours minus 1). The same formula holds for eps, v and x0, all being affine
in one another at a given x. w > 1 sharpens, but does not sample `p(x) p(c|x)^w` exactly.

Control ranges: programs disagree on what "start 0, end 0.5" means; here it is the rule of diffusers, spelled
out by `covered` beside the slider.

Read next: `denoiser.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def cfg(null: Tensor, cond: Tensor, scale: float, *, rescale: float = 0.0) -> Tensor:
    """`null + scale (cond - null)`, (B, C, H, W) each.

    `rescale` in [0, 1] pulls the spread of each picture back to that of `cond` (Lin et al., arXiv 2305.08891,
    eq. 15-16), against washed-out or burnt colours at large scales; 0 leaves it out.
    """
    guided = null + scale * (cond - null)
    if rescale == 0:
        return guided
    dims = tuple(range(1, guided.dim()))
    spread = cond.std(dim=dims, keepdim=True) / guided.std(dim=dims, keepdim=True)
    return guided * (rescale * spread + (1 - rescale))


def control_on(i: int, n: int, start: float, end: float) -> bool:
    """Whether a control is on in step i (from 0) of n: unless `i/n < start` or `(i+1)/n > end`."""
    return not (i / n < start or (i + 1) / n > end)


def control_steps(start: float, end: float, n: int) -> range:
    """The steps, counted from 0, in which a control is on."""
    on = [i for i in range(n) if control_on(i, n, start, end)]
    return range(on[0], on[-1] + 1) if on else range(0)


def covered(start: float, end: float, sigmas: Sequence[float]) -> str:
    """What a control range covers, in words: "steps 1-10 of 20, sigma 14.6 to 1.5".

    `sigmas` are the n + 1 levels of the run; the second figure is the level of the last controlled evaluation.
    """
    levels = [float(sigma) for sigma in sigmas]
    n = len(levels) - 1
    steps = control_steps(start, end, n)
    if not steps:
        return f"no step of {n}"
    first, last = steps[0], steps[-1]
    if first == last:
        return f"step {first + 1} of {n}, sigma {_level(levels[first])}"
    return f"steps {first + 1}-{last + 1} of {n}, sigma {_level(levels[first])} to {_level(levels[last])}"


def _level(sigma: float) -> str:
    """A noise level as people read it: one decimal above 1, two significant digits below."""
    return f"{sigma:.1f}" if sigma >= 1 else f"{sigma:.2g}"
