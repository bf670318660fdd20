"""The quadratic lab's runner: landscape, paths and bounds agree with models.optim, and a matrix without a minimum is told."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from app.jobs.quadratic import METHODS, Quadratic
from app.protocol.events import Done, Failed, Record, Step
from app.runners.quadratic_picture import SIDE, picture
from models.optim import quadratic as maths


def records(events, channel: str) -> list:
    return [event.payload for event in events if isinstance(event, Record) and event.channel == channel]


def result(events):
    assert isinstance(events[-1], Done), events[-1]
    return events[-1].result


def test_two_steps_of_conjugate_gradients_against_a_zigzag(drive) -> None:
    events = drive(Quadratic(eigenvalues=(1, 25), angle=20, b=(1, -2), start=(3, 1), methods=("steepest", "conjugate")))
    problem = maths.Quadratic.with_spectrum(torch.tensor([1.0, 25.0]), math.radians(20))
    problem = maths.Quadratic(problem.A, torch.tensor([1.0, -2.0]))
    zigzag, straight = records(events, "path")
    for path, way in ((zigzag, maths.steepest), (straight, maths.conjugate)):
        steps = list(way(problem, torch.tensor([3.0, 1.0]), 30))
        assert np.allclose(path.points, torch.stack([step.x for step in steps]), atol=1e-12)
        assert np.allclose(path.excess, [step.excess for step in steps]) and path.says[0] == "" and all(path.says[1:])
        assert np.allclose(path.residual, [float(step.gradient.norm()) for step in steps])
        assert (path.excess <= path.bound * (1 + 1e-9) + 1e-15).all()
    facts = result(events).facts
    assert facts["steps"]["conjugate"] == 2 < facts["steps"]["steepest"] and facts["condition"] == pytest.approx(25)
    assert facts["eigenvalues"] == pytest.approx([1, 25]) and facts["minimiser"] == pytest.approx(problem.best.tolist())
    assert facts["least"] == pytest.approx(problem.least) and "Conjugate gradients" in facts["table"]
    assert len([event for event in events if isinstance(event, Step)]) == 2


def test_the_landscape_is_f_and_holds_the_path(drive) -> None:
    events = drive(Quadratic(eigenvalues=(1, 9), b=(2, 1), start=(4, -1), side=41))
    (land,) = records(events, "landscape")
    problem = maths.Quadratic(maths.Quadratic.with_spectrum(torch.tensor([1.0, 9.0]), math.radians(30)).A, torch.tensor([2.0, 1.0]))
    assert land.values.shape == (41, 41) and land.definite and land.level == pytest.approx(problem.least)
    assert land.centre == pytest.approx(tuple(problem.best.tolist())) and land.values[20, 20] == pytest.approx(problem.least)
    line = np.linspace(-land.reach, land.reach, 41)
    for row, column in ((0, 0), (5, 30), (40, 12)):
        x = torch.tensor([land.centre[0] + line[column], land.centre[1] + line[row]])
        assert land.values[row, column] == pytest.approx(problem.value(x))
    assert land.axes[0] == pytest.approx((math.cos(math.pi / 6), math.sin(math.pi / 6))) or land.axes[0][0] < 0
    assert all(np.abs(path.points - land.centre).max() <= land.reach for path in records(events, "path"))


def test_the_landscape_keeps_its_reach_while_the_start_is_in_it(drive) -> None:
    (held,) = records(drive(Quadratic(start=(1, 1), reach=5)), "landscape")
    (fitted,) = records(drive(Quadratic(start=(1, 6), reach=5)), "landscape")
    assert held.reach == 5 and fitted.reach == pytest.approx(1.3 * 6)


def test_many_variables_are_seen_along_the_extreme_axes(drive) -> None:
    job = Quadratic(spectrum="log", variables=30, condition=500, methods=METHODS, steps=200, repair=True, start=(1.0,) * 30, side=21)
    events = drive(job)
    paths, (land,) = {path.name: path for path in records(events, "path")}, records(events, "landscape")
    assert list(paths) == list(METHODS) and land.centre == pytest.approx((0, 0), abs=1e-12)
    assert len(paths["newton"].points) == 2 and len(paths["conjugate"].points) <= 31 and len(paths["jacobi"].points) <= 31
    assert paths["conjugate"].excess[-1] < 1e-18 < paths["heavy-ball"].excess[-1] < paths["steepest"].excess[-1]
    assert (paths["jacobi"].excess <= paths["jacobi"].bound * (1 + 1e-9) + 1e-18).all() and np.isnan(paths["fixed"].bound).all()
    axes = torch.linalg.eigh(maths.Quadratic.with_spectrum(torch.logspace(0, math.log10(500), 30), seed=0).A)[1][:, [0, -1]]
    assert np.abs(paths["steepest"].points[0]) == pytest.approx(np.abs((axes.T @ torch.ones(30).double()).numpy()))
    assert land.values[10, 20] == pytest.approx(0.5 * 1 * land.reach**2) and land.values[20, 10] == pytest.approx(0.5 * 500 * land.reach**2)


def test_as_many_steps_as_eigenvalues_and_the_hardest_start(drive) -> None:
    events = drive(Quadratic(spectrum="two", variables=40, condition=50, methods=("conjugate",), start=tuple(range(40))))
    assert len(records(events, "path")[0].points) == 3
    (path, _) = records(drive(Quadratic(eigenvalues=(1, 30), steps=20)), "path")
    assert path.excess == pytest.approx(path.bound, rel=1e-6)


def test_with_more_variables_the_start_is_drawn_and_takes_part_in_all_eigenvalues(drive) -> None:
    """From the hardest start, which knows two eigenvalues, conjugate gradients would be done in two steps whatever the spectrum."""
    (log,) = records(drive(Quadratic(spectrum="log", variables=12, condition=50, methods=("conjugate",), repair=True)), "path")
    drawn = torch.randn(12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    problem = maths.Quadratic.with_spectrum(torch.logspace(0, math.log10(50), 12, dtype=torch.float64), seed=0)
    assert len(log.points) == 13 and log.excess[0] == pytest.approx(problem.excess(drawn))
    (two,) = records(drive(Quadratic(spectrum="two", variables=12, condition=50, methods=("conjugate",))), "path")
    assert len(two.points) == 3
    (other,) = records(drive(Quadratic(spectrum="two", variables=12, condition=50, methods=("conjugate",), seed=3)), "path")
    assert other != two


def test_a_singular_landscape_points_the_way_f_falls(drive) -> None:
    for b in ((0, 1), (0, -1)):
        (land,) = records(drive(Quadratic(entries=(1, 0, 0, 0), b=b)), "landscape")
        assert land.axes[0] == pytest.approx(b) and not land.definite
    (land,) = records(drive(Quadratic(eigenvalues=(1, -2), angle=0)), "landscape")
    assert np.abs(land.axes[0]) == pytest.approx((0, 1))


def test_settings_reach_their_descents(drive) -> None:
    events = drive(Quadratic(eigenvalues=(1, 4), start=(1, 1), methods=("fixed", "heavy-ball"), length=0.1, momentum=0.5, steps=2))
    step, ball = records(events, "path")
    problem = maths.Quadratic.with_spectrum(torch.tensor([1.0, 4.0]), math.radians(30))
    x = torch.ones(2, dtype=torch.float64)
    assert np.allclose(step.points[1], x - 0.1 * problem.gradient(x))
    second = torch.tensor(ball.points[1])
    assert np.allclose(ball.points[2], second - 0.1 * problem.gradient(second) + 0.5 * (second - x))


def test_a_step_too_long_keeps_what_it_walked(drive) -> None:
    events = drive(Quadratic(methods=("fixed", "newton"), length=1.0, steps=500))
    wild, calm = records(events, "path")
    assert wild.notice.startswith("The descent runs away at step") and "0.2" in wild.notice and len(wild.points) > 3
    assert calm.notice == "" and "runs away" in result(events).facts["table"]


@pytest.mark.parametrize(
    "options, sentence, seen",
    [
        ({"eigenvalues": (1, -2), "angle": 0}, "A is not positive definite: its eigenvalue -2 lets f fall without end along (0, ", True),
        ({"eigenvalues": (0, 3), "angle": 0, "b": (1, 0)}, "A is singular: f falls without end along (", True),
        ({"entries": (0, 1, 1, 0)}, "A is not positive definite: its eigenvalue -1 lets f fall without end along (-0.707, 0.707)", True),
        ({"entries": (1, 2, 3)}, "3 entries do not fill a square matrix.", False),
        ({"eigenvalues": (1,)}, "1 eigenvalues make no plane.", False),
        ({"b": (1, 2, 3)}, "b has 3 numbers, but there are 2 variables.", False),
        ({"start": (1,)}, "The start has 1 numbers", False),
        ({"methods": ("magic",)}, "There is no descent named 'magic'.", False),
        ({"methods": ()}, "There is no descent to run.", False),
    ],
)
def test_bad_input_is_told_and_a_saddle_is_still_seen(drive, options, sentence, seen) -> None:
    events = drive(Quadratic(**options))
    assert isinstance(events[-1], Failed) and events[-1].report.kind == "user" and events[-1].report.title.startswith(sentence)
    assert events[-1].report.hint and [land.definite for land in records(events, "landscape")] == [False] * seen


def test_only_the_symmetric_part_of_entries_counts(drive) -> None:
    ends = [records(drive(Quadratic(entries=entries, start=(1, 2), side=0)), "path")[0] for entries in ((2, 1, 0, 1), (2, 0.5, 0.5, 1))]
    assert ends[0] == ends[1]


def test_the_picture_and_the_table_of_steps(drive) -> None:
    done = result(drive(Quadratic(methods=METHODS)))
    assert done.files["picture.png"].width > 2 * SIDE and done.files["paths.csv"].startswith("descent,step,x,y,")
    bare = picture(None, records(drive(Quadratic(side=0)), "path"))
    assert bare.width < 2 * SIDE
