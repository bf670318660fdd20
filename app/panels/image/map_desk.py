"""Joins the control rows to the two editors: what is drawn is the map of the row, with nothing to send or apply.

Each editor works for one row at a time, the one opened last. Drawing on an editor that works for no row makes one.
The skeleton picture of a pose always comes from the reference renderer (job `PoseMap`).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from PySide6.QtCore import QObject, Signal, Slot

from app.jobs.diffusion import Control
from app.jobs.maps import PoseMap
from app.panels.errands import Errands
from app.panels.image.control_list import ControlList
from app.panels.image.control_row import ControlRow
from app.protocol.payloads import Image, Pose, Result
from app.widgets.canvas import EdgeCanvas
from app.widgets.pose_editor import PoseEditor


class MapDesk(QObject):
    """Keeps `Control.image` and `Control.pose` equal to what the editors show."""

    changed = Signal()
    """A drawing changed, and with it a control."""
    editor_wanted = Signal(str)
    """"canny" or "pose": a row was opened."""
    size_changed = Signal(int, int)
    """Undo, redo or an import brought an editor to another size."""

    def __init__(self, rows: ControlList, canvas: EdgeCanvas, poser: PoseEditor, errands: Errands, parent: QObject) -> None:
        super().__init__(parent)
        self._rows, self.canvas, self.poser, self._errands = rows, canvas, poser, errands
        self._edited: dict[str, ControlRow | None] = {"canny": None, "pose": None}
        self._seen: dict[str, Image | Pose] = {"canny": canvas.map(), "pose": poser.pose()}
        """What each editor showed when it was last looked at, to tell an edit from an echo."""
        self._bringing = False
        canvas.changed.connect(self._on_canvas)
        for editor in (canvas, poser):
            editor.size_changed.connect(self._on_size)
        poser.changed.connect(self._on_pose)
        rows.opened.connect(self.open)
        rows.changed.connect(self._on_rows)

    # rows to editors -----------------------------------------------------------------------------------------------

    def show_controls(self, controls: tuple[Control, ...], *, undoable: bool = True) -> None:
        """Other controls: rows and both editors follow. What was drawn can be had back by undo in the editor."""
        self.flush()
        self._rows.set_controls(controls)
        for kind in self._edited:
            self._edited[kind] = None
            row = self._rows.first(kind)
            if row is not None:
                self._bring(row, undoable=undoable)
        self._mark()
        for row in self._rows.rows:
            if row not in self._edited.values():
                self._draw_skeleton(row)

    @Slot(object)
    def open(self, row: ControlRow) -> None:
        """Bring a row's drawing to its editor, and the editor to the front."""
        self.flush()
        kind = row.control.kind
        if self._edited[kind] is not row:
            free = self._edited[kind] is None
            if free and _is_blank(row) and not self._editor_is_blank(kind):
                self._take(kind, row)  # drawn before there was a row: that drawing is its map
            else:
                self._bring(row, undoable=free)
        self._mark()
        self.editor_wanted.emit(kind)

    def set_size(self, width: int, height: int) -> None:
        """The picture has another size: the drawings follow, never stretched."""
        self.flush()
        self.canvas.set_size(width, height)
        self.poser.set_size(width, height)
        for kind, row in self._edited.items():
            self._seen[kind] = self._content(kind)
            if row is not None:
                self._take(kind, row)

    def _bring(self, row: ControlRow, *, undoable: bool) -> None:
        kind, control = row.control.kind, row.control
        self._edited[kind] = row
        self._bringing = True
        if kind == "canny":
            now = self.canvas.map()
            self.canvas.set_map(control.image or Image(now.pixels * 0, label=now.label), undoable=undoable)
        else:
            now = self.poser.pose()
            self.poser.set_pose(control.pose or Pose(people=(), width=now.width, height=now.height), undoable=undoable)
            self._draw_skeleton(row)
        self._bringing = False
        self._seen[kind] = self._content(kind)

    def attached(self) -> dict[str, int]:
        """Which row each editor works for, by its place; -1 for none."""
        rows = self._rows.rows
        return {kind: rows.index(row) if row in rows else -1 for kind, row in self._edited.items()}

    def attach(self, kind: str, place: int) -> None:
        """Let an editor work for the row at a place, if that is of its kind."""
        rows = self._rows.rows
        if 0 <= place < len(rows) and rows[place].control.kind == kind and rows[place] is not self._edited[kind]:
            self._bring(rows[place], undoable=False)
            self._mark()

    def accept_drawings(self) -> None:
        """Take what the editors show as known: no edit, so no row is made of it."""
        for kind in self._edited:
            self._seen[kind] = self._content(kind)

    @Slot(int, int)
    def _on_size(self, width: int, height: int) -> None:
        if not self._bringing:
            self.size_changed.emit(width, height)

    def _content(self, kind: str) -> Image | Pose:
        return self.canvas.map() if kind == "canny" else self.poser.pose()

    def _editor_is_blank(self, kind: str) -> bool:
        return self.canvas.is_empty() if kind == "canny" else self.poser.people_count() == 0

    def _mark(self) -> None:
        self._rows.mark([row for row in self._edited.values() if row])

    # editors to rows -----------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Take over what was drawn in the last moments, before the editors tell of it."""
        for kind in self._edited:
            self._look(kind)

    @Slot()
    def _on_canvas(self) -> None:
        self._look("canny")

    @Slot()
    def _on_pose(self) -> None:
        self._look("pose")

    def _look(self, kind: str) -> None:
        if self._content(kind) == self._seen[kind]:
            return
        row = self._edited[kind]
        if row is None and not self._editor_is_blank(kind):
            row = self._rows.first(kind) or self._rows.add(Control(kind=kind))
        self._seen[kind] = self._content(kind)
        if row is not None:
            self._take(kind, row)
            self.changed.emit()

    def _take(self, kind: str, row: ControlRow) -> None:
        self._edited[kind] = row
        blank = self._editor_is_blank(kind)
        self._seen[kind] = self._content(kind)
        if kind == "canny":
            row.set_map(None if blank else self.canvas.map(), row.control.source)
        else:
            row.control = replace(row.control, pose=None if blank else self.poser.pose(), image=None, pose_file="")
            self._draw_skeleton(row)
        self._mark()

    @Slot()
    def _on_rows(self) -> None:
        """A row was removed, or changed its kind: its editor is free again."""
        for kind, row in self._edited.items():
            if row is not None and (row not in self._rows.rows or row.control.kind != kind):
                self._edited[kind] = None
        self._mark()

    # skeletons -----------------------------------------------------------------------------------------------------

    def _draw_skeleton(self, row: ControlRow) -> None:
        pose = row.control.pose
        if row.control.kind != "pose" or pose is None or not _visible(pose):
            row.set_preview(row.control.image)
            return
        job = PoseMap(pose=pose, width=pose.width, height=pose.height)
        done = partial(self._on_skeleton, row, pose)
        self._errands.run(job, done, key=f"skeleton-{self._rows.rows.index(row)}", failed=self._on_no_skeleton)

    def _on_skeleton(self, row: ControlRow, pose: Pose, result: Result) -> None:
        if row not in self._rows.rows:
            return
        image = result.files["map.png"]
        if row.control.kind == "pose" and row.control.pose is not None:
            row.set_preview(image)
        if row is self._edited["pose"]:
            self.poser.set_control_image(image, pose)

    def _on_no_skeleton(self, _report: object) -> None:
        """A pose that cannot be drawn is explained in its row by the check of the controls."""


def _is_blank(row: ControlRow) -> bool:
    return row.control.image is None and row.control.pose is None


def _visible(pose: Pose) -> bool:
    return any(point[2] > 0 for person in pose.people for point in person.points)
