"""Pictures and JSON files on their way into the two editors: opened, turned into edges or joints, and exported."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from PySide6.QtCore import QObject, Signal, Slot
from PySide6.QtWidgets import QFileDialog, QWidget

from app.jobs.library import OpenPicture, SaveToGallery
from app.jobs.maps import EdgeMap, PoseFromJson, PoseFromPicture, PoseToJson
from app.panels.errands import Errands
from app.protocol.payloads import Image, Person, Pose, Result
from app.storage import Storage
from app.widgets.canvas import EdgeCanvas
from app.widgets.pose_editor import PoseEditor

PICTURES = "Pictures (*.png *.jpg *.jpeg *.webp *.bmp *.gif *.tif *.tiff);;All files (*)"
JSON = "OpenPose JSON (*.json);;All files (*)"


class MapImport(QObject):
    """Runs the jobs behind import, export, drop and paste of the editors."""

    editor_wanted = Signal(str)
    told = Signal(str, str)
    """A sentence that is no error, and a hint."""
    failed = Signal(object)

    def __init__(self, canvas: EdgeCanvas, poser: PoseEditor, errands: Errands, storage: Storage, parent: QWidget) -> None:
        super().__init__(parent)
        self._window = parent
        self._canvas, self._poser, self._errands, self._storage = canvas, poser, errands, storage
        self._source: Image | None = None
        self._touched = False
        self._advised: set[str] = set()
        self._underneath: Image | None = None
        canvas.picture_dropped.connect(self._on_pictures_for_edges)
        canvas.picture_pasted.connect(self._on_pasted)
        canvas.import_requested.connect(self.choose_picture)
        canvas.export_requested.connect(self.export_map)
        canvas.import_bar.thresholds_changed.connect(self._on_options)
        canvas.import_bar.options_changed.connect(self._on_options)
        poser.import_requested.connect(self.choose_json)
        poser.export_requested.connect(self.export_json)
        poser.json_dropped.connect(self._on_json_dropped)
        poser.picture_dropped.connect(self._on_pictures_for_pose)
        poser.from_picture_requested.connect(self._on_from_picture)

    def set_underneath(self, image: Image | None) -> None:
        """The picture under both editors: "from picture" looks for people in it."""
        self._underneath = image
        self._canvas.set_underlay(image)
        self._poser.set_underlay(image)

    # a picture becomes edges ---------------------------------------------------------------------------------------

    @Slot()
    def choose_picture(self) -> None:
        """Ask for a picture file."""
        path, _ = QFileDialog.getOpenFileName(self._window, "Turn a picture into edges", "", PICTURES)
        if path:
            self.edges_from_file(path)

    def edges_from_file(self, path: str) -> None:
        """Open a file and begin its import into the canvas."""
        done = partial(self._on_opened, Path(path).name)
        self._errands.run(OpenPicture(path=path), done, key="open", failed=self.failed.emit)

    def _on_opened(self, name: str, result: Result) -> None:
        self.edges_from(result.files["image.png"], name)

    def edges_from(self, image: Image, name: str) -> None:
        """Begin the import of a picture into the canvas, with live thresholds."""
        self._source, self._touched, self._advised = image, False, set()
        bar = self._canvas.import_bar
        self._canvas.begin_import(name)
        bar.set_already_map(False)
        bar.set_invert(False)
        self.editor_wanted.emit("canny")
        self._detect()

    @Slot()
    def _on_options(self, *_values: object) -> None:
        self._touched = True
        self._detect()

    def _detect(self) -> None:
        if self._source is None:
            return
        bar, size = self._canvas.import_bar, self._canvas.map()
        already = "yes" if bar.already_map() else "no" if self._touched else "ask"
        job = EdgeMap(
            image=self._source, low=bar.low(), high=max(bar.high(), bar.low()), width=size.width, height=size.height,
            invert=bar.invert(), already=already,
        )  # fmt: skip
        self._errands.run(job, self._on_edges, key="edges", failed=self._on_no_edges)

    def _on_edges(self, result: Result) -> None:
        if not self._canvas.importing():
            return
        self._canvas.import_bar.set_advice(result.facts.get("sentence", ""))
        question = result.facts.get("question", "")
        if question in ("already-a-map", "invert") and not self._touched and question not in self._advised:
            self._advised.add(question)  # follow the advice once; the box stands there to be unticked
            self._canvas.import_bar.set_already_map(True)
            self._canvas.import_bar.set_invert(question == "invert")
            self._detect()
        self._canvas.set_preview(result.files["map.png"])

    def _on_no_edges(self, report: object) -> None:
        self._canvas.end_import()
        self.failed.emit(report)

    @Slot(list)
    def _on_pictures_for_edges(self, paths: list[str]) -> None:
        self.edges_from_file(paths[0])

    @Slot(object)
    def _on_pasted(self, pixels: np.ndarray) -> None:
        self.edges_from(Image(pixels, label="pasted picture"), "Pasted picture")

    @Slot()
    def export_map(self) -> None:
        """Save the map as a PNG."""
        path, _ = QFileDialog.getSaveFileName(self._window, "Save the edge map", "edges.png", "PNG (*.png)")
        if path:
            job = SaveToGallery(image=self._canvas.map(), path=path)
            self._errands.run(job, self._on_saved, failed=self.failed.emit)

    # poses ---------------------------------------------------------------------------------------------------------

    @Slot()
    def choose_json(self) -> None:
        """Ask for an OpenPose JSON file."""
        path, _ = QFileDialog.getOpenFileName(self._window, "Read a pose", "", JSON)
        if path:
            self.pose_from_json(path)

    def pose_from_json(self, path: str) -> None:
        """Read a pose into the editor."""
        self._errands.run(PoseFromJson(path=path), self._on_pose, key="pose", failed=self.failed.emit)

    def pose_from_file(self, path: str) -> None:
        """Find the people in a picture file."""
        self._errands.run(PoseFromPicture(image_file=path), self._on_pose, key="pose", failed=self.failed.emit)

    def pose_from(self, image: Image) -> None:
        """Find the people in a picture."""
        self._errands.run(PoseFromPicture(image=image), self._on_pose, key="pose", failed=self.failed.emit)

    def _on_pose(self, result: Result) -> None:
        now = self._poser.pose()
        self._poser.set_pose(fitted(result.files["pose"], now.width, now.height))
        self.editor_wanted.emit("pose")
        notes = result.facts.get("notes", [])
        if notes:
            self.told.emit(" ".join(notes), "Ctrl+Z in the pose editor brings the former pose back.")

    @Slot(list)
    def _on_json_dropped(self, paths: list[str]) -> None:
        self.pose_from_json(paths[0])

    @Slot(list)
    def _on_pictures_for_pose(self, paths: list[str]) -> None:
        self.pose_from_file(paths[0])

    @Slot()
    def _on_from_picture(self) -> None:
        if self._underneath is not None:
            self.pose_from(self._underneath)
            return
        path, _ = QFileDialog.getOpenFileName(self._window, "Find people in a picture", "", PICTURES)
        if path:
            self.pose_from_file(path)

    @Slot()
    def export_json(self) -> None:
        """Save the pose as OpenPose JSON."""
        path, _ = QFileDialog.getSaveFileName(self._window, "Save the pose", "pose.json", JSON)
        if path:
            job = PoseToJson(pose=self._poser.pose())
            self._errands.run(job, partial(self._on_json, path), failed=self.failed.emit)

    def _on_json(self, path: str, result: Result) -> None:
        self._storage.write(path, result.files["pose.json"])
        self.told.emit(f"Saving {Path(path).name}.", "")

    def _on_saved(self, result: Result) -> None:
        self.told.emit(f"Saved {Path(result.facts['saved_as']).name}.", "")


def fitted(pose: Pose, width: int, height: int) -> Pose:
    """The same people on a canvas of another size: scaled uniformly and centred, missing joints left missing."""
    scale = min(width / max(pose.width, 1), height / max(pose.height, 1))
    dx, dy = (width - scale * pose.width) / 2, (height - scale * pose.height) / 2
    people = tuple(
        Person(points=tuple((x * scale + dx, y * scale + dy, c) if (x, y, c) != (0, 0, 0) else (0, 0, 0) for x, y, c in person.points))
        for person in pose.people
    )
    return Pose(people=people, width=width, height=height)
