"""Jobs on the flows of small pictures: what an invertible model of pictures can do.

`flow-tiles` gives Records "facts", "samples", "interpolation" and "inpainting" (Image: rows of 16-pixel tiles), and Previews "inpainting"
while it climbs; facts are bits per dimension on validation scenes, the inverse error, log densities.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from app.protocol.job import Job, knob


@dataclass(frozen=True, kw_only=True)
class FlowTiles(Job):
    """Samples, interpolations and inpainted pictures of a trained flow on tiles."""

    kind: Literal["glow", "nice"] = knob("glow", top=True, help="Which flow: Glow in colour, NICE in grey.")
    temperature: float = knob(0.7, lo=0.0, hi=2.0, top=True, help="Size of the noise of the samples; below 1 the likelier pictures.")
    samples: int = knob(64, lo=1, hi=1024, help="Pictures drawn.")
    scenes: int = knob(64, lo=2, hi=4096, help="Validation scenes that bits and inverse error are measured on.")
    rows: int = knob(6, lo=1, hi=32, help="Rows of interpolations and of inpainted pictures.")
    columns: int = knob(9, lo=3, hi=33, title="Steps between", help="Pictures from one scene to the other, both included.")
    hidden: Literal["left", "right", "top", "bottom", "middle"] = knob("bottom", help="Part that is filled in by gradient ascent on log p.")
    climb: int = knob(60, lo=1, hi=5000, title="Ascent steps", help="Steps of the gradient ascent.")
    seed: int = knob(0, lo=0, hi=2**31 - 1, help="Seed of the noise; scenes stay the same.")
