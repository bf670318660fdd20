"""What happens inside an update, by algorithm: PPO's ratios, TRPO's line search and trust region, DDPG's Q surface and noise."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QBoxLayout, QLabel, QSizePolicy, QWidget

from app.protocol.rl import LineSearchView, NoiseView, QSurfaceView, RatioView
from app.widgets.chart_box import ChartBox
from app.widgets.landscape_chart import LandscapeChart
from app.widgets.line_search_view import LineSearchChart
from app.widgets.noise_view import NoiseChart
from app.widgets.q_surface_view import QSurfaceChart
from app.widgets.ratio_histogram import RatioHistogram

View = RatioView | LineSearchView | QSurfaceView | NoiseView
CHARTS: dict[type, tuple[type[ChartBox], ...]] = {
    RatioView: (RatioHistogram,),
    LineSearchView: (LineSearchChart, LandscapeChart),
    QSurfaceView: (QSurfaceChart,),
    NoiseView: (NoiseChart,),
}
"""The charts that draw each kind of view."""
EMPTY = "PPO shows its ratios here, TRPO its line search, DDPG its Q surface and noise, from the first update on."
WIDE = 1.1
"""Width over height from which charts stand side by side."""


class InsideView(QWidget):
    """The charts of one update, side by side where there is room, else below one another."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._charts: dict[type, ChartBox] = {}
        self._words = QLabel(EMPTY, wordWrap=True, alignment=Qt.AlignmentFlag.AlignCenter)
        self._words.setProperty("role", "muted")
        self._words.setMargin(24)
        self._layout = QBoxLayout(QBoxLayout.Direction.TopToBottom, self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(8)
        self._layout.addWidget(self._words)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAccessibleName("Inside the update")

    def show_view(self, view: View | tuple[View, ...]) -> None:
        """Another update: one view, or several."""
        views = view if isinstance(view, tuple) else (view,)
        wanted: dict[type, View] = {}
        for one in views:
            for kind in CHARTS[type(one)]:
                if kind is not LandscapeChart or one.landscape is not None or kind in self._charts:
                    wanted[kind] = one
        for kind, one in wanted.items():
            if kind is LandscapeChart and one.landscape is None:
                continue  # the last known one stays
            self._chart(kind).show_view(one)
        for kind, chart in self._charts.items():
            chart.setVisible(kind in wanted)
        self._words.setVisible(not wanted)

    def clear(self, words: str = "") -> None:
        """Show nothing, but words about what will appear."""
        for chart in self._charts.values():
            chart.show_view(None)
            chart.hide()
        self._words.setText(words or EMPTY)
        self._words.show()

    def charts(self) -> tuple[ChartBox, ...]:
        """The charts on show."""
        return tuple(chart for chart in self._charts.values() if not chart.isHidden())

    def _chart(self, kind: type[ChartBox]) -> ChartBox:
        if kind not in self._charts:
            self._charts[kind] = kind()
            self._layout.addWidget(self._charts[kind])
        return self._charts[kind]

    def resizeEvent(self, event) -> None:
        super().resizeEvent(event)
        wide = self.width() > WIDE * self.height()
        self._layout.setDirection(QBoxLayout.Direction.LeftToRight if wide else QBoxLayout.Direction.TopToBottom)
