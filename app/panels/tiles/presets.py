"""Settings that show a point: a page, what stands on its form, and one sentence."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

SKY = tuple(range(0, 128))


@dataclass(frozen=True)
class Preset:
    """`page` of the panel; `knobs` of its form; `train`: fields of `learn-flow`, which then begins."""

    title: str
    sentence: str
    kind: str
    page: int = 0
    knobs: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)


PRESETS = (
    Preset("Temperature 0.7", "Less noise: the likelier pictures, and fewer kinds of them.", "glow", 0, {"temperature": 0.7}),
    Preset("Temperature 1", "The law itself, with all that the flow believes possible.", "glow", 0, {"temperature": 1.0}),
    Preset("No noise at all", "Temperature 0: every sample is the picture in the middle of the law.", "glow", 0, {"temperature": 0.0}),
    Preset("Coarse levels only", "A quarter of the noise, that of the coarser levels: the finest level is at its mean.", "glow", 0,
           {"share": 0.25, "temperature": 0.8}),
    Preset("NICE in grey", "Additive couplings and one scaling, under a logistic prior: softer than Glow.", "nice", 0,
           {"temperature": 1.0}),
    Preset("NICE's widest directions", "A tenth of NICE's directions, the widest of its spectrum: most of a picture is there.", "nice", 0,
           {"share": 0.1, "temperature": 1.0}),
    Preset("Fill in a sky", "The upper half is hidden; the gradient of log p brings a sky back.", "glow", 2, {"hidden": SKY}),
    Preset("Glow without mixing",
           "Nothing between the couplings: half of the channels never move. Runs of 300 updates end at 6.4 bits instead of 5.4.", "glow", 0,
           train={"mixing": "none"}),
    Preset("Glow in 4 steps a level", "A fresh Glow with 1x1 convolutions, to compare with the one without.", "glow", 0,
           train={"mixing": "conv"}),
    Preset("NICE with one coupling",
           "Half of the pixels never hear of the others. Runs of 700 updates end at 7.0 bits, with four couplings at 6.3.", "nice", 0,
           train={"couplings": 1, "lr": 3e-3}),
    Preset("A rate of 10", "The loss is lost; the last good weights are kept, and it is said.", "glow", 0,
           train={"lr": 10.0, "steps": 300}),
)  # fmt: skip
