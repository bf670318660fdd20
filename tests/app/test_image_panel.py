"""The image panel against canned events: no worker, no network; what is submitted, what is shown, what is kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtWidgets import QAbstractButton, QAbstractSpinBox, QApplication, QComboBox, QSlider

from app.jobs.diffusion import CheckControls, Control, DecodeLatent, Txt2Img, demo_job
from app.jobs.library import DeleteFromGallery, ListGallery, ReadRecipe
from app.jobs.maps import EdgeMap, PlayworldScene, PoseFromJson, PoseFromPicture
from app.panels.image.panel import ImagePanel
from app.protocol.errors import ErrorReport
from app.protocol.job import job_to_dict
from app.protocol.payloads import Image, Person, Pose, Result
from app.widgets.image_view import to_qimage
from tests.app.image_panel_fakes import FakeEngine, flat, picture_of

JOB = Txt2Img(prompt="a red house", steps=5, seed=3)


@pytest.fixture
def panel(qtbot, settings):
    made = ImagePanel(FakeEngine(), settings)
    qtbot.addWidget(made, before_close_func=ImagePanel.about_to_close)
    made.resize(1160, 730)
    made.show()
    made.ready()
    made.engine.answer_all()
    return made


def check(panel, qtbot) -> CheckControls:
    """Let the debounced check be asked and answered."""
    before = panel.engine.count(CheckControls)
    qtbot.waitUntil(lambda: panel.engine.count(CheckControls) > before)
    panel.engine.answer_all()
    return panel.engine.last(CheckControls).job


def draw(panel, x: int = 20) -> None:
    """A stroke on the canvas, as the pointer makes it."""
    pixels = np.array(panel.canvas.stage.pixels)
    pixels[x : x + 4, 10:90] = 255
    panel.canvas.set_map(Image(np.repeat(pixels[:, :, None], 3, axis=2)))


def run(panel, job: Txt2Img = JOB):
    """Start a run and return its handle, begun and planned."""
    panel.put_job(job)
    panel.commands.generate()
    handle = panel.engine.last(Txt2Img)
    handle.begin()
    handle.tell_start()
    return handle


def person(x: float = 60) -> Person:
    return Person(points=tuple((x + i, 20.0 + 4 * i, 1.0) for i in range(18)))


# --- form and controls -------------------------------------------------------------------------------------


def test_makes_its_default_job(panel):
    assert panel.job() == Txt2Img()
    assert panel.idle and panel.controls.rows == []


def test_every_control_says_what_it_does(panel):
    panel.put_job(demo_job())
    kinds = (QAbstractButton, QComboBox, QAbstractSpinBox, QSlider)
    ours = [w for part in (panel.side_form, panel.timeline, panel.watch, panel.side) for k in kinds for w in part.findChildren(k)]
    silent = [w for w in ours if not w.toolTip() and not w.objectName().startswith("qt_") and w.isVisible()]
    texts = [getattr(w, "text", lambda: "")() or type(w).__name__ for w in silent]
    assert set(texts) <= {"Generate"}  # the button in the empty picture stands below the sentence that explains it


def test_invalid_sizes_are_told_and_never_submitted(panel, qtbot):
    panel.form._editors["width"].widget.setValue(130)
    assert "130" in panel.form.problem() and "128" in panel.form.problem()
    panel.commands.generate()
    assert panel.engine.count(Txt2Img) == 0 and "130" in panel.banner.text()
    assert panel.remembered_job().width == 128


def test_unknown_words_are_named_quietly(panel, qtbot):
    edit = panel.form.prompts["prompt"]
    edit.setPlainText("a red dragon")
    qtbot.waitUntil(lambda: "dragon" in panel.form.note())
    assert "house" not in panel.form.note()
    edit.setPlainText("a red house")
    qtbot.waitUntil(lambda: panel.form.note() == "")


def test_control_rows_print_what_the_check_says(panel, qtbot):
    panel.put_job(replace(JOB, control=(Control(image=flat(255, 128, 128), end=0.6), Control(kind="pose"))))
    job = check(panel, qtbot)
    first, second = panel.controls.rows
    assert first.words() == "steps 1-3 of 5"
    assert second.words() == "It has no map. Draw one."
    assert job.txt2img == panel.job()


def test_answering_a_question_inverts_the_map(panel, qtbot):
    panel.put_job(replace(JOB, control=(Control(kind="canny"),)))
    check(panel, qtbot)
    row = panel.controls.rows[0]
    assert row._answer.isVisible()
    row._answer.click()
    assert panel.job().control[0].invert


def test_the_check_tells_why_generate_would_be_refused(panel, qtbot):
    panel.put_job(JOB)
    panel.engine.answers = False
    before = panel.engine.count(CheckControls)
    qtbot.waitUntil(lambda: panel.engine.count(CheckControls) > before)
    facts = {"ok": False, "error": "The weights are missing.", "hint": "", "notes": [], "controls": []}
    panel.engine.last(CheckControls).succeed(Result(facts=facts))
    assert panel.side_form.advice() == "The weights are missing."


def test_removing_a_control_can_be_undone(panel):
    panel.put_job(demo_job())
    panel.controls.rows[0]._remove.click()
    assert [c.kind for c in panel.job().control] == ["pose"]
    panel.banner._action.click()
    restored = panel.job().control
    assert [c.kind for c in restored] == ["pose", "canny"]
    assert restored[1].image == demo_job().control[0].image


# --- drawings -----------------------------------------------------------------------------------------------


def test_a_drawing_is_the_map_of_the_next_run_at_once(panel):
    draw(panel)
    panel.commands.generate()  # before the canvas has told of its change
    control = panel.engine.last(Txt2Img).job.control
    assert len(control) == 1 and control[0].kind == "canny"
    assert (control[0].image.pixels[20:24, 10:90] == 255).all()


def test_two_canny_rows_keep_their_own_drawings(panel):
    draw(panel, 10)
    panel.job()
    panel.controls._add["canny"].click()
    assert panel.stage.currentWidget() is panel.canvas and panel.canvas.is_empty()
    draw(panel, 60)
    first, second = panel.controls.rows
    panel.desk.open(first)
    one, two = panel.job().control
    assert one.image.pixels[10:14].any() and not one.image.pixels[60:64].any()
    assert two.image.pixels[60:64].any() and not two.image.pixels[10:14].any()
    assert panel.canvas.map().pixels[10:14].any()


def test_a_pose_becomes_the_pose_control(panel, qtbot):
    panel.poser.add_person()
    qtbot.waitUntil(lambda: len(panel.controls.rows) == 1)
    panel.engine.answer_all()
    assert panel.job().control[0].pose == panel.poser.pose()
    assert panel.controls.rows[0].preview is not None


def test_changing_the_kind_of_a_row_and_back_loses_nothing(panel):
    draw(panel)
    panel.job()
    row = panel.controls.rows[0]
    row._kind.setCurrentIndex(1)
    assert panel.job().control[0].image is None
    row._kind.setCurrentIndex(0)
    assert panel.job().control[0].image.pixels[20:24, 10:90].all()


def test_another_size_takes_the_drawing_along(panel):
    draw(panel)
    panel.form._editors["width"].widget.setValue(256)
    panel.form._editors["height"].widget.setValue(256)
    image = panel.job().control[0].image
    assert (image.width, image.height) == (256, 256) and image.pixels.any()


def test_emptying_the_canvas_leaves_a_control_without_a_map(panel):
    draw(panel)
    panel.job()
    panel.canvas.clear()
    assert panel.job().control[0].image is None


# --- watching -----------------------------------------------------------------------------------------------


def test_a_run_fills_the_strip_and_the_views_follow(panel):
    handle = run(panel)
    for index in range(3):
        handle.tell_step(index)
    assert panel.timeline.strip.frame_indices() == [1, 2, 3]
    assert "step 3 of 5" in panel.timeline.transport.text()
    assert panel.watch.lenses["x0"].image.image().pixels[0, 0, 0] == 102
    assert panel.watch.lenses["xt"].image.image().decoder == "latent2rgb"
    assert panel.timeline.strip._total == 5  # steps to come have their cells already
    handle.succeed()
    assert "Step 3 of 5" in panel.side.inspector.text()
    assert panel.side.curve.cursor_at() == 3


def test_the_numbers_follow_a_run_no_faster_than_one_can_read(panel, qtbot):
    handle, told = run(panel), []
    set_content = panel.side.inspector.set_content
    panel.side.inspector.set_content = lambda name, *rest: (told.append(name), set_content(name, *rest))
    for index in range(4):
        handle.tell_step(index)
    assert told == ["Step 1 of 5"]
    qtbot.waitUntil(lambda: told == ["Step 1 of 5", "Step 4 of 5"])


def test_parked_and_scrubbed_numbers_are_those_of_the_step_on_show(panel):
    handle = run(panel)
    for index in range(3):
        handle.tell_step(index)
    handle.park(3)
    assert panel.side.inspector.text().startswith("Step 3 of 5") and panel.side.curve.cursor_at() == 3
    assert panel.watch.lenses["x0"].image.image().pixels[0, 0, 0] == 102
    panel.timeline.transport.button("first").click()
    assert panel.side.inspector.text().startswith("Step 1 of 5") and panel.side.curve.cursor_at() == 1


def test_the_numbers_are_there_when_their_page_is_opened_during_a_run(panel):
    handle = run(panel)
    panel.side.setCurrentWidget(panel.side.gallery)
    handle.tell_step(0)
    handle.tell_step(1)
    panel.side.setCurrentIndex(0)
    assert panel.side.inspector.text().startswith("Step 2 of 5")


def test_scrubbing_back_stays_there_and_the_end_follows_again(panel):
    handle = run(panel)
    for index in range(3):
        handle.tell_step(index)
    panel.timeline.strip.selected.emit(1)
    handle.tell_step(3)
    assert panel.runs.film.position == 1 and panel.watch.lenses["xt"].image.image().pixels[0, 0, 0] == 0
    panel.timeline.transport.last.emit()
    handle.tell_step(4)
    assert panel.runs.film.position == 5


def test_the_keys_of_time_work_in_the_film_strip_and_right_at_the_end_computes_on(panel, qtbot):
    handle = run(panel)
    handle.tell_step(0)
    handle.tell_step(1)
    handle.park(2)
    film, strip = panel.runs.film, panel.timeline.strip
    for key, place in ((Qt.Key.Key_Home, 1), (Qt.Key.Key_Right, 2), (Qt.Key.Key_Left, 1), (Qt.Key.Key_End, 2)):
        qtbot.keyClick(strip, key)
        assert film.position == place and "step" not in handle.asked
    qtbot.keyClick(strip, Qt.Key.Key_Right)
    assert handle.asked == ["step"]
    qtbot.keyClick(strip, Qt.Key.Key_Space)
    assert handle.asked == ["step", "resume"]


def test_what_the_worker_does_meanwhile_never_moves_the_columns(panel):
    before = panel._splitters["columns"].sizes()
    handle = run(panel)
    handle.loading.emit("playworld/a-model-with-a-name-that-is-long", 0, 900_000_000)
    handle.tell_step(0)
    QApplication.processEvents()
    assert panel._splitters["columns"].sizes() == before


def test_scrubbing_to_steps_that_are_not_there_yet_is_the_newest(panel):
    handle = run(panel)
    handle.tell_step(0)
    panel.timeline.strip.selected.emit(4)
    assert panel.runs.film.position == 1 and panel.timeline.strip.current == 1


def test_pause_step_resume_and_stop(panel, qtbot):
    handle = run(panel)
    handle.tell_step(0)
    panel.timeline.strip.setFocus()
    qtbot.keyClick(panel.timeline.strip, Qt.Key.Key_Space)
    handle.park(1)
    assert handle.asked == ["pause"] and panel.runs.state == "paused"
    qtbot.keyClick(panel, Qt.Key.Key_Period)
    handle.tell_step(1)
    handle.park(2)
    qtbot.keyClick(panel, Qt.Key.Key_Comma)
    assert panel.runs.film.position == 1
    qtbot.keyClick(panel, Qt.Key.Key_Period)  # only looks at step 2, which is there
    assert panel.runs.film.position == 2 and handle.asked == ["pause", "step"]
    panel.timeline.transport.play.emit()
    handle.go_on()
    assert handle.asked == ["pause", "step", "resume"] and panel.runs.state == "running"
    panel.timeline.transport.stop.emit()
    assert panel.idle and panel.runs.film.last == 2


def test_step_by_step_parks_after_the_first_step(panel):
    panel.put_job(JOB)
    panel.commands.step_by_step()
    handle = panel.engine.last(Txt2Img)
    assert handle.park_after == 1
    handle.begin()
    handle.tell_start()
    handle.tell_step(0)
    handle.park(1)
    panel.commands.step_by_step()
    assert handle.asked == ["step"] and panel.engine.count(Txt2Img) == 1


def test_late_events_of_a_cancelled_run_are_ignored(panel):
    handle = run(panel)
    handle.tell_step(0)
    panel.runs.stop()
    handle.tell_step(1)
    handle.preview.emit("x0", picture_of(1))
    handle.tell_picture()
    handle.parked.emit(2)
    assert panel.runs.film.last == 1 and panel.idle and panel.watch.result.image() is None


def test_late_events_of_a_replaced_run_do_not_reach_its_successor(panel):
    old = run(panel)
    old.tell_step(0)
    old.park(1)
    panel.commands.generate()
    new = panel.engine.last(Txt2Img)
    assert new is not old and new.policy == "replace"
    old.tell_step(1)
    old.cancelled.emit()
    old.finished.emit()
    assert panel.runs.film.last == 0 and panel.runs.state == "starting"
    new.run_through()
    assert panel.runs.film.last == 5 and panel.idle


def test_generate_during_a_run_queues_behind_it(panel):
    first = run(panel)
    panel.commands.generate()
    second = panel.engine.last(Txt2Img)
    assert second is not first and "1" in panel.side_form.generate_button.text()
    first.run_through()
    assert panel.runs.handle is second and panel.runs.state == "starting"
    second.run_through()
    assert panel.idle and panel.side_form.generate_button.text() == "Generate"


def test_levels_stay_drawn_only_for_a_run_that_must_have_the_same(panel):
    run(panel).run_through()
    levels = panel.side.curve.curves()["run"]
    panel.put_job(replace(JOB, prompt="a blue boat", seed=9))
    panel.commands.generate()
    assert panel.side.curve.curves()["run"] is levels and panel.side.curve.cursor_at() is None
    handle = panel.engine.last(Txt2Img)
    handle.run_through()
    assert panel.side.curve.cursor_at() == JOB.steps
    panel.put_job(replace(JOB, steps=7))
    panel.commands.generate()
    assert "run" not in panel.side.curve.curves()
    panel.engine.last(Txt2Img).run_through()
    assert len(panel.side.curve.curves()["run"].x) == 7


def test_a_failed_run_says_so_and_keeps_everything(panel):
    draw(panel)
    before = panel.job()
    panel.commands.generate()
    handle = panel.engine.last(Txt2Img)
    handle.begin()
    handle.fail("There is not enough memory for this run.", "Choose a smaller size.")
    assert panel.banner.text() == "There is not enough memory for this run."
    assert panel.idle and panel.job() == before


@pytest.mark.parametrize(
    ("report", "action", "seen"),
    [
        (
            ErrorReport(kind="user", title="Control 1 (canny): The map is empty."),
            "Open its map",
            lambda p: p.stage.currentWidget() is p.canvas,
        ),
        (ErrorReport(kind="memory", title="Too large."), "Smaller picture", lambda p: p.job().width == 64),
        (ErrorReport(kind="bug", title="ValueError: x"), "Try again", lambda p: p.engine.count(Txt2Img) == 2),
    ],
)
def test_a_failure_offers_what_most_likely_helps(panel, report, action, seen):
    draw(panel)
    panel.commands.generate()
    handle = panel.engine.last(Txt2Img)
    handle.end("failed", handle.failed, report)
    assert panel.banner._action.text() == action and panel.timeline.transport.text() == "no steps yet"
    panel.banner._action.click()
    assert seen(panel)


def test_the_finished_picture_is_shown_and_goes_into_the_gallery(panel):
    handle = run(panel)
    for index in range(5):
        handle.tell_step(index)
    handle.preview.emit("x0", picture_of(0))
    handle.tell_picture(saved_as="/somewhere/a.png")
    handle.succeed()
    assert panel.watch.result.image() == picture_of(0)
    assert panel.watch.lenses["x0"].image.image().decoder == "full VAE"
    assert panel.side.gallery.paths() == ["/somewhere/a.png"]
    assert panel.canvas.stage.underlay is not None
    panel.form._editors["seed"].reuse.click()
    assert panel.job().seed == 7


def test_a_picture_that_could_not_be_saved_offers_another_place(panel):
    handle = run(panel)
    handle.tell_step(0)
    handle.tell_picture(save_error="The disk is full: a.png was not saved.")
    assert "disk is full" in panel.banner.text() and panel.banner._action.text() == "Save elsewhere …"


def test_a_click_decodes_with_the_full_vae_and_a_second_goes_back(panel):
    handle = run(panel)
    handle.tell_step(0)
    handle.tell_step(1)
    lens = panel.watch.lenses["eps"].image
    lens.clicked.emit(3.0, 3.0)
    asked = panel.engine.last(DecodeLatent)
    assert asked.job.lens == "eps"
    panel.watching.go(1)  # looks elsewhere before the answer comes
    asked.succeed(Result(files={"image.png": flat(9, 128, 128, decoder="full VAE")}))
    assert lens.image().decoder == "latent2rgb"
    panel.watching.go(2)
    assert lens.image().decoder == "full VAE"
    lens.clicked.emit(3.0, 3.0)
    assert lens.image().decoder == "latent2rgb"


def test_the_cfg_scale_is_tuned_while_running(panel):
    handle = run(panel)
    panel.form._editors["cfg_scale"].widget.setValue(3.0)
    assert handle.job.cfg_scale == 3.0 and handle.asked == ["tune"]
    panel.form._editors["steps"].widget.setValue(9)
    assert handle.job.steps == 5


def test_a_batch_counts_its_steps_through(panel):
    handle = run(panel, replace(JOB, batch_count=2, control=(Control(image=flat(255, 128, 128), end=0.4),)))
    for picture in range(2):
        for index in range(5):
            handle.tell_step(index, picture)
        handle.tell_picture(picture)
    handle.succeed()
    assert panel.timeline.strip.frame_indices() == list(range(1, 11))
    panel.watching.go(3)
    assert panel.watch.result.image() == picture_of(0)
    assert panel.timeline.strip._ranges == [(1, 2, "canny", 0), (6, 7, "canny", 0)]


# --- files, gallery, memory ---------------------------------------------------------------------------------


def dropped(*paths: str) -> QMimeData:
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(path) for path in paths])
    return mime


def test_dropping_a_recipe_restores_the_whole_job_and_can_be_undone(panel):
    before = panel.job()
    assert panel.accept_drop(dropped("/pictures/a.png"))
    facts = {"source": "glassbox", "sentence": "Everything was restored.", "job": job_to_dict(demo_job()), "notes": []}
    panel.engine.last(ReadRecipe).succeed(Result(files={"image.png": picture_of(0)}, facts=facts))
    assert panel.job() == replace(demo_job(), gallery="")
    assert panel.poser.people_count() == 1 and not panel.canvas.is_empty()
    panel.banner._action.click()
    assert panel.job() == before


def test_dropping_an_ordinary_picture_asks_what_it_is_for(panel):
    panel.accept_drop(dropped("/pictures/cat.jpg"))
    facts = {"source": "none", "sentence": "The file holds no settings.", "job": None, "notes": []}
    panel.engine.last(ReadRecipe).succeed(Result(files={"image.png": flat(80, 64, 48)}, facts=facts))
    assert "cat.jpg" in panel.choices.text()
    panel.choices.answer("Take its edges")
    asked = panel.engine.last(EdgeMap)
    assert (asked.job.width, asked.job.height, asked.job.already) == (128, 128, "ask")
    edges = np.zeros((128, 128, 3), np.uint8)
    edges[40:44] = 255
    asked.succeed(Result(files={"map.png": Image(edges)}, facts={"question": "", "sentence": "", "was_map": False}))
    panel.canvas.import_bar.applied.emit()
    assert (panel.job().control[0].image.pixels == edges).all()


def test_the_next_drop_takes_the_question_about_the_last_one_away(panel):
    panel.accept_drop(dropped("/pictures/cat.jpg"))
    facts = {"source": "none", "sentence": "The file holds no settings.", "job": None, "notes": []}
    panel.engine.last(ReadRecipe).succeed(Result(files={"image.png": flat(80, 64, 48)}, facts=facts))
    assert "cat.jpg" in panel.choices.text()
    panel.accept_drop(dropped("/pictures/words.txt"))
    assert panel.choices.text() == ""


def test_a_picture_that_is_a_map_already_is_not_processed_twice(panel):
    panel.imports.edges_from(flat(255, 128, 128), "drawing.png")
    first = panel.engine.last(EdgeMap)
    facts = {"question": "already-a-map", "sentence": "This looks like an edge map already.", "was_map": True}
    first.succeed(Result(files={"map.png": flat(0, 128, 128)}, facts=facts))
    second = panel.engine.last(EdgeMap)
    assert second is not first and second.job.already == "yes"
    assert panel.canvas.import_bar.already_map()


def test_dropping_a_pose_file_puts_its_people_on_the_canvas(panel):
    panel.accept_drop(dropped("/poses/two.json"))
    asked = panel.engine.last(PoseFromJson)
    asked.succeed(Result(files={"pose": Pose(people=(person(), person(200)), width=512, height=512)}, facts={"notes": []}))
    pose = panel.job().control[0].pose
    assert len(pose.people) == 2 and (pose.width, pose.height) == (128, 128)
    assert pose.people[0].points[0][:2] == (15.0, 5.0)
    assert panel.stage.currentWidget() is panel.poser


def test_a_drop_that_cannot_be_read_is_one_sentence(panel):
    before = panel.job()
    panel.accept_drop(dropped("/pictures/broken.png"))
    panel.engine.last(ReadRecipe).fail("broken.png is a text file, not a picture.")
    assert panel.banner.text() == "broken.png is a text file, not a picture." and panel.job() == before


def test_a_pasted_picture_asks_too(panel):
    mime = QMimeData()
    mime.setImageData(to_qimage(flat(80, 64, 48)))
    assert panel.accept_drop(mime)
    panel.choices.answer("Find its poses")
    assert (panel.engine.last(PoseFromPicture).job.image.pixels == 80).all()
    assert not panel.accept_drop(QMimeData())


def test_tab_goes_through_the_form_in_the_order_of_reading(panel):
    panel.put_job(demo_job())
    form, rows = panel.form, panel.controls.rows
    wanted = [
        panel.presets.button, form.editor("prompt"), form.editor("negative_prompt"), form.editor("sampler"), form.editor("schedule"),
        form.editor("steps"), form.editor("cfg_scale"), form.editor("width"), form.editor("height"), form._editors["seed"].box,
        form.editor("batch_count"), panel.controls._add["canny"], rows[0]._enable, rows[0].thumb, rows[1]._enable,
        rows[1].window_slider, panel.side_form.generate_button,
    ]  # fmt: skip
    chain, widget = [], wanted[0]
    while widget not in chain:
        chain.append(widget)
        widget = widget.nextInFocusChain()
    places = [chain.index(widget) for widget in wanted]
    assert places == sorted(places)


def test_surprise_me_takes_a_scene_and_can_be_undone(panel):
    draw(panel)
    before = panel.job()
    panel.commands.surprise()
    files = {"picture.png": picture_of(0), "edges.png": flat(255, 128, 128), "pose": Pose((person(),), 128, 128), "map.png": flat(9)}
    panel.engine.last(PlayworldScene).succeed(Result(files=files, facts={"caption": "a cat", "facts": [], "people": 1}))
    assert panel.job().prompt == "a cat" and [c.kind for c in panel.job().control] == ["canny", "pose"]
    panel.banner._action.click()
    assert panel.job() == before


def gallery_with(panel, *names: str) -> None:
    panel.engine.gallery = [
        {"path": f"/g/{name}", "width": 8, "height": 8, "seed": 5, "prompt": "x", "saved_at": 0.0, "problem": ""} for name in names
    ]
    panel.gallery.refresh()
    panel.engine.answer_all()


@pytest.mark.parametrize(("key", "taken"), [(Qt.Key.Key_A, None), (Qt.Key.Key_S, {"seed"}), (Qt.Key.Key_P, {"prompt", "negative_prompt"})])
def test_recalling_from_the_gallery(panel, qtbot, key, taken):
    gallery_with(panel, "b.png", "a.png")
    kept = replace(demo_job(), negative_prompt="snow", seed=99)
    before = panel.job()
    panel.side.setCurrentIndex(1)
    panel.side.gallery.list.setCurrentRow(0)
    qtbot.keyClick(panel.side.gallery.list, key)
    asked = panel.engine.last(ReadRecipe)
    assert asked.job.path == "/g/b.png"
    asked.succeed(Result(facts={"source": "glassbox", "sentence": "", "job": job_to_dict(kept), "notes": []}))
    names = taken if taken is not None else set(job_to_dict(kept)) - {"gallery"}
    for name in job_to_dict(before):
        wanted = kept if name in names else before
        assert getattr(panel.job(), name) == getattr(wanted, name), name


def test_deleting_waits_for_an_undo(panel, qtbot):
    gallery_with(panel, "b.png", "a.png")
    panel.side.gallery.list.setCurrentRow(0)
    panel.side.gallery._delete.click()
    assert panel.side.gallery.paths() == ["/g/a.png"] and panel.engine.count(DeleteFromGallery) == 0
    panel.banner._action.click()
    panel.engine.answer_all()
    assert panel.side.gallery.paths() == ["/g/b.png", "/g/a.png"]
    panel.side.gallery.list.setCurrentRow(1)
    panel.side.gallery._delete.click()
    panel.gallery.delete_now()
    assert panel.engine.last(DeleteFromGallery).job.paths == ("/g/a.png",)


def test_the_gallery_is_read_when_the_panel_is_ready(panel):
    assert panel.engine.count(ListGallery) == 1


def test_form_drawings_and_controls_survive_a_restart(panel, qtbot, settings):
    panel.put_job(replace(demo_job(), prompt="two words", steps=11))
    panel.controls._add["canny"].click()
    draw(panel, 70)
    panel.show_stage("pose")
    panel.save_now()
    second = ImagePanel(FakeEngine(), settings)
    qtbot.addWidget(second, before_close_func=ImagePanel.about_to_close)
    second.restore()
    assert second.job() == panel.job()
    assert second.stage.currentWidget() is second.poser
    assert second.canvas.map() == panel.canvas.map()
    assert second.banner.text() == ""


def test_a_drawing_without_a_control_survives_too(panel, qtbot, settings):
    draw(panel)
    panel.job()
    panel.controls.rows[0]._remove.click()
    panel.save_now()
    second = ImagePanel(FakeEngine(), settings)
    qtbot.addWidget(second, before_close_func=ImagePanel.about_to_close)
    second.restore()
    qtbot.wait(250)  # longer than the canvas takes to tell of a change
    assert second.canvas.map().pixels[20:24, 10:90].all() and second.job().control == ()


def test_nonsense_in_the_saved_state_leaves_the_defaults(panel, settings):
    settings.set_panel("image", {"job": {"steps": "many"}, "stage": "x"})
    panel.restore()
    assert panel.banner.text() and panel.job() == Txt2Img()


def test_presets_keep_and_restore_a_whole_job(panel):
    panel.put_job(demo_job())
    panel.presets.save_wanted.emit("House")
    panel.put_job(Txt2Img())
    panel.presets.restore("House")
    assert panel.job() == replace(demo_job(), gallery="")


def test_the_canvas_is_drawn_on_with_the_pointer(panel, qtbot):
    panel.show_stage("canny")
    stage = panel.canvas.stage
    a, b = (stage.to_widget(QPointF(*point)).toPoint() for point in ((20, 20), (100, 60)))
    qtbot.mousePress(stage, Qt.MouseButton.LeftButton, pos=a)
    qtbot.mouseMove(stage, b)
    qtbot.mouseRelease(stage, Qt.MouseButton.LeftButton, pos=b)
    assert panel.job().control[0].image.pixels[20, 20].all()
