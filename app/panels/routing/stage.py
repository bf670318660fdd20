"""The middle of the panel: the text as chips above, pages of views below; or what to do while there is no model."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QFrame, QScrollArea, QSplitter, QStackedWidget, QTabWidget, QVBoxLayout, QWidget

from app import theme
from app.panels.routing.bias_page import BiasPage
from app.panels.routing.company_pages import FlowPage, TogetherPage
from app.panels.routing.load_page import LoadPage
from app.panels.routing.page import Page
from app.panels.routing.pair_page import PairPage
from app.panels.routing.play_page import PlayPage
from app.panels.routing.reading import Reading
from app.panels.routing.specialist_page import SpecialistPage
from app.panels.routing.training_page import TrainingPage
from app.panels.routing.welcome import Welcome
from app.panels.routing.work_page import WorkPage
from app.widgets.elided_label import ElidedLabel
from app.widgets.routed_text import RoutedText

EMPTY = "Press “Read and write on”: each token of the text stands here with the experts it visited."
LEGEND = "Bars: layers. Number: first expert of the layer at the right; dotted: by the bias alone. Tinted: written."


class Stage(QWidget):
    """Views only."""

    page_changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.text, self.welcome, self.pages = RoutedText(), Welcome(), QTabWidget()
        self.load, self.bias, self.together, self.flow = LoadPage(), BiasPage(), TogetherPage(), FlowPage()
        self.work, self.specialists, self.pair = WorkPage(), SpecialistPage(), PairPage()
        self.play, self.training = PlayPage(), TrainingPage()
        self._title, self._legend = ElidedLabel(bold=True), ElidedLabel("muted", theme.LEAST)
        self.split, self._stack = QSplitter(Qt.Orientation.Vertical), QStackedWidget()
        for page, title, tip in (
            (self.load, "Load", "How much of the load each expert carries, and how even that is"),
            (self.bias, "Bias", "How close each decision was, and where the bias alone made it"),
            (self.together, "Together", "Which experts are visited by the same tokens"),
            (self.flow, "Flow", "From which expert to which, layer by layer"),
            (self.work, "Work", "What shared and routed experts add, and how many experts a pass must read"),
            (self.specialists, "Domains", "By domain and by token, with sample sizes and intervals"),
            (self.pair, "Two texts", "Two texts through the same gates"),
            (self.play, "Play", "Before and after: the same text with changed gates"),
            (self.training, "Training", "Train a mixture, and watch load and bias move"),
        ):  # fmt: skip
            self.pages.setTabToolTip(self.pages.addTab(page, title), tip)
        self.pages.setDocumentMode(True)
        self.pages.currentChanged.connect(self.page_changed)
        self.text.set_empty_text(EMPTY)
        self._stack.addWidget(self._chips())
        self._stack.addWidget(self.welcome)
        self.split.addWidget(self._stack)
        self.split.addWidget(self.pages)
        self.split.setSizes([270, 430])
        self.split.setStretchFactor(0, 2)
        self.split.setStretchFactor(1, 3)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.split)

    def _chips(self) -> QWidget:
        box, inside, scroll, head = QWidget(), QWidget(), QScrollArea(), QVBoxLayout()
        column, inner = QVBoxLayout(box), QVBoxLayout(inside)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        head.setContentsMargins(16, 8, 16, 4)
        head.setSpacing(2)
        head.addWidget(self._title)
        head.addWidget(self._legend)
        self._legend.setText(LEGEND)
        inner.setContentsMargins(16, 4, 16, 8)
        inner.addWidget(self.text)
        inner.addStretch(1)
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setWidget(inside)
        scroll.verticalScrollBar().rangeChanged.connect(self._on_range)
        self.scroll, self._revealed = scroll, -1
        column.addLayout(head)
        column.addWidget(scroll, 1)
        return box

    @property
    def all_pages(self) -> list[Page]:
        """Pages that follow the reading."""
        return [self.load, self.bias, self.together, self.flow, self.work, self.specialists]

    def show_missing(self, sentence: str, hint: str, trainable: bool = True) -> None:
        """Why there is nothing to look at; "" = there is. `trainable`: it is the built-in mixture, which can be trained here."""
        self.welcome.set_missing(sentence, hint, trainable)
        self._stack.setCurrentIndex(1 if sentence else 0)

    @property
    def missing(self) -> bool:
        """Whether the model is missing."""
        return self._stack.currentIndex() == 1

    def begin(self, reading: Reading) -> None:
        """Another text."""
        looked = reading.looked
        steered = f"; {', '.join(looked.steered)}" if looked.steered else ""
        shared = f" and {looked.n_shared} shared" if looked.n_shared else ""
        self._title.setText(
            f"{looked.title}: {len(looked.layers)} layers of {looked.n_experts} experts{shared}, {looked.top_k} a token{steered}"
        )
        self._stack.setCurrentIndex(0)
        self._revealed = -1
        self.text.clear(len(looked.layers))

    def reveal(self, token: int) -> None:
        """Scroll the text to a token."""
        self._revealed = token
        place = self.text.place_of(token)
        self.scroll.ensureVisible(round(place.center().x()), round(place.bottom()) + 8, 0, 0)
        self.scroll.ensureVisible(round(place.center().x()), round(place.top()), 0, 4)

    @Slot()
    def _on_range(self) -> None:
        """The text has grown by a line, whose room comes later than its token."""
        if self._revealed == len(self.text.tokens) - 1 >= 0:
            self.reveal(self._revealed)

    def label(self) -> str:
        """The head line."""
        return self._title.text()
