"""The plane lab against canned events: no worker, no torch; what is submitted, what is shown, what is kept, and the wrong ways."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from PySide6.QtCore import QMimeData, QPoint, Qt, QUrl
from PySide6.QtWidgets import QFileDialog

from app import theme
from app.jobs.library import OpenPicture
from app.jobs.plane import ComparePlane, ExportPlane, PlaneSchedule
from app.panels.plane.arrangements import ARRANGEMENTS, Arrangement
from app.panels.plane.desk import table
from app.panels.plane.lane import Choice, Told
from app.panels.plane.latents import ENDS
from app.panels.plane.panel import PlanePanel
from app.panels.plane.schedule_editor import falling
from app.panels.plane.stages import EPSILON, lattice_lines
from app.panels.plane.words import names_of, schedule_of
from app.protocol.payloads import Image, Result
from app.protocol.plane import PlaneRow
from app.widgets.knob_sliders import KnobSliders, Setting
from tests.app.plane_fakes import PlaneEngine, particles


@pytest.fixture(autouse=True)
def still():
    theme.set_reduced_motion(True)
    yield
    theme.set_reduced_motion(False)


def build(qtbot, settings) -> PlanePanel:
    made = PlanePanel(PlaneEngine(), settings)
    qtbot.addWidget(made, before_close_func=PlanePanel.about_to_close)
    made.restore()
    made.resize(1200, 730)
    made.show()
    made.ready()
    made.engine.answer_tables()
    return made


@pytest.fixture
def panel(qtbot, settings):
    return build(qtbot, settings)


def trained(panel) -> PlanePanel:
    panel.train()
    for handle in panel.engine.runs():
        panel.engine.tell(handle)
    panel.redraw()
    return panel


def press(panel, name: str) -> None:
    panel.foot.transport.button(name).click()


# --- one method ---------------------------------------------------------------------------------------------------


def test_before_the_first_run_the_stage_says_what_to_do(panel):
    assert "Press Train" in panel.stages.stages[0]._empty
    assert panel.side.method.methods.count() == 5 and panel.side.data.clouds.count() == 2
    assert panel.foot.transport.text().startswith("no moments yet")


def test_train_submits_what_is_set(panel):
    panel.side.method.methods.setCurrentIndex(1)
    panel.side.method._on_method(1)
    panel.side.method.knobs.editor("churn").setValue(400)
    panel.side.data.clouds.setCurrentIndex(1)
    panel.train()
    job = panel.engine.runs()[-1].job
    assert (job.method, job.data, job.knobs, job.solver) == ("edm", "rings", ("churn=100",), "heun") and job.lattice > 0


def test_a_run_is_followed_and_then_stands_at_its_end(panel):
    panel.train()
    handle = panel.engine.runs()[0]
    panel.engine.tell(handle, [particles(0), particles(1)], end=False)
    panel.redraw()
    assert panel.player.index == 1 and "noise/signal" in panel.foot.transport.text()
    handle.succeed(Result())
    assert panel.lanes.state == "idle"
    assert len(panel.beside.losses.curves()["lane 0"].x) == 3


def test_time_is_dragged_both_ways_and_the_keys_move_it(panel):
    trained(panel)
    panel.foot.slider.setValue(2)
    assert panel.player.index == 2 and panel.foot.equation.text() == "step 2"
    press(panel, "previous")
    assert panel.player.index == 1
    press(panel, "last")
    assert panel.player.index == 5
    press(panel, "first")
    assert panel.player.index == 0 and panel.foot.transport.text().startswith("moment 1 of 6")


def test_the_inspector_tells_distance_and_likelihood(panel):
    trained(panel)
    words = panel.beside.inspector.text()
    assert "0.0300" in words and "1.500 nats" in words and "2210.02747" in words and "dx/dt = v" in words


def test_noise_larger_than_the_stage_is_drawn_smaller_and_says_so(panel):
    panel.train()
    panel.engine.tell(panel.engine.runs()[0], [particles(0, level=0.0), particles(1, level=0.0)], end=False)
    far = particles(2)
    object.__setattr__(far, "signal", 1.0)
    object.__setattr__(far, "noise", 9.0)
    panel.engine.runs()[0].record.emit("particles", far)
    panel.redraw()
    stage = panel.stages.stages[0]
    assert "drawn ÷ 9.06" in stage._title
    assert np.allclose(stage._points[1][0], far.xy / np.hypot(1, 9))


def test_field_and_density_show_at_their_own_moments(panel):
    trained(panel)
    stage = panel.stages.stages[0]
    panel.player.go(2)
    assert stage._arrows is not None and stage._density[1] == "noised data"
    panel.player.go(5)
    assert stage._density is not None
    panel.stages.switches["density"].setChecked(False)
    panel.stages.switches["field"].setChecked(False)
    assert stage._density is None and stage._arrows is None


def test_paths_grid_and_colours_by_start(panel):
    trained(panel)
    panel.player.go(3)
    stage = panel.stages.stages[0]
    panel.stages.switches["paths"].setChecked(True)
    assert len(stage._paths) == 40 and all(len(path) == 4 for path, _ink in stage._paths)
    panel.stages.switches["paths"].setChecked(False)
    panel.stages.switches["grid"].setChecked(True)
    assert len(stage._paths) == 4
    panel.stages.switches["start"].setChecked(True)
    start = panel.lanes.lane.told.moments[0].xy
    groups = stage._points[1][1]
    assert np.array_equal(groups == 0, (start[:, 0] >= 0) & (start[:, 1] >= 0))


def test_held_out_points_are_noised_as_far_as_the_moment(panel):
    """The way there: at every moment data have its signal and its noise."""
    trained(panel)
    panel.stages.switches["forward"].setChecked(True)
    panel.player.go(2)
    told, points = panel.lanes.lane.told, panel.stages.stages[0]._points
    moment, data = told.moments[2], told.cloud.xy
    eps = (points[0][0] - moment.signal * data) / moment.noise
    assert np.allclose(eps, EPSILON[: len(data)]) and abs(EPSILON.std() - 1) < 0.05
    panel.player.go(5)
    assert np.allclose(points[0][0], data), "no noise is left"


def test_lines_of_a_lattice_join_neighbours():
    lattice = particles(0, n=9)
    lines = lattice_lines(lattice)
    assert len(lines) == 6 and np.array_equal(lines[0], lattice.xy[:3]) and np.array_equal(lines[3], lattice.xy[::3])


def test_a_dragged_knob_walks_again_without_a_new_training(panel, qtbot):
    panel.side.method.methods.setCurrentIndex(1)
    panel.side.method._on_method(1)
    trained(panel)
    panel.side.method.knobs.editor("churn").setValue(200)
    qtbot.waitUntil(lambda: len(panel.engine.runs()) == 2, timeout=2000)
    again = panel.engine.runs()[1]
    assert again.policy == "replace" and again.job.knobs == ("churn=50",)
    assert panel.lanes.lane.told.moments, "what is shown stays until the new walk begins"
    panel.engine.tell(again)
    assert panel.lanes.lane.told.job is again.job and len(panel.lanes.lane.told.moments) == 6


def test_a_knob_turned_while_a_network_learns_waits_for_it(panel, qtbot):
    panel.side.method.methods.setCurrentIndex(1)
    panel.side.method._on_method(1)
    panel.train()
    panel.engine.tell(panel.engine.runs()[0], [], end=False)
    panel.side.method.knobs.editor("churn").setValue(200)
    qtbot.waitUntil(lambda: len(panel.engine.runs()) == 2, timeout=2000)
    assert panel.engine.runs()[1].policy == "follow"


def test_small_numbers_of_a_knob_are_kept(qtbot):
    sliders = KnobSliders()
    qtbot.addWidget(sliders)
    sliders.set_settings([Setting("tolerance", 1e-4, "Tolerance", "", 1e-6, 0.1, 0.001)])
    assert sliders.values() == {"tolerance": 1e-4}
    sliders.editor("tolerance").setValue(0)
    assert sliders.values() == {"tolerance": 1e-6}
    sliders.editor("tolerance").setValue(200)
    assert sliders.values()["tolerance"] == pytest.approx(10**-3.5, rel=0.01)


def test_late_records_of_an_older_run_do_not_mix_with_a_newer_one(panel):
    panel.train()
    panel.train()
    old, new = panel.engine.runs()
    panel.engine.tell(new)
    assert panel.lanes.lane.told.job is new.job


def test_pause_step_and_stop_reach_the_run(panel):
    panel.train()
    handle = panel.engine.runs()[0]
    handle.begin()
    panel.redraw()
    press(panel, "play")
    handle.park(3)
    panel.redraw()
    assert panel.foot.transport.state == "paused"
    press(panel, "next")
    press(panel, "play")
    press(panel, "stop")
    assert handle.asked == ["pause", "step", "resume", "cancel"] and panel.lanes.state == "idle"


def test_a_failure_is_told_and_the_last_run_stays(panel):
    trained(panel)
    panel.train()
    panel.engine.runs()[1].begin()
    panel.engine.runs()[1].fail("The loss is no longer a number.")
    assert "no longer a number" in panel.banner.text() and panel.lanes.lane.told.moments


def test_a_preset_sets_data_and_knobs_and_runs(panel):
    panel.side.method.methods.setCurrentIndex(1)
    panel.side.method._on_method(1)
    panel.side.method.presets.setCurrentIndex(1)
    panel.side.method._on_preset(1)
    job = panel.engine.runs()[0].job
    assert (job.data, job.knobs) == ("rings", ("churn=40",)) and "Churn repairs" in panel.banner.text()


def test_the_density_of_a_moment_is_the_noised_data_and_at_the_end_the_methods_own(panel):
    trained(panel)
    stage = panel.stages.stages[0]
    panel.player.go(2)
    assert stage._density[1] == "noised data"
    panel.player.go(5)
    assert stage._density[1] == "exact"


def test_guesses_parts_and_chords_are_offered_once_there_are_some(panel):
    switches, stage = panel.stages.switches, panel.stages.stages[0]
    assert all(switches[name].isHidden() for name in ("clean", "parts", "chords"))
    trained(panel)
    panel.player.go(3)
    told = panel.lanes.lane.told
    for name in ("clean", "parts", "chords"):
        assert not switches[name].isHidden()
        switches[name].setChecked(True)
    assert np.allclose(stage._points[2][0], told.clean[3].xy)
    places, arrows, groups = stage._arrows
    assert np.allclose(arrows, np.concatenate([told.parts[3][0].arrows, told.parts[3][1].arrows])) and len(set(groups)) == 2
    assert len(stage._paths) == 4 and np.allclose(stage._paths[0][0], [told.chords.at[0], told.chords.at[0] + told.chords.arrows[0]])
    switches["parts"].setChecked(False)
    assert stage._arrows[2] is None


def test_curves_of_the_method_follow_the_moment(panel):
    assert panel.beside.choice.isHidden()
    trained(panel)
    assert [panel.beside.choice.itemText(k) for k in range(2)] == ["Losses", "Coefficients"] and panel.beside.stack.currentIndex() == 0
    panel.beside.choice.setCurrentIndex(1)
    panel.player.go(2)
    curves = panel.beside.curves
    level = panel.lanes.lane.told.moments[2].level
    assert panel.beside.stack.currentIndex() == 1 and list(curves.curves()) == ["c_skip"]
    assert curves.cursor_at() == pytest.approx(level) and [one.words for one in panel.beside.key.entries()] == ["c_skip"]
    panel.player.go(5)
    assert curves.cursor_at() is None, "no noise is left: that is nowhere on a logarithmic axis"
    panel.train()
    panel.engine.tell(panel.engine.runs()[-1])
    panel.redraw()
    assert panel.beside.choice.currentText() == "Coefficients", "another run leaves the choice"


def test_facts_of_each_round_are_told(panel):
    panel.train()
    panel.engine.tell(panel.engine.runs()[0], end=False)
    facts = {"sliced_wasserstein": 0.1, "data_distance": 0.1, "projections": 256, "walk_seconds": 0.5, "straightness": [1.25, 0.5, 0.125]}
    panel.engine.runs()[0].succeed(Result(facts=facts))
    panel.redraw()
    assert "1.25  0.5  0.125" in panel.beside.inspector.text()


def test_the_exact_answer_is_a_matter_of_each_lane(panel, qtbot):
    panel.set_count(2)
    form = panel.side.method
    assert not form.exact.isEnabled(), "flow-matching of this table has none"
    panel.show_lane(1)
    form.methods.setCurrentIndex(3)
    form._on_method(3)
    assert form.exact.isEnabled()
    form.exact.setChecked(True)
    panel.train()
    assert [handle.job.exact for handle in panel.engine.runs()] == [False, True]
    panel.desk.compare()
    assert panel.engine.last(ComparePlane).job.methods[1] == "vp:heun,exact"


def test_walks_start_in_a_cloud_where_every_method_can(panel):
    data = panel.side.data
    assert data.sources.isEnabled() and [data.sources.itemData(k) for k in range(3)] == ["noise", "moons", "rings"]
    data.sources.setCurrentIndex(2)
    data.sources.activated.emit(2)
    panel.train()
    assert panel.engine.runs()[-1].job.source == "rings"
    panel.set_count(2)  # the second lane's method starts in noise only
    assert not data.sources.isEnabled()
    panel.train()
    assert {handle.job.source for handle in panel.engine.runs()[-2:]} == {"noise"}


# --- the schedule ---------------------------------------------------------------------------------------------------


def scheduled(panel):
    form = panel.side.method
    form.methods.setCurrentIndex(4)
    form._on_method(4)
    panel.engine.answer_schedules()
    return form.schedule


def test_only_a_method_with_a_schedule_has_its_editor(panel):
    assert panel.side.method.schedule.isHidden()
    editor = scheduled(panel)
    assert not editor.isHidden() and editor.kinds.count() == 2 and editor.numbers.values() == {"first": 1e-4, "last": 0.02}
    assert editor.curve.dots == [0.99, 0.7, 0.3, 0.01]
    panel.side.method.methods.setCurrentIndex(0)
    panel.side.method._on_method(0)
    assert editor.isHidden()


def test_numbers_of_a_schedule_reach_the_next_training_and_the_desk(panel):
    editor = scheduled(panel)
    editor.numbers.editor("last").setValue(400)
    assert panel.lanes.lane.choice.schedule == "linear 0.0001 0.2"
    assert panel.engine.last(PlaneSchedule).job.schedule == "linear 0.0001 0.2"
    panel.train()
    assert panel.engine.runs()[-1].job.schedule == "linear 0.0001 0.2"
    panel.desk.compare()
    assert panel.engine.last(ComparePlane).job.methods == ("ddpm:heun,schedule=linear 0.0001 0.2",)


def test_a_dragged_curve_becomes_one_by_hand_and_only_falls(panel, qtbot):
    editor = scheduled(panel)
    curve, here = editor.curve, editor.curve.dot_at(1).toPoint()
    qtbot.mousePress(curve, Qt.MouseButton.LeftButton, pos=here)
    qtbot.mouseMove(curve, here + QPoint(0, -500))
    qtbot.mouseRelease(curve, Qt.MouseButton.LeftButton)
    assert editor.kinds.currentData() == "hand" and editor.numbers.values() == {}
    assert 0.98 < curve.dots[1] < 0.99, "no higher than the dot before it"
    assert panel.lanes.lane.choice.schedule == "hand " + " ".join(f"{dot:g}" for dot in curve.dots)
    curve.setFocus()
    for key in (Qt.Key.Key_Right, Qt.Key.Key_Down, Qt.Key.Key_Down):
        qtbot.keyClick(curve, key)
    assert curve.dots[2] == pytest.approx(0.28)
    panel.engine.answer_schedules((0.5, 0.4, 0.3, 0.2))
    assert curve.dots[2] == pytest.approx(0.28), "dots by hand stay where they were put"
    editor.kinds.setCurrentIndex(0)
    editor._on_kind(0)
    assert panel.lanes.lane.choice.schedule == "" and editor.numbers.values() == {"first": 1e-4, "last": 0.02}


def test_a_schedule_that_is_none_or_leaves_signal_is_told_beside_its_curve(panel):
    editor = scheduled(panel)
    editor.numbers.editor("last").setValue(0)
    panel.engine.answer_schedules(notice="36% of the variance is still signal.")
    assert "36%" in editor.words.text() and "press Train" in editor.words.text()
    editor.numbers.editor("first").setValue(400)
    panel.engine.last(PlaneSchedule).begin()
    panel.engine.last(PlaneSchedule).fail("β cannot fall.")
    assert "β cannot fall." in editor.words.text() and panel.banner.isHidden()


def test_dots_of_another_kind_are_made_to_fall():
    made = falling([1.0, 1.0, 0.5, 0.0, 0.0], 1e-4, 0.999)
    assert all(a > b for a, b in pairwise(made)) and made[0] == 0.999 and made[2] == 0.5 and made[-1] == 1e-4


# --- latents --------------------------------------------------------------------------------------------------------


def test_a_row_of_latents_is_shown_and_its_ends_can_be_dragged(panel, qtbot):
    trained(panel)
    stage, box = panel.stages.stages[0], panel.stages.switches["between"]
    assert not stage._handles and panel.engine.runs()[0].job.between == ENDS
    box.setChecked(True)
    panel.player.go(0)
    assert stage._handles["A"] == pytest.approx(ENDS[0]) and len(stage._points[3][0]) == 5
    panel.player.go(2)
    assert not stage._handles and np.allclose(stage._paths[-1][0][0], np.add(ENDS[0], 0.2))
    panel.player.go(0)
    stage.handle_moved.emit("A", 0.5, 0.25)
    qtbot.waitUntil(lambda: len(panel.engine.runs()) == 2, timeout=2000)
    job = panel.engine.runs()[1].job
    assert (job.between, job.between_data) == (((0.5, 0.25), ENDS[1]), False)
    panel.engine.tell(panel.engine.runs()[1])
    panel.player.go(5)
    stage.handle_moved.emit("B", -1.0, 0.0)
    qtbot.waitUntil(lambda: len(panel.engine.runs()) == 3, timeout=2000)
    job = panel.engine.runs()[2].job
    assert job.between_data and job.between[1] == (-1.0, 0.0) and job.between[0] == pytest.approx((1.0, 0.75)), "A stays where it is seen"


def test_a_sketch_is_drawn_on_the_data_and_carried_by_all(panel, qtbot):
    button = panel.stages.sketch
    button.click()
    assert "press Train first" in panel.banner.text() and not button.isChecked()
    panel.set_count(2)
    panel.train()
    for handle in panel.engine.runs():
        panel.engine.tell(handle)
    panel.player.go(1)
    button.click()
    stage = panel.stages.stages[1]
    middle = stage.square().center().toPoint()
    qtbot.mousePress(stage, Qt.MouseButton.LeftButton, pos=middle)
    qtbot.mouseMove(stage, middle + QPoint(20, 0))
    qtbot.mouseRelease(stage, Qt.MouseButton.LeftButton)
    panel.redraw()
    assert panel.player.index == 5 and "2 points" in stage._title and len(stage._points[5][0]) == 2 and not panel.side.data.points
    button.click()
    jobs = [handle.job for handle in panel.engine.runs()[2:]]
    assert len(jobs) == 2 and all(job.sketch == panel.latents.sketch and len(job.sketch) == 2 for job in jobs)
    for handle in panel.engine.runs()[2:]:
        panel.engine.tell(handle)
    panel.player.go(2)
    assert np.allclose(stage._points[5][0], 3 * np.array(panel.latents.sketch)) and not len(stage._points[4][0])
    panel.player.go(5)
    assert np.allclose(stage._points[4][0], panel.latents.sketch), "what was drawn, beside what came back"


def test_a_walk_that_cannot_carry_a_sketch_says_so(panel):
    panel.latents.sketch = ((0.0, 1.0), (1.0, 0.0))
    trained(panel)
    panel.lanes.lane.told.sketches.clear()
    panel.redraw()
    assert "not carried" in panel.beside.inspector.text()


def test_words_of_a_walk_between_clouds_speak_of_no_noise(panel):
    panel.side.data.choose_source("rings")
    panel.train()
    nan = float("nan")
    moments = [replace(particles(k, 3), signal=nan, noise=nan) for k in range(3)]
    panel.engine.tell(panel.engine.runs()[0], moments)
    panel.player.go(1)
    words = panel.beside.inspector.text()
    assert "rings to moons" in words and "Noise" not in words and "noise" not in panel.stages.stages[0]._title + panel.foot.transport.text()


# --- several methods ----------------------------------------------------------------------------------------------


def test_four_lanes_run_on_the_same_noise(panel):
    panel.set_count(4)
    panel.train()
    jobs = [handle.job for handle in panel.engine.runs()]
    assert [job.method for job in jobs] == ["flow-matching", "edm", "realnvp", "vp"]
    assert len({job.seed for job in jobs}) == 1 and len(panel.stages.stages) == 4
    panel.set_count(1)
    assert [handle.state for handle in panel.engine.runs()[1:]] == ["cancelled"] * 3


def test_a_leading_lane_may_go(panel):
    panel.set_count(4)
    panel.train()
    panel.engine.tell(panel.engine.runs()[3])
    panel.player.go(5)
    panel.set_count(2)
    assert panel.player.index == -1 and panel.foot.transport.text().startswith("no moments yet")


def test_lanes_stand_at_equal_noise_and_not_at_equal_number(panel):
    panel.set_count(2)
    panel.train()
    first, second = panel.engine.runs()
    panel.engine.tell(first, [particles(k, 4, level=level) for k, level in enumerate((8.0, 2.0, 0.5, 0.0))])
    panel.engine.tell(second, [particles(k, 6, level=level) for k, level in enumerate((9.0, 6.0, 4.0, 2.1, 0.4, 0.0))])
    panel.player.go(1)
    panel.redraw()
    assert panel.stages.stages[1]._title.startswith("Edm · noise/signal 2.1")
    panel.player.go(3)
    assert panel.stages.stages[1]._title == "Edm · noise/signal 0"


def test_stages_side_by_side_say_what_tells_them_apart(panel):
    panel.set_count(2)
    panel.lanes.all[0].choice = Choice(method="edm", solver="euler", evaluations=12, knobs=(("churn", 30.0),))
    panel.lanes.all[1].choice = Choice(method="ddpm", schedule="linear 0.0001 0.1", exact=True, knobs=())
    panel.train()
    for handle in panel.engine.runs():
        panel.engine.tell(handle)
    panel.redraw()
    titles = [stage._title.split(" · ")[0] for stage in panel.stages.stages]
    assert titles == ["Edm", "Ddpm"]
    panel.lanes.all[1].choice = Choice(method="edm", evaluations=40)
    panel.train()
    for handle in panel.engine.runs()[2:]:
        panel.engine.tell(handle)
    panel.redraw()
    titles = [stage._title.split(" · ")[0] for stage in panel.stages.stages]
    assert titles == ["euler, 12 evaluations, churn 30", "heun, 40 evaluations, churn 0"]
    words = [schedule_of(panel.side.method.cards()["ddpm"], one) for one in ("", "hand", "linear 0.0001 0.1")]
    assert words == ["linear", "by hand", "linear, from 0.0001"] and schedule_of(panel.side.method.cards()["edm"], "") == ""
    assert names_of([panel.lanes.all[0].told]) == ["Edm"] and names_of([Told(), Told()]) == ["", ""]


def test_lanes_without_levels_stand_equally_far_on():
    lead, other = Told(moments=[particles(k, 5) for k in range(5)]), Told()
    nan = float("nan")
    for k in range(9):
        one = particles(k, 9)
        object.__setattr__(one, "signal", nan)
        object.__setattr__(one, "noise", nan)
        other.moments.append(one)
    assert [other.beside(lead, k) for k in range(5)] == [0, 2, 4, 6, 8]


def test_a_click_on_a_stage_chooses_its_method(panel, qtbot):
    panel.set_count(2)
    stage = panel.stages.stages[1]
    qtbot.mouseClick(stage, Qt.MouseButton.LeftButton, pos=stage.square().center().toPoint())
    assert panel.lanes.chosen == 1 and panel.side.method.methods.currentData() == "edm" and "stage 2" in panel.side.lane.text()


def test_a_chosen_method_is_explained_before_it_has_run(panel, qtbot):
    panel.redraw()
    for number in (1, 0):
        panel.side.method.methods.setCurrentIndex(number)
        qtbot.waitUntil(lambda: panel.beside.inspector.text().startswith(panel.side.method.card().title))


def test_an_arrangement_puts_up_lanes_data_and_switches_and_runs_them(panel, monkeypatch):
    lanes = (Choice(method="edm", knobs=(("churn", 9.0),)), Choice(method="vp", exact=True))
    made = Arrangement(sentence="Look.", lanes=lanes, shared={"data": "rings"}, switches=("paths",))
    monkeypatch.setitem(ARRANGEMENTS, "Churn repairs", made)
    panel.stages.switches["grid"].setChecked(True)
    side = panel.side.arrangements
    side.setCurrentText("Churn repairs")
    side.activated.emit(side.currentIndex())
    assert [(job.method, job.data, job.knobs, job.exact) for job in (handle.job for handle in panel.engine.runs())] == [
        ("edm", "rings", ("churn=9",), False), ("vp", "rings", (), True)]  # fmt: skip
    assert panel.stages.on("paths") and not panel.stages.on("grid") and side.currentIndex() == 0 and "Churn repairs" in panel.banner.text()


def test_arrangements_name_methods_knobs_and_switches_that_exist(panel):
    from models.plane.method import method

    for one in ARRANGEMENTS.values():
        assert len(one.lanes) in (1, 2, 4) and set(one.switches) <= set(panel.stages.switches) and one.sentence.endswith(".")
        assert set(one.shared) <= {"data", "source"}
        for lane in one.lanes:
            row = method(lane.method)
            row.settings(dict(lane.knobs))
            row.check_solver(lane.solver)
            row.with_schedule(lane.schedule)
            assert row.exact is not None or not lane.exact


# --- the desk -----------------------------------------------------------------------------------------------------


def test_the_desk_compares_what_is_on_stage_and_draws_its_rows(panel):
    panel.set_count(2)
    panel.lanes.all[1].choice = Choice(method="edm", solver="euler", knobs=(("churn", 30.0),))
    panel.show_page(1)
    panel.desk.compare()
    handle = panel.engine.last(ComparePlane)
    assert handle.job.methods == ("flow-matching:heun", "edm:euler,churn=30") and handle.job.budgets == (4, 8, 16, 32, 64, 128)
    handle.begin()
    for n in (4, 8):
        row = PlaneRow(method="flow-matching:heun", solver="heun", evaluations=n, wasserstein=1 / n, distance=1 / n**2, seconds=0.1)
        handle.record.emit("row", row)
    handle.succeed(Result(facts={"data_distance": 0.02, "slopes": {"flow-matching:heun": 2.0, "edm:euler,churn=30": None}}))
    assert np.array_equal(panel.desk.errors.curves()["flow-matching:heun"].y, [1 / 16, 1 / 64])
    assert panel.desk.distances.curves()["fresh data"].y[0] == 0.02 and "flow-matching:heun 2.00" in panel.desk.words.text()


def test_the_desk_saves_numbers_and_picture(panel, monkeypatch, tmp_path):
    panel.show_page(1)
    assert not panel.desk.numbers.isEnabled()
    panel.desk.compare()
    handle = panel.engine.last(ComparePlane)
    handle.begin()
    for solver in ("heun", "euler"):
        row = PlaneRow(method=f"edm:{solver}", solver=solver, evaluations=8, wasserstein=0.5, distance=None, seconds=0.1, nll=1.25)
        handle.record.emit("row", row)
    handle.succeed(Result(facts={"data_distance": 0.02, "slopes": {}}))
    assert "Nats a held-out point: edm 1.250." in panel.desk.words.text(), "a likelihood has nothing to do with the solver of the walk"
    for button, name in ((panel.desk.numbers, "rows"), (panel.desk.picture, "rows")):
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / name), ""))  # noqa: B023
        button.click()
    panel.desk.errors.save_requested.emit("csv", "curve,x,y\n")
    panel.settings.storage.flush()
    assert (tmp_path / "rows.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "rows.csv").read_text("utf-8") == "curve,x,y\n"


def test_the_table_of_the_desk_can_be_read_back():
    import csv
    import io

    row = PlaneRow(method="edm:heun,churn=30", solver="heun", evaluations=8, wasserstein=0.5, distance=None, seconds=0.1, nll=1.25)
    (read,) = csv.DictReader(io.StringIO(table([row])))
    assert read["method"] == "edm:heun,churn=30" and float(read["nll"]) == 1.25 and read["distance"] == ""


def test_every_solver_of_each_method(panel):
    panel.desk.all_solvers.setChecked(True)
    panel.desk.compare()
    assert panel.engine.last(ComparePlane).job.methods == ("flow-matching:heun", "flow-matching:euler")


def test_evaluations_that_are_no_numbers_are_told(panel):
    panel.desk.budgets.setText("4 many")
    panel.desk.compare()
    assert "no whole numbers" in panel.banner.text()


# --- data ---------------------------------------------------------------------------------------------------------


def test_a_drawn_cloud_becomes_the_data(panel, qtbot):
    panel.side.data.pen.setChecked(True)
    stage = panel.stages.stages[0]
    middle = stage.square().center().toPoint()
    qtbot.mousePress(stage, Qt.MouseButton.LeftButton, pos=middle)
    for step in range(1, 5):
        qtbot.mouseMove(stage, middle + QPoint(10 * step, 0))
    qtbot.mouseRelease(stage, Qt.MouseButton.LeftButton)
    assert len(panel.side.data.points) >= 2 and panel.side.data.points[0] == pytest.approx((0, 0), abs=0.02)
    panel.redraw()
    assert "at least 20" in stage._title
    panel.train()
    assert panel.engine.runs()[0].job.points == panel.side.data.points and not panel.side.data.pen.isChecked()
    panel.side.data.wipe.click()
    assert panel.side.data.shared().points == () and panel.side.data.source() == "moons"


def test_a_dropped_picture_becomes_the_data(panel):
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile("/tmp/face.png")])
    assert panel.accept_drop(mime)
    panel.engine.last(OpenPicture).succeed(Result(files={"image.png": Image(np.zeros((8, 9, 3), np.uint8))}))
    panel.train()
    job = panel.engine.runs()[0].job
    assert job.picture is not None and job.picture.width == 9 and panel.side.data.clouds.currentText() == "Picture, 9 x 8"


# --- saving -------------------------------------------------------------------------------------------------------


def test_the_walk_is_saved_from_the_moment_on_show(panel, monkeypatch):
    panel.sharing.ask()
    assert "no walk to save" in panel.banner.text()
    trained(panel)
    panel.player.go(3)
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: ("/tmp/walk", "Picture of this moment (*.png)"))
    panel.sharing.ask()
    handle = panel.engine.last(ExportPlane)
    assert (handle.job.path, handle.job.at, len(handle.job.moments), handle.job.method) == ("/tmp/walk.png", 3, 6, "Flow-Matching")
    handle.succeed(Result(facts={"path": "/tmp/walk.png"}))
    assert "Saved as /tmp/walk.png" in panel.banner.text()


def test_an_animation_shows_all_stages_at_equal_noise(panel):
    panel.set_count(2)
    panel.train()
    first, second = panel.engine.runs()
    panel.engine.tell(first, [particles(k, 4, level=level) for k, level in enumerate((8.0, 2.0, 0.5, 0.0))])
    panel.engine.tell(second, [particles(k, 6, level=level) for k, level in enumerate((9.0, 6.0, 4.0, 2.1, 0.4, 0.0))])
    panel.sharing.save("/tmp/walk.gif")
    job = panel.engine.last(ExportPlane).job
    assert job.titles == ("Edm",) and [one.index for one in job.others] == [0, 3, 4, 5] and len(job.moments) == 4
    panel.sharing.save("/tmp/walk.npz")
    assert panel.engine.last(ExportPlane).job.others == ()


# --- keeping ------------------------------------------------------------------------------------------------------


def test_lanes_data_and_drawing_survive(panel, qtbot, settings):
    panel.set_count(2)
    panel.lanes.all[1].choice = Choice(method="edm", solver="euler", evaluations=12, knobs=(("churn", 30.0),))
    for k in range(25):
        panel.side.data.add_point(k / 10, 0.5)
    panel.stages.switches["paths"].setChecked(True)
    panel.latents.ends, panel.latents.of_data, panel.latents.sketch = ((1.0, 2.0), (3.0, 4.0)), True, ((0.5, 0.5),)
    panel.lanes.all[0].choice = Choice(method="ddpm", schedule="linear 0.0001 0.1")
    panel.save_now()
    again = build(qtbot, settings)
    assert again.lanes.choices()[1] == Choice(method="edm", solver="euler", evaluations=12, knobs=(("churn", 30.0),))
    assert again.lanes.choices()[0].schedule == "linear 0.0001 0.1"
    assert (again.latents.ends, again.latents.of_data, again.latents.sketch) == (((1.0, 2.0), (3.0, 4.0)), True, ((0.5, 0.5),))
    assert len(again.side.data.points) == 25 and again.side.data.source() == "drawn" and again.stages.on("paths")


def test_a_state_that_makes_no_sense_is_left_aside(qtbot, settings):
    settings.set_panel("plane", {"lanes": [{"method": 3}], "chosen": "x"})
    assert "could not be restored" in build(qtbot, settings).banner.text()


def test_f10_trains_step_by_step(panel):
    panel.lanes.step(panel.train)
    (handle,) = panel.engine.runs()
    assert handle.asked == ["step"]
    panel.lanes.step(panel.train)
    assert panel.engine.runs() == [handle] and handle.asked == ["step", "step"]
