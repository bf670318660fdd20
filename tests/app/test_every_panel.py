"""What holds in every panel: boxes say what they are for, keys of time reach the transport, and F10 means one thing."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QAbstractSpinBox, QComboBox, QSlider, QWidget

from app.registry import PANELS
from app.widgets.inspector import Inspector
from app.widgets.map_cards import MapCards
from app.widgets.scrolled import scrolled
from app.widgets.transport import KEY_HELP, is_time_key
from tests.app.image_panel_fakes import FakeEngine


def told(widget: QWidget | None, end: QWidget) -> bool:
    """Does the widget, or something around it inside the panel, have a tooltip? Qt asks them in this order."""
    while widget is not None and widget is not end:
        if widget.toolTip():
            return True
        widget = widget.parentWidget()
    return False


@pytest.fixture(params=[spec.id for spec in PANELS])
def made(request, qtbot, settings):
    spec = next(spec for spec in PANELS if spec.id == request.param)
    panel = spec.load()(FakeEngine(), settings)
    qtbot.addWidget(panel, before_close_func=type(panel).about_to_close)
    return panel


def test_boxes_sliders_and_choices_say_what_they_are_for(made):
    boxes = [*made.findChildren(QAbstractSpinBox), *made.findChildren(QComboBox), *made.findChildren(QSlider)]
    silent = [f"{type(box).__name__} {box.accessibleName()} in {type(box.parent()).__name__}" for box in boxes if not told(box, made)]
    assert not silent


def test_one_word_and_one_key_for_step_by_step(made):
    rows = dict(made.key_help())
    assert "F10" in dict(KEY_HELP) and rows.get("F10", "Step by step: ").startswith("Step by step: ")


@pytest.mark.parametrize("build", [lambda: scrolled(QWidget()), Inspector, MapCards])
def test_scrolling_views_leave_the_keys_of_time_alone(qtbot, build):
    view = build()
    qtbot.addWidget(view)
    for key in (Qt.Key.Key_Left, Qt.Key.Key_Right, Qt.Key.Key_Home, Qt.Key.Key_End, Qt.Key.Key_F10):
        event = QKeyEvent(QKeyEvent.Type.KeyPress, key, Qt.KeyboardModifier.NoModifier)
        assert is_time_key(event)
        event.accept()
        view.keyPressEvent(event)
        assert not event.isAccepted(), key
    event = QKeyEvent(QKeyEvent.Type.KeyPress, Qt.Key.Key_PageDown, Qt.KeyboardModifier.NoModifier)
    view.keyPressEvent(event)
    assert event.isAccepted()
