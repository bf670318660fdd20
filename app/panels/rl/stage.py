"""The middle of the panel: lamps above, the agent beside the return curve, below pages of small plots, the update, runs, two policies."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtWidgets import QSplitter, QTabWidget, QVBoxLayout, QWidget

from app.panels.rl.agent_side import AgentSide
from app.panels.rl.compare_page import ComparePage
from app.panels.rl.curves import Curves
from app.panels.rl.film import FilmPlayer
from app.panels.rl.runs_page import RunsPage
from app.panels.rl.small_plots import SmallPlots
from app.panels.rl.training import Training
from app.widgets.inside_view import InsideView
from app.widgets.lamp_row import LampRow


class Stage(QWidget):
    """Views only."""

    page_changed = Signal()

    def __init__(self, player: FilmPlayer, owner: QObject, in_sight: Callable[[], bool]) -> None:
        super().__init__()
        self.lamps, self.agent, self.curves, self.small = LampRow(), AgentSide(player), Curves(), SmallPlots()
        self.inside, self.runs, self.compare = InsideView(), RunsPage(), ComparePage(FilmPlayer(owner, in_sight))
        self.pages = QTabWidget()
        self.rows, self.across = QSplitter(Qt.Orientation.Vertical), QSplitter(Qt.Orientation.Horizontal)
        for page, title, tip in (
            (self.small, "Metrics", "What the algorithm tells about itself; a click makes a plot large and explains it"),
            (self.inside, "Inside", "The last update from within: PPO's ratios, TRPO's line search and trust region, DDPG's Q and noise"),
            (self.runs, "Runs", "All runs, those from earlier too: show, resume, export, delete"),
            (self.compare, "Two policies", "Two policies on the same seeded episode, and where they differ"),
        ):
            self.pages.setTabToolTip(self.pages.addTab(page, title), tip)
        self.pages.setDocumentMode(True)
        self.pages.currentChanged.connect(self.page_changed)
        self.across.addWidget(self.agent)
        self.across.addWidget(self.curves)
        self.across.setSizes([280, 300])
        self.across.setStretchFactor(0, 1)
        self.across.setStretchFactor(1, 1)
        self.rows.addWidget(self.across)
        self.rows.addWidget(self.pages)
        self.rows.setSizes([420, 260])
        self.rows.setStretchFactor(0, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.lamps)
        column.addWidget(self.rows, 1)

    def show_inside(self, training: Training | None) -> None:
        """What the last update of a training did, if that page is in sight."""
        if not self.inside.isVisible():
            return
        if training is not None and training.inside:
            self.inside.show_view(training.inside)
        else:
            self.inside.clear()
