"""Pictures from noise: the sheet of samples, its temperature, and the training of a fresh flow beside it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt, QTimer, Slot
from PySide6.QtWidgets import QLabel, QPushButton, QSplitter

from app.jobs.flows import FlowSamples, LearnFlow
from app.panels.tiles.moments import Learned
from app.panels.tiles.page import Place, TilesPage, Told, under
from app.panels.tiles.words import EMPTY_SHEET, MISSING, NAMES, PAPERS, WATCH, equation, figure, rows_of
from app.protocol.errors import UserError
from app.protocol.job import job_from_dict, job_to_dict
from app.protocol.payloads import Curve, Result
from app.widgets.colour_key import ColourKey, Entry
from app.widgets.fact_rows import Row
from app.widgets.growing_curves import GrowingCurves
from app.widgets.image_view import ImageView
from app.widgets.knob_sliders import KnobSliders, Setting
from app.widgets.param_form import ParamForm

if TYPE_CHECKING:
    from app.panels.tiles.panel import TilesPanel

DRAW_MS = 250
SLIDERS = (
    Setting("temperature", 0.7, "Temperature", "Size of the noise: 0 the middle of the law, 1 the law itself", 0.0, 1.3, 0.01),
    Setting("share", 1.0, "Noise kept", "Share of the noise's directions, the most important first; the others are 0", 0.0, 1.0, 0.01),
    Setting("seed", 0, "Noise", "Number of the noise: other pictures from the same law", 0, 99, 1),
)
SKIPPED = ("kind", "temperature", "samples", "scenes", "look_every", "seed", "resume", "device")


class LearnPage(TilesPage):
    """Samples of the chosen weights, or of a moment of the training."""

    title, tip = "Samples", "Pictures from noise at any temperature, while a flow learns or from its finished weights"

    def __init__(self, panel: TilesPanel) -> None:
        super().__init__(panel)
        self.sliders, self.knobs = KnobSliders(), ParamForm(LearnFlow, skip=SKIPPED)
        self.sliders.set_settings(SLIDERS)
        self.button = QPushButton("Train", toolTip="Train a fresh flow of this kind; the built-in weights stay as they are (Ctrl+Enter)")
        self.button.setProperty("role", "primary")
        heading = QLabel("Learn it here")
        heading.setProperty("role", "heading")
        self.form = under(self.sliders, heading, self.knobs, self.button, panel.kept.button)
        self.sheet, self.curve = ImageView(title="Samples"), GrowingCurves(x_label="update", y_label="bits per dimension")
        self.sheet.set_placeholder(EMPTY_SHEET)
        self.curve.set_legend_shown(False)
        self.colours = ColourKey()
        self.plot, self.view = under(self.colours, self.curve, spacing=0), QSplitter(Qt.Orientation.Vertical)
        self.plot.setVisible(False)
        for widget in (self.sheet, self.plot):
            self.view.addWidget(widget)
        self.view.setSizes([430, 220])
        self.learned, self.handle, self.facts = Learned(), None, {}
        self._state, self._following = "idle", False
        self._draw = QTimer(self, singleShot=True, interval=DRAW_MS)
        self._connect()

    def _connect(self) -> None:
        self.sliders.changed.connect(self._on_slider)
        self.knobs.changed.connect(self._on_knobs)
        self.knobs.invalid.connect(self.panel.show_error)
        self.button.clicked.connect(self.train)
        self.panel.kept.changed.connect(self.show_kept)
        self.sheet.placeholder_action.connect(self.train)
        self.sheet.save_requested.connect(self.panel.save_picture)
        self.curve.save_requested.connect(self.panel.save_plot)
        self.curve.cursor_moved.connect(self._on_cursor)
        self._draw.timeout.connect(self.draw)

    # samples of finished weights -------------------------------------------------------------------------------------

    def ask(self) -> None:
        values, glow = self.sliders.values(), self.panel.flow()["kind"] == "glow"
        for name, works in (("mixing", glow), ("depth", glow), ("couplings", not glow)):
            self.knobs.editor(name).setEnabled(works)
        self.show_kept()
        job = FlowSamples(**self.panel.flow(), temperature=values["temperature"], share=values["share"], seed=values["seed"])
        self.panel.errands.run(job, self._on_samples, key="samples", failed=self._on_missing)

    def _on_samples(self, result: Result) -> None:
        self.facts = result.facts
        self.sheet.set_title("Samples")
        self.sheet.set_image(result.files["samples"])
        self.moved.emit()

    def _on_missing(self, report: Any) -> None:
        """Weights that are not there are no accident: the empty sheet says what to do."""
        self.facts = {}
        self.sheet.set_image(None)
        flow = self.panel.flow()
        words = MISSING.format(NAMES[flow["kind"]]) if flow["weights"] == "built-in" else report.hint
        self.sheet.set_placeholder(f"{report.title}\n{words}", "Train")
        self.moved.emit()

    @Slot(str, object)
    def _on_slider(self, _name: str, _value: object) -> None:
        self.panel.touch()
        if self.active:
            self.handle.tune(replace(self.handle.job, temperature=self.sliders.values()["temperature"]))
        else:
            self.ask()

    @Slot(object)
    def _on_knobs(self, _job: object) -> None:
        self.panel.touch()

    # training --------------------------------------------------------------------------------------------------------

    @property
    def active(self) -> bool:
        """Is a training under way?"""
        return self.handle is not None and self.handle.active

    @Slot()
    def train(self) -> None:
        """Begin anew; a running training is ended."""
        values = self.sliders.values()
        try:
            job = replace(self.knobs.job(), kind=self.panel.flow()["kind"], temperature=values["temperature"], seed=values["seed"])
        except UserError as error:
            self.panel.show_error(error)
            return
        self.begin(job)

    @Slot(object)
    def begin(self, job: LearnFlow) -> None:
        """Train as the job says, anew or going on."""
        if self.active:
            self.handle.cancel()
        if job.resume:
            self.knobs.set_job(replace(job, resume=False))
            job = replace(job, temperature=self.sliders.values()["temperature"])
        self.learned, self._following = Learned(job), True
        self.replay.reset(0)
        self.curve.clear()
        self.plot.setVisible(True)
        self.handle = handle = self.panel.engine.submit(job, key="tiles/learn", policy="replace")
        for signal, slot in (
            (handle.started, self._on_running), (handle.resumed, self._on_running), (handle.parked, self._on_parked),
            (handle.record, self._on_record), (handle.progress, self._on_progress), (handle.failed, self.panel.show_error),
            (handle.finished, self._on_finished),
        ):  # fmt: skip
            signal.connect(slot)
        self.sheet.set_placeholder("Drawing the scenes it learns from …")
        self._set_state("running")
        self.panel.own_weights()

    @Slot(str, object)
    def _on_record(self, channel: str, payload: Any) -> None:
        if self.sender() is not self.handle:
            return
        self.learned.take(channel, payload)
        if channel == "moment":
            at = self.replay.index
            self.replay.count = len(self.learned.moments)
            self.replay.go(self.replay.count if self._following else min(at, self.replay.count))
        elif channel == "notice":
            self.panel.show_message("warn", payload)
        if not self._draw.isActive():
            self._draw.start()

    @Slot(object)
    def _on_progress(self, progress: Any) -> None:
        if self.sender() is self.handle and not self.learned.moments:
            self.sheet.set_placeholder(f"Drawing the scenes it learns from: {progress.done} of {progress.total}")

    @Slot()
    def _on_finished(self) -> None:
        if self.sender() is self.handle:
            self.learned.ended = self.handle.state
            self.panel.kept.ask()
            if self.learned.moments:
                self.panel.measure_own(self.learned.job.kind)
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

    def _set_state(self, state: str) -> None:
        self._state = state
        self.button.setText("Train again" if self.learned.rows else "Train")
        self.panel.kept.show(active=self.active)
        self.moved.emit()

    @Slot()
    def show_kept(self) -> None:
        """The losses of the training that is kept of this kind, unless one of this sitting stands there."""
        kept = self.panel.kept.card() if self.panel.flow()["weights"] == "own" else None
        if not self.active and not self.learned.moments:
            self.learned = Learned() if kept is None else Learned.of(kept)
            self.curve.clear()
            self.plot.setVisible(kept is not None)
            self.draw()
        self._set_state(self._state)

    # showing ---------------------------------------------------------------------------------------------------------

    @Slot()
    def draw(self) -> None:
        """Curves and words; a few times a second at most."""
        learned = self.learned
        if learned.rows:
            self.curve.set_curve("batch", learned.loss(), colour=7)
            ends = [0.0, float(learned.rows[-1][0])]
            for number, (key, name) in enumerate((("histogram_bits", "histograms"), ("gaussian_bits", "full Gaussian"))):
                if (bits := self.panel.facts.get(key)) is not None:
                    self.curve.set_curve(key, Curve(ends, [bits, bits], label=name), colour=1 + number, dashed=True)
        if len(learned.means().x):
            self.curve.set_curve("mean", learned.means(), colour=0)
        looks = {"mean": (0, False), "batch": (7, False), "histogram_bits": (1, True), "gaussian_bits": (2, True)}
        curves = self.curve.curves()
        self.colours.set_entries([Entry(curves[key].label, *look) for key, look in looks.items() if key in curves])
        self.moved.emit()

    def show_place(self) -> None:
        if 0 < self.replay.index <= len(self.learned.moments):
            moment = self.learned.moments[self.replay.index - 1]
            self.sheet.set_title(f"Update {moment.step}")
            self.sheet.set_image(moment.sheet)
            self.curve.set_cursor(float(moment.step))

    @Slot(float)
    def _on_cursor(self, x: float) -> None:
        if moments := self.learned.moments:
            self._following = False
            self.replay.pause()
            self.replay.go(1 + min(range(len(moments)), key=lambda k: abs(moments[k].step - x)))

    def key(self, name: str) -> None:
        at_end = self.replay.index >= self.replay.count
        if self.active and (name in ("play", "pause", "stop") or (name == "next" and at_end)):
            self._following = self._following or name in ("play", "next")
            {"play": self.handle.resume, "pause": self.handle.pause, "stop": self.handle.cancel, "next": self.handle.step_on}[name]()
            return
        self._following = name == "last"
        super().key(name)

    def place(self) -> Place:
        learned, replayed = self.learned, self.replayed("moment")
        if self.active:
            bits = f"{figure(learned.rows[-1][1])} bits/dim" if learned.rows else "drawing scenes"
            return replace(replayed, noun="update", state=self._state, index=learned.step, total=learned.job.steps, note=bits)
        ended = {"done": "finished", "cancelled": "stopped"}.get(learned.ended, learned.ended)
        if not learned.moments or not self.replay.index:
            note = f"{ended} at update {learned.step:,}" if learned.rows else "press Train to watch a flow learn"
            return replace(replayed, noun="moment", note=note)
        moment = learned.moments[self.replay.index - 1]
        return replace(replayed, note=f"update {moment.step}, {figure(moment.bits)} bits/dim   {ended}")

    def told(self) -> Told:
        kind, facts = self.panel.flow()["kind"], self.panel.facts
        rows: list[Row] = []
        if self.learned.rows and self.active:
            rows.append(("Learning", f"{figure(self.learned.rows[-1][1])} bits/dim", "Of the last batch"))
        if self.facts and not self.active:
            values = self.sliders.values()
            kept = f"{figure(values['temperature'])} × {self.facts['kept']} directions"
            rows.append(("Noise", kept, "Temperature, and how many directions are not 0"))
            rows.append(("Cut", f"{100 * self.facts['outside']:.1f} %", "Share of numbers that left 0 … 1 and were cut for the picture"))
        title = f"{NAMES[kind]}, {'built in' if self.panel.flow()['weights'] == 'built-in' else 'trained here'}"
        return Told(name=title, rows=(*rows, *rows_of(facts)), equation=equation(facts), explanation=WATCH[kind], reference=PAPERS[kind])

    def save(self) -> dict[str, Any]:
        return {"sliders": self.sliders.values(), "learn": job_to_dict(self.knobs.job())}

    def restore(self, state: dict[str, Any]) -> None:
        for name, value in state["sliders"].items():
            self.sliders.set_value(name, value)
        job, _warnings = job_from_dict(LearnFlow, state["learn"])
        self.knobs.set_job(job)
