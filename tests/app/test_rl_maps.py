"""Maps of values and policy, the pictures of one update, and the lamps: what is painted where, and what is said of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QColor
from PySide6.QtTest import QTest

from app import theme
from app.protocol.rl import GridView, LampView, Landscape, LineSearchView, NoiseView, PlaneView, QSurfaceView, RatioView
from app.widgets import plane_layers
from app.widgets.chart_frame import padded, tick_words, ticks
from app.widgets.colour_scale import ColourScale, figure
from app.widgets.inside_view import InsideView
from app.widgets.lamp_row import LampRow
from app.widgets.landscape_chart import boundary
from app.widgets.plane_map import PlaneMap
from tests.app.test_rl_agents import GRID, frame

N = 21
XS, YS = np.meshgrid(np.linspace(-0.2, 0.2, N), np.linspace(-3, 3, N))
PLANE = PlaneView(
    x_name="angle (rad)", y_name="angular velocity (rad/s)", x_range=(-0.2, 0.2), y_range=(-3.0, 3.0), fixed="cart in the middle",
    value=XS + YS * 10, action=(XS > 0), certainty=0.5 + np.abs(XS) * 2.5, advantage=XS, action_names=("push left", "push right"),
    circular=False, timesteps=2048, advantage_name="advantage of push right",
)  # fmt: skip
SWING = replace(
    PLANE, x_range=(-np.pi, np.pi), action=np.clip(XS * 20, -2, 2), certainty=None, advantage=None, action_names=("torque",), circular=True,
    action_range=(-2.0, 2.0),
)  # fmt: skip


@pytest.fixture
def plane(qtbot):
    made = PlaneMap()
    qtbot.addWidget(made)
    made.resize(500, 420)
    made.show()
    return made


def colour_at(widget, point: QPointF) -> QColor:
    return widget.grab().toImage().pixelColor(round(point.x()), round(point.y()))


def table(name: str, level: int) -> tuple[int, ...]:
    return tuple(theme.lookup_table(name)[level].tolist())


# --- planes -----------------------------------------------------------------------------------------------------


def test_high_values_are_bright_and_high_y_is_up(plane):
    plane.set_arrows(False)
    plane.show_view(PLANE)
    axes = plane.frame()
    for x, y in ((0.15, 2.4), (-0.1, -2.1), (0.02, 0.3)):
        row, column = plane_layers.cell_at(PLANE, x, y)
        share = (PLANE.value[row, column] + 30.2) / 60.4
        for nudge in (-7, 0, 7):  # the cell reaches half its size to all sides of its state
            got = colour_at(plane, axes.at(float(XS[0, column]), float(YS[row, 0])) + QPointF(nudge, nudge))
            assert got.getRgb()[:3] == table("viridis", int(share * 255))


def test_a_narrow_map_tells_the_arrows_in_its_caption_of_several_lines(plane):
    plane.show_view(PLANE)
    assert plane.caption().endswith("cart in the middle") and plane.foot() == 20
    plane.resize(230, 340)
    assert "← push left, → push right" in plane.caption() and plane.foot() > 30
    assert plane.frame().place.bottom() < plane.height() - plane.foot() - 20


def test_a_pointer_reads_the_state_under_it(plane):
    plane.show_view(PLANE)
    at = plane.frame().at(0.1, -1.5)
    QTest.mouseMove(plane, QPoint(round(at.x()), round(at.y())))
    plane._pointer = at
    words = plane.readout()
    for part in ("angle 0.1, angular velocity −1.5", "v(s) −14.9", "push right (75%)", "advantage 0.1"):
        assert part in words
    plane._pointer = QPointF(2, 2)
    assert plane.readout() == "" and "2,048 steps" in plane.caption() and "cart in the middle" in plane.caption()


def test_actions_are_regions_in_their_colours_faded_where_they_are_doubtful(plane):
    plane.show_view(PLANE)
    plane.set_layer("action")
    axes = plane.frame()
    assert colour_at(plane, axes.at(-0.2, 1) + QPointF(3, 0)) == theme.data_colour(0)
    assert colour_at(plane, axes.at(0.2, 1) - QPointF(3, 0)) == theme.data_colour(1)
    doubtful = plane_layers.action_colour(0, 1.0)
    assert doubtful != theme.data_colour(0) and colour_at(plane, axes.at(0.0, 1)) == doubtful


def test_real_actions_are_a_signed_map_over_their_whole_range(plane):
    plane.show_view(SWING)
    plane.set_layer("action")
    assert (plane._scale.top, plane._scale.signed) == (2.0, True)
    axes = plane.frame()
    assert colour_at(plane, axes.at(3.0, 1)).getRgb()[:3] == table("diverging", 255)
    assert colour_at(plane, axes.at(-3.0, 1)).getRgb()[:3] == table("diverging", 0)
    assert plane.layers() == ("value", "action") and "action +2.00" in plane_layers.words_at(SWING, 3.1, 0)


def test_advantages_are_signed_and_a_layer_that_is_missing_falls_back(plane):
    plane.show_view(PLANE)
    plane.set_layer("advantage")
    assert plane.layer == "advantage" and plane._scale.signed and "advantage of push right" in plane.caption()
    plane.show_view(SWING)
    assert plane.layer == "value"
    with pytest.raises(ValueError, match="layer"):
        plane.set_layer("colour")
    QTest.keyClick(plane, Qt.Key.Key_P)
    assert plane.layer == "action"


def test_arrows_point_to_the_side_of_the_action_and_are_longer_where_it_is_sure():
    left, right = plane_layers.push_of(PLANE, 10, 0), plane_layers.push_of(PLANE, 10, N - 1)
    assert left == -1 and right == 1 and 0 < plane_layers.push_of(PLANE, 10, 12) < 0.7
    assert plane_layers.push_of(SWING, 0, N - 1) == 1 and plane_layers.push_of(SWING, 0, N // 2) == 0
    three = replace(PLANE, action=np.ones((N, N)), certainty=np.ones((N, N)), action_names=("left", "none", "right"))
    assert plane_layers.push_of(three, 0, 0) == 0
    assert plane_layers.arrow_words(PLANE) == "← push left, → push right"


def test_the_trail_follows_the_agent_and_begins_anew_with_an_episode(plane):
    plane.show_view(PLANE)
    for step in range(5):
        plane.follow(frame(facts={"x": 0, "velocity": 0, "angle": step * 0.01, "angular_velocity": 1.0}, step=step))
    assert plane.trail == [(step * 0.01, 1.0) for step in range(5)]
    assert colour_at(plane, plane.frame().at(0.04, 1.0)) == theme.data_colour(1)
    plane.show_view(replace(PLANE, timesteps=4096))
    assert len(plane.trail) == 5  # the map is newer, the agent is where it was
    plane.follow(frame(step=0))
    assert plane.trail == [(0.15, 0.2)]
    plane.clear("Nothing here.")
    assert plane.trail == [] and plane.layers() == () and plane.accessibleDescription() == "Nothing here."


def test_a_trail_on_a_circle_breaks_where_it_goes_round():
    trail = [(3.0, 0), (3.1, 0), (-3.1, 0), (-3.0, 0)]
    assert plane_layers.stretches(trail, 2 * np.pi, True) == [trail[:2], trail[2:]]
    assert plane_layers.stretches(trail, 2 * np.pi, False) == [trail]


def test_a_grid_is_shown_with_its_agent_and_read_cell_by_cell(plane):
    plane.show_view(replace(GRID, here=(0, 1)))
    cells = plane._cells()
    assert colour_at(plane, cells.at(0, 1).center()) == theme.data_colour(1)
    corner = cells.at(1, 0).topLeft() + QPointF(8, 8)
    assert colour_at(plane, corner).getRgb()[:3] == table("viridis", 0)
    plane._pointer = cells.at(1, 0).center()
    assert "value −1.000" in plane.readout() and "right 70%" in plane.readout()
    plane.follow(frame("GridWorld-5x5", {"row": 1.0, "column": 0.0}, step=1))
    assert colour_at(plane, cells.at(1, 0).center()) == theme.data_colour(1)
    plane.set_layer("action")
    likeliest = plane_layers.mixed(theme.data_colour(1), theme.colour("surface"), (1 - 0.45 / 0.75) * 0.75)
    assert colour_at(plane, cells.at(0, 0).topRight() + QPointF(-8, 8)) == likeliest
    assert isinstance(plane._view, GridView) and plane.layers() == ("value", "action")


def test_a_scale_may_span_numbers_below_zero_and_tells_its_ends():
    scale = ColourScale.spanning(np.array([-1600.0, -400.0, np.nan]))
    assert scale.shares(np.array([-1600.0, -1000.0, -400.0, 0.0])).tolist() == [0, 0.5, 1, 1] and scale.ends() == ("−1,600", "−400")
    assert ColourScale.spanning(np.array([-3.0, 1.0]), signed=True).top == 3 and figure(-0.25) == "−0.250" and figure(2.4e-4) == "2.4e-04"
    flat = ColourScale.spanning(np.full((2, 2), 7.0))
    assert np.isfinite(flat.shares(np.full((2, 2), 7.0))).all()


# --- axes -------------------------------------------------------------------------------------------------------


def test_ticks_are_few_round_and_within():
    assert ticks((0, 1), 5) == [0, 0.2, 0.4, 0.6, 0.8, 1.0] and ticks((-3, 3), 3) == [-2, 0, 2]
    assert all(len(ticks(ends, 2)) >= 2 for ends in ((-0.21, 0.21), (-3.14, 3.14), (0, 1.1), (7, 7.3), (-1200, 0)))
    assert tick_words(-2, (-3, 3)) == "−2" and tick_words(12345, (0, 20000)) == "12,345" and tick_words(0.25, (0, 0.5)) == "0.25"
    assert padded(np.array([0.0, np.nan, 10.0]), 0.1) == (-1, 11) and padded(np.array([np.nan])) == (0, 1)


# --- inside an update -------------------------------------------------------------------------------------------

COUNTS = np.zeros(80)
COUNTS[[30, 38, 40, 41, 79]] = (10, 30, 40, 15, 5)
RATIOS = RatioView(edges=np.linspace(0, 2, 81), counts=COUNTS, clip_range=0.2, outside=0.15, kl_by_epoch=(0.01, 0.02), stopped_in_epoch=1,
                   timesteps=2048)  # fmt: skip
ALONG = np.linspace(0, 1.5, 31)
GX = np.linspace(-1.5, 1.5, 31)
LAND = Landscape(
    at=GX, gain=GX[None] * np.ones((31, 1)), kl=0.01 * (GX[None] ** 2 + 4 * GX[:, None] ** 2), plain=(0.6, 0.8), plain_gain=0.0125,
)  # fmt: skip
SEARCH = LineSearchView(
    fractions=(1.0, 0.8, 0.64), kl=(0.012, 0.009, 0.006), gain=(0.02, -0.01, 0.015), accepted=2, delta=0.01, step_size=0.05, cosine=0.4,
    residuals=(1.0, 0.1), along=ALONG, along_kl=0.012 * ALONG**2, along_gain=0.02 * ALONG, timesteps=512, landscape=LAND,
)  # fmt: skip
Q_XS, Q_AS = np.meshgrid(np.linspace(-3, 3, 31), np.linspace(-2, 2, 21))
SURFACE = QSurfaceView(x_name="angle (rad)", x=Q_XS[0], action=Q_AS[:, 0], q=-((Q_AS - Q_XS / 2) ** 2), actor=Q_XS[0] / 2 + 0.1,
                       timesteps=900)  # fmt: skip
NOISE = NoiseView(history=np.array([[0.0], [0.3], [-0.4]]), sigma=0.2, theta=0.0, target_lag=0.05)


@pytest.fixture
def inside(qtbot):
    made = InsideView()
    qtbot.addWidget(made)
    made.resize(560, 420)
    made.show()

    def show(view, number=0):
        made.show_view(view)
        assert not made.grab().isNull()
        return made.charts()[number]

    return show


def test_the_histogram_counts_by_ratio_and_marks_what_is_outside_the_band(inside):
    chart = inside((RATIOS,))
    assert chart.band() == pytest.approx((0.8, 1.2)) and chart.shares.sum() == pytest.approx(1)
    axes = chart.frame()
    foot = axes.at(1.0125, 0.02)
    assert chart.bin_at(foot) == 40 and "40.00%" in chart.readout(foot) and "within" in chart.readout(foot)
    away = axes.at(0.7625, 0.02)
    assert chart.bin_at(away) == 30 and "10.00%" in chart.readout(away) and "outside" in chart.readout(away)
    assert "and above" in chart.readout(axes.at(1.99, 0.01))
    assert colour_at(chart, foot) == theme.colour("accent")
    assert colour_at(chart, axes.at(1.0125, 0.39)) == theme.colour("accent")
    assert colour_at(chart, axes.at(1.0125, 0.42)) != theme.colour("accent")
    caption = chart.caption()
    assert "15.0% of the ratios outside 1 ± 0.2" in caption and "stopped by the KL limit in epoch 2" in caption
    QTest.keyClick(chart, Qt.Key.Key_L)
    assert chart.frame().y[0] == -4 and chart.height_of(0.1) == pytest.approx(-1)


def test_the_line_search_shows_trials_where_they_were_and_why_they_failed(inside):
    chart = inside(SEARCH)
    above, below = chart.frames()
    assert chart.trial_at(above.at(0.64, 0.015)) == 2 and chart.trial_at(below.at(1.0, 0.012)) == 0 and chart.trial_at(QPointF(0, 0)) == -1
    assert colour_at(chart, above.at(0.64, 0.015)) == theme.colour("ok") == colour_at(chart, below.at(0.64, 0.006))
    assert colour_at(chart, below.at(1.0, 0.012)) == theme.colour("error")
    assert "KL is above delta" in chart.readout(below.at(1.0, 0.012)) and "not gained" in chart.reason(1)
    assert "accepted 0.64 of the full step" in chart.caption() and "accepted" in chart.readout(above.at(0.64, 0.015))
    assert "as it was" in inside(replace(SEARCH, accepted=-1)).caption()


def test_the_true_trust_region_is_where_the_kl_is_delta(inside):
    (line,) = boundary(LAND, 0.01)
    radius = line[:, 0] ** 2 + 4 * line[:, 1] ** 2
    assert np.abs(radius - 1).max() < 0.02 and np.abs(line[:, 0]).max() == pytest.approx(1, abs=0.02)
    chart = inside(SEARCH, 1)
    assert colour_at(chart, chart.frame().at(0.64, 0)) == theme.colour("ok") and "gain" in chart.readout(chart.frame().at(0.5, 0.5))
    axes = chart.frame()
    assert 1.61 > axes.place.width() / axes.place.height() > 1 / 1.61 and "gains 1.000, the plain one 0.013" in chart.caption()
    along = axes.at(0.3, 0.4)  # half way up the plain gradient
    near = [colour_at(chart, along + QPointF(dx, dy)).getRgb() for dx in (-1, 0, 1) for dy in (-1, 0, 1)]
    wanted = theme.data_colour(2).getRgb()
    assert min(max(abs(one - other) for one, other in zip(ink, wanted, strict=True)) for ink in near) < 48, "a slanted stroke of two pixels"
    inside(replace(SEARCH, landscape=None))  # the next update has none: the last one stays
    assert chart.isVisible() and chart.has_view()


def test_the_q_surface_has_its_ridge_the_actor_and_the_right_way_up(inside):
    chart = inside((SURFACE, NOISE))
    assert chart.ridge() == pytest.approx(Q_XS[0] / 2, abs=0.101) and "0.1" in chart.caption()
    axes = chart.frame()
    assert "Q −4" in chart.readout(axes.at(2.0, -1.0)) and "action −1.00" in chart.readout(axes.at(2.0, -1.0))
    row, column = 2, 28  # action -1.6, angle 2.6: one of the lowest
    share = (SURFACE.q[row, column] - SURFACE.q.min()) / (SURFACE.q.max() - SURFACE.q.min())
    at = axes.at(float(SURFACE.x[column]), float(SURFACE.action[row]))
    assert colour_at(chart, at).getRgb()[:3] == table("viridis", int(share * 255))
    chart.set_relative(True)
    assert chart.shown().max(0) == pytest.approx(np.zeros(31)) and chart.shown().min() < -5
    chart.set_relative(False)
    assert colour_at(chart, axes.at(-2.0, -0.9)).lightness() < 60 < colour_at(chart, axes.at(2.0, -0.9)).lightness()  # the actor's line


def test_noise_is_read_backwards_from_now(inside):
    chart = inside((SURFACE, NOISE), 1)
    axes = chart.frame()
    assert chart.readout(axes.at(0, 0)) == "0 steps ago: −0.400" and chart.readout(axes.at(-1, 0.2)) == "1 steps ago: +0.300"
    assert chart.spread() == pytest.approx((0.25 / 3) ** 0.5) and "white, sigma 0.2" in chart.caption() and "5.00%" in chart.caption()


def test_another_algorithm_brings_other_charts_and_clear_says_what_comes(inside, qtbot):
    chart = inside((SURFACE, NOISE))
    view = chart.parent()
    assert len(view.charts()) == 2
    inside((RATIOS,))
    assert [type(c).__name__ for c in view.charts()] == ["RatioHistogram"]
    view.clear("A2C shows nothing here.")
    assert view.charts() == () and view._words.isVisible() and view._words.text() == "A2C shows nothing here."
    view.show_view(())
    assert view._words.isVisible()


# --- lamps ------------------------------------------------------------------------------------------------------

LAMPS = (
    LampView("KL", "good", "Updates are small."), LampView("Critic", "watch", "The critic says little."),
    LampView("Return", "bad", "The return has fallen."), LampView("Clipping", "off", "Only PPO clips."),
)  # fmt: skip


@pytest.fixture
def lamps(qtbot):
    made = LampRow()
    qtbot.addWidget(made)
    made.resize(560, made.sizeHint().height())
    made.show()
    made.set_lamps(LAMPS)
    return made


def test_the_worst_lamp_speaks_until_another_is_chosen_or_pointed_at(lamps, qtbot):
    assert lamps.current().name == "Return"
    with qtbot.waitSignal(lamps.chosen, check_params_cb=lambda name: name == "KL"):
        QTest.mouseClick(lamps, Qt.MouseButton.LeftButton, pos=lamps._cell(0).center().toPoint())
    lamps._hover = -1
    assert lamps.current().name == "KL"
    QTest.keyClick(lamps, Qt.Key.Key_Right, Qt.KeyboardModifier.ShiftModifier)
    assert lamps.current().name == "Critic"
    lamps.choose("")
    QTest.mouseMove(lamps, lamps._cell(3).center().toPoint())
    qtbot.waitUntil(lambda: lamps.current().name == "Clipping")


def test_verdicts_differ_in_colour_shape_and_word(lamps):
    picture = lamps.grab().toImage()
    signs = []
    for number, role in enumerate(("ok", "warn", "error", "pending")):
        cell = lamps._cell(number)
        around = [picture.pixelColor(round(cell.left() + 15 + dx), round(cell.center().y() + 1 + dy)).name() for dx in range(-8, 9)
                  for dy in range(-8, 9)]  # fmt: skip
        assert theme.colour(role).name() in around
        signs.append(tuple(name == theme.colour(role).name() for name in around))
    assert len(set(signs)) == 4
    for part in ("KL good: Updates are small.", "Critic watch", "Return bad", "Clipping no data"):
        assert part in lamps.accessibleDescription()


def test_a_row_without_lamps_says_when_they_come(lamps):
    lamps.set_lamps(())
    assert lamps.current() is None and "light up" in lamps.accessibleDescription() and lamps.lamp_at(20, 20) == -1
