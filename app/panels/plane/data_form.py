"""What all lanes share: the data (a built-in cloud, one drawn with the pen, a picture as density), how much is trained, how many walk."""

from __future__ import annotations

from dataclasses import replace

from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QComboBox, QFormLayout, QHBoxLayout, QPushButton, QToolButton, QVBoxLayout, QWidget

from app.jobs.plane import Plane, Point
from app.protocol.payloads import Image
from app.protocol.plane import CloudCard
from app.widgets.param_form import ParamForm

DRAWN, PICTURE, NOISE = "drawn", "picture", "noise"
FROM = "Where the particles start; flow matching, rectified flow and reflow lead from any cloud to any other"
SKIPPED = (
    "data", "points", "picture", "source", "method", "solver", "evaluations", "knobs", "schedule", "exact", "frames", "grid", "map_side",
    "lattice", "between", "between_data", "sketch", "device", "dtype",
)  # fmt: skip


class DataForm(QWidget):
    """Edits the shared part of the job; `changed` tells whether the networks must be others."""

    changed = Signal(bool)
    pen_wanted = Signal(bool)
    picture_wanted = Signal()
    invalid = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.points: tuple[Point, ...] = ()
        self.picture: Image | None = None
        self.wanted, self.wanted_source = "moons", NOISE
        """What to choose once the table of clouds is there."""
        self.clouds = QComboBox(accessibleName="Data", toolTip="Where the particles are to end")
        self.sources = QComboBox(accessibleName="From", toolTip=FROM)
        self.sources.addItem("Noise", NOISE)
        self.pen = QPushButton("Draw", checkable=True, toolTip="Draw a cloud with the mouse on the stage; at least 20 points")
        self.wipe = QToolButton(text="Clear", toolTip="Take the drawn points away")
        self.pick = QToolButton(text="Picture …", toolTip="Take a picture's dark places as the density; dropping one works too")
        self.knobs = ParamForm(Plane, skip=SKIPPED)
        beside = QHBoxLayout()
        beside.setSpacing(6)
        for button in (self.pen, self.wipe, self.pick):
            beside.addWidget(button)
        beside.addStretch(1)
        rows = QFormLayout()
        rows.setContentsMargins(0, 0, 0, 0)
        rows.addRow("Data", self.clouds)
        rows.addRow("", beside)
        rows.addRow("From", self.sources)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(8)
        box.addLayout(rows)
        box.addWidget(self.knobs)
        self.wipe.setEnabled(False)
        self.clouds.activated.connect(self._on_cloud)
        self.sources.activated.connect(self._on_source)
        self.pen.toggled.connect(self._on_pen)
        self.wipe.clicked.connect(self._on_wipe)
        self.pick.clicked.connect(self.picture_wanted)
        self.knobs.changed.connect(self._on_knobs)
        self.knobs.invalid.connect(self.invalid)

    def set_clouds(self, clouds: tuple[CloudCard, ...]) -> None:
        """The built-in clouds."""
        self.clouds.clear()
        for cloud in clouds:
            self.clouds.addItem(cloud.title, cloud.name)
            self.sources.addItem(cloud.title, cloud.name)
        self.choose_source(self.wanted_source)
        self._name_drawn()
        self._choose(self.wanted)

    def shared(self) -> Plane:
        """The job of all lanes but for the method; UserError if the values make none."""
        source = self.clouds.currentData() or "moons"
        drawn = {"points": self.points} if source == DRAWN else {"picture": self.picture} if source == PICTURE else {"data": source}
        start = self.sources.currentData() if self.sources.isEnabled() else NOISE
        return replace(self.knobs.job(), source=start, **drawn)

    def allow_sources(self, allowed: bool) -> None:
        """Whether every method on stage may start in a cloud; else all start in noise."""
        self.sources.setEnabled(allowed)
        self.sources.setToolTip(FROM if allowed else f"{FROM}; a method on stage starts in noise only")

    def choose_source(self, name: str) -> None:
        """Start there, as soon as the table of clouds is there; tells nobody."""
        self.wanted_source = name
        self.sources.setCurrentIndex(max(self.sources.findData(name), 0))

    # sources -------------------------------------------------------------------------------------------------------

    def add_point(self, x: float, y: float) -> None:
        """The pen left a point."""
        self.points = (*self.points, (round(x, 4), round(y, 4)))
        self._name_drawn()

    def set_points(self, points: tuple[Point, ...]) -> None:
        """A cloud drawn earlier."""
        self.points = points
        self._name_drawn()

    def set_picture(self, picture: Image) -> None:
        """A picture becomes the data."""
        self.picture = picture
        self._offer(PICTURE, f"Picture, {picture.width} x {picture.height}")
        self._choose(PICTURE)
        self.changed.emit(True)

    def take(self, fields: dict[str, object]) -> None:
        """Fields of the shared job, as a preset sets them."""
        for name, value in fields.items():
            if name == "data":
                self._choose(str(value))
            elif name == "source":
                self.choose_source(str(value))
            else:
                self.knobs.set_value(name, value)

    def source(self) -> str:
        """The chosen one."""
        return self.clouds.currentData() or ""

    def _name_drawn(self) -> None:
        self.wipe.setEnabled(bool(self.points))
        if self.points:
            self._offer(DRAWN, f"Drawn, {len(self.points):,} points")
            self._choose(DRAWN)

    def _offer(self, name: str, title: str) -> None:
        at = self.clouds.findData(name)
        if at < 0:
            self.clouds.addItem(title, name)
        else:
            self.clouds.setItemText(at, title)

    def _choose(self, name: str) -> None:
        at = self.clouds.findData(name)
        if at >= 0:
            self.clouds.setCurrentIndex(at)

    @Slot(int)
    def _on_cloud(self, _index: int) -> None:
        self.pen.setChecked(False)
        self.changed.emit(True)

    @Slot(int)
    def _on_source(self, _index: int) -> None:
        self.wanted_source = self.sources.currentData()
        self.changed.emit(True)

    @Slot(bool)
    def _on_pen(self, on: bool) -> None:
        self.pen_wanted.emit(on)
        if not on and self.source() == DRAWN:
            self.changed.emit(True)

    @Slot()
    def _on_wipe(self) -> None:
        self.points = ()
        self.wipe.setEnabled(False)
        self.clouds.removeItem(self.clouds.findData(DRAWN))
        self._choose("moons")
        self.pen_wanted.emit(self.pen.isChecked())
        self.changed.emit(True)

    @Slot(object)
    def _on_knobs(self, _job: Plane) -> None:
        self.changed.emit(True)
