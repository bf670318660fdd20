"""Jobs on the flows of small pictures: what an invertible model of pictures can do.

    flow-tiles     Records "facts", "samples", "interpolation", "inpainting" (Image: rows of 16-pixel tiles), Previews "inpainting" while it
                   climbs; facts are bits per dimension on validation scenes, the inverse error, log densities
    flow-facts     Records "tiles": Image, the real pictures to choose from, and "facts"; file "spectrum": Curve (NICE); facts bits per
                   dimension with their standard error, by level, those of the baselines, the inverse error
    flow-samples   file "samples": Image; facts bits per dimension of what was drawn
    flow-between   file "path": Image, two rows (through the noise, and pixels faded over) of `columns`; facts bits of both ways
    flow-fill      Records "fill": FillStep; facts bits of the truth and of the filling
    flow-layers    file "layers": tuple[LayerLook, …]; facts bits, bits of the noise by level
    learn-flow     Records "train": tuple of (update, bits), "moment": LearnMoment, "notice": str; facts bits on scenes never seen
    kept-flows     files "kept": tuple[KeptFlow, …]

The last network that `learn-flow` made of each kind is kept in the person's data folder: `weights="own"` asks for that one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from app.protocol.job import Job, knob

SIZE = 16
"""Pixels of a side."""
REAL = 24
"""Real pictures to choose from; never trained on."""
HERE = "Flows of small pictures are computed by the processor in fp32, since their inverse needs all digits."


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
    device: Literal["cpu"] = knob("cpu", advanced=True, help=HERE)


@dataclass(frozen=True, kw_only=True)
class FlowJob(Job):
    """What all views of one flow share."""

    kind: Literal["glow", "nice"] = knob("glow", top=True, help="Which flow: Glow in colour, NICE in grey.")
    weights: Literal["built-in", "own"] = knob("built-in", top=True, help="The built-in network, or the one last trained here.")
    device: Literal["cpu"] = knob("cpu", advanced=True, help=HERE)


@dataclass(frozen=True, kw_only=True)
class FlowFacts(FlowJob):
    """How well a flow knows scenes that it never saw, beside laws that need no network."""

    scenes: int = knob(128, lo=2, hi=4096, help="Validation scenes that bits and inverse error are measured on.")
    fitted: int = knob(4096, lo=512, hi=65536, help="Training scenes that the baselines are fitted on.")


@dataclass(frozen=True, kw_only=True)
class FlowSamples(FlowJob):
    """Pictures from the same noise at any temperature."""

    temperature: float = knob(0.7, lo=0.0, hi=2.0, top=True, help="Size of the noise; 0 is the middle of the law, 1 the law itself.")
    share: float = knob(
        1.0, lo=0.0, hi=1.0, title="Noise kept", help="Share of the noise's directions that are kept, the most important; others are 0."
    )
    samples: int = knob(48, lo=1, hi=1024, help="Pictures drawn.")
    seed: int = knob(0, lo=0, hi=2**31 - 1, help="Seed of the noise.")


@dataclass(frozen=True, kw_only=True)
class FlowBetween(FlowJob):
    """From one real picture to another, along a straight line in the noise and by fading over pixels."""

    first: int = knob(0, lo=0, hi=REAL - 1, help="Number of the validation scene it begins at.")
    second: int = knob(1, lo=0, hi=REAL - 1, help="And that it ends at.")
    columns: int = knob(25, lo=3, hi=129, help="Pictures of each way, both ends included.")


@dataclass(frozen=True, kw_only=True)
class FlowFill(FlowJob):
    """Fill in hidden pixels of a real picture by climbing log p, with or without noise."""

    tile: int = knob(0, lo=0, hi=REAL - 1, help="Number of the validation scene.")
    hidden: tuple[int, ...] = knob(
        tuple(range(SIZE * SIZE // 2, SIZE * SIZE)), help="Hidden pixels, counted along the rows from 0."
    )
    method: Literal["adam", "ascent", "langevin"] = knob(
        "adam", top=True,
        help="Adam: a step for each pixel. Ascent: along the gradient, only if log p rises. Langevin: with noise.",
    )  # fmt: skip
    steps: int = knob(120, lo=1, hi=5000, top=True, help="Steps.")
    seed: int = knob(0, lo=0, hi=2**31 - 1, help="Seed of the noise that it begins with.")


@dataclass(frozen=True, kw_only=True)
class FlowLayers(FlowJob):
    """One real picture layer by layer, on its way to the noise."""

    tile: int = knob(0, lo=0, hi=REAL - 1, help="Number of the validation scene.")


@dataclass(frozen=True, kw_only=True)
class LearnFlow(Job):
    """Train a fresh flow on tiles and watch what it makes of the same noise; it is kept every few seconds and may be taken up again."""

    grad: ClassVar[bool] = True
    interactive: ClassVar[bool] = False

    kind: Literal["glow", "nice"] = knob("glow", help="Which flow: Glow in colour, NICE in grey.")
    steps: int = knob(1500, lo=1, hi=1_000_000, top=True, title="Updates", help="Of the network.")
    lr: float = knob(2e-3, lo=1e-7, hi=10.0, top=True, title="Learning rate", help="Peak rate of AdamW, after 50 updates of warm-up.")
    mixing: Literal["conv", "reverse", "none"] = knob(
        "conv", top=True, help="Glow, between two couplings: a learned 1x1 convolution, the channels reversed, or nothing."
    )
    depth: int = knob(4, lo=1, hi=16, title="Glow steps a level", help="Actnorm, mixing and coupling, so many times at each of 3 levels.")
    couplings: int = knob(4, lo=1, hi=16, title="NICE couplings", help="Additive couplings before the scaling; NICE needs three.")
    width: int = knob(64, lo=4, hi=256, help="Channels inside Glow's coupling networks; NICE's are four times as wide.")
    batch_size: int = knob(32, lo=1, hi=1024, title="Batch", help="Pictures an update sees.")
    scenes: int = knob(4096, lo=512, hi=65536, help="Different training scenes; drawn once, then kept on disk.")
    temperature: float = knob(0.7, lo=0.0, hi=2.0, live=True, help="Size of the noise of the pictures shown on the way.")
    look_every: float = knob(1.5, lo=0.0, hi=60.0, unit="s", help="Time between two looks at what it makes of the noise.")
    samples: int = knob(48, lo=1, hi=256, help="Pictures a look shows.")
    seed: int = knob(0, lo=0, hi=2**31 - 1, help="First weights, batches, and the noise.")
    resume: bool = knob(False, title="Go on", help="Take up the training of these very settings where it was kept last.")
    device: Literal["cpu"] = knob("cpu", advanced=True, help=HERE)


@dataclass(frozen=True, kw_only=True)
class KeptFlows(Job):
    """The trainings that are kept, the last one of each kind."""
