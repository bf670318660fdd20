"""The turned surface: what lies where, what is in front, and how it turns."""

import math

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt

from app.widgets.surface_view import Line, SurfaceView


@pytest.fixture
def view(qtbot):
    view = SurfaceView("Surface", empty="Type a function")
    qtbot.addWidget(view)
    view.resize(400, 320)
    view.show()
    return view


def bowl(n: int = 40) -> np.ndarray:
    at = (np.arange(n) + 0.5) / n * 2 - 1
    return at[:, None] ** 2 + at[None] ** 2


def test_higher_points_are_drawn_higher_and_farther_ones_have_more_depth(view):
    view.set_surface(bowl(), (0.0, 0.0), 1.0)
    view.turn = 0.0
    low, high = view.to_pixels(np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))
    assert high[1] < low[1] and high[0] == pytest.approx(low[0])
    near, far = view.to_pixels(np.array([[0.0, -1.0, 0.0], [0.0, 1.0, 0.0]]))
    assert far[2] > near[2] and far[1] < near[1]
    left, right = view.to_pixels(np.array([[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]))
    assert right[0] > left[0]


def test_a_quarter_turn_puts_x_where_y_was(view):
    view.set_surface(bowl(), (0.0, 0.0), 1.0)
    view.turn = 0.0
    y = view.to_pixels(np.array([0.0, 1.0, 0.5]))
    view.turn = math.pi / 2
    assert view.to_pixels(np.array([1.0, 0.0, 0.5])) == pytest.approx(y)


def test_patches_have_the_heights_of_the_function(view):
    view.set_surface(bowl(100), (2.0, -1.0), 3.0)
    grid = view.grid()
    assert len(grid) <= 37
    assert np.allclose(grid[..., 2], ((grid[..., 0] - 2) / 3) ** 2 + ((grid[..., 1] + 1) / 3) ** 2)


def test_holes_stay_open_and_lines_are_drawn(view):
    values = bowl()
    values[:10] = np.nan
    view.set_surface(values, (0.0, 0.0), 1.0, "x² + y²")
    before = view.grab().toImage()
    view.set_lines([Line(np.array([[-0.5, 0.5, 0.5], [0.5, 0.5, 0.5]]), 4, "u", dots=True)])
    view.set_plane(np.array([[-0.5, 0, 0.2], [0.5, 0, 0.2], [0.5, 0.5, 0.4], [-0.5, 0.5, 0.4]]))
    assert view.grab().toImage() != before


def test_drag_and_keys_turn_it_and_never_past_the_zenith(view, qtbot):
    view.set_surface(bowl(), (0.0, 0.0), 1.0)
    turn, tilt = view.turn, view.tilt
    qtbot.mousePress(view, Qt.MouseButton.LeftButton, pos=QPoint(100, 100))
    qtbot.mouseMove(view, QPoint(150, 120))
    assert view.turn == pytest.approx(turn + 0.5) and view.tilt == pytest.approx(tilt + 0.2)
    for _ in range(30):
        qtbot.keyClick(view, Qt.Key.Key_Down)
    assert view.tilt == 1.5


def test_an_empty_surface_says_what_to_do(view):
    assert view._empty == "Type a function" and not view.grab().isNull()
