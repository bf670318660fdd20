"""The right column: the token or round looked at, and the figures of the reply in focus."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QTabWidget, QWidget

from app.panels.chat.reply_page import ReplyPage
from app.panels.chat.token_page import TokenPage


class SideView(QTabWidget):
    """Two pages: token and reply."""

    alternative_chosen = Signal(object)
    """A token id to continue with, at the place looked at."""
    lens_wanted = Signal()
    plain_wanted = Signal()
    stamp_wanted = Signal()
    gamma_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.token, self.reply = TokenPage(), ReplyPage()
        self.addTab(self.token, "Token")
        self.addTab(self.reply, "Reply")
        self.setTabToolTip(0, "The token or the round looked at, in numbers")
        self.setTabToolTip(1, "Speed, acceptance and time of the reply")
        self.token.alternatives.pressed.connect(self.alternative_chosen)
        self.token.lens.clicked.connect(self.lens_wanted)
        for button, signal in (
            (self.reply.plain, self.plain_wanted), (self.reply.stamp, self.stamp_wanted), (self.reply.gamma, self.gamma_wanted),
        ):  # fmt: skip
            button.clicked.connect(signal)
        self.setMinimumWidth(248)
