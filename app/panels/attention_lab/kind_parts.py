"""Small parts of the list of mechanisms: a knob as a row of sliders, a written value with its type, a coloured dot."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QPainter, QPixmap

from app.protocol.attention_lab import MechanismKnob, Value
from app.widgets.knob_sliders import Setting

DRAGGED = 256
"""Where a slider ends, whatever the knob allows."""


def setting(knob: MechanismKnob, value: Value) -> Setting:
    """A row for the sliders; long ranges are dragged in their lower part only."""
    reach = DRAGGED if knob.hi is not None and knob.hi > DRAGGED else None
    return Setting(name=knob.name, value=value, help=knob.help, lo=knob.lo, hi=knob.hi, reach=reach, choices=knob.choices)


def typed(words: str, default: Value) -> Value:
    """A value as it is written, of the kind of the default."""
    if isinstance(default, bool):
        return words.lower() in ("true", "yes", "1")
    return type(default)(words)


def dot(colour: QColor) -> QPixmap:
    """The mark of a mechanism in lists and plots."""
    picture = QPixmap(12, 12)
    picture.fill(Qt.GlobalColor.transparent)
    painter = QPainter(picture)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(colour)
    painter.drawEllipse(2, 2, 8, 8)
    painter.end()
    return picture
