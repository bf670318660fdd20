"""One speculative round drawn from left to right: the text so far, the drafted tokens as a tree (or a chain), the way that was accepted
lit, and beside it the attention mask under which the model checked all of them in one pass.

Mask: a node sees the whole text before the round, its own ancestors and itself, and nothing else (Medusa, arXiv 2401.10774).
"""

from __future__ import annotations

import html
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QHelpEvent, QPainter, QPainterPath, QPaintEvent, QPen
from PySide6.QtWidgets import QToolTip, QWidget

from app import theme
from app.protocol.chat import ChatRound
from app.widgets.fate_marks import ground, paint_mark, role, visible
from app.widgets.token_layout import way_to
from app.widgets.token_words import ghost_tip, number, quoted, token_tip

ROW, PAD, EDGE, MARK_ROOM, FOOT, HEAD = 23, 8, 26, 16, 18, 18
CONTEXT = 26  # characters of the text so far
PREFIX_CELL, CELL_MOST = 26, 13
NO_ROUND = "Choose a round in the strip: its draft is drawn here."


@dataclass(slots=True)
class Node:
    """A drafted token, or the model's own at the end of the accepted way (`place` is then -1)."""

    place: int
    text: str
    fate: str
    parent: int
    depth: int
    """Its column, from 0."""
    row: float = 0.0
    box: QRectF | None = None


class DraftTree(QWidget):
    """Shows a round; a click on a token that was not kept asks to continue from it."""

    node_clicked = Signal(int)
    """A refused draft, by its place in the round's drafts."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._round: ChatRound | None = None
        self._context = ""
        self._by_depth: tuple[float, ...] = ()
        self._nodes: list[Node] = []
        self._columns: list[float] = []
        self._hover = -1
        self.setMouseTracking(True)
        self.setAccessibleName("Draft of the round")
        theme.notifier().changed.connect(self._lay_out)
        self._lay_out()

    # content -------------------------------------------------------------------------------------------------------

    def set_round(self, round_: ChatRound | None, context: str = "", by_depth: tuple[float, ...] = ()) -> None:
        """Show a round behind the text `context`; `by_depth`: share of rounds whose draft was kept at each depth."""
        if (round_, context, by_depth) != (self._round, self._context, self._by_depth):
            self._round, self._context, self._by_depth = round_, context, by_depth
            self._hover = -1
            self._lay_out()

    def nodes(self) -> list[Node]:
        """What is drawn."""
        return list(self._nodes)

    def mask(self) -> list[list[bool]]:
        """Which drafted token sees which: row i, column j."""
        drafted = self._round.drafted if self._round else ()
        ways = [set(way_to(drafted, place)) for place in range(len(drafted))]
        return [[column in ways[row] for column in range(len(drafted))] for row in range(len(drafted))]

    # layout --------------------------------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        self.setFont(theme.font(theme.SMALL, mono=True))
        self._nodes = _nodes(self._round) if self._round else []
        _set_rows(self._nodes)
        metrics = self.fontMetrics()
        x = PAD + metrics.horizontalAdvance(self._context_words()) + EDGE + 8
        self._columns = []
        for depth in range(max((node.depth for node in self._nodes), default=-1) + 1):
            at = [node for node in self._nodes if node.depth == depth]
            width = max(metrics.horizontalAdvance(node.text) for node in at) + MARK_ROOM + 8
            for node in at:
                node.box = QRectF(x, HEAD + node.row * ROW, width, ROW - 4)
            self._columns.append(x)
            x += width + EDGE
        self._end = x
        self.setMinimumSize(self.sizeHint())
        self.updateGeometry()
        self.update()

    def _context_words(self) -> str:
        words = visible(self._context[-CONTEXT:]) if self._context else ""
        return f"…{words}" if len(self._context) > CONTEXT else words

    def _rows(self) -> float:
        return max((node.row for node in self._nodes), default=0.0) + 1

    def _cell(self) -> float:
        count = len(self._round.drafted) if self._round else 0
        return min(CELL_MOST, max(self._rows() * ROW / count, 6.0)) if count else 0.0

    def _mask_rect(self) -> QRectF:
        count = len(self._round.drafted) if self._round else 0
        side = self._cell() * count
        return QRectF(self._end + PAD, HEAD, PREFIX_CELL + side, side)

    def sizeHint(self) -> QSize:
        if not self._nodes:
            return QSize(300, ROW * 2)
        mask = self._mask_rect()
        width = max(mask.right(), self._end) + PAD
        return QSize(round(width), round(max(HEAD + self._rows() * ROW + FOOT, mask.bottom() + PAD)))

    # painting ------------------------------------------------------------------------------------------------------

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(self.font())
        if not self._nodes:
            painter.setPen(theme.colour("muted"))
            painter.setFont(theme.font(theme.SMALL))
            words = "This round had no draft: the model wrote one token by itself." if self._round else NO_ROUND
            painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter, words)
            return
        self._paint_context(painter)
        for node in self._nodes:
            self._paint_edge(painter, node)
        for index, node in enumerate(self._nodes):
            self._paint_node(painter, node, index == self._hover)
        self._paint_depths(painter)
        if self._round.drafted:
            self._paint_mask(painter)

    def _root(self) -> QPointF:
        rows = [node.row for node in self._nodes if node.parent < 0]
        return QPointF(self._columns[0] - EDGE + 4, HEAD + (sum(rows) / len(rows)) * ROW + (ROW - 4) / 2)

    def _paint_context(self, painter: QPainter) -> None:
        root = self._root()
        painter.setPen(theme.colour("muted"))
        place = QRectF(PAD, root.y() - ROW / 2, root.x() - PAD - 6, ROW)
        painter.drawText(place, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, self._context_words())
        painter.setBrush(theme.colour("muted"))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.drawEllipse(root, 3, 3)
        painter.setBrush(Qt.BrushStyle.NoBrush)

    def _paint_edge(self, painter: QPainter, node: Node) -> None:
        parent = self._nodes[node.parent].box if node.parent >= 0 else None
        start = QPointF(parent.right(), parent.center().y()) if parent else self._root()
        end = QPointF(node.box.left(), node.box.center().y())
        lit = node.fate in ("accepted", "corrected", "bonus", "plain")
        painter.setPen(QPen(theme.colour(role(node.fate) if lit else "border"), 2.4 if lit else 1))
        path = QPainterPath(start)
        middle = (start.x() + end.x()) / 2
        path.cubicTo(QPointF(middle, start.y()), QPointF(middle, end.y()), end)
        painter.drawPath(path)

    def _paint_node(self, painter: QPainter, node: Node, hovered: bool) -> None:
        refused = node.fate in ("rejected", "untested")
        painter.setPen(QPen(theme.colour("accent" if hovered else role(node.fate) if not refused else "line"), 2 if hovered else 1))
        painter.setBrush(theme.colour("surface"))
        painter.drawRoundedRect(node.box, 4, 4)
        tint = ground(node.fate)
        if tint is not None:
            painter.setBrush(tint)
            painter.drawRoundedRect(node.box, 4, 4)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        paint_mark(painter, QPointF(node.box.left() + 9, node.box.center().y()), node.fate)
        font = theme.font(theme.SMALL, mono=True)
        font.setStrikeOut(refused)
        painter.setFont(font)
        painter.setPen(theme.colour(role(node.fate)) if refused else theme.colour("text"))
        painter.drawText(node.box.adjusted(MARK_ROOM, 0, -2, 0), Qt.AlignmentFlag.AlignVCenter, node.text)

    def _paint_depths(self, painter: QPainter) -> None:
        painter.setFont(theme.font(theme.LEAST))
        painter.setPen(theme.colour("muted"))
        y = HEAD + self._rows() * ROW
        if self._columns[0] > 90:
            painter.drawText(QRectF(PAD, 0, 80, HEAD - 2), Qt.AlignmentFlag.AlignVCenter, "text so far")
        for depth, x in enumerate(self._columns):
            width = (self._columns[depth + 1] if depth + 1 < len(self._columns) else self._end) - x
            place = QRectF(x, 0, width, HEAD - 2)
            painter.drawText(place, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, f"+{depth + 1}")
            if depth < len(self._by_depth):
                share = f"{self._by_depth[depth]:.0%} kept"
                painter.drawText(QRectF(x, y, width, FOOT), Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, share)

    def _paint_mask(self, painter: QPainter) -> None:
        place, cell = self._mask_rect(), self._cell()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        painter.setFont(theme.font(theme.LEAST))
        painter.setPen(theme.colour("muted"))
        painter.drawText(QRectF(place.left(), 0, 160, HEAD - 2), Qt.AlignmentFlag.AlignVCenter, "attention mask")
        for row, seen in enumerate(self.mask()):
            top = place.top() + row * cell
            lit = self._hover >= 0 and self._nodes[self._hover].place == row
            ink = theme.colour(role(self._round.drafted[row].fate), 255 if lit else 190)
            painter.fillRect(QRectF(place.left(), top, PREFIX_CELL - 2, cell - 1), theme.colour("muted", 150))
            for column, sees in enumerate(seen):
                box = QRectF(place.left() + PREFIX_CELL + column * cell, top, cell - 1, cell - 1)
                painter.fillRect(box, ink if sees else theme.colour("raised"))
        if self._hover >= 0 and self._nodes[self._hover].place >= 0:
            painter.setPen(theme.colour("accent"))
            top = place.top() + self._nodes[self._hover].place * cell
            painter.drawRect(QRectF(place.left() - 1, top - 1, place.width() + 1, cell + 1))

    # mouse ---------------------------------------------------------------------------------------------------------

    def _node_at(self, at: QPointF) -> int:
        mask, cell = self._mask_rect(), self._cell()
        if cell and mask.contains(at):
            return min(int((at.y() - mask.top()) // cell), len(self._round.drafted) - 1)
        return next((index for index, node in enumerate(self._nodes) if node.box.contains(at)), -1)

    def mouseMoveEvent(self, event) -> None:
        found = self._node_at(event.position())
        if found != self._hover:
            self._hover = found
            self.update()
        refused = found >= 0 and self._nodes[found].fate in ("rejected", "untested")
        self.setCursor(Qt.CursorShape.PointingHandCursor if refused else Qt.CursorShape.ArrowCursor)

    def leaveEvent(self, event) -> None:
        super().leaveEvent(event)
        self._hover = -1
        self.update()

    def mousePressEvent(self, event) -> None:
        found = self._node_at(event.position())
        if event.button() == Qt.MouseButton.LeftButton and found >= 0 and self._nodes[found].fate in ("rejected", "untested"):
            self.node_clicked.emit(self._nodes[found].place)

    def tip_of(self, index: int) -> str:
        """What hovering over a node tells."""
        node = self._nodes[index]
        if node.place < 0:
            return token_tip(self._round, len(self._round.tokens) - 1)
        draft = self._round.drafted[node.place]
        if draft.fate != "accepted":
            return ghost_tip(draft)
        return f"{quoted(draft.text)}   accepted\ndraft q {number(draft.q)}   target p {number(draft.p)}   draw u {number(draft.u)}"

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            found = self._node_at(QPointF(event.pos()))
            words = html.escape(self.tip_of(found)).replace("\n", "<br>") if found >= 0 else ""
            QToolTip.showText(event.globalPos(), f"<p style='white-space: pre'>{words}</p>" if words else "", self)
            return True
        return super().event(event)


def _nodes(round_: ChatRound) -> list[Node]:
    """The drafted tokens in their order, then the model's own behind the last accepted one."""
    drafted = round_.drafted
    nodes = [Node(place, visible(d.text), d.fate, d.parent, d.depth - 1) for place, d in enumerate(drafted)]
    last = round_.tokens[-1] if round_.tokens else None
    if last is not None and last.kind != "accepted" and drafted:
        parent = max((n for n, d in enumerate(drafted) if d.fate == "accepted"), key=lambda n: drafted[n].depth, default=-1)
        nodes.append(Node(-1, visible(last.text), last.kind, parent, nodes[parent].depth + 1 if parent >= 0 else 0))
    return nodes


def _set_rows(nodes: list[Node]) -> None:
    """Leaves from top to bottom, a parent at its first child's height: the lit way runs straight where it can."""
    children: dict[int, list[int]] = {}
    for index, node in enumerate(nodes):
        children.setdefault(node.parent, []).append(index)
    own = {"accepted": 0, "corrected": 1, "bonus": 1, "plain": 1}
    for below in children.values():
        below.sort(key=lambda index: own.get(nodes[index].fate, 2))
    leaf = 0
    stack = list(reversed(children.get(-1, [])))
    while stack:
        index = stack.pop()
        nodes[index].row = float(leaf)
        below = children.get(index, [])
        if below:
            stack.extend(reversed(below))
        else:
            leaf += 1
