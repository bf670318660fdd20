"""Jobs of the image panel: text to picture under drawn controls, and looking closer at one step.

A job is everything that determines a picture. Two equal `Txt2Img` jobs give equal pixels on the same
machine and dtype, whether or not anybody watches; that is why maps and poses travel inside the job.
Words, ranges and defaults follow the tools people know (AUTOMATIC1111 webui, sd-webui-controlnet).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from app.protocol.encoding import png_pixels
from app.protocol.errors import UserError
from app.protocol.job import Job, check_knobs, knob
from app.protocol.payloads import Image, Person, Pose

ControlKind = Literal["canny", "pose"]
ControlMode = Literal["balanced", "prompt", "control"]
ResizeMode = Literal["just", "crop", "fill"]
ControlSource = Literal["drawn", "file", "picture", "scene"]
SamplerName = Literal["ddpm", "ddim", "euler", "euler_a", "heun", "dpmpp_2m", "dpmpp_2m_sde"]
ScheduleName = Literal["automatic", "karras", "exponential", "sgm_uniform", "linspace", "ddpm"]

#: The names people know, as A1111 writes them into its PNG text.
SAMPLER_TITLES: dict[str, str] = {
    "ddpm": "DDPM",
    "ddim": "DDIM",
    "euler": "Euler",
    "euler_a": "Euler a",
    "heun": "Heun",
    "dpmpp_2m": "DPM++ 2M",
    "dpmpp_2m_sde": "DPM++ 2M SDE",
}
SCHEDULE_TITLES: dict[str, str] = {
    "automatic": "Automatic",
    "karras": "Karras",
    "exponential": "Exponential",
    "sgm_uniform": "SGM Uniform",
    "linspace": "Uniform",
    "ddpm": "DDPM",
}
CONTROL_MODE_TITLES: dict[str, str] = {
    "balanced": "Balanced",
    "prompt": "My prompt is more important",
    "control": "ControlNet is more important",
}
RESIZE_MODE_TITLES: dict[str, str] = {
    "just": "Just Resize",
    "crop": "Crop and Resize",
    "fill": "Resize and Fill",
}
#: What "automatic" stands for: the spacing each sampler is customarily run with.
AUTOMATIC_SCHEDULE: dict[str, str] = {
    "ddpm": "ddpm",
    "ddim": "ddpm",
    "euler": "linspace",
    "euler_a": "linspace",
    "heun": "karras",
    "dpmpp_2m": "karras",
    "dpmpp_2m_sde": "karras",
}
RANDOM_SEED = -1
SAMPLES = Path(__file__).resolve().parents[2] / "assets" / "samples"
MAX_SEED = 2**32 - 1


@dataclass(frozen=True, kw_only=True)
class Control:
    """One drawn wish: a map, how strongly and during which part of the run it is obeyed.

    `image` is the map itself (white lines on black, or a drawn skeleton); `pose` is drawn by the reference
    renderer when the run starts. `image_file` / `pose_file` are read then too, for the command line.
    """

    kind: ControlKind = knob("canny", title="Control Type", help="What the map holds: edges or a skeleton.")
    enabled: bool = knob(True, title="Enable", help="Whether the control acts at all.")
    image: Image | None = knob(None, title="The map of a control")
    pose: Pose | None = knob(None, title="The pose of a control")
    image_file: str = knob("", title="Map file")
    pose_file: str = knob("", title="Pose file")
    weight: float = knob(1.0, lo=0.0, hi=2.0, step=0.05, title="Control Weight", help="How strongly the map is obeyed.")
    start: float = knob(0.0, lo=0.0, hi=1.0, step=0.01, title="Starting Control Step", help="Share of the steps without it before.")
    end: float = knob(1.0, lo=0.0, hi=1.0, step=0.01, title="Ending Control Step", help="Share of the steps after which it ends.")
    mode: ControlMode = knob("balanced", title="Control Mode", help="Which half of the guidance it acts on.")
    resize_mode: ResizeMode = knob("crop", title="Resize Mode", help="How a map of another size is fitted.")
    invert: bool = knob(False, title="Invert", help="For maps with dark lines on a bright ground.")
    source: ControlSource = knob("drawn", title="Source of the map")

    def __post_init__(self) -> None:
        check_knobs(self)
        if self.start > self.end:
            raise UserError(
                f"The {self.kind} control starts at {self.start:g}, after its end at {self.end:g}.",
                hint="Move the start before the end.",
            )

    @classmethod
    def from_text(cls, text: str) -> Control:
        """Read the command line form `kind=canny,image=map.png,weight=1.0,start=0,end=1`."""
        names = {"image": "image_file", "pose": "pose_file", "resize": "resize_mode"}
        values: dict[str, object] = {"source": "file"}
        for part in filter(None, (piece.strip() for piece in text.split(","))):
            key, equals, value = part.partition("=")
            key = names.get(key.strip(), key.strip())
            if not equals or key not in _READABLE:
                known = "kind, image, pose, weight, start, end, mode, resize, invert, enabled"
                raise UserError(f"--control does not understand {part!r}.", hint=f"Write key=value with {known}.")
            values[key] = _READABLE[key](key, value.strip())
        return cls(**values)  # type: ignore[arg-type]


def _number(key: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise UserError(f"--control: {key} has to be a number, not {value!r}.", hint=f"For example {key}=1.0") from None


def _flag(key: str, value: str) -> bool:
    if value.lower() in ("1", "true", "yes", "on"):
        return True
    if value.lower() in ("0", "false", "no", "off"):
        return False
    raise UserError(f"--control: {key} has to be true or false, not {value!r}.", hint=f"For example {key}=true")


def _word(key: str, value: str) -> str:
    return value


_READABLE = {
    **dict.fromkeys(("kind", "image_file", "pose_file", "mode", "resize_mode"), _word),
    **dict.fromkeys(("weight", "start", "end"), _number),
    **dict.fromkeys(("enabled", "invert"), _flag),
}


def controlled_steps(start: float, end: float, steps: int) -> range:
    """The steps (from 0) a control acts on: step i of N unless i/N < start or (i+1)/N > end (diffusers' rule)."""
    active = [i for i in range(steps) if not (i / steps < start or (i + 1) / steps > end)]
    return range(active[0], active[-1] + 1) if active else range(0)


@dataclass(frozen=True, kw_only=True)
class Txt2Img(Job):
    """Text to image with a latent diffusion model, steered by edge maps and poses."""

    name: ClassVar[str] = "txt2img"

    prompt: str = knob(
        "a person waving beside a red house, day sky, grass",
        multiline=True,
        top=True,
        title="Prompt",
        help="What the picture shall show; empty draws whatever the model likes.",
    )
    negative_prompt: str = knob(
        "",
        multiline=True,
        title="Negative prompt",
        help="What it shall not show: takes the place of the empty prompt in classifier-free guidance.",
    )
    sampler: SamplerName = knob("dpmpp_2m", title="Sampler", help="The rule that turns predictions into the next x_t.")
    schedule: ScheduleName = knob(
        "automatic", title="Schedule type", help="Where the noise levels lie; automatic is the sampler's customary one."
    )
    steps: int = knob(20, lo=1, hi=150, top=True, title="Sampling steps", help="Noise levels walked through.")
    cfg_scale: float = knob(
        4.5,
        lo=1.0,
        hi=30.0,
        step=0.5,
        live=True,
        top=True,
        title="CFG Scale",
        help="How far the prediction is pushed from the negative prompt towards the prompt; 1 is no push.",
    )
    seed: int = knob(RANDOM_SEED, lo=-1, hi=MAX_SEED, widget="seed", title="Seed", help="Start of all noise; -1 draws one.")
    width: int = knob(128, lo=64, hi=1024, step=8, unit="px", title="Width", help="The built-in model is at home at 128.")
    height: int = knob(128, lo=64, hi=1024, step=8, unit="px", title="Height", help="The built-in model is at home at 128.")
    batch_count: int = knob(
        1, lo=1, hi=16, title="Batch count", help="Pictures made one after another with seed, seed + 1, ..."
    )
    eta: float = knob(0.0, lo=0.0, hi=1.0, step=0.05, advanced=True, title="Eta", help="DDIM only: 0 adds no noise, 1 as DDPM.")
    control: tuple[Control, ...] = knob(
        (), title="Controls", help="Maps to obey; on the command line kind=canny,image=map.png,weight=1.0,start=0,end=1."
    )
    cfg_curve: tuple[float, ...] = knob(
        (), advanced=True, title="CFG curve", help="One CFG scale a step instead of a single one; empty: not used."
    )
    keep_steps: bool = knob(
        False, advanced=True, title="Keep steps", help="Also decode x_t and x0 of every step with the full VAE."
    )
    model: str = knob("playworld", advanced=True, title="Model", help="Family of weights in the catalog.")
    gallery: str = knob("", advanced=True, title="Gallery folder", help="Finished pictures are also saved here; empty: not.")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("width", "height"):
            value = getattr(self, name)
            if value % 8:
                raise UserError(
                    f"The {name} is {value}, which 8 does not divide.", hint=f"The nearest that works is {_nearest_8(value)}."
                )
        for value in self.cfg_curve:
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 1.0 <= value <= 30.0:
                raise UserError(f"A value of the CFG curve is {value!r}.", hint="Every value has to lie from 1 to 30.")
        if self.cfg_curve and len(self.cfg_curve) != self.steps:
            raise UserError(
                f"The CFG curve has {len(self.cfg_curve)} values for {self.steps} steps.", hint="Give one value a step."
            )

    @classmethod
    def cli_field(cls, name: str, text: str) -> object:
        """One `--control kind=canny,image=map.png,...` of the command line."""
        return Control.from_text(text) if name == "control" else NotImplemented

    @property
    def schedule_used(self) -> str:
        """The schedule type with "automatic" resolved."""
        return AUTOMATIC_SCHEDULE[self.sampler] if self.schedule == "automatic" else self.schedule

    def with_seed(self, seed: int) -> Txt2Img:
        """The same job with a definite seed."""
        return replace(self, seed=seed)


def demo_job() -> Txt2Img:
    """A fixed picture under both controls, from a scene never trained on: the demonstration without a window."""
    edges = Image(pixels=png_pixels((SAMPLES / "demo-edges.png").read_bytes()), label="edges of a Playworld scene")
    found = json.loads((SAMPLES / "demo-pose.json").read_text(encoding="utf-8"))
    numbers = found["people"][0]["pose_keypoints_2d"]
    person = Person(points=tuple(zip(numbers[0::3], numbers[1::3], numbers[2::3], strict=True)))
    pose = Pose(people=(person,), width=found["canvas_width"], height=found["canvas_height"])
    return Txt2Img(
        prompt="a person waving in a green shirt and a green hat beside a red house, day sky, grass",
        seed=2,
        control=(
            Control(kind="canny", image=edges, end=0.8, source="scene"),
            Control(kind="pose", pose=pose, source="scene"),
        ),
        keep_steps=True,
    )


def _nearest_8(value: int) -> int:
    return min(1024, max(64, round(value / 8) * 8))


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """Payload of channel "step": one denoising step of one picture, small enough to keep them all.

    `x_t` (the scaled latent x / sqrt(1 + sigma^2), as SD shows it), `x0` and `eps` are uint8 thumbnails made
    with the linear latent-to-RGB map. `x` and `x0_latent` are the latents themselves, (4, h, w), in sigma
    space, so that `DecodeLatent` can decode this very frame with the full VAE; None when the film would
    outgrow its budget. `index` counts from 0 inside the picture, `picture` inside the batch.
    """

    picture: int
    index: int
    total: int
    sigma: float
    sigma_next: float
    t: float
    seconds: float
    cfg_scale: float
    active_controls: tuple[int, ...]
    x_t: Image
    x0: Image
    eps: Image
    x: np.ndarray | None = field(default=None, compare=False)
    x0_latent: np.ndarray | None = field(default=None, compare=False)

    @property
    def nbytes(self) -> int:
        """Bytes held by the arrays of this record."""
        arrays = [self.x_t.pixels, self.x0.pixels, self.eps.pixels, self.x, self.x0_latent]
        return sum(a.nbytes for a in arrays if a is not None)


@dataclass(frozen=True, kw_only=True)
class PictureRecord:
    """Payload of channel "picture": one finished picture of the batch, with the job that makes it alone."""

    picture: int
    image: Image
    seed: int
    job: Txt2Img
    saved_as: str = ""
    save_error: str = ""


@dataclass(frozen=True, kw_only=True)
class CheckControls(Job):
    """Say before a run, in one sentence a control, what each will do or why it will not run."""

    name: ClassVar[str] = "check-controls"

    txt2img: Txt2Img = field(default_factory=Txt2Img)


@dataclass(frozen=True, kw_only=True)
class DecodeLatent(Job):
    """Decode one kept latent with the full VAE: exactly the picture that this step held.

    `lens` says which of the three views of a step it is: "xt" (x is divided by sqrt(1 + sigma^2) first),
    "x0", or "eps" ((x - x0) / sigma; needs both latents).
    """

    name: ClassVar[str] = "decode-latent"

    x: np.ndarray | None = field(default=None, compare=False)
    x0: np.ndarray | None = field(default=None, compare=False)
    sigma: float = 0.0
    lens: Literal["xt", "x0", "eps"] = "x0"
    caption: str = ""
    model: str = "playworld"

    @classmethod
    def of(cls, record: StepRecord, lens: Literal["xt", "x0", "eps"] = "x0", model: str = "playworld") -> DecodeLatent:
        """The job that decodes one lens of a kept step."""
        if record.x0_latent is None:
            raise UserError(
                "The latent of this step was not kept, because the film would have outgrown its memory.",
                hint="Run fewer steps or a smaller picture, or tick Keep steps.",
            )
        caption = f"step {record.index + 1} of {record.total}, sigma {record.sigma:.3g}"
        return cls(x=record.x, x0=record.x0_latent, sigma=record.sigma, lens=lens, caption=caption, model=model)
