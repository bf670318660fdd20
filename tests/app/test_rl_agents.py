"""Portraits of agents: where their parts stand, against gymnasium's own pictures and rules; what is said of a frame."""

from __future__ import annotations

from math import cos, pi, sin

import numpy as np
import pytest
from PySide6.QtCore import QPointF, QRectF

from app import theme
from app.protocol.rl import PAINTED, AgentFrame, GridView
from app.widgets.agent_view import AgentView, figures_of
from app.widgets.agents import geometry, grid_cells
from app.widgets.agents.action_rows import ActionRow, rows_of, span
from app.widgets.agents.camera import Camera
from app.widgets.agents.portraits import PORTRAITS, fact_words, is_grid, place_on_plane

FACTS = {
    "CartPole-v1": {"x": 0.8, "velocity": 0.1, "angle": 0.15, "angular_velocity": 0.2},
    "Pendulum-v1": {"angle": 0.9, "angular_velocity": -1.0},
    "Acrobot-v1": {"angle_1": 0.6, "angle_2": 0.9, "angular_velocity_1": 0.0, "angular_velocity_2": 0.0},
    "MountainCar-v0": {"x": -0.9, "velocity": 0.01},
    "MountainCarContinuous-v0": {"x": 0.3, "velocity": 0.01},
}


def frame(env="CartPole-v1", facts=None, **given) -> AgentFrame:
    values = dict(step=3, action=(1.0,), action_names=("push left", "push right"), probabilities=(0.2, 0.8), value=4.5, reward=1.0,
                  total=3.0, ended=False)  # fmt: skip
    return AgentFrame(env=env, facts=tuple((facts or FACTS[env]).items()), **values | given)


GRID = GridView(
    env="GridWorld-5x5", rows=("S.#", ".XG"), values=np.array([[0.5, 1.0, 0.0], [-1.0, 0.0, 0.0]]), timesteps=10,
    probabilities=np.tile([0.1, 0.7, 0.15, 0.05], (2, 3, 1)),
)  # fmt: skip

# --- geometry ---------------------------------------------------------------------------------------------------


def test_a_pole_that_leans_right_has_a_positive_angle_and_is_a_metre_long():
    shape = geometry.cart_pole({"x": -1.0, "angle": 0.2})
    assert shape.cart == (-1, 0) and shape.axle == (-1, geometry.AXLE)
    assert shape.tip == pytest.approx((-1 + sin(0.2), geometry.AXLE + cos(0.2)))
    assert geometry.POLE_LIMIT == pytest.approx(0.20944, abs=1e-5) and geometry.CART_LIMIT == 2.4


@pytest.mark.parametrize(("angle", "end"), [(0, (0, 1)), (pi / 2, (-1, 0)), (pi, (0, -1)), (-pi / 2, (1, 0))])
def test_a_pendulum_stands_at_zero_and_turns_counter_clockwise(angle, end):
    assert geometry.pendulum({"angle": angle}) == pytest.approx(end, abs=1e-12)


def test_an_acrobot_hangs_at_zero_and_its_tip_obeys_the_rule_that_ends_an_episode():
    elbow, tip = geometry.acrobot({"angle_1": 0, "angle_2": 0})
    assert elbow == pytest.approx((0, -1)) and tip == pytest.approx((0, -2))
    for first, second in ((0.4, -1.1), (2.8, 0.3), (pi / 2, 0)):
        elbow, tip = geometry.acrobot({"angle_1": first, "angle_2": second})
        assert tip[1] == pytest.approx(-cos(first) - cos(second + first)) and elbow[0] == pytest.approx(sin(first))


def test_the_hill_and_its_slope():
    assert geometry.hill(-pi / 6) == pytest.approx(0.1) and geometry.hill(0.5) == pytest.approx(0.45 * sin(1.5) + 0.55)
    for x in (-1.0, -0.3, 0.4):
        rise = (geometry.hill(x + 1e-6) - geometry.hill(x - 1e-6)) / 2e-6
        assert np.tan(geometry.slope(x)) == pytest.approx(rise, rel=1e-5)
    assert geometry.wrapped(3 * pi / 2) == pytest.approx(-pi / 2) and geometry.wrapped(-0.3) == pytest.approx(-0.3)


def pixels(env_id, state, colour) -> np.ndarray:
    """(k, 2) x and y (upward) of the pixels of a colour in gymnasium's own picture, and the picture's shape."""
    gym = pytest.importorskip("gymnasium")
    pytest.importorskip("pygame")
    env = gym.make(env_id, render_mode="rgb_array")
    env.reset(seed=0)
    env.unwrapped.state = np.array(state)
    picture = env.render()
    env.close()
    rows, columns = np.nonzero((picture == colour).all(-1))
    return np.stack((columns, picture.shape[0] - 1 - rows), 1).astype(float)


def direction(points, origin):
    way = points.mean(0) - origin
    return way / np.linalg.norm(way)


def test_gymnasium_draws_the_pole_and_the_pendulum_where_we_do():
    for angle in (0.15, -0.2):
        shape = geometry.cart_pole({"x": 0.5, "angle": angle})
        pole = pixels("CartPole-v1", (0.5, 0, angle, 0), (202, 152, 101))
        axle = 300 + 125 * shape.axle[0], 100 + 125 * shape.axle[1]
        want = np.subtract(shape.tip, shape.axle)
        assert direction(pole, axle) == pytest.approx(want, abs=0.02)
        top = pole[pole[:, 1].argmax()]
        assert top == pytest.approx((300 + 125 * shape.tip[0], 100 + 125 * shape.tip[1]), abs=8)  # their pole is 5 px shorter
    for angle in (0.9, -2.0):
        rod = pixels("Pendulum-v1", (angle, 0), (204, 77, 77))
        assert direction(rod, (250, 250)) == pytest.approx(geometry.pendulum({"angle": angle}), abs=0.03)


def test_gymnasium_draws_the_acrobot_and_the_car_where_we_do():
    scale = 500 / 4.4
    elbow, tip = geometry.acrobot({"angle_1": 0.6, "angle_2": 0.9})
    joints = pixels("Acrobot-v1", (0.6, 0.9, 0, 0), (204, 204, 0))
    near = joints[np.linalg.norm(joints - 250, axis=1) > 60]
    assert near.mean(0) == pytest.approx(np.array(elbow) * scale + 250, abs=4)
    links = pixels("Acrobot-v1", (0.6, 0.9, 0, 0), (0, 204, 204))
    end = links[np.linalg.norm(links - (np.array(tip) * scale + 250), axis=1).argmin()]
    assert end == pytest.approx(np.array(tip) * scale + 250, abs=4)
    wheels = pixels("MountainCar-v0", (-0.9, 0), (128, 128, 128))
    scale = 600 / 1.8
    want = (-0.9 + 1.2) * scale, (geometry.hill(-0.9) + geometry.CAR_CLEARANCE) * scale
    assert wheels.mean(0) == pytest.approx(want, abs=4)


def test_the_camera_shows_the_whole_window_upright_and_undistorted():
    camera = Camera.onto((-2, -1, 2, 1), QRectF(10, 20, 200, 300))
    assert camera.scale == 50 and camera.at(0, 0) == QPointF(110, 170)
    assert camera.at(-2, 1) == QPointF(10, 120) and camera.at(2, -1) == QPointF(210, 220)
    assert camera.width(0.1) == 5 and camera.width(0.001, 2) == 2


# --- the view ---------------------------------------------------------------------------------------------------


@pytest.fixture
def view(qtbot):
    made = AgentView()
    qtbot.addWidget(made)
    made.resize(500, 420)
    made.show()
    return made


def test_everything_that_is_to_be_painted_has_a_painter():
    assert {env for env in PAINTED if not is_grid(env)} == set(PORTRAITS)


def colour_at(view, point: QPointF) -> str:
    return view.grab().toImage().pixelColor(round(point.x()), round(point.y())).name()


@pytest.mark.parametrize("choice", ["light", "dark"])
def test_the_parts_are_painted_where_the_geometry_says(view, choice):
    theme.apply(choice)
    view.show_frame(frame())
    camera = Camera.onto(PORTRAITS["CartPole-v1"].window, view.stage())
    shape = geometry.cart_pole(FACTS["CartPole-v1"])
    middle = [(a + b) / 2 for a, b in zip(shape.axle, shape.tip, strict=True)]
    assert colour_at(view, camera.at(*middle)) == theme.data_colour(1).name()
    assert colour_at(view, camera.at(shape.cart[0] - 0.1, -0.08)) == theme.data_colour(0).name()
    assert colour_at(view, camera.at(shape.cart[0] + 0.36, 0)) == theme.colour("text").name()  # pushed to the right
    assert colour_at(view, camera.at(-shape.tip[0], shape.tip[1])) == theme.colour("stage").name()
    view.show_frame(frame("Pendulum-v1", action=(0.5,), action_names=("torque",), probabilities=()))
    camera, end = Camera.onto(PORTRAITS["Pendulum-v1"].window, view.stage()), geometry.pendulum(FACTS["Pendulum-v1"])
    assert colour_at(view, camera.at(end[0] * 0.8, end[1] * 0.8)) == theme.data_colour(1).name()
    assert colour_at(view, camera.at(-end[0] * 0.8, end[1] * 0.8)) == theme.colour("stage").name()
    theme.apply("light")


@pytest.mark.parametrize("env", list(PORTRAITS))
def test_all_portraits_can_be_painted_at_any_size(view, env):
    names = ("a", "b", "c") if env in ("Acrobot-v1", "MountainCar-v0") else ("push left", "push right") if env == "CartPole-v1" else ("f",)
    chances = tuple([1 / len(names)] * len(names)) if len(names) > 1 else ()
    for size in ((160, 120), (900, 700)):
        view.resize(*size)
        view.show_frame(frame(env, action=(0.0,), action_names=names, probabilities=chances))
        picture = view.grab().toImage()
        there = {picture.pixelColor(x, y).name() for x in range(0, size[0], 3) for y in range(30, round(view.stage().bottom()), 3)}
        assert len(there) > 3, f"{env} at {size}"


def test_what_is_said_of_a_frame_is_what_it_says(view):
    view.show_frame(frame(ended=True))
    words = view.words()
    for part in ("CartPole-v1, step 3", "return 3", "value 4.5", "angle +0.15 rad (+8.6°)", "velocity +0.100 m/s", "ends here"):
        assert part in words
    assert view.accessibleDescription() == words and fact_words("Pendulum-v1", "angle", 2 * pi - 0.1)[1].endswith("(−5.7°)")
    assert fact_words("GridWorld-5x5", "row", 2.0) == ("row", "2")


def test_an_ended_episode_is_paler_and_says_so(view):
    live, over = frame(), frame(ended=True)
    view.show_frame(live)
    first = view.grab().toImage()
    view.show_frame(over)
    assert view.grab().toImage() != first
    camera = Camera.onto(PORTRAITS["CartPole-v1"].window, view.stage())
    assert colour_at(view, camera.at(0.7, -0.08)) != theme.data_colour(0).name()


def test_pixels_are_shown_whole_and_upright_where_there_is_no_painter(view):
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[:20], picture[20:] = (255, 0, 0), (0, 0, 255)
    view.show_frame(frame("LunarLander-v3", {"x": 1.0}, pixels=picture))
    place = view.stage()
    assert colour_at(view, QPointF(place.center().x(), place.top() + 0.3 * place.height())) == "#ff0000"
    assert colour_at(view, QPointF(place.center().x(), place.top() + 0.7 * place.height())) == "#0000ff"


def test_an_empty_view_says_what_to_do_and_clear_comes_back_to_it(view):
    assert "Train" in view.words()
    view.show_frame(frame())
    view.clear("No run is chosen.")
    assert view.frame is None and view.words() == "No run is chosen."


def test_action_rows_are_probabilities_or_signed_actions():
    rows = rows_of(frame())
    assert [(row.name, row.value, row.chosen) for row in rows] == [("push left", 0.2, False), ("push right", 0.8, True)]
    assert [row.text for row in rows] == ["20%", "80%"]
    (row,) = rows_of(frame("Pendulum-v1", action=(-1.5,), action_names=("torque",), probabilities=()))
    assert row.centred and row.text == "−1.50" and span(row, 2.0) == (0.125, 0.5)
    assert span(ActionRow("a", 9.0, centred=True), 1.0) == (0.5, 1.0) and span(rows[0], 1.0) == (0.0, 0.2)
    assert len(rows_of(frame("Hopper-v5", {"x": 0.0}, action=(0.1, 0.2, 0.3), action_names=(), probabilities=()))) == 3


def test_the_place_on_the_plane_is_that_of_the_facts():
    assert place_on_plane(frame()) == (0.15, 0.2)
    assert place_on_plane(frame("Pendulum-v1", {"angle": 2 * pi + 0.5, "angular_velocity": 3.0})) == pytest.approx((0.5, 3.0))
    assert place_on_plane(frame("Acrobot-v1")) is None


# --- grid worlds ------------------------------------------------------------------------------------------------


def test_cells_stand_in_rows_and_columns():
    cells = grid_cells.Cells.within(QRectF(0, 0, 300, 300), 2, 3)
    assert cells.side == 100 and cells.at(0, 0) == QRectF(0, 50, 100, 100) and cells.at(1, 2) == QRectF(200, 150, 100, 100)
    assert cells.under(QPointF(250, 160)) == (1, 2) and cells.under(QPointF(250, 20)) is None


def test_a_grid_has_the_colours_of_its_values_and_arrows_along_its_moves(qapp):
    scale = grid_cells.value_scale(GRID)
    assert (scale.bottom, scale.top) == (-1.0, 1.0)
    tints = grid_cells.tints_of(GRID, scale)
    assert set(tints) == {(0, 0), (0, 1), (1, 0)}  # no wall, pit or goal
    table = theme.lookup_table("viridis")
    assert tints[0, 1].getRgb()[:3] == tuple(table[255].tolist()) and tints[1, 0].getRgb()[:3] == tuple(table[0].tolist())
    assert grid_cells.arrows_of(GRID.probabilities[0, 0]) == [(1, pytest.approx(0.7)), (2, pytest.approx(0.15))]
    assert grid_cells.WAYS[0] == (0, -1) and grid_cells.WAYS[1] == (1, 0)  # up is up, right is right


def test_the_agent_of_a_grid_is_in_its_cell(view):
    view.set_grid(GRID)
    view.show_frame(frame("GridWorld-5x5", {"row": 0.0, "column": 1.0}, action_names=("up", "right", "down", "left"),
                          probabilities=(0.1, 0.7, 0.15, 0.05)))  # fmt: skip
    cells = grid_cells.Cells.within(view.stage(), 2, 3)
    assert colour_at(view, cells.at(0, 1).center()) == theme.data_colour(1).name()
    assert colour_at(view, cells.at(1, 0).center()) != theme.data_colour(1).name()
    assert "pit: ends the episode" in grid_cells.cell_words(GRID, 1, 1) and "right 70%" in grid_cells.cell_words(GRID, 0, 1)


def test_a_narrow_view_shortens_its_figures_and_stacks_state_and_action(view):
    fullest, short, shorter, least = figures_of(frame(total=1234.5))
    assert fullest == "step 3   return 1,234.5   value 4.50" and short == "step 3  return 1,234  v 4.50"
    assert shorter == "step 3  return 1,234" and least == "3  R 1,234"
    assert figures_of(frame(total=-0.2, value=None))[1] == "step 3  return −0.2"
    view.show_frame(frame())
    wide = view.foot_height()
    view.resize(200, 420)
    assert view.narrow and view.foot_height() > wide and view.stage().bottom() <= view.height() - view.foot_height()
    view.resize(200, 150)
    assert view.foot_height() == 0 and view.stage().height() > 90
