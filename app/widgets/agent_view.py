"""The agent as it stands: its environment drawn by our own painters (or by itself), with value, action and state over the picture.

Nothing stands between the figures and the frame: what is written is what the frame says.
"""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QImage, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from app import theme
from app.protocol.rl import AgentFrame, GridView
from app.widgets.agents import grid_cells
from app.widgets.agents.action_rows import paint_actions, rows_of
from app.widgets.agents.camera import Camera
from app.widgets.agents.portraits import PORTRAITS, fact_words, is_grid, portrait_of, shown_facts, signed
from app.widgets.turns import in_turn

HEAD, LINE, PAD = 26, 17, 10
NOTE = 80
"""Width below which the note at the left of the figures is left out: a few letters of it would only puzzle."""
SMALL, NARROW = 190, 320
"""Height below which only the picture and one line of figures are shown; width below which what stands under it is stacked."""
_LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter


class AgentView(QWidget):
    """Shows one frame."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._frame: AgentFrame | None = None
        self._grid: GridView | Sequence[str] | None = None
        self._picture = QImage()
        self._note, self._empty = "", "Press Train: the agent appears here and moves while it learns."
        self.setMinimumSize(160, 120)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setAccessibleName("Agent")
        theme.notifier().changed.connect(self.update)

    # content -------------------------------------------------------------------------------------------------------

    def show_frame(self, frame: AgentFrame) -> None:
        """Another moment."""
        self._frame = frame
        self._picture = QImage()
        if frame.pixels is not None:
            height, width = frame.pixels.shape[:2]
            self._picture = QImage(frame.pixels.data, width, height, width * 3, QImage.Format.Format_RGB888).copy()
        self.setAccessibleDescription(self.words())
        self.setToolTip(self.words() + "\nValue and probabilities are the network's own, for the state drawn.")
        in_turn(self)

    def set_grid(self, grid: GridView | Sequence[str] | None) -> None:
        """A grid world's map, drawn under the agent, with values and policy if they are known."""
        self._grid = grid
        self.update()

    def set_note(self, text: str) -> None:
        """What kind of moment this is: a quiet line in the corner."""
        self._note = text
        self.update()

    def clear(self, words: str = "") -> None:
        """Show no frame, but words about what will appear."""
        self._frame, self._grid, self._picture = None, None, QImage()
        self._empty = words or self._empty
        self.setAccessibleDescription(self._empty)
        self.setToolTip("")
        self.update()

    @property
    def frame(self) -> AgentFrame | None:
        """What is shown."""
        return self._frame

    def words(self) -> str:
        """The frame in words."""
        frame = self._frame
        if frame is None:
            return self._empty
        parts = [f"{frame.env}, step {frame.step}", f"return {frame.total:.4g}", f"reward {frame.reward:.3g}"]
        parts += [] if frame.value is None else [f"value {frame.value:.4g}"]
        parts += [" ".join(fact_words(frame.env, *fact)) for fact in shown_facts(frame)]
        return "; ".join(parts + (["the episode ends here"] if frame.ended else []))

    def sizeHint(self) -> QSize:
        return QSize(420, 380)

    # places --------------------------------------------------------------------------------------------------------

    @property
    def narrow(self) -> bool:
        """Too narrow for state and actions side by side."""
        return self.width() < NARROW

    def foot_height(self) -> int:
        """Pixels under the picture for state and action."""
        if self._frame is None or self.height() < SMALL:
            return 0
        facts, rows = len(shown_facts(self._frame)), len(rows_of(self._frame)) + 1
        lines = facts + rows if self.narrow else max(facts, rows)
        return min(lines * LINE + 2 * PAD, max(int(self.height() * (0.45 if self.narrow else 0.34)), 2 * PAD + 2 * LINE))

    def stage(self) -> QRectF:
        """Where the picture stands."""
        return QRectF(PAD, HEAD + 4, self.width() - 2 * PAD, max(self.height() - HEAD - self.foot_height() - 8, 10))

    # painting ------------------------------------------------------------------------------------------------------

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.fillRect(self.rect(), theme.colour("stage"))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        frame = self._frame
        if frame is None:
            painter.setPen(theme.colour("on_stage"))
            painter.setFont(theme.font())
            flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(self.rect().adjusted(24, 24, -24, -24), flags, self._empty)
            return
        painter.save()
        painter.setClipRect(self.stage().adjusted(-PAD, 0, PAD, 0))
        painter.setOpacity(0.45 if frame.ended else 1.0)
        self._paint_picture(painter, frame)
        painter.restore()
        self._paint_head(painter, frame)
        if frame.ended:
            self._paint_end(painter, frame)
        if self.foot_height():
            self._paint_foot(painter, frame)

    def _paint_picture(self, painter: QPainter, frame: AgentFrame) -> None:
        place = self.stage()
        if not self._picture.isNull():
            size = self._picture.size().scaled(place.size().toSize(), Qt.AspectRatioMode.KeepAspectRatio)
            box = QRectF(0, 0, size.width(), size.height())
            box.moveCenter(place.center())
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
            painter.drawImage(box, self._picture)
        elif is_grid(frame.env) and self._grid:
            facts = dict(frame.facts)
            grid_cells.paint_world(painter, place, self._grid, (facts["row"], facts["column"]))
        elif frame.env in PORTRAITS and frame.facts:
            portrait = portrait_of(frame.env)
            portrait.paint(painter, Camera.onto(portrait.window, place), frame)
        else:
            painter.setPen(theme.colour("on_stage"))
            painter.setFont(theme.font())
            painter.drawText(place, Qt.AlignmentFlag.AlignCenter, f"{frame.env}: no picture of this moment; its numbers stand below.")

    def _paint_head(self, painter: QPainter, frame: AgentFrame) -> None:
        line = QRectF(PAD, 4, self.width() - 2 * PAD, HEAD - 4)
        painter.setFont(theme.font(theme.SMALL, bold=True))
        painter.setPen(theme.colour("text"))
        figures = next((f for f in figures_of(frame) if painter.fontMetrics().horizontalAdvance(f) <= line.width()), "")
        painter.drawText(line, _RIGHT, figures)
        room = line.width() - painter.fontMetrics().horizontalAdvance(figures) - 16
        painter.setFont(theme.font(theme.LEAST))
        painter.setPen(theme.colour("on_stage"))
        if room > NOTE:
            words = painter.fontMetrics().elidedText(self._note or frame.env, Qt.TextElideMode.ElideRight, int(room))
            painter.drawText(line, _LEFT, words)

    def _paint_end(self, painter: QPainter, frame: AgentFrame) -> None:
        """A plate over the picture: this is the last moment of the episode that is shown."""
        painter.setFont(theme.font(theme.BODY, bold=True))
        text = signed(f"■  end of the episode: step {frame.step:,}, return so far {frame.total:,.1f}")
        wide = painter.fontMetrics().horizontalAdvance(text) + 28
        if wide > self.width() - 2 * PAD:
            text = signed("■  end of the episode")
            wide = painter.fontMetrics().horizontalAdvance(text) + 28
        plate = QRectF(0, 0, wide, 30)
        plate.moveCenter(QPointF(self.stage().center().x(), self.stage().top() + 20))
        painter.setPen(theme.colour("border"))
        painter.setBrush(theme.colour("surface"))
        painter.drawRoundedRect(plate, theme.RADIUS, theme.RADIUS)
        painter.setPen(theme.colour("text"))
        painter.drawText(plate, Qt.AlignmentFlag.AlignCenter, text)

    def _paint_foot(self, painter: QPainter, frame: AgentFrame) -> None:
        top = self.height() - self.foot_height()
        painter.fillRect(QRectF(0, top, self.width(), self.foot_height()), theme.colour("surface"))
        painter.fillRect(QRectF(0, top, self.width(), 1), theme.colour("line"))
        room = self.foot_height() - 1.5 * PAD
        limit = portrait_of(frame.env).limit
        if self.narrow:
            place = QRectF(PAD, top + PAD, self.width() - 2 * PAD, room)
            actions = min((len(rows_of(frame)) + 1) * LINE, room)
            self._paint_facts(painter, frame, place.adjusted(0, actions, 0, 0))
            paint_actions(painter, QRectF(place.left(), place.top(), place.width(), actions + 1), frame, limit)
            return
        half = self.width() * 0.5
        self._paint_facts(painter, frame, QRectF(PAD, top + PAD, half - 1.5 * PAD, room))
        paint_actions(painter, QRectF(half + PAD / 2, top + PAD, half - 1.5 * PAD, room), frame, limit)

    def _paint_facts(self, painter: QPainter, frame: AgentFrame, place: QRectF) -> None:
        painter.setFont(theme.font(theme.LEAST))
        room = max(int((place.height() + 1) // LINE), 0)
        for number, fact in enumerate(shown_facts(frame)[:room]):
            name, value = fact_words(frame.env, *fact)
            line = QRectF(place.left(), place.top() + number * LINE, place.width(), LINE)
            painter.setPen(theme.colour("text"))
            painter.drawText(line, _RIGHT, value)
            left = int(line.width()) - painter.fontMetrics().horizontalAdvance(value) - 6
            painter.setPen(theme.colour("muted"))
            painter.drawText(line, _LEFT, painter.fontMetrics().elidedText(name, Qt.TextElideMode.ElideRight, max(left, 0)))


def figures_of(frame: AgentFrame) -> tuple[str, ...]:
    """Step, return so far and value, from the fullest form to the shortest."""
    step, value = f"step {frame.step:,}", "" if frame.value is None else f"{frame.value:,.2f}"
    full = f"{step}   return {frame.total:,.1f}" + (f"   value {value}" if value else "")
    total = f"{frame.total:,.0f}" if abs(frame.total) >= 100 else f"{frame.total:.3g}"
    short = f"{step}  return {total}"
    return tuple(map(signed, (full, short + (f"  v {value}" if value else ""), short, f"{frame.step:,}  R {total}")))
