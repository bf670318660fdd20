"""What a step looks like: x_t, predicted x0 and the removed noise side by side, the finished picture large below."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSlider, QSplitter, QVBoxLayout, QWidget

from app.panels.image.film import LENSES
from app.protocol.payloads import Image
from app.widgets.icons import icon
from app.widgets.image_view import ImageView

LENS_TITLES = {
    "xt": ("x_t", "what it sees", "What the network sees in this step: picture and noise, scaled as Stable Diffusion does."),
    "x0": ("Predicted x0", "clean guess", "The clean picture the network believes in at this noise level."),
    "eps": ("Removed noise", "ε guess", "What the network takes for noise: (x − x0) / σ."),
}
EMPTY_LENS = {
    "xt": "The noisy picture of each step.",
    "x0": "What the network thinks it will become.",
    "eps": "What it takes for noise.",
}
EMPTY_RESULT = "The finished picture appears here."
COMING = "The picture comes after the last step."
FULL_VAE_TIP = "Click to decode this step with the full VAE; click again for latent2rgb, the quick linear latent-to-RGB map."


class LensView(QWidget):
    """One way to look at a step, with a head that says what it is; the caption says which decoder made it."""

    def __init__(self, lens: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.lens = lens
        title, short, words = LENS_TITLES[lens]
        name, meaning = QLabel(title), QLabel(short)
        name.setProperty("role", "heading")
        meaning.setProperty("role", "small")
        meaning.setSizePolicy(meaning.sizePolicy().Policy.Ignored, meaning.sizePolicy().verticalPolicy())
        self.image = ImageView()
        self.image.set_placeholder(EMPTY_LENS[lens])
        self.image.setAccessibleName(title)
        head = QHBoxLayout()
        head.setContentsMargins(8, 6, 8, 4)
        head.setSpacing(8)
        head.addWidget(name)
        head.addWidget(meaning, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addLayout(head)
        column.addWidget(self.image, 1)
        self.setToolTip(f"{words}\n{FULL_VAE_TIP}")


class WatchView(QSplitter):
    """Three linked lenses above the result."""

    decode_requested = Signal(str)
    generate_requested = Signal()
    save_requested = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(Qt.Orientation.Vertical, parent)
        self.lenses = {lens: LensView(lens) for lens in LENSES}
        self.result = ImageView(title="Picture")
        self._overlay_label, self._overlay_slider = QLabel("Maps over the picture"), QSlider(Qt.Orientation.Horizontal)
        self._build()

    def _build(self) -> None:
        top, row = QWidget(), QHBoxLayout()
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(1)
        top.setLayout(row)
        first = self.lenses["xt"].image
        for view in self.lenses.values():
            row.addWidget(view, 1)
            view.image.clicked.connect(self._on_clicked)
            view.image.save_requested.connect(self.save_requested)
            if view.image is not first:
                first.link(view.image)
        self.lenses["x0"].image.link(self.lenses["eps"].image)
        self.addWidget(top)
        self.addWidget(self._result_area())
        self.setChildrenCollapsible(False)
        self.setHandleWidth(1)
        self.setSizes([260, 300])
        self.setStretchFactor(1, 1)

    def _result_area(self) -> QWidget:
        area, column, foot = QWidget(), QVBoxLayout(), QHBoxLayout()
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        area.setLayout(column)
        self.set_running(False)
        self.result.placeholder_action.connect(self.generate_requested)
        self.result.save_requested.connect(self.save_requested)
        self._overlay_label.setProperty("role", "small")
        self._overlay_slider.setRange(0, 100)
        self._overlay_slider.setFixedWidth(140)
        self._overlay_slider.setToolTip("Lay the control maps of this run over the picture")
        self._overlay_slider.setAccessibleName("Opacity of the maps over the picture")
        self._overlay_slider.valueChanged.connect(self._on_overlay)
        foot.setContentsMargins(8, 2, 8, 2)
        foot.setSpacing(8)
        self._save = QPushButton(icon("save"), "Save as PNG …")
        self._save.setToolTip("Save the picture with its whole recipe inside")
        self._save.setProperty("role", "flat")
        self._save.clicked.connect(self._on_save)
        foot.addWidget(self._save)
        foot.addStretch(1)
        foot.addWidget(self._overlay_label)
        foot.addWidget(self._overlay_slider)
        column.addWidget(self.result, 1)
        column.addLayout(foot)
        self.set_maps({})
        self.set_result(None)
        return area

    def show_lens(self, lens: str, image: Image | None) -> None:
        """Show the step in one lens."""
        self.lenses[lens].image.set_image(image)

    def set_running(self, running: bool) -> None:
        """What the empty place of the picture says: how to get one, or that one is on its way."""
        if running:
            self.result.set_placeholder(COMING)
        else:
            self.result.set_placeholder(EMPTY_RESULT, "Generate", "Make the picture (Ctrl+Enter)")

    def set_result(self, image: Image | None, note: str = "") -> None:
        """Show a finished picture."""
        self.result.set_image(image)
        self.result.set_note(note)
        self._save.setVisible(image is not None)

    def set_maps(self, maps: Mapping[str, Image]) -> None:
        """The control maps that the slider lays over the picture."""
        pictures = [image.pixels for image in maps.values() if image is not None]
        for widget in (self._overlay_label, self._overlay_slider):
            widget.setVisible(bool(pictures))
        self.result.set_overlay(laid_over(pictures) if pictures else None, self._overlay_slider.value() / 100)

    def overlay_percent(self) -> int:
        """Where the slider stands."""
        return self._overlay_slider.value()

    def set_overlay_percent(self, percent: int) -> None:
        """Put the slider there."""
        self._overlay_slider.setValue(percent)

    @Slot(int)
    def _on_overlay(self, percent: int) -> None:
        self.result.set_overlay_opacity(percent / 100)

    @Slot()
    def _on_save(self) -> None:
        self.save_requested.emit(self.result.image())

    @Slot(float, float)
    def _on_clicked(self, _x: float, _y: float) -> None:
        self.decode_requested.emit(self.sender().parent().lens)


def laid_over(pictures: list[np.ndarray]) -> np.ndarray:
    """Maps on black as one RGBA picture (H, W, 4) of the first's size: the lines opaque, the ground clear."""
    shape = pictures[0].shape
    lines = np.maximum.reduce([pixels for pixels in pictures if pixels.shape == shape])
    return np.dstack([lines, lines.max(axis=2)])
