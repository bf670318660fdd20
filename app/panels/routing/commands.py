"""What buttons do: read a text, compare, measure."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Slot

from app.jobs.routing import RoutingPair, RoutingSpecialisation, RoutingSteer
from app.protocol.errors import UserError
from app.protocol.payloads import Result

if TYPE_CHECKING:
    from app.panels.routing.panel import RoutingPanel

KEY_HELP = [
    ("Ctrl+Enter", "Read the text and write on"),
    ("F10", "Step by step: read the text, then write one token and stand still"),
    ("Shift+Left, Right", "Another token (in the text), another cell (in a map)"),
    ("Ctrl+Up, Down", "Another layer"),
]


class Commands(QObject):
    """Turns wishes into jobs, and hands what comes back to the pages."""

    def __init__(self, panel: RoutingPanel) -> None:
        super().__init__(panel)
        self._panel = panel

    # reading -------------------------------------------------------------------------------------------------------

    @Slot()
    def read(self) -> None:
        """Read the text with the gates as set."""
        self._submit(None)

    @Slot()
    def step(self) -> None:
        """Read the text, then stand still after each token; go on by one if it does already."""
        if self._panel.runs.active:
            self._panel.runs.next()
        else:
            self._submit(1)

    def _submit(self, park_after: int | None) -> None:
        job = self.job()
        if job is not None:
            self._panel.banner.clear()
            self._panel.runs.submit(job, park_after)

    def job(self) -> Any:
        """The job as set; None, with a sentence in the banner, if it is none."""
        try:
            return self._panel.side_form.job()
        except UserError as error:
            self._panel.show_error(error)
            return None

    # comparing and measuring ---------------------------------------------------------------------------------------

    @Slot()
    def before_and_after(self) -> None:
        """The text with the model as it is and as it is steered."""
        job, stage = self.job(), self._panel.stage
        if job is None:
            return
        names = {item.name for item in fields(RoutingSteer)}
        steer = RoutingSteer(**{name: getattr(job, name) for name in names})
        stage.pages.setCurrentWidget(stage.play)
        stage.play.begin()
        errand = self._panel.errands.run(steer, self._steered, key="steer", failed=self._not_steered, progress=self._on_progress)
        errand.handle.preview.connect(stage.play.show_text)

    @Slot()
    def without_bias(self) -> None:
        """Before and after the selection bias is removed, all else as set."""
        self._panel.side_form.gates.bias.setChecked(False)
        self.before_and_after()

    def _steered(self, result: Result) -> None:
        self._panel.timeline.set_busy("")
        self._panel.stage.play.show_report(result.files["report"])

    def _not_steered(self, report: Any) -> None:
        self._panel.timeline.set_busy("")
        self._panel.stage.play.fail()
        self._panel.show_error(report)

    @Slot(str)
    def pair(self, other: str) -> None:
        """The text beside another."""
        job = self.job()
        if job is not None:
            self._panel.stage.pair.set_busy(True)
            asked = RoutingPair(text=job.text, other=other, model=job.model, checkpoint=job.checkpoint)
            self._panel.errands.run(asked, self._paired, key="pair", failed=self._not_paired, progress=self._on_progress)

    def _paired(self, result: Result) -> None:
        self._panel.timeline.set_busy("")
        self._panel.stage.pair.set_busy(False)
        self._panel.stage.pair.show_report(result.files["report"])

    def _not_paired(self, report: Any) -> None:
        self._panel.timeline.set_busy("")
        self._panel.stage.pair.set_busy(False)
        self._panel.show_error(report)

    @Slot(int)
    def specialise(self, tokens: int) -> None:
        """Who reads what, on held-out text."""
        page, source = self._panel.stage.specialists, self._panel.side_form.source
        page.set_busy("Reading held-out text …")
        job = RoutingSpecialisation(tokens=tokens, **source)
        self._panel.errands.run(job, self._specialised, key="specialise", failed=self._not_specialised, progress=self._on_reading)

    def _specialised(self, result: Result) -> None:
        page, panel = self._panel.stage.specialists, self._panel
        if panel.runs.reading is None:  # no text has said yet which layers there are
            panel.side.set_layers(result.files["domains"].layers)
            panel.side.set_row(panel.looking.row)
        page.set_tables(result.files["domains"], result.files["tokens"])
        page.set_busy("")

    def _not_specialised(self, report: Any) -> None:
        self._panel.stage.specialists.set_busy("")
        self._panel.show_error(report)

    def _on_reading(self, progress: Any) -> None:
        share = f" ({progress.done:.0f} of {progress.total:.0f} windows)" if progress.total else ""
        self._panel.stage.specialists.set_busy(f"{progress.note[:1].upper()}{progress.note[1:]}{share} …")

    def _on_progress(self, progress: Any) -> None:
        self._panel.timeline.set_busy(progress.note)
