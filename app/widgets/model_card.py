"""The chosen model in full: state, what to do about it, and what is known of its inside."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from app.protocol.models import ModelRow
from app.protocol.sizes import size_words
from app.widgets.icons import IconLabel, icon
from app.widgets.inspector import Inspector

WIDTH = 300
GET = {"missing": "Get", "partial": "Continue", "damaged": "Fetch again"}
REMOVE = {"delete": "Remove …", "forget": "Take out of the list …"}


class ModelCard(QFrame):
    """Shows one `ModelRow`; its buttons ask for what the row allows."""

    get_requested = Signal(str)
    check_requested = Signal(str)
    remove_requested = Signal(str)
    folder_requested = Signal(str)
    """Path of the file or folder."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("role", "surface")
        self.setFixedWidth(WIDTH)
        self.setAccessibleName("Chosen model")
        self._row = ModelRow(key="", title="")
        self._title, self._mark, self._state = QLabel(wordWrap=True), IconLabel("info", "muted"), QLabel()
        self._note = QLabel(wordWrap=True)
        self.get = QPushButton()
        self.check = QPushButton("Check", toolTip="Read its files and compare them with what they should be (C)")
        self.folder = QPushButton("Show in folder", toolTip="Open the folder it lies in")
        self.remove = QPushButton()
        self.details = Inspector()
        self._build()

    def _build(self) -> None:
        self._title.setProperty("role", "title")
        self._note.setProperty("role", "small")
        for label in (self._title, self._note):
            label.setTextFormat(Qt.TextFormat.PlainText)
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.get.setProperty("role", "primary")
        self.details.setFrameShape(QFrame.Shape.NoFrame)
        self.details.setAccessibleName("What is known of it")
        for part in (self.details.viewport(), self.details.widget()):
            part.setAutoFillBackground(False)
        self.check.setIcon(icon("check"))
        self.folder.setIcon(icon("open"))
        self.remove.setIcon(icon("trash"))
        state, row = QHBoxLayout(), QHBoxLayout()
        row.setSpacing(8)
        state.addWidget(self._mark)
        state.addWidget(self._state, 1)
        row.addWidget(self.check)
        row.addWidget(self.folder, 1)
        head = QVBoxLayout()
        head.setContentsMargins(12, 12, 12, 0)
        head.setSpacing(8)
        head.addWidget(self._title)
        head.addLayout(state)
        for part in (self._note, self.get):
            head.addWidget(part)
        head.addLayout(row)
        head.addWidget(self.remove)
        line = QFrame()
        line.setProperty("role", "line")
        head.addSpacing(4)
        head.addWidget(line)
        column = QVBoxLayout(self)
        column.setContentsMargins(1, 1, 1, 1)
        column.setSpacing(0)
        column.addLayout(head)
        column.addWidget(self.details, 1)
        self.get.clicked.connect(self._on_get)
        self.check.clicked.connect(self._on_check)
        self.remove.clicked.connect(self._on_remove)
        self.folder.clicked.connect(self._on_folder)

    def set_row(self, row: ModelRow, state: tuple[str, str, str], *, busy: bool = False) -> None:
        """Show a model; `state` is icon, role and words; while `busy` nothing can be asked for."""
        self._row = row
        self._title.setText(row.title)
        self.set_state(state)
        self._note.setText("" if busy else row.note)
        self._note.setVisible(bool(self._note.text()))
        size = size_words(row.fetch_bytes)
        can_get = row.fetch_bytes > 0 and row.state != "ready"
        self.get.setText(f"{GET.get(row.state, 'Get')} ({size})")
        self.get.setToolTip(f"Fetch {size} from {row.source} (Enter)")
        self.get.setVisible(can_get and not busy)
        self.check.setEnabled(not busy and row.state in ("ready", "damaged"))
        self.remove.setText(REMOVE.get(row.removal, ""))
        self.remove.setToolTip("Asks once (Del)")
        self.remove.setVisible(bool(row.removal))
        self.remove.setEnabled(not busy)
        self.folder.setEnabled(bool(row.path) and row.state != "missing")
        self.details.set_content("", self._facts(row), explanation=row.about or row.what, reference=row.path)

    def set_state(self, state: tuple[str, str, str]) -> None:
        """Show a state: icon, role and words."""
        icon_name, role, words = state
        self._mark.show_icon(icon_name, role)
        self._state.setText(words)

    @staticmethod
    def _facts(row: ModelRow) -> list[tuple[str, str]]:
        own = [("Size", size_words(row.bytes) if row.bytes else "none"), ("Licence", row.licence or "not stated"), ("From", row.source)]
        name = [] if ":" in row.key else [("Name", row.key)]  # other keys hold the path, which stands below
        return [*row.facts, *own, *name]

    @Slot()
    def _on_get(self) -> None:
        self.get_requested.emit(self._row.key)

    @Slot()
    def _on_check(self) -> None:
        self.check_requested.emit(self._row.key)

    @Slot()
    def _on_remove(self) -> None:
        self.remove_requested.emit(self._row.key)

    @Slot()
    def _on_folder(self) -> None:
        self.folder_requested.emit(self._row.path)
