"""The column beside the pose editor's stage: who is there, which joint is chosen, and poses to start from."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QEvent, QObject, QSize, Qt, Signal, Slot
from PySide6.QtGui import QIcon, QPainter, QPixmap
from PySide6.QtWidgets import QApplication, QFrame, QLabel, QListView, QListWidget, QListWidgetItem, QVBoxLayout, QWidget

from app import theme
from app.protocol.payloads import JOINT_NAMES
from app.widgets.pose_model import visible
from app.widgets.pose_painter import paint_person
from app.widgets.pose_presets import PRESETS, place

FIGURE = 40  # px, a pose in the gallery
WIDTH = 3 * (FIGURE + 6) + 36
LIST_HEIGHT = 104


class PoseSide(QFrame):
    """People, the chosen joint in numbers, and the gallery of poses."""

    person_chosen = Signal(int)
    pose_added = Signal(str)
    pose_taken = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFixedWidth(WIDTH)
        self.people = QListWidget(toolTip="Choose a person (P)", accessibleName="People")
        self.people.setProperty("role", "rows")
        self.people.setMaximumHeight(LIST_HEIGHT)
        self.joint = QLabel()
        self.joint.setProperty("role", "small")
        self.joint.setMinimumHeight(2 * self.joint.fontMetrics().height())
        self.joint.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.gallery = QListWidget(accessibleName="Poses to start from")
        self.gallery.setToolTip("Click adds a person in this pose; Shift + click puts the selected person into it")
        self._build()
        self._fill_gallery()
        self.people.currentRowChanged.connect(self._on_row)
        self.gallery.itemClicked.connect(self._on_pose)
        self.gallery.installEventFilter(self)

    def _build(self) -> None:
        for view in (self.people, self.gallery):
            view.setFocusPolicy(Qt.FocusPolicy.TabFocus)  # a click leaves the keys to the stage
            view.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.gallery.setViewMode(QListView.ViewMode.IconMode)
        self.gallery.setMovement(QListView.Movement.Static)
        self.gallery.setResizeMode(QListView.ResizeMode.Adjust)
        self.gallery.setIconSize(QSize(FIGURE, FIGURE))
        self.gallery.setGridSize(QSize(FIGURE + 6, FIGURE + 6))
        column = QVBoxLayout(self)
        column.setContentsMargins(theme.GRID, theme.GRID, theme.GRID, 0)
        column.setSpacing(4)
        for title, widget in (("People", self.people), ("", self.joint), ("Add a pose", self.gallery)):
            if title:
                heading = QLabel(title)
                heading.setProperty("role", "heading")
                column.addWidget(heading)
            column.addWidget(widget, int(widget is self.gallery))

    def _fill_gallery(self) -> None:
        for name in PRESETS:
            item = QListWidgetItem(figure_icon(name), "")
            item.setData(Qt.ItemDataRole.UserRole, name)
            item.setData(Qt.ItemDataRole.AccessibleTextRole, name)
            item.setToolTip(f"{name.capitalize()}: click adds a person, Shift + click changes the selected one")
            self.gallery.addItem(item)

    def show_people(self, people: np.ndarray, person: int | None, joint: int | None) -> None:
        """Bring the list and the numbers up to date."""
        counts = visible(people).sum(axis=-1) if len(people) else []
        texts = [f"Person {i + 1}" + (f"   {n}/18" if n < len(JOINT_NAMES) else "") for i, n in enumerate(counts)]
        self.people.blockSignals(True)
        if texts != [self.people.item(i).text() for i in range(self.people.count())]:
            self.people.clear()
            self.people.addItems(texts)
        self.people.setCurrentRow(-1 if person is None else person)
        self.people.blockSignals(False)
        self.joint.setText(_joint_text(people, person, joint))

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.KeyPress and event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            if self.gallery.currentItem() is not None:
                self._on_pose(self.gallery.currentItem())
            return True
        return super().eventFilter(watched, event)

    @Slot(int)
    def _on_row(self, row: int) -> None:
        if row >= 0:
            self.person_chosen.emit(row)

    @Slot(QListWidgetItem)
    def _on_pose(self, item: QListWidgetItem) -> None:
        taken = QApplication.keyboardModifiers() & Qt.KeyboardModifier.ShiftModifier
        (self.pose_taken if taken else self.pose_added).emit(item.data(Qt.ItemDataRole.UserRole))


def figure_icon(name: str) -> QIcon:
    """A preset as a small figure on the black of the canvas."""
    pixels = QPixmap(QSize(FIGURE, FIGURE) * 2)
    pixels.setDevicePixelRatio(2)
    pixels.fill(Qt.GlobalColor.black)
    painter = QPainter(pixels)
    paint_person(painter, place(name, FIGURE, FIGURE), 1.2)
    painter.end()
    return QIcon(pixels)


def _joint_text(people: np.ndarray, person: int | None, joint: int | None) -> str:
    if person is None:
        return ""
    if joint is None:
        return "Drag inside the box to\nmove, its handles to scale"
    x, y, c = people[person, joint]
    return f"{JOINT_NAMES[joint].capitalize()}\n{x:.1f}, {y:.1f}" + ("" if c > 0 else "   hidden")
