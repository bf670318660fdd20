"""A reply as tokens: chips coloured by fate, a bar of entropy over each, and what was drafted and refused as a ghost line below.

Only what is in sight is painted, and a new round repaints only the lines it changed; when the text above grows and all lines move, those
painted before are copied.  Hovering tells all about a token and lights its
round; a click selects it; a click on a ghost asks to go on from there.
"""

from __future__ import annotations

import html
from math import ceil

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal, Slot
from PySide6.QtGui import QFontMetricsF, QHelpEvent, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen, QPixmap
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from app import theme
from app.protocol.chat import ChatRound, ForcedToken
from app.widgets.fate_marks import ground, ink, paint_mark
from app.widgets.token_layout import Chip, TokenLayout
from app.widgets.token_words import ghost_tip, quoted, token_tip

EMPTY_HEIGHT = 20
FULL_ENTROPY = 4.0  # nats at which the bar over a token has its full height
LEAST_WIDTH, FIRST_WIDTH = 40, 560.0
MOST_PICTURES = 48  # painted lines that are kept: more than fit a tall window


class TokenText(QWidget):
    """Shows the rounds of one reply."""

    hovered = Signal(int)
    """The round under the pointer, -1 if there is none."""
    selected = Signal(int)
    """A token, by its place in the reply."""
    ghost_clicked = Signal(int, int)
    """A refused draft: its round, and its place in the round's drafts."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._shown: int | None = None
        self._lit = self._hover = -1
        self._current, self._given = -1, 0
        self._widths: dict[str, float] = {}
        self._pictures: dict[int, QPixmap] = {}
        self.layout_ = TokenLayout(self._measure, FIRST_WIDTH)
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("Tokens of the reply")
        self.setProperty("wants_ring", True)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent, False)
        theme.notifier().changed.connect(self._restyle)
        self._restyle()

    # content -------------------------------------------------------------------------------------------------------

    def set_rounds(self, rounds: list[ChatRound], beginning: tuple[ForcedToken, ...] = ()) -> None:
        """Show a reply; if it begins with what is shown already, only its end is laid out."""
        have = self.layout_.rounds
        if len(rounds) < len(have) or (have and rounds[0] is not have[0]) or len(beginning) != self._given:
            self._begin(beginning)
        changed: int | None = None
        for round_ in rounds[len(self.layout_.rounds) :]:
            line = self.layout_.add(round_)
            changed = line if changed is None else min(changed, line)
        if changed is not None:
            self._pictures = {line: picture for line, picture in self._pictures.items() if line < changed}
            self._fit()
            self.update(QRectF(0, self._top(changed), self.width(), self.height()).toAlignedRect())

    def set_shown(self, rounds: int | None) -> None:
        """Show only that many rounds in full, the rest pale (a replay); None = all."""
        if rounds != self._shown:
            self._shown = rounds
            self.update()

    def set_lit(self, round_: int) -> None:
        """Light the tokens of a round (-1: none)."""
        if round_ != self._lit:
            before, self._lit = self._lit, round_
            for number in (before, round_):
                self._update_round(number)

    def select(self, token: int) -> None:
        """Mark a token as the one that is looked at; tells nobody."""
        if token != self._current:
            for number in (self._current, token):
                self._update_chip(number)
            self._current = token

    @property
    def current(self) -> int:
        """The selected token, -1 if none is."""
        return self._current

    @property
    def empty(self) -> bool:
        """Whether there is no token to show."""
        return not self.layout_.chips

    def text(self) -> str:
        """The chips, separated by a bar: what a screen reader and a test see."""
        return "|".join(chip.text for chip in self.layout_.chips)

    def _begin(self, beginning: tuple[ForcedToken, ...]) -> None:
        old = self.layout_
        self.layout_ = TokenLayout(self._measure, old.width)
        self.layout_.begin(beginning)
        self._given = len(beginning)
        self._current = self._lit = -1
        self._pictures.clear()
        self._fit()
        self.update()

    # size ----------------------------------------------------------------------------------------------------------

    def _measure(self, text: str) -> float:
        if text not in self._widths:
            self._widths[text] = self._metrics.horizontalAdvance(text)
        return self._widths[text]

    @Slot()
    def _restyle(self) -> None:
        self.setFont(theme.font(mono=True))
        self._metrics = QFontMetricsF(theme.font(mono=True))
        self._widths.clear()
        self._pictures.clear()
        self.update()

    def _top(self, line: int) -> float:
        return self.layout_.lines[line].y if self.layout_.lines else 0.0

    def _fit(self) -> None:
        height = max(ceil(self.layout_.height), EMPTY_HEIGHT)
        if height != self.height():
            self.setFixedHeight(height)

    def resizeEvent(self, event) -> None:
        super().resizeEvent(event)
        width = max(float(self.width()), LEAST_WIDTH)
        if width != self.layout_.width:
            self.layout_.flow(width)
            self._pictures.clear()
            self._fit()

    def sizeHint(self) -> QSize:
        return QSize(400, max(ceil(self.layout_.height), EMPTY_HEIGHT))

    # painting ------------------------------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setFont(self.font())
        lines = self.layout_.lines
        if not lines:
            painter.setPen(theme.colour("muted"))
            painter.drawText(self.rect(), Qt.AlignmentFlag.AlignVCenter, "no tokens yet")
            return
        last = self.layout_.line_at(event.rect().bottom())
        marked = self._shown is not None or max(self._lit, self._hover, self._current) >= 0
        for number in range(self.layout_.line_at(event.rect().top()), last + 1):
            if marked or number == len(lines) - 1:
                self._paint_line(painter, number)
            else:
                painter.drawPixmap(QPointF(0, lines[number].y), self._picture(number))

    def _picture(self, line: int) -> QPixmap:
        """A line that nothing is added to any more, with nothing marked in it, on the ground it stands on."""
        found, ratio = self._pictures.get(line), self.devicePixelRatioF()
        if found is None or found.devicePixelRatio() != ratio:
            if len(self._pictures) >= MOST_PICTURES:
                self._pictures.clear()
            y, height = self._top(line), self._top(line + 1) - self._top(line)
            found = self._pictures[line] = QPixmap(ceil(self.width() * ratio), ceil(height * ratio))
            found.setDevicePixelRatio(ratio)
            found.fill(theme.colour("surface"))
            painter = QPainter(found)
            painter.setFont(self.font())
            painter.translate(0, -y)
            self._paint_line(painter, line)
            painter.end()
        return found

    def _paint_line(self, painter: QPainter, line: int) -> None:
        heights, y = self.layout_.heights, self.layout_.lines[line].y
        for number in self.layout_.chips_of(line):
            chip = self.layout_.chips[number]
            pale = self._shown is not None and chip.round >= self._shown
            place = QRectF(chip.x, y + heights.entropy, chip.width, heights.chip)
            self._paint_chip(painter, chip, place, number, pale)
        if self.layout_.lines[line].ghostly:
            self._paint_ghosts(painter, line, y + heights.entropy + heights.chip)

    def _paint_chip(self, painter: QPainter, chip: Chip, place: QRectF, number: int, pale: bool) -> None:
        kind = chip.kind
        if pale:
            painter.setPen(theme.colour("muted", 110))
            painter.drawText(place.adjusted(1, 0, 0, 0), Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, chip.text)
            return
        tint = ground(kind)
        if tint is not None:
            painter.fillRect(place, tint)
        if chip.round >= 0 and chip.round in (self._lit, self._hover):
            painter.fillRect(place, theme.colour("accent", 38))
        self._paint_entropy(painter, chip, place)
        painter.setPen(theme.colour("text"))
        painter.drawText(place.adjusted(1, 0, 0, 0), Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, chip.text)
        colour = ink(kind)
        if kind == "accepted":
            painter.fillRect(QRectF(place.left(), place.bottom() - 2, place.width(), 2), colour)
        elif kind in ("corrected", "bonus"):
            paint_mark(painter, QPointF(place.right() - 5, place.center().y()), kind, 6)
        elif kind == "given":
            painter.setPen(QPen(colour, 1, Qt.PenStyle.DotLine))
            painter.drawLine(place.bottomLeft(), place.bottomRight())
        if number == self._current + self._given and self._current >= 0:
            painter.setPen(QPen(theme.colour("accent"), 2))
            painter.drawRect(place.adjusted(0, 0, -1, -1))

    def _paint_entropy(self, painter: QPainter, chip: Chip, place: QRectF) -> None:
        height = min(chip.entropy / FULL_ENTROPY, 1.0) * (self.layout_.heights.entropy - 1)
        if height >= 0.5:
            painter.fillRect(QRectF(place.left(), place.top() - height, place.width() - 1, height), theme.colour("muted", 110))

    def _paint_ghosts(self, painter: QPainter, line: int, y: float) -> None:
        font = theme.font(theme.LEAST, mono=True)
        font.setStrikeOut(True)
        painter.setFont(font)
        for ghost in self.layout_.ghosts_of(line):
            if self._shown is None or ghost.round < self._shown:
                painter.setPen(ink(ghost.fate))
                place = QRectF(ghost.x, y, ghost.width, self.layout_.heights.ghost)
                painter.drawText(place, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, ghost.text)
        painter.setFont(self.font())

    def _update_round(self, number: int) -> None:
        if 0 <= number < len(self.layout_.firsts):
            first = self.layout_.firsts[number]
            count = max(len(self.layout_.rounds[number].tokens), 1)
            top, bottom = (self._top(self.layout_.line_of(n)) for n in (first, first + count - 1))
            self.update(QRectF(0, top, self.width(), bottom - top + 60).toAlignedRect())

    def _update_chip(self, token: int) -> None:
        if 0 <= token < len(self.layout_.chips) - self._given:
            self.update(QRectF(0, self._top(self.layout_.line_of(token + self._given)), self.width(), 60).toAlignedRect())

    # mouse and keys ------------------------------------------------------------------------------------------------

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        x, y = event.position().x(), event.position().y()
        ghost = self.layout_.ghost_at(x, y)
        chip = None if ghost else self.layout_.chip_at(x, y)
        self._hover_over(ghost.round if ghost else -1 if chip is None else self.layout_.chips[chip].round)
        clickable = ghost is not None or chip is not None
        self.setCursor(Qt.CursorShape.PointingHandCursor if clickable else Qt.CursorShape.ArrowCursor)

    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        self._hover_over(-1)

    def _hover_over(self, round_: int) -> None:
        if round_ != self._hover:
            before, self._hover = self._hover, round_
            for number in (before, round_):
                self._update_round(number)
            self.hovered.emit(round_)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() != Qt.MouseButton.LeftButton:
            super().mousePressEvent(event)
            return
        x, y = event.position().x(), event.position().y()
        ghost, chip = self.layout_.ghost_at(x, y), self.layout_.chip_at(x, y)
        if ghost is not None:
            self.ghost_clicked.emit(ghost.round, ghost.place)
        elif chip is not None and chip >= self._given:
            self._choose(chip - self._given)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Shift with the arrows goes from token to token; the arrows alone belong to the transport."""
        step = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}.get(Qt.Key(event.key()), 0)
        if step and event.modifiers() & Qt.KeyboardModifier.ShiftModifier and self.layout_.chips:
            self._choose(min(max(self._current + step, 0), len(self.layout_.chips) - self._given - 1))
        else:
            super().keyPressEvent(event)

    def _choose(self, token: int) -> None:
        self.select(token)
        self.selected.emit(token)

    def tip_at(self, x: float, y: float) -> str:
        """What hovering over a point tells."""
        ghost = self.layout_.ghost_at(x, y)
        if ghost is not None:
            return ghost_tip(self.layout_.rounds[ghost.round].drafted[ghost.place])
        number = self.layout_.chip_at(x, y)
        if number is None:
            return ""
        chip = self.layout_.chips[number]
        if chip.round < 0:
            return f"{quoted(chip.text)}   given: the reply had to begin with it"
        return token_tip(self.layout_.rounds[chip.round], number - self.layout_.firsts[chip.round])

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            words = self.tip_at(event.pos().x(), event.pos().y())
            lines = html.escape(words).replace("\n", "<br>")
            QToolTip.showText(event.globalPos(), f"<p style='white-space: pre'>{lines}</p>" if words else "", self)
            return True
        return super().event(event)
