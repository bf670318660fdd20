"""The time axis at the bottom: transport, pace, the strip of rounds, and above it, on demand, the draft of the round looked at."""

from __future__ import annotations

from PySide6.QtCore import QObject, QTimer, Signal, Slot
from PySide6.QtWidgets import QComboBox, QFrame, QScrollArea, QToolButton, QVBoxLayout, QWidget

from app import theme
from app.panels.chat.player import SPEEDS, Player
from app.panels.chat.reply import Reply
from app.widgets.draft_tree import DraftTree
from app.widgets.elided_label import ElidedLabel
from app.widgets.icons import icon
from app.widgets.rounds_strip import RoundsStrip, seconds
from app.widgets.transport import Transport

TREE_LEAST, TREE_MOST = 104, 230
EVERY_MS = 48  # of the strip while a reply is written; the text itself is shown more often
CONTEXT = 40
SPEED_WORDS = {1.0: "real time", 0.5: "½ speed", 0.25: "¼ speed", 0.1: "⅒ speed"}


class Timeline(QWidget):
    """Shows the reply in focus."""

    draft_toggled = Signal(bool)
    speed_chosen = Signal(float)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.transport, self.strip, self.tree = Transport(noun="round"), RoundsStrip(), DraftTree()
        self._busy = ElidedLabel("muted", theme.SMALL, width=150)
        self._speed = QComboBox(
            toolTip="Slow motion: how fast rounds pass, in a replay and while a reply is written", accessibleName="Pace"
        )
        for speed in SPEEDS:
            self._speed.addItem(SPEED_WORDS[speed], speed)
        self._speed.activated.connect(self._on_speed)
        self._draft = QToolButton(text="Draft", checkable=True, toolTip="Draw the draft of the round: its tree, and the attention mask")
        self._draft.setIcon(icon("tree"))
        self._draft.setToolButtonStyle(self._draft.toolButtonStyle().ToolButtonTextBesideIcon)
        self._draft.toggled.connect(self._on_draft)
        for widget in (self._busy, self._speed, self._draft):
            self.transport.add_widget(widget)
        self._scroll = QScrollArea(widgetResizable=True, visible=False)
        self._scroll.setFrameShape(QFrame.Shape.NoFrame)
        self._scroll.setWidget(self.tree)
        self._scroll.setFixedHeight(TREE_LEAST)
        self._drawn: Reply | None = None
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        for widget in (self.transport, self._scroll, self.strip):
            column.addWidget(widget)

    def set_busy(self, words: str) -> None:
        """What is going on while there is no round to show."""
        self._busy.setText(words)

    def set_draft_shown(self, shown: bool) -> None:
        """Open or close the drawing of the draft."""
        self._draft.setChecked(shown)

    @property
    def draft_shown(self) -> bool:
        """Whether the draft is drawn."""
        return self._draft.isChecked()

    def set_speed(self, speed: float) -> None:
        """Show a pace; tells nobody."""
        self._speed.setCurrentIndex(max(self._speed.findData(speed), 0))

    def show_rounds(self, reply: Reply | None) -> None:
        """The reply has more rounds, or is another."""
        self.strip.set_rounds(reply.rounds if reply else [])

    def show_position(self, player: Player) -> None:
        """Where we are, and which buttons can be pressed."""
        reply, state = player.reply, player.state
        position, last = (reply.position, len(reply.rounds)) if reply else (0, 0)
        round_ = reply.rounds[position - 1] if reply and position else None
        self.strip.select(position - 1)
        self.transport.set_state({"starting": "running"}.get(state, state))
        self.transport.set_can(back=position > 1, forward=position < last)
        note = f"{len(round_.tokens)} token{'s' if len(round_.tokens) != 1 else ''}, {seconds(round_) * 1000:.0f} ms" if round_ else ""
        self.transport.set_position(position, last, note)
        if self.draft_shown:
            self._draw(reply, position - 1)

    def _draw(self, reply: Reply | None, index: int) -> None:
        if reply is None or index < 0:
            self.tree.set_round(None)
            return
        kept = tuple(reply.counters.get("acceptance_by_position", ()))
        self.tree.set_round(reply.rounds[index], reply.before(index, CONTEXT), kept)
        least = self._scroll.height() if reply is self._drawn else TREE_LEAST  # within a reply it only grows: nothing jumps
        self._drawn = reply
        self._scroll.setFixedHeight(min(max(self.tree.sizeHint().height() + 12, least), TREE_MOST))

    @Slot(bool)
    def _on_draft(self, shown: bool) -> None:
        self._scroll.setVisible(shown)
        self.draft_toggled.emit(shown)

    @Slot(int)
    def _on_speed(self, _row: int) -> None:
        self.speed_chosen.emit(self._speed.currentData())


class Following(QObject):
    """Keeps the timeline at the player's reply: buttons to the player, its moves to the views."""

    def __init__(self, timeline: Timeline, player: Player, parent: QObject) -> None:
        super().__init__(parent)
        self._timeline, self._player = timeline, player
        self._clock = QTimer(self, singleShot=True, interval=EVERY_MS)
        self._clock.timeout.connect(self.grew)
        bar = timeline.transport
        for signal, slot in (
            (bar.first, player.first), (bar.previous, player.previous), (bar.play, player.play), (bar.pause, player.pause),
            (bar.next, player.next), (bar.last, player.last), (bar.stop, player.stop), (timeline.strip.selected, self._on_chosen),
            (timeline.speed_chosen, player.set_speed), (timeline.draft_toggled, self.show), (player.moved, self.show),
            (player.state_changed, self.show), (player.focused, self.grew),
        ):  # fmt: skip
            signal.connect(slot)

    def soon(self) -> None:
        """The reply in focus is growing: show it a moment from now."""
        if not self._clock.isActive():
            self._clock.start()

    def close_down(self) -> None:
        """Show nothing more."""
        self._clock.stop()

    @Slot()
    def grew(self) -> None:
        """The reply in focus has more rounds, or is another."""
        self._clock.stop()
        self._timeline.show_rounds(self._player.reply)
        self.show()

    @Slot()
    def show(self, *_values: object) -> None:
        """Show where we are."""
        self._timeline.show_position(self._player)

    @Slot(int)
    def _on_chosen(self, index: int) -> None:
        self._player.look(index + 1)
