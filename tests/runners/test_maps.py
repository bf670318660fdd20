"""Control maps: edges, poses in and out, joints from a picture, scenes; and how bad input is told."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from app.cli_output import file_content
from app.jobs.diffusion import Control, demo_job
from app.jobs.maps import EdgeMap, PlayworldScene, PoseFromJson, PoseFromPicture, PoseMap, PoseToJson
from app.protocol.events import Done, Failed
from app.protocol.payloads import Image, Person, Pose
from app.runners import control_maps
from models.diffusion.openpose import draw_pose
from models.playworld.render import joints
from models.playworld.scene import sample_scene

WAVING = demo_job().control[1].pose


def result(events):
    last = events[-1]
    assert isinstance(last, Done), getattr(last, "report", last)
    return last.result


def refused(events) -> str:
    last = events[-1]
    assert isinstance(last, Failed) and last.report.kind == "user", last
    return last.report.title


@pytest.fixture(scope="module")
def picture():
    from models.playworld.render import render

    return Image(pixels=render(sample_scene(4), 128))


# --- edges ---------------------------------------------------------------------------------------------


def test_edges_are_canny_of_the_picture(drive, picture):
    done = result(drive(EdgeMap(image=picture, low=80, high=160)))
    expected = cv2.Canny(cv2.cvtColor(picture.pixels, cv2.COLOR_RGB2GRAY), 80, 160)
    assert np.array_equal(done.files["map.png"].pixels, np.repeat(expected[..., None], 3, axis=2))
    assert done.facts["question"] == "" and not done.facts["was_map"] and not done.facts["blank"]


def test_thresholds_the_wrong_way_round_are_put_right(drive, picture):
    turned = result(drive(EdgeMap(image=picture, low=200, high=100))).files["map.png"]
    assert turned.sha256 == result(drive(EdgeMap(image=picture))).files["map.png"].sha256


def test_thresholds_matter(drive, picture):
    few = result(drive(EdgeMap(image=picture, low=240, high=255))).files["map.png"].pixels.sum()
    many = result(drive(EdgeMap(image=picture, low=20, high=40))).files["map.png"].pixels.sum()
    assert few < many


def test_a_map_is_not_processed_a_second_time_unasked(drive, picture):
    edges = result(drive(EdgeMap(image=picture))).files["map.png"]
    asked = result(drive(EdgeMap(image=edges)))
    assert asked.facts["question"] == "already-a-map"
    kept = result(drive(EdgeMap(image=edges, already="yes")))
    assert kept.files["map.png"].sha256 == edges.sha256 and kept.facts["question"] == ""
    assert result(drive(EdgeMap(image=edges, already="no"))).facts["question"] == ""


def test_dark_lines_on_bright_ground_are_noticed_and_inverted(drive, picture):
    edges = result(drive(EdgeMap(image=picture))).files["map.png"]
    ink = Image(pixels=255 - edges.pixels)
    assert result(drive(EdgeMap(image=ink, already="yes"))).facts["question"] == "invert"
    turned = result(drive(EdgeMap(image=ink, already="yes", invert=True)))
    assert turned.files["map.png"].sha256 == edges.sha256 and turned.facts["question"] == ""


def test_a_picture_used_as_a_map_is_questioned(drive, picture):
    assert result(drive(EdgeMap(image=picture, already="yes"))).facts["question"] == "make-edges"


def test_every_resize_mode_gives_the_asked_size(drive, picture):
    jobs = [EdgeMap(image=picture, width=96, height=64, resize_mode=mode) for mode in ("just", "crop", "fill")]
    images = [result(drive(job)).files["map.png"] for job in jobs]
    assert all((image.width, image.height) == (96, 64) for image in images)
    assert len({image.sha256 for image in images}) == 3
    assert "stretched" in result(drive(EdgeMap(image=picture, width=96, height=64, resize_mode="just"))).facts["sentence"]


def test_edges_of_nothing_are_refused(drive, tmp_path):
    assert "no picture" in refused(drive(EdgeMap()))
    assert "1 x 1" in refused(drive(EdgeMap(image=Image(pixels=np.zeros((1, 1, 3), np.uint8)))))
    fake = tmp_path / "notes.png"
    fake.write_text("this is a text")
    assert "notes.png is a text file" in refused(drive(EdgeMap(image_file=str(fake))))


# --- poses ---------------------------------------------------------------------------------------------


def test_a_pose_map_is_the_reference_drawing(drive):
    drawn = result(drive(PoseMap(pose=WAVING))).files["map.png"].pixels
    expected = draw_pose(np.array([WAVING.people[0].points]), 128, 128)
    assert np.array_equal(drawn, expected) and drawn.any()
    assert not np.array_equal(result(drive(PoseMap(pose=WAVING, bone_width=3.0))).files["map.png"].pixels, drawn)


def test_poses_are_fitted_like_pictures():
    pose = Pose(people=(Person(points=tuple((100.0, 50.0, 1.0) for _ in range(18))),), width=200, height=100)
    assert control_maps.fit_pose(pose, 100, 100, "just")[0, 0].tolist() == [50, 50, 1]
    assert control_maps.fit_pose(pose, 100, 100, "crop")[0, 0].tolist() == [50, 50, 1]
    corner = replace(pose, people=(Person(points=tuple((0.0, 0.0, 1.0) for _ in range(18))),))
    assert control_maps.fit_pose(corner, 100, 100, "just")[0, 0].tolist() == [0, 0, 1]
    assert control_maps.fit_pose(corner, 100, 100, "crop")[0, 0].tolist() == [-50, 0, 1]
    assert control_maps.fit_pose(corner, 100, 100, "fill")[0, 0].tolist() == [0, 25, 1]


def test_an_empty_pose_is_an_empty_map(drive):
    done = result(drive(PoseMap(pose=Pose(people=(), width=64, height=64), width=64, height=64)))
    assert not done.files["map.png"].pixels.any() and done.facts["people"] == 0
    assert "no pose" in refused(drive(PoseMap()))


def test_json_there_and_back(drive, tmp_path):
    text = result(drive(PoseToJson(pose=WAVING))).files["pose.json"]
    assert json.loads(text)["canvas_width"] == 128
    assert result(drive(PoseFromJson(text=text))).files["pose"] == WAVING
    path = tmp_path / "pose.json"
    path.write_text(text)
    assert result(drive(PoseFromJson(path=str(path)))).files["pose"] == WAVING
    path.write_text(file_content(WAVING)[1])  # what the command line writes is the same document
    assert result(drive(PoseFromJson(path=str(path)))).files["pose"] == WAVING
    control = control_maps.load_files(Control(kind="pose", pose_file=str(path)))
    assert control.pose == WAVING and control.pose_file == ""


def test_missing_joints_are_named(drive):
    points = [list(point) for point in WAVING.people[0].points]
    points[16] = [0, 0, 0]
    document = {"people": [{"pose_keypoints_2d": sum(points, [])}], "canvas_width": 128, "canvas_height": 128}
    done = result(drive(PoseFromJson(text=json.dumps(document))))
    assert done.files["pose"].people[0].points[16] == (0.0, 0.0, 0.0)
    assert done.facts["notes"] == ["Person 1 has no right ear."]


BAD_POSES = (
    "", "  ", "{", "[]", "{}", '{"people": []}', '{"people": [{"pose_keypoints_2d": [1, 2]}]}',
    '{"people": [{"pose_keypoints_2d": [NaN' + ", 1" * 53 + "]}]}",
    '{"people": [{"pose_keypoints_2d": [1e9' + ", 9" * 53 + ']}], "canvas_width": 10, "canvas_height": 10}',
)  # fmt: skip


@pytest.mark.parametrize("text", BAD_POSES)
def test_bad_pose_json_is_one_sentence(text, drive):
    assert "\n" not in refused(drive(PoseFromJson(text=text)))


def test_poses_from_pictures_go_through_the_square(tiny, drive, picture, monkeypatch):
    """A regressor that knows one place: the joints come back in pixels of a picture of any shape."""
    import torch

    class Knows(torch.nn.Module):
        def forward(self, x):
            assert x.shape == (1, 3, 128, 128) and x.min() >= -1 and x.max() <= 1
            found = torch.zeros(1, 2, 18, 3)
            found[0, 0] = torch.tensor([0.5, 0.25, 0.9])
            found[0, 1, :2] = torch.tensor([0.1, 0.1, 0.9])
            return found

    wide = Image(pixels=np.tile(picture.pixels, (1, 2, 1)))
    done = result(drive(PoseFromPicture(image=wide), models={"playworld/joints": Knows()}))
    assert done.facts["people"] == 1, "two sure joints are not a person"
    assert done.files["pose"].people[0].points[3][:2] == (128.0, 0.0)
    assert (done.files["pose"].width, done.files["map.png"].width, done.files["map.png"].height) == (256, 256, 128)
    with_doubt = drive(PoseFromPicture(image=wide, confidence=0.95), models={"playworld/joints": Knows()})
    assert "No person" in refused(with_doubt)


# --- scenes --------------------------------------------------------------------------------------------


def test_a_scene_comes_with_everything_known_about_it(drive):
    seed = next(seed for seed in range(100) if len(sample_scene(seed).people))
    done = result(drive(PlayworldScene(seed=seed)))
    assert done.files["picture.png"].width == 128 and done.facts["caption"] and done.facts["facts"]
    pose = done.files["pose"]
    assert np.allclose(np.array([p.points for p in pose.people]), joints(sample_scene(seed), 128), atol=1e-4)
    assert done.files["map.png"].sha256 == result(drive(PoseMap(pose=pose))).files["map.png"].sha256
    assert done.files["edges.png"].sha256 == result(drive(EdgeMap(image=done.files["picture.png"]))).files["map.png"].sha256
    assert result(drive(PlayworldScene(seed=seed))).facts == done.facts
    held_out = result(drive(PlayworldScene(seed=seed, split="held-out")))
    assert held_out.files["picture.png"].sha256 != done.files["picture.png"].sha256


def test_a_scene_without_people_has_no_pose(drive):
    seed = next(seed for seed in range(100) if not sample_scene(seed).people)
    assert set(result(drive(PlayworldScene(seed=seed))).files) == {"picture.png", "edges.png"}


def test_the_demonstration_is_a_scene_that_was_never_trained_on(drive):
    """`demo_job` reads its maps from assets/samples; this is how they were made (up to versions of Pillow and OpenCV)."""
    done = result(drive(PlayworldScene(seed=10267, split="held-out")))
    edges, pose = (control for control in demo_job().control)
    assert np.mean(edges.image.pixels == done.files["edges.png"].pixels) > 0.98 and edges.image.pixels.mean() > 10
    assert np.allclose(pose.pose.people[0].points, done.files["pose"].people[0].points, atol=1e-3)
