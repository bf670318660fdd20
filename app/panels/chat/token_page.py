"""The token or the round looked at: the model's choices as bars, the rule that decided in numbers, and the logit lens on demand."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QLabel, QPushButton, QScrollArea, QVBoxLayout, QWidget

from app.panels.chat import explain
from app.panels.chat.reply import Reply
from app.protocol.chat import DraftedToken, LensRow
from app.widgets.inspector import Inspector
from app.widgets.probability_bars import Bar, ProbabilityBars
from app.widgets.token_words import number, quoted

TEACH = "Click a token of a reply: its probabilities and the rule that let it pass stand here. Click a column of the strip: its round."


class TokenPage(QWidget):
    """Bars on top, the inspector's words below, and the logit lens on demand."""

    def __init__(self) -> None:
        super().__init__()
        self.alternatives, self.verdict = ProbabilityBars("Likeliest tokens"), ProbabilityBars("Draft against model")
        self.inspector = Inspector()
        self.lens = QPushButton("Logit lens", toolTip="What every layer of the model would have said at this place")
        self.layers = ProbabilityBars("Layers")
        self._scroll = QScrollArea(widgetResizable=True, visible=False)
        self._scroll.setFrameShape(QFrame.Shape.NoFrame)
        self._scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._lens_words = small("What each layer would write next; the bar is the probability of the token that came.")
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 8, 8, 8)
        column.setSpacing(4)
        self._title = small("Model's choice at this place (click one to go on from it)")
        for widget in (self._title, self.alternatives, self.verdict):
            column.addWidget(widget)
        column.addWidget(self.inspector, 3)
        column.addWidget(self.lens)
        inside, below = QWidget(), QVBoxLayout()
        inside.setLayout(below)
        below.setContentsMargins(0, 0, 0, 0)
        for widget in (self._lens_words, self.layers):
            below.addWidget(widget)
        below.addStretch(1)
        self._scroll.setWidget(inside)
        column.addWidget(self._scroll, 2)
        self.clear()

    def clear(self) -> None:
        """Nothing is looked at."""
        self._bars([], [])
        self.inspector.clear(TEACH)
        self.lens.hide()
        self.set_layers(None)

    def show_token(self, reply: Reply, token: int) -> None:
        """A token of the reply."""
        round_, place = reply.at(token)
        self._bars(explain.alternative_bars(round_.tokens[place]), explain.verdict_bars(round_, place))
        self.inspector.set_content(*explain.token_page(reply, token))
        self.lens.setVisible(bool(reply.prompt_ids))
        self.set_layers(None)

    def show_draft(self, reply: Reply, round_: int, draft: DraftedToken) -> None:
        """A draft that was not kept."""
        self._bars([], explain.draft_bars(draft))
        self.inspector.set_content(*explain.draft_page(reply, reply.rounds[round_], draft))
        self.lens.hide()

    def show_round(self, reply: Reply, index: int) -> None:
        """A round."""
        self._bars([], [])
        self.inspector.set_content(*explain.round_page(reply, index))
        self.lens.hide()
        self.set_layers(None)

    def set_layers(self, rows: Sequence[LensRow] | None) -> None:
        """The logit lens; None closes it."""
        self._scroll.setVisible(rows is not None)
        bars = []
        for row in rows or ():
            best = row.top[0] if row.top else None
            tip = f"after layer {row.layer}: the token that came has rank {row.rank_next + 1}; entropy {row.entropy:.2f} nats"
            label, role = f"{row.layer}  {quoted(best.text) if best else ''}", "ok" if row.rank_next == 0 else "accent"
            bars.append(Bar(label, row.p_next, number(row.p_next), role=role, mono=True, tip=tip))
        self.layers.set_bars(bars[::-1])

    def _bars(self, alternatives: list[Bar], verdict: list[Bar]) -> None:
        self.alternatives.set_bars(alternatives)
        self.verdict.set_bars(verdict)
        self._title.setVisible(bool(alternatives))


def small(text: str) -> QLabel:
    """A quiet line that wraps."""
    label = QLabel(text, wordWrap=True)
    label.setProperty("role", "small")
    return label
