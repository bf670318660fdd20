"""What the buttons and keys of the panel do: generate, go step by step, surprise, recall, save, and take back."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QBuffer, QIODevice, QObject, QTimer, Slot
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QFileDialog

from app.jobs.diffusion import Control, PictureRecord, Txt2Img
from app.jobs.library import SaveToGallery
from app.jobs.maps import PlayworldScene
from app.jobs.vocabulary import Vocabulary
from app.panels.image.runs import PAUSED
from app.protocol.errors import ErrorReport, UserError
from app.protocol.payloads import Image, Result

if TYPE_CHECKING:
    from app.panels.image.panel import ImagePanel

RECALLED = {"seed": ("seed",), "prompts": ("prompt", "negative_prompt"), "size": ("width", "height")}
SCENES = 100_000  # scenes of the training split that "Surprise me" draws from
INFO_MS = 15_000  # a note that asks nothing goes by itself
KEY_HELP = [
    ("Ctrl+Enter", "Generate, or queue after the run in work"),
    ("F10", "Step by step: compute one step, then stand still"),
    ("Ctrl+V", "Paste a picture"),
    ("Ctrl+Space", "In a prompt: the words the model knows"),
]


class Commands(QObject):
    """Acts on the panel's parts; everything that replaces settings offers to take it back."""

    def __init__(self, panel: ImagePanel) -> None:
        super().__init__(panel)
        self._panel = panel
        self._before: Txt2Img | None = None
        self._fade = QTimer(self, singleShot=True, interval=INFO_MS)
        self._fade.timeout.connect(self._on_fade)
        side, watch = panel.side_form, panel.watch
        for signal, slot in (
            (side.generate, self.generate), (side.step_by_step, self.step_by_step), (side.surprise, self.surprise),
            (panel.form.submitted, self.generate), (watch.generate_requested, self.generate),
            (panel.side.gallery.generate_requested, self.generate), (watch.save_requested, self.save_picture),
            (panel.controls.removed, self._on_removed), (panel.controls.answered, self._on_answered),
            (panel.runs.failed, self._on_failed), (panel.runs.planned, self._on_planned), (panel.runs.finished_picture, self._on_finished),
            (panel.gallery.recalled, self.recall), (panel.gallery.deleting, self._on_deleting),
            (panel.intake.restored, self._on_restored), (panel.imports.told, self._on_told),
            (panel.presets.chosen, self._on_preset), (panel.presets.restored, self._on_own_preset),
            (panel.presets.save_wanted, self._on_keep_preset), (panel.side.curve.save_requested, self._on_save_plot),
        ):  # fmt: skip
            signal.connect(slot)

    # running -------------------------------------------------------------------------------------------------------

    @Slot()
    def generate(self) -> None:
        """Make the picture that is set."""
        self._submit(None)

    @Slot()
    def step_by_step(self) -> None:
        """Compute one step: of the run that stands still, else of a new one."""
        if self._panel.runs.state == PAUSED:
            self._panel.watching.go_last()
            self._panel.runs.step()
        else:
            self._submit(1)

    def _submit(self, park_after: int | None) -> None:
        panel = self._panel
        try:
            job = replace(panel.job(), gallery=str(panel.gallery.folder))
        except UserError as error:
            panel.show_error(error)
            return
        panel.banner.clear()
        panel.show_stage("steps")
        panel.runs.submit(job, park_after)
        if not any(edit.hasFocus() for edit in panel.form.prompts.values()):
            panel.timeline.strip.setFocus()

    @Slot(object)
    def _on_failed(self, report: ErrorReport) -> None:
        """A run could not be made: the sentence, and the one thing that most likely helps."""
        panel = self._panel
        named, rows = re.match(r"Control (\d+)", report.title), panel.controls.rows
        if named and int(named.group(1)) <= len(rows):
            action, do = "Open its map", partial(panel.desk.open, rows[int(named.group(1)) - 1])
        elif report.kind == "memory":
            action, do = "Smaller picture", self.make_smaller
        else:
            action, do = "Try again", self.generate
        panel.banner.show_message("error", report.title, report.hint, action, do, report.traceback)

    @Slot()
    def make_smaller(self) -> None:
        """Half the size of the picture, as far as that goes."""
        now = self._panel.remembered_job()
        width, height = (max(64, side // 16 * 8) for side in (now.width, now.height))
        self._replace(replace(now, width=width, height=height), f"The picture is {width} x {height} now.")

    @Slot(object)
    def _on_planned(self, start: dict[str, Any]) -> None:
        self._panel.form.set_last_seed(start["seed"])

    @Slot(object)
    def _on_finished(self, record: PictureRecord) -> None:
        self._panel.gallery.add(record)
        if record.save_error:
            save = partial(self.save_picture, record.image)
            self._panel.show_message("error", record.save_error, "", "Save elsewhere …", save)

    def _say(self, text: str, hint: str = "", action: str = "", callback: Callable[[], None] | None = None) -> None:
        """Something that is no problem: it goes by itself."""
        self._panel.show_message("info", text, hint, action, callback)
        self._fade.start()

    @Slot()
    def _on_fade(self) -> None:
        if self._panel.banner.kind == "info":
            self._panel.banner.clear()

    def close(self) -> None:
        """Stop what ticks."""
        self._fade.stop()

    # settings that come from elsewhere -----------------------------------------------------------------------------

    def _replace(self, job: Txt2Img, sentence: str) -> None:
        """Put a job into the panel, and offer to take that back."""
        self._before = self._panel.remembered_job()
        self._panel.put_job(job)
        self._say(sentence, "", "Undo", self.take_back)

    @Slot()
    def take_back(self) -> None:
        """Put the settings back that were replaced last."""
        if self._before is not None:
            job, self._before = self._before, None
            self._panel.put_job(job)

    @Slot(object, str)
    def recall(self, job: Txt2Img, what: str) -> None:
        """Take settings of a picture: all, or a part of them."""
        now = self._panel.remembered_job()
        if what == "remix":
            job = replace(job, seed=now.seed)
        elif what in RECALLED:
            job = replace(now, **{name: getattr(job, name) for name in RECALLED[what]})
        said = {"all": "All settings were", "remix": "All settings but the seed were", "seed": "The seed was"}
        self._replace(job, f"{said.get(what, f'The {what} were' if what == 'prompts' else 'The size was')} recalled.")

    @Slot(object, object, str)
    def _on_restored(self, job: Txt2Img, image: Image | None, sentence: str) -> None:
        self._replace(job, sentence)
        if image is not None:
            self._panel.watch.set_result(image, "as dropped")
            self._panel.watch.set_maps({})
            self._panel.imports.set_underneath(image)

    @Slot(dict)
    def _on_preset(self, values: dict[str, Any]) -> None:
        self._replace(replace(self._panel.remembered_job(), cfg_curve=(), **values), "The preset is set.")

    @Slot(object, str)
    def _on_own_preset(self, job: Txt2Img, name: str) -> None:
        self._replace(job, f"The preset “{name}” is set.")

    @Slot(str)
    def _on_keep_preset(self, name: str) -> None:
        self._panel.presets.keep(name, self._panel.remembered_job())
        self._say(f"Kept as the preset “{name}”.")

    # surprise ------------------------------------------------------------------------------------------------------

    @Slot()
    def surprise(self) -> None:
        """A scene of the built-in world: its caption becomes the prompt, its edges and people the controls."""
        form = self._panel.form
        size = max(64, min(form.value("width"), form.value("height")) // 8 * 8)
        job = PlayworldScene(seed=secrets.randbelow(SCENES), size=size)
        self._panel.errands.run(job, partial(self._on_scene, job), key="scene")

    def _on_scene(self, scene: PlayworldScene, result: Result) -> None:
        files, now = result.files, self._panel.remembered_job()
        controls = [Control(kind="canny", image=files["edges.png"], end=0.8, source="scene")]
        if "pose" in files:
            controls.append(Control(kind="pose", pose=files["pose"], source="scene"))
        job = replace(now, prompt=result.facts["caption"], width=scene.size, height=scene.size, control=tuple(controls), seed=-1)
        self._replace(job, f"Scene {scene.seed} of the built-in world: caption, edges and people are set.")
        self._panel.imports.set_underneath(files["picture.png"])

    # controls ------------------------------------------------------------------------------------------------------

    @Slot(object)
    def _on_removed(self, control: Control) -> None:
        again = partial(self._panel.controls.add, control)
        self._say(f"The {control.kind} control was removed.", "", "Undo", again)

    @Slot(object, str)
    def _on_answered(self, row: Any, question: str) -> None:
        if question == "invert":
            row.set_control(replace(row.control, invert=not row.control.invert))
            self._panel.controls.changed.emit()
        elif row.control.image is not None:
            self._panel.desk.open(row)
            self._panel.imports.edges_from(row.control.image, "The map of this control")

    # files ---------------------------------------------------------------------------------------------------------

    @Slot(object)
    def save_picture(self, image: Image) -> None:
        """Save a picture as PNG; a finished one with its whole recipe."""
        panel = self._panel
        path, _ = QFileDialog.getSaveFileName(panel, "Save the picture", "picture.png", "PNG (*.png)")
        if path:
            film = panel.runs.film
            made = next((p.job for p in film.pictures.values() if p.image is image), None) if film else None
            panel.errands.run(SaveToGallery(image=image, txt2img=made, path=path), self._on_saved)

    @Slot(str, object)
    def _on_save_plot(self, kind: str, content: Any) -> None:
        path, _ = QFileDialog.getSaveFileName(self._panel, "Save the sigma curve", f"sigmas.{kind}", f"*.{kind}")
        if path:
            self._panel.settings.storage.write(path, content if kind == "csv" else partial(_png, content))

    def _on_saved(self, result: Result) -> None:
        self._on_told(f"Saved {Path(result.facts['saved_as']).name}.", "")

    @Slot(str, str)
    def _on_told(self, text: str, hint: str) -> None:
        self._say(text, hint)

    @Slot(int)
    def _on_deleting(self, count: int) -> None:
        text = "1 picture was deleted." if count == 1 else f"{count} pictures were deleted."
        self._say(text, "", "Undo", self._panel.gallery.undo_delete)

    # words ---------------------------------------------------------------------------------------------------------

    def learn_words(self) -> None:
        """Ask which words the model knows."""
        self._panel.errands.run(Vocabulary(), self._on_words, failed=self._on_no_words)

    def _on_words(self, result: Result) -> None:
        self._panel.words.learn(result.facts["groups"], result.facts["words"])
        self._panel.form.words_known()

    def _on_no_words(self, _report: object) -> None:
        """Without a vocabulary the prompts work all the same, only without completion."""


def _png(image: QImage) -> bytes:
    """Encode a plot; called on the I/O thread."""
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    image.save(buffer, "PNG")
    return buffer.data().data()
