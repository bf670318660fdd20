"""The time axis under the views: the denoising steps of a UNet's run, whose attention can be scrubbed; and what is going on now."""

from __future__ import annotations

from PySide6.QtCore import Qt, QTimer, Signal, Slot
from PySide6.QtWidgets import QHBoxLayout, QSlider, QWidget

from app.widgets.elided_label import ElidedLabel
from app.widgets.transport import Transport

PLAY_EVERY_MS = 500


class Timeline(QWidget):
    """Transport and slider where there are steps, and always a line that says what is going on or what was done."""

    step_chosen = Signal(int)
    """A step, from 1."""
    stop_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.transport, self.slider, self._busy = Transport(), QSlider(Qt.Orientation.Horizontal), ElidedLabel("muted")
        self._total, self._note = 0, ""
        self._playing = QTimer(self, interval=PLAY_EVERY_MS)
        self._playing.timeout.connect(self._on_tick)
        self.slider.setAccessibleName("Denoising step")
        self.slider.setToolTip("The denoising step whose attention is shown")
        self.slider.setMinimumWidth(160)
        row = QHBoxLayout(self)
        row.setContentsMargins(8, 2, 8, 2)
        self.setMinimumHeight(30)
        row.setSpacing(12)
        row.addWidget(self.transport)
        row.addWidget(self.slider, 1)
        row.addWidget(self._busy, 1)
        for signal, slot in (
            (self.transport.first, self._on_first), (self.transport.previous, self._on_previous), (self.transport.next, self._on_next),
            (self.transport.last, self._on_last), (self.transport.play, self._on_play), (self.transport.pause, self._on_pause),
            (self.transport.stop, self.stop_wanted), (self.slider.valueChanged, self._on_slider),
        ):  # fmt: skip
            signal.connect(slot)
        self.set_steps(0, 1)

    def set_steps(self, total: int, step: int) -> None:
        """How many steps there are (0: no time axis), and which is shown; tells nobody."""
        self._total = total
        self.slider.blockSignals(True)
        self.slider.setRange(1, max(total, 1))
        self.slider.setValue(step)
        self.slider.blockSignals(False)
        self.transport.setVisible(total > 0)
        self.slider.setVisible(total > 0)
        if not total:
            self._on_pause()
        self._tell()

    @property
    def step(self) -> int:
        """The step shown."""
        return self.slider.value()

    def set_busy(self, words: str) -> None:
        """What is going on; "" = nothing: then the note stands there again."""
        self._busy.setText(words or self._note)

    def set_note(self, words: str) -> None:
        """What was done."""
        self._note = words
        self._busy.setText(words)

    def busy(self) -> str:
        """The line about what is going on or what was done."""
        return self._busy.text()

    def close_down(self) -> None:
        """Stop playing."""
        self._on_pause()

    def _tell(self) -> None:
        self.transport.set_position(self.step if self._total else 0, self._total)
        self.transport.set_can(back=self.step > 1, forward=self.step < self._total)

    @Slot(int)
    def _on_slider(self, step: int) -> None:
        self._tell()
        self.step_chosen.emit(step)

    @Slot()
    def _on_first(self) -> None:
        self.slider.setValue(1)

    @Slot()
    def _on_previous(self) -> None:
        self.slider.setValue(self.step - 1)

    @Slot()
    def _on_next(self) -> None:
        self.slider.setValue(self.step + 1)

    @Slot()
    def _on_last(self) -> None:
        self.slider.setValue(self._total)

    @Slot()
    def _on_play(self) -> None:
        if self.step == self._total:
            self.slider.setValue(1)
        self._playing.start()
        self.transport.set_state("running")

    @Slot()
    def _on_pause(self) -> None:
        self._playing.stop()
        self.transport.set_state("idle")

    @Slot()
    def _on_tick(self) -> None:
        if self.step >= self._total:
            self._on_pause()
        else:
            self._on_next()
