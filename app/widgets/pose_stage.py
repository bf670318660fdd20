"""The stage of the pose editor: shows the people, turns presses and drags into changes of the `PoseDocument`.

Priority under the pointer: a joint, then a handle of the selected body's box, then the inside of a body's box.
Handles and reach are measured in screen pixels, so they are as easy to take at any zoom.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt, Signal, Slot
from PySide6.QtGui import QColor, QImage, QMouseEvent, QPainter
from PySide6.QtWidgets import QWidget

from app import theme
from app.protocol.payloads import JOINT_NAMES, Image, Pose
from app.widgets import pose_model as model
from app.widgets import pose_painter as paint
from app.widgets.pose_document import PoseDocument
from app.widgets.stage_view import StageView, to_qimage

REACH = 9.0  # px on the screen from a joint or a handle that still takes it
EMPTY_TEXT = "Press N for a person, choose a pose from the gallery,\nor drop an OpenPose JSON file here."
CURSORS = {
    "nw": Qt.CursorShape.SizeFDiagCursor, "se": Qt.CursorShape.SizeFDiagCursor,
    "ne": Qt.CursorShape.SizeBDiagCursor, "sw": Qt.CursorShape.SizeBDiagCursor,
    "n": Qt.CursorShape.SizeVerCursor, "s": Qt.CursorShape.SizeVerCursor,
    "e": Qt.CursorShape.SizeHorCursor, "w": Qt.CursorShape.SizeHorCursor,
    "rotate": Qt.CursorShape.PointingHandCursor, "joint": Qt.CursorShape.PointingHandCursor,
    "move": Qt.CursorShape.SizeAllCursor, "": Qt.CursorShape.ArrowCursor,
}  # fmt: skip


@dataclass(frozen=True)
class Grip:
    """What lies under the pointer: "joint", "move", "rotate", a side of the box such as "ne", or nothing ("")."""

    kind: str = ""
    person: int | None = None
    joint: int | None = None


class PoseStage(StageView):
    """Joints to drag."""

    hinted = Signal(str)

    def __init__(self, document: PoseDocument, parent: QWidget | None = None) -> None:
        super().__init__(document.width, document.height, parent)
        self.document = document
        self._hot = Grip()
        self._grip = Grip()
        self._start: tuple[QPointF, np.ndarray] | None = None
        self._note = ""
        self._control: tuple[QImage, model.Snapshot] | None = None
        self._shown = QRectF()
        document.edited.connect(self._on_edited)
        document.selection_changed.connect(self._on_edited)
        document.size_changed.connect(self.set_content_size)
        self.keys.bind("Esc", "Call off the drag, or deselect", self._escape, self._can_escape)

    # ---- the control picture

    def set_control_image(self, image: Image | None, pose: Pose | None) -> None:
        """Show the picture the reference renderer made, until the people change."""
        current = pose is None or pose == self.document_pose()
        self._control = (to_qimage(image), self.document.snapshot()) if image is not None and current else None
        self.update()

    def document_pose(self) -> Pose:
        """The pose as it is."""
        return model.to_pose(self.document.people, self.document.width, self.document.height)

    # ---- geometry

    def fit_rect(self) -> QRectF:
        return super().fit_rect() | self._area(1.0)

    def _area(self, room: float) -> QRectF:
        """The rectangle of all joints with `room` round it, in content pixels; empty without people."""
        points = self.document.people[model.placed(self.document.people)]
        if not len(points):
            return QRectF()
        low, high = points[:, :2].min(axis=0) - room, points[:, :2].max(axis=0) + room
        return QRectF(QPointF(*low), QPointF(*high))

    def body_box(self) -> QRectF | None:
        """The padded box of the selected person, in widget pixels."""
        person = self.document.selected()
        box = None if person is None else model.bounds(person)
        if box is None:
            return None
        rect = QRectF(self.to_widget(QPointF(*box[:2])), self.to_widget(QPointF(*box[2:])))
        return rect.adjusted(-paint.PAD, -paint.PAD, paint.PAD, paint.PAD)

    def grip_at(self, position: QPointF) -> Grip:
        """What a press at `position` (widget pixels) would take."""
        doc, point = self.document, self.to_content(position)
        hit = model.hit_joint(doc.people, point.x(), point.y(), REACH / self.zoom(), doc.person)
        if hit is not None:
            return Grip("joint", *hit)
        box = self.body_box()
        if box is not None:
            for name, spot in paint.box_handles(box).items():
                if math.hypot(spot.x() - position.x(), spot.y() - position.y()) <= REACH:
                    return Grip(name, doc.person)
        person = model.hit_person(doc.people, point.x(), point.y(), paint.PAD / self.zoom(), doc.person)
        return Grip("move", person) if person is not None else Grip()

    # ---- pointer

    def pressed(self, point: QPointF, event: QMouseEvent) -> None:
        grip = self.grip_at(event.position())
        if event.button() == Qt.MouseButton.RightButton:
            self.abort_drag()
            if grip.kind == "joint":
                self.document.select(grip.person, grip.joint)
                self.document.toggle_joint()
            return
        self.document.select(grip.person, grip.joint)
        if grip.kind:
            self._grip, self._start = grip, (point, self.document.people[grip.person])
            self.document.begin()

    def dragged(self, point: QPointF, event: QMouseEvent) -> None:
        if self._start is None or not self.document.in_gesture():
            self._end()  # a key changed the people meanwhile
            return
        shift = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
        person = self._pulled(point, shift)
        self.document.show(model.with_person(self.document.people, self._grip.person, person))

    def _pulled(self, point: QPointF, shift: bool) -> np.ndarray:
        """The person as the drag from its start to `point` leaves it."""
        (start, person), kind = self._start, self._grip.kind
        dx, dy = (point - start).toTuple()
        if kind == "joint":
            x, y = person[self._grip.joint, :2]
            return model.joint_moved_to(person, self._grip.joint, x + dx, y + dy)
        if kind == "move":
            if shift:
                dx, dy = (dx, 0.0) if abs(dx) >= abs(dy) else (0.0, dy)
            return model.moved(person, dx, dy)
        box = model.bounds(person)
        if kind == "rotate":
            return self._turned(person, box, point, shift)
        about, sx, sy = model.box_scale(box, kind, dx, dy, free=shift)
        self._note = f"{100 * sx:.0f} %" if sx == sy else f"{100 * sx:.0f} % x {100 * sy:.0f} %"
        return model.scaled(person, about, sx, sy)

    def _turned(self, person: np.ndarray, box: tuple, point: QPointF, shift: bool) -> np.ndarray:
        middle = QPointF((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        now, then = point - middle, self._start[0] - middle
        angle = math.atan2(now.y(), now.x()) - math.atan2(then.y(), then.x())
        if shift:
            angle = round(angle / math.radians(15)) * math.radians(15)
        degrees = (math.degrees(angle) + 180) % 360 - 180
        self._note = f"{degrees:.0f}°"
        return model.rotated(person, middle.toTuple(), angle)

    def released(self, point: QPointF, event: QMouseEvent) -> None:
        self._end()
        self.document.commit()

    def _end(self) -> None:
        self._start, self._grip, self._note = None, Grip(), ""
        self.update()

    def _can_escape(self) -> bool:
        return self._start is not None or self.document.person is not None

    def _escape(self) -> None:
        if self._start is not None:
            self.abort_drag()
            self._end()
            self.document.cancel()
        else:
            self.document.select(self.document.person if self.document.joint is not None else None)

    def hovered(self, point: QPointF, event: QMouseEvent) -> None:
        hot = self._grip if self._start is not None else self.grip_at(event.position())
        if hot != self._hot:
            self._hot = hot
            self.update_cursor()
            self._refresh_people()
            self.hinted.emit(self._hint(hot))

    def leaveEvent(self, event) -> None:
        self._hot = Grip()
        self.hinted.emit("")
        self.update()
        super().leaveEvent(event)

    def _hint(self, grip: Grip) -> str:
        if grip.kind == "joint":
            state = "" if model.visible(self.document.people[grip.person])[grip.joint] else " (hidden)"
            action = "show" if state else "hide"
            return f"{JOINT_NAMES[grip.joint].capitalize()} of person {grip.person + 1}{state}: drag; right click to {action}"
        words = {"": "", "move": "Drag to move the person", "rotate": "Drag to turn; Shift: steps of 15 degrees"}
        return words.get(grip.kind, "Drag to scale; Shift: both axes apart")

    def idle_cursor(self) -> Qt.CursorShape:
        return CURSORS[self._hot.kind]

    # ---- painting

    @Slot()
    def _on_edited(self) -> None:
        self._hot = Grip() if self._hot.person is not None and self._hot.person >= len(self.document.people) else self._hot
        self._refresh_people()

    def _refresh_people(self) -> None:
        """Paint again where people are and where they were."""
        area = self._area((paint.PAD + paint.STEM + 16) / self.zoom())
        area.setRight(area.right() + 150 / self.zoom())  # the name stands at the right
        if self._control is not None:
            area |= super().fit_rect()
        if not len(self.document.people):
            self.update()
        self.refresh(area | self._shown)
        self._shown = area

    def paint_content(self, painter: QPainter) -> None:
        people = self.document.people
        hides = self.underlay is not None and self.underlay_opacity > 0
        if self._control is not None and not hides and self._control[1].same_as(self.document.snapshot()):
            self.draw_image(painter, self._control[0], pixel_true=True)
            return
        radius = paint.bone_radius(self.document.width, self.document.height)
        for person in people:
            paint.paint_person(painter, person, radius)

    def paint_overlay(self, painter: QPainter) -> None:
        doc = self.document
        if not len(doc.people) and self.underlay is None:
            painter.setFont(theme.font(theme.BODY))
            painter.setPen(QColor(theme.DARK.muted))
            painter.drawText(self.rect().adjusted(8, 8, -8, -8), Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap, EMPTY_TEXT)
        box = self.body_box()
        if box is not None and self._grip.kind != "joint":
            paint.paint_box(painter, box, self._hot.kind if self._hot.person == doc.person else None)
        for index in sorted(range(len(doc.people)), key=lambda i: i == doc.person):
            person = doc.people[index]
            spots = [self.to_widget(QPointF(x, y)) for x, y, _ in person.tolist()]
            mine = index == doc.person
            hot = self._hot.joint if self._hot.person == index else None
            paint.paint_handles(painter, person, spots, selected=mine, hot=hot, chosen=doc.joint if mine else None)
        self._paint_label(painter)

    def _paint_label(self, painter: QPainter) -> None:
        room, box = QRectF(self.rect()), self.body_box()
        if self._hot.kind == "joint":
            spot = self.document.people[self._hot.person, self._hot.joint, :2]
            paint.paint_name(painter, self.to_widget(QPointF(*spot)), JOINT_NAMES[self._hot.joint], room)
        elif self._note and box is not None:
            paint.paint_name(painter, QPointF(box.center().x(), box.top() - paint.STEM), self._note, room)
