"""Runners that make control maps: edges, drawn poses, pose files, joints found in a picture, Playworld scenes."""

from __future__ import annotations

import random
from collections.abc import Generator

import numpy as np

from app.jobs.diffusion import RESIZE_MODE_TITLES
from app.jobs.maps import EdgeMap, PlayworldScene, PoseFromJson, PoseFromPicture, PoseMap, PoseToJson
from app.protocol.errors import UserError
from app.protocol.events import Event, Progress
from app.protocol.payloads import Image, Pose, Result
from app.runners import control_maps
from app.runners.control_maps import fit_pose, pose_of, read_pose, write_pose
from app.runners.pictures import read_file, read_picture_file
from app.worker import display
from app.worker.context import Ctx
from models.diffusion import maps
from models.diffusion.openpose import JOINTS
from models.playworld import render
from models.playworld.caption import caption
from models.playworld.edges import edges
from models.playworld.scene import sample_scene

SIZE_SEEN = 128
"""Side of the pictures the joint regressor was trained on."""
MIN_JOINTS = 5
"""A person with fewer sure joints is taken for nobody."""
MIN_SIDE = 8


def edge_map(job: EdgeMap, ctx: Ctx) -> Generator[Event, None, Result]:
    """Canny edges at the size of the map, or the picture itself where it already is one."""
    yield Progress(done=0, note="finding edges")
    picture = _picture(job.image, job.image_file)
    pixels = maps.invert(picture.pixels) if job.invert else picture.pixels
    report = maps.inspect_map(pixels)
    pixels = maps.resize(pixels, job.width, job.height, RESIZE_MODE_TITLES[job.resize_mode])
    low, high = sorted((job.low, job.high))
    if job.already != "yes":
        pixels = np.repeat(maps.canny(pixels, low, high)[..., None], 3, axis=2)  # (H, W, 3)
    question, sentence = _question(job, report)
    label = "edge map, used as it is" if job.already == "yes" else f"canny {low} / {high}"
    facts = {"question": question, "sentence": sentence, "was_map": report.looks_like_map, "blank": not pixels.any()}
    return Result(files={"map.png": Image(pixels=pixels, label=label)}, facts=facts)


def _picture(image: Image | None, path: str) -> Image:
    """The picture a job is about; a sentence if it has none or a speck."""
    if image is None:
        if not path:
            raise UserError("There is no picture.", hint="Open, drop or paste one.")
        image = read_picture_file(path).image
    if min(image.width, image.height) < MIN_SIDE:
        raise UserError(
            f"The picture has only {image.width} x {image.height} pixels.", hint=f"It takes at least {MIN_SIDE} x {MIN_SIDE}."
        )
    return image


def _question(job: EdgeMap, report: maps.MapReport) -> tuple[str, str]:
    """What to ask about the picture, and one sentence."""
    if report.is_pose_map:
        return "", "This is a pose map: use it for a control of the kind Pose."
    if job.already == "yes":
        if report.polarity == "black-on-white":
            return "invert", "The map has dark lines on a bright ground: invert it."
        if not report.looks_like_map:
            return "make-edges", "This does not look like a map: it is a picture, and its edges should be found first."
    elif job.already == "ask" and report.looks_like_map:
        return "already-a-map", "This looks like an edge map already; edges of its lines would be double."
    return "", "; ".join(filter(None, [maps.stretch_note(report.size, job.width, job.height) if job.resize_mode == "just" else ""]))


def pose_map(job: PoseMap, ctx: Ctx) -> Generator[Event, None, Result]:
    """Draw a pose with the reference renderer; an empty pose is an empty map."""
    yield Progress(done=0, note="drawing the pose")
    pose = read_pose(read_file(job.pose_file)) if job.pose is None and job.pose_file else job.pose
    if pose is None:
        raise UserError("There is no pose to draw.", hint="Add a person or load an OpenPose JSON file.")
    if not pose.people or not (fit_pose(pose, job.width, job.height)[..., 2] > 0).any():
        blank = np.zeros((job.height, job.width, 3), np.uint8)
        return Result(files={"map.png": Image(pixels=blank, label="pose map")}, facts={"people": 0})
    drawn = control_maps.pose_map(pose, job.width, job.height, bone_width=job.bone_width or None)
    return Result(files={"map.png": drawn}, facts={"people": len(pose.people)})


def pose_from_json(job: PoseFromJson, ctx: Ctx) -> Generator[Event, None, Result]:
    """Read OpenPose JSON."""
    yield Progress(done=0, note="reading the pose")
    if not job.path and not job.text.strip():
        raise UserError("There is no pose text.", hint="Choose an OpenPose JSON file or paste its text.")
    pose = read_pose(read_file(job.path) if job.path else job.text)
    return Result(files={"pose": pose}, facts={"people": len(pose.people), "notes": _missing_joints(pose)})


def pose_to_json(job: PoseToJson, ctx: Ctx) -> Generator[Event, None, Result]:
    """Write OpenPose JSON."""
    yield Progress(done=0, note="writing the pose")
    if job.pose is None:
        raise UserError("There is no pose to write.", hint="Add a person first.")
    return Result(files={"pose.json": write_pose(job.pose)}, facts={"people": len(job.pose.people)})


def _missing_joints(pose: Pose) -> list[str]:
    """A note a person with joints that are not there."""
    notes = []
    for number, person in enumerate(pose.people, start=1):
        missing = [JOINTS[k] for k, point in enumerate(person.points) if point[2] <= 0]
        if missing:
            notes.append(f"Person {number} has no {', '.join(missing[:6])}{' ...' if len(missing) > 6 else ''}.")
    return notes


def pose_from_picture(job: PoseFromPicture, ctx: Ctx) -> Generator[Event, None, Result]:
    """Find people with the joint regressor: the picture goes into a square, the joints come back out of it."""
    yield Progress(done=0, note="looking for people")
    picture = _picture(job.image, job.image_file)
    square = maps.resize(picture.pixels, SIZE_SEEN, SIZE_SEEN, "Resize and Fill")
    with ctx.zoo.use(f"{job.model}/joints") as regressor:
        x = display.tensor(Image(pixels=square), device=ctx.device).to(ctx.dtype)  # (1, 3, 128, 128) in [-1, 1]
        found = regressor(x)[0].detach().float().cpu().numpy()  # (people, 18, 3) in 0-1
    people = _to_picture(found.astype(np.float64), picture)
    sure = people[..., 2] >= max(job.confidence, 1e-6)
    people[~sure] = 0.0
    people = people[sure.sum(axis=1) >= MIN_JOINTS]
    if not len(people):
        raise UserError("No person was found in the picture.", hint="The regressor knows the people of Playworld pictures.")
    pose = pose_of(people, picture.width, picture.height)
    drawn = control_maps.pose_map(pose, picture.width, picture.height)
    return Result(files={"pose": pose, "map.png": drawn}, facts={"people": len(people), "notes": _missing_joints(pose)})


def _to_picture(people: np.ndarray, picture: Image) -> np.ndarray:
    """Joints (P, 18, 3) in shares of the filled square to pixels of the picture."""
    side = max(picture.width, picture.height)
    people[..., :2] = people[..., :2] * side - (side - np.array([picture.width, picture.height])) / 2
    people[..., 2] = people[..., 2].clip(0, 1)
    return people


def playworld_scene(job: PlayworldScene, ctx: Ctx) -> Generator[Event, None, Result]:
    """Render one scene with everything that is known about it."""
    yield Progress(done=0, note="painting the scene")
    scene = sample_scene(job.seed, job.split)
    text, facts = caption(scene, random.Random(job.seed))
    pixels = render.render(scene, job.size)
    people = render.joints(scene, job.size).astype(np.float64)
    lines = np.repeat(edges(pixels)[..., None], 3, axis=2)  # (H, W, 3)
    files: dict[str, object] = {
        "picture.png": Image(pixels=pixels, label=text, note=f"Playworld scene {job.seed}"),
        "edges.png": Image(pixels=lines, label="canny 100 / 200"),
    }
    if (people[..., 2] > 0).any():
        pose = pose_of(people, job.size, job.size)
        files |= {"pose": pose, "map.png": control_maps.pose_map(pose, job.size, job.size)}
    stated = [" ".join(filter(None, (fact.subject, fact.attribute, fact.value))) for fact in facts]
    return Result(files=files, facts={"caption": text, "facts": stated, "people": len(people)})
