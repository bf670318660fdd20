"""One real picture layer by layer, what each layer adds to its bits, and NICE's spectrum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt, Slot
from PySide6.QtWidgets import QLabel, QSplitter

from app.jobs.flows import REAL, FlowLayers
from app.panels.tiles.page import Place, TilesPage, Told, under
from app.panels.tiles.words import DEPTH, INVERSE, NAMES, PAPERS, figure, layer_equation, small
from app.protocol.payloads import Curve, Result
from app.protocol.tiles import LayerLook
from app.widgets.colour_key import ColourKey, Entry
from app.widgets.curve_view import CurveView
from app.widgets.fact_rows import Row
from app.widgets.image_view import ImageView

if TYPE_CHECKING:
    from app.panels.tiles.panel import TilesPanel

PACE_MS = 150
WEIGHING = ("actnorm", "1x1 convolution", "coupling", "split")
"""Layers of Glow that change volumes."""
HINT = "Click a picture below. Grey is 0, black and white are minus and plus the number that stands under the picture."


class DepthPage(TilesPage):
    """The picture on its way to the noise."""

    title, tip = "Layers", "One real picture through every layer to the noise, with what each adds to its bits"

    def __init__(self, panel: TilesPanel) -> None:
        super().__init__(panel, PACE_MS)
        self.tile, self.looks, self.facts = 0, (), {}
        words = QLabel(HINT, wordWrap=True)
        words.setProperty("role", "small")
        self.form = under(words)
        self.state = ImageView(title="Layer")
        self.so_far = CurveView(x_label="layers behind it", y_label="bits so far, noise unpaid")
        self.each = CurveView(x_label="layer", y_label="bits it adds")
        self.each.set_legend_shown(False)
        self.colours = ColourKey()
        lower = under(self.colours, self.each, spacing=0)
        plots, self.view = QSplitter(Qt.Orientation.Vertical), QSplitter()
        for plot in (self.so_far, lower):
            plots.addWidget(plot)
        for plot in (self.so_far, self.each):
            plot.save_requested.connect(panel.save_plot)
        for widget in (self.state, plots):
            self.view.addWidget(widget)
        self.view.setSizes([470, 420])
        self.state.save_requested.connect(panel.save_picture)
        self.so_far.cursor_moved.connect(self._on_cursor)

    def ask(self) -> None:
        self.panel.errands.run(FlowLayers(**self.panel.flow(), tile=self.tile), self._on_layers, key="layers")

    def _on_layers(self, result: Result) -> None:
        self.looks, self.facts = result.files["layers"], result.facts
        x = [float(look.index) for look in self.looks]
        self.so_far.set_curve("so far", Curve(x, [look.so_far for look in self.looks], label="so far"), colour=0)
        self.show_facts()
        self.replay.reset(len(self.looks), min(max(self.replay.index, 1), len(self.looks)))

    def show_facts(self) -> None:
        """The lower plot: NICE's spectrum, or each layer's share."""
        spectrum = self.panel.spectrum
        for key in self.each.curves():
            self.each.remove(key)
        self.each.set_log(y=spectrum is not None)
        if spectrum is not None:
            self.each.set_labels("direction, widest first", "e^(−a)")
            self.each.set_curve("spectrum", spectrum, colour=2)
        elif self.looks:
            self.each.set_labels("layer", "bits it adds")
            for number, title in enumerate(WEIGHING):
                shares = [(float(look.index), look.bits) for look in self.looks if look.title == title]
                if shares:
                    self.each.set_curve(title, Curve(*zip(*shares, strict=True), label=title), colour=number)
        self.colours.set_entries([Entry(title, number) for number, title in enumerate(WEIGHING) if title in self.each.curves()])

    def show_place(self) -> None:
        look = self.look
        if look is not None:
            self.state.set_title(look.title.capitalize())
            self.state.set_note(f"±{look.span:.2g}, level {look.level}")
            self.state.set_image(look.picture)
            self.so_far.set_cursor(float(look.index))
            self.each.set_cursor(float(look.index) if self.panel.spectrum is None else None)

    @property
    def look(self) -> LayerLook | None:
        """The layer in sight."""
        return self.looks[self.replay.index - 1] if 0 < self.replay.index <= len(self.looks) else None

    def marks(self) -> dict[int, str]:
        return {self.tile: ""}

    def pick(self, number: int) -> None:
        self.tile = number
        self.panel.touch()
        self.ask()

    @Slot(float)
    def _on_cursor(self, x: float) -> None:
        self.replay.pause()
        self.replay.go(1 + round(x))

    def place(self) -> Place:
        look = self.look
        return self.replayed("layer", f"{look.title}, level {look.level}" if look else "")

    def told(self) -> Told:
        kind, look = self.panel.flow()["kind"], self.look
        if look is None:
            return Told(name=f"Layers, {NAMES[kind]}", explanation=DEPTH, reference=PAPERS[kind])
        noise = self.facts["noise_bits"]
        rows: list[Row] = [
            ("Layer", f"{look.index} of {look.total - 1}"), ("Level", str(look.level)), ("It adds", f"{figure(look.bits, 3)} bits/dim"),
            ("So far", f"{figure(look.so_far, 3)} bits/dim", "8 minus all log-determinants up to here, in bits per dimension"),
            *((f"Noise {number}", f"{figure(bits, 3)} bits/dim", "−log p of the noise that this level hands out")
              for number, bits in enumerate(noise, 1)),
            ("Together", f"{figure(self.facts['bits'], 3)} bits/dim", "All layers and all noise: what the picture costs"),
            ("There and back", small(self.facts["inverse_error"]), INVERSE),
        ]  # fmt: skip
        name, words = f"{look.title.capitalize()}, {NAMES[kind]}", layer_equation(look, self.panel.dims())
        return Told(name=name, rows=tuple(rows), equation=words, explanation=DEPTH, reference=PAPERS[kind])

    def save(self) -> dict[str, Any]:
        return {"tile": self.tile}

    def restore(self, state: dict[str, Any]) -> None:
        self.tile = min(max(int(state["tile"]), 0), REAL - 1)
