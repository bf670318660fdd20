"""The right column: what the gate of one layer decided about one token, in bars, numbers and words."""

from __future__ import annotations

import math

import numpy as np
from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from app.panels.routing.reading import Reading
from app.protocol.routing import RoutedModel, RoutedPass
from app.widgets.affinity_bars import AffinityBars
from app.widgets.inspector import Inspector

EXPLAIN = {
    "sigmoid": "Every expert has an affinity of its own, a sigmoid of the gate's logit. Affinity plus bias decides who is chosen; "
    "the weights come from the affinities alone.",
    "softmax": "The affinities are a softmax of the gate's logits: they share one whole, and the largest are chosen.",
}
MOST_LINES = 8
GROUPS_HELP = "numbered from 0: the groups with the largest sums of their two best scores; only their experts compete"
PAPERS = {"sigmoid": "arXiv 2412.19437, eq. 12 to 16; bias: arXiv 2408.15664", "softmax": "arXiv 1701.06538, 2101.03961, 2401.04088"}


class TokenSide(QWidget):
    """Layer choice, bars, inspector."""

    row_chosen = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.layers, self.bars, self.inspector = QComboBox(), AffinityBars(), Inspector()
        column, row = QVBoxLayout(self), QHBoxLayout()
        column.setContentsMargins(0, 8, 0, 0)
        column.setSpacing(4)
        row.setContentsMargins(12, 0, 12, 0)
        self.layers.setAccessibleName("Layer")
        self.layers.setToolTip("The layer whose experts are told: in the bars here, in the numbers under the tokens, in the pages below")
        self.layers.activated.connect(self._on_row)
        row.addWidget(QLabel("Layer"))
        row.addWidget(self.layers, 1)
        bars = QHBoxLayout()
        bars.setContentsMargins(12, 0, 12, 0)
        bars.addWidget(self.bars)
        column.addLayout(row)
        column.addLayout(bars)
        column.addWidget(self.inspector, 1)
        self.setMinimumWidth(248)
        self.clear()

    def clear(self) -> None:
        """Nothing is looked at."""
        self.bars.clear()
        self.inspector.clear("Click a token to see what the gates thought of every expert: affinity, bias, and how close it was.")

    def set_layers(self, layers: tuple[int, ...]) -> None:
        """Which layers there are."""
        self.layers.clear()
        self.layers.addItems([f"{layer}" for layer in layers])

    def set_row(self, row: int) -> None:
        """Show a layer's place; tells nobody."""
        self.layers.setCurrentIndex(row)

    def show_token(self, reading: Reading, token: int, row: int) -> None:
        """One token in one layer."""
        told, t = reading.at(token)
        experts, bias = [int(e) for e in told.experts[row, t]], None if told.bias is None else told.bias[row]
        live = [e for e, ok in zip(experts, told.live[row, t], strict=True) if ok]
        flipped = [e for e, flip in zip(experts, told.flips[row, t], strict=True) if flip]
        groups = reading.looked.groups[0] if reading.looked.groups else 1
        self.bars.set_values(told.affinities[row, t], bias, live, flipped, told.barred[row, t].nonzero()[0].tolist(), groups)
        self.inspector.set_content(
            f"“{reading.text_of(token)}”", self._rows(reading, token, told, t, row), self._equation(reading.looked, told, t, row),
            EXPLAIN[reading.looked.gate], PAPERS[reading.looked.gate],
        )  # fmt: skip

    @staticmethod
    def _rows(reading: Reading, token: int, told: RoutedPass, t: int, row: int) -> list[tuple[str, ...]]:
        nats, margin = told.tokens.values[t], float(told.margin[row, t])
        phase = "given" if told.phase == "prompt" else "written"
        rows: list[tuple[str, ...]] = [("place", f"{token + 1} of {len(reading)}, {phase}"), ("layer", str(reading.looked.layers[row]))]
        choices = zip(told.experts[row, t], told.weights[row, t], told.live[row, t], told.dropped[row, t], strict=True)
        for rank, (e, w, live, full) in enumerate(choices, start=1):  # the names of rows stay, so their labels are used again
            words = f"expert {e}: {w:.3f}" if live else "none was left"
            words = f"expert {e} was full: the token passed by" if full else words
            rows.append((f"weight {rank}", words, "the expert, and its share in the sum"))
        if reading.looked.groups:
            open_ = [str(n) for n, barred in enumerate(np.split(told.barred[row, t], reading.looked.groups[0])) if not barred.all()]
            rows.append(("groups", f"{', '.join(open_)} of {reading.looked.groups[0]}", GROUPS_HELP))
        closest = "none was left out" if math.isinf(margin) else f"{margin:.4f}"
        rows.append(("margin", closest, "score of the last expert chosen minus that of the best left out"))
        flips = [str(int(e)) for e, flip in zip(told.experts[row, t], told.flips[row, t], strict=True) if flip]
        if told.bias is not None:
            rows.append(("only by bias", ", ".join(flips) or "none", "experts that would not have been chosen without the selection bias"))
        rows.append(("routed adds", f"{told.routed_norm[row, t]:.3f}", "length of what the chosen experts add to the residual stream"))
        if told.shared_norm is not None:
            rows.append(("shared adds", f"{told.shared_norm[row, t]:.3f}", "length of what the shared expert adds"))
        surprise = "nothing before it" if math.isnan(nats) else f"{nats:.3f} nats"
        rows.append(("-log p", surprise, "how surprising the token was, given those before it"))
        read, touched = int(told.read[t]), int(told.touched[row, t])
        tip = "tokens that the model read at once, and the experts of this layer it needed for them"
        rows.append(("pass", f"{read} token{'s' if read != 1 else ''}, {touched} experts", tip))
        return rows

    @staticmethod
    def _equation(looked: RoutedModel, told: RoutedPass, t: int, row: int) -> str:
        lines = ["affinity" if told.bias is None else "affinity + bias = score"]
        for e in told.experts[row, t].tolist()[:MOST_LINES]:
            affinity = told.affinities[row, t, e]
            if told.bias is None:
                lines.append(f"{e}:  {affinity:.3f}")
            else:
                bias = told.bias[row, e]
                lines.append(f"{e}:  {affinity:.3f} {'+' if bias >= 0 else '-'} {abs(bias):.3f} = {affinity + bias:.3f}")
        if looked.groups:
            lines.append(f"best {looked.groups[1]} of {looked.groups[0]} groups compete")
        return "\n".join(lines)

    @Slot(int)
    def _on_row(self, row: int) -> None:
        self.row_chosen.emit(row)
