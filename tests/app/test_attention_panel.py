"""The attention panel against canned maps: no worker, no model; what is submitted, what every view shows of it, and the wrong ways."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QMimeData, QPoint, Qt, QUrl
from PySide6.QtTest import QTest

from app.jobs.attention import (
    SOURCES,
    AttentionEdit,
    AttentionExport,
    AttentionLens,
    AttentionMap,
    AttentionOverview,
    AttentionProfile,
    AttentionRollout,
    AttentionSum,
)
from app.jobs.library import OpenPicture
from app.panels.attention import scenes, sharing, words
from app.panels.attention.edit_view import differing
from app.panels.attention.form import SHOWN
from app.panels.attention.panel import AttentionPanel
from app.panels.attention.picture_view import overlay
from app.panels.attention.selection import Focus
from app.protocol.attention import SCORES
from app.protocol.events import Progress
from app.protocol.payloads import Image, Result
from app.widgets.matrix_axes import LEFT, TOP
from tests.app.attention_fakes import AttentionEngine, looked_of, map_of, overview_of, weights

TEXT = "The cat sat on the mat, and the cat slept."
LONG = "one two three four five " * 130


def build(qtbot, settings) -> AttentionPanel:
    made = AttentionPanel(AttentionEngine(), settings)
    qtbot.addWidget(made, before_close_func=AttentionPanel.about_to_close)
    made.restore()
    made.resize(1200, 735)
    made.show()
    made.ready()
    made.engine.answer()
    return made


@pytest.fixture
def panel(qtbot, settings):
    return build(qtbot, settings)


def look(panel, source: str = "text", text: str = TEXT, **more) -> None:
    """Look at something and let everything be answered."""
    panel.form.set_job(AttentionOverview(source=source, text=text, **more))
    panel.look()
    panel.engine.answer()


def shown(panel) -> np.ndarray:
    """The map on show, as the widget has it."""
    return panel.stage.map._parts[0].values


def expected(panel, heads: tuple[int, ...], layer: int = 0) -> np.ndarray:
    looked = panel.looked
    return weights(len(looked.rows.texts), len(looked.columns.texts), layer, heads, causal=looked.causal)


# --- looking ----------------------------------------------------------------------------------------------------


def test_makes_its_default_job_and_teaches(panel):
    assert panel.form.job() == AttentionOverview() and panel.stage.welcoming
    assert panel.engine.out(AttentionOverview) == []
    panel.stage.example.click()
    assert panel.engine.out(AttentionOverview)[0].job == AttentionOverview() and panel.engine.handles[-1].policy == "replace"


def test_a_look_fills_up_while_it_runs(panel):
    panel.look()
    handle = panel.engine.handles[-1]
    handle.begin()
    handle.progress.emit(Progress(done=3, total=30, unit="layers", note="reading the text"))
    assert panel.timeline.busy() == "Reading the text …" and panel.form.look.text() == "Looking …"
    handle.record.emit("looked", looked_of(handle.job))
    assert not panel.stage.welcoming and panel.stage.chips.count() == len(panel.looked.rows.texts)
    assert [h.job for h in panel.engine.out(AttentionMap)] == [panel.maps.job()], "the map is asked for before the overview is done"
    handle.record.emit("overview", overview_of(2))
    maps = panel.stage.heads.grid._maps
    assert not np.isnan(maps[1, 0]).any() and np.isnan(maps[2, 0]).all()
    panel.engine.answer()
    assert not np.isnan(panel.stage.heads.grid._maps[3]).any() and panel.form.look.text() == "Look"
    assert "12 heads of 4 layers" in panel.timeline.busy()


def test_the_map_is_that_of_the_selected_head(panel):
    look(panel)
    np.testing.assert_allclose(shown(panel), expected(panel, (0,)), rtol=1e-5)
    QTest.keyClick(panel.stage.heads.grid, Qt.Key.Key_Down)
    QTest.keyClick(panel.stage.heads.grid, Qt.Key.Key_Right)
    job = panel.engine.handles[-1].job
    assert (job.layer, job.heads, job.text) == (1, (1,), TEXT) and panel.engine.handles[-1].policy == "follow"
    panel.engine.answer()
    np.testing.assert_allclose(shown(panel), expected(panel, (1,), layer=1), rtol=1e-5)
    assert "Layer 1, head 1" in panel.side.head.text()


def test_a_map_that_is_known_is_not_asked_for_again(panel):
    look(panel)
    panel.selection.select(2, (1,))
    panel.engine.answer()
    asked = len(panel.engine.handles)
    panel.selection.select(0, (0,))
    assert len(panel.engine.handles) == asked
    np.testing.assert_allclose(shown(panel), expected(panel, (0,)), rtol=1e-5)


def test_several_heads_are_their_mean_and_it_is_said(panel):
    look(panel)
    panel.selection.select(0, (0, 2))
    panel.engine.answer()
    np.testing.assert_allclose(shown(panel), expected(panel, (0, 2)), rtol=1e-5)
    panel.selection.point("rows", 4)
    assert "mean of heads 0, 2" in panel.side.head.text() and "mean of heads 0, 2" in panel.stage.told.text()


def test_late_maps_of_other_heads_are_not_shown(panel):
    look(panel)
    panel.selection.select(1, (0,))
    late = panel.engine.handles[-1]
    panel.selection.select(3, (2,))
    newer = panel.engine.handles[-1]
    panel.engine.finish(newer)
    panel.engine.finish(late)
    np.testing.assert_allclose(shown(panel), expected(panel, (2,), layer=3), rtol=1e-5)


def test_events_of_a_replaced_look_are_not_heard(panel):
    panel.look()
    old = panel.engine.handles[-1]
    look(panel, text="Another text.")
    old.record.emit("looked", looked_of(old.job))
    old.record.emit("overview", overview_of(1))
    assert panel.looked.rows.texts == ("Another", " text", ".") and not np.isnan(panel.stage.heads.grid._maps[3]).any()
    assert "cancel" in old.asked


def test_a_failure_is_told_and_what_was_there_stays(panel):
    look(panel)
    panel.form.set_text("")
    panel.look()
    panel.engine.handles[-1].fail("There is no text to look at.", "Type one.")
    assert "no text" in panel.banner.text() and panel.form.look.text() == "Look"
    np.testing.assert_allclose(shown(panel), expected(panel, (0,)), rtol=1e-5)
    panel.selection.select(1, (0,))
    panel.engine.handles[-1].fail("That head is out of range.")
    assert "out of range" in panel.banner.text()
    panel.selection.select(2, (0,))
    panel.engine.answer()
    np.testing.assert_allclose(shown(panel), expected(panel, (0,), layer=2), rtol=1e-5)


def test_a_model_with_fewer_layers_is_no_problem(panel, monkeypatch):
    look(panel)
    panel.selection.select(3, (2,))
    panel.engine.answer()
    import dataclasses

    from tests.app import attention_fakes

    small = dataclasses.replace(looked_of(panel.looker.job), layers=("only",), heads=(1,))
    monkeypatch.setattr(attention_fakes, "looked_of", lambda job: small)
    panel.look()
    panel.engine.handles[-1].record.emit("looked", small)
    assert (panel.selection.layer, panel.selection.heads) == (0, (0,))


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_can_be_looked_at_in_every_view(panel, source):
    look(panel, source)
    rows = {"text": panel.form.text, "picture": panel.form.picture, "model": panel.form.models}
    assert {name for name, row in rows.items() if panel.form._rows.isRowVisible(row)} == rows.keys() & set(SHOWN[source])
    for view in ("map", "arcs", "rollout", "picture", "edit"):
        panel.stage.options.set_view(view)
        panel.engine.answer()
        for axis in ("rows", "columns"):
            panel.selection.pin(axis, 1)
            panel.selection.point(axis, 2)
            panel.engine.answer()
            panel.grab()
            panel.selection.point(axis, -1)
    assert panel.banner.text() == ""


# --- tokens -----------------------------------------------------------------------------------------------------


def test_a_token_pointed_at_shades_what_it_looks_at(panel):
    look(panel)
    panel.stage.chips.hovered.emit(7)
    np.testing.assert_allclose(panel.stage.chips._shades, expected(panel, (0,))[7], rtol=1e-5)
    assert "what “mat” looks at" not in panel.stage.told.text() and "looks at · layer 0, head 0" in panel.stage.told.text()
    assert panel.stage.map._cross == (7, -1) and panel.stage.arcs._pointed == (7, -1)
    panel.stage.chips.hovered.emit(-1)
    assert panel.stage.chips._shades is None


def test_turned_round_it_shades_what_looks_at_it(panel):
    look(panel)
    QTest.keyClick(panel, Qt.Key.Key_D, Qt.KeyboardModifier.ControlModifier)
    assert panel.stage.direction.currentData() == "columns"
    panel.stage.chips.hovered.emit(3)
    np.testing.assert_allclose(panel.stage.chips._shades, expected(panel, (0,))[:, 3], rtol=1e-5)
    assert "is looked at by" in panel.stage.told.text() and panel.stage.map._cross == (-1, 3)


def test_what_is_pinned_stays_pinned_when_the_direction_turns(panel):
    look(panel)
    panel.stage.chips.clicked.emit(3, False)
    panel.selection.turn("columns")
    assert panel.selection.pinned == Focus("columns", (3,)) and panel.stage.map._marked == (set(), {3})
    np.testing.assert_allclose(panel.stage.chips._shades, expected(panel, (0,))[:, 3], rtol=1e-5)


def test_weights_of_another_text_are_never_shown(panel):
    look(panel)
    panel.form.set_text("Another text, and a longer one than before, with more words.")
    panel.look()
    panel.engine.handles[-1].record.emit("looked", looked_of(panel.engine.handles[-1].job))
    panel.stage.chips.hovered.emit(2)
    assert panel.stage.chips._shades is None and panel.stage.map._parts == []


def test_pins_stay_add_up_and_let_go(panel):
    look(panel)
    panel.stage.chips.clicked.emit(4, False)
    panel.stage.chips.clicked.emit(6, True)
    assert panel.selection.pinned == Focus("rows", (4, 6)) and panel.stage.chips._pinned == {4, 6}
    np.testing.assert_allclose(panel.stage.chips._shades, expected(panel, (0,))[[4, 6]].mean(0), rtol=1e-5)
    panel.stage.chips.hovered.emit(2)
    np.testing.assert_allclose(panel.stage.chips._shades, expected(panel, (0,))[2], rtol=1e-5)
    panel.stage.chips.hovered.emit(-1)
    assert panel.selection.focus == Focus("rows", (4, 6))
    panel.stage.chips.clicked.emit(6, True)
    assert panel.selection.pinned == Focus("rows", (4,))
    panel.stage.chips.clicked.emit(4, False)
    assert panel.selection.pinned is None
    panel.stage.chips.clicked.emit(4, False)
    QTest.keyClick(panel, Qt.Key.Key_Escape)
    assert panel.selection.pinned is None and panel.stage.chips._shades is None


def test_the_map_lights_text_and_heads(panel):
    look(panel)
    size = panel.stage.map.place.rows.size
    QTest.mouseMove(panel.stage.map, QPoint(round(LEFT + 2.5 * size), round(TOP + 5.5 * size)))
    assert panel.selection.cell == (5, 2) and panel.stage.chips._lit == 5
    np.testing.assert_allclose(panel.stage.chips._shades, expected(panel, (0,))[5], rtol=1e-5)
    assert panel.stage.heads.grid._row == pytest.approx(5.5 / len(panel.looked.rows.texts))
    assert f"{expected(panel, (0,))[5, 2]:.4g}" in panel.stage.map.readout()
    QTest.mouseClick(panel.stage.map, Qt.MouseButton.LeftButton, pos=QPoint(round(LEFT + 2.5 * size), round(TOP + 5.5 * size)))
    assert panel.selection.pinned == Focus("rows", (5,)) and panel.stage.map._marked == ({5}, set())


def test_the_largest_weights_and_the_logit_lens_of_the_pinned_token(panel):
    look(panel)
    panel.stage.chips.clicked.emit(5, False)
    assert panel.engine.out(AttentionLens) == [], "nobody sees the page"
    panel.side.setCurrentIndex(1)
    assert panel.engine.out(AttentionLens)[0].job.token == 5
    panel.engine.answer()
    assert len(panel.side.token.layers.bars()) == 5 and panel.side.token.layers.bars()[0].label.startswith("4")
    row = expected(panel, (0,))[5]
    bars = panel.side.token.weights.bars()
    assert [bar.key for bar in bars] == list(np.argsort(-row)[: len(bars)]) and bars[0].value == pytest.approx(row.max(), rel=1e-5)
    assert words.NOT_AN_EXPLANATION in panel.side.token.text()
    panel.stage.chips.clicked.emit(2, False)
    late = panel.engine.handles[-1]
    panel.stage.chips.clicked.emit(3, False)
    panel.engine.finish(late)
    assert panel.side.token.layers.bars() == [] and "asking" in panel.side.token.text()


# --- long texts -------------------------------------------------------------------------------------------------


def test_a_long_text_is_coarse_and_exact_on_zoom(panel, qtbot):
    look(panel, text=LONG)
    assert not panel.maps.whole.exact and "about" not in panel.stage.map.readout()
    rows = len(panel.looked.rows.texts)
    for _ in range(8):
        panel.stage.map.place.zoom(1.25, 0, 300)
    panel.stage.map._moved()
    assert panel.engine.out(AttentionMap)[-1].job.rows == (0, 0), "not while the wheel turns"
    qtbot.waitUntil(lambda: panel.engine.out(AttentionMap)[-1].job.rows != (0, 0))
    job = panel.engine.out(AttentionMap)[-1].job
    assert job.rows == panel.stage.map.place.rows.window() and job.columns == panel.stage.map.place.columns.window()
    assert panel.stage.map._parts[-1].block == panel.maps.whole.block, "the coarse map stays until then"
    panel.engine.answer()
    full = weights(rows, rows, 0, (0,), causal=True)
    row, column = job.rows[0] + 3, job.columns[0] + 1
    assert panel.stage.map.value(row, column) == (pytest.approx(full[row, column], rel=1e-5), True)


def test_a_long_text_has_exact_weights_for_the_token_pointed_at(panel):
    look(panel, text=LONG)
    panel.stage.chips.hovered.emit(600)
    assert "means of blocks" in panel.stage.told.text()
    assert panel.engine.out(AttentionProfile)[-1].job.tokens == (600,)
    panel.engine.answer()
    rows = len(panel.looked.rows.texts)
    np.testing.assert_allclose(panel.stage.chips._shades, weights(rows, rows, 0, (0,), causal=True)[600], rtol=1e-5)
    assert "means of blocks" not in panel.stage.told.text()


def test_the_other_direction_of_a_long_text_is_exact_too(panel):
    look(panel, text=LONG)
    panel.selection.turn("columns")
    panel.stage.chips.hovered.emit(30)
    panel.engine.answer()
    rows = len(panel.looked.rows.texts)
    np.testing.assert_allclose(panel.stage.chips._shades, weights(rows, rows, 0, (0,), causal=True)[:, 30], rtol=1e-5)


def test_a_short_text_is_exact_and_asks_for_no_part(panel, qtbot):
    look(panel)
    asked = len(panel.engine.handles)
    panel.stage.map.place.zoom(2.0, 0, 0)
    panel.stage.map._moved()
    qtbot.wait(120)
    assert len(panel.engine.handles) == asked and panel.stage.map.value(3, 1)[1]


def test_lines_of_a_long_text_come_for_the_rows_in_sight(panel, qtbot):
    look(panel, text=LONG)
    panel.stage.options.set_view("arcs")
    qtbot.waitUntil(lambda: panel.engine.out(AttentionMap)[-1].job.most == 4096)
    panel.engine.answer()
    part, full = panel.stage.arcs._part, weights(*(2 * (len(panel.looked.rows.texts),)), 0, (0,), causal=True)
    assert part.block == (1, 1) and part.rows == panel.stage.arcs.window()
    assert panel.stage.arcs.lines()[-1][2] == pytest.approx(full[part.rows[0] : part.rows[1]].max(), rel=1e-5)


# --- ways of looking --------------------------------------------------------------------------------------------


def test_normalisation_and_a_dropped_first_token_are_other_maps(panel):
    look(panel)
    options = panel.stage.options
    options.normalisation.setCurrentIndex(1)
    options.normalisation.activated.emit(1)
    assert panel.engine.handles[-1].job.normalisation == "each row to 1"
    options.drop.setChecked(True)
    assert panel.engine.handles[-1].job.drop_first
    panel.engine.answer()
    assert "first key dropped" in panel.side.head.text() and "each row to 1" in panel.side.head.text()
    asked = len(panel.engine.handles)
    assert panel.stage.map.scale.log and panel.stage.heads.grid._log, "so that a sink does not hide the rest"
    QTest.keyClick(panel, Qt.Key.Key_L, Qt.KeyboardModifier.ControlModifier)
    assert len(panel.engine.handles) == asked and not panel.stage.map.scale.log and not panel.stage.heads.grid._log


def test_a_map_without_its_first_column_still_shades_the_right_tokens(panel, monkeypatch):
    look(panel)
    import dataclasses

    whole = panel.maps.whole
    panel.maps.whole = dataclasses.replace(whole, values=whole.values[:, 1:], columns=(1, whole.values.shape[1]), dropped_first=True)
    panel.maps.changed.emit()
    panel.stage.chips.hovered.emit(6)
    np.testing.assert_allclose(panel.stage.chips._shades[1:], whole.values[6, 1:], rtol=1e-5)
    assert np.isnan(panel.stage.chips._shades[0]) and panel.stage.map.value(6, 1)[0] == pytest.approx(whole.values[6, 1])
    panel.grab()


def test_the_rollout_is_a_map_of_its_own(panel):
    look(panel)
    panel.selection.select(2, (1,))
    panel.stage.options.set_view("rollout")
    job = panel.engine.handles[-1].job
    assert isinstance(job, AttentionRollout) and job.layer == 2 and job.residual == 0.5
    panel.engine.answer()
    assert panel.stage.views.currentWidget() is panel.stage.maps and "Rollout up to layer 2" in panel.side.head.text()
    panel.stage.options.residual.setValue(0.2)
    assert panel.engine.handles[-1].job.residual == 0.2
    panel.stage.options.set_view("map")
    panel.engine.answer()
    np.testing.assert_allclose(shown(panel), expected(panel, (1,), layer=2), rtol=1e-5)


def test_heads_are_coloured_and_sorted_by_a_score(panel):
    look(panel)
    column = panel.stage.heads
    column.set_choices({"score": "sink", "sort": True})
    values = column.values("sink")
    order = [values[head] for head in column.grid.cells.ranked]
    assert order == sorted(order, reverse=True) and len(order) == 12
    assert "largest first" in column._note.text() and "first token" in column._note.text()
    column.set_choices({"score": "sink", "sort": False})
    assert f"colours 0 to {values.max():.3f}" in column._note.text()
    column.set_choices({"score": "", "sort": True})
    assert column.grid.cells.ranked is None


def test_scores_stand_beside_the_head_with_their_rank(panel):
    look(panel)
    panel.selection.select(1, (2,))
    text = panel.side.head.text()
    value = overview_of().scores[3, 1, 2]
    rank = int((overview_of().scores[3] > value).sum()) + 1
    assert f"Sink: {value:.3f}   {rank}. of 12" in text and "1 / √64" in text and "Canned maps." in text


# --- pictures ---------------------------------------------------------------------------------------------------


def test_a_prompt_word_lies_over_the_picture(panel):
    look(panel, "unet-words", text="a red house")
    assert panel.stage.options.view in ("map", "picture") and panel.stage.direction.currentData() == "columns"
    panel.stage.options.set_view("picture")
    panel.stage.chips.clicked.emit(1, False)
    column = weights(16, 3, 0, (0,), causal=False)[:, 1]
    np.testing.assert_allclose(panel.stage.picture._last, column, rtol=1e-5)
    assert "colours 0 to" in panel.stage.picture.picture.caption() and "“red” is looked at by" in panel.stage.picture.told.text()
    panel.stage.picture.picture.hovered.emit((63, 0))
    assert panel.selection.pointed == Focus("rows", (3,))
    np.testing.assert_allclose(panel.stage.chips._shades, weights(16, 3, 0, (0,), causal=False)[3], rtol=1e-5)


def test_layers_of_a_unet_have_their_own_grids(panel):
    look(panel, "unet-words", text="a red house")
    panel.selection.select(1, (0,))
    panel.engine.answer()
    assert panel.stage.map.place.rows.count == 4 and shown(panel).shape == (4, 3)
    panel.stage.picture.picture.hovered.emit((63, 63))
    assert panel.selection.pointed == Focus("rows", (3,)) and "2 x 2 cells" in panel.side.head.text()


def test_steps_are_scrubbed_and_words_stay_pinned(panel):
    look(panel, "unet-words", text="a red house", steps=20, step=10)
    panel.stage.chips.clicked.emit(1, False)
    assert panel.timeline.transport.text() == "step 10 of 20"
    panel.timeline.transport.next.emit()
    job = panel.engine.out(AttentionOverview)[-1].job
    assert job.step == 11 and job.text == "a red house" and panel.selection.pinned == Focus("columns", (1,))
    panel.engine.answer()
    assert panel.engine.out(AttentionMap)[-1].job.step == 11 and panel.selection.pinned == Focus("columns", (1,))
    assert panel.timeline.transport.text() == "step 11 of 20"
    panel.stage.map.setFocus()
    QTest.keyClick(panel, Qt.Key.Key_End)
    assert panel.engine.out(AttentionOverview)[-1].job.step == 20
    panel.timeline.transport.play.emit()
    assert panel.timeline.step == 1 and panel.timeline.transport.state == "running"
    panel.timeline.transport.pause.emit()


def test_patches_look_at_patches(panel):
    look(panel, "clip-picture")
    assert panel.stage.scroll.isHidden() and not panel.stage.direction.isHidden() and panel.engine.handles[-1].job.text
    panel.stage.options.set_view("picture")
    panel.stage.picture.picture.clicked.emit(40.0, 20.0)
    assert panel.selection.pinned == Focus("rows", (1 + 1 * 4 + 2,))
    row = weights(17, 17, 0, (0,), causal=False)[7]
    expected_overlay = overlay(row[1:].reshape(4, 4).astype(np.float32))
    drawn = panel.stage.picture.picture._overlay
    for y, x in ((0, 3), (1, 2), (3, 0)):
        assert drawn.pixelColor(16 * x + 8, 16 * y + 8).getRgb()[:3] == tuple(int(v) for v in expected_overlay[y, x, :3])
    outlined = [(y, x) for y in range(4) for x in range(4) if drawn.pixelColor(16 * x, 16 * y + 8).getRgb() == (255, 255, 255, 255)]
    assert outlined == [(1, 2)], "the patch that looks is outlined"


def test_a_picture_comes_from_a_file_a_drop_or_the_built_in_world(panel, tmp_path):
    panel.form.set_job(AttentionOverview(source="clip-words", text="a person"))
    panel.form.picture.scene_wanted.emit()
    panel.engine.answer()
    assert panel.form.job().picture is not None and panel.form.job().text == "a red house"
    panel.form.picture.remove.click()
    assert panel.form.job().picture is None
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(tmp_path / "a.png"))])
    assert panel.accept_drop(mime) and panel.engine.out(OpenPicture)[-1].job.path.endswith("a.png")
    panel.engine.handles[-1].succeed(Result(files={"image.png": Image(np.full((4, 4, 3), 9, np.uint8))}))
    assert panel.form.job().picture.pixels[0, 0, 0] == 9
    panel.form.set_job(AttentionOverview())
    assert not panel.accept_drop(mime)


# --- changing heads ---------------------------------------------------------------------------------------------


def test_a_head_is_removed_from_the_menu_and_before_and_after_are_shown(panel):
    look(panel)
    menu = panel.edits.menu((1, 2))
    next(action for action in menu.actions() if action.text() == "Remove this head").trigger()
    job = panel.engine.out(AttentionEdit)[-1].job
    assert [(e.layer, e.head, e.factor) for e in job.edits] == [(1, 2, 0.0)] and job.text == TEXT
    assert panel.stage.options.view == "edit" and panel.stage.heads.grid._edited == {(1, 2)}
    panel.engine.answer()
    view = panel.stage.edit
    assert view.title.text() == "Layer 1 head 2 removed" and "2.000 → 2.500 nats a token (+0.500)" in view.loss.text()
    assert "dog</span>" in view.texts[0].text() and "cat</span>" in view.texts[1].text() and "the lazy" in view.texts[0].text()
    assert view.bars[1].bars()[0].mark == 0.2 and view.bars[1].bars()[1].mark is None
    assert view.chips.weight(3) == pytest.approx(0.03)
    box = next(iter(panel.side.change._boxes.values()))
    box.setValue(0.5)
    assert panel.edits.factors == {(1, 2): 0.5}
    panel.side.change.run.click()
    assert panel.engine.out(AttentionEdit)[-1].job.edits[0].factor == 0.5
    panel.engine.handles[-1].fail("The model has no such head.")
    assert "no such head" in panel.banner.text() and view.report is None
    panel.side.change.clear.click()
    assert panel.edits.factors == {} and panel.stage.heads.grid._edited == set()


def test_a_late_report_is_not_that_of_the_newer_change(panel):
    look(panel)
    panel.edits.set_factor((0, 0), 0.0)
    panel.edits.run()
    late = panel.engine.handles[-1]
    panel.edits.set_factor((0, 1), 2.0)
    panel.edits.run()
    panel.engine.finish(late)
    assert panel.stage.edit.report is None
    panel.engine.answer()
    assert panel.stage.edit.title.text() == "Layer 0 head 0 removed, layer 0 head 1 x 2"


def test_heads_of_other_models_cannot_be_changed(panel):
    look(panel)
    panel.edits.set_factor((1, 2), 0.0)
    look(panel, "clip-text")
    assert panel.edits.factors == {} and not any(action.isEnabled() for action in panel.edits.menu((0, 0)).actions())


def test_words_that_differ_are_marked_on_both_sides(qapp):
    before, after = differing("a <b> c", "a d c\n\ne")
    assert before.startswith("a <span") and "&lt;b&gt;" in before and "e</span>" in after and "↵↵<br>" in after
    assert differing("same words", "same words") == ("same words", "same words")


# --- from the chat ----------------------------------------------------------------------------------------------


def test_a_reply_is_looked_at_token_for_token(panel):
    panel.look_at("language:/models/a.gguf", [5, 6, 7], "as it was said")
    job = panel.engine.out(AttentionOverview)[-1].job
    assert (job.source, job.model, job.ids, job.text) == ("text", "language:/models/a.gguf", (5, 6, 7), "as it was said")
    panel.engine.answer()
    assert panel.stage.chips.text() == "t5|t6|t7" and "exactly 3 tokens" in panel.form._exact.text()
    panel.form.text.setPlainText("something else")
    assert panel.form.job().ids == () and panel.form._exact.text() == ""


# --- a reply that is being written ------------------------------------------------------------------------------


def reply(count: int, growing: bool = True, model: str = "smollm2") -> AttentionOverview:
    return AttentionOverview(model=model, ids=tuple(range(3, 3 + count)), text="so far", growing=growing)


def test_a_reply_is_followed_token_by_token_until_its_end(panel):
    panel.take(reply(4))
    panel.engine.answer()
    assert panel.stage.chips.text() == "t3|t4|t5|t6" and panel.form.look.text() == "Look"
    assert np.isnan(panel.stage.heads.grid._maps).all() if panel.stage.heads.grid._maps is not None else True
    panel.selection.select(1, (2,))
    panel.engine.answer()
    for count in (6, 9):
        panel.follow(reply(count))
        assert panel.stage.map._parts or count == 6, "the map before stays until the larger one comes"
        panel.engine.answer()
        assert panel.stage.chips.count() == count and panel.form.ids == reply(count).ids and panel.looker.job.growing
        np.testing.assert_allclose(shown(panel), expected(panel, (2,), layer=1), rtol=1e-5)
        newest = expected(panel, (2,), layer=1)[count - 1]
        np.testing.assert_allclose([panel.stage.chips.weight(n) for n in range(count)], newest, rtol=1e-5)
    assert "Following a reply: 9 tokens" in panel.timeline.busy() and panel.selection.pinned == Focus("rows", (8,))
    panel.follow(reply(10, growing=False))
    panel.engine.answer()
    assert not np.isnan(panel.stage.heads.grid._maps[3]).any() and "12 heads" in panel.timeline.busy()
    assert panel.stage.chips.count() == 10 and panel.selection.heads == (2,) and not panel.live.going
    asked = len(panel.engine.out(AttentionOverview))
    panel.follow(reply(12))
    assert len(panel.engine.out(AttentionOverview)) == asked, "it has ended"


def test_a_reply_is_looked_at_one_look_after_the_other(panel):
    panel.take(reply(4))
    for count in (5, 6, 7):
        panel.follow(reply(count))
    looks = panel.engine.out(AttentionOverview)
    assert [len(handle.job.ids) for handle in looks] == [4], "what is in work is not cut off by more of the same"
    panel.engine.answer()
    assert [len(handle.job.ids) for handle in panel.engine.out(AttentionOverview)] == [4, 7]


def test_whoever_pins_a_token_or_types_is_left_alone(panel):
    panel.take(reply(4))
    panel.engine.answer()
    panel.selection.pin("rows", 1)
    panel.follow(reply(6))
    panel.engine.answer()
    assert panel.selection.pinned == Focus("rows", (1,)) and panel.stage.chips.count() == 6
    panel.form.text.setPlainText("another text")
    panel.follow(reply(8))
    panel.engine.answer()
    assert panel.stage.chips.count() == 6 and panel.form.job().text == "another text" and not panel.live.going
    look(panel)
    panel.follow(reply(9))
    panel.engine.answer()
    assert panel.form.job().text == TEXT


def test_a_reply_is_not_read_while_nobody_sees_it(panel):
    panel.take(reply(4))
    panel.engine.answer()
    panel.hide()
    panel.follow(reply(6))
    panel.follow(reply(8))
    assert len(panel.engine.out(AttentionOverview)) == 1
    panel.show()
    panel.engine.answer()
    assert [len(handle.job.ids) for handle in panel.engine.out(AttentionOverview)] == [4, 8] and panel.stage.chips.count() == 8


def test_a_reply_of_another_kind_of_model_is_told_once(panel):
    panel.take(reply(4, model="language:/x"))
    panel.engine.out(AttentionOverview)[-1].fail("It is of a family whose attention cannot be shown.")
    panel.follow(reply(6, model="language:/x"))
    assert "cannot be shown" in panel.banner.text() and len(panel.engine.out(AttentionOverview)) == 1


# --- files and state --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["png", "csv", "npz"])
def test_the_map_is_exported(panel, tmp_path, monkeypatch, qtbot, kind):
    look(panel)
    panel.selection.select(2, (0, 1))
    panel.engine.answer()
    target = tmp_path / f"map.{kind}"
    monkeypatch.setattr(sharing.QFileDialog, "getSaveFileName", lambda *a: (str(target), ""))
    panel.stage.options.export_wanted.emit(kind)
    job = panel.engine.out(AttentionExport)[-1].job
    assert (job.layer, job.heads, job.text) == (2, (0, 1), TEXT)
    panel.engine.answer()
    panel.settings.storage.flush()
    content = target.read_bytes()
    assert {"png": content[:4] == b"\x89PNG", "csv": content == b"a,b\n", "npz": content[:2] == b"PK"}[kind]
    assert target.name in panel.banner.text()


@pytest.mark.parametrize("kind", ["png", "csv", "npz"])
def test_a_rollout_is_exported_too(panel, tmp_path, monkeypatch, kind):
    look(panel)
    panel.selection.select(2, (0,))
    panel.stage.options.set_view("rollout")
    panel.stage.options.residual.setValue(0.25)
    panel.engine.answer()
    target = tmp_path / f"rollout.{kind}"
    monkeypatch.setattr(sharing.QFileDialog, "getSaveFileName", lambda *a: (str(target), ""))
    panel.stage.options.export_wanted.emit(kind)
    job = panel.engine.out(AttentionExport)[-1].job
    assert (job.rollout, job.residual, job.layer, job.text) == (True, 0.25, 2, TEXT)
    panel.engine.answer()
    panel.settings.storage.flush()
    assert target.stat().st_size > 0 and target.name in panel.banner.text()


def test_the_scores_of_all_heads_are_exported(panel, tmp_path, monkeypatch):
    panel.stage.options.export_wanted.emit("scores")
    assert "nothing to export" in panel.banner.text()
    look(panel)
    target = tmp_path / "heads.csv"
    monkeypatch.setattr(sharing.QFileDialog, "getSaveFileName", lambda *a: (str(target), ""))
    panel.stage.options.export_wanted.emit("scores")
    panel.settings.storage.flush()
    lines = target.read_text().splitlines()
    overview = overview_of()
    assert lines[0] == "layer,head," + ",".join(SCORES) and len(lines) == 1 + 12
    assert [float(value) for value in lines[6].split(",")] == pytest.approx([1, 2, *overview.scores[:, 1, 2]], rel=1e-4)
    panel.look()
    panel.engine.handles[-1].begin()
    panel.engine.handles[-1].record.emit("looked", looked_of(AttentionOverview(text="other words")))
    panel.stage.options.export_wanted.emit("scores")
    assert "not computed yet" in panel.banner.text()


def test_hidden_views_leave_no_gap_between_the_tabs(panel):
    look(panel)
    tabs = panel.stage.options.tabs
    shown = [tabs.tabRect(place) for place in range(tabs.count()) if tabs.isTabVisible(place)]
    assert len(shown) == 4 and all(after.x() == before.x() + before.width() for before, after in zip(shown, shown[1:], strict=False))


def test_there_is_nothing_to_export_before_the_first_look(panel):
    panel.stage.options.export_wanted.emit("csv")
    assert "nothing to export" in panel.banner.text()


def test_what_is_set_is_remembered(qtbot, settings):
    first = build(qtbot, settings)
    look(first, "unet-words", text="a red house", steps=12, step=7)
    assert first.stage.options.view == "picture", "what lies on a picture is first shown there"
    first.stage.options.set_view("map")
    first.selection.select(2, (1, 2))
    first.stage.options.set_choices({**first.stage.options.choices(), "log": True, "normalisation": "absolute", "threshold": 0.2})
    first.stage.heads.set_choices({"score": "sink", "sort": True})
    first.side.setCurrentIndex(1)
    first.stage.picture.opacity.setValue(30)
    state = first.save_state()
    json.dumps(state)
    first.save_now()
    second = build(qtbot, settings)
    assert second.save_state() == state and second.form.job() == first.form.job() and second.engine.out(AttentionOverview) == []
    second.look()
    second.engine.answer()
    assert (second.selection.layer, second.selection.heads) == (2, (1, 2)) and second.stage.map.scale.log
    assert second.stage.options.view == "map", "the choice of an earlier session"


def test_nonsense_in_the_saved_state_is_left_aside(qtbot, settings):
    settings.set_panel("attention", {"job": {"source": "nothing"}, "layer": "x"})
    made = build(qtbot, settings)
    assert "could not be restored" in made.banner.text() and made.form.job().source in SOURCES


def test_both_themes_can_be_painted_at_any_time(panel):
    from app import theme

    look(panel)
    for name in ("dark", "light"):
        theme.apply(name)
        panel.grab()


def test_every_view_of_the_screenshots_can_be_prepared(panel):
    assert {name for name, _ in scenes.SCENES} >= {"", "empty", "lines", "edit"} and panel.key_help()


def test_the_panel_does_not_import_torch() -> None:
    code = "import sys, app.panels.attention.panel; print('torch' in sys.modules or 'models' in sys.modules)"
    root = Path(__file__).resolve().parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True).stdout.strip() == "False"


def test_canned_maps_are_what_the_protocol_says() -> None:
    job = AttentionMap(text=LONG, most=100)
    coarse = map_of(job)
    full = weights(*(2 * (len(looked_of(job).rows.texts),)), 0, (0,), causal=True)
    assert coarse.block[0] > 1 and coarse.values[0, 0] == pytest.approx(full[: coarse.block[0], : coarse.block[1]].mean(), rel=1e-5)


# --- side by side -----------------------------------------------------------------------------------------------


def beside(panel, text: str = "", model: str = "smollm2") -> None:
    panel.form.beside.set_choices({"wanted": True, "text": text, "model": model})


def test_a_second_text_stands_beside_the_first_in_the_same_head(panel):
    beside(panel, "A hen and a cat.")
    look(panel)
    assert [handle.job.text for handle in panel.engine.out(AttentionOverview)] == [TEXT, "A hen and a cat."]
    assert not panel.stage.beside.isHidden() and panel.stage.beside_chips.text() == "A| hen| and| a| cat|."
    panel.selection.select(2, (1,))
    panel.engine.answer()
    np.testing.assert_allclose(panel.stage.beside._parts[0].values, weights(6, 6, 2, (1,), causal=True), rtol=1e-5)
    assert "layer 2, head 1" in panel.stage.beside._caption
    panel.stage.beside_chips.hovered.emit(4)
    np.testing.assert_allclose(panel.stage.beside_chips._shades, weights(6, 6, 2, (1,), causal=True)[4], rtol=1e-5)
    assert panel.stage.beside._cross == (4, -1) and panel.stage.map._cross == (-1, -1)
    panel.stage.options.normalisation.setCurrentIndex(2)
    panel.stage.options.normalisation.activated.emit(2)
    assert [handle.job.normalisation for handle in panel.engine.handles if handle.active] == ["absolute", "absolute"]
    panel.engine.answer()
    panel.stage.beside_chips.hovered.emit(-1)
    panel.stage.beside_chips.clicked.emit(2, False)
    QTest.keyClick(panel, Qt.Key.Key_Escape)
    assert panel.beside.selection.pinned is None
    panel.form.beside.wanted.setChecked(False)
    look(panel)
    assert panel.stage.beside.isHidden() and panel.stage.beside_chips.isHidden() and not panel.beside.on


def test_a_second_model_reads_the_same_text(panel):
    panel.form.set_models([("smollm2", "SmolLM2"), ("language:/a.gguf", "A")])
    beside(panel, model="language:/a.gguf")
    look(panel)
    first, second = (handle.job for handle in panel.engine.out(AttentionOverview))
    assert (first.model, second.model) == ("smollm2", "language:/a.gguf") and first.text == second.text == TEXT


def test_the_same_text_in_the_same_model_is_looked_at_once(panel):
    beside(panel)
    look(panel)
    assert len(panel.engine.out(AttentionOverview)) == 1 and not panel.beside.on


def test_a_second_look_that_fails_leaves_the_first(panel):
    beside(panel, "A hen.")
    panel.form.set_job(AttentionOverview(text=TEXT))
    panel.look()
    panel.engine.out(AttentionOverview)[1].fail("The second text is empty.")
    panel.engine.answer()
    assert "second text" in panel.banner.text() and panel.looked is not None and not panel.beside.on


def test_similarities_are_not_called_attention(panel):
    look(panel, "clip-words", text="a red house")
    panel.stage.chips.clicked.emit(1, False)
    assert "“red” is similar to" in panel.stage.told.text() and "looks at" not in panel.stage.told.text()
    for page in (panel.side.head.text(), panel.side.token.text()):
        assert words.NOT_AN_EXPLANATION not in page and "1706.03762" not in page
    assert "no softmax" in panel.side.head.text() and "2103.00020" in panel.side.head.text()


# --- all layers over a prompt's words, small models ------------------------------------------------------------------


def test_all_layers_together_are_laid_over_the_picture(panel, tmp_path, monkeypatch):
    look(panel, "unet-words", "a red house", steps=5, step=2)
    tabs = panel.stage.options.tabs
    assert [tabs.tabText(place) for place in range(tabs.count()) if tabs.isTabVisible(place)] == ["Map", "Picture", "All layers"]
    panel.selection.select(1, (0,))
    panel.stage.options.set_view("sum")
    job = panel.engine.handles[-1].job
    assert isinstance(job, AttentionSum) and (job.summed, job.layer, job.step, job.heads) == ("step", 1, 2, ())
    panel.engine.answer()
    assert panel.stage.views.currentWidget() is panel.stage.picture and "Mean of all heads and layers" in panel.side.head.text()
    panel.selection.pin("columns", 2)
    assert "mean of all heads and layers" in panel.stage.picture.told.text() and panel.stage.picture._last is not None
    panel.stage.options.every_step.setChecked(True)
    assert panel.engine.handles[-1].job.summed == "run" and not panel.engine.out(AttentionProfile)
    panel.engine.answer()
    target = tmp_path / "sum.csv"
    monkeypatch.setattr(sharing.QFileDialog, "getSaveFileName", lambda *a: (str(target), ""))
    panel.stage.options.export_wanted.emit("csv")
    assert panel.engine.out(AttentionExport)[-1].job.summed == "run"
    panel.engine.answer()
    panel.settings.storage.flush()
    assert target.exists()
    look(panel)
    assert panel.stage.options.view == "map" and not panel.stage.options.every_step.isVisible()
    assert not panel.engine.out(AttentionRollout), "the tab beside it was never meant"


def test_a_small_model_of_the_lab_is_looked_into(panel):
    handed = AttentionOverview(source="small", training="window:width=3 task=copy steps=70")
    panel.take(handed)
    job = panel.engine.out(AttentionOverview)[-1].job
    assert (job.source, job.training) == ("small", handed.training)
    panel.engine.answer()
    form = panel.form
    assert form.small.isVisible() and not form.text.isVisible() and not form.models.isVisible() and not form.beside.isVisible()
    assert (form.small.mechanism.currentText(), form.small.task.currentData()) == ("window:width=3", "copy")
    assert "70 updates" in form.small._note.text()
    form.small.mechanism.setCurrentText("linear")
    form.small.mechanism.activated.emit(form.small.mechanism.currentIndex())
    assert form.job().training == "linear task=copy steps=70"
    panel.settings.storage.flush()
    assert panel.save_state()["job"]["training"] == "linear task=copy steps=70"
    panel.form.set_job(AttentionOverview())
    assert not form.small.isVisible() and form.text.isVisible()


def test_maps_and_overlays_have_colours_of_their_own(panel):
    options = panel.stage.options
    look(panel, "clip-picture", "")
    assert options.view == "picture" and not options.log.isChecked()
    options.set_view("map")
    assert options.log.isChecked() and panel.stage.map.scale.log
    options.log.setChecked(False)
    options.set_view("picture")
    options.log.setChecked(True)
    options.set_view("map")
    assert not options.log.isChecked() and not panel.stage.map.scale.log
    options.set_choices({**options.choices(), "log": {"map": True, "picture": False}})
    assert options.log.isChecked()
    options.set_choices({**options.choices(), "log": False})
    assert not options.log.isChecked() and options.choices()["log"] == {"map": False, "picture": False, "signed": False}


def test_the_newest_token_is_shaded_as_soon_as_its_map_is_there(panel):
    panel.take(reply(6))
    panel.engine.answer()
    assert panel.selection.pinned == Focus("rows", (5,)) and panel.stage.chips._shades is not None
    panel.follow(reply(8))
    panel.engine.answer(AttentionOverview)
    assert panel.stage.chips.count() == 8 and panel.selection.pinned == Focus("rows", (5,)), "its map is still on its way"
    assert panel.stage.chips._shades is not None, "nothing flickers"
    panel.engine.answer()
    assert panel.selection.pinned == Focus("rows", (7,)) and panel.stage.chips._shades is not None
    panel.selection.pin("rows", 2)
    panel.follow(reply(9))
    panel.engine.answer()
    assert panel.selection.pinned == Focus("rows", (2,)), "a person's choice stays"
