"""Under the stages: the equation of the step, the slider of time, and the transport bar."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QSlider, QVBoxLayout, QWidget

from app.protocol.events import Progress
from app.widgets.steady_label import SteadyLabel
from app.widgets.transport import Transport


class Foot(QWidget):
    """The time axis of the panel."""

    dragged = Signal(int)
    """The slider was moved to a moment, counted from 0."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.equation = SteadyLabel("mono", name="Equation of this step", tip="The equation of this step with its numbers")
        tip = "Time of the walk, from its start to the data"
        self.slider = QSlider(Qt.Orientation.Horizontal, toolTip=tip, accessibleName="Time of the walk")
        self.slider.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.transport, self.working = Transport(noun="moment"), SteadyLabel("small", name="Writing a file")
        self.transport.add_widget(self.working)
        inner = QVBoxLayout()
        inner.setContentsMargins(12, 4, 12, 0)
        inner.setSpacing(4)
        for widget in (self.equation, self.slider):
            inner.addWidget(widget)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(2)
        box.addLayout(inner)
        box.addWidget(self.transport)
        self.slider.valueChanged.connect(self._on_slider)
        self.show_place(-1, 0)

    def show_place(self, index: int, count: int) -> None:
        """Where the slider stands; tells nobody."""
        self.slider.blockSignals(True)
        self.slider.setRange(0, max(count - 1, 0))
        self.slider.setValue(max(index, 0))
        self.slider.setEnabled(count > 1)
        self.slider.blockSignals(False)

    def tell_progress(self, progress: Progress | None) -> None:
        """How far the writing of a file has come; None when it is over."""
        self.working.setText("" if progress is None else f"{progress.note} {progress.done} of {progress.total}")

    @Slot(int)
    def _on_slider(self, value: int) -> None:
        self.dragged.emit(value)

