"""What can be shown of a plane of states, as pictures and words: values, advantages, actions; and the trail of the agent on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from PySide6.QtCore import QPointF, QRectF
from PySide6.QtGui import QColor, QImage, QPainter, QPainterPath, QPen, QPolygonF

from app import theme
from app.protocol.rl import GridView, PlaneView
from app.widgets.agents.portraits import signed
from app.widgets.agents.strokes import disc
from app.widgets.chart_frame import ChartFrame
from app.widgets.colour_scale import ColourScale, figure
from app.widgets.expert_paint import ink_on, mixed

LAYERS = ("value", "advantage", "action")
ARROWS = (13, 9)
"""Columns and rows of arrows over a plane."""
INKS = ("#101010", "#ffffff")
HEAD, THIN = 7.25, 0.75
"""Length of an arrow's head and half the thickness of its shaft, in pixels."""
PALEST = 0.75
"""How much of the ground is in the colour of an action that is no likelier than the others."""
WASH = 64
"""Steps of paleness."""


def layers_of(view: PlaneView | GridView | None) -> tuple[str, ...]:
    """Which of `LAYERS` a view holds."""
    if view is None:
        return ()
    if isinstance(view, GridView) or view.advantage is None:
        return ("value", "action")
    return LAYERS


def scale_of(view: PlaneView, layer: str) -> ColourScale:
    """The colours of a layer of numbers: values from the least to the largest, the others about 0."""
    if layer == "value":
        return ColourScale.spanning(view.value)
    if layer == "advantage" and view.advantage is not None:
        return ColourScale.spanning(view.advantage, signed=True)
    return ColourScale(max(map(abs, view.action_range)) or 1.0, signed=True)


def picture_of(view: PlaneView, layer: str) -> QImage:
    """n x n pixels, the highest y on top."""
    if layer == "action" and view.certainty is not None:
        return action_picture(view)
    values = {"value": view.value, "advantage": view.advantage, "action": view.action}[layer]
    return scale_of(view, layer).picture(np.asarray(values, float)[::-1])


def action_picture(view: PlaneView) -> QImage:
    """Each action in its colour, paler the less certain it is."""
    n = max(len(view.action_names), int(view.action.max()) + 1)
    washes = np.array([[action_colour(a, 1 - w / (WASH - 1)).rgb() for w in range(WASH)] for a in range(n)], np.uint32)
    sure = np.clip((view.certainty - 1 / n) / (1 - 1 / n), 0, 1) if n > 1 else np.ones_like(view.action)
    pixels = np.ascontiguousarray(washes[view.action.astype(int), (sure * (WASH - 1)).astype(int)][::-1])
    height, width = pixels.shape
    return QImage(pixels.data, width, height, width * 4, QImage.Format.Format_RGB32).copy()


def action_colour(action: int, doubt: float = 0.0) -> QColor:
    """The colour of a numbered action; `doubt` 1 when it is no likelier than the others."""
    return mixed(theme.data_colour(action), theme.colour("surface"), doubt * PALEST)


def push_of(view: PlaneView, row: int, column: int) -> float:
    """Which way the action of a cell points, -1 (left) to 1 (right), for the arrows: numbered actions in the order of their names."""
    action = float(view.action[row, column])
    if view.certainty is None:
        return float(np.clip(action / (max(map(abs, view.action_range)) or 1.0), -1, 1))
    n = max(len(view.action_names), 2)
    return (2 * action / (n - 1) - 1) * float(view.certainty[row, column])


def paint_arrows(painter: QPainter, frame: ChartFrame, view: PlaneView, picture: QImage) -> None:
    """Horizontal arrows over the plane; a dot where the action is none. All of one ink are one shape: singly they take far longer."""
    n, (across, up) = len(view.value), ARROWS
    reach = frame.place.width() / across * 0.42
    shapes = {ink: QPainterPath() for ink in INKS}
    for j in range(up):
        for i in range(across):
            share = (i + 0.5) / across, (j + 0.5) / up
            row, column = round(share[1] * (n - 1)), round(share[0] * (n - 1))
            at = QPointF(frame.place.left() + share[0] * frame.place.width(), frame.place.bottom() - share[1] * frame.place.height())
            add_arrow(shapes[_ink(picture.pixel(column, n - 1 - row))], at, reach * push_of(view, row, column))
    for ink, shape in shapes.items():
        painter.fillPath(shape, QColor(ink))


def add_arrow(shape: QPainterPath, at: QPointF, half: float) -> None:
    """An arrow round a middle, `half` of its length to the right (or left, below 0)."""
    if abs(half) < 0.25:
        shape.addEllipse(at, 1.5, 1.5)
        return
    tail, tip, size = at.x() - half, at.x() + half, math.copysign(min(HEAD, 2 * abs(half)), half)
    neck, wing, y = tip - 0.9 * size, 0.43 * abs(size), at.y()
    corners = ((tail, y - THIN), (neck, y - THIN), (neck, y - wing), (tip, y), (neck, y + wing), (neck, y + THIN), (tail, y + THIN))
    shape.addPolygon(QPolygonF([QPointF(*corner) for corner in corners]))
    shape.closeSubpath()


@lru_cache(maxsize=1024)
def _ink(ground: int) -> str:
    """The ink on a pixel."""
    return ink_on(QColor(ground)).name()


def arrow_words(view: PlaneView | GridView) -> str:
    """What the arrows mean."""
    if isinstance(view, GridView):
        return ""
    if view.certainty is None:
        return "← negative, → positive action"
    names = view.action_names or ("first", "last")
    return f"← {names[0]}, → {names[-1]}" + (", · between" if len(names) > 2 else "")


def target_of(frame: ChartFrame, n: int) -> QRectF:
    """Where an n x n picture stands: its cells are centred on the points of the grid, so it reaches half a cell over each edge."""
    dx, dy = frame.place.width() / (n - 1) / 2, frame.place.height() / (n - 1) / 2
    return frame.place.adjusted(-dx, -dy, dx, dy)


def stretches(trail: Sequence[tuple[float, float]], span: float, circular: bool) -> list[list[tuple[float, float]]]:
    """The trail in pieces: on a circle it breaks where it leaves at one edge and comes back at the other."""
    pieces: list[list[tuple[float, float]]] = []
    for point in trail:
        if not pieces or (circular and abs(point[0] - pieces[-1][-1][0]) > span / 2):
            pieces.append([])
        pieces[-1].append(point)
    return pieces


def paint_trail(painter: QPainter, frame: ChartFrame, trail: Sequence[tuple[float, float]], circular: bool) -> None:
    """Where the agent has been, and a disc where it is; hollow at the edge if it is outside."""
    if not trail:
        return
    lines = [QPolygonF([frame.at(*point) for point in piece]) for piece in stretches(trail, frame.x[1] - frame.x[0], circular)]
    for colour, width in ((theme.colour("surface", 190), 4.0), (theme.colour("text"), 1.6)):
        painter.setPen(QPen(colour, width))
        for line in lines:
            painter.drawPolyline(line)
    x, y = trail[-1]
    kept = min(max(x, frame.x[0]), frame.x[1]), min(max(y, frame.y[0]), frame.y[1])
    disc(painter, frame.at(*kept), 6, theme.data_colour(1) if kept == (x, y) else theme.colour("surface"), theme.colour("text"))


def action_words(view: PlaneView, row: int, column: int) -> str:
    """The best action of a cell, with its probability."""
    action = float(view.action[row, column])
    if view.certainty is None:
        return signed(f"action {action:+.2f}")
    name = view.action_names[int(action)] if int(action) < len(view.action_names) else f"action {int(action)}"
    return f"{name} ({view.certainty[row, column]:.0%})"


def cell_at(view: PlaneView, x: float, y: float) -> tuple[int, int]:
    """Row and column of the grid point nearest to a state."""
    n = len(view.value)
    (x0, x1), (y0, y1) = view.x_range, view.y_range
    return (min(max(round((y - y0) / (y1 - y0) * (n - 1)), 0), n - 1), min(max(round((x - x0) / (x1 - x0) * (n - 1)), 0), n - 1))


def words_at(view: PlaneView, x: float, y: float) -> str:
    """A state in words: value, action, advantage."""
    row, column = cell_at(view, x, y)
    parts = [f"{view.value_name} {figure(float(view.value[row, column]))}", action_words(view, row, column)]
    if view.advantage is not None:
        parts.append(f"advantage {figure(float(view.advantage[row, column]))}")
    return signed(f"{bare(view.x_name)} {x:.3g}, {bare(view.y_name)} {y:.3g}: ") + ", ".join(parts)


def bare(name: str) -> str:
    """The name of an axis without its unit."""
    return name.partition(" (")[0]
