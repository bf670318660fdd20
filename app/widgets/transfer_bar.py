"""Something that takes a while, in one line: what, how far, how fast, how long yet, and a cancel."""

from __future__ import annotations

import time
from collections.abc import Callable

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFrame, QGridLayout, QProgressBar, QPushButton, QWidget

from app.widgets.icons import icon
from app.widgets.steady_label import SteadyLabel

STEPS = 1000


class TransferBar(QFrame):
    """Hidden until `begin`; `update_progress` moves it, `end` takes it away."""

    cancel_requested = Signal()

    def __init__(self, parent: QWidget | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(parent)
        self.setProperty("role", "raised")
        self.setAccessibleName("Progress")
        self._clock = clock
        self._begin = (0.0, 0.0, "")
        self.title, self.words = SteadyLabel("heading"), SteadyLabel("small", wrap=True)
        self.bar = QProgressBar(textVisible=False, accessibleName="Share that is done")
        self.cancel = QPushButton("Cancel", toolTip="End it; what can be kept is kept")
        self.cancel.setIcon(icon("stop"))
        self.cancel.clicked.connect(self.cancel_requested)
        grid = QGridLayout(self)
        grid.setContentsMargins(12, 8, 8, 8)
        grid.setHorizontalSpacing(12)
        grid.setVerticalSpacing(4)
        grid.addWidget(self.title, 0, 0)
        grid.addWidget(self.bar, 1, 0)
        grid.addWidget(self.words, 2, 0)
        grid.addWidget(self.cancel, 0, 1, 3, 1)
        grid.setColumnStretch(0, 1)
        self.hide()

    def begin(self, title: str) -> None:
        """Show it for a new piece of work."""
        self.title.setText(title)
        self.words.setText("starting")
        self._begin = (0.0, 0.0, "")
        self.bar.setRange(0, 0)
        self.show()

    def update_progress(self, done: float, total: float, unit: str, note: str) -> None:
        """Say how far it is; total 0 = nobody knows."""
        if not total:
            self.bar.setRange(0, 0)
            self.words.setText(note)
            return
        self.bar.setRange(0, STEPS)
        self.bar.setValue(round(STEPS * min(1.0, done / total)))
        parts = (f"{done:.1f} of {total:.1f} {unit}", note, self._left(done, total, note.partition(",")[0]))
        self.words.setText(" · ".join(part for part in parts if part))

    def end(self) -> None:
        """The work is over."""
        self.hide()

    def _left(self, done: float, total: float, stage: str) -> str:
        """How long the stage will take yet, once there is something to go by."""
        since, first, name = self._begin
        now = self._clock()
        if stage != name or done < first:
            self._begin = (now, done, stage)
            return ""
        if now - since < 1.0 or done <= first:
            return ""
        seconds = (now - since) * (total - done) / (done - first)
        return f"{seconds:.0f} s left" if seconds < 90 else f"{seconds / 60:.0f} min left"
