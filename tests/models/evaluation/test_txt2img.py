"""The measures themselves, on cases whose answer is known."""

import numpy as np
import pytest
import torch

from models.evaluation.txt2img import correct_joints, edge_scores, psnr, stated_facts
from models.playworld.labels import LABELS, Fact


def test_psnr_of_a_known_error():
    a = np.full((8, 8, 3), 100, np.uint8)
    assert psnr(a, a + 10) == pytest.approx(10 * np.log10(255**2 / 100))


def _line(column: int) -> np.ndarray:
    out = np.zeros((32, 32), np.uint8)
    out[:, column] = 255
    return out


@pytest.mark.parametrize(("shift", "score"), [(0, 1.0), (2, 1.0), (3, 0.0)])
def test_edges_count_within_two_pixels(shift, score):
    found = edge_scores(_line(10 + shift), _line(10))
    assert (found.precision, found.recall, found.f1) == (score, score, score)


def test_precision_and_recall_are_not_confused():
    both = np.maximum(_line(5), _line(20))
    more, fewer = edge_scores(both, _line(5)), edge_scores(_line(5), both)
    assert (more.precision, more.recall) == (0.5, 1.0)
    assert (fewer.precision, fewer.recall) == (1.0, 0.5)
    assert more.f1 == fewer.f1 == pytest.approx(2 / 3)


def test_an_empty_map_claims_nothing():
    scores = edge_scores(np.zeros((32, 32), np.uint8), _line(5))
    assert (scores.precision, scores.recall, scores.f1) == (1.0, 0.0, 0.0)


def test_joints_within_a_tenth_of_the_person():
    truth = np.zeros((1, 18, 3), np.float32)
    truth[0, :, 0] = np.linspace(0, 100, 18)
    truth[0, :, 2] = 1
    truth[0, 17, 2] = 0  # hidden: not counted; the person's size is then 94 px
    found = truth.copy()
    found[0, :5, 1] += 9.3
    found[0, 5:8, 1] += 9.6
    assert correct_joints(found, truth) == (14, 17)


def test_a_colour_counts_only_when_the_thing_is_there():
    answers = {name: torch.zeros(1, len(classes)) for name, classes in LABELS.items()}
    red = Fact("house", "colour", "red")
    answers["house.colour"][0, red.index] = 5
    answers["sky"][0, Fact("sky", "night").index] = 5
    assert stated_facts(answers, [red, Fact("sky", "night"), Fact("sky", "day")], 0) == [False, True, False]
    answers["house.present"][0, 1] = 5
    assert stated_facts(answers, [red, Fact("house", "present")], 0) == [True, True]


def test_what_a_second_person_wears_needs_a_second_person():
    answers = {name: torch.zeros(1, len(classes)) for name, classes in LABELS.items()}
    shirt = Fact("person1", "shirt", "blue")
    answers["person1.shirt"][0, shirt.index] = 5
    answers["people.count"][0, 1] = 5
    assert stated_facts(answers, [shirt, Fact("people", "count", "1")], 0) == [False, True]
    answers["people.count"][0, 2] = 9
    assert stated_facts(answers, [shirt], 0) == [True]
