"""The plot of metrics: what is drawn, read and told; the marker and its moments; what is behind the curves."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QPointF, Qt
from PySide6.QtTest import QTest

from app import theme
from app.protocol.rl import Reference
from app.widgets.metric_plot import Line, MetricPlot
from app.widgets.metric_series import Smoother

X = np.arange(1.0, 11) * 100


def line(key="a", group="", colour=0, x=X, y=X / 10, label="") -> Line:
    return Line(key, group, colour, np.asarray(x, float), np.asarray(y, float), label or f"run {key}")


@pytest.fixture
def plot(qtbot):
    made = MetricPlot("Return")
    qtbot.addWidget(made)
    made.resize(600, 320)
    made.show()
    return made


def drawn(plot, kind, key) -> tuple[np.ndarray, np.ndarray]:
    plot.refresh()
    return plot.layers._curves[kind, key].getData()


def test_a_curve_is_drawn_as_told_and_in_its_colour(plot):
    plot.set_lines([line(colour=2)])
    x, y = drawn(plot, "line", "a")
    assert np.array_equal(x, X) and np.array_equal(y, X / 10)
    assert plot.layers._curves["line", "a"].opts["pen"].color().name() == theme.data_colour(2).name()
    (x0, x1), (y0, y1) = plot.box.viewRange()
    assert x0 <= 100 and x1 >= 1000 and y0 < 10 and y1 > 100 and y1 < 130


def test_smoothing_draws_the_debiased_average_over_the_faint_curve_and_says_so(plot):
    plot.set_smoothing(5)
    plot.set_lines([line()])
    assert np.allclose(drawn(plot, "line", "a")[1], Smoother(5).extend(X / 10)) and np.array_equal(drawn(plot, "raw", "a")[1], X / 10)
    assert "EMA over 5 points, debiased" in plot.head.note
    plot.set_smoothing(1)
    plot.refresh()
    assert ("raw", "a") not in plot.layers._curves and "EMA" not in plot.head.note


def test_seeds_get_a_mean_and_a_band_of_one_standard_deviation(plot):
    plot.set_lines([line("a", "PPO", y=X * 0 + 10), line("b", "PPO", y=X * 0 + 30), line("c", "A2C", 1)])
    x, y = drawn(plot, "mean", "PPO")
    assert np.allclose(y, 20) and (x[0], x[-1]) == (100, 1000) and ("mean", "A2C") not in plot.layers._curves
    box = plot.layers._shapes["band", "PPO"].boundingRect()
    assert (box.top(), box.bottom()) == pytest.approx((20 - 200**0.5, 20 + 200**0.5))
    assert "mean of 2 seeds" in plot.head.note and "n − 1" in plot.head.note
    words = dict(plot.readout(500))
    assert words["PPO: mean of 2"] == "20 ± 14.1" and words["run a"] == "10" and words["run c"] == "50"


def test_evaluations_are_points_that_are_neither_smoothed_nor_averaged(plot):
    plot.set_smoothing(50)
    told = [Line(key, "evaluation", 7, X[:3], np.array([1.0, 9.0, 5.0]), key, points=True) for key in ("a/eval", "b/eval")]
    plot.set_lines([line(), *told])
    assert drawn(plot, "line", "a/eval")[1].tolist() == [1, 9, 5] and ("mean", "evaluation") not in plot.layers._curves
    assert plot.layers._shapes["points", "a/eval"].boundingRect().bottom() == 9 and plot.layers.largest_group == 1


def test_the_key_stands_where_it_hides_least(plot):
    plot.set_lines([line(x=np.linspace(0, 100, 200), y=np.linspace(0, 100, 200) ** 2)])  # low at first, high at the end
    plot.reset_view()
    plot.refresh()
    assert plot.layers.hidden_by(0, 50, 5000, 10000) == 0 and plot.layers.hidden_by(50, 100, -1, 10001) == 24
    rising = plot.reader.key.pos()
    plot.set_lines([line(x=np.linspace(0, 100, 200), y=-np.linspace(0, 100, 200))])
    plot.refresh()
    assert plot.reader.key.pos().y() < rising.y() - 50


def test_a_line_that_goes_on_costs_only_its_new_part_and_one_that_changes_is_made_anew(plot):
    plot.set_lines([line()])
    kept = plot.tracks.lines["a"]
    plot.set_lines([line(x=np.append(X, 1100), y=np.append(X / 10, 7))])
    assert plot.tracks.lines["a"] is kept and kept.raw.y[-1] == 7 and len(kept.raw) == 11
    plot.append("a", 1200.0, 8.0)
    assert drawn(plot, "line", "a")[1][-1] == 8
    plot.set_lines([line(y=X)])
    assert plot.tracks.lines["a"] is not kept and np.array_equal(drawn(plot, "line", "a")[1], X)
    plot.set_lines([])
    plot.refresh()
    assert not plot.layers._curves and not plot.tracks and plot.reader.key.head.startswith("Curves grow")


def test_changes_are_drawn_once_and_not_at_all_while_nobody_looks(plot, qtbot, monkeypatch):
    plot.refresh()
    drawings = []
    monkeypatch.setattr(plot.layers, "draw", lambda *a: drawings.append(a) or (0.0, 1.0))
    plot.set_lines([line()])
    plot.set_dots("a", X, X)
    plot.set_marks([(300, "lr")])
    qtbot.waitUntil(lambda: len(drawings) == 1)
    plot.set_lines([line()])
    plot.set_dots("a", X, X)
    plot.set_reference(None)
    qtbot.wait(20)
    assert len(drawings) == 1
    plot.hide()
    plot.set_lines([line("b")])
    qtbot.wait(20)
    assert len(drawings) == 1
    plot.show()
    qtbot.waitUntil(lambda: len(drawings) > 1)


def test_a_logarithmic_axis_shows_powers_and_says_what_it_leaves_out(plot):
    plot.set_lines([line(y=[-1, 0, 1, 10, 100, 1000, 1, 1, 1, 1])])
    plot.set_log(True)
    _, y = drawn(plot, "line", "a")
    assert np.isnan(y[:2]).all() and y[2:6].tolist() == [0, 1, 2, 3]
    assert "log scale" in plot.head.note and plot.csv().splitlines()[1] == "a,100,-1"


def test_the_wheel_zooms_into_x_and_y_follows_what_is_in_sight(plot):
    plot.set_lines([line(y=[1000, 1, 2, 3, 4, 5, 6, 7, 8, 9])])
    plot.refresh()
    plot.box.setXRange(500, 800, padding=0)
    plot._on_zoomed()
    plot.refresh()
    (x0, x1), (_, y1) = plot.box.viewRange()
    assert (x0, x1) == (500, 800) and y1 < 12
    plot.set_lines([line(x=np.append(X, 1100), y=[1000, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10])])
    plot.refresh()
    assert plot.box.viewRange()[0] == [500, 800]  # what comes in does not move the part in sight
    plot.reset_view()
    plot.refresh()
    assert plot.box.viewRange()[0][1] >= 1100 and plot.box.viewRange()[1][1] > 1000
    QTest.keyClick(plot, Qt.Key.Key_Plus)
    plot.refresh()
    assert plot.box.viewRange()[0][1] < 1100


def test_the_reference_stands_behind_the_curves_with_its_source(plot):
    plot.set_lines([line()])
    plot.set_reference(Reference(500.0, 20.0, 800, "rl-zoo"))
    plot.refresh()
    band, point = plot.layers._shapes["reference", "band"].boundingRect(), plot.layers._shapes["reference", "point"].boundingRect()
    assert (band.top(), band.bottom()) == (480, 520) and point.left() == 800 and plot.layers._level.value() == 500
    assert plot.layers._level.label.format == "reference: 500 ± 20 after 800 steps (rl-zoo)"
    assert plot.box.viewRange()[1][1] > 520 and any("late" in words for words, _ in plot.readout(500))
    plot.set_reference(None)
    plot.refresh()
    assert not plot.layers._shapes


def test_dots_belong_to_their_line_and_marks_stand_where_knobs_were_turned(plot):
    plot.set_lines([line(colour=3)])
    plot.set_dots("a", X, X * 2)
    plot.set_marks([(300, "lr 0.1 → 0.2"), (700, "clip 0.2 → 0.1")])
    plot.refresh()
    box = plot.layers._shapes["dots", "a"].boundingRect()
    assert (box.left(), box.right(), box.bottom()) == (100, 1000, 2000) and "dots: single episodes" in plot.head.note
    assert [(mark.value(), mark.label.format) for mark in plot.layers._marks] == [(300, "lr 0.1 → 0.2"), (700, "clip 0.2 → 0.1")]
    plot.set_dots("a", np.empty(0), np.empty(0))
    plot.refresh()
    assert ("dots", "a") not in plot.layers._shapes


def test_the_marker_snaps_to_moments_and_tells_only_what_a_person_does(plot, qtbot):
    heard = []
    plot.cursor_moved.connect(heard.append)
    plot.set_lines([line()])
    plot.set_moments([800, 200, 500])
    plot.set_cursor(500)
    assert heard == [] and plot.cursor_at() == 500
    plot.move_cursor(640)
    QTest.keyClick(plot, Qt.Key.Key_Right, Qt.KeyboardModifier.ShiftModifier)
    QTest.keyClick(plot, Qt.Key.Key_Right, Qt.KeyboardModifier.ShiftModifier)
    QTest.keyClick(plot, Qt.Key.Key_Left)
    assert heard == [500, 800, 800] and plot.cursor_at() == 800
    plot.set_cursor(None)
    assert plot.cursor_at() is None


def test_pointing_reads_all_runs_there_and_can_be_linked(plot, qtbot):
    plot.set_lines([line("a"), line("b", colour=1, y=X)])
    plot.refresh()
    heard = []
    plot.pointed.connect(heard.append)
    plot._on_mouse_moved(plot.box.mapViewToScene(QPointF(520, 50)))
    assert heard[-1] == pytest.approx(520, abs=2) and "520" in plot.reader.key.head
    assert [(row.words, row.value) for row in plot.reader.key.rows()] == [("run a", "50"), ("run b", "500")]
    other = MetricPlot("Entropy", compact=True)
    qtbot.addWidget(other)
    other.resize(200, 120)
    other.show()
    plot.pointed.connect(other.set_cross)
    other.set_lines([line()])
    plot.pointed.emit(300.0)
    assert other.head.value == "30"
    plot.set_cross(5000)
    assert plot.reader.key.rows()[0].value == "–"  # nothing is made up beyond the last point


def test_a_small_plot_shows_the_newest_value_and_can_be_pressed(qtbot):
    small = MetricPlot("approx_kl", compact=True)
    qtbot.addWidget(small)
    small.resize(220, 120)
    small.show()
    small.set_lines([line(y=X / 1e5)])
    small.refresh()
    assert small.head.value == "0.010"
    with qtbot.waitSignal(small.clicked):
        QTest.mouseClick(small.head, Qt.MouseButton.LeftButton)


def test_a_theme_that_changes_takes_all_along(plot):
    plot.set_lines([line()])
    plot.set_reference(Reference(50.0, 0.0, 800, "zoo"))
    plot.set_marks([(300, "lr")])
    plot.refresh()
    try:
        theme.apply("dark")
        plot.refresh()
        assert plot.layers._marks[0].pen.color().name() == theme.DARK.warn
        assert plot.layers._curves["line", "a"].opts["pen"].color().name() == theme.DARK.data[0]
        assert plot.layers._level.value() == 50
    finally:
        theme.apply("light")


def test_a_million_points_are_drawn_from_a_few_thousand(plot):
    n = 1_000_000
    plot.set_lines([line(x=np.arange(n), y=np.sin(np.arange(n)))])
    x, y = drawn(plot, "line", "a")
    assert len(x) < 2500 and y.max() == pytest.approx(1, abs=1e-3) and y.min() == pytest.approx(-1, abs=1e-3) and x[-1] == n - 1
