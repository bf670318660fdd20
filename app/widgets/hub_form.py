"""Asking Hugging Face for a model by name: first what it is, how large and under which licence, then, on a second press, the files."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QComboBox, QFrame, QGridLayout, QHBoxLayout, QLabel, QLineEdit, QPushButton, QWidget

from app.protocol.models import HubChoice, HubOffer
from app.protocol.sizes import size_words
from app.widgets.icons import icon

TEACH = (
    "Give the name of a LLaMA-type model, such as HuggingFaceTB/SmolLM2-360M-Instruct. Looking it up asks huggingface.co for its "
    "file list only; nothing is fetched before you press Fetch. Pickles are never fetched."
)


class HubForm(QFrame):
    """A name and "Look up"; then the offer with its choices and "Fetch"."""

    look_up_requested = Signal(str)
    fetch_requested = Signal(object, str)
    """`HubOffer` and the label of the choice."""
    closed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("role", "raised")
        self.setAccessibleName("From Hugging Face")
        self._offer: HubOffer | None = None
        self.name = QLineEdit(placeholderText="OWNER/NAME", accessibleName="Repository", clearButtonEnabled=True, maxLength=200)
        self.look_up = QPushButton("Look up", toolTip="Ask what the repository holds (Enter)")
        self.choice = QComboBox(accessibleName="Which of its models", toolTip="Which of the models in the repository")
        self.fetch = QPushButton("Fetch", toolTip="Fetch these files into the model folder")
        self.summary, self.words, self.notes = QLabel(), QLabel(TEACH, wordWrap=True), QLabel(wordWrap=True)
        self._build()
        self.hide()

    def _build(self) -> None:
        self.fetch.setProperty("role", "primary")
        self.look_up.setIcon(icon("zoom-in"))
        for label, role in ((self.summary, "heading"), (self.words, "small"), (self.notes, "warn")):
            label.setProperty("role", role)
            label.setTextFormat(Qt.TextFormat.PlainText)
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        caption = QLabel("From Hugging Face")
        caption.setProperty("role", "heading")
        asking, taking = QHBoxLayout(), QHBoxLayout()
        asking.addWidget(self.name, 1)
        asking.addWidget(self.look_up)
        taking.addWidget(self.choice, 1)
        taking.addWidget(self.fetch)
        grid = QGridLayout(self)
        grid.setContentsMargins(12, 8, 8, 12)
        grid.setVerticalSpacing(8)
        asking.setSpacing(8)
        taking.setSpacing(8)
        grid.addWidget(caption, 0, 0)
        grid.addLayout(asking, 1, 0)
        for place, label in enumerate((self.summary, self.words, self.notes), start=2):
            grid.addWidget(label, place, 0)
        grid.addLayout(taking, 5, 0)
        self.name.returnPressed.connect(self._on_look_up)
        self.name.textEdited.connect(self._on_edited)
        self.look_up.clicked.connect(self._on_look_up)
        self.choice.currentIndexChanged.connect(self._on_choice)
        self.fetch.clicked.connect(self._on_fetch)
        self._show_offer()

    def set_offer(self, offer: HubOffer | None) -> None:
        """Show what a repository offers, or nothing again."""
        self._offer = offer
        self.choice.blockSignals(True)
        self.choice.clear()
        for choice in offer.choices if offer else ():
            self.choice.addItem(_words_of(choice), choice.label)
        self.choice.blockSignals(False)
        self._show_offer()
        if offer:
            self.fetch.setFocus()

    def set_busy(self, busy: bool) -> None:
        """While the hub is asked, nothing else can be asked."""
        self.look_up.setEnabled(not busy)
        self.fetch.setEnabled(not busy)

    def _show_offer(self) -> None:
        offer = self._offer
        for widget in (self.summary, self.choice, self.fetch):
            widget.setVisible(bool(offer))
        self.notes.setVisible(bool(offer and offer.notes))
        if offer is None:
            self.words.setText(TEACH)
            return
        choice = offer.choices[max(0, self.choice.currentIndex())]
        files = ", ".join(f"{file.name} ({size_words(file.bytes)})" for file in choice.files[:8])
        more = f" and {len(choice.files) - 8} more" if len(choice.files) > 8 else ""
        count = "one file" if len(choice.files) == 1 else f"{len(choice.files)} files"
        self.summary.setText(f"Licence {offer.licence} · {size_words(choice.bytes)} in {count}")
        self.words.setText(files + more)
        self.notes.setText(" ".join(offer.notes))
        self.fetch.setText(f"Fetch {size_words(choice.bytes)}")

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.closed.emit()
        else:
            super().keyPressEvent(event)

    @Slot()
    def _on_look_up(self) -> None:
        if self.name.text().strip() and self.look_up.isEnabled():
            self.look_up_requested.emit(self.name.text().strip())

    @Slot()
    def _on_edited(self) -> None:
        if self._offer is not None:
            self.set_offer(None)
            self.name.setFocus()

    @Slot()
    def _on_choice(self) -> None:
        self._show_offer()

    @Slot()
    def _on_fetch(self) -> None:
        if self._offer is not None:
            self.fetch_requested.emit(self._offer, self.choice.currentData())


def _words_of(choice: HubChoice) -> str:
    kind = "safetensors, as published" if choice.label == "safetensors" else choice.label
    return f"{kind} ({size_words(choice.bytes)})"
