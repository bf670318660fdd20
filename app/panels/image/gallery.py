"""Keeps the gallery view in step with the folder: lists lazily, recalls, deletes with a moment to undo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, QTimer, QUrl, Signal, Slot
from PySide6.QtGui import QDesktopServices

from app.jobs.diffusion import PictureRecord, Txt2Img
from app.jobs.library import DeleteFromGallery, GalleryItem, ListGallery, ReadRecipe
from app.panels.errands import Errands
from app.panels.image.gallery_view import GalleryView
from app.protocol.errors import UserError
from app.protocol.job import job_from_dict
from app.protocol.payloads import Image, Result

PAGE = 60
UNDO_MS = 16_000  # longer than the note that offers the undo stays


class Gallery(QObject):
    """The folder of finished pictures, as the panel sees it."""

    recalled = Signal(object, str)
    """Txt2Img, and what of it is wanted ("all", "seed", "prompts", "remix", "size")."""
    shown = Signal(object, str)
    """Image of the picture chosen, and its file name."""
    deleting = Signal(int)
    """So many pictures are gone from the view, and from the disk a moment later."""
    failed = Signal(object)

    def __init__(self, view: GalleryView, errands: Errands, folder: Path, parent: QObject) -> None:
        super().__init__(parent)
        self._view, self._errands, self.folder = view, errands, folder
        self._doomed: list[str] = []
        self._wanted: tuple[str, str] = ("", "")
        self._loading = False
        self._timer = QTimer(self, singleShot=True, interval=UNDO_MS)
        self._timer.timeout.connect(self.delete_now)
        view.recall_requested.connect(self.recall)
        view.chosen.connect(self._on_chosen)
        view.delete_requested.connect(self.delete)
        view.folder_requested.connect(self.open_folder)
        view.more_requested.connect(self.load_more)

    # listing -------------------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Read the folder anew."""
        self._view.clear()
        self._loading = False
        self.load_more()

    @Slot()
    def load_more(self) -> None:
        """Fetch the next thumbnails."""
        if not self._loading:
            self._loading = True
            job = ListGallery(folder=str(self.folder), limit=PAGE, offset=len(self._view.paths()), thumbnail=144)
            self._errands.run(job, self._on_listed, failed=self._on_list_failed)

    def _on_listed(self, result: Result) -> None:
        self._loading = False
        for n, words in enumerate(result.facts["items"]):
            if words["path"] not in self._doomed:
                self._view.append(GalleryItem(thumbnail=result.files[f"thumb/{n}"], **words))
        self._view.set_total(result.facts["total"])

    def _on_list_failed(self, report: Any) -> None:
        self._loading = False
        self.failed.emit(report)

    def add(self, record: PictureRecord) -> None:
        """A picture has just been finished and saved."""
        if record.saved_as:
            height, width = record.image.pixels.shape[:2]
            item = GalleryItem(
                path=record.saved_as, thumbnail=record.image, width=width, height=height, seed=record.seed,
                prompt=record.job.prompt, saved_at=0.0,
            )  # fmt: skip
            self._view.append(item, first=True)

    # recall --------------------------------------------------------------------------------------------------------

    @Slot(str, str)
    def recall(self, path: str, what: str) -> None:
        """Read a picture's recipe back."""
        self._wanted = (path, what)
        self._errands.run(ReadRecipe(path=path), self._on_recipe, key="recall", failed=self.failed.emit)

    def _on_recipe(self, result: Result) -> None:
        values = result.facts["job"]
        if values is None:
            raise UserError(result.facts["sentence"], hint="Choose a picture that Glassbox has made.")
        job, _warnings = job_from_dict(Txt2Img, values)
        self.recalled.emit(job, self._wanted[1])

    @Slot(str)
    def _on_chosen(self, path: str) -> None:
        self._errands.run(ReadRecipe(path=path), self._on_looked_at, key="look", failed=self.failed.emit)

    def _on_looked_at(self, result: Result) -> None:
        image = result.files.get("image.png")
        if isinstance(image, Image):
            self.shown.emit(image, "from the gallery")

    # deleting ------------------------------------------------------------------------------------------------------

    @Slot(list)
    def delete(self, paths: list[str]) -> None:
        """Take pictures out of the view now, and from the disk when the time to undo is over."""
        self.delete_now()
        self._doomed = list(paths)
        self._view.remove(paths)
        self._timer.start()
        self.deleting.emit(len(paths))

    @Slot()
    def undo_delete(self) -> None:
        """Have the last deleted pictures back."""
        self._timer.stop()
        self._doomed = []
        self.refresh()

    @Slot()
    def delete_now(self) -> None:
        """The time to undo is over."""
        self._timer.stop()
        if self._doomed:
            job = DeleteFromGallery(folder=str(self.folder), paths=tuple(self._doomed))
            self._doomed = []
            self._errands.run(job, self._on_deleted, failed=self.failed.emit)

    def _on_deleted(self, result: Result) -> None:
        if result.facts["problems"]:
            self.failed.emit(UserError(result.facts["problems"][0], hint="Delete it in the folder."))
            self.refresh()

    @Slot(str)
    def open_folder(self, path: str) -> None:
        """Show the folder of a picture in the system's file manager."""
        folder = Path(path).parent if path else self.folder
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(folder)))
