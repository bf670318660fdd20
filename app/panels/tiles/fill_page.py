"""Filling in hidden pixels, step by step."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PySide6.QtCore import Qt, QTimer, Slot
from PySide6.QtWidgets import QComboBox, QPushButton, QSplitter

from app.jobs.flows import REAL, SIZE, FlowFill
from app.panels.tiles.page import Place, TilesPage, Told, cut, under
from app.panels.tiles.words import FILL, NAMES, PAPERS, figure
from app.protocol.errors import UserError
from app.protocol.job import job_from_dict, job_to_dict
from app.protocol.payloads import Curve, Result
from app.protocol.tiles import FillStep
from app.widgets.colour_key import ColourKey, Entry
from app.widgets.curve_view import CurveView
from app.widgets.fact_rows import Row
from app.widgets.hiding_view import HidingView
from app.widgets.image_view import ImageView
from app.widgets.param_form import ParamForm

if TYPE_CHECKING:
    from app.panels.tiles.panel import TilesPanel

DRAW_MS, PACE_MS = 60, 50
PIXELS = np.arange(SIZE * SIZE).reshape(SIZE, SIZE)
HALF, QUARTER = SIZE // 2, SIZE // 4
PARTS = {
    "Lower half": PIXELS[HALF:], "Upper half": PIXELS[:HALF], "Left half": PIXELS[:, :HALF], "Right half": PIXELS[:, HALF:],
    "Middle": PIXELS[QUARTER:-QUARTER, QUARTER:-QUARTER], "All": PIXELS, "Nothing": PIXELS[:0],
}  # fmt: skip
HIDE = "Hide …"
RULES = {
    "adam": "v ← v + r m / √s,  m and s running means of ∇ log p(v) and of its square",
    "ascent": "v ← v + r ∇ log p(v) / |∇ log p(v)|,  taken only if log p rises",
    "langevin": "v ← v + r (∇ log p(v) / |∇ log p(v)| + ε),  ε ~ N(0, 1)",
}
SKIPPED = ("kind", "weights", "tile", "hidden", "device")


class FillPage(TilesPage):
    """What is given, what is filled in, and the truth; bits over steps."""

    title, tip = "Fill in", "Paint over a part of a real picture and let the flow climb to a likely one"

    def __init__(self, panel: TilesPanel) -> None:
        super().__init__(panel, PACE_MS)
        self.tile = 0
        self.parts, self.knobs = QComboBox(toolTip="Hide a part at once"), ParamForm(FlowFill, skip=SKIPPED)
        self.parts.addItems([HIDE, *PARTS])
        self.button = QPushButton("Fill in", toolTip="Begin with noise in the hidden pixels and climb (Ctrl+Enter)")
        self.button.setProperty("role", "primary")
        self.form = under(self.parts, self.knobs, self.button)
        self.given, self.now, self.truth = HidingView(title="Given"), ImageView(title="Filled in"), ImageView(title="Truth")
        self.now.set_placeholder("Press Fill in.", "Fill in")
        self.bits, self.colours = CurveView(x_label="step", y_label="bits per dimension"), ColourKey()
        self.bits.set_legend_shown(False)
        self.colours.set_entries([Entry("with what is filled in", 0), Entry("the truth", 1, dashed=True)])
        self.steps: list[FillStep] = []
        self.facts: dict[str, Any] = {}
        self.handle, self._state, self._following = None, "idle", False
        self._draw = QTimer(self, singleShot=True, interval=DRAW_MS)
        self._build()

    def _build(self) -> None:
        upper, self.view = QSplitter(), QSplitter(Qt.Orientation.Vertical)
        for view in (self.given, self.now, self.truth):
            upper.addWidget(view)
            view.save_requested.connect(self.panel.save_picture)
        for widget in (upper, under(self.colours, self.bits, spacing=0)):
            self.view.addWidget(widget)
        self.view.setSizes([430, 200])
        self.bits.save_requested.connect(self.panel.save_plot)
        self.bits.cursor_moved.connect(self._on_cursor)
        self.parts.activated.connect(self._on_part)
        self.button.clicked.connect(self.run)
        self.now.placeholder_action.connect(self.run)
        self.given.changed.connect(self._on_painted)
        self.knobs.changed.connect(self._on_changed)
        self.knobs.invalid.connect(self.panel.show_error)
        self._draw.timeout.connect(self.draw)

    # the picture -----------------------------------------------------------------------------------------------------

    def ask(self) -> None:
        """Another flow or picture: what was filled in is no longer of it."""
        if self.handle is not None:
            self.handle.cancel()
        self.handle, self.steps, self.facts = None, [], {}
        self.replay.reset(0)
        self.bits.clear()
        self.now.set_image(None)
        self.show_real()

    def show_real(self) -> None:
        """The chosen real picture, once it is known."""
        if (sheet := self.panel.real_sheet()) is not None:
            self.given.set_picture(cut(sheet, self.tile, SIZE))
            self.given.set_hidden(self.hidden)
            self.truth.set_image(cut(sheet, self.tile, SIZE))

    @property
    def hidden(self) -> tuple[int, ...]:
        """Pixels that are to be filled in."""
        return self.knobs.value("hidden")

    def marks(self) -> dict[int, str]:
        return {self.tile: ""}

    def pick(self, number: int) -> None:
        self.tile = number
        self.panel.touch()
        self.ask()

    @Slot(int)
    def _on_part(self, number: int) -> None:
        if number > 0:
            self.hide_pixels(PARTS[self.parts.itemText(number)].flatten().tolist())
        self.parts.setCurrentIndex(0)

    def hide_pixels(self, pixels: list[int]) -> None:
        """Hide exactly these."""
        self.knobs.set_value("hidden", tuple(pixels))
        self.given.set_hidden(pixels)
        self._on_changed()

    @Slot()
    def _on_painted(self) -> None:
        self.hide_pixels(list(self.given.hidden()))

    @Slot()
    def _on_changed(self, *_job: object) -> None:
        self.panel.touch()
        self.moved.emit()

    # running ---------------------------------------------------------------------------------------------------------

    @property
    def active(self) -> bool:
        """Is it climbing?"""
        return self.handle is not None and self.handle.active

    @Slot()
    def run(self) -> None:
        """Begin anew."""
        try:
            job = replace(self.knobs.job(), **self.panel.flow(), tile=self.tile)
        except UserError as error:
            self.panel.show_error(error)
            return
        self.ask()
        self._following = True
        self.handle = handle = self.panel.engine.submit(job, key="tiles/fill", policy="replace")
        for signal, slot in (
            (handle.started, self._on_running), (handle.resumed, self._on_running), (handle.parked, self._on_parked),
            (handle.record, self._on_record), (handle.done, self._on_done), (handle.failed, self.panel.show_error),
            (handle.finished, self._on_finished),
        ):  # fmt: skip
            signal.connect(slot)

    @Slot(str, object)
    def _on_record(self, _channel: str, step: FillStep) -> None:
        if self.sender() is self.handle:
            self.steps.append(step)
            if not self._draw.isActive():
                self._draw.start()

    @Slot(object)
    def _on_done(self, result: Result) -> None:
        if self.sender() is self.handle:
            self.facts = result.facts
            ends = [0.0, float(len(self.steps) - 1)]
            self.bits.set_curve("truth", Curve(ends, [self.facts["true_bits"]] * 2, label="the truth"), colour=1, dashed=True)

    @Slot()
    def _on_finished(self) -> None:
        if self.sender() is self.handle:
            self._set_state("idle")
            self.draw()

    @Slot()
    def _on_running(self) -> None:
        if self.sender() is self.handle:
            self._set_state("running")

    @Slot(int)
    def _on_parked(self, _index: int) -> None:
        if self.sender() is self.handle:
            self._set_state("paused")
            self.draw()

    def _set_state(self, state: str) -> None:
        self._state = state
        self.moved.emit()

    # showing ---------------------------------------------------------------------------------------------------------

    @Slot()
    def draw(self) -> None:
        """The curve so far, and the last picture if it is followed."""
        steps = self.steps
        if not steps:
            return
        curve = Curve([step.index for step in steps], [step.bits for step in steps], label="with what is filled in")
        self.bits.set_curve("bits", curve, colour=0)
        self.replay.count = len(steps)
        if self._following:
            self.replay.go(len(steps))
        self.moved.emit()

    def show_place(self) -> None:
        if 0 < self.replay.index <= len(self.steps):
            step = self.steps[self.replay.index - 1]
            self.now.set_image(step.picture)
            self.now.set_note(f"step {step.index}" + ("" if step.accepted else ", not taken"))
            self.bits.set_cursor(float(step.index))

    @Slot(float)
    def _on_cursor(self, x: float) -> None:
        self._following = False
        self.replay.pause()
        self.replay.go(1 + round(x))

    def key(self, name: str) -> None:
        at_end = self.replay.index >= self.replay.count
        if self.active and (name in ("play", "pause", "stop") or (name == "next" and at_end)):
            self._following = self._following or name in ("play", "next")
            {"play": self.handle.resume, "pause": self.handle.pause, "stop": self.handle.cancel, "next": self.handle.step_on}[name]()
            return
        self._following = name == "last"
        super().key(name)

    def place(self) -> Place:
        replayed = self.replayed("moment")
        if self.active:
            made = self.steps[-1].index if self.steps else 0
            return replace(replayed, noun="step", state=self._state, index=made, total=self.handle.job.steps)
        return replace(replayed, note="" if self.steps else "paint over the picture, then press Fill in")

    def told(self) -> Told:
        kind = self.panel.flow()["kind"]
        rows: list[Row] = [("Hidden", f"{len(self.hidden)} of {SIZE * SIZE} pixels")]
        words = RULES[self.knobs.value("method")]
        if 0 < self.replay.index <= len(self.steps):
            step = self.steps[self.replay.index - 1]
            rows += [("Step", f"{step.index}, {'taken' if step.accepted else 'not taken'}", "A step that would lower log p is not taken"),
                     ("Bits", f"{figure(step.bits)} bits/dim", "Of the whole picture as it stands")]  # fmt: skip
            begun = self.steps[0].bits
            words += f"\n{figure(begun)} → {figure(step.bits)} bits/dim"
        if "true_bits" in self.facts:
            rows += [("Truth", f"{figure(self.facts['true_bits'])} bits/dim"), ("Off the truth", figure(self.facts["error"], 3), OFF)]
        return Told(name=f"Filling in, {NAMES[kind]}", rows=tuple(rows), equation=words, explanation=FILL, reference=PAPERS[kind])

    def save(self) -> dict[str, Any]:
        return {"tile": self.tile, "fill": job_to_dict(self.knobs.job())}

    def restore(self, state: dict[str, Any]) -> None:
        job, _warnings = job_from_dict(FlowFill, state["fill"])
        self.knobs.set_job(job)
        self.tile = min(max(int(state["tile"]), 0), REAL - 1)


OFF = "Root mean square of the difference from the truth over all pixels, of a range of 1"
