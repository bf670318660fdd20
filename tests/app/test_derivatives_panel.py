"""The panel of derivatives against canned events: what is submitted, dragged, stepped through and kept, and the wrong ways."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PySide6.QtCore import Qt

from app.jobs.derivatives import GALLERY, Gradient
from app.panels.derivatives.panel import DerivativesPanel
from app.panels.derivatives.words import SHOWS, figure
from app.protocol.derivatives import Rise, Surface
from app.protocol.payloads import Result
from tests.app.image_panel_fakes import FakeEngine


def build(qtbot, settings) -> DerivativesPanel:
    made = DerivativesPanel(FakeEngine(), settings)
    qtbot.addWidget(made, before_close_func=DerivativesPanel.about_to_close)
    made.restore()
    made.resize(1200, 730)
    made.show()
    made.ready()
    return made


@pytest.fixture
def panel(qtbot, settings):
    return build(qtbot, settings)


def rise(smooth: bool = True) -> Rise:
    t, h, turn = np.linspace(-2.5, 2.5, 11), np.geomspace(1, 1e-3, 4), np.radians(np.arange(0, 360, 10.0))
    return Rise(
        point=(1.0, 2.0), value=5.0, unit=(0.6, 0.8), directional=4.4, gradient=(2.0, 4.0) if smooth else None,
        steepest=math.sqrt(20) if smooth else None, angle=0.18 if smooth else None, exact="22/5" if smooth else "", slice_at=t,
        slice_height=5 + 4.4 * t + t**2, turn=turn, around=2 * np.cos(turn) + 4 * np.sin(turn), secant_step=h, secant_slope=4.4 + h,
        secant_central=4.4 + 0 * h,
        level=np.array([[1.0, 2.0], [0.9, 2.05]]) if smooth else np.zeros((0, 2)), worked=("f = x^2 + y^2", "D_u f = 22/5"),
    )  # fmt: skip


def answer(panel, smooth: bool = True, cut=None) -> None:
    handle = panel.engine.last(Gradient)
    handle.begin()
    y, x = np.mgrid[-0.5:4.5:21j, -1.5:3.5:21j]
    handle.record.emit("surface", Surface(values=x**2 + y**2, centre=(1.0, 2.0), reach=2.5, formula="x^2 + y^2", cut=cut))
    handle.record.emit("rise", rise(smooth))
    handle.succeed(Result())


def test_the_worked_example_stands_there_at_once(panel):
    assert panel.engine.last(Gradient).job == Gradient()
    answer(panel)
    words = panel.inspector.text()
    assert "∇f · u = 2 · 0.6 + 4 · 0.8 = 4.4" in words and "= (10.4 − 5) / 1 = 5.4" in words, "the equations with their numbers"
    assert "4.4  = 22/5" in words and "(2, 4)" in words and "4.47214" in words and "22/5" in panel.form.worked.text()
    assert panel.stage._handles["p"] == (1, 2) and len(panel.stage._paths) == 3
    assert panel.view._plane is not None and np.allclose(panel.view._plane.mean(0), [1, 2, 5])


def test_the_secant_becomes_the_tangent(panel):
    answer(panel)
    assert panel.transport.text().startswith("secant 1 of 4   h 1   slope 5.4")
    panel.transport.button("last").click()
    assert "slope 4.401" in panel.transport.text()
    ends = panel.plots.slice.curves()
    assert ends["secant"].y == pytest.approx(ends["tangent"].y, abs=0.01)
    assert np.allclose(panel.view._lines[-1].points[0], [1, 2, 5])


def test_point_and_direction_are_dragged(panel, qtbot):
    answer(panel)
    panel.stage.handle_moved.emit("u", 1.0, 3.0)
    qtbot.waitUntil(lambda: len(panel.engine.handles) == 2, timeout=2000)
    assert panel.engine.last(Gradient).job.direction == ("0.00", "1.00")
    panel.stage.handle_moved.emit("p", 0.25, -1.5)
    qtbot.waitUntil(lambda: len(panel.engine.handles) == 3, timeout=2000)
    job = panel.engine.last(Gradient).job
    assert job.point == ("0.25", "-1.50") and job.centre == (1.0, 2.0), "the square stands still under the pointer"
    panel.form.gallery.setCurrentText("Waves")
    panel.form._on_gallery(0)
    assert panel.form.job().centre == ()


def test_dragging_is_as_fine_as_the_square_is_small(panel, qtbot):
    answer(panel)
    panel.form.reach.setValue(0.05)
    panel.stage.handle_moved.emit("p", 1.00123456, 2.0)
    assert panel.form.job().point == ("1.0012", "2.0000")


def test_heights_beside_a_pole_are_cut_and_told(panel):
    answer(panel, cut=(1.0, 9.0))
    levels = panel.stage._contours[1]
    assert 1 < levels.min() and levels.max() < 9 and panel.view.heights() == (1.0, 9.0)
    assert "pole in view: heights beyond 1 and 9 are cut" in panel.view._title
    assert np.nanmax(panel.plots.slice.curves()["slice"].y) <= 9


def test_time_keys_reach_the_transport_from_the_surface(panel, qtbot):
    answer(panel)
    panel.view.setFocus()
    turn = panel.view.turn
    qtbot.keyClick(panel.view, Qt.Key.Key_Right)
    assert panel.transport.text().startswith("secant 2 of 4") and panel.view.turn == turn
    qtbot.keyClick(panel.view, Qt.Key.Key_Right, Qt.KeyboardModifier.ShiftModifier)
    assert panel.transport.text().startswith("secant 2 of 4") and panel.view.turn != turn


def test_the_gallery_says_what_each_function_shows(panel):
    assert set(SHOWS) == set(GALLERY)
    answer(panel)
    assert SHOWS["Bowl"] in panel.inspector.text()


def test_where_f_is_not_smooth_there_is_no_gradient_no_plane_and_no_tangent(panel):
    answer(panel, smooth=False)
    assert "not differentiable" in panel.inspector.text() and panel.view._plane is None
    assert "tangent" not in panel.plots.slice.curves() and len(panel.stage._paths) == 1


def test_the_gallery_writes_its_function_and_goes_to_the_corner(panel, qtbot):
    panel.form.gallery.setCurrentText("Cone")
    panel.form._on_gallery(0)
    qtbot.waitUntil(lambda: len(panel.engine.handles) == 2, timeout=2000)
    job = panel.engine.last(Gradient).job
    assert job.function == "sqrt(x^2 + y^2)" and job.point == ("0", "0")


def test_a_formula_that_does_not_parse_is_told_and_the_last_picture_stays(panel, qtbot):
    answer(panel)
    panel.form.function.setText("x +")
    panel.form.function.editingFinished.emit()
    qtbot.waitUntil(lambda: len(panel.engine.handles) == 2, timeout=2000)
    handle = panel.engine.last(Gradient)
    handle.begin()
    handle.fail("'x +' is not a formula.")
    assert "not a formula" in panel.banner.text() and panel.stage._paths and panel.form.gallery.currentText() == "Own function"


def test_what_was_typed_survives(panel, qtbot, settings):
    panel.form.function.setText("x*y + 1/3")
    panel.form.put(("1/3", "0"), ("0", "1"))
    panel.save_now()
    assert build(qtbot, settings).form.job() == Gradient(function="x*y + 1/3", point=("1/3", "0"), direction=("0", "1"))


def test_figures_have_a_true_minus():
    assert figure(-4.4721359) == "−4.47214"
