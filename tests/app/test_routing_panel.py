"""The routing panel against canned events: no worker, no model; what is submitted, shown and kept, and the wrong ways."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtCore import QMimeData, QPoint, Qt, QUrl
from PySide6.QtTest import QTest

from app.jobs.moe import TrainMoe
from app.jobs.routing import Routing, RoutingPair, RoutingSpecialisation, RoutingStatus, RoutingSteer
from app.panels.routing.panel import RoutingPanel
from app.protocol.errors import ErrorReport
from app.protocol.events import Progress
from app.protocol.payloads import Result
from tests.app.image_panel_fakes import FakeEngine
from tests.app.routing_fakes import (
    CHECKS,
    LAYERS,
    MODEL,
    SOFTMAX,
    E,
    pair_report,
    routed,
    specialisation,
    steer_report,
    summary,
    training_record,
)

WORDS = ["<|end|>", "A", " fox", " is", " small", ".", "\n", "12", " +", " 30"]
READY = {"ready": True, "title": "Mixture of experts", "sentence": "", "hint": "", "train": "", "checkpoints": [], "built_in": True}
MISSING = READY | {"ready": False, "sentence": "It has not been trained yet.", "hint": "Train it."}


@pytest.fixture
def build(qtbot, settings):
    def make() -> RoutingPanel:
        panel = RoutingPanel(FakeEngine(), settings)
        qtbot.addWidget(panel, before_close_func=RoutingPanel.about_to_close)
        panel.restore()
        panel.resize(1200, 730)
        panel.show()
        panel.ready()
        return panel

    return make


@pytest.fixture
def panel(build):
    made = build()
    newest(made, RoutingStatus).succeed(Result(facts=READY))
    return made


def newest(panel, kind):
    """The handle of the newest job of a kind."""
    found = [handle for handle in panel.engine.handles if type(handle.job) is kind]
    assert found, [type(handle.job).__name__ for handle in panel.engine.handles]
    return found[-1]


def read(panel, model=MODEL, more: int = 0, finish: bool = True):
    """Read the words, write `more` tokens; returns the handle."""
    panel.commands.read()
    handle = newest(panel, Routing)
    passes = [routed(WORDS, bias=model.has_bias)]
    handle.begin()
    handle.record.emit("opened", model)
    handle.record.emit("pass", passes[0])
    for n in range(more):
        passes.append(routed([f" w{n}"], len(WORDS) + n, "generation", bias=model.has_bias))
        handle.record.emit("pass", passes[-1])
        handle.step.emit(n + 1, 0)
    handle.record.emit("summary", summary(passes))
    if finish:
        handle.succeed(Result(facts={"perplexity": 9.0}))
    return handle


# --- what is there -------------------------------------------------------------------------------------------


def test_makes_its_default_job_and_asks_what_is_here(panel):
    assert panel.side_form.job() == Routing() and panel.engine.count(RoutingStatus) == 1 and not panel.stage.missing
    assert not panel.engine.count(Routing), "nothing is loaded by showing the panel"


def test_the_untrained_state_teaches_and_offers_the_training(build):
    panel = build()
    newest(panel, RoutingStatus).succeed(Result(facts=MISSING))
    assert panel.stage.missing and "has not been trained yet" in panel.stage.welcome.words()
    panel.stage.welcome.trial.click()
    job = newest(panel, TrainMoe).job
    assert job.install and job.steps == 300 and panel.stage.pages.currentWidget() is panel.stage.training
    newest(panel, TrainMoe).succeed(Result(facts={"checkpoint": "/x"}))
    newest(panel, RoutingStatus).succeed(Result(facts=READY))
    assert not panel.stage.missing


def test_another_model_that_is_missing_offers_no_training_of_the_built_in_one(panel):
    panel.show_message("warn", "an old complaint", "")
    panel.side_form.use("moe:/nowhere")
    panel.models.other_model()
    assert panel.banner.text() == ""
    newest(panel, RoutingStatus).succeed(Result(facts=MISSING | {"sentence": "There is no model at /nowhere."}))
    welcome = panel.stage.welcome
    assert panel.stage.missing and "/nowhere" in welcome.words() and welcome.folder.isVisible() and not welcome.whole.isVisible()
    panel.side_form.use("builtin-moe")
    panel.models.other_model()
    newest(panel, RoutingStatus).succeed(Result(facts=MISSING))
    assert welcome.whole.isVisible() and welcome.trial.isVisible()


def test_checkpoints_can_be_chosen(panel, qtbot):
    panel.models.ask()
    found = [{"folder": "/home/x/training/moe-switch-aux-loss-1", "title": "moe-switch-aux-loss-1"}]
    newest(panel, RoutingStatus).succeed(Result(facts=READY | {"checkpoints": found}))
    models = panel.side_form.models
    models.setCurrentIndex(models.findText("moe-switch-aux-loss-1"))
    models.activated.emit(models.currentIndex())
    assert panel.side_form.job().checkpoint == found[0]["folder"] and newest(panel, RoutingStatus).job.checkpoint == found[0]["folder"]


# --- reading -------------------------------------------------------------------------------------------------


def test_a_text_becomes_chips_and_sums(panel):
    panel.side_form.read.click()
    assert newest(panel, Routing).job == Routing()
    read(panel, more=3)
    chips = panel.stage.text
    assert chips.text().startswith("<|end|>|A|·fox|·is") and "↵" in chips.text() and len(chips.tokens) == 13
    assert [token.written for token in chips.tokens].count(True) == 3
    load = np.array(panel.runs.reading.summary.phases["all"].load, float)
    assert np.allclose(panel.stage.load.map.values, load / load.mean(axis=1, keepdims=True), atol=1e-6)
    assert panel.timeline.transport.text().startswith("token 13 of 13")
    assert "5 layers" not in panel.stage.label() and "3 layers of 8 experts and 1 shared, 2 a token" in panel.stage.label()
    words = panel.stage.load._words.text()
    assert "13 tokens" in words and "random router shows 0.50" in words


def test_tokens_appear_while_the_model_writes(panel, qtbot):
    handle = read(panel, more=2, finish=False)
    handle.record.emit("pass", routed([" late"], 12, "generation"))
    panel.runs.flush()
    assert panel.stage.text.text().endswith("·w1|·late") and panel.timeline.transport.state == "running"
    assert panel.runs.reading.position == 13
    qtbot.waitUntil(lambda: "·late" in panel.side.inspector.text())
    panel.runs.look(3)
    handle.record.emit("pass", routed([" later"], 13, "generation"))
    panel.runs.flush()
    assert panel.runs.reading.position == 3, "who looks back is left alone"
    handle.preview.emit("summary", summary(panel.runs.reading.passes))
    assert panel.runs.reading.summary.phases["all"].tokens == 14


def test_the_newest_token_stays_in_sight(panel, qtbot):
    handle = read(panel, more=40, finish=False)
    area = panel.stage.scroll

    def in_sight(token: int) -> bool:
        place = panel.stage.text.place_of(token)
        top = panel.stage.text.mapTo(area.viewport(), place.toAlignedRect().topLeft()).y()
        return top >= 0 and top + place.height() <= area.viewport().height()

    qtbot.waitUntil(lambda: in_sight(49))
    for n in range(50, 90):
        handle.record.emit("pass", routed([" wide word"], n, "generation"))
    panel.runs.flush()
    qtbot.waitUntil(lambda: in_sight(89))
    panel.runs.look(1)
    assert in_sight(0)
    handle.record.emit("pass", routed([" word"] * 30, 90, "generation"))
    panel.runs.flush()
    qtbot.wait(30)
    assert in_sight(0), "who looks back is not scrolled away"


def test_a_quick_text_is_told_now_and_then_but_its_end_at_once(panel, qtbot):
    """While tokens pour in, only the newest line is painted, and the side follows at its own pace."""
    handle = read(panel, more=2, finish=False)
    panel.grab()
    text, told = panel.stage.text, []
    panel.side.show_token = lambda reading, token, row: told.append(token)
    before = text._pictures.painted
    for n in range(12, 32):
        handle.record.emit("pass", routed([" w"], n, "generation"))
        panel.runs.flush()
        text.grab()
    assert text._pictures.painted == before + 20, "each chip is painted once"
    assert panel.runs.reading.position == 32 and len(told) < 10
    qtbot.waitUntil(lambda: told[-1:] == [31])
    panel.runs.look(5)
    assert told[-1] == 4, "a click is answered at once"


def test_phases_are_told_apart(panel):
    read(panel, more=4)
    page = panel.stage.load
    page._buttons["generation"].click()
    assert "4 tokens" in page._words.text() and page.phase == "generation"
    page._buttons["prompt"].click()
    assert "10 tokens" in page._words.text()
    read(panel)
    page._buttons["generation"].click()
    assert not page._buttons["generation"].isEnabled() and "10 tokens" in page._words.text()


def test_what_writing_changes_is_shown_apart(panel):
    """Loads of the written minus those of the prompt; pale where chance explains as much."""
    read(panel, more=4)
    page, phases = panel.stage.load, panel.runs.reading.summary.phases
    page._buttons["change"].click()
    use = {phase: np.array(phases[phase].load, float) for phase in ("prompt", "generation")}
    use = {phase: load / load.mean(axis=1, keepdims=True) for phase, load in use.items()}
    assert np.allclose(page.map.values, use["generation"] - use["prompt"], atol=1e-6) and "4 written" in page._words.text()
    share, tokens = [np.array(phases[p].load) / phases[p].tokens for p in ("prompt", "generation")], (10, 4)
    both = (share[0] * tokens[0] + share[1] * tokens[1]) / 14
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.abs(share[1] - share[0]) / np.sqrt(both * (1 - both) * (1 / 10 + 1 / 4))
    assert (page.map._pale == ~(z >= 2)).all() and "given tokens" in page._tip(1, 2)
    read(panel)
    assert not page._buttons["change"].isEnabled() and (page.map.values >= 0).all(), "nothing was written: the whole text"


def test_shared_and_routed_and_what_a_pass_must_read(panel):
    read(panel, more=3)
    page = panel.stage.work
    panel.stage.pages.setCurrentWidget(page)
    assert np.allclose(page.parts.map.values, 1.0), "log2 of 2 over 1"
    assert "2.00 and 1.00" in page._adds.text() and "33%" in page._adds.text()
    assert set(page.curve.curves()) == {"mean", "layer", "chance"} and "draft length" in page._reads.text()
    page.parts.map.chosen.emit(1, 4)
    assert panel.looking.row == 1 and panel.runs.reading.position == 5 and "shared 1.000" in page._tip(1, 4)
    told = panel.runs.reading.summary
    panel.runs.reading.summary = replace(told, checks=CHECKS)
    page.show_reading(panel.runs.reading)
    assert "7 checks read 4.0 tokens each and kept 2.0" in page._reads.text() and "1.50 times as many" in page._reads.text()
    assert list(page.curve.curves()["checks"].x) == [4.0, 4.0]
    read(panel, SOFTMAX)
    assert "no shared expert" in page._adds.text() and np.allclose(page.parts.map.values, 2.0)


def test_the_bias_is_removed_from_its_page(panel):
    page = panel.stage.bias
    assert not page.remove.isEnabled()
    read(panel)
    panel.stage.pages.setCurrentWidget(page)
    page.remove.click()
    assert newest(panel, RoutingSteer).job.use_bias is False and panel.stage.pages.currentWidget() is panel.stage.play
    read(panel, SOFTMAX)
    panel.stage.pages.setCurrentWidget(page)
    assert not page.remove.isEnabled()


def test_mixtures_that_were_added_can_be_chosen(build):
    panel = build()
    newest(panel, RoutingStatus).succeed(Result(facts=READY | {"added": [{"key": "language:/models/olmoe", "title": "OLMoE"}]}))
    form = panel.side_form
    at = [form.models.itemText(i) for i in range(form.models.count())].index("OLMoE")
    form.models.setCurrentIndex(at)
    form.models.activated.emit(at)
    newest(panel, RoutingStatus).succeed(Result(facts=READY | {"added": [{"key": "language:/models/olmoe", "title": "OLMoE"}]}))
    assert form.job().model == "language:/models/olmoe" and form.models.currentText() == "OLMoE"
    assert len(form.choices()) == 2, "it stands there once"


def test_the_inspector_tells_what_the_gate_decided(panel):
    read(panel)
    panel.looking.set_row(1)
    panel.runs.look(3)
    told, text = panel.runs.reading.passes[0], panel.side.inspector.text()
    first = int(told.experts[1, 2, 0])
    assert "“·fox”" in text and f"weight 1: expert {first}: {told.weights[1, 2, 0]:.3f}" in text
    assert f"margin: {told.margin[1, 2]:.4f}" in text
    total = told.affinities[1, 2, first] + told.bias[1, first]
    assert f"= {total:.3f}" in text and "routed adds: 2.000" in text and "shared adds: 1.000" in text and "2 of 4 groups" in text
    flips = [str(int(e)) for e, flip in zip(told.experts[1, 2], told.flips[1, 2]) if flip]
    assert f"only by bias: {', '.join(flips) or 'none'}" in text
    tip = panel.side.bars.tip_at(1)
    assert f"bias {told.bias[1, 0]:+.4f}" in tip and f"affinity {told.affinities[1, 2, 0]:.4f}" in tip


def test_clicking_a_chip_shows_its_decision(panel):
    read(panel)
    place = panel.stage.text.place_of(4).center()
    QTest.mouseClick(panel.stage.text, Qt.MouseButton.LeftButton, pos=QPoint(round(place.x()), round(place.y())))
    assert panel.runs.reading.position == 5 and "“·small”" in panel.side.inspector.text()
    QTest.keyClick(panel.stage.text, Qt.Key.Key_Right, Qt.KeyboardModifier.ShiftModifier)
    assert panel.runs.reading.position == 6
    assert "layer 1:" in panel.looking.tip(4) and panel.looking.tip(4).startswith("“·small”")


def test_the_bias_page_marks_the_flips(panel):
    read(panel)
    panel.stage.pages.setCurrentWidget(panel.stage.bias)
    page, told = panel.stage.bias, panel.runs.reading.passes[0]
    assert np.allclose(page.map.values, told.margin) and (page.map._marked == told.flips.any(axis=2)).all()
    assert f"{told.flips.mean():.1%} of the choices" in page._words.text()
    page.map.chosen.emit(2, 5)
    assert panel.looking.row == 2 and panel.runs.reading.position == 6
    assert "margin" in page._tip(2, 5)


def test_a_softmax_model_has_no_bias_page_words(panel):
    read(panel, SOFTMAX)
    panel.stage.pages.setCurrentWidget(panel.stage.bias)
    assert "no selection bias" in panel.stage.bias._words.text() and not panel.side_form.gates.bias.isEnabled()
    assert panel.side_form.gates.capacity.isVisibleTo(panel.side_form)
    panel.runs.look(2)
    assert "only by bias" not in panel.side.inspector.text() and "affinity\n" in panel.side.inspector.text()


def test_all_pages_paint_in_both_themes(panel, qtbot):
    from app import theme

    read(panel, more=2)
    panel.stage.specialists.set_tables(*specialisation().files.values())
    panel.stage.pair.show_report(pair_report())
    panel.stage.play.show_report(steer_report())
    try:
        for choice in ("light", "dark"):
            theme.apply(choice)
            for index in range(panel.stage.pages.count()):
                panel.stage.pages.setCurrentIndex(index)
                assert not panel.grab().isNull()
    finally:
        theme.apply("light")


# --- transport and keys --------------------------------------------------------------------------------------


def test_the_transport_moves_and_replays(panel, qtbot):
    read(panel)
    panel.runs.first()
    assert panel.runs.reading.position == 1
    panel.runs.previous()
    assert panel.runs.reading.position == 1
    panel.runs.next()
    assert panel.runs.reading.position == 2 and panel.timeline.transport.text().startswith("token 2 of 10")
    panel.runs.play()
    assert panel.timeline.transport.state == "running"
    qtbot.waitUntil(lambda: panel.runs.reading.position > 3)
    assert panel.stage.text._shown == panel.runs.reading.position
    panel.runs.pause()
    at = panel.runs.reading.position
    assert panel.timeline.transport.state == "idle" and panel.runs.reading.position == at and panel.stage.text._shown is None
    panel.runs.last()
    assert panel.runs.reading.position == 10


def test_stepping_parks_after_each_token(panel):
    panel.commands.step()
    handle = newest(panel, Routing)
    assert handle.park_after == 1
    handle.begin()
    handle.record.emit("opened", MODEL)
    handle.record.emit("pass", routed(WORDS))
    handle.park(1)
    assert panel.timeline.transport.state == "paused" and "“·30”" in panel.side.inspector.text()
    panel.runs.next()
    handle.go_on()
    handle.record.emit("pass", routed([" w"], 10, "generation"))
    handle.park(2)
    assert "“·w”" in panel.side.inspector.text(), "who stands still sees the newest token at once"
    panel.runs.next()
    assert handle.asked[-1] == "step"
    panel.runs.play()
    assert handle.asked[-1] == "resume"
    handle.go_on()
    panel.runs.pause()
    assert handle.asked[-1] == "pause"
    panel.runs.stop()
    assert handle.asked[-1] == "cancel" and not panel.runs.active and len(panel.stage.text.tokens) == 11


def test_late_events_of_an_ended_run_are_not_heard(panel):
    old = read(panel, finish=False)
    read(panel)
    assert old.asked[-1] == "cancel"
    old.record.emit("pass", routed([" ghost"], 10))
    old.fail("too late")
    assert "ghost" not in panel.stage.text.text() and panel.banner.text() == ""


def test_a_failure_is_told(panel):
    panel.commands.read()
    newest(panel, Routing).fail("There is no text to read.", "Write some.")
    assert panel.banner.text() == "There is no text to read." and not panel.runs.active
    panel.commands.read()
    newest(panel, Routing).end("failed", newest(panel, Routing).failed, ErrorReport(kind="bug", title="ValueError: x", hint="a bug"))
    assert "ValueError" in panel.banner.text()


def test_keys(panel):
    read(panel)
    QTest.keyClick(panel, Qt.Key.Key_Home)
    assert panel.runs.reading.position == 1
    QTest.keyClick(panel, Qt.Key.Key_Right)
    assert panel.runs.reading.position == 2
    panel.looking.down()
    assert panel.looking.row == 1 and panel.stage.text.row == 1
    panel.looking.up()
    assert panel.looking.row == 0
    assert all(len(pair) == 2 for pair in panel.key_help())


# --- changing the gates --------------------------------------------------------------------------------------


def test_an_expert_of_the_map_is_switched_off_and_forced(panel):
    read(panel)
    panel.stage.load.map._choose(1, 5)
    assert panel.looking.row == 1 and all(button.isEnabled() for button in panel.stage.load.switches)
    panel.stage.load.switches[0].click()
    assert panel.side_form.job().off == ((LAYERS[1], 5),) and "expert 5 off" in panel.side_form.gates.pairs.item(0).text()
    panel.stage.load.switches[1].click()
    assert panel.side_form.job().off == () and panel.side_form.job().force == ((LAYERS[1], 5),)
    panel.stage.load.switches[2].click()
    assert not panel.side_form.job().changes


def test_k_bias_and_clear(panel):
    gates = panel.side_form.gates
    read(panel)
    gates.k.setValue(4)
    gates.bias.setChecked(False)
    gates.pairs.switch(2, 3, "off")
    job = panel.side_form.job()
    assert (job.experts_a_token, job.use_bias, job.off) == (4, False, ((2, 3),)) and job.changes
    assert gates.k.maximum() == E
    gates.pairs.itemDoubleClicked.emit(gates.pairs.item(0))
    assert panel.side_form.job().off == ()
    gates.clear()
    assert not panel.side_form.job().changes


def test_before_and_after(panel):
    read(panel)
    panel.side_form.gates.pairs.switch(1, 2, "off")
    panel.side_form.gates.compare.click()
    handle, page = newest(panel, RoutingSteer), panel.stage.play
    assert handle.job.off == ((1, 2),) and panel.stage.pages.currentWidget() is page and handle.job.text == panel.side_form.job().text
    handle.preview.emit("before", "so far")
    assert page.texts["before"].toPlainText() == "so far"
    handle.succeed(Result(files={"report": steer_report()}))
    assert page.texts["before"].toPlainText() == "↵\nas it was" and page.texts["after"].toPlainText() == "another"
    words = [label.text() for label in page._cells]
    assert "20.000" in words and "25.500" in words and "0.1250 nats" in words and page._words.text().startswith("Layer 1: expert 2 off.")
    panel.side_form.gates.compare.click()
    newest(panel, RoutingSteer).fail("Nothing is changed at the gates.")
    assert panel.banner.text() == "Nothing is changed at the gates."


# --- two texts, domains --------------------------------------------------------------------------------------


def test_two_texts(panel):
    page = panel.stage.pair
    page.other.setPlainText("1 + 1")
    page.compare.click()
    job = newest(panel, RoutingPair).job
    assert job.other == "1 + 1" and job.text == Routing().text and not page.compare.isEnabled()
    newest(panel, RoutingPair).succeed(Result(files={"report": pair_report()}))
    assert page.compare.isEnabled() and page.map.values.shape == (6, E) and np.allclose(page.map.values, 1)
    assert "layer 1: 0.40 (0.20)" in page._words.text() and "layer 2: 0.10 (0.20, no telling)" in page._words.text()
    page.compare.click()
    newest(panel, RoutingPair).fail("There is no text to read.")
    assert page.compare.isEnabled() and "no text" in panel.banner.text()


def test_domains_with_guards(panel):
    page = panel.stage.specialists
    page.tokens.setValue(2000)
    page.measure.click()
    handle = newest(panel, RoutingSpecialisation)
    assert handle.job.tokens == 2000 and not page.measure.isEnabled()
    handle.progress.emit(Progress(done=1, total=4, unit="windows", note="reading python"))
    assert "Reading python (1 of 4 windows)" in page._words.text()
    handle.succeed(specialisation())
    assert page.measure.isEnabled() and page.map.values.shape == (3, E)
    pale = page.map._pale
    assert not pale[1, 3] and pale[2, 5], "a high share of two documents stays grey"
    assert pale[0].all(), "what chance explains stays grey"
    page.set_expert(3)
    assert "Expert 3 of layer 1" in page._pick.text() and "too few" in page.rows.accessibleDescription()
    page._buttons["token"].click()
    assert page.map._rows == ("·the", "↵", "1")
    panel.stage.pages.setCurrentWidget(page)
    panel.side.layers.setCurrentIndex(1)
    panel.side.layers.activated.emit(1)
    assert "of layer 2" in page._pick.text(), "layers can be chosen before a text is read"
    panel.models.other_model()
    assert not page.map.values.size and "Reads documents" in page._words.text(), "what was measured on another model no longer stands"


# --- training ------------------------------------------------------------------------------------------------


def test_a_training_moves_loads_and_biases(panel):
    page = panel.stage.training
    page.side.train.click()
    handle = newest(panel, TrainMoe)
    assert handle.job.install and handle.job.model == "deepseek"
    handle.begin()
    handle.progress.emit(Progress(done=3, note="encoding documents: python"))
    assert "encoding documents" in page.state.text()
    for step in (10, 20, 30):
        for channel, payload in zip(("train", "routing"), training_record(step)):
            handle.record.emit(channel, payload)
    assert "update 30 of 6,000" in page.state.text() and page.side.stop.isEnabled()
    newest_record = training_record(30)[1]
    maps, record = page.maps, newest_record
    assert np.allclose(maps.load.values, record["load"].values) and np.allclose(maps.bias.values, record["bias"].values)
    maps.over.click()
    maps.layer.setCurrentIndex(1)
    maps.layer.activated.emit(1)
    assert maps.load.values.shape == (E, 3) and np.allclose(maps.load.values[:, 2], record["load"].values[1])
    assert np.allclose(maps.bias.values[:, 0], training_record(10)[1]["bias"].values[1])
    maps.now.click()
    assert maps.load.values.shape == record["load"].values.shape
    assert page.standings.text().splitlines()[1].split(" | ")[:5] == ["1: loss-free", "30", "4.000", "0.78", "0.07"]
    curve = page.balance.curves()["1: loss-free"]
    assert list(curve.x) == [10, 20, 30] and curve.y[-1] == pytest.approx(0.77) and "chance" in page.balance.curves()
    assert {"loss", "python", "mtp"} <= set(page.losses.curves()) and "lr" not in page.losses.curves()
    page.side.form.set_value("bias_step", 0.01)
    page.side.form._announce()
    assert handle.asked[-1] == "tune" and handle.job.bias_step == 0.01
    page.side.stop.click()
    assert handle.asked[-1] == "cancel" and "stopped" in page.state.text() and not page.side.stop.isEnabled()


def test_balancing_side_by_side(panel):
    """The first prepares the text; when it learns, the others join in, none waiting for another."""
    page = panel.stage.training
    page.side.both.click()
    first = newest(panel, TrainMoe)
    assert first.job.balancing == "loss-free" and panel.engine.count(TrainMoe) == 1
    first.begin()
    first.progress.emit(Progress(done=1, note="encoding documents"))
    assert panel.engine.count(TrainMoe) == 1, "the text is not there yet"
    for channel, payload in zip(("train", "routing"), training_record(5)):
        first.record.emit(channel, payload)
    handles = [handle for handle in panel.engine.handles if isinstance(handle.job, TrainMoe)]
    jobs = [handle.job for handle in handles]
    assert [job.balancing for job in jobs] == ["loss-free", "aux-loss", "none"] and len({handle.key for handle in handles}) == 3
    assert not any(job.install for job in jobs) and len({job.folder for job in jobs}) == 1 and jobs[0].folder.endswith("side-by-side")
    for handle in handles[1:]:
        handle.begin()
        for channel, payload in zip(("train", "routing"), training_record(5, bias=False)):
            handle.record.emit(channel, payload)
    assert len(page.balance.curves()) == 4 and set(page.losses.curves()) == {"1: loss-free", "2: aux-loss", "3: no balancing"}
    assert len(page.standings.text().splitlines()) == 4 and page.maps.bias.values.size, "the first is still the one shown"
    page.side.runs.setCurrentIndex(2)
    page.side.runs.activated.emit(2)
    assert not page.maps.bias.values.size and page.state.text().startswith("3: deepseek, no balancing")
    handle = handles[2]
    handle.fail("No room.")
    assert panel.banner.text() == "No room." and len(panel.trainings.active) == 2


def test_a_race_whose_first_runner_fails_is_over(panel):
    page = panel.stage.training
    page.side.both.click()
    newest(panel, TrainMoe).fail("No room.")
    page.side.both.click()
    page.side.stop.click()
    assert panel.engine.count(TrainMoe) == 2 and not panel.trainings.active
    page.side.both.click()
    newest(panel, TrainMoe).begin()
    newest(panel, TrainMoe).succeed(Result(facts={"note": "The checkpoint already holds all these steps."}))
    assert panel.engine.count(TrainMoe) == 5, "the others may still have to learn"


def test_looking_at_the_experts_of_a_training(panel, tmp_path):
    panel.models.train(TrainMoe(model="switch", folder=str(tmp_path)))
    run = panel.trainings.runs[-1]
    run.handle.begin()
    run.handle.record.emit("train", training_record(3)[0])
    panel.stage.training.side.look.click()
    newest(panel, RoutingStatus).succeed(Result(facts=READY))
    assert "not kept a checkpoint yet" in panel.banner.text()
    folder = tmp_path / "moe-switch-aux-loss-abc"
    folder.mkdir()
    (folder / "checkpoint.safetensors").touch()
    panel.stage.training.side.look.click()
    other = {"folder": "/elsewhere/moe-switch-aux-loss-x", "title": "moe-switch-aux-loss-x"}
    found = [other, {"folder": str(folder), "title": folder.name}]
    newest(panel, RoutingStatus).succeed(Result(facts=READY | {"checkpoints": found}))
    assert newest(panel, Routing).job.checkpoint == str(folder)


def test_a_switch_installs_nothing(panel):
    page = panel.stage.training
    page.side.form.set_value("model", "switch")
    page.side.train.click()
    assert newest(panel, TrainMoe).job.install is False
    page.side.both.click()
    newest(panel, TrainMoe).begin()
    newest(panel, TrainMoe).record.emit("train", training_record(3)[0])
    assert [h.job.balancing for h in panel.engine.handles if isinstance(h.job, TrainMoe)][1:] == ["aux-loss", "none"]


# --- state ---------------------------------------------------------------------------------------------------


def test_what_was_set_is_there_again(panel, build):
    panel.side_form.form.set_value("text", "another text")
    panel.side_form.gates.pairs.switch(2, 3, "off")
    panel.side_form.gates.pairs.switch(1, 0, "force")
    panel.side_form.gates.bias.setChecked(False)
    panel.side_form.use("moe:/some/folder")
    panel.stage.pages.setCurrentWidget(panel.stage.flow)
    panel.stage.training.side.form.set_value("steps", 123)
    panel.stage.pair.other.setPlainText("other words")
    panel.stage.load.set_phase("prompt")
    panel.looking.set_row(2)
    expected = panel.side_form.job()
    panel.save_now()
    again = build()
    assert again.side_form.job() == expected and expected.off == ((2, 3),) and expected.model == "moe:/some/folder"
    assert again.stage.pages.currentWidget() is again.stage.flow and again.stage.training.side.job().steps == 123
    assert again.stage.pair.other.text() == "other words" and again.stage.load.phase == "prompt" and again.looking.wanted == 2
    assert again.banner.text() == ""
    read(again)
    assert again.looking.row == 2


def test_a_state_that_is_nonsense_is_left_aside(settings, build):
    settings.set_panel("routing", {"job": {"steps": "many"}, "row": "x", "training": 5})
    panel = build()
    assert "could not be restored" in panel.banner.text() and panel.side_form.job().text


def test_folders_are_dropped(panel, tmp_path):
    mime, nothing = QMimeData(), QMimeData()
    (tmp_path / "config.json").write_text("{}")
    mime.setUrls([QUrl.fromLocalFile(str(tmp_path))])
    nothing.setUrls([QUrl.fromLocalFile("/nowhere.png")])
    assert panel.accept_drop(mime) and panel.side_form.job().model == f"moe:{tmp_path}"
    assert not panel.accept_drop(nothing)


def test_scenes_run_on_canned_answers(panel):
    for name, scene in panel.screenshot_scenes():
        if name in ("bias", "together", "flow", "training"):
            assert list(scene(panel))


def test_many_layers_and_experts_leave_room_between_layers(panel):
    panel.stage.flow.flow.set_flow(np.full((15, 64, 64), 1 / 4096), tuple(range(16)))
    places = [panel.stage.flow.flow.node(row, 0).left() for row in (0, 1)]
    assert panel.stage.flow.flow.minimumWidth() > 1000 and places[0] < places[1]
    panel.stage.flow.flow.set_flow(np.zeros((0, 0, 0)), ())
    assert panel.stage.flow.flow.minimumWidth() == 0


def test_a_model_with_many_layers_and_experts_fits(panel):
    many = replace(MODEL, layers=tuple(range(48)), n_experts=128)
    panel.commands.read()
    handle = newest(panel, Routing)
    handle.begin()
    handle.record.emit("opened", many)
    assert panel.stage.text._chip.bar >= 1 and panel.side_form.gates.k.maximum() == 128 and panel.side.layers.count() == 48
