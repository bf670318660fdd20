"""The stage of the plane: where points, fields and densities are painted, and what the pointer tells."""

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QColor

from app import theme
from app.widgets import plane_stage
from app.widgets.plane_paint import arrow_lines, arrow_tips, cloud_picture, contours, enlarged, ink_layer, round_ticks, shade
from app.widgets.plane_stage import PlaneStage


@pytest.fixture
def stage(qtbot):
    stage = PlaneStage("Plane", empty="Press Train")
    qtbot.addWidget(stage)
    stage.resize(400, 420)
    stage.show()
    return stage


def test_a_point_leaves_its_ink_where_it_lies():
    ink = ink_layer(np.array([[10.5, 20.5]]), 64, 1.1).reshape(64, 64)
    rows, columns = np.nonzero(ink)
    assert ink.argmax() == 20 * 64 + 10 and ink.max() == pytest.approx(1)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (19, 21, 9, 11)


@pytest.mark.parametrize("radius", [1.1, 1.6, 3.0])
def test_no_ink_is_cut_off_at_the_edge_of_a_stamp(radius):
    """The area of a soft disc is about pi r^2, wherever in its pixel the middle lies."""
    for at in ([30.0, 30.0], [30.3, 30.9], [30.99, 30.5]):
        assert ink_layer(np.array([at]), 64, radius).sum() == pytest.approx(np.pi * (radius**2 + 1 / 12), rel=0.12)


def test_points_outside_and_points_that_are_no_numbers_are_left_out():
    places = np.array([[-5, 5], [np.nan, 3], [np.inf, 3], [500, 500], [32, 32]], float)
    alone = cloud_picture(places[-1:], 64, 1.1, [QColor("red")])
    assert cloud_picture(places, 64, 1.1, [QColor("red")]) == alone


def test_groups_have_their_own_ink():
    places = np.array([[16.5, 16.5], [48.5, 48.5]])
    picture = cloud_picture(places, 64, 1.6, [QColor(255, 0, 0), QColor(0, 0, 255)], np.array([0, 1]))
    first, second = picture.pixelColor(16, 16), picture.pixelColor(48, 48)
    assert first.red() > 200 > 5 > first.blue() and second.blue() > 200 > 5 > second.red()


def test_the_largest_density_has_most_ink_and_high_y_lies_above():
    values = np.zeros((4, 4))
    values[3, 0] = 2.0  # largest y, smallest x
    picture = shade(values, QColor("green"))
    assert picture.pixelColor(0, 0).alpha() == 255 and picture.pixelColor(0, 3).alpha() == 0


def test_arrows_point_along_the_field_and_tell_their_unit():
    places = np.zeros((100, 2))
    vectors = np.tile([[3.0, 4.0]], (100, 1))
    tips, unit = arrow_tips(places, vectors, 0.5)
    assert unit == pytest.approx(5) and np.allclose(tips, [[0.3, 0.4]])
    path = arrow_lines(np.array([[0.0, 0.0], [5.0, 5.0]]), np.array([[30.0, 0.0], [5.5, 5.0]]))
    ends = [QPointF(path.elementAt(n)) for n in range(path.elementCount())]
    assert len(ends) == 6 and path.elementAt(0).isMoveTo() and path.elementAt(1).isLineTo(), "the second is too short to be seen"
    assert ends[:2] == [QPointF(0, 0), QPointF(30, 0)] and ends[2] == ends[4] == QPointF(30, 0) and max(ends[3].x(), ends[5].x()) < 30


@pytest.mark.parametrize(("low", "high", "ticks"), [(-3, 3, [-3, -2, -1, 0, 1, 2, 3]), (-0.7, 0.7, [-0.6, -0.4, -0.2, 0, 0.2, 0.4, 0.6])])
def test_ticks_are_round(low, high, ticks):
    assert round_ticks(low, high) == pytest.approx(ticks)


def test_pixels_and_places_are_each_others_inverse(stage):
    stage.set_span(2.5)
    corner = stage.to_pixels(np.array([2.5, 2.5]))
    assert corner == pytest.approx((stage.square().right(), stage.square().top()))
    assert stage.to_plane(QPointF(*stage.to_pixels(np.array([0.3, -1.2])))) == pytest.approx((0.3, -1.2))


def test_a_stage_may_lie_elsewhere(stage):
    stage.set_span(2.0, (10.0, -5.0))
    assert stage.to_plane(stage.square().center()) == pytest.approx((10, -5))
    assert stage.to_pixels(np.array([12.0, -3.0])) == pytest.approx((stage.square().right(), stage.square().top()))


def test_a_particle_is_painted_at_its_place(stage):
    before = stage.grab().toImage()
    stage.set_points(np.array([[1.0, 1.5]]))
    x, y = stage.to_pixels(np.array([1.0, 1.5])).round().astype(int)
    assert stage.grab().toImage().pixelColor(x, y) != before.pixelColor(x, y)


def test_the_pen_leaves_points_only_when_it_is_on(stage, qtbot):
    drawn = []
    stage.pen_moved.connect(lambda x, y: drawn.append((x, y)))
    middle = stage.square().center().toPoint()
    qtbot.mouseClick(stage, Qt.MouseButton.LeftButton, pos=middle)
    assert drawn == []
    stage.set_pen(True)
    qtbot.mousePress(stage, Qt.MouseButton.LeftButton, pos=middle)
    for step in range(1, 4):
        qtbot.mouseMove(stage, middle + QPoint(20 * step, 0))
    assert drawn and drawn[0] == pytest.approx((0, 0), abs=0.02)


def test_the_wheel_zooms_and_a_double_click_shows_all_again(stage, qtbot):
    wide = stage.to_plane(stage.square().topRight())[0]
    stage._seen = 1.0
    assert stage.to_plane(stage.square().topRight())[0] == pytest.approx(1.0)
    qtbot.mouseDClick(stage, Qt.MouseButton.LeftButton, pos=stage.square().center().toPoint())
    assert stage.to_plane(stage.square().topRight())[0] == pytest.approx(wide)


def test_contours_part_the_plane_at_their_levels():
    y, x = np.mgrid[-1:1:80j, -1:1:80j]
    picture = contours(x**2 + y**2, 200, np.array([0.25]), QColor(10, 0, 0), QColor(200, 0, 0), QColor(0, 255, 0))
    assert picture.pixelColor(100, 100).red() == 10 and picture.pixelColor(5, 5).red() == 200
    line = [k for k in range(200) if picture.pixelColor(k, 100).green() == 255]
    assert len(line) == 2 and line[0] == pytest.approx(50, abs=2) and line[1] == pytest.approx(150, abs=2)


def test_enlarging_is_linear_between_middles():
    values = enlarged(np.array([[0.0, 1.0], [2.0, 3.0]]), 8)
    assert values[0, 0] == 0 and values[-1, -1] == 3 and values[0].max() == 1
    assert np.allclose(np.diff(values[0])[2:5], 0.25) and np.allclose(np.diff(values[:, 0])[2:5], 0.5)


def test_a_handle_is_dragged_and_only_it(stage, qtbot):
    moved, clicked = [], []
    stage.handle_moved.connect(lambda *told: moved.append(told))
    stage.clicked.connect(lambda *at: clicked.append(at))
    stage.set_handles({"start": (1.0, 1.0), "end": (-1.0, 0.0)})
    at = QPoint(*stage.to_pixels(np.array([1.0, 1.0])).round().astype(int))
    qtbot.mousePress(stage, Qt.MouseButton.LeftButton, pos=at + QPoint(3, 2))
    qtbot.mouseMove(stage, QPoint(*stage.to_pixels(np.array([0.5, -0.5])).round().astype(int)))
    qtbot.mouseRelease(stage, Qt.MouseButton.LeftButton)
    assert clicked == [] and moved[-1][0] == "start" and moved[-1][1:] == pytest.approx((0.5, -0.5), abs=0.02)
    qtbot.mouseClick(stage, Qt.MouseButton.LeftButton, pos=stage.square().center().toPoint())
    assert len(clicked) == 1


def test_paths_may_show_their_points(stage):
    stage.set_paths([np.array([[0.0, 0.0], [1.0, 1.0]])], [2])
    plain = stage.grab().toImage()
    stage.set_paths([np.array([[0.0, 0.0], [1.0, 1.0]])], [2], dots=True)
    x, y = stage.to_pixels(np.array([1.0, 1.0])).round().astype(int)
    assert stage.grab().toImage().pixelColor(x + 1, y) != plain.pixelColor(x + 2, y + 2)


def test_the_frame_of_a_stage_hides_nothing(qtbot):
    """A stage that is clicked has the focus, and a frame: what is drawn inside stays, also under handles."""
    stage = PlaneStage("Stage")
    qtbot.addWidget(stage)
    stage.resize(400, 400)
    stage.set_contours(np.add.outer(np.arange(9.0), np.arange(9.0)), np.arange(1.0, 16.0))
    stage.set_handles({"start": (0.5, 0.5)})
    middle = stage.square().adjusted(20, 20, -20, -20).toRect()
    before = stage.grab(middle).toImage()
    stage.set_framed(True)
    assert stage.grab(middle).toImage() == before
    edge = stage.square().topLeft().toPoint()
    assert stage.grab().toImage().pixelColor(edge) == theme.colour("focus")


def test_a_layer_that_stays_is_not_painted_anew(stage, monkeypatch):
    drawn = []
    monkeypatch.setattr(plane_stage, "cloud_picture", lambda *given: drawn.append(len(given[0])) or cloud_picture(*given))
    stage.grab()
    still, moving = np.zeros((7, 2)), np.ones((5, 2))
    for step in range(3):
        stage.set_points(still.copy(), layer=0)
        stage.set_points(moving * step, layer=1)
        stage.grab()
    assert drawn == [7, 5, 5, 5]
    stage.set_points(still, ink=3, layer=0)
    stage.grab()
    stage.resize(500, 500)
    stage.grab()
    assert drawn[4:] == [7, 7, 5]
