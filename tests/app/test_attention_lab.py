"""The attention lab against canned events: no worker, no torch; what is submitted, what is shown, what is kept, and the wrong ways."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QPushButton

from app import theme
from app.jobs.attention import AttentionOverview
from app.jobs.attention_lab import AttentionKinds, AttentionLengths, AttentionScale, CompareAttentions, FlashTiles, TrainAttentions
from app.panels.attention_lab.explain import amount, equation
from app.panels.attention_lab.panel import AttentionLabPanel
from app.panels.attention_lab.race_view import smoothed
from app.panels.attention_lab.scale_words import jacobian_norm
from app.panels.replay import Replay
from app.protocol.payloads import Curve
from app.widgets.colour_key import ColourKey, Entry
from app.widgets.curve_view import CurveView
from app.widgets.knob_sliders import KnobSliders, Setting
from app.widgets.map_cards import Card, MapCards
from tests.app.attention_lab_fakes import LEARNERS, LabEngine, T, points, view

MAPS, TILES, SCALE, TRAIN = range(4)


def build(qtbot, settings, engine=None, answer=True) -> AttentionLabPanel:
    made = AttentionLabPanel(engine or LabEngine(), settings)
    qtbot.addWidget(made, before_close_func=AttentionLabPanel.about_to_close)
    made.restore()
    made.resize(1200, 730)
    made.show()
    made.ready()
    if answer:
        made.engine.answer_all()
    return made


@pytest.fixture
def panel(qtbot, settings):
    return build(qtbot, settings)


def press(panel, name: str) -> None:
    panel.transport.button(name).click()


# --- mechanisms ---------------------------------------------------------------------------------------------------


def test_asks_for_the_table_then_compares_all_that_is_ticked(qtbot, settings):
    panel = build(qtbot, settings, answer=False)
    assert [type(handle.job) for handle in panel.engine.handles] == [AttentionKinds]
    panel.engine.answer(panel.engine.handles[0])
    job = panel.engine.last(CompareAttentions).job
    assert job.mechanisms == ("softmax", "window:width=16,sinks=1", "performer") and job.source == "model"
    cards = panel.mechanisms.view.cards.cards()
    assert [card.title for card in cards] == ["Softmax", "Sliding window", "Random features"] and cards[0].values is None
    panel.engine.answer_all()
    cards = panel.mechanisms.view.cards.cards()
    assert all(card.values is not None and card.above for card in cards)
    assert ("FLOPs, by formula", "1.23 M") in cards[1].lines and ("time, measured", "1.23 ms") in cards[1].lines
    assert ("cosine, rel. L2", "0.750, 0.062") in cards[1].lines
    assert panel.transport.text().startswith("mechanism 1 of 3")


def test_a_dragged_slider_computes_that_mechanism_only(panel):
    kinds = panel.mechanisms.kinds
    kinds.select("window")
    before = len(panel.engine.handles)
    kinds.sliders.editor("width").setValue(0)
    handle = panel.engine.handles[-1]
    assert len(panel.engine.handles) == before + 1 and handle.policy == "follow" and handle.key.endswith("tune-window")
    assert handle.job.mechanisms == ("window:width=1,sinks=1",)
    panel.engine.answer_all()
    card = next(card for card in panel.mechanisms.view.cards.cards() if card.key == "window")
    assert np.array_equal(card.values, view("window:width=1").map)
    words = panel.inspector.text()
    assert "softmax(q·k / √8) over the last 1 tokens and the first 1" in words and "2004.05150" in words and "Relative L2: 1.000" in words
    assert "softmax over fewer keys" in words and "1.23 M, by formula" in words and "1.23 ms, measured" in words


def test_ticking_adds_a_card_and_computes_it_alone(panel):
    box = panel.mechanisms.kinds.list
    box.item(1).setCheckState(Qt.CheckState.Unchecked)
    assert [card.key for card in panel.mechanisms.view.cards.cards()] == ["softmax", "performer"]
    box.item(1).setCheckState(Qt.CheckState.Checked)
    assert len(panel.mechanisms.view.cards.cards()) == 3 and not panel.engine.waiting(CompareAttentions), "it was known already"
    panel.head.form.editor("causal").setChecked(False)
    panel.head._clock.timeout.emit()
    panel.engine.answer_all()
    box.item(3).setCheckState(Qt.CheckState.Checked)
    assert panel.engine.waiting(CompareAttentions)[0].job.mechanisms == ("efficient",)
    panel.engine.answer_all()
    cards = panel.mechanisms.view.cards.cards()
    assert [card.key for card in cards] == ["softmax", "window", "performer", "efficient"] and not cards[0].above
    assert [card.colour for card in cards] == [0, 1, 2, 3]


def test_the_transport_walks_through_the_mechanisms(panel):
    press(panel, "next")
    assert panel.mechanisms.kinds.current == "window" and "mechanism 2 of 3" in panel.transport.text()
    assert panel.inspector.text().startswith("Sliding window")
    press(panel, "last")
    assert panel.mechanisms.view.cards.sheet.chosen == "performer"
    press(panel, "first")
    press(panel, "play")
    assert panel.transport.state == "running"
    for _ in range(3):
        panel.mechanisms.replay._clock.timeout.emit()
    assert panel.mechanisms.kinds.current == "performer" and panel.transport.state == "idle"
    panel.mechanisms.kinds.select("softmax")
    assert "mechanism 1 of 3" in panel.transport.text()


def test_one_beside_softmax_reads_both_numbers(panel):
    panel.mechanisms.view.cards.opened.emit("window")
    stage = panel.mechanisms.view
    assert stage.mode == "beside" and stage.other.value(11, 11) == (0.25, True) and stage.softmax.value(11, 0) == (0.25, True)
    stage.other.hovered.emit(11, 0)
    assert stage.readout.text() == "query 11, key 0: softmax 0.2500, here 0.2500"
    panel.mechanisms.kinds.sliders.editor("width").setValue(0)
    panel.engine.answer_all()
    assert stage.other.value(11, 0) == (0.0, True)
    stage.other.hovered.emit(-1, -1)
    assert stage.readout.text() == ""


def test_over_length_measured_and_computed_are_told_apart(panel):
    stage = panel.mechanisms.view
    stage._modes.button(2).click()
    job = panel.engine.last(AttentionLengths).job
    assert job.mechanisms == panel.mechanisms.kinds.all_written() and job.measured == 1024
    panel.engine.answer_all()
    times, costs = stage.lengths.times.curves(), stage.lengths.costs.curves()
    assert times["softmax"].x.tolist() == [256, 1024] and times["softmax"].y.tolist() == pytest.approx([0.256, 1.024])
    assert costs["softmax"].x.tolist() == [256, 1024, 4096] and costs["softmax"].y.tolist() == [256**2, 1024**2, 4096**2]
    assert len(stage.lengths.key.entries()) == 3 and "formulas" in stage.lengths._words.text()
    stage.lengths._cost.setCurrentText("Bytes moved")
    assert stage.lengths.costs.curves()["performer"].y.tolist() == [512, 2048, 8192]


def test_another_head_recomputes_the_page_in_sight_and_the_others_when_shown(panel):
    panel.show_page(TILES)
    panel.engine.answer_all()
    old = panel.engine.last(FlashTiles)
    panel.head.form.editor("layer").setValue(3)
    panel.head._clock.timeout.emit()
    fresh = panel.engine.last(FlashTiles)
    assert fresh is not old and fresh.job.layer == 3 and panel.engine.last(CompareAttentions).job.layer == 5
    panel.engine.answer_all()
    panel.show_page(MAPS)
    assert panel.engine.waiting(CompareAttentions)[0].job.layer == 3
    panel.engine.answer_all()
    panel.show_page(TILES)
    assert panel.engine.last(FlashTiles) is fresh


def test_late_results_of_an_older_head_are_not_shown(panel):
    panel.head.form.editor("head").setValue(2)
    panel.head._clock.timeout.emit()
    older = panel.engine.last(CompareAttentions)
    panel.head.form.editor("head").setValue(3)
    panel.head._clock.timeout.emit()
    older.record.emit("mechanism", view("window:width=1"))
    assert all(card.values is None for card in panel.mechanisms.view.cards.cards()) and older.state == "cancelled"


def test_the_worker_says_how_many_layers_and_heads_there_are(panel):
    assert panel.head.form.editor("layer").maximum() == 29 and panel.head.form.editor("head").maximum() == 8
    assert panel.head.words.text() == f"SmolLM2, layer 5, head 0: {T} tokens, d = 8"


def test_without_a_model_heads_are_random_and_that_is_said(qtbot, settings):
    engine = LabEngine()
    engine.model_there = False
    panel = build(qtbot, settings, engine)
    assert engine.last(CompareAttentions).job.source == "random" and "SmolLM2 is not on this machine" in panel.banner.text()
    assert not panel.head.form.editor("text").isEnabled() and panel.head.form.editor("tokens").isEnabled()


def test_failures_are_told_in_the_banner(panel):
    panel.mechanisms.compare()
    panel.engine.last(CompareAttentions).fail("There is no text to look at.", "Type some.")
    assert "There is no text to look at." in panel.banner.text() and panel.transport.text().startswith("mechanism 1 of 3")


# --- tiles --------------------------------------------------------------------------------------------------------


@pytest.fixture
def tiled(panel):
    panel.show_page(TILES)
    panel.engine.answer_all()
    return panel


def test_tiles_are_stepped_by_the_transport(tiled):
    page = tiled.tiles
    assert tiled.transport.text() == "tile 1 of 6   queries 0–3, keys 0–3"
    assert [bar.text for bar in page.view.bytes.bars()] == ["100 B", "2.0 KiB"]
    for _ in range(2):
        press(tiled, "next")
    assert page.view.stage.now is page.tiles[2] and page.view.rows._tile is page.tiles[2] and page.view.bytes.bars()[0].text == "300 B"
    QTest.keyClick(page.view.stage, Qt.Key.Key_Left)
    assert tiled.transport.text().startswith("tile 2 of 6")
    press(tiled, "last")
    words = tiled.inspector.text()
    assert "6 of 6" in words and "2.0e-07 (equal to 1e-5)" in words and "600 B of 600 B" in words
    assert "largest score 12.5: 3 of 8 weights of query 7 are no numbers in fp16" in words
    assert "Finished: outputs of queries 0 to 11" in page.view.result.text()


def test_the_equation_holds_with_its_numbers(tiled):
    tiled.tiles.replay.go(3)
    tile = tiled.tiles.now
    text = tiled.inspector.text()
    n = int(text.split("\nquery ")[1].split(":")[0]) - tile.rows[0]
    assert tile.rescale[n] == tile.rescale.min() < 1
    assert f"a = exp({tile.m_before[n]:.3f} − {tile.m[n]:.3f}) = {tile.rescale[n]:.3f}" in text
    assert f"m' = max({tile.m_before[n]:.3f}, {tile.m[n]:.3f}) = {tile.m[n]:.3f}" in text, "the new maximum is the tile's own"
    line = text.split("l' = a l + Σ P = ")[1].split("\n")[0]
    a, l, p, new = (float(part) for part in line.replace("·", " ").replace("+", " ").replace("=", " ").split())
    assert new == pytest.approx(a * l + p, abs=2e-3) and new == pytest.approx(tile.l[n], abs=1e-3)


def test_a_click_on_a_tile_goes_there_and_the_clock_plays_to_the_end(tiled):
    page = tiled.tiles
    place = page.view.stage._part((8, 12), (4, 8)).center().toPoint()
    QTest.mouseClick(page.view.stage, Qt.MouseButton.LeftButton, pos=place)
    assert page.replay.index == 5
    press(tiled, "play")
    assert page.replay.playing
    for _ in range(3):
        page.replay._clock.timeout.emit()
    assert page.replay.index == 6 and not page.replay.playing


def test_finished_tiles_are_painted_and_later_ones_are_not(tiled):
    stage = tiled.tiles.view.stage
    tiled.tiles.replay.go(2)
    picture = stage._picture
    assert picture.pixelColor(0, 5).alpha() == 255 and picture.pixelColor(5, 5).alpha() == 0, "the second row's second tile comes next"
    assert picture.pixelColor(3, 1).alpha() == 0, "a later key"
    tiled.tiles.replay.go(6)
    assert stage._picture.pixelColor(5, 5).alpha() == 255


def test_other_tile_sizes_are_computed_anew(tiled):
    tiled.tiles.knobs.editor("phase").setCurrentText("backward")
    tiled.tiles._clock.timeout.emit()
    job = tiled.engine.last(FlashTiles).job
    assert job.phase == "backward" and job.tile_q == 32
    tiled.engine.answer_all()
    assert "dS = P * (dO Vᵀ − D)" in tiled.inspector.text()


# --- scale --------------------------------------------------------------------------------------------------------


@pytest.fixture
def scaled(panel):
    panel.show_page(SCALE)
    panel.engine.answer_all()
    return panel


def test_the_scale_slider_moves_the_row_and_keeps_the_curves(scaled):
    page = scaled.scale
    assert scaled.engine.last(AttentionScale).job.curves and scaled.engine.last(AttentionScale).job.source == "random"
    assert scaled.transport.text() == "scale 11 of 21   d^-0.50"
    entropy = page.curves.plots["entropy"].curves()
    assert entropy["none"].x.tolist() == [2, 16, 128] and entropy["none theory"].y.tolist() == pytest.approx([4.5, 0, 0])
    page.sliders.editor("exponent").setValue(400)
    handle = scaled.engine.last(AttentionScale)
    assert handle.job.exponent == 0 and not handle.job.curves and handle.policy == "follow"
    scaled.engine.answer_all()
    words = scaled.inspector.text()
    assert "64^0.00 = 1" in words and "σ = 8.00 ≥ √(2 ln 256) = 3.33: frozen" in words
    assert page.bars.weights().max() == pytest.approx(page.report.row.max()) and page.curves.plots["entropy"].curves() == entropy
    page.sliders.editor("keys").setValue(0)
    assert scaled.engine.last(AttentionScale).job.curves and scaled.engine.last(AttentionScale).job.tokens == 2


def test_the_transport_sweeps_the_exponent(scaled):
    press(scaled, "next")
    assert scaled.engine.last(AttentionScale).job.exponent == pytest.approx(-0.45)
    press(scaled, "last")
    assert scaled.engine.last(AttentionScale).job.exponent == pytest.approx(0) and scaled.scale.sliders.values()["exponent"] == 0


def test_a_trained_head_is_shown_over_scales(scaled):
    scaled.scale.sliders.editor("heads").setCurrentText("the head above")
    job = scaled.engine.last(AttentionScale).job
    assert job.source == "model" and job.curves
    scaled.engine.answer_all()
    assert set(scaled.scale.curves.plots["gradient"].curves()) == {"factor"}


def test_the_jacobian_of_a_row():
    p = np.array([0.5, 0.3, 0.2])
    assert jacobian_norm(p) == pytest.approx(np.linalg.norm(np.diag(p) - np.outer(p, p)))
    assert jacobian_norm(np.array([0.5, 0.5])) == pytest.approx(0.5) and jacobian_norm(np.array([1.0, 0.0])) == 0


# --- training -----------------------------------------------------------------------------------------------------


@pytest.fixture
def racing(panel):
    panel.show_page(TRAIN)
    panel.training.button.click()
    handle = panel.engine.last(TrainAttentions)
    handle.begin()
    handle.record.emit("learners", LEARNERS)
    handle.record.emit("test", points(0, test=True))
    handle.record.emit("train", (*points(1), *points(2)))
    return panel, handle


def test_losses_grow_side_by_side(racing):
    panel, handle = racing
    assert not panel.head.isVisible() and handle.job.mechanisms == ("softmax", "window:width=8")
    losses = panel.training.view.losses.curves()
    assert losses["softmax"].x.tolist() == [1, 2] and losses["softmax"].y.tolist() == pytest.approx([1.5, 1.25]), "means so far"
    assert panel.transport.text() == "update 2 of 400   training" and panel.transport.state == "running"
    handle.record.emit("test", points(2, test=True))
    assert panel.training.view.scores.curves()["window:width=8"].y.tolist() == pytest.approx([0, 2 / 11])
    words = panel.inspector.text()
    assert "softmax: 20.0%, loss 1.000\n10.0 ms an update" in words and "Scores so far, after update 2" in words
    handle.succeed()
    assert "Final scores" in panel.inspector.text() and panel.training.button.text() == "Train again"


def test_a_trained_model_is_handed_to_the_attention_panel(racing, qtbot):
    panel, handle = racing
    foot = panel.training.view.foot
    assert not foot.isVisible(), "there is nothing to look into before the end"
    handle.succeed()
    assert foot.isVisible() and [button.text() for button in foot.findChildren(QPushButton)] == ["softmax", "window:width=8"]
    with qtbot.waitSignal(panel.handed) as heard:
        foot.findChildren(QPushButton)[1].click()
    assert heard.args == ["attention", AttentionOverview(source="small", training="window:width=8")]
    panel.training.knobs.set_value("steps", 7)
    panel.training.train()
    assert not foot.isVisible()


def test_a_training_is_paused_stepped_and_stopped(racing):
    panel, handle = racing
    press(panel, "play")
    handle.park(2)
    assert panel.transport.state == "paused"
    press(panel, "next")
    press(panel, "play")
    handle.go_on()
    assert panel.transport.state == "running"
    press(panel, "stop")
    assert handle.asked == ["pause", "step", "resume", "cancel"] and panel.transport.state == "idle"
    assert "Scores when it was stopped, after update 0" in panel.inspector.text() and "stopped" in panel.transport.text()


def test_what_cannot_be_causal_cannot_be_trained(panel):
    assert "efficient" in panel.mechanisms.kinds.kinds and "efficient" not in panel.training.kinds.kinds
    for row in range(3):
        panel.training.kinds.list.item(row).setCheckState(Qt.CheckState.Unchecked)
    panel.show_page(TRAIN)
    panel.training.button.click()
    assert "No attention is chosen." in panel.banner.text() and not panel.engine.waiting(TrainAttentions)


def test_smoothing_is_a_mean_of_the_last_ten():
    values = np.arange(20.0)
    assert smoothed(values)[0] == 0 and smoothed(values)[4] == 2 and smoothed(values)[19] == np.mean(values[10:])


# --- state --------------------------------------------------------------------------------------------------------


def test_everything_chosen_comes_back(qtbot, settings, panel):
    panel.mechanisms.kinds.select("window")
    panel.mechanisms.kinds.sliders.editor("width").setValue(0)
    panel.mechanisms.kinds.list.item(2).setCheckState(Qt.CheckState.Unchecked)
    panel.mechanisms.view.set_mode("beside")
    panel.head.form.set_value("text", "another text")
    panel.tiles.knobs.set_value("tile_q", 5)
    panel.scale.sliders.editor("width").setValue(0)
    panel.training.knobs.set_value("steps", 7)
    panel.show_page(SCALE)
    panel.save_now()
    again = build(qtbot, settings)
    assert again.page is again.scale and again.mechanisms.kinds.all_written() == ("softmax", "window:width=1,sinks=1")
    assert again.mechanisms.view.mode == "beside" and again.head.values()["text"] == "another text"
    assert again.tiles.knobs.value("tile_q") == 5 and again.scale.sliders.values()["width"] == 2
    assert again.training.knobs.value("steps") == 7


@pytest.mark.parametrize("state", [
    {"page": 9}, {"page": 0, "head": {"layer": "x"}, "pages": []}, {"page": 0, "head": {}, "pages": [1, 2, 3, 4]},
])  # fmt: skip
def test_a_state_that_makes_no_sense_is_left_aside(qtbot, settings, state):
    settings.set_panel("attention_lab", state)
    panel = build(qtbot, settings)
    assert "could not be restored" in panel.banner.text() and panel.mechanisms.view.cards.cards()


def test_both_themes_paint_every_page(panel):
    for choice in ("dark", "light"):
        theme.apply(choice)
        for number in range(4):
            panel.show_page(number)
            panel.engine.answer_all()
            assert not panel.grab().isNull()


# --- parts --------------------------------------------------------------------------------------------------------


def test_sliders_move_in_ratios_where_the_range_is_wide(qtbot):
    sliders, told = KnobSliders(), []
    qtbot.addWidget(sliders)
    sliders.changed.connect(lambda name, value: told.append((name, value)))
    sliders.set_settings([
        Setting(name="width", value=64, lo=1, hi=4096, reach=256), Setting(name="seed", value=3, lo=0, hi=2**31 - 1),
        Setting(name="e", value=-0.5, lo=-1.0, hi=0.0, step=0.05), Setting(name="kind", value="b", choices=("a", "b")),
        Setting(name="on", value=True),
    ])  # fmt: skip
    assert sliders.values() == {"width": 64, "seed": 3, "e": -0.5, "kind": "b", "on": True} and not told
    sliders.editor("width").setValue(200)
    assert told == [("width", 16)], "half of the way from 1 to 256 in ratios"
    sliders.editor("e").setValue(90)
    assert told[-1] == ("e", -0.75) or told[-1] == ("e", -0.8)
    sliders._rows["width"].box.setValue(3000)
    assert told[-1] == ("width", 3000) and sliders.editor("width").value() == 400
    sliders.set_value("on", False)
    sliders.set_value("kind", "a")
    assert len(told) == 3 and sliders.values()["on"] is False
    sliders.set_settings([])
    assert sliders.values() == {}


def test_cards_are_chosen_by_mouse_and_keys(qtbot):
    cards, chosen, opened = MapCards(), [], []
    qtbot.addWidget(cards)
    cards.selected.connect(chosen.append)
    cards.opened.connect(opened.append)
    cards.resize(420, 400)
    cards.show()
    cards.set_cards([Card(key=name, title=name, values=np.eye(4, dtype=np.float32), lines=(("a", "1"),)) for name in "abcd"])
    assert cards.sheet.across == 2
    QTest.mouseClick(cards.sheet, Qt.MouseButton.LeftButton, pos=cards.sheet.place("b").center())
    QTest.keyClick(cards.sheet, Qt.Key.Key_Down)
    QTest.keyClick(cards.sheet, Qt.Key.Key_Return)
    assert chosen == ["b", "d"] and opened == ["d"]
    cards.set_log(True)
    assert cards.sheet._picture(cards.cards()[0])[1].log


def test_the_colour_key_wraps(qtbot):
    key = ColourKey()
    qtbot.addWidget(key)
    key.set_entries([Entry(f"mechanism {n}", n, dashed=n > 7) for n in range(10)])
    assert key.heightForWidth(2000) < key.heightForWidth(300) < key.heightForWidth(120)


def test_small_numbers_on_an_axis_are_not_multiplied(qtbot):
    plot = CurveView(x_label="x", y_label="share")
    qtbot.addWidget(plot)
    plot.show()
    plot.set_curve("a", Curve(np.array([0.0, 1.0]), np.array([0.0, 0.6])))
    plot.set_labels("x", "saturated rows")
    axis = plot._plot.getAxis("left")
    assert axis.autoSIPrefixScale == 1 and axis.tickStrings([0.2], axis.autoSIPrefixScale * axis.scale, 0.2) == ["0.2"]


def test_replay_stays_within_its_things(qtbot):
    replay = Replay(None)
    replay.play()
    assert not replay.playing
    replay.reset(3)
    replay.forward()
    assert replay.index == 1
    replay.go(99)
    replay.forward()
    assert replay.index == 3
    replay.play()
    assert replay.index == 1 and replay.playing
    replay.stop()
    replay.previous()
    assert replay.index == 1 and not replay.playing


def test_words_of_numbers_and_equations():
    assert [amount(n) for n in (5, 1234, 2_500_000, 3e9)] == ["5 ", "1.23 k", "2.5 M", "3 G"]
    assert "(i − j) mod 7 = 0" in equation("strided", {"stride": 7, "part": "merged"}, 64)
    assert "j mod 8 ≥ 6" in equation("fixed", {"stride": 8, "summary": 2, "part": "merged"}, 64)
    assert equation("nothing", {}, 8) == ""


# --- curves on logarithmic axes -----------------------------------------------------------------------------------


@pytest.mark.filterwarnings("error")
def test_what_has_no_logarithm_is_left_out_and_comes_back(qtbot):
    view = CurveView()
    qtbot.addWidget(view)
    view.show()
    x, y = np.array([-1.0, 0.0, 1.0, 2.0, 3.0]), np.array([5.0, 1.0, 0.0, np.nan, 10.0])

    def drawn() -> list[float]:
        x, y = view._items["a"].getOriginalDataset()
        return [] if x is None else x[np.isfinite(y)].tolist()

    view.set_curve("a", Curve(x, y))
    assert drawn() == [-1, 0, 1, 3]
    for log, wanted in (((True, True), [3]), ((True, False), [1, 3]), ((False, True), [-1, 0, 3]), ((False, False), [-1, 0, 1, 3])):
        view.set_log(*log)
        view.grab()
        assert drawn() == wanted and np.isfinite(view._plot.viewRange()).all()
    view.set_log(True, True)
    view.set_curve("a", Curve(x, np.zeros(5)))
    view.grab()
    assert drawn() == [] and view.curves()["a"].y.tolist() == [0] * 5, "what is known stays for export"


def test_f10_trains_step_by_step(panel, qtbot):
    panel.show_page(3)
    panel.step()
    handle = panel.training.run.handle
    assert isinstance(handle.job, TrainAttentions) and handle.asked == ["step"]
    panel.step()
    assert panel.training.run.handle is handle and handle.asked == ["step", "step"]
