"""What every draft length would have given on a reply: the gamma curve with its best place, and the line above which drafting pays."""

from __future__ import annotations

import numpy as np
from PySide6.QtWidgets import QVBoxLayout, QWidget

from app.panels.chat import figures
from app.panels.chat.token_page import small
from app.protocol.chat import GammaReport
from app.protocol.payloads import Curve
from app.widgets.colour_key import ColourKey, Entry
from app.widgets.curve_view import CurveView
from app.widgets.probability_bars import ProbabilityBars

PLAIN_COLOUR, SPEED_COLOUR, HAVE_COLOUR, NEED_COLOUR = 7, 0, 2, 5
SPEED_HEIGHT, LINE_HEIGHT = 160, 140


class GammaView(QWidget):
    """Two plots over the draft length, each under its key, and two sentences; nothing before it was measured."""

    def __init__(self) -> None:
        super().__init__()
        self.curve, self.line = CurveView(y_label="tokens/s"), CurveView()
        self.even = ProbabilityBars("Break-even")
        self.best, self.verdict, self.notes = small(""), small(""), small("")
        self._speed_key, self._line_key = ColourKey(), ColourKey()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 8, 0, 0)
        column.setSpacing(4)
        for plot, height in ((self.curve, SPEED_HEIGHT), (self.line, LINE_HEIGHT)):
            plot.setFixedHeight(height)
            plot.set_legend_shown(False)
        for widget in (self._speed_key, self.curve, self.best, self._line_key, self.line, self.even, self.verdict, self.notes):
            column.addWidget(widget)
        self._speed_key.set_entries([Entry("drafted", SPEED_COLOUR), Entry("plain", PLAIN_COLOUR, dashed=True)])
        self.hide()

    def show_report(self, report: GammaReport | None, used: int) -> None:
        """Show a curve, or nothing; `used`: the draft length of the reply, 0 if it was adapted."""
        self.setVisible(report is not None)
        if report is None:
            return
        words = "nodes of the tree" if figures.draws_trees(report) else "draft length"
        self.curve.set_labels(words, "tokens/s")
        lengths = np.array([point.draft_length for point in report.points], float)
        plain = 1 / report.plain_s if report.plain_s else 0.0
        self._draw(self.curve, "speed", lengths, [point.tokens_per_s for point in report.points], "drafted", SPEED_COLOUR)
        self._draw(self.curve, "plain", lengths, [plain] * len(lengths), "plain", PLAIN_COLOUR, dashed=True)
        self.curve.set_cursor(float(report.best))
        self.best.setText(figures.best_words(report))
        self._show_line(report, words)
        bars, sentence = figures.break_even(report, used)
        self.even.set_bars(bars)
        self.verdict.setText(sentence)
        self.notes.setText(" ".join(report.notes))
        self.notes.setVisible(bool(report.notes))

    def _show_line(self, report: GammaReport, words: str) -> None:
        name, have, need = figures.break_even_line(report)
        lengths = np.array([point.draft_length for point in report.points if point.draft_length], float)
        self.line.set_labels(words, name)
        self._line_key.set_entries([Entry("you have", HAVE_COLOUR), Entry("you need to break even", NEED_COLOUR, dashed=True)])
        self._draw(self.line, "have", lengths, have, "you have", HAVE_COLOUR)
        self._draw(self.line, "need", lengths, need, "you need", NEED_COLOUR, dashed=True)

    @staticmethod
    def _draw(plot: CurveView, key: str, x: np.ndarray, y: list[float], label: str, colour: int, dashed: bool = False) -> None:
        plot.set_curve(key, Curve(x, np.array(y, float), label=label), colour=colour, dashed=dashed)
