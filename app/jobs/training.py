"""Training jobs of the built-in models: resumable, seeded, the same on a CPU and on CUDA.

Each draws its scenes into a bank under `folder`, keeps a checkpoint there and goes on from it when started again. With `install` the
averaged weights are written, in fp16, where the program looks for its built-in models. Order: vae, clip, unet, then the controls; the
judges need none of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from app.protocol.job import Job, knob


@dataclass(frozen=True, kw_only=True)
class Training(Job):
    """What all trainings share."""

    grad: ClassVar[bool] = True
    interactive: ClassVar[bool] = False

    steps: int = knob(1000, lo=1, hi=10_000_000, top=True, help="Updates in all; a resumed run counts those it has made.")
    batch_size: int = knob(32, lo=1, hi=4096, help="Pictures an update sees.")
    lr: float = knob(1e-3, lo=1e-7, hi=1.0, title="Learning rate", help="Peak rate of AdamW, after 100 steps of warm-up.")
    cooldown: float = knob(0.25, lo=0.0, hi=1.0, help="Share of the updates, at the end, over which the rate falls to zero.")
    ema: float = knob(
        0.999, lo=0.0, hi=0.99999, title="Average", help="Memory of the running average of the weights that is kept in the end."
    )
    seed: int = knob(0, lo=0, hi=2**31, help="Decides scenes, captions, noise and first weights.")
    bf16: bool = knob(True, title="bfloat16", help="Compute in bfloat16 where that is safe.")
    folder: str = knob("", help="Where bank and checkpoint lie; empty: the user's own data folder.")
    go_on: bool = knob(
        False,
        title="Go on from the built-in weights",
        help="Start from the installed weights instead of fresh ones (a checkpoint in the folder still comes first).",
    )
    install: bool = knob(False, help="Write the averaged weights where the program looks for its built-in models.")


@dataclass(frozen=True, kw_only=True)
class PictureTraining(Training):
    """What all trainings on pictures of Playworld share."""

    scenes: int = knob(32768, lo=512, hi=10_000_000, help="Different scenes in the bank.")


@dataclass(frozen=True, kw_only=True)
class TrainVae(PictureTraining):
    """Autoencoder of the built-in Stable Diffusion."""

    steps: int = knob(5000, lo=1, hi=10_000_000, top=True, help="Updates in all; a resumed run counts those it has made.")
    batch_size: int = knob(16, lo=4, hi=4096, help="Half-size windows an update sees; whole pictures, a quarter as many, in the cool-down.")
    lr: float = knob(1.5e-3, lo=1e-7, hi=1.0, title="Learning rate", help="Peak rate of AdamW, after 100 steps of warm-up.")
    decoder_only: bool = knob(False, help="Keep the encoder, and so the latents that a UNet learned, and improve the decoder alone.")


@dataclass(frozen=True, kw_only=True)
class TrainClip(PictureTraining):
    """Text tower (stage words), then the picture tower that agrees with it (stage pictures)."""

    stage: Literal["words", "pictures"] = knob(
        "pictures", help="words: a fresh text tower learns to read; pictures: the installed text tower stays, the picture tower learns."
    )
    batch_size: int = knob(128, lo=2, hi=4096, help="Pairs an update sees, each with a wrong caption beside it.")


@dataclass(frozen=True, kw_only=True)
class TrainUnet(PictureTraining):
    """UNet on the latents of the autoencoder and the text states of the text tower."""

    batch_size: int = knob(64, lo=1, hi=4096, help="Pictures an update sees.")
    lr: float = knob(6e-4, lo=1e-7, hi=1.0, title="Learning rate", help="Peak rate of AdamW, after 100 steps of warm-up.")


@dataclass(frozen=True, kw_only=True)
class TrainControl(PictureTraining):
    """ControlNet of one kind beside the frozen UNet."""

    kind: Literal["canny", "pose"] = knob("canny", help="What the hint shows.")
    lr: float = knob(4e-4, lo=1e-7, hi=1.0, title="Learning rate", help="Peak rate of AdamW, after 100 steps of warm-up.")


@dataclass(frozen=True, kw_only=True)
class TrainJudge(PictureTraining):
    """Fact classifier or joint regressor, on renders only."""

    kind: Literal["facts", "joints"] = knob("facts", help="Which judge.")


@dataclass(frozen=True, kw_only=True)
class TrainFlow(PictureTraining):
    """Normalizing flow on whole scenes 16 pixels wide: Glow in colour, NICE in grey; the loss is bits per dimension."""

    kind: Literal["glow", "nice"] = knob("glow", top=True, help="Which flow.")
    steps: int = knob(10_000, lo=1, hi=10_000_000, top=True, help="Updates in all; a resumed run counts those it has made.")
    batch_size: int = knob(64, lo=1, hi=4096, help="Pictures an update sees.")
    bf16: bool = knob(False, title="bfloat16", help="Compute in bfloat16; off, the likelihood is exact to seven digits.")
    device: Literal["cpu"] = knob("cpu", advanced=True, help="Flows of small pictures are trained by the processor.")
    validation: int = knob(1024, lo=0, hi=100_000, title="Validation scenes", help="Unseen scenes whose bits are told in the end; 0: none.")
