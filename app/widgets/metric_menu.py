"""The context menu of a `MetricPlot`: everything in sight, log scale, picture and numbers to the clipboard or a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QPoint, Qt, Slot
from PySide6.QtGui import QAction, QGuiApplication
from PySide6.QtWidgets import QMenu

if TYPE_CHECKING:
    from app.widgets.metric_plot import MetricPlot


class PlotMenu(QObject):
    """Belongs to one plot."""

    def __init__(self, plot: MetricPlot) -> None:
        super().__init__(plot)
        self._plot = plot
        for text, slot in (
            ("Show everything", plot.reset_view),
            ("Copy picture", self._on_copy),
            ("Copy numbers (CSV)", self._on_copy_numbers),
            ("Save picture …", self._on_save_picture),
            ("Save numbers (CSV) …", self._on_save_numbers),
        ):
            action = QAction(text, plot)
            action.triggered.connect(slot)
            plot.addAction(action)
        self.log = QAction("Logarithmic y axis", plot, checkable=True)
        self.log.triggered.connect(plot.set_log)
        plot.addAction(self.log)

    def pop_up(self, at: QPoint) -> None:
        """Open the menu."""
        menu = QMenu(self._plot)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.addActions(self._plot.actions())
        menu.popup(at)

    @Slot()
    def _on_copy(self) -> None:
        QGuiApplication.clipboard().setPixmap(self._plot.grab())

    @Slot()
    def _on_copy_numbers(self) -> None:
        QGuiApplication.clipboard().setText(self._plot.csv())

    @Slot()
    def _on_save_picture(self) -> None:
        self._plot.save_requested.emit("png", self._plot.grab().toImage())

    @Slot()
    def _on_save_numbers(self) -> None:
        self._plot.save_requested.emit("csv", self._plot.csv())
