"""The arithmetic of the pose editor, and its presets as bodies."""

import numpy as np
import pytest

from app.protocol.payloads import JOINT_NAMES, LIMBS
from app.widgets import pose_model as model
from app.widgets.pose_presets import ANGLES, PRESETS, place


@pytest.fixture
def person() -> np.ndarray:
    return place("running", 128, 128)


def lengths(points: np.ndarray) -> np.ndarray:
    return np.array([np.linalg.norm(points[a, :2] - points[b, :2]) for a, b in LIMBS])


def test_mirror_swaps_names_and_keeps_the_body_in_its_box(person):
    person[4, 2] = 0
    seen = model.mirrored(person)
    box = model.bounds(person)
    for j, name in enumerate(JOINT_NAMES):
        other = JOINT_NAMES.index(name.replace("left", "?").replace("right", "left").replace("?", "right"))
        assert seen[other] == pytest.approx([box[0] + box[2] - person[j, 0], person[j, 1], person[j, 2]])
    assert model.mirrored(seen) == pytest.approx(person)


def test_rotation_keeps_lengths_and_turns_clockwise(person):
    turned = model.rotated(person, (64, 64), 0.7)
    assert lengths(turned) == pytest.approx(lengths(person))
    right = np.zeros((18, 3))
    right[0] = 10, 0, 1
    assert model.rotated(right, (0, 0), np.pi / 2)[0] == pytest.approx([0, 10, 1])


def test_scale_multiplies_lengths_and_keeps_the_fixed_place(person):
    person[0] = 30, 40, 1
    larger = model.scaled(person, (30, 40), 1.7, 1.7)
    assert lengths(larger) == pytest.approx(1.7 * lengths(person)) and larger[0] == pytest.approx(person[0])


def test_dropped_joints_stay_dropped_whatever_is_done(person):
    gone = model.dropped(person, 6)
    for after in (
        model.moved(gone, 5, 5),
        model.scaled(gone, (0, 0), 2, 2),
        model.rotated(gone, (9, 9), 1),
        model.fitted(gone[None], (128, 128), (256, 128))[0],
        model.toggled(gone, 6),
    ):
        assert not after[6].any()
    assert not model.mirrored(gone)[model.MIRROR[6]].any()


def test_hidden_joints_move_along(person):
    hidden = model.toggled(person, 6)
    assert model.moved(hidden, 3, 4)[6] == pytest.approx([person[6, 0] + 3, person[6, 1] + 4, 0])
    assert model.bounds(model.toggled(person, int(person[:, 0].argmax())))[2] < person[:, 0].max()


def test_a_hidden_joint_brought_to_the_corner_is_not_lost(person):
    hidden = model.toggled(person, 6)
    after = model.moved(hidden, -hidden[6, 0], -hidden[6, 1])
    assert model.placed(after)[6] and np.abs(after[6]).max() < 0.01


def test_restored_rebuilds_a_turned_and_scaled_body():
    figure = PRESETS["standing"]
    body = model.rotated(place("standing", 200, 300), (40, 60), 0.6)
    broken = body.copy()
    for j in (3, 4, 9, 16):
        broken = model.dropped(broken, j)
    broken = model.toggled(broken, 0)
    assert model.restored(broken, figure) == pytest.approx(body)
    alone = np.zeros((18, 3))
    assert model.restored(alone, figure) == pytest.approx(alone), "nothing to go by"


def test_restored_from_one_joint_only_shifts():
    one = np.zeros((18, 3))
    one[1] = 50, 60, 1
    rebuilt = model.restored(one, PRESETS["standing"] * 100)
    assert rebuilt[0, :2] - rebuilt[1, :2] == pytest.approx((PRESETS["standing"][0] - PRESETS["standing"][1]) * 100)


@pytest.mark.parametrize(
    ("handle", "dx", "dy", "free", "about", "sx", "sy"),
    [
        ("se", 10, 20, False, (0, 0), 1.1, 1.1),
        ("se", 10, 20, True, (0, 0), 1.1, 1.1),
        ("se", 50, 0, True, (0, 0), 1.5, 1.0),
        ("nw", -100, -200, False, (100, 200), 2.0, 2.0),
        ("e", 30, 99, False, (0, 100), 1.3, 1.0),
        ("n", 99, 50, False, (50, 200), 1.0, 0.75),
        ("w", 400, 0, False, (100, 100), 0.02, 1.0),
    ],
)
def test_box_handles(handle, dx, dy, free, about, sx, sy):
    assert model.box_scale((0, 0, 100, 200), handle, dx, dy, free) == (about, pytest.approx(sx), pytest.approx(sy))


def test_hits_prefer_the_chosen_person_then_the_nearest():
    people = np.stack([place("standing", 128, 128)] * 2)
    people[1, :, 0] += 2
    x, y = people[0, 4, :2]
    assert model.hit_joint(people, x, y, 3) == (0, 4)
    assert model.hit_joint(people, x, y, 3, first=1) == (1, 4)
    assert model.hit_joint(people, x - 40, y, 3) is None
    assert model.hit_person(people, 64, 64, 0, first=1) == 1


def test_payload_round_trip(person):
    people = np.stack([person, model.dropped(model.toggled(person, 2), 5)])
    pose = model.to_pose(people, 128, 96)
    assert (pose.width, pose.height) == (128, 96)
    assert np.array_equal(model.to_array(pose), people)
    assert model.to_array(model.to_pose(model.NOBODY, 8, 8)).shape == (0, 18, 3)


def test_fitted_never_stretches(person):
    wide = model.fitted(person[None], (128, 128), (512, 256))[0]
    assert wide[:, 0] == pytest.approx(person[:, 0] * 2 + 128) and wide[:, 1] == pytest.approx(person[:, 1] * 2)


# ---- presets


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize(("width", "height"), [(128, 128), (512, 768), (768, 256)])
def test_presets_stand_inside_the_canvas(name, width, height):
    others = np.stack([place("standing", width, height)])
    for person in (place(name, width, height), place(name, width, height, others)):
        left, top, right, bottom = model.bounds(person)
        assert left >= 0 and right <= width and top >= 0 and bottom <= height
        assert bottom - top > 0.2 * height


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_bodies(name):
    points = PRESETS[name]
    length = dict(zip([(JOINT_NAMES[a], JOINT_NAMES[b]) for a, b in LIMBS], lengths(points), strict=True))
    for (a, b), value in length.items():
        if a.startswith("right") and b.startswith("right"):
            assert value == pytest.approx(length[a.replace("right", "left"), b.replace("right", "left")])
    assert length["right hip", "right knee"] == pytest.approx(length["right knee", "right ankle"])
    assert length["right shoulder", "right elbow"] > length["right elbow", "right wrist"]
    assert points[0, 1] < points[1, 1] < points[[8, 11], 1].min(), "head over neck over hips"
    assert points[2, 0] < points[5, 0], "people face the viewer: their right is on the left"


def test_presets_move_like_the_people_the_model_was_trained_on():
    """Same proportions, and angles near enough that a retuned pose of Playworld need not change the editor."""
    from models.playworld.people import POSES, skeleton

    for name in sorted(set(POSES) & set(ANGLES)):
        trained = np.array(skeleton(POSES[name], 1.0))[:, :2]
        ours = PRESETS[name]
        assert ours - ours[1] == pytest.approx(trained - trained[1], abs=0.05), name
        assert lengths(ours) == pytest.approx(lengths(trained)), name
    assert len(set(POSES) & set(ANGLES)) >= 8


def test_a_second_person_stands_beside_the_first():
    first = place("standing", 512, 512)
    second = place("standing", 512, 512, first[None])
    assert abs(first[:, 0].mean() - second[:, 0].mean()) > 100
