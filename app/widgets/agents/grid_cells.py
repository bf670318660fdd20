"""A grid world as cells: walls, pits, goals, values as colours, the policy as arrows whose length is a probability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QBrush, QColor, QPainter

from app import theme
from app.protocol.rl import GridView
from app.widgets.agents.portraits import signed
from app.widgets.agents.strokes import arrow, disc, pen
from app.widgets.colour_scale import ColourScale
from app.widgets.expert_paint import ink_on, mixed

WAYS = ((0, -1), (1, 0), (0, 1), (-1, 0))
"""Of the actions up, right, down, left: (right, down) on the screen."""
NAMES = {"S": "start", "G": "goal", "X": "pit", "#": "wall", ".": "floor"}
LEAST_DRAWN = 0.1
"""Probability of a move below which it has no arrow."""
NUMBER_FROM = 56
"""Pixels of a cell from which its value is written into it."""


@dataclass(frozen=True)
class Cells:
    """Square cells in the middle of a place."""

    rows: int
    columns: int
    side: float
    corner: QPointF

    @classmethod
    def within(cls, place: QRectF, rows: int, columns: int) -> Cells:
        """As large as they fit."""
        side = max(min(place.width() / max(columns, 1), place.height() / max(rows, 1)), 1.0)
        middle = place.center()
        return cls(rows, columns, side, QPointF(middle.x() - side * columns / 2, middle.y() - side * rows / 2))

    def at(self, row: float, column: float) -> QRectF:
        """Where a cell stands."""
        return QRectF(self.corner.x() + column * self.side, self.corner.y() + row * self.side, self.side, self.side)

    def under(self, point: QPointF) -> tuple[int, int] | None:
        """Row and column under a point."""
        row = int((point.y() - self.corner.y()) // self.side)
        column = int((point.x() - self.corner.x()) // self.side)
        return (row, column) if 0 <= row < self.rows and 0 <= column < self.columns else None


def value_scale(view: GridView) -> ColourScale:
    """From the least to the largest value of the cells that are no walls."""
    walls = np.array([[letter == "#" for letter in row] for row in view.rows])
    values = view.values[~walls & np.isfinite(view.values)]
    return ColourScale.spanning(values)


def paint_map(painter: QPainter, cells: Cells, rows: Sequence[str], tints: dict[tuple[int, int], QColor]) -> None:
    """Floor, walls and letters; `tints` are the colours of cells that have one."""
    for row, line in enumerate(rows):
        for column, letter in enumerate(line):
            place = cells.at(row, column).adjusted(0.5, 0.5, -0.5, -0.5)
            if letter == "#":
                painter.fillRect(place, theme.colour("raised"))
                painter.fillRect(place, QBrush(theme.colour("muted"), Qt.BrushStyle.BDiagPattern))
                continue
            tint = tints.get((row, column), theme.colour("surface"))
            painter.fillRect(place, tint)
            if letter in "GX":
                _paint_end(painter, place, letter)
            elif letter == "S":
                painter.setPen(ink_on(tint))
                painter.setFont(theme.font(theme.LEAST, bold=True))
                painter.drawText(place.adjusted(3, 1, 0, 0), Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop, "S")


def _paint_end(painter: QPainter, place: QRectF, letter: str) -> None:
    """A flag on the goal, a cross in a pit: cells that end the episode."""
    colour = theme.colour("ok" if letter == "G" else "error")
    painter.fillRect(place, theme.colour("surface"))
    painter.setPen(pen(colour, 2))
    painter.drawRect(place.adjusted(2, 2, -2, -2))
    a = place.width() * 0.28
    middle = place.center()
    if letter == "X":
        painter.drawLine(middle + QPointF(-a, -a), middle + QPointF(a, a))
        painter.drawLine(middle + QPointF(-a, a), middle + QPointF(a, -a))
        return
    painter.drawLine(middle + QPointF(-a / 2, a), middle + QPointF(-a / 2, -a))
    painter.setBrush(colour)
    painter.drawPolygon([middle + QPointF(-a / 2, -a), middle + QPointF(a, -a / 2), middle + QPointF(-a / 2, 0)])
    painter.setBrush(Qt.BrushStyle.NoBrush)


def tints_of(view: GridView, scale: ColourScale) -> dict[tuple[int, int], QColor]:
    """The colour of each cell that has a value; goals and pits end the episode and have none."""
    picture = scale.picture(view.values.astype(np.float64))
    return {
        (row, column): QColor(picture.pixel(column, row))
        for row, line in enumerate(view.rows)
        for column, letter in enumerate(line)
        if letter in "S."
    }


def arrows_of(probabilities: np.ndarray) -> list[tuple[int, float]]:
    """(4,) -> number and length, 0 to 1, of the arrows drawn: all that are likelier than `LEAST_DRAWN`."""
    return [(move, float(p)) for move, p in enumerate(probabilities) if p > LEAST_DRAWN]


def paint_policy(painter: QPainter, cells: Cells, view: GridView, tints: dict[tuple[int, int], QColor]) -> None:
    """An arrow a move from the middle of each cell; the longest reach its edge."""
    for (row, column), tint in tints.items():
        ink = ink_on(tint)
        middle = cells.at(row, column).center()
        for move, p in arrows_of(view.probabilities[row, column]):
            right, down = WAYS[move]
            reach = cells.side * (0.12 + 0.32 * p)
            colour = QColor(ink)
            colour.setAlphaF(0.45 + 0.55 * p)
            arrow(painter, middle, middle + QPointF(right * reach, down * reach), cells.side * (0.015 + 0.03 * p), colour)


def paint_numbers(painter: QPainter, cells: Cells, view: GridView, tints: dict[tuple[int, int], QColor]) -> None:
    """The value in the corner of each cell, where there is room."""
    if cells.side < NUMBER_FROM:
        return
    painter.setFont(theme.font(theme.LEAST))
    for (row, column), tint in tints.items():
        painter.setPen(ink_on(tint))
        flags = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignTop
        painter.drawText(cells.at(row, column).adjusted(0, 2, -4, 0), flags, signed(f"{view.values[row, column]:.2f}"))


def paint_agent(painter: QPainter, cells: Cells, row: float, column: float) -> None:
    """A disc with a rim that shows on every ground."""
    middle = cells.at(row, column).center()
    disc(painter, middle, cells.side * 0.26, theme.colour("surface"))
    disc(painter, middle, cells.side * 0.22, theme.data_colour(1), theme.colour("text"))


def action_tints(view: GridView) -> dict[tuple[int, int], QColor]:
    """Each cell in the colour of its likeliest move, paler the less likely it is."""
    made = {}
    for row, line in enumerate(view.rows):
        for column, letter in enumerate(line):
            p = view.probabilities[row, column]
            if letter in "S.":
                doubt = 1 - max(float(p.max()) - 0.25, 0) / 0.75
                made[row, column] = mixed(theme.data_colour(int(p.argmax())), theme.colour("surface"), doubt * 0.75)
    return made


def paint_world(
    painter: QPainter, place: QRectF, world: GridView | Sequence[str], agent: tuple[float, float] | None, *, by_action: bool = False
) -> Cells:
    """Map, values (or moves, `by_action`), policy and agent; of a map alone, the map and the agent."""
    rows = world.rows if isinstance(world, GridView) else tuple(world)
    cells = Cells.within(place, len(rows), len(rows[0]))
    tints = {}
    if isinstance(world, GridView):
        tints = action_tints(world) if by_action else tints_of(world, value_scale(world))
    frame = QRectF(cells.corner, cells.at(cells.rows - 1, cells.columns - 1).bottomRight())
    painter.fillRect(frame.adjusted(-1, -1, 1, 1), theme.colour("border"))
    paint_map(painter, cells, rows, tints)
    if isinstance(world, GridView):
        paint_policy(painter, cells, world, tints)
        paint_numbers(painter, cells, world, tints)
    if agent is not None:
        paint_agent(painter, cells, *agent)
    return cells


def cell_words(view: GridView, row: int, column: int) -> str:
    """A cell in words."""
    kind = NAMES.get(view.rows[row][column], "floor")
    where = f"row {row}, column {column}, {kind}"
    if kind in ("wall", "goal", "pit"):
        return where + (": ends the episode" if kind != "wall" else "")
    value = signed(f"value {view.values[row, column]:.3f}")
    value += signed(f" (best policy: {view.optimal[row, column]:.3f})") if view.optimal is not None else ""
    moves = ", ".join(f"{name} {p:.0%}" for name, p in zip(view.action_names, view.probabilities[row, column], strict=True))
    return f"{where}: {value}; {moves}"
