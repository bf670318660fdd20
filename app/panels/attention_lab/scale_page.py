"""Why scores are divided by sqrt(d): one softmax row under a slider, and entropy, gradient and saturation around it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt, Slot
from PySide6.QtWidgets import QSplitter

from app.jobs.attention_lab import AttentionScale
from app.panels.attention_lab.listener import Listener
from app.panels.attention_lab.page import LabPage, Place, Told, column
from app.panels.attention_lab.scale_curves import ScaleCurves
from app.panels.attention_lab.scale_words import told_of_scale
from app.protocol.attention_lab import ScaleReport
from app.protocol.payloads import Result
from app.widgets.knob_sliders import KnobSliders, Setting
from app.widgets.weight_bars import WeightBars

if TYPE_CHECKING:
    from app.panels.attention_lab.panel import AttentionLabPanel

RANDOM, TRAINED = "random numbers", "the head above"
LOWEST, HIGHEST, STEP = -1.0, 0.0, 0.05
STOPS = round((HIGHEST - LOWEST) / STEP) + 1
SETTINGS = (
    Setting(name="heads", value=RANDOM, title="q and k", choices=(RANDOM, TRAINED),
            help="Entries from N(0, 1), or of the head that is chosen above."),
    Setting(name="exponent", value=-0.5, title="Exponent e", lo=LOWEST, hi=HIGHEST, step=STEP,
            help="Scores are multiplied with d^e: 0 is no scaling, −0.5 is 1/√d, −1 is 1/d."),
    Setting(name="width", value=64, title="Width d", lo=2, hi=1024, help="Length of q and k of a token."),
    Setting(name="keys", value=256, title="Keys n", lo=2, hi=1024, help="Keys that a query looks at."),
)  # fmt: skip


class ScalePage(LabPage):
    """Sliders, a row of weights, curves."""

    title, tip = "Why 1/√d", "What the scale of the scores does to entropy, gradient and saturation"

    def __init__(self, lab: AttentionLabPanel) -> None:
        super().__init__(lab)
        self.sliders, self.bars, self.curves = KnobSliders(), WeightBars("Weights of one query"), ScaleCurves()
        self.sliders.set_settings(SETTINGS)
        self.form = column(self.sliders)
        self.view = QSplitter(Qt.Orientation.Vertical)
        self.view.addWidget(self.bars)
        self.view.addWidget(self.curves)
        self.view.setSizes([190, 400])
        self.report: ScaleReport | None = None
        self._labels: tuple[str, ...] = ()
        self._around: object = None  # what the curves on show belong to
        self._run: Listener | None = None
        self.sliders.changed.connect(self._on_moved)
        self.replay.moved.connect(self._on_replay)
        self.replay.reset(STOPS, self._stop())

    # running -------------------------------------------------------------------------------------------------------

    def show_first(self) -> None:
        if self.report is None and self._run is None:
            self.compute()

    def head_changed(self) -> None:
        if self.sliders.values()["heads"] == TRAINED:
            self.compute()

    def compute(self) -> None:
        """The row at the slider; the curves too if what they belong to has changed."""
        values, head = self.sliders.values(), self.lab.head.values()
        if values["heads"] == RANDOM:
            head |= {"source": "random", "width": values["width"], "tokens": values["keys"]}
            around: object = (values["keys"], head["seed"])
        else:
            around = tuple(head.items())
        job = AttentionScale(**head, exponent=values["exponent"], curves=around != self._around)
        self._run = Listener(self, job, "scale", "follow", record=self._on_record, done=partial(self._on_done, around))

    def _on_record(self, channel: str, payload: Any) -> None:
        if channel == "head":
            self._labels = payload.tokens.texts

    def _on_done(self, around: object, result: Result) -> None:
        self.report = report = result.files["report"]
        self._around = around if report.curves else self._around
        now = report.now
        words = f"softmax weights of one query over {len(report.row)} keys, d = {now.width}, scale {now.scale:.4g}"
        self.bars.set_weights(report.row, self._labels, words)
        self.curves.show_report(report)
        self.moved.emit()

    @Slot(str, object)
    def _on_moved(self, name: str, _value: Any) -> None:
        random = self.sliders.values()["heads"] == RANDOM
        for row in ("width", "keys"):
            self.sliders.set_enabled(row, random)
        if name == "exponent":
            self.replay.go(self._stop())
        self.compute()
        self.lab.touch()

    # the time axis: the exponent -----------------------------------------------------------------------------------

    def _stop(self) -> int:
        return round((self.sliders.values()["exponent"] - LOWEST) / STEP) + 1

    @Slot()
    def _on_replay(self) -> None:
        if self.replay.index and self.replay.index != self._stop():
            self.sliders.set_value("exponent", LOWEST + (self.replay.index - 1) * STEP)
            self.compute()

    def place(self) -> Place:
        return Place(
            noun="scale", state=self.replay.state, index=self.replay.index, total=STOPS, note=f"d^{self.sliders.values()['exponent']:.2f}"
        )

    def told(self) -> Told:
        values = self.sliders.values()
        return told_of_scale(self.report, values["exponent"], values["heads"] == TRAINED)

    def save(self) -> dict[str, Any]:
        return dict(self.sliders.values())

    def restore(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            if name in self.sliders.values() and isinstance(value, type(self.sliders.values()[name])):
                self.sliders.set_value(name, value)
        self.replay.reset(STOPS, self._stop())
