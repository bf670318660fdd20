"""The side of the stage: the sigma curve with its cursor, the numbers and the equation of the step, and the gallery."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import Qt, QTimer, Signal, Slot
from PySide6.QtWidgets import QSplitter, QTabWidget, QWidget

from app.jobs.diffusion import SAMPLER_TITLES, SCHEDULE_TITLES, Txt2Img
from app.panels.image.equations import number, step_equation
from app.panels.image.film import Film
from app.panels.image.gallery_view import GalleryView
from app.protocol.payloads import Curve
from app.widgets.curve_view import CurveView
from app.widgets.inspector import Inspector

RUN_COLOUR, PLAN_COLOUR = 7, 4
DECIDE_LEVELS = ("model", "sampler", "schedule", "steps", "control")
"""Settings that noise levels and control windows of a run follow from."""
READ_MS = 100
TEACH = "Generate a picture, then click any step in the film strip: its numbers and its equation stand here."


class SideView(QTabWidget):
    """Two pages: the step looked at, and the gallery."""

    step_chosen = Signal(int)
    """A step (from 1) within the picture, chosen on the sigma curve."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.curve = CurveView(x_label="step", y_label="sigma")
        self.inspector = Inspector()
        self._plan: list[float] = []
        self._plan_windows: list = []
        self._run: list[float] = []
        self._run_settings: list = []
        self.gallery = GalleryView()
        page = QSplitter(Qt.Orientation.Vertical)
        page.addWidget(self.curve)
        page.addWidget(self.inspector)
        page.setChildrenCollapsible(False)
        page.setHandleWidth(1)
        page.setSizes([200, 380])
        page.setStretchFactor(1, 1)
        self.addTab(page, "Step")
        self.addTab(self.gallery, "Gallery")
        self.setTabToolTip(0, "The noise levels, and the step looked at in numbers")
        self.currentChanged.connect(self._on_page)
        self.setTabToolTip(1, "All finished pictures, also those of earlier sessions")
        self.curve.set_log(y=True)
        self.curve.cursor_moved.connect(self._on_cursor)
        self.inspector.clear(TEACH)
        self._film: Film | None = None
        self._stale = False
        self._pace = QTimer(self, singleShot=True, interval=READ_MS)
        self._pace.timeout.connect(self._on_pace)

    # the curve -----------------------------------------------------------------------------------------------------

    def set_plan(self, sigmas: list[float], windows: list) -> None:
        """The levels the form stands for; dashed, and only where they differ from those of the run."""
        self._plan, self._plan_windows = list(sigmas), windows
        self._show_plan()

    def begin_run(self, job: Txt2Img) -> None:
        """A run whose levels nobody has told yet: what is drawn stays if they are bound to be the same."""
        self.curve.set_cursor(None)
        levels = [getattr(job, name) for name in DECIDE_LEVELS]
        if levels != self._run_settings:
            self._run_settings = levels
            self.set_run(None)

    def set_run(self, film: Film | None) -> None:
        """The levels of the run watched, its control windows shaded."""
        sigmas = film.sigmas if film else []
        self.curve.set_cursor(None)
        if sigmas == self._run and film:
            self._shade(film.windows())
            return
        self._run = sigmas
        self.curve.remove("run")
        if self._run:
            self.curve.set_curve("run", _curve(self._run, "this run"), colour=RUN_COLOUR)
            self._shade(film.windows())
        self._show_plan()
        self.curve.reset_view()

    def _show_plan(self) -> None:
        if not self._plan or self._plan == self._run:
            self.curve.remove("plan")
        else:
            self.curve.set_curve("plan", _curve(self._plan, "next run"), colour=PLAN_COLOUR, dashed=True)
        if not self._run:
            self._shade(self._plan_windows)

    def _shade(self, windows: list) -> None:
        self.curve.set_regions([(first - 0.5, last + 0.5, kind, colour) for first, last, kind, colour in windows])

    @Slot(float)
    def _on_cursor(self, x: float) -> None:
        self.step_chosen.emit(round(x))

    # the step ------------------------------------------------------------------------------------------------------

    def show_step(self, film: Film | None, *, following: bool = False) -> None:
        """Put the cursor on the step looked at and say all about it; ``following`` a run no faster than one can read."""
        self._film = film
        self.curve.set_cursor(film.place_in_picture() if film and film.record() and film.sigmas else None)
        if following and (self._pace.isActive() or not self.inspector.isVisible()):
            self._stale = True
        else:
            self._tell()
            if following:
                self._pace.start()

    @Slot()
    def _on_page(self) -> None:
        if self._stale:
            self._tell()

    @Slot()
    def _on_pace(self) -> None:
        if self._stale:
            self.show_step(self._film, following=True)

    def _tell(self) -> None:
        self._stale = False
        film = self._film
        record = film.record() if film else None
        if record is None:
            self.inspector.clear(TEACH)
            return
        equation = step_equation(
            film.job.sampler, record.sigma, record.sigma_next,
            sigma_before=film.before().sigma if film.before() else None, eta=film.job.eta,
        )  # fmt: skip
        self.inspector.set_content(
            f"Step {record.index + 1} of {record.total}", _rows(film), equation.text(record.index + 1),
            equation.explanation, equation.reference,
        )  # fmt: skip


def _curve(sigmas: list[float], label: str) -> Curve:
    """Level of x_k over k; the last level, 0, has no place on a logarithmic axis."""
    levels = np.array(sigmas[:-1], float)
    return Curve(np.arange(1, len(levels) + 1), levels, x_label="step", y_label="sigma", label=label)


def _rows(film: Film) -> list[tuple[str, ...]]:
    record, job = film.record(), film.job
    active = ", ".join(_control_name(job, place) for place in record.active_controls) or "none"
    rows: list[tuple[str, ...]] = [
        ("Noise level", f"{number(record.sigma)} → {number(record.sigma_next)}", "sigma before and after this step"),
        ("Timestep", f"{record.t:.0f} of 1000", "the network's own clock at this noise level"),
        ("Signal", f"{1 / (1 + record.sigma**2):.1%} of the variance", "alpha-bar = 1 / (1 + sigma²)"),
        ("CFG Scale", f"{record.cfg_scale:g}", "how far the prediction was pushed towards the prompt"),
        ("Controls", active, "controls that acted in this step"),
        ("Sampler", f"{SAMPLER_TITLES[job.sampler]}, {SCHEDULE_TITLES[job.schedule_used]}", "rule and schedule type"),
        ("Time", f"{record.seconds * 1000:.0f} ms", "network calls and update of this step"),
    ]
    if job.batch_count > 1:
        rows.insert(0, ("Picture", f"{record.picture + 1} of {job.batch_count}", "its place in the batch"))
    if record.x0_latent is not None:
        shape, lo, hi = record.x0_latent.shape, float(record.x0_latent.min()), float(record.x0_latent.max())
        what = " x ".join(str(side) for side in shape)
        rows.append(("Latent x0", f"{what}, {lo:.2f} to {hi:.2f}", "shape and range of the predicted latent"))
    return rows


def _control_name(job: Txt2Img, place: int) -> str:
    return f"{job.control[place].kind} {job.control[place].weight:g}" if place < len(job.control) else str(place)
