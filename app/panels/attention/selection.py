"""What is looked at: a layer and some of its heads, and the tokens pinned or pointed at. All views read it, and all can change it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QObject, Signal, Slot

from app.panels.attention.sides import OTHER, Axis, text_axis, turnable
from app.protocol.attention import Looked


@dataclass(frozen=True)
class Focus:
    """Tokens of one side."""

    axis: Axis
    tokens: tuple[int, ...]


class Selection(QObject):
    """Tells of every change once."""

    heads_changed = Signal()
    focus_changed = Signal()
    """Another token is pinned or pointed at, or the direction has turned."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.layer, self.heads = 0, (0,)
        self.chosen: Axis = "rows"
        """The direction a person wants, where there is a choice."""
        self.axis: Axis = "rows"
        """The side on which a click on a token of a text onto itself pins it: rows = what it looks at, columns = what looks at it."""
        self.pinned: Focus | None = None
        self.pointed: Focus | None = None
        self.cell = (-1, -1)
        """A cell of the map under the pointer."""

    @property
    def focus(self) -> Focus | None:
        """What is pointed at, else what is pinned."""
        return self.pointed or self.pinned

    def begin(self, looked: Looked) -> None:
        """Another map: the layer and heads stay if it has them, tokens do not."""
        self.pinned = self.pointed = None
        self.cell = (-1, -1)
        self.axis = self.chosen if turnable(looked) else text_axis(looked) or "rows"
        layer = min(self.layer, len(looked.layers) - 1)
        heads = tuple(head for head in self.heads if head < looked.heads[layer]) or (0,)
        self.select(layer, heads)
        self.focus_changed.emit()

    def select(self, layer: int, heads: Sequence[int]) -> None:
        """Show other heads."""
        if (layer, tuple(heads)) != (self.layer, self.heads):
            self.layer, self.heads = layer, tuple(heads)
            self.heads_changed.emit()

    def point(self, axis: Axis, token: int) -> None:
        """A token is under the pointer; -1: none is."""
        self._set_pointed(Focus(axis, (token,)) if token >= 0 else None, (-1, -1))

    def point_cell(self, row: int, column: int) -> None:
        """A cell of the map is under the pointer."""
        token = row if self.axis == "rows" else column
        self._set_pointed(Focus(self.axis, (token,)) if token >= 0 else None, (row, column))

    def _set_pointed(self, focus: Focus | None, cell: tuple[int, int]) -> None:
        if (focus, cell) != (self.pointed, self.cell):
            self.pointed, self.cell = focus, cell
            self.focus_changed.emit()

    def show(self, focus: Focus) -> None:
        """Pin exactly these tokens."""
        if focus != self.pinned:
            self.pinned = focus
            self.focus_changed.emit()

    def pin(self, axis: Axis, token: int, more: bool = False) -> None:
        """Pin a token in place of those that are, or in addition; one that is pinned comes loose."""
        have = self.pinned.tokens if self.pinned is not None and self.pinned.axis == axis else ()
        if more:
            tokens = tuple(sorted(set(have) ^ {token}))
        else:
            tokens = () if have == (token,) else (token,)
        self.pinned = Focus(axis, tokens) if tokens else None
        self.focus_changed.emit()

    @Slot()
    def release(self) -> None:
        """Unpin all."""
        if self.pinned is not None or self.pointed is not None:
            self.pinned = self.pointed = None
            self.cell = (-1, -1)
            self.focus_changed.emit()

    def turn(self, axis: Axis) -> None:
        """The other direction; what is pinned stays pinned, on the other side."""
        self.chosen = axis
        if axis != self.axis:
            self.axis = axis
            if self.pinned is not None:
                self.pinned = Focus(OTHER[self.pinned.axis], self.pinned.tokens)
            self.pointed = None
            self.focus_changed.emit()
