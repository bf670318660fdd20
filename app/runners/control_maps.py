"""From a `Control` of a job to the map its network is given, with everything that can be said beforehand.

Most complaints about controls are about silence: a map processed twice, the wrong polarity, a stretched or
missing map, a range that covers no step. All of it is checked here, before a run, and put into words.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from app.jobs.diffusion import RESIZE_MODE_TITLES, Control
from app.protocol.errors import UserError
from app.protocol.payloads import Image, Person, Pose
from app.runners.pictures import read_file, read_picture_file
from models.diffusion import maps, openpose
from models.diffusion.guidance import control_steps, covered

MIN_LINE = 16
"""Of 255: fainter than this is no line, however much a map was shrunk."""


@dataclass(frozen=True, kw_only=True)
class ControlPlan:
    """What one control will do. `problem` is the sentence why it cannot run, `question` the button that would help."""

    control: Control
    map: Image | None = None
    steps: range = range(0)
    covers: str = ""
    notes: tuple[str, ...] = ()
    problem: str = ""
    hint: str = ""
    question: str = ""

    @property
    def active(self) -> bool:
        """Does it act on any step?"""
        return self.control.enabled and not self.problem and self.control.weight > 0 and len(self.steps) > 0

    @property
    def sentence(self) -> str:
        """What the row of this control says."""
        if not self.control.enabled:
            return "Switched off."
        if self.problem:
            return self.problem
        if self.control.weight == 0:
            return "Weight 0: it changes nothing."
        return " ".join([f"Acts on {self.covers}.", *self.notes])

    def as_dict(self) -> dict[str, object]:
        """For the result and the panel; JSON-able."""
        steps = [self.steps[0], self.steps[-1]] if self.steps else []
        words = {"kind": self.control.kind, "active": self.active, "sentence": self.sentence, "covers": self.covers}
        return words | {"steps": steps, "notes": list(self.notes), "question": self.question, "hint": self.hint}


def plan_control(control: Control, width: int, height: int, sigmas: list[float]) -> ControlPlan:
    """Resolve one control for a picture of width x height; whatever is wrong becomes `problem`, never an exception."""
    steps = control_steps(control.start, control.end, len(sigmas) - 1)
    plan = ControlPlan(control=control, steps=steps, covers=covered(control.start, control.end, sigmas))
    if not control.enabled:
        return plan
    try:
        control = load_files(control)
        if not steps:
            raise UserError(
                f"From {control.start:g} to {control.end:g} it covers no step of {len(sigmas) - 1}.",
                hint="Widen its range or take more steps.",
            )
        drawn, notes = control_map(control, width, height)
    except UserError as error:
        return replace(plan, problem=error.message, hint=error.hint, question=_question(control, error))
    return replace(plan, control=control, map=drawn, notes=notes)


def _question(control: Control, error: UserError) -> str:
    """Which button would help: "invert", "make-edges", or none."""
    if control.image is None or control.kind != "canny" or isinstance(error.hint, str) and not error.hint:
        return ""
    report = maps.inspect_map(control.image.pixels)
    if report.polarity == "black-on-white":
        return "invert"
    return "" if report.looks_like_map else "make-edges"


def load_files(control: Control) -> Control:
    """The same control with the files it names read in."""
    if control.image is None and control.image_file:
        control = replace(control, image=read_picture_file(control.image_file).image, image_file="")
    if control.pose is None and control.pose_file:
        control = replace(control, pose=read_pose(read_file(control.pose_file)), pose_file="")
    return control


def control_map(control: Control, width: int, height: int) -> tuple[Image, tuple[str, ...]]:
    """The map at the size of the picture, and notes. Raises UserError if there is none or it is not one."""
    if control.kind == "pose" and control.pose is not None:
        return pose_map(control.pose, width, height, control.resize_mode), _off_canvas(control.pose)
    if control.image is None:
        raise UserError(
            f"The {control.kind} control has no map.",
            hint="Draw one or load one." if control.kind == "canny" else "Draw a pose or load one.",
        )
    pixels = control.image.pixels
    if control.invert and control.kind == "canny":
        pixels = maps.invert(pixels)
    _refuse_unfit(control, pixels)
    notes = []
    size = (control.image.width, control.image.height)
    if size != (width, height):
        if control.resize_mode == "just" and maps.stretch_note(size, width, height):
            notes.append(f"The map is stretched from {size[0]} x {size[1]} to {width} x {height}.")
        else:
            notes.append(f"The map is resized from {size[0]} x {size[1]} to {width} x {height}.")
        pixels = resize_map(pixels, width, height, control)
    label = f"{control.kind} map"
    return Image(pixels=pixels, label=label, note="as the control network sees it"), tuple(notes)


def _refuse_unfit(control: Control, pixels: np.ndarray) -> None:
    """UserError if the picture is not the kind of map its network learned."""
    against = maps.check_map(pixels, control.kind, pixels.shape[1], pixels.shape[0])
    if not against:
        return
    if control.invert and maps.inspect_map(pixels).polarity == "black-on-white":
        raise UserError("Inverted, the map has dark lines on a bright ground.", hint="Untick Invert.")
    hints = {"invert it": "Tick Invert.", "edges first": "Turn the picture into edges.", "kind Pose": "Set the kind to pose."}
    hint = next((text for words, text in hints.items() if words in against[0]), "Draw or load another map.")
    raise UserError(against[0], hint=hint)


def resize_map(pixels: np.ndarray, width: int, height: int, control: Control) -> np.ndarray:
    """`maps.resize`; the lines of a shrunken edge map, thinned to grey by it, become white again."""
    small = maps.resize(pixels, width, height, RESIZE_MODE_TITLES[control.resize_mode])
    if control.kind != "canny":
        return small
    shrink = max(1.0, pixels.shape[1] / width, pixels.shape[0] / height)
    threshold = max(MIN_LINE, 127 / shrink)
    lines = small.max(axis=2) >= threshold  # (H, W)
    return np.repeat(np.where(lines, 255, 0).astype(np.uint8)[..., None], 3, axis=2)


# --- poses ---------------------------------------------------------------------------------------------


def pose_map(pose: Pose, width: int, height: int, mode: str = "crop", bone_width: float | None = None) -> Image:
    """The pose as the reference renderer draws it, laid onto a picture of width x height."""
    people = fit_pose(pose, width, height, mode)
    seen = people[..., 2] > 0
    x, y = people[..., 0], people[..., 1]
    if not seen.any():
        raise UserError("The pose is empty: no joint is visible.", hint="Add a person or show its joints.")
    if not (seen & (x >= 0) & (x < width) & (y >= 0) & (y < height)).any():
        raise UserError("The whole pose lies outside the picture.", hint="Move it back onto the canvas.")
    pixels = openpose.draw_pose(people, width, height, bone_width)
    return Image(pixels=pixels, label="pose map", note="drawn by the reference renderer")


def pose_array(pose: Pose) -> np.ndarray:
    """(P, 18, 3) float64 of a pose, in pixels of its own canvas."""
    return np.array([person.points for person in pose.people], np.float64).reshape(-1, 18, 3)


def pose_of(people: np.ndarray, width: int, height: int) -> Pose:
    """A pose from (P, 18, 3) in pixels; joints of confidence 0 become 0, 0, 0."""
    people = np.where(people[..., 2:] > 0, people, 0.0)
    persons = tuple(Person(points=tuple(tuple(map(float, point)) for point in person)) for person in people)
    return Pose(people=persons, width=width, height=height)


def fit_pose(pose: Pose, width: int, height: int, mode: str = "crop") -> np.ndarray:
    """The joints (P, 18, 3) moved from the pose's canvas to width x height as a picture would be by that mode."""
    people = pose_array(pose)
    scale = np.array([width / max(1, pose.width), height / max(1, pose.height)])
    if mode != "just":
        scale[:] = scale.max() if mode == "crop" else scale.min()
    offset = (np.array([width, height]) - scale * (pose.width, pose.height)) / 2
    people[..., :2] = people[..., :2] * scale + offset
    return people


def read_pose(text: bytes | str, width: int | None = None, height: int | None = None) -> Pose:
    """OpenPose JSON of any variant; UserError with the sentence of the parser."""
    try:
        found = openpose.parse_pose(text, width, height)
    except openpose.PoseFormatError as error:
        raise UserError(str(error), hint="Load an OpenPose JSON file.") from None
    return pose_of(found.people, found.width, found.height)


def write_pose(pose: Pose) -> str:
    """OpenPose JSON text."""
    return openpose.pose_json(pose_array(pose), pose.width, pose.height) + "\n"


def _off_canvas(pose: Pose) -> tuple[str, ...]:
    """A note when visible joints lie outside the canvas of the pose."""
    people = pose_array(pose)
    x, y, seen = people[..., 0], people[..., 1], people[..., 2] > 0
    outside = int((seen & ((x < 0) | (y < 0) | (x >= pose.width) | (y >= pose.height))).sum())
    return (f"{outside} of its joints lie outside the canvas.",) if outside else ()
