"""Payloads are values: read-only, equal by content, with one table of joints in the whole house."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from app.protocol.errors import UserError, report
from app.protocol.payloads import JOINT_COLOURS, JOINT_NAMES, LIMBS, Boxes, Curve, Image, Matrix, Person, Points, Tokens


def test_images_are_equal_by_content_and_usable_as_keys() -> None:
    a, b = (Image(np.zeros((2, 3, 3), np.uint8)) for _ in range(2))
    assert a == b and hash(a) == hash(b) and a.sha256 == hashlib.sha256(bytes(18)).hexdigest()
    assert a != Image(np.zeros((3, 2, 3), np.uint8)) and a != Image(np.zeros((2, 3, 3), np.uint8), label="other")
    assert a != Image(np.ones((2, 3, 3), np.uint8)) and a != "text" and (a.width, a.height) == (3, 2)


def test_later_changes_of_the_source_do_not_reach_the_payload() -> None:
    pixels = np.zeros((2, 2, 3), np.uint8)
    image = Image(pixels)
    pixels[:] = 9
    assert image.pixels.max() == 0 and not image.pixels.flags.writeable


@pytest.mark.parametrize("array", [np.zeros((2, 2, 3)), np.zeros((2, 2), np.uint8), np.zeros((2, 2, 4), np.uint8)])
def test_images_are_8_bit_rgb(array) -> None:
    with pytest.raises(ValueError, match="Image.pixels"):
        Image(array)


def test_lengths_have_to_agree() -> None:
    for make in (
        lambda: Curve([1, 2], [1]), lambda: Points(np.zeros((2, 2)), groups=(1,)), lambda: Tokens(texts=("a",), ids=()),
        lambda: Boxes(np.zeros((2, 3))), lambda: Matrix(np.zeros(3)),
    ):  # fmt: skip
        with pytest.raises(ValueError):
            make()


@pytest.mark.parametrize("points", [((0, 0, 0),) * 17, ((0, 0),) * 18, ((float("nan"), 0, 1),) * 18])
def test_a_person_has_18_finite_joints(points) -> None:
    with pytest.raises(UserError):
        Person(points=points)


def test_joints_are_those_of_the_reference_renderer() -> None:
    from models.diffusion import openpose

    assert len(JOINT_NAMES) == len(JOINT_COLOURS) == 18 and len(LIMBS) == 17
    assert LIMBS == tuple(tuple(limb) for limb in openpose.LIMBS)
    assert JOINT_COLOURS == tuple(tuple(colour) for colour in openpose.JOINT_COLOURS)
    assert [name.replace("_", " ") for name in openpose.JOINTS] == list(JOINT_NAMES)


def test_reports_are_words_only() -> None:
    class CheckpointLikeError(Exception):
        message, hint = "The file is damaged.", "Fetch it again."

    assert (report(CheckpointLikeError()).kind, report(CheckpointLikeError()).title) == ("user", "The file is damaged.")
    bug = report(KeyError("seed"), job_json="{}")
    assert bug.kind == "bug" and "KeyError" in bug.title and "KeyError" in bug.traceback and bug.job_json == "{}"
