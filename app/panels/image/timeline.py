"""The time axis at the bottom: transport bar, which lens the strip shows, and the film strip of all kept steps."""

from __future__ import annotations

from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QButtonGroup, QHBoxLayout, QToolButton, QVBoxLayout, QWidget

from app import theme
from app.panels.image.film import LENSES, Film
from app.widgets.elided_label import ElidedLabel
from app.widgets.filmstrip import Filmstrip
from app.widgets.transport import Transport

STRIP_TITLES = {"xt": "x_t", "x0": "x0", "eps": "noise"}
BUSY_WIDTH = 230  # pixels it would like: with less its words are cut, and the columns beside stay where they are
EMPTY = "Every step of a run is kept here as a picture. Generate, or go step by step."


class Timeline(QWidget):
    """Shows a film and where in it we are."""

    lens_changed = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.transport = Transport()
        self.strip = Filmstrip(thumb=56)
        self.lens = "x0"
        self._busy = ElidedLabel("muted", theme.SMALL, width=BUSY_WIDTH)
        self._group = QButtonGroup(self)
        self.transport.add_widget(self._busy)
        self.transport.add_widget(self._switch())
        self.strip.set_empty_text(EMPTY)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.transport)
        column.addWidget(self.strip)

    def _switch(self) -> QWidget:
        switch, row = QWidget(), QHBoxLayout()
        switch.setLayout(row)
        row.setContentsMargins(8, 0, 0, 0)
        row.setSpacing(2)
        for lens in LENSES:
            button = QToolButton(text=STRIP_TITLES[lens], checkable=True, checked=lens == self.lens)
            button.setToolTip(f"Show {STRIP_TITLES[lens]} in the film strip")
            button.setProperty("lens", lens)
            button.clicked.connect(self._on_lens)
            self._group.addButton(button)
            row.addWidget(button)
        return switch

    def set_busy(self, words: str) -> None:
        """What is going on while there is no step to show."""
        self._busy.setText(words)

    def set_lens(self, lens: str) -> None:
        """Choose what the strip shows; tells nobody."""
        self.lens = lens
        for button in self._group.buttons():
            button.setChecked(button.property("lens") == lens)

    def begin(self, film: Film | None) -> None:
        """Another film."""
        self.strip.clear(film.total if film else 0)
        self.strip.set_ranges([])
        if film:
            for number in sorted(film.steps):
                self.add(film, number)
        self.show_position(film, "starting" if film else "idle")

    def add(self, film: Film, number: int) -> None:
        """One more step of the film."""
        image = film.quick(number, self.lens)
        if image is not None:
            self.strip.set_frame(number, image, f"sigma {film.steps[number].sigma:.3g}")

    def set_windows(self, film: Film) -> None:
        """Shade the steps in which controls act, in every picture of the batch."""
        windows = film.windows()
        if film.job.batch_count > 1:
            n = film.job.steps
            windows = [(a + p * n, b + p * n, *rest) for p in range(film.job.batch_count) for a, b, *rest in windows]
        self.strip.set_ranges(windows)

    def show_position(self, film: Film | None, state: str) -> None:
        """Where we are, and which buttons can be pressed."""
        if film and state == "idle" and not film.last:
            film = None  # it ended before its first step
            self.strip.clear()
        position, last = (film.position, film.last) if film else (0, 0)
        self.strip.select(position)
        running = state in ("starting", "running")
        self.strip.set_running(last + 1 if film and running and last < film.total else None)
        self.transport.set_state({"starting": "running"}.get(state, state))
        self.transport.set_can(back=position > 1, forward=position < last)
        record = film.record() if film else None
        self.transport.set_position(position, film.total if film else 0, f"sigma {record.sigma:.3g}" if record else "")

    @Slot()
    def _on_lens(self) -> None:
        self.lens = self.sender().property("lens")
        self.lens_changed.emit(self.lens)
