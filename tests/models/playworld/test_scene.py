"""Scenes: the same for a seed, apart between splits, balanced, with everyone in place."""

import hashlib
from collections import Counter

import numpy as np
import pytest

from models.playworld.labels import LABELS, labels
from models.playworld.people import FREE, POSES, skeleton
from models.playworld.render import joints, render
from models.playworld.scene import COLOURS, KINDS, POSITIONS, sample_scene
from models.playworld.splits import HELD_OUT_BACKDROPS, HELD_OUT_PEOPLE, HELD_OUT_THINGS, SPLITS, held_out_combinations

SEED_7 = ("night", "snow", [("purple", "cat", "middle")], [("posing", "orange"), ("posing", "blue")])
SCENES = {split: [sample_scene(seed, split) for seed in range(1500)] for split in SPLITS}


def test_a_seed_makes_one_scene_and_one_picture():
    def digest() -> str:
        scenes = [sample_scene(seed) for seed in range(40)]
        return hashlib.sha256(repr(scenes).encode() + b"".join(render(scene).tobytes() for scene in scenes)).hexdigest()

    assert digest() == digest()
    crowded = [scene for scene in SCENES["train"] if scene.things]
    assert len({repr((scene.things, scene.people)) for scene in crowded}) == len(crowded)


def test_a_seed_never_changes_its_meaning():
    """Shipped weights were trained on these scenes: what a seed shows is part of the law."""
    scene = sample_scene(7)
    shown = (scene.sky, scene.ground, [(t.colour, t.kind, t.position) for t in scene.things], [(p.pose, p.shirt) for p in scene.people])
    assert shown == SEED_7


@pytest.mark.parametrize("split", ["train", "validation"])
def test_training_never_shows_a_held_out_combination(split):
    assert not [scene.seed for scene in SCENES[split] if held_out_combinations(scene)]


def test_every_held_out_scene_shows_a_combination_and_every_combination_is_shown():
    shown = Counter(pair for scene in SCENES["held-out"] for pair in held_out_combinations(scene))
    assert all(held_out_combinations(scene) for scene in SCENES["held-out"])
    assert set(shown) == HELD_OUT_THINGS | HELD_OUT_PEOPLE | HELD_OUT_BACKDROPS
    assert min(shown.values()) >= 20


def test_splits_share_no_scene():
    def key(scene):
        return (scene.weather, scene.horizon, scene.things, scene.people)

    keys = [{key(scene) for scene in SCENES[split]} for split in SPLITS]
    assert not keys[0] & keys[1] and not keys[0] & keys[2] and not keys[1] & keys[2]


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match="split must be one of"):
        sample_scene(0, "test")


def test_every_class_of_every_head_occurs_about_equally_often():
    drawn = {head: Counter() for head in LABELS}
    for scene in SCENES["train"]:
        for head, index in labels(scene).items():
            drawn[head][index] += index >= 0
    for name, values in (("colour", COLOURS), ("position", POSITIONS)):
        total = Counter()
        for kind in KINDS:
            total += drawn[f"{kind}.{name}"]
        assert max(total.values()) < 2 * min(total[i] for i in range(len(values))), name
    present = [drawn[f"{kind}.present"][1] for kind in KINDS]
    assert max(present) < 2 * min(present)
    poses = Counter(person.pose for scene in SCENES["train"] for person in scene.people)
    assert set(poses) == {*POSES, FREE} and max(poses[name] for name in POSES) < 2 * min(poses.values())
    for head, classes in LABELS.items():
        kept_back = (
            {0} if head == "person1.position" else {i for i, name in enumerate(classes) if (name, head.split(".")[0]) in HELD_OUT_THINGS}
        )
        assert {i for i in range(len(classes)) if not drawn[head][i]} == kept_back, head


def test_nobody_shares_a_place_and_people_stand_left_to_right():
    for scene in SCENES["train"]:
        places = [item.position for item in (*scene.things, *scene.people)]
        assert len(set(places)) == len(places)
        assert [person.x for person in scene.people] == sorted(person.x for person in scene.people)
        assert [POSITIONS.index(p.position) for p in scene.people] == sorted(POSITIONS.index(p.position) for p in scene.people)
        assert len({thing.kind for thing in scene.things}) == len(scene.things)


@pytest.mark.parametrize(("width", "height"), [(128, 128), (192, 128), (128, 192)])
def test_joints_lie_inside_the_picture(width, height):
    for scene in SCENES["train"][:500]:
        points = joints(scene, width, height)
        assert points.shape == (len(scene.people), 18, 3) and points.dtype == np.float32
        assert (points[..., :2] >= 1).all() and (points[..., 0] < width - 1).all() and (points[..., 1] < height - 1).all()


def test_people_face_the_viewer_with_limbs_of_fixed_length():
    rest = np.array(skeleton(POSES["standing"], 1.0))
    for scene in SCENES["train"][:300]:
        for person in scene.people:
            points = np.array(person.joints)
            assert points[2, 0] < points[5, 0] and points[8, 0] < points[11, 0] and points[14, 0] < points[15, 0]
            for a, b in ((2, 3), (3, 4), (5, 6), (6, 7), (8, 9), (9, 10), (11, 12), (12, 13)):
                length = np.hypot(*(points[a] - points[b])[:2])
                assert length == pytest.approx(person.height * np.hypot(*(rest[a] - rest[b])[:2]), rel=1e-6)


def test_poses_look_as_they_are_called():
    at = {name: np.array(skeleton(angles, 1.0)) for name, angles in POSES.items()}
    assert (at["arms up"][[4, 7], 1] < at["arms up"][0, 1]).all()  # both wrists above the nose
    assert at["waving"][4, 1] < at["waving"][2, 1] < at["waving"][7, 1]  # one wrist above its shoulder, the other not
    assert np.allclose(at["arms wide"][[3, 4, 6, 7], 1], at["arms wide"][2, 1], atol=0.02)
    assert np.hypot(*(at["hands on hips"][4] - at["hands on hips"][8])[:2]) < 0.12
    assert at["sitting"][0, 1] > 0.7 * at["standing"][0, 1]
    assert at["star jump"][10, 1] < at["standing"][10, 1] - 0.05  # off the ground
    assert at["kicking"][10, 1] < at["kicking"][12, 1]  # one foot above the other knee
