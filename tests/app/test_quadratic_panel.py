"""The panel of descents against canned events: what is submitted, shown step by step and kept, and a landscape without minimum."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from app.jobs.quadratic import Quadratic
from app.panels.quadratic import ellipse, numbers
from app.panels.quadratic.panel import QuadraticPanel
from app.panels.quadratic.words import COLOURS, TITLES, figure
from app.protocol.payloads import Result
from app.protocol.quadratic import DescentPath, Landscape
from tests.app.image_panel_fakes import FakeEngine


def build(qtbot, settings) -> QuadraticPanel:
    made = QuadraticPanel(FakeEngine(), settings)
    qtbot.addWidget(made, before_close_func=QuadraticPanel.about_to_close)
    made.restore()
    made.resize(1200, 730)
    made.show()
    made.ready()
    return made


@pytest.fixture
def panel(qtbot, settings):
    return build(qtbot, settings)


def path(name: str, steps: int, start=(2.0, 1.0)) -> DescentPath:
    shrink = 0.5 ** np.arange(steps + 1)
    return DescentPath(
        points=shrink[:, None] * np.array(start), excess=shrink**2, residual=shrink,
        bound=shrink if name == "steepest" else shrink * np.nan,
        name=name, title=TITLES[name][0], says=("", *(f"{name} {k}" for k in range(1, steps + 1))),
    )  # fmt: skip


def land(definite: bool = True) -> Landscape:
    y, x = np.mgrid[-3:3:31j, -3:3:31j]
    return Landscape(values=x**2 + (1 if definite else -1) * 4 * y**2, centre=(0.0, 0.0), reach=3.0, level=0.0, definite=definite,
                     axes=((1.0, 0.0), (0.0, 1.0)) if definite else ((0.0, 1.0), (1.0, 0.0)))  # fmt: skip


def answer(panel, paths=None) -> None:
    handle = panel.engine.last(Quadratic)
    handle.begin()
    handle.record.emit("landscape", land())
    for one in paths or [path("steepest", 6), path("conjugate", 2)]:
        handle.record.emit("path", one)
    handle.succeed(Result(facts={"eigenvalues": [2.0, 8.0], "condition": 4.0, "minimiser": [0.0, 0.0], "least": 0.0}))


def test_it_descends_at_once_and_shows_every_step(panel):
    answer(panel)
    assert panel.replay.count == 7 and panel.replay.index == 7
    assert [len(points) for points, _ink in panel.stage._paths] == [7, 3]
    assert [ink for _points, ink in panel.stage._paths] == [COLOURS["steepest"], COLOURS["conjugate"]]
    assert set(panel.heights.curves()) == {"steepest", "steepest bound", "conjugate"}


def test_steps_go_back_and_forth_and_are_told(panel):
    answer(panel)
    panel.replay.go(3)
    assert [len(points) for points, _ink in panel.stage._paths] == [3, 3]
    assert panel.transport.text().startswith("step 2 of 6   f − f* 0.0625")
    words = panel.inspector.text()
    assert "0.0625" in words and "≤ 0.25" in words and "2 of 2, f − f* 0.0625" in words
    assert "steepest 2" in words and "conjugate 2" in words, "the step's formula with its numbers"
    panel.transport.button("first").click()
    assert panel.transport.text().startswith("step 0 of 6") and panel.stage._paths == []


def test_eigenvalues_angle_and_descents_are_submitted(panel, qtbot):
    answer(panel)
    panel.form.axes.editor("second").setValue(0)
    panel.form.axes.changed.emit("second", 25.0)
    panel.form.axes.changed.emit("angle", -45.0)
    panel.form.methods["newton"].setChecked(True)
    qtbot.waitUntil(lambda: len(panel.engine.handles) == 2, timeout=2000)
    job = panel.engine.last(Quadratic).job
    assert (job.eigenvalues, job.angle, job.methods) == ((1.0, 25.0), -45.0, ("steepest", "conjugate", "newton"))


def test_axes_are_dragged_on_the_landscape(panel, qtbot):
    answer(panel)
    places, level = panel.stage._handles, panel._level
    assert set(places) == {"start", *ellipse.HANDLES}
    for name, value in zip(ellipse.HANDLES, (1.0, 10.0), strict=True):
        size, angle = ellipse.read(name, *places[name], panel.land.centre, level)
        assert size == pytest.approx(value) and angle == pytest.approx(30)
    panel.stage._held = "λ₁"
    panel.stage.handle_moved.emit("λ₁", (2 * level / 4) ** 0.5, 0.0)  # straight to the right, where f rises with 4
    qtbot.waitUntil(lambda: len(panel.engine.handles) == 2, timeout=2000)
    job = panel.engine.last(Quadratic).job
    assert job.eigenvalues == (4.0, 10.0) and job.angle == 0 and job.start == (2.0, 1.0), "the start stays where it was"
    answer(panel)
    assert panel._level == level, "one level for a whole drag"
    panel.stage._held = ""
    panel._show_all()
    assert panel._level == pytest.approx(4 * level)


def test_an_axis_keeps_the_sign_of_its_eigenvalue(panel, qtbot):
    panel.form.set_job(Quadratic(eigenvalues=(-2.0, 4.0), start=(1.0, 1.0)))
    answer(panel)
    panel.stage.handle_moved.emit("λ₁", *ellipse.ends((0.5, 1), 60, panel.land.centre, panel._level, 1e9)["λ₁"])
    qtbot.waitUntil(lambda: len(panel.engine.handles) == 2, timeout=2000)
    job = panel.engine.last(Quadratic).job
    assert job.eigenvalues[0] == pytest.approx(-0.5) and job.angle == pytest.approx(60)


def test_the_ellipse_lies_on_one_level(panel):
    """f at both handles is the level that a contour is drawn at, whatever the angle."""
    values, angle, centre = np.array([3.0, 7.0]), 25.0, (0.4, -1.0)
    level = ellipse.level_of(values, 2.0)
    turn = np.radians(angle)
    axes = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    for place in ellipse.ends(values, angle, centre, level, 1e9).values():
        away = np.array(place) - centre
        assert 0.5 * away @ axes @ np.diag(values) @ axes.T @ away == pytest.approx(level)
    answer(panel)
    assert np.isclose(panel.stage._contours[1], panel.land.level + panel._level).any()


def test_the_start_is_dragged_and_put_back(panel, qtbot):
    answer(panel)
    assert panel.stage._handles["start"] == (2.0, 1.0)
    panel.stage.handle_moved.emit("start", 0.5, -1.5)
    qtbot.waitUntil(lambda: len(panel.engine.handles) == 2, timeout=2000)
    job = panel.engine.last(Quadratic).job
    assert job.start == (0.5, -1.5) and job.reach == 3.0, "the scale stands still under the pointer"
    panel.form.reset.click()
    qtbot.waitUntil(lambda: len(panel.engine.handles) == 3, timeout=2000)
    assert panel.engine.last(Quadratic).job.start == () and panel.engine.last(Quadratic).job.reach == 0


def test_a_landscape_without_minimum_is_shown_with_its_sentence(panel):
    handle = panel.engine.last(Quadratic)
    handle.begin()
    handle.record.emit("landscape", land(definite=False))
    handle.fail("A is not positive definite: f falls without end along (0, 1).")
    assert "falls without end" in panel.banner.text() and panel.stage._contours is not None
    ways = [points for points, _ink in panel.stage._paths]
    assert (panel.stage._contours[1] < 0).any()
    assert np.allclose(sorted(way[1][1] for way in ways), [-3, 3]) and not np.any([way[:, 0] for way in ways])
    assert "No minimum" in panel.inspector.text() and "(0, 1)" in panel.inspector.text()
    panel.run()
    answer(panel)
    assert panel.stage._paths and not panel.banner.isVisible()


def test_late_records_of_an_older_run_are_left(panel):
    old = panel.engine.last(Quadratic)
    panel.run()
    answer(panel)
    old.record.emit("path", path("newton", 1))
    assert set(panel.paths) == {"steepest", "conjugate"}


def test_more_variables_take_the_handles_away(panel, qtbot):
    panel.form.knobs.set_value("spectrum", "log")
    panel.form._on_knobs(None)
    qtbot.waitUntil(lambda: len(panel.engine.handles) == 2, timeout=2000)
    assert panel.engine.last(Quadratic).job.start == ()
    handle = panel.engine.last(Quadratic)
    handle.begin()
    handle.record.emit("landscape", land())
    handle.record.emit("path", path("steepest", 4))
    handle.succeed(Result(facts={"eigenvalues": [1.0] * 20, "condition": 1.0, "minimiser": [0.0] * 20, "least": 0.0}))
    assert panel.stage._handles == {} and "extreme eigenvalues" in panel.stage._title


def test_a_preset_sets_all_and_tells_its_point(panel, qtbot):
    panel.form.presets.setCurrentIndex(3)
    panel.form._on_preset(3)
    qtbot.waitUntil(lambda: len(panel.engine.handles) == 2, timeout=2000)
    job = panel.engine.last(Quadratic).job
    assert (job.methods, job.length) == (("fixed",), 0.21)
    answer(panel)
    assert "climbs out of the valley" in panel.inspector.text() and not panel.banner.isVisible()
    panel.form.methods["newton"].setChecked(True)
    panel.show_step()
    assert "climbs out of the valley" not in panel.inspector.text(), "it was said about other settings"


def test_a_and_b_are_typed_and_agree_with_the_sliders(panel, qtbot):
    fields = panel.form.numbers.fields
    for name, text in (("a11", "2"), ("a12", "0.5"), ("a22", "1")):
        fields[name].lineEdit().setText(text)
        fields[name].editingFinished.emit()
    assert fields["a21"].value() == 0.5
    fields["b1"].lineEdit().setText("3")
    fields["b1"].editingFinished.emit()
    qtbot.waitUntil(lambda: len(panel.engine.handles) == 2, timeout=2000)
    job = panel.engine.last(Quadratic).job
    assert job.b == (3.0, 0.0)
    turn = np.radians(job.angle)
    axes = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    assert np.allclose(axes @ np.diag(job.eigenvalues) @ axes.T, [[2, 0.5], [0.5, 1]], atol=1e-12), "what is typed is not rounded"
    assert panel.form.axes.values()["first"] == pytest.approx(job.eigenvalues[0], abs=0.01)
    panel.form.axes.changed.emit("angle", 0.0)
    assert fields["a12"].value() == 0 and fields["a11"].value() == pytest.approx(job.eigenvalues[0], rel=1e-5)


def test_a_matrix_out_of_range_is_refused_and_the_old_one_stands_again(panel):
    before = panel.form.job()
    field = panel.form.numbers.fields["a11"]
    field.lineEdit().setText("5000")
    field.editingFinished.emit()
    assert "they may lie from −10 to 100" in panel.banner.text().replace("-", "−")
    assert panel.form.job() == before and field.value() == pytest.approx(3.25)
    field.lineEdit().setText("two")
    field.editingFinished.emit()
    assert "not a number" in panel.banner.text() and panel.form.job() == before


@pytest.mark.parametrize("values", [(1.0, 9.0), (-3.0, 2.0), (4.0, 4.0), (-5.0, -1.0)])
@pytest.mark.parametrize("angle", [-89.0, -30.0, 0.0, 45.0, 90.0])
def test_matrix_and_axes_say_the_same(values, angle):
    entries = numbers.entries(values, angle)
    found, turned = numbers.axes(*entries)
    assert found == pytest.approx(values) and -90 <= turned <= 90
    assert numbers.entries(found, turned) == pytest.approx(entries)


def test_the_condition_number_is_dragged(panel, qtbot):
    panel.form.axes.changed.emit("ratio", 50.0)
    qtbot.waitUntil(lambda: len(panel.engine.handles) == 2, timeout=2000)
    assert panel.engine.last(Quadratic).job.eigenvalues == (1.0, 50.0)
    panel.form.axes.changed.emit("first", -1.0)
    assert not panel.form.axes.editor("ratio").isEnabled(), "without a minimum there is no condition number"


def test_knobs_without_effect_cannot_be_touched(panel):
    able = {name: panel.form.knobs.editor(name).isEnabled() for name in ("variables", "condition", "length", "momentum", "repair")}
    assert able == {"variables": False, "condition": False, "length": False, "momentum": False, "repair": True}
    panel.form.methods["heavy-ball"].setChecked(True)
    panel.form.knobs.set_value("spectrum", "log")
    panel.form._on_knobs(None)
    assert all(panel.form.knobs.editor(name).isEnabled() for name in able) and not panel.form.numbers.isEnabled()


def test_a_descent_that_runs_away_is_said_and_its_path_stays(panel):
    answer(panel, [replace(path("fixed", 3), notice="The descent runs away.")])
    assert "Fixed step: The descent runs away." in panel.banner.text() and panel.stage._paths


def test_bad_input_leaves_the_last_good_paths(panel):
    answer(panel)
    panel.run()
    handle = panel.engine.last(Quadratic)
    handle.begin()
    handle.fail("3 entries do not fill a square matrix.")
    assert panel.stage._paths and "Steepest" in panel.inspector.text() and "square matrix" in panel.banner.text()


def test_what_was_set_survives(panel, qtbot, settings):
    panel.form.axes.changed.emit("first", 3.0)
    panel.form.methods["heavy-ball"].setChecked(True)
    panel.form.start = (1.0, 2.0)
    panel.save_now()
    again = build(qtbot, settings)
    job = again.form.job()
    assert job.eigenvalues[0] == 3.0 and "heavy-ball" in job.methods and job.start == (1.0, 2.0)


def test_figures_have_a_true_minus_and_no_minus_zero():
    assert figure(-0.5) == "−0.5" and figure(-0.0) == "0"
