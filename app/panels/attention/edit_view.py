"""A text before and after heads were changed: both continuations with what differs marked, the likeliest next tokens, the loss, and where
in the text the law of the next token moved."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from difflib import SequenceMatcher

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QScrollArea, QVBoxLayout, QWidget

from app import theme
from app.panels.attention.words import EMPTY_EDIT
from app.protocol.attention import EditReport, HeadEdit, NextTokens
from app.widgets.probability_bars import Bar, ProbabilityBars
from app.widgets.token_chips import TokenChips
from app.widgets.token_words import number, quoted

_BREAKS = re.compile(r"\n+")


class EditView(QScrollArea):
    """One report."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.report: EditReport | None = None
        self.title, self.loss, self.note = QLabel(wordWrap=True), QLabel(wordWrap=True), QLabel(wordWrap=True)
        self.texts = (QLabel(wordWrap=True), QLabel(wordWrap=True))
        self.bars = (ProbabilityBars("Next tokens before"), ProbabilityBars("Next tokens after"))
        self.chips = TokenChips(name="Where the law of the next token moved")
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._inside = QWidget()
        column, sides = QVBoxLayout(self._inside), QHBoxLayout()
        column.setContentsMargins(12, 12, 12, 12)
        column.setSpacing(8)
        self.title.setProperty("role", "heading")
        self._sides = QWidget()
        self._sides.setLayout(sides)
        sides.setContentsMargins(0, 0, 0, 0)
        sides.setSpacing(16)
        for name, text, bars in zip(("Before", "After"), self.texts, self.bars, strict=True):
            sides.addLayout(_column(name, text, bars), 1)
        self._moved = _small("Where the law of the next token moved, KL(before || after) in nats a token:")
        self.note.setProperty("role", "muted")
        for widget in (self.title, self.loss, self._sides, self._moved, self.chips, self.note):
            column.addWidget(widget)
        column.addStretch(1)
        self.setWidget(self._inside)
        theme.notifier().changed.connect(self._restyle)
        self.clear()

    def clear(self, words: str = EMPTY_EDIT) -> None:
        """Nothing but a line that teaches, or tells what goes on."""
        self.report = None
        self.title.clear()
        self.note.setText(words)
        for widget in (self.title, self.loss, self._sides, self._moved, self.chips):
            widget.hide()

    def show_report(self, report: EditReport, tokens: Sequence[str]) -> None:
        """Before and after; `tokens` are those of the text that was read."""
        self.report = report
        self.title.setText(edits_in_words(report.edits))
        before, after = report.before_loss, report.after_loss
        self.loss.setText(f"Loss on the text {before:.3f} → {after:.3f} nats a token ({after - before:+.3f})")
        self._restyle()
        for bars, shown, other in zip(self.bars, (report.before, report.after), (report.after, report.before), strict=True):
            bars.set_bars(next_bars(shown, other))
        self.chips.set_tokens(tokens)
        self.chips.set_shades(np.asarray(report.kl, np.float32), note="nats by which the law of the next token moved here")
        self.note.setText(report.sentence)
        for widget in (self.title, self.loss, self._sides, self._moved, self.chips):
            widget.show()

    def _restyle(self) -> None:
        if self.report is not None:
            for label, marked in zip(self.texts, differing(self.report.before_text, self.report.after_text), strict=True):
                label.setText(marked)


def edits_in_words(edits: Sequence[HeadEdit]) -> str:
    """Which heads were changed, and how."""
    told = (f"layer {edit.layer} head {edit.head} {'removed' if edit.factor == 0 else f'x {edit.factor:g}'}" for edit in edits)
    words = ", ".join(told) or "no head changed"
    return words[:1].upper() + words[1:]


def next_bars(shown: NextTokens, other: NextTokens) -> list[Bar]:
    """The likeliest next tokens; the tick is the probability on the other side, where it is known."""
    known = dict(zip(other.ids, other.p, strict=True))
    return [
        Bar(quoted(text), p, number(p), mono=True, mark=known.get(id_), tip=_tip(p, known.get(id_)))
        for text, id_, p in zip(shown.texts, shown.ids, shown.p, strict=True)
    ]


def _tip(p: float, there: float | None) -> str:
    return f"{p:.4f}; on the other side {there:.4f}" if there is not None else f"{p:.4f}; not among the likeliest on the other side"


def differing(before: str, after: str) -> tuple[str, str]:
    """Both texts as HTML, words that differ marked by ground and underline."""
    words = before.split(" "), after.split(" ")
    sides: tuple[list[str], list[str]] = ([], [])
    ground = theme.colour("warn", 70)
    style = f"background-color: rgba({ground.red()},{ground.green()},{ground.blue()},0.28); text-decoration: underline;"
    for kind, a0, a1, b0, b1 in SequenceMatcher(None, *words, autojunk=False).get_opcodes():
        for side, part in zip(sides, (words[0][a0:a1], words[1][b0:b1]), strict=True):
            text = _BREAKS.sub(lambda found: "↵" * len(found[0]) + "<br>", html.escape(" ".join(part)))
            if text:
                side.append(text if kind == "equal" else f'<span style="{style}">{text}</span>')
    return " ".join(sides[0]), " ".join(sides[1])


def _column(name: str, text: QLabel, bars: ProbabilityBars) -> QVBoxLayout:
    column, heading = QVBoxLayout(), QLabel(name)
    heading.setProperty("role", "heading")
    text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    text.setTextFormat(Qt.TextFormat.RichText)
    column.setSpacing(4)
    for widget in (heading, _small("It goes on (greedy):"), text, _small("Likeliest next tokens; the tick is the other side:"), bars):
        column.addWidget(widget)
    column.addStretch(1)
    return column


def _small(words: str) -> QLabel:
    label = QLabel(words, wordWrap=True)
    label.setProperty("role", "small")
    return label
