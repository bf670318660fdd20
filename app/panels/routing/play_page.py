"""Before and after: the model as it is and as it is steered, on the same text."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QLabel, QPlainTextEdit, QWidget

from app.panels.routing.page import Page
from app.panels.routing.reading import shown
from app.protocol.routing import SteeredSide, SteerReport
from app.widgets.balance_strip import BalanceStrip
from app.widgets.steady_label import SteadyLabel

SIDES = ("before", "after")
LONGEST = 24
"""Characters of a token that are shown."""
TEACH = (
    "Switch experts off or force them, change how many a token visits, or remove the bias (at the left), then press “Before and after”: "
    "the same text is read twice, and both versions write on."
)


class PlayPage(Page):
    """Before and after."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.texts = {side: QPlainTextEdit(readOnly=True, accessibleName=f"Text {side}") for side in SIDES}
        self.strips = {side: BalanceStrip() for side in SIDES}
        self._heads = {side: QLabel(side.capitalize()) for side in SIDES}
        self._words, self._grid = self.words(TEACH), QGridLayout()
        self._cells: list[SteadyLabel] = []
        sides = QGridLayout()
        for column, side in enumerate(SIDES):
            self._heads[side].setProperty("role", "heading")
            self.texts[side].setFixedHeight(104)
            self.texts[side].setPlaceholderText("What the model writes after the text")
            sides.addWidget(self._heads[side], 0, column)
            sides.addWidget(self.texts[side], 1, column)
            sides.addWidget(self.strips[side], 2, column)
            sides.setColumnStretch(column, 1)
        sides.setHorizontalSpacing(24)
        self._grid.setHorizontalSpacing(24)
        self._grid.setVerticalSpacing(3)
        self._grid.setColumnStretch(3, 1)
        self.column.addWidget(self._words)
        self.column.addLayout(sides)
        self.column.addLayout(self._grid)
        self.column.addStretch(1)

    def begin(self) -> None:
        """Another comparison is on its way."""
        self._words.setText("Reading the text twice …")
        for side in SIDES:
            self.texts[side].setPlainText("")
            self.strips[side].set_table(None)
        self._tell([])

    def show_text(self, side: str, text: str) -> None:
        """What one of the two has written so far."""
        if side in self.texts:
            self.texts[side].setPlainText(visible(text))

    def fail(self) -> None:
        """It did not come about."""
        self._words.setText(TEACH)

    def show_report(self, report: SteerReport) -> None:
        """What changed."""
        before, after = report.before, report.after
        for side, one in zip(SIDES, (before, after), strict=True):
            self.texts[side].setPlainText(visible(one.text) or "(nothing was written)")
            self.strips[side].set_table(one.table, report.layers)
        same = "The text it writes is the same." if before.text == after.text else "It writes another text."
        kept = sum(report.kept) / len(report.kept)
        steered = "; ".join(report.steered)
        self._words.setText(
            f"{steered[:1].upper()}{steered[1:]}. {kept:.0%} of the choices are made again; at {report.changed} of {report.places} places "
            f"another token is the likeliest. {same}"
        )
        self._tell([("", "before", "after"), *rows_of(before, after), ("mean KL of the next token", "", f"{report.divergence:.4f} nats")])

    def _tell(self, rows: list[tuple[str, str, str]]) -> None:
        while len(self._cells) < 3 * len(rows):
            row, column = divmod(len(self._cells), 3)
            label = SteadyLabel("muted" if column == 0 or row == 0 else "", selectable=True)
            self._cells.append(label)
            self._grid.addWidget(label, row, column, Qt.AlignmentFlag.AlignTop)
        flat = [word for row in rows for word in row]
        for label, word in zip(self._cells, flat + [""] * (len(self._cells) - len(flat)), strict=True):
            label.setText(word)


def visible(text: str) -> str:
    """The text with its line breaks to be seen."""
    return text.replace("\n", "↵\n")


def rows_of(before: SteeredSide, after: SteeredSide) -> list[tuple[str, str, str]]:
    """Numbers of both sides."""
    rows = [("perplexity of the text", f"{before.perplexity:.3f}", f"{after.perplexity:.3f}")]
    rows.append(("visits to experts", f"{before.visits:,}", f"{after.visits:,}"))
    if before.dropped or after.dropped:
        rows.append(("choices turned away", f"{before.dropped:,}", f"{after.dropped:,}"))
    likely = ["\n".join(f"{shown(text)[:LONGEST]} {p:.0%}" for text, p in side.next_tokens[:3]) for side in (before, after)]
    return [*rows, ("likeliest next tokens", *likely)]
