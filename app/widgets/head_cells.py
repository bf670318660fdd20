"""Where the heads of a model stand in their grid: layer by layer, or sorted by a score. Pixels only, no Qt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

LABEL = 26  # px for the number of a layer
SCORE_LINE = 13  # px for the words under a sorted head
GAP = 1
LEAST, LARGEST, SORTED = 14, 96, 56

Head = tuple[int, int]
"""(layer, head), from 0."""


@dataclass
class HeadCells:
    """Squares of `side` pixels, `across` in a line."""

    counts: tuple[int, ...] = ()
    """Heads of each layer."""
    width: float = 200.0
    ranked: tuple[Head, ...] | None = None
    """The heads in another order than that of the layers."""
    _where: dict[Head, int] = field(default_factory=dict)
    _most: int = 1

    def __post_init__(self) -> None:
        self.set_counts(self.counts)

    def set_counts(self, counts: Sequence[int]) -> None:
        """Another model."""
        self.counts, self.ranked = tuple(counts), None
        self._most = max(self.counts, default=1)

    def rank(self, scores: np.ndarray | None) -> None:
        """Sort by a score (layers, most heads), largest first; nan comes last. None: layer by layer."""
        if scores is None:
            self.ranked = None
            return
        heads = [(layer, head) for layer, count in enumerate(self.counts) for head in range(count)]
        values = np.array([scores[head] for head in heads])
        self.ranked = tuple(heads[place] for place in np.argsort(-np.nan_to_num(values, nan=-np.inf), kind="stable"))
        self._where = {head: place for place, head in enumerate(self.ranked)}

    @property
    def across(self) -> int:
        """Heads in a line."""
        if self.ranked is None:
            return self._most
        return max(int(self.width // (SORTED + GAP)), 1)

    @property
    def left(self) -> float:
        """Where the first square of a line begins."""
        return LABEL if self.ranked is None else 0

    @property
    def side(self) -> float:
        """Of a square."""
        if self.ranked is not None:
            return SORTED
        return float(min(max((self.width - LABEL) // self.across - GAP, LEAST), LARGEST))

    @property
    def line(self) -> float:
        """Height of a line with its gap."""
        return self.side + GAP + (SCORE_LINE if self.ranked is not None else 0)

    @property
    def lines(self) -> int:
        """How many there are."""
        return len(self.counts) if self.ranked is None else -(-len(self.ranked) // self.across)

    @property
    def height(self) -> float:
        """Of all lines."""
        return self.lines * self.line

    def place(self, head: Head) -> tuple[float, float]:
        """Left and top of a head's square."""
        return self.places([head])[0][1:]

    def places(self, heads: Sequence[Head]) -> list[tuple[Head, float, float]]:
        """Heads with the left and top of each."""
        left, line, step, across = self.left, self.line, self.side + GAP, self.across
        where = heads if self.ranked is None else [divmod(self._where[head], across) for head in heads]
        return [(head, left + column * step, row * line) for head, (row, column) in zip(heads, where)]

    def at(self, x: float, y: float) -> Head | None:
        """The head under a point."""
        line, column = int(y // self.line), int((x - self.left) // (self.side + GAP))
        if y < 0 or x < self.left or not 0 <= column < self.across or line >= self.lines:
            return None
        if self.ranked is None:
            return (line, column) if column < self.counts[line] else None
        place = line * self.across + column
        return self.ranked[place] if place < len(self.ranked) else None

    def layer_at(self, x: float, y: float) -> int:
        """The layer whose number is under a point, -1 if none is."""
        line = int(y // self.line)
        return line if self.ranked is None and 0 <= x < LABEL and 0 <= line < self.lines else -1

    def between(self, top: float, bottom: float) -> list[Head]:
        """The heads whose lines reach into a stretch."""
        lines = range(max(int(top // self.line), 0), min(int(bottom // self.line) + 1, self.lines))
        if self.ranked is None:
            return [(line, head) for line in lines for head in range(self.counts[line])]
        return list(self.ranked[lines.start * self.across : lines.stop * self.across]) if lines else []

    def neighbour(self, head: Head, down: int, right: int) -> Head:
        """The head that stands so many lines below and places to the right; the same one at an edge."""
        if self.ranked is None:
            layer = min(max(head[0] + down, 0), len(self.counts) - 1)
            return layer, min(max(head[1] + right, 0), max(self.counts[layer] - 1, 0))
        place = self._where[head] + down * self.across + right
        return self.ranked[place] if 0 <= place < len(self.ranked) else head

    def end(self, last: bool) -> Head:
        """The first or the last head on show."""
        if self.ranked is not None:
            return self.ranked[-1 if last else 0]
        return (len(self.counts) - 1, self.counts[-1] - 1) if last else (0, 0)
