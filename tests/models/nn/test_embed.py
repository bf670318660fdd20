"""The code of a diffusion time against its formula."""

import math

import pytest
import torch

from models.nn.embed import sinusoidal


def test_cosines_come_first_and_frequencies_fall_to_one_in_ten_thousand():
    code = sinusoidal(torch.tensor([0.0, 3.0, 999.0]), 8)
    assert code[0].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    for row, t in zip(code[1:], (3.0, 999.0)):
        for i in range(4):
            angle = t * 10_000 ** (-i / 4)
            assert row[i].item() == pytest.approx(math.cos(angle), abs=1e-4)
            assert row[4 + i].item() == pytest.approx(math.sin(angle), abs=1e-4)


def test_half_precision_times_are_coded_in_full():
    whole = torch.tensor([991, 992])
    assert sinusoidal(whole.half(), 16).dtype == torch.float32
    assert torch.equal(sinusoidal(whole.half(), 16), sinusoidal(whole, 16))
