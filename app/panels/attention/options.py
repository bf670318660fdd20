"""The bar over the views: which view, how the weights are made for the eye, and what is written to files."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QCheckBox, QComboBox, QDoubleSpinBox, QHBoxLayout, QLabel, QMenu, QTabBar, QToolButton, QWidget

from app import theme
from app.panels.attention.maps import Looks
from app.protocol.attention import NORMALISATIONS
from app.widgets.icons import icon

VIEWS = {
    "map": ("Map", "Queries by keys: every weight of the heads on show"),
    "arcs": ("Lines", "Lines from each token to those it looks at"),
    "picture": ("Picture", "Weights laid over the picture"),
    "rollout": ("Rollout", "What is left of each token after all layers up to the chosen one (arXiv 2005.00928)"),
    "sum": ("All layers", "Where each prompt word acts: the mean over all heads and layers (DAAM, arXiv 2210.04885)"),
    "edit": ("Change", "The text before and after heads were changed"),
}
SCORE_TABLE = "scores"
EXPORTS = {
    "png": "Picture (PNG)", "csv": "Table (CSV)", "npz": "Arrays of all chosen heads (NPZ)", SCORE_TABLE: "Scores of all heads (CSV)",
}  # fmt: skip
NORMALISATION_TITLES = {"as it is": "As is", "each row to 1": "Rows to 1", "absolute": "All to 1"}


class Options(QWidget):
    """View and looks."""

    view_changed = Signal(str)
    looks_changed = Signal()
    """Another normalisation, or the first token dropped: other numbers."""
    colours_changed = Signal()
    """Logarithmic colours, or another threshold: the same numbers."""
    export_wanted = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.tabs, self.normalisation = QTabBar(drawBase=False, usesScrollButtons=False), QComboBox()
        self.log = QCheckBox("Log", toolTip="Logarithmic colours, over four powers of ten (Ctrl+L): sinks no longer hide the rest")
        self.drop = QCheckBox("No first", toolTip="Leave the first token out, where sinks collect weight; rows sum to 1 again")
        self.threshold = QDoubleSpinBox(decimals=2, minimum=0.01, maximum=1.0, singleStep=0.01, value=0.05)
        self.residual = QDoubleSpinBox(decimals=2, minimum=0.0, maximum=1.0, singleStep=0.05, value=0.5)
        self.every_step = QCheckBox("All steps", toolTip="The mean over every step of the run, not only the one on show")
        self._export = QToolButton(toolTip="Export the map on show", accessibleName="Export")
        self._can_drop = True
        self._signed = False
        self._logs = {"map": True, "picture": False, "signed": False}  # sinks hide a map's other weights; overlays would be all colour
        self._build()
        self._on_tab()

    def _build(self) -> None:
        for title, tip in VIEWS.values():
            self.tabs.setTabToolTip(self.tabs.addTab(title), tip)
        self.tabs.setAccessibleName("View")
        for key in NORMALISATIONS:
            self.normalisation.addItem(NORMALISATION_TITLES[key], key)
        self.normalisation.setToolTip("What is done to the weights for the eye; captions name it")
        self.normalisation.setAccessibleName("Normalisation")
        self.normalisation.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.normalisation.setMinimumContentsLength(6)
        self.normalisation.setMaximumWidth(96)
        self.setMinimumWidth(320)  # another view must not push the columns of the window about
        self.threshold.setToolTip("The least weight that is drawn as a line")
        self.residual.setToolTip("How much the residual stream counts as looking at oneself")
        menu = QMenu(self)
        for kind, title in EXPORTS.items():
            menu.addAction(title).setData(kind)
        menu.triggered.connect(self._on_export)
        self._export.setIcon(icon("export"))
        self._export.setMenu(menu)
        self._export.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 2, 8, 2)
        row.setSpacing(6)
        row.addWidget(self.tabs)
        row.addStretch(1)
        self._words = {box: QLabel(words) for box, words in ((self.threshold, "from"), (self.residual, "residual"))}
        for box, label in self._words.items():
            theme.pad(box).setKeyboardTracking(False)
            box.setMaximumWidth(66)
            label.setProperty("role", "small")
            row.addWidget(label)
            row.addWidget(box)
        for widget in (self.every_step, self.log, self.drop, self.normalisation, self._export):
            row.addWidget(widget)
        self.tabs.currentChanged.connect(self._on_tab)
        self.normalisation.activated.connect(self.looks_changed)
        self.drop.toggled.connect(self.looks_changed)
        self.every_step.toggled.connect(self.looks_changed)
        self.residual.valueChanged.connect(self.looks_changed)
        self.log.toggled.connect(self._on_log)
        self.threshold.valueChanged.connect(self.colours_changed)

    # what is set ---------------------------------------------------------------------------------------------------

    @property
    def view(self) -> str:
        """A key of `VIEWS`."""
        return list(VIEWS)[self.tabs.currentIndex()]

    @property
    def _ground(self) -> str:
        """What the weights of the view are painted on."""
        return "picture" if self.view in ("picture", "sum") else "signed" if self._signed else "map"

    def set_view(self, view: str) -> None:
        """Bring a view to the front, if it can be shown."""
        place = list(VIEWS).index(view)
        if self.tabs.isTabVisible(place):
            self.tabs.setCurrentIndex(place)

    def set_able(self, views: set[str], *, drop: bool, signed: bool = False) -> None:
        """Which views make sense of the source, whether a first token does, and whether values lie on both sides of 0."""
        before = self.view
        self.tabs.blockSignals(True)  # a tab that is hidden while it is shown hands over to its neighbour
        for place, view in enumerate(VIEWS):
            self.tabs.setTabVisible(place, view in views)
        self.tabs.setElideMode(Qt.TextElideMode.ElideNone)  # makes the bar lay itself out anew, which hiding a tab does not always do
        self.set_view(before if before in views else "picture" if "picture" in views else "map")
        self.tabs.blockSignals(False)
        self._can_drop, self._signed = drop, signed
        if not drop:
            self.drop.setChecked(False)
        self._on_tab()

    def looks(self) -> Looks:
        """How maps are to be made."""
        summed = "no" if self.view != "sum" else "run" if self.every_step.isChecked() else "step"
        residual = round(self.residual.value(), 2)
        return Looks(self.normalisation.currentData(), self.drop.isChecked(), self.view == "rollout", residual, summed)

    def choices(self) -> dict[str, Any]:
        """What is set, JSON-able."""
        return {
            "view": self.view, "normalisation": self.normalisation.currentData(), "drop_first": self.drop.isChecked(),
            "log": dict(self._logs), "threshold": self.threshold.value(), "residual": self.residual.value(),
            "every_step": self.every_step.isChecked(),
        }  # fmt: skip

    def set_choices(self, choices: dict[str, Any]) -> None:
        """Put back what `choices` gave."""
        self.set_view(choices["view"])
        self.normalisation.setCurrentIndex(max(self.normalisation.findData(choices["normalisation"]), 0))
        logs = choices["log"] if isinstance(choices["log"], dict) else {"map": choices["log"]}  # older states hold one for all
        self._logs |= {ground: bool(log) for ground, log in logs.items() if ground in self._logs}
        self.log.setChecked(self._logs[self._ground])
        for box, name in ((self.drop, "drop_first"), (self.every_step, "every_step")):
            box.setChecked(bool(choices.get(name)))
        for box, name in ((self.threshold, "threshold"), (self.residual, "residual")):
            box.setValue(float(choices[name]))

    @Slot()
    def _on_tab(self) -> None:
        view = self.view
        for box, shown in ((self.threshold, view == "arcs"), (self.residual, view == "rollout")):
            box.setVisible(shown)
            self._words[box].setVisible(shown)
        for widget in (self.log, self.normalisation, self._export):
            widget.setVisible(view != "edit")
        self.every_step.setVisible(view == "sum")
        self.drop.setVisible(self._can_drop and view not in ("edit", "rollout"))
        self.log.setChecked(self._logs[self._ground])
        self.view_changed.emit(view)

    @Slot(bool)
    def _on_log(self, log: bool) -> None:
        self._logs[self._ground] = log
        self.colours_changed.emit()

    @Slot(object)
    def _on_export(self, action: Any) -> None:
        self.export_wanted.emit(action.data())
