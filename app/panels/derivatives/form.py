"""The function, the point and the direction; what is dragged on the stage is written here."""

from __future__ import annotations

from dataclasses import replace

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QComboBox, QDoubleSpinBox, QFormLayout, QHBoxLayout, QLabel, QLineEdit, QVBoxLayout, QWidget

from app import theme
from app.jobs.derivatives import GALLERY, Gradient
from app.panels.derivatives.words import SHOWS

WIDTH = 264
OWN = "Own function"
HINT = "x, y, numbers, pi, e, + − * / ^, brackets, sin cos tan exp log sqrt abs …"


class Form(QWidget):
    """Edits the job."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setMinimumWidth(WIDTH)
        self.gallery, self.function = QComboBox(), QLineEdit(toolTip=HINT, accessibleName="f(x, y)")
        self.gallery.addItems([*GALLERY, OWN])
        self.gallery.setToolTip("Functions that show a point each, or one of your own")
        for place, name in enumerate(GALLERY):
            self.gallery.setItemData(place, SHOWS[name], Qt.ItemDataRole.ToolTipRole)
        self.centre: tuple[float, ...] = ()
        """Middle of the square in view; empty: the point."""
        self.point = [QLineEdit(accessibleName=f"Point {axis}", toolTip="A number, exact if written so: 1/3") for axis in "xy"]
        self.direction = [QLineEdit(accessibleName=f"Direction {axis}", toolTip="Any length; not both 0") for axis in "xy"]
        self.reach = theme.pad(QDoubleSpinBox(decimals=2, minimum=0.01, maximum=1000, singleStep=0.5))
        self.reach.setToolTip("Half the side of the square around the point")
        self.reach.setKeyboardTracking(False)
        self.worked = QLabel(wordWrap=True)
        self.worked.setProperty("role", "mono")
        self._build()
        self.set_job(Gradient())
        self.gallery.activated.connect(self._on_gallery)
        for line in (self.function, *self.point, *self.direction):
            line.editingFinished.connect(self._on_edited)
        self.reach.valueChanged.connect(self._on_edited)

    def _build(self) -> None:
        rows = QFormLayout()
        for title, editor in (
            ("Gallery", self.gallery), ("f(x, y)", self.function), ("Point", _pair(self.point)), ("Direction", _pair(self.direction)),
            ("Reach", self.reach),
        ):  # fmt: skip
            rows.addRow(title, editor)
        heading = QLabel("Worked solution")
        heading.setProperty("role", "heading")
        box = QVBoxLayout(self)
        box.setContentsMargins(12, 8, 12, 12)
        box.setSpacing(10)
        box.addLayout(rows)
        box.addWidget(heading)
        box.addWidget(self.worked)
        box.addStretch(1)

    def job(self) -> Gradient:
        """What is set."""
        point, direction = (tuple(line.text() for line in pair) for pair in (self.point, self.direction))
        view = {"reach": self.reach.value(), "centre": self.centre}
        return replace(Gradient(), function=self.function.text(), point=point, direction=direction, **view)

    def set_job(self, job: Gradient) -> None:
        """Show a job; tells nobody."""
        self.function.setText(job.function)
        self._name_function()
        self.put(job.point, job.direction)
        self.centre = job.centre
        self.reach.blockSignals(True)
        self.reach.setValue(job.reach)
        self.reach.blockSignals(False)

    def put(self, point: tuple[str, ...] | None = None, direction: tuple[str, ...] | None = None) -> None:
        """Write a point or a direction; tells nobody."""
        for pair, values in ((self.point, point), (self.direction, direction)):
            for line, value in zip(pair, values or (), strict=False):
                line.setText(value)

    def _name_function(self) -> None:
        known = next((name for name, text in GALLERY.items() if text == self.function.text()), OWN)
        self.gallery.setCurrentText(known)

    @Slot(int)
    def _on_gallery(self, _index: int) -> None:
        name = self.gallery.currentText()
        if name in GALLERY:
            self.function.setText(GALLERY[name])
            self.centre = ()
            if name in ("Roof", "Cone", "Ridge"):
                self.put(("0", "0"))  # where they show their point
            self.changed.emit()
        else:
            self.function.setFocus()

    @Slot()
    def _on_edited(self, *_value: object) -> None:
        self._name_function()
        self.changed.emit()


def _pair(lines: list[QLineEdit]) -> QWidget:
    holder, row = QWidget(), QHBoxLayout()
    holder.setLayout(row)
    row.setContentsMargins(0, 0, 0, 0)
    for line in lines:
        row.addWidget(line)
    return holder
