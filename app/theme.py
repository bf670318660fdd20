"""Colours, type and spacing of the whole window, by role, in a light and a dark version.

Everything that is painted asks here for a role ("muted", "accent"), never for a colour.  One ``QPalette`` and one
style sheet are made from the tokens, so switching is one call and live.  The pairs that carry text reach WCAG AA
(4.5 to 1), borders of inputs and focus rings 3 to 1; ``tests/app/test_theme.py`` computes the ratios from the formula
of WCAG 2.1.  Categorical data colours are the eight of Okabe and Ito (2008), which survive colour blindness.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields
from functools import cache
from string import Template
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Qt, Signal, Slot
from PySide6.QtGui import QColor, QFont, QFontDatabase, QGuiApplication, QPalette
from PySide6.QtWidgets import QAbstractSpinBox, QApplication

from app import paths

if TYPE_CHECKING:
    import numpy as np

GRID = 8
RADIUS = 6
BODY, SMALL, TITLE, LEAST = 13, 12, 16, 11
CHOICES = ("system", "light", "dark")
_ICONS = paths.ASSETS / "icons"


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """The colours of one theme, "#rrggbb" by role; ``data`` is the categorical set."""

    name: str
    background: str
    surface: str
    raised: str
    line: str
    border: str
    text: str
    muted: str
    accent: str
    on_accent: str
    selection: str
    focus: str
    stage: str
    on_stage: str
    checker_a: str
    checker_b: str
    ok: str
    error: str
    warn: str
    info: str
    pending: str
    data: tuple[str, ...]


# Okabe and Ito's eight, in an order whose first four differ most. On dark ground the two blues change places and
# black turns into near-white, so that an index keeps its hue and stays visible.
_BLUE, _SKY = "#0072b2", "#56b4e9"
_MIDDLE = ("#e69f00", "#009e73", "#d55e00", "#cc79a7")
_YELLOW = "#f0e442"

LIGHT = Tokens(
    name="light", background="#f3f4f6", surface="#ffffff", raised="#e8ebee", line="#d3d8dd", border="#848b95",
    text="#15181c", muted="#545c66", accent="#0a5c9c", on_accent="#ffffff", selection="#cde2f4", focus="#0a5c9c",
    stage="#dfe2e6", on_stage="#4a515a", checker_a="#ffffff", checker_b="#d9dce0", ok="#17692f", error="#ab2016",
    warn="#7d4b00", info="#0a5c9c", pending="#59616c", data=(_BLUE, *_MIDDLE, _SKY, _YELLOW, "#000000"),
)
DARK = Tokens(
    name="dark", background="#17191c", surface="#1d2024", raised="#292d32", line="#363c43", border="#7f8791",
    text="#e8eaed", muted="#a6aeb8", accent="#62b3f0", on_accent="#08131c", selection="#21425f", focus="#62b3f0",
    stage="#101214", on_stage="#a6aeb8", checker_a="#2b2f34", checker_b="#202327", ok="#5cc47f", error="#ff8e84",
    warn="#f0b252", info="#62b3f0", pending="#9ca4ae", data=(_SKY, *_MIDDLE, _BLUE, _YELLOW, "#f2f2f2"),
)
THEMES = {"light": LIGHT, "dark": DARK}

# The fate of a thing, the same in every panel; always shown with a second cue (mark, strike, shape).
FATES = {"accepted": "ok", "rejected": "error", "corrected": "warn", "bonus": "info", "pending": "pending"}


class Appearance(QObject):
    """The theme in use: which tokens, whether it follows the system, whether motion is reduced."""

    changed = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.tokens = LIGHT
        self.choice = "system"
        self.reduced_motion = False
        self._follows = False

    def apply(self, choice: str) -> None:
        """Switch to "light", "dark" or what the system says, live."""
        self.choice = choice if choice in CHOICES else "system"
        self._follow_system()
        hints = QGuiApplication.styleHints()
        if self.choice == "system":
            hints.unsetColorScheme()
        else:
            hints.setColorScheme(Qt.ColorScheme.Dark if self.choice == "dark" else Qt.ColorScheme.Light)
        self._paint()

    def _follow_system(self) -> None:
        if not self._follows:
            QGuiApplication.styleHints().colorSchemeChanged.connect(self._on_system_changed)
            self._follows = True

    @Slot()
    def _on_system_changed(self) -> None:
        if self.choice == "system":
            self._paint()

    def _paint(self) -> None:
        dark = QGuiApplication.styleHints().colorScheme() == Qt.ColorScheme.Dark
        self.tokens = THEMES.get(self.choice, DARK if dark else LIGHT)
        app = QApplication.instance()
        if app.style().objectName() != "fusion":
            app.setStyle("Fusion")
        app.setFont(font())
        app.setPalette(palette(self.tokens))
        app.setStyleSheet(style_sheet(self.tokens))
        if "pyqtgraph" in sys.modules:
            configure_plots()
        self.changed.emit(self.tokens)


@cache
def notifier() -> Appearance:
    """The one ``Appearance``; its ``changed`` signal tells of a switch."""
    return Appearance()


def apply(choice: str) -> None:
    """Switch the running application to "system", "light" or "dark"."""
    notifier().apply(choice)


def tokens() -> Tokens:
    """The tokens of the theme in use."""
    return notifier().tokens


def colour(role: str, alpha: int = 255) -> QColor:
    """A role of the theme in use as ``QColor``, for widgets that paint themselves."""
    made = QColor(getattr(tokens(), role))
    made.setAlpha(alpha)
    return made


def data_colour(index: int, alpha: int = 255) -> QColor:
    """Colour ``index`` (modulo 8) of the categorical set."""
    made = QColor(tokens().data[index % len(tokens().data)])
    made.setAlpha(alpha)
    return made


def reduced_motion() -> bool:
    """True if the person asked for less motion."""
    return notifier().reduced_motion


def set_reduced_motion(reduced: bool) -> None:
    """Turn all folding and fading off (or on again)."""
    notifier().reduced_motion = reduced


def duration(ms: int = 150) -> int:
    """Length of an animation: ``ms``, or 0 when motion is reduced."""
    return 0 if reduced_motion() else ms


def font(px: int = BODY, *, mono: bool = False, bold: bool = False) -> QFont:
    """The system's font in ``px`` pixels with tabular figures; monospace for tokens, ids and code."""
    return QFont(_font(px, mono, bold))


@cache
def _font(px: int, mono: bool, bold: bool) -> QFont:
    kind = QFontDatabase.SystemFont.FixedFont if mono else QFontDatabase.SystemFont.GeneralFont
    made = QFontDatabase.systemFont(kind)
    made.setPixelSize(max(px, LEAST))
    made.setFeature(QFont.Tag.fromString("tnum"), 1)
    made.setWeight(QFont.Weight.DemiBold if bold else QFont.Weight.Normal)
    return made


def pad(box: QAbstractSpinBox) -> QAbstractSpinBox:
    """Move the text of a spin box off its border, which no style sheet can; returns the box."""
    box.lineEdit().setTextMargins(5, 0, 0, 0)
    return box


def contrast(first: str, second: str) -> float:
    """Contrast ratio of two "#rrggbb" colours, 1 to 21 (WCAG 2.1, relative luminance)."""
    bright, dim = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def _luminance(hexadecimal: str) -> float:
    channels = [int(hexadecimal[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def lookup_table(name: str = "viridis") -> np.ndarray:
    """256 colours, uint8 (256, 3): "viridis" or "magma" for magnitudes, "diverging" for signed values."""
    import numpy as np

    if name != "diverging":
        import pyqtgraph

        return pyqtgraph.colormap.get(name).getLookupTable(nPts=256, alpha=False)
    middle = (0x29, 0x2D, 0x32) if tokens().name == "dark" else (0xF3, 0xF4, 0xF6)
    stops = np.array([(0x00, 0x72, 0xB2), middle, (0xD5, 0x5E, 0x00)], dtype=float)
    at = np.linspace(0, 2, 256)
    return np.stack([np.interp(at, [0, 1, 2], stops[:, c]) for c in range(3)], axis=1).round().astype(np.uint8)


def configure_plots() -> None:
    """Give pyqtgraph the colours of the theme in use; every plot made from here on has them."""
    import pyqtgraph

    pyqtgraph.setConfigOptions(background=tokens().surface, foreground=tokens().muted, antialias=True)


def palette(theme: Tokens) -> QPalette:
    """The tokens as a ``QPalette``, for all that the style sheet leaves to the Fusion style."""
    made, role = QPalette(), QPalette.ColorRole
    pairs = {
        role.Window: theme.background, role.WindowText: theme.text, role.Base: theme.surface,
        role.AlternateBase: theme.raised, role.Text: theme.text, role.Button: theme.raised,
        role.ButtonText: theme.text, role.BrightText: theme.error, role.Highlight: theme.accent,
        role.HighlightedText: theme.on_accent, role.ToolTipBase: theme.raised, role.ToolTipText: theme.text,
        role.PlaceholderText: theme.muted, role.Link: theme.accent, role.Accent: theme.accent,
        role.Light: theme.raised, role.Midlight: theme.line, role.Mid: theme.line, role.Dark: theme.border,
    }
    for which, value in pairs.items():
        made.setColor(which, QColor(value))
    for which in (role.WindowText, role.Text, role.ButtonText):
        made.setColor(QPalette.ColorGroup.Disabled, which, QColor(theme.muted))
    return made


def style_sheet(theme: Tokens) -> str:
    """The one style sheet of the program, filled with the tokens."""
    values = {field.name: getattr(theme, field.name) for field in fields(theme) if field.name != "data"}
    sizes = {"radius": RADIUS, "body": BODY, "small": SMALL, "title": TITLE, "icons": _ICONS.as_posix()}
    return Template(_STYLE).substitute(values, **sizes)


_STYLE = """
QToolTip { background: $raised; color: $text; border: 1px solid $border; padding: 4px; font-size: ${small}px; }
QMainWindow::separator { background: $line; width: 1px; height: 1px; }
QSplitter::handle { background: transparent; }
QSplitter::handle:horizontal { border-left: 1px solid $line; }
QSplitter::handle:vertical { border-top: 1px solid $line; }
QSplitter::handle:hover { background: $accent; }

QLabel[role="title"] { font-size: ${title}px; font-weight: 600; }
QLabel[role="heading"] { font-weight: 600; }
QLabel[role="muted"] { color: $muted; }
QLabel[role="small"] { color: $muted; font-size: ${small}px; }
QLabel[role="mono"] { font-family: monospace; }
QLabel[role="warn"] { color: $warn; }
QLabel[role="error"] { color: $error; }
QLabel[role="ok"] { color: $ok; }
QFrame[role="surface"] { background: $surface; border: 1px solid $line; border-radius: ${radius}px; }
QFrame[role="raised"] { background: $raised; border: 0; border-radius: ${radius}px; }
QFrame[role="vline"] { background: $line; border: 0; max-width: 1px; min-width: 1px; margin: 6px 0; }
QFrame[role="line"] { background: $line; border: 0; max-height: 1px; min-height: 1px; }

QPushButton, QToolButton[role="button"] {
  background: $raised; color: $text; border: 1px solid $border; border-radius: ${radius}px; padding: 4px 12px;
  min-height: 18px; }
QPushButton:hover { background: $selection; }
QPushButton:pressed, QPushButton:checked { background: $selection; border-color: $accent; }
QPushButton:focus { border: 2px solid $focus; padding: 3px 11px; }
QPushButton:disabled { color: $muted; border-color: $line; background: $background; }
QPushButton[role="primary"] { background: $accent; color: $on_accent; border-color: $accent; font-weight: 600; }
QPushButton[role="primary"]:hover { border-color: $text; }
QPushButton[role="primary"]:focus { border: 2px solid $text; }
QPushButton[role="primary"]:disabled { background: $raised; color: $muted; border-color: $line; }
QPushButton[role="flat"] { background: transparent; border-color: transparent; padding: 4px 8px; }
QPushButton[role="flat"]:hover { background: $raised; }
QPushButton[role="flat"]:focus { border: 2px solid $focus; padding: 3px 7px; }
QToolButton { background: transparent; color: $text; border: 1px solid transparent; border-radius: ${radius}px;
  padding: 3px; }
QToolButton:hover { background: $raised; border-color: $line; }
QToolButton:pressed, QToolButton:checked { background: $selection; border-color: $accent; }
QToolButton[role="fold"], QToolButton[role="fold"]:checked { border-color: transparent; background: transparent; }
QToolButton[role="fold"]:hover { background: $raised; }
QToolButton:focus, QToolButton[role="fold"]:focus { border: 2px solid $focus; padding: 2px; }
QToolButton:disabled { color: $muted; }

QLineEdit, QPlainTextEdit, QTextEdit, QAbstractSpinBox, QComboBox {
  background: $surface; color: $text; border: 1px solid $border; border-radius: ${radius}px; padding: 2px 6px;
  selection-background-color: $accent; selection-color: $on_accent; placeholder-text-color: $muted; }
QLineEdit, QAbstractSpinBox, QComboBox { min-height: 20px; }
QPlainTextEdit, QTextEdit { padding: 2px; }
QLineEdit:focus, QPlainTextEdit:focus, QTextEdit:focus, QAbstractSpinBox:focus, QComboBox:focus {
  border: 2px solid $focus; padding: 1px 5px; }
QPlainTextEdit:focus, QTextEdit:focus { padding: 1px; }
QLineEdit:disabled, QPlainTextEdit:disabled, QAbstractSpinBox:disabled, QComboBox:disabled {
  color: $muted; background: $background; border-color: $line; }
QAbstractSpinBox QLineEdit, QComboBox QLineEdit { border: 0; padding: 0; background: transparent; min-height: 0; }
QAbstractSpinBox::up-button, QAbstractSpinBox::down-button { subcontrol-origin: border; width: 18px; border: 0;
  background: transparent; }
QAbstractSpinBox::up-button { subcontrol-position: top right; }
QAbstractSpinBox::down-button { subcontrol-position: bottom right; }
QAbstractSpinBox::up-button:hover, QAbstractSpinBox::down-button:hover { background: $raised; }
QAbstractSpinBox::up-arrow { image: url($icons/up-$name.svg); width: 8px; height: 8px; }
QAbstractSpinBox::down-arrow, QComboBox::down-arrow { image: url($icons/down-$name.svg); width: 8px; height: 8px; }
QComboBox::drop-down { subcontrol-origin: border; subcontrol-position: center right; width: 20px; border: 0; }
QComboBox QAbstractItemView, QMenu, QListView[role="popup"] { background: $surface; color: $text;
  border: 1px solid $border; selection-background-color: $selection; selection-color: $text; padding: 4px; }
QMenu::item { padding: 4px 24px 4px 12px; border-radius: 4px; }
QMenu::item:selected { background: $selection; }
QMenu::item:disabled { color: $muted; }
QMenu::separator { height: 1px; background: $line; margin: 4px 0; }

QCheckBox, QRadioButton { spacing: 6px; border: 2px solid transparent; border-radius: 4px; }
QCheckBox:focus, QRadioButton:focus { border-color: $focus; }
QCheckBox::indicator, QGroupBox::indicator, QListView::indicator { width: 14px; height: 14px; border: 1px solid $border;
  border-radius: 3px; background: $surface; }
QCheckBox::indicator:checked, QGroupBox::indicator:checked, QListView::indicator:checked { background: $accent; border-color: $accent;
  image: url($icons/check-$name.svg); }
QCheckBox::indicator:disabled { border-color: $line; background: $raised; }

QSlider::groove:horizontal { height: 4px; background: $line; border-radius: 2px; }
QSlider::sub-page:horizontal { background: $accent; border-radius: 2px; }
QSlider::handle:horizontal { width: 12px; height: 12px; margin: -5px 0; border-radius: 7px; background: $surface;
  border: 1px solid $border; }
QSlider::handle:horizontal:hover, QSlider::handle:horizontal:focus { border: 2px solid $focus; width: 10px;
  height: 10px; }

QScrollArea { border: 0; background: transparent; }
QScrollBar:vertical { background: transparent; width: 10px; margin: 0; }
QScrollBar:horizontal { background: transparent; height: 10px; margin: 0; }
QScrollBar::handle { background: $border; border-radius: 3px; margin: 2px; }
QScrollBar::handle:vertical { min-height: 24px; }
QScrollBar::handle:horizontal { min-width: 24px; }
QScrollBar::handle:hover { background: $muted; }
QScrollBar::add-line, QScrollBar::sub-line { width: 0; height: 0; }
QScrollBar::add-page, QScrollBar::sub-page { background: transparent; }

QTabWidget::pane { border: 0; border-top: 1px solid $line; }
QTabBar::tab { padding: 5px 12px; color: $muted; border: 0; border-bottom: 2px solid transparent; }
QTabBar::tab:selected { color: $text; border-bottom-color: $accent; }
QTabBar::tab:hover { color: $text; }
QTabBar::tab:focus { border: 2px solid $focus; }
QListView, QTreeView, QTableView { background: $surface; color: $text; border: 1px solid $line;
  border-radius: ${radius}px; }
QListView::item:selected, QTreeView::item:selected, QTableView::item:selected { background: $selection;
  color: $text; }
QListView[role="rows"]::item { padding: 4px 6px; border: 0; }
QListView:focus, QTreeView:focus, QTableView:focus { border: 2px solid $focus; }
QTableView::item { padding: 4px 8px; }
QHeaderView { background: $raised; }
QHeaderView::section { background: $raised; color: $muted; border: 0; border-bottom: 1px solid $line;
  padding: 4px 8px; }
QProgressBar { background: $raised; border: 0; border-radius: 3px; max-height: 6px; }
QProgressBar::chunk { background: $accent; border-radius: 3px; }

#SideBar { background: $background; border: 0; border-right: 1px solid $line; }
#SideBar QToolButton { padding: 6px 4px; font-size: ${small}px; }
#SideBar QToolButton:checked { background: $selection; border-color: $selection; font-weight: 600; }
#SideBar QToolButton:focus { border: 2px solid $focus; padding: 5px 3px; }
#TopBar { background: $background; border: 0; border-bottom: 1px solid $line; }
#StatusBar { background: $background; border: 0; border-top: 1px solid $line; }
#StatusBar QLabel { font-size: ${small}px; }
#Transport { background: transparent; }
#Banner { border-radius: ${radius}px; border: 1px solid $line; background: $raised; }
#Banner[kind="info"] { border-color: $info; }
#Banner[kind="warn"] { border-color: $warn; }
#Banner[kind="error"] { border-color: $error; }
"""
