"""The figures of the reply in focus, while it is written and after, and the measurements that can be asked for."""

from __future__ import annotations

from PySide6.QtCore import Qt, QTimer, Slot
from PySide6.QtWidgets import QFrame, QPushButton, QScrollArea, QVBoxLayout, QWidget

from app.panels.chat import figures
from app.panels.chat.gamma_view import GammaView
from app.panels.chat.reply import Reply
from app.panels.chat.token_page import small
from app.widgets.fact_rows import FactRows
from app.widgets.probability_bars import ProbabilityBars
from app.widgets.steady_label import SteadyLabel

READ_MS = 100
TEACH = "Ask something: speed, acceptance and where the time goes stand here, while the reply is written."


class ReplyPage(QScrollArea):
    """The figures of a reply; while it is written, no faster than one can read."""

    def __init__(self) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.summary, self._teach = FactRows(), small(TEACH)
        self.depths, self.times = ProbabilityBars("Acceptance by position"), ProbabilityBars("Time")
        self.lengths = GammaView()
        self.plain = QPushButton("Measure plain", toolTip="Write the same text one token a pass, and take the time")
        self.stamp = QPushButton("Check lossless", toolTip="One pass over the finished text: would the model choose every token itself?")
        self.gamma = QPushButton(
            "Try all draft lengths", toolTip="What each draft length would have given on this text, at the costs measured here"
        )
        self._depth_title, self._time_title = small("Kept, by depth (share of rounds)"), small("Time")
        self._reply: Reply | None = None
        self._stale = False
        self._pace = QTimer(self, singleShot=True, interval=READ_MS)
        self._pace.timeout.connect(self._on_pace)
        self._build()
        self.show_reply(None)

    def _build(self) -> None:
        inside, column = QWidget(), QVBoxLayout()
        inside.setLayout(column)
        column.setContentsMargins(8, 12, 8, 12)
        column.setSpacing(4)
        self._stamp = SteadyLabel("small", wrap=True)
        for widget in (self._teach, self.summary, self._depth_title, self.depths, self._time_title, self.times):
            column.addWidget(widget)
        for title in (self._depth_title, self._time_title):
            title.setContentsMargins(0, 8, 0, 0)
        column.addSpacing(4)
        for widget in (self.plain, self.stamp, self.gamma, self._stamp, self.lengths):
            column.addWidget(widget)
        column.addStretch(1)
        self.setWidget(inside)

    def show_reply(self, reply: Reply | None, *, following: bool = False) -> None:
        """Show a reply's figures; `following` one that is being written."""
        self._reply = reply
        if following and (self._pace.isActive() or not self.isVisible()):
            self._stale = True
            if not self._pace.isActive():
                self._pace.start()
            return
        self._tell()
        if following:
            self._pace.start()

    def close_down(self) -> None:
        """Show nothing more."""
        self._pace.stop()

    @Slot()
    def _on_pace(self) -> None:
        if self._stale:
            self._tell()

    def showEvent(self, event) -> None:
        super().showEvent(event)
        self._tell()

    def _tell(self) -> None:
        self._stale = False
        reply = self._reply if self._reply is not None and self._reply.counters else None
        self._teach.setVisible(reply is None)
        self.summary.set_rows(figures.summary_rows(reply) if reply else [])
        depths, times = (figures.depth_bars(reply), figures.time_bars(reply)) if reply else ([], [])
        self.depths.set_bars(depths)
        self.times.set_bars(times)
        self._depth_title.setVisible(bool(depths))
        self._time_title.setVisible(bool(times))
        finished = reply is not None and not reply.going
        drafted = bool(reply and reply.counters.get("num_draft_tokens"))
        known = reply.facts if reply else {}
        for button, shown in (
            (self.plain, finished and "plain_tokens_per_s" not in known),
            (self.stamp, finished and "stamp" not in known and not _drawn(reply)),
            (self.gamma, finished and drafted and reply.gamma is None),
        ):
            button.setVisible(bool(shown))
        words, role = figures.stamp_words(reply.facts.get("stamp")) if reply else ("", "")
        self._stamp.set_role(role or "small")
        self._stamp.setText(words)
        self._stamp.setVisible(bool(words))
        used = int(known.get("job", {}).get("draft_length") or 0)
        self.lengths.show_report(reply.gamma if reply else None, used)


def _drawn(reply: Reply | None) -> bool:
    return bool(reply and reply.facts.get("job", {}).get("temperature"))
