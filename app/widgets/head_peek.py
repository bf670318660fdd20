"""A head's map, enlarged beside the grid while the pointer rests on it."""

from __future__ import annotations

from PySide6.QtCore import QPoint, QRect, Qt
from PySide6.QtGui import QGuiApplication, QImage, QPainter
from PySide6.QtWidgets import QWidget

from app import theme

SIDE, LINE, PAD = 176, 22, 8


class HeadPeek(QWidget):
    """A picture with a line of words; takes no clicks."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent, Qt.WindowType.ToolTip)
        self._picture, self._words = QImage(), ""
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setAttribute(Qt.WidgetAttribute.WA_ShowWithoutActivating)

    def show_head(self, picture: QImage, words: str, beside: QPoint) -> None:
        """Show a map left of a point of the screen, or right of it where there is no room."""
        self._picture, self._words = picture, words
        wide = max(SIDE, self.fontMetrics().horizontalAdvance(words)) + 2 * PAD
        self.resize(wide, SIDE + LINE + 2 * PAD)
        screen = QGuiApplication.screenAt(beside) or QGuiApplication.primaryScreen()
        room = screen.availableGeometry()
        left = beside.x() - wide - PAD
        top = min(max(beside.y() - SIDE // 2, room.top()), room.bottom() - self.height())
        self.move(left if left >= room.left() else beside.x() + 4 * PAD, top)
        self.show()
        self.update()

    def words(self) -> str:
        """The line under the picture."""
        return self._words

    def paintEvent(self, _event) -> None:
        painter = QPainter(self)
        painter.fillRect(self.rect(), theme.colour("surface"))
        painter.setPen(theme.colour("border"))
        painter.drawRect(self.rect().adjusted(0, 0, -1, -1))
        painter.drawImage(QRect((self.width() - SIDE) // 2, PAD, SIDE, SIDE), self._picture)
        painter.setPen(theme.colour("text"))
        painter.setFont(theme.font(theme.SMALL))
        painter.drawText(self.rect().adjusted(PAD, SIDE + PAD, -PAD, -PAD // 2), Qt.AlignmentFlag.AlignCenter, self._words)
