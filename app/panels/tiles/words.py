"""What the panel of tiles says."""

from __future__ import annotations

import math
from typing import Any

from app.protocol.tiles import LayerLook
from app.widgets.fact_rows import Row

NAMES = {"glow": "Glow", "nice": "NICE"}
PAPERS = {"glow": "Kingma and Dhariwal, arXiv 1807.03039", "nice": "Dinh and others, arXiv 1410.8516"}
WATCH = {
    "glow": (
        "Turn the temperature: at 0 every picture is the same, near 0.7 sky, ground and figures come out likeliest, at 1 you see the law "
        "itself. Keep only a quarter of the noise and only the coarser levels speak: places and colours stay, details go."
    ),
    "nice": (
        "NICE only shears, so it keeps every volume but for one scaling at its end: its pictures are soft where Glow's have edges. "
        "Keep a tenth of the noise, the widest directions of its spectrum, and most of each picture is still there."
    ),
}
BETWEEN = (
    "Left and upper row: a straight line in the noise, turned back into pictures, so what changes is place and form. Right and lower row: "
    "the same two faded over; the middle is two pictures at once, and a flow that has learned what pictures are asks more bits for it."
)
FILL = (
    "Hidden pixels begin as noise and climb the gradient of log p, the others stand still: watch sky and ground grow in from the edge. "
    "The climb ends at a likely picture and not at the true one, often below the truth's bits: the likeliest is smoother than the real."
)
DEPTH = (
    "Step through the layers: each shears, scales or mixes the numbers, and its log-determinant is what it adds to the bits. At each split "
    "half of the numbers stop as noise; at the end nothing of the picture should be seen, and what is still seen was not learned."
)
EMPTY_SHEET = "Pictures from noise appear here."
MISSING = "There are no built-in weights of {} on this machine. Train one now: its pictures appear here while it learns."


def figure(value: float, digits: int = 2) -> str:
    """So many decimals; a true minus, a dash for none."""
    return "–" if math.isnan(value) else f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def small(value: float) -> str:
    """A power of ten."""
    return f"{value:.1e}".replace("e-0", "e−").replace("e-", "e−").replace("e+0", "e")


def equation(facts: dict[str, Any]) -> str:
    """Bits per dimension as a sum, with its numbers once they are known."""
    words = "bits/dim = 8 − (log p(z) + Σ log|det|) / (D ln 2)"
    if "levels" not in facts:
        return words
    noise, layers = sum(row["noise"] for row in facts["levels"]), sum(row["layers"] for row in facts["levels"]) - 8
    volume = f"− {figure(-layers)}" if layers < 0 else f"+ {figure(layers)}"
    return f"{words}\n= 8 + {figure(noise)} (noise) {volume} (volume) = {figure(facts['bits_per_dim'])}"


def rows_of(facts: dict[str, Any]) -> list[Row]:
    """How well the flow knows held-out pictures, and what it has to beat."""
    if "bits_per_dim" not in facts:
        return []
    told = f"{figure(facts['bits_per_dim'])} ± {figure(facts['bits_standard_error'])}"
    rows: list[Row] = [("Held-out", f"{told} bits/dim", f"Mean over {facts['scenes']} scenes never trained on, with its standard error")]
    for key, name, tip in (
        ("histogram_bits", "Histograms", "A histogram for each pixel and channel, fitted on training scenes: knows places, no neighbours"),
        ("diagonal_bits", "Gaussians", "A Gaussian for each pixel and channel"),
        ("gaussian_bits", "Full Gaussian", "One Gaussian with a full covariance: all linear relations between pixels"),
    ):
        if key in facts:
            rows.append((name, figure(facts[key]), tip))
    rows += [("Uniform", "8.00", "Every number 0-255 equally likely"), ("There and back", small(facts["inverse_error"]), INVERSE)]
    if len(facts.get("levels", ())) > 1:
        rows += level_rows(facts["levels"])
    if "parameters" in facts:
        rows.append(("Weights", f"{facts['parameters'] / 1e6:.2f} million"))
    return rows


INVERSE = "Largest error of a pixel after going to the noise and back: an exact inverse but for rounding"


def level_rows(levels: list[dict[str, Any]]) -> list[Row]:
    """What each level pays."""
    return [
        (f"Level {number}", f"{figure(row['noise'] + row['layers'] - (8 if number == 1 else 0))} bits",
         f"{row['numbers']} of all numbers end as noise here ({figure(row['noise'])} bits/dim); its layers add {figure(row['layers'])}"
         + (", with the logit and the 8 of whole numbers" if number == 1 else ""))
        for number, row in enumerate(levels, 1)
    ]  # fmt: skip


def layer_equation(look: LayerLook, dims: int) -> str:
    """What one layer adds, in its own terms."""
    nats = -look.bits * dims * math.log(2)
    forms = {
        "actnorm": "y = e^s (x + b),  log|det| = H W Σ s", "1x1 convolution": "y = W x,  W = P L (U + diag s),  log|det| = H W Σ log|s|",
        "coupling": "y₂ = (x₂ + t(x₁)) σ(h(x₁) + 2),  log|det| = Σ log σ", "split": "z = (x₂ − m(x₁)) e^(−l(x₁)),  log|det| = −Σ l",
        "squeeze": "2 × 2 pixels become 4 channels,  log|det| = 0", "additive coupling": "y₂ = x₂ + m(x₁),  log|det| = 0",
        "scaling": "h = e^a z,  log|det| = Σ a", "reverse": "channels reversed,  log|det| = 0",
        "logit": "y = logit(0.05 + 0.9 v)", "data": "v − 0.5",
    }  # fmt: skip
    if look.index == 0:
        return f"{forms[look.title]}\nbits/dim = 8 − log|det| / (D ln 2) = {figure(look.bits, 3)}"
    return f"{forms[look.title]}\n= {figure(nats, 1)} nats here,  {figure(look.bits, 3)} bits/dim"
