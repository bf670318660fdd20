"""What the inspector says about a scale."""

from __future__ import annotations

import math

import numpy as np

from app.panels.attention_lab.page import Told
from app.protocol.attention_lab import ScaleReport

EXPLANATION = (
    "Drag the exponent from −0.5 towards 0 and watch one bar take everything: scores of wide heads spread like √d, and the softmax freezes "
    "on its largest. A saturated row passes nothing back to q; what gradient is left comes from the few rows that are still undecided. "
    "With 1/√d entropy and saturation are the same for every width."
)
TRAINED = (
    "This head learned with the division built in, and its scores are not Gaussian: the dashed line is what Gaussian scores of the same "
    "spread would give. Drag the exponent to 0 and it becomes a head that looks at one key only."
)
REFERENCE = "arXiv 1706.03762, section 3.2.1; entropy: Derrida's random energy model (1981); 1/d: arXiv 2203.03466"


def jacobian_norm(p: np.ndarray) -> float:
    """|diag(p) - p p^T| of weights p (keys,): sqrt(s2 - 2 s3 + s2²) with s_a = sum p^a."""
    p = p.astype(np.float64)
    s2, s3 = float((p**2).sum()), float((p**3).sum())
    return math.sqrt(max(s2 - 2 * s3 + s2**2, 0.0))


def told_of_scale(report: ScaleReport | None, exponent: float, trained: bool = False) -> Told:
    """Numbers of the row and of all rows, and the theory with its numbers."""
    if report is None:
        return Told(name="Why 1/√d", explanation=EXPLANATION, reference=REFERENCE)
    now, n = report.now, report.keys
    frozen = math.sqrt(2 * math.log(n)) if n > 1 else 0.0
    beyond = now.score_std >= frozen
    theory = (
        f"σ = {now.score_std:.2f} ≥ √(2 ln {n}) = {frozen:.2f}: frozen, H → 0" if beyond
        else f"H ≈ ln n − σ²/2 = {math.log(n):.2f} − {now.score_std:.2f}²/2 = {now.theory:.2f}"
    )  # fmt: skip
    rows = (
        ("Scale", f"{now.width}^{exponent:.2f} = {now.scale:.4g}"),
        ("Spread σ", f"{now.score_std:.3f}", "standard deviation of the scaled scores within a row, over all rows"),
        ("Entropy", f"{now.entropy:.3f} of {math.log(n):.3f} nats", "mean over rows; the right number is that of equal weights"),
        ("Largest", f"{now.largest:.3f}", "mean weight of the strongest key"),
        ("Saturated", f"{now.saturated:.1%} of rows", "rows whose strongest key has more than 0.99"),
        ("Gradient", f"{now.gradient:.2e}", "rms at the entries of q when N(0, 1) arrives at each weight"),
        ("This row", f"largest {float(report.row.max()):.3f}, scores {report.scores.min():.2f} to {report.scores.max():.2f}"),
        ("Passes back", f"{jacobian_norm(report.row):.4f} of at most 0.5", "this row: Frobenius norm of the Jacobian diag(p) − p pᵀ"),
    )
    equation = f"p = softmax(d^e q·k),  d = {now.width}, e = {exponent:.2f}, n = {n}\n{theory}"
    return Told(name="Why 1/√d", rows=rows, equation=equation, explanation=TRAINED if trained else EXPLANATION, reference=REFERENCE)
