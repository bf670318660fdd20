"""The image panel: form and drawn controls at the left, the stage over its time axis, numbers and gallery at the right.

The panel itself only joins its parts: `Runs` (what is computed), `Watching` (what is shown of it), `MapDesk` (drawings
to controls), `MapImport` and `Intake` (files), `Gallery`, `Presets`, `Checks`, and `Commands` (the buttons).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from PySide6.QtCore import QMimeData, Slot
from PySide6.QtGui import QKeyEvent, QKeySequence, QShortcut
from PySide6.QtWidgets import QTabWidget, QWidget

from app import paths
from app.jobs.diffusion import Txt2Img
from app.panels.base import Panel, Scene
from app.panels.errands import Errands
from app.panels.image import gallery_view, scenes, state
from app.panels.image.checks import Checks
from app.panels.image.choice_bar import ChoiceBar
from app.panels.image.commands import KEY_HELP, Commands
from app.panels.image.film import control_windows
from app.panels.image.gallery import Gallery
from app.panels.image.intake import Intake
from app.panels.image.map_desk import MapDesk
from app.panels.image.map_import import MapImport
from app.panels.image.presets import Presets
from app.panels.image.runs import IDLE, Runs
from app.panels.image.side_form import SideForm
from app.panels.image.side_view import SideView
from app.panels.image.timeline import Timeline
from app.panels.image.watch_view import WatchView
from app.panels.image.watching import Watching
from app.panels.image.words import Words
from app.protocol.errors import UserError
from app.protocol.payloads import Image, Result
from app.widgets.canvas import EdgeCanvas
from app.widgets.pose_editor import PoseEditor

STAGE_TABS = ("steps", "canny", "pose")


class ImagePanel(Panel):
    """Type a prompt, draw edges and a pose, and watch the picture form."""

    panel_id = "image"
    title = "Image"

    def __init__(self, engine: Any, settings: Any, parent: QWidget | None = None) -> None:
        super().__init__(engine, settings, parent)
        start = Txt2Img()
        self.words, self._last_good = Words(), start
        self.errands, self.runs, self.presets = Errands(engine, self.panel_id, self), Runs(engine, self), Presets(settings, self)
        self.side_form = SideForm(self.words, self.presets.button)
        self.form, self.controls = self.side_form.form, self.side_form.controls
        self.watch, self.timeline, self.side = WatchView(), Timeline(), SideView()
        self.canvas = EdgeCanvas(width=start.width, height=start.height)
        self.poser = PoseEditor(width=start.width, height=start.height)
        self.stage, self.choices = QTabWidget(), ChoiceBar()
        self.desk = MapDesk(self.controls, self.canvas, self.poser, self.errands, self)
        self.imports = MapImport(self.canvas, self.poser, self.errands, settings.storage, self)
        self.intake = Intake(self.imports, self.choices, self.errands, self)
        self.gallery = Gallery(self.side.gallery, self.errands, paths.gallery_dir(), self)
        self.checks = Checks(self.errands, self)
        self.watching = Watching(self.runs, self.watch, self.timeline, self.side, self.errands, self)
        self.commands = Commands(self)
        self._arrange()
        self._connect()
        self._on_changed()

    def _arrange(self) -> None:
        for widget, title, tip in (
            (self.watch, "Steps", "What each step sees, believes and removes, and the finished picture"),
            (self.canvas, "Edge canvas", "Draw the edges the picture shall follow"),
            (self.poser, "Pose editor", "Place the people the picture shall show"),
        ):
            self.stage.setTabToolTip(self.stage.addTab(widget, title), tip)
        self.body.addWidget(self.choices)
        self.arrange(self.side_form, self.stage, self.timeline, self.side)
        self.remember_splitter("stage", self.watch)
        for keys, slot in (
            ("Ctrl+Return", self.commands.generate), ("Ctrl+Enter", self.commands.generate),
            ("F10", self.commands.step_by_step),
        ):  # fmt: skip
            shortcut = QShortcut(QKeySequence(keys), self, activated=slot)
            shortcut.setContext(shortcut.context().WidgetWithChildrenShortcut)

    def _connect(self) -> None:
        for signal, slot in (
            (self.form.changed, self._on_form), (self.controls.changed, self._on_changed),
            (self.desk.changed, self._on_changed), (self.desk.size_changed, self._on_editor_size),
            (self.desk.editor_wanted, self.show_stage), (self.imports.editor_wanted, self.show_stage),
            (self.stage.currentChanged, self.touch), (self.side.currentChanged, self.touch),
            (self.timeline.lens_changed, self.touch), (self.checks.told, self._on_checked),
            (self.watching.result_shown, self.imports.set_underneath), (self.gallery.shown, self._on_gallery_picture),
            (self.runs.state_changed, self._on_run_state), (self.runs.waiting_changed, self._on_run_state),
        ):  # fmt: skip
            signal.connect(slot)
        self.choices.asked.connect(self.banner.clear)
        for part in (self.errands, self.watching, self.imports, self.intake, self.gallery, self.presets):
            part.failed.connect(self.show_error)

    # the job -------------------------------------------------------------------------------------------------------

    def job(self) -> Txt2Img:
        """The job as set; raises `UserError` if the values do not make one."""
        self.desk.flush()
        self.form.set_value("control", self.controls.controls())
        return self.form.job()

    def remembered_job(self) -> Txt2Img:
        """The job as set, or the last one that was valid with the words and drawings as they are."""
        try:
            self._last_good = self.job()
        except UserError:
            words = {name: self.form.value(name) for name in ("prompt", "negative_prompt", "control")}
            self._last_good = replace(self._last_good, **words)
        return self._last_good

    def put_job(self, job: Txt2Img, *, undoable: bool = True) -> None:
        """Show a job in form, rows and editors."""
        job = replace(job, gallery="", keep_steps=job.keep_steps)
        self.form.set_job(job)
        self.desk.set_size(job.width, job.height)
        self.desk.show_controls(job.control, undoable=undoable)
        self._on_changed()

    @Slot()
    def _on_form(self) -> None:
        size = self.canvas.map()
        try:
            job = self.job()
        except UserError:
            self.touch()
            return
        if (job.width, job.height) != (size.width, size.height):
            self.desk.set_size(job.width, job.height)
        self.runs.tune(job)
        self._on_changed()

    @Slot(int, int)
    def _on_editor_size(self, width: int, height: int) -> None:
        try:
            replace(Txt2Img(), width=width, height=height)
        except UserError:
            return  # a map of a size no picture can have: its row says how it will be resized
        self.form.set_value("width", width)
        self.form.set_value("height", height)
        self._on_form()

    @Slot()
    def _on_changed(self) -> None:
        self.touch()
        try:
            self.checks.look_at(self.job())
        except UserError:
            self.side_form.set_advice("")  # the form itself says what is wrong

    @Slot(object, object)
    def _on_checked(self, job: Txt2Img, result: Result) -> None:
        facts = result.facts
        self.side_form.set_advice("" if facts["ok"] else facts["error"])
        self.form.set_notes([note for note in facts.get("notes", ()) if "does not know" not in note])
        if len(facts.get("controls", ())) == len(self.controls.rows):
            self.controls.set_checks(facts["controls"])
        if facts.get("sigmas"):
            self.side.set_plan(facts["sigmas"], control_windows(job, facts["controls"]))

    # views ---------------------------------------------------------------------------------------------------------

    @Slot(str)
    def show_stage(self, name: str) -> None:
        """Bring "steps", "canny" or "pose" to the front of the stage."""
        self.stage.setCurrentIndex(STAGE_TABS.index(name))

    @Slot(object, str)
    def _on_gallery_picture(self, image: Image, note: str) -> None:
        self.show_stage("steps")
        self.watch.set_result(image, note)
        self.watch.set_maps({})
        self.imports.set_underneath(image)

    @Slot()
    def _on_run_state(self, *_values: object) -> None:
        running = self.runs.state in ("starting", "running")
        self.side_form.set_waiting(running, len(self.runs.waiting))

    # hooks of the window -------------------------------------------------------------------------------------------

    def ready(self) -> None:
        self.commands.learn_words()
        self.checks.start()
        self.gallery.refresh()

    def save_state(self) -> dict:
        return state.saved(self)

    def restore_state(self, saved: dict) -> None:
        warnings = state.restore(self, saved)
        if warnings:
            self.show_message("warn", " ".join(warnings))

    def accept_drop(self, mime: QMimeData) -> bool:
        return self.intake.take(mime)

    def screenshot_scenes(self) -> list[Scene]:
        return scenes.SCENES

    def key_help(self) -> list[tuple[str, str]]:
        return [*KEY_HELP, *gallery_view.KEY_HELP, *self.canvas.shortcuts(), *self.poser.shortcuts()]

    def about_to_close(self) -> None:
        self.touch()
        for part in (self.checks, self.watching, self.commands):
            part.close()
        self.gallery.delete_now()
        super().about_to_close()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Keys that no child wanted: paste, and the transport."""
        if event.matches(QKeySequence.StandardKey.Paste):
            self.intake.paste()
        elif event.key() == 0 or not self.timeline.transport.handle_key(event):
            super().keyPressEvent(event)

    @property
    def idle(self) -> bool:
        """Whether nothing is being computed."""
        return self.runs.state == IDLE
