"""The living agent, and under it the bar of the episode that a policy of the past plays."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QSlider, QToolButton, QVBoxLayout, QWidget

from app import theme
from app.panels.rl.film import FilmPlayer
from app.panels.rl.training import Training
from app.protocol.rl import AgentFrame, GridView
from app.widgets.agent_view import AgentView
from app.widgets.elided_label import ElidedLabel
from app.widgets.icons import icon
from app.widgets.number_field import NumberField

EMPTY = "Press Train: the agent appears here and moves while it learns."
WAIT = "The agent appears with the first update."
BACK = "Drag the cursor along the return curve, or press Left: the policy of that moment plays a seeded episode here."


class FilmBar(QWidget):
    """Play, where in the episode, which episode, and back to the newest."""

    seed_changed = Signal(object)
    newest_wanted = Signal()

    def __init__(self, player: FilmPlayer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._player = player
        self.toggle, self.slider = QToolButton(toolTip="Play or stop the episode (Shift+Space)"), QSlider(Qt.Orientation.Horizontal)
        self.seed = NumberField(0, title="Episode seed", lo=0, hi=2**31 - 1, whole=True)
        self.newest, self._words = QPushButton("Newest", toolTip="Back to what goes on now (End)"), ElidedLabel("muted", theme.LEAST)
        self.slider.setAccessibleName("Step of the episode")
        self.slider.setToolTip("Step of the episode on show")
        self.toggle.setAccessibleName("Play the episode")
        self.seed.setToolTip("Seed of the episode: it begins alike for every policy")
        self.seed.setMaximumWidth(64)
        self.newest.setProperty("role", "flat")
        row, column = QHBoxLayout(), QVBoxLayout(self)
        row.setSpacing(4)
        for part in (self.toggle, self.slider, self.seed, self.newest):
            row.addWidget(part, 1 if part is self.slider else 0)
        column.setContentsMargins(6, 2, 6, 2)
        column.setSpacing(0)
        column.addLayout(row)
        column.addWidget(self._words)
        self.toggle.clicked.connect(player.toggle)
        self.slider.valueChanged.connect(player.go)
        self.seed.edited.connect(self.seed_changed)
        self.newest.clicked.connect(self.newest_wanted)
        player.changed.connect(self.show_player)
        player.frame.connect(self._on_frame)
        self.show_player()

    @Slot()
    def show_player(self) -> None:
        """Another film, or another state of it."""
        film = self._player.film
        self.setVisible(film is not None)
        self.toggle.setIcon(icon("pause" if self._player.playing else "play"))
        self.slider.blockSignals(True)
        self.slider.setRange(0, max(0, self._player.count - 1))
        self.slider.setValue(self._player.index)
        self.slider.blockSignals(False)
        if film is not None:
            ended = "ended" if film.terminated else "time limit"
            self._words.setText(f"policy of step {film.timesteps:,}: return {film.total:.4g} ({ended})")
            self._words.setToolTip(f"{self._player.count} steps without chance: always the action the policy thinks best.")

    def words(self) -> str:
        """The line under the bar."""
        return self._words.text()

    @Slot(object, int)
    def _on_frame(self, _frame: AgentFrame, index: int) -> None:
        self.slider.blockSignals(True)
        self.slider.setValue(index)
        self.slider.blockSignals(False)


class AgentSide(QWidget):
    """View and bar."""

    def __init__(self, player: FilmPlayer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.view, self.bar, self._player = AgentView(), FilmBar(player), player
        self._grid: GridView | None = None
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.view, 1)
        column.addWidget(self.bar)
        player.frame.connect(self._on_film)
        self.view.clear(EMPTY)

    def show_training(self, training: Training | None) -> None:
        """Another training, or back to its newest moment."""
        self._grid = None
        if training is None:
            self.view.clear(EMPTY)
        elif training.agent is None:
            self.view.clear(WAIT if training.active else BACK)
        else:
            self.show_live(training)

    def show_live(self, training: Training) -> None:
        """The agent that is watched while it learns."""
        if self._player.film is None and training.agent is not None and self.isVisible():
            self._take_grid(training.plane)
            if self._grid is None and training.setup is not None and training.setup.grid:
                self.view.set_grid(training.setup.grid)
            self.view.show_frame(training.agent)
            self.view.set_note("as it learns, frames skipped" if training.active else "as it was last seen")

    @Slot(object, int)
    def _on_film(self, frame: AgentFrame, _index: int) -> None:
        self.view.show_frame(frame)
        film = self._player.film
        self.view.set_note(f"policy of step {film.timesteps:,}, episode {film.seed}" if film else "")

    def _take_grid(self, plane: object) -> None:
        if isinstance(plane, GridView) and plane is not self._grid:
            self._grid = plane
            self.view.set_grid(plane)

    def show_plane(self, plane: object) -> None:
        """The map of the moment: of a grid world it lies under the agent."""
        self._take_grid(plane)
