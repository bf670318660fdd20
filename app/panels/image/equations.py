"""The equation of one sampling step with its current numbers, for the inspector.

Written in sigma space, `x = x0 + sigma eps` (Karras et al. 2022, arXiv 2206.00364), as `models/diffusion/samplers.py`
computes it; tests compare the coefficients told here with a step of each sampler.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

KARRAS = "Karras et al. 2022, arXiv 2206.00364"


@dataclass(frozen=True)
class StepEquation:
    """`x_next = keep x + pull D + fresh z`: the coefficients, the formula, and words about it.

    D is x0, or x0 moved on by `extrapolate (x0 - x0_last)` in multistep methods.
    """

    keep: float
    pull: float
    fresh: float
    extrapolate: float
    formula: str
    explanation: str
    reference: str

    def text(self, step: int) -> str:
        """The formula, and below it the same with numbers."""
        d = "x0"
        if self.extrapolate:
            d = f"(x0 + {number(self.extrapolate)} (x0 − x0′))"
        numbers = f"{_x(step + 1)} = {number(self.keep)} {_x(step)} + {number(self.pull)} {d}"
        if self.fresh:
            numbers += f" + {number(self.fresh)} z"
        return f"{self.formula}\n{numbers}"


def _x(step: int) -> str:
    return "x" + "".join("₀₁₂₃₄₅₆₇₈₉"[int(digit)] for digit in str(step))


def number(value: float) -> str:
    """Three figures, without a trailing exponent for everyday sizes."""
    return f"{value:.3g}"


def step_equation(sampler: str, sigma: float, sigma_next: float, *, sigma_before: float | None = None, eta: float = 0.0) -> StepEquation:
    """What the sampler does from `sigma` to `sigma_next`; `sigma_before` is the level of the step before."""
    return _MAKERS[sampler](sigma, sigma_next, sigma_before, eta)


def _euler(sigma: float, s: float, _before: float | None, _eta: float) -> StepEquation:
    return StepEquation(
        s / sigma, 1 - s / sigma, 0.0, 0.0,
        "xₖ₊₁ = xₖ + (σₖ₊₁ − σₖ) (xₖ − x0) / σₖ",
        "A straight step along the slope (x − x0)/σ. What is removed is noise; the part of x0 grows by as much.",
        KARRAS,
    )  # fmt: skip


def _heun(sigma: float, s: float, _before: float | None, _eta: float) -> StepEquation:
    plain = _euler(sigma, s, None, 0.0)
    if s == 0:
        return plain
    return StepEquation(
        plain.keep, plain.pull, 0.0, 0.0,
        "xₖ₊₁ = xₖ + (σₖ₊₁ − σₖ) (dₖ + dₖ₊₁) / 2\nd = (x − x0) / σ",
        "Euler's step is tried first (the numbers), then the slope at its end is averaged in: two network calls.",
        KARRAS,
    )  # fmt: skip


def _ancestral(sigma: float, s: float, eta: float) -> tuple[float, float]:
    """Fresh noise `up`, and the level `down` that is stepped to before it is added."""
    up = min(s, eta * s * math.sqrt(1 - (s / sigma) ** 2))
    return up, math.sqrt(s * s - up * up)


def _euler_a(sigma: float, s: float, _before: float | None, _eta: float) -> StepEquation:
    up, down = _ancestral(sigma, s, 1.0)
    return StepEquation(
        down / sigma, 1 - down / sigma, up, 0.0,
        "xₖ₊₁ = xₖ + (σ↓ − σₖ) (xₖ − x0) / σₖ + σ↑ z\nσ↑² + σ↓² = σₖ₊₁²",
        f"Down past the new level to {number(down)}, then fresh noise of size {number(up)}: it never stops wandering.",
        KARRAS,
    )  # fmt: skip


def _ddpm(sigma: float, s: float, _before: float | None, _eta: float) -> StepEquation:
    keep = (s / sigma) ** 2
    return StepEquation(
        keep, 1 - keep, s * math.sqrt(1 - keep), 0.0,
        "xₖ₊₁ = a xₖ + (1 − a) x0 + σₖ₊₁ √(1 − a) z\na = σₖ₊₁² / σₖ²",
        "A draw from the posterior of the training chain: a mean between x and x0, and fresh noise.",
        "Ho et al. 2020, arXiv 2006.11239",
    )  # fmt: skip


def _ddim(sigma: float, s: float, _before: float | None, eta: float) -> StepEquation:
    up, down = _ancestral(sigma, s, eta)
    return StepEquation(
        down / sigma, 1 - down / sigma, up, 0.0,
        "xₖ₊₁ = x0 + √(σₖ₊₁² − δ²) (xₖ − x0) / σₖ + δ z",
        "Back to the predicted picture, and out again to the next noise level along the predicted noise.",
        "Song et al. 2021, arXiv 2010.02502",
    )  # fmt: skip


def _extrapolation(sigma: float, s: float, before: float | None) -> float:
    if before is None or s == 0:
        return 0.0
    return math.log(sigma / s) / (2 * math.log(before / sigma))


def _dpmpp_2m(sigma: float, s: float, before: float | None, _eta: float) -> StepEquation:
    return StepEquation(
        s / sigma, 1 - s / sigma, 0.0, _extrapolation(sigma, s, before),
        "xₖ₊₁ = e⁻ʰ xₖ + (1 − e⁻ʰ) D\nh = ln(σₖ / σₖ₊₁)",
        "D is x0 carried on to the middle of the step along the line through this and the last prediction x0′.",
        "Lu et al. 2022, arXiv 2211.01095",
    )  # fmt: skip


def _dpmpp_2m_sde(sigma: float, s: float, before: float | None, _eta: float) -> StepEquation:
    keep = (s / sigma) ** 2
    return StepEquation(
        keep, 1 - keep, s * math.sqrt(1 - keep), _extrapolation(sigma, s, before),
        "xₖ₊₁ = e⁻²ʰ xₖ + (1 − e⁻²ʰ) D + σₖ₊₁ √(1 − e⁻²ʰ) z\nh = ln(σₖ / σₖ₊₁)",
        "DPM++ 2M for the stochastic equation: more is taken away, and fresh noise is put in its place.",
        "Lu et al. 2022, arXiv 2211.01095",
    )  # fmt: skip


_MAKERS = {
    "ddpm": _ddpm, "ddim": _ddim, "euler": _euler, "euler_a": _euler_a, "heun": _heun,
    "dpmpp_2m": _dpmpp_2m, "dpmpp_2m_sde": _dpmpp_2m_sde,
}  # fmt: skip
