"""Six small plots of what the algorithm tells about itself; one grows on a click, and again shrinks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PySide6.QtCore import Qt, QTimer, Signal, Slot
from PySide6.QtWidgets import QGridLayout, QLabel, QWidget

from app.panels.rl import lines
from app.panels.rl.metrics import metric, small_plots
from app.panels.rl.training import Training
from app.widgets.metric_plot import MetricPlot

COLUMNS = 3
REVEAL_MS = 20
EMPTY = "While it trains, six plots here say how the algorithm fares: divergence, entropy, critic, losses, speed. A click makes one large."


class SmallPlots(QWidget):
    """A grid of compact plots, or one of them large."""

    explained = Signal(str)
    """A metric was clicked: what is it?"""
    pointed = Signal(object)
    """The x under the pointer, or None."""
    save_requested = Signal(str, object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._names: tuple[str, ...] = ()
        self._kept: list[MetricPlot] = []
        self.plots: dict[str, MetricPlot] = {}
        self.grown = ""
        self._empty = QLabel(EMPTY, wordWrap=True, alignment=Qt.AlignmentFlag.AlignCenter, margin=32)
        self._empty.setProperty("role", "muted")
        self._any = False
        self._coming: list[MetricPlot] = []
        """Plots that keep their place and are shown one after another: six at once take several frames."""
        self._reveal = QTimer(self, interval=REVEAL_MS)
        self._reveal.timeout.connect(self._on_reveal)
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(6, 4, 6, 4)
        self._grid.setSpacing(6)
        self._grid.addWidget(self._empty, 2, 0, 1, COLUMNS)
        self.set_names(small_plots("ppo"))

    def set_names(self, names: Sequence[str]) -> None:
        """Other metrics."""
        if tuple(names) == self._names:
            return
        self._names = tuple(names)
        while len(self._kept) < len(names):  # making one takes longer than a frame: those there are take other metrics
            self._kept.append(self._made(len(self._kept)))
        for plot, name in zip(self._kept, names):
            told = metric(name)
            plot.rename(told.title, told.unit)
            plot.setToolTip(f"{told.title} ({name}). {told.tip} Click: large.")
            plot.setProperty("metric", name)
        self.plots = dict(zip(names, self._kept))
        self.grown = self.grown if self.grown in self.plots else ""
        self._arrange()

    def _made(self, place: int) -> MetricPlot:
        plot = MetricPlot("", compact=True)
        plot.clicked.connect(self._on_clicked)
        plot.pointed.connect(self.pointed)
        plot.save_requested.connect(self.save_requested)
        self._grid.addWidget(plot, place // COLUMNS, place % COLUMNS)
        return plot

    def grow(self, name: str) -> None:
        """Show one alone; "" shows all six."""
        self.grown, self._coming = name if name in self.plots else "", []
        self._arrange()

    def _arrange(self) -> None:
        for plot in self._kept:
            name = plot.property("metric")
            wanted = self._any and self.plots.get(name) is plot and self.grown in ("", name)
            policy = plot.sizePolicy()
            policy.setRetainSizeWhenHidden(wanted and plot in self._coming)
            plot.setSizePolicy(policy)
            plot.setVisible(wanted and plot not in self._coming)
        self._empty.setVisible(not self._any)

    @Slot()
    def _on_reveal(self) -> None:
        self._coming = self._coming[1:]
        if not self._coming:
            self._reveal.stop()
        self._arrange()

    def draw(self, shown: Training | None, drawn: Sequence[Training], labels: Mapping[str, str], axis: str, smoothing: int) -> None:
        """The curves as they stand, of the plots in sight."""
        if shown is not None:
            self.set_names(small_plots(shown.run_setup.algo, shown.metrics.names()))
        if self._any != any(len(training.metrics) for training in drawn):
            self._any = not self._any
            self._coming = list(self._kept[1:]) if self._any else []
            self._arrange()
            if self._coming:
                self._reveal.start()
        for name, plot in self.plots.items():
            if plot.isVisible():
                plot.set_axis(*lines.AXES[axis])
                plot.set_smoothing(smoothing)
                plot.set_lines(lines.lines(drawn, name, axis, labels))

    def set_cursor(self, x: float | None) -> None:
        """Where the time machine stands."""
        for plot in self.plots.values():
            plot.set_cursor(x)

    @Slot(object)
    def set_cross(self, x: float | None) -> None:
        """The pointer is at x in one of the plots: all read their values there."""
        for plot in self.plots.values():
            plot.set_cross(x)

    @Slot()
    def _on_clicked(self) -> None:
        name = self.sender().property("metric")
        self.grow("" if self.grown else name)
        self.explained.emit(name)
