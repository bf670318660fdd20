"""The rounds of a reply as a strip: one column a round, as high as the round took, cut into the tokens it tested.

The slimmer a cell, the cheaper its token: a round with many accepted drafts is a stack of thin green cells, a plain round one tall cell.
The bar at the left edge of a column splits its time into drafting, verifying and the rest.  Painted in one widget, only what is in sight.
"""

from __future__ import annotations

import math
from bisect import insort
from typing import NamedTuple

from PySide6.QtCore import QEvent, QPointF, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QHelpEvent, QKeyEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QAbstractScrollArea, QFrame, QToolTip, QWidget

from app import theme
from app.protocol.chat import ChatRound
from app.widgets.fate_marks import ground, paint_mark, role, visible
from app.widgets.token_layout import is_chain
from app.widgets.transport import is_time_key

HEIGHT, GUTTER, FOOT, HEAD = 112, 46, 16, 4
NARROW, COLUMN, WIDE = 14, 50, 120
SPLIT, GAP = 4, 4
SPLIT_COLOURS = (3, 0, 6)  # draft, verify, other: indices of the data colours
TEXT_LEAST, MARK_LEAST = 13, 8
MOST_REFUSED = 3  # refused nodes of a tree that are stacked in its column


class Cell(NamedTuple):
    """A token of a column."""

    fate: str
    text: str


def cells(round_: ChatRound) -> list[Cell]:
    """The tokens of a round from bottom to top: drafts in their order, then what the model added itself."""
    refused = [draft for draft in round_.drafted if draft.fate != "accepted"]
    if not is_chain(round_.drafted):
        refused = sorted((d for d in refused if d.fate == "rejected"), key=lambda d: -d.q)[:MOST_REFUSED]
    kept = [Cell("accepted", token.text) for token in round_.tokens if token.kind == "accepted"]
    own = [Cell(token.kind, token.text) for token in round_.tokens if token.kind != "accepted"]
    return [*kept, *(Cell(draft.fate, draft.text) for draft in refused), *own]


def seconds(round_: ChatRound) -> float:
    """How long a round took."""
    return round_.draft_s + round_.verify_s + round_.other_s


class RoundsStrip(QAbstractScrollArea):
    """Columns of rounds with a selection; follows the newest while it is in sight."""

    selected = Signal(int)
    hovered = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._rounds: list[ChatRound] = []
        self._times: list[float] = []
        self._scale = 0.05
        self._column = COLUMN
        self._hover = self._lit = -1
        self._empty = "Every round of a reply stands here as a column: what was drafted, what was kept, how long it took."
        self.current = -1
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFixedHeight(HEIGHT)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.viewport().setMouseTracking(True)
        self.setAccessibleName("Rounds")
        self.setProperty("wants_ring", True)
        self.setAccessibleDescription("Left and Right move a round, Home and End to the ends, Ctrl and the wheel zoom.")
        theme.notifier().changed.connect(self.viewport().update)

    # content -------------------------------------------------------------------------------------------------------

    def set_rounds(self, rounds: list[ChatRound]) -> None:
        """Show a reply's rounds; the list may have grown since."""
        bar, had = self.horizontalScrollBar(), len(self._rounds)
        following = bar.value() >= bar.maximum() - self._column
        grown = had > 0 and len(rounds) >= had and rounds[0] is self._rounds[0]
        if not grown:
            self.current, self._hover, self._times, had = -1, -1, [], 0
        self._rounds = list(rounds)
        same_scale = self._fit_scale(rounds[had:])
        self._fit()
        if following or not grown:
            bar.setValue(bar.maximum())
        if grown and same_scale:
            for index in range(had, len(rounds)):
                self._update_column(index)
        else:
            self.viewport().update()

    def set_empty_text(self, text: str) -> None:
        """What the strip says while there are no rounds."""
        self._empty = text
        self.viewport().update()

    def select(self, index: int) -> None:
        """Move the selection; tells nobody."""
        if index != self.current:
            before, self.current = self.current, index
            self._reveal(index)
            self._update_change(before, index)

    def set_lit(self, index: int) -> None:
        """Light a column because its tokens are pointed at elsewhere (-1: none)."""
        if index != self._lit:
            before, self._lit = self._lit, index
            self._reveal(index)
            self._update_change(before, index)

    def _fit_scale(self, fresh: list[ChatRound]) -> bool:
        """The time a full column stands for: a round figure above all but the slowest twentieth. True if it stayed."""
        for round_ in fresh:
            insort(self._times, seconds(round_))
        wanted = self._times[int(0.95 * (len(self._times) - 1))] if self._times else 0.0
        before, self._scale = self._scale, _round_up(max(wanted * 1.05, 1e-3))
        return self._scale == before

    # geometry ------------------------------------------------------------------------------------------------------

    def _fit(self) -> None:
        bar = self.horizontalScrollBar()
        bar.setRange(0, max(GUTTER + len(self._rounds) * self._column - self.viewport().width(), 0))
        bar.setPageStep(max(self.viewport().width() - GUTTER, 1))
        bar.setSingleStep(self._column)

    def _reveal(self, index: int) -> None:
        if index < 0:
            return
        bar, left = self.horizontalScrollBar(), index * self._column
        room = self.viewport().width() - GUTTER - self._column
        bar.setValue(min(max(bar.value(), left - room), left))

    def _index_at(self, x: float) -> int:
        index = int((x - GUTTER + self.horizontalScrollBar().value()) // self._column)
        return index if x >= GUTTER and 0 <= index < len(self._rounds) else -1

    def _left(self, index: int) -> float:
        return GUTTER + index * self._column - self.horizontalScrollBar().value()

    def _update_change(self, before: int, after: int) -> None:
        for index in (before, after):
            self._update_column(index)

    def _update_column(self, index: int) -> None:
        if index >= 0:  # its number may stand out of it at both sides
            self.viewport().update(QRect(int(self._left(index)) - 12, 0, self._column + 24, self.viewport().height()))

    def scrollContentsBy(self, dx: int, _dy: int) -> None:
        self.viewport().scroll(dx, 0, QRect(GUTTER, 0, self.viewport().width() - GUTTER, self.viewport().height()))

    @property
    def _full(self) -> int:
        """Pixels of a column that takes the whole scale."""
        return self.viewport().height() - FOOT - HEAD

    def sizeHint(self) -> QSize:
        return QSize(480, HEIGHT)

    def resizeEvent(self, event) -> None:
        super().resizeEvent(event)
        self._fit()

    # painting ------------------------------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self.viewport())
        painter.fillRect(event.rect(), theme.colour("surface"))
        painter.setFont(theme.font(theme.LEAST))
        if not self._rounds:
            painter.setPen(theme.colour("muted"))
            painter.drawText(self.viewport().rect(), Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap, self._empty)
            return
        self._paint_scale(painter)
        painter.setClipRect(event.rect() & QRect(GUTTER, 0, self.viewport().width() - GUTTER, self.viewport().height()))
        offset = self.horizontalScrollBar().value() - GUTTER
        first = max((event.rect().left() - 12 + offset) // self._column, 0)
        last = min((event.rect().right() + 12 + offset) // self._column + 1, len(self._rounds))
        for index in range(first, last):
            self._paint_column(painter, index)

    def _paint_scale(self, painter: QPainter) -> None:
        for part in (0.5, 1.0):
            y = HEAD + self._full * (1 - part)
            painter.setPen(theme.colour("line"))
            painter.drawLine(QPointF(GUTTER, y), QPointF(self.viewport().width(), y))
            painter.setPen(theme.colour("muted"))
            place = QRectF(0, max(y - 7, 0), GUTTER - 4, 14)
            painter.drawText(place, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, _time(self._scale * part))

    def _paint_column(self, painter: QPainter, index: int) -> None:
        round_, left = self._rounds[index], self._left(index)
        whole = QRectF(left, 0, self._column, self.viewport().height())
        if index == self.current:
            painter.fillRect(whole, theme.colour("selection"))
        elif index in (self._hover, self._lit):
            painter.fillRect(whole, theme.colour("raised"))
        total = seconds(round_)
        height = min(total / self._scale, 1.0) * self._full
        top = HEAD + self._full - height
        self._paint_split(painter, round_, QRectF(left + GAP / 2, top, SPLIT, height), total)
        stack = cells(round_)
        each = height / max(len(stack), 1)
        for number, cell in enumerate(stack):
            place = QRectF(left + GAP / 2 + SPLIT + 1, top + height - (number + 1) * each, self._column - GAP - SPLIT - 1, each)
            self._paint_cell(painter, cell, place)
        if total > self._scale:
            paint_mark(painter, QPointF(left + self._column / 2, HEAD), "untested", 9)
        painter.setFont(theme.font(theme.LEAST, bold=index == self.current))
        painter.setPen(theme.colour("text" if index == self.current else "muted"))
        every = max(1, math.ceil(28 / self._column))
        if index % every == 0 or index == self.current:
            foot = QRectF(left - 10, self.viewport().height() - FOOT, self._column + 20, FOOT)
            painter.drawText(foot, Qt.AlignmentFlag.AlignCenter, str(index + 1))

    def _paint_split(self, painter: QPainter, round_: ChatRound, place: QRectF, total: float) -> None:
        bottom = place.bottom()
        for part, colour in zip((round_.draft_s, round_.verify_s, round_.other_s), SPLIT_COLOURS, strict=True):
            height = place.height() * part / total if total else 0.0
            painter.fillRect(QRectF(place.left(), bottom - height, place.width(), height), theme.data_colour(colour))
            bottom -= height

    def _paint_cell(self, painter: QPainter, cell: Cell, place: QRectF) -> None:
        inner = place.adjusted(0, 0.5, 0, -0.5)
        painter.fillRect(inner, ground(cell.fate) or theme.colour("raised"))
        roomy = self._column >= 36 and place.height() >= TEXT_LEAST
        if place.height() >= MARK_LEAST:
            paint_mark(painter, QPointF(inner.left() + 6, inner.center().y()), cell.fate, min(6.0, place.height() - 3))
        else:
            painter.fillRect(QRectF(inner.left(), inner.top(), 3, inner.height()), theme.colour(role(cell.fate)))
        if roomy:
            font = theme.font(theme.LEAST, mono=True)
            font.setStrikeOut(cell.fate in ("rejected", "untested"))
            painter.setFont(font)
            painter.setPen(theme.colour(role(cell.fate)) if font.strikeOut() else theme.colour("text"))
            words = inner.adjusted(12, 0, 0, 0)
            shown = painter.fontMetrics().elidedText(visible(cell.text).strip() or "␣", Qt.TextElideMode.ElideRight, int(words.width()))
            painter.drawText(words, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, shown)

    # mouse ---------------------------------------------------------------------------------------------------------

    def mouseMoveEvent(self, event) -> None:
        self._hover_over(self._index_at(event.position().x()))
        if event.buttons() & Qt.MouseButton.LeftButton and self._hover >= 0:
            self._choose(self._hover)

    def mousePressEvent(self, event) -> None:
        index = self._index_at(event.position().x())
        if event.button() == Qt.MouseButton.LeftButton and index >= 0:
            self._choose(index)

    def _choose(self, index: int) -> None:
        if index != self.current:
            self.select(index)
            self.selected.emit(index)

    def _hover_over(self, index: int) -> None:
        if index != self._hover:
            before, self._hover = self._hover, index
            self._update_change(before, index)
            self.hovered.emit(index)

    def wheelEvent(self, event) -> None:
        turn = event.angleDelta().y() or event.angleDelta().x()
        if event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self.zoom(1.2 if turn > 0 else 1 / 1.2, event.position().x())
        else:
            bar = self.horizontalScrollBar()
            bar.setValue(bar.value() - (self._column * 2 if turn > 0 else -self._column * 2))
        event.accept()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if is_time_key(event):
            event.ignore()
        else:
            super().keyPressEvent(event)

    def zoom(self, factor: float, x: float) -> None:
        """Make columns wider or narrower; what is at `x` stays there."""
        under = (x - GUTTER + self.horizontalScrollBar().value()) / self._column
        self._column = round(min(max(self._column * factor, NARROW), WIDE))
        self._fit()
        self.horizontalScrollBar().setValue(round(under * self._column - x + GUTTER))
        self.viewport().update()

    def viewportEvent(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            index = self._index_at(event.pos().x())
            QToolTip.showText(event.globalPos(), round_tip(self._rounds[index]) if index >= 0 else "", self)
            return True
        if event.type() == QEvent.Type.Leave:
            self._hover_over(-1)
        return super().viewportEvent(event)


def round_tip(round_: ChatRound) -> str:
    """What a round did, in three lines."""
    kept = sum(draft.fate == "accepted" for draft in round_.drafted)
    drafted = f"{len(round_.drafted)} drafted, {kept} accepted, " if round_.drafted else "no draft, "
    times = f"draft {_time(round_.draft_s)}, verify {_time(round_.verify_s)}, other {_time(round_.other_s)}"
    text = visible("".join(token.text for token in round_.tokens))
    return f"round {round_.index + 1}: “{text}”\n{drafted}{len(round_.tokens)} written in {_time(seconds(round_))}\n{times}"


def _time(value: float) -> str:
    return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"


def _round_up(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 3, 4, 5, 6, 8, 10) if step * power >= value * 0.999999)
