"""What an agent chose: a bar a numbered action with its probability, or a real-valued action about the middle of its range."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QFontMetrics, QPainter

from app import theme
from app.protocol.rl import AgentFrame
from app.widgets.agents.portraits import signed

LINE, BAR = 17, 8
_LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter


@dataclass(frozen=True)
class ActionRow:
    """`value`: a probability, or an action in its own units (`centred`); `chosen`: the action taken."""

    name: str
    value: float
    chosen: bool = False
    centred: bool = False

    @property
    def text(self) -> str:
        return signed(f"{self.value:+.2f}") if self.centred else f"{self.value:.0%}" if self.value >= 0.0995 else f"{self.value:.1%}"


def rows_of(frame: AgentFrame) -> tuple[ActionRow, ...]:
    """The rows of a frame, in the order of its actions."""
    if frame.probabilities:
        done = int(frame.action[0]) if frame.action else -1
        names = frame.action_names or tuple(map(str, range(len(frame.probabilities))))
        return tuple(ActionRow(names[n], p, n == done) for n, p in enumerate(frame.probabilities))
    names = frame.action_names or tuple(f"action {n + 1}" for n in range(len(frame.action)))
    return tuple(ActionRow(name, value, centred=True) for name, value in zip(names, frame.action, strict=True))


def span(row: ActionRow, limit: float) -> tuple[float, float]:
    """From where to where the bar goes, 0 to 1."""
    if not row.centred:
        return 0.0, min(max(row.value, 0.0), 1.0)
    end = 0.5 + min(max(row.value / limit, -1.0), 1.0) / 2
    return min(0.5, end), max(0.5, end)


def paint_actions(painter: QPainter, place: QRectF, frame: AgentFrame, limit: float) -> None:
    """A heading, and as many rows as there is room for; the probable ones if not all fit."""
    rows, room = rows_of(frame), int(place.height() // LINE) - 1
    painter.setFont(theme.font(theme.LEAST))
    painter.setPen(theme.colour("muted"))
    head = QRectF(place.left(), place.top(), place.width(), LINE)
    kept = rows
    if len(rows) > room > 0:
        best = sorted(range(len(rows)), key=lambda n: -abs(rows[n].value))[:room]
        kept = tuple(rows[n] for n in sorted(best))
    more = f", {len(rows) - len(kept)} more" if len(kept) < len(rows) else ""
    what = "probability (▸ taken)" if frame.probabilities else f"action, −{limit:g} to {limit:g}"
    words = painter.fontMetrics().elidedText(what + more, Qt.TextElideMode.ElideRight, int(place.width()))
    painter.drawText(head, _LEFT, words)
    bold = QFontMetrics(theme.font(theme.LEAST, bold=True))
    wide = min(max((bold.horizontalAdvance(row.name) for row in kept), default=0) + 24, place.width() * 0.55)
    for number, row in enumerate(kept[: max(room, 0)]):
        _paint_row(painter, head.translated(0, (number + 1) * LINE), row, limit, wide)


def _paint_row(painter: QPainter, line: QRectF, row: ActionRow, limit: float, wide: float) -> None:
    painter.setFont(theme.font(theme.LEAST, bold=row.chosen))
    painter.setPen(theme.colour("text"))
    name = painter.fontMetrics().elidedText(("▸ " if row.chosen else "") + row.name, Qt.TextElideMode.ElideRight, int(wide) - 4)
    painter.drawText(line, _LEFT, name)
    painter.drawText(line, _RIGHT, row.text)
    track = QRectF(line.left() + wide, line.center().y() - BAR / 2, max(line.width() - wide - 42, 8), BAR)
    painter.fillRect(track, theme.colour("raised"))
    low, high = span(row, limit)
    colour = theme.colour("accent") if row.chosen or row.centred else theme.colour("pending")
    painter.fillRect(QRectF(track.left() + low * track.width(), track.top(), (high - low) * track.width(), BAR), colour)
    if row.centred:
        painter.fillRect(QRectF(track.center().x() - 0.5, track.top() - 2, 1, BAR + 4), theme.colour("muted"))
