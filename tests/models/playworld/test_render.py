"""Pictures and annotations: sizes, edges, masks and boxes of the drawing itself, visibility of what is there."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from models.playworld.edges import edges
from models.playworld.palette import NAMED
from models.playworld.render import MASK_CLASSES, boxes, instances, joints, mask, render, with_joints
from models.playworld.scene import COLOURS, sample_scene

SCENES = [sample_scene(seed) for seed in range(60)]


@pytest.mark.parametrize(("size", "height"), [(128, None), (64, None), (200, None), (512, None), (96, 160), (256, 128), (8, 8)])
def test_any_size(size, height):
    scene = SCENES[0]
    shape = (height or size, size)
    picture = render(scene, size, height)
    assert picture.shape == (*shape, 3) and picture.dtype == np.uint8
    assert mask(scene, size, height).shape == instances(scene, size, height).shape == shape


def test_sizes_out_of_range_are_refused():
    with pytest.raises(ValueError, match="between 8 and"):
        render(SCENES[0], 4)
    with pytest.raises(ValueError, match="between 8 and"):
        render(SCENES[0], 100_000)


def test_sizes_show_the_same_picture():
    for scene in SCENES[:8]:
        large = cv2.resize(render(scene, 256), (128, 128), interpolation=cv2.INTER_AREA)
        assert np.abs(large.astype(float) - render(scene, 128)).mean() < 3


def test_edges_are_opencv_canny_of_the_grey_picture():
    picture = render(SCENES[1])
    expected = cv2.Canny(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), 100, 200)
    assert np.array_equal(edges(picture), expected)
    assert set(np.unique(edges(picture))) == {0, 255}
    assert (edges(picture, 20, 40) > 0).sum() > (expected > 0).sum()


def test_an_outline_of_every_person_and_thing_is_in_the_edge_map():
    shares = []
    for scene in SCENES:
        found = cv2.dilate(edges(render(scene)), np.ones((5, 5))) > 0
        drawn = instances(scene)
        for number in range(2, drawn.max() + 1):
            shape = (drawn == number).astype(np.uint8)
            outline = shape - cv2.erode(shape, np.ones((3, 3)))
            shares.append(found[outline > 0].mean())
    assert min(shares) > 0.5 and np.mean(shares) > 0.95  # black trousers at night are what is missed


def test_boxes_and_mask_follow_the_drawing():
    for scene in SCENES:
        drawn, classes, listed = instances(scene), mask(scene), boxes(scene)
        assert [label for label, *_ in listed] == [thing.kind for thing in scene.things] + ["person"] * len(scene.people)
        for label, x0, y0, x1, y1 in listed:
            inside = classes[y0:y1, x0:x1] == MASK_CLASSES.index(label)
            assert inside.any(0)[[0, -1]].all() and inside.any(1)[[0, -1]].all()  # tight on all four sides
            if label != "person":
                assert inside.sum() == (classes == MASK_CLASSES.index(label)).sum()
        assert set(np.unique(classes)) - {0, 1} == {MASK_CLASSES.index(label) for label, *_ in listed}
        assert drawn.max() < 2 + len(listed)


def test_the_flat_drawing_lies_where_the_picture_changes():
    for scene in SCENES[:30]:
        for i in range(len(scene.people)):
            without = replace(scene, people=scene.people[:i] + scene.people[i + 1:])
            changed = np.abs(render(scene).astype(int) - render(without)).max(-1) > 4
            number = 2 + len(scene.things) + i
            visible = instances(scene) == number
            assert changed[visible].mean() > 0.75


def test_things_stay_visible():
    for scene in (sample_scene(seed) for seed in range(250)):
        drawn = mask(scene, 64)
        for thing in scene.things:
            alone = (instances(replace(scene, things=(thing,), people=()), 64) == 2).sum()
            assert (drawn == MASK_CLASSES.index(thing.kind)).sum() > 0.6 * alone


def test_a_thing_near_is_about_1_7_times_as_large_as_far():
    heights = {"near": [], "far": []}
    for scene in (sample_scene(seed) for seed in range(300)):
        if not scene.people:
            for thing, (label, _, y0, _, y1) in zip(scene.things, boxes(scene)):
                if label == "pine":
                    heights[thing.distance].append(y1 - y0)
    assert 1.5 < np.mean(heights["near"]) / np.mean(heights["far"]) < 1.9


@pytest.mark.parametrize("sky", ["day", "sunset", "night", "overcast"])
def test_colours_can_be_told_apart_under_every_sky(sky):
    ball = next(t for seed in range(200) for t in sample_scene(seed).things if t.kind == "ball" and t.distance == "near")
    seen = {}
    for colour in COLOURS:
        scene = replace(SCENES[0], sky=sky, things=(replace(ball, colour=colour),), people=())
        seen[colour] = np.median(render(scene)[instances(scene) == 2], 0)
    for colour, pixel in seen.items():
        nearest = min(COLOURS, key=lambda name: np.abs(np.array(NAMED[name]) - pixel).sum())
        assert nearest == colour
        assert all(np.abs(pixel - other).max() > 20 for name, other in seen.items() if name != colour)


def test_joints_lie_on_the_person():
    for scene in SCENES:
        drawn = instances(scene)
        for i, points in enumerate(joints(scene)):
            on = [drawn[int(y), int(x)] == 2 + len(scene.things) + i for x, y, c in points if c]
            assert np.mean(on) > 0.9


def test_joints_scale_with_the_picture_and_can_be_replaced():
    scene = next(scene for scene in SCENES if len(scene.people) == 1)
    assert np.allclose(joints(scene, 256), joints(scene, 128) * [2, 2, 1], atol=1e-3)
    assert np.array_equal(render(with_joints(scene, joints(scene))), render(scene))
    moved = joints(scene)
    moved[0, 4, :2] = (moved[0, 3, 0], moved[0, 3, 1] - 18)  # right forearm straight up
    assert not np.array_equal(render(with_joints(scene, moved)), render(scene))
    assert np.allclose(joints(with_joints(scene, moved)), moved, atol=1e-3)


def test_any_joint_may_be_missing():
    scene = next(scene for scene in SCENES if len(scene.people) == 1)
    for k in range(18):
        points = joints(scene)
        points[0, k, 2] = 0
        assert render(with_joints(scene, points)).shape == (128, 128, 3)
    render(with_joints(scene, np.zeros((1, 18, 3))))


def test_a_turned_head_hides_the_far_ear():
    hidden = [[c for _, _, c in p.joints] for s in range(200) for p in sample_scene(s).people]
    assert any(c[16] == 0 for c in hidden) and any(c[17] == 0 for c in hidden)
    assert all(all(c[:16]) for c in hidden)
