"""The panel of reinforcement learning against canned events: no worker, no model; what is submitted, shown, turned and kept."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QMimeData, Qt, QUrl
from PySide6.QtGui import QGuiApplication
from PySide6.QtTest import QTest

from app.jobs.rl import CompareRl, ExportRl, PlayRl, RlHistory, RlPlane, RlRuns, RlSetup, TrainRl
from app.panels.rl.film import PAUSE_FRAMES
from app.panels.rl.metrics import metric, small_plots
from app.panels.rl.panel import RlPanel
from app.panels.rl.training import STEPS
from app.protocol.payloads import Result
from app.protocol.rl import RlChange, parse_settings
from tests.app import rl_fakes as fakes
from tests.app.image_panel_fakes import FakeEngine


@pytest.fixture
def build(qtbot, settings):
    def make() -> RlPanel:
        panel = RlPanel(FakeEngine(), settings)
        qtbot.addWidget(panel, before_close_func=RlPanel.about_to_close)
        panel.restore()
        panel.resize(1200, 730)
        panel.show()
        panel.ready()
        return panel

    return make


@pytest.fixture
def panel(build):
    made = build()
    newest(made, RlSetup).succeed(fakes.setup_result())
    newest(made, RlRuns).succeed(Result(files={"runs": ()}))
    return made


def newest(panel, kind):
    """The handle of the newest job of a kind."""
    found = [handle for handle in panel.engine.handles if type(handle.job) is kind]
    assert found, [type(handle.job).__name__ for handle in panel.engine.handles]
    return found[-1]


def train(panel, updates: int = 8, seeds: str = "0"):
    """Press Train and play the worker for some updates; the handles."""
    panel.side_form.seeds.setText(seeds)
    before = len(panel.engine.handles)
    panel.side_form.train.click()
    handles = [handle for handle in panel.engine.handles[before:] if type(handle.job) is TrainRl]
    for handle in handles:
        handle.begin()
        handle.record.emit("card", fakes.card(handle.job.seed))
        handle.record.emit("setup", fakes.setup())
        handle.record.emit("metrics", fakes.rows(1, updates, gain=1.0 + handle.job.seed))
        handle.record.emit("episodes", fakes.episodes(50, 120, 300))
        handle.record.emit("lamps", fakes.LAMPS)
    panel.drawing.draw()
    return handles


def lines(panel, plot=None) -> dict:
    """Key to raw track of a plot's lines."""
    return (plot or panel.stage.curves.plot).tracks.lines


# --- the form ------------------------------------------------------------------------------------------------


def test_asks_for_the_preset_and_the_runs_and_starts_nothing(panel):
    assert panel.engine.count(RlSetup) == 1 and panel.engine.count(RlRuns) == 1 and not panel.engine.count(TrainRl)
    form = panel.side_form
    assert form.total.value() == 100_000 and form.rows.values()["clip_range"] == 0.2 and "ppo.yml" in form.note.text()
    assert "500 ± 0 after 100,000 steps (the zoo)" in form.note.text()
    assert form.run() == form.run(0) and form.jobs() == [TrainRl()], "nothing differs from the preset"


def test_what_cannot_be_chosen_is_greyed_with_its_reason(panel):
    form = panel.side_form
    assert not form.algo.model().item(form.algo.findData("ddpg")).isEnabled()
    assert form.algo.itemText(form.algo.findData("ppo")) == "PPO, tuned"
    lander = form.env.findText("LunarLander-v3")
    assert not form.env.model().item(lander).isEnabled()
    assert "box2d" in form.env.itemData(lander, Qt.ItemDataRole.ToolTipRole)


def test_a_pair_that_does_not_go_together_says_so_and_cannot_be_trained(panel):
    panel.side_form.set_pair("ddpg", "CartPole-v1")
    panel.setups.ask()
    newest(panel, RlSetup).fail("DDPG cannot handle the numbered actions of CartPole-v1.", "Choose PPO.")
    assert panel.side_form.check.text() == "DDPG cannot handle the numbered actions of CartPole-v1. Choose PPO."
    assert not panel.side_form.note.text(), "what is published is about another pair"
    assert not panel.side_form.train.isEnabled()
    panel.side_form.set_pair("ddpg", "Pendulum-v1")
    panel.setups.ask()
    newest(panel, RlSetup).succeed(fakes.setup_result("ddpg", "Pendulum-v1"))
    assert panel.side_form.train.isEnabled() and not panel.side_form.check.text()
    assert set(panel.side_form.rows.values()) == {row.name for row in fakes.DDPG}


def test_what_is_typed_becomes_the_job(panel):
    form = panel.side_form
    form.rows.set_value("lr", 3e-4)
    form.rows.set_value("target_kl", 0.02)
    form.rows.set_value("normalize_advantage", False)
    form.hidden.setText("32, 16")
    form.total.set_value(5000)
    job, other = (form.seeds.setText("3 7") or form.jobs())
    assert (job.seed, other.seed, job.total_timesteps, job.hidden, job.n_envs) == (3, 7, 5000, (32, 16), 0)
    assert parse_settings(job.settings) == {"lr": 0.0003, "target_kl": 0.02, "normalize_advantage": False}


@pytest.mark.parametrize("seeds, words", [("", "no seed"), ("a", "'a' is no seed"), ("0-50", "More than 10"), ("-1", "is no seed")])
def test_wrong_seeds_are_a_sentence(panel, seeds, words):
    panel.side_form.seeds.setText(seeds)
    panel.side_form.train.click()
    assert words in panel.banner.text() and not panel.engine.count(TrainRl)


def test_wrong_layers_and_numbers_out_of_range_are_refused(panel):
    form = panel.side_form
    form.hidden.setText("64, many")
    form.train.click()
    assert "no hidden layers" in panel.banner.text() and not panel.engine.count(TrainRl)
    field = form.rows.editor("clip_range")
    for typed in ("nan", "-1", "0", "eleven"):
        field.lineEdit().setText(typed)
        field.editingFinished.emit()
        assert field.value() == 0.2 and "Clip range" in panel.banner.text()
        panel.banner.clear()


def test_a_changed_setup_is_checked_before_it_runs(panel, qtbot):
    panel.side_form.n_envs.set_value(1_000_000)
    panel.side_form.changed.emit()
    qtbot.waitUntil(lambda: newest(panel, RlSetup).job.n_envs == 1_000_000)
    newest(panel, RlSetup).fail("The rollout would take 30 GB.", "Take fewer copies.")
    assert panel.side_form.check.text() == "The rollout would take 30 GB. Take fewer copies."


def test_a_setup_is_one_line_that_can_be_copied_and_pasted(panel):
    form = panel.side_form
    form.rows.set_value("lr", 3e-4)
    form.show_line()
    form.line.copy.click()
    assert QGuiApplication.clipboard().text() == form.line.text() == "ppo CartPole-v1 seed=0 lr=0.0003"
    QGuiApplication.clipboard().setText("ddpg Pendulum-v1 seed=4 total=9000 noise=0.3\n")
    form.line.paste.click()
    assert newest(panel, RlSetup).job == RlSetup(algo="ddpg", env="Pendulum-v1")
    newest(panel, RlSetup).succeed(fakes.setup_result("ddpg", "Pendulum-v1"))
    assert form.jobs() == [TrainRl(algo="ddpg", env="Pendulum-v1", seed=4, total_timesteps=9000, settings="noise=0.3")]


@pytest.mark.parametrize("text", ["nonsense", "foo CartPole-v1", "ppo CartPole-v1 lr", "ppo CartPole-v1 lr=fast"])
def test_a_line_that_is_no_setup_is_a_sentence_and_changes_nothing(panel, text):
    before = panel.side_form.jobs()
    panel.setups.take_text(text)
    assert panel.banner.isVisible() and panel.side_form.jobs() == before and panel.engine.count(RlSetup) == 1


def test_a_setting_that_the_algorithm_has_not_is_a_sentence(panel):
    panel.setups.take_text("ppo CartPole-v1 noise=0.3")
    newest(panel, RlSetup).succeed(fakes.setup_result())
    assert "ppo has no setting named noise" in panel.banner.text()


# --- training ------------------------------------------------------------------------------------------------


def test_curves_grow_and_the_agent_moves(panel):
    handle = train(panel, 4)[0]
    assert len(next(iter(lines(panel).values())).raw) == 3, "no episode had ended in the first row"
    handle.record.emit("metrics", fakes.rows(5, 9))
    handle.record.emit("eval", fakes.evaluation(9))
    handle.preview.emit("agent", fakes.frame(7))
    panel.drawing.draw()
    assert len(lines(panel)["1"].raw) == 8 and len(lines(panel)["1/eval"].raw) == 1
    assert panel.stage.agent.view.frame == fakes.frame(7)
    assert len(lines(panel, panel.stage.small.plots["train/approx_kl"])["1"].raw) == 9
    assert panel.stage.curves.key.accessibleName() == "PPO, seed 0; evaluation; published: on the way"
    panel.stage.curves.plot.refresh()
    assert panel.stage.curves.plot.reader.key.isHidden(), "nothing covers the curves"
    assert "2,304 of 100,000 steps" in panel.timeline.transport.text()
    assert "480 ± 20" in panel.side.inspector.text() and "500 ± 0 at 100,000" in panel.side.inspector.text()


def test_before_the_first_update_episodes_are_dots_and_steps_are_counted(panel):
    train(panel, 0)
    plot = panel.stage.curves.plot
    plot.refresh()
    assert list(plot.tracks.dots["1"].x) == [50, 120, 300] and "300 of 100,000 steps" in panel.timeline.transport.text()
    assert plot.box.viewRange()[0][1] >= 300


def test_several_seeds_share_a_hue_and_a_group_and_another_algorithm_has_its_own(panel):
    train(panel, 4, "0-2")
    kinds = {(track.line.group, track.line.colour) for track in lines(panel).values()}
    assert len(lines(panel)) == 3 and len(kinds) == 1
    panel.side_form.set_pair("a2c", "CartPole-v1")
    panel.setups.ask()
    newest(panel, RlSetup).succeed(fakes.setup_result("a2c"))
    handle = panel.side_form.train.click() or newest(panel, TrainRl)
    handle.begin()
    handle.record.emit("card", fakes.card(0, "a2c"))
    handle.record.emit("metrics", fakes.rows(1, 4))
    panel.drawing.draw()
    assert len(lines(panel)) == 4 and len({(track.line.group, track.line.colour) for track in lines(panel).values()}) == 2


def test_a_run_of_another_environment_does_not_stand_on_the_same_axis(panel):
    train(panel)
    panel.side_form.set_pair("ppo", "Pendulum-v1")
    handle = panel.side_form.train.click() or newest(panel, TrainRl)
    handle.record.emit("card", fakes.card(0, "ppo", "Pendulum-v1"))
    handle.record.emit("metrics", fakes.rows(1, 4))
    panel.drawing.draw()
    assert list(lines(panel)) == ["2"]


def test_knobs_are_turned_in_the_run_and_marked(panel):
    handle = train(panel)[0]
    field = panel.side_form.rows.editor("clip_range")
    field.lineEdit().setText("0.1")
    field.editingFinished.emit()
    assert handle.asked == ["tune"] and parse_settings(handle.job.settings)["clip_range"] == 0.1
    assert parse_settings(handle.job.settings)["lr"] == 0.001, "the others stay as they are in the run"
    handle.record.emit("change", RlChange(1024, "clip_range", 0.2, 0.1))
    panel.drawing.draw()
    assert panel.trainings.shown.changes == [RlChange(1024, "clip_range", 0.2, 0.1)]
    from app.panels.rl.lines import marks

    assert marks(panel.trainings.shown, STEPS) == [(1024.0, "Clip range 0.2 → 0.1")]


def test_knobs_do_not_reach_runs_of_another_algorithm_and_fixed_ones_no_run(panel):
    handle = train(panel)[0]
    panel.side_form.set_pair("ddpg", "Pendulum-v1")
    panel.setups.ask()
    newest(panel, RlSetup).succeed(fakes.setup_result("ddpg", "Pendulum-v1"))
    panel.commands.turn("lr", 0.1)
    assert "tune" not in handle.asked
    ddpg = panel.side_form.train.click() or newest(panel, TrainRl)
    ddpg.begin()
    panel.commands.turn("buffer_size", 5)
    assert "tune" not in [wish for wish in ddpg.asked if parse_settings(ddpg.job.settings).get("buffer_size") == 5]


def test_a_refused_knob_is_a_sentence(panel):
    train(panel)[0].record.emit("refused", "buffer_size cannot change during a run. Start another run with it.")
    assert "cannot change during a run" in panel.banner.text()


def test_pause_step_resume_and_stop_reach_all_seeds(panel):
    handles = train(panel, seeds="0-1")
    panel.commands.pause()
    assert all(handle.asked[-1] == "pause" for handle in handles)
    for handle in handles:
        handle.park(8)
    assert panel.timeline.transport.state == "paused"
    panel.timeline.transport.next.emit()
    assert all(handle.asked[-1] == "step" for handle in handles)
    panel.timeline.transport.play.emit()
    assert all(handle.asked[-1] == "resume" for handle in handles)
    panel.timeline.transport.stop.emit()
    assert all(handle.state == "cancelled" for handle in handles) and panel.timeline.transport.state == "idle"


def test_step_begins_a_run_that_stands_still_after_one_update(panel):
    panel.side_form.step.click()
    assert newest(panel, TrainRl).park_after == 1


def test_a_failed_run_is_a_sentence_and_earlier_curves_stay(panel):
    train(panel)
    second = train(panel)[0]
    second.fail("The loss is no longer a finite number.", "Lower the learning rate.")
    assert "finite number" in panel.banner.text() and len(panel.trainings.all) == 2 and len(panel.trainings.all[0].metrics) == 8
    second.record.emit("metrics", fakes.rows(9, 10))  # late: nothing breaks


def test_out_of_sight_nothing_is_drawn_and_in_sight_again_all_of_it(panel, qtbot):
    handle = train(panel, 4)[0]
    panel.hide()
    assert handle.job.watch is False, "nobody looks, so nothing need be sent"
    handle.record.emit("metrics", fakes.rows(5, 50))
    handle.preview.emit("agent", fakes.frame(9))
    assert len(lines(panel)["1"].raw) == 3 and not panel.drawing._clock.isActive()
    panel.show()
    assert handle.job.watch is True and len(lines(panel)["1"].raw) == 49 and panel.stage.agent.view.frame == fakes.frame(9)


def test_only_the_run_looked_at_sends_its_agent(panel):
    first = train(panel)[0]
    second = train(panel)[0]
    assert (first.job.watch, second.job.watch) == (False, True)
    panel.trainings.show(panel.trainings.all[0])
    assert (first.job.watch, second.job.watch) == (True, False)


def test_the_inside_of_an_update_is_shown_on_its_page(panel):
    handle = train(panel)[0]
    handle.preview.emit("inside", fakes.inside())
    assert not panel.stage.inside.charts()
    panel.stage.pages.setCurrentWidget(panel.stage.inside)
    assert len(panel.stage.inside.charts()) == 1


def test_the_map_follows_the_run_and_the_moment(panel):
    handle = train(panel)[0]
    handle.preview.emit("plane", fakes.plane(256))
    assert panel.side.plane._view == fakes.plane(256) and panel.side.layer.count() == 3
    handle.record.emit("moments", (0, 512))
    machine(panel, 512)
    handle.preview.emit("plane", fakes.plane(2048))
    assert panel.side.plane._view == fakes.plane(512), "what goes on now does not cover the past"
    panel.looking.follow()
    assert panel.side.plane._view == fakes.plane(2048)


def test_lamps_and_metrics_explain_themselves(panel):
    train(panel)
    panel.drawing.explain("Critic")
    assert "Explained variance is -0.50" in panel.side.inspector.text()
    panel.drawing.explain("train/clip_fraction")
    assert "clip band" in panel.side.inspector.text() and "0.1" in panel.side.inspector.text()
    panel.drawing.explain("train/clip_fraction")
    assert panel.side.inspector.text().startswith("PPO, seed 0") and "1 ± 0.2" in panel.side.inspector.text()


def test_small_plots_take_other_metrics_and_forget_the_old_ones(panel, qtbot):
    train(panel)
    small = panel.stage.small
    qtbot.waitUntil(lambda: all(plot.isVisible() for plot in small.plots.values()))
    before, old = list(small.plots.values()), set(small.plots)
    small.set_names(small_plots("ddpg")[:5])
    assert list(small.plots.values()) == before[:5] and set(small.plots) == set(small_plots("ddpg")[:5]) != old
    assert [plot.isVisible() for plot in before] == 5 * [True] + [False]
    assert not any(plot.tracks for plot in before[:5])
    for name, plot in small.plots.items():
        assert plot.head.title == metric(name).title and name in plot.toolTip() and plot.property("metric") == name


def test_a_small_plot_grows_on_a_click_and_shrinks_again(panel):
    train(panel)
    small = panel.stage.small
    small.plots["train/value_loss"].clicked.emit()
    assert [name for name, plot in small.plots.items() if plot.isVisible()] == ["train/value_loss"]
    small.plots["train/value_loss"].clicked.emit()
    assert all(plot.isVisible() for plot in small.plots.values())


# --- the time machine ----------------------------------------------------------------------------------------


def machine(panel, at: int):
    """Look at a moment and let the worker answer."""
    panel.looking.look(at)
    newest(panel, RlPlane).succeed(Result(files={"plane": fakes.plane(panel.looking.at)}))
    newest(panel, PlayRl).succeed(Result(files={"film": fakes.film(panel.looking.at)}))


def test_dragging_the_cursor_plays_the_policy_of_that_moment(panel):
    handle = train(panel, 8)[0]
    handle.record.emit("moments", (0, 512, 1024, 2048))
    panel.stage.curves.plot.cursor_moved.emit(1500.0)
    job = newest(panel, PlayRl).job
    assert (job.run, job.timesteps, job.seed) == ("/runs/ppo-CartPole-v1-0", 1024, 0)
    assert newest(panel, RlPlane).job.timesteps == 1024
    newest(panel, PlayRl).succeed(Result(files={"film": fakes.film(1024)}))
    assert panel.stage.agent.view.frame == fakes.film(1024).frames[0] and panel.stage.agent.bar.isVisible()
    handle.preview.emit("agent", fakes.frame(3))
    assert panel.stage.agent.view.frame == fakes.film(1024).frames[0], "the live agent does not disturb the past"
    assert handle.job.watch is False and "looking back at step 1,024" in panel.timeline.transport.text()
    panel.stage.agent.bar.newest.click()
    assert panel.looking.at is None and panel.stage.agent.view.frame == fakes.frame(3) and not panel.stage.agent.bar.isVisible()


def test_an_answer_to_an_old_question_is_not_shown(panel):
    train(panel, 8)[0].record.emit("moments", (0, 512, 1024))
    panel.looking.look(512)
    old = newest(panel, PlayRl)
    panel.looking.look(1024)
    old.succeed(Result(files={"film": fakes.film(512)}))
    assert panel.looking.player.film is None
    newest(panel, PlayRl).succeed(Result(files={"film": fakes.film(1024)}))
    assert panel.looking.player.film == fakes.film(1024)


def test_keys_walk_through_the_policies_and_films_are_kept(panel):
    handle = train(panel, 8)[0]
    handle.record.emit("moments", (0, 512, 1024))
    handle.end("cancelled", handle.cancelled)
    QTest.keyClick(panel, Qt.Key.Key_End)
    assert panel.looking.at == 1024
    newest(panel, PlayRl).succeed(Result(files={"film": fakes.film(1024)}))
    QTest.keyClick(panel, Qt.Key.Key_Left)
    assert panel.looking.at == 512
    newest(panel, PlayRl).succeed(Result(files={"film": fakes.film(512)}))
    asked = panel.engine.count(PlayRl)
    QTest.keyClick(panel, Qt.Key.Key_Right)
    assert panel.looking.at == 1024 and panel.engine.count(PlayRl) == asked, "that film is there already"
    assert panel.looking.player.film == fakes.film(1024)
    QTest.keyClick(panel, Qt.Key.Key_Home)
    assert panel.looking.at == 0 and panel.engine.count(PlayRl) == asked + 1


def test_the_film_plays_over_and_over_and_can_be_dragged(panel):
    train(panel, 8)[0].record.emit("moments", (0, 512))
    machine(panel, 512)
    player, bar = panel.looking.player, panel.stage.agent.bar
    assert player.playing and bar.slider.maximum() == 4
    for _ in range(4):
        player._on_clock()
    assert player.index == 4
    for _ in range(PAUSE_FRAMES + 1):
        player._on_clock()
    assert player.index == 0 and player.playing
    player.pause()
    bar.slider.setValue(2)
    assert panel.stage.agent.view.frame == fakes.film(512).frames[2]
    panel.hide()
    player.play()
    assert not player.playing, "out of sight nothing plays"


def test_another_episode_is_asked_for_by_its_seed(panel):
    train(panel, 8)[0].record.emit("moments", (0, 512))
    machine(panel, 512)
    panel.stage.agent.bar.seed.edited.emit(7)
    assert newest(panel, PlayRl).job.seed == 7


def test_a_policy_that_is_gone_is_a_sentence(panel):
    train(panel, 8)[0].record.emit("moments", (0, 512))
    panel.looking.look(512)
    newest(panel, PlayRl).fail("There is no such run.", "Choose another.")
    assert "There is no such run." in panel.banner.text() and panel.timeline.busy() == ""


def test_two_policies_play_the_same_episode(panel):
    handle = train(panel, 8)[0]
    handle.record.emit("moments", (0, 512))
    panel.library.show()
    machine(panel, 512)
    panel.stage.pages.setCurrentWidget(panel.stage.compare)
    page = panel.stage.compare
    page.button.click()
    assert newest(panel, CompareRl).job == CompareRl(run="/runs/ppo-CartPole-v1-0", timesteps=512, other="/runs/ppo-CartPole-v1-0")
    films = {"film": fakes.film(512, 5), "other": fakes.film(2048, 3), "difference": np.array([0, 0.5, 1, 0, 0], np.float32)}
    newest(panel, CompareRl).succeed(Result(files=films, facts={"measure": "total variation", "mean_difference": 0.3}))
    page.player.pause()
    page.player.go(4)
    assert page.left.frame == films["film"].frames[4] and page.right.frame == films["other"].frames[2], "the shorter one has ended"


# --- runs on the disk ----------------------------------------------------------------------------------------


def with_cards(panel, *cards):
    panel.library.refresh()
    newest(panel, RlRuns).succeed(Result(files={"runs": cards}))
    panel.stage.pages.setCurrentWidget(panel.stage.runs)


def test_an_interrupted_run_is_offered_after_a_crash(build):
    panel = build()
    newest(panel, RlSetup).succeed(fakes.setup_result())
    left = fakes.card(3, state="interrupted", timesteps=34_000)
    newest(panel, RlRuns).succeed(Result(files={"runs": (fakes.card(1, state="finished"), left)}))
    assert "interrupted: ppo on CartPole-v1, at 34,000 of 100,000 steps" in panel.banner.text()
    panel.banner._action.click()
    newest(panel, RlHistory).succeed(fakes.history(left))
    job = newest(panel, TrainRl).job
    assert job.resume == left.folder and job.seed == 3 and not job.settings, "the knobs stay as they were saved"
    newest(panel, TrainRl).record.emit("metrics", fakes.rows(21, 22))
    assert len(panel.trainings.shown.metrics) == 22 and len(panel.trainings.all) == 1


def test_resumed_at_an_earlier_moment_nothing_after_it_stays(panel):
    with_cards(panel, fakes.card(3, state="interrupted", timesteps=3840))
    panel.wishes.resume(panel.library.entries()[0])
    newest(panel, RlHistory).succeed(fakes.history(fakes.card(3, state="interrupted", timesteps=3840)))
    handle, run = newest(panel, TrainRl), panel.trainings.shown
    handle.record.emit("episodes", fakes.episodes(5000))
    assert run.steps == 5120
    handle.record.emit("card", fakes.card(3, timesteps=3840))
    assert run.steps == 3840 and len(run.metrics) == 15 and not (run.episodes.rows[:, 0] > 3840).any()
    handle.record.emit("episodes", fakes.episodes(3900, 4096))
    handle.record.emit("metrics", fakes.rows(16, 17))
    assert len(run.metrics) == 17 and (run.episodes.rows[:, 0] > 3840).sum() == 2


def test_an_earlier_run_is_shown_with_its_lamps_and_policies(panel):
    done = fakes.card(1, state="finished", timesteps=5120, eval_mean=490.0, eval_std=3.0)
    with_cards(panel, done)
    table = panel.stage.runs.table
    assert table.item(0, 4).text() == "finished" and table.item(0, 5).text() == "490 ± 3"
    table.selectRow(0)
    panel.stage.runs.buttons["show"].click()
    assert newest(panel, RlHistory).job.run == done.folder
    newest(panel, RlHistory).succeed(fakes.history(done))
    panel.drawing.draw()
    assert panel.trainings.shown.lamps == fakes.LAMPS and list(panel.looking.moments()) == [0, 1280, 2560, 3840, 5120]
    assert len(lines(panel)["1"].raw) == 19 and panel.stage.runs.table.rowCount() == 1
    assert newest(panel, PlayRl).job.timesteps == 5120, "its last policy plays at once"


def test_a_run_is_exported_into_a_folder(panel, tmp_path, settings):
    with_cards(panel, fakes.card(1, state="finished"))
    panel.wishes.export_to(panel.library.entries()[0], tmp_path / "out")
    newest(panel, ExportRl).succeed(Result(files={"metrics.csv": "a,b\n", "policy.safetensors": b"\x00"}))
    settings.storage.flush()
    assert (tmp_path / "out/metrics.csv").read_text() == "a,b\n" and (tmp_path / "out/policy.safetensors").read_bytes() == b"\x00"


def test_deleting_asks_first(panel):
    with_cards(panel, fakes.card(1, state="finished"))
    panel.stage.runs.table.selectRow(0)
    panel.stage.runs.buttons["delete"].click()
    assert not newest(panel, RlRuns).job.delete and "Delete the run" in panel.banner.text()
    panel.banner._action.click()
    assert newest(panel, RlRuns).job.delete == "ppo-CartPole-v1-1"
    newest(panel, RlRuns).succeed(Result(files={"runs": ()}))
    assert panel.stage.runs.table.rowCount() == 0


def test_a_running_one_can_be_neither_resumed_nor_deleted(panel):
    train(panel)
    panel.stage.pages.setCurrentWidget(panel.stage.runs)
    panel.drawing.draw()
    panel.stage.runs.table.selectRow(0)
    able = {name: button.isEnabled() for name, button in panel.stage.runs.buttons.items()}
    assert able == {"show": True, "resume": False, "reuse": True, "export": True, "delete": False, "open": True}


def test_unticking_takes_a_run_off_the_plot(panel):
    train(panel, 4, "0-1")
    panel.stage.pages.setCurrentWidget(panel.stage.runs)
    panel.drawing.draw()
    panel.stage.runs.table.item(0, 0).setCheckState(Qt.CheckState.Unchecked)
    panel.drawing.draw()
    assert list(lines(panel)) == ["1"]


def test_a_stopped_run_goes_on_from_its_checkpoint_and_what_came_after_it_is_forgotten(panel):
    handle = train(panel, 20)[0]
    handle.record.emit("eval", fakes.evaluation(20))
    handle.end("cancelled", handle.cancelled)
    panel.wishes.resume(panel.library.entries()[0])
    assert newest(panel, TrainRl).job.resume == "/runs/ppo-CartPole-v1-0"
    newest(panel, TrainRl).record.emit("card", fakes.card(timesteps=16 * 256))  # a run says first where it goes on
    newest(panel, TrainRl).record.emit("metrics", fakes.rows(17, 18))
    run = panel.trainings.shown
    assert list(run.metrics["update"]) == [float(n) for n in range(1, 19)] and len(run.evals) == 0
    assert (np.diff(run.metrics[STEPS]) > 0).all()


def test_a_finished_run_is_extended_by_more_steps_only(panel):
    done = fakes.card(1, state="finished", timesteps=5120, total=5120)
    with_cards(panel, done)
    panel.side_form.total.set_value(5000)
    panel.wishes.resume(panel.library.entries()[0])
    newest(panel, RlHistory).succeed(fakes.history(done))
    assert "has made all its 5,120 steps" in panel.banner.text()
    count = panel.engine.count(TrainRl)
    panel.side_form.total.set_value(9000)
    panel.wishes.resume(panel.library.entries()[0])
    assert panel.engine.count(TrainRl) == count + 1 and newest(panel, TrainRl).job.total_timesteps == 9000


def test_a_folder_that_is_dropped_is_opened_and_a_damaged_one_is_a_sentence(panel, tmp_path):
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(tmp_path))])
    assert not panel.accept_drop(mime)
    (tmp_path / "run.json").write_text("{}")
    assert panel.accept_drop(mime) and newest(panel, RlHistory).job.run == str(tmp_path)
    newest(panel, RlHistory).fail("run.json is damaged.", "Choose another run.")
    assert "run.json is damaged." in panel.banner.text()


# --- staying -------------------------------------------------------------------------------------------------


def test_the_form_is_remembered(panel, build, settings):
    panel.side_form.rows.set_value("lr", 5e-4)
    panel.stage.curves.smoothing.setCurrentIndex(2)
    panel.stage.pages.setCurrentIndex(1)
    train(panel, seeds="2")
    panel.side_form.seeds.setText("2-4")
    panel.save_now()
    other = build()
    assert newest(other, RlHistory).job.run == "/runs/ppo-CartPole-v1-2"
    newest(other, RlHistory).fail("There is no such run.")
    assert not other.banner.isVisible(), "a run that is gone is no news at the start"
    newest(other, RlSetup).succeed(fakes.setup_result())
    assert other.side_form.rows.values()["lr"] == 0.0005 and [job.seed for job in other.side_form.jobs()] == [2, 3, 4]
    assert other.stage.curves.smoothing.currentData() == 10 and other.stage.pages.currentIndex() == 1


def test_closing_ends_the_runs(panel):
    handle = train(panel)[0]
    panel.about_to_close()
    assert handle.state == "cancelled"
