"""A small picture of a control map that is a button: click, or Enter, opens its editor."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QRect, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPen, QPixmap
from PySide6.QtWidgets import QAbstractButton, QWidget

from app import theme
from app.protocol.payloads import Image
from app.widgets.icons import paint_icon
from app.widgets.image_view import to_qimage

SIDE = 56


class MapThumb(QAbstractButton):
    """Shows a map, or a pencil while there is none."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._pixmap = QPixmap()
        self._chosen = False
        self.setFixedSize(SIDE, SIDE)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setAccessibleName("Open the map in its editor")

    def set_image(self, image: Image | None) -> None:
        """Show a map."""
        if image is None:
            self._pixmap = QPixmap()
        else:
            side = round((SIDE - 2) * self.devicePixelRatioF())
            keep, smooth = Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation
            self._pixmap = QPixmap.fromImage(to_qimage(image).scaled(side, side, keep, smooth))
            self._pixmap.setDevicePixelRatio(self.devicePixelRatioF())
        self.update()

    def set_chosen(self, chosen: bool) -> None:
        """Whether its editor is the one on the stage."""
        self._chosen = chosen
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(SIDE, SIDE)

    def paintEvent(self, _event: QEvent) -> None:
        painter = QPainter(self)
        painter.fillRect(self.rect(), Qt.GlobalColor.black)
        if self._pixmap.isNull():
            mark = QRect(0, 0, 20, 20)
            mark.moveCenter(self.rect().center())
            paint_icon(painter, mark, "pen", QColor(theme.DARK.muted))  # black ground in both themes
        else:
            size = self._pixmap.deviceIndependentSize().toSize()
            painter.drawPixmap((SIDE - size.width()) // 2, (SIDE - size.height()) // 2, self._pixmap)
        marked = self._chosen or self.hasFocus() or self.underMouse()
        wide = 4 if self.hasFocus() else 2 if marked else 1
        painter.setPen(QPen(theme.colour("accent" if marked else "border"), wide))
        edge = wide // 2
        painter.drawRect(self.rect().adjusted(edge, edge, -max(edge, 1), -max(edge, 1)))

    def enterEvent(self, event) -> None:
        super().enterEvent(event)
        self.update()

    def leaveEvent(self, event) -> None:
        super().leaveEvent(event)
        self.update()
