"""Where the cells of a table stand on the screen: zoom about a point, pan, which cell is under it, and parts of a table. No Qt."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil, floor

import numpy as np

LARGEST_CELL = 64.0  # px


@dataclass
class Axis:
    """One direction: `count` cells in `room` pixels, `size` pixels a cell, `first` the (fractional) cell at the near edge."""

    count: int = 0
    room: float = 1.0
    size: float = 1.0
    first: float = 0.0

    @property
    def fitting(self) -> float:
        """The size at which all cells are in sight."""
        return self.room / max(self.count, 1)

    def at(self, pixel: float) -> float:
        """Cell coordinate of a pixel."""
        return self.first + pixel / self.size

    def pixel(self, cell: float) -> float:
        """Pixel at which a cell begins."""
        return (cell - self.first) * self.size

    def cell(self, pixel: float) -> int:
        """The cell under a pixel, -1 if there is none."""
        cell = floor(self.at(pixel))
        return cell if 0 <= pixel < self.room and 0 <= cell < self.count else -1

    def window(self) -> tuple[int, int]:
        """First and end of the cells in sight."""
        return max(floor(self.first + 1e-6), 0), min(ceil(self.first + self.room / self.size - 1e-6), self.count)

    def zoom(self, size: float, anchor: float) -> None:
        """Another size; what is under pixel `anchor` stays there as far as the edges allow."""
        kept = self.at(anchor)
        self.size = size
        self.first = kept - anchor / size
        self.clamp()

    def clamp(self) -> None:
        """Leave no room empty that cells could fill."""
        self.first = min(max(self.first, 0.0), max(self.count - self.room / self.size, 0.0))


@dataclass(frozen=True, eq=False)
class Part:
    """Values (r, c) of rows `rows` = (first, end) and `columns`; `block` = (rows, columns) of the table to a value."""

    values: np.ndarray
    rows: tuple[int, int]
    columns: tuple[int, int]
    block: tuple[int, int] = (1, 1)

    def at(self, row: int, column: int) -> float | None:
        """The value at a cell of the table; None outside."""
        if not (self.rows[0] <= row < self.rows[1] and self.columns[0] <= column < self.columns[1]):
            return None
        return float(self.values[(row - self.rows[0]) // self.block[0], (column - self.columns[0]) // self.block[1]])

    def later_keys(self) -> np.ndarray:
        """bool (r, c): blocks whose first key comes after their last query."""
        queries = self.rows[0] + self.block[0] * (1 + np.arange(self.values.shape[0]))[:, None] - 1
        keys = self.columns[0] + self.block[1] * np.arange(self.values.shape[1])[None, :]
        return keys > queries


@dataclass
class MatrixPlace:
    """Rows and columns, zoomed together. A square table has square cells; others fill the room."""

    rows: Axis = field(default_factory=Axis)
    columns: Axis = field(default_factory=Axis)
    fits: bool = True

    def set_counts(self, rows: int, columns: int) -> None:
        """Another table; it is shown whole."""
        if (rows, columns) != (self.rows.count, self.columns.count):
            self.rows.count, self.columns.count = rows, columns
            self.fit()

    def set_room(self, width: float, height: float) -> None:
        """The view has another size."""
        self.columns.room, self.rows.room = max(width, 1.0), max(height, 1.0)
        if self.fits:
            self.fit()
        else:
            self._resize(self.rows.size / self._whole()[0])

    def fit(self) -> None:
        """Show all."""
        self.fits = True
        self.rows.size, self.columns.size = self._whole()
        self.rows.first = self.columns.first = 0.0

    def zoom(self, factor: float, x: float, y: float) -> None:
        """Zoom about a point, between all in sight and the largest cell."""
        self._resize(self.rows.size / self._whole()[0] * factor, x, y)

    def pan(self, dx: float, dy: float) -> None:
        """Move the table by pixels."""
        self.columns.first -= dx / self.columns.size
        self.rows.first -= dy / self.rows.size
        self.rows.clamp()
        self.columns.clamp()

    def cell(self, x: float, y: float) -> tuple[int, int] | None:
        """(row, column) under a point."""
        found = self.rows.cell(y), self.columns.cell(x)
        return found if min(found) >= 0 else None

    def _whole(self) -> tuple[float, float]:
        down, across = self.rows.fitting, self.columns.fitting
        if self.rows.count == self.columns.count:
            down = across = min(down, across)
        return min(down, LARGEST_CELL), min(across, LARGEST_CELL)

    def _resize(self, factor: float, x: float = 0.0, y: float = 0.0) -> None:
        """`factor`: cells so many times as large as when all are in sight."""
        down, across = self._whole()
        factor = max(min(factor, LARGEST_CELL / min(down, across)), 1.0)
        self.fits = factor == 1.0
        self.rows.zoom(down * factor, y)
        self.columns.zoom(across * factor, x)
