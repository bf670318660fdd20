"""The judges: shapes, the arithmetic of places, and that they learn from what they are told."""

import numpy as np
import pytest
import torch

from models.fitting import FitConfig
from models.playworld.bank import SceneBank
from models.playworld.labels import LABELS, labels
from models.playworld.render import boxes, joints
from models.playworld.scene import sample_scene
from models.vision.judges import FactClassifier, JointConfig, JointRegressor, expectation, grid
from models.vision.training import (
    box_truth,
    fact_config,
    fact_loss,
    head_box,
    jitter,
    joint_loss,
    joint_truth,
    look_loss,
    train_facts,
    train_joints,
    truth,
)


@pytest.fixture(scope="module")
def bank(tmp_path_factory) -> SceneBank:
    bank = SceneBank(tmp_path_factory.mktemp("bank"), count=512, size=32)
    list(bank.fill())
    return bank


def test_every_question_has_a_head_and_kinds_share_them():
    config = fact_config((8, 8, 16))
    assert {head.name for head in config.heads} == set(LABELS)
    assert {head.head for head in config.heads if head.name.endswith(".colour")} == {"colour"}
    out = FactClassifier(config)(torch.zeros(2, 3, 32, 32))
    assert {name: tuple(v.shape) for name, v in out.items()} == {name: (2, len(classes)) for name, classes in LABELS.items()}


def test_the_expectation_of_a_peak_is_its_place():
    places = grid(8, 16, torch.zeros(1))
    law = torch.zeros(1, 1, 8 * 16)
    law[0, 0, 3 * 16 + 10] = 1
    assert expectation(law, places)[0, 0].tolist() == pytest.approx([10.5 / 16, 3.5 / 8])


def test_truth_is_what_the_scene_says(bank):
    table = truth(bank, np.array([5, 9]))
    for k, row in enumerate((5, 9)):
        assert {name: int(values[k]) for name, values in table.items()} == labels(sample_scene(row))


def test_looking_into_the_box_costs_nothing_and_elsewhere_much():
    box = torch.tensor([[[0.5, 0.25, 0.75, 0.5], [0.0, 0.0, 0.0, 0.0]]])  # the second slot has nothing to look at
    weights = torch.zeros(1, 2, 1, 4, 4)
    weights[0, 0, 0, 1, 2] = 1
    assert look_loss(weights, box).item() == pytest.approx(0, abs=1e-6)
    weights[0, 0, 0, 1, 2], weights[0, 0, 0, 3, 3] = 0.25, 0.75
    assert look_loss(weights, box).item() == pytest.approx(-np.log(0.25))


def test_boxes_belong_to_their_slots(bank):
    slots = FactClassifier(fact_config((8, 8, 16))).slots
    table = box_truth(bank, np.arange(64), slots)
    for k in range(64):
        there = {name for name, box in zip(slots, table[k], strict=True) if box[2] > box[0]}
        scene = sample_scene(k)
        people = {f"person{i}{part}" for i in range(len(scene.people)) for part in ("", ".head")}
        assert there == {thing.kind for thing in scene.things} | people


def test_the_head_box_holds_face_and_top_of_the_person(bank):
    for row in range(40):
        scene = bank.scene(row)
        people = [corners for label, *corners in boxes(scene, 128) if label == "person"]
        for points, whole in zip(joints(scene, 128), people, strict=True):
            x0, y0, x1, y1 = head_box(points)
            face = points[[0, 14, 15, 16, 17], :2]
            assert (face > [x0, y0]).all() and (face < [x1, y1]).all()
            assert points[1, 1] > y1  # the neck is below
            assert y0 - 4 < whole[1] < y1


def test_questions_without_an_answer_do_not_count():
    wanted = {"a": torch.tensor([1, -1]), "b": torch.tensor([-1, -1])}
    answers = {"a": torch.tensor([[0.0, 9.0], [9.0, 0.0]]), "b": torch.zeros(2, 3)}
    loss, metrics = fact_loss(answers, wanted)
    assert metrics["accuracy"] == 1.0
    assert loss.item() == pytest.approx(np.log1p(np.exp(-9.0)), rel=1e-2)


def test_joint_loss_is_zero_at_the_truth_and_ignores_hidden_joints(bank):
    wanted = joint_truth(bank, np.arange(32))
    loss, metrics = joint_loss(wanted, wanted)
    assert loss.item() < 1e-4 and metrics["error_px_of_128"] == 0
    moved = wanted.clone()
    moved[..., :2] += torch.where(wanted[..., 2:] > 0, 0.0, 0.5)
    assert joint_loss(moved, wanted)[0].item() == pytest.approx(loss.item())


def test_jitter_keeps_range_and_differs_by_picture():
    x = torch.rand(4, 3, 16, 16) * 2 - 1
    y = jitter(x, torch.Generator().manual_seed(0))
    assert y.shape == x.shape and y.abs().max() <= 1 and not torch.equal(x, y)


@pytest.fixture
def few(bank) -> SceneBank:
    """A bank of sixteen scenes, few enough to be learnt by heart."""
    small = SceneBank(bank.folder.parent, count=512, size=32)
    small.count = 16
    return small


def test_the_fact_classifier_learns(few):
    torch.manual_seed(0)
    net = FactClassifier(fact_config((8, 16, 16)))
    losses = [s.loss for s in train_facts(net, few, 16, FitConfig(steps=60, lr=1e-2, warmup=5, bf16=False))]
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])


def test_the_joint_regressor_learns(few):
    torch.manual_seed(0)
    net = JointRegressor(JointConfig(widths=(8, 8, 16, 16)))
    steps = train_joints(net, few, 16, FitConfig(steps=60, lr=1e-2, warmup=5, bf16=False))
    errors = [s.metrics["error_px_of_128"] for s in steps]
    assert np.mean(errors[-5:]) < 0.7 * np.mean(errors[:5])
