"""The two sides of a map: tokens of a text, or cells of a picture; how many there are in a layer, and what they are called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from app.protocol.attention import Looked

Axis = Literal["rows", "columns"]
OTHER: dict[Axis, Axis] = {"rows": "columns", "columns": "rows"}


@dataclass(frozen=True)
class Side:
    """Queries or keys of one layer."""

    texts: tuple[str, ...]
    grid: tuple[int, int] | None
    extra: int
    """Tokens before the grid, such as a class token."""

    def cell(self, x: float, y: float) -> int:
        """The cell at a place in a picture, both 0 to 1."""
        height, width = self.grid or (1, 1)
        return self.extra + min(int(y * height), height - 1) * width + min(int(x * width), width - 1)


def side(looked: Looked, axis: Axis, layer: int) -> Side:
    """One side of a layer's maps. A UNet's grids differ from layer to layer."""
    own = looked.rows if axis == "rows" else looked.columns
    grid = looked.row_grid if axis == "rows" else looked.column_grid
    extra = looked.row_extra if axis == "rows" else looked.column_extra
    of_layer = looked.grids[layer] if layer < len(looked.grids) else None
    if of_layer is not None and grid is not None and (axis == "rows" or looked.column_grid == looked.row_grid):
        height, width = grid = of_layer
        if extra + height * width != len(own.texts):
            cells = tuple(f"{row},{column}" for row in range(height) for column in range(width))
            return Side((*own.texts[:extra], *cells), grid, extra)
    return Side(own.texts, grid, extra)


def text_axis(looked: Looked) -> Axis | None:
    """The side whose tokens stand as chips over the map; None if both sides are cells."""
    if looked.row_grid is None:
        return "rows"
    return "columns" if looked.column_grid is None else None


def one_text(looked: Looked) -> bool:
    """A text onto itself: chips are queries and keys at once."""
    return looked.row_grid is None and looked.column_grid is None and looked.rows.texts == looked.columns.texts


def turnable(looked: Looked) -> bool:
    """Whether both directions make sense of the same tokens: a thing onto itself."""
    return (looked.row_grid is None) == (looked.column_grid is None) and len(looked.rows.texts) == len(looked.columns.texts)
