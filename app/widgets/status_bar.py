"""The bottom line of the window: what the worker does, its queue, device, precision, threads, memory, and a cancel."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPushButton, QWidget

from app.protocol.sizes import size_words
from app.protocol.status import WorkerStatus
from app.widgets.icons import IconLabel, icon
from app.widgets.steady_label import SteadyLabel


class StatusBar(QFrame):
    """Shows a ``WorkerStatus``; the cancel button can be pressed only while something runs."""

    cancel_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("StatusBar")
        self.setAccessibleName("Status")
        self._lamp = IconLabel("clock", "pending")
        self._parts = {
            "state": SteadyLabel(name="State", tip="What the worker does now"),
            "queue": SteadyLabel(name="Queue", tip="Runs that wait, and runs that stand still and hold memory"),
            "device": SteadyLabel(name="Device", tip="Where it computes, in which number format, with how many threads"),
            "memory": SteadyLabel(name="Memory", tip="Memory in use"),
        }
        self.cancel = QPushButton("Cancel", toolTip="End every run (Esc ends the one of this panel)")
        self.cancel.setIcon(icon("stop"))
        self.cancel.clicked.connect(self.cancel_requested)
        row = QHBoxLayout(self)
        row.setContentsMargins(8, 2, 8, 2)
        row.setSpacing(8)
        row.addWidget(self._lamp)
        for name, label in self._parts.items():
            if name != "state":
                row.addWidget(_divider())
            row.addWidget(label, 1 if name == "state" else 0)
        row.addWidget(self.cancel)
        self.set_status(WorkerStatus())

    def set_status(self, status: WorkerStatus) -> None:
        """Show a snapshot of the worker."""
        running = status.run_id != 0 or status.queue > 0 or bool(status.parked)
        parked_only = bool(status.parked) and status.run_id in (0, *status.parked)
        name, role = ("pause", "warn") if parked_only else ("play", "ok") if running else ("clock", "pending")
        self._lamp.show_icon("ok" if status.idle and not running else name, role)
        self._parts["state"].setText(f"Worker: {status.state}")
        parked = f", {len(status.parked)} paused" if status.parked else ""
        self._parts["queue"].setText(f"queue {status.queue}{parked}")
        threads = f", {status.threads} thread{'s' if status.threads != 1 else ''}" if status.threads else ""
        device = f"{status.device} {status.dtype}".strip()
        self._parts["device"].setText(f"{device}{threads}" if device else "no device yet")
        self._parts["memory"].setText(f"{size_words(status.memory_bytes)} {status.memory_kind}")
        models = ", ".join(status.models) or "none"
        self._parts["memory"].setToolTip(f"Memory in use. Models in memory: {models}")
        self.cancel.setEnabled(running)

    def text(self) -> str:
        """The whole line."""
        return " | ".join(label.text() for label in self._parts.values())


def _divider() -> QFrame:
    line = QFrame()
    line.setProperty("role", "vline")
    return line
