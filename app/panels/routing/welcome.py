"""What is shown while the chosen mixture of experts is not there: what one would see, and how to make it, with an honest time."""

from __future__ import annotations

from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QScrollArea, QVBoxLayout, QWidget

TEACH = (
    "In a mixture of experts a gate sends each token to a few of many small networks. Here one sees where every token goes and why: "
    "the gate's affinity, the balancing bias, how close the choice was, and what changes when experts are switched off."
)
TIMES = (
    "The whole training is 6,000 updates of 4,096 tokens: about three hours on a free core of a server, more on a busy one. It may be "
    "stopped and goes on where it stopped; the page Training tells the time left as measured here. A trial of 300 updates takes ten to "
    "twenty minutes: enough to see experts divide the domains among them, but it writes no good text."
)
TRIAL, WHOLE = 300, 6000


class Welcome(QScrollArea):
    """Teaches, and offers the training."""

    train_wanted = Signal(int)
    """So many updates."""
    folder_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        inside, row = QWidget(), QHBoxLayout()
        column = QVBoxLayout(inside)
        column.setContentsMargins(24, 12, 24, 8)
        column.setSpacing(8)
        title, teach, self._times = QLabel("See where every token goes"), QLabel(TEACH, wordWrap=True), QLabel(TIMES, wordWrap=True)
        self._words = QLabel(wordWrap=True)
        title.setProperty("role", "title")
        teach.setProperty("role", "muted")
        self._times.setProperty("role", "small")
        self.trial, self.whole = QPushButton(f"Train a trial ({TRIAL} updates)"), QPushButton("Train it whole")
        self.folder = QPushButton("Open a folder …", toolTip="A folder with config.json, tokenizer.json and safetensors of a mixture")
        self.whole.setProperty("role", "primary")
        self.trial.setToolTip("Train and install a first, rough mixture; a longer training goes on from it")
        self.whole.setToolTip(f"Train {WHOLE:,} updates and install the mixture")
        for button, slot in ((self.whole, self._on_whole), (self.trial, self._on_trial), (self.folder, self.folder_wanted)):
            button.clicked.connect(slot)
            row.addWidget(button)
        row.addStretch(1)
        for part in (title, teach, self._words, self._times):
            column.addWidget(part)
        column.addLayout(row)
        column.addStretch(1)
        self.setWidget(inside)

    def set_missing(self, sentence: str, hint: str, trainable: bool = True) -> None:
        """Why there is nothing to look at; the trainings make the built-in mixture, and are no help for another model."""
        self._words.setText(f"{sentence} {hint}".strip())
        for part in (self.whole, self.trial, self._times):
            part.setVisible(trainable)

    def words(self) -> str:
        """The sentence about what is missing."""
        return self._words.text()

    @Slot()
    def _on_trial(self) -> None:
        self.train_wanted.emit(TRIAL)

    @Slot()
    def _on_whole(self) -> None:
        self.train_wanted.emit(WHOLE)
