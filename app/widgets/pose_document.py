"""The people being edited, which of them is selected, and their undo history: the pose editor without its looks.

Every change goes through `change`, which keeps what was before. A gesture (a drag) is `begin`, any number of `show`,
and `commit` or `cancel`: one undo step. Key presses of one kind in quick succession are one step too.
"""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QElapsedTimer, QObject, Signal

from app.protocol.payloads import Pose
from app.widgets import pose_model as model
from app.widgets.pose_presets import PRESETS, place

BURST_MS = 600  # two nudges closer than this are one undo step
MOST_PEOPLE = 100


class PoseDocument(QObject):
    """People (P, 18, 3) on a canvas, with selection and history."""

    edited = Signal()
    selection_changed = Signal()
    size_changed = Signal(int, int)

    def __init__(self, width: int, height: int, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.width, self.height = width, height
        self.people = model.NOBODY
        self.person: int | None = None
        self.joint: int | None = None
        self.history = model.PoseHistory()
        self._before: model.Snapshot | None = None
        self._burst = ""
        self._since = QElapsedTimer()
        self._since.start()

    # ---- changing

    def snapshot(self) -> model.Snapshot:
        """The state as it is."""
        return model.Snapshot(self.people, self.width, self.height)

    def change(self, people: np.ndarray, burst: str = "") -> None:
        """One finished action; several with the same `burst` name in quick succession are one undo step."""
        self.commit()
        if people is self.people or np.array_equal(people, self.people):
            return
        if not burst or burst != self._burst or self._since.restart() > BURST_MS:
            self.history.push(self.snapshot())
        self._burst = burst
        self._since.restart()
        self._show(people)

    def begin(self) -> None:
        """A gesture starts."""
        self.commit()
        self._before = self.snapshot()

    def in_gesture(self) -> bool:
        """Whether a gesture is going on; any other change ends it."""
        return self._before is not None

    def show(self, people: np.ndarray) -> None:
        """How the gesture looks by now."""
        self._show(people)

    def commit(self) -> None:
        """The gesture ends: one undo step, if it changed anything."""
        before, self._before = self._before, None
        if before is not None and not before.same_as(self.snapshot()):
            self.history.push(before)
            self._burst = ""
            self.edited.emit()

    def cancel(self) -> None:
        """The gesture is called off."""
        before, self._before = self._before, None
        if before is not None:
            self._show(before.people)

    def _show(self, people: np.ndarray) -> None:
        self.people = people
        self._keep_selection_valid()
        self.edited.emit()

    def undo(self) -> None:
        """Back to before the newest step."""
        self.cancel()
        if self.history.undo_stack:
            self._travel(self.history.undo(self.snapshot()))

    def redo(self) -> None:
        """Forward again."""
        self.cancel()
        if self.history.redo_stack:
            self._travel(self.history.redo(self.snapshot()))

    def _travel(self, to: model.Snapshot) -> None:
        self._burst = ""
        resized = (to.width, to.height) != (self.width, self.height)
        self.width, self.height = to.width, to.height
        if resized:
            self.size_changed.emit(self.width, self.height)
        self._show(to.people)

    def load(self, pose: Pose, undoable: bool) -> None:
        """Other people, perhaps on a canvas of another size."""
        self.cancel()
        new = model.Snapshot(model.to_array(pose), pose.width, pose.height)
        if undoable and not new.same_as(self.snapshot()):
            self.history.push(self.snapshot())
        elif not undoable:
            self.history.clear()
        self.select(None)
        self._travel(new)

    def set_size(self, width: int, height: int) -> None:
        """Another canvas; the people are scaled with it by one factor and stay in its middle."""
        self.cancel()
        if (width, height) == (self.width, self.height):
            return
        if len(self.people) or self.history.undo_stack:
            self.history.push(self.snapshot())
        people = model.fitted(self.people, (self.width, self.height), (width, height))
        self.width, self.height, self._burst = width, height, ""
        self._show(people)

    # ---- selection

    def select(self, person: int | None, joint: int | None = None) -> None:
        """Select a person, and perhaps one of its joints."""
        before = self.person, self.joint
        self.person, self.joint = person, joint
        self._keep_selection_valid()
        if (self.person, self.joint) != before:
            self._burst = ""
            self.selection_changed.emit()

    def _keep_selection_valid(self) -> None:
        before = self.person, self.joint
        if self.person is not None and not 0 <= self.person < len(self.people):
            self.person = None
        if self.person is None or (self.joint is not None and not model.placed(self.people[self.person])[self.joint]):
            self.joint = None
        if (self.person, self.joint) != before:
            self.selection_changed.emit()

    def selected(self) -> np.ndarray | None:
        """The joints of the selected person."""
        return None if self.person is None else self.people[self.person]

    def next_person(self, step: int) -> None:
        """Select the next (or previous) person, round and round."""
        count = len(self.people)
        if count:
            start = (-1 if step > 0 else 0) if self.person is None else self.person
            self.select((start + step) % count)

    def next_joint(self, step: int) -> None:
        """Select the next (or previous) joint that has a place."""
        if self.person is None:
            self.next_person(1)
        person = self.selected()
        if person is not None and model.placed(person).any():
            there = np.flatnonzero(model.placed(person))
            rank = (-1 if step > 0 else 0) if self.joint is None else int(np.searchsorted(there, self.joint))
            self.select(self.person, int(there[(rank + step) % len(there)]))

    # ---- what can be done to people

    def add(self, preset: str) -> None:
        """A new person in a named pose, where there is room."""
        if len(self.people) < MOST_PEOPLE:
            self._append(place(preset, self.width, self.height, self.people))

    def repose(self, preset: str) -> None:
        """Put the selected person into a named pose, size and place kept."""
        person = self.selected()
        if person is not None and model.placed(person).any():
            self.edit(model.reposed(person, PRESETS[preset]))

    def duplicate(self) -> None:
        """A copy of the selected person, a little to the side."""
        person = self.selected()
        if person is not None and len(self.people) < MOST_PEOPLE:
            self._append(model.moved(person, 0.1 * self.width, 0.0))

    def _append(self, person: np.ndarray) -> None:
        self.change(np.concatenate([self.people, person[None]]))
        self.select(len(self.people) - 1)

    def remove(self) -> None:
        """Take the selected person away."""
        if self.person is not None:
            self.change(np.delete(self.people, self.person, axis=0))
            self.select(None)

    def clear(self) -> None:
        """Take everybody away."""
        self.change(model.NOBODY)

    def edit(self, person: np.ndarray, burst: str = "") -> None:
        """Put other joints in place of the selected person's."""
        self.change(model.with_person(self.people, self.person, person), burst)

    def mirror(self) -> None:
        """Mirror the selected person; left becomes right."""
        if self.person is not None:
            self.edit(model.mirrored(self.selected()))

    def restore_joints(self) -> None:
        """Bring all joints of the selected person back."""
        if self.person is not None:
            self.edit(model.restored(self.selected(), PRESETS["standing"]))

    def toggle_joint(self) -> None:
        """Hide or show the selected joint."""
        if self.joint is not None:
            self.edit(model.toggled(self.selected(), self.joint))

    def drop_joint(self) -> None:
        """Take the selected joint away."""
        if self.joint is not None:
            self.edit(model.dropped(self.selected(), self.joint))

    def delete(self) -> None:
        """The selected joint, or the whole person when no joint is selected."""
        if self.joint is not None:
            self.drop_joint()
        else:
            self.remove()

    def nudge(self, dx: float, dy: float) -> None:
        """Move the selected joint, or the selected person, by a step."""
        person = self.selected()
        if person is None:
            return
        if self.joint is None:
            self.edit(model.moved(person, dx, dy), "nudge")
        else:
            x, y = person[self.joint, :2]
            self.edit(model.joint_moved_to(person, self.joint, x + dx, y + dy), "nudge")

    def turn(self, degrees: float) -> None:
        """Rotate the selected person about the middle of its box."""
        self._about_middle("turn", lambda person, middle: model.rotated(person, middle, np.deg2rad(degrees)))

    def scale(self, factor: float) -> None:
        """Scale the selected person about the middle of its box."""
        self._about_middle("scale", lambda person, middle: model.scaled(person, middle, factor, factor))

    def _about_middle(self, burst: str, do) -> None:
        person = self.selected()
        box = None if person is None else model.bounds(person)
        if box is not None:
            self.edit(do(person, ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)), burst)
