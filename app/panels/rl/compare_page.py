"""Two policies on the same seeded episode, side by side, and where in it they would act most differently."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt, Signal, Slot
from PySide6.QtGui import QMouseEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from app import theme
from app.panels.rl.film import FilmPlayer
from app.protocol.payloads import Result
from app.protocol.rl import AgentFrame, EpisodeFilm
from app.widgets.agent_view import AgentView
from app.widgets.elided_label import ElidedLabel

EMPTY = "Press Compare: the policy of the moment looked at and another one play the same seeded episode here."
STRIP = 22


class DifferenceStrip(QWidget):
    """How differently the other policy would act in each state of the first film, over its steps; a click goes there."""

    chosen = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._values, self._at = np.empty(0), 0
        self.setFixedHeight(STRIP)
        self.setAccessibleName("Difference of the two policies over the episode")
        theme.notifier().changed.connect(self.update)

    def set_values(self, values: np.ndarray) -> None:
        """One number a step, not negative."""
        self._values, self._at = np.asarray(values, float), 0
        self.update()

    def set_at(self, index: int) -> None:
        """The step on show."""
        self._at = index
        self.update()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if len(self._values):
            self.chosen.emit(int(event.position().x() / max(self.width(), 1) * len(self._values)))

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self.mousePressEvent(event)

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.fillRect(self.rect(), theme.colour("surface"))
        if not len(self._values):
            return
        n, top = len(self._values), float(self._values.max()) or 1.0
        width = self.width() / n
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.colour("warn"))
        for index, value in enumerate(self._values):
            high = value / top * (self.height() - 4)
            painter.drawRect(QRectF(index * width, self.height() - high, max(width, 1), high))
        painter.setPen(theme.colour("accent"))
        x = (self._at + 0.5) * width
        painter.drawLine(QPointF(x, 0), QPointF(x, self.height()))


class ComparePage(QWidget):
    """Two agents, a strip, and what to compare with."""

    compare_wanted = Signal(object)
    """(folder of the other run, its moment; −1: the newest)"""

    def __init__(self, player: FilmPlayer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.player, self._other, self._first = player, None, ""
        self.left, self.right, self.strip = AgentView(), AgentView(), DifferenceStrip()
        self.choice, self.button, self._words = QComboBox(), QPushButton("Compare"), ElidedLabel("muted", theme.SMALL)
        self.choice.setAccessibleName("Compare with")
        self.choice.setToolTip("The other policy: of the same run at its end, or of another run of this environment")
        self.choice.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.choice.setMinimumContentsLength(14)
        row, views, column = QHBoxLayout(), QHBoxLayout(), QVBoxLayout(self)
        for part in (QLabel("Beside", toolTip="The policy of the moment looked at stands left, this one right"), self.choice, self.button):
            row.addWidget(part)
        row.addWidget(self._words, 1)
        views.setSpacing(6)
        views.addWidget(self.left, 1)
        views.addWidget(self.right, 1)
        column.setContentsMargins(8, 6, 8, 6)
        column.setSpacing(4)
        column.addLayout(row)
        column.addLayout(views, 1)
        column.addWidget(self.strip)
        self.button.clicked.connect(self._on_compare)
        self.strip.chosen.connect(player.go)
        player.frame.connect(self._on_frame)
        self.clear()

    def clear(self) -> None:
        """Nothing is compared."""
        self._other = None
        self.player.show(None)
        self.left.clear(EMPTY)
        self.right.clear(" ")
        self.strip.set_values(np.empty(0))
        self._words.setText("")

    def set_choices(self, choices: list[tuple[str, str]]) -> None:
        """What can be compared with: (folder, words)."""
        first = choices[0][0] if choices else ""
        kept = self.choice.currentData() if first == self._first else first
        self._first = first
        self.choice.clear()
        for folder, words in choices:
            self.choice.addItem(words, folder)
        self.choice.setCurrentIndex(max(0, self.choice.findData(kept)))
        self.button.setEnabled(bool(choices))

    def show_pair(self, result: Result) -> None:
        """Both films."""
        film, facts = result.files["film"], result.facts
        self._other: EpisodeFilm | None = result.files["other"]
        self.strip.set_values(result.files["difference"])
        self.strip.setToolTip(f"How differently the right policy would act in each state of the left episode: {facts.get('measure', '')}")
        apart = f"apart by {facts['mean_difference']:.3g} on average"
        self._words.setText(f"returns {film.total:.4g} and {self._other.total:.4g}, {apart}")
        for view, one in ((self.left, film), (self.right, self._other)):
            view.set_note(f"step {one.timesteps:,}")
        self.player.show(film)

    def set_busy(self, words: str) -> None:
        """Something is being computed, or not any more."""
        self.button.setEnabled(not words and self.choice.count() > 0)
        if words:
            self._words.setText(words)

    @Slot(object, int)
    def _on_frame(self, frame: AgentFrame, index: int) -> None:
        self.left.show_frame(frame)
        if self._other is not None and self._other.frames:
            self.right.show_frame(self._other.frames[min(index, len(self._other.frames) - 1)])
        self.strip.set_at(index)

    @Slot()
    def _on_compare(self) -> None:
        if self.choice.currentData():
            self.compare_wanted.emit((self.choice.currentData(), -1))
