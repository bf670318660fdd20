"""Balance numbers as a row of small multiples: a dot a layer, and as a grey line what a router that picks at random shows."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QHelpEvent, QPainter, QPen
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from app import theme
from app.protocol.routing import NUMBER_HELP, NUMBER_TITLES, NUMBERS, LoadTable

HEIGHT, HEAD, GAP, DOT = 92, 34, 16, 5.0
ROOMY = 104
"""Width of a multiple from which its words stand in full; below, the random router's number stands in brackets."""


class BalanceStrip(QWidget):
    """Shows a `LoadTable`."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._table: LoadTable | None = None
        self._layers: tuple[int, ...] = ()
        self._row = -1
        self.setFixedHeight(HEIGHT)
        self.setMinimumWidth(240)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Balance of the load")
        theme.notifier().changed.connect(self.update)

    def set_table(self, table: LoadTable | None, layers: tuple[int, ...] = ()) -> None:
        """Show the numbers of a phase."""
        self._table, self._layers = table, layers
        self.setAccessibleDescription(balance_words(table) if table else "")
        self.update()

    def set_row(self, row: int) -> None:
        """Point out a layer."""
        if row != self._row:
            self._row = row
            self.update()

    def sizeHint(self) -> QSize:
        return QSize(520, HEIGHT)

    def _place(self, number: int) -> QRectF:
        each = (self.width() - GAP * (len(NUMBERS) - 1)) / len(NUMBERS)
        return QRectF(number * (each + GAP), 0, each, HEIGHT)

    def paintEvent(self, _event) -> None:
        painter = QPainter(self)
        for number, name in enumerate(NUMBERS):
            self._paint(painter, name, self._place(number))

    def _paint(self, painter: QPainter, name: str, place: QRectF) -> None:
        painter.setFont(theme.font(theme.SMALL, bold=True))
        painter.setPen(theme.colour("text"))
        left = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop
        roomy = place.width() >= ROOMY
        painter.drawText(place, left, NUMBER_TITLES[name] if roomy else NUMBER_TITLES[name].split()[0])
        plot = QRectF(place.left(), HEAD, place.width(), HEIGHT - HEAD - 4)
        painter.setPen(theme.colour("line"))
        painter.drawLine(plot.bottomLeft(), plot.bottomRight())
        if self._table is None:
            return
        values, chance = [getattr(one, name) for one in self._table.layers], getattr(self._table.chance, name)
        painter.setFont(theme.font(theme.LEAST))
        painter.setPen(theme.colour("muted"))
        mean = getattr(self._table.mean, name)
        words = f"{mean:.2f}   random {chance:.2f}" if roomy else f"{mean:.2f} ({chance:.2f})"
        painter.drawText(place.adjusted(0, 16, GAP - 2, 0), left, words)
        low, high = (min(*values, chance, 0.9), 1.0) if name == "entropy" else (0.0, max(*values, chance, 1e-9) * 1.1)

        def height(value: float) -> float:
            return plot.bottom() - (value - low) / max(high - low, 1e-9) * plot.height()

        painter.setPen(QPen(theme.colour("muted"), 3))
        painter.drawLine(QPointF(plot.left(), height(chance)), QPointF(plot.right(), height(chance)))
        step = plot.width() / len(values)
        for row, value in enumerate(values):
            centre = QPointF(plot.left() + (row + 0.5) * step, height(value))
            painter.setPen(QPen(theme.colour("accent"), 1))
            painter.drawLine(QPointF(centre.x(), height(chance)), centre)
            painter.setPen(QPen(theme.colour("surface"), 1))
            painter.setBrush(theme.colour("text" if row == self._row else "accent"))
            painter.drawEllipse(centre, DOT if row == self._row else DOT - 1, DOT if row == self._row else DOT - 1)
            painter.setBrush(Qt.BrushStyle.NoBrush)

    def tip_at(self, x: float) -> str:
        """What a multiple says about the layer under the pointer."""
        number = next((n for n in range(len(NUMBERS)) if self._place(n).left() <= x <= self._place(n).right()), -1)
        if number < 0 or self._table is None:
            return ""
        name, place = NUMBERS[number], self._place(number)
        row = min(int((x - place.left()) / place.width() * len(self._layers)), len(self._layers) - 1)
        return (
            f"{NUMBER_TITLES[name]} of layer {self._layers[row]}: {getattr(self._table.layers[row], name):.3f}; a random router shows "
            f"{getattr(self._table.chance, name):.3f} at {self._table.chance_tokens} tokens.\n{NUMBER_HELP[name]}."
        )

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            QToolTip.showText(event.globalPos(), self.tip_at(event.pos().x()), self)
            return True
        return super().event(event)


def balance_words(table: LoadTable) -> str:
    """The balance in a sentence, against chance."""
    own, chance = table.mean.max_vio, table.chance.max_vio
    about = "about " if table.chance_tokens != table.tokens else ""
    if own <= 1.15 * chance:
        verdict = "no less even than chance explains"
    elif own <= 2 * chance:
        verdict = "somewhat less even than chance"
    else:
        verdict = f"{own / max(chance, 1e-9):.1f} times as uneven as chance"
    unused = f", {table.mean.dead:.1f} experts a layer unused ({table.chance.dead:.1f} by chance)"
    dead = unused if table.mean.dead or table.chance.dead >= 0.05 else ""
    return (
        f"Over these {table.tokens} tokens MaxVio is {own:.2f} (mean of layers); a random router shows {chance:.2f} at "
        f"{about}{table.chance_tokens}: {verdict}{dead}."
    )
