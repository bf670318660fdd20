"""The pose editor: people of 18 OpenPose joints, dragged on the canvas, for the pose ControlNet.

Drag a joint, a body, or the handles of its box; right click hides a joint, Delete drops it; presets, copy, mirror,
undo. It keeps points only: JSON is read and written by jobs, and the picture that steers the model is drawn by the
reference renderer elsewhere and shown here through `set_control_image`. Read next: `pose_model` (the numbers),
`pose_document` (selection and undo), `pose_stage` (the pointer).
"""

from __future__ import annotations

from functools import partial
from typing import Any

from PySide6.QtCore import QTimer, Signal, Slot
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QGuiApplication
from PySide6.QtWidgets import QWidget

from app.protocol.errors import UserError
from app.protocol.payloads import Image, Person, Pose
from app.widgets.editor_frame import EditorFrame
from app.widgets.pose_document import PoseDocument
from app.widgets.pose_side import PoseSide
from app.widgets.pose_stage import PoseStage

FRAME_MS = 16  # at most one `changed` in this time while a joint is dragged
STEP, BIG_STEP = 1.0, 10.0  # pixels an arrow key moves, without and with Shift
LARGEST_SIDE = 8192  # pixels of a canvas taken from saved state
TURN, GROW = 5.0, 1.05  # degrees and factor of one key press


class PoseEditor(EditorFrame):
    """Edit the joints of people."""

    changed = Signal()
    import_requested = Signal()
    export_requested = Signal()
    from_picture_requested = Signal()
    json_dropped = Signal(list)
    picture_dropped = Signal(list)

    def __init__(self, parent: QWidget | None = None, width: int = 512, height: int = 512) -> None:
        self.document = PoseDocument(width, height)
        super().__init__(PoseStage(self.document), "Pose editor", parent)
        self.document.setParent(self)
        self.stage: PoseStage
        self.stage.setAccessibleName("Pose")
        self.stage.setAccessibleDescription("People as 18 joints, moved with the pointer or the arrow keys")
        self.setAcceptDrops(True)
        self._pose: Pose | None = None
        self._frame = QTimer(self, singleShot=True, interval=FRAME_MS)
        self._frame.timeout.connect(self.changed)
        self._add_tools()
        self._add_keys()
        self._add_side()
        self.document.edited.connect(self._on_edited)
        self.document.selection_changed.connect(self._on_selection)
        self.document.size_changed.connect(self.size_changed)
        self.stage.hinted.connect(self._on_hint)
        self._show_people()

    def _add_tools(self) -> None:
        doc = self.document
        self.add_action("pan", "hand", "Pan: drag the view", "H V", self._toggle_pan, checkable=True)
        self.bar.addSeparator()
        self.add_action("add", "add", "Add a person: standing; the gallery has more poses", "N", self._add_standing)
        self.add_action("remove", "remove", "Remove the person", "Shift+Delete", doc.remove)
        self.add_action("duplicate", "duplicate", "Copy: a second person in the same pose", "Ctrl+D", doc.duplicate)
        self.add_action("mirror", "mirror", "Mirror: left becomes right", "M", doc.mirror)
        restore = "Restore joints: bring hidden and dropped joints back"
        self.add_action("restore", "magic", restore, "Shift+X", doc.restore_joints)
        self.bar.addSeparator()
        self.add_action("undo", "undo", "Undo", "Ctrl+Z", self.undo)
        self.add_action("redo", "redo", "Redo", "Ctrl+Shift+Z Ctrl+Y", self.redo)
        self.add_action("clear", "clear", "Clear: take everybody away; can be undone", "Ctrl+Delete", self.clear)
        self.bar.addSeparator()
        picture = "From picture: find the people in a picture"
        self.add_action("picture", "image", picture, "Ctrl+P", self.from_picture_requested.emit)
        self.add_action("import", "import", "Import: read OpenPose JSON", "Ctrl+I", self.import_requested.emit)
        self.add_action("export", "export", "Export: write OpenPose JSON", "Ctrl+E", self.export_requested.emit)

    def _add_keys(self) -> None:
        keys, doc = self.stage.keys, self.document
        chosen, jointed = self._has_person, self._has_joint
        arrows = {"Left": (-1, 0), "Right": (1, 0), "Up": (0, -1), "Down": (0, 1)}
        for name, (dx, dy) in arrows.items():
            keys.bind(name, "Move the joint or the person by 1 pixel", partial(doc.nudge, dx * STEP, dy * STEP), chosen)
            keys.bind(f"Shift+{name}", "Move it by 10 pixels", partial(doc.nudge, dx * BIG_STEP, dy * BIG_STEP), chosen)
        keys.bind("Delete Backspace", "Drop the joint; without one, remove the person", doc.delete, chosen)
        keys.bind("X", "Hide or show the joint", doc.toggle_joint, jointed)
        keys.bind("J", "Next joint", partial(doc.next_joint, 1))
        keys.bind("Shift+J", "Previous joint", partial(doc.next_joint, -1))
        keys.bind("P", "Next person", partial(doc.next_person, 1))
        keys.bind("Shift+P", "Previous person", partial(doc.next_person, -1))
        keys.bind("R", "Turn clockwise by 5 degrees", partial(doc.turn, TURN), chosen)
        keys.bind("Shift+R", "Turn back by 5 degrees", partial(doc.turn, -TURN), chosen)
        keys.bind("S", "Larger by 5 %", partial(doc.scale, GROW), chosen)
        keys.bind("Shift+S", "Smaller by 5 %", partial(doc.scale, 1 / GROW), chosen)
        keys.bind("Ctrl+V", "Paste files", self.paste)

    def _add_side(self) -> None:
        self.side = PoseSide()
        self.middle.addWidget(self.side)
        self.side.person_chosen.connect(self.document.select)
        self.side.pose_added.connect(self.document.add)
        self.side.pose_taken.connect(self.document.repose)

    # ---- the pose

    def pose(self) -> Pose:
        """The people: hidden joints keep their place with c = 0, dropped ones are 0, 0, 0."""
        if self._pose is None:
            self._pose = self.stage.document_pose()
        return self._pose

    def set_pose(self, pose: Pose, undoable: bool = True) -> None:
        """Take other people; if their canvas has another size, take that too and say so."""
        self.document.load(pose, undoable)

    def set_size(self, width: int, height: int) -> None:
        """Make the canvas another size; people are scaled with it, never stretched."""
        self.document.set_size(width, height)
        self.stage.set_content_size(width, height)

    def set_control_image(self, image: Image | None, pose: Pose | None = None) -> None:
        """Show the reference renderer's picture of `pose` (default: of the pose now) until the pose changes."""
        self.stage.set_control_image(image, pose)

    def people_count(self) -> int:
        """How many people there are."""
        return len(self.document.people)

    def add_person(self, preset: str = "standing") -> None:
        """Add a person in one of `PRESETS`, where there is room, and select it."""
        self.document.add(preset)

    def remove_person(self) -> None:
        """Remove the selected person."""
        self.document.remove()

    def duplicate_person(self) -> None:
        """Copy the selected person to the side."""
        self.document.duplicate()

    def mirror_person(self) -> None:
        """Mirror the selected person; left and right joints change names."""
        self.document.mirror()

    def restore_joints(self) -> None:
        """Bring back all joints of the selected person."""
        self.document.restore_joints()

    def toggle_joint(self) -> None:
        """Hide or show the selected joint."""
        self.document.toggle_joint()

    def drop_joint(self) -> None:
        """Drop the selected joint."""
        self.document.drop_joint()

    @Slot()
    def clear(self) -> None:
        """Take everybody away."""
        self.document.clear()

    def selected_person(self) -> int | None:
        """Index of the selected person."""
        return self.document.person

    def selected_joint(self) -> int | None:
        """Index of the selected joint."""
        return self.document.joint

    def select_person(self, index: int | None) -> None:
        """Select a person, or nobody."""
        self.document.select(index)

    def select_joint(self, joint: int | None) -> None:
        """Select a joint of the selected person."""
        self.document.select(self.document.person, joint)

    @Slot()
    def undo(self) -> None:
        """Take back the newest step."""
        self.document.undo()

    @Slot()
    def redo(self) -> None:
        """Do it again."""
        self.document.redo()

    def can_undo(self) -> bool:
        """Whether there is something to take back."""
        return bool(self.document.history.undo_stack)

    def can_redo(self) -> bool:
        """Whether there is something to do again."""
        return bool(self.document.history.redo_stack)

    def clear_history(self) -> None:
        """Forget all undo and redo steps."""
        self.document.history.clear()
        self._enable()

    # ---- state

    def save_state(self) -> dict[str, Any]:
        """People, canvas size and view choices as a JSON-able dict."""
        pose = self.pose()
        return {
            "version": 1, "width": pose.width, "height": pose.height,
            "people": [[list(point) for point in person.points] for person in pose.people],
            "underlay_opacity": self.underlay_opacity(),
        }  # fmt: skip

    def restore_state(self, state: dict[str, Any]) -> list[str]:
        """Take back what `save_state` gave; returns a sentence for each part that could not be used."""
        warnings = []
        if isinstance(opacity := state.get("underlay_opacity", 0.6), int | float):
            self.set_underlay_opacity(opacity)
        if "people" in state:
            try:
                pose = _pose_from(state)
            except (UserError, TypeError, ValueError, OverflowError):
                warnings.append("The saved pose is damaged and was left out.")
            else:
                self.set_pose(pose, undoable=False)
        return warnings

    # ---- drops

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if any(url.isLocalFile() for url in event.mimeData().urls()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        event.acceptProposedAction()
        self._emit_files([url.toLocalFile() for url in event.mimeData().urls() if url.isLocalFile()])

    def paste(self) -> None:
        """Emit the files on the clipboard."""
        urls = QGuiApplication.clipboard().mimeData().urls()
        self._emit_files([url.toLocalFile() for url in urls if url.isLocalFile()])

    def _emit_files(self, paths: list[str]) -> None:
        json_files = [path for path in paths if path.lower().endswith(".json")]
        others = [path for path in paths if path not in json_files]
        if json_files:
            self.json_dropped.emit(json_files)
        if others:
            self.picture_dropped.emit(others)

    # ---- what happens inside

    def _add_standing(self) -> None:
        self.document.add("standing")

    def _toggle_pan(self) -> None:
        self.stage.hand = not self.stage.hand
        self.action("pan").setChecked(self.stage.hand)
        self.stage.update_cursor()

    def _has_person(self) -> bool:
        return self.document.person is not None

    def _has_joint(self) -> bool:
        return self.document.joint is not None

    @Slot()
    def _on_edited(self) -> None:
        self._pose = None
        if not self._frame.isActive():
            self._frame.start()
        self._show_people()

    @Slot()
    def _on_selection(self) -> None:
        self._show_people()

    @Slot(str)
    def _on_hint(self, text: str) -> None:
        self.say(text or self._summary())

    def _summary(self) -> str:
        size = f"{self.document.width} x {self.document.height}"
        if not self.people_count():
            return f"No people yet ({size})"
        return f"Drag joints; right click hides one, Delete drops it ({size})"

    def _show_people(self) -> None:
        doc = self.document
        self.side.show_people(doc.people, doc.person, doc.joint)
        self.say(self._summary())
        self._enable()

    def _enable(self) -> None:
        for name in ("duplicate", "mirror", "restore", "remove"):
            self.action(name).setEnabled(self._has_person())
        self.action("undo").setEnabled(self.can_undo())
        self.action("redo").setEnabled(self.can_redo())
        self.action("clear").setEnabled(self.people_count() > 0)


def _pose_from(state: dict[str, Any]) -> Pose:
    width, height = int(state.get("width", 0)), int(state.get("height", 0))
    if not 1 <= min(width, height) <= max(width, height) <= LARGEST_SIDE:
        raise ValueError(f"no canvas is {width} x {height} pixels")
    return Pose(tuple(Person(tuple(map(tuple, points))) for points in state["people"]), width, height)
