"""The column of panels at the left of the window: one button each, under the headings of their families.

Where the window is too low for all of it, the headings go, then the names; the tooltips keep both.
"""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QEvent, QSize, Qt, Signal, Slot
from PySide6.QtGui import QFontMetrics, QKeySequence, QResizeEvent, QShortcut, QShowEvent
from PySide6.QtWidgets import QButtonGroup, QFrame, QLabel, QSizePolicy, QToolButton, QVBoxLayout, QWidget

from app import theme
from app.registry import PanelSpec
from app.widgets.icons import icon

LEAST_WIDTH, ICON, DIGITS = 72, 20, "1234567890"
ALL, NAMES, ICONS = range(3)


class SideBar(QFrame):
    """Emits the id of the panel that is wanted, by a click or by Alt and its digit."""

    wanted = Signal(str)

    def __init__(self, registry: Sequence[PanelSpec], parent: QWidget | None = None) -> None:
        super().__init__(parent, objectName="SideBar", accessibleName="Panels")
        self.buttons: dict[str, QToolButton] = {}
        self._headings: list[QLabel] = []
        self._shown, self._needed = ALL, [0]
        self._group = QButtonGroup(self)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(4, 8, 4, 8)
        self._column.setSpacing(4)
        family = ""
        for spec, digit in zip(registry, [*DIGITS, *[""] * len(registry)], strict=False):
            if spec.family != family:
                family = spec.family
                self._column.addWidget(self._heading(family))
            self._column.addWidget(self._button(spec, digit))
        self._column.addStretch(1)

    def add_keys(self, window: QWidget) -> None:
        """Alt and a digit bring the first ten panels to the front of a window."""
        for panel_id, digit in zip(self.buttons, DIGITS, strict=False):
            shortcut = QShortcut(QKeySequence(f"Alt+{digit}"), window)
            shortcut.setProperty("panel", panel_id)
            shortcut.activated.connect(self._on_wanted)

    def show_chosen(self, panel_id: str) -> None:
        """Mark the panel that is on show."""
        self.buttons[panel_id].setChecked(True)

    def _heading(self, family: str) -> QLabel:
        heading = QLabel(family)
        heading.setProperty("role", "small")
        heading.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        self._headings.append(heading)
        return heading

    def _button(self, spec: PanelSpec, digit: str) -> QToolButton:
        button = QToolButton(text=spec.title, checkable=True, accessibleName=spec.title)
        button.setToolTip(f"{spec.title}: {spec.tip or spec.family}" + (f" (Alt+{digit})" if digit else ""))
        button.setIcon(icon(spec.icon))
        button.setIconSize(QSize(ICON, ICON))
        button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextUnderIcon)
        bold = QFontMetrics(theme.font(theme.SMALL, bold=True)).horizontalAdvance(spec.title)  # as it is written while it is on show
        button.setMinimumWidth(max(LEAST_WIDTH, bold + 16))
        button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        button.setProperty("panel", spec.id)
        button.clicked.connect(self._on_wanted)
        self._group.addButton(button)
        self.buttons[spec.id] = button
        return button

    @Slot()
    def _on_wanted(self) -> None:
        self.wanted.emit(self.sender().property("panel"))

    # height --------------------------------------------------------------------------------------------------------

    def minimumSizeHint(self) -> QSize:
        """As low as icons alone; as wide as the words."""
        return QSize(super().minimumSizeHint().width(), 0)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._measure()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.StyleChange and self.isVisible():
            self._measure()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._choose()

    def _measure(self) -> None:
        """Find out how high it is with all its words, and without the headings."""
        self._needed = [self._needs(shown) for shown in (ALL, NAMES)]
        self._choose()

    def _needs(self, shown: int) -> int:
        self._show(shown)
        self._column.invalidate()
        return self._column.minimumSize().height()

    def _choose(self) -> None:
        self._show(next((shown for shown, needed in zip((ALL, NAMES), self._needed, strict=False) if self.height() >= needed), ICONS))

    def _show(self, shown: int) -> None:
        if shown == self._shown:
            return
        self._shown = shown
        style = Qt.ToolButtonStyle.ToolButtonIconOnly if shown == ICONS else Qt.ToolButtonStyle.ToolButtonTextUnderIcon
        for heading in self._headings:
            heading.setVisible(shown == ALL)
        for button in self.buttons.values():
            button.setToolButtonStyle(style)
