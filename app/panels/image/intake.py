"""What is dropped or pasted on the panel: a picture with its recipe, an ordinary picture, a pose, or nothing of use."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from PySide6.QtCore import QMimeData, QObject, Qt, Signal
from PySide6.QtGui import QGuiApplication, QImage

from app.jobs.diffusion import Txt2Img
from app.jobs.library import ReadRecipe
from app.panels.errands import Errands
from app.panels.image.choice_bar import ChoiceBar
from app.panels.image.map_import import MapImport
from app.protocol.errors import UserError
from app.protocol.job import job_from_dict
from app.protocol.payloads import Image, Result
from app.widgets.stage_view import from_qimage

LARGEST_SIDE = 4096  # of a pasted picture


class Intake(QObject):
    """Reads a drop off the GUI thread and restores it, or asks what to do with it."""

    restored = Signal(object, object, str)
    """Txt2Img, the picture (or None), and a sentence with notes."""
    failed = Signal(object)

    def __init__(self, maps: MapImport, choices: ChoiceBar, errands: Errands, parent: QObject) -> None:
        super().__init__(parent)
        self._maps, self._choices, self._errands = maps, choices, errands

    def take(self, mime: QMimeData) -> bool:
        """Take a drop; False if there is nothing in it for this panel."""
        paths = [url.toLocalFile() for url in mime.urls() if url.isLocalFile()]
        if paths:
            self._choices.clear()  # it asks about something else
            self.take_file(paths[0])
            return True
        image = QImage(mime.imageData()) if mime.hasImage() else QImage()
        if image.isNull():
            return False
        if max(image.width(), image.height()) > LARGEST_SIDE:
            image = image.scaled(LARGEST_SIDE, LARGEST_SIDE, Qt.AspectRatioMode.KeepAspectRatio)
        self._ask(Image(from_qimage(image), label="pasted picture"), "The pasted picture", "")
        return True

    def paste(self) -> bool:
        """Take what is on the clipboard."""
        return self.take(QGuiApplication.clipboard().mimeData())

    def take_file(self, path: str) -> None:
        """Take a file by its name."""
        if Path(path).suffix.lower() == ".json":
            self._maps.pose_from_json(path)
        else:
            self._read(ReadRecipe(path=path), Path(path).name)

    def _read(self, job: ReadRecipe, name: str) -> None:
        self._errands.run(job, partial(self._on_read, name), key="drop", failed=self.failed.emit)

    def _on_read(self, name: str, result: Result) -> None:
        image = result.files.get("image.png")
        if result.facts["job"] is not None:
            job, warnings = job_from_dict(Txt2Img, result.facts["job"])
            notes = " ".join([*result.facts["notes"], *warnings])
            self.restored.emit(job, image, f"{name}: {result.facts['sentence']} {notes}".strip())
        elif isinstance(image, Image):
            self._ask(image, name, result.facts["sentence"])
        else:
            raise UserError(result.facts["sentence"], hint="Drop a picture or a pose file.")

    def _ask(self, image: Image, name: str, sentence: str) -> None:
        self._choices.ask(
            f"{name}: {sentence} What is it for?".replace(":  ", ": "),
            [
                ("Take its edges", partial(self._maps.edges_from, image, name)),
                ("Find its poses", partial(self._maps.pose_from, image)),
                ("Lay it under the drawing", partial(self._maps.set_underneath, image)),
            ],
        )
