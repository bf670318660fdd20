"""The panel of tiles against canned events: what is submitted, shown, stepped through and kept, and the wrong ways."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt

from app.jobs.flows import FlowBetween, FlowFacts, FlowFill, FlowLayers, FlowSamples, KeptFlows, LearnFlow
from app.panels.tiles.moments import MOST_MOMENTS, Learned
from app.panels.tiles.panel import TilesPanel
from app.panels.tiles.presets import PRESETS
from app.panels.tiles.words import figure, small
from app.protocol.job import job_to_dict
from app.protocol.payloads import Curve, Image, Result
from app.protocol.tiles import FillStep, KeptFlow, LayerLook, LearnMoment
from tests.app.image_panel_fakes import FakeEngine

LEVELS = [{"numbers": 384, "noise": 1.0, "layers": 5.0}, {"numbers": 384, "noise": 0.5, "layers": -2.0}]
FACTS = {"bits_per_dim": 4.5, "bits_standard_error": 0.04, "inverse_error": 2e-6, "levels": LEVELS, "scenes": 128, "parameters": 1_150_000,
         "dims": 768, "histogram_bits": 5.7, "diagonal_bits": 7.8, "gaussian_bits": 5.75}  # fmt: skip


def grey(value: int, height: int = 16, width: int = 16) -> Image:
    return Image(np.full((height, width, 3), value, np.uint8))


def real() -> Image:
    """24 tiles, each of its number, coloured."""
    tiles = np.zeros((3, 16, 8, 16, 3), np.uint8)
    tiles += (10 * np.arange(24).reshape(3, 1, 8, 1, 1)).astype(np.uint8)
    tiles[..., 1] = 0
    return Image(tiles.reshape(48, 128, 3))


def build(qtbot, settings) -> TilesPanel:
    made = TilesPanel(FakeEngine(), settings)
    qtbot.addWidget(made, before_close_func=TilesPanel.about_to_close)
    made.restore()
    made.resize(1200, 730)
    made.show()
    made.ready()
    return made


@pytest.fixture
def panel(qtbot, settings):
    return build(qtbot, settings)


def tell_facts(panel, spectrum: Curve | None = None) -> None:
    handle = panel.engine.last(FlowFacts)
    handle.begin()
    handle.record.emit("tiles", real())
    handle.record.emit("facts", {key: FACTS[key] for key in ("bits_per_dim", "bits_standard_error", "inverse_error", "scenes", "levels")})
    handle.succeed(Result(facts=FACTS, files={} if spectrum is None else {"spectrum": spectrum}))


def tell_samples(panel, value: int = 90) -> None:
    handle = panel.engine.last(FlowSamples)
    handle.begin()
    handle.succeed(Result(files={"samples": grey(value, 96, 128)}, facts={"outside": 0.02, "kept": 768, "lost": 0}))


def moment(step: int, total: int = 100) -> LearnMoment:
    return LearnMoment(step=step, total=total, bits=8.0 - step / 100, sheet=grey(step % 256, 96, 128), seconds=0.1 * step)


def test_the_built_in_flow_draws_at_once_and_its_numbers_stand_in_the_equation(panel):
    assert panel.engine.last(FlowSamples).job == FlowSamples(kind="glow", temperature=0.7)
    tell_samples(panel)
    tell_facts(panel)
    words = panel.inspector.text()
    assert "4.50 ± 0.04 bits/dim" in words and "Histograms: 5.70" in words and "2.0e−6" in words and "Uniform: 8.00" in words
    assert "= 8 + 1.50 (noise) − 5.00 (volume) = 4.50" in words and "0.70 × 768 directions" in words
    assert panel.learn.sheet.image().pixels[0, 0, 0] == 90


def test_a_temperature_costs_one_decode_of_the_same_noise(panel):
    tell_samples(panel)
    before = panel.engine.count(FlowFacts)
    panel.learn.sliders.editor("temperature").setValue(400)
    handle = panel.engine.last(FlowSamples)
    assert handle.job == FlowSamples(kind="glow", temperature=1.3) and handle.policy == "follow"
    assert panel.engine.count(FlowFacts) == before


def test_missing_weights_are_said_where_the_pictures_would_stand(panel):
    for kind in (FlowSamples, FlowFacts):
        handle = panel.engine.last(kind)
        handle.begin()
        handle.fail("The weights file playworld-glow is missing.")
    words = panel.learn.sheet._placeholder
    assert not panel.banner.isVisible() and "missing" in words and "Train one now" in words
    panel.learn.sheet._button.click()
    assert panel.engine.last(LearnFlow).job.kind == "glow"


def test_what_was_not_trained_here_is_said_as_such(panel):
    tell_samples(panel)
    panel.side.weights.setCurrentIndex(1)
    panel.side.flow_changed.emit()
    handle = panel.engine.last(FlowSamples)
    handle.begin()
    handle.fail("No Glow has been trained here yet.", "Press Train, or take the built-in weights.")
    words = panel.learn.sheet._placeholder
    assert handle.job.weights == "own" and "No Glow has been trained" in words and "or take the built-in" in words
    assert "Cut" not in panel.inspector.text(), "the numbers of other pictures are gone"


def learning(panel) -> object:
    panel.learn.train()
    handle = panel.engine.last(LearnFlow)
    handle.begin()
    for step in (0, 10, 20):
        handle.record.emit("train", tuple((k, 8.0 - k / 100) for k in range(step + 1, step + 11)))
        handle.record.emit("moment", moment(step))
    return handle


def test_a_training_is_followed_paused_stepped_and_gone_back_in(panel):
    handle = learning(panel)
    page, bar = panel.learn, panel.transport
    assert panel.flow() == {"kind": "glow", "weights": "own"} and page.sheet.image().pixels[0, 0, 0] == 20
    assert bar.state == "running" and "update 30 of 1500" in bar.text()
    bar.button("play").click()
    handle.park(30)
    assert handle.asked == ["pause"] and bar.state == "paused"
    bar.button("next").click()
    assert handle.asked == ["pause", "step"]
    bar.button("first").click()
    assert page.sheet.image().pixels[0, 0, 0] == 0 and page.curve.cursor_at() == 0
    handle.record.emit("moment", moment(40))
    assert page.replay.index == 1, "who looks back stays there"
    bar.button("play").click()
    handle.go_on()
    handle.record.emit("moment", moment(50))
    assert handle.asked[-1] == "resume" and page.replay.index == page.replay.count == 5
    page.draw()
    assert set(page.curve.curves()) == {"batch", "mean"} and page.curve.curves()["mean"].y[-1] == pytest.approx(7.5)
    handle.succeed(Result(facts=FACTS))
    assert panel.engine.last(FlowFacts).job.weights == "own" and bar.state == "idle" and "finished" in bar.text()
    panel.learn.sliders.editor("temperature").setValue(0)
    assert panel.engine.last(FlowSamples).job == FlowSamples(kind="glow", weights="own", temperature=0.0)


def test_the_temperature_turns_while_it_learns(panel):
    handle = learning(panel)
    panel.learn.sliders.editor("temperature").setValue(0)
    assert handle.asked == ["tune"] and handle.job.temperature == 0.0


def test_a_stopped_or_diverged_training_keeps_its_moments(panel):
    handle = learning(panel)
    handle.record.emit("notice", "The training diverged at update 31: its loss is nan.")
    assert "diverged" in panel.banner.text()
    before = panel.engine.count(FlowFacts)
    handle.cancel()
    assert panel.engine.count(FlowFacts) == before + 1 and panel.engine.last(FlowFacts).job.weights == "own", "what is left is measured"
    late = len(panel.learn.learned.moments)
    handle.record.emit("moment", moment(60))
    assert panel.transport.state == "idle" and late == 3 and "stopped" in panel.transport.text()
    panel.learn.train()
    assert panel.learn.learned.moments == [] and panel.learn.replay.count == 0


def kept(job: LearnFlow, step: int, **changes) -> KeptFlow:
    rows = tuple((k, 8.0 - k / 100) for k in range(1, step + 1))
    settings = {"notice": "", "when": "2026-11-22 15:30", "can_go_on": step < job.steps, **changes}
    return KeptFlow(kind=job.kind, job=json.dumps(job_to_dict(job)), step=step, total=job.steps, rows=rows, **settings)


def tell_kept(panel, *cards: KeptFlow) -> None:
    handle = panel.engine.last(KeptFlows)
    handle.begin()
    handle.succeed(Result(files={"kept": cards}))


def test_a_training_that_was_stopped_is_offered_after_the_start_and_goes_on(panel):
    tell_kept(panel, kept(LearnFlow(kind="nice", steps=400, couplings=3, width=32), 120))
    assert "NICE stands at update 120 of 400" in panel.banner.text() and panel.flow() == {"kind": "glow", "weights": "built-in"}
    assert not panel.kept.button.isVisible(), "of Glow nothing is kept"
    panel.banner._action.click()
    job = panel.engine.last(LearnFlow).job
    assert job == LearnFlow(kind="nice", steps=400, couplings=3, width=32, resume=True)
    assert panel.flow() == {"kind": "nice", "weights": "own"}
    assert not panel.banner.isVisible() and panel.learn.knobs.job().couplings == 3 and not panel.learn.knobs.job().resume
    handle = panel.engine.last(LearnFlow)
    handle.begin()
    handle.record.emit("train", tuple((k, 7.0) for k in range(1, 122)))
    handle.cancel()
    tell_kept(panel, kept(LearnFlow(kind="nice", steps=400, couplings=3, width=32), 121))
    assert panel.kept.button.isVisible() and panel.kept.button.text() == "Go on from update 121" and not panel.banner.isVisible()
    panel.learn.train()
    assert not panel.engine.last(LearnFlow).job.resume and not panel.kept.button.isVisible(), "Train begins anew"


def test_a_kept_training_shows_its_losses_and_a_finished_one_is_not_offered(panel):
    diverged = kept(LearnFlow(kind="nice", steps=90), 30, notice="It diverged.", can_go_on=False)
    tell_kept(panel, kept(LearnFlow(kind="glow", steps=90), 90), diverged)
    assert not panel.banner.isVisible() and not panel.kept.button.isVisible()
    panel.side.weights.setCurrentIndex(1)
    panel.side.flow_changed.emit()
    assert panel.learn.plot.isVisibleTo(panel) and len(panel.learn.curve.curves()["batch"].x) == 90
    assert panel.engine.last(FlowSamples).job.weights == "own" and "finished at update 90" in panel.transport.text()
    panel.side.weights.setCurrentIndex(0)
    panel.side.flow_changed.emit()
    assert not panel.learn.plot.isVisibleTo(panel) and panel.learn.learned.rows == []


def test_a_training_that_ends_leaves_alone_who_looks_at_another_flow(panel):
    handle = learning(panel)
    panel.side.set_flow("nice", "built-in")
    panel.side.flow_changed.emit()
    before = panel.engine.count(FlowFacts)
    handle.succeed(Result(facts=FACTS))
    assert panel.flow() == {"kind": "nice", "weights": "built-in"} and panel.engine.count(FlowFacts) == before


def test_what_is_remembered_is_bounded():
    learned = Learned()
    for step in range(1000):
        learned.take("moment", moment(step, 1000))
        learned.take("train", ((step, 1.0),))
    steps = [m.step for m in learned.moments]
    assert len(steps) <= MOST_MOMENTS and steps[0] == 0 and steps[-1] == 999 and steps == sorted(steps)


def test_two_clicks_choose_the_ends_of_a_way(panel, qtbot):
    tell_facts(panel)
    panel.show_page(1)
    picker, page = panel.side.picker, panel.between
    assert picker.isVisible() and page.marks() == {0: "A", 1: "B"}
    for number in (5, 9):
        qtbot.mouseClick(picker, Qt.MouseButton.LeftButton, pos=picker.cell(number).center())
    assert panel.engine.last(FlowBetween).job == FlowBetween(first=5, second=9, columns=17) and picker._marks == {5: "A", 9: "B"}
    path = np.repeat(np.arange(34, dtype=np.uint8).reshape(2, 17), 16, 0).repeat(16, 1)[..., None].repeat(3, 2)
    bits = [4 + k / 100 for k in range(17)]
    facts = {"bits": bits, "faded_bits": bits[::-1], "end_error": 1e-6, "distance": 35.0}
    handle = panel.engine.last(FlowBetween)
    handle.begin()
    handle.succeed(Result(files={"path": Image(path)}, facts=facts))
    assert page.through.image().pixels[0, 0, 0] == 8 and page.faded.image().pixels[0, 0, 0] == 25
    page.slider.setValue(17)
    assert page.through.image().pixels[0, 0, 0] == 16 and page.bits.cursor_at() == 1.0 and "s = 1.00" in panel.inspector.text()
    page.swap.click()
    assert panel.engine.last(FlowBetween).job.first == 9


def test_painted_pixels_are_hidden_and_filled_in_step_by_step(panel, qtbot):
    tell_facts(panel)
    panel.show_page(2)
    page = panel.fill
    assert len(page.hidden) == 128 and page.truth.image().pixels.shape == (16, 16, 3)
    page.hide_pixels([])
    spot = page.given._place.target().center().toPoint()
    qtbot.mousePress(page.given, Qt.MouseButton.LeftButton, pos=spot)
    qtbot.mouseRelease(page.given, Qt.MouseButton.LeftButton, pos=spot)
    painted = page.hidden
    assert 4 <= len(painted) <= 12 and page.given.hidden() == painted
    page.run()
    handle = panel.engine.last(FlowFill)
    assert handle.job == FlowFill(hidden=painted)
    handle.begin()
    for k in range(4):
        step = FillStep(index=k, total=120, picture=grey(10 * k), bits=7.0 - k, accepted=k != 2)
        handle.record.emit("fill", step)
    handle.park(3)
    assert panel.transport.state == "paused" and page.now.image().pixels[0, 0, 0] == 30
    panel.transport.button("previous").click()
    assert page.now.image().pixels[0, 0, 0] == 20 and "not taken" in panel.inspector.text() and "7.00 → 5.00" in panel.inspector.text()
    handle.succeed(Result(facts={"bits": 4.0, "true_bits": 5.0, "error": 0.1}))
    assert "truth" in page.bits.curves() and "Truth: 5.00 bits/dim" in panel.inspector.text()
    panel.side.picker.chosen.emit(7)
    assert page.steps == [] and page.now.image() is None and page.hidden == painted, "another picture, the same pixels hidden"


def test_layers_are_stepped_through_with_what_each_adds(panel):
    panel.show_page(3)
    page = panel.depth
    looks = tuple(
        LayerLook(index=k, total=3, title=title, level=1, picture=grey(k), span=3.0, bits=bits, so_far=so_far)
        for k, (title, bits, so_far) in enumerate((("logit", 6.0, 6.0), ("squeeze", 0.0, 6.0), ("coupling", -1.0, 5.0)))
    )
    handle = panel.engine.last(FlowLayers)
    handle.begin()
    handle.succeed(Result(files={"layers": looks}, facts={"bits": 6.5, "noise_bits": [1.5], "inverse_error": 1e-6}))
    assert page.state.image().pixels[0, 0, 0] == 0 and "logit(0.05 + 0.9 v)" in panel.inspector.text()
    panel.transport.button("last").click()
    words = panel.inspector.text()
    assert "532.3 nats here,  −1.000 bits/dim" in words and "Together: 6.500" in words and set(page.each.curves()) == {"coupling"}
    panel.spectrum = Curve(np.arange(1, 5), [4.0, 3.0, 2.0, 1.0])
    page.show_facts()
    assert set(page.each.curves()) == {"spectrum"}


def test_nice_sees_real_pictures_in_grey(panel):
    tell_facts(panel)
    panel.side.kind.setCurrentIndex(1)
    panel.side.flow_changed.emit()
    sheet = panel.real_sheet().pixels
    assert (sheet[..., 0] == sheet[..., 1]).all() and sheet[0, 16, 0] == round(0.299 * 10 + 0.114 * 10)
    assert panel.engine.last(FlowFacts).job.kind == "nice" and panel.engine.last(FlowSamples).job.kind == "nice"
    assert not panel.learn.knobs.editor("mixing").isEnabled() and panel.learn.knobs.editor("couplings").isEnabled()


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.title)
def test_presets_make_jobs_and_say_their_sentence(panel, preset):
    tell_facts(panel)
    panel.take_preset(preset)
    assert preset.sentence in panel.banner.text() and panel.tabs.currentIndex() == preset.page and panel.flow()["kind"] == preset.kind
    if preset.train:
        job = panel.engine.last(LearnFlow).job
        assert {name: getattr(job, name) for name in preset.train} == preset.train and job.kind == preset.kind
    elif "hidden" in preset.knobs:
        assert panel.engine.last(FlowFill).job.hidden == preset.knobs["hidden"]
    else:
        job = panel.engine.last(FlowSamples).job
        assert {name: getattr(job, name) for name in preset.knobs} == preset.knobs and job.weights == "built-in"


def test_state_is_kept_and_nonsense_is_left_aside(qtbot, settings, panel):
    panel.show_page(1)
    panel.between.pick(4)
    panel.learn.sliders.set_value("temperature", 0.25)
    panel.side.set_flow("nice", "own")
    panel.save_now()
    again = build(qtbot, settings)
    assert again.flow() == {"kind": "nice", "weights": "own"}, "what was trained here is kept"
    assert again.tabs.currentIndex() == 1 and again.between.ends == [4, 1] and again.learn.sliders.values()["temperature"] == 0.25
    settings.set_panel("tiles", {"page": "x"})
    third = build(qtbot, settings)
    assert third.tabs.currentIndex() == 0 and "could not be restored" in third.banner.text()


def test_keys_go_round_the_pages_and_the_pictures(panel, qtbot):
    tell_facts(panel)
    panel._on_next_page()
    panel._on_next_page()
    assert panel.page is panel.fill
    panel._on_run()
    assert panel.engine.last(FlowFill).job.tile == 0
    picker = panel.side.picker
    for key in (Qt.Key.Key_Right, Qt.Key.Key_Down, Qt.Key.Key_Return):
        qtbot.keyClick(picker, key)
    assert panel.fill.tile == 9


def test_words():
    assert figure(-0.001) == "0.00" and figure(-1.234) == "−1.23" and figure(float("nan")) == "–" and small(2.2e-5) == "2.2e−5"


def test_the_picker_ignores_clicks_beside_its_tiles(panel, qtbot):
    tell_facts(panel)
    panel.show_page(3)
    before = panel.engine.count(FlowLayers)
    qtbot.mouseClick(panel.side.picker, Qt.MouseButton.LeftButton, pos=QPoint(1, 1))
    assert panel.engine.count(FlowLayers) == before


def test_f10_learns_step_by_step(panel):
    panel.show_page(panel.pages.index(panel.learn))
    panel.step()
    handle = panel.engine.last(LearnFlow)
    assert handle.asked == ["step"]
    panel.step()
    assert panel.engine.last(LearnFlow) is handle and handle.asked == ["step", "step"]
