"""Large widgets that change together are painted one after another, each of them once."""

from __future__ import annotations

import pytest
import shiboken6
from PySide6.QtWidgets import QApplication, QWidget

from app.widgets import turns
from app.widgets.turns import in_turn

painted: list[str] = []


class Painted(QWidget):
    """Tells when it is painted."""

    def paintEvent(self, _event) -> None:
        painted.append(self.objectName())


@pytest.fixture
def three(qtbot, monkeypatch):
    monkeypatch.setattr(turns, "APART_MS", 30)
    box = QWidget()
    qtbot.addWidget(box)
    made = [Painted(box, objectName=name) for name in "abc"]
    for place, widget in enumerate(made):
        widget.setGeometry(place * 20, 0, 20, 20)
    box.show()
    qtbot.waitUntil(lambda: len(painted) >= 3)
    QApplication.processEvents()
    painted.clear()
    yield made


def test_the_first_is_painted_at_once_and_the_others_in_turn(three, qtbot):
    for widget in (*three, three[1]):
        in_turn(widget)
    QApplication.processEvents()
    assert painted == ["a"]
    qtbot.waitUntil(lambda: painted == ["a", "b", "c"])
    qtbot.wait(100)
    assert painted == ["a", "b", "c"], "asking twice is asking once"
    assert not three[0].window().findChild(turns.Turns)._clock.isActive(), "and then there is rest"


def test_one_that_is_gone_or_hidden_takes_no_turn(three):
    asked = turns.Turns(three[0].window())
    updates = []
    for widget in three:
        widget.update = lambda widget=widget: updates.append(widget)
    shiboken6.delete(three[0])
    three[1].hide()
    asked._waiting = dict.fromkeys(three)
    asked._next()
    assert updates == three[2:] and not asked._waiting
