"""The hero of the panel: the text as chips on top, the map or another view below, the heads at its side; first of all a welcome."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import (
    QComboBox,
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QSplitter,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from app import theme
from app.panels.attention import words
from app.panels.attention.edit_view import EditView
from app.panels.attention.heads_column import HeadsColumn
from app.panels.attention.options import Options
from app.panels.attention.picture_view import PictureView
from app.widgets.arc_view import ArcView
from app.widgets.colour_scale import colours
from app.widgets.elided_label import ElidedLabel
from app.widgets.matrix_axes import LEFT, TOP
from app.widgets.matrix_view import MatrixView
from app.widgets.token_chips import TokenChips


class Stage(QStackedWidget):
    """A welcome, then the views."""

    example_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.chips, self.map, self.arcs = TokenChips(), MatrixView(), ArcView()
        self.beside_chips, self.beside, self.maps = TokenChips(name="Second text"), MatrixView(name="Second map"), QSplitter()
        self.picture, self.edit, self.options, self.heads = PictureView(), EditView(), Options(), HeadsColumn()
        self.direction, self.told = QComboBox(), ElidedLabel("muted", 12)
        self._text_shown, self._end_kept = True, False
        self.views, self.rows, self.columns = QStackedWidget(), QSplitter(Qt.Orientation.Vertical), QSplitter(Qt.Orientation.Horizontal)
        colours(False, theme.tokens().name)  # their library takes half a second to load: now, not at the first map
        for view in (self.map, self.beside):
            view.set_empty(words.EMPTY_MAP)
        self.arcs.set_empty(words.EMPTY_ARCS)
        self.addWidget(self._welcome())
        self.addWidget(self._looks())

    def _welcome(self) -> QWidget:
        page, column, row = QWidget(), QVBoxLayout(), QHBoxLayout()
        page.setLayout(column)
        column.setContentsMargins(48, 48, 48, 24)
        column.setSpacing(12)
        title, teach, note = QLabel("See what a model looks at"), QLabel(words.TEACH, wordWrap=True), QLabel(words.NOT_AN_EXPLANATION)
        title.setProperty("role", "title")
        teach.setProperty("role", "muted")
        note.setProperty("role", "small")
        self.example = QPushButton("Look at the example")
        self.example.setProperty("role", "primary")
        self.example.setToolTip("Run the model over the text at the left (Ctrl+Enter)")
        self.example.clicked.connect(self.example_wanted)
        row.addWidget(self.example)
        row.addStretch(1)
        for item in (title, teach, note):
            column.addWidget(item)
        column.addSpacing(8)
        column.addLayout(row)
        column.addStretch(1)
        return page

    def _looks(self) -> QWidget:
        below, column = QWidget(), QVBoxLayout()
        below.setLayout(column)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        self.maps.setChildrenCollapsible(False)
        for view in (self.map, self.beside):
            self.maps.addWidget(view)
        for view in (self.maps, self.arcs, self.picture, self.edit):
            self.views.addWidget(view)
        self.columns.addWidget(self.views)
        self.columns.addWidget(self.heads)
        self.columns.setStretchFactor(0, 1)
        self.columns.setSizes([500, 206])
        column.addWidget(self.options)
        column.addWidget(self.columns, 1)
        self.rows.addWidget(self._text())
        self.rows.addWidget(below)
        self.rows.setStretchFactor(1, 1)
        self.rows.setSizes([118, 600])
        return self.rows

    def _text(self) -> QWidget:
        self.text, column, head = QWidget(), QVBoxLayout(), QHBoxLayout()
        self.text.setLayout(column)
        column.setContentsMargins(12, 6, 8, 4)
        column.setSpacing(4)
        self.direction.addItem("looks at", "rows")
        self.direction.addItem("is looked at by", "columns")
        self.direction.setToolTip("What the shades tell of the token you point at (Ctrl+D)")
        self.direction.setAccessibleName("Direction")
        head.setSpacing(12)
        head.addWidget(self.direction)
        head.addWidget(self.told, 1)
        self.scroll = scroll = QScrollArea(widgetResizable=True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        inside, lines = QWidget(), QVBoxLayout()
        inside.setLayout(lines)
        lines.setContentsMargins(0, 0, 4, 0)
        self.beside_line = QFrame()
        self.beside_line.setProperty("role", "line")
        for widget in (self.chips, self.beside_line, self.beside_chips):
            lines.addWidget(widget)
        lines.addStretch(1)
        scroll.setWidget(inside)
        scroll.verticalScrollBar().rangeChanged.connect(self._on_range)
        column.addLayout(head)
        column.addWidget(scroll, 1)
        return self.text

    def set_text_shown(self, shown: bool) -> None:
        """Show the chips, or only the line above them where both sides of a map are cells."""
        self.scroll.setVisible(shown)
        self.text.setMinimumHeight(64 if shown else 40)
        if shown != self._text_shown:
            self._text_shown = shown
            self.text.setMaximumHeight(16_777_215 if shown else 40)
            self.rows.setSizes([118 if shown else 40, self.rows.height()])

    def show_beside(self, shown: bool) -> None:
        """Make room for a second map, beside or below, wherever it becomes larger."""
        if shown and self.beside.isHidden():
            width, height = self.maps.width(), self.maps.height()
            wide = min(width / 2 - LEFT, height - TOP) >= min(width - LEFT, height / 2 - TOP)
            self.maps.setOrientation(Qt.Orientation.Horizontal if wide else Qt.Orientation.Vertical)
            self.maps.setSizes([1000, 1000])
        self.beside.setVisible(shown)

    def reveal(self, token: int) -> None:
        """Scroll the text to a token."""
        self.scroll.ensureVisible(0, self.chips.y() + self.chips.top_of(token), 0, 40)

    def keep_end(self, kept: bool) -> None:
        """Keep the end of the text in sight, as it grows."""
        self._end_kept = kept
        self._on_range()

    @Slot()
    def _on_range(self) -> None:
        if self._end_kept and self.chips.count():
            self.reveal(self.chips.count() - 1)

    def show_views(self) -> None:
        """Leave the welcome."""
        self.setCurrentIndex(1)

    @property
    def welcoming(self) -> bool:
        """Whether nothing has been looked at yet."""
        return self.currentIndex() == 0

    def show_view(self, view: str) -> None:
        """Bring a view to the front; the rollout is a map of another kind, the sum of all layers another overlay."""
        shown = {
            "map": self.maps, "rollout": self.maps, "arcs": self.arcs, "picture": self.picture, "sum": self.picture, "edit": self.edit,
        }[view]  # fmt: skip
        self.views.setCurrentWidget(shown)
