"""Icons by what they do, drawn from one open set (Phosphor, through qtawesome) in the colours of the theme in use.

A glyph is painted when it is needed, so icons follow a theme switch and stay sharp at any scale.  Of qtawesome only
the font file and its table of names are read: importing the package costs a fifth of a second at start.
"""

from __future__ import annotations

import importlib.util
import json
from functools import cache
from pathlib import Path

from PySide6.QtCore import QPoint, QRect, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontDatabase, QIcon, QIconEngine, QPainter, QPaintEvent, QPixmap
from PySide6.QtWidgets import QWidget

from app import theme

NAMES = {
    "play": "play", "pause": "pause", "first": "skip-back", "previous": "caret-left", "next": "caret-right",
    "last": "skip-forward", "stop": "stop", "dice": "dice-five", "reuse": "arrow-counter-clockwise", "add": "plus",
    "remove": "minus", "close": "x", "undo": "arrow-u-up-left", "redo": "arrow-u-up-right", "pen": "pencil-simple",
    "eraser": "eraser", "line": "line-segment", "rectangle": "rectangle", "ellipse": "circle", "hand": "hand",
    "move": "arrows-out-cardinal", "select": "cursor", "rotate": "arrow-clockwise", "crop": "crop",
    "zoom-in": "magnifying-glass-plus", "zoom-out": "magnifying-glass-minus", "fit": "corners-out", "image": "image",
    "person": "person-simple", "people": "users", "map": "map-trifold", "settings": "gear", "help": "question",
    "warning": "warning", "error": "warning-circle", "info": "info", "ok": "check-circle", "check": "check",
    "copy": "copy", "paste": "clipboard", "save": "floppy-disk", "open": "folder-open", "more": "caret-right",
    "less": "caret-down", "menu": "dots-three-vertical", "reset": "arrow-counter-clockwise",
    "gallery": "squares-four", "branch": "git-branch", "mirror": "arrows-left-right", "duplicate": "copy",
    "eye": "eye", "eye-off": "eye-slash", "trash": "trash", "import": "download-simple", "export": "upload-simple",
    "star": "star", "refresh": "arrows-clockwise", "models": "cube", "keys": "keyboard", "swap": "swap",
    "compare": "columns", "invert": "circle-half", "chart": "chart-line", "film": "film-strip", "chip": "cpu",
    "magic": "magic-wand", "target": "crosshair", "clear": "trash-simple", "sliders": "sliders", "sun": "sun",
    "moon": "moon", "queue": "stack", "lock": "lock", "link": "link", "clock": "clock-counter-clockwise",
    "chat": "chats", "send": "paper-plane-right", "down": "arrow-down", "tokens": "marker-circle", "new": "note-pencil",
    "tree": "tree-structure", "gauge": "gauge", "code": "code", "wind": "wind",
}  # fmt: skip


def icon(name: str, role: str = "text") -> QIcon:
    """The icon for ``name`` in the colour of a theme role; an unknown name raises ``KeyError``."""
    return QIcon(_GlyphEngine(_glyph(name), role))


def paint_icon(painter: QPainter, rect: QRect, name: str, colour: QColor) -> None:
    """Draw an icon into ``rect`` in any colour, for widgets that paint themselves."""
    painter.save()
    painter.setFont(_font(rect.height()))
    painter.setPen(colour)
    painter.drawText(rect, Qt.AlignmentFlag.AlignCenter, _glyph(name))
    painter.restore()


class IconLabel(QWidget):
    """An icon to look at, not to press; its colour is a role and follows the theme."""

    def __init__(self, name: str, role: str = "text", side: int = 16, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFixedSize(side, side)
        self.show_icon(name, role)

    def show_icon(self, name: str, role: str = "text") -> None:
        """Show another icon, or the same in another colour."""
        self._name, self._role = name, role
        self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:
        paint_icon(QPainter(self), self.rect(), self._name, theme.colour(self._role))


def _fonts_folder() -> Path:
    return Path(importlib.util.find_spec("qtawesome").origin).parent / "fonts"


@cache
def _family() -> str:
    """Make the icon font known to Qt and return its name."""
    path = next(_fonts_folder().glob("phosphor-*.ttf"))
    return QFontDatabase.applicationFontFamilies(QFontDatabase.addApplicationFont(str(path)))[0]


@cache
def _codes() -> dict[str, str]:
    """Name of a glyph to its code in hexadecimal."""
    return json.loads(next(_fonts_folder().glob("phosphor-charmap-*.json")).read_bytes())


def _font(px: int) -> QFont:
    font = QFont(_family())
    font.setPixelSize(max(px, 1))
    return font


def _glyph(name: str) -> str:
    return chr(int(_codes()[NAMES[name]], 16))


class _GlyphEngine(QIconEngine):
    """Paints one glyph of the icon font in the colour its role has at that moment."""

    def __init__(self, glyph: str, role: str) -> None:
        super().__init__()
        self._glyph = glyph
        self._role = role

    def clone(self) -> QIconEngine:
        return _GlyphEngine(self._glyph, self._role)

    def paint(self, painter: QPainter, rect: QRect, mode: QIcon.Mode, _state: QIcon.State) -> None:
        ink = theme.colour("muted", 120) if mode == QIcon.Mode.Disabled else theme.colour(self._role)
        painter.save()
        painter.setFont(_font(rect.height()))
        painter.setPen(ink)
        painter.drawText(rect, Qt.AlignmentFlag.AlignCenter, self._glyph)
        painter.restore()

    def pixmap(self, size: QSize, mode: QIcon.Mode, state: QIcon.State) -> QPixmap:
        pixels = QPixmap(size)
        pixels.fill(Qt.GlobalColor.transparent)
        painter = QPainter(pixels)
        self.paint(painter, QRect(QPoint(0, 0), size), mode, state)
        painter.end()
        return pixels
