"""The left column: environment, algorithm, seeds, and the knobs; it makes the job of the next training and turns those of a running one."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QComboBox, QFrame, QGridLayout, QHBoxLayout, QLabel, QLineEdit, QPushButton, QScrollArea, QVBoxLayout, QWidget

from app.jobs.rl import TrainRl
from app.panels.rl.setting_rows import SettingRows
from app.panels.rl.setup_line import SetupLine
from app.panels.rl.setup_words import job_of, layers_text, preset_words, read_layers, run_values, seeds_of
from app.protocol.errors import UserError
from app.protocol.rl import BACKENDS, RunSetup, Setup, settings_text, setup_text
from app.widgets.icons import icon
from app.widgets.number_field import NumberField

ALGOS = (
    ("ppo", "PPO"), ("a2c", "A2C"), ("trpo", "TRPO"), ("ddpg", "DDPG"), ("qac", "QAC"), ("off-policy-ac", "Off-policy actor-critic"),
    ("deterministic-ac", "Deterministic actor-critic"),
)  # fmt: skip
ENVS = ("CartPole-v1", "Pendulum-v1", "GridWorld-5x5", "GridWorld-cliff", "GridWorld-rooms", "Acrobot-v1", "MountainCarContinuous-v0")
"""Until the worker has said what it offers."""


class SideForm(QScrollArea):
    """Fields, buttons, and the line that says the whole setup."""

    train_wanted = Signal()
    step_wanted = Signal()
    pair_changed = Signal()
    """Another environment or algorithm: its preset is wanted."""
    changed = Signal()
    tuned = Signal(str, object)
    """A knob of the algorithm was turned."""
    text_wanted = Signal(str)
    """A setup was typed or pasted."""
    invalid = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.env, self.algo, self.seeds = QComboBox(editable=True), QComboBox(), QLineEdit("0")
        self.total = NumberField(100_000, title="Steps", lo=1, hi=1e10, whole=True)
        self.n_envs = NumberField(1, title="Copies", lo=1, hi=1_000_000, whole=True)
        self.hidden, self.backend = QLineEdit(), QComboBox()
        self.eval_every = NumberField(0, title="Evaluate every", lo=-1, hi=1e10, whole=True)
        self.rows, self.line = SettingRows(), SetupLine()
        self.train = QPushButton(icon("play", "on_accent"), "Train")
        self.step = QPushButton("Step by step", toolTip="Begin, then stand still after each update; if it stands still, one more (F10)")
        self.note, self.check = _words("small"), _words("warn")
        self.setup: Setup | None = None
        """The preset of the chosen pair."""
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # what stands in it has the focus
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMinimumWidth(288)
        self._build()
        self._connect()

    def _build(self) -> None:
        inside, fields, buttons = QWidget(), QGridLayout(), QHBoxLayout()
        fields.setHorizontalSpacing(8)
        fields.setVerticalSpacing(6)
        fields.setColumnMinimumWidth(0, 112)
        fields.setColumnStretch(1, 1)
        for name, title in ALGOS:
            self.algo.addItem(title, name)
        self.env.addItems(list(ENVS))
        self.backend.addItems(list(BACKENDS))
        for box in (self.env, self.algo, self.backend):
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.setMinimumContentsLength(8)
        self.env.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        for row, (title, editor, tip) in enumerate((
            ("Environment", self.env, "One of the list, or the id of any registered gymnasium environment"),
            ("Algorithm", self.algo, "How the policy learns; those that cannot handle the environment's actions cannot be chosen"),
            ("Seeds", self.seeds, "Of weights, noise and episodes: 0, or 0-4 for five trainings side by side"),
            ("Steps", self.total, "Environment steps in all, of all copies together"),
        )):  # fmt: skip
            label = QLabel(title, toolTip=tip)
            label.setBuddy(editor)
            editor.setToolTip(tip)
            editor.setAccessibleName(title)
            fields.addWidget(label, row, 0)
            fields.addWidget(editor, row, 1)
        self.train.setProperty("role", "primary")
        self.train.setToolTip("Train one agent a seed, side by side with those that are there (Ctrl+Enter)")
        buttons.addWidget(self.train, 1)
        buttons.addWidget(self.step)
        self._add_more()
        column = QVBoxLayout(inside)
        column.setContentsMargins(12, 12, 12, 12)
        column.setSpacing(8)
        heading = QLabel("Knobs", toolTip="Turn them while it trains: the run takes them before its next update and marks the curve")
        heading.setProperty("role", "heading")
        for part in (fields, self.note, self.check, buttons, _rule(), heading, self.rows, _rule(), self.line):
            column.addWidget(part) if isinstance(part, QWidget) else column.addLayout(part)
        column.addStretch(1)
        self.setWidget(inside)

    def _add_more(self) -> None:
        for title, editor, tip in (
            ("Copies", self.n_envs, "Copies of the environment that step together; for the next training"),
            ("Hidden layers", self.hidden, "Widths of the networks' hidden layers, such as 64, 64; none: linear; for the next training"),
            ("Evaluate every", self.eval_every, "Steps between evaluations; 0: ten times in the run, −1: only at its end"),
            ("Backend", self.backend, "auto: as tensors where the environment is there so; gymnasium: its own Python code"),
        ):
            editor.setAccessibleName(title)
            self.rows.add_more(title, editor, tip)

    def _connect(self) -> None:
        self.train.clicked.connect(self.train_wanted)
        self.step.clicked.connect(self.step_wanted)
        self.env.activated.connect(self._on_pair)
        self.env.lineEdit().editingFinished.connect(self._on_pair)
        self.algo.activated.connect(self._on_pair)
        self.rows.changed.connect(self._on_knob)
        self.line.given.connect(self.text_wanted)
        for signal in (self.seeds.textChanged, self.total.edited, self.n_envs.edited, self.hidden.editingFinished, self.eval_every.edited,
                       self.backend.activated):  # fmt: skip
            signal.connect(self._on_changed)
        for field in (self.rows, self.total, self.n_envs, self.eval_every):
            field.refused.connect(self.invalid)

    # what is chosen ------------------------------------------------------------------------------------------------

    @property
    def pair(self) -> tuple[str, str]:
        """Algorithm and environment."""
        return self.algo.currentData(), self.env.currentText().strip()

    def set_pair(self, algo: str, env: str) -> None:
        """Choose; tells nobody."""
        if (place := self.algo.findData(algo)) < 0:
            raise UserError(f"There is no algorithm named '{algo[:40]}'.", hint=f"Choose one of {', '.join(name for name, _ in ALGOS)}.")
        self.algo.setCurrentIndex(place)
        self.env.setEditText(env)
        self.env.lineEdit().setCursorPosition(0)  # of long names the beginning tells more

    def set_setup(self, setup: Setup) -> None:
        """The preset of the pair: every field at its value."""
        self.setup = setup
        self.rows.set_rows(setup.settings)
        self.total.set_value(setup.total)
        self.n_envs.set_value(setup.n_envs)
        self.hidden.setText(layers_text(setup.hidden))
        self.note.setText(preset_words(setup))
        self.note.setToolTip(setup.memory)
        self.show_line()

    def set_run(self, run: RunSetup) -> None:
        """What differs from the preset on show; UserError if there is no such setting."""
        values = run_values(run, self.setup)
        self.rows.set_values(values)
        if run.total:
            self.total.set_value(run.total)
        if run.n_envs:
            self.n_envs.set_value(run.n_envs)
        if run.hidden:
            self.hidden.setText(layers_text(() if run.hidden == (0,) else run.hidden))
        self.backend.setCurrentText(run.backend)
        self.seeds.setText(str(run.seed))
        self.show_line()

    def settings(self) -> str:
        """What differs from the preset."""
        return settings_text(self.rows.differences())

    def run(self, seed: int | None = None) -> RunSetup:
        """The setup as shared; UserError if a field makes no sense."""
        seed = seeds_of(self.seeds.text())[0] if seed is None else seed
        (algo, env), preset, hidden = self.pair, self.setup, read_layers(self.hidden.text())
        if not env or " " in env:
            raise UserError("There is no environment with such a name.", hint="Choose one of the list, or type a gymnasium id.")
        if preset is None or (preset.algo, preset.env) != (algo, env):  # its preset is not here yet
            return RunSetup(algo, env, seed, backend=self.backend.currentText())
        total, n_envs = int(self.total.value()), int(self.n_envs.value())
        total, n_envs = (0 if total == preset.total else total), (0 if n_envs == preset.n_envs else n_envs)
        hidden = () if hidden == tuple(preset.hidden) else hidden or (0,)
        return RunSetup(algo, env, seed, total, n_envs, hidden, self.backend.currentText(), self.settings())

    def jobs(self) -> list[TrainRl]:
        """One training a seed; UserError if a field makes no sense."""
        return [job_of(self.run(seed), eval_every=int(self.eval_every.value())) for seed in seeds_of(self.seeds.text())]

    def show_line(self) -> None:
        """Say the setup in the line."""
        try:
            self.line.set_text(setup_text(self.run()))
        except UserError as error:
            self.line.set_text("")
            self.set_check(str(error))

    def set_check(self, words: str) -> None:
        """What is wrong with the setup, or will be costly; "" = nothing."""
        self.check.setText(words)
        self.check.setVisible(bool(words))

    @Slot()
    def _on_pair(self, *_values: Any) -> None:
        if self.setup is None or self.pair != (self.setup.algo, self.setup.env):
            self.pair_changed.emit()

    @Slot(str, object)
    def _on_knob(self, name: str, value: Any) -> None:
        self.show_line()
        self.tuned.emit(name, value)
        self.changed.emit()

    @Slot()
    def _on_changed(self, *_values: Any) -> None:
        self.show_line()
        self.changed.emit()


def _words(role: str) -> QLabel:
    label = QLabel(wordWrap=True, visible=False) if role == "warn" else QLabel(wordWrap=True)
    label.setProperty("role", role)
    return label


def _rule() -> QFrame:
    rule = QFrame()
    rule.setProperty("role", "line")
    return rule
