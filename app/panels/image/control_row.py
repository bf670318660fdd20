"""One control: what it is given, how strongly it is obeyed and when, and in words what it will do or why it will not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from PySide6.QtCore import QSize, Qt, Signal, Slot
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSlider,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from app import theme
from app.jobs.diffusion import CONTROL_MODE_TITLES, RESIZE_MODE_TITLES, Control
from app.panels.image.map_thumb import MapThumb
from app.protocol.payloads import Image
from app.widgets.icons import icon
from app.widgets.range_slider import RangeSlider

KIND_TITLES = {"canny": "Canny", "pose": "Pose"}
QUESTIONS = {"invert": "Invert", "make-edges": "Turn into edges"}
_WEIGHT_STEPS = 20  # slider positions per 1.0 of weight: steps of 0.05


class ControlRow(QFrame):
    """Edits one `Control`; `control` is always the newest."""

    changed = Signal()
    open_requested = Signal(object)
    remove_requested = Signal(object)
    answered = Signal(object, str)
    """The row, and the question ("invert", "make-edges") that was answered with yes."""

    def __init__(self, control: Control, colour: int, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.control = control
        self.preview: Image | None = None
        self._question = ""
        self._silent = False
        self._drawings: dict[str, dict[str, Any]] = {}
        """What was drawn for the other kind, so that changing the kind loses nothing."""
        self.setProperty("role", "surface")
        self._enable, self._kind = QCheckBox(toolTip="Enable: unticked, the run goes without this control"), QComboBox()
        self.thumb = MapThumb()
        self._weight, self._weight_box = QSlider(Qt.Orientation.Horizontal), theme.pad(QDoubleSpinBox())
        self.window_slider = RangeSlider(step=0.05, decimals=2, colour=colour)
        self._words, self._answer = QLabel(), QPushButton()
        self._more = QToolButton(checkable=True, toolTip="Control Mode, Resize Mode and Invert")
        self._remove = QToolButton(toolTip="Remove this control; its drawing can be had back with Undo")
        self._mode, self._resize = QComboBox(), QComboBox()
        self._invert = QCheckBox("Invert", toolTip="Swap black and white: a map has white lines on black")
        self._folded = QWidget(visible=False)
        self._build()
        self._name_all()
        self._connect()
        self.set_control(control)
        self.set_check({"active": True})

    def _build(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 6, 8, 8)
        column.setSpacing(4)
        head = QHBoxLayout()
        head.setSpacing(4)
        head.addWidget(self._enable)
        head.addWidget(self._kind, 1)
        head.addWidget(self._more)
        head.addWidget(self._remove)
        column.addLayout(head)
        middle = QGridLayout()
        middle.setHorizontalSpacing(8)
        middle.setVerticalSpacing(2)
        label = QLabel("Weight")
        label.setProperty("role", "small")
        label.setBuddy(self._weight_box)
        middle.addWidget(self.thumb, 0, 0, 2, 1)
        middle.addWidget(label, 0, 1)
        middle.addWidget(self._weight, 0, 2)
        middle.addWidget(self._weight_box, 0, 3)
        middle.addWidget(self.window_slider, 1, 1, 1, 3)
        middle.setColumnStretch(2, 1)
        column.addLayout(middle)
        foot = QHBoxLayout()
        foot.addWidget(self._words, 1)
        foot.addWidget(self._answer)
        column.addLayout(foot)
        column.addWidget(self._folded)
        self._build_folded()

    def _build_folded(self) -> None:
        grid = QGridLayout(self._folded)
        grid.setContentsMargins(0, 4, 0, 0)
        grid.setVerticalSpacing(4)
        grid.setColumnStretch(1, 1)
        for place, (title, box) in enumerate((("Control Mode", self._mode), ("Resize Mode", self._resize))):
            label = QLabel(title)
            label.setProperty("role", "small")
            label.setBuddy(box)
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.setMinimumContentsLength(8)
            grid.addWidget(label, place, 0)
            grid.addWidget(box, place, 1)
        grid.addWidget(self._invert, 2, 1)

    def _name_all(self) -> None:
        for key, title in KIND_TITLES.items():
            self._kind.addItem(title, key)
        for key, title in CONTROL_MODE_TITLES.items():
            self._mode.addItem(title, key)
        for key, title in RESIZE_MODE_TITLES.items():
            self._resize.addItem(title, key)
        self._kind.setToolTip("Control Type: edges (Canny) or people (Pose)")
        self._mode.setToolTip(
            "Balanced: on both halves of CFG; prompt: fading towards the deep layers; ControlNet: on the prompted half only"
        )
        self._resize.setToolTip("How a map of another shape meets the picture")
        self._weight.setRange(0, 2 * _WEIGHT_STEPS)
        self._weight_box.setRange(0.0, 2.0)
        self._weight_box.setSingleStep(0.05)
        self._weight_box.setKeyboardTracking(False)
        self._weight_box.setFixedWidth(64)
        for widget in (self._weight, self._weight_box):
            widget.setToolTip("Control Weight: 0 is ignored, 1 as trained, 2 pressed hard")
            widget.setAccessibleName("Control Weight")
        self.window_slider.setAccessibleName("Starting and Ending Control Step")
        self._enable.setAccessibleName("Enable control")
        for button, name in ((self._more, "more"), (self._remove, "close")):
            button.setIcon(icon(name))
            button.setIconSize(QSize(14, 14))
        self._more.setAccessibleName("More settings of this control")
        self._remove.setAccessibleName("Remove control")
        self._words.setWordWrap(True)
        self._words.setTextFormat(Qt.TextFormat.PlainText)

    def _connect(self) -> None:
        self._enable.toggled.connect(self._on_edited)
        self._kind.currentIndexChanged.connect(self._on_kind)
        for box in (self._mode, self._resize):
            box.currentIndexChanged.connect(self._on_edited)
            box.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._invert.toggled.connect(self._on_edited)
        self._weight.valueChanged.connect(self._on_weight_slid)
        self._weight_box.valueChanged.connect(self._on_weight_typed)
        self.window_slider.changed.connect(self._on_edited)
        self._more.toggled.connect(self._on_more)
        self._remove.clicked.connect(self._on_remove)
        self._answer.clicked.connect(self._on_answer)
        self.thumb.pressed.connect(self._on_open)

    # what is shown -------------------------------------------------------------------------------------------------

    def set_control(self, control: Control) -> None:
        """Show another control; tells nobody."""
        self._silent = True
        self.control = control
        self._enable.setChecked(control.enabled)
        self._kind.setCurrentIndex(self._kind.findData(control.kind))
        self._weight_box.setValue(control.weight)
        self._weight.setValue(round(control.weight * _WEIGHT_STEPS))
        self.window_slider.set_values(control.start, control.end)
        self._mode.setCurrentIndex(self._mode.findData(control.mode))
        self._resize.setCurrentIndex(self._resize.findData(control.resize_mode))
        self._invert.setChecked(control.invert)
        self._silent = False
        self._show_kind()
        if control.kind == "canny":
            self.set_preview(control.image)

    def set_map(self, image: Image | None, source: str) -> None:
        """Another drawing for this control; tells nobody."""
        self.control = replace(self.control, image=image, image_file="", source=source)
        self.set_preview(image)

    def set_preview(self, image: Image | None) -> None:
        """The map as the network will see it."""
        self.preview = image
        self.thumb.set_image(image)

    def set_check(self, check: dict[str, Any]) -> None:
        """What `CheckControls` says: the steps it covers, or in words why it will not run and what would help."""
        active = bool(check.get("active"))
        if active:
            parts = (check.get("covers", ""), *check.get("notes", ()))
        else:
            parts = (check.get("sentence", ""), check.get("hint", ""))
        self._words.setText(" ".join(part for part in parts if part))
        self._words.setProperty("role", "small" if active or not self.control.enabled else "warn")
        self._words.style().unpolish(self._words)
        self._words.style().polish(self._words)
        self._words.setVisible(bool(self._words.text()))
        self._question = check.get("question", "")
        self._answer.setText(QUESTIONS.get(self._question, ""))
        self._answer.setVisible(self._question in QUESTIONS)

    def focus_chain(self) -> list[QWidget]:
        """What Tab goes through, in the order of reading."""
        return [
            self._enable, self._kind, self._more, self._remove, self.thumb, self._weight, self._weight_box, self.window_slider,
            self._answer, self._mode, self._resize, self._invert,
        ]  # fmt: skip

    def set_active_edit(self, active: bool) -> None:
        """Whether this is the control the editor on the stage shows."""
        self.thumb.set_chosen(active)

    def words(self) -> str:
        """The sentence in the row."""
        return self._words.text()

    def _show_kind(self) -> None:
        canny = self.control.kind == "canny"
        self.thumb.setToolTip("Open the edge canvas" if canny else "Open the pose editor")
        self.setAccessibleName(f"{KIND_TITLES[self.control.kind]} control")
        self._invert.setVisible(canny)

    # edits ---------------------------------------------------------------------------------------------------------

    @Slot()
    def _on_edited(self, *_values: Any) -> None:
        if self._silent:
            return
        start, end = self.window_slider.values()
        self.control = replace(
            self.control,
            enabled=self._enable.isChecked(),
            weight=round(self._weight_box.value(), 4),
            start=start,
            end=end,
            mode=self._mode.currentData(),
            resize_mode=self._resize.currentData(),
            invert=self._invert.isChecked(),
        )
        self.changed.emit()

    @Slot(int)
    def _on_kind(self, _index: int) -> None:
        if not self._silent:
            old, kind = self.control, self._kind.currentData()
            self._drawings[old.kind] = {"image": old.image, "pose": old.pose, "source": old.source}
            drawing = self._drawings.get(kind, {"image": None, "pose": None, "source": "drawn"})
            self.control = replace(old, kind=kind, image_file="", pose_file="", **drawing)
            self._show_kind()
            self.set_preview(self.control.image)
            self.changed.emit()
            self.open_requested.emit(self)

    @Slot(int)
    def _on_weight_slid(self, value: int) -> None:
        if not self._silent:
            self._weight_box.setValue(value / _WEIGHT_STEPS)

    @Slot(float)
    def _on_weight_typed(self, value: float) -> None:
        self._weight.blockSignals(True)
        self._weight.setValue(round(value * _WEIGHT_STEPS))
        self._weight.blockSignals(False)
        self._on_edited()

    @Slot(bool)
    def _on_more(self, shown: bool) -> None:
        self._folded.setVisible(shown)
        self._more.setIcon(icon("less" if shown else "more"))

    @Slot()
    def _on_remove(self) -> None:
        self.remove_requested.emit(self)

    @Slot()
    def _on_open(self) -> None:
        self.open_requested.emit(self)

    @Slot()
    def _on_answer(self) -> None:
        self.answered.emit(self, self._question)
