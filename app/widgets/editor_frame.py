"""What both editors have around their stage: a slim tool bar at the left, a foot with status, underlay and zoom.

An editor adds its tools with `add_action` and its keys with `bind`; the frame shows the key in the tooltip, keeps the
list for the help page, and passes keys on to the stage when a button of the bar has the focus.
"""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QEvent, QSize, Qt, Signal, Slot
from PySide6.QtGui import QAction, QKeyEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QSlider, QToolBar, QToolButton, QVBoxLayout, QWidget

from app import theme
from app.protocol.payloads import Image
from app.widgets.icons import icon
from app.widgets.stage_view import StageView


class FootLabel(QLabel):
    """One line that is cut with an ellipsis where there is no room; the tooltip has all of it."""

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("role", "small")
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)

    def setText(self, text: str) -> None:
        self.setToolTip(text)
        super().setText(text)

    def paintEvent(self, event: QPaintEvent) -> None:
        cut = self.fontMetrics().elidedText(self.text(), Qt.TextElideMode.ElideRight, self.width())
        painter = QPainter(self)
        painter.setPen(theme.colour("muted"))
        painter.drawText(self.rect(), Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, cut)


class EditorFrame(QWidget):
    """A stage with a tool bar and a foot."""

    status = Signal(str)
    size_changed = Signal(int, int)

    def __init__(self, stage: StageView, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.stage = stage
        self.setAccessibleName(name)
        self.setFocusProxy(stage)
        self.bar = QToolBar(name, orientation=Qt.Orientation.Vertical, movable=False, floatable=False)
        self.bar.setIconSize(QSize(16, 16))
        self.bar.setAccessibleName(f"{name}: tools")
        self.status_label = FootLabel()
        self.opacity_label, self.opacity_slider = QLabel("Picture"), QSlider(Qt.Orientation.Horizontal)
        self.zoom_button = QToolButton(toolTip="Fit the stage (Ctrl+0); wheel zooms, Space + drag pans")
        self._actions: dict[str, QAction] = {}
        self._build()
        stage.view_changed.connect(self._on_view_changed)
        self._on_view_changed()

    def _build(self) -> None:
        self.opacity_label.setProperty("role", "small")
        self.opacity_slider.setRange(0, 100)
        self.opacity_slider.setFixedWidth(96)
        self.opacity_slider.setValue(round(self.stage.underlay_opacity * 100))
        self.opacity_slider.setToolTip("How much of the picture underneath shows through, in percent")
        self.opacity_slider.setAccessibleName("Opacity of the picture underneath")
        self.opacity_slider.valueChanged.connect(self._on_opacity)
        self.zoom_button.setAccessibleName("Zoom")
        self.zoom_button.setFixedWidth(56)
        self.zoom_button.setFont(theme.font(theme.SMALL))
        self.zoom_button.clicked.connect(self.stage.fit)
        self.foot = QHBoxLayout()
        self.foot.setContentsMargins(theme.GRID, 2, 4, 2)
        self.foot.setSpacing(theme.GRID)
        self.foot.addWidget(self.status_label, 1)
        for widget in (self.opacity_label, self.opacity_slider, self.zoom_button):
            self.foot.addWidget(widget)
        self._show_opacity()
        self.middle = QHBoxLayout()
        self.middle.setSpacing(0)
        self.middle.addWidget(self.bar)
        self.middle.addWidget(self.stage, 1)
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(0, 0, 0, 0)
        self.column.setSpacing(0)
        self.column.addLayout(self.middle, 1)
        self.column.addLayout(self.foot)

    # ---- tools and keys

    def add_action(self, name: str, glyph: str, text: str, keys: str, do: Callable[[], None], checkable: bool = False) -> QAction:
        """Add a tool: icon `glyph`, `text` "Pen: draw white lines", `keys` "B" (also bound), what it does."""
        action = QAction(icon(glyph), text.split(":")[0], self)
        action.setToolTip(f"{text} ({keys.split()[0]})" if keys else text)
        action.setCheckable(checkable)
        action.triggered.connect(do)
        self.bar.addAction(action)
        button = self.bar.widgetForAction(action)
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        button.setAccessibleName(action.text())
        if keys:
            self.stage.keys.bind(keys, action.text(), do)
        self._actions[name] = action
        return action

    def action(self, name: str) -> QAction:
        """The tool added under `name`."""
        return self._actions[name]

    def shortcuts(self) -> list[tuple[str, str]]:
        """(keys, what they do), for the help page."""
        return [*self.stage.keys.listed(), ("Space + drag, F + drag", "Pan"), ("Wheel", "Zoom at the cursor")]

    def event(self, event: QEvent) -> bool:
        return self.stage.keys.claim(event) or super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if not self.stage.keys.press(event):
            super().keyPressEvent(event)

    # ---- foot

    def say(self, text: str) -> None:
        """Show a sentence in the foot."""
        if text != self.status_label.text():
            self.status_label.setText(text)
            self.status.emit(text)

    def set_underlay(self, image: Image | None) -> None:
        """Show a picture under what is drawn, for instance the result it steered."""
        self.stage.set_underlay(image)
        self._show_opacity()

    def underlay_opacity(self) -> float:
        """0 (hidden) to 1."""
        return self.stage.underlay_opacity

    def set_underlay_opacity(self, opacity: float) -> None:
        """Set it, and the slider with it."""
        self.opacity_slider.setValue(round(opacity * 100))

    def _show_opacity(self) -> None:
        for widget in (self.opacity_label, self.opacity_slider):
            widget.setVisible(self.stage.underlay is not None)

    @Slot(int)
    def _on_opacity(self, percent: int) -> None:
        self.stage.set_underlay_opacity(percent / 100)

    @Slot()
    def _on_view_changed(self) -> None:
        self.zoom_button.setText(f"{self.stage.zoom() * 100:.0f} %")

    def fit(self) -> None:
        """Show all of it."""
        self.stage.fit()

    def set_zoom(self, zoom: float) -> None:
        """Screen pixels per content pixel."""
        self.stage.set_zoom(zoom)

    def zoom(self) -> float:
        """Screen pixels per content pixel."""
        return self.stage.zoom()
