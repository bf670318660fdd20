"""The pose renderer pixel by pixel, and pose JSON in all its variants, good and bad."""

import json
import math

import cv2
import numpy as np
import pytest

from models.diffusion import openpose
from models.diffusion.openpose import PoseFormatError, bone_width_for, draw_pose, parse_pose, pose_json

STANDING = np.array(
    [
        (256, 90), (256, 150), (210, 152), (190, 220), (185, 290), (302, 152), (322, 220), (327, 290), (228, 290),
        (224, 380), (222, 470), (284, 290), (288, 380), (290, 470), (244, 78), (268, 78), (228, 84), (284, 84),
    ],
    float,
)  # fmt: skip


def person(points=STANDING, missing=()):
    result = np.concatenate([points, np.ones((18, 1))], axis=1)
    result[list(missing)] = 0
    return result


RANDOM = np.concatenate([np.random.default_rng(4).uniform(-40, 552, (6, 18, 2)), np.ones((6, 18, 1))], axis=2)
RANDOM[np.random.default_rng(5).random((6, 18)) < 0.2] = 0


def reference(people, width, height):
    """The published drawing, derived again: hues of 18 joints, 1-based limb list, shares of the canvas."""
    hues = [cv2.cvtColor(np.uint8([[[0, 255, 255]]]), cv2.COLOR_HSV2RGB)]  # only to name where red is
    assert hues[0].ravel().tolist() == [255, 0, 0]
    levels = (0, 85, 170, 255)
    wheel = [(255, g, 0) for g in levels[:3]] + [(r, 255, 0) for r in reversed(levels[1:])]
    wheel += [(0, 255, b) for b in levels[:3]] + [(0, g, 255) for g in reversed(levels[1:])]
    wheel += [(r, 0, 255) for r in levels[:3]] + [(255, 0, b) for b in reversed(levels[1:])]
    limbs = "2-3 2-6 3-4 4-5 6-7 7-8 2-9 9-10 10-11 2-12 12-13 13-14 2-1 1-15 15-17 1-16 16-18".split()
    canvas = np.zeros((height, width, 3), np.uint8)
    for points in people:
        for limb, colour in zip(limbs, wheel, strict=False):
            first, second = (points[int(k) - 1] for k in limb.split("-"))
            if first[2] == 0 or second[2] == 0:
                continue
            rows, columns = np.array([first[1], second[1]]), np.array([first[0], second[0]])
            length = np.sqrt(np.diff(rows) ** 2 + np.diff(columns) ** 2).item()
            angle = math.degrees(math.atan2(rows[0] - rows[1], columns[0] - columns[1]))
            shape = cv2.ellipse2Poly(
                (int(columns.mean()), int(rows.mean())), (int(length / 2), 4), int(angle), 0, 360, 1
            )
            cv2.fillConvexPoly(canvas, shape, [int(float(c) * 0.6) for c in colour])
        for (x, y, c), colour in zip(points, wheel, strict=True):
            if c:
                cv2.circle(canvas, (int(x), int(y)), 4, colour, thickness=-1)
    return canvas


@pytest.mark.parametrize(
    ("people", "width", "height"),
    [([person()], 512, 512), ([person(missing=(4, 0))], 512, 768), (RANDOM, 512, 512), (RANDOM[:2], 640, 512)],
)
def test_equal_pixel_by_pixel_to_the_published_drawing(people, width, height):
    np.testing.assert_array_equal(draw_pose(np.array(people), width, height), reference(people, width, height))


def test_every_joint_and_limb_has_its_colour():
    """Limbs one at a time, far from the others' joints: middle in 60 % of colour j, ends in full colour."""
    for j, (a, b) in enumerate(openpose.LIMBS):
        points = np.zeros((18, 3))
        points[a], points[b] = (100, 256, 1), (400, 256, 1)
        picture = draw_pose(points[None], 512, 512)
        red, green, blue = openpose.JOINT_COLOURS[j]
        assert picture[256, 250].tolist() == [int(red * 0.6), int(green * 0.6), int(blue * 0.6)]
        assert tuple(picture[256, 100].tolist()) == openpose.JOINT_COLOURS[a]
        assert tuple(picture[256, 400].tolist()) == openpose.JOINT_COLOURS[b]
        assert tuple(picture[260, 100].tolist()) == openpose.JOINT_COLOURS[a]  # radius 4
        assert picture[261, 100].tolist() == [0, 0, 0]
        assert picture[260, 250].any() and not picture[262, 250].any()  # half width 4
    assert openpose.JOINT_COLOURS[4] == (170, 255, 0)
    assert openpose.LIMBS[12:15] == ((1, 0), (0, 14), (14, 16))


def test_joints_lie_over_limbs_and_later_people_over_earlier():
    points = np.zeros((18, 3))
    points[1], points[2], points[5] = (256, 256, 1), (156, 256, 1), (356, 256, 1)
    other = np.zeros((18, 3))
    other[10] = (200, 256, 1)
    picture = draw_pose(np.stack([points, other]), 512, 512)
    assert tuple(picture[256, 256].tolist()) == openpose.JOINT_COLOURS[1]
    assert tuple(picture[256, 200].tolist()) == openpose.JOINT_COLOURS[10]


def test_missing_ends_and_no_people():
    picture = draw_pose(person(missing=range(1, 18))[None], 512, 512)
    colours = np.unique(picture.reshape(-1, 3), axis=0).tolist()
    assert colours == [[0, 0, 0], [255, 0, 0]]  # the nose alone
    for nobody in ([], np.zeros((0, 18, 3))):
        assert draw_pose(nobody, 64, 32).shape == (32, 64, 3)
        assert not draw_pose(nobody, 64, 32).any()


def test_bones_scale_with_the_picture():
    assert [bone_width_for(s, s) for s in (64, 128, 256, 512, 768, 1024)] == [1, 1, 2, 4, 6, 8]
    assert bone_width_for(1024, 512) == 4
    double = person(STANDING * 2)[None]
    large, small = draw_pose(double, 1024, 1024), draw_pose(person()[None], 512, 512)
    covered = (large.any(axis=2).mean(), small.any(axis=2).mean())
    assert covered[0] == pytest.approx(covered[1], rel=0.1)
    thick = draw_pose(person()[None], 512, 512, bone_width=8)
    assert thick.any(axis=2).sum() > 1.5 * small.any(axis=2).sum()


def test_points_far_out_or_not_numbers():
    wild = person()
    wild[4, :2] = 1e30, -1e30
    assert draw_pose(wild[None], 128, 128).shape == (128, 128, 3)
    wild[4, 0] = np.nan
    with pytest.raises(ValueError, match="not a number"):
        draw_pose(wild[None], 128, 128)
    with pytest.raises(ValueError, match="shape"):
        draw_pose(np.zeros((1, 17, 3)), 128, 128)


def test_figure_of_the_widgets_is_the_same():
    from app.protocol import payloads

    assert payloads.JOINT_NAMES == openpose.JOINTS
    assert payloads.LIMBS == openpose.LIMBS
    assert payloads.JOINT_COLOURS == openpose.JOINT_COLOURS


# --- JSON -------------------------------------------------------------------------------------------------------

PEOPLE = np.stack([person(), person(STANDING * 0.5 + 30, missing=(3, 4, 17))])


def document(people=PEOPLE, size=(512, 640), scale=(1, 1), **extra):
    points = [(p * (*scale, 1)).ravel().tolist() for p in people]
    result = {"people": [{"pose_keypoints_2d": p} for p in points], **extra}
    return result | ({"canvas_width": size[0], "canvas_height": size[1]} if size else {})


def check(text, size=(512, 640), people=PEOPLE, **options):
    pose = parse_pose(text, **options)
    assert (pose.width, pose.height) == size
    np.testing.assert_allclose(pose.people, people, atol=1e-3)


def test_own_json_round_trip():
    check(pose_json(PEOPLE, 512, 640))
    assert json.loads(pose_json(PEOPLE, 512, 640))["people"][1]["pose_keypoints_2d"][9:15] == [0] * 6


def test_pixels_shares_lists_and_bytes():
    shares = (1 / 512, 1 / 640)
    check(json.dumps(document()))
    check(json.dumps(document(version=1.3)).encode())
    check(json.dumps(document(scale=shares)))
    check(json.dumps([document(), document(people=PEOPLE[:1])]))
    check(json.dumps(document(size=None)), size=(320, 200), width=320, height=200)
    check(json.dumps(document(size=None, scale=shares)), width=512, height=640)
    check(json.dumps(document(size=None)), size=(512, 512))
    check(json.dumps(document(people=PEOPLE * (2, 2, 1), size=None)), size=(960, 960), people=PEOPLE * (2, 2, 1))
    check(json.dumps(document(size=None, scale=(1 / 512, 1 / 512))), size=(512, 512))


def test_hands_faces_and_empty_people_are_passed_over():
    content = document()
    content["people"][0] |= {"face_keypoints_2d": [0.0] * 210, "hand_left_keypoints_2d": None}
    content["people"].insert(1, {"pose_keypoints_2d": []})
    content["people"].insert(1, {"pose_keypoints_2d": None, "hand_left_keypoints_2d": [1.0] * 63})
    content["people"].append({"pose_keypoints_2d": [0] * 54})
    check(json.dumps(content))


def test_faint_points_are_missing():
    people = PEOPLE.copy()
    people[0, 7, 2] = 0.05
    people[0, 6, 2] = 0.4
    expected = people.copy()
    expected[0, 7] = 0
    check(json.dumps(document(people)), people=expected)


def test_body_25_keeps_the_18():
    """In BODY_25 the middle hip stands between the arms and the right hip, and feet follow the ears."""
    full = np.concatenate([PEOPLE[0, :8], [(256, 290, 1)], PEOPLE[0, 8:], np.full((6, 3), 0.9)])
    assert len(full) == 25
    check(json.dumps(document([full])), people=PEOPLE[:1])


BAD = {
    "": "not valid JSON",
    "{": "not valid JSON",
    "[" * 100_000: "not valid JSON",
    "[]": 'no list "people"',
    "3": 'no list "people"',
    "{}": 'no list "people"',
    '{"people": {}}': 'no list "people"',
    '{"people": []}': "no person",
    '{"people": [7]}': 'Person 1 .* no list "pose_keypoints_2d"',
    '{"people": [{}]}': 'Person 1 .* no list "pose_keypoints_2d"',
    json.dumps({"people": [{"pose_keypoints_2d": [1, 2, 1]}]}): "3 numbers; 18 points",
    json.dumps({"people": [{"pose_keypoints_2d": [1] * 51}]}): "51 numbers; 18 points",
    json.dumps({"people": [{"pose_keypoints_2d": [0] * 54}]}): "no person",
    json.dumps({"people": [{"pose_keypoints_2d": [float("nan")] * 54}]}): "coordinate that is not a number",
    json.dumps({"people": [{"pose_keypoints_2d": [float("inf")] * 54}]}): "coordinate that is not a number",
    json.dumps({"people": [{"pose_keypoints_2d": ["x"] * 54}]}): "coordinate that is not a number",
    json.dumps({"people": [{"pose_keypoints_2d": [10**400] * 54}]}): "coordinate that is not a number",
    json.dumps({"people": [{"pose_keypoints_2d": [None] * 54}]}): "coordinate that is not a number",
    json.dumps({"people": [{"pose_keypoints_2d": [1e9, 5, 1] * 18}]}): "nose of person 1 .* far outside",
    json.dumps(document(size=(0, 640))): "impossible size 0 x 640",
    json.dumps(document(size=(512, "a"))): "impossible size",
    json.dumps(document(size=(512, None))): "impossible size",
    json.dumps(document(size=(1e300, 5))): "impossible size",
    json.dumps(document(people=[person(STANDING * -60)])): "far outside the canvas of 512 x 640",
    json.dumps({"people": [{"pose_keypoints_2d": [0] * 54}] * 101}): "101 people",
}  # fmt: skip


@pytest.mark.parametrize("text", BAD, ids=[f"{i}: {message[:25]}" for i, message in enumerate(BAD.values())])
def test_bad_files_get_one_sentence(text):
    with pytest.raises(PoseFormatError, match=BAD[text]) as caught:
        parse_pose(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_bytes_that_are_no_text():
    with pytest.raises(PoseFormatError, match="not valid JSON"):
        parse_pose(b"\x89PNG\r\n\x1a\n\xff\xfe")
