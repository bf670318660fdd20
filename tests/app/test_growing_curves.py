"""The view of growing curves stands still until a curve leaves it, and shows all of it then."""

from __future__ import annotations

import numpy as np
import pytest

from app.protocol.payloads import Curve
from app.widgets.growing_curves import AHEAD, GrowingCurves


@pytest.fixture
def view(qtbot):
    made = GrowingCurves(x_label="update", y_label="loss")
    qtbot.addWidget(made)
    made.resize(400, 240)
    made.show()
    return made


def ends(view) -> list[list[float]]:
    return [list(axis) for axis in view._box.viewRange()]


def grown(count: int, level: float = 1.0) -> Curve:
    x = np.arange(1.0, count + 1)
    return Curve(x, level / x, label="loss")


def test_it_runs_ahead_and_moves_only_when_a_curve_arrives(view):
    view.set_curve("loss", grown(100))
    first = ends(view)
    assert first[0] == pytest.approx([1, 100 + AHEAD * 99]) and first[1][0] < 0.01 and first[1][1] > 1
    view.set_curve("loss", grown(120))
    assert ends(view) == first
    view.set_curve("loss", grown(130))
    assert ends(view)[0][1] > 130 and ends(view)[1] == pytest.approx(first[1], abs=0.01)
    view.set_curve("other", grown(50, level=3.0))
    assert ends(view)[1][1] > 3


def test_another_run_begins_its_own_view(view):
    view.set_curve("loss", grown(1000))
    view.set_curve("loss", grown(20))
    assert ends(view)[0][1] < 30
    view.remove("loss")
    view.set_curve("loss", grown(18))
    assert ends(view)[0][1] == pytest.approx(18 + AHEAD * 17)


def test_what_a_person_chose_stays_until_all_is_asked_for(view):
    view.set_curve("loss", grown(100))
    view._box.setRange(xRange=(10, 20), yRange=(0, 0.2), padding=0)
    view._box.sigRangeChangedManually.emit(view._box.state["mouseEnabled"])
    view.set_curve("loss", grown(400))
    assert ends(view)[0] == pytest.approx([10, 20])
    view.reset_view()
    assert ends(view)[0][1] > 400


def test_a_logarithmic_axis_is_settled_in_its_logarithms(view):
    view.set_curve("loss", grown(100))
    view.set_log(y=True)
    low, high = ends(view)[1]
    assert low == pytest.approx(-2.12, abs=0.01) and high == pytest.approx(0.12, abs=0.01)


def test_nothing_and_a_single_point_are_no_trouble(view):
    view.set_curve("loss", Curve(np.zeros(0), np.zeros(0)))
    view.set_curve("loss", Curve(np.array([3.0]), np.array([2.0])))
    (x0, x1), (y0, y1) = ends(view)
    assert x0 <= 3 < x1 and y0 < 2 < y1
    view.set_curve("loss", Curve(np.array([1.0, 2.0]), np.array([np.nan, np.inf])))
    assert ends(view) == [[x0, x1], [y0, y1]]
