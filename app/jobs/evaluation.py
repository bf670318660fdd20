"""Measuring jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from app.protocol.job import Job, knob


@dataclass(frozen=True, kw_only=True)
class EvaluateTxt2Img(Job):
    """Measure the built-in models on scenes never trained on: reconstruction, stated facts, edges, joints, each between bounds."""

    interactive: ClassVar[bool] = False

    scenes: int = knob(200, lo=8, hi=10_000, top=True, help="Held-out scenes for facts; half as many for each control.")
    split: Literal["held-out", "validation"] = knob(
        "held-out", help="Settings such as the guidance scale are chosen on validation, figures are told of held-out."
    )
    sampler: Literal["ddim", "euler", "heun", "dpmpp_2m"] = knob("dpmpp_2m", help="Sampler of all pictures.")
    steps: int = knob(20, lo=1, hi=150, title="Sampling steps", help="Steps of all pictures.")
    cfg_scale: float = knob(4.5, lo=1.0, hi=30.0, title="CFG Scale", help="Guidance scale of all pictures.")
    control_weight: float = knob(1.0, lo=0.0, hi=2.0, title="Control Weight", help="Weight of the ControlNets.")
    batch_size: int = knob(16, lo=1, hi=256, help="Pictures drawn at once.")
    seed: int = knob(0, lo=0, hi=2**31, help="Seed of the noise; scene k takes seed + k.")
