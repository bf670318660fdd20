"""The derivative lab's runner: the worked example exactly, the counterexamples as they are, and what no formula is."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from app.jobs.derivatives import GALLERY, Gradient
from app.protocol.errors import UserError
from app.protocol.events import Done, Failed, Record
from models.optim import formula


def told(events, channel: str):
    (found,) = [event.payload for event in events if isinstance(event, Record) and event.channel == channel]
    return found


def facts(events) -> dict:
    assert isinstance(events[-1], Done), events[-1]
    return events[-1].result.facts


def test_the_worked_example_is_exactly_22_fifths(drive):
    events = drive(Gradient())
    found, rise = facts(events), told(events, "rise")
    assert (found["exact"], found["directional"], found["exact_steepest"]) == ("22/5", pytest.approx(4.4, abs=1e-12), "2*sqrt(5)")
    assert found["angle_degrees"] == pytest.approx(10.3048, abs=1e-3) and "22/5 = 4.4" in found["worked"]
    assert rise.gradient == pytest.approx((2, 4)) and rise.unit == pytest.approx((0.6, 0.8))


def test_the_surface_is_f_at_the_middles_of_its_cells(drive):
    land = told(drive(Gradient(function="x - 2*y", side=5, reach=2.5)), "surface")
    x, y = np.meshgrid(1 + np.arange(-2, 3), 2 + np.arange(-2, 3))
    assert np.allclose(land.values, x - 2 * y) and land.centre == (1, 2)


def test_slice_turn_secants_and_level_agree_with_the_function(drive):
    rise = told(drive(Gradient(function="x^2*y", point=("1", "2"), direction=("1", "1"))), "rise")
    t, root = rise.slice_at, math.sqrt(0.5)
    assert np.allclose(rise.slice_height, (1 + t * root) ** 2 * (2 + t * root))
    assert np.allclose(rise.around, 4 * np.cos(rise.turn) + np.sin(rise.turn))
    assert rise.around.max() == pytest.approx(rise.steepest, rel=1e-3)
    assert abs(rise.secant_slope[0] - rise.directional) > 1
    assert len(rise.level) > 50 and np.allclose(rise.level[:, 0] ** 2 * rise.level[:, 1], 2, atol=1e-6)


def test_the_square_stays_while_the_point_is_in_it(drive):
    inside = drive(Gradient(point=("2", "3"), centre=(1, 2)))
    land, rise = told(inside, "surface"), told(inside, "rise")
    assert land.centre == (1, 2) and rise.point == (2, 3) and np.abs(rise.level - (1, 2)).max() <= 2.5
    assert np.allclose(np.hypot(*rise.level.T), np.hypot(2, 3)) and land.values[40, 40] == pytest.approx(5)
    assert told(drive(Gradient(point=("4", "3"), centre=(1, 2))), "surface").centre == (4, 3)


def test_quotients_err_like_h_and_h_squared_until_rounding_takes_over(drive):
    rise = told(drive(Gradient(function="sin(x)*cos(y)", point=("0.6", "-0.4"), direction=("1", "2"), side=0)), "rise")
    h = rise.secant_step
    secant, central = (np.abs(values - rise.directional) for values in (rise.secant_slope, rise.secant_central))
    mild = (h < 0.2) & (h > 1e-4)
    assert np.polyfit(np.log(h[mild]), np.log(secant[mild]), 1)[0] == pytest.approx(1, abs=0.05)
    mild &= h > 1e-3
    assert np.polyfit(np.log(h[mild]), np.log(central[mild]), 1)[0] == pytest.approx(2, abs=0.05)
    assert secant.min() < 1e-7 < 1e-4 < secant[-1] and h[-1] == pytest.approx(1e-15) and 1e-9 < h[secant.argmin()] < 1e-6


@pytest.mark.parametrize(("function", "point"), [("1/x", ("1", "2")), ("tan(3*x)*y", ("1", "2")), ("1/(x^2 + (y - 2)^2)", ("1", "2"))])
def test_heights_beside_a_pole_are_cut_and_only_there(drive, function, point):
    land = told(drive(Gradient(function=function, point=point)), "surface")
    low, high = land.cut
    assert np.nanmin(land.values) <= low < high <= np.nanmax(land.values)
    assert (high - low) < 0.8 * (np.nanmax(land.values) - np.nanmin(land.values))
    inside = (land.values >= low) & (land.values <= high)
    assert inside.mean() > 0.75


@pytest.mark.parametrize("function", [*GALLERY.values(), "log(x)", "exp(x*y)", "7", "sqrt(-1 - x^2)"])
def test_without_a_pole_nothing_is_cut(drive, function):
    ends = drive(Gradient(function=function))
    lands = [event.payload for event in ends if isinstance(event, Record) and event.channel == "surface"]
    assert all(land.cut is None for land in lands) and (lands or "no finite value" in ends[-1].report.title)


@pytest.mark.parametrize(
    ("name", "direction", "slope"), [("Cone", ("3", "4"), 1.0), ("Roof", ("3", "4"), 1.4), ("Ridge", ("1", "1"), math.sqrt(0.5))]
)
def test_where_f_is_not_smooth_slopes_are_limits_and_no_gradient_is_claimed(drive, name, direction, slope):
    events = drive(Gradient(function=GALLERY[name], point=("0", "0"), direction=direction))
    found, rise = facts(events), told(events, "rise")
    assert not found["differentiable"] and rise.gradient is None and rise.exact == "" and len(rise.level) == 0
    assert found["directional"] == pytest.approx(slope, abs=1e-3)


def test_the_panel_offers_the_gallery_of_the_model():
    assert {name.lower(): text.replace(" ", "") for name, text in GALLERY.items() if name != "Bowl"} == {
        name.lower(): text.replace(" ", "") for name, text in formula.GALLERY.items() if name not in ("bowl", "paraboloid")
    }


@pytest.mark.parametrize(("changes", "words"), [
    ({"function": "x +"}, "not a formula"), ({"function": "__import__('os')"}, "Allowed|allowed|not a formula"),
    ({"function": "1/x", "point": ("0", "0")}, "no finite value"), ({"direction": ("0", "0")}, "no direction"),
    ({"point": ("a", "1")}, "not a number"),
])  # fmt: skip
def test_what_cannot_be_is_told_in_a_sentence(drive, changes, words):
    failed = drive(Gradient(**changes))[-1]
    assert isinstance(failed, Failed)
    assert re.search(words, f"{failed.report.title} {failed.report.hint}")


def test_a_point_has_two_numbers():
    with pytest.raises(UserError, match="middle has 3"):
        Gradient(centre=(1, 2, 3))
    with pytest.raises(UserError, match="1 numbers"):
        Gradient(point=("1",))
