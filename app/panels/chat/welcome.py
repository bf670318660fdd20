"""What is shown before the first message: what can be seen here, three questions to press, or how to get the model if it is not here."""

from __future__ import annotations

from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget

EXAMPLES = (
    ("Why is the sky blue? Answer in three sentences.", "an everyday question"),
    ("List the planets of the solar system, and say one fact about each.", "a list: drafts by prompt lookup begin to pay"),
    (
        "Repeat this poem word for word, then once more:\nThe rain it falls on field and town,\non roofs of red and roofs of brown.",
        "text that repeats itself: long drafts are accepted",
    ),
)
TEACH = (
    "A drafter proposes several tokens, the model checks them all in one pass. Every token of a reply is coloured by what became of its "
    "draft; the strip below shows each round and what it cost."
)


class Welcome(QWidget):
    """The empty state of a conversation."""

    example_chosen = Signal(str)
    fetch_wanted = Signal()
    path_wanted = Signal()
    cancel_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._missing, self._teach = QWidget(), QWidget()
        self._words, self._bar = QLabel(wordWrap=True), QProgressBar(textVisible=False)
        self.get = QPushButton("Get it")
        self.path = QPushButton("Open a model file …", toolTip="A GGUF file, or the config.json of a folder with safetensors")
        self._cancel = QPushButton("Cancel", visible=False)
        self.examples: list[QPushButton] = []
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 40, 0, 24)
        column.setSpacing(12)
        title = QLabel("Chat with a language model, and see every round")
        title.setProperty("role", "title")
        column.addWidget(title)
        self._build_missing()
        self._build_examples()
        column.addWidget(self._missing)
        column.addWidget(self._teach)
        column.addStretch(1)
        self.set_missing("")

    def _build_missing(self) -> None:
        column, row = QVBoxLayout(self._missing), QHBoxLayout()
        column.setContentsMargins(0, 0, 0, 0)
        self.get.setProperty("role", "primary")
        for button, signal in ((self.get, self.fetch_wanted), (self.path, self.path_wanted), (self._cancel, self.cancel_wanted)):
            button.clicked.connect(signal)
            row.addWidget(button)
        row.addStretch(1)
        self._bar.hide()
        column.addWidget(self._words)
        column.addWidget(self._bar)
        column.addLayout(row)

    def _build_examples(self) -> None:
        column = QVBoxLayout(self._teach)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        words, ask = QLabel(TEACH, wordWrap=True), QLabel("Ask something, or begin with one of these:")
        words.setProperty("role", "muted")
        column.addWidget(words)
        column.addSpacing(12)
        column.addWidget(ask)
        for prompt, why in EXAMPLES:
            button = QPushButton(" ".join(prompt.split("\n")[0].split()))
            button.setProperty("prompt", prompt)
            button.setToolTip(f"Send this: {why}")
            button.setStyleSheet("text-align: left;")
            button.clicked.connect(self._on_example)
            note = QLabel(why)
            note.setProperty("role", "small")
            note.setContentsMargins(12, 0, 0, 4)
            column.addWidget(button)
            column.addWidget(note)
            self.examples.append(button)

    def set_missing(self, sentence: str, hint: str = "", fetchable: bool = True) -> None:
        """Say why the model cannot answer, and offer to get it; "" = it can."""
        self._missing.setVisible(bool(sentence))
        self._teach.setVisible(not sentence)
        self._words.setText(f"{sentence} {hint}".strip())
        self.get.setVisible(fetchable)

    def set_fetching(self, note: str, share: float | None) -> None:
        """How far the fetch is (None: unknown); "" = none is going on."""
        going = bool(note)
        self._bar.setVisible(going)
        self._cancel.setVisible(going)
        self.get.setEnabled(not going)
        self.path.setEnabled(not going)
        if going:
            self._words.setText(note)
            self._bar.setRange(0, 1000 if share is not None else 0)
            self._bar.setValue(round(1000 * (share or 0)))

    def words(self) -> str:
        """The sentence about the missing model, "" if it is there."""
        return self._words.text() if not self._missing.isHidden() else ""

    @Slot()
    def _on_example(self) -> None:
        self.example_chosen.emit(self.sender().property("prompt"))

    def hasHeightForWidth(self) -> bool:
        return True

    def heightForWidth(self, width: int) -> int:
        return self.layout().totalHeightForWidth(width) if self.layout() else 300
