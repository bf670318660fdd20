"""Weights over the picture their cells belong to: patches of CLIP, cells of a UNet; point at a cell or at a word."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QHBoxLayout, QLabel, QSlider, QVBoxLayout, QWidget

from app import theme
from app.panels.attention.sides import Side
from app.protocol.payloads import Image
from app.widgets.colour_scale import ColourScale, colours
from app.widgets.elided_label import ElidedLabel
from app.widgets.image_view import ImageView

FINE, OUTLINE = 16, (255, 255, 255, 255)
TEACH = "Point at a word above, or at a place in the picture: where its weight lies is laid over the picture."


class PictureView(QWidget):
    """Picture, overlay, and how strongly it is laid over."""

    hovered = Signal(int)
    """A cell, -1: none."""
    clicked = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.picture, self.opacity, self.told = ImageView(title="Picture"), QSlider(Qt.Orientation.Horizontal), ElidedLabel("muted", 12)
        self._side: Side | None = None
        self._image: Image | None = None
        self._last: np.ndarray | None = None
        self._log = False
        self.opacity.setRange(0, 100)
        self.opacity.setValue(65)
        self.opacity.setMaximumWidth(140)
        self.opacity.setAccessibleName("Opacity of the overlay")
        self.opacity.setToolTip("How strongly the weights are laid over the picture")
        row, column = QHBoxLayout(), QVBoxLayout(self)
        row.setContentsMargins(8, 2, 8, 2)
        row.setSpacing(8)
        row.addWidget(self.told, 1)
        label = QLabel("overlay")
        label.setProperty("role", "small")
        row.addWidget(label)
        row.addWidget(self.opacity)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.picture, 1)
        column.addLayout(row)
        self.picture.set_placeholder("The picture appears here.")
        self.opacity.valueChanged.connect(self._on_opacity)
        self.picture.hovered.connect(self._on_hovered)
        self.picture.clicked.connect(self._on_clicked)

    def set_picture(self, image: Image | None, side: Side | None) -> None:
        """The picture, and the side of the map whose cells lie on it."""
        self._side = side
        if image is not self._image:
            self._image = image
            self.picture.set_image(image)
        self.set_weights(None, TEACH)

    def set_weights(self, weights: np.ndarray | None, told: str, *, log: bool = False, marked: Sequence[int] = ()) -> None:
        """A weight for each cell (tokens before the grid included), what they are, and cells to outline; None: no overlay."""
        self._last, self._log = weights, log
        self.told.setText(told)
        grid = self._side.grid if self._side is not None else None
        if weights is None or grid is None:
            self.picture.set_overlay(None)
            self.picture.set_note("")
            return
        cells = weights[self._side.extra : self._side.extra + grid[0] * grid[1]].reshape(grid)
        places = [place for place in (token - self._side.extra for token in marked) if 0 <= place < cells.size]
        self.picture.set_overlay(overlay(cells, log=log, marked=places), self.opacity.value() / 100)
        self.picture.set_note(f"overlay: {scale_of(cells, log).words()}")

    def cell_at(self, x: float, y: float) -> int:
        """The cell at a pixel of the picture, -1 if there is none."""
        if self._side is None or self._side.grid is None or self._image is None:
            return -1
        return self._side.cell(x / self._image.width, y / self._image.height)

    @Slot(object)
    def _on_hovered(self, pixel: tuple[int, int] | None) -> None:
        self.hovered.emit(-1 if pixel is None else self.cell_at(pixel[0] + 0.5, pixel[1] + 0.5))

    @Slot(float, float)
    def _on_clicked(self, x: float, y: float) -> None:
        cell = self.cell_at(x, y)
        if cell >= 0:
            self.clicked.emit(cell)

    @Slot(int)
    def _on_opacity(self, percent: int) -> None:
        self.picture.set_overlay_opacity(percent / 100)


def overlay(cells: np.ndarray, *, log: bool = False, marked: Sequence[int] = ()) -> np.ndarray:
    """Weights of a grid (h, w) as colours from 0 to the largest, uint8 (h, w, 4); with cells to outline, FINE times as large."""
    scale = scale_of(cells, log)
    levels = np.nan_to_num(scale.shares(cells) * 255).astype(np.uint8)
    packed = colours(scale.signed, theme.tokens().name)[levels]
    pixels = np.stack([(packed >> shift) & 255 for shift in (16, 8, 0, 24)], axis=-1).astype(np.uint8)
    if marked:
        pixels = pixels.repeat(FINE, 0).repeat(FINE, 1)
    for place in marked:
        row, column = divmod(place, cells.shape[1])
        cell = pixels[row * FINE : (row + 1) * FINE, column * FINE : (column + 1) * FINE]
        for edge in (cell[0], cell[-1], cell[:, 0], cell[:, -1]):
            edge[:] = OUTLINE
    return pixels


def scale_of(cells: np.ndarray, log: bool) -> ColourScale:
    """From 0 to the largest weight."""
    largest = float(np.nanmax(np.abs(cells))) if cells.size else 1.0
    return ColourScale(largest or 1.0, log, bool((cells < 0).any()))
