"""All heads of a model at a glance: a small picture of each map, or a colour for one of its scores; layer by layer or sorted.

One widget, painted from arrays; only what is in sight is painted, and kept while the pointer moves. A click selects a head, with Ctrl or
Shift a further one of its layer; a click on a layer's number selects all its heads. The arrows go from head to head.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import reduce

import numpy as np
from PySide6.QtCore import QEvent, QLineF, QPoint, QRectF, Qt, Signal, Slot
from PySide6.QtGui import QColor, QImage, QKeyEvent, QPainter, QPen, QPixmap
from PySide6.QtWidgets import QAbstractScrollArea, QFrame, QWidget

from app import theme
from app.widgets.colour_scale import ColourScale, figure
from app.widgets.head_cells import LABEL, SCORE_LINE, Head, HeadCells
from app.widgets.head_peek import HeadPeek
from app.widgets.turns import in_turn

_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
_LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
STEPS = {Qt.Key.Key_Up: (-1, 0), Qt.Key.Key_Down: (1, 0), Qt.Key.Key_Left: (0, -1), Qt.Key.Key_Right: (0, 1)}
KEY_HELP = [
    ("Arrows", "In the heads: another layer, another head"),
    ("Home, End", "In the heads: the first, the last"),
    ("Ctrl+A", "In the heads: all heads of the layer, as their mean"),
]


class HeadGrid(QAbstractScrollArea):
    """Shows heads."""

    selected = Signal(int, object)
    """Layer, and a tuple of its heads."""
    hovered = Signal(object)
    """(layer, head) or None."""
    menu_wanted = Signal(object, QPoint)
    """(layer, head) that was right-clicked, and where on the screen."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.cells = HeadCells()
        self._maps: np.ndarray | None = None
        self._scores: np.ndarray | None = None
        self._score_name, self._sorted, self._log = "", False, False
        self._names: Sequence[str] = ()
        self._layer, self._heads = 0, (0,)
        self._edited: frozenset[Head] = frozenset()
        self._hover: Head | None = None
        self._row = -1.0
        self._mosaic: QImage | None = None
        self._base: QPixmap | None = None
        self._squares: dict[Head, QRectF] = {}
        self._peek = HeadPeek(self)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.viewport().setMouseTracking(True)
        self.setMinimumWidth(120)
        self.setAccessibleName("Heads")
        self.verticalScrollBar().valueChanged.connect(self._renew)
        theme.notifier().changed.connect(self._recolour)

    # content -------------------------------------------------------------------------------------------------------

    def set_heads(self, counts: Sequence[int], names: Sequence[str] = ()) -> None:
        """How many heads each layer has, and the layers' names; forgets maps and scores."""
        self.cells.set_counts(counts)
        self._names, self._maps, self._scores, self._hover = names, None, None, None
        self._edited = frozenset()
        self.select(0, (0,))
        self._fit()

    def set_maps(self, thumbnails: np.ndarray | None) -> None:
        """float (layers, most heads, size, size), each with 1 as its largest; nan where nothing is known."""
        self._maps = thumbnails
        self._recolour()

    def set_scores(self, name: str, scores: np.ndarray | None, ranked: bool) -> None:
        """A score (layers, most heads) to colour by ("" as its name: show the maps), and whether to sort by it."""
        self._score_name, self._scores, self._sorted = name, scores, ranked
        self.cells.rank(scores if ranked else None)
        self._fit()

    def set_log(self, log: bool) -> None:
        """Linear or logarithmic colours of the maps."""
        self._log = log
        self._recolour()

    def set_edited(self, heads: Collection[Head]) -> None:
        """Strike the heads that are removed or scaled."""
        self._edited = frozenset(heads)
        in_turn(self.viewport())

    def set_row(self, share: float) -> None:
        """Draw a line through every map where a query stands, 0 to 1; -1: none."""
        if share != self._row:
            self._row = share
            in_turn(self.viewport())

    def select(self, layer: int, heads: Sequence[int]) -> None:
        """Mark heads as those on show; tells nobody."""
        self._layer, self._heads = layer, tuple(heads)
        self.setAccessibleDescription(f"layer {layer}, head {', '.join(map(str, heads)) or 'none'}")
        self._reveal()
        in_turn(self.viewport())

    def words(self, head: Head) -> str:
        """A head, and its score if one is shown."""
        name = self._names[head[0]] if head[0] < len(self._names) else f"layer {head[0]}"
        score = self._score_of(head)
        return f"{name}, head {head[1]}" + (f" · {self._score_name} {figure(score)}" if score is not None else "")

    def score_scale(self) -> ColourScale:
        """How scores become colours: from 0 to the largest."""
        known = self._scores[~np.isnan(self._scores)] if self._scores is not None else np.zeros(0)
        return ColourScale(float(np.abs(known).max()) if known.size else 1.0, signed=bool((known < 0).any()))

    def _score_of(self, head: Head) -> float | None:
        if self._scores is None or np.isnan(self._scores[head]):
            return None
        return float(self._scores[head])

    # painting ------------------------------------------------------------------------------------------------------

    @Slot()
    def _renew(self) -> None:
        self._base = None
        in_turn(self.viewport())

    @Slot()
    def _recolour(self) -> None:
        self._mosaic = None
        self._renew()

    def _fit(self) -> None:
        before, self.cells.width = self.cells.side, self.viewport().width()
        if self.cells.side != before:
            self._mosaic = None
        bar, page = self.verticalScrollBar(), self.viewport().height()
        bar.setRange(0, max(round(self.cells.height) - page, 0))
        bar.setPageStep(page)
        bar.setSingleStep(round(self.cells.line))
        self._renew()

    def _square(self, head: Head) -> QRectF:
        left, top = self.cells.place(head)
        return QRectF(left, top - self.verticalScrollBar().value(), self.cells.side, self.cells.side)

    def _places(self) -> dict[Head, QRectF]:
        """The squares of the heads in sight."""
        top, side = self.verticalScrollBar().value(), self.cells.side
        corners = self.cells.places(self.cells.between(top, top + self.viewport().height()))
        return {head: QRectF(left, down - top, side, side) for head, left, down in corners}

    def paintEvent(self, _event) -> None:
        painter = QPainter(self.viewport())
        if self._base is None:
            self._base = self._paint_base()
        painter.drawPixmap(0, 0, self._base)
        if self._row >= 0 and self._maps is not None and not self._score_name:
            down, side = self._row * self.cells.side, self.cells.side
            starts = [(place.left(), place.top() + down) for place in self._squares.values()]
            painter.setPen(QPen(theme.colour("warn"), 1))
            painter.drawLines([QLineF(left, at, left + side, at) for left, at in starts])
        shown = {(self._layer, head) for head in self._heads}
        for head in sorted(self._squares.keys() & (shown | self._edited | {self._hover})):
            chosen, place = head in shown, self._squares[head]
            if head in self._edited:
                painter.setPen(QPen(theme.colour("error"), 2))
                painter.drawLine(place.topLeft(), place.bottomRight())
            if chosen:
                painter.setPen(QPen(theme.colour("surface"), 3))
                painter.drawRect(place)
                painter.setPen(QPen(theme.colour("accent"), 2))
                painter.drawRect(place.adjusted(-1, -1, 1, 1))
            elif head == self._hover:
                painter.setPen(QPen(theme.colour("text"), 1))
                painter.drawRect(place)
        if self.hasFocus():
            painter.setPen(QPen(theme.colour("focus"), 2))
            painter.drawRect(self.viewport().rect().adjusted(1, 1, -1, -1))

    def _paint_base(self) -> QPixmap:
        ratio = self.devicePixelRatioF()
        base = QPixmap(self.viewport().size() * ratio)
        base.setDevicePixelRatio(ratio)
        base.fill(theme.colour("surface"))
        painter = QPainter(base)
        painter.setFont(theme.font(theme.LEAST))
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        self._squares = self._places()
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.colour("raised"))
        painter.drawRects(list(self._squares.values()))
        if self._score_name and not self._sorted:
            self._paint_colours(painter)
        elif self._maps is not None:
            self._paint_maps(painter, ratio)
        if self.cells.ranked is not None:
            self._paint_scores(painter)
        if self.cells.ranked is None:
            painter.setPen(theme.colour("muted"))
            for layer in range(len(self.cells.counts)):
                top = layer * self.cells.line - self.verticalScrollBar().value()
                painter.drawText(QRectF(0, top, LABEL - 6, self.cells.side), _RIGHT, str(layer))
        painter.end()
        return base

    def _paint_colours(self, painter: QPainter) -> None:
        """A score as a colour; an unknown one stays clear."""
        picture = self.score_scale().picture(np.asarray(self._scores, np.float32))
        for (layer, head), place in self._squares.items():
            painter.fillRect(place, QColor.fromRgba(picture.pixel(head, layer)))

    def _paint_maps(self, painter: QPainter, ratio: float) -> None:
        """The maps that are known."""
        if self._mosaic is None:
            self._mosaic = mosaic(self._maps, self.cells.side * ratio, ColourScale(log=self._log))
        known, side = ~np.isnan(self._maps[:, :, 0, 0]), self._mosaic.height() / len(self._maps)
        for (layer, head), place in self._squares.items():
            if known[layer, head]:
                painter.drawImage(place, self._mosaic, QRectF(head * side, layer * side, side, side))

    def _paint_scores(self, painter: QPainter) -> None:
        """Name and score under each head."""
        for head, place in self._squares.items():
            score, below = self._score_of(head), QRectF(place.left(), place.bottom(), place.width(), SCORE_LINE)
            painter.setPen(theme.colour("muted"))
            painter.drawText(below, _LEFT, f"{head[0]}.{head[1]}")
            painter.setPen(theme.colour("text"))
            painter.drawText(below, _RIGHT, "–" if score is None else f"{score:.2f}")

    # mouse and keys ------------------------------------------------------------------------------------------------

    def _at(self, event) -> Head | None:
        return self.cells.at(event.position().x(), event.position().y() + self.verticalScrollBar().value())

    def mouseMoveEvent(self, event) -> None:
        self._hover_over(self._at(event))

    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        self._hover_over(None)

    def hideEvent(self, event) -> None:
        super().hideEvent(event)
        self._peek.hide()

    def _hover_over(self, head: Head | None) -> None:
        if head == self._hover:
            return
        self._hover = head
        self.viewport().update()
        self.hovered.emit(head)
        if head is None or self._maps is None or np.isnan(self._maps[head][0, 0]):
            self._peek.hide()
            return
        where = self.viewport().mapToGlobal(self._square(head).topLeft().toPoint())
        self._peek.show_head(ColourScale(log=self._log).picture(self._maps[head]), self.words(head), where)

    def mousePressEvent(self, event) -> None:
        y = event.position().y() + self.verticalScrollBar().value()
        head, layer = self._at(event), self.cells.layer_at(event.position().x(), y)
        if event.button() == Qt.MouseButton.RightButton and head is not None:
            self._peek.hide()
            self.menu_wanted.emit(head, event.globalPosition().toPoint())
        elif event.button() == Qt.MouseButton.LeftButton and layer >= 0:
            self._choose(layer, tuple(range(self.cells.counts[layer])))
        elif event.button() == Qt.MouseButton.LeftButton and head is not None:
            more = event.modifiers() & (Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier)
            heads = tuple(sorted(set(self._heads) ^ {head[1]})) if more and head[0] == self._layer else (head[1],)
            self._choose(head[0], heads or (head[1],))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key = Qt.Key(event.key())
        if not self.cells.counts:
            super().keyPressEvent(event)
        elif key in STEPS:
            layer, head = self.cells.neighbour((self._layer, self._heads[0] if self._heads else 0), *STEPS[key])
            self._choose(layer, (head,))
        elif key in (Qt.Key.Key_Home, Qt.Key.Key_End):
            layer, head = self.cells.end(key == Qt.Key.Key_End)
            self._choose(layer, (head,))
        elif key == Qt.Key.Key_A and event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self._choose(self._layer, tuple(range(self.cells.counts[self._layer])))
        else:
            super().keyPressEvent(event)

    def _choose(self, layer: int, heads: tuple[int, ...]) -> None:
        self.select(layer, heads)
        self.selected.emit(layer, heads)

    def _reveal(self) -> None:
        """Scroll to the selected head."""
        if self.cells.counts and self._heads:
            top, bar = self.cells.place((self._layer, self._heads[0]))[1], self.verticalScrollBar()
            if not bar.value() <= top <= bar.value() + self.viewport().height() - self.cells.line:
                bar.setValue(round(top - self.viewport().height() / 2))

    def resizeEvent(self, event) -> None:
        super().resizeEvent(event)
        self._fit()
        self._reveal()


def thinned(maps: np.ndarray, side: float) -> np.ndarray:
    """The largest of each block, for squares of `side` pixels: (…, S, S) -> (…, s, s), s >= side if S is. Means would dim thin lines."""
    size = maps.shape[-1]
    block = max((n for n in range(1, size + 1) if size % n == 0 and size // n >= side), default=1)
    tall = reduce(np.maximum, (maps[..., first::block, :] for first in range(block)))  # 40 times as fast as a max over axes
    return reduce(np.maximum, (tall[..., first::block] for first in range(block)))


def mosaic(maps: np.ndarray, side: float, scale: ColourScale) -> QImage:
    """All maps (layers, heads, S, S) as one picture, layers downwards."""
    small = thinned(maps, side)
    layers, heads, size, _ = small.shape
    return scale.picture(small.transpose(0, 2, 1, 3).reshape(layers * size, heads * size))
