"""From one real picture to another: along a straight line in the noise, and by fading over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PySide6.QtCore import Qt, Slot
from PySide6.QtWidgets import QLabel, QPushButton, QSlider, QSplitter, QVBoxLayout, QWidget

from app.jobs.flows import SIZE, FlowBetween
from app.panels.tiles.page import Place, TilesPage, Told, cut, under
from app.panels.tiles.words import BETWEEN, NAMES, PAPERS, figure, small
from app.protocol.payloads import Curve, Result
from app.widgets.colour_key import ColourKey, Entry
from app.widgets.curve_view import CurveView
from app.widgets.image_view import ImageView

if TYPE_CHECKING:
    from app.panels.tiles.panel import TilesPanel

COLUMNS = 17
WAY = "Place on the way from A to B"
PACE_MS = 90


class BetweenPage(TilesPage):
    """A place on both ways, their pictures, and what each picture on them costs."""

    title, tip = "Between", "From one real picture to another through the noise, beside plain fading over"

    def __init__(self, panel: TilesPanel) -> None:
        super().__init__(panel, PACE_MS)
        self.ends, self._next = [0, 1], 0
        self.swap = QPushButton("Swap", toolTip="Exchange both ends")
        words = QLabel("Click two pictures below: the first is A, the second B, and so on in turn.", wordWrap=True)
        words.setProperty("role", "small")
        self.form = under(words, self.swap)
        self.through, self.faded = ImageView(title="Through the noise"), ImageView(title="Faded over")
        self.strip = ImageView(title="Both ways")
        self.bits = CurveView(x_label="share of the way from A to B", y_label="bits per dimension")
        self.bits.set_legend_shown(False)
        self.colours = ColourKey()
        self.colours.set_entries([Entry("through the noise", 0), Entry("faded over", 1, dashed=True)])
        self.slider = QSlider(Qt.Orientation.Horizontal, minimum=1, maximum=COLUMNS, toolTip=WAY, accessibleName=WAY)
        self.path, self.facts = None, {}
        self._build()
        self.swap.clicked.connect(self._on_swap)
        self.slider.valueChanged.connect(self._on_slider)
        self.bits.cursor_moved.connect(self._on_cursor)
        self.strip.clicked.connect(self._on_strip)
        for view in (self.through, self.faded, self.strip):
            view.save_requested.connect(panel.save_picture)
        self.bits.save_requested.connect(panel.save_plot)

    def _build(self) -> None:
        pair, lower, way = QSplitter(), QSplitter(Qt.Orientation.Vertical), QWidget()
        for view in (self.through, self.faded):
            pair.addWidget(view)
        box = QVBoxLayout(way)
        box.setContentsMargins(12, 6, 12, 2)
        box.addWidget(self.slider)
        box.addWidget(self.strip, 1)
        for widget in (pair, way, under(self.colours, self.bits, spacing=0)):
            lower.addWidget(widget)
        lower.setSizes([330, 130, 180])
        self.through.link(self.faded)
        self.view = lower

    def ask(self) -> None:
        job = FlowBetween(**self.panel.flow(), first=self.ends[0], second=self.ends[1], columns=COLUMNS)
        self.panel.errands.run(job, self._on_path, key="between")

    def _on_path(self, result: Result) -> None:
        self.path, self.facts = result.files["path"], result.facts
        self.strip.set_image(self.path)
        x = np.linspace(0, 1, len(self.facts["bits"]))
        self.bits.set_curve("through", Curve(x, self.facts["bits"], label="through the noise"), colour=0)
        self.bits.set_curve("faded", Curve(x, self.facts["faded_bits"], label="faded over"), colour=1, dashed=True)
        stands = self.replay.index or 1 + COLUMNS // 2
        self.replay.reset(COLUMNS, stands)

    def show_place(self) -> None:
        at = self.replay.index - 1
        self.slider.blockSignals(True)
        self.slider.setValue(at + 1)
        self.slider.blockSignals(False)
        if self.path is None or at < 0:
            return
        self.through.set_image(cut(self.path, at, SIZE))
        self.faded.set_image(cut(self.path, COLUMNS + at, SIZE))
        self.bits.set_cursor(at / (COLUMNS - 1))

    # choosing --------------------------------------------------------------------------------------------------------

    def marks(self) -> dict[int, str]:
        return {self.ends[0]: "A"} | {self.ends[1]: "B"}

    def pick(self, number: int) -> None:
        self.ends[self._next] = number
        self._next = 1 - self._next
        self.panel.touch()
        self.ask()

    @Slot()
    def _on_swap(self) -> None:
        self.ends.reverse()
        self.panel.show_marks()
        self.ask()

    @Slot(int)
    def _on_slider(self, value: int) -> None:
        self.replay.pause()
        self.replay.go(value)

    @Slot(float)
    def _on_cursor(self, x: float) -> None:
        self._on_slider(1 + round(x * (COLUMNS - 1)))

    @Slot(float, float)
    def _on_strip(self, x: float, _y: float) -> None:
        self._on_slider(1 + int(x) // SIZE)

    # words -----------------------------------------------------------------------------------------------------------

    def place(self) -> Place:
        share = (self.replay.index - 1) / (COLUMNS - 1)
        return self.replayed("picture", f"{100 * share:.0f} % of the way" if self.replay.index else "")

    def told(self) -> Told:
        kind, facts, at = self.panel.flow()["kind"], self.facts, self.replay.index - 1
        if not facts or at < 0:
            return Told(name=f"Between, {NAMES[kind]}", explanation=BETWEEN, reference=PAPERS[kind])
        share = at / (COLUMNS - 1)
        rows = (
            ("Through the noise", f"{figure(facts['bits'][at])} bits/dim", "What this picture costs under the flow"),
            ("Faded over", f"{figure(facts['faded_bits'][at])} bits/dim"),
            ("Distance in z", figure(facts["distance"], 1), "Between the noises of A and B"),
            ("Ends", small(facts["end_error"]), "Largest difference of the way's ends from A and B: what rounding costs"),
        )
        equation = f"x(s) = f⁻¹((1 − s) f(A) + s f(B)),  s = {share:.2f}\nlinear in z, as in Glow's paper"
        return Told(name=f"Between, {NAMES[kind]}", rows=rows, equation=equation, explanation=BETWEEN, reference=PAPERS[kind])

    def save(self) -> dict[str, Any]:
        return {"ends": list(self.ends)}

    def restore(self, state: dict[str, Any]) -> None:
        self.ends = [int(state["ends"][0]), int(state["ends"][1])]
