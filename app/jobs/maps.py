"""Jobs that make control maps: edges from a picture, skeletons from a pose, poses from JSON or a picture.

All are short and meant to be submitted with policy "follow" under a dragged slider. A map is white lines
on black, uint8 (H, W, 3); a pose is points in pixels of its own width x height.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from app.jobs.diffusion import ResizeMode
from app.protocol.job import Job, knob
from app.protocol.payloads import Image, Pose


@dataclass(frozen=True, kw_only=True)
class EdgeMap(Job):
    """Turn a picture into a canny map of the asked size; `already` keeps a picture that is a map as it is."""

    name: ClassVar[str] = "edge-map"

    image: Image | None = field(default=None)
    image_file: str = ""
    low: int = knob(100, lo=1, hi=255, title="Low Threshold", help="Weaker gradients than this are never edges.")
    high: int = knob(200, lo=1, hi=255, title="High Threshold", help="Stronger gradients than this always are.")
    width: int = knob(128, lo=8, hi=4096, unit="px", title="Width", help="Width of the map.")
    height: int = knob(128, lo=8, hi=4096, unit="px", title="Height", help="Height of the map.")
    resize_mode: ResizeMode = knob("crop", title="Resize Mode", help="How the picture meets the size of the map.")
    invert: bool = knob(False, title="Invert", help="For drawings with dark lines on a bright ground.")
    already: Literal["ask", "yes", "no"] = knob(
        "ask", title="Already a map", help="yes: use as it is; no: detect edges; ask: detect, and say if it looks like one."
    )


@dataclass(frozen=True, kw_only=True)
class PoseMap(Job):
    """Draw a pose with the reference renderer: the picture the pose control is given."""

    name: ClassVar[str] = "pose-map"

    pose: Pose | None = field(default=None)
    pose_file: str = ""
    width: int = knob(128, lo=8, hi=4096, unit="px", title="Width", help="Width of the map.")
    height: int = knob(128, lo=8, hi=4096, unit="px", title="Height", help="Height of the map.")
    bone_width: float = knob(
        0.0, lo=0.0, hi=64.0, unit="px", title="Bone width", help="Thickness of the limbs; 0 scales it with the size."
    )


@dataclass(frozen=True, kw_only=True)
class PoseFromJson(Job):
    """Read OpenPose JSON (a file, or the text itself) in any of its variants."""

    name: ClassVar[str] = "pose-from-json"

    path: str = ""
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class PoseToJson(Job):
    """Write a pose as OpenPose JSON text."""

    name: ClassVar[str] = "pose-to-json"

    pose: Pose | None = field(default=None)


@dataclass(frozen=True, kw_only=True)
class PoseFromPicture(Job):
    """Find the joints in a Playworld picture with the trained joint regressor."""

    name: ClassVar[str] = "pose-from-picture"

    image: Image | None = field(default=None)
    image_file: str = ""
    confidence: float = knob(
        0.5, lo=0.0, hi=1.0, step=0.05, title="Confidence", help="Joints the regressor is less sure of are left out."
    )
    model: str = "playworld"


@dataclass(frozen=True, kw_only=True)
class PlayworldScene(Job):
    """One scene of the built-in world by seed: its picture, caption, edge map and joints."""

    name: ClassVar[str] = "playworld-scene"

    seed: int = knob(0, lo=0, hi=2**32 - 1, widget="seed", title="Seed", help="Every number is another scene.")
    size: int = knob(128, lo=64, hi=1024, step=8, unit="px", title="Size", help="Side of the square picture.")
    split: Literal["train", "held-out"] = knob("train", title="Split", help="held-out scenes were never trained on.")
