"""The left column: presets, the form, the controls, and at its foot the buttons that make a picture."""

from __future__ import annotations

from itertools import pairwise

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QScrollArea, QVBoxLayout, QWidget

from app.panels.image.control_list import ControlList
from app.panels.image.form import Form
from app.panels.image.words import Words
from app.widgets.icons import icon


class SideForm(QWidget):
    """Form and controls scroll; Generate stays in sight."""

    generate = Signal()
    step_by_step = Signal()
    surprise = Signal()

    def __init__(self, words: Words, presets_button: QPushButton, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.form, self.controls = Form(words), ControlList()
        self.generate_button = QPushButton("Generate", toolTip="Make the picture (Ctrl+Enter)")
        self._step_button = QPushButton("Step by step", toolTip="Compute one step, then stand still (F10)")
        self._surprise_button = QPushButton(icon("magic"), "Surprise me")
        self._advice = QLabel(wordWrap=True)
        self._build(presets_button)
        chain = [presets_button, self._surprise_button, *self.form.focus_chain(), *self.controls.focus_chain()]
        chain += [self.generate_button, self._step_button]
        for first, second in pairwise(chain):
            QWidget.setTabOrder(first, second)

    def _build(self, presets_button: QPushButton) -> None:
        inside, column = QWidget(), QVBoxLayout()
        inside.setLayout(column)
        column.setContentsMargins(12, 8, 12, 12)
        column.setSpacing(12)
        top = QHBoxLayout()
        self._surprise_button.setProperty("role", "flat")
        self._surprise_button.setToolTip("A scene of the built-in world: its caption, its edges and its people")
        top.addWidget(presets_button)
        top.addStretch(1)
        top.addWidget(self._surprise_button)
        line = QFrame()
        line.setProperty("role", "line")
        column.addLayout(top)
        column.addWidget(self.form)
        column.addWidget(line)
        column.addWidget(self.controls)
        column.addStretch(1)
        scroll = QScrollArea(widgetResizable=True)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(inside)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # what stands in it has the focus
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.setSpacing(0)
        outer.addWidget(scroll, 1)
        outer.addWidget(self._foot())
        self.setMinimumWidth(256)

    def _foot(self) -> QWidget:
        foot, column, row = QWidget(), QVBoxLayout(), QHBoxLayout()
        foot.setLayout(column)
        column.setContentsMargins(12, 8, 12, 8)
        self._advice.setProperty("role", "warn")
        self._advice.hide()
        self.generate_button.setProperty("role", "primary")
        row.addWidget(self.generate_button, 1)
        row.addWidget(self._step_button)
        column.addWidget(self._advice)
        column.addLayout(row)
        self.generate_button.clicked.connect(self.generate)
        self._step_button.clicked.connect(self.step_by_step)
        self._surprise_button.clicked.connect(self.surprise)
        return foot

    def set_advice(self, text: str) -> None:
        """Why Generate would be refused, before it is pressed."""
        self._advice.setText(text)
        self._advice.setVisible(bool(text))

    def advice(self) -> str:
        """The sentence above Generate."""
        return self._advice.text()

    def set_waiting(self, running: bool, waiting: int) -> None:
        """While a run is in work, Generate means: after this one."""
        self.generate_button.setText(f"Queue ({waiting})" if waiting else "Queue" if running else "Generate")
        tip = "Make this picture after the one in work (Ctrl+Enter)" if running else "Make the picture (Ctrl+Enter)"
        self.generate_button.setToolTip(tip)
