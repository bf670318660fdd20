"""Undo and redo for a pixel map: compressed tiles of what was there before, bounded in bytes.

One `Entry` holds the tiles (64 x 64) that one user action changed, as they were before it. Undoing an entry first
takes the same tiles as they are now into its mirror entry, which goes on the other stack, then puts the old ones
back: so undo and redo are one function and exact to the bit. An action that changes the size of the map keeps the
whole old map. When the entries outgrow the budget the oldest undo steps are forgotten, never the newest.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

import numpy as np

TILE = 64  # pixels a side: a stroke touches few tiles, a tile packs to about a hundred bytes
BUDGET = 64 * 2**20  # bytes kept in both stacks together
BLANK = b""  # stands for a tile that is all black, as most are
OVERHEAD = 200  # bytes an entry or a tile costs in Python objects, roughly

Index = tuple[int, int]


@dataclass
class Entry:
    """What one action changed: `tiles` before it, the map's `shape` before it, and the action's `name`."""

    name: str
    shape: tuple[int, int]
    tiles: dict[Index, bytes]
    size: int = field(init=False)  # bytes held

    def __post_init__(self) -> None:
        self.size = OVERHEAD + sum(len(data) + OVERHEAD for data in self.tiles.values())


def tiles_of(shape: tuple[int, int]) -> list[Index]:
    """All tile indices of a map of `shape`."""
    return [(row, column) for row in range(-(-shape[0] // TILE)) for column in range(-(-shape[1] // TILE))]


def tile(pixels: np.ndarray, index: Index) -> np.ndarray:
    """The view of one tile; those at the right and the bottom may be smaller."""
    top, left = index[0] * TILE, index[1] * TILE
    return pixels[top : top + TILE, left : left + TILE]


class Recording:
    """The action in progress: raw tiles as they were before it, taken just before they are first painted."""

    def __init__(self, name: str, pixels: np.ndarray) -> None:
        self.name, self.pixels = name, pixels
        self.tiles: dict[Index, np.ndarray] = {}

    def before(self, box: tuple[int, int, int, int]) -> None:
        """Keep the tiles under `box` (left, top, right, bottom), if not kept already."""
        left, top, right, bottom = box
        for row in range(top // TILE, -(-bottom // TILE)):
            for column in range(left // TILE, -(-right // TILE)):
                if (row, column) not in self.tiles:
                    self.tiles[row, column] = tile(self.pixels, (row, column)).copy()

    def rewind(self) -> tuple[int, int, int, int] | None:
        """Put back what was kept (a shape being dragged is drawn anew at every move); return the box touched."""
        for index, old in self.tiles.items():
            tile(self.pixels, index)[:] = old
        if not self.tiles:
            return None
        rows, columns = zip(*self.tiles, strict=True)
        height, width = self.pixels.shape
        right, bottom = min(width, (max(columns) + 1) * TILE), min(height, (max(rows) + 1) * TILE)
        return min(columns) * TILE, min(rows) * TILE, right, bottom

    def entry(self) -> Entry | None:
        """The finished entry with only the tiles that really changed; None when nothing did."""
        changed = {i: zlib.compress(old, 1) for i, old in self.tiles.items() if (tile(self.pixels, i) != old).any()}
        return Entry(self.name, self.pixels.shape, changed) if changed else None


def whole(name: str, pixels: np.ndarray) -> Entry:
    """An entry that keeps every tile of `pixels`, for actions that replace the map."""
    return Entry(name, pixels.shape, {i: _pack(pixels, i) for i in tiles_of(pixels.shape)})


def _pack(pixels: np.ndarray, index: Index) -> bytes:
    data = np.ascontiguousarray(tile(pixels, index))
    return zlib.compress(data, 1) if data.any() else BLANK


class History:
    """Two stacks of entries with a byte budget."""

    def __init__(self, budget: int = BUDGET) -> None:
        self.budget = budget
        self.undo_stack: list[Entry] = []
        self.redo_stack: list[Entry] = []

    @property
    def size(self) -> int:
        """Bytes held in both stacks."""
        return sum(entry.size for entry in self.undo_stack + self.redo_stack)

    def push(self, entry: Entry) -> None:
        """Add a finished action; what had been undone is forgotten."""
        self.redo_stack.clear()
        self.undo_stack.append(entry)
        self._trim()

    def undo(self, pixels: np.ndarray) -> np.ndarray:
        """The map before the newest action; the array itself is changed unless the size differs."""
        return self._swap(self.undo_stack, self.redo_stack, pixels)

    def redo(self, pixels: np.ndarray) -> np.ndarray:
        """The map after the action undone last."""
        return self._swap(self.redo_stack, self.undo_stack, pixels)

    def clear(self) -> None:
        """Forget everything."""
        self.undo_stack.clear()
        self.redo_stack.clear()

    def _swap(self, source: list[Entry], target: list[Entry], pixels: np.ndarray) -> np.ndarray:
        entry = source.pop()
        same = entry.shape == pixels.shape
        indices = entry.tiles if same else tiles_of(pixels.shape)
        target.append(Entry(entry.name, pixels.shape, {i: _pack(pixels, i) for i in indices}))
        out = pixels if same else np.zeros(entry.shape, np.uint8)
        for index, data in entry.tiles.items():
            place = tile(out, index)
            place[:] = np.frombuffer(zlib.decompress(data), np.uint8).reshape(place.shape) if data else 0
        self._trim()
        return out

    def _trim(self) -> None:
        excess = self.size - self.budget
        while excess > 0 and len(self.undo_stack) > 1:
            excess -= self.undo_stack.pop(0).size
