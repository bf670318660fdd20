"""A picture that becomes data: chosen from a file or dropped on the panel, read by the worker."""

from __future__ import annotations

from PySide6.QtCore import QMimeData, QObject, Signal, Slot
from PySide6.QtWidgets import QFileDialog

from app.jobs.library import OpenPicture
from app.panels.errands import Errands
from app.protocol.payloads import Result

KINDS = "Pictures (*.png *.jpg *.jpeg *.webp *.bmp *.gif *.tif *.tiff)"


class Intake(QObject):
    """Asks the worker to read a picture."""

    picture = Signal(object)

    def __init__(self, errands: Errands, parent: QObject) -> None:
        super().__init__(parent)
        self._errands = errands

    @Slot()
    def choose(self) -> None:
        """Ask for a file."""
        path, _kind = QFileDialog.getOpenFileName(self.parent(), "Take a picture as density", "", KINDS)
        if path:
            self.read(path)

    def take(self, mime: QMimeData) -> bool:
        """Take a dropped file; False if there is none."""
        paths = [url.toLocalFile() for url in mime.urls() if url.isLocalFile()]
        if paths:
            self.read(paths[0])
        return bool(paths)

    def read(self, path: str) -> None:
        """Have a file read."""
        self._errands.run(OpenPicture(path=path), self._on_read, key="picture")

    def _on_read(self, result: Result) -> None:
        self.picture.emit(result.files["image.png"])
